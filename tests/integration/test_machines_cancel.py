"""A job at the level machines is cancelled: what runs for it on nodes ends soon, whatever it waits for; others' does not."""

import collections
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from harness import nginx
from harness.certificates import Certificates
from harness.oddserver import OddServer, body
from harness.poll import wait_until
from harness.results import DONE
from test_machines import Machines

LEVELS = ("threads", "processes", "async")
HEARTBEAT = 1.0
# A node looks after its jobs every half second. Nothing here would end by itself within a minute.
SOON = 30
GONE, OTHERS = 5, 3     # tasks of the two jobs
ALL = GONE + OTHERS     # a node's workers


class SlowServer(OddServer):
    """/gone and /other do not answer until they are told to; open[path] requests wait for it now."""

    def __init__(self):
        super().__init__()
        self.open = collections.Counter()
        self.released = {path: threading.Event() for path in ("/gone", "/other")}
        for path, released in self.released.items():
            self.on(path, self._handler(path, released))

    def _count(self, path, n):
        with self.lock:
            self.open[path] += n

    def _handler(self, path, released):
        def handler(connection, count):
            self._count(path, 1)
            try:
                while not released.is_set() and not self.stopping.is_set():
                    if select.select([connection], [], [], 0.02)[0]:
                        return False            # it has closed
            finally:
                self._count(path, -1)
            return body(b"three words here")(connection, count)
        return handler


class Base(Machines):
    def setUp(self):
        super().setUp()
        self.server = SlowServer().start()
        self.addCleanup(self.server.stop)

    def busy_node(self, level, name=None, heartbeat=HEARTBEAT, **options):
        """One that all tasks of the two jobs fill."""
        name = name or f"{level}-{self.n_jobs}"
        return self.node(name, level=level, workers=ALL, heartbeat=heartbeat, **options)

    def load(self, node):
        return int(self.redis.run("HGET", self.key(f"node:{node.name}"), "load") or -1)

    def cancel(self, job):
        """Returns when (time.monotonic())."""
        self.assertEqual(job.stop(), 3, job.output())
        return time.monotonic()

    def two_jobs(self, url):
        """Both with all their requests at the server."""
        self.server.released["/other"].clear()
        self.server.counts["/other"] = 0
        gone = self.job("words", [f"{url}/gone"] * GONE)
        other = self.job("words", [f"{url}/other"] * OTHERS)
        wait_until(lambda: (self.server.open["/gone"], self.server.open["/other"]) == (GONE, OTHERS),
                   lambda: f"all requests: {self.server.open} {other.output()}")
        return gone, other

    def await_closed(self):
        wait_until(lambda: self.server.open["/gone"] == 0, lambda: f"them closed: {self.server.open}", SOON)

    def assert_other_ends(self, other):
        self.server.released["/other"].set()
        rows = self.ends(other)
        self.assertEqual([(row.state, row.value) for row in rows], [(DONE, 3)] * OTHERS)
        self.assertEqual(self.server.counts["/other"], OTHERS, "none was made again")

    def assert_freed(self, node, began, n=GONE):
        """As many workers as that run another job's tasks, all at the same time."""
        rows = self.ends(self.job("sleep", [3] * n))
        self.assertLess(time.monotonic() - began, SOON)
        self.assertLess(max(row.start_ns for row in rows), min(row.end_ns for row in rows))
        self.assertTrue(node.running(), node.output())

    def end_node(self, node):
        self.assertEqual((node.stop(), node.output()), (0, ""))


