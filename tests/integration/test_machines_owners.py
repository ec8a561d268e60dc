"""The machines level with jobs of several owners: what those of one do to a node is not for others to notice."""

import os
import signal

from harness import results
from harness.daemon import read_pids
from harness.fleet import FleetCase, naps
from harness.held import HeldAtEnd
from harness.poll import wait_until
from harness.process import alive, children_of


class Owners(FleetCase):
    number = 0
    env = {"PPPCTL_TEST_HURRY": "4"}        # who is not announced for 2.5 s has no job any more

    def job_of(self, owner, inputs, workload="sleep", **options):
        self.number += 1
        return self.job(workload, inputs, number=self.number, machines=self.machines(owner=owner), **options)

    def runner_of(self, node, redis, owner):
        """The process that has taken chunks of the owner, of whom the node has not heard before."""
        before = set(children_of(node.pid))
        self.jobs_begun = self.job_of(owner, ["60s"] * 4)
        wait_until(lambda: self.held(redis, node.name, owner=owner), lambda: f"tasks in hand\n{node.output()}")
        [runner] = set(children_of(node.pid)) - before
        return runner

    def level_of(self, runner):
        return wait_until(lambda: children_of(runner), "the level's process")[0]

    def assert_untouched(self, job, expected, runner=None):
        self.assert_all_done(job, expected)
        measured = job.measured()["machines"]
        self.assertEqual((measured["chunks_resent"], measured["results_duplicate"]), (0, 0), "none is run twice")
        if runner:
            self.assertTrue(alive(runner), "its runner is the same")

    def cancel(self, *jobs):
        for job in jobs:
            job.signal(signal.SIGTERM)
            self.assertEqual(job.wait(), 3, job.output())

    def test_workers_that_are_all_busy(self):
        """With tasks of a minute, or at async a loop that computes for long: others have workers of their own."""
        for level, workload, long in (("threads", "sleep", "60s"), ("processes", "sleep", "60s"),
                                      ("async", "sum", "4000000000")):
            with self.subTest(level):
                node = self.node(level, level=level)
                redis = self.connect()
                busy = self.job_of("one:1", [long] * 200, workload)
                wait_until(lambda: self.held(redis, level, workload, "one:1"), "tasks in hand")
                inputs, expected = naps(60, 0.01)
                self.assert_untouched(self.job_of("two:1", inputs), expected)
                self.assertTrue(busy.running(), busy.output())
                self.cancel(busy)
                node.end()

    def test_a_level_that_is_killed(self):
        """What was in progress of that owner has failed, and it is served again; nothing of others has."""
        for level in ("threads", "async"):
            with self.subTest(level):
                redis = self.connect()
                redis("DEL", self.key("owners"))        # those of the level before
                node = self.node(level, level=level)
                one = self.runner_of(node, redis, f"one-{level}")
                long = self.jobs_begun
                inputs, expected = naps(300, 0.01)
                job = self.job_of(f"two-{level}", inputs)
                job.await_done(20)
                [two] = set(children_of(node.pid)) - {one}
                os.kill(self.level_of(one), signal.SIGKILL)
                self.assert_untouched(job, expected, two)
                wait_until(lambda: long.header().n_failed >= 1, lambda: f"what was in progress\n{node.output()}")
                row = next(row for row in long.rows() if row)
                self.assertEqual((row.state, row.reason, row.detail),
                                 (results.FAILED, results.reasons()["SIGNAL"], signal.SIGKILL))
                self.cancel(long)
                self.assertTrue(node.running())
                node.end()

    def test_a_level_whose_worker_has_not_ended(self):
        """Its chunks are given to nobody before that has gone; and its group is not used again."""
        if not self.group:
            self.skipTest("no cgroups here")
        node, redis = self.node("node", level="processes", workers=1), self.connect()
        one = self.runner_of(node, redis, "one:1")
        job, level = self.jobs_begun, self.level_of(one)
        [worker] = wait_until(lambda: children_of(level), "a worker")
        try:
            held = HeldAtEnd(worker)
        except OSError as error:
            self.skipTest(str(error))
        os.kill(level, signal.SIGKILL)
        held.wait()
        for _ in range(2):
            seen = float(redis("ZSCORE", self.key("nodes"), "node"))
            wait_until(lambda: float(redis("ZSCORE", self.key("nodes"), "node")) > seen, "a heartbeat")
        self.assertEqual(node.output(), "", "nothing is taken for failed yet")
        self.assertFalse(set(children_of(one)) - {level}, "no other level")
        held.release()
        wait_until(lambda: "the level's process was ended by signal 9" in node.output(), "its tasks to fail")
        wait_until(lambda: "worker-1" in self.worker_groups(node), lambda: f"{self.worker_groups(node)}")
        self.cancel(job)

    def worker_groups(self, node):
        return [name for name in os.listdir(os.path.join(node.group, "owner-0")) if name.startswith("worker-")]

    def test_a_runner_that_is_killed(self):
        """As a node that dies, for one owner: its chunks are run again, by the runner that is started anew."""
        node, redis = self.node("node"), self.connect()
        inputs, expected = naps(500, 0.02)
        first = self.job_of("one:1", inputs)
        first.await_done(10)
        [one] = children_of(node.pid)
        os.kill(self.level_of(one), signal.SIGSTOP)     # so that it has chunks in hand, however long the rest takes
        others, others_expected = naps(300, 0.01)
        second = self.job_of("two:1", others)
        second.await_done(20)
        [two] = set(children_of(node.pid)) - {one}
        wait_until(lambda: self.held(redis, "node", owner="one:1"), "chunks in hand")
        os.kill(one, signal.SIGKILL)
        self.assert_untouched(second, others_expected, two)
        self.assert_all_done(first, expected)
        self.assertRegex(node.output(), "runner for one:1 was ended by signal 9")
        self.assertNotIn(one, children_of(node.pid))

    def test_a_runner_that_stands_still(self):
        """Others go on, and so does the node's heartbeat."""
        node, redis = self.node("node"), self.connect()
        one = self.runner_of(node, redis, "one:1")
        pids = [one, self.level_of(one)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        seen = float(redis("ZSCORE", self.key("nodes"), "node"))
        inputs, expected = naps(200, 0.01)
        self.assert_untouched(self.job_of("two:1", inputs), expected)
        wait_until(lambda: float(redis("ZSCORE", self.key("nodes"), "node")) > seen, "a heartbeat")
        # Late, not lost: another node runs what the first has in hand and does not speak for.
        self.node("other")
        wait_until(lambda: self.held(redis, "other", owner="one:1"), "its chunks to be taken over")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        self.cancel(self.jobs_begun)

    def test_groups(self):
        """Each runner is in a group of its own, with what it has started; and both go when they are not needed."""
        if not self.group:
            self.skipTest("no cgroups here")
        node, redis = self.node("node", level="processes"), self.connect()
        one = self.runner_of(node, redis, "one:1")
        first = self.jobs_begun
        two = self.runner_of(node, redis, "two:1")
        for i, runner in enumerate((one, two)):
            group = os.path.join(node.group, f"owner-{i}")
            self.assertEqual(sorted(read_pids(os.path.join(group, "runner"))), sorted([runner, *children_of(runner)]))
            workers = wait_until(lambda: children_of(children_of(runner)[0]), "workers")
            self.assertEqual(read_pids(os.path.join(group, "worker-0")), workers[:1])
        self.assertEqual(read_pids(os.path.join(node.group, "runner")), [node.pid])
        self.cancel(first, self.jobs_begun)
        wait_until(lambda: not children_of(node.pid), "runners that nobody needs to end", 60)
        wait_until(lambda: not any(name.startswith("owner-") for name in os.listdir(node.group)), "their groups gone")
        self.assertEqual(node.output(), "")
        inputs, expected = naps(10, 0.01)
        self.assert_untouched(self.job_of("one:1", inputs), expected)

    def test_more_than_have_a_place(self):
        """One at a time: each has its turn, though the first never has nothing to do."""
        self.node("node", owners=1)
        inputs, expected = naps(4000, 0.01)
        first = self.job_of("one:1", inputs)
        first.await_done(10)
        others = [self.job_of(f"other:{i}", naps(20, 0.01)[0]) for i in range(2)]
        for other in others:
            self.assert_untouched(other, naps(20, 0.01)[1])
        self.assertLess(first.header().n_done, 4000, "before the first was done")
        self.assertTrue(first.running())
        self.cancel(first)
        self.assertEqual(first.header().n_failed, 0)

    def test_the_one_place_is_taken_for_long(self):
        """Nobody is thrown out: who waits is served when the task in hand has ended."""
        node = self.node("node", owners=1, workers=1)
        redis = self.connect()
        first = self.job_of("one:1", ["3s", "10ms", "10ms"])
        wait_until(lambda: self.held(redis, "node", owner="one:1"), "the task in hand")
        second = self.job_of("two:1", ["10ms"] * 3)
        self.assert_untouched(second, [10_000_000] * 3)
        self.assertTrue(first.rows()[0], "the long task had ended")
        self.assert_untouched(first, [3 * 10 ** 9, 10_000_000, 10_000_000])
        self.assertEqual(node.output(), "")

    def test_what_somebody_else_put_there(self):
        """Owners that cannot be, chunks of one in the stream of another: no crash, and others are served."""
        node, redis = self.node("node"), self.connect()
        inputs, expected = naps(200, 0.01)
        job = self.job_of("one:1", inputs)
        job.await_done(10)
        for fields in ({"hello": "world"}, {"workload": "cook", "owner": "x"}, {"workload": "sleep", "owner": ""},
                       {"workload": "sleep", "owner": "x" * 145}, {"workload": "sleep", "owner": "a b"},
                       {"workload": "sleep", "owner": "x", "more": "1"}):
            redis("XADD", self.key("owners"), "*", *[word for pair in fields.items() for word in pair])
        # The job is there, and it is not this owner's.
        redis("XADD", self.key("chunks:sleep:evil"), "*", "job", self.job_id(redis), "first", 0, "n", 1, "inputs", "0\n")
        redis("XADD", self.key("owners"), "*", "workload", "sleep", "owner", "evil")
        wait_until(lambda: redis("XLEN", self.key("chunks:sleep:evil")) == 0, lambda: f"it gone\n{node.output()}")
        self.assert_untouched(job, expected)
        self.assertEqual(len([line for line in node.output().splitlines() if "stream of owners" in line]), 1)
        self.assertRegex(node.output(), "cannot take chunks of the job")
        self.assertTrue(node.running())

    def test_more_than_are_kept(self):
        """Names by the thousand do not fill the node, and those that have chunks are served in their turn."""
        node, redis = self.node("node"), self.connect()
        for i in range(1500):
            redis("XADD", self.key("owners"), "*", "workload", "sleep", "owner", f"nobody:{i}")
        wait_until(lambda: "owners have jobs" in node.output(), node.output)
        self.assertLessEqual(len(children_of(node.pid)), 4)
        inputs, expected = naps(10, 0.01)
        self.assert_all_done(self.job_of("one:1", inputs), expected)
