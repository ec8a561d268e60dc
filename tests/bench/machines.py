"""Contenders at the machines level: two nodes on this machine and a Redis of their own, and what else there is."""

import os
import subprocess
import time

import measure
from contenders import ENV, HERE, interpreter
from harness import machines
from harness.machines import Job, Node, Redis
from harness.poll import wait_until
from measure import Sample, Skip, two_numbers

TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid):
    """The process and all below it."""
    pids = [pid]
    for path in (f"/proc/{pid}/task/{pid}/children",):
        with open(path) as file:
            for child in file.read().split():
                pids += tree(int(child))
    return pids


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


class Machines:
    """The coordinator is started as the supervisor starts it; what the supervisor does itself is in no figure."""

    def __init__(self, directory):
        self.directory = os.path.join(directory, "machines")
        self.redis, self.nodes, self.number = None, {}, 0

    def serve(self, level, workers):
        if not machines.SERVER:
            raise Skip("redis-server is not installed")
        if not self.redis:
            os.mkdir(self.directory)
            self.redis = Redis(os.path.join(self.directory, "redis"))
        if self.nodes.get("as") != (level, workers):
            self.leave()
            names = [f"{level}-{i}" for i in range(2)]
            self.nodes = {"as": (level, workers), "all": [
                Node(self.directory, self.redis.url, name, level=level, workers=workers, heartbeat=5) for name in names]}
            wait_until(lambda: set(names) <= set(self.redis.run("ZRANGE", "pppctl:nodes", 0, -1).split()), "the nodes")

    def leave(self):
        for node in self.nodes.get("all", []):
            node.stop()
        self.nodes = {}

    def job(self, workload, inputs, level="threads", workers=1, chunk=0):
        self.serve(level, workers)
        self.number += 1
        job = Job(self.directory, self.number, inputs)
        pids = [pid for node in self.nodes["all"] for pid in tree(node.pid)] + [self.redis.process.pid]
        before, began = cpu_seconds(pids), time.monotonic()
        child = job.start(self.redis.url, workload, heartbeat=5, chunk_tasks_max=chunk)
        _, status, usage = os.wait4(child.pid, 0)
        whole = time.monotonic() - began
        child.status = os.waitstatus_to_exitcode(status)
        rows = job.rows()
        os.unlink(job.path)
        os.close(job.inputs)
        if child.status or not all(row and row.state == machines.DONE for row in rows):
            raise RuntimeError(f"the coordinator ended with {child.status}: {child.text()[-300:]}")
        return Sample(units=len(inputs), whole=whole,
                      cpu=usage.ru_utime + usage.ru_stime + cpu_seconds(pids) - before,
                      answer=sum(row.value for row in rows))

    def peer(self, n, name, needs):
        """One of peers.py that needs a Redis; workers are warm when its clock starts."""
        if not machines.SERVER:
            raise Skip("redis-server is not installed")
        if subprocess.run([interpreter(), "-c", f"import {needs}"], capture_output=True, env=ENV).returncode:
            raise Skip(f"python3-{needs} is not installed")
        directory = os.path.join(self.directory, f"{name}-{time.monotonic_ns()}")
        redis = Redis(directory)
        try:
            return measure.command([interpreter(), f"{HERE}/peers.py", name, redis.socket, n], n, ENV, parse=two_numbers)
        finally:
            redis.stop()

    def stop(self):
        self.leave()
        if self.redis:
            self.redis.stop()
