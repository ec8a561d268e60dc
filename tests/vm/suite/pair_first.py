"""The level machines over two machines that have nothing in common but a network.

This is the first: it has the Redis, and the jobs are started here. In order: the last test is the end of
the second one. Each may have had other tests before, and the second may come much later.
"""

import os
import random
import shutil
import time
import unittest

import package
import pair_link
from case import Case, tell, tell_waiting
from commands import must, run
from daemon import Daemon
from harness.poll import wait_until
from pair_link import ADDRESSES, HEARTBEAT, PAYLOAD, PORT

REDIS_DIRECTORY, REDIS_UNIT = "/run/test-redis", "test-redis.service"
SOCKET, ADMINISTRATOR = f"{REDIS_DIRECTORY}/socket", "administrator"
CHUNKS = "pppctl:chunks:sleep:first:0"          # root's, submitted here
# The first task and the number of tasks of each chunk that the consumer ARGV[1] has in hand.
HELD = """
local found = {}
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], 'nodes', '-', '+', 1000, ARGV[1])) do
    for _, chunk in ipairs(redis.call('XRANGE', KEYS[1], pending[1], pending[1])) do
        local fields = {}
        for i = 1, #chunk[2], 2 do fields[chunk[2][i]] = chunk[2][i + 1] end
        table.insert(found, fields.first)
        table.insert(found, fields.n)
    end
end
return found
"""
SLACK = 60.0                            # for emulation
OTHER_SECONDS = 1500.0                  # for the tests that the second may have before
NS = 10 ** 9

other = pair_link.Other()
server = None


def redis(*args):
    """As its administrator, on this machine alone."""
    result = must("redis-cli", "-s", SOCKET, "--no-auth-warning", "-a", ADMINISTRATOR, *args)
    if result.out.startswith(("ERR", "WRONG", "NO")):
        raise AssertionError(f"Redis refused:\n{result}")
    return result.out


def start_redis():
    """As docs/machines.md has it, which is read for that: the options, and what pppd may do."""
    os.mkdir(REDIS_DIRECTORY, 0o755)
    for name in ("redis.pem", "redis.key", "ca.pem"):
        shutil.chown(shutil.copy(os.path.join(PAYLOAD, name), REDIS_DIRECTORY), "redis", "redis")
    must("chown", "redis:", REDIS_DIRECTORY)
    must("systemd-run", "--quiet", f"--unit={REDIS_UNIT}", "--uid=redis", f"--working-directory={REDIS_DIRECTORY}",
         *documented("redis-server "), "--bind", ADDRESSES["first"], "--save", "", "--requirepass", ADMINISTRATOR,
         "--unixsocket", SOCKET, "--unixsocketperm", "700")
    wait_until(lambda: os.path.exists(SOCKET), lambda: run("systemctl", "status", REDIS_UNIT), 60.0, step=0.1)
    with open(os.path.join(PAYLOAD, "password")) as file:
        password = file.read().strip()
    redis(*(password.join(word.split("change-this")) for word in documented("ACL SETUSER ")))


def documented(begin):
    """The words of a command in docs/machines.md."""
    with open(os.path.join(PAYLOAD, "machines.md")) as file:
        text = file.read().replace("\\\n", " ")
    return next(line for line in text.splitlines() if line.startswith(begin)).split()


def setUpModule():
    global server
    unittest.addModuleCleanup(other.end)
    if not package.is_installed():
        package.install()
    pair_link.connect("first")
    start_redis()
    server = pair_link.Server("first")
    pair_link.join("first")
    tell_waiting()
    wait_until(other.is_there, "the second machine", OTHER_SECONDS, step=0.5)
    both()


def nodes():
    return {node["name"]: node for node in Daemon().call("Nodes")["nodes"]}


def both():
    """The nodes, once both are there."""
    return wait_until(lambda: nodes().keys() == ADDRESSES.keys() and nodes(),
                      lambda: f"both nodes: {nodes()}\n{Daemon().status()}", SLACK, step=0.2)


def naps(n, seconds):
    """Inputs of `sleep` that each have a value of their own, and the values."""
    values = [int(seconds * NS) + i * 1000 for i in range(n)]
    return [f"{value}ns" for value in values], values


