"""Limits: each is written to the kernel, enforced by it, and told as a reason; or refused with the reason."""

import json
import os
import statistics
import time

from case import Case, tell
from commands import must
from harness.poll import wait_until

MIB = 1 << 20
# Option, value, the file it goes to, and what that then says.
TABLE = (
    ("cpu-max", "150%", "cpu.max", "150000 100000"),
    ("cpu-weight", "50", "cpu.weight", "50"),
    ("cpus", "1", "cpuset.cpus", "1"),
    ("memory-max", "64M", "memory.max", str(64 * MIB)),
    ("memory-high", "48M", "memory.high", str(48 * MIB)),
    ("swap-max", "8M", "memory.swap.max", str(8 * MIB)),
    ("pids-max", "50", "pids.max", "50"),
)
FOREVER = "4294967296"
FILES = "/srv"              # what everybody may read


def parse(result):
    """Rows by input, and the summary, of `pppctl run --json`."""
    lines = [json.loads(line) for line in result.out.splitlines()]
    return {row["input"]: row for row in lines if "input" in row}, lines[-1].get("summary", lines[-1])


def io_max(path, **rates):
    """An --io-max for the disk that `path` is on, and the line of io.max it makes: asked, not guessed."""
    device = os.stat(path).st_dev
    text = " ".join(f"{key}={value}" for key, value in rates.items())
    line = " ".join(f"{key}={rates.get(key, 'max')}" for key in ("rbps", "wbps", "riops", "wiops"))
    return f"{path} {text}", f"{os.major(device)}:{os.minor(device)} {line}"


class Limits(Case):
    """For the system's instance; test_user.py has the user's."""

    @property
    def instance(self):
        return self.pppd

    def run_json(self, *args, timeout=90.0):
        result = self.instance.pppctl("run", *args, "--json", timeout=timeout)
        try:
            return (*parse(result), result)
        except (ValueError, IndexError) as error:
            raise AssertionError(f"no JSON: {error}\n{result}") from error

    def read(self, job, file, group="."):
        path = os.path.join(self.instance.job_group(job), group, file)
        with open(wait_until(lambda: os.path.exists(path) and path, path, 20.0)) as opened:
            return opened.read().strip()

    def keyed(self, job, file):
        return {key: int(value) for key, value in (line.split() for line in self.read(job, file).splitlines())}

    def begin(self, level, *options, inputs=("sleep", "20", "20"), user=None):
        """A job that lasts, made by pppctl; its number."""
        result = self.instance.pppctl("run", level, *inputs, *options, "--detach", user=user)
        self.assert_ok(result)
        job = int(result.out)
        self.instance.runner(job)
        return job

    def cancel(self, *jobs):
        for job in jobs:
            self.instance.call("Cancel", {"job": job})

    def refused(self, *patterns, options, level="async"):
        self.assert_says(self.instance.pppctl("run", level, "sleep", "0", *options), 2, *patterns)

    def shown(self, job):
        """What a person and a program are told."""
        text = self.assert_ok(self.instance.pppctl("show", job)).out
        return text, json.loads(self.assert_ok(self.instance.pppctl("show", job, "--json")).out)

    def file(self, name, mib):
        """Not in the page cache: what is there was paid for by who put it there."""
        path = os.path.join(FILES, name)
        self.addCleanup(os.unlink, path)
        with open(path, "wb") as file:
            for _ in range(mib):
                file.write(b"w" * (MIB - 1) + b" ")
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return path

    def check_oom_of_a_task(self, *options, level="processes"):
        """A task that takes 1 GB is killed; the others are done and the daemon lives."""
        pid = self.instance.pid
        rows, summary, result = self.run_json(level, "sum-array", "1000", "130000000", "2000", "3000", *options)
        self.assertEqual(result.status, 1, result)
        self.assertEqual((rows["130000000"]["state"], rows["130000000"]["reason"]), ("failed", "oom-killed"), result)
        self.assertEqual({rows[i]["state"] for i in ("1000", "2000", "3000")}, {"done"}, result)
        self.assertEqual((summary["tasks_done"], summary["tasks_failed"]), (3, 1))
        self.assertEqual(self.instance.pid, pid)
        return summary


