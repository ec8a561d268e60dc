"""https with verification on, and HTTP/2 where the server offers it. The CA is made for the run."""

import os
import shutil
import ssl
import unittest

from harness import nginx
from harness.case import LEVELS, Case
from harness.certificates import Certificates
from harness.oddserver import OddServer, body, head, redirect, send

PAGE = b"five words over a wire"


class Tls(Case):
    @classmethod
    def setUpClass(cls):
        if not nginx.available() or not shutil.which("openssl"):
            raise unittest.SkipTest("nginx or openssl is not installed")
        super().setUpClass()
        cls.certificates = Certificates(cls.temp)
        directory = os.path.join(cls.temp, "nginx")
        os.mkdir(directory)
        names = ("valid", "wrong_host", "expired", "self_signed")
        pairs = {name: getattr(cls.certificates, name) for name in names}
        cls.server = nginx.Nginx(directory, tls={**pairs, "h2": cls.certificates.valid}, h2=("h2",))
        cls.server.add("page.txt", PAGE)
        cls.server.add("other.txt", PAGE * 3)
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)

    def url(self, name, path="/page.txt", host="127.0.0.1"):
        return f"https://{host}:{self.server.tls_ports[name]}{path}"

    def test_what_verifies_is_fetched(self):
        urls = {self.url("valid"): 5, self.url("valid", host="localhost"): 5, self.url("h2"): 5}
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "words", urls, "--ca-file", self.certificates.ca), urls)

    def test_what_does_not_verify_fails(self):
        urls = [self.url(name) for name in ("wrong_host", "expired", "self_signed")]
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", urls, "--ca-file", self.certificates.ca, status=1)
                for url in urls:
                    self.assert_failed(outcome.by_input[url], "certificate")

    def test_an_unknown_authority_is_not_trusted(self):
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", [self.url("valid")], status=1)
                self.assert_failed(outcome.rows[0], "certificate")
        result = self.daemon.pppctl("run", "async", "words", self.url("valid"))
        self.assertIn("--ca-file", result.err, result)

    def test_http_2(self):
        urls = {self.url("h2", f"/page.txt?h2-{i}"): 5 for i in range(100)}
        for level in ("serial", "async"):
            with self.subTest(level=level):
                before = len(self.server.log_lines("h2-"))
                self.assert_values(self.run_job(level, "words", urls, "--ca-file", self.certificates.ca), urls)
                lines = self.server.log_lines("h2-")[before:]
                self.assertEqual({line[1] for line in lines}, {"HTTP/2.0"})

    def test_tls_to_a_plain_port(self):
        url = f"https://127.0.0.1:{self.server.port}/page.txt"
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", [url], "--ca-file", self.certificates.ca, status=1)
                self.assert_failed(outcome.rows[0], "tls")

    def test_plain_to_a_tls_port(self):
        url = f"http://127.0.0.1:{self.server.tls_ports['valid']}/page.txt"
        outcome = self.run_job("async", "words", [url], status=1)
        self.assert_failed(outcome.rows[0], "http-status")

    def test_a_ca_file_that_is_not_there(self):
        result = self.daemon.pppctl("run", "async", "words", self.url("valid"), "--ca-file", self.path("none.pem"))
        self.assertIn(result.status, (1, 2), result)
        self.assertRegex(result.err, r"none\.pem", result)
        self.assert_alive()

    def test_a_ca_file_that_is_no_pem(self):
        junk = self.write("junk.pem", "this is no certificate\n")
        result = self.daemon.pppctl("run", "async", "words", self.url("valid"), "--ca-file", junk)
        self.assertIn(result.status, (1, 2), result)
        self.assertEqual(result.out, "", result)

    def test_a_relative_ca_file_is_the_callers(self):
        result = self.daemon.pppctl("run", "async", "words", self.url("valid"), "--ca-file", "ca/ca.pem", cwd=self.temp)
        self.assertEqual((result.status, result.out), (0, f"{self.url('valid')}: 5 words\n"), result)


class OddTls(Case):
    """libcurl's way, and answers that only an odd server gives."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which("openssl"):
            raise unittest.SkipTest("openssl is not installed")
        super().setUpClass()
        cls.certificates = Certificates(cls.temp)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*cls.certificates.valid)
        cls.server = OddServer(context).start()
        cls.addClassCleanup(cls.server.stop)

    def run_urls(self, level, urls, **options):
        return self.run_job(level, "words", urls, "--ca-file", self.certificates.ca, "--workers", 1, **options)

    def test_a_folded_first_line_after_other_answers(self):
        """libcurl before 8.1.0 appends it to a header of the request before, which is freed (curl#11101)."""
        on = self.server.on
        folded = on("/folded", send(b"HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 9\r\n\r\ntwo words", keep=True))
        page = on("/page", body(b"and three words"))
        led = on("/led", redirect("/folded"))
        urls = [f"{url}?{i}" for i in range(6) for url in (page, folded, led)]
        for path in ("/folded", "/page", "/led"):
            for i in range(6):
                self.server.handlers[f"{path}?{i}"] = self.server.handlers[path]
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_urls(level, urls, status=1)
                for url in urls:
                    if "/page" in url:
                        self.assertEqual(outcome.by_input[url]["value"], 3)
                    else:
                        self.assert_failed(outcome.by_input[url], "protocol")
        self.assert_alive()

    def test_redirects_across_schemes_and_back(self):
        plain = OddServer().start()
        self.addCleanup(plain.stop)
        plain.on("/end", body(b"here it ends"))
        second = self.server.on("/second", redirect(f"{plain.url}/end"))
        first = plain.on("/first", redirect(second))
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_urls(level, [first, second]), {first: 3, second: 3})

    def test_contradicting_lengths(self):
        """libcurl takes the last of them; a body that is cut by one would be counted short."""
        url = self.server.on("/lengths", send(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Length: 5\r\n\r\none two three"))
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_failed(self.run_urls(level, [url], status=1).rows[0], "protocol")