class Pair(Case):
    seconds = 300

    def run(self, result=None):
        super().run(result)
        if result.outcome == "failed" and not other.ended:
            tell("the other machine's journal:\n" + other.run("journalctl", "-b", "--no-pager", "-n", "300").out)

    def begin(self, workload, inputs):
        self.before, self.since = both(), time.time_ns()
        return self.pppd.submit("machines", workload, inputs)

    def done_since(self):
        """How many tasks each node did since the job was begun; it tells from time to time."""
        return {name: node["done"] - self.before[name]["done"] for name, node in nodes().items()}

    def assert_values(self, job, values, before=()):
        """Every task was done, once, and its record says what it must; the summary."""
        shown = self.pppd.wait(job, timeout=200.0)
        self.assert_complete(job, before)
        rows = self.pppd.rows(job)
        self.assertEqual([row.value for row in rows], values)
        self.duration = max(row.end_ns for row in rows) / NS
        for row in rows:
            self.assertTrue(0 <= row.start_ns <= row.end_ns <= time.time_ns() - self.since, row)
        self.assertEqual(shown["summary"]["machines"]["results_foreign"], 0)
        return shown["summary"]["machines"]

    def assert_shared(self, job, n):
        """By its records and by what the nodes say, both had a part in it."""
        self.assertEqual({row.worker for row in self.pppd.rows(job)}, {0, 1})
        done = wait_until(lambda: sum(self.done_since().values()) >= n and self.done_since(),
                          lambda: f"{n} tasks done: {self.done_since()}", SLACK, step=0.2)
        self.assertTrue(all(done.values()), done)
        return done

    def test_1_each_lists_both(self):
        found = both()
        version = run("pppctl", "--version").out.split()[-1]
        self.assertEqual({(name, node["level"], node["version"]) for name, node in found.items()},
                         {("first", "threads", version), ("second", "async", version)})
        here = self.assert_ok(self.pppd.pppctl("nodes"))
        there = self.assert_ok(other.run("pppctl", "--system", "nodes"))
        for result in (here, there):
            self.assertRegex(result.out, rf"(?m)^first +{version} +threads +4 ", result)
            self.assertRegex(result.out, rf"(?m)^second +{version} +async +8 ", result)
        self.assertNotEqual(run("uname", "-r").out, other.run("uname", "-r").out)

    def test_2_one_job_on_both(self):
        inputs, values = naps(400, 0.1)
        job = self.begin("sleep", inputs)
        machines = self.assert_values(job, values)
        done = self.assert_shared(job, len(values))
        self.assertEqual(machines["nodes"], 2)
        tell(f"400 naps: {done}, {self.duration:.1f} s")

    def test_3_pages_over_the_link(self):
        """Each fetches from the other, at a level of its own."""
        counts = list(range(1, 401))
        random.Random(1).shuffle(counts)
        addresses = list(ADDRESSES.values())
        urls = [f"http://{addresses[i % 2]}:{PORT}/words/{n}" for i, n in enumerate(counts)]
        mine, theirs = server.pages[ADDRESSES["second"]], other.order("pages").get(ADDRESSES["first"], 0)
        job = self.begin("words", urls)
        self.assert_values(job, counts)
        done = self.assert_shared(job, len(counts))
        mine = server.pages[ADDRESSES["second"]] - mine
        theirs = other.order("pages").get(ADDRESSES["first"], 0) - theirs
        self.assertTrue(mine and theirs, f"pages served to the other machine: {mine} and {theirs}")
        tell(f"400 pages: {done}, {self.duration:.1f} s; over the link: {mine} and {theirs}")

    def test_4_clocks_that_differ(self):
        """By an hour all the time, and by another one in the middle of this job."""
        inputs, values = naps(150, 0.3)
        job = self.begin("sleep", inputs)
        before = self.pppd.recorded(job, 20)
        there = int(other.run("date", "+%s").out)
        self.assertGreater(there - time.time(), pair_link.AHEAD_SECONDS - SLACK)
        other.order("step_clock", seconds=pair_link.AHEAD_SECONDS)
        machines = self.assert_values(job, values, before)
        self.assert_shared(job, len(values))
        for row, value in zip(self.pppd.rows(job), values):
            self.assertGreaterEqual(row.end_ns - row.start_ns, value)
        self.assertEqual((machines["chunks_resent"], machines["results_duplicate"]), (0, 0))
        for name, node in nodes().items():
            self.assertTrue(0 <= node["last_seen_seconds"] < HEARTBEAT, node)

    def held(self):
        """By Redis: the tasks of the chunks that the second machine's node holds, all of one moment."""
        words = [int(word) for word in redis("EVAL", HELD, "1", CHUNKS, "second").split()]
        return {task for first, n in zip(words[::2], words[1::2]) for task in range(first, first + n)}

    def test_5_cut_off(self):
        """For longer than the heartbeat: what it had in hand is done by the other, and its results come late."""
        inputs, values = naps(200, 1.0)
        job = self.begin("sleep", inputs)
        before = self.pppd.recorded(job, 10)
        wait_until(self.held, "tasks in hand", SLACK, step=0.05)
        other.order("cut_off", seconds=1.5 * HEARTBEAT)
        wait_until(lambda: not other.is_there(), "the cut", SLACK)
        wait_until(other.is_there, "the link", SLACK + 2 * HEARTBEAT)
        machines = self.assert_values(job, values, before)
        self.assertGreater(machines["results_duplicate"], 0)
        self.assert_shared(job, 0)
        tell(f"cut off: {machines['results_duplicate']} results came twice, {self.duration:.1f} s")

    def test_6_one_dies(self):
        inputs, values = naps(100, 1.0)
        job = self.begin("sleep", inputs)
        before = self.pppd.recorded(job, 20)
        wait_until(self.held, "tasks in hand", SLACK, step=0.05)
        other.die()
        died = (time.time_ns() - self.since) / NS
        held = self.held()
        self.assertTrue(held, "it left nothing behind")
        self.assert_values(job, values, before)
        rows = [row for i, row in enumerate(self.pppd.rows(job)) if i in held]
        self.assertEqual(len({row.worker for row in rows}), 1, "who else has done them?")
        delay = max(row.end_ns for row in rows) / NS - died
        self.assertLess(delay, HEARTBEAT + len(held) / 4 + SLACK / 2)
        tell(f"died after {died:.1f} s with {len(held)} tasks in hand, which were done {delay:.1f} s later; the job, "
             f"{self.duration - died:.1f} s")
