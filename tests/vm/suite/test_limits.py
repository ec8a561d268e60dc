"""Limits: each is written to the kernel, enforced by it, and told as a reason; or refused with the reason."""

import json
import os
import time

from case import Case, needs, tell
from harness.poll import wait_until

# Adds up for some seconds of emulation; measured first, since machines differ.
SUM_SECONDS = 3.0


def parse(result):
    """Rows by input, and the summary, of `pppctl run --json`."""
    lines = [json.loads(line) for line in result.out.splitlines()]
    return {row["input"]: row for row in lines if "input" in row}, lines[-1].get("summary", lines[-1])


class Limits(Case):
    def run_json(self, *args, timeout=90.0):
        result = self.pppd.pppctl("run", *args, "--json", timeout=timeout)
        try:
            return (*parse(result), result)
        except (ValueError, IndexError) as error:
            raise AssertionError(f"no JSON: {error}\n{result}") from error

    def read(self, job, file, group="."):
        path = os.path.join(self.pppd.job_group(job), group, file)
        with open(wait_until(lambda: os.path.exists(path) and path, path, 20.0)) as opened:
            return opened.read().strip()

    def begin(self, level, *options):
        """A job that lasts, made by pppctl; its number."""
        result = self.pppd.pppctl("run", level, "sleep", "20", "20", *options, "--detach")
        self.assert_ok(result)
        job = int(result.out)
        self.pppd.runner(job)
        return job

    def refused(self, *patterns, options):
        self.assert_says(self.pppd.pppctl("run", "async", "sleep", "0", *options), 2, *patterns)


@needs("--memory-max")
class Memory(Limits):
    def test_it_is_written(self):
        job = self.begin("async", "--memory-max", "64M")
        self.assertEqual(self.read(job, "memory.max"), str(64 << 20))

    @needs("--memory-high")
    @needs("--swap-max")
    def test_high_and_swap(self):
        job = self.begin("async", "--memory-high", "32M", "--swap-max", "0")
        self.assertEqual((self.read(job, "memory.high"), self.read(job, "memory.swap.max")), (str(32 << 20), "0"))

    def test_out_of_memory_is_that_tasks_result(self):
        """A task that takes 1 GB in 64 MB is killed; the others are done and the daemon lives."""
        pid = self.pppd.pid
        rows, summary, result = self.run_json("processes", "sum-array", "1000", "130000000", "2000", "3000",
                                              "--memory-max", "64M", "--workers", "2")
        self.assertEqual(result.status, 1, result)
        self.assertEqual(rows["130000000"]["state"], "failed", result)
        self.assertEqual(rows["130000000"]["reason"], "oom-killed", result)
        self.assertEqual({rows[i]["state"] for i in ("1000", "2000", "3000")}, {"done"}, result)
        self.assertEqual((summary["tasks_done"], summary["tasks_failed"]), (3, 1))
        self.assertEqual(self.pppd.pid, pid)
        shown = self.assert_ok(self.pppd.pppctl("show", summary["job"])).out
        self.assertRegex(shown, "(?i)oom|out of memory")
        self.assertIn("130000000: failed: ", self.pppd.pppctl("results", summary["job"]).err)

    def test_it_is_no_more_than_the_limit(self):
        _, summary, result = self.run_json("serial", "sum-array", "1000000", "--memory-max", "64M")
        self.assertEqual(result.status, 0, result)
        self.assertLessEqual(summary["memory_peak_bytes"], 64 << 20)


@needs("--pids-max")
class Pids(Limits):
    def test_it_is_written(self):
        job = self.begin("async", "--pids-max", "50")
        self.assertEqual(self.read(job, "pids.max"), "50")

    def test_more_workers_than_that(self):
        """The kernel refuses, and the job says so by that name."""
        result = self.pppd.pppctl("run", "processes", "sleep", *["1"] * 20, "--workers", "20", "--pids-max", "5")
        self.assertRegex(result.out + result.err, "pids")


