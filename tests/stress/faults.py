"""What the daemon has to survive: its own end, and the end of its processes."""

import os
import signal
import threading
import time

from harness import process
from harness.daemon import parent, read_pids

PAUSE_SECONDS = 0.15                    # between two faults, in the mean


class Faults(threading.Thread):
    def __init__(self, world, ledger, random):
        super().__init__(daemon=True)
        self.world, self.ledger, self.random = world, ledger, random

    def run(self):
        try:
            while not self.world.stopping.wait(self.random.expovariate(1 / PAUSE_SECONDS)):
                self.world.check_alive()
                process.reap_orphans()
                self.random.choices([self.kill_worker, self.kill_runner, self.kill_daemon, self.stop_daemon,
                                     self.kill_both, self.kill_helper, self.reload], [60, 8, 5, 3, 2, 2, 3])[0]()
        except Exception as error:              # noqa: BLE001: whatever it is, it is told at the end
            self.world.fail(f"{type(error).__name__}: {error}")

    def kill_daemon(self):
        self._restart(self.world.kill)

    def stop_daemon(self):
        self._restart(self.world.terminate)

    def kill_both(self):
        """A runner dies while there is no daemon: its job goes on with the next."""
        self._restart(self.world.kill, self.kill_runner)

    def _restart(self, *steps):
        """It is there for at least as long as it was away, or nobody would call it on a slow machine."""
        began = time.monotonic()
        for step in steps:
            step()
        self.world.start()
        self.world.stopping.wait(time.monotonic() - began)

    def reload(self):
        os.kill(self.world.daemon.pid, signal.SIGHUP)

    def kill_worker(self):
        self._kill_one("worker-")

    def kill_runner(self):
        self._kill_one("runner")

    def _kill_one(self, leaf):
        """A process of some job, in a group below the job's whose name begins with `leaf`."""
        jobs = self.ledger.open_jobs()
        self.random.shuffle(jobs)
        for job in jobs[:20]:
            pids = self._pids(job.number, leaf)
            if not pids:
                continue
            if leaf == "runner":
                job.runner_killed = True
            job.worker_killed = True
            self._kill(self.random.choice(pids))
            return

    def _pids(self, number, leaf):
        daemon = self.world.daemon
        if daemon.group is None:
            return self._pids_without_group(number, leaf)
        group = daemon.job_group(number)
        try:
            names = [name for name in os.listdir(group) if name.startswith(leaf)]
        except FileNotFoundError:
            return []
        return [pid for name in names for pid in _pids_in(os.path.join(group, name))]

    def _pids_without_group(self, number, leaf):
        runner = self.world.daemon.find_runner(number) if self.world.daemon.running() else None
        if runner is None or leaf == "runner":
            return [runner] if runner else []
        return [pid for pids in self.world.daemon.workers(number).values() for pid in pids]

    def kill_helper(self):
        """Of the demo server, the private Redis and its nodes whichever there is."""
        group = self.world.daemon.group
        helpers = [name for name in sorted(os.listdir(group)) if name.startswith(("node-", "redis", "web"))] if group else []
        pids = [pid for name in helpers for directory, _, _ in os.walk(os.path.join(group, name))
                for pid in _pids_in(directory)]
        if pids:
            self.world.helper_kills += 1
            self._kill(self.random.choice(pids))

    def _kill(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.world.kills += 1


def _pids_in(group):
    """Without children of theirs: AddressSanitizer starts a process that traces the one that ends, to look for leaks,
    and which that one waits for, for ever if it is killed."""
    pids = read_pids(group)
    return [pid for pid in pids if parent(pid) not in pids]
