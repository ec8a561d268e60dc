"""The coordinator of a job at the machines level: killed and taken up again, cancelled, beside others."""

import signal
import time

from harness import results
from harness.fleet import HEARTBEAT, FleetCase, naps
from harness.poll import wait_until


class Coordinator(FleetCase):
    def test_killed_and_taken_up_again(self):
        """What nodes did meanwhile counts, and nothing is run twice."""
        nodes = [self.node(f"node-{i}") for i in range(3)]
        redis = self.connect()
        inputs, expected = naps(600, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(100)
        job.kill()
        before = job.rows()
        # The nodes go on with what they have; its results wait in the stream.
        wait_until(lambda: not any(self.held(redis, node.name) for node in nodes), "the nodes to have ended all")
        waiting = redis("XLEN", self.key(f"results:{self.job_id(redis)}"))
        self.assertGreater(waiting, 0)
        job.start_again()
        self.assert_all_done(job, expected)
        after = job.rows()
        self.assertEqual([(i, row) for i, row in enumerate(before) if row and after[i] != row], [], "written once")
        done = self.done_by(redis, nodes, len(inputs))
        self.assertEqual(sum(done.values()), len(inputs), f"no task was run twice: {done} {job.measured()}")
        # Which of the nodes of before is which of those of now, nobody knows.
        self.assertNotIn("imbalance_ratio", job.measured())
        self.assertIn("imbalance_ratio", [entry["metric"] for entry in job.measured()["unavailable"]])

    def test_killed_again_and_again(self):
        """Every 60 tasks; each time while chunks and results are on their way."""
        nodes = [self.node(f"node-{i}", level=level) for i, level in enumerate(("threads", "processes", "async"))]
        inputs, expected = naps(600, 0.02)
        job = self.job("sleep", inputs)
        kills = 0
        while job.header().n_done < 480:
            job.await_done(job.header().n_done + 60)
            job.kill()
            kills += 1
            job.start_again()
        self.assert_all_done(job, expected)
        self.assertGreater(kills, 3)
        self.assertTrue(all(node.running() for node in nodes))

    def test_cancelled(self):
        """Its keys and chunks are gone at once, and nodes drop what they hold of it, even what runs."""
        nodes = [self.node(level, level=level) for level in ("threads", "processes", "async")]
        redis = self.connect()
        job = self.job("sleep", ["60s"] * 100)
        wait_until(lambda: all(self.held(redis, node.name) for node in nodes), "all nodes to be at work")
        job.signal(signal.SIGTERM)
        self.assertEqual(job.wait(10), 3, job.output())
        self.assertEqual(redis("KEYS", self.key("job:*")), [])
        wait_until(lambda: redis("XLEN", self.key("chunks:sleep:host")) == 0, "its chunks gone", 5)
        # They are free for another job.
        inputs, expected = naps(60, 0.01)
        self.assert_all_done(self.job("sleep", inputs, number=2), expected)
        wait_until(lambda: redis("KEYS", self.key("results:*")) == [], lambda: str(redis("KEYS", "*")))

    def test_cancelled_with_a_dead_node(self):
        """What that had in hand is off its list, which nobody else may ever look through."""
        node = self.node("node")
        redis = self.connect()
        job = self.job("sleep", ["60s"] * 10)
        wait_until(lambda: self.held(redis, "node"), "tasks in hand")
        node.kill()
        job.signal(signal.SIGTERM)
        self.assertEqual(job.wait(10), 3, job.output())
        self.assertEqual(redis("XPENDING", self.key("chunks:sleep:host"), "nodes")[0], 0)

    def test_cancelled_in_mid_heartbeat(self):
        """Answers that come after the end do not bring its keys back: nodes would go on with it."""
        self.node("node")
        redis = self.connect()
        job = self.job("sleep", ["60s"] * 10)
        wait_until(lambda: self.held(redis, "node"), "tasks in hand")
        self.redis.popen.send_signal(signal.SIGSTOP)
        time.sleep(HEARTBEAT)           # until the job has asked for its keys to be kept
        job.signal(signal.SIGTERM)
        time.sleep(0.2)                 # less than it waits for the answers
        self.redis.popen.send_signal(signal.SIGCONT)
        self.assertEqual(job.wait(10), 3, job.output())
        self.assertEqual(redis("KEYS", self.key("job:*")), [])

    def test_cancelled_while_redis_is_away(self):
        """Nobody waits for it; that the nodes could not be told is said."""
        self.node("node")
        redis = self.connect()
        job = self.job("sleep", ["60s"] * 10)
        wait_until(lambda: self.held(redis, "node"), "tasks in hand")
        self.redis.stop(signal.SIGKILL)
        wait_until(lambda: job.header().condition == results.conditions()["ENGINE_UNREACHABLE"], lambda: str(job.header()))
        job.signal(signal.SIGTERM)
        self.assertEqual(job.wait(5), 3, job.output())
        self.assertRegex(job.output(), r"nodes cannot be told that the job is over: .* \d+ tasks")

    def test_paused_until_its_keys_are_gone(self):
        """For over an hour, that is: what nodes did of it meanwhile is lost, and done again."""
        node = self.node("node")
        redis = self.connect()
        inputs, expected = naps(100, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(20)
        job.signal(signal.SIGSTOP)
        wait_until(lambda: not self.held(redis, node.name), "the node to have ended all")
        name = self.job_id(redis)
        redis("DEL", self.key(f"job:{name}"), self.key(f"results:{name}"))
        job.signal(signal.SIGCONT)
        self.assert_all_done(job, expected)
        self.assert_says_job(job, "lost what it had")

    def test_jobs_beside_each_other(self):
        """Two jobs of one workload, and one of another, from hosts of different names with the same numbers."""
        for i in range(2):
            self.node(f"node-{i}")
        naps_of = [naps(200, seconds) for seconds in (0.005, 0.006)]
        jobs = [self.job("sleep", inputs, number=7 + i) for i, (inputs, _) in enumerate(naps_of)]
        sums = self.job("sum", range(1, 301), number=9, machines=self.machines(name="elsewhere"))
        for job, (_, expected) in zip(jobs, naps_of):
            self.assert_all_done(job, expected)
        self.assert_all_done(sums, [n * (n - 1) // 2 for n in range(1, 301)])
