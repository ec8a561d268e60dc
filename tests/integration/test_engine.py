"""The level machines through the daemon: the private Redis and its nodes, a Redis that is configured, and
what becomes of them when the daemon, they or the configuration change.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from harness import settings
from harness.case import Case
from harness.daemon import read_pids
from harness.poll import wait_until
from harness.process import alive, command_line, reap_orphans
from harness.redis import SERVER, Error as RedisError, Redis
from harness.varlink import Error

DEMO = {"2016: 3794 words", "2017: 4123 words", "2018: 4334 words", "2019: 1953 words"}
HELPERS = ("redis", "node-1/runner", "node-2/runner")


class Engine(Case):
    """`pids` are of the daemon's helpers, by their cgroups."""

    with_daemon = False

    def pids(self, daemon, *groups):
        """The main process of each group, once it is there."""
        return wait_until(lambda: self._pids(daemon, groups), f"processes in {groups}")

    def _pids(self, daemon, groups):
        pids = [read_pids(os.path.join(daemon.group, group))[:1] for group in groups]
        return [pid for [pid] in pids] if all(pids) else None

    def need_groups(self, daemon):
        if not daemon.group:
            self.skipTest("no cgroups here")

    def nodes(self, daemon, *expected):
        """The reply of Nodes once it has these names."""
        def ask():
            reply = daemon.call("Nodes")
            return reply if sorted(node["name"] for node in reply["nodes"]) == sorted(expected) else None
        return wait_until(ask, f"the nodes {expected}")

    def assert_done(self, daemon, job, n, **counts):
        shown = daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"], shown["tasks_failed"]), ("done", n, 0), shown)
        self.assertEqual(sum(row is None for row in daemon.rows(job)), 0)
        return shown["summary"]


