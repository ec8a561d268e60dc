"""Answers that people reported as trouble (tests/cases/http): one record for each, at every level."""

import os

from harness import redis, settings
from harness.case import LEVELS, Case
from harness.oddserver import OddServer, body, send

CASES = os.path.join(settings.source, "tests/cases/http")
ALL = [*LEVELS, *(["machines"] if redis.SERVER and len(LEVELS) > 1 else [])]

# On a connection that stays open the end of these never comes.
ENDED_BY_CLOSE = {"ok-short", "redir-short", "redir-cut-chunk"}


def read_cases():
    """{name: (answer, what is expected of it)}"""
    cases = {}
    with open(os.path.join(CASES, "expected.tsv")) as table:
        for line in table:
            name, expected = line.rstrip("\n").split("\t")
            with open(os.path.join(CASES, name), "rb") as file:
                cases[name] = file.read(), expected.split(" or ")
    # Not kept as a file for its size.
    fields = b"".join(b"X-%d: %s\r\n" % (i, b"a" * 3500) for i in range(100))
    cases["header-350k"] = (b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 13\r\n\r\none two three", ["3"])
    return cases


def record(row):
    """All that has to be the same at each level."""
    return row["state"], row.get("value"), row.get("reason"), row.get("detail")


def keep(data):
    """Sends exactly these bytes, and waits for the next request."""
    def handler(connection, _):
        connection.sendall(data)
        return True
    return handler


class Answers(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cases = read_cases()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)
        for name, (data, _) in cls.cases.items():
            cls.server.on(f"/{name}", send(data))
            cls.server.on(f"/kept/{name}", keep(data))
        for path in ("/ok", *(f"/ok?{i}" for i in range(len(cls.cases)))):
            cls.server.on(path, body(b"one two three"))

    def names(self, outcome):
        return {url.rsplit("/", 1)[1].split("?")[0]: row for url, row in outcome.by_input.items()}

    def assert_expected(self, rows):
        wrong = {}
        for name, row in rows.items():
            if name == "ok":
                continue
            got = str(row["value"]) if row["state"] == "done" else "error"
            if got not in self.cases[name][1]:
                wrong[name] = got, row.get("why")
        self.assertEqual(wrong, {})
        for name, row in rows.items():
            self.assertNotIn("right port", row.get("why", ""), name)

    def test_each_answer_has_its_value_at_every_level_and_by_any_name_of_the_host(self):
        records = {}
        for level in ALL:
            for host in ("127.0.0.1", "localhost"):
                with self.subTest(level=level, host=host):
                    urls = [f"http://{host}:{self.server.port}/{name}" for name in self.cases]
                    rows = self.names(self.run_job(level, "words", urls, status=1))
                    self.assert_expected(rows)
                    records[level, host] = {name: record(row) for name, row in rows.items()}
        first = next(iter(records.values()), {})
        for where, found in records.items():
            self.assertEqual({name: (found[name], first[name]) for name in first if found[name] != first[name]}, {}, where)

    def test_nothing_of_an_answer_is_taken_for_the_next_one(self):
        """Each case, then a good page, over what would be the same connection: one worker."""
        urls = []
        for i, name in enumerate(sorted(set(self.cases) - ENDED_BY_CLOSE)):
            urls += [f"{self.server.url}/kept/{name}", f"{self.server.url}/ok?{i}"]
        for level in ALL:
            with self.subTest(level=level):
                outcome = self.run_job(level, "words", urls, *([] if level == "machines" else ["--workers", 1]),
                                       "--task-timeout", 30, status=1)
                good = {url: record(row) for url, row in outcome.by_input.items() if "/ok?" in url}
                self.assertEqual({url: found for url, found in good.items() if found[:2] != ("done", 3)}, {})
                self.assert_expected(self.names(outcome))

    def test_what_is_wrong_has_its_name(self):
        said = {"ce-br": "`br`", "cl-hex": "Content-Length", "cl-two-long-short": "Content-Length",
                "head-lower-case": "first line", "head-no-colon": "colon", "ce-six-times": "five times",
                "smuggle-cr": "two ways", "gzip-trash-after": "end of the compressed page"}
        rows = self.names(self.run_job("async", "words", [f"{self.server.url}/{name}" for name in said], status=1))
        for name, words in said.items():
            self.assertIn(words, rows[name]["why"], name)
