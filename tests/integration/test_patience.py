"""Without --task-timeout too a fetch ends: connecting takes 30 s at most, and 60 s without a byte are enough."""

import json
import socket

from harness.case import Case
from harness.oddserver import OddServer

CONNECT, STALL = 30, 60
SLACK = 25.0            # libcurl takes the mean of some seconds; the rest is for a machine that does other things, too
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n"


class DeafPort:
    """Connections to it are neither accepted nor refused: its queue is full."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.fillers = []
        while self.connects():
            pass

    def connects(self):
        self.fillers.append(socket.socket())
        self.fillers[-1].settimeout(0.5)
        try:
            self.fillers[-1].connect(("127.0.0.1", self.port))
        except TimeoutError:
            return False
        return True

    def close(self):
        for one in (*self.fillers, self.listener):
            one.close()


class Patience(Case):
    def test_a_server_that_says_nothing(self):
        """All at once: it takes a minute."""
        deaf, server = DeafPort(), OddServer().start()
        self.addCleanup(deaf.close)
        self.addCleanup(server.stop)
        silent = server.on("/silent", lambda connection, count: server.stopping.wait())
        half = server.on("/half", lambda connection, count: connection.sendall(HEAD + b"one two") or server.stopping.wait())
        urls = [f"http://127.0.0.1:{deaf.port}/", silent, half]
        expected = ((CONNECT, "connect"), (STALL, "timeout"), (STALL, "timeout"))
        jobs = {level: self.daemon.submit(level, "words", urls, workers=3) for level in ("threads", "async")}
        for level, job in jobs.items():
            with self.subTest(level=level):
                self.assertEqual(self.daemon.wait(job, timeout=STALL + SLACK + 5)["tasks_failed"], 3)
                lines = self.daemon.pppctl("results", job, "--json").out.splitlines()
                rows = {row["input"]: row for row in map(json.loads, lines)}
                for url, (seconds, reason) in zip(urls, expected):
                    row = rows[url]
                    self.assert_failed(row, reason)
                    self.assertEqual(row.get("fetch_error"), "silence" if reason == "timeout" else None)
                    took = row["end_seconds"] - row["start_seconds"]
                    self.assertTrue(seconds - 1 <= took <= seconds + SLACK, f"{took} s, not {seconds}: {row}")