@unittest.skipUnless(SERVER, "redis-server is not installed")
class Private(Engine):
    """No Redis is configured: jobs get one of their own, with two nodes."""

    def test_the_demo(self):
        daemon = self.fresh("demo")
        for _ in range(2):
            result = daemon.pppctl("run", "machines")
            self.assertEqual((result.status, set(result.out.splitlines())), (0, DEMO), result)
        result = daemon.pppctl("nodes")
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.out, r"(?m)^local-1 +\S+ +threads ")
        self.assertRegex(result.out, r"(?m)^local-2 ")
        reply = json.loads(daemon.pppctl("nodes", "--json").out)
        self.assertEqual(reply["redis"], f"unix:{daemon.state}/redis/socket")
        self.assertEqual({tuple(node["workloads"]) for node in reply["nodes"]}, {("words", "sum", "sum-array", "sleep", "mix")})

    def test_there_is_none_before_a_job(self):
        daemon = self.fresh("none")
        result = daemon.pppctl("nodes")
        self.assertEqual((result.status, result.out), (0, ""), result)
        self.assertIn("no Redis is configured", result.err)
        self.assertEqual(daemon.call("Nodes"), {"nodes": []})

    def test_the_summary(self):
        """CPU time is that of the nodes too; what cannot be known of them is not made up."""
        daemon = self.fresh("summary")
        self.need_groups(daemon)
        summary = self.run_job("machines", "sum", ["300000000"] * 4, daemon=daemon).summary
        self.assertGreater(summary["cpu_user_seconds"], summary["coordinator"]["cpu_user_seconds"] + 0.02, summary)
        self.assertEqual(summary["machines"]["nodes"] in (1, 2), True, summary)
        self.assertGreater(summary["workers"], 0)
        listed = {item["metric"]: item["reason"] for item in summary["unavailable"]}
        self.assertIn("nodes", listed["rss_peak_bytes"])

    def test_two_at_a_time_share_it(self):
        daemon = self.fresh("share")
        jobs = [daemon.submit("machines", "sleep", ["0.3"] * 4) for _ in range(2)]
        for job in jobs:
            summary = self.assert_done(daemon, job, 4)
            if daemon.group:
                listed = {item["metric"]: item["reason"] for item in summary["unavailable"]}
                self.assertIn("other jobs", listed.get("cpu_user_seconds", "other jobs"))

    def test_compare_has_a_fifth_row(self):
        daemon = self.fresh("compare")
        result = daemon.pppctl("compare", "sum", "1000", "2000")
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.out, r"(?m)^machines +\d+ +\S+ ")
        levels = json.loads(daemon.pppctl("compare", "sum", "1000", "--json").out)["levels"]
        self.assertEqual([level["level"] for level in levels], ["serial", "threads", "processes", "async", "machines"])

    def test_options_of_others_mean_others(self):
        daemon = self.fresh("options")
        result = daemon.pppctl("compare", "sum", "1000", "--workers", 2, "--gil", "--loops", 1)
        self.assertEqual(result.status, 0, result)
        self.assert_says(daemon.pppctl("run", "machines", "sum", "5", "--workers", 2), 2, "--workers: .*nodes")

    def test_a_daemon_that_is_killed(self):
        """Everything goes on without it, and the next one takes it all over."""
        daemon = self.fresh("killed")
        self.need_groups(daemon)
        job = daemon.submit("machines", "sleep", ["0.2"] * 60)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        before, runner = self.pids(daemon, *HELPERS), daemon.runner(job)
        daemon.kill()
        self.assertTrue(all(alive(pid) for pid in [*before, runner]))
        daemon.start()
        self.assertEqual(self.pids(daemon, *HELPERS), before)
        self.assert_done(daemon, job, 60)
        result = daemon.pppctl("run", "machines")
        self.assertEqual((result.status, set(result.out.splitlines())), (0, DEMO), result)
        self.assertEqual(self.pids(daemon, *HELPERS), before, "they were used again")
        reap_orphans()

    def test_a_daemon_that_is_stopped(self):
        """The job is interrupted, nothing is left; the next daemon goes on with it, on a new Redis."""
        daemon = self.fresh("stopped")
        job = daemon.submit("machines", "sleep", ["0.2"] * 60)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        self.assertEqual(daemon.terminate(), 0)
        self.assertEqual(daemon.leftovers(), [])
        daemon.start()
        self.assert_done(daemon, job, 60)

    def test_helpers_that_are_killed(self):
        """Each is started again, and the job has each task once."""
        for group in HELPERS:
            with self.subTest(group=group):
                daemon = self.fresh(group.replace("/", "-"))
                self.need_groups(daemon)
                job = daemon.submit("machines", "sleep", ["0.1"] * 100)
                wait_until(lambda: any(daemon.rows(job)), "a first record")
                [before] = self.pids(daemon, group)
                os.kill(before, signal.SIGKILL)
                wait_until(lambda: self._pids(daemon, [group]) not in (None, [before]), "another one")
                self.assert_done(daemon, job, 100)
                self.assertRegex(daemon.log(), rf"\(process {before}\) ended: signal 9")

    def test_a_paused_job(self):
        daemon = self.fresh("paused")
        self.need_groups(daemon)
        job = daemon.submit("machines", "sleep", ["0.02"] * 2000)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        daemon.call("Pause", {"job": job})
        # What was sent ahead comes to its end; then nothing moves.
        count = lambda: sum(row is not None for row in daemon.rows(job))
        before = wait_until(lambda: count() if "frozen 1" in open(f"{daemon.job_group(job)}/cgroup.events").read() else 0, "it frozen")
        self.assertEqual(daemon.show(job)["state"], "paused")
        self.assertEqual(count(), before)
        daemon.call("Resume", {"job": job})
        self.assert_done(daemon, job, 2000)

    def test_a_reload_while_it_is_used(self):
        """Its nodes are started anew with what is theirs of the configuration; the rest is not about it."""
        path = os.path.join(self.temp, "reload.conf")

        def configure(*lines):
            with open(path, "w") as file:
                file.writelines(f"{line}\n" for line in ("[machines]", *lines))
        configure("prefix = one:", "heartbeat = 1h", "workers = 2")
        daemon = self.fresh("reload", args=["--config", path])
        self.need_groups(daemon)
        long = daemon.submit("machines", "sleep", ["0.05"] * 100)
        wait_until(lambda: any(daemon.rows(long)), "a first record")
        before = self.pids(daemon, *HELPERS)
        configure("prefix = two:", "workers = 3")
        daemon.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: "read again" in daemon.log(), "the reload")
        wait_until(lambda: {node["workers"] for node in self.nodes(daemon, "local-1", "local-2")["nodes"]} == {3},
                   "nodes with three workers")
        self.run_job("machines", "sum", ["5"], daemon=daemon)
        self.assert_done(daemon, long, 100)
        self.assertEqual(self.pids(daemon, "redis"), before[:1], "the Redis is the same")
        self.assertNotIn("ended:", daemon.log(), "each left in order")

    def test_it_leaves_when_nobody_needs_it(self):
        daemon = self.fresh("idle", env={"PPPCTL_TEST_HURRY": "20"})
        self.need_groups(daemon)
        self.run_job("machines", "sum", ["5"], daemon=daemon)
        pids = self.pids(daemon, *HELPERS)
        wait_until(lambda: not any(alive(pid) for pid in pids), "the end of idle helpers", seconds=60)
        wait_until(lambda: not any(name.startswith(("node", "redis")) for name in os.listdir(daemon.group)),
                   "the end of their groups")
        self.assertNotIn("ended", daemon.log(), "in order")
        self.run_job("machines", "sum", ["5"], daemon=daemon)