class Table(Limits):
    """What was asked for is in the kernel's files, and in what `show` tells."""

    def options(self, prefix=""):
        return [word for option, value, _, _ in TABLE for word in (f"--{prefix}{option}", value)]

    def assert_written(self, job, group="."):
        for option, _, file, text in TABLE:
            with self.subTest(option):
                self.assertEqual(self.read(job, file, group), text)

    def check_job(self, user):
        rates, line = io_max("/", rbps=1 * MIB, wiops=100)
        job = self.begin("async", *self.options(), "--io-max", rates, "--nice", "7", user=user)
        self.assert_written(job)
        self.assertIn(line, self.read(job, "io.max").splitlines())
        self.assertEqual(self.read(job, "cpuset.cpus.effective"), "1")
        with open(f"/proc/{self.pppd.runner(job)}/stat") as file:
            self.assertEqual(file.read().rpartition(")")[2].split()[16], "7")
        self.cancel(job)
        told = self.shown(job)[1]["summary"]["limits"]
        self.assertEqual({key: told.get(key) for key in ("cpu_max_cpus", "cpu_weight", "cpus", "memory_max_bytes",
                                                         "memory_high_bytes", "swap_max_bytes", "pids_max", "nice")},
                         {"cpu_max_cpus": 1.5, "cpu_weight": 50, "cpus": "1", "memory_max_bytes": 64 * MIB,
                          "memory_high_bytes": 48 * MIB, "swap_max_bytes": 8 * MIB, "pids_max": 50, "nice": 7})
        self.assertEqual(told["io_max"][0]["read_bytes_per_second"], MIB)

    def test_of_a_job_of_root(self):
        self.check_job("root")

    def test_of_a_job_of_a_member(self):
        self.check_job("member")

    def test_of_each_worker(self):
        """In the groups of the workers, and not in that of the job."""
        rates, line = io_max("/", riops=50)
        job = self.begin("processes", *self.options("worker-"), "--worker-io-max", rates, "--workers", "2")
        for i in range(2):
            wait_until(lambda: self.read(job, "cgroup.procs", f"worker-{i}"), "a worker", 20.0)
            self.assert_written(job, f"worker-{i}")
            self.assertIn(line, self.read(job, "io.max", f"worker-{i}").splitlines())
        self.assertEqual([self.read(job, file) for file in ("cpu.max", "memory.max", "pids.max")],
                         ["max 100000", "max", "max"])

    def test_of_each_process_of_an_executor(self):
        job = self.begin("async", "--executor", "processes", "--executor-workers", "2", *self.options("worker-"))
        for i in range(2):
            wait_until(lambda: self.read(job, "cgroup.procs", f"worker-{i}"), "a process", 20.0)
            self.assert_written(job, f"worker-{i}")


