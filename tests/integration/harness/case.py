"""The test case all files share: a daemon, shorthands for running jobs, and the report of a failure."""

import collections
import os
import re
import shutil
import signal
import tempfile
import unittest

from . import process, settings
from .daemon import Daemon, parse_json_lines
from .poll import wait_until

LEVELS = settings.levels
TEST_SECONDS = 120

Outcome = collections.namedtuple("Outcome", "result rows summary by_input")


class Late(Exception):
    """A test that took too long."""


def _alarm(*_):
    raise Late("the test did not end within the time it was given")


class Case(unittest.TestCase):
    """Each class has one daemon, cls.daemon, unless it says with_daemon = False."""

    with_daemon = True
    longMessage = True
    maxDiff = 4000
    seconds = TEST_SECONDS

    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.mkdtemp(prefix="pppctl-test-", dir="/tmp")
        os.chmod(cls.temp, 0o755)
        cls.daemons = []
        cls.daemon = None
        cls.addClassCleanup(shutil.rmtree, cls.temp, True)
        if cls.with_daemon:
            cls.daemon = cls.new_daemon("pppd")

    @classmethod
    def tearDownClass(cls):
        if cls.daemon:
            cls.daemon.stop()

    @classmethod
    def new_daemon(cls, name, start=True, **options):
        daemon = Daemon(cls.temp, name, **options)
        cls.daemons.append(daemon)
        cls.addClassCleanup(end, daemon)
        return daemon.start() if start else daemon

    def fresh(self, name, **options):
        """A daemon for this test alone, stopped and checked at its end."""
        daemon = self.new_daemon(name, **options)
        self.addCleanup(daemon.stop)
        return daemon

    def run(self, result=None):
        for daemon in getattr(type(self), "daemons", []):
            daemon.history.clear()
        signal.signal(signal.SIGALRM, _alarm)
        signal.alarm(self.seconds)
        try:
            return super().run(result)
        finally:
            signal.alarm(0)

    @classmethod
    def report(cls):
        """What helps to understand a failure: the last commands, and the daemons' logs."""
        lines = []
        for daemon in getattr(cls, "daemons", []):
            lines += [str(result) for result in daemon.history[-3:]]
            if os.path.exists(daemon.log_path):
                lines.append(f"log of {daemon.socket}:\n{daemon.log()[-6000:]}")
        return "\n".join(lines)

    # Jobs

    def run_job(self, level, workload, inputs=(), *options, status=0, daemon=None, timeout=60.0):
        """`pppctl run --json`; asserts the exit status and returns the Outcome."""
        daemon = daemon or self.daemon
        inputs = [str(i) for i in inputs]
        many = sum(map(len, inputs)) > 100_000
        args = ["--from", "-"] if many else inputs
        result = daemon.pppctl("run", level, workload, *args, "--json", *options, timeout=timeout,
                               input="".join(i + "\n" for i in inputs).encode() if many else b"")
        self.assertEqual(result.status, status, result)
        rows, summary = parse_json_lines(result.out)
        return Outcome(result, rows, summary, {row["input"]: row for row in rows})

    def start(self, *args, daemon=None, **options):
        """pppctl in the background and the number of its job, once that runs."""
        daemon = daemon or self.daemon
        before = set(daemon.unfinished())
        process = daemon.pppctl_start("run", *args, **options)
        self.addCleanup(process.end)
        job = wait_until(lambda: set(daemon.unfinished()) - before, "the job").pop()
        wait_until(lambda: daemon.show(job)["state"] != "queued", f"job {job} to run")
        return process, job

    def assert_values(self, outcome, expected):
        """`expected` is {input: value}; every task has to be there and done."""
        self.assertEqual({row["input"]: row.get("value") for row in outcome.rows}, expected)
        self.assertEqual({row["state"] for row in outcome.rows}, {"done"} if expected else set())

    def assert_failed(self, row, reason):
        self.assertEqual((row["state"], row.get("reason")), ("failed", reason), row)
        self.assertIsNone(row.get("value"), row)

    def assert_says(self, result, status, *patterns):
        """The command failed with `status` and a message that has each of the patterns; nothing on stdout."""
        self.assertEqual(result.status, status, result)
        for pattern in patterns:
            self.assertRegex(result.err, re.compile(pattern, re.IGNORECASE), result)
        self.assertEqual(result.out, "", result)

    def assert_alive(self, daemon=None):
        """The daemon still does its work: used after everything that might have harmed it."""
        daemon = daemon or self.daemon
        self.assertTrue(daemon.running(), daemon.log())
        result = daemon.pppctl("run", "serial", "sum", 10)
        self.assertEqual((result.status, result.out.strip()), (0, "10: 45"), result)

    def assert_memory(self, used, limit, what=None):
        """A bound for what ships: sanitizers have a memory of their own."""
        if not settings.sanitized():
            self.assertLess(used, limit, what)

    def path(self, name):
        return os.path.join(self.temp, name)

    def write(self, name, data):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return path


def end(daemon):
    """By force, whatever the test left."""
    if daemon.running():
        daemon.kill()
    daemon.clean_up()
    process.reap_orphans()
