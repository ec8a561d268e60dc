"""pppctl: exit statuses, messages, and the verbs on jobs."""

import json
import math
import os
import shutil
import socket
import threading

from harness import process
from harness.case import LEVELS, Case
from harness.poll import wait_until

USAGE, NO_DAEMON, NO_JOB, NOT_ALLOWED, QUEUE_FULL = 2, 3, 4, 5, 75


class Usage(Case):
    """Exit status 2, a message that names what is wrong and what to do, no job made."""

    def refused(self, *args, says, **options):
        before = self.jobs()
        result = self.daemon.pppctl(*args, **options)
        self.assert_says(result, USAGE, *says)
        self.assertEqual(self.jobs(), before, "no job was made")

    def jobs(self):
        with self.daemon.connect() as client:
            return len(client.stream("io.pppctl.Jobs.List", {"limit": 1000}))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon.wait(cls.daemon.submit("serial", "sum", ["1"]))      # so that the list is not empty

    def test_unknown_level(self):
        self.refused("run", "fibres", "sum", "1", says=["fibres", "serial, threads, processes, async, machines"])

    def test_unknown_workload(self):
        self.refused("run", "async", "count", "1", says=["count", "words, sum, sum-array, sleep, mix"])

    def test_bounds(self):
        self.refused("run", "serial", "sum", "1", "--cpus", "0," * 4000 + "0",
                     says=["--cpus: it is 8001 bytes long, more than the 4096"])

    def test_unknown_option(self):
        self.refused("run", "async", "sum", "1", "--wrokers", "2", says=["--wrokers", "--workers"])
        self.refused("run", "async", "sum", "1", "-z", says=["-z"])

    def test_unknown_verb(self):
        self.refused("rnu", "async", says=["rnu", "run"])

    def test_no_verb_and_no_level(self):
        result = self.daemon.pppctl()
        self.assertIn(result.status, (0, USAGE), result)
        self.assertRegex(result.out + result.err, "(?i)usage")
        self.refused("run", says=["level", "serial, threads, processes, async, machines"])

    def test_values_of_options(self):
        for option, value in (("--workers", "0"), ("--workers", "-1"), ("--workers", "many"), ("--workers", "65536"),
                              ("--workers", "1.5"), ("--workers", ""), ("--workers", "99999999999999999999"),
                              ("--retries", "101"), ("--retries", "-1"), ("--timeout", "0"), ("--timeout", "-1"),
                              ("--timeout", "soon"), ("--timeout", "nan"), ("--timeout", "inf"), ("--task-timeout", "1e999"),
                              ("--task-timeout", "5x"), ("--loops", "0"), ("--loops", "1000")):
            with self.subTest(option=option, value=value):
                self.refused("run", "async", "sum", "1", f"{option}={value}", says=[option])

    def test_options_that_belong_to_another_level(self):
        self.refused("run", "serial", "sum", "1", "--workers", "2", says=["--workers", "serial"])
        self.refused("run", "threads", "sum", "1", "--loops", "2", says=["--loops", "async"])
        self.refused("run", "async", "sum", "1", "--gil", says=["--gil", "threads"])
        self.refused("run", "threads", "sum", "1", "--workers", "5000", says=["--workers", "4096"])

    def test_an_option_without_its_value(self):
        self.refused("run", "async", "sum", "--workers", says=["--workers"])

    def test_an_empty_list(self):
        self.refused("run", "async", "sum", "--from", "-", says=["empty"], input=b"")
        self.refused("run", "async", "sum", "--from", os.devnull, says=["empty"])

    def test_a_list_that_is_not_there(self):
        result = self.daemon.pppctl("run", "async", "sum", "--from", self.path("nowhere"))
        self.assertIn(result.status, (1, USAGE), result)
        self.assertRegex(result.err, "nowhere.*No such file")

    def test_a_list_that_is_a_directory(self):
        result = self.daemon.pppctl("run", "async", "sum", "--from", self.temp)
        self.assertIn(result.status, (1, USAGE), result)
        self.assertRegex(result.err, "directory")

    def test_inputs_and_a_list(self):
        result = self.daemon.pppctl("run", "async", "sum", "5", "--from", "-", input=b"6\n")
        if result.status == 0:          # both may be taken; neither may be lost
            self.assertEqual(sorted(result.out.splitlines()), ["5: 10", "6: 15"], result)
        else:
            self.assert_says(result, USAGE, "--from")

    def test_inputs_with_nul_bytes(self):
        self.refused("run", "async", "words", "--from", "-", input=b"a\nb\0c\n", says=["NUL", "2"])

    def test_an_input_of_100_000_characters(self):
        self.refused("run", "async", "words", "--from", "-", input=b"ok\n" + b"x" * 100_000 + b"\n", says=["65536|longer", "2"])

    def test_an_empty_input(self):
        self.refused("run", "async", "words", "--from", "-", input=b"a\n\nb\n", says=["empty", "2"])
        self.refused("run", "async", "words", "", says=["empty"])

    def test_a_newline_in_an_argument(self):
        """It is one input, not two."""
        result = self.daemon.pppctl("run", "serial", "words", "/etc/hostname\n/etc/passwd")
        self.assertIn(result.status, (1, USAGE), result)
        self.assertEqual(result.out, "", result)

    def test_job_numbers(self):
        for verb in ("show", "results", "timeline", "wait", "cancel"):
            for number in ("x", "-1", "", "1x", "99999999999999999999999"):
                with self.subTest(verb=verb, number=number):
                    result = self.daemon.pppctl(verb, "--", number)
                    self.assertIn(result.status, (USAGE, NO_JOB), result)
                    self.assertNotEqual(result.err, "", result)
            with self.subTest(verb=verb, number="none"):
                self.assertEqual(self.daemon.pppctl(verb).status, USAGE)

    def test_help_and_version(self):
        for args in (("--help",), ("run", "--help"), ("--version",)):
            with self.subTest(args=args):
                result = self.daemon.pppctl(*args)
                self.assertEqual((result.status, result.err), (0, ""), result)
                self.assertNotEqual(result.out, "")


