"""What the machine denies: io_uring, cgroups, a place for the state, the socket itself."""

import asyncio
import errno
import glob
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import unittest

from harness import activate, forbid, process, settings
from harness.case import LEVELS, Case, end
from harness.certificates import Certificates
from harness.daemon import StartFailure
from harness.poll import wait_until

FORBID_IO_URING = [sys.executable, forbid.__file__, str(forbid.IO_URING_SETUP)]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
LOCAL = ("serial", "threads", "processes")


class NoIoUring(Case):
    """As a container runtime's seccomp filter does it (EPERM, or a signal), and a kernel without it (ENOSYS)."""

    with_daemon = False

    def test_async_says_so_and_the_others_work(self):
        for error in (errno.EPERM, errno.ENOSYS, "kill"):
            with self.subTest(error=errno.errorcode.get(error, error)):
                daemon = self.fresh(f"no-uring-{error}", wrap=[*FORBID_IO_URING, str(error)])
                result = daemon.pppctl("run", "async", "sum", "5")
                self.assert_says(result, 1, "async", "io_uring", "seccomp|io_uring_disabled|kernel", "level|threads")
                for level in LOCAL:
                    self.assert_values(self.run_job(level, "sum", ["5"], daemon=daemon), {"5": 10})
                    self.assert_values(self.run_job(level, "words", ["/dev/null"], daemon=daemon), {"/dev/null": 0})
                demo = daemon.pppctl("run", "threads")
                self.assertIn("2016: 3794 words", demo.out, demo)

    def test_the_reason_is_there_for_programs(self):
        from harness.varlink import Error
        daemon = self.fresh("no-uring-name", wrap=[*FORBID_IO_URING, str(errno.EPERM)])
        with self.assertRaises(Error) as caught:
            daemon.submit("async", "sum", ["5"])
        self.assertEqual(caught.exception.name, "io.pppctl.Jobs.LevelUnavailable")
        self.assertRegex(caught.exception.parameters["hint"], "seccomp filter")
        self.assertEqual(daemon.unfinished(), [], "there is no job of it")

    def test_compare_goes_on_without_async(self):
        daemon = self.fresh("no-uring-compare", wrap=[*FORBID_IO_URING, str(errno.EPERM)])
        result = daemon.pppctl("compare", "sum", "1000")
        for level in LOCAL:
            self.assertRegex(result.out, rf"(?m)^\W*{level}\b", result)
        self.assertRegex(result.out + result.err, "io_uring", result)


class SlowPages:
    """Answers every request after a moment, however many there are: no thread each, and kept connections."""

    def __init__(self, context=None):
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096,
                                                                            ssl=context))
        self.port = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    async def _serve(self, reader, writer):
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.05)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\none two six")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.server.close()


