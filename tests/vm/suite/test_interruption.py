"""Stops, kills and hangs in the middle of a job: nothing is lost, nothing is left, nothing is done twice."""

import os
import signal

from case import Case
from commands import systemctl
from daemon import alive, kill, waits_for_reply
from harness.poll import wait_until

SLEEP = "0.5"
FEW, MANY = 14, 40      # four and ten seconds with two workers; a restart takes up to five under emulation
LONG = "100"            # longer than a test looks at it


class Interruption(Case):
    def begin(self, level="async", tasks=MANY):
        """A job that lasts, and what it has recorded so far."""
        job = self.pppd.submit(level, "sleep", [SLEEP] * tasks, workers=2)
        return job, self.pppd.recorded(job, 2)

    def check_stop(self, level):
        job, _ = self.begin(level, FEW)
        self.pppd.systemctl("stop", "pppd.socket", "pppd.service")
        self.assert_nothing_runs()
        self.assertEqual(self.pppd.get("Result"), "success")
        self.pppd.reset()
        before = self.pppd.rows(job)
        self.assertIn(self.pppd.show(job)["state"], ("queued", "running"))
        self.assert_complete(job, before)

    def test_stop_leaves_nothing_and_start_goes_on_async(self):
        self.check_stop("async")

    def test_stop_leaves_nothing_and_start_goes_on_processes(self):
        self.check_stop("processes")

    def test_restart_with_a_job(self):
        job, _ = self.begin("threads", FEW)
        self.pppd.restart()
        self.assert_complete(job)

    def check_kill(self, level, times):
        job, before = self.begin(level, times * MANY)
        runner = self.pppd.runner(job)
        for _ in range(times):
            self.assertTrue(self.kill_supervisor(), "the next one is in its leaf")
            self.assertTrue(alive(runner), "the runner goes on")
            self.assertEqual(self.pppd.show(job)["state"], "running")
            self.assertEqual(self.pppd.runner(job), runner, "it is the same runner")
        self.assert_complete(self.pppd.submit("processes", "sleep", ["0.1"] * 2))
        shown = self.assert_complete(job, before)
        self.assertGreater(shown["summary"]["cpu_user_seconds"], 0)
        wait_until(lambda: not self.pppd.job_groups(), lambda: f"no cgroup: {self.pppd.job_groups()}")

    def kill_supervisor(self):
        """SIGKILL to it alone; the process id of the next one."""
        pid = self.pppd.pid
        kill(pid)
        return self.pppd.await_new_pid(pid)

    def test_supervisor_killed_async(self):
        self.check_kill("async", 1)

    def test_supervisor_killed_again_and_again_processes(self):
        self.check_kill("processes", 2)

    def test_a_waiting_pppctl_gets_its_answer(self):
        """Whether it waits only, or prints results as they come: each is printed once."""
        job, _ = self.begin()
        waiting = self.begin_to_wait(job)
        running = self.pppd.pppctl_start("run", "async", "sleep", "0.1", "8", "--workers", "2")
        wait_until(running.output, "the first result", 20.0)
        self.kill_supervisor()
        results = waiting.wait(60), running.wait(60)
        for result in results:
            with self.subTest(result.args[2]):
                self.assert_ok(result)
        self.assertEqual([line.split(":")[0] for line in results[1].out.splitlines()], ["0.1", "8"])

    def begin_to_wait(self, job):
        """`pppctl wait`, once it has nothing to do."""
        waiting = self.pppd.pppctl_start("wait", job)
        self.addCleanup(waiting.kill)
        wait_until(lambda: waits_for_reply(waiting.pid), "pppctl wait", 20.0)
        return waiting

    def test_all_killed(self):
        """`systemctl kill -s KILL`: runners die too; the job is begun again from the tasks without a record."""
        job, _ = self.begin(tasks=FEW)
        waiting = self.begin_to_wait(job)
        before = self.pppd.recorded(job, 4)
        pid = self.pppd.pid
        systemctl("kill", "--signal=KILL", "pppd.service")
        self.pppd.await_new_pid(pid)
        self.assert_complete(job, before)
        self.assert_ok(waiting.wait(60))

    def test_a_runner_killed(self):
        """The job is not done, says why, and the daemon lives."""
        job, _ = self.begin()
        pid = self.pppd.pid
        kill(self.pppd.runner(job))
        shown = self.pppd.wait(job)
        self.assertEqual(shown["state"], "failed", shown)
        self.assertRegex(str(shown.get("reason")), "runner|killed|signal")
        self.assertEqual(self.pppd.pid, pid)


class GivenUp(Case):
    """systemd does not start the daemon again, and its runners go on: until it is started, or stopped."""

    config = "/etc/pppctl/pppctl.conf.d/test.conf"

    def setUp(self):
        super().setUp()
        os.makedirs(os.path.dirname(self.config), exist_ok=True)
        self.addCleanup(self.mend)

    def mend(self):
        if os.path.exists(self.config):
            os.unlink(self.config)

    def give_up(self):
        """A job whose daemon was killed, and does not start: (job, runner, records)."""
        job = self.pppd.submit("processes", "sleep", ["0.1", "0.1", LONG, LONG], workers=2)
        before = self.pppd.recorded(job, 2)
        runner = self.pppd.runner(job)
        with open(self.config, "w") as file:
            file.write("[jobs]\nmax_running = many\n")
        kill(self.pppd.pid)
        wait_until(lambda: self.pppd.get("ActiveState") == "failed", self.pppd.status, 60.0)
        self.assertTrue(alive(runner))
        return job, runner, before

    def test_a_stop_leaves_nothing(self):
        job, runner, before = self.give_up()
        self.pppd.stop()
        self.assert_nothing_runs()
        self.mend()
        self.pppd.reset()
        self.assertNotEqual(self.pppd.runner(job), runner, "the job goes on with another runner")
        self.assertEqual(self.pppd.rows(job)[:2], before[:2])

    def test_a_start_takes_over(self):
        """Also after the next crash."""
        job, runner, _ = self.give_up()
        self.mend()
        self.pppd.reset()
        self.assertEqual(self.pppd.runner(job), runner, "it is the same runner")
        pid = self.pppd.pid
        kill(pid)
        self.pppd.await_new_pid(pid)
        self.assertEqual(self.pppd.runner(job), runner, "it is the same runner still")

    def test_a_restart_takes_over(self):
        job, runner, _ = self.give_up()
        self.mend()
        self.pppd.restart()
        self.assertEqual(self.pppd.runner(job), runner, "it is the same runner")


class Watchdog(Case):
    def test_a_stopped_supervisor_is_restarted(self):
        """It no longer tells systemd that it gets on; the runner does, and is taken over."""
        period = self.pppd.get("WatchdogUSec")
        self.assertNotIn(period, ("", "0", "infinity"))
        restarts = int(self.pppd.get("NRestarts"))
        job = self.pppd.submit("async", "sleep", ["0.5"] * 160, workers=2)
        runner, pid = self.pppd.runner(job), self.pppd.pid
        os.kill(pid, signal.SIGSTOP)
        self.pppd.await_new_pid(pid, 90.0)
        self.assertEqual(int(self.pppd.get("NRestarts")), restarts + 1)
        self.assertEqual(self.pppd.runner(job), runner, "it is the same runner")
        self.pppd.call("Cancel", {"job": job})