class Statuses(Case):
    def test_0_when_all_is_done(self):
        self.assertEqual(self.daemon.pppctl("run", "async", "sum", "1", "2").status, 0)

    def test_1_when_a_task_failed(self):
        self.assertEqual(self.daemon.pppctl("run", "async", "sum", "1", "x").status, 1)

    def test_3_when_there_is_no_daemon(self):
        """No socket, a socket nobody listens at, and no socket at all."""
        dead = self.path("dead.sock")
        import socket
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(dead)
        for path in (self.path("none.sock"), dead, self.temp, self.write("text", "no socket")):
            for verb in (("run", "async"), ("list",), ("show", "1")):
                with self.subTest(path=path, verb=verb):
                    result = process.run([process.program("pppctl"), "--socket", path, *verb], self.temp)
                    self.assert_says(result, NO_DAEMON, path)

    def test_4_when_there_is_no_such_job(self):
        for verb in ("show", "results", "timeline", "wait", "cancel"):
            with self.subTest(verb=verb):
                self.assert_says(self.daemon.pppctl(verb, 987654), NO_JOB, "987654")

    def test_5_when_it_is_somebody_elses(self):
        """Another user may not end root's job, nor read its results."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv to be another user")
        job = self.daemon.submit("async", "sleep", ["60"])
        os.chmod(self.daemon.socket, 0o666)
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        for verb in ("cancel", "results", "timeline"):
            with self.subTest(verb=verb):
                result = process.run(other + self.daemon.pppctl_args(verb, job), self.temp)
                self.assertEqual(result.status, NOT_ALLOWED, result)
                self.assertRegex(result.err, "allowed")
        self.assertEqual(self.daemon.show(job)["state"], "running")
        self.daemon.cancel(job)

    def test_75_when_the_queue_is_full(self):
        config = self.write("tiny.conf", "[jobs]\nmax_running = 1\nmax_queued = 1\n")
        daemon = self.fresh("queue", args=("--config", config))
        jobs = [daemon.submit("async", "sleep", ["60"]) for _ in range(2)]
        self.assertEqual([daemon.show(job)["state"] for job in jobs], ["running", "queued"])
        self.assert_says(daemon.pppctl("run", "async", "sleep", "0"), QUEUE_FULL, "queue|full", "try again")
        daemon.cancel(jobs[0])
        wait_until(lambda: daemon.show(jobs[1])["state"] == "running", "the queued job's turn")
        daemon.cancel(jobs[1])
        self.assert_alive(daemon)

    def test_130_is_in_test_cancel(self):
        """Said here so that nobody looks for it; cancelled jobs seen by others exit with 1."""
        job = self.daemon.submit("async", "sleep", ["60"])
        waiting = self.daemon.pppctl_start("wait", job)
        self.addCleanup(waiting.end)
        wait_until(waiting.running, "pppctl wait")
        self.daemon.cancel(job)
        self.assertEqual(waiting.wait(10).status, 1)


class NoDaemon(Case):
    with_daemon = False

    def test_doctor_tells_which_levels_will_work(self):
        """That there is no daemon is one thing, what a level needs another."""
        result = process.run([process.program("pppctl"), "--socket", self.path("none"), "doctor"], self.temp)
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.out, r"(?m)^  socket +no +no daemon answers")
        self.assertIn("\nlevels, as soon as a daemon runs\n", result.out)
        for level in ("serial", "threads", "processes"):
            self.assertRegex(result.out, rf"(?m)^  {level} +yes$")


class Scripted(Case):
    """Against a daemon that answers one call with what it is told to."""

    with_daemon = False

    def serve(self, *replies):
        path = self.path(f"{self.id()}.sock")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()

        def answer():
            peer = server.accept()[0]
            while not peer.recv(65536).endswith(b"\0"):
                pass
            for i, reply in enumerate(replies):
                message = {"parameters": reply, "continues": i + 1 < len(replies)}
                peer.sendall(json.dumps(message).encode() + b"\0")
            peer.close()
        thread = threading.Thread(target=answer)
        thread.start()
        self.addCleanup(server.close)
        self.addCleanup(thread.join)
        return path

    def pppctl(self, path, *args):
        return process.run([process.program("pppctl"), "--socket", path, *args], self.temp)

    def job(self, number, **members):
        return {"job": {"job": number, "state": "done", "owner_uid": 0, "submitted_at": "2026-01-01T00:00:00Z",
                        "spec": {"level": "serial", "workload": "sum"}, "tasks_total": 1, "tasks_done": 1,
                        "tasks_failed": 0, **members}}

    def test_a_row_that_could_not_be_sent_whole(self):
        """It is listed with what there is, what is missing is said, and those after it are listed too."""
        path = self.serve(self.job(3), self.job(2, omitted="the summary"), self.job(1))
        result = self.pppctl(path, "list")
        self.assertEqual(result.status, 0, result)
        self.assertEqual([line.split()[0] for line in result.out.splitlines()], ["JOB", "3", "2", "1"], result)
        self.assertEqual(result.err, "job 2 is not listed in full: pppd left out the summary\n")

    def test_a_job_that_was_resumed(self):
        """What was counted is of its last part only: that is said."""
        summary = {"schema": "io.pppctl.summary", "version": 1, "resumed": True, "cpu_user_seconds": 1.5,
                   "pressure_io_stalled_seconds": 0.289, "level": "async"}
        shown = self.pppctl(self.serve(self.job(7, summary=summary)), "show", "7").out
        self.assertRegex(shown, r"(?m)^  resumed +yes: .* last part")
        self.assertRegex(shown, r"(?m)^  I/O, all stalled +289 ms, including the ring's waits for completions$")

    def test_the_advice_is_given_once(self):
        """That of the daemon, which knows whose jobs they are."""
        config = self.write("none.conf", "[jobs]\nmax_running = 1\nmax_queued = 1\n")
        daemon = self.fresh("full", args=["--config", config])
        jobs = [daemon.submit("serial", "sleep", ["60"]) for _ in range(2)]
        result = daemon.pppctl("run", "serial", "sum", "1")
        for job in jobs:
            daemon.cancel(job)
        self.assertEqual(result.status, QUEUE_FULL, result)
        self.assertEqual(result.err.count("try again"), 1, result)
        self.assertRegex(result.err, r"1 job( of yours)? waits already")


def same(a, b):
    """Two printers of JSON may differ in the last digits."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-12)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return type(a) is type(b) and a == b


