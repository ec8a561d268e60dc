"""Jobs that are ended early by what becomes of their tasks, and tasks that begin one after the other."""

import itertools

from harness.case import Case
from harness.poll import wait_until
from harness.results import DONE, FAILED

HALTING = ("serial", "threads", "processes", "async")
BAD, GOOD, LONG = "nonsense", "1ms", "40s"


class Halt(Case):
    def halted(self, level, halt, inputs, workers=2, **options):
        if level != "serial":
            options["workers"] = workers
        job = self.daemon.submit(level, "sleep", inputs, halt=halt, **options)
        return job, self.daemon.wait(job)

    def test_soon_lets_end_what_runs(self):
        """One worker is at a task while the other meets two failures; nothing begins after these."""
        for level in HALTING[1:]:
            with self.subTest(level=level):
                job, ended = self.halted(level, "soon,fail=2", ["300ms", BAD, BAD, LONG, LONG, LONG])
                self.assertEqual((ended["state"], ended["tasks_done"], ended["tasks_failed"]), ("cancelled", 1, 2))
                self.assertEqual(ended["reason"], "halted: 2 tasks have failed, and --halt is soon,fail=2")
                self.assertEqual([row and row.state for row in self.daemon.rows(job)],
                                 [DONE, FAILED, FAILED, None, None, None])

    def test_now_cancels_what_runs(self):
        for level in HALTING:
            with self.subTest(level=level):
                inputs = [BAD, GOOD, LONG, LONG] if level == "serial" else [LONG, BAD, GOOD, LONG, LONG]
                job, ended = self.halted(level, "now,done=1", inputs)
                self.assertEqual((ended["state"], ended["tasks_done"], ended["tasks_failed"]), ("cancelled", 1, 1))
                self.assertEqual(ended["reason"], "halted: 1 task is done, and --halt is now,done=1")
                self.assertLess(ended["summary"]["wall_seconds"], 20)

    def test_a_share_is_of_all_tasks(self):
        for level in HALTING:
            with self.subTest(level=level):
                _, ended = self.halted(level, "now,fail=50%", [BAD, GOOD, BAD, LONG], workers=1)
                self.assertEqual((ended["state"], ended["tasks_done"], ended["tasks_failed"]), ("cancelled", 1, 2))
                _, ended = self.halted(level, "now,fail=50%", [BAD, GOOD, GOOD])
                self.assertEqual((ended["state"], ended["tasks_done"], ended["tasks_failed"]), ("done", 2, 1))

    def test_the_last_task_is_no_early_end(self):
        _, ended = self.halted("async", "soon,fail=1", [GOOD, BAD], workers=1)
        self.assertEqual(ended["state"], "done")
        self.assertNotIn("reason", ended)

    def test_a_worker_that_dies_counts(self):
        job = self.daemon.submit("processes", "mix", ["exit=3", "sleep=40s", "sleep=40s"], workers=1, halt="soon,fail=1")
        ended = self.daemon.wait(job)
        self.assertEqual((ended["state"], ended["tasks_done"], ended["tasks_failed"]), ("cancelled", 0, 1))

    def test_after_a_supervisor_was_killed(self):
        """Nobody saw the runner's end: the next one has nothing to begin with."""
        daemon = self.fresh("killed")
        job = daemon.submit("serial", "sleep", [BAD, "1s", BAD, LONG], halt="soon,fail=2")
        wait_until(lambda: daemon.show(job)["tasks_failed"] == 1, "the first task")
        daemon.kill()
        daemon.start()
        ended = daemon.wait(job)
        self.assertEqual((ended["state"], ended["tasks_failed"]), ("cancelled", 2))
        self.assertRegex(ended["reason"], "^halted: ")

    def test_status(self):
        """Enough that is done is what was asked for; a failure is one."""
        args = ("-q", "--workers", 1, "--", "sh", "-c", "{}", ":::")
        result = self.daemon.pppctl("run", "threads", "exec", "--halt", "soon,done=1", *args, "true", "sleep 40")
        self.assertEqual(result.status, 0, result)
        result = self.daemon.pppctl("run", "threads", "exec", "--halt", "soon,fail=1", *args, "false", "sleep 40")
        self.assertEqual(result.status, 1, result)

    def test_the_rest_can_be_run_later(self):
        job, _ = self.halted("threads", "soon,fail=1", [BAD, GOOD, GOOD], workers=1)
        self.assert_says(self.daemon.pppctl("rerun", job, "--halt", "soon,fail=2"), 1, "3 tasks, 1 failed")

    def test_what_is_none(self):
        for text in ("soon", "now,fail", "later,fail=1", "now,fail=0", "now,fail=101%", "soon,done=10%", "now,fail=1x",
                     "now,fail=99999999999", "", "now,"):
            with self.subTest(text=text):
                self.assert_says(self.daemon.pppctl("run", "serial", "sum", "--halt", text, "1"), 2, "--halt", "give soon")
        self.assert_says(self.daemon.pppctl("run", "machines", "sum", "--halt", "now,fail=1", "1"), 2, "--halt", "cancel")


class Delay(Case):
    def test_tasks_begin_one_after_the_other(self):
        """Of whichever worker, and no sooner."""
        for level in HALTING:
            with self.subTest(level=level):
                options = {} if level == "serial" else {"workers": 4}
                job = self.daemon.submit(level, "sleep", ["0ms"] * 5, delay_seconds=0.05, **options)
                self.daemon.wait(job)
                starts = sorted(row.start_ns for row in self.daemon.rows(job))
                gaps = [after - before for before, after in itertools.pairwise(starts)]
                self.assertEqual([gap for gap in gaps if gap < 50_000_000], [], "a task that came early")

    def test_the_wait_is_cancelled(self):
        for level in HALTING:
            with self.subTest(level=level):
                job = self.daemon.submit(level, "sleep", ["0ms"] * 3, delay_seconds=40)
                wait_until(lambda: any(self.daemon.rows(job)), "the first")
                self.assertEqual(self.daemon.cancel(job)["tasks_done"], 1)

    def test_none_begins_when_the_job_is_halted(self):
        for level in HALTING:
            with self.subTest(level=level):
                options = {} if level == "serial" else {"workers": 3}
                job = self.daemon.submit(level, "sleep", ["100ms", GOOD, GOOD], delay_seconds=0.3, halt="soon,done=1",
                                         **options)
                self.assertEqual(self.daemon.wait(job)["tasks_done"], 1)

    def test_machines_have_none(self):
        self.assert_says(self.daemon.pppctl("run", "machines", "sum", "--delay", "1s", "1"), 2, "--delay", "nodes")
