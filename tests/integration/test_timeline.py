"""pppctl timeline: what is drawn is what the records say."""

import os
import re
import shutil
import struct

from harness import process
from harness.case import Case
from harness.poll import wait_until

USAGE, NO_JOB, NOT_ALLOWED = 2, 4, 5
FAILED = 1
ROW = re.compile(r"^ +(thread|process|slot|node)(?:e?s)? (\d+)(?:-(\d+))? [│|](.*)$")
EMPTY = " ┊:"
EPOCH_OFFSET = 56               # of epoch_ns in the header; runner_start_ns and runner_end_ns come next


def rows_of(text):
    """The rows of a picture: number of the first worker, and what is drawn."""
    return [(int(match[2]), match[4]) for line in text.splitlines() if (match := ROW.match(line))]


class Timeline(Case):
    def timeline(self, *args, width=80, **env):
        env = {"LC_ALL": "C.UTF-8", "COLUMNS": str(width), **env}
        return self.daemon.pppctl("timeline", *args, env=process.clean_environment(**env))

    def job(self, level, inputs, **options):
        job = self.daemon.submit(level, "sleep", inputs, **options)
        self.daemon.wait(job)
        return job

    def span(self, job):
        """When the runner began and ended, in the time of the records."""
        with open(os.path.join(self.daemon.state, "jobs", str(job), "results"), "rb") as file:
            epoch, start, end = struct.unpack_from("<qQQ", file.read(4096), EPOCH_OFFSET)
        return start - epoch, end - epoch

    def assert_bars(self, job, text):
        """Something is drawn where one of a worker's tasks was in progress, and nothing where none was."""
        records = [row for row in self.daemon.rows(job) if row]
        rows = rows_of(text)
        self.assertEqual([worker for worker, _ in rows], sorted({row.worker for row in records}), text)
        begin, end = self.span(job)
        for worker, drawn in rows:
            columns = len(drawn) / (end - begin)
            spans = [((row.start_ns - begin) * columns, (row.end_ns - begin) * columns)
                     for row in records if row.worker == worker]
            for i, cell in enumerate(drawn):
                inside = any(start - 0.1 <= i and i + 1 <= end + 0.1 for start, end in spans)
                outside = not any(start - 0.1 <= i + 1 and i <= end + 0.1 for start, end in spans)
                self.assertFalse(inside and cell in EMPTY, (worker, i, spans, text))
                self.assertFalse(outside and cell not in EMPTY, (worker, i, spans, text))

    def test_serial(self):
        job = self.job("serial", ["0.1", "0.2", "x", "0.1"])
        result = self.timeline(job)
        self.assertEqual((result.status, result.err), (0, ""), result)
        self.assertRegex(result.out, rf"job {job}  serial  sleep \(waits\)  1 thread  (?s:.*)3 done, 1 failed")
        self.assert_bars(job, result.out)
        self.assertIn("× a task that failed", result.out)

    def test_bars_of_threads_and_slots(self):
        for level, options in (("threads", {"workers": 3}), ("async", {"workers": 4}), ("processes", {"workers": 2})):
            with self.subTest(level=level):
                job = self.job(level, ["0.1", "0.25", "0.03", "0.2", "0.15", "0.1"], **options)
                for width in (60, 80, 200):
                    self.assert_bars(job, self.timeline(job, width=width).out)

    def test_threads_below_each_other(self):
        """The same tasks take a quarter of the columns at a level that is four times as fast."""
        serial, threads = self.job("serial", ["0.2"] * 4), self.job("threads", ["0.2"] * 4, workers=4)
        result = self.timeline(serial, threads, "--ascii")
        rows = rows_of(result.out)
        self.assertEqual([worker for worker, _ in rows], [0, 0, 1, 2, 3], result)
        self.assertEqual(rows[0][1].count("|"), 3, result)
        columns = len(rows[0][1])
        for _, drawn in rows[1:]:
            self.assertAlmostEqual(drawn.count("#") / columns, 0.25, delta=0.05, msg=result)
        self.assertIn("4 threads", result.out)
        self.assertRegex(result.out, r"up to 4 at once, mean [234]")     # a thread may begin late

    def test_slots_in_rows(self):
        job = self.job("async", ["1"] * 100)       # all of them begin before the first ends
        result = self.timeline(job)
        self.assertIn("100 slots in 12 rows", result.out)
        self.assertEqual([worker for worker, _ in rows_of(result.out)], list(range(0, 100, 9)), result)
        self.assertIn("░▒▓█ several tasks: how busy", result.out)

    def test_widths(self):
        job = self.job("threads", ["0.05"] * 40, workers=3)
        for width, columns in ((60, 60), (80, 80), (200, 200), (1, 60), (99999, 80)):
            with self.subTest(width=width):
                for args in ((job,), (job, "--ascii")):
                    lines = self.timeline(*args, width=width).out.splitlines()
                    self.assertEqual(max(map(len, lines)), columns, lines)

    def test_ascii(self):
        job = self.job("threads", ["0.05", "x"] * 10, workers=3)
        for args, env in (((), {"LC_ALL": "C"}), (("--ascii",), {}), ((), {"LC_ALL": "none.UTF-8"})):
            with self.subTest(args=args, env=env):
                result = self.timeline(job, *args, **env)
                self.assertTrue(result.out.isascii(), result)
                self.assertIn("x a task that failed", result.out)
        self.assertFalse(self.timeline(job).out.isascii())

    def test_colors(self):
        job = self.job("serial", ["0.05", "0.05"])
        self.assertNotIn("\033", self.timeline(job).out)
        self.assertNotIn("\033", self.timeline(job, "--color", "always", "--color", "never").out)
        colored = self.timeline(job, "--color", "always").out
        self.assertIn("\033[0;34", colored)
        lines = re.sub("\033\\[[0-9;]*m", "", colored).splitlines()
        self.assertEqual(max(map(len, lines)), 80, colored)

    def test_a_running_job(self):
        job = self.daemon.submit("threads", "sleep", ["0", "60"], workers=2)
        wait_until(lambda: any(self.daemon.rows(job)), "the first record")
        result = self.timeline(job)
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.out, r"1 of 2 threads  \S+ \S+ so far  1 done")
        self.assertIn("running: only what has ended is shown", result.out)
        self.daemon.cancel(job)
        self.assertRegex(self.timeline(job).out, r"1 done.*\s+.*cancelled")

    def test_a_job_in_the_queue(self):
        daemon = self.fresh("one", args=["--config", self.write("one.conf", "[jobs]\nmax_running = 1\n")])
        daemon.submit("serial", "sleep", ["60"])
        job = daemon.submit("serial", "sleep", ["60"])
        self.assert_says(daemon.pppctl("timeline", job), FAILED,
                         rf"cannot draw .* job {job}: it is in the queue.*pppctl wait {job}")

    def test_no_such_job(self):
        job = self.job("serial", ["0"])
        self.assert_says(self.timeline(job, 987654), NO_JOB, "987654", "pppctl list")
        self.assert_says(self.timeline(), USAGE, "needs the number of a job")
        self.assert_says(self.timeline(job, "x"), USAGE, '"x" is not the number of a job')

    def test_somebody_elses(self):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv to be another user")
        job = self.job("serial", ["0"])
        os.chmod(self.daemon.socket, 0o666)
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        result = process.run(other + self.daemon.pppctl_args("timeline", job), self.temp)
        self.assertEqual(result.status, NOT_ALLOWED, result)
        self.assertRegex(result.err, "allowed")

    def test_results_that_are_gone(self):
        job = self.job("serial", ["0"])
        os.unlink(os.path.join(self.daemon.state, "jobs", str(job), "results"))
        self.assert_says(self.timeline(job), FAILED, "results", str(job))

    def test_results_that_were_cut(self):
        job = self.job("serial", ["0"] * 5000)
        os.truncate(os.path.join(self.daemon.state, "jobs", str(job), "results"), 4096 + 32 * 10)
        self.assert_says(self.timeline(job), FAILED, "cut short")

    def compare(self, *args):
        env = process.clean_environment(LC_ALL="C.UTF-8", COLUMNS="80")
        return self.daemon.pppctl("compare", "sleep", "0.1", "0.1", "--levels", "serial,threads,async", *args, env=env)

    def test_compare(self):
        """One job of each level, in the order of the table, below it."""
        result = self.compare("--timeline")
        self.assertEqual((result.status, result.err), (0, ""), result)
        picture = result.out[result.out.index("\njob "):]
        self.assertEqual(re.findall(r"(?m)^job \d+  (\S+)  sleep", picture), ["serial", "threads", "async"], result)
        self.assertEqual([worker for worker, _ in rows_of(picture)], [0, 0, 1, 0, 1], result)
        self.assertLess(result.out.index("SPEED-UP"), result.out.index("\njob "), result)
        self.assertTrue(self.compare("--timeline", "--ascii").out.isascii())
        self.assertNotIn("\njob ", self.compare().out)

    def test_compare_of_several_runs(self):
        """The job in the middle is one whose wall time, as it is told, is between those of the others."""
        result = self.compare("--timeline", "--runs", "3")
        jobs = [int(number) for number in re.findall(r"(?m)^job (\d+)  ", result.out)]
        self.assertEqual(result.out.count("in the middle of 3 runs"), 3, result)
        for job in jobs:
            level = self.daemon.show(job)["spec"]["level"]
            with self.daemon.connect() as client:
                others = [reply["job"] for reply in client.stream("io.pppctl.Jobs.List", {"limit": 9})]
            walls = sorted(other["summary"]["wall_seconds"] for other in others if other["spec"]["level"] == level)
            self.assertEqual(self.daemon.show(job)["summary"]["wall_seconds"], walls[1], result)

    def test_compare_draws_no_json(self):
        self.assert_says(self.compare("--timeline", "--json"), USAGE, "--timeline draws, and --json prints data")
