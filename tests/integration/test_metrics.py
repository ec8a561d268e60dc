"""Metrics: the text by the rules of OpenMetrics, the numbers against what ran, and pppd-web that serves it."""

import collections
import concurrent.futures
import glob
import http.client
import os
import re
import shutil
import signal
import sqlite3
import time
import unittest

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness import process
from harness.case import Case
from harness.poll import wait_until

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
LABELS = {"level", "workload", "outcome", "reason", "le", "version"}
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def parse(text):
    """{name of a sample: {labels: value}}, with the parser that Prometheus' own client tests itself with."""
    samples = collections.defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return dict(samples)


def is_counter(name):
    return name.endswith(("_total", "_bucket", "_count", "_sum"))


# The database as the second version of its schema had it, with a job that has ended.
VERSION_2 = """
    CREATE TABLE jobs (
      number INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, reason TEXT, owner INTEGER NOT NULL,
      submitted_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, spec TEXT NOT NULL, n_tasks INTEGER NOT NULL,
      n_done INTEGER NOT NULL, n_failed INTEGER NOT NULL, summary TEXT, cgroup TEXT);
    CREATE INDEX jobs_live ON jobs (number) WHERE state IN ('queued', 'running');
    CREATE INDEX jobs_owner ON jobs (owner, number);
    CREATE INDEX jobs_ended ON jobs (ended_ns) WHERE state NOT IN ('queued', 'running');
    ALTER TABLE jobs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
    INSERT INTO jobs VALUES (1, 'done', NULL, 0, 1790000000000000000, 1790000001000000000,
      '{"level": "serial", "workload": "sum"}', 1, 1, 0, NULL, NULL, 0);
    PRAGMA user_version = 2;
"""


class MetricsCase(Case):
    def metrics(self, daemon=None):
        return parse(self.text(daemon))

    def text(self, daemon=None):
        return (daemon or self.daemon).call("Metrics")["openmetrics"]

    def finished(self, daemon, level, workload, inputs, **options):
        job = daemon.submit(level, workload, inputs, **options)
        return daemon.wait(job)


class Text(MetricsCase):
    """The rules of the exposition, some of which the parser lets pass."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for level, inputs in (("serial", ["1"]), ("processes", ["2", "no number", "3"]), ("async", ["4"])):
            cls.daemon.wait(cls.daemon.submit(level, "sum", inputs))
        cls.daemon.cancel(cls.daemon.submit("async", "sleep", ["60"]))

    def test_families(self):
        text = self.text()
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertNotRegex(text, r"\n\n|[^\x20-\x7e\n]")
        names = []
        for family in text_string_to_metric_families(text):
            names.append(family.name)
            with self.subTest(family=family.name):
                self.assertRegex(family.name, r"^pppctl_[a-z]+(_[a-z]+)*$")
                self.assertNotEqual(family.documentation, "")
                self.assertIn(family.type, ("counter", "gauge", "histogram", "info"))
                self.assertEqual(family.unit, next((unit for unit in ("seconds", "bytes")
                                                    if family.name.endswith("_" + unit)), ""))
                self.assertFalse(family.name.endswith("_total"), "only its samples are")
                self.assertTrue(family.samples, "a family without a value is not mentioned")
        self.assertEqual(len(names), len(set(names)))

    def test_labels(self):
        """Few, and never a job's number, a user, an input."""
        values = collections.defaultdict(set)
        for samples in self.metrics().values():
            for labels in samples:
                for name, value in labels:
                    values[name].add(value)
        self.assertEqual(set(values), LABELS)
        self.assertEqual(values["level"], {"serial", "processes", "async"})
        self.assertEqual(values["workload"], {"sum", "sleep"})
        self.assertEqual(values["outcome"], {"done", "failed", "cancelled"})
        self.assertEqual(values["reason"], {"none", "not-a-number", "cancelled"})

    def test_what_cannot_be_measured_is_absent(self):
        have = self.metrics()
        for key, name in (("memory_peak_bytes", "pppctl_job_memory_peak_bytes_count"),
                          ("rss_peak_bytes", "pppctl_job_rss_peak_bytes_count"),
                          ("cpu_user_seconds", "pppctl_cpu_user_seconds_total"),
                          ("io", "pppctl_io_read_bytes_total")):
            with self.subTest(key):
                measured = any(key in self.daemon.show(job)["summary"] for job in (1, 2, 3, 4))
                self.assertEqual(name in have, measured)

    def test_pppctl_prints_the_same(self):
        def still(text):
            return re.sub(r"(?m)^pppctl_(queue_age|loop_busy_max)_seconds .*", "", text)
        result = self.daemon.pppctl("metrics")
        self.assertEqual((result.status, result.err), (0, ""), result)
        self.assertEqual(still(result.out), still(self.text()))
        self.assert_says(self.daemon.pppctl("metrics", "1"), 2, "takes options only")


