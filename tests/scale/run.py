#!/usr/bin/python3
"""A thousand nodes on one machine: where the level machines bends.

python3 tests/scale/run.py --build DIR [--nodes 10,100,1000] [--tasks 1ms,10ms,100ms] [--chunks 1,auto,1s]

A real redis-server on a Unix socket, the real coordinator, and simulated nodes (nodes.c) that speak as real
ones do while their tasks wait on timers, so that what computes is Redis and the coordinator alone. A line
for each combination; costs are CPU time, which other work on the machine does not change much, and what a
chunk costs says how many a CPU of that part can do at most: the smallest of those is where it bends.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

WORKERS = 2                     # of each node
NODES_A_PROCESS = 5000
HEARTBEAT = 5.0
RUN_SECONDS = 10.0              # at the rate that the nodes could do, or that Redis can:
CHUNKS_A_SECOND = 12_000
TASKS_MAX = 20_000_000
AUTO_SECONDS = 0.1              # SIZING_CHUNK_NS
PREFIX = "scale:"
HEADINGS = ("nodes", "task", "chunk", "tasks/s", "of offer", "chunks/s", "tasks/chunk", "Redis us/chunk", "Redis CPU",
            "idle CPU", "coord us/chunk", "coord us/task", "coord CPU", "bytes/task", "beyond work p50",
            "p99", "Redis MiB", "limit chunks/s", "by")


def duration(text):
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit]


def chunk_seconds(chunk):
    return AUTO_SECONDS if chunk == "auto" else duration(chunk)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--nodes", default="10,100,1000")
    parser.add_argument("--tasks", default="1ms,10ms,100ms", help="how long a task takes")
    parser.add_argument("--chunks", default="1,auto,1s", help="tasks of a chunk at most; as it is; or a worker's time")
    parser.add_argument("--json", action="store_true", help="all figures, an object a line")
    return parser.parse_args()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def redis_cpu(redis):
    info = redis.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def redis_bytes(redis):
    info = redis.info("stats")
    return int(info["total_net_input_bytes"]) + int(info["total_net_output_bytes"])


class Nodes:
    """All simulated nodes, in as few processes as descriptors allow."""

    def __init__(self, build, url, n):
        self.processes = []
        for first in range(0, n, NODES_A_PROCESS):
            self.processes.append(subprocess.Popen(
                [os.path.join(build, "tests/scale-nodes"), "--redis", url, "--prefix", PREFIX, "--nodes",
                 str(min(NODES_A_PROCESS, n - first)), "--first", str(first), "--workers", str(WORKERS), "--heartbeat",
                 f"{HEARTBEAT}s"], stdout=subprocess.PIPE, text=True))
        for process in self.processes:
            if process.stdout.readline() != "ready\n":
                sys.exit("run.py: the simulated nodes have ended")

    def cpu_seconds(self):
        return sum(cpu_seconds(process.pid) for process in self.processes)

    def stop(self):
        """What they report, the counts added up, the times of the first (all see the same)."""
        reports = []
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
            reports.append(json.loads(process.stdout.read()))
            process.wait()
        total = dict(reports[0])
        for key in ("chunks", "tasks", "reads", "taken_over"):
            total[key] = sum(report[key] for report in reports)
        return total

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()


class Watch(threading.Thread):
    """Redis' memory while the job runs."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.redis = redis
        self.memory_before = int(redis.info("memory")["used_memory"])
        self.memory, self.stopped = self.memory_before, threading.Event()

    def run(self):
        while not self.stopped.wait(0.05):
            self.memory = max(self.memory, int(self.redis.info("memory")["used_memory"]))


def start_job(args, directory, url, task, chunk, n):
    from harness import fleet
    machines = {"redis": url, "prefix": PREFIX, "heartbeat_ns": int(HEARTBEAT * 1e9), "name": "host"}
    if chunk.isdecimal():
        machines["chunk_tasks_max"] = int(chunk)
    job = fleet.Job(os.path.join(directory, "job"), 1, "sleep", [task] * n, machines)
    job.program = os.path.join(args.build, f"tests/scale-runner-{chunk}" if chunk == "1s" else "pppd-runner")
    began = time.monotonic()
    job.start()
    return job, began


def tasks_of_run(n_nodes, task, chunk):
    offered = n_nodes * WORKERS / duration(task)
    size = int(chunk) if chunk.isdecimal() else max(chunk_seconds(chunk) / duration(task), 1)
    n = min(offered * RUN_SECONDS, CHUNKS_A_SECOND * size * RUN_SECONDS, TASKS_MAX)
    return int(max(n, 50)), offered


