"""The machines level at its engine: coordinator, nodes and a real Redis, without the supervisor."""

import json
import os
import signal
import time
import unittest

from harness import machines, process, settings
from harness.case import TEST_SECONDS, Case
from harness.machines import Job, Node, Redis
from harness.poll import wait_until
from harness.results import DONE, FAILED, reasons

NO_NODE, UNREACHABLE, FULL = 1, 2, 3


@unittest.skipUnless(machines.SERVER, "redis-server is not installed")
class Machines(Case):
    with_daemon = False
    save = False
    options = ()

    def setUp(self):
        self.directory = os.path.join(self.temp, self._testMethodName)
        self.redis = Redis(os.path.join(self.directory, "redis"), *self.options, save=self.save)
        self.addCleanup(self.redis.stop)
        self.jobs = 0

    def node(self, name="n1", **options):
        node = Node(self.directory, self.redis.url, name, **options)
        self.addCleanup(node.end)
        return node

    def serving(self, *names):
        wait_until(lambda: set(names) <= set(self.redis.run("ZRANGE", "pppctl:nodes", 0, -1).split()),
                   f"{names} to serve")

    def job(self, inputs, workload="sleep", **options):
        self.jobs += 1
        job = Job(self.directory, self.jobs, inputs)
        job.start(self.redis.url, workload, **options)
        self.addCleanup(job.coordinator.end)
        return job

    def ends(self, job, seconds=60):
        status = job.finish(seconds)
        self.assertEqual(status, 0, job.coordinator.text())
        return job.rows()

    def assert_each_once(self, job, rows, n):
        self.assertEqual(sum(row is None for row in rows), 0)
        header = job.header()
        self.assertEqual((header["done"], header["failed"], header["condition"]), (n, 0, 0))
        self.assertEqual([row.value for row in rows], [i * (i - 1) // 2 for i in range(n)])

    def keys(self):
        return sorted(self.redis.run("KEYS", "*").split())


class Levels(Machines):
    def test_each_task_once_at_every_level(self):
        for level in ("threads", "processes", "async"):
            with self.subTest(level):
                nodes = [self.node(f"{level}-{i}", level=level) for i in range(2)]
                job = self.job(range(20000), "sum")
                rows = self.ends(job)
                self.assert_each_once(job, rows, 20000)
                self.assertEqual({row.worker for row in rows}, {0, 1})
                self.assertEqual(job.measures["machines"]["nodes"], 2)
                self.assertEqual(job.measures["machines"]["results_duplicate"], 0)
                self.assertEqual([(node.stop(), node.text()) for node in nodes], [(0, "")] * 2)

    def test_nothing_is_left_in_redis(self):
        self.node().name
        self.ends(self.job(range(100), "sum"))
        keys = self.keys()
        self.assertFalse([key for key in keys if ":job:" in key or ":results:" in key], keys)
        for key in keys:
            self.assertNotEqual(self.redis.run("TTL", key), "-1", f"{key} does not expire")
        self.assertEqual(self.redis.run("XLEN", "pppctl:chunks:sum:host"), "0")
        self.assertEqual(self.redis.run("XPENDING", "pppctl:chunks:sum:host", "nodes").split()[0], "0")

    def test_times_are_of_the_job(self):
        self.node(workers=4)
        job = self.job(["0.1"] * 8)
        rows = self.ends(job)
        took = time.monotonic_ns() - job.began
        for row in rows:
            self.assertLess(0, row.start_ns)
            self.assertLessEqual(100_000_000, row.end_ns - row.start_ns)
            self.assertLess(row.end_ns, took)

    def test_failures_come_back(self):
        self.node()
        rows = self.ends(self.job(["1", "x", "-3", "5"], "sum"))
        self.assertEqual([(row.state, row.reason) for row in rows],
                         [(DONE, 0), (FAILED, reasons()["NOT_A_NUMBER"]), (FAILED, reasons()["NEGATIVE"]), (DONE, 0)])

    def test_timeout_and_retries_travel(self):
        self.node(level="async", workers=16)
        rows = self.ends(self.job(["30"] * 3, spec={"task_timeout_seconds": 0.1, "retries": 1}))
        for row in rows:
            self.assertEqual((row.state, row.reason), (FAILED, reasons()["TIMEOUT"]))
            self.assertGreater(row.end_ns - row.start_ns, 200_000_000)

    def test_long_inputs(self):
        self.node(level="async")
        rows = self.ends(self.job(["/" + "x" * 60000 + str(i) for i in range(100)], "words"))
        self.assertEqual({row.reason for row in rows}, {reasons()["OPEN"]})

    def test_two_jobs_share_the_nodes(self):
        self.node("n1")
        self.node("n2", level="async")
        jobs = [self.job(range(3000), "sum") for _ in range(3)]
        for job in jobs:
            self.assert_each_once(job, self.ends(job), 3000)

    def test_a_node_runs_only_what_it_is_willing_to(self):
        self.node("n1", workloads=["sleep"])
        self.serving("n1")
        job = self.job(range(10), "sum")
        wait_until(lambda: job.header()["condition"] == NO_NODE, "the condition")
        self.node("n2", workloads=["sum"])
        self.assert_each_once(job, self.ends(job), 10)

    def test_a_few_long_tasks_are_shared(self):
        """Four tasks, two nodes of two workers: all at the same time."""
        self.node("n1")
        self.node("n2")
        self.serving("n1", "n2")
        rows = self.ends(self.job(["3"] * 4))
        self.assertLess(max(row.start_ns for row in rows), min(row.end_ns for row in rows))

    def test_nodes_are_listed(self):
        self.node("n1", workloads=["sleep", "sum"])
        self.serving("n1")
        self.ends(self.job(["0"] * 10))
        fd = machines.memfd("spec", json.dumps({"machines": machines.machines(self.redis.url, "host")}).encode())
        def listed():
            path = os.path.join(self.directory, f"list-{time.monotonic_ns()}")
            child = machines.Child([machines.RUNNER, "--nodes"], {3: fd}, path)
            self.assertEqual(child.wait(), 0, child.text())
            return json.loads(child.text())["nodes"]
        wait_until(lambda: listed()[0]["done"] == 10, "the heartbeat that tells of ten tasks")
        [node] = listed()
        self.assertEqual((node["name"], node["level"], node["workers"], node["workloads"], node["load"],
                          node["failed"]), ("n1", "threads", 2, ["sum", "sleep"], 0, 0))
        self.assertLess(node["last_seen_seconds"], 60)
        self.redis.stop()
        path = os.path.join(self.directory, "list")
        child = machines.Child([machines.RUNNER, "--nodes"], {3: fd}, path)
        self.assertEqual(child.wait(), 1)
        self.assertIn("cannot reach Redis at unix:", child.text())
        os.close(fd)


class Ends(Machines):
    def test_cancel(self):
        self.node()
        job = self.job(["60"] * 50)
        wait_until(lambda: self.redis.run("XINFO", "CONSUMERS", "pppctl:chunks:sleep:host", "nodes").count("n1"), "a start")
        self.assertEqual(job.coordinator.stop(), 3)
        self.assertFalse([key for key in self.keys() if ":job:" in key or ":results:" in key])
        # The node lets go what it has begun too, and is free for others.
        rows = self.ends(self.job(["0"] * 3))
        self.assertEqual(len(rows), 3)

    def test_a_node_that_leaves_gives_back_what_it_has_not_begun(self):
        """One worker, ten tasks of 0.3 s: the node ends the one it is at, the other does the rest at once."""
        first = self.node("n1", workers=1, heartbeat=30)
        self.serving("n1")
        job = self.job(["0.3"] * 10, heartbeat=30)
        wait_until(lambda: job.header()["done"] >= 1, "the first record")
        self.node("n2", workers=5, heartbeat=30)
        self.serving("n2")
        self.assertEqual(first.stop(), 0, first.text())
        began = time.monotonic()
        rows = self.ends(job)
        self.assertLess(time.monotonic() - began, 25)           # the heartbeat is longer
        self.assertEqual({row.worker for row in rows}, {0, 1})
        self.assertEqual(job.measures["machines"]["results_duplicate"], 0)

    def test_a_level_that_crashes_is_the_failure_of_what_was_in_progress(self):
        node = self.node("n1", workers=2)
        self.serving("n1")
        job = self.job(["2", "2"] + ["0.01"] * 20)
        wait_until(lambda: node.levels() and job.header()["done"] == 0 and
                   self.redis.run("XINFO", "GROUPS", "pppctl:chunks:sleep:host").count("n1") == 0 and
                   asleep(node.levels()[0]) >= 2, "two workers asleep")
        os.kill(node.levels()[0], signal.SIGKILL)
        rows = self.ends(job)
        failed = [row for row in rows if row.state == FAILED]
        self.assertEqual({(row.reason, row.detail) for row in failed}, {(reasons()["SIGNAL"], signal.SIGKILL)})
        self.assertLessEqual(len(failed), 2)
        self.assertIn("ended by signal 9", node.text())

    def test_a_worker_process_that_dies_is_the_failure_of_its_task(self):
        node = self.node("n1", level="processes", workers=2)
        self.serving("n1")
        job = self.job(["1", "1"] + ["0.01"] * 20)
        def workers():
            return [pid for level in node.levels() for pid in machines.children_of(level)]
        wait_until(lambda: len(workers()) == 2 and all(asleep(pid) for pid in workers()), "two workers asleep")
        os.kill(workers()[0], signal.SIGKILL)
        rows = self.ends(job)
        failed = [row for row in rows if row.state == FAILED]
        self.assertEqual([(row.reason, row.detail) for row in failed], [(reasons()["SIGNAL"], signal.SIGKILL)])

    def test_what_cannot_work(self):
        for options, says in (({"level": "serial", "workers": 0}, "threads, processes and async"),
                              ({"workloads": ["cook"]}, "workloads"),
                              ({"redis": "ftp://x"}, "no address of a Redis")):
            with self.subTest(options):
                redis = options.pop("redis", self.redis.url)
                node = Node(self.directory, redis, "bad", **options)
                self.addCleanup(node.end)
                self.assertEqual(node.wait(), 1)
                self.assertIn(says, node.text())
                os.unlink(node.output)


class Kills(Machines):
    seconds = TEST_SECONDS + settings.kills

    def test_workers_are_killed_wherever_they_are(self):
        """Tiny tasks, so that a kill comes between any two steps. PPPCTL_TEST_KILLS=2000 for a long look."""
        node = self.node("n1", level="processes", workers=3)
        self.serving("n1")
        n, left, n_failed = 16000, settings.kills, 0
        while left > 0:
            job = self.job(["20000"] * n, "sum")
            killed = process.kill_while_there_is_progress(
                lambda: {pid for level in node.levels() for pid in machines.children_of(level)},
                lambda: None if job.coordinator.poll() is not None else job.header()["done"] + job.header()["failed"], left)
            left -= killed
            rows = self.ends(job)
            header = job.header()
            done, failed = (sum(row.state == state for row in rows if row) for state in (DONE, FAILED))
            self.assertEqual((done + failed, header["done"], header["failed"]), (n, done, failed))
            self.assertEqual({row.value for row in rows if row.state == DONE}, {199_990_000})
            self.assertEqual({(row.reason, row.detail) for row in rows if row.state == FAILED} -
                             {(reasons()["SIGNAL"], signal.SIGKILL)}, set())
            self.assertLessEqual(failed, killed)
            counts = job.measures["machines"]
            self.assertEqual((counts["results_duplicate"], counts["chunks_resent"]), (0, 0), node.text())
            n_failed += failed
        self.assertGreater(n_failed, 0)
        self.assertEqual((node.stop(), node.text()), (0, ""))


class Losses(Machines):
    """What breaks in mid-job: every task has its record once, and how long it takes is bounded."""

    def test_a_killed_node_costs_its_heartbeat(self):
        nodes = [self.node(f"n{i}", workers=2) for i in range(3)]
        self.serving("n0", "n1", "n2")
        job = self.job(["0.05"] * 200)
        wait_until(lambda: job.header()["done"] > 10, "a start")
        nodes[0].kill()
        nodes[1].kill()
        rows = self.ends(job)
        # The coordinator would have missed them after two heartbeats.
        self.assertEqual(job.measures["machines"]["chunks_resent"], 0, "the third node has taken them over")
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertEqual(job.header()["done"], 200)

    def test_a_node_that_was_cut_off_comes_back_with_stale_results(self):
        first = self.node("n1", workers=2)
        self.serving("n1")
        job = self.job(["0.5"] * 8)
        wait_until(lambda: first.levels() and asleep(first.levels()[0]) >= 2, "two tasks in progress")
        # Frozen as a whole, it neither works nor beats; thawed, it ends its tasks and sends their results.
        pids = [first.pid, *first.children(), *first.levels()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self.node("n2", workers=2)
        wait_until(lambda: job.header()["done"] >= 6, "the others to be done", 30)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertEqual((job.header()["done"], job.header()["failed"]), (8, 0))

    def test_stale_results_are_counted_and_dropped(self):
        """The same, with work left when the stale ones come: they are seen, and change nothing."""
        first = self.node("n1", workers=1)
        self.serving("n1")
        job = self.job(["0.4"] * 12)
        wait_until(lambda: first.levels() and asleep(first.levels()[0]) >= 1, "a task in progress")
        pids = [first.pid, *first.children(), *first.levels()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self.node("n2", workers=1)
        wait_until(lambda: job.rows()[0], "the first task to be done by the other", 30)
        before = job.rows()[0]
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        rows = self.ends(job)
        self.assertEqual(rows[0], before)
        self.assertEqual(job.header()["done"], 12)
        self.assertGreaterEqual(job.measures["machines"]["results_duplicate"], 1)

    def test_the_coordinator_is_killed_and_taken_up_again(self):
        self.node("n1", level="async", workers=32)
        self.node("n2", workers=2)
        self.serving("n1", "n2")
        job = self.job(range(60000), "sum")
        for done in (2000, 20000):
            wait_until(lambda: job.header()["done"] >= done, f"{done} records")
            job.coordinator.kill()
            job.coordinator.wait()
            job.start(self.redis.url, "sum")
        self.assert_each_once(job, self.ends(job), 60000)

    def test_chunks_of_an_earlier_life_are_not_sent_again(self):
        job = self.job(["0"] * 40)
        wait_until(lambda: job.header()["condition"] == NO_NODE, "the condition")
        node = self.node("n1", workers=2)
        self.serving("n1")
        self.ends(job)
        node.stop()
        # Long tasks: sent, taken, not ended.
        node = self.node("n2", workers=2)
        self.serving("n2")
        job = self.job(["1"] * 6)
        wait_until(lambda: node.levels() and asleep(node.levels()[0]) >= 2, "two tasks in progress")
        job.coordinator.kill()
        job.coordinator.wait()
        job.start(self.redis.url)
        rows = self.ends(job)
        self.assertEqual(job.header()["done"], 6)
        self.assertEqual(job.measures["machines"]["results_duplicate"], 0)
        self.assertEqual(job.measures["machines"]["chunks_resent"], 0)

    def test_redis_is_started_again_without_its_data(self):
        nodes = [self.node(f"n{i}", workers=2) for i in range(2)]
        self.serving("n0", "n1")
        job = self.job(["0.05"] * 100)
        wait_until(lambda: job.header()["done"] >= 10, "a start")
        self.redis.kill()
        wait_until(lambda: job.header()["condition"] == UNREACHABLE, "the condition")
        self.redis.start()
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertEqual(job.header()["done"], 100)
        said = job.coordinator.text()
        self.assertIn("cannot reach Redis", said)
        self.assertIn("is there again", said)
        self.assertIn("has lost what it had of this job", said)
        self.assertEqual(said.count("cannot reach Redis"), 1, said)
        for node in nodes:
            self.assertEqual(node.text().count("is there again"), 1, node.text())

    def test_redis_is_emptied(self):
        self.node()
        self.serving("n1")
        job = self.job(["0.05"] * 100)
        wait_until(lambda: job.header()["done"] >= 10, "a start")
        self.redis.run("FLUSHALL")
        self.ends(job)
        self.assertIn("has lost what it had of this job", job.coordinator.text())

    def test_a_chunk_that_vanishes_is_sent_again(self):
        """Somebody deletes an entry; nobody can tell but the coordinator, who misses it."""
        job = self.job(["0"] * 8, heartbeat=0.2)
        wait_until(lambda: job.header()["condition"] == NO_NODE, "the condition")
        self.node("n1", workers=1, heartbeat=0.2)
        self.ends(job)
        job = self.job(["1.5"] * 2 + ["0"] * 6, heartbeat=0.2)
        wait_until(lambda: int(self.redis.run("XLEN", "pppctl:chunks:sleep:host") or 0) >= 2, "chunks")
        entries = self.redis.run("XRANGE", "pppctl:chunks:sleep:host", "-", "+")
        last = [line for line in entries.splitlines() if "-" in line and line.replace("-", "").isdigit()][-1]
        self.redis.run("XDEL", "pppctl:chunks:sleep:host", last)
        self.ends(job)
        self.assertEqual(job.header()["done"], 8)

    def test_foreign_entries(self):
        node = self.node()
        self.serving("n1")
        self.redis.run("XADD", "pppctl:chunks:sleep:host", "*", "hello", "world")
        self.redis.run("XADD", "pppctl:chunks:sleep:host", "*", "job", "x", "first", "0", "n", "2", "inputs", "a")
        self.redis.run("XADD", "pppctl:chunks:sleep:host", "*", "job", "nobody", "first", "0", "n", "1", "inputs", "1\n")
        job = self.job(["0.1"] * 20)
        results = wait_until(lambda: [key for key in self.keys() if ":results:" in key], "the job's stream")[0]
        self.redis.run("XADD", results, "*", "hello", "world")
        self.redis.run("XADD", results, "*", "chunk", "1-1", "first", "0", "n", "1", "node", "evil", "taken", "1",
                       "records", "x")
        self.redis.run("XADD", results, "*", "chunk", "1-1", "first", "19", "n", "2", "node", "evil", "taken", "1",
                       "records", "x" * 64)
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertGreaterEqual(job.measures["machines"]["results_foreign"], 2)
        self.assertEqual(job.coordinator.text().count("is not pppd's"), 1, job.coordinator.text())
        self.assertEqual(node.text().count("is not pppd's"), 1, node.text())
        wait_until(lambda: self.redis.run("XLEN", "pppctl:chunks:sleep:host") == "0", "the foreign to be removed")

    def test_redis_that_is_not_there_yet(self):
        self.redis.kill()
        node = self.node()
        job = self.job(["0"] * 10)
        wait_until(lambda: job.header()["condition"] == UNREACHABLE, "the condition")
        self.assertEqual(job.coordinator.poll(), None)
        wait_until(lambda: "cannot reach Redis" in node.text(), "the node to say so")
        self.redis.start()
        self.ends(job)
        self.assertEqual(node.text().count("cannot reach Redis"), 1)
        self.redis.kill()
        self.assertEqual(node.stop(), 0)
        job = self.job(["0"] * 10)
        wait_until(lambda: job.header()["condition"] == UNREACHABLE, "the condition")
        self.assertEqual(job.coordinator.stop(), 3)


class Kept(Machines):
    save = True

    def test_redis_is_started_again_with_its_data(self):
        self.node("n0", workers=2)
        self.serving("n0")
        job = self.job(["0.05"] * 60)
        wait_until(lambda: job.header()["done"] >= 10, "a start")
        self.redis.restart()
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertNotIn("has lost", job.coordinator.text())
        self.assertEqual(job.header()["done"], 60)


class Full(Machines):
    options = ("--maxmemory", "12mb", "--maxmemory-policy", "noeviction")

    def test_redis_at_its_memory_limit(self):
        node = self.node()
        self.serving("n1")
        self.redis.run("CONFIG", "SET", "maxmemory", "1mb")
        job = self.job(["0"] * 1000)
        wait_until(lambda: job.header()["condition"] == FULL, "the condition")
        self.assertEqual(job.coordinator.poll(), None)
        self.redis.run("CONFIG", "SET", "maxmemory", "64mb")
        self.ends(job)
        self.assertIn("maxmemory", job.coordinator.text())
        self.assertEqual(job.header()["condition"], 0)

    def test_the_limit_is_reached_in_mid_job(self):
        node = self.node()
        self.serving("n1")
        job = self.job(["0.02"] * 200)
        wait_until(lambda: job.header()["done"] >= 10, "a start")
        self.redis.run("CONFIG", "SET", "maxmemory", "1mb")
        wait_until(lambda: job.header()["condition"] == FULL, "the condition")
        self.redis.run("CONFIG", "SET", "maxmemory", "64mb")
        rows = self.ends(job)
        self.assertEqual({row.state for row in rows}, {DONE})
        self.assertEqual(job.header()["done"], 200)

    def test_a_job_larger_than_redis(self):
        """16 MB of inputs through a Redis of 12: backpressure and room-making, not an error."""
        self.node("n1", level="async")
        self.node("n2", level="threads")
        self.serving("n1", "n2")
        rows = self.ends(self.job([f"/{i}-" + "x" * 16000 for i in range(1000)], "words"))
        self.assertEqual({row.reason for row in rows}, {reasons()["OPEN"]})


class Doors(Machines):
    """Who may not in is told why, at once."""

    def refused(self, says, url=None, **options):
        url = url or self.redis.url
        job = Job(self.directory, 99, ["0"])
        job.start(url, **options)
        self.addCleanup(job.coordinator.end)
        self.assertEqual(job.finish(), 1)
        self.assertIn(says, job.coordinator.text())
        self.assertEqual(len(job.coordinator.text().splitlines()), 1, job.coordinator.text())
        os.unlink(job.coordinator.output)
        node = Node(self.directory, url, "bad", **options)
        self.addCleanup(node.end)
        self.assertEqual(node.wait(), 1, node.text())
        self.assertIn(says, node.text())
        os.unlink(node.output)

    def test_passwords(self):
        self.redis.run("CONFIG", "SET", "requirepass", "secret")
        self.refused("password-file")
        self.refused("password-file", password="wrong")
        self.refused("password-file", username="nobody", password="secret")
        node = self.node("n1", password="secret")
        job = self.job(["0"] * 5, password="secret")
        self.ends(job)

    def test_the_rights_that_the_docs_name_are_enough(self):
        with open(os.path.join(machines.settings.source, "docs/machines.md")) as file:
            line = next(line for line in file if line.startswith("ACL SETUSER pppd "))
        self.assertEqual(self.redis.run(*line.split()[0:]), "OK")
        self.redis.run("ACL", "SETUSER", "default", "off")
        password = next(word for word in line.split() if word.startswith(">"))[1:]
        node = self.node("n1", username="pppd", password=password)
        job = self.job(["0"] * 500, username="pppd", password=password)
        self.ends(job)
        self.assertEqual((node.stop(), node.text()), (0, ""))
        # Other keys are not ours.
        self.refused("docs/machines.md", username="pppd", password=password, prefix="other:")


def asleep(pid):
    """How many threads of the process are in poll(2)."""
    n = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/wchan") as file:
            n += "poll" in file.read()
    return n
