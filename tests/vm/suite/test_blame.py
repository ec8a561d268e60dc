"""Whose limit it was: the job's, its workers', or that of pppd.slice, which an administrator sets for all jobs."""

import os

from commands import systemctl
from harness.poll import wait_until
from test_limits import MIB, Limits

SLICE = "/sys/fs/cgroup/pppd.slice"
LARGE = "130000000"         # an array of 1 GB


class Blame(Limits):
    limited = False

    @classmethod
    def tearDownClass(cls):
        """Of what was set no drop-in outlives the package. Once: it makes systemd read all units again."""
        if cls.limited:
            systemctl("revert", "pppd.slice")

    def limit_slice(self, name, value):
        type(self).limited = True
        self.addCleanup(self.set_property, f"{name}=infinity")
        self.set_property(f"{name}={value}")

    @staticmethod
    def set_property(text):
        systemctl("set-property", "--runtime", "pppd.slice", text)

    def leave_tasks(self, n):
        """So many more in the slice than there are; the limit that makes."""
        self.pppd.pppctl("run", "serial", "sum", "1")           # what is started once is there after this
        limit = wait_until(self.count_tasks, "the end of what earlier jobs have left in the slice") + n
        self.limit_slice("TasksMax", limit)
        return limit

    def count_tasks(self):
        """Those in the slice, or None while some are of jobs, or have ended and are counted still."""
        with open(os.path.join(SLICE, "pids.current")) as file:
            counted = int(file.read())
        alive = 0
        for path, _, _ in os.walk(SLICE):
            with open(os.path.join(path, "cgroup.threads")) as file:
                alive += len(file.readlines())
        return counted if counted == alive and not self.pppd.job_groups() else None

    def met(self, summary, of):
        return [entry for entry in summary.get("limits_met", ()) if entry["of"] == of]

    def check_slice(self, summary, limit, value):
        """It is named with its limit, and it alone."""
        entry, = summary["limits_met"]
        self.assertEqual({key: entry[key] for key in ("limit", "of", "group", "value")},
                         {"limit": limit, "of": "above", "group": "pppd.slice", "value": value}, summary)
        text, _ = self.shown(summary["job"])
        self.assertRegex(text, rf"met +{limit} of pppd\.slice \(")


class Pids(Blame):
    def check_refused(self, summary, limit):
        self.assertEqual(summary["reason"], "pids-max", summary)
        self.assertRegex(summary["reason_detail"], rf"pids\.max of pppd\.slice, a group above the job's, is {limit} ")
        self.assertGreaterEqual(summary["pids_refused"], 1, summary)
        self.check_slice(summary, "pids.max", limit)

    def test_fewer_workers(self):
        for level in ("threads", "processes"):
            with self.subTest(level):
                limit = self.leave_tasks(3)
                _, summary, result = self.run_json(level, "sleep", *["0.2"] * 6, "--workers", "6", "--pids-max", "100")
                self.assertEqual((result.status, summary["state"], summary["tasks_done"]), (0, "done", 6), result)
                self.check_refused(summary, limit)

    def test_no_worker(self):
        limit = self.leave_tasks(1)
        _, summary, result = self.run_json("processes", "sleep", "0.2")
        self.assertEqual((result.status, summary["state"]), (1, "failed"), result)
        self.check_refused(summary, limit)

    def test_of_a_job(self):
        _, summary, result = self.run_json("processes", "sleep", *["0.2"] * 6, "--workers", "6", "--pids-max", "3")
        self.assertEqual((result.status, summary["reason"]), (0, "pids-max"), result)
        self.assertEqual(summary["reason_detail"].rpartition(": ")[2], "pids.max of the job is 3")
        self.assertEqual([entry["value"] for entry in self.met(summary, "job")], [3], summary)
        self.assertEqual(summary["pids_peak"], 3)

    def test_a_loop_reads_a_file_that_is_not_cached(self):
        """By a thread of the kernel, which counts."""
        path = self.file("uncached", 1)
        rows, _, result = self.run_json("async", "words", path, "--pids-max", "2")
        self.assertEqual((result.status, rows[path]["state"]), (0, "done"), result)
        self.refused("--pids-max", "2 or more", options=["--pids-max", "1"])


class OutOfMemory(Blame):
    def setUp(self):
        super().setUp()
        self.pid = self.pppd.pid

    def test_of_the_slice(self):
        self.limit_slice("MemoryMax", 96 * MIB)
        for options in ((), ("--memory-max", "1G")):
            with self.subTest(options=options):
                _, summary, result = self.run_json("serial", "sum-array", LARGE, *options)
                self.assertEqual((result.status, summary["reason"]), (1, "oom-killed"), result)
                self.assertRegex(summary["reason_detail"],
                                 rf"memory\.max of pppd\.slice, a group above the job's, is {96 * MIB} bytes")
                self.check_slice(summary, "memory.max", 96 * MIB)
        self.assertEqual(self.pppd.pid, self.pid)

    def test_of_the_slice_by_a_worker(self):
        self.limit_slice("MemoryMax", 96 * MIB)
        rows, summary, result = self.run_json("processes", "sum-array", "1000", LARGE, "--memory-max", "1G",
                                              "--workers", "2")
        self.assertEqual(result.status, 1, result)
        self.assertEqual(rows["1000"]["state"], "done", result)
        self.assertEqual(rows[LARGE]["reason"], "oom-killed", result)
        self.assertIn("a group above the job's had come to its memory.max", rows[LARGE]["why"])
        self.check_slice(summary, "memory.max", 96 * MIB)

    def test_of_a_worker(self):
        rows, summary, result = self.run_json("processes", "sum-array", LARGE, "--worker-memory-max", "32M",
                                              "--memory-max", "256M")
        self.assertIn("its own memory.max", rows[LARGE]["why"], result)
        self.assertEqual([(entry["of"], entry["value"]) for entry in summary["limits_met"]], [("worker", 32 * MIB)])

    def test_of_a_job(self):
        _, summary, result = self.run_json("serial", "sum-array", LARGE, "--memory-max", "64M")
        self.assertEqual([(entry["of"], entry["value"]) for entry in summary["limits_met"]], [("job", 64 * MIB)], result)


class MemoryByKind(Blame):
    def test_while_processes_are_there(self):
        for level in ("serial", "threads", "processes", "async"):
            with self.subTest(level):
                _, summary, result = self.run_json(level, "sum", "1000", "2000", "3000")
                self.assertGreater(summary["memory_stat"]["anon_bytes"], 0, result)
