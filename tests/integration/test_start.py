"""What starts a job: nobody waits for it. A group that is frozen keeps a process from ever becoming the runner."""

import contextlib
import errno
import os
import re
import signal
import sqlite3
import struct
import subprocess
import sys

from harness import forbid
from harness.case import Case
from harness.daemon import PPPCTL, StartFailure, cgroup_mount, descendants, populated, remove_group
from harness.poll import wait_until
from harness.process import alive, program, reap_orphans
from harness.varlink import Error

FORBID_CLONE3 = [sys.executable, forbid.__file__, str(forbid.CLONE3), str(errno.ENOSYS)]
SLEEP = {"level": "threads", "workload": "sleep", "workers": 1}


def freeze(group, on):
    with open(os.path.join(group, "cgroup.freeze"), "w") as file:
        file.write("1" if on else "0")


def frozen(group):
    with open(os.path.join(group, "cgroup.freeze")) as file:
        return file.read().strip() == "1"


class Frozen(Case):
    """As if it were throttled for ever."""

    wrap = ()

    def setUp(self):
        self.daemon = self.fresh(self.id().rpartition(".")[2], wrap=self.wrap)
        if not self.daemon.group:
            self.skipTest("jobs have no cgroups here")
        self.freeze(True)
        self.addCleanup(self.freeze, False)

    def freeze(self, on):
        if os.path.isdir(self.daemon.group):
            freeze(self.daemon.group, on)

    def submit(self, *inputs, **options):
        return self.daemon.submit(**SLEEP, inputs=inputs, **options)

    def await_born(self, job):
        """By now it is in its group, and stands still there."""
        wait_until(lambda: populated(self.daemon.job_group(job)), f"a process in the group of job {job}")

    def assert_done(self, job, tasks=1):
        shown = self.daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", tasks), shown)

    def test_others_are_served(self):
        job = self.submit("0.01")
        self.await_born(job)
        self.assertEqual(self.daemon.show(job)["state"], "running")
        self.assertIn(job, self.daemon.unfinished())
        self.freeze(False)
        self.assert_done(job)

    def test_it_can_be_cancelled(self):
        job = self.submit("600")
        self.await_born(job)
        self.assertEqual(self.daemon.cancel(job)["state"], "cancelled")
        self.assertFalse(os.path.exists(self.daemon.job_group(job)))

    def test_it_can_be_paused(self):
        job = self.submit("0.01")
        self.assertEqual(self.daemon.call("Pause", {"job": job})["job"]["state"], "paused")
        self.await_born(job)
        self.freeze(False)
        wait_until(lambda: frozen(self.daemon.job_group(job)), "its processes frozen")
        self.assertEqual(self.daemon.show(job)["state"], "paused")
        self.daemon.call("Resume", {"job": job})
        self.assert_done(job)

    def test_it_can_time_out(self):
        job = self.submit("600", timeout_seconds=0.1)
        shown = self.daemon.wait(job)
        self.assertEqual(shown["state"], "cancelled", shown)

    def test_the_demo_server_may_take_its_time(self):
        job = self.daemon.submit("threads", "words", ["demo:2016"], workers=1)
        self.assertIn(job, self.daemon.unfinished())
        self.freeze(False)
        self.assert_done(job)

    def test_the_supervisor_may_die_meanwhile(self):
        job = self.submit("0.01", "0.02")
        self.await_born(job)
        self.daemon.kill()
        self.daemon.start()
        self.freeze(False)
        self.assert_done(job, 2)

    def test_the_supervisor_may_stop_meanwhile(self):
        job = self.submit("0.01", "0.02")
        self.await_born(job)
        self.daemon.popen.send_signal(signal.SIGTERM)
        self.freeze(False)
        self.assertEqual(self.daemon.terminate(), 0)
        self.daemon.start()
        self.assert_done(job, 2)


class FrozenWithoutClone3(Frozen):
    """As under RestrictNamespaces=: the child moves itself into its group, and stands still in the middle of that."""

    wrap = FORBID_CLONE3


