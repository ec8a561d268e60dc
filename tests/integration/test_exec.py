"""`pppctl run LEVEL exec`: the user's own commands, at every level with the same outcome, and what is kept of
them."""

import json
import os
import re
import signal

from harness import settings
from harness.case import LEVELS, Case
from harness.daemon import descendants, parse_json_lines
from harness.poll import wait_until
from harness.process import clean_environment, program, reap_orphans, run

SHELL = ("--", "sh", "-c", 'eval "$0"')
WITH_CHILD = {"PATH": os.environ["PATH"], "HOME": "/", "COLOUR": "blue"}


class Exec(Case):
    def exec(self, level, *args, status=0, **options):
        result = self.daemon.pppctl("run", level, "exec", *args, **options)
        self.assertEqual(result.status, status, result)
        return result

    def rows(self, level, *args, status=0, **options):
        rows, summary = parse_json_lines(self.exec(level, "--json", *args, status=status, **options).out)
        return {row["input"]: row for row in rows}, summary

    def logs(self, *args):
        result = self.daemon.pppctl("logs", *args)
        self.assertEqual(result.status, 0, result)
        return result


class Commands(Exec):
    def test_same_outcome_at_every_level(self):
        scripts = ["echo out; echo err >&2", "exit 3", "kill -SEGV $$", "exec no-such-program", "exec /",
                   "sleep 100 & exit 5"]
        expected = {"exit 3": ("command-exit", 3), "kill -SEGV $$": ("command-signal", None),
                    "exec no-such-program": ("command-exit", 127), "exec /": ("command-exit", 126),
                    "sleep 100 & exit 5": ("command-exit", 5)}
        for level in LEVELS:
            with self.subTest(level=level):
                rows, summary = self.rows(level, *SHELL, ":::", *scripts, status=1)
                self.assertEqual(set(rows), set(scripts))
                done = rows.pop(scripts[0])
                self.assertEqual((done["state"], done["exit_status"], done["output_bytes"], done["error_bytes"]),
                                 ("done", 0, 4, 4))
                for script, (reason, status) in expected.items():
                    row = rows[script]
                    self.assertEqual((row["state"], row["reason"], row.get("exit_status")),
                                     ("failed", reason, status), row)
                    self.assertEqual(row["attempts"], 1)
                self.assertEqual(rows["kill -SEGV $$"]["signal"], signal.SIGSEGV)
                self.assertEqual((summary["tasks_done"], summary["tasks_failed"]), (1, 5))

    def test_what_is_printed(self):
        """Their output, each task's in one piece, and nothing else on standard output."""
        for level in LEVELS:
            with self.subTest(level=level):
                result = self.exec(level, "--ordered", "--", "sh", "-c", 'echo "<$1"; echo "!$1" >&2; echo "$1>"', "x",
                                   ":::", "a", "b c", "d")
                self.assertEqual(result.out, "<a\na>\n<b c\nb c>\n<d\nd>\n")
                self.assertIn("!a\n!b c\n!d\n", result.err)
                self.assertIn(" done: 3 tasks", result.err)

    def test_bytes_are_kept_as_they_are(self):
        path = self.write("bytes", bytes(range(256)) * 1000)
        for level in LEVELS:
            with self.subTest(level=level):
                result = self.exec(level, "-q", "--from", self.write("list", f"{path}\n"), "--", "cat")
                self.assertEqual(result.stdout, bytes(range(256)) * 1000)

    def test_placeholders(self):
        result = self.exec("serial", "-q", "--", "echo", "{}", "{.}", "{/}", "{//}", "{/.}", "{#}", "{%}", "{x}", ":::",
                           "/tmp/a b.tar.gz")
        self.assertEqual(result.out, "/tmp/a b.tar.gz /tmp/a b.tar a b.tar.gz /tmp a b.tar 1 1 {x}\n")
        self.assertEqual(self.exec("serial", "-q", "--", "echo", "last", ":::", "in put").out, "last in put\n")

    def test_shell_quotes_inputs(self):
        result = self.exec("async", "-q", "--shell", "--ordered", "--", "echo", "{}", "|", "tr a-z A-Z", ":::", "$(id)",
                           "it's; ls")
        self.assertEqual(result.out, "$(ID)\nIT'S; LS\n")

    def test_surroundings_of_the_caller(self):
        os.makedirs(self.path("sub"), exist_ok=True)
        result = self.exec("threads", "-q", "--env", "COLOUR=red", "--cd", self.path("sub"), "--", "sh", "-c",
                           "pwd; umask; echo $COLOUR $HOME", ":::", "x", env=WITH_CHILD)
        self.assertEqual(result.out.splitlines()[::2], [os.path.realpath(self.path("sub")), "red /"], result)

    def test_its_environment_is_not_shown(self):
        self.exec("serial", "-q", "--env", "SECRET=hidden-from-all", "--", "true", ":::", "x")
        job = str(json.loads(self.daemon.pppctl("list", "--json").out.splitlines()[0])["job"])
        for args in (("list", "--json"), ("show", job, "--json"), ("run", "serial", "sum", "1", "--json")):
            result = self.daemon.pppctl(*args)
            self.assertEqual(result.status, 0, result)
            self.assertNotIn("hidden-from-all", result.out)
        self.assertIn('"true"', self.daemon.pppctl("show", job, "--json").out)


