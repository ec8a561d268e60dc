"""The package, put into a running system."""

import os
import re
import unittest

import package
from commands import must, run, systemctl
from daemon import Daemon


class Install(unittest.TestCase):
    """The only test that finds the system without the package."""

    @classmethod
    def setUpClass(cls):
        assert not package.is_installed()
        cls.result = package.install()

    def test_the_packager_is_content(self):
        self.assertTrue(package.is_installed())
        self.assertNotRegex(self.result.out + self.result.err, "(?i)warning|error|cannot|failed")

    def test_nothing_differs_from_the_package(self):
        self.assertEqual(package.verify(), "")

    @package.deb_only
    def test_the_socket_listens(self):
        """Whoever is in the group may use it right away."""
        self.assertEqual(run("systemctl", "is-enabled", "pppd.socket").out.strip(), "enabled")
        self.assertEqual(run("systemctl", "is-active", "pppd.socket").out.strip(), "active")
        entry = must("stat", "--format=%F %U %G %a", Daemon().socket).out.strip()
        self.assertEqual(entry, "socket root pppctl 660")

    def test_units_are_in_order(self):
        units = sorted(line for line in package.files() if re.search(r"/systemd/system/[^/]+\.(service|socket|slice)$", line))
        self.assertIn("pppd.service", [os.path.basename(unit) for unit in units])
        for unit in units:
            result = run("systemd-analyze", "verify", "--man=no", unit)
            # What only newer ones know is in drop-ins, and older ones say so.
            told = [line for line in result.err.splitlines() if "Unknown key 'DelegateSubgroup'" not in line]
            self.assertEqual((result.status, told), (0, []), unit)

    def test_nothing_failed(self):
        systemctl("start", "pppd.service")
        failed = must("systemctl", "list-units", "--failed", "--plain", "--no-legend").out
        self.assertNotIn("pppd", failed)

    def test_the_user_cannot_log_in(self):
        entry = must("getent", "passwd", "_pppctl").out.strip()
        self.assertRegex(entry, r":/(usr/)?s?bin/(nologin|false)$")