class Waits(Base):
    def check_fetches(self, level, url):
        """The connections of the one job are closed; the other's requests are answered, each made once."""
        node = self.busy_node(level)
        gone, other = self.two_jobs(url)
        began = self.cancel(gone)
        self.await_closed()
        self.assertEqual(self.server.open["/other"], OTHERS)
        self.assert_freed(node, began)
        wait_until(lambda: self.load(node) == OTHERS, lambda: f"the load told: {self.load(node)}", SOON)
        self.assert_other_ends(other)
        self.assertEqual([row for row in gone.rows() if row], [])
        self.end_node(node)

    def test_fetches(self):
        for level in LEVELS:
            with self.subTest(level):
                self.check_fetches(level, self.server.url)

    def test_fetches_by_name(self):
        """At async these are libcurl's until an address is known, and the first goes ahead of the others."""
        self.check_fetches("async", f"http://localhost:{self.server.port}")

    def test_a_long_heartbeat(self):
        """It is not what one has to wait for."""
        node = self.busy_node("async", heartbeat=60)
        gone, other = self.two_jobs(self.server.url)
        began = self.cancel(gone)
        self.await_closed()
        self.assert_freed(node, began)
        self.assert_other_ends(other)
        self.end_node(node)

    def test_sleeps(self):
        for level in LEVELS:
            with self.subTest(level):
                node = self.busy_node(level)
                gone, other = self.job("sleep", [60] * GONE), self.job("sleep", [3] * OTHERS)
                wait_until(lambda: self.load(node) == ALL, "all in progress")
                self.assert_freed(node, self.cancel(gone))
                for row in self.ends(other):
                    self.assertGreaterEqual(row.end_ns - row.start_ns, 3_000_000_000)
                self.end_node(node)

    def test_fifos(self):
        """Nobody has opened the one, and nobody writes to the other."""
        fifos = [os.path.join(self.directory, name) for name in ("unopened", "silent")]
        for fifo in fifos:
            os.mkfifo(fifo)
        writer = os.open(fifos[1], os.O_RDWR)
        for level in LEVELS:
            with self.subTest(level):
                node = self.busy_node(level)
                gone = self.job("words", (fifos * ALL)[:ALL])
                wait_until(lambda: self.load(node) == ALL, "all in progress")
                self.assert_freed(node, self.cancel(gone), ALL)
                self.end_node(node)
        os.close(writer)

    def test_between_tries(self):
        """Ended while it waits for its next try, with a time limit of its own: it is not tried again."""
        url = self.server.on("/busy", lambda connection, count: not connection.sendall(
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"))
        for level in LEVELS:
            with self.subTest(level):
                before = self.server.counts["/busy"]
                node = self.busy_node(level)
                gone = self.job("words", [url] * ALL, retries=50, task_timeout_seconds=600)
                # The fifth try is 1.6 s after the fourth.
                wait_until(lambda: self.server.counts["/busy"] - before >= 4 * ALL, "four tries each")
                began = self.cancel(gone)
                self.assert_freed(node, began, ALL)
                wait_until(lambda: self.load(node) == 0, "the load told", SOON)
                tries = self.server.counts["/busy"]
                time.sleep(max(0.0, began + 3 - time.monotonic()))
                self.assertEqual(self.server.counts["/busy"], tries)
                self.end_node(node)

    def test_a_pause_ends_nothing(self):
        """A frozen coordinator is no cancelled job; going on it gets what was fetched."""
        for level in LEVELS:
            with self.subTest(level):
                node = self.busy_node(level)
                gone, other = self.two_jobs(self.server.url)
                other.signal(signal.SIGSTOP)
                self.cancel(gone)
                self.await_closed()
                time.sleep(2 * HEARTBEAT)
                self.assertEqual(self.server.open["/other"], OTHERS)
                self.server.released["/other"].set()
                wait_until(lambda: self.server.open["/other"] == 0, "the answers")
                other.signal(signal.SIGCONT)
                self.assert_other_ends(other)
                self.end_node(node)


class Secure(Base):
    def test_a_handshake(self):
        """A server that takes connections and says nothing, where TLS begins."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.addCleanup(listener.close)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        for level in LEVELS:
            with self.subTest(level):
                node = self.busy_node(level)
                gone = self.job("words", [url] * ALL)
                # At async one goes ahead; the others wait for it.
                taken = [listener.accept()[0] for _ in range(1 if level == "async" else ALL)]
                wait_until(lambda: self.load(node) == ALL, "all in progress")
                began = self.cancel(gone)
                for connection in taken:
                    connection.settimeout(SOON)
                    while connection.recv(4096):
                        pass
                    connection.close()
                self.assert_freed(node, began, ALL)
                listener.settimeout(0.2)
                with self.assertRaises(TimeoutError, msg="no other goes ahead"):
                    listener.accept()
                listener.settimeout(None)
                self.end_node(node)


@unittest.skipUnless(nginx.available() and shutil.which("openssl") and shutil.which("unshare"),
                     "nginx, openssl or unshare is not installed")
class Multiplexed(Base):
    """HTTP/2 at async: all requests are on one connection, to an nginx that closes what it has got them from."""

    BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

    def setUp(self):
        super().setUp()
        certificates = Certificates(self.directory)
        self.trust = [shutil.which("unshare"), "-m", "sh", "-c", f'mount --bind "$0" {self.BUNDLE} && exec "$@"',
                      certificates.ca]
        if not os.path.exists(self.BUNDLE) or subprocess.run([*self.trust, "true"], capture_output=True).returncode:
            self.skipTest("no certificate can be made known to a node here")
        directory = os.path.join(self.directory, "nginx")
        os.mkdir(directory)
        self.front = nginx.Nginx(directory, tls={"h2": certificates.valid}, h2=("h2",), behind=self.server.url)
        self.front.start()
        self.addCleanup(self.front.stop)
        self.url = f"https://localhost:{self.front.tls_ports['h2']}/behind"

    def requests(self):
        """Connections, and what became of the requests."""
        lines = self.front.log_lines("/behind/")
        self.assertEqual({line[1] for line in lines}, {"HTTP/2.0"})
        return {line[0] for line in lines}, sorted((line[3], line[2]) for line in lines)

    def test_one_job(self):
        node = self.busy_node("async", wrap=self.trust)
        gone = self.job("words", [f"{self.url}/gone"] * ALL)
        wait_until(lambda: self.server.open["/gone"] == ALL, "all requests")
        began = self.cancel(gone)
        self.await_closed()
        self.assert_freed(node, began, ALL)
        self.end_node(node)

    def test_two_jobs_on_a_connection(self):
        """It stays for the other; the server hears of what was taken back when more goes over it."""
        node = self.busy_node("async", wrap=self.trust)
        gone, other = self.two_jobs(self.url)
        began = self.cancel(gone)
        self.assert_freed(node, began)
        self.assertEqual(self.server.open["/other"], OTHERS)
        self.assert_other_ends(other)
        self.await_closed()
        self.end_node(node)
        connections, requests = self.requests()
        self.assertEqual(len(connections), 1)
        self.assertEqual(requests, [("/behind/gone", "499")] * GONE + [("/behind/other", "200")] * OTHERS)