class FewDescriptors(Case):
    """A hard limit on open files that is lower than what so many workers need: there are fewer, and it is said."""

    with_daemon = False
    N = 300
    PATTERN = r"^pppd-runner: \d+ workers instead of {}, since this process may have only 64 files open; raise the limit on open files " \
              r"\(LimitNOFILE=, ulimit -n\)\n$"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.scarce = cls.new_daemon("scarce", wrap=["prlimit", "--nofile=64:64", "--"])
        cls.server = SlowPages()
        cls.addClassCleanup(cls.server.stop)

    @classmethod
    def tearDownClass(cls):
        cls.scarce.stop()

    def check(self, level, inputs, value, *options):
        workers = [] if level == "serial" else ["--workers", "256"]
        outcome = self.run_job(level, "words", inputs, *workers, *options, daemon=self.scarce)
        self.assert_values(outcome, {str(name): value for name in inputs})
        log = self.log_of(outcome.summary["job"])
        if level == "serial":
            self.assertEqual(log, "")
        else:
            self.assertRegex(log, self.PATTERN.format(min(256, len(inputs))))

    def log_of(self, job):
        found, = glob.glob(f"{self.scarce.state}/**/{job}/output", recursive=True)
        with open(found) as file:
            return file.read()

    def test_pages(self):
        for level in (*LOCAL, "async"):
            for host in ("127.0.0.1", "localhost"):
                with self.subTest(level=level, host=host):
                    n = 20 if level == "serial" else self.N
                    self.check(level, [f"http://{host}:{self.server.port}/{i}" for i in range(n)], 3)

    def test_pages_beside_an_executor(self):
        """Its threads have descriptors of their own, for which there is room."""
        self.check("async", [f"http://127.0.0.1:{self.server.port}/{i}" for i in range(self.N)], 3, "--executor", "threads",
                   "--executor-workers", 16)

    def test_pages_by_tls(self):
        """libcurl's connections are bounded too."""
        if not shutil.which("openssl"):
            self.skipTest("openssl is not installed")
        certificates = Certificates(self.temp)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.valid)
        server = SlowPages(context)
        self.addCleanup(server.stop)
        for level in (*LOCAL, "async"):
            with self.subTest(level=level):
                n = 10 if level == "serial" else 80
                urls = [f"https://localhost:{server.port}/{i}" for i in range(n)]
                self.check(level, urls, 3, "--ca-file", certificates.ca)

    def test_files(self):
        files = [self.write(f"file-{i}", "one two") for i in range(self.N)]
        for level in (*LOCAL, "async"):
            with self.subTest(level=level):
                self.check(level, files, 2)

    def test_tasks_that_open_nothing(self):
        for level in (*LOCAL, "async"):
            with self.subTest(level=level):
                workers = [] if level == "serial" else ["--workers", "32"]
                self.assert_values(self.run_job(level, "sum", ["5"], *workers, daemon=self.scarce), {"5": 10})


UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
HIDE_PROC = [*UNSHARE, "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]


class NoProc(Case):
    """As in a chroot that was entered without mounting anything, and in a PID namespace with its parent's /proc."""

    with_daemon = False
    HIDDEN = {"it is not mounted: there is no /proc/self": HIDE_PROC,
              "it shows the processes of another PID namespace": [*UNSHARE, "--pid", "--fork", "--kill-child"]}

    @classmethod
    def setUpClass(cls):
        if settings.sanitized():
            raise unittest.SkipTest("sanitizers read /proc themselves")
        if subprocess.run([*HIDE_PROC, "true"], capture_output=True).returncode != 0:
            raise unittest.SkipTest("no mount namespace can be made here")
        super().setUpClass()

    def test_no_daemon_starts(self):
        for why, wrap in self.HIDDEN.items():
            with self.subTest(why):
                daemon = self.new_daemon("no-proc", start=False, wrap=wrap)
                with self.assertRaises(StartFailure) as caught:
                    daemon.start()
                self.assertEqual(caught.exception.log.splitlines()[-1], f"pppd-supervisor: cannot start without /proc: {why}; "
                                 "mount it first: mount -t proc proc /proc")
                self.assertFalse(os.path.exists(daemon.state))

    def test_doctor_says_it_too(self):
        for why, wrap in self.HIDDEN.items():
            with self.subTest(why):
                result = process.run([*wrap, process.program("pppctl"), "--socket", self.path("none"), "doctor"], self.temp)
                self.assertEqual(result.status, 1, result)
                self.assertRegex(result.out, rf"(?m)^  /proc +no +{why}\n +-> mount it first: mount -t proc proc /proc$")
                for level in LEVELS:
                    self.assertRegex(result.out, rf"(?m)^  {level} +no$")


class Unprivileged(Case):
    """As nobody: no cgroup can be made, so pidfds stand in, and the summary says so."""

    with_daemon = False

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            raise unittest.SkipTest("needs root and setpriv to become nobody")
        super().setUpClass()
        home = cls.make_home(cls)
        cls.nobody = cls.new_daemon("nobody", wrap=NOBODY, socket_path=f"{home}/sock", state=f"{home}/state")

    def make_home(self):
        home = os.path.join(self.temp, "home")
        os.mkdir(home)
        os.chown(home, 65534, 65534)
        return home

    @classmethod
    def tearDownClass(cls):
        cls.nobody.stop()

    def test_every_level_works(self):
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "sum", ["5", "x"], daemon=self.nobody, status=1)
                self.assertEqual(outcome.by_input["5"]["value"], 10)
                self.assertEqual(outcome.summary["host"]["cgroup"], "none")
                listed = {item["metric"] for item in outcome.summary["unavailable"]}
                self.assertTrue("pressure_cpu_waiting_seconds" in listed or "pressure_cpu_waiting_seconds" in outcome.summary,
                                outcome.summary)

    def test_cpu_time_is_of_the_processes(self):
        """Of all of them: what the workers use at the processes level too."""
        for level in LEVELS:
            with self.subTest(level=level):
                summary = self.run_job(level, "sum", ["200000000"], daemon=self.nobody).summary
                own = summary["coordinator"] if level == "machines" else summary
                self.assertEqual((summary["host"]["cgroup"], summary["cpu_source"]), ("none", "rusage"), summary)
                self.assertGreaterEqual(own["cpu_system_seconds"], 0)
                if level != "machines":
                    self.assertGreater(own["cpu_user_seconds"] + own["cpu_system_seconds"], 0.005, "some of what it takes to add that many")
                shown = self.nobody.pppctl("show", summary["job"]).out
                self.assertRegex(shown, r"(?m)^  CPU as told by +rusage")

    def test_the_demo_works(self):
        result = self.nobody.pppctl("run", "async")
        self.assertIn("2017: 4123 words", result.out, result)

    def test_cancel_ends_all_processes(self):
        for level in LEVELS:
            with self.subTest(level=level):
                job = self.nobody.submit(level, "sleep", ["60"] * 4)
                runner = self.nobody.runner(job)
                self.assertEqual(self.nobody.cancel(job)["state"], "cancelled")
                self.assertFalse(process.alive(runner))

    def test_a_file_that_may_not_be_read(self):
        secret = self.write("secret", "not for everybody")
        os.chmod(secret, 0o600)
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", [secret], daemon=self.nobody, status=1)
                self.assert_failed(outcome.rows[0], "open")
        result = self.nobody.pppctl("run", "async", "words", secret)
        self.assertRegex(result.err, "secret: failed: cannot open: Permission denied")

    def test_a_state_directory_that_cannot_be_written(self):
        """It does not start, and says why."""
        os.mkdir(self.path("locked"))
        os.chmod(self.path("locked"), 0o755)
        daemon = self.new_daemon("locked-out", start=False, wrap=NOBODY, socket_path=self.path("home/other.sock"),
                                 state=self.path("locked/state"))
        with self.assertRaises(StartFailure) as caught:
            daemon.start()
        self.assertNotEqual(caught.exception.status, 0)
        self.assertRegex(caught.exception.log, "locked/state")
        self.assertRegex(caught.exception.log, "(?i)permission denied")

    def test_a_state_directory_of_somebody_else(self):
        """Whose it is is told, whether the daemon could write there or not."""
        for mode in (0o700, 0o777):
            with self.subTest(mode=oct(mode)):
                state = self.path(f"roots-{mode}")
                os.mkdir(state)
                os.chmod(state, mode)
                daemon = self.new_daemon(f"other-{mode}", start=False, wrap=NOBODY, state=state,
                                         socket_path=self.path("home/roots.sock"))
                with self.assertRaises(StartFailure) as caught:
                    daemon.start()
                self.assertEqual(caught.exception.status, 1)
                self.assertRegex(caught.exception.log, f"{state}: it belongs to user 0.*runs as user 65534.*chown")
                self.assertEqual(os.listdir(state), [])

    def test_the_state_is_nobody_elses(self):
        """Whatever the umask, and where the directory was made by somebody with wider rights."""
        state = self.path("wide")
        for directory in (state, f"{state}/jobs"):
            os.mkdir(directory)
            os.chmod(directory, 0o755)
        for name in ("jobs.db", "instance"):
            with open(f"{state}/{name}", "w"):
                os.chmod(f"{state}/{name}", 0o644)
        daemon = self.new_daemon("wide", wrap=["sh", "-c", 'umask 0; exec "$@"', "sh"], state=state)
        secret = self.write("page", b"one two three")
        self.run_job("processes", "words", [secret], daemon=daemon)
        self.assertRegex(daemon.log(), f"other users had access to {state}/jobs.db .mode 0644., and now have none")
        found = [state, *(os.path.join(top, name) for top, below, files in os.walk(state) for name in below + files)]
        for name in ("jobs", "jobs/1", "jobs/1/inputs", "jobs/1/results", "jobs.db", "lock"):
            self.assertIn(f"{state}/{name}", found)
        for path in found:
            status = os.lstat(path)
            self.assertEqual((status.st_mode & 0o077, status.st_uid), (0, os.geteuid()), path)
        other = subprocess.run([*NOBODY, "find", state, "-mindepth", "1", "-print"], capture_output=True)
        self.assertEqual((other.stdout, other.returncode), (b"", 1), other)

    def test_a_configuration_that_may_not_be_read(self):
        secret = self.write("secret.conf", "[jobs]\n")
        os.chmod(secret, 0o600)
        daemon = self.new_daemon("secretive", start=False, wrap=NOBODY, args=("--config", secret),
                                 state=self.path("home/secretive"), socket_path=self.path("home/secretive.sock"))
        with self.assertRaises(StartFailure) as caught:
            daemon.start()
        self.assertRegex(caught.exception.log, "secret.conf.*Permission denied")

    def test_a_socket_that_cannot_be_made(self):
        daemon = self.new_daemon("no-socket", start=False, wrap=NOBODY, socket_path=self.path("denied.sock"),
                                 state=self.path("home/third"))
        with self.assertRaises(StartFailure) as caught:
            daemon.start()
        self.assertRegex(caught.exception.log, "denied.sock.*(?i:permission denied)")


    def test_a_socket_that_is_passed_needs_no_path(self):
        """As User= and pppd.socket have it: nothing in the environment says where to listen."""
        path = self.path("home/passed.sock")
        wrap = [sys.executable, activate.__file__, path, shutil.which("setpriv"), *NOBODY[1:]]
        daemon = self.fresh("passed", socket_path=path, listens=False, state=self.path("home/passed"), wrap=wrap)
        self.assert_alive(daemon)

    def test_no_socket_and_no_path(self):
        daemon = self.new_daemon("pathless", start=False, wrap=NOBODY, listens=False, state=self.path("home/pathless"))
        with self.assertRaises(StartFailure) as caught:
            daemon.start()
        self.assertEqual(caught.exception.status, 2)
        self.assertRegex(caught.exception.log, "cannot tell where to listen.*pppd.socket")


