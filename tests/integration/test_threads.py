"""The threads level on its own: what threads share is used by all at once. Made for ThreadSanitizer too."""

import os

from harness import settings
from harness.case import Case
from harness.oddserver import OddServer, body, fail_first, never, send, together
from harness.poll import wait_until

SUMS = {str(n): n * (n - 1) // 2 for n in (0, 1, 2, 1000, 12345678)}


class Together(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def test_many_threads_and_many_tasks(self):
        inputs = {str(n): n * (n - 1) // 2 for n in range(20_000)}
        self.assert_values(self.run_job("threads", "sum", inputs, "--workers", 64), inputs)

    def test_files(self):
        directory = self.path("files")
        os.mkdir(directory)
        files = {}
        for i in range(400):
            path = os.path.join(directory, str(i))
            with open(path, "w") as file:
                file.write("wörter und\u2003mehr\n" * i)
            files[path] = 3 * i
        self.assert_values(self.run_job("threads", "words", files, "--workers", 16), files)

    def test_pages(self):
        """libcurl is loaded by whoever comes first, each thread has its own handle."""
        urls = {self.server.on(f"/{i}", body(b"a b c " * i)): 3 * i for i in range(200)}
        self.assert_values(self.run_job("threads", "words", urls, "--workers", 16), urls)

    def test_failures_and_retries(self):
        urls = [self.server.on(f"/flaky-{i}", fail_first(1, send(b""), body(b"x"))) for i in range(40)]
        outcome = self.run_job("threads", "words", urls, "--workers", 8, "--retries", 3)
        self.assertEqual([row["value"] for row in outcome.rows], [1] * 40)
        self.assertGreaterEqual(outcome.summary["tasks_retried"], 1)

    def test_task_timeouts(self):
        url = self.server.on("/never", never(self.server))
        outcome = self.run_job("threads", "words", [url] * 16, "--workers", 16, "--task-timeout", "0.2", status=1)
        self.assertEqual({row["reason"] for row in outcome.rows}, {"timeout"})
        outcome = self.run_job("threads", "sleep", ["60"] * 16, "--workers", 16, "--task-timeout", "0.2", status=1)
        self.assertEqual({row["reason"] for row in outcome.rows}, {"timeout"})

    def test_cancel_of_all_kinds(self):
        url = self.server.on("/never", never(self.server))
        for workload, text in (("sleep", "60"), ("sum", "4294967296"), ("words", url)):
            for options in ({}, {"gil": True}):
                with self.subTest(workload=workload, options=options):
                    job = self.daemon.submit("threads", workload, [text] * 64, workers=16, **options)
                    wait_until(lambda: self.daemon.show(job)["state"] == "running", "the job to run")
                    self.assertEqual(self.daemon.cancel(job)["state"], "cancelled")


class Gil(Case):
    """--gil: threads that compute do so one at a time, threads that wait do not."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def compute(self, *options):
        return self.run_job("threads", "sum", ["1000000000"] * 4, "--workers", 2, *options).summary

    def test_computing_threads_use_one_processor(self):
        """However many processors there are, and however noisy the machine."""
        summary = self.compute("--gil")
        if "cpu_user_seconds" not in summary:
            self.skipTest("no cgroup here to count CPU time")
        busy = summary["cpu_user_seconds"] + summary["cpu_system_seconds"]
        self.assertLess(busy / summary["work_seconds"], 1.5, summary)

    def test_computing_threads_take_turns(self):
        """With the lock they wait for each other every 5 ms, without it they never wait."""
        if settings.sanitized():
            self.skipTest("the sanitizer's own locks make threads wait")
        turns, free = self.compute("--gil"), self.compute()
        self.assertGreater(turns["context_switches_voluntary"], 2 * free["context_switches_voluntary"] + 20, (turns, free))

    def test_waiting_threads_let_go(self):
        url = self.server.on("/eight", together(8))
        outcome = self.run_job("threads", "words", [url] * 8, "--workers", 8, "--gil")
        self.assertEqual([row.get("value") for row in outcome.rows], [3] * 8)
        outcome = self.run_job("threads", "sleep", ["4"] * 8, "--workers", 8, "--gil")
        self.assertLess(outcome.summary["work_seconds"], 24, "32 s one after another")
        self.assertTrue(outcome.summary["gil"])

    def test_values_are_the_same(self):
        self.assert_values(self.run_job("threads", "sum", SUMS, "--gil"), SUMS)

    def test_every_thread_gets_its_turn(self):
        """The lock is handed over every 5 ms: the second of two long sums begins before the first has ended."""
        a, b = self.run_job("threads", "sum", ["4294967295", "4294967296"], "--workers", 2, "--gil").rows
        self.assertGreater(min(a["end_seconds"], b["end_seconds"]), max(a["start_seconds"], b["start_seconds"]))
