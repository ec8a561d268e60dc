"""HTTP over a ring and over a socket, by one engine: both have the same answer and the same outcome."""

import gzip
import socket
import threading

from harness.case import Case
from harness.daemon import parse_json_lines
from harness.oddserver import OddServer, body, head, redirect, reset


class BothWays(Case):
    """Plain HTTP goes over the ring at async and over a socket elsewhere, by one engine: one answer, one outcome."""

    LEVELS = ("serial", "async")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def raw(self, path, data, close=True):
        """A URL that is answered with just these bytes; the connection is closed or left open."""
        def handler(connection, _):
            connection.sendall(data)
            return not close
        return self.server.on(path, handler)

    def rows(self, level, urls):
        result = self.daemon.pppctl("run", level, "words", *urls, "--json")
        rows, _ = parse_json_lines(result.out)
        self.assertEqual(len(rows), len(urls), result)
        return {row["input"]: tuple(row.get(key) for key in ("state", "value", "reason", "detail")) for row in rows}

    def outcomes(self, urls):
        """By level: {url: (state, value, reason, detail)}."""
        return {level: self.rows(level, urls) for level in self.LEVELS}

    def test_a_head_that_is_cut_is_no_answer(self):
        """Closed in order after each of its bytes: not an empty page, but a broken connection."""
        answer = head(Content_Type="text/plain", Content_Length=3)
        urls = [self.raw(f"/cut-{n}", answer[:n]) for n in range(1, len(answer))]
        urls += [self.raw("/cut-continue", head("100 Continue")),
                 self.raw("/cut-after-continue", head("100 Continue") + answer[:30])]
        for level, found in self.outcomes(urls).items():
            for url in urls:
                with self.subTest(level=level, url=url):
                    self.assertEqual(found[url][:3], ("failed", None, "transfer"))

    def test_kept_connections_that_are_lost_in_a_row(self):
        """Each is closed, or broken, when its second request comes: that one goes out again, every time."""
        def once(how):
            def handler(connection, count):
                body(b"two words")(connection, count)
                if connection.recv(65536):
                    how(connection)
                return False
            return handler

        def reset(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        for name, how in (("closed", lambda _: None), ("reset", reset)):
            urls = [self.server.on(f"/{name}-{i}", once(how)) for i in range(40)]
            urls += [self.server.on(f"/to-{name}-{i}", redirect(f"/{name}-{i}")) for i in range(40)]
            for level in self.LEVELS:
                result = self.daemon.pppctl("run", level, "words", *urls, "--json", "--workers", 1)
                rows, _ = parse_json_lines(result.out)
                with self.subTest(name=name, level=level):
                    self.assertEqual([row for row in rows if row.get("value") != 2], [])
                    self.assertEqual(len(rows), len(urls))

    def assert_same(self, urls):
        found = self.outcomes(urls)
        for url in urls:
            with self.subTest(url=url):
                self.assertEqual(found["serial"][url], found["async"][url])
        return found["async"]

    def test_framings(self):
        """Where a body ends, told in every way there is."""
        h, text = head, b"one two three"
        chunks = b"3\r\none\r\nA\r\n two three\r\n"
        end = b"0\r\n\r\n"
        answers = {
            "length": h(Content_Length=13) + text, "length-0": h(Content_Length=0),
            "length-blanks": b"HTTP/1.1 200 OK\r\nContent-Length:   13  \r\n\r\n" + text,
            "length-twice": b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Length: 13\r\n\r\n" + text,
            "length-case": b"HTTP/1.1 200 OK\r\ncONTENT-lENGTH:13\r\n\r\n" + text,
            "to-close": h() + text, "to-close-1.0": b"HTTP/1.0 200 OK\r\n\r\n" + text,
            "to-close-empty": h(), "to-close-connection": h(Connection="close") + text,
            "to-close-keep-alive-1.0": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n" + text,
            "lf-only": b"HTTP/1.1 200 OK\nContent-Length: 13\n\n" + text,
            "no-reason": b"HTTP/1.1 200\r\nContent-Length: 13\r\n\r\n" + text,
            "chunked": h(Transfer_Encoding="chunked") + chunks + end,
            "chunked-case": h(Transfer_Encoding="CHUNKED") + chunks + end,
            "chunked-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + end,
            "chunked-extensions": h(Transfer_Encoding="chunked") + chunks.replace(b"3\r\n", b"3;a=b;c=\"d\"\r\n", 1) + end,
            "chunked-zeros": h(Transfer_Encoding="chunked") + b"000" + chunks + end,
            "chunked-trailers": h(Transfer_Encoding="chunked") + chunks + b"0\r\nA: b\r\nC: d\r\n\r\n",
            "chunked-and-length": h(Transfer_Encoding="chunked", Content_Length=5) + chunks + end,
            "chunked-empty": h(Transfer_Encoding="chunked") + end,
            "identity": h(Transfer_Encoding="identity", Content_Length=13) + text,
            "204": h("204 No Content"), "204-length": h("204 No Content", Content_Length=13), "304": h("304 Not Modified"),
            "continue": b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + h(Content_Length=13) + text,
            "early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 5 + h(Content_Length=13) + text,
            "extra": h(Content_Length=13) + text + b" four five",
            "300-without-location": h("300 Multiple Choices", Content_Length=13) + text,
            "location-without-redirect": h("200 OK", Location="/nowhere", Content_Length=13) + text,
            "charset": h(Content_Type='text/html; charset="iso-8859-1"', Content_Length=7) + b"a\xa0b\xa0c d",
            "folded-type": b"HTTP/1.1 200 OK\r\nContent-Type: text/html;\r\n charset=latin1\r\nContent-Length: 7\r\n\r\na\xa0b\xa0c d",
            "many-fields": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 100) for i in range(1000)) +
                           b"Content-Length: 13\r\n\r\n" + text,
        }
        for close in (True, False):             # libcurl takes "identity" for a body up to the close
            urls = {self.raw(f"/{name}-{close}", data, close): name for name, data in answers.items()
                    if close or not name.startswith(("to-close", "extra", "identity"))}
            for url, (state, value, *_) in self.assert_same(urls).items():
                with self.subTest(url=url):
                    empty = urls[url] in ("length-0", "to-close-empty", "chunked-empty", "204", "204-length", "304")
                    self.assertEqual((state, value), ("done", 0 if empty else 4 if "charset" in url or "type" in url else 3))

    def test_failures(self):
        """Each gets the same reason, and the same detail below it."""
        h = head
        answers = {
            "nothing": b"", "smtp": b"220 mail.example ESMTP\r\n", "http-0.9": b"<html>words</html>", "blank": b"\r\n\r\n",
            "version": b"HTTP/1.7 200 OK\r\n\r\nx", "status": b"HTTP/1.1 abc\r\n\r\nx",
            "no-colon": b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 1\r\n\r\nx",
            "nul": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 1\r\n\r\nx",
            "length-no-number": h(Content_Length="many") + b"x",
            "cut-length": h(Content_Length=100) + b"some words", "cut-length-at-once": h(Content_Length=100),
            "cut-chunk": h(Transfer_Encoding="chunked") + b"a\r\nsome", "cut-chunks": h(Transfer_Encoding="chunked") + b"4\r\nsome\r\n",
            "cut-chunk-size": h(Transfer_Encoding="chunked") + b"4", "cut-before-chunks": h(Transfer_Encoding="chunked"),
            "cut-trailers": h(Transfer_Encoding="chunked") + b"0\r\nA: b\r\n",
            "chunk-garbage": h(Transfer_Encoding="chunked") + b"xyz\r\n", "chunk-end": h(Transfer_Encoding="chunked") + b"1\r\nab\r\n0\r\n\r\n",
            "chunk-huge": h(Transfer_Encoding="chunked") + b"fffffffffffffffff\r\nab",
            "cut-gzip": h(Content_Encoding="gzip", Content_Length=30) + gzip.compress(b"words " * 20000)[:30],
            "no-gzip": h(Content_Encoding="gzip", Content_Length=5) + b"words", "coding": h(Content_Encoding="br", Content_Length=5) + b"words",
            "unknown-transfer": h(Transfer_Encoding="snake-oil") + b"words",
            "404": h("404 Not Found", Content_Length=5) + b"sorry", "404-empty": h("404 Not Found", Content_Length=0),
            "404-cut": h("404 Not Found", Content_Length=100) + b"sorry", "500-to-close": h("500 No") + b"sorry",
            "500-gzip": h("500 No", Content_Encoding="gzip", Content_Length=5) + b"sorry",
            "500-big": h("500 No", Content_Length=1_000_000) + b"s" * 1_000_000, "999": h("999 Odd", Content_Length=0),
        }
        urls = [self.raw(f"/bad-{name}", data) for name, data in answers.items()] + [self.server.on("/bad-reset", reset)]
        for url, (state, *_) in self.assert_same(urls).items():
            with self.subTest(url=url):
                self.assertEqual(state, "failed")

    def test_stricter_than_libcurl(self):
        """Where libcurl makes the best of it the ring refuses: it must not be a wrong count of words."""
        h = b"HTTP/1.1 200 OK\r\n"
        answers = {
            "lengths": h + b"Content-Length: 3\r\nContent-Length: 7\r\n\r\none two", "negative": h + b"Content-Length: -1\r\n\r\none two",
            "overflow": h + b"Content-Length: 99999999999999999999\r\n\r\none two", "junk": h + b"Content-Length: 7x\r\n\r\none two",
            "http-2": b"HTTP/2 200\r\n\r\nx", "blank-name": h + b"Content-Length : 3\r\n\r\none two", "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\none two",
        }
        for url in (self.raw(f"/strict-{name}", data) for name, data in answers.items()):
            with self.subTest(url=url):
                for level in self.LEVELS:
                    outcome = self.run_job(level, "words", [url], status=1)
                    self.assert_failed(outcome.by_input[url], "protocol")

    def test_redirects(self):
        on, url = self.server.on, self.server.url
        on("/deep/er/end", body(b"it ends here"))
        on("/deep/er/9?q", body(b"by query alone"))
        on("/deep/er/%c3%bc%20x", body(b"this one was encoded"))
        on("/deep/er/empty", body(b""))
        targets = ["end", "./end", "../er/end", "../../deep/er/end", "/deep/er/end", f"//{url[7:]}/deep/er/end", f"{url}/deep/er/end",
                   f"HTTP://{url[7:]}/deep/er/end#fragment", "end#fragment", "?q", "ü x", "empty", "https://127.0.0.1:1/", "ftp://127.0.0.1/",
                   "http://", f"http://user:password@{url[7:]}/deep/er/end", "http://127.0.0.1:1/", "http://[::1"]
        urls = [on(f"/deep/er/{i}", self.redirect_raw(target)) for i, target in enumerate(targets)]
        found = self.assert_same(urls)
        self.assertEqual([found[u][1] for u in urls[:12]], [3] * 9 + [3, 4, 0])
        statuses = {code: on(f"/status-{code}", self.redirect_raw("/deep/er/end", f"{code} Go")) for code in (300, 301, 302, 303, 305, 307, 308, 399)}
        for result in self.assert_same(statuses.values()).values():
            self.assertEqual(result[:2], ("done", 3))

    def redirect_raw(self, location, status="302 Found"):
        data = f"HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\ngone".encode()

        def handler(connection, _):
            connection.sendall(data)
            return True
        return handler

    def test_redirects_are_counted_across_both_ways(self):
        """Every other URL is one that goes to libcurl: a user in it."""
        on, address = self.server.on, self.server.url[7:]
        for i in range(12):
            on(f"/hop-{i}", redirect(f"http://user@{address}/hop-{i + 1}" if i % 2 else f"http://{address}/hop-{i + 1}"))
        on("/hop-12", body(b"too far"))
        urls = [f"{self.server.url}/hop-{i}" for i in range(13)]
        found = self.assert_same(urls)
        self.assertEqual([found[u][2] for u in urls], ["redirects"] * 2 + [None] * 11)

    def test_endless_heads_end(self):
        """More of a head, or of trailers, than anybody has a use for."""
        def endless(first, line):
            def handler(connection, _):
                connection.sendall(first)
                for _ in range(1000):
                    connection.sendall(line * 100)
                return False
            return handler
        urls = [self.server.on("/endless-head", endless(b"HTTP/1.1 200 OK\r\n", b"X-Field: of some length\r\n")),
                self.server.on("/endless-line", endless(b"HTTP/1.1 200 OK\r\nX: ", b"of some length ")),
                self.server.on("/endless-continue", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
                self.server.on("/endless-trailers", endless(head(Transfer_Encoding="chunked") + b"0\r\n", b"X-Field: of some length\r\n"))]
        for level in self.LEVELS:
            outcome = self.run_job(level, "words", urls, status=1)
            for url in urls:
                with self.subTest(level=level, url=url):
                    self.assert_failed(outcome.by_input[url], "protocol")

    def test_a_server_that_talks_first_is_told_at_once(self):
        """It waits for us to go on, and so would we."""
        def smtp(connection, _):
            connection.sendall(b"220 mail.example ESMTP\r\n")
            self.server.stopping.wait()
            return False
        url = self.server.on("/smtp", smtp)
        outcome = self.run_job("async", "words", [url], status=1, timeout=20)
        self.assert_failed(outcome.by_input[url], "protocol")

    def test_the_same_request(self):
        """What is sent is the same, but for the order of the fields."""
        seen = []
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]

        def serve():
            for _ in self.LEVELS:
                connection, _ = listener.accept()
                with connection:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        request += connection.recv(65536)
                    seen.append(request)
                    connection.sendall(head(Content_Length=1, Connection="close") + b"x")
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        for level in self.LEVELS:
            self.run_job(level, "words", [f"http://127.0.0.1:{port}/a/b?c=d&e=%20#f"])
        thread.join()
        lines = [sorted(request.split(b"\r\n")) for request in seen]
        self.assertEqual(lines[0], lines[1])
        self.assertIn(b"GET /a/b?c=d&e=%20 HTTP/1.1", lines[1])

    def test_a_request_larger_than_the_socket_takes(self):
        """65,000 bytes to a server that reads little at a time: what is not sent at once is sent later."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)         # small pieces make a small buffer of the sender
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        path, seen = "/" + "0123456789" * 6500, []

        def serve():
            connection, _ = listener.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(500)
                seen.append(request.split()[1].decode())
                connection.sendall(head(Content_Length=3) + b"a b")
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        outcome = self.run_job("async", "words", [f"http://127.0.0.1:{listener.getsockname()[1]}{path}"])
        thread.join()
        self.assertEqual(seen, [path])
        self.assertEqual(outcome.rows[0]["value"], 2)

    def test_names(self):
        """The first request resolves the name, the others find where it led; connections are few."""
        path = self.server.on("/name", body(b"by any other name")).split("/", 3)[3]
        url = f"http://localhost:{self.server.port}/{path}"
        for level in self.LEVELS:
            outcome = self.run_job(level, "words", [f"{url}"] * 300, "--workers", 1 if level == "serial" else 20)
            self.assertEqual([row["value"] for row in outcome.rows], [4] * 300)

    def test_connections_closed_behind_our_back(self):
        """A server may close a connection whenever no request is under way; nobody may suffer from that."""
        def once(connection, _):
            connection.sendall(head(Content_Length=3) + b"a b")
            return False
        url = self.server.on("/once", once)
        outcome = self.run_job("async", "words", [url] * 200, "--workers", 8)
        self.assertEqual([row["value"] for row in outcome.rows], [2] * 200)
