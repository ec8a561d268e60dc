"""No two runners work on one job, whatever a supervisor that was killed did not get to note."""

import contextlib
import fcntl
import os
import shlex
import signal
import struct

from harness import process, results
from harness.case import Case
from harness.poll import wait_until
from harness.process import alive, reap_orphans

NOBODY = 65534
N_TASKS = 8

# In the place of the runner: the N-th start becomes the runner when the file go-N is there. With the file
# stubborn it outlives its supervisor meanwhile.
GATE = """#!/bin/sh
[ -e {home}/stubborn ] && trap '' TERM
echo $$ >> {home}/starts
n=$(wc -l < {home}/starts)
while [ ! -e {home}/go-$n ]; do sleep 0.02; done
exec {runner} "$@"
"""


def try_lock(file):
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    except BlockingIOError:
        return False
    return True


class OneRunner(Case):
    """Of a daemon whose jobs have no cgroup: nothing but the lock tells which process works on a job."""

    with_daemon = False

    def setUp(self):
        self.home = os.path.join(self.temp, self.id().rpartition(".")[2])
        os.mkdir(self.home)
        gate = os.path.join(self.home, "gate")
        with open(gate, "w") as file:
            file.write(GATE.format(home=shlex.quote(self.home), runner=shlex.quote(process.program("pppd-runner"))))
        os.chmod(gate, 0o755)
        wrap = []
        if os.getuid() == 0:
            os.chown(self.home, NOBODY, NOBODY)
            wrap = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        self.daemon = self.fresh(self.id().rpartition(".")[2], wrap=wrap, args=["--runner", gate],
                                 socket_path=f"{self.home}/sock", state=f"{self.home}/state")
        if self.daemon.group:
            self.skipTest("everybody may make cgroups here")

    def starts(self):
        """Process IDs of what was started as a runner, in order."""
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.home, "starts")) as file:
            return [int(line) for line in file]
        return []

    def started(self, n):
        """The N-th start."""
        return wait_until(lambda: len(self.starts()) >= n and self.starts()[n - 1], f"start {n} of a runner")

    def touch(self, name):
        with open(os.path.join(self.home, name), "w"):
            pass

    def let_go(self, n):
        self.touch(f"go-{n}")

    def recorded(self, job, n):
        wait_until(lambda: sum(row is not None for row in self.daemon.rows(job)) >= n, f"{n} records")

    def gone(self, pid):
        wait_until(lambda: reap_orphans() or not alive(pid), f"the end of process {pid}")

    def said(self, text, n=1):
        wait_until(lambda: self.daemon.log().count(text) >= n, f"{text!r} in the log")

    def restart(self):
        self.daemon.kill()
        self.daemon.start()

    def submit(self, seconds="0.1"):
        return self.daemon.submit("threads", "sleep", ["0"] + [seconds] * (N_TASKS - 1), workers=2)

    def assert_all_once(self, job):
        """A task that is run twice is counted twice in the file's header."""
        shown = self.daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"], shown["tasks_failed"]), ("done", N_TASKS, 0), shown)
        self.assertEqual([row.state for row in self.daemon.rows(job)], [results.DONE] * N_TASKS)
        header = results.header(os.path.join(self.daemon.state, "jobs", str(job), "results"))
        self.assertEqual((header.n_done, header.n_failed), (N_TASKS, 0))

    def two(self):
        """(job, first, second): a runner that the second supervisor can't know of, and one that it started."""
        self.touch("stubborn")
        job = self.submit()
        first = self.started(1)
        self.restart()
        return job, first, self.started(2)

    def test_a_runner_that_has_not_begun(self):
        """It ends with its supervisor, or it might begin when nobody expects it any more."""
        job = self.submit()
        first = self.started(1)
        self.daemon.kill()
        self.gone(first)
        self.let_go(2)
        self.daemon.start()
        self.assert_all_once(job)
        self.assertEqual(len(self.starts()), 2)

    def test_the_first_comes_late(self):
        job, first, second = self.two()
        self.let_go(2)
        self.recorded(job, 1)
        self.let_go(1)
        self.gone(first)
        with open(os.path.join(self.daemon.state, "jobs", str(job), "output")) as file:
            self.assertNotIn("error", file.read())
        self.assert_all_once(job)
        self.assertEqual(self.starts(), [first, second])

    def test_the_second_comes_late(self):
        """It leaves, and the first is taken over."""
        job, first, second = self.two()
        self.let_go(1)
        self.recorded(job, 1)
        os.kill(first, signal.SIGSTOP)          # it must not have done it all before the second has come
        self.let_go(2)
        self.said(f"took over job {job} (runner process {first})")
        os.kill(first, signal.SIGCONT)
        self.assertFalse(alive(second))
        self.assert_all_once(job)
        self.assertEqual(self.starts(), [first, second])

    def test_the_first_is_cancelled(self):
        """Whom it is asked of is the second, who leaves; it is for the first."""
        self.touch("stubborn")
        for before in (True, False):
            with self.subTest(before=before):
                n = len(self.starts())
                job = self.submit("60")
                first = self.started(n + 1)
                self.restart()
                self.started(n + 2)
                self.let_go(n + 1)
                self.recorded(job, 1)
                self.let_go(n + 2)
                if before:
                    self.said(f"took over job {job}")
                self.assertEqual(self.daemon.cancel(job)["state"], "cancelled")
                self.gone(first)

    def test_a_runner_at_work_is_taken_over(self):
        job = self.submit("1")
        self.let_go(1)
        first = self.started(1)
        self.recorded(job, 1)
        self.restart()
        self.assertIn(f"took over job {job} (runner process {first})", self.daemon.log())
        self.assert_all_once(job)
        self.assertEqual(self.starts(), [first])

    def test_what_a_dead_runner_left_behind(self):
        """It is waited for, and told once; a supervisor that stops leaves it to the next one."""
        job = self.submit("1")
        self.let_go(1)
        self.let_go(2)
        first = self.started(1)
        self.recorded(job, 1)
        self.daemon.kill()
        os.kill(first, 9)
        self.gone(first)
        with open(os.path.join(self.daemon.state, "jobs", str(job), "results"), "r+b") as file:
            # A leader of threads is a zombie already while the last of them still goes, and has the lock.
            wait_until(lambda: try_lock(file), "the dead runner's lock")
            for n in (1, 2):
                self.daemon.start()
                self.said(f"something still works on job {job}", n)
                self.assertEqual(self.daemon.show(job)["state"], "running")
                self.assertEqual(self.starts(), [first])
                if n == 1:
                    self.assertEqual(self.daemon.terminate(), 0)
        self.assert_all_once(job)
        self.assertEqual(len(self.starts()), 2)
        self.assertEqual(self.daemon.log().count("something still works on job"), 2)
