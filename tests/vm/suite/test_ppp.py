"""Beside the Point-to-Point Protocol's daemon, whose name we share: neither disturbs the other."""

import os
import re

import package
from case import Case
from commands import Process, must, run
from harness.poll import wait_until


class Ppp(Case):
    def test_no_file_is_in_both(self):
        theirs = {line for line in must("dpkg", "--listfiles", "ppp").out.splitlines() if not os.path.isdir(line)}
        ours = {line for line in package.files() if not os.path.isdir(line)}
        self.assertEqual(theirs & ours, set())

    def test_theirs_answers(self):
        result = run("pppd", "--version")
        self.assertRegex(result.out + result.err, r"pppd version 2\.")

    def test_poff_does_not_touch_us(self):
        """It signals what `pidof pppd` finds: nothing."""
        job = self.pppd.submit("processes", "sleep", ["0.5"] * 6, workers=2)
        pid, runner = self.pppd.pid, self.pppd.runner(job)
        self.assertEqual(run("pidof", "pppd").out, "")
        self.assertIn("No pppd is running", run("poff", "-a").out)
        self.assertEqual((self.pppd.pid, self.pppd.runner(job)), (pid, runner))
        self.assert_complete(job)

    def test_poff_ends_theirs_alone(self):
        """A daemon of theirs that lives, though it has no line: it waits for somebody to write its options."""
        path = "/run/ppp-options"
        os.mkfifo(path)
        self.addCleanup(os.unlink, path)
        theirs = Process("pppd", "nodetach", "file", path)
        self.addCleanup(theirs.kill)
        wait_until(lambda: run("pidof", "pppd").out.split() == [str(theirs.pid)], "a pppd", 20.0)
        pid = self.pppd.pid
        must("poff", "-a")
        self.assertNotEqual(theirs.wait(30).status, 0)
        self.assertEqual((self.pppd.pid, self.pppd.get("MainPID")), (pid, str(pid)))

    def test_both_at_work(self):
        """Two of theirs talk to each other over a pseudo terminal; poff -a ends them, and them alone."""
        must("modprobe", "ppp_async")
        common = ["nodetach", "noauth", "local", "nodefaultroute", "noipv6", "nolock"]
        other = " ".join(["pppd", "notty", *common, "10.64.64.2:10.64.64.1"])
        theirs = Process("pppd", *common, "10.64.64.1:10.64.64.2", "pty", other)
        self.addCleanup(theirs.kill)
        job = self.pppd.submit("async", "sleep", ["0.5"] * 40, workers=2)
        pid = self.pppd.pid
        wait_until(lambda: "local  IP address" in theirs.output() or theirs.ended(), theirs.output, 60.0)
        self.assertFalse(theirs.ended(), theirs.output())
        self.assertEqual(set(re.findall(r"\d+", run("pidof", "pppd").out)) & {str(pid)}, set())
        must("poff", "-a")
        theirs.wait(30)
        self.assertEqual(self.pppd.pid, pid)
        self.assertTrue(self.pppd.is_active())
        self.assert_complete(job)
