"""Ending a job early: cancel, Ctrl-C, clients that leave, --timeout. And what then is left: nothing."""

import json
import os
import re
import signal

from harness import settings
from harness.case import LEVELS, Case
from harness.daemon import PPPCTL, descendants
from harness.oddserver import OddServer, never
from harness.poll import wait_until
from harness.process import alive


class Cancel(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def in_flight(self, level, workload, inputs, **options):
        """A running job and the pids of its processes."""
        job = self.daemon.submit(level, workload, inputs, **options)
        runner = self.daemon.runner(job)
        wait_until(lambda: self.daemon.show(job)["state"] == "running", f"job {job} running")
        if level == "processes":
            wait_until(lambda: descendants(runner), "workers")
        return job, [runner, *descendants(runner)]

    def sleeping(self, level, n, **options):
        """The same of n tasks that sleep, when one that does not has its record: its runner hears signals by then."""
        job, pids = self.in_flight(level, "sleep", ["0"] + ["60"] * n, **options)
        wait_until(lambda: any(self.daemon.rows(job)), "a first record")
        return job, pids

    def assert_cancelled(self, job, pids):
        shown = self.daemon.show(job)
        self.assertEqual((shown["state"], shown.get("reason")), ("cancelled", "cancelled"), shown)
        self.assertFalse([pid for pid in pids if alive(pid)])
        if self.daemon.group:
            self.assertFalse(os.path.exists(self.daemon.job_group(job)))

    def cancel(self, job, pids):
        """Its runner ended by itself: had it waited for a task, it would have been killed without its measures."""
        summary = self.daemon.cancel(job)["summary"]
        self.assertIn("measuring_seconds", summary)
        self.assert_cancelled(job, pids)

    def test_sleeping_tasks(self):
        for level in LEVELS:
            with self.subTest(level=level):
                self.cancel(*self.sleeping(level, 100))

    def test_computing_tasks(self):
        for level in LEVELS:
            with self.subTest(level=level):
                job, pids = self.in_flight(level, "sum", [4294967296] * 100)
                self.daemon.cancel(job)
                self.assert_cancelled(job, pids)

    def test_fetching_tasks(self):
        url = self.server.on("/never", never(self.server))
        for level in LEVELS:
            with self.subTest(level=level):
                before = self.server.counts["/never"]
                job, pids = self.in_flight(level, "words", [url] * 20)
                wait_until(lambda: self.server.counts["/never"] > before, "a request in flight")
                self.cancel(job, pids)

    def test_a_thousand_in_flight_at_async(self):
        n = 200 if settings.sanitized() else 1000       # it leaves within 2 s, or is killed
        self.cancel(*self.sleeping("async", n, workers=n + 1))

    def test_reading_a_pipe_nobody_writes_to(self):
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        for level in LEVELS:
            with self.subTest(level=level):
                job = self.daemon.submit(level, "words", [fifo])
                self.daemon.cancel(job)
                self.assertIn(self.daemon.show(job)["state"], ("cancelled", "done"))

    def test_what_was_recorded_is_kept(self):
        job = self.daemon.submit("threads", "sleep", ["0"] * 10 + ["60"] * 4, workers=2)
        wait_until(lambda: sum(row is not None for row in self.daemon.rows(job)) == 10, "ten records")
        self.daemon.cancel(job)
        self.assertEqual([row is not None for row in self.daemon.rows(job)], [True] * 10 + [False] * 4)
        summary = self.daemon.show(job)["summary"]
        self.assertEqual((summary["tasks_done"], summary["tasks_total"], summary["state"]), (10, 14, "cancelled"))

    def test_pppctl_cancel(self):
        job, pids = self.in_flight("async", "sleep", [60] * 10)
        result = self.daemon.pppctl("cancel", job)
        self.assertEqual(result.status, 0, result)
        self.assert_cancelled(job, pids)

    def test_cancel_of_a_job_that_has_ended_changes_nothing(self):
        job = self.run_job("serial", "sum", ["5"]).summary["job"]
        self.daemon.pppctl("cancel", job)
        self.assertEqual(self.daemon.show(job)["state"], "done")

    def test_two_cancel_at_once(self):
        job, pids = self.in_flight("threads", "sleep", [60] * 4)
        with self.daemon.connect() as one, self.daemon.connect() as two:
            for client in (one, two):
                client.send(f"{PPPCTL}.Cancel", {"job": job})
            replies = [client.reply()[0]["job"]["state"] for client in (one, two)]
        self.assertEqual(replies, ["cancelled", "cancelled"])
        self.assert_cancelled(job, pids)

    def test_timeout_of_the_job(self):
        for level in LEVELS:
            with self.subTest(level=level):
                result = self.daemon.pppctl("run", level, "sleep", "60", "60", "0", "--timeout", "0.3")
                self.assertNotEqual(result.status, 0, result)
                self.assertLess(result.seconds, 30)
                self.assertRegex(result.err, r"(?i)time")
                job = self.newest()
                self.assertEqual((job["state"], job["reason"]), ("cancelled", "timeout"), job)

    def newest(self):
        with self.daemon.connect() as client:
            return client.stream(f"{PPPCTL}.List", {"limit": 1})[0]["job"]

    def test_task_timeout(self):
        for level in LEVELS:
            for workload, long in (("sleep", "60"), ("sum", "4294967296")):
                with self.subTest(level=level, workload=workload):
                    outcome = self.run_job(level, workload, [long, "0"], "--task-timeout", "0.2", status=1)
                    self.assert_failed(outcome.by_input[long], "timeout")
                    self.assertEqual(outcome.by_input["0"]["state"], "done")
                    self.assertLess(outcome.summary["work_seconds"], 30)


class Clients(Case):
    """What becomes of a job when its client leaves."""

    def test_interrupt_cancels_and_says_so(self):
        for level in LEVELS:
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(level=level, signal=number):
                    process, job = self.start(level, "sleep", "0", *["60"] * 4)
                    wait_until(lambda: b"0: " in process.so_far(), "the first line: pppctl follows the job")
                    process.signal(number)
                    result = process.wait(10)
                    self.assertEqual(result.status, 130 if number == signal.SIGINT else result.status, result)
                    self.assertRegex(result.err, re.compile("cancel|interrupt", re.I), result)
                    self.assertEqual(self.daemon.show(job)["state"], "cancelled", result)

    def test_an_interrupted_run_prints_what_is_done(self):
        process, job = self.start("threads", "sleep", "0", "60", "--workers", "2")
        wait_until(lambda: b"0: " in process.so_far(), lambda: f"the first line of {self.daemon.show(job)}")
        process.signal(signal.SIGINT)
        result = process.wait(10)
        self.assertEqual(result.status, 130, result)

    def test_an_interrupted_run_prints_its_summary(self):
        """As JSON the last line is the summary, whatever the end."""
        process, job = self.start("threads", "sleep", "0", "60", "--workers", "2", "--json")
        wait_until(lambda: b'"done"' in process.so_far(), "the first line")
        process.signal(signal.SIGINT)
        result = process.wait(10)
        self.assertEqual(result.status, 130, result)
        rows = [json.loads(line) for line in result.out.splitlines()]
        self.assertEqual([row.get("value") for row in rows[:-1]], [0], result)
        self.assertEqual((rows[-1]["schema"], rows[-1]["job"], rows[-1]["state"]), ("io.pppctl.summary", job, "cancelled"))

    def test_results_show_while_others_look_on(self):
        """`pppctl show` beside a run takes no progress away from it."""
        process, job = self.start("threads", "sleep", "0.3", "60", "--workers", "2")

        def shown():
            self.daemon.show(job)
            return b"0.3: " in process.so_far()
        wait_until(shown, "the first line")
        process.signal(signal.SIGINT)
        self.assertEqual(process.wait(10).status, 130)

    def test_a_killed_client_leaves_its_job_running(self):
        process, job = self.start("async", "sleep", "0.5")
        process.signal(signal.SIGKILL)
        process.wait()
        self.assertEqual(self.daemon.wait(job)["state"], "done")

    def test_a_client_that_closes_leaves_its_job_running(self):
        job = self.daemon.submit("serial", "sleep", ["0.3"])      # on a connection of its own, closed at once
        self.assertEqual(self.daemon.wait(job)["state"], "done")

    def test_on_disconnect_cancel(self):
        for level in LEVELS:
            with self.subTest(level=level):
                with self.daemon.connect() as client:
                    job = client.call(f"{PPPCTL}.Run", {"spec": {"level": level, "workload": "sleep"},
                                                        "inputs": ["60"], "on_disconnect": "cancel"})["job"]
                shown = self.daemon.wait(job, 10)
                self.assertEqual((shown["state"], shown["reason"]), ("cancelled", "disconnected"), shown)

    def test_on_disconnect_cancel_waits_for_its_own_connection(self):
        with self.daemon.connect() as client:
            job = client.call(f"{PPPCTL}.Run", {"spec": {"level": "async", "workload": "sleep"},
                                                "inputs": ["0.3"], "on_disconnect": "cancel"})["job"]
            self.daemon.connect().close()
            self.assertEqual(self.daemon.wait(job)["state"], "done")

    def test_a_client_that_leaves_while_it_waits(self):
        job = self.daemon.submit("async", "sleep", ["0.5"])
        for more in (False, True):
            with self.daemon.connect() as client:
                client.send(f"{PPPCTL}.Wait", {"job": job}, more=more)
        self.assertEqual(self.daemon.wait(job)["state"], "done")
        self.assert_alive()

    def test_a_reader_that_stops_reading(self):
        """`pppctl run | head -1`: a broken pipe is no success, and no crash of anybody's."""
        process, _ = self.pipe_to_head()
        self.assertNotIn(process, (-signal.SIGSEGV, -signal.SIGABRT, None))
        self.assert_alive()

    def pipe_to_head(self):
        import subprocess
        from harness.process import clean_environment
        popen = subprocess.Popen(self.daemon.pppctl_args("run", "async", "sleep", *["0"] * 2000),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment())
        line = popen.stdout.readline()
        popen.stdout.close()
        return popen.wait(30), line
