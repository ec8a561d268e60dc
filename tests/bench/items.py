"""The items of the benchmark: who runs at each, what is compared, and what is to be reached."""

import dataclasses
import os
import time

import fixtures
from contenders import Pppd, python, shell, tool
from harness import nginx
from harness.redis import SERVER
from machines import Machines
from measure import Sample, Skip, median

SUMS = ("201600000", "201700000", "201800000", "201900000")
NOTHINGS = 10_000_000
EXECUTORS = {"threads": 3, "processes": 6}   # and what a call of each may cost, µs of CPU


@dataclasses.dataclass
class Item:
    name: str
    title: str
    unit: str
    contenders: dict                        # {label: function that makes a Sample}
    scale: float = 1e6                      # of the per-unit times in the table: 1e6 is microseconds
    scale_name: str = "µs"
    answer: int = None                      # what everybody that counts has to find
    per: str = "cpu"                        # what ratios are of: cpu or wall, a unit
    reference: str = None                   # the label ratios are to
    targets: list = dataclasses.field(default_factory=list)     # (text, function of {label: [Sample]} to (value, limit))
    notes: list = dataclasses.field(default_factory=list)
    before: object = None                   # called before each sample
    server_cpu: object = None               # CPU seconds of a server so far, which are in nobody's figures


def cost(samples, label, per="cpu"):
    """Median seconds a unit."""
    if not samples.get(label):
        return None
    return median([None if getattr(s, per) is None else getattr(s, per) / s.units for s in samples[label]])


def ratio(samples, a, b, per="wall"):
    x, y = cost(samples, a, per), cost(samples, b, per)
    return None if x is None or not y else x / y


def median_of(samples, label, name):
    return median([getattr(s, name) for s in samples.get(label, [])])


def limit(text, value, at_most=None, at_least=None):
    """What is to be reached; without a limit, what to compare that with."""
    return text, value, at_most, at_least