class NoGroupAnyMore(Case):
    """Somebody removes the daemon's cgroup while no job runs."""

    with_daemon = False

    def test_it_says_so_and_starts_anew(self):
        daemon = self.fresh("vanished")
        if not daemon.group:
            self.skipTest("no cgroup can be made here")
        os.rmdir(daemon.group)
        for args in (("serial", "sum", "5"), ("async", "words", "demo:2016")):
            with self.subTest(args):
                self.assert_says(daemon.pppctl("run", *args), 1, "cgroup is gone", "start the daemon again")
        self.assertRegex(daemon.pppctl("doctor").out, "start the daemon again")
        self.assertTrue(daemon.running(), daemon.log())
        daemon.terminate()
        daemon.start()
        self.assert_alive(daemon)


class Rivals(Case):
    """Two daemons on one socket or one state directory: the second says so, the first goes on."""

    def second(self, name, **options):
        daemon = self.new_daemon(name, start=False, **options)
        with self.assertRaises(StartFailure) as caught:
            daemon.start()
        self.assertNotEqual(caught.exception.status, 0)
        self.assert_alive()
        return caught.exception.log

    def test_one_socket(self):
        log = self.second("second", socket_path=self.daemon.socket)
        self.assertIn(self.daemon.socket, log)

    def test_one_state_directory(self):
        log = self.second("third", state=self.daemon.state)
        self.assertIn(self.daemon.state, log)

    def test_a_socket_left_by_a_daemon_that_was_killed(self):
        path = self.path("stale.sock")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
        daemon = self.fresh("stale", socket_path=path)
        self.assert_alive(daemon)

    def test_a_file_in_place_of_the_socket_is_not_removed(self):
        path = self.write("precious", "do not remove")
        self.second("fourth", socket_path=path)
        with open(path) as file:
            self.assertEqual(file.read(), "do not remove")

    def test_a_path_that_is_too_long_for_a_socket(self):
        log = self.second("fifth", socket_path=self.path("x" * 120))
        self.assertRegex(log, "(?i)too long|107")

    def test_unknown_options(self):
        done = process.run([process.program("pppd-supervisor"), "--sokcet", "x"], self.temp, 10)
        self.assertEqual(done.status, 2, done)
        self.assertIn("--sokcet", done.err)


