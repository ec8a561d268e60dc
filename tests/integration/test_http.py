"""Fetching, at every level: what a real nginx sends, and what only an odd server does."""

import email.utils
import gzip
import os
import socket
import time
import unittest
import zlib

from harness import corpus, nginx
from harness.case import LEVELS, Case
from harness.oddserver import OddServer, body, chunked, drip, fail_first, head, never, redirect, reset, send

PAGE = ("wörter\u2003und\u3000mehr \xa0 text\n" * 2000).encode()
PAGE_WORDS = corpus.count(PAGE)


class Nginx(Case):
    @classmethod
    def setUpClass(cls):
        if not nginx.available():
            raise unittest.SkipTest("nginx is not installed")
        super().setUpClass()
        directory = os.path.join(cls.temp, "nginx")
        os.mkdir(directory)
        cls.server = nginx.Nginx(directory)
        cls.server.add("page.txt", PAGE)
        cls.server.add("empty.txt", b"")
        cls.server.add("big.txt", PAGE * 100)
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)

    def url(self, path):
        return self.server.url + path

    def test_pages(self):
        expected = {self.url("/page.txt"): PAGE_WORDS, self.url("/gzip/page.txt"): PAGE_WORDS,
                    self.url("/empty.txt"): 0, self.url("/big.txt"): PAGE_WORDS * 100,
                    self.url("/gzip/big.txt"): PAGE_WORDS * 100, self.url("/redirect/"): PAGE_WORDS,
                    self.url("/page.txt?query=1&b=%20"): PAGE_WORDS}
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "words", expected), expected)

    def test_statuses_fail_with_the_status(self):
        for level in LEVELS:
            with self.subTest(level=level):
                urls = {self.url(f"/status/{code}"): code for code in (404, 500, 503)}
                outcome = self.run_job(level, "words", [*urls, self.url("/page.txt")], status=1)
                for url, code in urls.items():
                    self.assert_failed(outcome.by_input[url], "http-status")
                    self.assertRegex(outcome.result.err + str(outcome.by_input[url]), str(code))
                self.assertEqual(outcome.by_input[self.url("/page.txt")]["value"], PAGE_WORDS)

    def test_pages_with_latency_overlap(self):
        if not nginx.echo_available():
            self.skipTest("nginx's echo module is not installed")
        urls = [self.url(f"/slow/page.txt?{i}") for i in range(64)]
        outcome = self.run_job("async", "words", urls, "--workers", 64)
        self.assert_values(outcome, {url: PAGE_WORDS for url in urls})
        self.assertGreater(outcome.summary["work_seconds"], 0.199)
        self.assertLess(outcome.summary["work_seconds"], 10, "12.8 s one after another")

    def test_connections_are_used_again(self):
        """200 pages by at most 4 in flight: no more connections than that. One process, one pool."""
        for level in LEVELS:
            with self.subTest(level=level):
                marker = f"reuse-{level}"
                urls = [self.url(f"/page.txt?{marker}-{i}") for i in range(200)]
                self.run_job(level, "words", urls, "--workers", 1 if level == "serial" else 4)
                lines = self.server.log_lines(marker)
                self.assertEqual(len(lines), 200)
                self.assertLessEqual(len({line[0] for line in lines}), 1 if level == "serial" else 4)

    def test_many_pages_at_once(self):
        urls = [self.url(f"/page.txt?many-{i}") for i in range(2000)]
        outcome = self.run_job("async", "words", urls, "--workers", 500)
        self.assert_values(outcome, {url: PAGE_WORDS for url in urls})

    def test_a_big_body_streams(self):
        """12 MB of page and little memory."""
        self.server.add("huge.txt", PAGE * 200)
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", [self.url("/huge.txt"), self.url("/gzip/huge.txt")])
                self.assertEqual({row["value"] for row in outcome.rows}, {PAGE_WORDS * 200})
                workers = 3 if level == "processes" else 1
                self.assert_memory(outcome.summary["rss_peak_bytes"], (24 << 20) * workers, outcome.summary)


def dropped(data, length):
    """Promises `length` bytes, sends fewer, closes."""
    return send(head(Content_Type="text/plain", Content_Length=length) + data)


