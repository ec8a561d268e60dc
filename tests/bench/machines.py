"""Contenders at the machines level: two nodes on this machine and a Redis of their own, and what else there is."""

import os
import shutil
import subprocess
import time

import measure
from contenders import ENV, HERE, interpreter
from harness.fleet import Job, Node
from harness.poll import wait_until
from harness.redis import SERVER, Redis
from harness.results import DONE
from measure import Sample, Skip, two_numbers

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


HEARTBEAT_NS = 5 * 10 ** 9


class Machines:
    """The coordinator is started as the supervisor starts it; what the supervisor does itself is in no figure."""

    def __init__(self, directory):
        self.directory = os.path.join(directory, "machines")
        self.redis, self.nodes, self.number = None, {}, 0

    def serve(self, level, workers):
        if not SERVER:
            raise Skip("redis-server is not installed")
        if not self.redis:
            self.redis = Redis(self.directory).start()
        if self.nodes.get("as") != (level, workers):
            self.leave()
            names = [f"{level}-{i}" for i in range(2)]
            self.nodes = {"as": (level, workers), "all": [
                Node(os.path.join(self.directory, name), name, self.spec(), level=level, workers=workers).start()
                for name in names]}
            wait_until(lambda: {name.encode() for name in names} <= set(self.redis.run("ZRANGE", "pppctl:nodes", 0, -1)),
                       "the nodes")

    def spec(self, **more):
        return {"redis": self.redis.url, "name": "host", "heartbeat_ns": HEARTBEAT_NS, **more}

    def leave(self):
        for node in self.nodes.get("all", []):
            node.stop()
        self.nodes = {}

    def job(self, workload, inputs, level="threads", workers=1, chunk=0):
        self.serve(level, workers)
        self.number += 1
        directory = os.path.join(self.directory, f"job-{self.number}")
        job = Job(directory, self.number, workload, inputs, self.spec(chunk_tasks_max=chunk))
        pids = [pid for node in self.nodes["all"] for pid in node.processes()] + [self.redis.popen.pid]
        before, began = cpu_seconds(pids), time.monotonic()
        usage = job.start().wait4()
        whole = time.monotonic() - began
        rows = job.rows()
        shutil.rmtree(directory)
        if not all(row and row.state == DONE for row in rows):
            raise RuntimeError(f"not all tasks are done: {job.output()[-300:]}")
        return Sample(units=len(inputs), whole=whole,
                      cpu=usage.ru_utime + usage.ru_stime + cpu_seconds(pids) - before,
                      answer=sum(row.value for row in rows))

    def peer(self, n, name, needs):
        """One of peers.py that needs a Redis; workers are warm when its clock starts."""
        if not SERVER:
            raise Skip("redis-server is not installed")
        if subprocess.run([interpreter(), "-c", f"import {needs}"], capture_output=True, env=ENV).returncode:
            raise Skip(f"python3-{needs} is not installed")
        directory = os.path.join(self.directory, f"{name}-{time.monotonic_ns()}")
        redis = Redis(directory).start()
        try:
            return measure.command([interpreter(), f"{HERE}/peers.py", name, redis.path, n], n, ENV, parse=two_numbers)
        finally:
            redis.stop()

    def stop(self):
        self.leave()
        if self.redis:
            self.redis.stop()
