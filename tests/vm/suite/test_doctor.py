"""pppctl doctor: here, where everything is, everything works."""

import json
import os

from case import Case
from commands import run

SWITCH = "/proc/sys/kernel/io_uring_disabled"


class Doctor(Case):
    def check_all_is_well(self, user):
        """The daemon tells what it finds for its jobs, so it is the same for all who may ask."""
        result = self.assert_ok(self.pppd.pppctl("doctor", user=user))
        for word in ("cgroup", "io_uring", "memory", "pids", "cpuset", "clone3", "pidfd"):
            self.assertIn(word, result.out)

    def test_root(self):
        self.check_all_is_well("root")

    def test_a_member(self):
        self.check_all_is_well("member")

    def test_how_processes_get_into_their_group(self):
        """The filter of the hardened unit forbids clone3: they move."""
        result = self.pppd.pppctl("doctor", "--json")
        check = next(check for check in json.loads(result.out)["checks"] if check["name"] == "clone3 into a group")
        self.assertEqual(check["status"], "partly", check)
        self.assertRegex(check["detail"], "RestrictNamespaces.*move into their group")

    def test_a_stranger_is_told_what_is_missing(self):
        result = run("pppctl", "doctor", user="stranger")
        self.assertNotEqual(result.status, 0, result)
        self.assertRegex(result.out + result.err, "group|permission")

    def test_io_uring_forbidden(self):
        """On a kernel that knows the switch."""
        if not os.path.exists(SWITCH):
            self.skipTest("this kernel has no kernel.io_uring_disabled (6.6)")
        self.addCleanup(self.switch, "0")
        self.switch("2")
        result = self.pppd.pppctl("doctor")
        self.assertNotEqual(result.status, 0, result)
        self.assertIn("kernel.io_uring_disabled", result.out + result.err)

        refused = self.pppd.pppctl("run", "async", "sleep", "0")
        self.assert_says(refused, 1, "io_uring", "kernel.io_uring_disabled")
        self.assert_ok(self.pppd.pppctl("run", "threads", "sleep", "0"))

    @staticmethod
    def switch(text):
        with open(SWITCH, "w") as file:
            file.write(text)