class Odd(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)
        cls.good = cls.good_answers()
        cls.bad = cls.bad_answers()

    @classmethod
    def good_answers(cls):
        """{url: words}"""
        on, text = cls.server.on, PAGE[:9000]
        words = corpus.count(text)
        zipped = gzip.compress(text)
        answers = {
            "/chunk-1": (chunked([text[i:i + 1] for i in range(300)]), corpus.count(text[:300])),
            "/chunk-7": (chunked([text[i:i + 7] for i in range(0, len(text), 7)]), words),
            "/chunk-all": (chunked([text]), words),
            "/gzip": (body(zipped, Content_Encoding="gzip"), words),
            "/gzip-chunked": (lambda c, n: _gzip_chunked(c, zipped), words),
            "/deflate": (body(zlib.compress(text), Content_Encoding="deflate"), words),
            "/no-length": (send(head(Content_Type="text/plain", Connection="close") + text), words),
            "/http-1.0": (send(b"HTTP/1.0 200 OK\r\n\r\n" + text), words),
            "/204": (send(head("204 No Content")), 0),
            "/drip": (drip(cls.server, "eins zw\u2003ei d\u3000rei".encode(), 1, 0.005), corpus.count("eins zw\u2003ei d\u3000rei".encode())),
            "/extra": (send(head(Content_Length=7) + b"one two three four"), 2),
            "/length-0": (body(b""), 0),
            "/head-split": (_head_split, 3),
            "/continue": (send(b"HTTP/1.1 100 Continue\r\n\r\n" + head(Content_Length=3) + b"a b"), 2),
        }
        urls = {on(path, handler): count for path, (handler, count) in answers.items()}
        urls[cls.redirects("ten", 10, body(b"at last"))] = 2
        urls[on("/relative/here", redirect("../end"))] = 3
        on("/end", body(b"by relative path"))
        return urls

    @classmethod
    def redirects(cls, name, n, end):
        on = cls.server.on
        for i in range(n):
            on(f"/{name}-{i}", redirect(f"/{name}-{i + 1}"))
        on(f"/{name}-{n}", end)
        return f"{cls.server.url}/{name}-0"

    @classmethod
    def bad_answers(cls):
        """{url: reasons it may have}"""
        on = cls.server.on
        answers = {
            "/dropped": (dropped(b"only some words", 1000), "transfer"),
            "/dropped-at-once": (send(b""), "transfer"),
            "/reset": (reset, "transfer"),
            "/chunk-cut": (send(head(Transfer_Encoding="chunked") + b"5\r\none t"), "transfer"),
            "/chunk-no-end": (send(head(Transfer_Encoding="chunked") + b"7\r\none two\r\n"), "transfer"),
            "/chunk-garbage": (send(head(Transfer_Encoding="chunked") + b"xyz\r\none two\r\n0\r\n\r\n"), "transfer encoding protocol"),
            "/gzip-garbage": (body(b"this is no gzip at all", Content_Encoding="gzip"), "encoding"),
            "/unknown-encoding": (body(b"some words", Content_Encoding="snake-oil"), "encoding"),
            "/garbage": (send(b"SSH-2.0-OpenSSH_9.2\r\n" + b"x" * 100), "protocol"),
            "/bad-status": (send(b"HTTP/1.1 abc OK\r\n\r\nwords"), "protocol"),
            "/binary": (send(bytes(range(256)) * 10), "protocol"),
            "/redirect-ftp": (redirect("ftp://127.0.0.1/x"), "bad-scheme"),
            "/redirect-file": (redirect("file:///etc/passwd"), "bad-scheme"),
            "/redirect-loop": (redirect("/redirect-loop"), "redirects"),
            "/400": (body_status("400 Bad Request"), "http-status"),
            "/599": (body_status("599 Whatever"), "http-status"),
        }
        urls = {on(path, handler): reasons.split() for path, (handler, reasons) in answers.items()}
        urls[cls.redirects("eleven", 11, body(b"too far"))] = ["redirects"]
        return urls

    def test_good_answers(self):
        for level in LEVELS:
            outcome = self.run_job(level, "words", self.good)
            for url, words in self.good.items():
                with self.subTest(level=level, url=url):
                    row = outcome.by_input[url]
                    self.assertEqual((row["state"], row.get("value")), ("done", words), row)

    def test_bad_answers(self):
        for level in LEVELS:
            outcome = self.run_job(level, "words", self.bad, status=1)
            for url, reasons in self.bad.items():
                with self.subTest(level=level, url=url):
                    row = outcome.by_input[url]
                    self.assertEqual(row["state"], "failed", row)
                    self.assertIn(row["reason"], reasons, row)
        self.assert_alive()

    def test_gzip_that_ends_too_early_is_no_answer(self):
        """The length is right and the stream is not whole: a count of what came would be a wrong count."""
        zipped = gzip.compress(PAGE)
        urls = [self.server.on(f"/gzip-cut-{n}", body(zipped[:n], Content_Encoding="gzip"))
                for n in (len(zipped) // 2, len(zipped) - 12)]
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", urls, status=1)
                self.assertEqual([(row["state"], row.get("reason") in ("encoding", "transfer")) for row in outcome.rows],
                                 [("failed", True)] * 2, outcome.rows)

    def test_gzip_of_several_members(self):
        """RFC 1952 allows them, libcurl does not take them: right or failed, but never a wrong count."""
        url = self.server.on("/members", body(gzip.compress(PAGE) + gzip.compress(PAGE), Content_Encoding="gzip"))
        result = self.daemon.pppctl("run", "async", "words", url)
        if result.status == 0:
            self.assertEqual(result.out, f"{url}: {PAGE_WORDS * 2} words\n")
        else:
            self.assertRegex(result.err, "failed: ")
            self.assertEqual(result.out, "")

    def test_a_failure_does_not_spoil_the_next_on_the_same_worker(self):
        mixed = [url for pair in zip(self.bad, self.good) for url in pair]
        outcome = self.run_job("serial", "words", mixed, status=1)
        for url in mixed:
            with self.subTest(url=url):
                row = outcome.by_input[url]
                self.assertEqual((row["state"], row.get("value")),
                                 ("failed", None) if url in self.bad else ("done", self.good[url]), row)

    def test_retries_until_it_works(self):
        for level in LEVELS:
            with self.subTest(level=level):
                path = f"/flaky-{level}"
                url = self.server.on(path, fail_first(2, dropped(b"x", 100), body(b"now it works")))
                outcome = self.run_job(level, "words", [url], "--retries", 3)
                self.assert_values(outcome, {url: 3})
                self.assertEqual(outcome.summary["tasks_retried"], 2)
                self.assertEqual(self.server.counts[path], 3)

    def test_a_busy_server_says_when_to_come_again(self):
        """Retry-After in seconds and as a date, for 429 and 503; only with them, and later than we would come."""
        def busy(status, wait):
            def handler(connection, count):
                times.append(time.monotonic())
                if count > 1:
                    return body(b"two words")(connection, count)
                connection.sendall(head(status, Retry_After=wait() if callable(wait) else wait, Content_Length=0))
                return True
            return handler

        def date():
            return email.utils.formatdate(time.time() + 3, usegmt=True)
        for level in LEVELS:
            for i, (status, wait) in enumerate((("429 Too Many", "2"), ("503 Busy", date))):
                with self.subTest(level=level, status=status):
                    times = []
                    url = self.server.on(f"/busy-{level}-{i}", busy(status, wait))
                    self.assert_values(self.run_job(level, "words", [url], "--retries", 1), {url: 2})
                    self.assertGreater(times[1] - times[0], 1.5)

    def test_retries_are_bounded(self):
        """Three requests. (Nothing comes before the drop of an unused connection that curl may try again by itself.)"""
        url = self.server.on("/always-dropped", dropped(b"half", 100))
        outcome = self.run_job("async", "words", [url], "--retries", 2, status=1)
        self.assert_failed(outcome.by_input[url], "transfer")
        self.assertEqual(self.server.counts["/always-dropped"], 3)

    def test_what_will_not_pass_is_not_tried_again(self):
        url = self.server.on("/gone", body_status("404 Not Found"))
        outcome = self.run_job("async", "words", [url], "--retries", 5, status=1)
        self.assert_failed(outcome.by_input[url], "http-status")
        self.assertEqual(self.server.counts["/gone"], 1)

    def test_task_timeout(self):
        """For no answer at all, and for an answer that drips on for ever."""
        silent = self.server.on("/silent", never(self.server))
        dripping = self.server.on("/dripping", drip(self.server, b"word " * 10000, 5, 0.02))
        good = self.server.on("/good", body(b"not late at all"))
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", [silent, dripping, good], "--task-timeout", "0.4", status=1)
                for url in (silent, dripping):
                    row = outcome.by_input[url]
                    self.assert_failed(row, "timeout")
                    self.assertLess(row["end_seconds"] - row["start_seconds"], 30, row)
                    self.assertGreater(row["end_seconds"] - row["start_seconds"], 0.399, row)
                self.assertEqual(outcome.by_input[good]["value"], 4)

    def test_slow_pages_do_not_hold_up_others(self):
        """One page that drips until 300 quick ones have been asked for, in a window of 2: they pass it by."""
        quick = self.server.on("/quick", body(b"a b c"))

        def drip_on(connection, _):
            connection.sendall(head(Content_Type="text/plain", Connection="close"))
            while self.server.counts["/quick"] < 300 and not self.server.stopping.wait(0.01):
                connection.sendall(b"w ")
            return False
        slow = self.server.on("/one-slow", drip_on)
        outcome = self.run_job("async", "words", [slow] + [quick] * 300, "--workers", 2)
        self.assertEqual({row["state"] for row in outcome.rows}, {"done"})


def body_status(status):
    def handler(connection, _):
        connection.sendall(head(status, Content_Length=5) + b"sorry")
        return True
    return handler


def _gzip_chunked(connection, data):
    connection.sendall(head(Content_Encoding="gzip", Transfer_Encoding="chunked"))
    for at in range(0, len(data), 3):
        piece = data[at:at + 3]
        connection.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
    connection.sendall(b"0\r\n\r\n")
    return True


def _head_split(connection, _):
    for byte in head(Content_Length=5, Content_Type="text/plain") + b"a b c":
        connection.sendall(bytes([byte]))
    return True


class BadUrls(Case):
    """URLs that cannot work: each fails as what it is, the others go on."""

    def closed_port(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def cases(self):
        return {
            "http://": "bad-url", "http:///path": "bad-url resolve", "http://127.0.0.1:99999/": "bad-url",
            "http://127.0.0.1:port/": "bad-url", "http://[::1": "bad-url", "http://a b/": "bad-url",
            "ftp://127.0.0.1/": "bad-scheme", "gopher://127.0.0.1/": "bad-scheme", "ssh://x/": "bad-scheme",
            "dict://127.0.0.1:1/": "bad-scheme",
            "http://no-such-host.invalid/": "resolve",
            f"http://127.0.0.1:{self.closed_port()}/": "connect",
        }

    def test_each_fails_as_what_it_is(self):
        cases = self.cases()
        for level in LEVELS:
            began = time.monotonic()
            outcome = self.run_job(level, "words", cases, status=1)
            self.assertLess(time.monotonic() - began, 30)
            for url, reason in cases.items():
                with self.subTest(level=level, url=url):
                    self.assertEqual(outcome.by_input[url]["state"], "failed")
                    self.assertIn(outcome.by_input[url]["reason"], reason.split())
        self.assert_alive()

    def test_messages_say_what_to_do(self):
        port = self.closed_port()
        result = self.daemon.pppctl("run", "async", "words", f"http://127.0.0.1:{port}/", "ftp://x/")
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.err, rf"http://127.0.0.1:{port}/: failed: .*[Cc]onnection refused")
        self.assertRegex(result.err, r"ftp://x/: failed: .*scheme.*use http")

    def test_a_very_long_url(self):
        url = "http://127.0.0.1:1/" + "x" * 60000
        outcome = self.run_job("async", "words", [url], status=1)
        self.assertEqual(outcome.rows[0]["state"], "failed")