class Memory(Limits):
    def test_out_of_memory_is_that_tasks_result(self):
        summary = self.check_oom_of_a_task("--memory-max", "64M", "--workers", "2")
        self.assertGreaterEqual(summary["memory_events"]["oom_kill"], 1)
        text, _ = self.shown(summary["job"])
        self.assertRegex(text, "(?i)oom|out of memory")
        self.assertIn("130000000: failed: ", self.pppd.pppctl("results", summary["job"]).err)
        again = self.pppd.pppctl("rerun", summary["job"], "--reason", "oom-killed", "--memory-max", "1300M", timeout=90)
        self.assertEqual(again.status, 0, f"with more memory it is done: {again}")
        self.assertIn("4 tasks in", again.err)

    def test_of_a_worker(self):
        """The job may take more than one of its workers."""
        self.check_oom_of_a_task("--worker-memory-max", "32M", "--memory-max", "256M", "--workers", "2")

    def test_of_a_process_of_an_executor(self):
        """It is a worker with a group of its own: the loop, and what it has in flight, go on."""
        options = "--executor", "processes", "--executor-workers", "2"
        for limits in (("--memory-max", "64M"), ("--worker-memory-max", "32M", "--memory-max", "256M")):
            with self.subTest(limits=limits):
                summary = self.check_oom_of_a_task(*options, *limits, level="async")
                self.assertGreaterEqual(summary["memory_events"]["oom_kill"], 1)
        text, _ = self.shown(summary["job"])
        self.assertRegex(text, "(?i)oom|out of memory")

    def test_where_tasks_share_a_process(self):
        """It is the job's failure, which names the limit and the input; what was done stays."""
        rows, summary, result = self.run_json("serial", "sum-array", "1000", "130000000", "2000", "--memory-max", "64M")
        self.assertEqual(result.status, 1, result)
        self.assertEqual((summary["state"], summary["reason"]), ("failed", "oom-killed"), result)
        self.assertEqual(rows["1000"]["state"], "done", result)
        text, _ = self.shown(summary["job"])
        self.assertRegex(text, r"memory\.max of the job is 67108864 bytes; input 2 was in progress")
        self.assert_ok(self.pppd.pppctl("run", "serial", "sum", "10"))

    def test_it_is_no_more_than_the_limit(self):
        _, summary, result = self.run_json("serial", "sum-array", "1000000", "--memory-max", "64M")
        self.assertEqual(result.status, 0, result)
        self.assertLessEqual(summary["memory_peak_bytes"], 64 * MIB)

    def test_high_slows_and_does_not_kill(self):
        """A file of 48 MB is read within 16: the kernel takes back what was read."""
        path = self.file("high", 48)
        _, summary, result = self.run_json("serial", "words", path, "--memory-high", "16M")
        self.assertEqual(result.status, 0, result)
        self.assertGreater(summary["memory_events"]["high"], 0, summary)
        self.assertLess(summary["memory_peak_bytes"], 32 * MIB)

    def test_swap(self):
        """With swap space, what is past memory.max is swapped out; --swap-max 0 forbids that."""
        path = "/swap"
        must("fallocate", "--length", "192M", path)
        os.chmod(path, 0o600)
        self.addCleanup(os.unlink, path)
        must("mkswap", path)
        must("swapon", path)
        self.addCleanup(must, "swapoff", path)
        args = ("serial", "sum-array", "6000000", "--memory-max", "32M")        # 48 MB
        _, summary, result = self.run_json(*args)
        self.assertEqual(result.status, 0, result)
        self.assertLessEqual(summary["memory_peak_bytes"], 32 * MIB)
        _, summary, result = self.run_json(*args, "--swap-max", "0")
        self.assertEqual((result.status, summary["reason"]), (1, "oom-killed"), result)


class Pids(Limits):
    def test_more_workers_than_that(self):
        """The kernel refuses, the job says so by that name, and those that were started do all of it."""
        rows, summary, result = self.run_json("processes", "sleep", *["0.2"] * 10, "--workers", "10", "--pids-max", "4")
        self.assertEqual(result.status, 0, result)
        self.assertEqual((summary["state"], summary["tasks_done"], summary["reason"]), ("done", 10, "pids-max"))
        self.assertGreaterEqual(summary["workers_refused"], 1)
        # A worker that moves counts twice for a moment, in the kernel's pids.peak.
        self.assertEqual(summary["pids_peak"], 4)
        text, _ = self.shown(summary["job"])
        self.assertRegex(text, r"pids\.max of the job is 4")