class Inputs(Exec):
    def test_from_standard_input(self):
        result = self.exec("async", "-q", "--ordered", "--", "echo", "-", input=b"a\nb c\n")
        self.assertEqual(result.out, "- a\n- b c\n")

    def test_that_end_with_nul(self):
        self.assertEqual(self.exec("async", "-q", "-0", "--ordered", "--", "echo", input=b"a\0b c\0").out, "a\nb c\n")
        self.assertEqual(self.exec("async", "-0q", "--ordered", "--", "echo", input=b"a\r\0b").out, "a\r\nb\n")
        for text in (b"a\0b\nc\0", b"a\0b\n", b"a\0\n"):
            self.assert_says(self.daemon.pppctl("run", "async", "exec", "-0", "--", "echo", input=text), 2,
                             "standard input: input 2: it holds a newline")

    def test_without_any_the_command_runs_once(self):
        self.assertEqual(self.exec("async", "-q", "--", "echo", "once", input=None).out, "once\n")

    def test_an_empty_list_runs_nothing(self):
        result = self.exec("async", "--", "echo", "never", input=b"")
        self.assertEqual(result.out, "")
        self.assertIn("no inputs", result.err)
        self.assertEqual(self.exec("async", "--", "echo", "never", ":::").out, "")

    def test_on_standard_input_of_the_command(self):
        result = self.exec("processes", "-q", "--stdin", "--ordered", "--", "tr", "a-z", "A-Z", ":::", "a b", "c")
        self.assertEqual(result.out, "A B\nC\n")

    def test_refused(self):
        os.makedirs(self.path("\udcff"))
        for args, *says in (
                (("exec",), "behind --"),
                (("exec", "a", "--", "true"), "inputs behind :::"),
                (("exec", "--", ":::", "a"), "needs a command"),
                (("exec", "--cd", "/no/such", "--", "true", ":::", "a"), "--cd /no/such"),
                (("exec", "--env", "NO_SUCH_VARIABLE", "--", "true", ":::", "a"), "no such variable"),
                (("exec", "--env", "=1", "--", "true", ":::", "a"), "no name"),
                (("exec", "--output", "loud", "--", "true", ":::", "a"), "grouped or none"),
                (("exec", "--output-max", "0", "--", "true", ":::", "a"), "no size"),
                (("exec", "--no-task-cgroup", "--task-pids-max", "9", "--", "true", ":::", "a"), "task_limits"),
                (("sum", "--shell", "1"), "--shell is about commands"),
                (("exec", "--", b"\xff", ":::", "a"), "word 1 .* UTF-8"),
                (("exec", "--env", b"A=\xff", "--", "true", ":::", "a"), "--env: .* UTF-8"),
                (("exec", "--cd", os.fsencode(self.path("\udcff")), "--", "true", ":::", "a"), "--cd .* UTF-8")):
            with self.subTest(args=args):
                args = [os.fsdecode(arg) if isinstance(arg, bytes) else arg for arg in args]
                self.assert_says(self.daemon.pppctl("run", "async", *args), 2, *says)
        self.assert_says(self.daemon.pppctl("run", "machines", "exec", "--", "true", ":::", "a"), 2,
                         "nodes run no commands")
        self.assert_alive()