class FullDisk(Case):
    """A state directory on a file system of 4 MiB."""

    with_daemon = False

    def setUp(self):
        self.mount = self.path("small")
        os.makedirs(self.mount, exist_ok=True)
        if not shutil.which("mount"):
            self.skipTest("cannot mount a tmpfs: mount is not installed")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "pppctl-test", self.mount], capture_output=True)
        if done.returncode != 0:
            self.skipTest(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", self.mount], check=True)
        self.daemon = self.new_daemon(self._testMethodName, state=os.path.join(self.mount, "state"))
        self.addCleanup(end, self.daemon)       # whatever comes of stop(): else the umount finds it busy
        self.addCleanup(self.daemon.stop)

    def fill(self):
        path = os.path.join(self.mount, "ballast")
        with open(path, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
        return path

    def test_a_job_that_does_not_fit_is_refused(self):
        """Its records alone need more than there is: an error up front, no crash in a worker."""
        result = self.daemon.pppctl("run", "serial", "sleep", "--from", "-", input=b"0\n" * 300_000)
        self.assert_says(result, 1, "(?i)no space left")
        self.assert_alive(self.daemon)

    def test_a_full_disk_and_then_space_again(self):
        ballast = self.fill()
        for _ in range(3):
            result = self.daemon.pppctl("run", "serial", "sum", "5")
            self.assert_says(result, 1, "(?i)no space left|full")
            self.assertTrue(self.daemon.running(), self.daemon.log())
        self.assertEqual(self.daemon.pppctl("list").status, 0)
        os.unlink(ballast)
        self.assert_alive(self.daemon)

    def test_a_disk_that_fills_while_a_job_runs(self):
        job = self.daemon.submit("threads", "sleep", ["0.2"] * 4, workers=2)
        self.daemon.runner(job)
        ballast = self.fill()
        shown = self.daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 4), shown)
        os.unlink(ballast)
        self.assert_alive(self.daemon)

    def test_a_command_that_prints_more_than_there_is_room_for(self):
        """It waits, says so, and goes on when there is room; not a byte is lost."""
        go = self.path("go")
        os.mkfifo(go)
        script = f"cat {go}; cat {self.write('large', os.urandom(1_500_000))}"
        for level in LEVELS:
            with self.subTest(level=level):
                job = self.daemon.submit(level, "exec", ["a"], command={"words": ["sh", "-c", script], "input": "none"})
                with open(go, "w"):             # it runs, and has printed nothing yet
                    ballast = self.fill()
                wait_until(lambda: self.daemon.show(job).get("condition") == "disk-full", "the condition disk-full")
                os.unlink(ballast)
                shown = self.daemon.wait(job)
                self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 1), shown)
                self.assertNotIn("condition", shown)
                with open(self.path("large"), "rb") as file:
                    self.assertEqual(self.daemon.pppctl("logs", job).stdout, file.read())
                shutil.rmtree(os.path.join(self.mount, "state", "jobs", str(job)))
