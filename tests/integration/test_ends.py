"""How jobs end is stored before it is told, and what was told is true after any restart."""

import contextlib
import json
import os
import re
import resource
import signal
import sqlite3
import struct
import time

from harness.case import Case
from harness.daemon import PPPCTL, remove_group
from harness.poll import wait_until
from harness.process import alive, reap_orphans
from harness.varlink import Error

BOOT_OFFSET = 32                # in the results file: of the boot, when it was made, and the epoch
START_OFFSET = 64               # of when its runner began, 0 before

END = {"SIGTERM": lambda daemon: daemon.terminate(), "SIGKILL": lambda daemon: daemon.kill()}


class Unstored(Case):
    """Ends while the database takes nothing, as on a full disk: they are as told after a restart too."""

    with_daemon = False

    def lock(self, daemon):
        """Another program that writes to the database: no row can be stored until it has ended that."""
        other = sqlite3.connect(os.path.join(daemon.state, "jobs.db"), isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        return other

    def stored(self, daemon, job):
        with contextlib.closing(sqlite3.connect(os.path.join(daemon.state, "jobs.db"))) as db:
            return db.execute("SELECT state FROM jobs WHERE number = ?", [job]).fetchone()[0]

    def listed(self, daemon):
        lines = daemon.pppctl("list", "--json").out.splitlines()
        return {shown["job"]: shown["state"] for shown in map(json.loads, lines)}

    def begin(self, daemon, inputs=("0", "600"), **options):
        job = daemon.submit("threads", "sleep", inputs, workers=1, **options)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        return job

    def started_again(self, daemon, how, lock):
        END[how](daemon)
        lock.close()
        daemon.start()

    def assert_ended(self, daemon, job, told):
        shown = daemon.show(job)
        names = "state", "reason", "tasks_done", "tasks_failed"
        self.assertEqual([shown.get(name) for name in names], [told.get(name) for name in names], daemon.log())
        self.assertEqual(self.stored(daemon, job), told["state"])
        self.assertIsNone(daemon.find_runner(job))
        self.assertAlmostEqual(shown["summary"]["wall_seconds"], told["summary"]["wall_seconds"], delta=1)

    def test_a_job_that_was_cancelled_stays_so(self):
        for how in END:
            with self.subTest(how=how):
                daemon = self.fresh(f"cancelled-{how}")
                job = self.begin(daemon)
                lock = self.lock(daemon)
                told = daemon.cancel(job)
                self.assertEqual(told["state"], "cancelled")
                self.assertEqual(daemon.show(job)["state"], "cancelled")
                self.assertEqual(self.stored(daemon, job), "running")
                self.started_again(daemon, how, lock)
                self.assert_ended(daemon, job, told)
                self.assertEqual(daemon.cancel(job)["state"], "cancelled")

    def test_one_that_never_started(self):
        config = self.write("one.conf", "[jobs]\nmax_running = 1\n")
        daemon = self.fresh("waits", args=["--config", config])
        first = self.begin(daemon)
        job = daemon.submit("serial", "sleep", ["0"])
        lock = self.lock(daemon)
        told = daemon.cancel(job)
        self.assertEqual(self.listed(daemon), {first: "running", job: "cancelled"})
        self.started_again(daemon, "SIGKILL", lock)
        self.assert_ended(daemon, job, told)
        daemon.cancel(first)
        reap_orphans()

    def test_other_ends(self):
        daemon = self.fresh("others")
        late, failed = self.begin(daemon, timeout_seconds=2), self.begin(daemon)
        lock = self.lock(daemon)
        os.kill(daemon.runner(failed), signal.SIGKILL)
        told = {job: daemon.wait(job) for job in (late, failed)}
        self.assertEqual(told[late]["reason"], "timeout")
        self.assertRegex(told[failed]["reason"], "runner-died: killed by signal 9")
        self.started_again(daemon, "SIGTERM", lock)
        for job in told:
            self.assert_ended(daemon, job, told[job])
        totals = daemon.call("Metrics")["openmetrics"]
        self.assertRegex(totals, r'pppctl_jobs_total\{[^}]*outcome="cancelled",reason="timeout"[^}]*\} 1\n')

    def test_it_is_stored_as_soon_as_that_is_possible(self):
        daemon = self.fresh("soon")
        job = self.begin(daemon)
        lock = self.lock(daemon)
        told = daemon.cancel(job)
        lock.close()
        wait_until(lambda: self.stored(daemon, job) == "cancelled", daemon.log)
        self.assertEqual(daemon.show(job)["summary"], told["summary"])

    def test_an_end_that_cannot_even_be_noted_is_not_told(self):
        daemon = self.fresh("nowhere")
        job = self.begin(daemon)
        lock = self.lock(daemon)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        for method in "Cancel", "Wait", "Show", "Pause", "Resume", "Results":
            with self.assertRaisesRegex(Error, f"Failed.*store the end of job {job}.*File too large"):
                daemon.call(method, {"job": job})
        self.assertEqual(self.listed(daemon), {job: "running"})
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        lock.close()
        wait_until(lambda: self.stored(daemon, job) == "cancelled", daemon.log)
        self.assertEqual(daemon.cancel(job)["state"], "cancelled")

    def test_a_pause_that_is_not_stored_is_refused(self):
        config = self.write("pause.conf", "[jobs]\nmax_running = 1\n")
        daemon = self.fresh("pause", args=["--config", config])
        running = self.begin(daemon)
        queued = daemon.submit("serial", "sleep", ["0"])
        for was, method, what in ("running", "Pause", "is paused"), ("paused", "Resume", "is to go on"):
            lock = self.lock(daemon)
            for job in running, queued:
                with self.assertRaisesRegex(Error, f"Failed.*store that job {job} {what}.*locked.*try again"):
                    daemon.call(method, {"job": job})
            states = {job: daemon.show(job)["state"] for job in (running, queued)}
            self.assertEqual(states, {running: was, queued: "paused" if was == "paused" else "queued"})
            lock.close()
            for job in queued, running:     # the other order would start the queued one
                daemon.call(method, {"job": job})
        self.assertEqual(daemon.cancel(running)["tasks_done"], 1)
        self.assertEqual(daemon.wait(queued)["state"], "done")

    def assert_interrupted(self, connection):
        with self.assertRaisesRegex(Error, "Interrupted"):
            while True:
                connection.reply(60)

    def test_nothing_is_asked_of_a_job_that_was_interrupted(self):
        """It is for the next supervisor; this one goes on to wait for those that still run."""
        daemon = self.fresh("left")
        held, left = self.begin(daemon), self.begin(daemon)
        runner = daemon.runner(held)
        lock = self.lock(daemon)
        with daemon.connect() as waiter, daemon.connect() as client:
            for connection, job in (waiter, held), (client, left):
                connection.send(f"{PPPCTL}.Wait", {"job": job}, more=True)
                connection.reply()
            os.kill(runner, signal.SIGSTOP)
            daemon.popen.terminate()
            self.assert_interrupted(client)
            for method in "Cancel", "Pause", "Resume", "Wait":
                with self.assertRaisesRegex(Error, "Interrupted"):
                    client.call(f"{PPPCTL}.{method}", {"job": left})
            self.assertEqual(client.call(f"{PPPCTL}.Show", {"job": held})["job"]["state"], "running")
            os.kill(runner, signal.SIGCONT)
            self.assert_interrupted(waiter)
        self.assertEqual(daemon.popen.wait(60), 0, daemon.log())
        daemon.kill()
        lock.close()
        daemon.start()
        for job in held, left:
            self.assertIn(daemon.show(job)["state"], ("queued", "running"))
            self.assertEqual(daemon.cancel(job)["tasks_done"], 1)


class Reboot(Case):
    """Jobs that are older than this boot: what their files say of time is of another clock."""

    with_daemon = False
    PASSED = 100_000                # seconds; more than most machines that run tests are up

    def reboot(self, daemon, job):
        """As if the machine had been booted since, and the job submitted that long ago."""
        with open(os.path.join(daemon.state, "jobs", str(job), "results"), "r+b", buffering=0) as file:
            boot_id = bytes(byte ^ 0xff for byte in os.pread(file.fileno(), 16, BOOT_OFFSET))
            created = time.time_ns() - self.PASSED * 10**9
            os.pwrite(file.fileno(), struct.pack("<16sQq", boot_id, created, 1), BOOT_OFFSET)

    def runner_start(self, daemon, job):
        with open(os.path.join(daemon.state, "jobs", str(job), "results"), "rb") as file:
            return struct.unpack("<Q", os.pread(file.fileno(), 8, START_OFFSET))[0]

    def test_time_goes_on(self):
        daemon = self.fresh("reboot")
        begun, late = (daemon.submit("threads", "sleep", ["0", "600"], workers=1, timeout_seconds=seconds)
                       for seconds in (2 * self.PASSED, self.PASSED / 2))
        for job in begun, late:
            wait_until(lambda: any(daemon.rows(job)), "a first record")
        daemon.terminate()
        for job in begun, late:
            self.reboot(daemon, job)
        daemon.start()
        self.assertEqual(daemon.wait(late)["reason"], "timeout")
        wait_until(lambda: self.runner_start(daemon, begun), "its runner has begun again")
        summary = daemon.cancel(begun)["summary"]
        for shown in summary, daemon.show(late)["summary"]:
            self.assertGreaterEqual(shown["wall_seconds"], self.PASSED)
            self.assertLess(shown["wall_seconds"], self.PASSED + 1000)
            self.assertAlmostEqual(shown["tasks_per_second"] * shown["wall_seconds"], 1, places=5)
        self.assertGreaterEqual(summary["start_seconds"], self.PASSED)
        self.assertLess(daemon.rows(begun)[0].end_ns, self.PASSED * 10**9)


class Parts(Case):
    """Jobs that are interrupted: what each of their parts used is told, and is used up."""

    with_daemon = False

    def cpu_time(self, daemon, job):
        with open(os.path.join(daemon.job_group(job), "cpu.stat")) as file:
            return int(re.search(r"usage_usec (\d+)", file.read())[1]) / 1e6

    def begin(self, name, n_tasks=100, **options):
        """A job of which no task is done before it has used some CPU time."""
        daemon = self.fresh(name)
        if daemon.group is None:
            self.skipTest("needs a cgroup")
        job = daemon.submit("serial", "sum", ["2000000000"] * n_tasks, **options)
        daemon.runner(job)
        return daemon, job

    def used(self, summary):
        return summary["cpu_user_seconds"] + summary["cpu_system_seconds"]

    def test_a_budget_does_not_begin_anew(self):
        daemon, job = self.begin("budget", cpu_time_max_seconds=1)
        wait_until(lambda: self.cpu_time(daemon, job) >= 0.7, "most of its budget is used")
        daemon.terminate()
        daemon.start()
        shown = daemon.wait(job)
        self.assertEqual((shown["state"], shown["reason"]), ("cancelled", "cpu-time-max"))
        self.assertTrue(shown["summary"]["resumed"])
        self.assertGreaterEqual(self.used(shown["summary"]), 1)
        self.assertLess(self.used(shown["summary"]), 1.6)
        totals = re.findall(r"pppctl_cpu_(?:user|system)_seconds_total\{.*\} (\S+)", daemon.call("Metrics")["openmetrics"])
        self.assertAlmostEqual(sum(map(float, totals)), self.used(shown["summary"]), places=3)

    def test_one_that_is_cancelled_before_it_goes_on(self):
        daemon, job = self.begin("waits")
        wait_until(lambda: self.cpu_time(daemon, job) >= 0.3, "some CPU time")
        daemon.call("Pause", {"job": job})      # so that the next daemon does not start it
        daemon.terminate()
        daemon.start()
        summary = daemon.cancel(job)["summary"]
        self.assertTrue(summary["resumed"])
        self.assertGreaterEqual(self.used(summary), 0.3)
        self.assertEqual(summary["cpu_source"], "cgroup")
        missing = {entry["metric"] for entry in summary["unavailable"]}
        self.assertFalse(missing & {"cpu_user_seconds", "cpu_system_seconds", "context_switches_voluntary"}, missing)

    def test_a_runner_that_ends_without_a_daemon(self):
        """Its group still tells."""
        daemon, job = self.begin("meanwhile", 1)
        runner = daemon.runner(job)
        daemon.kill()
        wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
        daemon.start()
        shown = daemon.wait(job, timeout=120)
        self.assertEqual(shown["state"], "done")
        self.assertGreater(self.used(shown["summary"]), 0)
        self.assertNotIn("resumed", shown["summary"])

    def test_a_part_that_is_lost(self):
        """A number that is not known of a part is not known of the job."""
        daemon, job = self.begin("lost", 2)
        runner = daemon.runner(job)
        wait_until(lambda: self.cpu_time(daemon, job) > 0.1, "some CPU time")
        daemon.kill()
        os.kill(runner, signal.SIGKILL)
        wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
        remove_group(daemon.job_group(job))
        daemon.start()
        shown = daemon.wait(job, timeout=120)
        self.assertEqual(shown["state"], "done")
        self.assertTrue(shown["summary"]["resumed"])
        self.assertNotIn("cpu_user_seconds", shown["summary"])
        missing = {entry["metric"]: entry["reason"] for entry in shown["summary"]["unavailable"]}
        self.assertIn("cgroup is gone", missing["cpu_user_seconds"])
        self.assertIn("started again", missing["page_faults_minor"])
        self.assertNotIn("cpu_source", shown["summary"])