def measure(args, n_nodes, task, chunk):
    from harness.redis import Redis
    with tempfile.TemporaryDirectory(prefix="pppctl-scale-") as directory:
        server = Redis(directory).start("--maxclients", "100000", "--loglevel", "warning")
        nodes = None
        try:
            redis, watched = server.connect(), server.connect()
            nodes = Nodes(args.build, server.url, n_nodes)
            return run_one(args, directory, server.url, redis, watched, nodes, n_nodes, task, chunk)
        finally:
            if nodes:
                nodes.end()
            server.stop()


def run_one(args, directory, url, redis, watched, nodes, n_nodes, task, chunk):
    n, offered = tasks_of_run(n_nodes, task, chunk)
    before, began = redis_cpu(redis), time.monotonic()
    time.sleep(HEARTBEAT / 4 * 1.6)             # no event to wait for: this is the price of doing nothing
    idle = (redis_cpu(redis) - before) / (time.monotonic() - began)
    cpu, cpu_nodes, transferred = redis_cpu(redis), nodes.cpu_seconds(), redis_bytes(redis)
    job, began = start_job(args, directory, url, task, chunk, n)
    watch = Watch(watched)
    watch.start()
    usage = job.wait4()
    cpu_job = usage.ru_utime + usage.ru_stime
    wall = time.monotonic() - began
    watch.stopped.set()
    watch.join()
    cpu, transferred = redis_cpu(redis) - cpu, redis_bytes(redis) - transferred
    cpu_nodes = nodes.cpu_seconds() - cpu_nodes
    chunks = job.measured()["machines"]["chunks_sent"]
    report = nodes.stop()
    if job.header().n_done != n:
        sys.exit(f"run.py: {job.header()} of {n} tasks")
    return {
        "nodes": n_nodes, "task": task, "chunk": chunk, "tasks": n, "offered_tasks_per_second": offered,
        "wall_seconds": wall, "tasks_per_second": n / wall, "chunks": chunks, "tasks_per_chunk": n / chunks,
        "redis_seconds": cpu, "redis_idle_share": idle, "redis_us_per_chunk": (cpu - idle * wall) / chunks * 1e6,
        "coordinator_seconds": cpu_job, "coordinator_us_per_chunk": cpu_job / chunks * 1e6,
        "simulation_seconds": cpu_nodes, "bytes_per_task": transferred / n, "bytes_per_chunk": transferred / chunks,
        "redis_memory_bytes": watch.memory - watch.memory_before, "simulated": report,
    }


def row(m):
    """A line of the table, and where this bends: who can do the fewest chunks on one CPU of its own."""
    limits = {"Redis": 1e6 * (1 - m["redis_idle_share"]) / m["redis_us_per_chunk"],
              "coordinator": 1e6 / m["coordinator_us_per_chunk"]}
    bend = min(limits, key=limits.get)
    beyond = m["simulated"]["beyond_work_seconds"]
    return (m["nodes"], m["task"], m["chunk"], f"{m['tasks_per_second']:,.0f}",
            f"{m['tasks_per_second'] / m['offered_tasks_per_second']:.0%}",
            f"{m['tasks_per_second'] / m['tasks_per_chunk']:,.0f}", f"{m['tasks_per_chunk']:.1f}",
            f"{m['redis_us_per_chunk']:.0f}", f"{m['redis_seconds'] / m['wall_seconds']:.0%}",
            f"{m['redis_idle_share']:.1%}", f"{m['coordinator_us_per_chunk']:.1f}",
            f"{m['coordinator_us_per_chunk'] / m['tasks_per_chunk']:.2f}",
            f"{m['coordinator_seconds'] / m['wall_seconds']:.0%}", f"{m['bytes_per_task']:.0f}",
            f"{beyond['p50'] * 1e3:.0f} ms", f"{beyond['p99'] * 1e3:.0f} ms",
            f"{m['redis_memory_bytes'] / 2 ** 20:.1f}", f"{limits[bend]:,.0f}", bend)


def main():
    args = parse_args()
    os.environ["PPPCTL_TEST_BUILD"] = args.build = os.path.abspath(args.build)
    from harness import process, redis
    if not redis.SERVER:
        sys.exit("run.py: redis-server is not there; packaging/install-deps.sh check installs it")
    process.raise_descriptor_limit()
    # Nothing is left running however it ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    print("| " + " | ".join(HEADINGS) + " |\n" + "|---" * len(HEADINGS) + "|", flush=True)
    for task in args.tasks.split(","):
        for chunk in args.chunks.split(","):
            # Where a task is a chunk's time already, that is chunks of one task.
            if not chunk.isdecimal() and chunk_seconds(chunk) <= duration(task):
                continue
            for n_nodes in args.nodes.split(","):
                measured = measure(args, int(n_nodes), task, chunk)
                if args.json:
                    print(json.dumps(measured), flush=True)
                print("| " + " | ".join(map(str, row(measured))) + " |", flush=True)


if __name__ == "__main__":
    main()
