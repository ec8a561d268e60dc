"""Nodes and the coordinator of a job, started as lib/runner-abi.h says, each node on a machine of its own.

A machine is a network namespace and a cgroup where those can be made. Without namespaces all meet at
Redis' Unix socket, and only the tests that need a network to cut are skipped. Tests with `apart = False`
have all runners on this machine, in no cgroup.
"""

import contextlib
import json
import os
import signal
import subprocess
import time

from . import network, process, results, varlink
from .case import Case
from .daemon import cgroup_mount, descendants, read_pids, remove_group
from .poll import wait_until
from .redis import SERVER, Error, Redis

PREFIX = "pppctl-test:"
HEARTBEAT = 1.0
WORKLOADS = ("words", "sum", "sum-array", "sleep", "mix")
# Opens what a runner finds open: nothing but that, and by path, since numbers may be taken.
LAUNCH = """[ -z "$1" ] || echo 0 >"$1/cgroup.procs" || exit 1
exec 3<"$2" 4<"$3" 5<>"$4" 6<>"$5" 7<"$6"; shift 6; exec "$@" """


class Runner:
    """pppd-runner with its descriptors; all it says is in `log_path`."""

    env = {}

    def __init__(self, directory, spec, arguments, group=None, wrap=()):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.spec, self.group = directory, spec, group
        self.log_path = os.path.join(directory, "output")
        self.arguments, self.wrap = arguments, list(wrap)
        self.program = process.program("pppd-runner")
        self.inputs = self.results = self.measures = os.devnull
        self.popen = None

    def start(self):
        leaf = os.path.join(self.group, "runner") if self.group else ""
        if leaf:
            os.makedirs(leaf, exist_ok=True)
        fd = varlink.sealed_memfd(json.dumps(self.spec).encode())
        descriptors = [f"/proc/{os.getpid()}/fd/{fd}", self.inputs, self.results, self.measures,
                       self.group or os.devnull]
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                ["sh", "-c", LAUNCH, "sh", leaf, *descriptors, *self.wrap, self.program, *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=process.clean_environment(**self.env))
        process.adopt_popen(self.popen)
        # The shell has opened it when the runner's name shows.
        wait_until(lambda: process.ended(self.pid) or self._began(), "the runner to start")
        os.close(fd)
        return self

    def _began(self):
        return process.command_line(self.pid).startswith(self.program)

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def output(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def wait(self, seconds=60.0):
        """The exit status."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{' '.join(self.arguments)} has not ended within {seconds} s:\n{self.output()}") from None
        finally:
            if self.popen.returncode is not None:
                process.forget_popen(self.popen)

    def wait4(self):
        """The resource usage of a process that has to end well."""
        _, status, usage = os.wait4(self.pid, 0)
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        process.forget_popen(self.popen)
        if self.popen.returncode != 0:
            raise RuntimeError(f"{' '.join(self.arguments)} ended with {self.popen.returncode}:\n{self.output()}")
        return usage

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self):
        """In order; the exit status."""
        if self.running():
            self.signal(signal.SIGTERM)
        return self.wait()

    def processes(self):
        if not self.group:
            return [self.pid, *descendants(self.pid)]
        return [pid for directory, _, _ in os.walk(self.group) for pid in read_pids(directory)]

    def kill(self):
        """As a machine dies: all of its processes at once. Returns when (CLOCK_MONOTONIC, ns)."""
        pids = [] if self.group else self.processes()
        at = time.monotonic_ns()
        if self.group:
            with open(os.path.join(self.group, "cgroup.kill"), "w") as file:
                file.write("1")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):       # it had gone with its parent
                os.kill(pid, signal.SIGKILL)
        self.wait()
        return at

    def end(self):
        """By force, if it still runs, with all that it has started; and its cgroup is removed."""
        pids = set(self.processes()) if self.running() else set()
        if pids:
            self.kill()
        wait_until(lambda: not any(map(process.alive, pids)), f"the end of {pids}")
        process.reap_orphans()
        if self.group:
            remove_group(self.group)


class Node(Runner):
    def __init__(self, directory, name, machines, level="threads", workers=2, workloads=WORKLOADS, group=None, wrap=(),
                 port=None, **more):
        spec = {"node": {"machines": {**machines, "name": name}, "workloads": list(workloads), "level": level,
                         "workers": workers, "loops": 0, **more}}
        super().__init__(directory, spec, ["--node"], group, wrap)
        self.name, self.port = name, port

    def runners(self):
        """One an owner."""
        return process.children_of(self.pid)

    def levels(self):
        """The processes of the runners' levels."""
        return [pid for runner in self.runners() for pid in process.children_of(runner)]

    def workers(self):
        """At the level processes."""
        return [pid for level in self.levels() for pid in process.children_of(level)]


class Job(Runner):
    """The coordinator of a job at the level machines, and its files."""

    def __init__(self, directory, number, workload, inputs, machines, group=None, wrap=(), **spec):
        super().__init__(directory, {"spec": {"level": "machines", "workload": workload, **spec}, "machines": machines},
                         [str(number)], group, wrap)
        self.inputs, self.results, self.measures = (os.path.join(directory, name)
                                                    for name in ("inputs", "results", "measures"))
        with open(self.inputs, "w") as file:
            file.writelines(f"{line}\n" for line in inputs)
        results.create(self.results, len(inputs))

    def start(self):
        with open(self.measures, "wb"):
            pass                        # it finds an empty one each time
        return super().start()

    def start_again(self):
        """As a supervisor does that has lost the coordinator."""
        results.start_over(self.results)
        return self.start()

    def header(self):
        return results.header(self.results)

    def rows(self):
        return results.read(os.open(self.results, os.O_RDONLY))

    def measured(self):
        with open(self.measures) as file:
            return json.load(file)

    def await_done(self, n, seconds=30.0):
        wait_until(lambda: self.header().n_done >= n or not self.running(),
                   lambda: f"{n} tasks done: {self.header()}\n{self.output()}", seconds)


class FleetCase(Case):
    """Each test has a Redis and, where that can be made, a network of its own."""

    with_daemon = False
    with_redis = True
    apart = True                        # each runner is on a machine of its own
    password = None
    redis_options = ()
    env = {}                            # what runners have in theirs besides

    def setUp(self):
        if not SERVER:
            self.skipTest("redis-server is not installed")
        self.runners, self.n_jobs = [], 0
        self.addCleanup(self._clean_up)
        self.directory = os.path.join(self.temp, self._testMethodName)
        os.makedirs(self.directory)
        self.network, self.no_network, self.group = None, None, None
        if self.apart:
            self._separate()
        if self.with_redis:
            self.redis = Redis(self.directory, self._hub(), self.network and self.network.address, self.password,
                               self.redis_options).start()
            self.addCleanup(lambda: self.redis.stop(signal.SIGKILL))
        type(self).current = self

    def _separate(self):
        try:
            self.network = network.Network()
            self.addCleanup(self.network.close)
        except network.Unavailable as error:
            self.no_network = str(error)
        self.group = self._new_group()

    def _hub(self):
        return self.network.hub.wrap() if self.network else ()

    def _new_group(self):
        """For all cgroups of this test; None where none can be made."""
        mount = cgroup_mount()
        group = mount and os.path.join(mount, f"pppctl-test-{os.getpid()}-{self._testMethodName}")
        try:
            if group:
                os.mkdir(group)
                self.addCleanup(lambda: remove_group(group))
                if not os.path.exists(os.path.join(group, "cgroup.kill")):
                    group = None
        except OSError:
            group = None
        return group

    def _clean_up(self):
        for runner in self.runners:
            runner.end()

    @classmethod
    def report(cls):
        """What all that ran in the test has said."""
        test = getattr(cls, "current", None)
        said = [f"{runner.directory}:\n{runner.output()[-3000:]}" for runner in test.runners] if test else []
        return "\n".join(said)

    def machines(self, **changes):
        machines = {"redis": self.redis.url, "prefix": PREFIX, "heartbeat_ns": int(HEARTBEAT * 1e9), "name": "host"}
        if self.password:
            machines["password"] = self.password
        return {**machines, **changes}

    def add(self, runner):
        runner.env = self.env
        self.runners.append(runner)
        return runner

    def subgroup(self, name):
        return self.group and os.path.join(self.group, name)

    def new_node(self, name, heartbeat=HEARTBEAT, **options):
        """Not started yet."""
        namespace, port = self.network.join() if self.network else (None, None)
        wrap = [*(namespace.wrap() if namespace else ()), *options.pop("wrap", ())]
        machines = options.pop("machines", None) or self.machines(heartbeat_ns=int(heartbeat * 1e9))
        return self.add(Node(os.path.join(self.directory, name), name, machines, group=self.subgroup(name),
                             wrap=wrap, port=port, **options))

    def node(self, name, **options):
        """Serves when this returns."""
        node = self.new_node(name, **options).start()
        wait_until(lambda: self.is_listed(name), lambda: f"node {name} in the list:\n{node.output()}")
        return node

    def is_listed(self, name):
        return self.redis.run("ZSCORE", f"{PREFIX}nodes", name) is not None

    def job(self, workload, inputs, number=None, heartbeat=HEARTBEAT, machines=None, wrap=(), **spec):
        machines = machines or self.machines(heartbeat_ns=int(heartbeat * 1e9))
        self.n_jobs += 1
        number = number or self.n_jobs
        name = f"job-{number}"
        return self.add(Job(os.path.join(self.directory, name), number, workload, inputs, machines,
                            group=self.subgroup(name), wrap=[*self._hub(), *wrap], **spec)).start()

    def listing(self, machines=None):
        """`pppd-runner --nodes`; its output is the list."""
        directory = os.path.join(self.directory, f"list-{len(self.runners)}")
        return self.add(Runner(directory, {"machines": machines or self.machines()}, ["--nodes"],
                               wrap=self._hub())).start()

    def listed(self, machines=None):
        """The nodes as they are listed."""
        listing = self.listing(machines)
        self.assertEqual(listing.wait(), 0, listing.output())
        return json.loads(listing.output())["nodes"]

    def connect(self):
        redis = self.redis.connect()
        self.addCleanup(redis.close)
        return redis

    def key(self, name):
        return PREFIX + name

    def done_by(self, redis, nodes, n):
        """{name: tasks it has done}, once the nodes' heartbeats tell of n all in all."""
        def done():
            return {node.name: int(redis("HGET", self.key(f"node:{node.name}"), "done") or 0) for node in nodes}
        wait_until(lambda: sum(done().values()) >= n, lambda: f"{n} tasks done: {done()}")
        return done()

    def job_id(self, redis):
        """Of the one job that there is."""
        def found():
            return [key for key in redis("KEYS", self.key("job:*"))]
        return wait_until(found, "the job's key")[0].decode().removeprefix(self.key("job:"))

    def held(self, redis, node, workload="sleep", owner="host"):
        """The chunks that a node has in hand: {entry: range of tasks}."""
        stream = self.key(f"chunks:{workload}:{owner}")
        held = {}
        try:
            pending = redis("XPENDING", stream, "nodes", "-", "+", 1000, node)
        except Error as error:
            if not str(error).startswith("NOGROUP"):
                raise
            return held                 # nobody has read of it yet
        for entry, *_ in pending:
            for _, fields in redis("XRANGE", stream, entry, entry):
                values = dict(zip(fields[::2], fields[1::2]))
                first, n = int(values[b"first"]), int(values[b"n"])
                held[entry] = range(first, first + n)
        return held

    def assert_all_done(self, job, expected, status=0):
        """The job has ended well: one record a task, each with its own value."""
        self.assertEqual(job.wait(), status, job.output())
        rows = job.rows()
        self.assertEqual([i for i, row in enumerate(rows) if row is None], [], "tasks without a record")
        self.assertEqual([row.value for row in rows], expected)
        self.assertEqual({row.state for row in rows}, {results.DONE})
        header = job.header()
        self.assertEqual((header.n_done, header.n_failed, header.condition), (len(expected), 0, 0), "counted once")

    def assert_says_job(self, job, *patterns):
        for pattern in patterns:
            self.assertRegex(job.output(), pattern)


def naps(n, seconds):
    """(inputs, values) of n tasks of about that long, of which no two are the same."""
    values = [int(seconds * 1e9) + i for i in range(n)]
    return [f"{value}ns" for value in values], values
