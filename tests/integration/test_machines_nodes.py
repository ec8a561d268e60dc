"""The machines level when nodes die, leave, or are cut off: no result lost, none doubled, and no long wait."""

import signal
import time

from harness.fleet import HEARTBEAT, FleetCase, naps
from harness.poll import wait_until
from harness.process import alive



class Nodes(FleetCase):
    def test_the_work_is_shared(self):
        """Three nodes, one of each level; each of them did some of it."""
        nodes = [self.node(level, level=level) for level in ("threads", "processes", "async")]
        inputs, expected = naps(400, 0.01)
        job = self.job("sleep", inputs)
        self.assert_all_done(job, expected)
        redis = self.connect()
        done = self.done_by(redis, nodes, len(inputs))
        self.assertEqual(sum(done.values()), len(inputs), "each task was run once")
        self.assertTrue(all(done.values()), done)
        self.assertEqual(len({row.worker for row in job.rows()}), 3, "records tell the node")

    def killed(self, levels, n=600):
        """All nodes but the last die in mid-job, one after the other."""
        nodes = [self.node(f"{level}-{i}", level=level) for i, level in enumerate(levels)]
        redis = self.connect()
        inputs, expected = naps(n, 0.02)
        job = self.job("sleep", inputs)
        for i, node in enumerate(nodes[:-1]):
            job.await_done((i + 1) * n // 6)
            wait_until(lambda: self.held(redis, node.name), f"chunks of {node.name}")
            node.kill()
            self.assertTrue(self.held(redis, node.name), "it died with work in hand")
        self.assert_all_done(job, expected)
        self.assert_taken_over(job)
        self.assertEqual(redis("XLEN", self.key("chunks:sleep:host")), 0)
        return job

    def assert_taken_over(self, job):
        """By nodes, who look every heartbeat: the coordinator misses a chunk after two, and sends it again."""
        self.assertEqual(job.measured()["machines"]["chunks_resent"], 0, job.measured())

    def test_killed_threads(self):
        self.killed(["threads"] * 3)

    def test_killed_processes(self):
        self.killed(["processes"] * 3)

    def test_killed_async(self):
        self.killed(["async"] * 3)

    def test_the_wait_after_a_death_is_the_heartbeat(self):
        """Nothing else to do: what the dead node held begins again one heartbeat after its death."""
        heartbeat, nap = 3.0, 5         # the second has started before they end
        first = self.node("first", heartbeat=heartbeat)
        inputs, expected = naps(2, nap)
        job = self.job("sleep", inputs, heartbeat=heartbeat)
        redis = self.connect()
        wait_until(lambda: sum(map(len, self.held(redis, "first").values())) == 2, "both tasks in its hands")
        self.node("second", heartbeat=heartbeat, workers=2)
        at = first.kill()
        self.assert_all_done(job, expected)
        rows, epoch = job.rows(), job.header().epoch_ns
        again = [row for row in rows if epoch + row.end_ns > at]
        self.assertTrue(again, "it died in the middle")
        self.assert_taken_over(job)
        self.assertGreater(min(epoch + row.start_ns - at for row in again) / 1e9, heartbeat / 2,
                           "a live node would have kept it")

    def test_a_death_behind_many_long_tasks(self):
        """What live nodes hold for long stands before it in the list; it is found all the same."""
        self.node("busy", level="async", workers=40)
        redis = self.connect()
        long = self.job("sleep", ["60s"] * 40)
        wait_until(lambda: sum(map(len, self.held(redis, "busy").values())) == 40, "40 tasks in hand")
        first = self.node("first", workers=1)
        job = self.job("sleep", ["500ms"], number=2)
        wait_until(lambda: self.held(redis, "first"), "the task in hand")
        first.kill()
        self.node("heir", workers=1)
        self.assert_all_done(job, [500_000_000])
        self.assert_taken_over(job)
        long.signal(signal.SIGTERM)
        self.assertEqual(long.wait(10), 3, long.output())

    def test_the_engine_side_alone_is_killed(self):
        """Only the process that talks to Redis: the node's other processes do not live on."""
        first, second = self.node("first", level="processes"), self.node("second")
        inputs, expected = naps(300, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(60)
        pids = first.processes()
        first.signal(signal.SIGKILL)
        first.wait()
        self.assert_all_done(job, expected)
        wait_until(lambda: not any(map(alive, pids)), "its processes to end")
        self.assertTrue(second.running())

    def test_no_node_is_left(self):
        """The job waits, says so, and goes on with a node that comes later."""
        from harness.results import conditions
        first = self.node("first")
        inputs, expected = naps(200, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(40)
        first.kill()
        wait_until(lambda: job.header().condition == conditions()["NO_NODE"], lambda: str(job.header()))
        self.assert_says_job(job, "node")
        self.node("second")
        self.assert_all_done(job, expected)

    def cut_off(self, until):
        """A node loses the network with work in hand, which others do; it is back when until(node) is true."""
        if not self.network:
            self.skipTest(self.no_network)
        nodes = [self.node("first"), self.node("second")]
        redis = self.connect()
        inputs, expected = naps(24, 0.4)
        inputs[0] = "600s"              # the job is still there when the node is back, however long that takes
        job = self.job("sleep", inputs)
        job.await_done(4)
        # The long task is the other node's, so that the cut does not begin it again.
        lost = next(node for node in nodes if not any(0 in tasks for tasks in self.held(redis, node.name).values()))
        wait_until(lambda: self.held(redis, lost.name), "work in hand")
        self.network.cut(lost.port)
        job.await_done(len(inputs) - 1, 60)
        before = job.rows()
        wait_until(lambda: until(lost), lost.output)
        results = self.key("results:") + self.job_id(redis)
        came = int(redis.pairs("XINFO", "STREAM", results)["entries-added"])
        self.network.mend(lost.port)
        # The coordinator removes an entry when it has recorded it.
        wait_until(lambda: int(redis.pairs("XINFO", "STREAM", results)["entries-added"]) > came
                   and redis("XLEN", results) == 0, "its results, and that they are read", 60)
        # Its results have a connection of their own, which may be there before the one by which the node says so.
        wait_until(lambda: lost.output().count("cannot reach Redis") == lost.output().count("is there again"), lost.output, 60)
        self.assertTrue(all(node.running() for node in nodes))
        job.signal(signal.SIGTERM)
        self.assertEqual(job.wait(), 3, job.output())
        self.assertEqual(job.rows(), before, "a record is written once")
        self.assertEqual([row and row.value for row in before], [None, *expected[1:]])
        self.assertEqual(job.header().n_done, len(inputs) - 1, "counted once")
        self.assertGreater(job.measured()["machines"]["results_duplicate"], 0, job.output())
        return lost

    def test_cut_off_for_a_moment(self):
        """Where the connection lives through it, only what the node held is somebody else's."""
        lost = self.cut_off(lambda _: True)
        # A machine that is busy may take so long over the others' tasks that the connection does not.
        said = ["cannot reach Redis", "is there again"]
        self.assertEqual([word for line in lost.output().splitlines() for word in said if word in line],
                         said if lost.output() else [])

    def test_cut_off_for_long(self):
        """The node gives its connections up, says so, and brings its stale results on new ones."""
        lost = self.cut_off(lambda node: "cannot reach Redis" in node.output())
        self.assertRegex(lost.output(), "there again")
        self.assertEqual(len(lost.output().splitlines()), 2, "said once on each change")

    def test_a_long_task_stays_where_it_is(self):
        """Three times the heartbeat: nobody takes it from a node that lives."""
        nodes = [self.node("first"), self.node("second")]
        job = self.job("sleep", ["3s", "3000000001ns"])
        self.assert_all_done(job, [3 * 10 ** 9, 3 * 10 ** 9 + 1])
        redis = self.connect()
        self.assertEqual(sum(self.done_by(redis, nodes, 2).values()), 2)

    def test_stopped_in_order_gives_back(self):
        """SIGTERM: others go on at once, long before the heartbeat's time is over."""
        heartbeat = 30.0
        nodes = [self.node(f"node-{i}", heartbeat=heartbeat) for i in range(3)]
        inputs, expected = naps(600, 0.02)
        job = self.job("sleep", inputs, heartbeat=heartbeat)
        began = time.monotonic()
        for i, node in enumerate(nodes[:2]):
            job.await_done(100 * (i + 1))
            node.signal(signal.SIGTERM)
            self.assertEqual(node.wait(10), 0, node.output())
            self.assertFalse(self.is_listed(node.name), "it is gone from the list")
        self.assert_all_done(job, expected)
        self.assertLess(time.monotonic() - began, heartbeat - 5)

    def test_stopped_with_a_long_task(self):
        """It does not wait for its end; another node begins it again."""
        first = self.node("first", workers=1)
        redis = self.connect()
        job = self.job("sleep", ["60s"])
        wait_until(lambda: self.held(redis, "first"), "the task in hand")
        self.node("second")
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(30), 0, first.output())
        wait_until(lambda: self.held(redis, "second"), "the task in the other's hands")
        job.signal(signal.SIGTERM)
        self.assertEqual(job.wait(10), 3, job.output())

    def test_stopped_with_a_task_that_ends_in_time(self):
        """Nobody takes it from a node that is leaving and still at it."""
        heartbeat, nap = 4.0, 3.0
        first = self.node("first", workers=1, heartbeat=heartbeat)
        redis = self.connect()
        job = self.job("sleep", [f"{nap}s"], heartbeat=heartbeat)
        wait_until(lambda: self.held(redis, "first"), "the task in hand")
        second = self.node("second", heartbeat=heartbeat)
        first.signal(signal.SIGTERM)
        while first.running():
            self.assertFalse(self.held(redis, second.name), "it is the first's")
            time.sleep(0.05)
        self.assert_all_done(job, [int(nap * 1e9)])

    def test_names_that_are_not_seen_again(self):
        """Nodes whose names change with each start do not fill the list."""
        redis = self.connect()
        redis("ZADD", self.key("nodes"), time.time_ns() // 10 ** 6 - 25 * 3600 * 1000, "long-gone",
              time.time_ns() // 10 ** 6 - 3600 * 1000, "away")
        self.node("node")
        self.assertEqual(redis("ZRANGE", self.key("nodes"), 0, -1), [b"away", b"node"])

    def test_stopped_with_a_long_heartbeat(self):
        """No longer than the supervisor waits when it stops; the task comes back all the same."""
        first = self.node("first", workers=1, heartbeat=60.0)
        redis = self.connect()
        job = self.job("sleep", ["50s"], heartbeat=60.0)
        wait_until(lambda: self.held(redis, "first"), "the task in hand")
        self.node("second", heartbeat=60.0)
        first.signal(signal.SIGTERM)
        self.assertEqual(first.wait(40), 0, first.output())
        wait_until(lambda: self.held(redis, "second"), "the task in the other's hands")
        job.signal(signal.SIGTERM)
        self.assertEqual(job.wait(10), 3, job.output())
