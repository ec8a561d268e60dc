"""The daemon under test, its life, and what it leaves."""

import collections
import os
import re
import threading
import time

from harness import process
from harness.daemon import Daemon, StartFailure, descendants
from harness.poll import Late, wait_until

from ledger import Broken

END_SECONDS = 180.0                     # in which all that goes on by itself has to end


def _read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError as error:
        return error.strerror


def _list(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


class World:
    """`going` is set before the daemon is ended on purpose: until it is there again, connections may break."""

    def __init__(self, directory, config):
        self.daemon = Daemon(directory, args=["--config", config])
        self.up = threading.Event()
        self.stopping = threading.Event()       # no more calls and faults
        self.generation = 0
        self.restarts = self.kills = self.helper_kills = 0
        self.failure = None
        self.lock = threading.Lock()
        self.calls = 0
        self.began = time.monotonic()

    def fail(self, text):
        with self.lock:
            self.failure = self.failure or text
        self.stopping.set()

    def marks(self):
        return self.restarts, self.helper_kills

    def count_call(self):
        with self.lock:
            self.calls += 1

    # The daemon's life; of one thread

    def start(self):
        try:
            self.daemon.start()
        except StartFailure as failure:
            raise Broken(f"the daemon does not start: {failure}") from None
        self.generation += 1
        self.up.set()

    def _going(self):
        self.check_alive()
        self.up.clear()
        self.generation += 1
        self.restarts += 1

    def kill(self):
        self._going()
        self.daemon.kill()

    def terminate(self):
        self._going()
        status = self.daemon.terminate()
        if status != 0:
            raise Broken(f"the daemon ended with {status} on SIGTERM")

    def check_alive(self):
        if not self.daemon.running():
            raise Broken(f"the daemon has ended by itself, with {self.daemon.popen.returncode}")

    def call(self, method, parameters, **options):
        return self.daemon.call(method, parameters, **options)

    # What it is at

    def state_of(self, number):
        """The processes of a job and its cgroups as the kernel shows them, for who has to find out why it does not end."""
        lines, pids = [], set()
        for path, _, _ in os.walk(self.daemon.job_group(number)) if self.daemon.group else ():
            facts = [f"{name} {_read(os.path.join(path, name))!r}" for name in ("cgroup.events", "cgroup.freeze", "cgroup.procs")]
            lines.append(f"{path}: {', '.join(facts)}")
            pids |= {int(pid) for pid in _read(os.path.join(path, "cgroup.procs")).split() if pid.isdigit()}
        runner = self.daemon.find_runner(number)
        if runner:
            pids |= {runner, *descendants(runner)}
        for pid in sorted(pids):
            for thread in sorted(_list(f"/proc/{pid}/task"), key=int):
                at = f"/proc/{pid}/task/{thread}"
                status = dict(line.split(":\t", 1) for line in _read(f"{at}/status").splitlines() if ":\t" in line)
                facts = [f"{name} {status.get(name)}" for name in ("Name", "State", "PPid", "TracerPid", "SigPnd", "ShdPnd", "SigBlk")]
                lines.append(f"{pid}/{thread}: {', '.join(facts)}, wchan {_read(f'{at}/wchan')}, syscall {_read(f'{at}/syscall')}")
                lines += [f"    {line}" for line in _read(f"{at}/stack").splitlines()]
        return "\n".join(lines) or "it has no process and no cgroup"

    # The end

    def descriptors(self):
        """What the daemon has open, as {what: how many}."""
        directory, found = f"/proc/{self.daemon.pid}/fd", collections.Counter()
        for fd in os.listdir(directory):
            try:
                name = os.readlink(os.path.join(directory, fd))
            except FileNotFoundError:
                continue
            found[re.sub(r"\[\d+\]", "", name)] += 1
        return found

    def check_descriptors(self, before):
        """Those of the demo server and of nodes stay until these have had nothing to do for a while."""
        def more():
            return self.descriptors() - before
        try:
            wait_until(lambda: not more(), "", seconds=END_SECONDS, step=0.1)
        except Late:
            raise Broken(f"descriptors are left: {dict(more())}") from None

    def check_files(self, numbers):
        """A job has a directory, and nothing else has; what is removed may take a moment."""
        path = os.path.join(self.daemon.state, "jobs")
        wanted = set(map(str, numbers))

        def is_as_it_should_be():
            return set(os.listdir(path)) == wanted
        try:
            wait_until(is_as_it_should_be, "", seconds=END_SECONDS, step=0.1)
        except Late:
            raise Broken(f"in {path} is {sorted(set(os.listdir(path)) ^ wanted)}, or is missing") from None

    def check_groups(self):
        """Of jobs; those of helpers stay as long as these do."""
        if not self.daemon.group:
            return
        left = [name for name in os.listdir(self.daemon.group) if name.startswith("job-")]
        if left:
            raise Broken(f"cgroups are left: {left}")

    def check_totals(self, n_jobs):
        """Each end counts once, whatever died when."""
        text = self.call("Metrics", {})["openmetrics"]
        n = sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith("pppctl_jobs_total{"))
        if n != n_jobs:
            raise Broken(f"{n_jobs} jobs have ended, {n} were counted")

    def stop(self):
        """In order; nothing of it may be left."""
        self.terminate()
        self.restarts -= 1                      # it is none
        left = self.daemon.leftovers()
        if left:
            groups = [path for group in self.daemon.groups for path, _, _ in os.walk(group)]
            raise Broken(f"left behind: {left}; groups: {groups}")

    def clean_up(self):
        if self.daemon.running():
            self.daemon.kill()
        self.daemon.clean_up()
        process.reap_orphans()
