"""Running what failed, or was left undone, once more in the same job."""

import os

from harness import results
from harness.case import LEVELS, Case
from harness.daemon import PPPCTL
from harness.poll import wait_until
from harness.results import DONE, FAILED, reasons
from harness.varlink import Error

MANY = 70_000                           # more than are counted in the supervisor itself


class Rerun(Case):
    def ended(self, level, workload, inputs, **options):
        job = self.daemon.submit(level, workload, inputs, **options)
        return job, self.daemon.wait(job)

    def rerun(self, job, **parameters):
        return self.daemon.call("Rerun", {"job": job, **parameters})["job"]

    def assert_refused(self, name, parameters, pattern):
        with self.assertRaises(Error) as caught:
            self.daemon.call("Rerun", parameters)
        self.assertEqual(caught.exception.name, f"{PPPCTL}.{name}")
        self.assertRegex(str(caught.exception.parameters), pattern)

    def test_what_failed_at_each_level(self):
        there = self.write("there", b"two words")
        for level in LEVELS:
            with self.subTest(level=level):
                missing = self.path(f"missing-{level}")
                job, before = self.ended(level, "words", [there, missing, "/", there])
                self.assertEqual((before["tasks_done"], before["tasks_failed"]), (2, 2))
                old = self.daemon.rows(job)
                with open(missing, "w") as file:
                    file.write("now three words")
                result = self.daemon.pppctl("rerun", job)
                self.assert_says(result, 1, rf"job {job} done: 4 tasks, 1 failed")
                new = self.daemon.rows(job)
                self.assertEqual([new[0], new[3]], [old[0], old[3]], "what was done is as it was")
                self.assertEqual((new[1].state, new[1].value), (DONE, 3))
                self.assertEqual((new[2].state, new[2].reason), (FAILED, reasons()["READ"]))
                self.assertGreater(new[2].start_ns, max(row.end_ns for row in old), "it ran again")
                shown = self.daemon.show(job)
                self.assertEqual((shown["state"], shown["tasks_done"], shown["tasks_failed"]), ("done", 3, 1))
                self.assertEqual(shown["summary"]["tasks_done"], 3)

    def test_only_some_reasons(self):
        missing = self.path("missing-reason")
        job, _ = self.ended("threads", "words", [missing, "gopher://x/", "/"])
        old = self.daemon.rows(job)
        self.assertEqual(self.daemon.pppctl("rerun", job, "-q", "--reason", "open", "--reason", "timeout").status, 1)
        new = self.daemon.rows(job)
        self.assertEqual(old[1:], new[1:])
        self.assertGreater(new[0].start_ns, old[0].end_ns)

    def test_what_was_left_undone(self):
        for level in LEVELS:
            with self.subTest(level=level):
                job = self.daemon.submit(level, "sleep", ["soon", "1ms", "40s", "50s"])
                wait_until(lambda: all(self.daemon.rows(job)[:2]), "the first results")
                self.assertEqual(self.daemon.cancel(job)["tasks_done"], 1)
                old = self.daemon.rows(job)
                result = self.daemon.pppctl("rerun", job, "--unfinished", "--task-timeout", "50ms")
                self.assert_says(result, 1, rf"job {job} done: 4 tasks, 3 failed")
                new = self.daemon.rows(job)
                self.assertEqual(new[:2], old[:2], "what has a result does not run again")
                self.assertEqual([row.reason for row in new[2:]], [reasons()["TIMEOUT"]] * 2)
                self.assertEqual(self.daemon.show(job)["spec"]["task_timeout_seconds"], 0.05)
                self.assertNotIn("reason", self.daemon.show(job), "the job is not cancelled any more")

    def test_time_counts_anew(self):
        job, ended = self.ended("serial", "sleep", ["60s"], timeout_seconds=0.3)
        self.assertIn("timeout", ended["reason"])
        result = self.daemon.pppctl("rerun", job)
        self.assert_says(result, 1, "--time-max")
        wall = self.daemon.show(job)["summary"]["wall_seconds"]
        self.assertGreaterEqual(wall, 0.6, "both runs count")
        self.assert_says(self.daemon.pppctl("rerun", job, "--time-max", "30s", "--task-timeout", "10ms"), 1, "1 failed")

    def test_usage_is_added_up(self):
        job, ended = self.ended("serial", "mix", ["cpu=40ms", "exit=1"], retries=0)
        first = ended["summary"]["cpu_user_seconds"] + ended["summary"]["cpu_system_seconds"]
        self.rerun(job, changes={"nice": 1})
        summary = self.daemon.wait(job)["summary"]
        self.assertGreater(summary["cpu_user_seconds"] + summary["cpu_system_seconds"], first)
        self.assertTrue(summary["resumed"])

    def test_totals_count_what_ran(self):
        daemon = self.fresh("totals")

        def total(name, **labels):
            lines = daemon.pppctl("metrics").out.splitlines()
            wanted = [f'{key}="{value}"' for key, value in labels.items()]
            return sum(float(line.split()[-1]) for line in lines
                       if line.startswith(f"pppctl_{name}{{") and all(label in line for label in wanted))
        missing = self.path("missing-totals")
        job = daemon.submit("serial", "words", [missing, "/", self.write("there", b"word")])
        cpu = daemon.wait(job)["summary"]["cpu_user_seconds"]
        with open(missing, "w") as file:
            file.write("word")
        self.assertEqual(daemon.pppctl("rerun", job, "-q").status, 1)
        summary = daemon.show(job)["summary"]
        self.assertEqual(total("jobs_total"), 2, "it ended twice")
        self.assertEqual(total("tasks_total", outcome="done"), 2)
        self.assertEqual(total("tasks_total", outcome="failed"), 3)
        self.assertEqual(total("job_wall_seconds_count"), 1)
        self.assertGreaterEqual(summary["cpu_user_seconds"], cpu)
        self.assertAlmostEqual(total("cpu_user_seconds_total"), summary["cpu_user_seconds"], 6)

    def test_a_supervisor_that_is_killed(self):
        """What was asked for is done by the next one, once."""
        daemon = self.fresh("killed")
        self.write("many", b"1\n" * MANY + b"six\n")
        job = int(daemon.pppctl("run", "threads", "sum", "--from", self.path("many"), "--detach").out)
        daemon.wait(job)
        old = daemon.rows(job)
        self.assertEqual(daemon.call("Rerun", {"job": job})["job"]["state"], "queued")
        daemon.kill()
        daemon.start()
        self.assertEqual(daemon.wait(job)["state"], "done")
        new = daemon.rows(job)
        self.assertEqual(new[:-1], old[:-1])
        self.assertGreater(new[-1].start_ns, old[-1].end_ns)
        header = results.header(os.path.join(daemon.state, "jobs", str(job), "results"))
        self.assertEqual((header.n_done, header.n_failed), (MANY, 1))

    def test_commands_count_their_attempts(self):
        path = self.path("marker")
        script = f"echo run; test -e {path}"
        job = int(self.daemon.pppctl("run", "async", "exec", "--detach", "--", "sh", "-c", script, ":::", "a").out)
        self.assertEqual(self.daemon.wait(job)["tasks_failed"], 1)
        self.write("marker", b"")
        self.assertEqual(self.daemon.pppctl("rerun", job).status, 0)
        self.assertIn("attempt 2", self.daemon.pppctl("results", job).out)
        self.assertEqual(self.daemon.pppctl("logs", job).out, "run\n")

    def test_detached(self):
        job, _ = self.ended("serial", "sleep", ["60s"], task_timeout_seconds=0.01)
        result = self.daemon.pppctl("rerun", job, "--detach", "--task-timeout", "60s")
        self.assertEqual((result.status, result.out, result.err), (0, "", ""))
        self.assertIn(self.daemon.show(job)["state"], ("queued", "running"))
        self.assertNotIn("summary", self.daemon.show(job), "that is of the last end")
        self.assert_says(self.daemon.pppctl("rerun", job), 1, "has not ended: it is (queued|running)", "pppctl wait JOB")
        self.daemon.cancel(job)

    def test_what_cannot_be(self):
        done, _ = self.ended("serial", "sum", ["1"])
        failed, _ = self.ended("serial", "sum", ["six"])
        self.assert_says(self.daemon.pppctl("rerun", done), 2, "all of its tasks are done")
        self.assert_says(self.daemon.pppctl("rerun", 999_999), 4, "there is no job 999999")
        self.assert_says(self.daemon.pppctl("rerun", failed, "--reason", "bad-luck"), 2, '"bad-luck"')
        self.assert_says(self.daemon.pppctl("rerun", failed, "--unfinished", "--reason", "open"), 2, "leave one")
        self.assert_says(self.daemon.pppctl("rerun", failed, "--unfinished", "--failed"), 2, "leave both out")
        self.assert_refused("BadRequest", {"job": failed, "changes": {"level": "async"}}, "level.*a job keeps this")
        self.assert_refused("BadRequest", {"job": failed, "changes": {"retries": -1}}, "spec.retries")
        self.assert_refused("BadRequest", {"job": failed, "changes": []}, "not an object")
        self.assert_refused("BadRequest", {"job": failed, "reasons": "open"}, "not an array")
        self.assert_refused("BadRequest", {"job": failed, "reasons": [1]}, "no reason")
        self.assert_refused("BadRequest", {"job": failed, "level": "async"}, "level")
        self.assertEqual(self.daemon.show(failed)["tasks_failed"], 1, "it is as it was")

    def test_results_that_are_gone(self):
        daemon = self.fresh("gone")
        job = daemon.submit("serial", "sum", ["six"])
        daemon.wait(job)
        os.truncate(os.path.join(daemon.state, "jobs", str(job), "results"), 100)
        result = daemon.pppctl("rerun", job)
        self.assert_says(result, 1, "cannot", "damaged", "submit its inputs anew")
        self.assertEqual(daemon.show(job)["state"], "done")
