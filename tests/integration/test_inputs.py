"""Inputs that are wrong or many: numbers, files, a million of them."""

import json
import os
import threading

from harness import settings
from harness.case import LEVELS, Case
from harness.poll import wait_until
from harness.process import status_field

MEMORY_LIMIT = 200 << 20


class Numbers(Case):
    CASES = {
        "sum": {"five": "not-a-number", "1.5": "not-a-number", "0x10": "not-a-number", "1e3": "not-a-number", " 5": "not-a-number",
                "5 ": "not-a-number", "٣": "not-a-number", "--5": "not-a-number", "-1": "negative", "4294967297": "too-large",
                "18446744073709551616": "too-large", "9" * 1000: "too-large"},
        "sleep": {"soon": "not-a-number", "-0.1": "negative", "nan": "not-a-number", "inf": "not-a-number",
                  "99999999999999999999": "too-large"},
        "mix": {"fly=1": "bad-part", "sleep=0,": "bad-part", "cpu=": "not-a-number", "crash=1": "not-a-number",
                "cpu=-1ms": "negative", "touch=2T": "too-large", "exit=256": "too-large", "read=/": "read"},
    }
    CASES["sum-array"] = {**CASES["sum"], "536870913": "too-large", "4294967296": "too-large"}

    def test_each_fails_as_what_it_is(self):
        for level in LEVELS:
            for workload, cases in self.CASES.items():
                path = self.write("list", "".join(f"{text}\n" for text in cases))
                result = self.daemon.pppctl("run", level, workload, "--from", path, "--json")
                self.assertEqual(result.status, 1, result)
                rows = {row["input"]: row for row in map(json.loads, result.out.splitlines()) if "input" in row}
                for text, reason in cases.items():
                    with self.subTest(level=level, workload=workload, text=text[:40]):
                        self.assert_failed(rows[text], reason)

    def test_the_messages(self):
        result = self.daemon.pppctl("run", "serial", "sum", "4294967297", "-1", "x")
        self.assertRegex(result.err, r"4294967297: failed: .*4294967296.*64 bits")
        self.assertRegex(result.err, r"-1: failed: .*negative")
        self.assertRegex(result.err, r"x: failed: .*not a number")
        result = self.daemon.pppctl("run", "serial", "sum-array", "536870913")
        self.assertRegex(result.err, r"536870913: failed: .*536870912 \(4 GiB\), sum adds up the same")

    def test_memory_that_cannot_be_had(self):
        """It is that task's failure, and says how much it was; the others go on."""
        if settings.sanitized():
            self.skipTest("sanitizers take more address space than a limit would leave")
        daemon = self.new_daemon("narrow", wrap=("prlimit", f"--as={3 << 30}"))
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "sum-array", ["500000000", "1000"], status=1, daemon=daemon)
                self.assert_failed(outcome.by_input["500000000"], "no-memory")
                self.assertIn("3815 MiB", outcome.by_input["500000000"]["why"])
                self.assertEqual(outcome.by_input["1000"]["value"], 499500)

    def test_the_largest_sum_fits(self):
        """2^32 is the last; its result needs 63 bits and takes seconds, so it is cancelled by its timeout."""
        outcome = self.run_job("serial", "sum", ["4294967296"], "--task-timeout", "0.2", status=1)
        self.assert_failed(outcome.rows[0], "timeout")

    def test_values_past_32_bits(self):
        n = 92682 * 3
        self.assert_values(self.run_job("serial", "sum", [n]), {str(n): n * (n - 1) // 2})


class Files(Case):
    def test_missing_directory_and_not_a_file(self):
        good = self.write("good", "three words here")
        for level in LEVELS:
            with self.subTest(level=level):
                missing, below = self.path("missing"), good + "/below"
                outcome = self.run_job(level, "words", [missing, self.temp, below, good], status=1)
                self.assert_failed(outcome.by_input[missing], "open")
                self.assert_failed(outcome.by_input[below], "open")
                self.assertIn(outcome.by_input[self.temp]["reason"], ("open", "read"))
                self.assertEqual(outcome.by_input[good]["value"], 3)
        result = self.daemon.pppctl("run", "async", "words", self.path("missing"), self.temp)
        self.assertRegex(result.err, r"missing: failed: cannot open: No such file or directory")
        self.assertRegex(result.err, r"failed: cannot (open|read): Is a directory")

    def test_a_name_that_is_too_long(self):
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", ["/tmp/" + "x" * 300, "/" + "y/" * 3000], status=1)
                self.assertEqual({row["reason"] for row in outcome.rows}, {"open"})

    def test_a_loop_of_links(self):
        link = self.path("link")
        os.symlink(link, link)
        outcome = self.run_job("async", "words", [link], status=1)
        self.assert_failed(outcome.rows[0], "open")

    def test_a_file_that_grows_while_it_is_read(self):
        """The job ends, and the count is between what was there before and what is there after."""
        for level in LEVELS:
            with self.subTest(level=level):
                path = self.write(f"grows-{level}", "word " * 200_000)
                stop = threading.Event()
                thread = threading.Thread(target=_append, args=(path, stop))
                thread.start()
                try:
                    outcome = self.run_job(level, "words", [path] * 20)
                finally:
                    stop.set()
                    thread.join()
                after = os.path.getsize(path) // 5
                for row in outcome.rows:
                    self.assertEqual(row["state"], "done")
                    self.assertGreaterEqual(row["value"], 200_000)
                    self.assertLessEqual(row["value"], after + 1)

    def test_a_file_that_is_cut_while_it_is_read(self):
        path = self.path("shrinks")
        for level in LEVELS:
            with self.subTest(level=level):
                with open(path, "w") as file:
                    file.write("word " * 2_000_000)
                job = self.daemon.submit(level, "words", [path] * 50)
                os.truncate(path, 4096)
                shown = self.daemon.wait(job)
                self.assertEqual((shown["state"], shown["tasks_failed"]), ("done", 0), shown)

    def test_a_pipe_is_bounded_by_the_task_timeout(self):
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        for level in LEVELS:
            with self.subTest(level=level):
                result = self.daemon.pppctl("run", level, "words", fifo, "--task-timeout", "0.3", timeout=10)
                self.assertIn(result.status, (0, 1), f"the job hangs\n{result}")
                for job in self.daemon.unfinished():
                    self.daemon.cancel(job)

    def test_inputs_of_the_longest_length(self):
        text = "x" * 65536
        outcome = self.run_job("async", "sum", ["7", text], status=1)
        self.assertEqual(outcome.by_input["7"]["value"], 21)
        self.assert_failed(outcome.by_input[text], "not-a-number")

    def test_inputs_that_are_no_utf8(self):
        """File names are bytes; what is printed and the JSON must not break over them."""
        name = os.path.join(self.temp.encode(), b"caf\xe9 \x1b[31m")
        with open(name, "wb") as file:
            file.write(b"one two")
        result = self.daemon.pppctl("run", "serial", "words", "--from", "-", input=name + b"\n")
        self.assertEqual(result.status, 0, result)
        self.assertIn(b": 2 words\n", result.stdout)
        result = self.daemon.pppctl("run", "serial", "words", "--from", "-", "--json", input=name + b"\n")
        self.assertEqual(json.loads(result.out.splitlines()[0])["value"], 2, result)


def _append(path, stop):
    with open(path, "a") as file:
        while not stop.is_set() and file.tell() < 64 << 20:
            file.write("word " * 1000)
            file.flush()
            os.sched_yield()


class Many(Case):
    """A million inputs."""

    N = 1_000_000

    def setUp(self):
        self.list = self.path("million")
        if not os.path.exists(self.list):
            with open(self.list, "w") as file:
                file.write("0\n" * self.N)

    def test_a_million_at_every_level(self):
        for level in LEVELS:
            with self.subTest(level=level):
                daemon = self.fresh(f"million-{level}")
                result = daemon.pppctl("run", level, "sleep", "--from", self.list, timeout=100)
                self.assertEqual(result.status, 0, _head(result))
                self.assertEqual(result.out.count("\n"), self.N)
                peak = self.peak(daemon, result)
                self.assert_memory(sum(peak.values()), MEMORY_LIMIT, peak)

    def peak(self, daemon, result):
        """Peak resident sets; pages shared by two processes count in both."""
        with daemon.connect() as client:
            job = client.stream("io.pppctl.Jobs.List", {"limit": 1})[0]["job"]
        self.assertEqual((job["tasks_done"], job["tasks_failed"]), (self.N, 0))
        return {"daemon": status_field(daemon.pid, "VmHWM"), "runner and workers": job["summary"]["rss_peak_bytes"],
                "pppctl": result.peak_bytes}

    def test_json_of_a_million(self):
        result = self.daemon.pppctl("run", "threads", "sleep", "--from", self.list, "--json", timeout=100)
        self.assertEqual(result.status, 0, _head(result))
        self.assertEqual(result.out.count("\n"), self.N + 1)

    def test_progress_of_a_million_can_be_watched(self):
        job = self.daemon.pppctl("run", "serial", "sleep", "--from", self.list, "--detach")
        self.assertEqual(job.status, 0, job)
        number = int(job.out.split()[-1])
        wait_until(lambda: self.daemon.show(number)["state"] == "done", "the end", 60)
        self.assertEqual(self.daemon.show(number)["tasks_done"], self.N)


def _head(result):
    return str(result)[:2000]
