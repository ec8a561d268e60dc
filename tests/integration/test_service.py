"""The daemon as a service: what it tells its manager, its configuration, its socket, its end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import unittest

from harness import activate
from harness.case import Case
from harness.daemon import StartFailure
from harness.poll import wait_until
from harness.process import clean_environment, program, run

TINY = "[jobs]\nmax_running = 1\nmax_queued = 0\n"
WRONG_CONFIG = 78                       # EX_CONFIG of sysexits.h; the unit is not started again then
LARGER = "[jobs]\nmax_running = 2\nmax_queued = 0\n"


class Notify(Case):
    with_daemon = False

    def test_ready_status_and_stopping(self):
        daemon = self.fresh("notify")
        notify = daemon.notify
        self.assertIn("READY=1", notify.lines)
        wait_until(lambda: any(line.startswith("STATUS=") for line in notify.lines), lambda: f"a status: {notify.lines}")
        self.assertEqual(daemon.terminate(), 0)
        self.assertIn("STOPPING=1", notify.lines)

    def test_the_status_tells_of_jobs(self):
        daemon = self.fresh("status")
        job = daemon.submit("async", "sleep", ["60"])
        wait_until(lambda: [line for line in daemon.notify.lines if line.startswith("STATUS=")][-1:] and
                   "1" in [line for line in daemon.notify.lines if line.startswith("STATUS=")][-1],
                   lambda: f"a status with a running job: {daemon.notify.lines}")
        daemon.cancel(job)

    def test_watchdog(self):
        """Pings come while nothing happens, and while jobs run."""
        daemon = self.fresh("watchdog", env={"WATCHDOG_USEC": "200000"})
        pings = lambda: daemon.notify.lines.count("WATCHDOG=1")
        wait_until(lambda: pings() >= 3, lambda: f"three pings: {daemon.notify.lines}", 5)
        job = daemon.submit("processes", "sum", ["4294967296"] * 4)
        before = pings()
        wait_until(lambda: pings() >= before + 3, "three more", 5)
        daemon.cancel(job)

    def test_without_a_manager(self):
        """No NOTIFY_SOCKET that works: it runs all the same."""
        daemon = self.fresh("unmanaged")
        daemon.notify.close()
        try:
            self.assert_alive(daemon)
        finally:
            daemon.notify = type(daemon.notify)(daemon.notify_path)


class Socket(Case):
    with_daemon = False

    def test_activation(self):
        path = self.path("activated.sock")
        daemon = self.fresh("activated", socket_path=path, listens=False, wrap=[sys.executable, activate.__file__, path])
        self.assert_alive(daemon)
        daemon.terminate()
        self.assertTrue(os.path.exists(path), "the socket is the manager's to remove")

    @unittest.skipUnless(os.getuid() == 0, "takes root, to make a socket for somebody else")
    def test_the_daemon_says_who_it_is(self):
        """The kernel tells of whoever made the socket, which is root here."""
        home, path = self.path("nobody"), self.path("nobody.sock")
        os.mkdir(home)
        os.chown(home, 65534, 65534)
        daemon = self.fresh("nobody", socket_path=path, listens=False, state=f"{home}/state",
                            wrap=[sys.executable, activate.__file__, path, shutil.which("setpriv"), "--reuid=65534",
                                  "--regid=65534", "--clear-groups"])
        self.assertEqual(daemon.call("Doctor")["uid"], 65534)
        self.assertRegex(" ".join(daemon.pppctl("doctor").out.split()), "where the daemon is nobody and you are root")

    def test_its_own_socket_goes_with_it(self):
        daemon = self.fresh("own")
        self.assertTrue(os.path.exists(daemon.socket))
        daemon.terminate()
        self.assertFalse(os.path.exists(daemon.socket))

    def test_the_state_is_for_its_user_alone(self):
        daemon = self.fresh("private")
        self.assertEqual(os.stat(daemon.state).st_mode & 0o077, 0, oct(os.stat(daemon.state).st_mode))


class ClosedDescriptors(Case):
    """Started with standard streams closed: no file of its own takes their places, and messages go nowhere else."""

    with_daemon = False
    closed = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]

    def assert_held(self, pid):
        self.assertEqual([os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)], ["/dev/null"] * 3)

    def test_supervisor(self):
        daemon = self.fresh("closed", wrap=self.closed)
        self.assert_held(daemon.pid)
        self.assertEqual(daemon.wait(daemon.submit("processes", "sum", ["10"]))["state"], "done")
        with self.assertRaisesRegex(StartFailure, "another pppd-supervisor uses it"):
            self.new_daemon("second", state=daemon.state)

    def test_web(self):
        """Its socket is handed to it, as there is nobody to tell the URL."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            web = subprocess.Popen([sys.executable, activate.__file__, str(listener.fileno()), *self.closed,
                                    program("pppd-web")], pass_fds=[listener.fileno()], env=clean_environment())
            try:
                with socket.create_connection(listener.getsockname(), timeout=30) as client:
                    client.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
                    self.assertRegex(client.recv(100), b"^HTTP/1.[01] 404")
                self.assert_held(web.pid)
            finally:
                web.terminate()
                web.wait()