class Cpu(Limits):
    def usage(self, job, seconds):
        """CPUs a job used, over that time, and how often it was held back."""
        before, began = self.keyed(job, "cpu.stat"), time.monotonic()
        # It has nothing to wait for: this is how long is measured.
        time.sleep(seconds)
        after, took = self.keyed(job, "cpu.stat"), time.monotonic() - began
        return (after["usage_usec"] - before["usage_usec"]) / 1e6 / took, after["nr_throttled"] - before["nr_throttled"]

    def test_half_a_cpu(self):
        """Medians of some windows in the middle of `sum`, since emulation on a busy machine stumbles."""
        job = self.begin("serial", inputs=("sum", FOREVER))
        whole = statistics.median(self.usage(job, 1.0)[0] for _ in range(3))
        self.cancel(job)
        job = self.begin("serial", "--cpu-max", "50%", inputs=("sum", FOREVER))
        windows = [self.usage(job, 2.0) for _ in range(3)]
        half = statistics.median(used for used, _ in windows)
        self.cancel(job)
        tell(f"CPUs used: {whole:.3f}, with --cpu-max 50% {half:.3f}")
        self.assertAlmostEqual(whole / half, 2.0, delta=0.2)
        self.assertGreater(sum(throttled for _, throttled in windows), 0)
        summary = self.shown(job)[1]["summary"]
        self.assertGreater(summary["cpu_throttling"]["throttled_seconds"], 1.0, summary)

    def time_sum(self, n, *options):
        """How long `sum` takes, and the CPU time that goes into it alone: emulation stretches both alike."""
        _, none, _ = self.run_json("serial", "sum", "1", *options)
        _, summary, result = self.run_json("serial", "sum", n, *options)
        self.assertEqual(result.status, 0, result)
        cpu = [s["cpu_user_seconds"] + s["cpu_system_seconds"] for s in (summary, none)]
        return summary["service_seconds"]["max"], cpu[0] - cpu[1]

    def test_half_a_cpu_takes_twice_as_long(self):
        trial, _ = self.time_sum("20000000")
        n = str(int(20000000 * 3.0 / trial))
        (whole, whole_cpu), (half, half_cpu) = self.time_sum(n), self.time_sum(n, "--cpu-max", "50%")
        ratio = (half / half_cpu) / (whole / whole_cpu)
        tell(f"sum takes {whole:.2f} s of {whole_cpu:.2f} s CPU, with --cpu-max 50% {half:.2f} s of {half_cpu:.2f} s: "
             f"{ratio:.2f} times as long")
        self.assertAlmostEqual(ratio, 2.0, delta=0.2)

    def test_weight(self):
        """Two jobs on one CPU share it by their weights."""
        options = ("--cpus", "1", "--cpu-weight")
        jobs = [self.begin("serial", *options, weight, inputs=("sum", FOREVER)) for weight in ("100", "300")]
        before = [self.keyed(job, "cpu.stat")["usage_usec"] for job in jobs]
        time.sleep(3.0)
        used = [self.keyed(job, "cpu.stat")["usage_usec"] - b for job, b in zip(jobs, before)]
        self.cancel(*jobs)
        tell(f"a weight of 300 gets {used[1] / used[0]:.2f} times the CPU time of 100")
        self.assertAlmostEqual(used[1] / used[0], 3.0, delta=0.6)

    def test_cpus(self):
        """Both workers are on the one CPU they may use."""
        job = self.begin("processes", "--cpus", "1", "--workers", "2", inputs=("sum", FOREVER, FOREVER))
        for i in range(2):
            pid = wait_until(lambda: self.read(job, "cgroup.procs", f"worker-{i}"), "a worker", 20.0)
            with open(f"/proc/{pid}/status") as file:
                self.assertIn("Cpus_allowed_list:\t1\n", file.read())
        self.cancel(job)


class Io(Limits):
    def test_reading_takes_its_time(self):
        """3 MB that are in no cache, 1 MB a second: for long enough over two seconds."""
        path = self.file("slow", 3)
        rates, _ = io_max("/", rbps=MIB)
        _, summary, result = self.run_json("serial", "words", path, "--io-max", rates)
        self.assertEqual(result.status, 0, result)
        tell(f"3 MiB at 1 MiB a second: {summary['service_seconds']['max']:.2f} s")
        self.assertGreater(summary["service_seconds"]["max"], 2.0)
        self.assertLess(summary["service_seconds"]["max"], 6.0)


class Time(Limits):
    def test_wall(self):
        began = time.monotonic()
        rows, summary, result = self.run_json("async", "sleep", "0.1", "60", "--time-max", "2s")
        self.assertEqual((result.status, summary["state"], summary["reason"]), (1, "cancelled", "timeout"), result)
        self.assertEqual(rows["0.1"]["state"], "done", result)
        self.assertLess(time.monotonic() - began, 20)

    def test_cpu(self):
        _, summary, result = self.run_json("serial", "sum", FOREVER, "--cpu-time-max", "2s")
        self.assertEqual((result.status, summary["state"], summary["reason"]), (1, "cancelled", "cpu-time-max"), result)
        self.assertGreaterEqual(summary["cpu_user_seconds"] + summary["cpu_system_seconds"], 2.0)
        self.assertLess(summary["cpu_user_seconds"] + summary["cpu_system_seconds"], 4.0)