class Kept(Exec):
    def test_logs(self):
        job = self.exec("async", "--detach", "--", "sh", "-c", 'echo "out $1"; echo "err $1" >&2', "x", ":::", "a", "b",
                        "c").out.strip()
        self.daemon.wait(int(job))
        result = self.logs(job)
        self.assertEqual((result.out, result.err), ("out a\nout b\nout c\n", "err a\nerr b\nerr c\n"))
        self.assertEqual(self.logs(job, 3, "1-2", "--stderr").out, "err c\nerr a\nerr b\n")
        for args, says in (((job, 4), "no task 4"), ((job, 0), "is no task"), ((job, "2-1"), "is no task"),
                           ((job, "x"), "is no task"), ((job, 1, 99), "no task 99")):
            self.assert_says(self.daemon.pppctl("logs", *args), 2, says)
        other = self.daemon.submit("serial", "sum", [1])
        self.assert_says(self.daemon.pppctl("logs", other), 2, "runs no commands")

    def test_logs_while_it_runs(self):
        job = int(self.exec("async", "--detach", "--", "sh", "-c", "echo begun; exec sleep 100", ":::", "a").out)
        wait_until(lambda: self.logs(job, 1).out == "begun\n", "the output of a task that runs")
        self.daemon.cancel(job)
        self.daemon.wait(job)
        self.assertEqual(self.logs(job, 1).out, "begun\n")

    def test_results_of_a_job(self):
        job = self.exec("threads", "--detach", "--", "sh", "-c", 'exit "$1"', "x", ":::", "0", "4").out.strip()
        self.daemon.wait(int(job))
        result = self.daemon.pppctl("results", job)
        self.assertRegex(result.out, r"^0: exit 0 in .* MiB\n$")
        self.assertIn("4: failed: exit 4\n", result.err)

    def test_output_max(self):
        rows, _ = self.rows("processes", "--output-max", "10", "--", "seq", ":::", "1000")
        self.assertEqual(rows["1000"]["output_bytes"], 3893)
        result = self.exec("async", "-q", "--output-max", "10", "--", "seq", ":::", "1000")
        self.assertEqual(result.out, "1\n2\n3\n4\n5\n")

    def test_output_none(self):
        self.assertEqual(self.exec("async", "-q", "--output", "none", "--", "echo", ":::", "a").out, "")

    def test_retries(self):
        path = self.path("tries")
        for level in LEVELS:
            with self.subTest(level=level):
                rows, summary = self.rows(level, "--retries", 4, "--shell", "--",
                                          f"echo x >> {path}.{{}}; test $(wc -l < {path}.{{}}) = 3", ":::", level)
                self.assertEqual((rows[level]["state"], rows[level]["attempts"], summary["tasks_retried"]),
                                 ("done", 3, 2))

    def test_time_limit(self):
        for level in LEVELS:
            with self.subTest(level=level):
                rows, _ = self.rows(level, "--task-timeout", "300ms", "--kill-after", "200ms", *SHELL, ":::",
                                    "trap '' TERM; while :; do sleep 100; done", "kill -STOP $$", status=1)
                self.assertEqual([(row["state"], row.get("reason")) for row in rows.values()],
                                 [("failed", "timeout")] * 2)

    def test_what_is_left_is_killed_and_counted(self):
        for level in LEVELS:
            with self.subTest(level=level):
                script = "sleep 1000 & setsid sleep 1000 & true" if self.daemon.group else "sleep 1000 & true"
                (row,) = self.rows(level, *SHELL, ":::", script)[0].values()
                self.assertEqual(row["state"], "done", row)
                self.assertEqual(row.get("left_behind"), 2 if self.daemon.group else None, row)

    def test_without_a_cgroup_of_its_own(self):
        rows, _ = self.rows("async", "--no-task-cgroup", "--", "sh", "-c", "exit 0", ":::", "a")
        self.assertIn("cpu_user_usec", rows["a"])
        self.assertNotIn("left_behind", rows["a"])