class Missing(Engine):
    """Neither is a Redis configured nor is there a redis-server."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = cls.new_daemon("missing", env={"PATH": "/nonexistent"})

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()

    def test_run_is_refused_with_both_remedies(self):
        self.assert_says(self.daemon.pppctl("run", "machines", "sum", "5"), 1, "level machines is not available",
                         "no redis-server or valkey-server", "install", r"\[machines\] redis")

    def test_compare_leaves_it_out(self):
        result = self.daemon.pppctl("compare", "sum", "1000")
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.out, "machines is left out: no Redis is configured")
        self.assertNotIn("machines", result.err)
        self.assert_says_machines(self.daemon.pppctl("compare", "sum", "1000", "--levels", "serial,machines"))

    def assert_says_machines(self, result):
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.err, "level machines is not available")

    def test_doctor(self):
        result = self.daemon.pppctl("doctor")
        self.assertRegex(result.out, r"redis-server +partly +no redis-server")
        self.assertRegex(result.out, r"Redis +no +none is configured")
        self.assertRegex(result.out, r"(?m)^ +machines +no$")


USER = "pppd"
PASSWORD = "open%20sesame!"


def acl():
    """The rights that docs/machines.md says are enough, as options of redis-server."""
    with open(f"{settings.source}/docs/machines.md") as file:
        [line] = [line.strip() for line in file if line.startswith(f"ACL SETUSER {USER} ")]
    rules = line.replace(">change-this", f">{PASSWORD}").split()[2:]
    return ["--user", *rules, "--user", "default", "off"]


@unittest.skipUnless(SERVER, "redis-server is not installed")
class Configured(Engine):
    """A Redis that the test starts, with a user, a password and a pattern of keys."""

    def setUp(self):
        self.home = self.path(self._testMethodName)
        os.makedirs(self.home)
        self.redis = Redis(self.home, options=acl() if "password" in self._testMethodName else ()).start()
        self.addCleanup(lambda: self.redis.stop(signal.SIGKILL))

    def configure(self, *lines, password=None):
        """Writes the configuration; returns its path."""
        text = f"[machines]\nredis = {self.redis.url}\nheartbeat = 1s\n"
        if password:
            secret = os.path.join(self.home, "secret")
            with open(secret, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(password + "\n")
            text += f"username = {USER}\npassword-file = {secret}\n"
        path = os.path.join(self.home, "pppctl.conf")
        with open(path, "w") as file:
            file.write(text + "".join(line + "\n" for line in lines))
        return path

    def begin(self, *lines, **options):
        return self.fresh(f"{self._testMethodName}/d", args=["--config", self.configure(*lines, **options)])

    def consumers(self, owner):
        try:
            return self.redis.run("XINFO", "CONSUMERS", f"pppctl:chunks:sleep:{owner}", "nodes")
        except RedisError:
            return []                   # nobody has read of it yet

    def reload(self, daemon):
        before = daemon.log().count("read again") + daemon.log().count("stays in force")
        daemon.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: daemon.log().count("read again") + daemon.log().count("stays in force") > before, "the reload")

    def test_serving_with_a_password(self):
        daemon = self.begin("serve = yes", "name = here", "level = async", "workers = 7", password=PASSWORD)
        [node] = self.nodes(daemon, "here")["nodes"]
        self.assertEqual((node["level"], node["workers"], node["failed"]), ("async", 7, 0), node)
        self.run_job("machines", "sum", ["10", "11"], daemon=daemon)
        result = daemon.pppctl("doctor")
        self.assertRegex(result.out, rf"Redis +yes +{re.escape(self.redis.url)}, 1 node")
        self.assert_secret(daemon)

    def assert_secret(self, daemon):
        """Neither in a command line, nor an environment, nor a log, nor a reply."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    text = file.read().decode(errors="replace")
            except OSError:
                continue
            command = "" if "redis-server" in command_line(int(pid)) else command_line(int(pid))
            self.assertNotIn(PASSWORD, text + command, pid)
        self.assertNotIn(PASSWORD, daemon.log())
        self.assertNotIn(PASSWORD, json.dumps(daemon.call("Nodes")) + json.dumps(daemon.call("Doctor")))

    def test_the_owner_is_the_user(self):
        """Jobs of two users of one daemon are two owners' to the node."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv to be another user")
        daemon = self.begin("serve = yes", "name = here")
        self.nodes(daemon, "here")
        for directory in (self.temp, self.home, daemon.directory):
            os.chmod(directory, 0o755)
        os.chmod(daemon.socket, 0o666)
        args = daemon.pppctl_args("run", "machines", "sleep", "30", "--detach")
        other = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *args],
                               capture_output=True, text=True)
        self.assertEqual(other.returncode, 0, other.stderr)
        daemon.submit("machines", "sleep", ["30"])
        owners = lambda: sorted(self.redis.run("HGET", key, "owner") for key in self.redis.run("KEYS", "pppctl:job:*"))
        wait_until(lambda: owners() == [b"here:0", b"here:65534"], lambda: str(owners()))
        wait_until(lambda: all(self.consumers(f"here:{uid}") for uid in (0, 65534)), "a runner for each")
        if daemon.group:
            [one, two] = [read_pids(os.path.join(daemon.group, f"node/owner-{i}/runner")) for i in range(2)]
            self.assertTrue(one and two, "each in a group of its own")
        daemon.cancel_all()

    def test_a_wrong_password(self):
        daemon = self.begin("serve = yes", password="guess")
        wait_until(lambda: "ended: exit status 1" in daemon.log(), "the node's refusal")
        self.assertRegex(daemon.log(), "(?i)password|WRONGPASS")
        result = daemon.pppctl("run", "machines", "sum", "5")
        self.assertEqual(result.status, 1, result)
        self.assertRegex(result.err, "failed")
        job = daemon.submit("machines", "sum", ["5"])
        self.assertRegex(daemon.wait(job)["reason"], "(?i)runner-failed: .*(password|WRONGPASS)")
        self.assert_says(daemon.pppctl("nodes"), 1, "list the nodes", "password|WRONGPASS")
        self.assertRegex(daemon.pppctl("doctor").out, r"Redis +no +.*(?i:password)")
        self.configure("serve = yes", "name = right", password=PASSWORD)
        self.reload(daemon)
        self.nodes(daemon, "right")
        self.run_job("machines", "sum", ["5"], daemon=daemon)

    def test_a_refused_node_and_a_reload(self):
        """A reload tries a node again that could not work, also when the configuration is as it was."""
        daemon = self.begin("serve = yes", "name = late", password=PASSWORD)
        wait_until(lambda: "exit status 1; it is tried again" in daemon.log(), "the node's refusal")
        self.redis.run("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "+@all")
        self.reload(daemon)
        self.nodes(daemon, "late")

    def test_reloads(self):
        daemon = self.begin("name = first")
        self.assertEqual(self.nodes(daemon)["redis"], self.redis.url)
        self.configure("serve = yes", "name = first")
        self.reload(daemon)
        self.nodes(daemon, "first")
        self.need_groups(daemon)
        [before] = self.pids(daemon, "node/runner")
        self.reload(daemon)
        self.assertEqual(self.pids(daemon, "node/runner"), [before], "nothing has changed")
        self.configure("serve = yes", "name = second")
        self.reload(daemon)
        self.nodes(daemon, "second")
        self.configure("serve = perhaps")
        self.reload(daemon)
        self.assertRegex(daemon.log(), r"pppctl\.conf:4: serve takes yes or no")
        self.nodes(daemon, "second")
        self.configure("serve = no")
        self.reload(daemon)
        self.nodes(daemon)
        wait_until(lambda: "node" not in os.listdir(daemon.group), "the end of its group")
        self.assertNotIn("ended:", daemon.log(), "each left in order")

    def test_a_daemon_that_is_killed_while_it_serves(self):
        daemon = self.begin("serve = yes", "name = n")
        self.need_groups(daemon)
        self.nodes(daemon, "n")
        [before] = self.pids(daemon, "node/runner")
        job = daemon.submit("machines", "sleep", ["0.1"] * 60)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        daemon.kill()
        daemon.start()
        self.assertEqual(self.pids(daemon, "node/runner"), [before])
        self.assert_done(daemon, job, 60)
        self.configure("serve = yes", "name = m")
        self.reload(daemon)
        self.nodes(daemon, "m")
        self.configure("serve = no")
        daemon.kill()
        daemon.start()
        self.nodes(daemon)
        reap_orphans()

    def test_a_stop_lets_it_leave_in_order(self):
        daemon = self.begin("serve = yes", "name = n")
        self.nodes(daemon, "n")
        job = daemon.submit("machines", "sleep", ["60"] * 3)
        wait_until(lambda: daemon.call("Nodes")["nodes"][0]["load"] > 0, "the node at work")
        daemon.cancel(job)
        self.assertEqual(daemon.terminate(), 0)
        self.assertNotIn(b"n", self.redis.run("ZRANGE", "pppctl:nodes", 0, -1))
        self.assertEqual(daemon.leftovers(), [])
        daemon.start()

    def test_a_node_that_is_killed(self):
        daemon = self.begin("serve = yes", "name = n")
        self.need_groups(daemon)
        job = daemon.submit("machines", "sleep", ["0.05"] * 100)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        [before] = self.pids(daemon, "node/runner")
        os.kill(before, signal.SIGKILL)
        self.assert_done(daemon, job, 100)
        self.assertNotEqual(self.pids(daemon, "node/runner"), [before])

    def test_no_node(self):
        """The job waits, says why, and can be cancelled."""
        daemon = self.begin()
        process, job = self.start("machines", "sum", "5", daemon=daemon)
        wait_until(lambda: daemon.show(job).get("condition") == "no-node", "the condition")
        wait_until(lambda: b"waits: no node serves this workload" in process.errors_so_far(), "what pppctl says")
        self.assertRegex(daemon.pppctl("show", job).out, r"waits +no node serves this workload")
        result = daemon.pppctl("nodes")
        self.assertRegex(result.err, "no node has joined")
        self.configure("serve = yes")
        self.reload(daemon)
        result = process.wait()
        self.assertEqual((result.status, result.out), (0, "5: 10\n"), result)

    def test_nodes_of_which_little_is_known(self):
        daemon = self.begin("name = first")
        now = str(int(time.time() * 1000))
        self.redis.run("ZADD", "pppctl:nodes", now, "silent")
        result = daemon.pppctl("nodes")
        self.assertRegex(result.out, r"(?m)^silent +- +- +- +- +\S+ \S+ ago +- +-")
        if settings.sanitized():
            return          # 20,000 replies take longer to read than the 3 s that a list may take
        for i in range(20):
            self.redis.run("ZADD", "pppctl:nodes", *[word for k in range(1000) for word in (now, f"node-{i}-{k}")])
        # A busy Redis may not answer in time, and is asked again.
        wait_until(lambda: not re.search("answer(ed)? within", daemon.pppctl("nodes").err), "an answer in time", 100.0)
        self.assert_says(daemon.pppctl("nodes"), 1, "there are 20001, more than fit into one reply")
        self.assertRegex(daemon.pppctl("doctor").out, "20001 nodes")

    def test_an_engine_that_is_away(self):
        daemon = self.begin("serve = yes", "name = n")
        self.nodes(daemon, "n")
        self.redis.stop(signal.SIGKILL)
        job = daemon.submit("machines", "sum", ["5"])
        wait_until(lambda: daemon.show(job).get("condition") == "engine-unreachable", "the condition")
        with self.assertRaisesRegex(Error, "Failed"):
            daemon.call("Nodes")
        self.assert_alive(daemon)
        self.redis.start()
        self.assert_done(daemon, job, 1)

    def test_limits_that_cannot_be_had(self):
        """The daemon does not serve then, and says why; jobs of its own it runs."""
        daemon = self.begin("serve = yes", "[node]", "memory-max = 64M")
        if "cannot set the limit" not in daemon.log() and "serve others" not in daemon.log():
            self.skipTest("the memory controller is here")
        self.assertRegex(daemon.log(), "does not serve others: .*memory")
        self.assert_alive(daemon)

    def test_the_configuration_of_the_readme(self):
        """As it stands there, but for the secret's path."""
        secret = os.path.join(self.home, "secret")
        with open(secret, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("s\n")
        with open(os.path.join(settings.source, "README.md")) as file:
            text = re.search(r"```\n(# /etc/pppctl/pppctl.conf.d/machines.conf.*?)```", file.read(), re.DOTALL)[1]
        path = os.path.join(self.home, "readme.conf")
        with open(path, "w") as file:
            file.write(text.replace("/etc/pppctl/redis-password", secret))
        daemon = self.fresh(f"{self._testMethodName}/d", args=["--config", path])
        self.assertRegex(daemon.pppctl("doctor").out, r"Redis .*rediss://redis\.example")

    def test_compare_does_not_wait_for_nodes(self):
        """It was not asked for that level; a job that was would wait."""
        daemon = self.begin()
        result = daemon.pppctl("compare", "sum", "1000")
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.out, f"machines is left out: no node at {self.redis.url} takes sum; make")
        self.configure("serve = yes", "workloads = sleep", "name = here")
        self.reload(daemon)
        self.nodes(daemon, "here")
        self.assertRegex(daemon.pppctl("compare", "sum", "1000").out, "machines is left out: no node")
        self.assertNotIn("left out", daemon.pppctl("compare", "sleep", "0").out)
        self.redis.stop()
        result = daemon.pppctl("compare", "sleep", "0")
        self.assertRegex(result.out, "machines is left out: cannot reach Redis")
        self.assertEqual((result.status, result.err), (0, ""), result)

    def test_bad_configurations(self):
        for lines, says in ((["serve = maybe"], r"pppctl\.conf:4: serve takes"),
                            (["[node]", "worker-memory-max = 64M"], "worker-memory-max"),
                            (["username = somebody"], "a username but no password"),
                            (["redis = redis://:secret@h"], "everybody may read")):
            with self.subTest(says=says):
                path = self.configure(*lines)
                os.chmod(path, 0o644)
                daemon = self.new_daemon(f"{self._testMethodName}/b", start=False, args=["--config", path])
                with self.assertRaisesRegex(Exception, says):
                    daemon.start()
