"""Fetching, at every level: what a real nginx sends, and what only an odd server does."""

import email.utils
import gzip
import os
import socket
import threading
import time
import unittest
import zlib

from harness import corpus, nginx
from harness.case import LEVELS, Case
from harness.daemon import parse_json_lines
from harness.oddserver import (OddServer, body, chunked, drip, fail_first, head, never, redirect, send)

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


def reset(connection, _):
    """Sends half an answer and a TCP reset."""
    connection.sendall(head(Content_Length=1000) + b"some words ")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return False


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
            "cut-gzip": h(Content_Encoding="gzip", Content_Length=30) + gzip.compress(PAGE)[:30],
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