class Verbs(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.job = cls.daemon.submit("threads", "sum", ["3", "x", "4"], workers=2)
        cls.daemon.wait(cls.job)

    def test_results(self):
        result = self.daemon.pppctl("results", self.job)
        self.assertEqual((result.status, result.out), (1, "3: 3\n4: 6\n"), result)
        self.assertRegex(result.err, "^x: failed: ")

    def test_results_json(self):
        result = self.daemon.pppctl("results", self.job, "--json")
        rows = [json.loads(line) for line in result.out.splitlines()]
        rows = [row for row in rows if "input" in row]
        self.assertEqual([(row["input"], row["state"], row.get("value")) for row in rows],
                         [("3", "done", 3), ("x", "failed", None), ("4", "done", 6)], result)

    def test_results_of_a_running_job(self):
        job = self.daemon.submit("threads", "sleep", ["0", "60"], workers=2)
        wait_until(lambda: any(self.daemon.rows(job)), "the first record")
        result = self.daemon.pppctl("results", job)
        self.assertIn("0: ", result.out, result)
        self.assertNotIn("60: ", result.out, result)
        self.daemon.cancel(job)

    def test_show(self):
        result = self.daemon.pppctl("show", self.job)
        self.assertEqual(result.status, 0, result)
        for text in ("threads", "sum", "done"):
            self.assertIn(text, result.out)

    def test_show_json_is_the_varlink_type(self):
        job, told = json.loads(self.daemon.pppctl("show", self.job, "--json").out), self.daemon.show(self.job)
        self.assertTrue(same(job, told), (job, told))

    def test_list_is_newest_first(self):
        other = self.run_job("serial", "sum", ["1"]).summary["job"]
        lines = self.daemon.pppctl("list").out.splitlines()
        positions = {number: next((i for i, line in enumerate(lines) if line.split()[:1] == [str(number)]), None)
                     for number in (other, self.job)}
        self.assertIsNotNone(positions[other], lines)
        self.assertIsNotNone(positions[self.job], lines)
        self.assertLess(positions[other], positions[self.job])

    def test_list_of_no_job(self):
        daemon = self.fresh("empty")
        for args in (("list",), ("list", "--json")):
            with self.subTest(args=args):
                self.assertEqual(daemon.pppctl(*args).status, 0)

    def test_list_limit(self):
        for _ in range(3):
            self.run_job("serial", "sum", ["1"])
        with self.daemon.connect() as client:
            self.assertEqual(len(client.stream("io.pppctl.Jobs.List", {"limit": 2})), 2)

    def test_wait_of_a_done_job(self):
        job = self.run_job("serial", "sum", ["1"]).summary["job"]
        self.assertEqual(self.daemon.pppctl("wait", job).status, 0)

    def test_compare(self):
        """One table, every level; the values are checked at each."""
        result = self.daemon.pppctl("compare", "sum", "1000000", "2000000")
        self.assertEqual(result.status, 0, result)
        for level in LEVELS:
            self.assertRegex(result.out, rf"(?m)^\W*{level}\b")

    def test_compare_json(self):
        result = self.daemon.pppctl("compare", "sleep", "0.05", "0.05", "--levels", "serial,async", "--json")
        self.assertEqual(result.status, 0, result)
        self.assertIsInstance(json.loads(result.out), (dict, list))
        for level in ("serial", "async"):
            self.assertIn(f'"{level}"', result.out)
        self.assertNotIn('"threads"', result.out)

    def test_compare_with_an_unknown_level(self):
        self.assert_says(self.daemon.pppctl("compare", "sum", "1", "--levels", "serial,fibres"), USAGE, "fibres")
