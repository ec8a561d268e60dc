"""Pausing a job and letting it go on: at every level, over restarts of the daemon, with a cgroup and without."""

import errno
import os
import signal
import time

from harness.case import LEVELS, Case
from harness.daemon import descendants
from harness.poll import wait_until
from harness.process import alive, reap_orphans
from harness.results import FAILED, reasons


def stopped(pid):
    """Whether a signal has stopped this process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return False


def frozen(daemon, job):
    if daemon.group is None:
        runner = daemon.find_runner(job)
        return runner is not None and all(stopped(pid) for pid in [runner, *descendants(runner)])
    try:
        with open(os.path.join(daemon.job_group(job), "cgroup.events")) as file:
            return "frozen 1" in file.read()
    except OSError as error:             # the group of a runner that was lost goes, before or while it is read
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return False


class Pause(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.daemon.group:
            cls.skipTest(cls, "jobs have no cgroups here")

    def begin(self, level, inputs, daemon=None, **options):
        """A running job that has at least one record."""
        daemon = daemon or self.daemon
        job = daemon.submit(level, "sleep", inputs, **options)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        return job

    def pause(self, job, daemon=None):
        daemon = daemon or self.daemon
        self.assertEqual(daemon.call("Pause", {"job": job})["job"]["state"], "paused")
        wait_until(lambda: frozen(daemon, job), "all processes frozen")

    def count(self, job, daemon=None):
        return sum(row is not None for row in (daemon or self.daemon).rows(job))

    def test_it_stands_still_and_goes_on(self):
        for level in LEVELS:
            with self.subTest(level=level):
                job = self.begin(level, ["0.02"] * 250, **({} if level == "serial" else {"workers": 2}))
                self.pause(job)
                before = self.count(job)
                time.sleep(0.3)         # in which a job that was not frozen would do ten more
                self.assertEqual(self.count(job), before)
                self.assertLess(before, 250)
                self.assertEqual(self.daemon.show(job)["state"], "paused")
                self.assertIn("paused", self.daemon.pppctl("list").out)
                self.assertEqual(self.daemon.call("Resume", {"job": job})["job"]["state"], "running")
                shown = self.daemon.wait(job)
                self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 250), shown)

    def test_the_verbs(self):
        job = self.begin("threads", ["0.01", "600"], workers=1)
        result = self.daemon.pppctl("pause", job)
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertRegex(result.err, rf"^job {job} is paused: 1 of 2 tasks")
        self.assertEqual(self.daemon.pppctl("pause", job).status, 0, "twice is as once")
        self.assertRegex(self.daemon.pppctl("show", job).out, rf"^job {job}: paused\n")
        result = self.daemon.pppctl("results", job)
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.err, rf"job {job} is paused: \d+ of \d+ tasks (have results|has a result)")
        result = self.daemon.pppctl("resume", job)
        self.assertRegex(result.err, rf"^job {job} is running", result)
        self.assertEqual(self.daemon.pppctl("resume", job, "-q").err, "")
        self.assertEqual(self.daemon.cancel(job)["state"], "cancelled")
        self.assert_says(self.daemon.pppctl("pause", job), 1, r"cannot pause the job: the job has ended: it is cancelled")
        self.assert_says(self.daemon.pppctl("resume", 999), 4, "there is no job 999")

    def test_cancel_of_a_paused_job(self):
        for level in LEVELS:
            with self.subTest(level=level):
                job = self.begin(level, ["0"] + ["60"] * 3, **({} if level == "serial" else {"workers": 2}))
                self.pause(job)
                shown = self.daemon.cancel(job)
                self.assertEqual((shown["state"], shown["tasks_done"]), ("cancelled", 1), shown)

    def test_cancel_is_no_kill(self):
        """It is thawed and told: its runner writes its measures, which one that is killed cannot."""
        job = self.begin("async", ["0", "60"])
        self.pause(job)
        self.assertIn("ring", self.daemon.cancel(job)["summary"])

    def test_its_timeout_goes_on(self):
        job = self.begin("threads", ["0", "60"], workers=2, timeout_seconds=1)
        self.pause(job)
        shown = self.daemon.wait(job)
        self.assertEqual((shown["state"], shown["reason"]), ("cancelled", "timeout"), shown)

    def test_a_sleep_goes_on(self):
        """It ends when its time has come, and not later by what the job was paused, at every level."""
        jobs = {level: self.begin(level, ["0", "5"], **({} if level == "serial" else {"workers": 1}))
                for level in LEVELS}
        for job in jobs.values():
            self.pause(job)
        began = time.monotonic()
        time.sleep(5.5)
        for job in jobs.values():
            self.daemon.call("Resume", {"job": job})
        paused = time.monotonic() - began
        for level, job in jobs.items():
            with self.subTest(level=level):
                self.assertEqual(self.daemon.wait(job)["tasks_done"], 2)
                row = self.daemon.rows(job)[1]
                self.assertLess((row.end_ns - row.start_ns) / 1e9, paused + 4)

    def test_a_task_whose_time_was_up_meanwhile(self):
        """It has timed out by itself: its worker is the same."""
        jobs = {level: self.begin(level, ["0", "60"], task_timeout_seconds=2,
                                  **({} if level == "serial" else {"workers": 1}))
                for level in LEVELS}
        for job in jobs.values():
            self.pause(job)
        time.sleep(5)
        for level, job in jobs.items():
            with self.subTest(level=level):
                self.daemon.call("Resume", {"job": job})
                shown = self.daemon.wait(job)
                row = self.daemon.rows(job)[1]
                self.assertEqual((row.state, row.reason, row.detail), (FAILED, reasons()["TIMEOUT"], 0))
                self.assertEqual(shown["summary"].get("workers_replaced", 0), 0)

    def test_one_in_the_queue_is_not_started(self):
        config = self.write("one.conf", "[jobs]\nmax_running = 1\n")
        daemon = self.fresh("queue", args=["--config", config])
        first = self.begin("serial", ["0", "60"], daemon)
        held, next_ = (daemon.submit("serial", "sleep", ["0"]) for _ in range(2))
        self.assertEqual(daemon.call("Pause", {"job": held})["job"]["state"], "paused")
        daemon.cancel(first)
        self.assertEqual(daemon.wait(next_)["state"], "done")
        self.assertEqual(daemon.show(held)["state"], "paused")
        daemon.terminate()
        daemon.start()
        self.assertEqual(daemon.show(held)["state"], "paused", "the next daemon keeps it")
        another = daemon.submit("serial", "sleep", ["0"])
        self.assertEqual(daemon.wait(another)["state"], "done", "it keeps nobody from starting")
        self.assertEqual(daemon.call("Resume", {"job": held})["job"]["state"], "queued")
        self.assertEqual(daemon.wait(held)["state"], "done")

    def test_a_daemon_that_is_killed(self):
        daemon = self.fresh("killed")
        job = self.begin("processes", ["0"] + ["0.2"] * 9, daemon, workers=2)
        self.pause(job, daemon)
        runner = daemon.runner(job)
        daemon.kill()
        daemon.start()
        self.assertTrue(alive(runner))
        self.assertEqual(daemon.show(job)["state"], "paused")
        self.assertTrue(frozen(daemon, job))
        daemon.call("Resume", {"job": job})
        self.assertEqual(daemon.wait(job)["tasks_done"], 10)
        reap_orphans()

    def let_go_on(self, daemon, job):
        """Behind the daemon's back."""
        if daemon.group is None:
            for pid in [daemon.runner(job), *descendants(daemon.runner(job))]:
                os.kill(pid, signal.SIGCONT)
            return
        with open(os.path.join(daemon.job_group(job), "cgroup.freeze"), "w") as file:
            file.write("0")

    def test_a_daemon_that_is_killed_before_it_has_paused_the_job(self):
        """That it is paused is stored first: the next daemon does the rest."""
        daemon = self.fresh("halfway")
        job = self.begin("processes", ["0"] + ["600"] * 2, daemon, workers=2)
        self.pause(job, daemon)
        runner = daemon.runner(job)
        daemon.kill()
        self.let_go_on(daemon, job)
        wait_until(lambda: not frozen(daemon, job), "the job goes on")
        daemon.start()
        self.assertTrue(alive(runner))
        self.assertEqual(daemon.show(job)["state"], "paused")
        wait_until(lambda: frozen(daemon, job), "all processes frozen")
        daemon.call("Resume", {"job": job})
        self.assertEqual(daemon.cancel(job)["tasks_done"], 1)
        reap_orphans()

    def test_a_daemon_that_is_stopped(self):
        """Its runner ends with it, so it must be let go on for that; the next daemon does not start it."""
        daemon = self.fresh("stopped")
        job = self.begin("threads", ["0"] + ["0.1"] * 5, daemon, workers=1)
        self.pause(job, daemon)
        began = time.monotonic()
        daemon.terminate()
        self.assertLess(time.monotonic() - began, 15, "it was not waited for")
        daemon.start()
        self.assertEqual(daemon.show(job)["state"], "paused")
        daemon.call("Resume", {"job": job})
        self.assertEqual(daemon.wait(job)["tasks_done"], 6)

    def test_a_runner_that_is_killed(self):
        """A paused job whose runner is lost is started again, and is paused again."""
        daemon = self.fresh("lost")
        job = self.begin("threads", ["0", "60"], daemon, workers=1)
        self.pause(job, daemon)
        runner = daemon.runner(job)
        daemon.kill()
        daemon.start()
        os.kill(runner, 9)
        wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
        wait_until(lambda: frozen(daemon, job), "another runner, frozen")
        self.assertEqual(daemon.show(job)["state"], "paused")


class NoGroup(Pause):
    """The same where jobs have no cgroup: each of their processes is stopped."""

    @classmethod
    def setUpClass(cls):
        super(Pause, cls).setUpClass()
        if cls.daemon.group:
            cls.skipTest(cls, "everybody may make cgroups here")

    @classmethod
    def new_daemon(cls, name, **options):
        if os.getuid() != 0:
            return super().new_daemon(name, **options)
        home = os.path.join(cls.temp, f"{name}.home")
        os.mkdir(home)
        os.chown(home, 65534, 65534)
        return super().new_daemon(name, wrap=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
                                  socket_path=f"{home}/sock", state=f"{home}/state", **options)

    def test_how_it_is_paused_is_told(self):
        job = self.begin("processes", ["0", "60", "60"], workers=2)
        self.pause(job)
        self.assertEqual(self.daemon.show(job)["paused_by"], "SIGSTOP")
        self.assertRegex(self.daemon.pppctl("show", job).out, r"(?m)^  paused by +SIGSTOP")
        self.assertNotIn("paused_by", self.daemon.call("Resume", {"job": job})["job"])
        self.daemon.cancel(job)
