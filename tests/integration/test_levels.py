"""Every workload at every level has the right values; the demo; what `pppctl run` prints."""

import json
import re

from harness import schema, settings
from harness.case import LEVELS, Case
from harness.oddserver import OddServer, together

DEMO = {"2016": 3794, "2017": 4123, "2018": 4334, "2019": 1953}
SUMS = {str(n): n * (n - 1) // 2 for n in (0, 1, 2, 3, 1000, 12345678)}


def load_schema():
    with open(f"{settings.source}/include/pppctl/summary.schema.json") as file:
        return json.load(file)


class Demo(Case):
    """`pppctl run LEVEL` alone: no network, no other server, no configuration."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def lines(self, level, *options):
        result = self.daemon.pppctl("run", level, *options)
        self.assertEqual(result.status, 0, result)
        return [line for line in result.out.splitlines() if re.match(r"20\d\d: ", line)], result

    def test_every_level_counts_the_four_pages(self):
        expected = sorted(f"{year}: {words} words" for year, words in DEMO.items())
        for level in LEVELS:
            with self.subTest(level=level):
                lines, result = self.lines(level)
                self.assertEqual(sorted(lines), expected, result)

    def test_ordered_keeps_the_order_of_the_inputs(self):
        lines, result = self.lines("async", "--ordered")
        self.assertEqual([line[:4] for line in lines], sorted(DEMO), result)

    def test_waiting_levels_overlap_the_pages(self):
        """Each page answers after 200 ms, so one after another they take 0.8 s. Together: four that are answered
        when all four have been asked for."""
        pages = [f"demo:{year}" for year in DEMO]
        self.assertGreater(self.run_job("serial", "words", pages).summary["work_seconds"], 0.79)
        url = self.server.on("/four", together(4))
        for level in ("threads", "processes", "async"):
            with self.subTest(level=level):
                self.assertGreater(self.run_job(level, "words", pages).summary["work_seconds"], 0.19)
                outcome = self.run_job(level, "words", [url] * 4, "--workers", 4)
                self.assertEqual([row.get("value") for row in outcome.rows], [3] * 4)

    def test_an_unknown_demo_page_fails_as_a_page_that_is_not_there(self):
        outcome = self.run_job("async", "words", ["demo:2016", "demo:1999"], status=1)
        self.assertEqual(sorted((row["state"], row.get("value")) for row in outcome.rows),
                         [("done", 3794), ("failed", None)])


class Values(Case):
    def test_sum(self):
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "sum", SUMS), SUMS)

    def test_sum_array(self):
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "sum-array", SUMS), SUMS)

    def test_default_inputs_of_sum(self):
        expected = {str(n): n * (n - 1) // 2 for n in (201600000, 201700000, 201800000, 201900000)}
        self.assert_values(self.run_job("processes", "sum"), expected)

    def test_sleep_sleeps(self):
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "sleep", ["0", "0.05", "0.1"])
                slept = {row["input"]: row["end_seconds"] - row["start_seconds"] for row in outcome.rows}
                self.assertEqual({row["state"] for row in outcome.rows}, {"done"})
                for text, seconds in slept.items():
                    self.assertGreaterEqual(seconds, float(text) * 0.999, slept)
                    self.assertLess(seconds, float(text) + 30, slept)

    def test_mix(self):
        """Parts in any order; the counter is the process's, so tasks one after the other add to one number."""
        path = self.write("some", "text")
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "mix", [f"cpu=1ms,sleep=10ms,read={path},touch=1M,alloc=1M,lock=1ms,cpu=1ms"])
                self.assertEqual(outcome.rows[0]["value"], 0)
                self.assertGreaterEqual(outcome.rows[0]["end_seconds"] - outcome.rows[0]["start_seconds"], 0.013)
        outcome = self.run_job("serial", "mix", ["shared=100", "locked=11"])
        self.assertEqual([row["value"] for row in outcome.rows], [100, 111])
        outcome = self.run_job("threads", "mix", [f"locked={n}" for n in range(100)], "--workers", 8)
        self.assertEqual(max(row["value"] for row in outcome.rows), sum(range(100)))

    def test_mix_ends_its_process(self):
        """Where a worker is a process it is the task's failure, and nobody else's."""
        outcome = self.run_job("processes", "mix", ["crash", "exit=3", "cpu=1ms"], status=1)
        why = {row["input"]: (row.get("reason"), row.get("detail")) for row in outcome.rows}
        self.assertEqual(why, {"crash": ("signal", 11), "exit=3": ("exit", 3), "cpu=1ms": (None, None)})
        for level in ("serial", "threads", "async"):
            with self.subTest(level=level):
                result = self.daemon.pppctl("run", level, "mix", "crash")
                self.assertEqual(result.status, 1, result)
                self.assertIn("runner-died: killed by signal 11 (Segmentation fault); input 1 was in progress", result.err)

    def test_mix_ends_the_process_of_all(self):
        """Whatever the status is: a runner's own would say that it was cancelled, is done, or came second."""
        for level in ("serial", "threads", "async"):
            for status in (0, 1, 3, 4, 77):
                with self.subTest(level=level, status=status):
                    result = self.daemon.pppctl("run", level, "mix", "cpu=1ms", f"exit={status}", "--workers", "1")
                    self.assertEqual(result.status, 1, result)
                    self.assertIn(f"failed (runner-failed: a task ended the process of all tasks, with exit status {status} (at "
                                  "the level processes it would have ended only its worker); input 2 was in progress)",
                                  result.err)

    def test_words_of_files(self):
        files = {self.write(f"file-{i}", b"one two  three\n" * i): 3 * i for i in range(20)}
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "words", files), files)

    def test_every_task_is_recorded_once(self):
        """Many short tasks and more workers than processors: no index is lost or done twice."""
        inputs = [str(n) for n in range(5000)]
        expected = {n: int(n) * (int(n) - 1) // 2 for n in inputs}
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "sum", inputs, "--workers", 1 if level == "serial" else 16)
                self.assertEqual(len(outcome.rows), len(inputs))
                self.assert_values(outcome, expected)

    def test_the_same_input_many_times(self):
        outcome = self.run_job("threads", "sum", ["10"] * 500)
        self.assertEqual([row["value"] for row in outcome.rows], [45] * 500)

    def test_several_loops(self):
        outcome = self.run_job("async", "sleep", ["0.02"] * 400, "--loops", 2, "--workers", 40)
        self.assertEqual(len(outcome.rows), 400)
        self.assertEqual(outcome.summary["loops"], 2)
        self.assertGreater(len({row["worker"] for row in outcome.rows}), 1)

    def test_the_window_bounds_what_is_in_flight(self):
        """20 pages, of which five are answered when five have been asked for; and never more than 5 at once."""
        server = OddServer().start()
        self.addCleanup(server.stop)
        url = server.on("/five", together(5))
        for level in ("threads", "processes", "async"):
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", [url] * 20, "--workers", 5)
                events = sorted([(row["start_seconds"], 1) for row in outcome.rows]
                                + [(row["end_seconds"], -1) for row in outcome.rows])
                at_once = highest = 0
                for _, step in events:
                    at_once += step
                    highest = max(highest, at_once)
                self.assertEqual(highest, 5, events)
                self.assertEqual({row.get("value") for row in outcome.rows}, {3})

    def test_async_takes_ten_thousand_in_flight(self):
        outcome = self.run_job("async", "sleep", ["0.2"] * 10000, "--workers", 10000, timeout=100)
        self.assertEqual({row["state"] for row in outcome.rows}, {"done"})
        self.assertLess(outcome.summary["work_seconds"], 60, "one after another this takes 2,000 s")


