"""The limits of a job that outlives its supervisor: the next one has them in force again.

Without DelegateSubgroup= (systemd 254, and a package that was built for it) a supervisor can't be started
beside jobs while controllers are enabled in the unit's cgroup; pppd-after-stop takes them away.
"""

import os
import re

from case import Case, tell
from commands import must, systemctl
from daemon import waits_for_reply
from harness.poll import wait_until

SLEEP, TASKS = "0.5", 80        # twenty seconds with two workers; a restart takes up to thirteen under emulation
SPEC_LIMITS = {"memory_max_bytes": 64 << 20, "cpu_max_cpus": 0.5, "cpu_weight": 50, "pids_max": 20, "cpus": "0"}
FILES = {"memory.max": str(64 << 20), "cpu.max": "50000 100000", "cpu.weight": "50", "pids.max": "20",
         "cpuset.cpus": "0"}
WORKER_LIMITS = {"memory_max_bytes": 16 << 20}
DROP_IN = "/run/systemd/system/pppd.service.d/test-delegate.conf"
LOST = ("memory_peak_bytes", "memory_stat", "pids_peak", "io")


class Restore(Case):
    def loses_controllers(self):
        return self.pppd.get("DelegateSubgroup") != "supervisor"

    def read(self, job, path):
        with open(os.path.join(self.pppd.job_group(job), path)) as file:
            return file.read().strip()

    def begin(self, level, tasks=TASKS, **options):
        job = self.pppd.submit(level, "sleep", [SLEEP] * tasks, workers=2, limits=SPEC_LIMITS, **options)
        before = self.pppd.recorded(job, 2)
        waiting = self.pppd.pppctl_start("wait", job)
        self.addCleanup(waiting.kill)
        wait_until(lambda: waits_for_reply(waiting.pid), "pppctl wait", 20.0)
        return job, before, waiting

    def kill_supervisor(self):
        pid = self.pppd.pid
        systemctl("kill", "--signal=KILL", "--kill-whom=main", "pppd.service")
        self.pppd.await_new_pid(pid)

    def assert_limited(self, job):
        for name, value in FILES.items():
            with self.subTest(name):
                self.assertEqual(self.read(job, name), value)

    def check(self, level, paths=(), times=1, **options):
        """`paths`: files within the job's group whose text has to survive."""
        job, before, waiting = self.begin(level, times * TASKS, **options)
        runner = self.pppd.runner(job)
        self.assert_limited(job)
        texts = {path: self.read(job, path) for path in ("cgroup.subtree_control", *paths)}
        for _ in range(times):
            self.kill_supervisor()
            self.assertEqual(self.pppd.runner(job), runner, "the same runner goes on")
            self.assert_limited(job)
            for path, text in texts.items():
                with self.subTest(path):
                    self.assertEqual(self.read(job, path), text)
        shown = self.assert_complete(job, before)
        self.assert_ok(waiting.wait(60))
        return shown["summary"]

    def check_counted(self, summary):
        """What the controllers had counted is there, or is told to be lost; it is never a part of the truth."""
        loses = self.loses_controllers()
        missing = {entry["metric"]: entry["reason"] for entry in summary["unavailable"]}
        for metric in LOST:
            with self.subTest(metric):
                if loses:
                    self.assertIn("without DelegateSubgroup=", missing[metric])
                    self.assertNotIn(metric, summary)
                else:
                    self.assertIn(metric, summary, missing)
        self.assertGreater(summary["cpu_user_seconds"], 0)

    def test_async(self):
        self.check_counted(self.check("async"))

    def test_workers(self):
        paths = [f"worker-{i}/memory.{name}" for i in (0, 1) for name in ("max", "oom.group")]
        self.check("processes", [*paths, "runner/memory.min"], times=2, worker_limits=WORKER_LIMITS)

    def test_threads(self):
        self.check("threads", ["runner/cgroup.subtree_control", "runner/thread-0/cpu.weight",
                               "runner/thread-1/cpu.weight"], threaded=True, thread_weights=[300, 70])

    def delegate(self, controllers):
        """Of what systemd passes on anyway, for its own accounts, nothing can be taken away by this; io can."""
        os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
        with open(DROP_IN, "w") as file:
            file.write(f"[Service]\nDelegate=\nDelegate={controllers}\n")
        systemctl("daemon-reload")

    def delegate_as_before(self):
        if os.path.exists(DROP_IN):
            os.unlink(DROP_IN)
            os.rmdir(os.path.dirname(DROP_IN))
            systemctl("daemon-reload")

    def test_a_controller_that_comes_later(self):
        """What it counts is not the whole, also where nothing is lost."""
        self.addCleanup(self.pppd.restart)
        self.addCleanup(self.delegate_as_before)
        self.delegate("cpu memory pids")
        self.pppd.restart()
        job = self.pppd.submit("async", "sleep", ["0.1", "100"], workers=2)
        self.pppd.recorded(job, 1)
        self.assertNotIn("io", self.read(job, "cgroup.controllers").split())
        self.delegate_as_before()
        self.kill_supervisor()
        self.assertIn("io", self.read(job, "cgroup.controllers").split())
        self.pppd.call("Cancel", {"job": job})
        summary = self.pppd.wait(job)["summary"]
        missing = {entry["metric"]: entry["reason"] for entry in summary["unavailable"]}
        self.assertIn("only after the job had begun", missing["io"])
        self.assertNotIn("io", summary)
        self.assertEqual("pids_peak" in missing, self.loses_controllers(), missing)

    def test_they_are_enforced(self):
        """By what the kernel does, not by what it says."""
        job = self.pppd.submit("processes", "sum", ["1", "4294967296", "4294967296"], workers=2,
                               limits={"cpu_max_cpus": 0.2})
        self.pppd.recorded(job, 1)
        self.kill_supervisor()
        before = self.throttled(job)
        wait_until(lambda: self.throttled(job) > before + 5, lambda: f"throttled periods after {before}", 30.0)
        tell(f"throttled periods of a job that was taken over: {self.throttled(job)}")
        self.pppd.call("Cancel", {"job": job})

    def throttled(self, job):
        return int(re.search(r"nr_throttled (\d+)", self.read(job, "cpu.stat"))[1])

    def test_the_journal_tells(self):
        since = must("date", "+%s").out.strip()
        job, _, waiting = self.begin("async")
        self.kill_supervisor()
        self.pppd.call("Cancel", {"job": job})
        waiting.wait(60)
        must("journalctl", "--sync")
        log = must("journalctl", "--unit=pppd.service", f"--since=@{since}", "--no-pager", "--output=cat").out
        self.assertIn(f"took over job {job}", log)
        self.assertEqual("limits of job" in log, self.loses_controllers(), log)
        self.assertNotIn("without all of its limits", log)