class Threaded(Limits):
    def test_each_thread_has_a_threaded_group(self):
        job = self.begin("threads", "--threaded", "--workers", "2", "--thread-weight", "300,70")
        for i, weight in enumerate(("300", "70")):
            group = f"runner/thread-{i}"
            # It is made, and then told what it is.
            for file, value in (("cgroup.type", "threaded"), ("cpu.weight", weight)):
                wait_until(lambda: self.read(job, file, group) == value, f"{value} in {group}/{file}", 20.0)
            wait_until(lambda: self.read(job, "cgroup.threads", group), f"a thread in {group}", 20.0)

    def test_weights_are_shares(self):
        job = self.begin("threads", "--threaded", "--workers", "2", "--thread-weight", "300,100", "--cpus", "1",
                         inputs=("sum", FOREVER, FOREVER))
        groups = [f"runner/thread-{i}/cpu.stat" for i in range(2)]
        for group in groups:
            wait_until(lambda: self.keyed(job, group)["usage_usec"] > 0, f"work in {group}", 20.0)
        before = [self.keyed(job, group)["usage_usec"] for group in groups]
        time.sleep(3.0)
        used = [self.keyed(job, group)["usage_usec"] - b for group, b in zip(groups, before)]
        self.cancel(job)
        tell(f"a thread of weight 300 gets {used[0] / used[1]:.2f} times the CPU time of one of 100")
        self.assertAlmostEqual(used[0] / used[1], 3.0, delta=0.6)

    def test_memory_is_no_limit_of_a_thread(self):
        self.refused("memory", "thread", "processes", options=["--threaded", "--worker-memory-max", "64M"], level="threads")


class Refusals(Limits):
    def test_malformed(self):
        for options in (["--memory-max", "lots"], ["--memory-max", "-1"], ["--memory-max", "0"], ["--pids-max", "0"],
                        ["--cpu-max", "0%"], ["--cpu-max", "x"], ["--cpus", "3-1"], ["--cpu-weight", "10001"],
                        ["--io-max", "/ fast"], ["--io-max", "/nowhere rbps=1M"], ["--time-max", "soon"],
                        ["--cpu-time-max", "0"], ["--nice", "20"], ["--swap-max", "x"], ["--memory-high", "1"]):
            with self.subTest(options=options):
                self.refused(options[0], options=options)

    def test_past_the_machine(self):
        """There are two processors, and two gigabytes."""
        for options in (["--cpus", "0-99"], ["--cpu-max", "300%"], ["--memory-max", "3G"], ["--memory-high", "3G"],
                        ["--pids-max", "4194305"]):
            with self.subTest(options=options):
                self.refused(options[0], options=options)
        self.assertEqual(self.pppd.pppctl("run", "serial", "sum", "10").status, 0)

    def test_a_better_nice_value_than_is_allowed(self):
        """The service may not give it; the weight of the job's cgroup stands for it."""
        job = self.begin("async", "--nice", "-5")
        self.assertEqual(self.read(job, "cpu.weight.nice"), "-5")
        result = self.pppd.pppctl("run", "async", "sleep", "0", "--nice", "-5", "--cpu-weight", "50")
        self.assert_says(result, 1, "--nice cannot be enforced", "weight")

    def test_a_controller_that_is_not_delegated(self):
        """Said before anything starts: which one is missing, and where it sits."""
        self.addCleanup(self.redelegate, None)
        self.redelegate("Delegate=\nDelegate=cpu memory pids\n")
        result = self.pppd.pppctl("run", "async", "sleep", "0", "--cpus", "1")
        self.assert_says(result, 1, "--cpus", "cpuset", "delegate")
        self.assert_ok(self.pppd.pppctl("run", "async", "sleep", "0", "--memory-max", "64M"))

    def redelegate(self, text):
        """With a drop-in of that text, or without."""
        path = "/etc/systemd/system/pppd.service.d/test.conf"
        if text:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(f"[Service]\n{text}")
        else:
            os.unlink(path)
            os.rmdir(os.path.dirname(path))
        self.pppd.systemctl("daemon-reload")
        self.pppd.restart()
