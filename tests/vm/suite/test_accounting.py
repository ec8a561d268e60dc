"""Every job in a cgroup of its own, and every summary complete."""

import os
import time

from case import LEVELS, Case, tell
from daemon import group_of, read_pids
from harness.poll import wait_until

CONTROLLERS = {"cpu", "cpuset", "io", "memory", "pids"}
# Counting system calls takes a right that the service gives away; serial has no workers to start.
MAY_BE_ABSENT = {"syscalls", "worker_start_seconds"}
MANY = int(os.environ.get("PPPCTL_TEST_MANY", "48"))
IN_FLIGHT = 16


def controllers(group, file="cgroup.controllers"):
    with open(os.path.join(group, file)) as opened:
        return set(opened.read().split())


class Accounting(Case):
    def assert_whole(self, summary):
        """Nothing that the kernel has told is missing, and nothing is made up."""
        absent = {entry["metric"]: entry["reason"] for entry in summary["unavailable"]}
        self.assertEqual({k: v for k, v in absent.items() if k not in MAY_BE_ABSENT}, {}, "unavailable")
        self.assertTrue("worker_start_seconds" in summary or summary["level"] == "serial", absent)
        self.assertGreater(summary["memory_peak_bytes"], 100_000)
        self.assertGreater(summary["cpu_user_seconds"] + summary["cpu_system_seconds"], 0)
        self.assertEqual(summary["host"]["cgroup"], "v2")
        for kind in ("cpu_waiting", "memory_waiting", "memory_stalled", "io_waiting", "io_stalled"):
            self.assertGreaterEqual(summary[f"pressure_{kind}_seconds"], 0)

    def test_each_level(self):
        for level in LEVELS:
            with self.subTest(level=level):
                job = self.pppd.submit(level, "sum", [1000, 2000, 3000], **({} if level == "serial" else {"workers": 2}))
                self.assert_whole(self.pppd.wait(job)["summary"])

    def test_controllers_come_down_to_the_job(self):
        self.assertEqual(controllers(self.pppd.group, "cgroup.subtree_control"), CONTROLLERS)
        jobs = [self.pppd.submit("async", "sleep", ["5"]) for _ in range(2)]
        for job in jobs:
            runner = self.pppd.runner(job)
            self.assertEqual(group_of(runner), f"{self.pppd.path}/job-{job}/runner")
            self.assertEqual(controllers(self.pppd.job_group(job)), CONTROLLERS)
            self.assertEqual(controllers(os.path.join(self.pppd.job_group(job), "runner")), CONTROLLERS)

    def test_each_worker_has_its_group(self):
        job = self.pppd.submit("processes", "sleep", ["3"] * 2, workers=2)
        group = self.pppd.job_group(job)
        paths = [os.path.join(group, f"worker-{i}", "cgroup.procs") for i in range(2)]
        pids = [wait_until(lambda path=path: read_pids(path), f"a process in {path}", 20.0) for path in paths]
        self.assertEqual([len(p) for p in pids], [1, 1])
        self.assertIn("memory", controllers(os.path.dirname(paths[0])))

    def test_the_supervisor_is_alone_in_its_leaf(self):
        self.assertEqual(read_pids(os.path.join(self.pppd.group, "cgroup.procs")), [])
        self.assertEqual(read_pids(os.path.join(self.pppd.group, "supervisor", "cgroup.procs")), [self.pppd.pid])


class Many(Case):
    """As many summaries as jobs, and no cgroup left."""

    seconds = 60 + MANY

    def test_many_jobs(self):
        began, jobs, pid = time.monotonic(), [], self.pppd.pid
        with self.pppd.connect() as client:
            for _ in range(MANY):
                reply = client.call("io.pppctl.Jobs.Run", {
                    "spec": {"level": "serial", "workload": "sum", "workers": 1}, "inputs": ["10"]}, timeout=60.0)
                jobs.append(reply["job"])
                if len(jobs) >= IN_FLIGHT:      # not more than the queue takes
                    client.call("io.pppctl.Jobs.Wait", {"job": jobs[-IN_FLIGHT]}, timeout=60.0)
            ended = [client.call("io.pppctl.Jobs.Wait", {"job": job}, timeout=60.0)["job"] for job in jobs]
        tell(f"{MANY} jobs of one task in {time.monotonic() - began:.1f} s")
        self.assertEqual({job["state"] for job in ended}, {"done"})
        whole = Accounting.assert_whole
        for job in ended:
            whole(self, job["summary"])
        self.assertEqual(self.pppd.job_groups(), [])
        self.assertEqual(len({job["job"] for job in ended}), MANY)
        self.assertEqual(self.pppd.pid, pid, "the watchdog had nothing to say")
