"""The service does its work: every level, activation by the socket, what it remembers."""

import json
import os

from case import LEVELS, Case
from commands import must, run
from daemon import group_of
from harness.poll import wait_until


class Levels(Case):
    def check(self, level):
        self.assert_counts(self.pppd.pppctl("run", level))

    def test_serial(self):
        self.check("serial")

    def test_threads(self):
        self.check("threads")

    def test_processes(self):
        self.check("processes")

    def test_async(self):
        self.check("async")

    def test_compare(self):
        result = self.assert_ok(self.pppd.pppctl("compare", "sum", "1000", "2000", "--json"))
        for level in LEVELS:
            self.assertIn(level, result.out)


class Service(Case):
    def test_start(self):
        """As the README says it."""
        self.pppd.stop()
        must("systemctl", "start", "pppd")
        self.assertTrue(self.pppd.is_active(), self.pppd.status())
        self.assert_counts(run("pppctl", "run", "async"))
        self.assertEqual(self.pppd.get("Type")[:6], "notify")
        self.assertRegex(self.pppd.get("StatusText"), r"\d+ jobs? running, \d+ queued")

    def test_it_is_not_root(self):
        with open(f"/proc/{self.pppd.pid}/status") as file:
            status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
        self.assertNotIn("0", status["Uid"].split(), "its user")
        self.assertEqual(int(status["CapEff"], 16), 0, "its capabilities")
        self.assertEqual(status["NoNewPrivs"].strip(), "1")

    def test_it_moves_into_a_leaf(self):
        self.assertEqual(self.pppd.get("ControlGroup"), self.pppd.path)
        self.assertEqual(group_of(int(self.pppd.get("MainPID"))), self.pppd.path + "/supervisor")

    def test_the_socket_starts_it(self):
        self.pppd.stop()
        self.assertEqual(self.pppd.get("ActiveState"), "inactive")
        result = self.pppd.pppctl("run", "serial", "sum", "10")
        self.assertEqual((result.status, result.out.strip()), (0, "10: 45"), result)
        self.assertTrue(self.pppd.is_active())

    def test_jobs_are_remembered(self):
        job = self.pppd.submit("threads", "sum", [10, 20])
        summary = self.pppd.wait(job)["summary"]
        self.pppd.restart()
        self.assertEqual(self.pppd.show(job)["summary"], summary)
        listed = self.assert_ok(self.pppd.pppctl("list", "--json"))
        self.assertIn(job, [line.get("job") for line in map(json.loads, listed.out.splitlines())])
        self.assertIn("190", self.assert_ok(self.pppd.pppctl("results", str(job))).out)

    def test_reload(self):
        """Without losing what runs."""
        job = self.pppd.submit("async", "sleep", ["0.2"] * 8, workers=2)
        pid = self.pppd.pid
        self.pppd.systemctl("reload", "pppd.service")
        self.assertEqual(self.pppd.pid, pid)
        self.assert_complete(job)

    def test_the_log_goes_to_the_journal(self):
        """As its own, with the right priority."""
        since = must("date", "+%s").out.strip()
        self.pppd.restart()
        must("journalctl", "--sync")
        log = must("journalctl", "_SYSTEMD_UNIT=pppd.service", f"--since=@{since}", "--output=json", "--no-pager").out
        ours = [entry for entry in map(json.loads, log.splitlines()) if entry["MESSAGE"].startswith("stopping")]
        self.assertEqual([entry["PRIORITY"] for entry in ours], ["6"], log)


class Configuration(Case):
    """A mistake is named with its file, line and key; and does no harm to what runs."""

    path = "/etc/pppctl/pppctl.conf.d/test.conf"

    def setUp(self):
        super().setUp()
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.addCleanup(lambda: os.path.exists(self.path) and os.unlink(self.path))

    def write(self, text):
        with open(self.path, "w") as file:
            file.write(text)

    def said(self, since):
        must("journalctl", "--sync")
        return must("journalctl", "--unit=pppd.service", f"--since=@{since}", "--no-pager", "--output=cat").out

    def now(self):
        return must("date", "+%s").out.strip()

    def test_an_unknown_key(self):
        self.write("[jobs]\nno_such_key = 1\n")
        since, pid = self.now(), self.pppd.pid
        self.assertNotEqual(self.pppd.systemctl("reload", "pppd.service", check=False).status, 0)
        self.assertRegex(self.said(since), rf'{self.path}:2: unknown key "no_such_key"')
        self.assertEqual(self.pppd.pid, pid, "it goes on as it was")

    def test_an_unknown_key_at_start(self):
        """It does not start, and says why; put right, it does."""
        self.write("[jobs]\nmax_running = many\n")
        since = self.now()
        result = self.pppd.systemctl("restart", "pppd.service", check=False)
        self.assertNotEqual(result.status, 0)
        self.assertRegex(self.said(since), rf"{self.path}:2: max_running takes a number")
        restarts = self.pppd.systemctl("show", "--property=NRestarts", "--value", "pppd.service").out.strip()
        self.assertEqual(restarts, "0", "to try again is of no use")
        self.assertEqual(self.pppd.systemctl("is-active", "pppd.socket", check=False).out.strip(), "active")
        os.unlink(self.path)
        self.pppd.reset()
        # The service manager may be about to try again by itself.
        wait_until(self.pppd.is_active, "the service started", 30.0, step=0.1)
