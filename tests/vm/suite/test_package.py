"""Upgrade, remove, install again, purge, one after the other: the machine is left right each time."""

import glob
import os

import package
from case import Case
from commands import must, run
from daemon import UNITS, processes, waits_for_reply
from harness.poll import wait_until
from test_web import get


class Package(Case):
    seconds = 240

    def units_known(self):
        return [unit for unit in UNITS if self.pppd.get("LoadState", unit) not in ("not-found", "masked")]

    def leftovers(self):
        """Files with our name where a package may leave some."""
        found = []
        for top in ("/etc", "/usr", "/var/lib", "/var/cache", "/var/log", "/run", "/lib/systemd"):
            for directory, directories, names in os.walk(top):
                if directory in ("/var/lib/dpkg", "/var/log/journal", "/var/lib/systemd"):
                    directories.clear()
                    continue
                found += [os.path.join(directory, name) for name in [*names, *directories]
                          if "pppctl" in name or name.startswith(("pppd.s", "pppd-web."))]
        return [path for path in found if "pppctl-tests" not in path]

    def test_1_upgrade_with_a_job(self):
        """It is taken up again; no record is lost, and who waits gets the answer."""
        job = self.pppd.submit("async", "sleep", ["0.5"] * 80, workers=2)
        waiting = self.pppd.pppctl_start("wait", job)
        self.addCleanup(waiting.kill)
        wait_until(lambda: waits_for_reply(waiting.pid), "pppctl wait", 20.0)
        web = self.begin_web()
        before, pid, version = self.pppd.recorded(job, 2), self.pppd.pid, package.version()
        package.upgrade()
        self.assertNotEqual(package.version(), version)
        self.assertTrue(wait_until(self.pppd.is_active, "the new daemon", 30.0, step=0.1))
        self.assertNotEqual(self.pppd.pid, pid, "the new program runs")
        self.assert_complete(job, before)
        self.assert_ok(waiting.wait(60))
        self.assertEqual(package.verify(), "")
        self.assertEqual(get("/metrics")[0], 200, "what was on is on")
        self.assertNotEqual(self.pid_of_web(), web, "the new program runs")

    def begin_web(self):
        """Off by default; its process id once somebody has turned it on, and it was talked to."""
        must("systemctl", "start", "pppd-web.socket")
        self.assertEqual(get("/metrics")[0], 200)
        return self.pid_of_web()

    def pid_of_web(self):
        return self.pppd.get("MainPID", "pppd-web.service")

    def test_2_remove_and_install_again(self):
        """In the middle of a job: nothing of it goes on, and what was is remembered."""
        ended = self.pppd.submit("serial", "sum", [10, 20])
        summary = self.pppd.wait(ended)["summary"]
        job = self.pppd.submit("processes", "sleep", ["0.5"] * 20, workers=2)
        before = self.pppd.recorded(job, 1)
        self.begin_web()
        package.remove()
        with self.assertRaises(ConnectionRefusedError):
            get("/")
        self.assert_nothing_runs()
        self.assertEqual(self.units_known(), [])
        self.assertFalse(os.path.exists(self.pppd.socket))
        self.assertEqual(run("which", "pppctl").out, "")
        failed = must("systemctl", "list-units", "--failed", "--plain", "--no-legend").out
        self.assertNotIn("pppd", failed)
        self.assertTrue(os.path.exists("/var/lib/pppctl/jobs.db"), "state stays until purge")
        package.install_again()
        self.pppd.reset()
        self.assertEqual(self.pppd.show(ended)["summary"], summary)
        self.assert_complete(job, before)

    @package.deb_only
    def test_3_purge(self):
        """Nothing is left; a user that owned files stays, as Debian has it."""
        self.pppd.wait(self.pppd.submit("serial", "sum", [10]))
        package.purge()
        self.assertEqual(processes(), {})
        self.assertEqual(run("systemctl", "is-active", "pppd.slice").out.strip(), "inactive")
        self.assertEqual(self.leftovers(), [])
        self.assertEqual(glob.glob("/etc/systemd/system/*/pppd.*"), [])
        self.assertEqual(self.units_known(), [])
