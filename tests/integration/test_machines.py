"""The machines level at its engine: coordinator, nodes and a real Redis, without the supervisor."""

import os
import signal
import time

from harness import process, settings
from harness.case import TEST_SECONDS
from harness.fleet import FleetCase
from harness.poll import wait_until
from harness.redis import KEEP
from harness.results import DONE, FAILED, conditions, reasons

NO_NODE, UNREACHABLE, FULL = (conditions()[name] for name in ("NO_NODE", "ENGINE_UNREACHABLE", "ENGINE_FULL"))


class Machines(FleetCase):
    """All on this machine, in no cgroup, and Redis at its Unix socket."""

    apart = False

    def setUp(self):
        super().setUp()
        self.chunks = self.key("chunks:sleep:host")

    def ends(self, job, seconds=60):
        self.assertEqual(job.wait(seconds), 0, job.output())
        return job.rows()

    def await_condition(self, job, condition):
        wait_until(lambda: job.header().condition == condition, lambda: f"{condition}: {job.header()}\n{job.output()}")

    def assert_each_once(self, job, rows, n):
        self.assertEqual(sum(row is None for row in rows), 0)
        header = job.header()
        self.assertEqual((header.n_done, header.n_failed, header.condition), (n, 0, 0))
        self.assertEqual([row.value for row in rows], [i * (i - 1) // 2 for i in range(n)])

    def job_keys(self, redis):
        return redis("KEYS", self.key("job:*")) + redis("KEYS", self.key("results:*"))

    def sleeping(self, node, n):
        """So many tasks of a node that has one level are in progress."""
        wait_until(lambda: node.levels() and asleep(node.levels()[0]) >= n, f"{n} tasks in progress")


class Levels(Machines):
    def test_each_task_once_at_every_level(self):
        for level in ("threads", "processes", "async"):
            with self.subTest(level):
                nodes = [self.node(f"{level}-{i}", level=level) for i in range(2)]
                job = self.job("sum", range(20000))
                rows = self.ends(job)
                self.assert_each_once(job, rows, 20000)
                self.assertEqual({row.worker for row in rows}, {0, 1})
                self.assertEqual(job.measured()["machines"]["nodes"], 2)
                self.assertEqual(job.measured()["machines"]["results_duplicate"], 0)
                self.assertEqual([(node.stop(), node.output()) for node in nodes], [(0, "")] * 2)

    def test_nothing_is_left_in_redis(self):
        self.node("n1")
        redis = self.connect()
        self.ends(self.job("sum", range(100)))
        self.assertEqual(self.job_keys(redis), [])
        for key in redis("KEYS", "*"):
            self.assertNotEqual(redis("TTL", key), -1, f"{key} does not expire")
        self.assertEqual(redis("XLEN", self.key("chunks:sum:host")), 0)
        self.assertEqual(redis("XPENDING", self.key("chunks:sum:host"), "nodes")[0], 0)

    def test_times_are_of_the_job(self):
        self.node("n1", workers=4)
        job = self.job("sleep", ["0.1"] * 8)
        rows = self.ends(job)
        took = time.monotonic_ns() - job.header().epoch_ns
        for row in rows:
            self.assertLess(0, row.start_ns)
            self.assertLessEqual(100_000_000, row.end_ns - row.start_ns)
            self.assertLess(row.end_ns, took)

    def test_failures_come_back(self):
        self.node("n1")
        rows = self.ends(self.job("sum", ["1", "x", "-3", "5"]))
        self.assertEqual([(row.state, row.reason) for row in rows],
                         [(DONE, 0), (FAILED, reasons()["NOT_A_NUMBER"]), (FAILED, reasons()["NEGATIVE"]), (DONE, 0)])

    def test_timeout_and_retries_travel(self):
        self.node("n1", level="async", workers=16)
        rows = self.ends(self.job("sleep", ["30"] * 3, task_timeout_seconds=0.1, retries=1))
        for row in rows:
            self.assertEqual((row.state, row.reason), (FAILED, reasons()["TIMEOUT"]))
            self.assertGreater(row.end_ns - row.start_ns, 200_000_000)

    def test_long_inputs(self):
        self.node("n1", level="async")
        rows = self.ends(self.job("words", ["/" + "x" * 60000 + str(i) for i in range(100)]))
        self.assertEqual({row.reason for row in rows}, {reasons()["OPEN"]})

    def test_two_jobs_share_the_nodes(self):
        self.node("n1")
        self.node("n2", level="async")
        jobs = [self.job("sum", range(3000)) for _ in range(3)]
        for job in jobs:
            self.assert_each_once(job, self.ends(job), 3000)

    def test_a_node_runs_only_what_it_is_willing_to(self):
        self.node("n1", workloads=["sleep"])
        job = self.job("sum", range(10))
        self.await_condition(job, NO_NODE)
        self.node("n2", workloads=["sum"])
        self.assert_each_once(job, self.ends(job), 10)

    def test_a_few_long_tasks_are_shared(self):
        """Four tasks, two nodes of two workers: all at the same time."""
        self.node("n1")
        self.node("n2")
        rows = self.ends(self.job("sleep", ["3"] * 4))
        self.assertLess(max(row.start_ns for row in rows), min(row.end_ns for row in rows))

    def test_nodes_are_listed(self):
        self.node("n1", workloads=["sleep", "sum"])
        self.ends(self.job("sleep", ["0"] * 10))
        wait_until(lambda: self.listed()[0]["done"] == 10, "the heartbeat that tells of ten tasks")
        [node] = self.listed()
        self.assertEqual((node["name"], node["level"], node["workers"], node["workloads"], node["load"],
                          node["failed"]), ("n1", "threads", 2, ["sum", "sleep"], 0, 0))
        self.assertLess(node["last_seen_seconds"], 60)
        self.redis.stop()
        listing = self.listing()
        self.assertEqual(listing.wait(), 1)
        self.assertIn("cannot reach Redis at unix:", listing.output())


class Ends(Machines):
    def test_cancel(self):
        self.node("n1")
        job = self.job("sleep", ["60"] * 50)
        redis = self.connect()
        wait_until(lambda: self.held(redis, "n1"), "a start")
        self.assertEqual(job.stop(), 3)
        self.assertEqual(self.job_keys(redis), [])
        # The node lets go what it has begun too, and is free for others.
        rows = self.ends(self.job("sleep", ["0"] * 3))
        self.assertEqual(len(rows), 3)

    def test_a_node_that_leaves_gives_back_what_it_has_not_begun(self):
        """One worker, ten tasks of 0.3 s: the node ends the one it is at, the other does the rest at once."""
        first = self.node("n1", workers=1, heartbeat=30)
        job = self.job("sleep", ["0.3"] * 10, heartbeat=30)
        job.await_done(1)
        self.node("n2", workers=5, heartbeat=30)
        self.assertEqual(first.stop(), 0, first.output())
        began = time.monotonic()
        rows = self.ends(job)
        self.assertLess(time.monotonic() - began, 25)           # the heartbeat is longer
        self.assertEqual({row.worker for row in rows}, {0, 1})
        self.assertEqual(job.measured()["machines"]["results_duplicate"], 0)

    def test_a_level_that_crashes_is_the_failure_of_what_was_in_progress(self):
        node = self.node("n1", workers=2)
        job = self.job("sleep", ["2", "2"] + ["0.01"] * 20)
        self.sleeping(node, 2)
        os.kill(node.levels()[0], signal.SIGKILL)
        rows = self.ends(job)
        failed = [row for row in rows if row.state == FAILED]
        self.assertEqual({(row.reason, row.detail) for row in failed}, {(reasons()["SIGNAL"], signal.SIGKILL)})
        self.assertLessEqual(len(failed), 2)
        self.assertIn("ended by signal 9", node.output())

    def test_a_worker_process_that_dies_is_the_failure_of_its_task(self):
        node = self.node("n1", level="processes", workers=2)
        job = self.job("sleep", ["1", "1"] + ["0.01"] * 20)
        wait_until(lambda: len(node.workers()) == 2 and all(map(asleep, node.workers())), "two workers asleep")
        os.kill(node.workers()[0], signal.SIGKILL)
        rows = self.ends(job)
        failed = [row for row in rows if row.state == FAILED]
        self.assertEqual([(row.reason, row.detail) for row in failed], [(reasons()["SIGNAL"], signal.SIGKILL)])

    def test_what_cannot_work(self):
        for options, says in (({"level": "serial", "workers": 0}, "threads, processes and async"),
                              ({"workloads": ["cook"]}, "workloads"),
                              ({"machines": self.machines(redis="ftp://x")}, "no address of a Redis")):
            with self.subTest(options):
                node = self.new_node(f"bad-{len(self.runners)}", **options).start()
                self.assertEqual(node.wait(), 1)
                self.assertIn(says, node.output())


class Kills(Machines):
    seconds = TEST_SECONDS + settings.kills

    def test_workers_are_killed_wherever_they_are(self):
        """Tiny tasks, so that a kill comes between any two steps. PPPCTL_TEST_KILLS=2000 for a long look."""
        node = self.node("n1", level="processes", workers=3)
        n, left, n_failed = 16000, settings.kills, 0
        while left > 0:
            job = self.job("sum", ["20000"] * n)
            killed = process.kill_while_there_is_progress(
                lambda: set(node.workers()),
                lambda: job.header().n_done + job.header().n_failed if job.running() else None, left)
            left -= killed
            rows = self.ends(job)
            header = job.header()
            done, failed = (sum(row.state == state for row in rows if row) for state in (DONE, FAILED))
            self.assertEqual((done + failed, header.n_done, header.n_failed), (n, done, failed))
            self.assertEqual({row.value for row in rows if row.state == DONE}, {199_990_000})
            self.assertEqual({(row.reason, row.detail) for row in rows if row.state == FAILED} -
                             {(reasons()["SIGNAL"], signal.SIGKILL)}, set())
            self.assertLessEqual(failed, killed)
            counts = job.measured()["machines"]
            self.assertEqual((counts["results_duplicate"], counts["chunks_resent"]), (0, 0), node.output())
            n_failed += failed
        self.assertGreater(n_failed, 0)
        self.assertEqual((node.stop(), node.output()), (0, ""))


class Losses(Machines):
    """What breaks in mid-job: every task has its record once, and how long it takes is bounded."""

    def test_a_killed_node_costs_its_heartbeat(self):
        nodes = [self.node(f"n{i}", workers=2) for i in range(3)]
        job = self.job("sleep", ["0.05"] * 200)
        job.await_done(11)
        nodes[0].kill()
        nodes[1].kill()
        rows = self.ends(job)
        # The coordinator would have missed them after two heartbeats.
        self.assertEqual(job.measured()["machines"]["chunks_resent"], 0, "the third node has taken them over")
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertEqual(job.header().n_done, 200)

    def test_a_node_that_was_cut_off_comes_back_with_stale_results(self):
        first = self.node("n1", workers=2)
        job = self.job("sleep", ["0.5"] * 8)
        self.sleeping(first, 2)
        # Frozen as a whole, it neither works nor beats; thawed, it ends its tasks and sends their results.
        pids = first.processes()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self.node("n2", workers=2)
        wait_until(lambda: job.header().n_done >= 6, "the others to be done", 30)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertEqual((job.header().n_done, job.header().n_failed), (8, 0))

    def test_stale_results_are_counted_and_dropped(self):
        """The same, with work left when the stale ones come: they are seen, and change nothing."""
        first = self.node("n1", workers=1)
        job = self.job("sleep", ["0.4"] * 12)
        self.sleeping(first, 1)
        pids = first.processes()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self.node("n2", workers=1)
        wait_until(lambda: job.rows()[0], "the first task to be done by the other", 30)
        before = job.rows()[0]
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        rows = self.ends(job)
        self.assertEqual(rows[0], before)
        self.assertEqual(job.header().n_done, 12)
        self.assertGreaterEqual(job.measured()["machines"]["results_duplicate"], 1)

    def test_the_coordinator_is_killed_and_taken_up_again(self):
        self.node("n1", level="async", workers=32)
        self.node("n2", workers=2)
        job = self.job("sum", range(60000))
        for done in (2000, 20000):
            job.await_done(done)
            job.kill()
            job.start_again()
        self.assert_each_once(job, self.ends(job), 60000)

    def test_chunks_of_an_earlier_life_are_not_sent_again(self):
        job = self.job("sleep", ["0"] * 40)
        self.await_condition(job, NO_NODE)
        node = self.node("n1", workers=2)
        self.ends(job)
        node.stop()
        # Long tasks: sent, taken, not ended.
        node = self.node("n2", workers=2)
        job = self.job("sleep", ["1"] * 6)
        self.sleeping(node, 2)
        job.kill()
        job.start_again()
        rows = self.ends(job)
        self.assertEqual(job.header().n_done, 6)
        self.assertEqual(job.measured()["machines"]["results_duplicate"], 0)
        self.assertEqual(job.measured()["machines"]["chunks_resent"], 0)

    def test_redis_is_started_again_without_its_data(self):
        nodes = [self.node(f"n{i}", workers=2) for i in range(2)]
        job = self.job("sleep", ["0.05"] * 100)
        job.await_done(10)
        self.redis.stop(signal.SIGKILL)
        self.await_condition(job, UNREACHABLE)
        self.redis.start()
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertEqual(job.header().n_done, 100)
        said = job.output()
        self.assertIn("cannot reach Redis", said)
        self.assertIn("is there again", said)
        self.assertIn("has lost what it had of this job", said)
        self.assertEqual(said.count("cannot reach Redis"), 1, said)
        for node in nodes:
            self.assertEqual(node.output().count("is there again"), 1, node.output())

    def test_redis_is_emptied(self):
        self.node("n1")
        job = self.job("sleep", ["0.05"] * 100)
        job.await_done(10)
        self.redis.run("FLUSHALL")
        self.ends(job)
        self.assertIn("has lost what it had of this job", job.output())

    def test_a_chunk_that_vanishes_is_sent_again(self):
        """Somebody deletes an entry; nobody can tell but the coordinator, who misses it."""
        job = self.job("sleep", ["0"] * 8, heartbeat=0.2)
        self.await_condition(job, NO_NODE)
        self.node("n1", workers=1, heartbeat=0.2)
        self.ends(job)
        job = self.job("sleep", ["1.5"] * 2 + ["0"] * 6, heartbeat=0.2)
        redis = self.connect()
        entries = wait_until(lambda: len(found := redis("XRANGE", self.chunks, "-", "+")) >= 2 and found, "chunks")
        redis("XDEL", self.chunks, entries[-1][0])
        self.ends(job)
        self.assertEqual(job.header().n_done, 8)

    def test_foreign_entries(self):
        node = self.node("n1")
        redis = self.connect()
        redis("XADD", self.chunks, "*", "hello", "world")
        redis("XADD", self.chunks, "*", "job", "x", "first", "0", "n", "2", "inputs", "a")
        redis("XADD", self.chunks, "*", "job", "nobody", "first", "0", "n", "1", "inputs", "1\n")
        job = self.job("sleep", ["0.1"] * 20)
        results = wait_until(lambda: redis("KEYS", self.key("results:*")), "the job's stream")[0]
        redis("XADD", results, "*", "hello", "world")
        redis("XADD", results, "*", "chunk", "1-1", "first", "0", "n", "1", "node", "evil", "taken", "1",
              "records", "x")
        redis("XADD", results, "*", "chunk", "1-1", "first", "19", "n", "2", "node", "evil", "taken", "1",
              "records", "x" * 64)
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertGreaterEqual(job.measured()["machines"]["results_foreign"], 2)
        self.assertEqual(job.output().count("is not pppd's"), 1, job.output())
        self.assertEqual(node.output().count("is not pppd's"), 1, node.output())
        wait_until(lambda: redis("XLEN", self.chunks) == 0, "the foreign to be removed")

    def test_redis_that_is_not_there_yet(self):
        self.redis.stop(signal.SIGKILL)
        node = self.new_node("n1").start()
        job = self.job("sleep", ["0"] * 10)
        self.await_condition(job, UNREACHABLE)
        self.assertTrue(job.running(), job.output())
        wait_until(lambda: "cannot reach Redis" in node.output(), "the node to say so")
        self.redis.start()
        self.ends(job)
        self.assertEqual(node.output().count("cannot reach Redis"), 1)
        self.redis.stop(signal.SIGKILL)
        self.assertEqual(node.stop(), 0)
        job = self.job("sleep", ["0"] * 10)
        self.await_condition(job, UNREACHABLE)
        self.assertEqual(job.stop(), 3)


class Kept(Machines):
    redis_options = KEEP

    def test_redis_is_started_again_with_its_data(self):
        self.node("n0", workers=2)
        job = self.job("sleep", ["0.05"] * 60)
        job.await_done(10)
        self.redis.stop(signal.SIGKILL)
        self.redis.start()
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertNotIn("has lost", job.output())
        self.assertEqual(job.header().n_done, 60)


class Full(Machines):
    redis_options = ("--maxmemory", "12mb")

    def test_redis_at_its_memory_limit(self):
        node = self.node("n1")
        self.redis.run("CONFIG", "SET", "maxmemory", "1mb")
        job = self.job("sleep", ["0"] * 1000)
        self.await_condition(job, FULL)
        self.assertTrue(job.running(), job.output())
        self.redis.run("CONFIG", "SET", "maxmemory", "64mb")
        self.ends(job)
        self.assertIn("maxmemory", job.output())
        self.assertEqual(job.header().condition, 0)

    def test_the_limit_is_reached_in_mid_job(self):
        node = self.node("n1")
        job = self.job("sleep", ["0.02"] * 200)
        job.await_done(10)
        self.redis.run("CONFIG", "SET", "maxmemory", "1mb")
        self.await_condition(job, FULL)
        self.redis.run("CONFIG", "SET", "maxmemory", "64mb")
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertEqual(job.header().n_done, 200)

    def test_a_job_larger_than_redis(self):
        """16 MB of inputs through a Redis of 12: backpressure and room-making, not an error."""
        self.node("n1", level="async")
        self.node("n2", level="threads")
        rows = self.ends(self.job("words", [f"/{i}-" + "x" * 16000 for i in range(1000)]))
        self.assertEqual({row.reason for row in rows}, {reasons()["OPEN"]})


class Doors(Machines):
    """Who may not in is told why, at once."""

    def refused(self, says, **changes):
        machines = self.machines(**changes)
        job = self.job("sleep", ["0"], machines=machines)
        self.assertEqual(job.wait(), 1)
        self.assertIn(says, job.output())
        self.assertEqual(len(job.output().splitlines()), 1, job.output())
        node = self.new_node(f"bad-{len(self.runners)}", machines=machines).start()
        self.assertEqual(node.wait(), 1, node.output())
        self.assertIn(says, node.output())

    def test_passwords(self):
        self.redis.run("CONFIG", "SET", "requirepass", "secret")
        self.refused("password-file")
        self.refused("password-file", password="wrong")
        self.refused("password-file", username="nobody", password="secret")
        machines = self.machines(password="secret")
        self.new_node("n1", machines=machines).start()
        self.ends(self.job("sleep", ["0"] * 5, machines=machines))

    def test_the_rights_that_the_docs_name_are_enough(self):
        with open(os.path.join(settings.source, "docs/machines.md")) as file:
            line = next(line for line in file if line.startswith("ACL SETUSER pppd "))
        redis = self.connect()
        self.assertEqual(redis(*line.split()), b"OK")
        redis("ACL", "SETUSER", "default", "off")
        password = next(word for word in line.split() if word.startswith(">"))[1:]
        machines = self.machines(username="pppd", password=password, prefix="pppctl:")
        node = self.new_node("n1", machines=machines).start()
        self.ends(self.job("sleep", ["0"] * 500, machines=machines))
        self.assertEqual((node.stop(), node.output()), (0, ""))
        # Other keys are not ours.
        self.refused("docs/machines.md", username="pppd", password=password, prefix="other:")


def asleep(pid):
    """How many threads of the process are in poll(2)."""
    n = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/wchan") as file:
            n += "poll" in file.read()
    return n
