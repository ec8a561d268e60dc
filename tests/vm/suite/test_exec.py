"""Commands of a user's own daemon: limits of each, which take controllers; and the system's daemon, which runs none."""

import json

from case import LEVELS, Case, OfUser


class Exec(OfUser, Case):
    def rows(self, level, *args, status):
        result = self.own.pppctl("run", level, "exec", "--json", *args)
        self.assertEqual(result.status, status, result)
        return {row["input"]: row for row in map(json.loads, result.out.splitlines()) if "input" in row}

    def test_the_systems_daemon_runs_none(self):
        result = self.pppd.pppctl("run", "async", "exec", "--", "true", ":::", "a")
        self.assertEqual(result.status, 2, result)
        self.assertIn("this daemon runs no commands of its users", result.err)

    def test_memory_of_each(self):
        """One that takes too much is killed, and only that one."""
        for level in LEVELS:
            with self.subTest(level=level):
                rows = self.rows(level, "--task-memory-max", "48M", "--", "sh", "-c",
                                 "head -c $1 /dev/zero | tail -c $1 > /dev/null", "sh", ":::", "1M", "200M", status=1)
                self.assertEqual(rows["1M"]["state"], "done")
                self.assertGreater(rows["1M"]["memory_peak_bytes"], 1 << 20)
                self.assertLess(rows["1M"]["memory_peak_bytes"], 48 << 20)
                self.assertEqual((rows["200M"]["state"], rows["200M"]["reason"]), ("failed", "oom-killed"), rows)
                self.assertIn("--task-memory-max", rows["200M"]["why"])

    def test_more_memory_for_what_ran_out_of_it(self):
        """Twice as much each time, up to the job's."""
        command = ("--task-memory-max", "32M", "--retry-memory", "2", "--", "sh", "-c",
                   "head -c $1 /dev/zero | tail -c $1 > /dev/null", "sh", ":::", "1M", "80M")
        rows = self.rows("threads", *command, status=0)
        self.assertEqual((rows["1M"]["attempts"], rows["80M"]["attempts"]), (1, 3), rows)
        rows = self.rows("threads", "--memory-max", "64M", *command, status=1)
        self.assertEqual((rows["80M"]["reason"], rows["80M"]["attempts"]), ("oom-killed", 2), rows)

    def test_processes_of_each(self):
        rows = self.rows("async", "--task-pids-max", "4", "--", "sh", "-c",
                         "for i in $(seq $1); do sleep 1 & done; wait", "sh", ":::", "1", "9", status=1)
        self.assertEqual(rows["1"]["state"], "done")
        self.assertEqual((rows["9"]["state"], rows["9"]["reason"]), ("failed", "command-pids"), rows)

    def test_cpu_of_each(self):
        """Half a second of CPU time, at a fifth of a CPU, takes two seconds or more."""
        rows = self.rows("threads", "--task-cpu-max", "20%", "--", "python3", "-c",
                         "import time\nwhile time.process_time() < 0.5: pass", ":::", "a", status=0)
        row = rows["a"]
        self.assertGreater(row["end_seconds"] - row["start_seconds"], 2.0)
        self.assertGreater(row["cpu_user_usec"] + row["cpu_system_usec"], 450_000)