class Numbers(MetricsCase):
    with_daemon = False

    def test_jobs_and_tasks(self):
        daemon = self.fresh("jobs")
        shown = [self.finished(daemon, "threads", "sum", ["5", "six", "seven", "-1"]),
                 self.finished(daemon, "threads", "sum", ["8"]),
                 self.finished(daemon, "async", "words", ["/nonexistent", "nonsense://x/"]),
                 self.finished(daemon, "async", "sleep", ["60"], timeout_seconds=0.05)]
        have = self.metrics(daemon)

        def by(name, **labels):
            return have.get(name, {}).get(tuple(sorted(labels.items())))
        self.assertEqual(have["pppctl_jobs_total"], {
            (("level", "async"), ("outcome", "cancelled"), ("reason", "timeout"), ("workload", "sleep")): 1,
            (("level", "async"), ("outcome", "done"), ("reason", "none"), ("workload", "words")): 1,
            (("level", "threads"), ("outcome", "done"), ("reason", "none"), ("workload", "sum")): 2})
        of_sums = {"level": "threads", "workload": "sum"}
        self.assertEqual(by("pppctl_tasks_total", outcome="done", reason="none", **of_sums), 2)
        self.assertEqual(by("pppctl_tasks_total", outcome="failed", reason="not-a-number", **of_sums), 2)
        self.assertEqual(by("pppctl_tasks_total", outcome="failed", reason="negative", **of_sums), 1)
        self.assertEqual(sum(have["pppctl_tasks_total"].values()), sum(job["tasks_done"] + job["tasks_failed"] for job in shown))
        for name, key in (("pppctl_job_wall_seconds_sum", "wall_seconds"), ("pppctl_cpu_user_seconds_total", "cpu_user_seconds"),
                          ("pppctl_cpu_system_seconds_total", "cpu_system_seconds"),
                          ("pppctl_context_switches_voluntary_total", "context_switches_voluntary")):
            with self.subTest(name):
                expected = sum(job["summary"][key] for job in shown[:2] if key in job["summary"])
                self.assertAlmostEqual(by(name, **of_sums) or 0, expected, 8)
        self.check_histogram(have, of_sums, [job["summary"]["wall_seconds"] for job in shown[:2]])

    def check_histogram(self, have, labels, values):
        for sample, count in have["pppctl_job_wall_seconds_bucket"].items():
            if labels.items() <= dict(sample).items():
                self.assertEqual(count, sum(value <= float(dict(sample)["le"]) for value in values), sample)
        self.assertEqual(have["pppctl_job_wall_seconds_count"][tuple(sorted(labels.items()))], len(values))

    def test_now(self):
        config = self.write("now.conf", "[jobs]\nmax_running = 1\nmax_queued = 7\n")
        daemon = self.fresh("now", args=("--config", config))
        started = self.metrics(daemon)["pppctl_start_time_seconds"][()]
        self.assertLess(abs(time.time() - started), 60)
        running = daemon.submit("async", "sleep", ["0", "60", "60"])
        daemon.submit("async", "sleep", ["60"] * 5)
        paused = daemon.submit("async", "sleep", ["60"])
        daemon.call("Pause", {"job": paused})
        wait_until(lambda: any(daemon.rows(running)), "a first result")
        have = wait_until(lambda: (m := self.metrics(daemon))["pppctl_tasks_open"][()] == 8 and m, "the first result to be counted")
        got = {name: have["pppctl_" + name][()] for name in ("jobs_running", "jobs_running_max", "jobs_queued", "jobs_queued_max",
                                                             "jobs_paused")}
        self.assertEqual(got, {"jobs_running": 1, "jobs_running_max": 1, "jobs_queued": 2, "jobs_queued_max": 7, "jobs_paused": 1})
        age = have["pppctl_queue_age_seconds"][()]
        self.assertGreater(age, 0)
        self.assertGreater(self.metrics(daemon)["pppctl_queue_age_seconds"][()], age)
        self.assertNotIn("pppctl_jobs_total", have, "none has ended")

    def test_counters_never_fall(self):
        """Not over a stop, a crash, a job that a former supervisor began, or the jobs being forgotten."""
        config = self.write("keep.conf", "[jobs]\nkeep_jobs = 1\n")
        daemon = self.fresh("counters", args=("--config", config))
        before = {}
        for i, end in enumerate(("terminate", "kill", "kill", "terminate")):
            for _ in range(2):
                self.finished(daemon, "serial", "sum", ["1", "x"])
            job = daemon.submit("serial", "sleep", ["0.2"])
            before = self.assert_not_fallen(daemon, before)
            getattr(daemon, end)()
            process.reap_orphans()
            daemon.start()
            self.assertEqual(daemon.wait(job)["state"], "done")
            before = self.assert_not_fallen(daemon, before)
            done = sum(value for labels, value in before["pppctl_jobs_total"].items())
            self.assertEqual(done, 3 * (i + 1), "each counts once")
        wait_until(lambda: self.kept(daemon) == 1, "the other jobs to be forgotten")
        self.assertEqual(self.assert_not_fallen(daemon, before)["pppctl_jobs_total"], before["pppctl_jobs_total"])

    def kept(self, daemon):
        with daemon.connect() as client:
            return len(client.stream("io.pppctl.Jobs.List", {}))

    def assert_not_fallen(self, daemon, before):
        now = self.metrics(daemon)
        for name, samples in before.items():
            for labels, value in samples.items() if is_counter(name) else ():
                self.assertGreaterEqual(now[name][labels], value, (name, labels))
        return now

    def test_a_database_of_an_older_version(self):
        """It gets its tables; what ran before was not counted."""
        daemon = self.fresh("older")
        daemon.terminate()
        path = os.path.join(daemon.state, "jobs.db")
        for name in glob.glob(path + "*"):
            os.unlink(name)
        with sqlite3.connect(path) as database:
            database.executescript(VERSION_2)
        database.close()
        daemon.start()
        with daemon.connect() as client:
            self.assertEqual(client.call("io.pppctl.Jobs.Show", {"job": 1})["job"]["state"], "done")
        self.assertNotIn("pppctl_jobs_total", self.metrics(daemon))
        self.finished(daemon, "serial", "sum", ["1"])
        self.assertEqual(list(self.metrics(daemon)["pppctl_jobs_total"].values()), [1])


