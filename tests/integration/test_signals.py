"""SIGINT and SIGTERM while pppctl waits for something else than the daemon's next word."""

import array
import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import termios

from harness import process
from harness.case import Case
from harness.daemon import PPPCTL
from harness.poll import wait_until

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def readable(fd):
    """How many bytes wait to be read."""
    n = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, n)
    return n[0]


class NobodyReads(Case):
    """Standard output is full: a pager that was left open, a terminal that was stopped."""

    def start_stuck(self, read_fd, write_fd, *args, stderr=subprocess.PIPE):
        """pppctl with @write_fd as its standard output, once nothing more goes into that; and its job."""
        before = set(self.daemon.unfinished())
        popen = subprocess.Popen(self.daemon.pppctl_args(*args), stdin=subprocess.DEVNULL, stdout=write_fd,
                                 stderr=stderr, env=process.clean_environment())
        self.addCleanup(self.end, popen)
        process.adopt_popen(popen)
        os.close(write_fd)
        full = [0]

        def is_full():
            """Two looks in a row find the same: there is more to be written, so that somebody waits."""
            full.append(readable(read_fd))
            return full[-1] > 0 and full[-1] == full[-2]

        wait_until(is_full, "output that nobody reads", step=0.2)
        job, = set(self.daemon.unfinished()) - before
        return popen, job

    def end(self, popen):
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        process.forget_popen(popen)
        if popen.stderr:
            popen.stderr.close()

    def job(self, *options):
        """Of many results that come at once, and one that does not."""
        return ["run", "async", "sleep", "--workers", "4000", "--from", self.inputs, *options]

    def setUp(self):
        self.inputs = self.write("inputs", "0\n" * 3000 + "600\n")

    def assert_ends(self, popen, job, number):
        popen.send_signal(number)
        self.assertEqual(popen.wait(timeout=60), INTERRUPTED)
        self.assertEqual(self.daemon.show(job)["state"], "cancelled")

    def test_a_pipe(self):
        for number in SIGNALS:
            for options in ((), ("--json",), ("--quiet",)):
                with self.subTest(number=number, options=options), contextlib.ExitStack() as stack:
                    read_fd, write_fd = os.pipe()
                    stack.callback(os.close, read_fd)
                    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
                    popen, job = self.start_stuck(read_fd, write_fd, *self.job(*options))
                    self.assert_ends(popen, job, number)
                    self.assertIn(f"cancelled job {job}: 3000 of 3001 tasks have results", popen.stderr.read().decode())
                    self.assertFalse(fcntl.fcntl(read_fd, fcntl.F_GETFL) & os.O_NONBLOCK)

    def test_a_pipe_for_both_streams(self):
        """What is said about it is lost; that it ends is not."""
        read_fd, write_fd = os.pipe()
        self.addCleanup(os.close, read_fd)
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
        self.assert_ends(*self.start_stuck(read_fd, write_fd, *self.job(), stderr=subprocess.STDOUT), signal.SIGINT)

    def test_a_socket(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.assert_ends(*self.start_stuck(ours.fileno(), theirs.detach(), *self.job()), signal.SIGTERM)

    def test_a_terminal(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.inputs = self.write("many", "0\n" * 60_000 + "600\n")
        self.assert_ends(*self.start_stuck(master, slave, *self.job()), signal.SIGINT)

    def test_what_the_signal_makes_it_print(self):
        """Nothing was printed before: in the order of the inputs there was a gap."""
        self.inputs = self.write("gap", "600\n" + "0\n" * 3000)
        read_fd, write_fd = os.pipe()
        self.addCleanup(os.close, read_fd)
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
        before = set(self.daemon.unfinished())
        popen = subprocess.Popen(self.daemon.pppctl_args(*self.job("--ordered")), stdin=subprocess.DEVNULL,
                                 stdout=write_fd, stderr=subprocess.PIPE, env=process.clean_environment())
        self.addCleanup(self.end, popen)
        process.adopt_popen(popen)
        os.close(write_fd)
        job = wait_until(lambda: set(self.daemon.unfinished()) - before, "the job").pop()
        wait_until(lambda: sum(map(bool, self.daemon.rows(job))) == 3000, "all that can be done")
        self.assert_ends(popen, job, signal.SIGINT)

    def test_who_reads_late_gets_all(self):
        """Nothing is lost, or written twice, when the pipe was full for a while."""
        read_fd, write_fd = os.pipe()
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
        popen, job = self.start_stuck(read_fd, write_fd, *self.job())
        self.daemon.cancel(job)
        with open(read_fd, "rb") as file:
            self.assertEqual(file.read(), b"0: 0 s\n" * 3000)
        popen.wait(timeout=60)


class Answering(Case):
    """A daemon that answers when it is told to."""

    with_daemon = False

    def setUp(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(self.listener.close)
        self.listener.settimeout(30)
        self.listener.bind(self.path("daemon.sock"))
        self.listener.listen()

    def take_call(self):
        connection, _ = self.listener.accept()
        self.addCleanup(connection.close)
        connection.settimeout(30)
        data = b""
        while not data.endswith(b"\0"):
            data += connection.recv(65536)
        return connection, json.loads(data[:-1])

    def reply(self, connection, **parameters):
        connection.sendall(json.dumps({"parameters": parameters}).encode() + b"\0")

    def test_a_signal_while_a_job_is_submitted_that_is_then_left(self):
        """--detach: nobody follows the job, so that Ctrl-C has to be looked for before its number is printed."""
        client = process.Process([process.program("pppctl"), "--socket", self.path("daemon.sock"), "run", "serial",
                                  "sleep", "600", "--detach"], self.temp)
        self.addCleanup(client.end)
        connection, call = self.take_call()
        self.assertEqual(call["method"], f"{PPPCTL}.Run")
        client.signal(signal.SIGINT)
        self.reply(connection, job=7)
        other, call = self.take_call()
        self.assertEqual((call["method"], call["parameters"]), (f"{PPPCTL}.Cancel", {"job": 7}))
        self.reply(other, job={"job": 7, "state": "cancelled", "tasks_total": 1, "tasks_done": 0, "tasks_failed": 0})
        result = client.wait()
        self.assertEqual((result.status, result.out), (INTERRUPTED, ""), result)
        self.assertIn("cancelled job 7", result.err)