class Document(Exec):
    """docs/commands.md: each command line of pppd in it works."""

    def test_command_lines(self):
        directory = self.path("examples")
        os.makedirs(directory)
        for name in ("a.txt", "b c.txt"):
            with open(os.path.join(directory, name), "w") as file:
                file.write("two words\nmore\n")
        with open(os.path.join(directory, "files"), "w") as file:
            file.write("a.txt\nb c.txt\n")
        with open(f"{settings.source}/docs/commands.md") as file:
            lines = [line.strip() for line in file if re.search("pppctl (run|compare)", line) and not line.startswith("`")]
        self.assertEqual(len(lines), 15)
        environment = clean_environment(PPPCTL_SOCKET=self.daemon.socket)
        environment["PATH"] = f"{os.path.dirname(program('pppctl'))}:{environment['PATH']}"
        for line in lines:
            with self.subTest(line=line):
                result = run(["sh", "-c", line], self.temp, cwd=directory, env=environment, input=None)
                if "memory-max" in line and "cannot start the job" in result.err:
                    continue                    # no controller of memory here
                self.assertEqual(result.status, 0, result)


class Ends(Exec):
    def test_a_worker_that_is_killed_costs_one_task(self):
        """And what its command had started is gone, too."""
        marker = self.path("started")
        process, job = self.start("processes", "exec", "--workers", 2, "--json", *SHELL, ":::",
                                  f"sleep 1000 & echo $! > {marker}; wait", "echo other")
        child = int(wait_until(lambda: os.path.exists(marker) and open(marker).read().strip(), "the command"))
        worker = next(pid for (pid,) in self.daemon.workers(job).values() if child in descendants(pid))
        os.kill(worker, signal.SIGKILL)
        result = process.wait(60)
        self.assertEqual(result.status, 1, result)
        rows, _ = parse_json_lines(result.out)
        self.assertEqual(sorted((row["state"], row.get("reason")) for row in rows),
                         [("done", None), ("failed", "signal")], result)
        reap_orphans()          # it was the command's child, and is ours since
        self.assertFalse(os.path.exists(f"/proc/{child}"))

    def test_a_supervisor_that_is_killed_loses_nothing(self):
        daemon = self.fresh("killed")
        result = daemon.pppctl("run", "async", "exec", "--detach", "--workers", 2, "--", "sh", "-c",
                               'echo "$1"; sleep 0.3', "x", ":::", *map(str, range(8)))
        job = int(result.out)
        wait_until(lambda: daemon.show(job)["tasks_done"] > 0, "the first task")
        daemon.kill()
        daemon.start()
        self.assertEqual(daemon.wait(job)["tasks_done"], 8)
        self.assertEqual(daemon.pppctl("logs", job).out, "".join(f"{i}\n" for i in range(8)))

    def test_more_than_the_daemon_reserves_room_for_by_itself(self):
        path = self.write("many", "".join(f"{i}\n" for i in range(140_000)))
        job = int(self.exec("async", "--detach", "--from", path, "--", "true").out)
        wait_until(lambda: self.daemon.show(job)["tasks_done"] > 0, "the first of many")
        self.daemon.cancel(job)
        self.assertEqual(self.daemon.show(job)["state"], "cancelled")

    def test_cancel_ends_commands(self):
        for level in LEVELS:
            with self.subTest(level=level):
                process, job = self.start(level, "exec", *SHELL, ":::",
                                          "trap 'echo bye; exit 0' TERM; echo here; sleep 1000 & wait", "sleep 1000")
                wait_until(lambda: self.logs(job, 1).out == "here\n", "the first command")
                self.daemon.cancel(job)
                process.wait(60)
                self.assertEqual(self.daemon.show(job)["state"], "cancelled")
                self.assertEqual(self.logs(job, 1).out, "here\nbye\n")