class Web(MetricsCase):
    def setUp(self):
        super().setUp()
        self.port = self.serve()

    def serve(self, daemon=None, wrap=(), hurry=1):
        socket = (daemon or self.daemon).socket
        self.web = process.Process([*wrap, process.program("pppd-web"), "--socket", socket, "--port", "0"], self.temp,
                                   env=process.clean_environment(PPPCTL_TEST_HURRY=hurry))
        self.addCleanup(self.web.end)
        line = wait_until(lambda: self.web.so_far() or not self.web.running(), "pppd-web to listen")
        self.assertRegex(line, rb"^http://127\.0\.0\.1:\d+/\n$", self.web.errors_so_far())
        return int(line.rsplit(b":", 1)[1].rstrip(b"/\n"))

    def get(self, path="/metrics", method="GET", port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def test_metrics(self):
        self.finished(self.daemon, "serial", "sum", ["1"])
        status, headers, text = self.get()
        self.assertEqual((status, headers["Content-Type"]), (200, CONTENT_TYPE))
        self.assertIn("pppctl_jobs_total", parse(text))
        self.assertEqual(int(headers["Content-Length"]), len(text))

    def test_head(self):
        status, headers, text = self.get(method="HEAD")
        self.assertEqual((status, headers["Content-Type"], text), (200, CONTENT_TYPE, ""))

    def test_index(self):
        status, headers, text = self.get("/")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        for path in re.findall(r'href="([^"]*)"', text):
            self.assertEqual(self.get(path)[0], 200, path)
        self.assertIn('href="/metrics"', text)

    def test_anything_else(self):
        for path in ("/2016", "/metrics/", "/metrics/../metrics", "/favicon.ico", "//metrics"):
            with self.subTest(path):
                self.assertEqual(self.get(path)[0], 404)
        for method in ("POST", "PUT", "DELETE"):
            status, headers, _ = self.get(method=method)
            self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"), method)

    def test_many_at_once(self):
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _: self.get(), range(200)))
        for status, _, text in answers:
            self.assertEqual((status, text.endswith("# EOF\n")), (200, True))

    def test_who_leaves_before_the_answer(self):
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.request("GET", "/metrics")
            connection.close()
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)
        self.assertEqual(self.get()[0], 200)

    def test_a_daemon_that_goes_and_comes(self):
        daemon = self.fresh("goes")
        port = self.serve(daemon)
        self.assertEqual(self.get(port=port)[0], 200)
        daemon.terminate()
        status, headers, text = self.get(port=port)
        self.assertEqual((status, headers["Content-Type"]), (503, "text/plain; charset=utf-8"))
        self.assertRegex(text, f"cannot get the metrics of pppd at {daemon.socket}: No such file or directory")
        self.assertEqual(self.get("/", port=port)[0], 200)
        daemon.start()
        self.assertEqual(self.get(port=port)[0], 200)

    def test_a_daemon_that_does_not_answer(self):
        """Others who ask meanwhile wait for the same time, not one after the other."""
        port = self.serve(hurry=4)
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: self.get(port=port), range(8)))
            self.assertLess(time.monotonic() - began, 5, "10 s one after another")
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)
        for status, _, text in answers:
            self.assertEqual(status, 503)
            self.assertIn("does not answer", text)
        self.assertEqual(self.get(port=port)[0], 200)

    def test_something_else_at_the_socket(self):
        for answer, pattern in ((b"", "closed the connection"), (b"HTTP/1.1 400 Bad Request\0", "no Varlink"),
                                (b'{"error":"x.y.Z","parameters":{"why":"no"}}\0', r"answered x\.y\.Z: no"),
                                (b'{"parameters":{"openmetrics":7}}\0', "same version")):
            with self.subTest(answer=answer):
                path = self.path("impostor")
                with self.impostor(path, answer):
                    port = self.serve(collections.namedtuple("Impostor", "socket")(path))
                    status, _, text = self.get(port=port)
                self.assertEqual(status, 503)
                self.assertRegex(text, pattern)

    def impostor(self, path, answer):
        import contextlib
        import socket
        import threading

        @contextlib.contextmanager
        def manage():
            def serve():
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)
                listener.listen()
                thread = threading.Thread(target=serve)
                thread.start()
                yield
                thread.join()
            os.unlink(path)
        return manage()

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv to become nobody")
    def test_a_user_who_may_not_use_the_socket(self):
        port = self.serve(wrap=NOBODY)
        status, _, text = self.get(port=port)
        self.assertEqual(status, 503)
        self.assertRegex(text, "Permission denied; the user that runs pppd-web must be in the socket's group")
