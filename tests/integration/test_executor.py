"""async with an executor: threads compute for the loop, which goes on with what waits."""

import json
import os

from harness import corpus, schema, settings
from harness.case import Case
from harness.oddserver import OddServer, body

SUMS = {str(n): n * (n - 1) // 2 for n in (0, 1, 1000, 12345)}
EXECUTOR = ("--executor", "threads")


class Executor(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(settings.source, "include/pppctl/summary.schema.json")) as file:
            cls.schema = json.load(file)

    def test_values(self):
        for workload in ("sum", "sum-array"):
            with self.subTest(workload=workload):
                outcome = self.run_job("async", workload, SUMS, *EXECUTOR, "--executor-workers", 3)
                self.assert_values(outcome, SUMS)
                self.assertEqual(schema.errors(outcome.summary, self.schema), [], outcome.summary)
                told = outcome.summary["executor"]
                self.assertEqual((told["kind"], told["workers"], told["calls"]), ("threads", 3, len(SUMS)))
                self.assertGreater(told["messages"] + told["eventfd_writes"], 0)

    def test_words(self):
        """Files and pages, in many charsets; what is too long to be kept is counted by the loop."""
        texts = corpus.texts()
        expected = {self.write(name, data): corpus.count(data) for name, data in texts.items()}
        server = OddServer().start()
        self.addCleanup(server.stop)
        page = "Käse\xa0x y".encode("iso-8859-1")
        expected[server.on("/page", body(page, "text/html; charset=latin1"))] = 3
        outcome = self.run_job("async", "words", expected, *EXECUTOR)
        self.assert_values(outcome, expected)
        long = {name for name, data in texts.items() if len(data) > 1 << 20}
        self.assertLessEqual(len(expected) - len(long) - 1, outcome.summary["executor"]["calls"])   # one may be empty
        expected = {self.write("long", b"one two " * 400_000): 800_000}
        outcome = self.run_job("async", "words", expected, *EXECUTOR)
        self.assert_values(outcome, expected)
        self.assertEqual(outcome.summary["executor"]["calls"], 0)

    def test_without_one(self):
        outcome = self.run_job("async", "sum", SUMS)
        self.assertNotIn("executor", outcome.summary)
        self.assertNotIn("executor", [entry["metric"] for entry in outcome.summary.get("unavailable", [])])

    def test_what_waits_goes_on(self):
        """On the loop, these sleeps would begin when all has been computed."""
        inputs = ["cpu=300ms", "cpu=300ms"] + ["sleep=10ms"] * 20
        outcome = self.run_job("async", "mix", inputs, *EXECUTOR, "--executor-workers", 1, "--workers", 22)
        ends = {kind: [row["end_seconds"] for row in outcome.rows if row["input"].startswith(kind)] for kind in ("cpu", "sleep")}
        self.assertLess(max(ends["sleep"]), max(ends["cpu"]))

    def test_default_workers(self):
        outcome = self.run_job("async", "sum", SUMS, *EXECUTOR)
        self.assertEqual(outcome.summary["executor"]["workers"], outcome.summary["host"]["cpus"])

    def test_each_loop_has_one(self):
        outcome = self.run_job("async", "sum", [str(n) for n in range(200)], *EXECUTOR, "--executor-workers", 1, "--loops", 3,
                               "--workers", 9)
        self.assertEqual(outcome.summary["executor"]["workers"], 3)
        self.assertEqual(outcome.summary["executor"]["calls"], 200)

    def test_cancelled_while_it_computes(self):
        job = self.daemon.submit("async", "mix", ["cpu=1h"] * 8 + ["sleep=1h"], executor="threads", executor_workers=2)
        self.daemon.runner(job)
        self.assertEqual(self.daemon.cancel(job)["state"], "cancelled")

    def test_time_limit_of_tasks(self):
        outcome = self.run_job("async", "mix", ["cpu=1h"] * 8, *EXECUTOR, "--executor-workers", 1, "--task-timeout", "0.1",
                               status=1)
        self.assertEqual({row["reason"] for row in outcome.rows}, {"timeout"})

    def test_a_crash_takes_all(self):
        """Threads share their process."""
        result = self.daemon.pppctl("run", "async", "mix", *EXECUTOR, "crash", "sleep=1h")
        self.assertEqual(result.status, 1, result)
        self.assertIn("runner-died: killed by signal 11", result.err)

    def test_compare(self):
        result = self.daemon.pppctl("compare", "sum", "--levels", "async+threads,async", "1000", "2000", "--json")
        self.assertEqual(result.status, 0, result)
        found = json.loads(result.out.splitlines()[-1])
        self.assertEqual([level["level"] for level in found["levels"]], ["async+threads", "async"])
        self.assertEqual(["executor" in level["runs"][0] for level in found["levels"]], [True, False])
        result = self.daemon.pppctl("compare", "sum", "--levels", "serial,async", *EXECUTOR, "1000")
        self.assertEqual(result.status, 0, result)

    def test_refused(self):
        for arguments, says in ((("threads", "sum", *EXECUTOR, "1"), ["--executor", "only the async level has an executor"]),
                                (("machines", "sum", *EXECUTOR, "1"), ["--executor", "nodes"]),
                                (("async", "sum", "--executor", "fibers", "1"), ["--executor takes threads", "fibers"]),
                                (("async", "sum", "--executor-workers", "2", "1"), ["--executor-workers", "ask for an executor"]),
                                (("async", "sum", *EXECUTOR, "--executor-workers", "0", "1"), ["--executor-workers", "0"]),
                                (("async", "sum", *EXECUTOR, "--executor-workers", "1025", "1"), ["--executor-workers", "1025"])):
            with self.subTest(arguments=arguments):
                result = self.daemon.pppctl("run", *arguments)
                self.assertEqual(result.status, 2, result)
                for text in says:
                    self.assertIn(text, result.err)
        result = self.daemon.pppctl("compare", "sum", "--levels", "async+threads,async+threads", "1")
        self.assertEqual(result.status, 2, result)
        self.assertIn("async+threads is there twice", result.err)