class Bench:
    """Holds what the items share."""

    def __init__(self, directory, pppd, limits):
        self.directory, self.pppd, self.limits = directory, pppd, limits
        self.nginx = None
        self.machines = Machines(directory)
        self.daemons = {}               # beside pppd: name -> Pppd

    def path(self, name):
        return os.path.join(self.directory, name)

    def items(self):
        """{name: function that makes the Item}; nothing is made for an item that is not run."""
        return {"pages": self.pages, "latency": self.latency, "file-ascii": lambda: self.big("ascii"),
                "file-mixed": lambda: self.big("mixed"), "files": self.files, "sum": self.sum,
                "nothing": self.nothing, "executor": self.executor, "submit": self.submit,
                "machines": self.machines_nothing, "machines-pages": self.machines_pages}

    # Pages

    def server(self):
        if not nginx.available():
            raise Skip("nginx is not installed")
        if self.nginx is None:
            directory = self.path("nginx")
            os.mkdir(directory)
            self.nginx = nginx.Nginx(directory, workers=2, log=False)
            for year in fixtures.PAGES:
                self.nginx.add(f"{year}.html", fixtures.page(year))
            self.nginx.start()
        return self.nginx

    def page_urls(self, prefix=""):
        return [f"{self.server().url}/{prefix}{year}.html" for year in fixtures.PAGES]

    def words_of(self, n):
        return sum(words for words, _ in fixtures.PAGES.values()) * n // 4

    def curl(self, urls, n, in_flight):
        config = fixtures.list_file(self.path(f"curl-{n}.conf"), [
            f'url = "{urls[i % 4]}"\noutput = "/dev/null"' for i in range(n)])
        return tool(n, "curl", "--parallel", "--parallel-max", in_flight, "--no-progress-meter", "-K", config)

    def wrk(self, urls, connections, seconds):
        script = self.path("wrk.lua")
        with open(script, "w") as file:
            paths = ", ".join(f'"/{url.split("/", 3)[3]}"' for url in urls)
            file.write(f"local p = {{{paths}}}\nlocal i = 0\nrequest = function() i = i + 1; "
                       "return wrk.format('GET', p[i % #p + 1]) end\n")
        found = []

        def parse(out):
            found.append(int(next(line.split()[0] for line in out.splitlines() if "requests in" in line)))
            return None, None
        sample = tool(1, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, urls[0], parse=parse)
        sample.units = found[0]
        return sample

    def pages(self):
        n, urls = 20_000, self.page_urls()
        listing = fixtures.list_file(self.path("pages.list"), [urls[i % 4] for i in range(n)])
        joined, job = ",".join(urls), self.pppd.job
        best_python = lambda s: min((c for c in (cost(s, label) for label in s if label.startswith("python")) if c), default=None)
        return Item(
            "pages", "words of 20,000 pages over HTTP, 4 pages of 35 kB, 64 in flight, keep-alive", "page",
            {"pppd async": lambda: job("async", "words", listing, n, "--workers", 64),
             "pppd async, 2 loops": lambda: job("async", "words", listing, n, "--workers", 64, "--loops", 2),
             "pppd threads (64)": lambda: job("threads", "words", listing, n, "--workers", 64),
             "pppd processes (2)": lambda: job("processes", "words", listing, n, "--workers", 2),
             "python aiohttp, one session": lambda: python(n, "words-aiohttp", joined, n, 64, needs=["aiohttp"]),
             "python 2 processes of uvloop": lambda: python(n, "words-uvloop-2", joined, n, 64, needs=["aiohttp", "uvloop"]),
             "python threads (2), sessions": lambda: python(4000, "words-threads", joined, 4000, 2, needs=["requests"]),
             "python processes (2), sessions": lambda: python(4000, "words-processes", joined, 4000, 2, needs=["requests"]),
             "curl --parallel (does not count)": lambda: self.curl(urls, n, 64),
             "wrk (does not count)": lambda: self.wrk(urls, 64, 2)},
            answer=self.words_of(n), reference="pppd async", server_cpu=self.server().cpu_seconds,
            targets=[lambda s: limit("async: CPU a page, µs", _scaled(cost(s, "pppd async"), 1e6), at_most=28),
                     lambda s: limit("best Python / async, CPU a page",
                                     _divide(best_python(s), cost(s, "pppd async")), at_least=10)],
            notes=["python threads and processes: 4,000 pages; wrk: 2 seconds. nginx's CPU is in no column."])

    def latency(self):
        if not nginx.echo_available():
            raise Skip("nginx's echo module is not installed")
        n, urls = 2000, self.page_urls("slow/")
        listing = fixtures.list_file(self.path("slow.list"), [urls[i % 4] for i in range(n)])
        joined, job = ",".join(urls), self.pppd.job
        return Item(
            "latency", "words of 2,000 pages that answer after 200 ms, 1,000 in flight (bound: 0.400 s)", "page",
            {"pppd async": lambda: job("async", "words", listing, n, "--workers", 1000),
             "pppd threads (1000)": lambda: job("threads", "words", listing, n, "--workers", 1000),
             "python aiohttp, one session": lambda: python(n, "words-aiohttp", joined, n, 1000, needs=["aiohttp"]),
             "python 2 processes of uvloop": lambda: python(n, "words-uvloop-2", joined, n, 1000, needs=["aiohttp", "uvloop"]),
             "curl --parallel (300, its most; does not count)": lambda: self.curl(urls, n, 300),
             "wrk (does not count)": lambda: self.wrk(urls, 1000, 2)},
            answer=self.words_of(n), reference="pppd async", per="wall", server_cpu=self.server().cpu_seconds,
            targets=[lambda s: limit("async: wall, s", median_of(s, "pppd async", "wall"), at_most=0.6),
                     lambda s: limit("async: peak memory of the job, MiB",
                                     _scaled(median_of(s, "pppd async", "peak"), 1 / (1 << 20)), at_most=48)])

    # Files

    def big(self, kind):
        path = self.path(f"big-{kind}")
        words = fixtures.big_file(path, fixtures.ascii_block() if kind == "ascii" else fixtures.mixed_block())
        listing = fixtures.list_file(path + ".list", [path])
        size, limits = fixtures.BIG, self.limits.run
        first_word = lambda out: (int(out.split()[0]), None)
        # read().split() of 512 MiB wants 6 GB of memory and half a minute: the reading by lines is the fair one
        return Item(
            f"file-{kind}", f"words of a 512 MiB file in the page cache, {kind}", "byte",
            {"pppd serial": lambda: self.pppd.job("serial", "words", listing, size),
             "pppd async": lambda: self.pppd.job("async", "words", listing, size),
             "C loop with AVX2 (limit)": lambda: limits(size, "words-avx2", path),
             "C loop, pppd's wordcount": lambda: limits(size, "words-own", path),
             "wc -w": lambda: tool(size, "wc", "-w", path, parse=first_word),
             "python, line by line": lambda: python(size, "file-lines", path)},
            scale=1e9, scale_name="ns", answer=words, per="wall", reference="C loop with AVX2 (limit)",
            before=lambda: fixtures.warm(path),
            targets=[lambda s: limit("serial / C loop with AVX2, wall", ratio(s, "pppd serial", "C loop with AVX2 (limit)"), at_most=1.5),
                     lambda s: limit("async / C loop with AVX2, wall", ratio(s, "pppd async", "C loop with AVX2 (limit)"), at_most=1.5)],
            notes=["wall: of the job for pppd, of the loop for C and Python, of the command for wc"])

    def files(self):
        directory = self.path("files")
        words, listing = fixtures.small_files(directory)
        n, job, limits = fixtures.SMALL_FILES, self.pppd.job, self.limits.run
        # `wc` prints a total for each of its calls
        totals = lambda out: (sum(int(line.split()[0]) for line in out.splitlines() if line.split()[1] == "total"), None)
        rate = lambda s, label: _divide(1, cost(s, label, "wall"))
        return Item(
            "files", "words of 20,000 files of 4 KiB in the page cache", "file",
            {"pppd async": lambda: job("async", "words", listing, n),
             "pppd threads (2)": lambda: job("threads", "words", listing, n, "--workers", 2),
             "pppd processes (2)": lambda: job("processes", "words", listing, n, "--workers", 2),
             "C open, read, count, close": lambda: limits(n, "files", 1, directory),
             "C, 2 threads (limit)": lambda: limits(n, "files", 2, directory),
             "find | xargs -P2 wc -w": lambda: shell(n, f"find {directory} -type f -print0 | xargs -0 -P2 wc -w", parse=totals),
             "python loop": lambda: python(n, "files-loop", directory),
             "python processes (2)": lambda: python(n, "files-processes", directory)},
            answer=words, per="wall", reference="pppd async",
            targets=[lambda s: limit("async, files/s", rate(s, "pppd async"), at_least=150_000),
                     lambda s: limit("threads, files/s", rate(s, "pppd threads (2)"), at_least=250_000)])

    # Numbers

    def sum(self):
        n = sum(map(int, SUMS))
        listing = fixtures.list_file(self.path("sum.list"), SUMS)
        job, limits = self.pppd.job, self.limits.run
        against = lambda s, label: ratio(s, label, "pppd serial")
        return Item(
            "sum", "sum of 0..n-1 for the four numbers, 807,000,000 additions", "addition",
            {"pppd serial": lambda: job("serial", "sum", listing, n),
             "pppd threads (2)": lambda: job("threads", "sum", listing, n, "--workers", 2),
             "pppd threads (2) --gil": lambda: job("threads", "sum", listing, n, "--workers", 2, "--gil"),
             "pppd processes (2)": lambda: job("processes", "sum", listing, n, "--workers", 2),
             "C, 1 thread (limit)": lambda: limits(n, "sum", 1, *SUMS),
             "C, 2 threads (limit)": lambda: limits(n, "sum", 2, *SUMS),
             "python serial": lambda: python(n, "sum-serial", *SUMS),
             "python threads (2)": lambda: python(n, "sum-threads", *SUMS),
             "python processes (2)": lambda: python(n, "sum-processes", *SUMS)},
            scale=1e9, scale_name="ns", answer=sum(int(x) * (int(x) - 1) // 2 for x in SUMS), per="wall", reference="pppd serial",
            targets=[lambda s: limit("serial / C, wall", ratio(s, "pppd serial", "C, 1 thread (limit)"), at_most=1.03),
                     lambda s: limit("threads / serial, wall", against(s, "pppd threads (2)"), at_most=0.55),
                     lambda s: limit("processes / serial, wall", against(s, "pppd processes (2)"), at_most=0.55),
                     lambda s: limit("C, 2 threads / 1 thread, wall: what this machine allows",
                                     ratio(s, "C, 2 threads (limit)", "C, 1 thread (limit)")),
                     lambda s: limit("threads --gil / serial, wall", against(s, "pppd threads (2) --gil"), at_least=0.95)])

    def nothing(self):
        n, listing = NOTHINGS, self.path("nothing.list")
        with open(listing, "w") as file:
            file.write("0\n" * n)
        job, limits = self.pppd.job, self.limits.run
        wall = lambda s, label: _scaled(cost(s, label, "wall"), 1e9)
        return Item(
            "nothing", "10 million tasks that do nothing (sleep 0), two workers", "task",
            {"pppd threads (2)": lambda: job("threads", "sleep", listing, n, "--workers", 2),
             "pppd processes (2)": lambda: job("processes", "sleep", listing, n, "--workers", 2),
             "pppd async": lambda: job("async", "sleep", listing, n),
             "pppd serial": lambda: job("serial", "sleep", listing, n),
             "C fetch_add, 2 threads (limit)": lambda: limits(n, "claim", 2, n),
             "python ThreadPoolExecutor(2)": lambda: python(100_000, "noop-threadpool", 100_000),
             "python queue, 2 threads": lambda: python(100_000, "noop-queue", 100_000),
             "python multiprocessing.Pool(2)": lambda: python(100_000, "noop-pool", 100_000),
             "python asyncio.gather": lambda: python(100_000, "noop-asyncio", 100_000)},
            scale=1e9, scale_name="ns", per="wall", reference="pppd threads (2)",
            targets=[lambda s: limit("threads: wall a task, ns", wall(s, "pppd threads (2)"), at_most=100),
                     lambda s: limit("processes: wall a task, ns", wall(s, "pppd processes (2)"), at_most=100),
                     lambda s: limit("async: wall a task, ns", wall(s, "pppd async"), at_most=150)],
            notes=["Python: 100,000 tasks. pppd's figure has a record and two time stamps a task in it."])

    def executor(self):
        """Calls from a loop to a pool of one and back, 64 at a time; inline is the same job without a pool."""
        n, some, listing = 400_000, 20_000, self.path("executor.list")
        with open(listing, "w") as file:
            file.write("0\n" * n)
        job = lambda *options: self.pppd.job("async", "sum", listing, n, "--workers", 64, *options)
        above = lambda s, label: _subtract(_scaled(cost(s, label), 1e6), _scaled(cost(s, "pppd async, inline"), 1e6))
        pools = {f"pppd async, {kind}": lambda kind=kind: job("--executor", kind, "--executor-workers", 1)
                 for kind in EXECUTORS}
        return Item(
            "executor", "calls of a function that does nothing, from a loop to a pool of one worker and back, 64 at a time", "call",
            {"pppd async, inline": job, **pools,
             "C MSG_RING, 64 at a time (limit)": lambda: self.limits.run(n, "msg-ring", n, 64),
             "C MSG_RING, one at a time": lambda: self.limits.run(n, "msg-ring", n, 1),
             "python run_in_executor, threads": lambda: python(some, "executor-threads", some, 64),
             "python run_in_executor, processes": lambda: python(some, "executor-processes", some, 64)},
            reference="pppd async, threads",
            targets=[lambda s, kind=kind: limit(f"{kind}: CPU a call above inline, µs", above(s, f"pppd async, {kind}"),
                                                at_most=EXECUTORS[kind]) for kind in EXECUTORS],
            notes=[f"Python: {some:,} calls. pppd's figures have a record and two time stamps a call in them."])

    # Machines

    def pppd_of_nodes(self, level, workers):
        """A daemon whose private Redis and nodes run."""
        name = f"nodes-{level}"
        if not SERVER:
            raise Skip("redis-server is not installed")
        if name not in self.daemons:
            self.daemons[name] = Pppd(self.directory, name, f"[machines]\nlevel = {level}\nworkers = {workers}\n")
        # They stop when nobody needs them for a while.
        self.daemons[name].daemon.pppctl("run", "machines", "sleep", "0")
        return self.daemons[name]

    def machines_nothing(self):
        job, peer = self.machines.job, self.machines.peer
        per_second = lambda s, label: _divide(1, cost(s, label, "wall"))
        ours, single = "pppd, 2 nodes of 1 thread", "pppd, 2 nodes, chunks of one task"
        many, some = ["0"] * 1_000_000, ["0"] * 50_000
        return Item(
            "machines", "tasks that do nothing, through Redis on a Unix socket", "task",
            {ours: lambda: job("sleep", many),
             single: lambda: job("sleep", some, chunk=1),
             "python RQ, 2 SimpleWorkers": lambda: peer(2000, "noop-rq", "rq"),
             "python Celery, prefork 2": lambda: peer(4000, "noop-celery", "celery")},
            per="wall", reference=ours,
            targets=[lambda s: limit("tasks/s", per_second(s, ours), at_least=100_000),
                     lambda s: limit("tasks/s in chunks of one", per_second(s, single), at_least=10_000)],
            notes=["pppd: 1,000,000 tasks with their records (50,000 in chunks of one); CPU is that of coordinator, "
                   "nodes and Redis. RQ: 2,000, Celery: 4,000; Redis is in no figure of theirs."])

    def machines_pages(self):
        n, urls = 1000, self.page_urls()
        inputs = [urls[i % 4] for i in range(n)]
        listing = fixtures.list_file(self.path("machines.list"), inputs)

        def machines(level, workers):
            pppd = self.pppd_of_nodes(level, workers)
            return pppd.job("machines", "words", listing, n)
        return Item(
            "machines-pages", "words of 1,000 pages over HTTP, 4 pages of 35 kB", "page",
            {"pppd machines, 2 nodes at async": lambda: machines("async", 64),
             "pppd machines, 2 nodes of 6 threads": lambda: machines("threads", 6),
             "pppd async": lambda: self.pppd.job("async", "words", listing, n, "--workers", 64)},
            answer=self.words_of(n), per="wall", reference="pppd async", server_cpu=self.server().cpu_seconds,
            targets=[lambda s: limit("rate at machines / at async",
                                     ratio(s, "pppd async", "pppd machines, 2 nodes at async"), at_least=0.8)],
            notes=["machines: the private Redis and its two nodes, which run already; both: the job's wall time"])

    # Submitting

    def many(self, args, n=100):
        """The median of n calls, one after another."""
        times = []
        total = None
        for _ in range(n):
            sample = tool(1, *args, peak=False)
            times.append(sample.whole)
            total = (total or 0) + sample.cpu
        return Sample(units=1, whole=median(times), cpu=total / n, calls=n)

    def submit(self):
        self.pppd.daemon.pppctl("run", "serial", "sum", "1")
        pppctl = self.pppd.daemon.pppctl_args("run", "serial", "sum", "1")
        show = self.pppd.daemon.pppctl_args("show", "1")
        return Item(
            "submit", "one task submitted and its answer printed, one process a call", "call",
            {"pppctl run serial sum 1": lambda: self.many(pppctl),
             "pppctl show 1 (no job is made)": lambda: self.many(show),
             "/bin/true (limit)": lambda: self.many(["/bin/true"]),
             "redis-cli ping": self.redis,
             "busctl call": self.busctl},
            scale=1e3, scale_name="ms", per="wall", reference="pppctl run serial sum 1",
            targets=[lambda s: limit("pppctl run serial sum 1, ms", _scaled(median_of(s, "pppctl run serial sum 1", "wall"), 1e3), at_most=6)],
            notes=["Each sample is the median of 100 calls. CPU is that of the process called alone."])

    def redis(self):
        import shutil
        import subprocess
        from contenders import ENV
        if not shutil.which("redis-server", path=ENV["PATH"]) or not shutil.which("redis-cli", path=ENV["PATH"]):
            raise Skip("redis is not installed")
        path = self.path("redis.sock")
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", self.directory],
                                  stdout=subprocess.DEVNULL, env=ENV)
        try:
            deadline = time.monotonic() + 5
            while not os.path.exists(path) and time.monotonic() < deadline:
                time.sleep(0.01)
            return self.many(["redis-cli", "-s", path, "ping"])
        finally:
            server.terminate()
            server.wait()

    def busctl(self):
        import shutil
        import subprocess
        from contenders import ENV
        if not shutil.which("dbus-daemon", path=ENV["PATH"]) or not shutil.which("busctl", path=ENV["PATH"]):
            raise Skip("dbus-daemon or busctl is not installed")
        bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address", f"--address=unix:path={self.path('bus')}"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV)
        try:
            address = bus.stdout.readline().decode().strip()
            return self.many(["busctl", f"--address={address}", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus",
                              "org.freedesktop.DBus", "GetId"])
        finally:
            bus.terminate()
            bus.wait()
            bus.stdout.close()

    def stop(self):
        self.machines.stop()
        for pppd in self.daemons.values():
            pppd.stop()
        if self.nginx:
            self.nginx.stop()


def _scaled(value, factor):
    return None if value is None else value * factor


def _subtract(a, b):
    return None if a is None or b is None else a - b


def _divide(a, b):
    return None if a is None or not b else a / b
