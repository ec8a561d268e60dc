"""What a fetch does with an answer is the same at every level, over our own connections and over libcurl's."""

import errno
import re
import socket
import threading

from harness.case import LEVELS, Case
from harness.daemon import parse_json_lines
from harness.oddserver import OddServer, body, head, redirect, send

TEXT = b"one two three"


class Rules(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def ways(self, url):
        """Our own way by address and by name, and libcurl's, which a user in the URL leads to."""
        rest = url.split("//", 1)[1]
        return [url, f"http://localhost:{rest.split(':', 1)[1]}", f"http://user@{rest}"]

    def outcomes(self, urls, *options, workers=1):
        """By level: {url: (state, value, reason, detail)}; the same at each."""
        found = {}
        for level in LEVELS:
            result = self.daemon.pppctl("run", level, "words", *urls, "--json", "--workers",
                                        1 if level == "serial" else workers, *options, timeout=90)
            rows, _ = parse_json_lines(result.out)
            found[level] = {row["input"]: tuple(row.get(key) for key in ("state", "value", "reason", "detail")) for row in rows}
            self.assertEqual(set(found[level]), set(urls), result)
        for level in LEVELS:
            with self.subTest(level=level):
                self.assertEqual(found[level], found[LEVELS[0]])
        return found[LEVELS[0]]

    def test_a_folded_first_line(self):
        url = self.server.on("/folded", send(b"HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 13\r\n\r\n" + TEXT))
        for way, outcome in self.outcomes(self.ways(url)).items():
            with self.subTest(url=way):
                self.assertEqual(outcome[::2], ("failed", "protocol"))

    def test_the_body_of_a_redirect_does_not_matter(self):
        """What was asked for is where Location says, however the redirect itself ends."""
        end = self.server.on("/end", body(TEXT))
        stopping = self.server.stopping

        def moved(**fields):
            return head("302 Found", Location=end, **fields)

        def endless(connection, _):
            connection.sendall(moved())
            while not stopping.is_set():
                connection.sendall(b"word " * 1000)
            return False

        def silent(connection, _):
            connection.sendall(moved(Content_Length=100) + b"some")
            stopping.wait()
            return False

        answers = {
            "short": send(moved(Content_Length=100) + b"some words"), "cut-at-once": send(moved(Content_Length=100)),
            "cut-chunk": send(moved(Transfer_Encoding="chunked") + b"a\r\nsome"),
            "bad-chunk": send(moved(Transfer_Encoding="chunked") + b"xyz\r\n"),
            "no-gzip": send(moved(Content_Encoding="gzip", Content_Length=5) + b"words"),
            "coding": send(moved(Content_Encoding="snake-oil", Content_Length=5) + b"words"),
            "long": send(moved(Content_Length=1_000_000) + b"s" * 1_000_000),
            "endless": endless, "silent": silent,
        }
        urls = [way for name, answer in answers.items() for way in self.ways(self.server.on(f"/moved-{name}", answer))]
        for way, outcome in self.outcomes(urls, workers=9).items():
            with self.subTest(url=way):
                self.assertEqual(outcome[:2], ("done", 3))

    def test_an_error_page_is_not_waited_for(self):
        def silent(connection, _):
            connection.sendall(head("503 Busy", Content_Length=100) + b"some")
            self.server.stopping.wait()
            return False
        for way, outcome in self.outcomes(self.ways(self.server.on("/busy", silent)), workers=3).items():
            with self.subTest(url=way):
                self.assertEqual(outcome, ("failed", None, "http-status", 503))

    def test_what_waits_on_a_kept_connection_is_nobodys_answer(self):
        """Another host at the same address, and the same host later: neither takes bytes that nobody asked for."""
        strayed = threading.Event()
        stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"

        def careless(connection, _):
            connection.sendall(head(Content_Length=len(TEXT)) + TEXT)
            gated.wait()
            connection.sendall(stray)
            strayed.set()
            return True

        def gate(connection, _):
            gated.set()
            strayed.wait()
            return body(b"gate")(connection, _)

        on = self.server.on
        other = OddServer().start()
        self.addCleanup(other.stop)
        other_gate = other.on("/gate", gate)
        for level in LEVELS:
            gated = threading.Event()
            strayed.clear()
            first = on(f"/careless-{level}", careless)
            name = self.ways(on(f"/page-{level}", body(b"two words")))
            urls = [first, other_gate, name[1], name[0]]
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", urls, "--workers", 1)
                self.assertEqual([outcome.by_input[url]["value"] for url in urls], [3, 1, 2, 2])

    def test_redirects_keep_user_and_password_on_their_server(self):
        on, address = self.server.on, self.server.url[7:]
        other = OddServer().start()
        self.addCleanup(other.stop)
        elsewhere = other.on("/elsewhere", body(TEXT))
        on("/private", body(TEXT))
        on("/to-private", redirect(f"{self.server.url}/private"))
        on("/to-elsewhere", redirect(elsewhere))
        urls = [f"http://me:secret@{address}/{path}" for path in ("to-private", "to-elsewhere")]
        self.assertEqual({outcome[:2] for outcome in self.outcomes(urls).values()}, {("done", 3)})
        self.assertIn(b"Authorization: Basic", self.server.requests["/private"])
        self.assertNotIn(b"Authorization", other.requests["/elsewhere"])

    def test_a_cookie_that_a_redirect_needs(self):
        """A server sets a cookie and sends on to where it is asked for; another task does not have it."""
        on = self.server.on

        def gate(path):
            def handler(connection, count):
                if b"\r\nCookie: a=1; seen=yes\r\n" in self.server.requests[path]:
                    return body(TEXT)(connection, count)
                return send(head("302 Found", Location=path, Content_Length=0).replace(
                    b"\r\n", b"\r\nSet-Cookie: a=1\r\nSet-Cookie: seen=yes; Path=/; HttpOnly\r\n", 1))(connection, count)
            return handler
        urls = self.ways(on("/cookie", gate("/cookie")))
        for url, outcome in self.outcomes(urls).items():
            with self.subTest(url=url):
                self.assertEqual(outcome[:2], ("done", 3))
        self.assertEqual(self.server.counts["/cookie"], 2 * len(urls) * len(LEVELS))

    def test_a_redirect_to_what_is_no_page(self):
        expected = {"javascript:alert(1)": "script", "ftp://127.0.0.1/x": "FTP", "mailto:x@y": "mail", "data:,x": "data:",
                    "file:///etc/passwd": "file of this machine", "gopher://x/": "another scheme"}
        urls = {way: pattern for i, (to, pattern) in enumerate(expected.items())
                for way in self.ways(self.server.on(f"/to-{i}", redirect(to)))}
        for url, outcome in self.outcomes(list(urls)).items():
            with self.subTest(url=url):
                self.assertEqual(outcome[::2], ("failed", "bad-scheme"))
        err = self.daemon.pppctl("run", "async", "words", *urls).err
        for url, pattern in urls.items():
            self.assertRegex(err, f"(?m)^{re.escape(url)}: .*redirects to .*{pattern}.*give the address of the page")


class Proxies(Case):
    """A proxy that cannot be used is told as that, and never as the server's fault."""

    with_daemon = False

    def test_a_proxy_that_is_not_there_or_refuses(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            closed = s.getsockname()[1]
        refusing = OddServer().start()
        self.addCleanup(refusing.stop)
        refusing.on("server.example:443", send(head("403 Not For You", Content_Length=0)))
        cases = (("closed", f"http://127.0.0.1:{closed}", errno.ECONNREFUSED, ("http", "https"), "refused"),
                 ("nameless", f"http://{'x' * 64}.invalid:8080", 0, ("http", "https"), "resolve"),
                 ("refusing", refusing.url, 403, ("https",), "403"))
        for name, proxy, detail, schemes, pattern in cases:
            environment = {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": ""}
            daemon = self.fresh(name, env=environment)
            urls = [f"{scheme}://server.example/" for scheme in schemes]
            for level in LEVELS:
                with self.subTest(proxy=name, level=level):
                    outcome = self.run_job(level, "words", urls, daemon=daemon, status=1)
                    for url in urls:
                        self.assert_failed(outcome.by_input[url], "proxy")
                        self.assertEqual(outcome.by_input[url].get("detail", 0), detail)
                        self.assertRegex(outcome.by_input[url]["why"], f"proxy .*{pattern}.*no_proxy")


class Names(Case):
    """Hosts that are not ASCII, by a proxy that plays all of them: nothing here resolves them."""

    with_daemon = False

    def test_a_host_that_is_not_ascii(self):
        proxy = OddServer().start()
        self.addCleanup(proxy.stop)
        there = "http://xn--mnchen-3ya.test/"
        proxy.on(there, body(TEXT))
        proxy.on("http://name.test/", redirect("http://m\u00fcnchen.test/"))
        proxy.on("http://other.test/", redirect("//m%c3%bcnchen.test"))
        proxy.on("http://latin.test/", send(b"HTTP/1.1 302 Found\r\nLocation: http://m\xfcnchen.test/\r\n\r\n"))
        daemon = self.fresh("names", env={"http_proxy": proxy.url, "no_proxy": ""})
        good = ["http://m\u00fcnchen.test/", "http://M%C3%9cnchen.TEST", "http://name.test/", "http://other.test/"]
        bad = {"http://\u2100.test/": (2, "IDNA"), "http://latin.test/": (1, "UTF-8"),
               f"http://\u00fc{'x' * 63}.test/": (3, "too long")}
        for level in LEVELS:
            with self.subTest(level=level):
                before = proxy.counts[there]
                outcome = self.run_job(level, "words", [*good, *bad], daemon=daemon, status=1)
                for url in good:
                    self.assertEqual(outcome.by_input[url].get("value"), 3, outcome.by_input[url])
                for url, (detail, why) in bad.items():
                    self.assert_failed(outcome.by_input[url], "bad-url")
                    self.assertEqual(outcome.by_input[url]["detail"], detail)
                    self.assertIn(why, outcome.by_input[url]["why"])
                self.assertEqual(proxy.counts[there] - before, len(good))
        self.assertIn(b"\r\nHost: xn--mnchen-3ya.test\r\n", proxy.requests[there])
