"""What runs after the supervisor, in the place of systemd: pppd-after-stop in a unit's .control, or beside the unit."""

import os
import subprocess
import unittest

from harness import settings
from harness.daemon import cgroup_mount

PROGRAM = os.path.abspath(os.path.join(settings.build, "pppd-after-stop"))


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read()


def write(text, *path):
    with open(os.path.join(*path), "w") as file:
        file.write(text)


@unittest.skipUnless(os.path.exists(PROGRAM), "pppd-after-stop is not built: the Makefile does not "
                                               "include packaging/package.mk")
class AfterStop(unittest.TestCase):
    """The unit's cgroup has a job's with a process two levels down, and one that is empty."""

    def setUp(self):
        own = next(line.split(":", 2)[2].strip() for line in open("/proc/self/cgroup") if line.startswith("0::"))
        self.unit = os.path.join(cgroup_mount() or "/nowhere", own.strip("/"), f"test-after-stop-{os.getpid()}")
        self.groups = [os.path.join(self.unit, name) for name in ("", ".control", "job-1", "job-1/worker-0", "web")]
        try:
            for group in self.groups:
                os.mkdir(group)
        except OSError as error:
            self.skipTest(f"no cgroup can be made here: {error}")
        self.addCleanup(lambda: [os.rmdir(group) for group in reversed(self.groups)])
        self.job = self.start("job-1/worker-0", "sleep", "600")

    def start(self, group, *args, **options):
        process = subprocess.Popen(args, text=True, preexec_fn=lambda: write("0", self.unit, group, "cgroup.procs"),
                                   **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()

    def after_stop(self, result, *args, group=".control"):
        process = self.start(group, PROGRAM, *args, stderr=subprocess.PIPE,
                             env={**os.environ, "SERVICE_RESULT": result})
        error = process.communicate(timeout=30)[1]
        return process.returncode, error

    def populated(self):
        return "populated 1" in read(self.unit, "cgroup.events")

    def test_a_stop_leaves_nothing(self):
        for result in ("success", "timeout"):
            with self.subTest(result):
                if self.job.poll() is not None:
                    self.job = self.start("job-1/worker-0", "sleep", "600")
                self.assertEqual(self.after_stop(result), (0, ""))
                # It has waited for that, and not only asked for it.
                self.assertFalse(self.populated())
                self.assertEqual(self.job.wait(10), -9)

    def test_a_crash_leaves_jobs_alone(self):
        for result in ("signal", "core-dump", "watchdog", "exit-code", "start-limit-hit"):
            for args in ((), ("--make-room",)):
                with self.subTest(result, args=args):
                    self.assertEqual(self.after_stop(result, *args), (0, ""))
                    self.assertIsNone(self.job.poll())

    def test_room_is_made_from_the_bottom_up(self):
        controllers = read(self.unit, "cgroup.controllers").split()
        if "pids" not in controllers:
            self.skipTest(f"the pids controller is not here, only {controllers}")
        for group in ("", "job-1"):
            write("+pids", self.unit, group, "cgroup.subtree_control")
        self.assertEqual(self.after_stop("signal"), (0, ""))
        self.assertEqual(read(self.unit, "cgroup.subtree_control").split(), ["pids"])
        self.assertEqual(self.after_stop("signal", "--make-room"), (0, ""))
        for group in ("", "job-1"):
            self.assertEqual(read(self.unit, group, "cgroup.subtree_control").split(), [])
        self.assertIsNone(self.job.poll())

    def test_elsewhere_it_does_nothing(self):
        self.assertEqual(self.after_stop("success", group="web"), (0, ""))
        self.assertIsNone(self.job.poll())

    def leave_over(self):
        """The cgroup of pppd-leftover.service, for start()."""
        group = f"../{os.path.basename(self.unit)}-leftover"
        os.mkdir(os.path.join(self.unit, group))
        self.addCleanup(os.rmdir, os.path.join(self.unit, group))
        return group

    def end_left(self, group, status, unit=None):
        process = self.start(group, PROGRAM, "--end", unit or os.path.basename(self.unit), stderr=subprocess.PIPE,
                             env={**os.environ, "SERVICE_RESULT": "success", "EXIT_STATUS": status})
        error = process.communicate(timeout=30)[1]
        return process.returncode, error

    def test_what_is_left_over_is_awaited(self):
        group = self.leave_over()
        waiting = self.start(group, PROGRAM, "--await", os.path.basename(self.unit))
        with self.assertRaises(subprocess.TimeoutExpired):
            waiting.wait(0.2)
        self.end(self.job)
        self.assertEqual(waiting.wait(10), 0)

    def test_a_stop_ends_what_is_left_over(self):
        group = self.leave_over()
        for status in ("HUP", "0", "1", "KILL"):
            with self.subTest(status):
                self.assertEqual(self.end_left(group, status), (0, ""))
                self.assertIsNone(self.job.poll())
        self.assertEqual(self.end_left(group, "TERM"), (0, ""))
        self.assertFalse(self.populated())
        self.assertEqual(self.job.wait(10), -9)

    def test_a_supervisor_that_lives_sees_to_it(self):
        """In its leaf, or still on the way there."""
        group = self.leave_over()
        leaf = os.path.join(self.unit, "supervisor")
        os.mkdir(leaf)
        self.addCleanup(os.rmdir, leaf)
        for where in ("supervisor", ""):
            with self.subTest(where):
                supervisor = self.start(where, "sleep", "600")
                self.assertEqual(self.end_left(group, "TERM"), (0, ""))
                self.assertIsNone(supervisor.poll())
                self.assertIsNone(self.job.poll())
                self.end(supervisor)
        self.assertEqual(self.end_left(group, "TERM"), (0, ""))
        self.assertEqual(self.job.wait(10), -9)

    def test_a_unit_without_a_group_has_nothing(self):
        group = self.leave_over()
        self.assertEqual(self.end_left(group, "TERM", "no-such.service"), (0, ""))
        self.assertEqual(self.start(group, PROGRAM, "--await", "no-such.service").wait(10), 0)
        self.assertIsNone(self.job.poll())

    def test_by_hand_it_says_what_it_is(self):
        env = {name: value for name, value in os.environ.items() if name != "SERVICE_RESULT"}
        for args, environment in (((), env), (("--end", "a.service"), env), (("--await",), env),
                                  (("--all",), {**env, "SERVICE_RESULT": "success"})):
            done = subprocess.run([PROGRAM, *args], env=environment, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertIn("ExecStopPost=", done.stderr)
            self.assertIn("pppd.service(8)", done.stderr)
