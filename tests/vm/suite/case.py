"""The test case all files share."""

import os
import re
import signal
import subprocess
import unittest

import daemon
import package
from commands import linger, linger_no_more
from harness.poll import wait_until

USER = "stranger"       # who may not use the system's daemon
LEVELS = ("serial", "threads", "processes", "async")
COUNTS = {"2016: 3794 words", "2017: 4123 words", "2018: 4334 words", "2019: 1953 words"}
TEST_SECONDS = 120


def note(text):
    """A figure for the host; guest.py puts the line to it in its place."""
    print(text)


def tell(text):
    globals()["note"](text)


def waits():
    """That this machine waits for the other of a pair; guest.py puts the line to the host in its place."""


def tell_waiting():
    globals()["waits"]()


class Late(Exception):
    """A test that took too long."""


def _alarm(*_):
    raise Late(f"the test did not end within {TEST_SECONDS} s")


class Case(unittest.TestCase):
    """Each test finds the package installed and the service running, and leaves no job behind."""

    longMessage = True
    maxDiff = 4000
    seconds = TEST_SECONDS

    def run(self, result=None):
        signal.signal(signal.SIGALRM, _alarm)
        signal.alarm(self.seconds)
        try:
            return super().run(result)
        finally:
            signal.alarm(0)

    def setUp(self):
        self.pppd = daemon.Daemon()
        if not package.is_installed():
            package.install()
        self.pppd.reset()
        self.addCleanup(self.clean_up)

    def clean_up(self):
        """Whatever the test did, the next one finds a daemon without jobs."""
        if package.is_installed():
            self.pppd.reset()
            self.pppd.cancel_all()

    # Assertions

    def assert_ok(self, result):
        self.assertEqual(result.status, 0, result)
        return result

    def assert_says(self, result, status, *patterns):
        """It failed with that status, and a message that has each of the patterns."""
        self.assertEqual(result.status, status, result)
        for pattern in patterns:
            self.assertRegex(result.err, re.compile(pattern, re.IGNORECASE), result)

    def assert_counts(self, result):
        """The four demo pages."""
        self.assert_ok(result)
        self.assertEqual(set(result.out.splitlines()) & COUNTS, COUNTS, result)

    def assert_nothing_runs(self):
        """No process and no cgroup of a stopped service."""
        group = self.pppd.group
        wait_until(lambda: not daemon.processes(), lambda: f"the end of {daemon.processes()}", 5.0)
        self.assertFalse(os.path.exists(group), subprocess.run(["find", group], stdout=subprocess.PIPE).stdout)

    def assert_complete(self, job, before=()):
        """Every task is done and recorded once; what was recorded `before` is as it was."""
        shown = self.pppd.wait(job)
        rows = self.pppd.rows(job)
        self.assertEqual((shown["state"], shown["tasks_done"], shown["tasks_failed"]), ("done", len(rows), 0), shown)
        self.assertNotIn(None, rows)
        for i, row in enumerate(before):
            if row is not None:
                self.assertEqual(rows[i], row, f"the record of task {i} was written again")
        return shown


class OfUser:
    """Before the test case: a user's own daemon, beside the system's."""

    @classmethod
    def setUpClass(cls):
        linger(USER)
        cls.own = daemon.Daemon(USER)

    @classmethod
    def tearDownClass(cls):
        linger_no_more(USER)

    def setUp(self):
        super().setUp()
        self.own.reset()
        self.addCleanup(self.own.cancel_all)