class NoProgram(Case):
    with_daemon = False

    def start(self, name, text, mode=0o755):
        path = os.path.join(self.temp, name)
        if text is not None:
            with open(path, "w") as file:
                file.write(text)
            os.chmod(path, mode)
        return self.fresh(f"daemon-{name}", args=["--runner", path]), path

    def test_what_the_kernel_refuses(self):
        """Only the child can find that out."""
        daemon, path = self.start("garbage", "this is no program\n")
        job = daemon.submit(**SLEEP, inputs=["0.01"])
        shown = daemon.wait(job)
        self.assertEqual(shown["state"], "failed", shown)
        self.assertIn(f"cannot execute the runner {path} of job {job}: Exec format error", shown["reason"])
        self.assertEqual(descendants(daemon.pid), [], "reaped")
        result = daemon.pppctl("run", "threads", "sleep", "0.01")
        self.assertNotEqual(result.status, 0, result)
        self.assertIn("Exec format error; see whether it is there", result.err)

    def test_one_that_is_not_there(self):
        """That is told at once."""
        daemon, path = self.start("nothing", None)
        with self.assertRaises(Error) as caught:
            daemon.submit(**SLEEP, inputs=["0.01"])
        self.assertIn(path, str(caught.exception))
        self.assertEqual(daemon.unfinished(), [])


LIMITS = {"nofile": "Max open files", "nproc": "Max processes"}        # of prlimit(1), in /proc/PID/limits


