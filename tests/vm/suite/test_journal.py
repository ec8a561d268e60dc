"""The journal: what a person may act on has its fields, and `journalctl -x` explains it."""

import json
import os
import shutil
import signal
import time

from case import Case
from commands import must
from daemon import kill
from harness.poll import wait_until

CATALOG = "/usr/lib/systemd/catalog/pppctl.catalog"
DATABASE = "/var/lib/pppctl/jobs.db"
CONFIG = "/etc/pppctl/pppctl.conf.d"
FIELDS = ("PPPCTL_JOB", "PPPCTL_LEVEL", "PPPCTL_WORKLOAD", "PPPCTL_REASON")


class Journal(Case):
    def setUp(self):
        super().setUp()
        self.since = f"--since=@{time.time():.6f}"

    def journal(self, *args):
        must("journalctl", "--sync")
        return must("journalctl", "--unit=pppd.service", self.since, "--no-pager", *args).out

    def entry(self, start):
        """The one whose message starts so."""
        entries = [json.loads(line) for line in self.journal("--output=json").splitlines()]
        found = [entry for entry in entries if str(entry["MESSAGE"]).startswith(start)]
        self.assertTrue(found, [entry["MESSAGE"] for entry in entries])
        return found[-1]

    def check(self, start, subject, job=None, level=None, workload=None, reason=None):
        """Its fields, and that it is explained by that subject."""
        entry = self.entry(start)
        expected = {name: value for name, value in zip(FIELDS, (job and str(job), level, workload, reason)) if value}
        self.assertEqual({name: entry[name] for name in FIELDS if name in entry}, expected, entry)
        self.assertEqual(entry["SYSLOG_IDENTIFIER"], "pppctl")
        explained = self.journal("--catalog", f"MESSAGE_ID={entry['MESSAGE_ID']}")
        self.assertIn(f"Subject: {subject}", explained)
        self.assertIn("Defined-By: pppctl", explained)
        self.assertNotIn("@PPPCTL", explained)

    def run_job(self, level, workload, inputs, **options):
        job = self.pppd.submit(level, workload, inputs, **options)
        self.pppd.wait(job)
        return job

    def test_out_of_memory(self):
        job = self.run_job("serial", "sum-array", ["130000000"], limits={"memory_max_bytes": 64 << 20})
        self.check(f"job {job} failed: oom-killed", f"Job {job} was killed for lack of memory", job, "serial", "sum-array",
                   "oom-killed")

    def test_a_worker_out_of_memory(self):
        job = self.run_job("processes", "sum-array", ["1000", "130000000"], limits={"memory_max_bytes": 64 << 20})
        self.check(f"job {job}: 1 of 2 tasks failed", f"Workers of job {job} were killed", job, "processes", "sum-array",
                   "oom-killed")

    def test_processes_refused(self):
        job = self.run_job("processes", "sleep", ["0.5"] * 8, workers=8, limits={"pids_max": 4})
        self.check(f"job {job} is done, but: pids-max", f"Job {job} was refused processes or threads", job, "processes",
                   "sleep", "pids-max")

    def test_time(self):
        job = self.run_job("async", "sleep", ["60"], timeout_seconds=0.5)
        self.check(f"job {job} cancelled: timeout", f"Job {job} took longer than it was allowed to", job, "async", "sleep",
                   "timeout")

    def test_cpu_time(self):
        job = self.run_job("serial", "sum", ["4294967296"], cpu_time_max_seconds=0.5)
        self.check(f"job {job} cancelled: cpu-time-max", f"Job {job} used up its CPU time", job, "serial", "sum",
                   "cpu-time-max")

    def test_a_runner_that_was_killed(self):
        job = self.pppd.submit("async", "sleep", ["60"])
        kill(self.pppd.runner(job))
        self.pppd.wait(job)
        self.check(f"job {job} failed: runner-died", f"Job {job} has failed", job, "async", "sleep", "runner-died")

    def test_taken_over(self):
        job = self.pppd.submit("async", "sleep", ["0", "60"])
        self.pppd.recorded(job, 1)
        pid = self.pppd.pid
        kill(pid)
        self.pppd.await_new_pid(pid)
        self.check(f"took over job {job}", f"The daemon has taken job {job} up again", job, "async", "sleep")

    def test_gone_on_with(self):
        job = self.pppd.submit("async", "sleep", ["0", "60"])
        self.pppd.recorded(job, 1)
        self.pppd.restart()
        self.check(f"job {job} was interrupted", f"The daemon has taken job {job} up again", job, "async", "sleep")

    def test_a_mistake_in_the_configuration(self):
        """The daemon itself reads it: what a reload runs first has ended before its fields could be looked up."""
        os.makedirs(CONFIG, exist_ok=True)
        self.addCleanup(shutil.rmtree, CONFIG)
        with open(os.path.join(CONFIG, "test.conf"), "w") as file:
            file.write("[jobs]\nno_such_key = 1\n")
        os.kill(self.pppd.pid, signal.SIGHUP)
        wait_until(lambda: "no_such_key" in self.journal(), self.journal)
        self.check(f"{CONFIG}/test.conf:2:", "The configuration of pppd has a mistake")

    def test_a_state_directory_that_cannot_be_used(self):
        self.pppd.systemctl("stop", "pppd.socket", "pppd.service")
        os.rename(DATABASE, DATABASE + ".kept")
        self.addCleanup(os.rename, DATABASE + ".kept", DATABASE)
        os.mkdir(DATABASE)
        self.addCleanup(os.rmdir, DATABASE)
        self.addCleanup(self.pppd.systemctl, "stop", "pppd.socket", "pppd.service")
        self.pppd.systemctl("start", "pppd.service", check=False)
        self.check(f"cannot open the database of jobs {DATABASE}", "The state directory of pppd cannot be used")

    def test_by_job(self):
        """All that was said of a job can be asked for."""
        job = self.run_job("async", "sleep", ["60"], timeout_seconds=0.2)
        lines = self.journal(f"PPPCTL_JOB={job}", "--output=cat").splitlines()
        self.assertEqual(len(lines), 1, lines)

    def test_the_catalog_is_installed(self):
        self.assertTrue(os.path.exists(CATALOG))
        self.assertIn("pppctl: Job @PPPCTL_JOB@ has failed", must("journalctl", "--list-catalog", "--no-pager").out)
