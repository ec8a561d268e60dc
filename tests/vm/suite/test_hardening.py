"""What systemd thinks of the unit, and that all of it holds while everything works."""

import re

from case import LEVELS, Case, tell
from commands import run
from daemon import group_of
from harness.poll import wait_until

EXPOSURE_MAX = 1.6


class Hardening(Case):
    def test_exposure(self):
        result = run("systemd-analyze", "security", "--no-pager", "pppd.service")
        match = re.search(r"Overall exposure level for pppd.service: ([0-9.]+)", result.out)
        self.assertIsNotNone(match, result)
        tell(f"exposure of pppd.service: {match[1]}")
        counted = "\n".join(line for line in result.out.splitlines() if line.startswith("✗"))
        self.assertLessEqual(float(match[1]), EXPOSURE_MAX, counted)

    def test_every_level_works_in_it(self):
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_counts(self.pppd.pppctl("run", level))

    def test_nothing_was_refused(self):
        """No call that the unit's filter killed, and no denial of AppArmor."""
        log = run("journalctl", "-b", "--no-pager", "--grep", "SECCOMP|apparmor=.DENIED|code=dumped", "--case-sensitive=no")
        self.assertNotIn("pppd-", log.out)

    def test_jobs_are_held_too(self):
        """Runners live in the unit's sandbox: no capability, no way to one, no home, nothing to write."""
        job = self.pppd.submit("async", "sleep", ["5"])
        runner = self.pppd.runner(job)
        with open(f"/proc/{runner}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.assertEqual((int(status["CapEff"], 16), status["NoNewPrivs"], status["Seccomp"]), (0, "1", "2"))
        self.assertTrue(group_of(runner).endswith(f"/job-{job}/runner"))

    def test_whom_the_kernel_may_kill(self):
        """Should memory run out: what runs jobs, and not who keeps them."""
        job = self.pppd.submit("processes", "sleep", ["5"])
        for pid, expected in ((self.pppd.pid, "-1000"), (self.pppd.runner(job), "0")):
            with open(f"/proc/{pid}/oom_score_adj") as file:
                self.assertEqual(file.read().strip(), expected)

    def test_a_file_that_may_not_be_read(self):
        """A task fails by name; it is not the daemon's failure."""
        result = self.pppd.pppctl("run", "async", "words", "/etc/shadow", "/etc/passwd")
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.err, "/etc/shadow: failed.*(?i:permission denied)")
        self.assertIn("/etc/passwd: ", result.out)

    def test_a_socket_that_is_not_ours_to_move(self):
        """The directory of the socket is root's: a job can't put another in its place."""
        wait_until(lambda: self.pppd.is_active(), "the daemon")
        result = run("setpriv", "--reuid=_pppctl", "--clear-groups", "rm", "-f", self.pppd.socket)
        self.assertNotEqual(result.status, 0, result)
