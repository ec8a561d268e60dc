"""The machines level when Redis goes, comes back, is full, refuses, or holds what somebody else put there."""

import contextlib
import itertools
import os
import signal
import socket
import threading
import time

from harness import settings
from harness.daemon import descendants
from harness.case import Case
from harness.fleet import HEARTBEAT, FleetCase, Runner, naps
from harness.poll import wait_until
from harness.redis import KEEP
from harness.results import DONE, RECORD, conditions


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Engine(FleetCase):
    def three(self):
        return [self.node(level, level=level) for level in ("threads", "processes", "async")]

    def test_restarted_with_its_data(self):
        self.redis.stop()
        self.redis.start(*KEEP)
        nodes = self.three()
        inputs, expected = naps(600, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(100)
        self.redis.stop(signal.SIGKILL)
        wait_until(lambda: job.header().condition == conditions()["ENGINE_UNREACHABLE"], lambda: str(job.header()))
        self.redis.start(*KEEP)
        self.assert_all_done(job, expected)
        self.assert_says_job(job, "Redis.*(trying again|cannot reach)", "there again")
        self.assertNotRegex(job.output(), "without its data")
        for node in nodes:
            self.assertTrue(node.running(), node.output())
            self.assertRegex(node.output(), "there again")

    def test_waiting_costs_nothing(self):
        """While Redis is away, neither the job nor the nodes turn in circles."""
        node = self.node("node")
        inputs, _ = naps(10, 60)
        job = self.job("sleep", inputs)
        redis = self.connect()
        wait_until(lambda: self.held(redis, "node"), "tasks in hand")
        self.redis.stop(signal.SIGKILL)
        wait_until(lambda: job.header().condition == conditions()["ENGINE_UNREACHABLE"], lambda: str(job.header()))
        before = [cpu_seconds(runner.pid) for runner in (job, node)]
        time.sleep(2)                   # no event to wait for: this is about what does not happen
        after = [cpu_seconds(runner.pid) for runner in (job, node)]
        for was, now in zip(before, after):
            self.assertLess(now - was, 0.2)

    def test_restarted_without_its_data(self):
        nodes = self.three()
        inputs, expected = naps(600, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(100)
        before = job.rows()
        self.redis.stop(signal.SIGKILL)
        self.redis.start()
        self.assert_all_done(job, expected)
        self.assert_says_job(job, "there again", "without its data|lost.*data")
        after = job.rows()
        self.assertEqual([(i, row) for i, row in enumerate(before) if row and after[i] != row], [], "written once")
        self.assertTrue(all(node.running() for node in nodes))

    def test_flushed_in_mid_job(self):
        """The connections stay, only the data is gone: streams, groups, the job itself, and the list of nodes."""
        self.three()
        inputs, expected = naps(600, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(100)
        self.connect()("FLUSHALL")
        self.assert_all_done(job, expected)
        self.assert_says_job(job, "without its data|lost.*data")

    def test_the_group_is_destroyed(self):
        self.three()
        inputs, expected = naps(600, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(100)
        self.connect()("XGROUP", "DESTROY", self.key("chunks:sleep:host"), "nodes")
        self.assert_all_done(job, expected)

    def test_chunks_are_deleted_by_somebody(self):
        """Chunks nobody has taken yet vanish: the job notices and sends them again."""
        self.node("only", workers=1)
        inputs, expected = naps(300, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(60)
        self.connect()("XTRIM", self.key("chunks:sleep:host"), "MAXLEN", "0")
        self.assert_all_done(job, expected)

    def test_results_are_evicted(self):
        """The stream of results alone vanishes: nodes would find nowhere to put what they do, for ever."""
        self.node("only")
        inputs, expected = naps(200, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(30)
        redis = self.connect()
        redis("DEL", self.key("results:" + self.job_id(redis)))
        self.assert_all_done(job, expected)
        self.assert_says_job(job, "lost what it had")

    def test_emptied_while_a_task_cannot_end(self):
        """The job comes back before its old chunk is let go: the node takes the new one all the same."""
        node = self.node("only", workers=3)
        inputs, expected = naps(2, 2)
        job = self.job("sleep", inputs)
        redis = self.connect()
        wait_until(lambda: sum(map(len, self.held(redis, "only").values())) == 2, "both tasks in hand")
        _, level = descendants(node.pid)
        os.kill(level, signal.SIGSTOP)
        redis("FLUSHALL")
        # With room for one more, it holds that until the level runs again.
        wait_until(lambda: redis("EXISTS", self.key("chunks:sleep:host")) and self.held(redis, "only"), "it to be taken again")
        time.sleep(HEARTBEAT / 2)       # what should not happen is that it is thrown away
        self.assertTrue(self.held(redis, "only"))
        os.kill(level, signal.SIGCONT)
        self.assert_all_done(job, expected)

    def test_at_its_memory_limit(self):
        """Neither chunks nor results are taken for a while; the job says so, and all goes on after it."""
        self.three()
        inputs, expected = naps(600, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(100)
        redis = self.connect()
        redis("CONFIG", "SET", "maxmemory", "1")
        wait_until(lambda: job.header().condition == conditions()["ENGINE_FULL"],
                   lambda: f"{job.header()}\n{job.output()}")
        wait_until(lambda: "maxmemory" in job.output(), job.output)
        done = job.header().n_done
        self.assertLess(done, 600)
        redis("CONFIG", "SET", "maxmemory", "0")
        self.assert_all_done(job, expected)

    def test_full_from_the_beginning(self):
        """A job that is started then waits, too."""
        self.three()
        redis = self.connect()
        redis("CONFIG", "SET", "maxmemory", "1")
        inputs, expected = naps(50, 0.01)
        job = self.job("sleep", inputs)
        wait_until(lambda: job.header().condition == conditions()["ENGINE_FULL"],
                   lambda: f"{job.header()}\n{job.output()}")
        redis("CONFIG", "SET", "maxmemory", "0")
        self.assert_all_done(job, expected)

    def test_near_its_memory_limit(self):
        """It takes some and refuses some, many times a second: said once, and what was refused does not count."""
        self.node("one", workloads=["words"])
        self.node("two", workloads=["words"], level="async")
        redis = self.connect()
        redis("CONFIG", "SET", "maxmemory", int(redis.info("memory")["used_memory"]) + 3_000_000)
        inputs = ["/" + "x" * 60000 + str(i) for i in range(1000)]
        began = time.monotonic()
        job = self.job("words", inputs)
        self.assertEqual(job.wait(), 0, job.output())
        self.assertEqual(job.header().n_failed, len(inputs))
        # It is over, and may be said again, when nothing was refused for 5 s.
        self.assertLessEqual(job.output().count("waiting until it takes more"), 1 + (time.monotonic() - began) // 5,
                             job.output())
        self.assertEqual(job.measured()["machines"]["sent_bytes"], sum(len(line) + 1 for line in inputs))

    def test_full_before_there_is_anything(self):
        """A node that cannot make its stream waits, and says why."""
        redis = self.connect()
        redis("CONFIG", "SET", "maxmemory", "1")
        node = self.new_node("node").start()
        wait_until(lambda: "maxmemory" in node.output(), node.output)
        time.sleep(1)                   # no event to wait for: this is about what does not happen
        reads = redis.info("commandstats").get("cmdstat_xreadgroup", "calls=0,").split(",")[0]
        self.assertLess(int(reads.removeprefix("calls=")), 20)
        self.assertEqual(len(node.output().splitlines()), 1, node.output())
        redis("CONFIG", "SET", "maxmemory", "0")
        inputs, expected = naps(20, 0.01)
        self.assert_all_done(self.job("sleep", inputs), expected)

    def test_full_and_then_silent(self):
        """A node whose results were refused does not turn in circles until it hears whether they are now."""
        node = self.node("node")
        inputs, expected = naps(30, 0.1)
        job = self.job("sleep", inputs)
        job.await_done(4)
        redis = self.connect()
        redis("CONFIG", "SET", "maxmemory", "1")
        wait_until(lambda: "maxmemory" in node.output(), node.output)
        os.kill(self.redis.popen.pid, signal.SIGSTOP)
        time.sleep(1)                   # until the next try is under way
        before = cpu_seconds(node.pid)
        time.sleep(1)
        self.assertLess(cpu_seconds(node.pid) - before, 0.2)
        os.kill(self.redis.popen.pid, signal.SIGCONT)
        redis("CONFIG", "SET", "maxmemory", "0")
        self.assert_all_done(job, expected)

    def test_a_million_inputs_do_not_sit_in_redis(self):
        """Backpressure: with nodes that are slow there is never more than a little in it."""
        self.node("slow", workers=1)
        inputs, expected = naps(200_000, 1)
        job = self.job("sleep", inputs)
        job.await_done(2)
        redis = self.connect()
        self.assertLess(redis("XLEN", self.key("chunks:sleep:host")), 100)
        self.assertLess(int(redis.info("memory")["used_memory"]), 8 << 20)
        job.signal(signal.SIGTERM)
        self.assertEqual(job.wait(), 3, job.output())

    def test_all_keys_expire(self):
        """Whoever vanishes leaves nothing for ever; and each key has the prefix."""
        self.three()
        inputs, expected = naps(200, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(50)
        redis = self.connect()
        keys = redis("KEYS", "*")
        self.assertTrue(keys)
        for key in keys:
            self.assertTrue(key.startswith(self.key("").encode()), key)
            self.assertNotEqual(redis("TTL", key), -1, f"{key} never expires")
        self.assert_all_done(job, expected)
        wait_until(lambda: not redis("KEYS", self.key("job:*")) and not redis("KEYS", self.key("results:*")),
                   lambda: f"the job's keys gone: {redis('KEYS', '*')}")

    # What somebody else put there

    FOREIGN_CHUNKS = (
        {"hello": "world"},
        {"job": "nobody", "first": "0", "n": "1", "inputs": "0\n"},
        {"job": "nobody", "first": "0", "n": "2", "inputs": "0\n"},
        {"job": "nobody", "first": "-1", "n": "1", "inputs": "0\n"},
        {"job": "nobody", "first": "99999999999999999999", "n": "1", "inputs": "0\n"},
        {"job": "nobody", "first": "0", "n": "0", "inputs": ""},
        {"job": "nobody", "first": "0", "n": "1", "inputs": "0"},
        {"job": "nobody", "first": "0", "n": "1", "inputs": "\0\n"},
        {"job": "x" * 100_000, "first": "0", "n": "1", "inputs": "0\n"},
        {"job": "no\nbody", "first": "0", "n": "1", "inputs": "0\n"},
        {"job": "odd", "first": "0", "n": "1", "inputs": "0\n"},
    )

    def test_foreign_entries_among_the_chunks(self):
        nodes = self.three()
        inputs, expected = naps(400, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(50)
        redis = self.connect()
        name = self.job_id(redis)
        stream = self.key("chunks:sleep:host")
        redis("SET", self.key("job:odd"), "hello")
        # Of a job that is there, but none of its own chunks.
        ours = [{"job": name, "first": "400", "n": "1", "inputs": "0\n"},
                {"job": name, "first": "0", "n": "16385", "inputs": "0\n" * 16385},
                {"job": name, "first": "0", "n": "1", "inputs": "0\n", "more": ""}]
        for entry in (*self.FOREIGN_CHUNKS, *ours):
            redis("XADD", stream, "*", *[word for pair in entry.items() for word in pair])
        self.assert_all_done(job, expected)
        wait_until(lambda: redis("XLEN", stream) == 0,
                   lambda: f"nobody's chunks are dropped: {redis('XRANGE', stream, '-', '+', 'COUNT', 3)}")
        self.assertTrue(any("foreign" in node.output() or "entry" in node.output() for node in nodes),
                        [node.output() for node in nodes])
        self.assertTrue(all(node.running() for node in nodes))

    def test_foreign_entries_among_the_results(self):
        self.three()
        inputs, expected = naps(400, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(50)
        redis = self.connect()
        stream = self.key(f"results:{self.job_id(redis)}")
        record = RECORD.pack(1, 0, 1, 0, 0, 0, DONE)
        fields = {"chunk": "1-1", "first": "0", "n": "1", "node": "evil", "taken": "1", "records": record}
        entries = [{"hello": "world"}, {**fields, "records": record[:-1]}, {**fields, "first": "399", "n": "2"},
                   {**fields, "first": str(2 ** 64 - 1)}, {**fields, "n": "4294967297"}, {**fields, "chunk": "x"},
                   {**fields, "taken": "-5"}, {**fields, "node": ""}, {**fields, "first": "1000000"},
                   {**fields, "node": "\0" + "x" * 100}, {**fields, "node": "\0" + "x" * 101},
                   {**fields, "records": RECORD.pack(1, 5, 1, 0, 0, 0, DONE)},          # ends before it starts
                   {**fields, "records": RECORD.pack(1, 0, 1, 0, 0, 0, 77)}]            # no such state
        for entry in entries:
            redis("XADD", stream, "*", *[word for pair in entry.items() for word in pair])
        for i in range(3):
            redis("ZADD", self.key("nodes"), 2 ** 50, b"\0" + b"x" * (100 + i))
        self.assert_all_done(job, expected)
        self.assertGreaterEqual(job.measured()["machines"]["results_foreign"], len(entries), job.output())
        named = [line for line in job.output().splitlines() if "foreign" in line or "entry" in line]
        self.assertEqual(len(named), 1, f"it is named once: {job.output()}")

    def test_the_last_name_that_an_entry_may_have(self):
        """After it Redis takes no other: the stream is made anew."""
        self.node("node")
        inputs, expected = naps(200, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(20)
        redis = self.connect()
        redis("XADD", self.key(f"results:{self.job_id(redis)}"), f"{2 ** 64 - 1}-{2 ** 64 - 1}", "hello", "world")
        self.assert_all_done(job, expected)

    def test_jobs_of_another_version(self):
        """Any number of them, and of their chunks, is one line; and they are taken off."""
        node = self.node("node")
        redis = self.connect()
        stream = self.key("chunks:sleep:host")
        for i in range(100):
            redis("HSET", self.key(f"job:odd-{i}"), "v", "1", "workload", "sleep", "spec", "{}")
            redis("XADD", stream, "*", "job", f"odd-{i}", "first", "0", "n", "1", "inputs", "0\n")
        inputs, expected = naps(20, 0.01)
        self.assert_all_done(self.job("sleep", inputs), expected)
        wait_until(lambda: redis("XLEN", stream) == 0, lambda: f"them gone\n{node.output()}")
        self.assertEqual(len(node.output().splitlines()), 1, node.output())
        self.assertRegex(node.output(), "cannot take chunks of the job odd-")

    def test_names_that_no_node_has(self):
        """They are not listed, nor do they count."""
        self.node("node")
        redis = self.connect()
        for i in range(3):
            redis("ZADD", self.key("nodes"), 2 ** 50, "x" * 65536 + str(i))
        self.assertEqual([node["name"] for node in self.listed()], ["node"])
        inputs, expected = naps(20, 0.01)
        self.assert_all_done(self.job("sleep", inputs), expected)

    def test_a_list_of_nodes_that_is_something_else(self):
        """The job ends and says so; nothing would ever be found in it."""
        self.connect()("SET", self.key("nodes"), "hello")
        job = self.job("sleep", ["0"])
        self.assertEqual(job.wait(10), 1, job.output())
        self.assertRegex(job.output(), "look for nodes.*WRONGTYPE")

    def test_a_database_that_is_not_there(self):
        """It will not be, however long one waits."""
        url = self.redis.url + "?db=99" if self.redis.url.startswith("unix:") else self.redis.url + "/99"
        assert_no_database(self, url, "DB index is out of range")

    def test_keys_of_another_type(self):
        """Somebody uses our names for something else: said, and no crash."""
        redis = self.connect()
        redis("SET", self.key("chunks:sleep:host"), "hello")
        inputs, _ = naps(10, 0.01)
        node = self.new_node("node").start()
        job = self.job("sleep", inputs)
        wait_until(lambda: "WRONGTYPE" in job.output(), job.output)
        job.signal(signal.SIGTERM)
        self.assertIn(job.wait(), (1, 3), job.output())
        self.assertGreaterEqual(node.popen.poll() or 0, 0, f"it did not crash: {node.output()}")


def assert_no_database(test, url, says):
    machines = test.machines(redis=url)
    for runner in (test.job("sleep", ["0"], number=99, machines=machines), test.new_node("bad", machines=machines).start()):
        test.assertEqual(runner.wait(10), 1, runner.output())
        test.assertEqual(len(runner.output().splitlines()), 1, runner.output())
        test.assertRegex(runner.output(), f"choose the database.*{says}.*pppctl.conf")


class Endless(Case):
    """What answers never ends its answer: a part of it is kept, and it is said."""

    with_daemon = False

    def test_a_reply_without_end(self):
        path = os.path.join(self.temp, "endless")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"+PONG\r\n$2000000000\r\n")
                # All by one call, or each part of it would wait for this process's turn.
                with contextlib.suppress(OSError):
                    connection.sendall(bytes(64 << 20))

        tries = itertools.count()

        def told():
            """None where a busy machine did not read as much within the 3 s that a Redis gets."""
            threading.Thread(target=serve, daemon=True).start()
            runner = Runner(os.path.join(self.temp, f"list-{next(tries)}"),
                            {"machines": {"redis": f"unix:{path}", "name": "host"}}, ["--nodes"]).start()
            self.addCleanup(runner.end)
            self.assertEqual(runner.wait(), 1)
            return None if "did not answer within" in runner.output() else runner.output()
        text = next(filter(None, (told() for _ in range(5))), None)
        if text is None:
            self.skipTest("this machine does not read 16 MiB within 3 s")
        self.assertRegex(text, "cannot reach Redis at .*longer than 16 MiB")


class Password(FleetCase):
    password = "right horse"

    def test_with_the_right_one(self):
        self.node("node")
        inputs, expected = naps(50, 0.01)
        job = self.job("sleep", inputs)
        self.assert_all_done(job, expected)
        self.assertNotIn(self.password, job.output())

    def test_wrong_or_none(self):
        """Neither job nor node can work; both say why and what to do, in one line, and end."""
        for password in ("wrong", None):
            machines = self.machines()
            machines.pop("password")
            if password:
                machines["password"] = password
            with self.subTest(password=password):
                runners = [self.job("sleep", ["0"], number=1 if password else 2, machines=machines),
                           self.new_node(f"node-{password}", machines=machines).start()]
                for runner in runners:
                    self.assertEqual(runner.wait(10), 1, runner.output())
                    self.assertEqual(len(runner.output().splitlines()), 1, runner.output())
                    self.assertRegex(runner.output(), "password")
                    self.assertNotIn("wrong horse", runner.output())

    def test_it_changes_in_mid_job(self):
        """Connections that were made before go on; who comes back has to know the new one."""
        self.node("node")
        inputs, _ = naps(400, 0.02)
        job = self.job("sleep", inputs)
        job.await_done(20)
        redis = self.connect()
        redis("CONFIG", "SET", "requirepass", "new")
        redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.assertEqual(job.wait(20), 1, job.output())
        self.assertRegex(job.output(), "password")

    def test_a_user_who_may_not(self):
        """ACL: a right that is missing is named."""
        self.node("node")
        redis = self.connect()
        redis("ACL", "SETUSER", "half", "on", ">secret", "~pppctl-test:*", "+@all", "-xadd")
        machines = self.machines(username="half", password="secret")
        job = self.job("sleep", ["0"], machines=machines)
        self.assertEqual(job.wait(10), 1, job.output())
        self.assertRegex(job.output(), "(?i)ACL|permission|NOPERM")
        redis("ACL", "SETUSER", "elsewhere", "on", ">secret", "~other:*", "+@all")
        job = self.job("sleep", ["0"], number=2, machines=self.machines(username="elsewhere", password="secret"))
        self.assertEqual(job.wait(10), 1, job.output())
        self.assertRegex(job.output(), "(?i)ACL|permission|NOPERM")


class Rights(FleetCase):
    """docs/machines.md lists them: each is needed, and one that is missing ends who needs it, with its name."""

    OF_NODES = {"time", "multi", "exists", "set", "expire", "pexpire", "hset", "hget", "hmget", "zadd",
                "zremrangebyscore", "xadd", "xack", "xdel", "xread", "xreadgroup", "xclaim", "xpending", "xgroup|create"}
    OF_JOBS = {"time", "multi", "exists", "expire", "hset", "hmget", "zrange", "xadd", "xdel", "xread", "xgroup|create"}

    def rights(self):
        with open(os.path.join(settings.source, "docs/machines.md")) as file:
            [line] = [line for line in file if line.startswith("ACL SETUSER pppd ")]
        return [word[1:] for word in line.split() if word.startswith("+")]

    def user(self, rights):
        redis = self.connect()
        redis("FLUSHALL")
        redis("ACL", "SETUSER", "user", "reset", "on", ">secret", "~pppctl-test:*", "resetchannels", "-@all",
              *[f"+{right}" for right in rights])
        redis.close()
        return self.machines(username="user", password="secret", heartbeat_ns=500_000_000)

    def assert_ends(self, runner, right):
        self.assertEqual(runner.wait(10), 1, runner.output())
        self.assertRegex(runner.output(), f"'{right}' command.*ACL SETUSER")

    def test_one_is_missing(self):
        rights = self.rights()
        for i, right in enumerate(sorted(self.OF_NODES | self.OF_JOBS)):
            with self.subTest(right=right):
                self.assertIn(right, rights)
                machines = self.user([other for other in rights if other != right])
                all_of_them = self.machines(heartbeat_ns=500_000_000)
                node = self.new_node(f"node-{i}", machines=machines if right in self.OF_NODES else all_of_them).start()
                if right in self.OF_NODES:
                    job = self.job("sleep", ["10ms"] * 20 + ["2s"], number=2 * i + 1, machines=all_of_them)
                    self.assert_ends(node, right)
                    job.end()
                    node = self.new_node(f"other-{i}", machines=all_of_them).start()
                if right in self.OF_JOBS:
                    self.assert_ends(self.job("sleep", ["10ms"] * 20 + ["2s"], number=2 * i + 2, machines=machines), right)
                node.end()


class Cluster(FleetCase):
    """A server of a Redis Cluster: all that a job needs has to be in one slot (docs/scale.md)."""

    redis_options = ("--cluster-enabled", "yes")

    def setUp(self):
        super().setUp()
        if not self.network:
            self.skipTest(self.no_network)          # a cluster needs a port, and that one of its own
        redis = self.connect()
        redis("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in redis("CLUSTER", "INFO"), "the cluster")

    def test_with_a_hash_tag(self):
        machines = self.machines(prefix="pppctl{7}:")
        node = self.new_node("node", machines=machines).start()
        inputs, expected = naps(200, 0.01)
        self.assert_all_done(self.job("sleep", inputs, machines=machines), expected)
        self.assertEqual(node.output(), "")

    def test_a_database(self):
        """A cluster has one alone."""
        assert_no_database(self, self.redis.url + "/1", "SELECT is not allowed")

    def test_without(self):
        """A node that serves two workloads reads of two slots: it ends and says what to do."""
        node = self.new_node("node").start()
        self.assertEqual(node.wait(10), 1, node.output())
        self.assertEqual(len(node.output().splitlines()), 1, node.output())
        self.assertRegex(node.output(), "CROSSSLOT.*prefix = {pppctl}:")