@needs("--cpu-max")
class Cpu(Limits):
    def test_it_is_written(self):
        job = self.begin("async", "--cpu-max", "150%")
        quota, period = map(int, self.read(job, "cpu.max").split())
        self.assertAlmostEqual(quota / period, 1.5)

    def slowdown(self, n, *options):
        """How much longer `sum` takes than the CPU time it gets, which emulation on a busy machine stretches alike."""
        rows, summary, result = self.run_json("serial", "sum", n, *options)
        self.assertEqual(result.status, 0, result)
        wall = summary["service_seconds"]["max"]
        return wall, wall / (summary["cpu_user_seconds"] + summary["cpu_system_seconds"])

    def test_half_a_cpu_takes_twice_as_long(self):
        trial, _ = self.slowdown("20000000")
        n = str(int(20000000 * SUM_SECONDS / trial))
        (_, whole), (wall, half) = self.slowdown(n), self.slowdown(n, "--cpu-max", "50%")
        tell(f"sum with half a CPU takes {half / whole:.2f} times as long ({wall:.2f} s)")
        self.assertGreater(half / whole, 1.8)
        self.assertLess(half / whole, 2.2)

    @needs("--cpu-weight")
    def test_weight(self):
        job = self.begin("async", "--cpu-weight", "50")
        self.assertEqual(self.read(job, "cpu.weight"), "50")

    @needs("--cpus")
    def test_cpus(self):
        job = self.begin("async", "--cpus", "1")
        self.assertEqual(self.read(job, "cpuset.cpus"), "1")
        self.assertEqual(self.read(job, "cpuset.cpus.effective"), "1")

    @needs("--nice")
    def test_nice(self):
        job = self.begin("async", "--nice", "7")
        with open(f"/proc/{self.pppd.runner(job)}/stat") as file:
            self.assertEqual(file.read().rpartition(")")[2].split()[16], "7")


@needs("--io-max")
class Io(Limits):
    def test_it_is_written(self):
        """For the disk that a path is on: 254:0 or so, asked, not guessed."""
        device = os.stat("/").st_dev
        name = f"{os.major(device)}:{os.minor(device)}"
        job = self.begin("async", "--io-max", "/ rbps=1M wiops=100")
        self.assertRegex(self.read(job, "io.max"), rf"(?m)^{name} rbps=1048576 wbps=max riops=max wiops=100$")


@needs("--time-max")
class Time(Limits):
    def test_wall(self):
        began = time.monotonic()
        result = self.pppd.pppctl("run", "async", "sleep", "60", "--time-max", "2s")
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.out + result.err, "time")
        self.assertLess(time.monotonic() - began, 20)

    @needs("--cpu-time-max")
    def test_cpu(self):
        result = self.pppd.pppctl("run", "serial", "sum", "4000000000", "--cpu-time-max", "2s")
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.out + result.err, "(?i)cpu.?time")


@needs("--threaded")
class Threaded(Limits):
    def test_each_thread_has_a_threaded_group(self):
        job = self.begin("threads", "--threaded", "--workers", "2")
        wait_until(lambda: self.types(job).count("threaded") >= 2, lambda: f"two threaded groups: {self.types(job)}", 20.0)

    def types(self, job):
        """cgroup.type of all groups of the job."""
        found = []
        for directory, _, names in os.walk(self.pppd.job_group(job)):
            if "cgroup.type" in names:
                with open(os.path.join(directory, "cgroup.type")) as file:
                    found.append(file.read().strip())
        return found


@needs("--memory-max")
class Refusals(Limits):
    def test_malformed(self):
        for options in (["--memory-max", "lots"], ["--memory-max", "-1"], ["--memory-max", "0"], ["--pids-max", "0"],
                        ["--cpu-max", "0%"], ["--cpu-max", "x"], ["--cpus", "3-1"], ["--cpu-weight", "10001"]):
            with self.subTest(options=options):
                self.refused(options[0], options=options)

    def test_past_the_machine(self):
        """There are two processors."""
        self.refused("--cpus", options=["--cpus", "0-99"])
        self.assertEqual(self.pppd.pppctl("run", "serial", "sum", "10").status, 0)