class Later(Case):
    """What cannot be done now and may be done later loses nothing."""

    with_daemon = False

    def with_config(self, name, text, **options):
        path = os.path.join(self.temp, f"{name}.conf")
        with open(path, "w") as file:
            file.write(text)
        return self.fresh(name, args=["--config", path], **options)

    def assert_done(self, daemon, job, tasks):
        shown = daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", tasks), shown)

    def test_a_start_without_descriptors(self):
        """Of what waits and runs nothing is given up, and nothing is killed."""
        daemon = self.with_config("descriptors", "[jobs]\nmax_running = 1\n")
        first = daemon.submit(**SLEEP, inputs=["0.01", "1.5"])
        wait_until(lambda: any(daemon.rows(first)), "a first record")
        rest = [daemon.submit(**SLEEP, inputs=["0.01"]) for _ in range(40)]
        runner = daemon.runner(first)
        daemon.kill()
        daemon.wrap = ["prlimit", "--nofile=48:48"]
        with self.assertRaises(StartFailure) as caught:
            daemon.start()
        self.assertRegex(caught.exception.log, r"cannot take up job \d+ in .*: Too many open files; .*LimitNOFILE")
        self.assertNotIn("killing", caught.exception.log)
        self.assertTrue(alive(runner) or os.path.exists(daemon.state))
        daemon.wrap = []
        daemon.start()
        self.assert_done(daemon, first, 2)
        for job in rest:
            self.assert_done(daemon, job, 1)
        reap_orphans()

    @contextlib.contextmanager
    def limited(self, daemon, limit, value):
        """As if others had taken what this limit is about."""
        def set_limit(value):
            subprocess.run([*daemon.wrap, "prlimit", f"--pid={daemon.pid}", f"--{limit}={value}:"], check=True)

        with open(f"/proc/{daemon.pid}/limits") as file:
            was = re.search(rf"(?m)^{LIMITS[limit]} +(\w+)", file.read())[1]
        set_limit(value)
        yield
        set_limit(was)

    def stored(self, daemon, job):
        with contextlib.closing(sqlite3.connect(os.path.join(daemon.state, "jobs.db"))) as db:
            return db.execute("SELECT state FROM jobs WHERE number = ?", [job]).fetchone()[0]

    def test_a_job_that_cannot_be_started_now(self):
        """It keeps its place in the queue, and nobody takes turns at failing with it."""
        daemon = self.with_config("now", "[jobs]\nmax_running = 1\n")
        first = daemon.submit(**SLEEP, inputs=["600"])
        jobs = [daemon.submit(**SLEEP, inputs=["0.01", "0.02"]) for _ in range(2)]
        for job in jobs:
            daemon.call("Pause", {"job": job})
        daemon.cancel(first)
        with daemon.connect() as client:
            client.call(f"{PPPCTL}.Show", {"job": first})
            with self.limited(daemon, "nofile", 8):
                for job in jobs:
                    client.call(f"{PPPCTL}.Resume", {"job": job})
                shown = wait_until(lambda: (show := client.call(f"{PPPCTL}.Show", {"job": jobs[0]})["job"]).get("put_off")
                                   and show, daemon.log)
                self.assertEqual(shown["state"], "queued")
                self.assertRegex(shown["put_off"], f"cannot open the files for the runner .* of job {jobs[0]}: "
                                                   "Too many open files; let jobs or clients end")
                self.assertNotIn("put_off", client.call(f"{PPPCTL}.Show", {"job": jobs[1]})["job"])
                self.assertEqual(self.stored(daemon, jobs[0]), "queued")
        for job in jobs:
            self.assert_done(daemon, job, 2)
        self.assertNotIn("put_off", daemon.show(jobs[0]))
        self.assertEqual(daemon.log().count(f"job {jobs[0]} is not started yet"), 1, daemon.log())

    def unprivileged(self, name):
        """A daemon to which the limit on processes applies."""
        if os.getuid() != 0:
            return self.fresh(name)
        home = os.path.join(self.temp, f"{name}.home")
        os.mkdir(home)
        os.chown(home, 65534, 65534)
        return self.fresh(name, socket_path=f"{home}/sock", state=f"{home}/state",
                          wrap=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])

    def await_put_off(self, daemon, job):
        return wait_until(lambda: (show := daemon.show(job)).get("put_off") and show, daemon.log)

    def test_a_job_that_cannot_be_started_when_it_is_admitted(self):
        """It is admitted all the same; a job that ends makes room for it."""
        daemon = self.unprivileged("admitted")
        running = daemon.submit(**SLEEP, inputs=["600"])
        daemon.runner(running)
        with self.limited(daemon, "nproc", 1):
            attached = daemon.pppctl_start("run", "threads", "sleep", "0.01")
            wait_until(lambda: b"waits: cannot make a process" in attached.errors_so_far(), attached.errors_so_far)
            job, late = running + 1, daemon.submit(**SLEEP, inputs=["600"], timeout_seconds=0.5)
            shown = self.await_put_off(daemon, job)
            self.assertEqual(shown["state"], "queued")
            self.assertRegex(shown["put_off"], "make a process .*: Resource temporarily unavailable; .*TasksMax=")
            self.assertRegex(daemon.pppctl("show", job).out, r"put off +cannot make a process")
            self.assertEqual(daemon.wait(late)["reason"], "timeout")
        daemon.cancel(running)
        self.assert_done(daemon, job, 1)
        self.assertEqual(attached.wait().status, 0)

    def test_a_job_that_cannot_be_started_again(self):
        daemon = self.unprivileged("again")
        jobs = [daemon.submit(**SLEEP, inputs=["0.01", "600"]) for _ in range(2)]
        for job in jobs:
            wait_until(lambda: any(daemon.rows(job)), "a first record")
        runners = [daemon.runner(job) for job in jobs]
        daemon.kill()
        daemon.start()
        with self.limited(daemon, "nproc", 1):
            for job, runner in zip(jobs, runners):
                os.kill(runner, signal.SIGKILL)
                wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
                self.assertEqual(self.await_put_off(daemon, job)["state"], "running")
            self.assertEqual(daemon.cancel(jobs[0])["tasks_done"], 1)
            self.assertEqual(daemon.call("Pause", {"job": jobs[1]})["job"]["state"], "paused")
            self.assertEqual(daemon.call("Resume", {"job": jobs[1]})["job"]["state"], "running")
        wait_until(lambda: daemon.find_runner(jobs[1]), daemon.log)
        shown = daemon.cancel(jobs[1])
        self.assertEqual((shown["state"], shown["tasks_done"], shown["summary"]["resumed"]), ("cancelled", 1, True))

    def test_files_that_are_not_the_daemons(self):
        """Such as those that root has put there: what is wrong with which is told, and how to do without the job."""
        if os.getuid() != 0:
            self.skipTest("needs root, to give a file to somebody else")
        daemon = self.unprivileged("alien")
        job, other = (daemon.submit(**SLEEP, inputs=["0.01", "600"]) for _ in range(2))
        wait_until(lambda: any(daemon.rows(job)) and any(daemon.rows(other)), "first records")
        daemon.terminate()
        path = os.path.join(daemon.state, "jobs", str(job))
        os.chown(os.path.join(path, "results"), 0, 0)
        with self.assertRaises(StartFailure) as caught:
            daemon.start()
        self.assertRegex(caught.exception.log, rf"cannot take up job {job} in {path}: Permission denied; .*chown.*, or move "
                                               r"that directory away, which fails the job")
        os.rename(path, f"{path}.away")
        daemon.start()
        shown = daemon.show(job)
        self.assertEqual(shown["state"], "failed", shown)
        self.assertIn("its directory or results file is gone", shown["reason"])
        self.assertEqual(daemon.cancel(other)["tasks_done"], 1)

    def test_a_database_that_takes_no_start(self):
        """The next supervisor would not know of it, so there is none."""
        daemon = self.with_config("locked", "[jobs]\nmax_running = 1\n")
        first = daemon.submit(**SLEEP, inputs=["2"])
        second, third = (daemon.submit(**SLEEP, inputs=["0.01", "0.02"]) for _ in range(2))
        other = sqlite3.connect(os.path.join(daemon.state, "jobs.db"), isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            daemon.wait(first)
            wait_until(lambda: f"cannot store job {second}" in daemon.log(), "that it cannot be started")
            self.assertEqual(daemon.show(second)["state"], "queued")
            daemon.kill()
        finally:
            other.close()
        daemon.start()
        for job, tasks in ((first, 1), (second, 2), (third, 2)):
            self.assert_done(daemon, job, tasks)
        self.assertNotIn("killing", daemon.log())

    def test_a_database_that_takes_it_in_a_while(self):
        daemon = self.with_config("unlocked", "[jobs]\nmax_running = 1\n")
        first = daemon.submit(**SLEEP, inputs=["600"])
        second = daemon.submit(**SLEEP, inputs=["0.01"])
        other = sqlite3.connect(os.path.join(daemon.state, "jobs.db"), isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            daemon.cancel(first)
            wait_until(lambda: f"cannot store job {second}" in daemon.log(), "that it cannot be started")
        finally:
            other.close()
        self.assert_done(daemon, second, 1)


def unreadable_program():
    """What the kernel should load it with (PT_INTERP) is past its end: an error of the disk, which might pass."""
    with open(program("pppd-runner"), "rb") as file:
        identification = file.read(20)          # this machine's
    header = identification + struct.pack("=IQQQIHHHHHH", 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("=IIQQQQQQ", 3, 4, 4096, 0, 0, 16, 16, 1)


class LaterInTheChild(Case):
    """The runner's program cannot be executed now, which only the child finds out."""

    with_daemon = False

    def test_it_is_tried_again_less_and_less_often(self):
        path = os.path.join(self.temp, "runner")
        with open(path, "wb") as file:
            file.write(unreadable_program())
        os.chmod(path, 0o755)
        daemon = self.fresh("child", args=["--runner", path])
        jobs = []
        for _ in range(2):
            jobs.append(daemon.submit(**SLEEP, inputs=["0.01"]))
            shown = wait_until(lambda: (show := daemon.show(jobs[-1])).get("put_off") and show, daemon.log)
            self.assertRegex(shown["put_off"], f"cannot execute the runner {path} of job {jobs[-1]}: Input/output error")
        os.symlink(program("pppd-runner"), f"{path}.good")
        os.replace(f"{path}.good", path)
        for job in jobs:
            shown = daemon.wait(job)
            self.assertEqual(shown["state"], "done", shown)
            self.assertNotIn("resumed", shown["summary"], "it had never begun")
            self.assertEqual(daemon.log().count(f"job {job} is not started yet"), 1, daemon.log())


class OneBase(Case):
    """Two supervisors with one cgroup."""

    with_daemon = False

    def test_the_second_is_refused(self):
        path = os.path.join(cgroup_mount() or "", f"test-base-{os.getpid()}")
        try:
            os.mkdir(path)
        except OSError as error:
            self.skipTest(f"no cgroup can be made here: {error}")
        self.addCleanup(remove_group, path)
        first = self.fresh("first", args=["--cgroup", path])
        job = first.submit(**SLEEP, inputs=["0.01", "0.3"])
        second = self.new_daemon("second", start=False, args=["--cgroup", path])
        with self.assertRaises(StartFailure) as caught:
            second.start()
        self.assertRegex(caught.exception.log, rf"another pppd-supervisor \(process {first.pid}\) has its jobs in "
                                               rf"{path}: .*--cgroup PATH")
        shown = first.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 2), shown)
        first.kill()
        first.start()
