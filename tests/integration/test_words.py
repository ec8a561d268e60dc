"""Words are Python's len(text.split()), on texts in many scripts, at every level."""

import os

from harness import corpus
from harness.case import LEVELS, Case
from harness.oddserver import OddServer, body


class Files(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.expected = {}
        os.mkdir(os.path.join(cls.temp, "corpus"))
        for name, data in corpus.texts().items():
            path = os.path.join(cls.temp, "corpus", name)
            with open(path, "wb") as file:
                file.write(data)
            cls.expected[path] = corpus.count(data)

    def test_corpus(self):
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "words", self.expected), self.expected)

    def test_file_urls(self):
        urls = {"file://" + path: words for path, words in self.expected.items()}
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "words", urls), urls)

    def test_file_url_with_escapes(self):
        self.write("a b%c.txt", "four words in here")
        url = f"file://{self.temp}/a%20b%25c.txt"
        self.assert_values(self.run_job("serial", "words", [url]), {url: 4})

    def test_names_of_all_kinds(self):
        names = ["with space", "ünï", "quote'\"", "percent%20", "#hash?query", "-dash", "tab\there"]
        expected = {self.write(name, "two words"): 2 for name in names}
        self.assert_values(self.run_job("async", "words", expected), expected)

    def test_a_name_with_a_colon_is_no_url(self):
        """It is made absolute like any other, and read by the daemon as what it is."""
        for name in ("day:1", "mailto:us", "http:x"):
            self.write(name, "one two three")
            result = self.daemon.pppctl("run", "serial", "words", name, cwd=self.temp)
            self.assertEqual((result.status, result.out), (0, f"{name}: 3 words\n"), result)

    def test_a_relative_path_is_the_callers(self):
        self.write("relative.txt", "one two three")
        result = self.daemon.pppctl("run", "serial", "words", "relative.txt", cwd=self.temp)
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.out, r"relative\.txt: 3 words")

    def test_files_of_proc_have_no_size_and_are_read(self):
        outcome = self.run_job("async", "words", ["/proc/version"])
        with open("/proc/version") as file:
            self.assertEqual(outcome.by_input["/proc/version"]["value"], len(file.read().split()))

    def test_a_file_larger_than_any_buffer(self):
        """30 MB, words across every read's border; memory stays bounded."""
        line = "wörter\u2003und\u3000mehr \xa0 x" * 40 + "\n"
        path = self.write("large", line.encode() * 20000)
        words = corpus.count(line.encode()) * 20000
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", [path])
                self.assert_values(outcome, {path: words})
                self.assert_memory(outcome.summary["rss_peak_bytes"], 28 << 20)

    def test_many_files(self):
        directory = self.path("many")
        os.mkdir(directory)
        expected = {}
        for i in range(3000):
            path = os.path.join(directory, str(i))
            with open(path, "w") as file:
                file.write("w " * (i % 97))
            expected[path] = i % 97
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "words", expected), expected)


class Charsets(Case):
    """The declared charset decides, UTF-8 where none is declared, bad bytes are replaced."""

    TEXT = "Käse und\xa0Brot"
    DECLARED = {
        "iso-8859-1": "Käse und\xa0Brot, façade",
        "windows-1251": "Съешь ещё\xa0этих мягких булок",
        "windows-1252": "‘quoted’ – dash\xa0x",
        "shift_jis": "いろは　にほへと ちりぬる",
        "euc-jp": "いろは　にほへと",
        "gb18030": "我能吞下　玻璃 而不",
        "koi8-r": "чаю выпей",
        "utf-16": "mit BOM\u2003und 👍",
        "utf-16le": "ohne BOM\u3000x",
        "utf-16be": "ohne BOM\u3000x",
        "utf-32": "vier Bytes\u2028x",
        "us-ascii": "plain old text",
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def expect(self, expected):
        for level in LEVELS:
            with self.subTest(level=level):
                self.assert_values(self.run_job(level, "words", expected), expected)

    def test_declared(self):
        expected = {}
        for charset, text in self.DECLARED.items():
            data = (text + "\n") * 3000 if charset == "utf-16" else text
            data = data.encode(charset)
            url = self.server.on(f"/{charset}", body(data, f"text/plain; charset={charset}"))
            expected[url] = corpus.count(data, charset)
        self.expect(expected)

    def test_labels(self):
        """Quoted, in capitals, with spaces and other parameters around."""
        data = "Käse\xa0x y".encode("iso-8859-1")
        types = ['text/html; charset="iso-8859-1"', "text/html;charset=ISO-8859-1", "text/plain; x=y; Charset=latin1",
                 'text/html ; charset = "iso-8859-1"; format=flowed']
        expected = {self.server.on(f"/label-{i}", body(data, t)): corpus.count(data, "latin-1") for i, t in enumerate(types)}
        self.expect(expected)

    def test_none_and_empty_are_utf8(self):
        data = "Käse\u3000und\xa0Brot \xe9".encode() + b"\xff\x80 x"
        types = ["text/plain", "", "text/plain; charset=", "text/plain; charset=utf-8", "application/octet-stream"]
        expected = {self.server.on(f"/default-{i}", body(data, t)): corpus.count(data) for i, t in enumerate(types)}
        self.expect(expected)

    def test_bad_bytes_are_replaced(self):
        """A byte that the charset does not know is a character, and no space."""
        cases = {"us-ascii": b"a\xe9b c\xff d", "shift_jis": "いろは".encode("shift_jis") + b" \x81 \xfd x",
                 "utf-16le": "ab c".encode("utf-16le") + b"\x00\xd8" + " x y".encode("utf-16le"),
                 "utf-8": b"a\xc2 b\xe3\x80 c\xf0\x9f d\xe3\x80"}
        expected = {self.server.on(f"/bad-{name}", body(data, f"text/plain; charset={name}")): corpus.count(data, name)
                    for name, data in cases.items()}
        self.expect(expected)

    def test_unknown_charset_is_a_failure_that_names_it(self):
        url = self.server.on("/unknown", body(b"a b c", "text/plain; charset=klingon-9"))
        for level in LEVELS:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", [url], status=1)
                self.assert_failed(outcome.by_input[url], "charset")
