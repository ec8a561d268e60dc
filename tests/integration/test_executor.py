"""async with an executor: threads or processes compute for the loop, which goes on with what waits."""

import json
import os
import signal
import time

from harness import corpus, process, results, schema, settings
from harness.case import Case
from harness.daemon import descendants
from harness.oddserver import OddServer, body
from harness.poll import wait_until

REASONS = results.reasons()
SUMS = {str(n): n * (n - 1) // 2 for n in (0, 1, 1000, 12345)}


class Shared:
    """What threads and processes have in common."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(settings.source, "include/pppctl/summary.schema.json")) as file:
            cls.schema = json.load(file)

    def test_values(self):
        for workload in ("sum", "sum-array"):
            with self.subTest(workload=workload):
                outcome = self.run_job("async", workload, SUMS, *self.EXECUTOR, "--executor-workers", 3)
                self.assert_values(outcome, SUMS)
                self.assertEqual(schema.errors(outcome.summary, self.schema), [], outcome.summary)
                told = outcome.summary["executor"]
                self.assertEqual((told["kind"], told["workers"], told["calls"]), (self.KIND, 3, len(SUMS)))
                self.assertGreater(told["messages"] + told["eventfd_writes"], 0)

    def test_words(self):
        """Files and pages, in many charsets; what is too long to be kept is counted by the loop."""
        texts = corpus.texts()
        expected = {self.write(name, data): corpus.count(data) for name, data in texts.items()}
        server = OddServer().start()
        self.addCleanup(server.stop)
        page = "Käse\xa0x y".encode("iso-8859-1")
        expected[server.on("/page", body(page, "text/html; charset=latin1"))] = 3
        outcome = self.run_job("async", "words", expected, *self.EXECUTOR)
        self.assert_values(outcome, expected)
        long = {name for name, data in texts.items() if len(data) > 1 << 20}
        self.assertLessEqual(len(expected) - len(long) - 1, outcome.summary["executor"]["calls"])   # one may be empty
        expected = {self.write("long", b"one two " * 400_000): 800_000}
        outcome = self.run_job("async", "words", expected, *self.EXECUTOR)
        self.assert_values(outcome, expected)
        self.assertEqual(outcome.summary["executor"]["calls"], 0)

    def test_what_waits_goes_on(self):
        """On the loop, these sleeps would begin when all has been computed."""
        inputs = ["cpu=300ms", "cpu=300ms"] + ["sleep=10ms"] * 20
        outcome = self.run_job("async", "mix", inputs, *self.EXECUTOR, "--executor-workers", 1, "--workers", 22)
        ends = {kind: [row["end_seconds"] for row in outcome.rows if row["input"].startswith(kind)] for kind in ("cpu", "sleep")}
        self.assertLess(max(ends["sleep"]), max(ends["cpu"]))

    def test_default_workers(self):
        outcome = self.run_job("async", "sum", SUMS, *self.EXECUTOR)
        self.assertEqual(outcome.summary["executor"]["workers"], outcome.summary["host"]["cpus"])

    def test_each_loop_has_one(self):
        outcome = self.run_job("async", "sum", [str(n) for n in range(200)], *self.EXECUTOR, "--executor-workers", 1, "--loops", 3,
                               "--workers", 9)
        self.assertEqual(outcome.summary["executor"]["workers"], 3)
        self.assertEqual(outcome.summary["executor"]["calls"], 200)

    def test_cancelled_while_it_computes(self):
        job = self.daemon.submit("async", "mix", ["cpu=1h"] * 8 + ["sleep=1h"], executor=self.KIND, executor_workers=2)
        self.daemon.runner(job)
        self.assertEqual(self.daemon.cancel(job)["state"], "cancelled")

    def test_time_limit_of_tasks(self):
        outcome = self.run_job("async", "mix", ["cpu=1h"] * 8, *self.EXECUTOR, "--executor-workers", 1, "--task-timeout", "0.1",
                               status=1)
        self.assertEqual({row["reason"] for row in outcome.rows}, {"timeout"})

    def test_same_lock_for_all(self):
        """Computing under it takes turns, whatever computes."""
        inputs = ["lock=20ms"] * 10
        outcome = self.run_job("async", "mix", inputs, *self.EXECUTOR, "--executor-workers", 4)
        self.assertGreaterEqual(outcome.summary["work_seconds"], 10 * 0.02)


class Threads(Shared, Case):
    KIND = "threads"
    EXECUTOR = ("--executor", KIND)

    def test_without_one(self):
        outcome = self.run_job("async", "sum", SUMS)
        self.assertNotIn("executor", outcome.summary)
        self.assertNotIn("executor", [entry["metric"] for entry in outcome.summary.get("unavailable", [])])

    def test_a_crash_takes_all(self):
        """Threads share their process."""
        result = self.daemon.pppctl("run", "async", "mix", *self.EXECUTOR, "crash", "sleep=1h")
        self.assertEqual(result.status, 1, result)
        self.assertIn("runner-died: killed by signal 11", result.err)

    def test_compare(self):
        result = self.daemon.pppctl("compare", "sum", "--levels", "async+threads,async", "1000", "2000", "--json")
        self.assertEqual(result.status, 0, result)
        found = json.loads(result.out.splitlines()[-1])
        self.assertEqual([level["level"] for level in found["levels"]], ["async+threads", "async"])
        self.assertEqual(["executor" in level["runs"][0] for level in found["levels"]], [True, False])
        result = self.daemon.pppctl("compare", "sum", "--levels", "serial,async", *self.EXECUTOR, "1000")
        self.assertEqual(result.status, 0, result)

    def test_refused(self):
        for arguments, says in ((("threads", "sum", *self.EXECUTOR, "1"), ["--executor", "only the async level has an executor"]),
                                (("machines", "sum", *self.EXECUTOR, "1"), ["--executor", "nodes"]),
                                (("async", "sum", "--executor", "fibers", "1"), ["--executor takes threads", "fibers"]),
                                (("async", "sum", "--executor-workers", "2", "1"), ["--executor-workers", "ask for an executor"]),
                                (("async", "sum", *self.EXECUTOR, "--executor-workers", "0", "1"), ["--executor-workers", "0"]),
                                (("async", "sum", *self.EXECUTOR, "--executor-workers", "1025", "1"), ["--executor-workers", "1025"])):
            with self.subTest(arguments=arguments):
                result = self.daemon.pppctl("run", *arguments)
                self.assertEqual(result.status, 2, result)
                for text in says:
                    self.assertIn(text, result.err)
        result = self.daemon.pppctl("compare", "sum", "--levels", "async+threads,async+threads", "1")
        self.assertEqual(result.status, 2, result)
        self.assertIn("async+threads is there twice", result.err)


class Processes(Shared, Case):
    KIND = "processes"
    EXECUTOR = ("--executor", KIND)

    def processes(self, job, name="pppd-executor"):
        """{pid: CPU time} of the processes of that name which the job has."""
        found = {}
        for pid in descendants(self.daemon.runner(job)):
            try:
                with open(f"/proc/{pid}/comm") as comm, open(f"/proc/{pid}/stat") as stat:
                    if comm.read().strip() == name:
                        found[pid] = int(stat.read().rpartition(")")[2].split()[11])
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def computing(self, job, n):
        """The pids of n processes, all of which compute."""
        return wait_until(lambda: (found := self.processes(job)) and len(found) == n and all(found.values()) and list(found),
                          f"{n} processes that compute")

    def start_computing(self, n, inputs, **options):
        job = self.daemon.submit("async", "mix", inputs, executor="processes", executor_workers=n, **options)
        return job, self.computing(job, n)

    def failed(self, job):
        """{index: row} of the tasks that have failed."""
        return {i: row for i, row in enumerate(self.daemon.rows(job)) if row and row.state == results.FAILED}

    def test_deaths_are_one_tasks_result(self):
        """As at the level processes; the others go on, in processes that take the places of the dead."""
        inputs = ["crash", "exit=7", "exit=0", "cpu=1ms,crash"] + ["cpu=1ms"] * 40
        expected = {"crash": ("signal", 11), "exit=7": ("exit", 7), "exit=0": ("exit", 0), "cpu=1ms,crash": ("signal", 11)}
        for level, options in (("processes", ("--workers", 2)), ("async", (*self.EXECUTOR, "--executor-workers", 2))):
            with self.subTest(level=level):
                outcome = self.run_job(level, "mix", inputs, *options, status=1)
                failed = {row["input"]: (row["reason"], row["detail"]) for row in outcome.rows if row["state"] == "failed"}
                self.assertEqual(failed, expected)
                self.assertEqual(len(outcome.rows), len(inputs))
        self.assertEqual(outcome.summary["executor"]["replaced"], 4)

    def test_killed_in_the_middle(self):
        job, (victim, *_) = self.start_computing(2, ["cpu=1h"] * 2)
        os.kill(victim, signal.SIGKILL)
        (_, row), = wait_until(lambda: self.failed(job), "the failure").items()
        self.assertEqual((row.reason, row.detail), (REASONS["SIGNAL"], signal.SIGKILL))
        left = wait_until(lambda: (found := self.processes(job)) and len(found) == 2 and found, "another in its place")
        self.assertNotIn(victim, left)
        self.assertEqual(self.daemon.cancel(job)["state"], "cancelled")
        self.assertEqual(len(self.failed(job)), 1)

    def test_ends_at_once(self):
        """Also where what computes does not look whether it is to end: it holds the lock that it waits for."""
        job, pids = self.start_computing(2, ["lock=1h"] + ["cpu=1h"] * 20, workers=21)
        begin = time.monotonic()
        self.assertEqual(self.daemon.cancel(job)["state"], "cancelled")
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual([pid for pid in pids if os.path.exists(f"/proc/{pid}")], [])

    def test_die_with_the_runner(self):
        job, pids = self.start_computing(2, ["cpu=1h"] * 2)
        pids += self.processes(job, "pppd-zygote")
        self.assertEqual(len(pids), 3)
        os.kill(self.daemon.runner(job), signal.SIGKILL)
        wait_until(lambda: not any(process.command_line(pid) for pid in pids), "the end of them all")
        self.assertIn("runner-died", self.daemon.wait(job)["reason"])

    def test_without_a_zygote(self):
        """Then nothing can be computed any more: what is left fails, and the job ends."""
        job, _ = self.start_computing(2, ["cpu=1h"] * 2 + ["cpu=1ms"] * 3, workers=2)
        zygote, = self.processes(job, "pppd-zygote")
        os.kill(zygote, signal.SIGKILL)
        self.daemon.wait(job)
        self.assertEqual({row.reason for row in self.daemon.rows(job)}, {REASONS["IO"]})

    def test_compare(self):
        result = self.daemon.pppctl("compare", "sum", "--levels", "async+processes,async", "1000", "2000", "--json")
        self.assertEqual(result.status, 0, result)
        found = json.loads(result.out.splitlines()[-1])
        self.assertEqual([level["level"] for level in found["levels"]], ["async+processes", "async"])
        self.assertEqual(found["levels"][0]["runs"][0]["executor"]["kind"], "processes")