class Config(Case):
    with_daemon = False

    def full(self, daemon):
        result = daemon.pppctl("run", "async", "sleep", "0")
        self.assertIn(result.status, (0, 75), result)
        return result.status == 75

    def test_reload(self):
        """SIGHUP: what is allowed changes, what runs goes on."""
        config = self.write("reload.conf", TINY)
        daemon = self.fresh("reload", args=("--config", config))
        job = daemon.submit("async", "sleep", ["60"])
        self.assertTrue(self.full(daemon))
        self.write("reload.conf", LARGER)
        daemon.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: not self.full(daemon), "the new limit in force")
        self.assertEqual(daemon.show(job)["state"], "running")
        daemon.cancel(job)

    def test_a_broken_file_changes_nothing(self):
        config = self.write("broken.conf", TINY)
        daemon = self.fresh("broken", args=("--config", config))
        job = daemon.submit("async", "sleep", ["60"])
        self.write("broken.conf", "[jobs]\nmax_running = 2\nmax_runing = 3\n")
        daemon.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: "broken.conf:3" in daemon.log(), lambda: f"a complaint with file and line: {daemon.log()}")
        self.assertIn("max_runing", daemon.log())
        self.assertTrue(self.full(daemon), "the old limits stay")
        daemon.cancel(job)

    def test_it_does_not_start_with_a_broken_file(self):
        for text, line in (("[jobs]\nmax_running = many\n", 2), ("max_running = 1\n", 1), ("[jops]\n", 1)):
            with self.subTest(text=text):
                config = self.write("bad.conf", text)
                daemon = self.new_daemon("bad", start=False, args=("--config", config))
                with self.assertRaises(StartFailure) as caught:
                    daemon.start()
                self.assertEqual(caught.exception.status, WRONG_CONFIG)
                self.assertIn(f"bad.conf:{line}", caught.exception.log)

    def test_it_may_be_checked_before_it_is_used(self):
        """As `systemctl reload` does; what is kept, and where one listens, is of no concern."""
        check = [program("pppd-supervisor"), "--check-config", "--config"]
        good, bad = self.write("checked.conf", TINY), self.write("mistaken.conf", TINY + "max_runing = 3\n")
        result = run([*check, good], self.temp)
        self.assertEqual((result.status, result.out, result.err), (0, "", ""), result)
        self.assert_says(run([*check, bad], self.temp), WRONG_CONFIG, r"mistaken\.conf:4: unknown key \"max_runing\"")
        self.assert_says(run([*check, self.path("absent.conf")], self.temp), WRONG_CONFIG, "absent.conf.*No such file")

    def test_a_file_that_is_not_there(self):
        daemon = self.new_daemon("absent", start=False, args=("--config", self.path("absent.conf")))
        with self.assertRaises(StartFailure) as caught:
            daemon.start()
        self.assertRegex(caught.exception.log, "absent.conf.*No such file")

    def test_jobs_of_the_past_are_let_go(self):
        """keep_jobs bounds what is kept; the newest stay."""
        config = self.write("keep.conf", "[jobs]\nkeep_jobs = 3\n")
        daemon = self.fresh("keep", args=("--config", config))
        jobs = []
        for _ in range(6):
            jobs.append(daemon.submit("serial", "sum", ["1"]))
            daemon.wait(jobs[-1])
        wait_until(lambda: len(os.listdir(os.path.join(daemon.state, "jobs"))) <= 4, "old jobs removed")
        self.assertEqual(daemon.pppctl("show", jobs[-1]).status, 0)
        self.assertEqual(daemon.pppctl("show", jobs[0]).status, 4)
