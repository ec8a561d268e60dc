"""The processes level: every worker a process in a cgroup of its own; a killed one costs one task."""

import os
import signal
import threading

from harness import process, settings
from harness.case import TEST_SECONDS, Case
from harness.daemon import read_pids
from harness.oddserver import OddServer, body
from harness.poll import wait_until
from harness.process import alive
from harness.results import DONE, FAILED, reasons


class Workers(Case):
    seconds = TEST_SECONDS + settings.kills

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.release = threading.Event()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)
        cls.addClassCleanup(cls.release.set)

    def held(self, connection, count):
        """A page that is answered when self.release is set."""
        self.release.wait()
        return body(b"")(connection, count)

    def busy_workers(self, job, n):
        """{N: pid} once n workers are there."""
        def there():
            workers = {i: pids[0] for i, pids in self.daemon.workers(job).items() if pids}
            return workers if len(workers) == n else None
        return wait_until(there, lambda: f"{n} workers of job {job}: {self.daemon.workers(job)}")

    def started(self, job, n):
        """Waits until n tasks of the job sleep: each worker is in one. Seen in the worker's wait channel."""
        workers = self.busy_workers(job, n)
        wait_until(lambda: all(_asleep(pid) for pid in workers.values()), f"{n} workers asleep")
        return workers

    def test_each_worker_has_a_group_of_its_own(self):
        if self.daemon.group is None:
            self.skipTest("no cgroup can be made here")
        job = self.daemon.submit("processes", "sleep", [60] * 3, workers=3)
        workers = self.busy_workers(job, 3)
        self.assertEqual(sorted(workers), [0, 1, 2])
        self.assertEqual(len(set(workers.values())), 3)
        runner = self.daemon.runner(job)
        self.assertIn(runner, read_pids(os.path.join(self.daemon.job_group(job), "runner")))
        self.assertEqual(read_pids(self.daemon.job_group(job)), [], "a group with children holds no process")
        self.daemon.cancel(job)
        self.assertFalse(os.path.exists(self.daemon.job_group(job)))
        self.assertFalse([pid for pid in workers.values() if alive(pid)])

    def test_a_killed_worker_is_the_failure_of_its_task_alone(self):
        """12 tasks, 3 workers; three tasks wait for a page, and one of their workers gets SIGKILL."""
        pages, files = [self.server.on(f"/held-{i}", self.held) for i in range(3)], ["/dev/null"] * 9
        job = self.daemon.submit("processes", "words", pages + files, workers=3)
        wait_until(lambda: all(self.server.counts[f"/held-{i}"] for i in range(3)), "three requests")
        victim, pid = sorted(self.busy_workers(job, 3).items())[1]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: any(row and row.state == FAILED for row in self.daemon.rows(job)), "its task's record")
        # The others wait, so it is the one in its place that does this.
        wait_until(lambda: any(row and row.state == DONE for row in self.daemon.rows(job)), "a new worker's record")
        self.release.set()
        shown = self.daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"], shown["tasks_failed"]), ("done", 11, 1), shown)
        rows = self.daemon.rows(job)
        failed = [row for row in rows if row.state == FAILED]
        self.assertEqual([(row.reason, row.detail, row.worker) for row in failed],
                         [(reasons()["SIGNAL"], signal.SIGKILL, victim)])
        self.assertEqual(sum(row.state == DONE for row in rows), 11)
        self.assertEqual(shown["summary"]["workers_replaced"], 1)

    def test_the_killed_worker_is_replaced(self):
        job = self.daemon.submit("processes", "sleep", ["60", "60"] + ["60"] * 4, workers=2)
        first = self.started(job, 2)
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: first[0] not in self.busy_workers(job, 2).values(), "a new worker")
        self.assertIn(first[1], self.busy_workers(job, 2).values(), "the other is left alone")
        self.daemon.cancel(job)

    def test_every_worker_is_killed_again_and_again(self):
        """Kills whatever worker shows up, ten times; every task has exactly one record in the end."""
        job = self.daemon.submit("processes", "sleep", ["0.3"] * 30, workers=2)
        killed = set()
        while len(killed) < 10:
            for pid in self.busy_workers(job, 2).values():
                if pid not in killed and _asleep(pid):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
        shown = self.daemon.wait(job)
        rows = self.daemon.rows(job)
        self.assertEqual(shown["state"], "done", shown)
        self.assertNotIn(None, rows)
        failed = [row for row in rows if row.state == FAILED]
        self.assertEqual({row.reason for row in failed}, {reasons()["SIGNAL"]})
        self.assertEqual((shown["tasks_failed"], shown["tasks_done"]), (len(failed), 30 - len(failed)))
        self.assertLessEqual(len(failed), len(killed))
        self.assertGreater(len(failed), 0, "a worker killed between two tasks costs none")
        self.assertEqual(shown["summary"]["workers_replaced"], len(killed), shown)

    def test_the_signal_is_named(self):
        process, job = self.start("processes", "sleep", "1.5", "0.01", "--workers", "2")
        for pid in self.started_any(job):
            os.kill(pid, signal.SIGUSR1)        # not SIGSEGV: sanitizers catch that
        result = process.wait()
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.err, r"1\.5: failed: .*signal.*10.*User defined signal 1")

    def started_any(self, job):
        """The pids of workers that sleep, once there is only the long task left to be in."""
        def asleep():
            rows = self.daemon.show(job)
            return rows["tasks_done"] == 1 and [pids[0] for pids in self.daemon.workers(job).values()
                                                if pids and _asleep(pids[0])]
        return wait_until(asleep, "the long task alone")

    def test_a_runner_that_is_killed_fails_the_job_and_no_other(self):
        other = self.daemon.submit("threads", "sleep", ["0.5"] * 2)
        job = self.daemon.submit("processes", "sleep", ["60"] * 4, workers=2)
        workers = self.started(job, 2)
        os.kill(self.daemon.runner(job), signal.SIGKILL)
        shown = self.daemon.wait(job)
        self.assertEqual((shown["state"], shown["summary"]["reason"]), ("failed", "runner-died"), shown)
        self.assertRegex(shown["reason"], "runner-died.*9")
        wait_until(lambda: not any(map(alive, workers.values())), "its workers to end with it")
        self.assertEqual(self.daemon.wait(other)["state"], "done")
        self.assert_alive()

    def test_a_stopped_worker_holds_up_only_its_own_task(self):
        job = self.daemon.submit("processes", "sleep", ["0.2"] * 2 + ["0.01"] * 20, workers=2)
        workers = self.started(job, 2)
        os.kill(workers[0], signal.SIGSTOP)
        wait_until(lambda: sum(row is not None for row in self.daemon.rows(job)) >= 1, "the other worker to go on")
        os.kill(workers[0], signal.SIGCONT)
        self.assertEqual(self.daemon.wait(job)["tasks_done"], 22)

    def test_a_stopped_worker_times_out(self):
        """It cannot look at its clock, so its parent ends it."""
        job = self.daemon.submit("processes", "sleep", ["60"] * 2 + ["0.01"] * 20, workers=2,
                                 task_timeout_seconds=3)
        os.kill(self.started(job, 2)[0], signal.SIGSTOP)
        shown = self.daemon.wait(job)
        rows = self.daemon.rows(job)
        self.assertEqual([(row.state, row.reason, row.detail) for row in rows[:2]],
                         [(FAILED, reasons()["TIMEOUT"], 0)] * 2)
        self.assertEqual((shown["tasks_done"], shown["tasks_failed"]), (20, 2))

    def test_workers_are_killed_wherever_they_are(self):
        """Tiny tasks, so that a kill comes between any two steps. PPPCTL_TEST_KILLS=2000 for a long look."""
        n, left, replaced = 16000, settings.kills, 0
        while left > 0:
            job = self.daemon.submit("processes", "sum", ["3"] * n, workers=3)
            killed = process.kill_while_there_is_progress(
                lambda: {pid for pids in self.daemon.workers(job).values() for pid in pids}, lambda: self.ended(job), left)
            left -= killed
            shown = self.daemon.wait(job)
            rows = self.daemon.rows(job)
            done, failed = (sum(row.state == state for row in rows if row) for state in (DONE, FAILED))
            self.assertEqual(shown["state"], "done", shown)
            self.assertEqual((done + failed, shown["tasks_done"], shown["tasks_failed"]), (n, done, failed))
            self.assertEqual({row.value for row in rows if row.state == DONE}, {3})
            self.assertEqual({row.reason for row in rows if row.state == FAILED} - {reasons()["SIGNAL"]}, set())
            self.assertLessEqual(failed, killed)
            replaced += shown["summary"]["workers_replaced"]
        self.assertGreater(replaced, 0)

    def ended(self, job):
        """How many of its tasks have; None once the job has."""
        shown = self.daemon.show(job)
        return shown["tasks_done"] + shown["tasks_failed"] if shown["state"] in ("queued", "running") else None

    def test_descriptors_are_not_handed_to_workers(self):
        """A worker has its job's files and no socket of the supervisor's."""
        job = self.daemon.submit("processes", "sleep", ["60"], workers=1)
        pid = self.started(job, 1)[0]
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        self.daemon.cancel(job)
        self.assertFalse([name for name in names if "jobs.db" in name or ".sock" in name], names)
        self.assertLess(len(names), 24, names)

    def test_more_workers_than_descriptors(self):
        """Those that can be had do the work; nothing else comes of it."""
        daemon = self.fresh("descriptors", wrap=["prlimit", "--nofile=40:40"])
        shown = daemon.wait(daemon.submit("processes", "sleep", ["0.01"] * 200, workers=100))
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 200), shown)


def _asleep(pid):
    try:
        with open(f"/proc/{pid}/syscall") as file:
            number = file.read().split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return number in CLOCK_NANOSLEEP


# clock_nanosleep, nanosleep, and the calls a sleep that hears of SIGTERM may be made of: ppoll, epoll_pwait, futex, …
CLOCK_NANOSLEEP = {"x86_64": {"230", "35", "7", "271", "232", "281", "202", "128", "61", "247"},
                   "aarch64": {"115", "101", "73", "22", "98", "137", "95"}}[os.uname().machine]
