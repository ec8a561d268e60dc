"""pppctl compare: which jobs count, and which values are held against each other."""

import json

from harness.case import Case
from harness.oddserver import OddServer, body, never, not_found
from harness.poll import wait_until


class Compare(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = OddServer().start()
        cls.addClassCleanup(cls.server.stop)

    def page(self, path, *handlers):
        """One that answers its first request by the first handler, and so on; the last answers all that follow."""
        return self.server.on(path, lambda connection, n: handlers[min(n, len(handlers)) - 1](connection, n))

    def test_values_are_held_against_the_first_that_there_is(self):
        """At the first level the task fails, and of it there is nothing that a value could agree with."""
        url = self.page("/changes", not_found, body(b"two words"), body(b"now three words"))
        result = self.daemon.pppctl("compare", "words", url, "--levels", "serial,threads,async", "--json")
        self.assertEqual(result.status, 1, result)
        self.assertFalse(json.loads(result.out)["values_agree"], result)
        self.assertRegex(result.err, r"levels disagree on \S+/changes\S*: threads says 2, async 3", result)

    def compare_with_a_cancelled_level(self, path, *options):
        url = self.page(path, never(self.server), body(b"two words"))
        process = self.daemon.pppctl_start("compare", "words", url, "--levels", "serial,async", *options)
        self.addCleanup(process.end)
        wait_until(lambda: self.server.counts[path], "the request of the first level")
        job, = self.daemon.unfinished()
        self.daemon.cancel(job)
        result = process.wait()
        self.assertEqual(result.status, 1, result)
        return job, result

    def test_a_level_that_is_cancelled_has_no_row(self):
        job, result = self.compare_with_a_cancelled_level("/cancelled")
        table = result.out[result.out.index("LEVEL"):]
        self.assertRegex(table, rf"serial: job {job} cancelled \(a user asked for it\)", result)
        self.assertNotRegex(table, r"(?m)^serial +\d", result)
        self.assertRegex(table, r"(?m)^async +\d", result)
        self.assertNotRegex(table, r"\d\.\d\dx", result)

    def test_json_of_a_level_that_is_cancelled(self):
        job, result = self.compare_with_a_cancelled_level("/cancelled-json", "--json")
        serial, fibers = json.loads(result.out)["levels"]
        self.assertEqual(serial, {"level": "serial", "runs": [],
                                  "unfinished": [{"job": job, "state": "cancelled", "reason": "cancelled"}]}, result)
        self.assertEqual(len(fibers["runs"]), 1)
        self.assertNotIn("speed_up_ratio", fibers)

    def test_commands_that_end_alike(self):
        result = self.daemon.pppctl("compare", "exec", "--json", "--", "sh", "-c", "seq 1000; exit {}", ":::", "0", "3")
        self.assertEqual(result.status, 1, result)
        told = json.loads(result.out)
        self.assertTrue(told["values_agree"], result)
        self.assertEqual([level["level"] for level in told["levels"] if level["runs"]],
                         ["serial", "threads", "processes", "async"])
        self.assertIn("what the commands print is thrown away", result.err)
        self.assertIn("nodes run no commands", result.out + result.err)

    def test_commands_that_end_otherwise(self):
        """The first says so once, the second time it does not; at a third level it is gone."""
        script = f"cd {self.path('.')}; if mkdir one 2>/dev/null; then exit 4; fi; mkdir two 2>/dev/null || kill -KILL $$"
        result = self.daemon.pppctl("compare", "exec", "-q", "--levels", "serial,threads,async", "--",
                                    "sh", "-c", script, "sh", ":::", "x")
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.err, r'levels disagree on "x": serial says .*4.*, threads exit 0')
        self.assertRegex(result.err, r"serial says .*4.*, async .*(KILL|signal 9|Killed)")

    def test_what_is_no_command(self):
        self.assert_says(self.daemon.pppctl("compare", "exec"), 2, "pppctl compare exec -- gzip")
        self.assert_says(self.daemon.pppctl("compare", "exec", "x", "--", "true"), 2, '"x" is too much')
        self.assert_says(self.daemon.pppctl("compare", "exec", "--levels", "machines", "--", "true", ":::", "x"), 2,
                         "nodes run no")
        self.assert_says(self.daemon.pppctl("compare", "exec", "--output", "none", "--", "true"), 2, "no option of compare")
        self.assert_says(self.daemon.pppctl("compare", "sum", "--shell", "1"), 2, "--shell is about commands")