class Output(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def test_text_lines(self):
        path = self.write("three", "a b c")
        result = self.daemon.pppctl("run", "serial", "words", path)
        self.assertIn(f"{path}: 3 words", result.out.splitlines(), result)
        result = self.daemon.pppctl("run", "serial", "sum", 5, "-q")
        self.assertEqual((result.status, result.out, result.err), (0, "5: 10\n", ""), result)

    def test_data_goes_to_stdout_and_the_rest_to_stderr(self):
        result = self.daemon.pppctl("run", "serial", "sum", 5)
        self.assertEqual(result.out, "5: 10\n", result)

    def test_no_colours_in_a_pipe(self):
        result = self.daemon.pppctl("run", "async", "sum", 5, "x")
        self.assertNotIn("\x1b", result.out + result.err)

    def test_failures_are_lines_on_stderr(self):
        result = self.daemon.pppctl("run", "serial", "sum", 5, "five")
        self.assertEqual((result.status, result.out), (1, "5: 10\n"), result)
        self.assertRegex(result.err, r"(?m)^five: failed: .*number")

    def test_json_row(self):
        outcome = self.run_job("threads", "sum", ["7"])
        row = outcome.by_input["7"]
        self.assertEqual((row["state"], row["value"], row["worker"]), ("done", 21, 0), row)
        self.assertGreaterEqual(row["start_seconds"], 0)
        self.assertGreaterEqual(row["end_seconds"], row["start_seconds"])

    def test_inputs_from_a_file_and_from_stdin(self):
        path = self.write("numbers", "3\n4\n")
        for args, text in ((("--from", path), b""), (("--from", "-"), b"3\n4\n"), (("--from", "-"), b"3\n4")):
            with self.subTest(args=args, text=text):
                result = self.daemon.pppctl("run", "serial", "sum", *args, input=text)
                self.assertEqual((result.status, result.out), (0, "3: 3\n4: 6\n"), result)

    def test_detach_prints_the_job_and_returns(self):
        url = self.server.on("/held", together(2))
        result = self.daemon.pppctl("run", "async", "words", url, "--detach")
        self.assertEqual(result.status, 0, result)
        job = int(re.search(r"\d+", result.out).group())
        self.assertIn(self.daemon.show(job)["state"], ("queued", "running"))
        self.run_job("serial", "words", [url])          # the second of two: both are answered
        waited = self.daemon.pppctl("wait", job)
        self.assertEqual(waited.status, 0, waited)
        self.assertEqual(self.daemon.show(job)["state"], "done")


class Summary(Case):
    """The summary is what its schema says, and its numbers hang together."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.schema = load_schema()

    def test_the_schema_is_one_the_validator_knows(self):
        broken = {"schema": "io.pppctl.summary", "version": 2, "job": -1, "extra": 1}
        found = schema.errors(broken, self.schema)
        self.assertIn("$.version: 2 is not 1", found)
        self.assertIn("$.job: -1 is below 0", found)
        self.assertIn("$: wall_seconds is missing", found)

    def test_every_level_and_workload_validates(self):
        path = self.write("text", "some words " * 1000)
        inputs = {"words": [path, "demo:2016"], "sum": ["1000", "x"], "sum-array": ["1000"], "sleep": ["0.01", "0"],
                  "mix": ["cpu=1ms,sleep=1ms", "locked=3"]}
        for level in LEVELS:
            for workload, arguments in inputs.items():
                with self.subTest(level=level, workload=workload):
                    summary = self.run_job(level, workload, arguments, status=1 if "x" in arguments else 0).summary
                    self.assertEqual(schema.errors(summary, self.schema), [], summary)
                    self.assert_coherent(summary, level, workload, len(arguments))

    def assert_coherent(self, summary, level, workload, n):
        self.assertEqual((summary["level"], summary["workload"], summary["state"]), (level, workload, "done"))
        self.assertEqual(summary["tasks_total"], n)
        self.assertEqual(summary["tasks_done"] + summary["tasks_failed"], n)
        self.assertLessEqual(summary["work_seconds"], summary["wall_seconds"])
        self.assertLessEqual(summary["start_seconds"], summary["wall_seconds"])
        for name in ("queue_seconds", "service_seconds"):
            d = summary[name]
            self.assertLessEqual(d["p50"], d["p99"] * 1.001, summary)
            self.assertLessEqual(d["p99"], d["max"] * 1.04, summary)

    def test_what_is_absent_has_its_reason(self):
        """Each number of the schema is there, or listed, or belongs to another level."""
        elsewhere = {"ring": "async", "loops": "async", "workers_replaced": "processes", "workers_refused": "threads processes",
                     "coordinator": "machines", "machines": "machines", "executor": "of jobs that have one"}
        metrics = [name for name, rule in self.schema["properties"].items()
                   if rule.get("type") in ("integer", "number", "object") or "$ref" in rule]
        self.assertGreater(len(metrics), 25)
        for level in LEVELS:
            with self.subTest(level=level):
                summary = self.run_job(level, "sum", ["1000", "2000"]).summary
                listed = {item["metric"]: item["reason"] for item in summary["unavailable"]}
                missing = [name for name in metrics if name not in summary and name not in listed
                           and level in elsewhere.get(name, level)]
                self.assertEqual(missing, [], f"neither there nor explained: {summary}")
                self.assertEqual([name for name in listed if name in summary], [], "both there and explained away")
                self.assertNotIn("", listed.values())

    def test_cpu_time_is_that_of_the_work(self):
        """Adding is CPU time at user level, one thread's; sleeping costs nearly none."""
        work = self.run_job("serial", "sum", ["1000000000"]).summary
        if "cpu_user_seconds" not in work:
            self.skipTest("no cgroup here to count CPU time")
        self.assertGreater(work["cpu_user_seconds"], 0.1, "no processor adds 10^9 numbers faster")
        self.assertLess(work["cpu_user_seconds"], work["wall_seconds"] * 1.1 + 0.05, work)
        idle = self.run_job("serial", "sleep", ["3"]).summary
        self.assertLess(idle["cpu_user_seconds"] + idle["cpu_system_seconds"], 1.5, idle)

    def test_async_tells_of_its_ring(self):
        ring = self.run_job("async", "sleep", ["0.01"] * 100).summary["ring"]
        self.assertGreaterEqual(ring["completions"], 100)
        self.assertGreater(ring["submissions"], 0)
        self.assertGreater(ring["enters"], 0)

    def test_show_has_the_same_summary(self):
        summary = self.run_job("serial", "sum", ["10"]).summary
        shown = self.daemon.pppctl("show", summary["job"], "--json")
        self.assertEqual(shown.status, 0, shown)
        job = json.loads(shown.out)
        self.assertEqual(job["summary"], summary)
