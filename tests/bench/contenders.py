"""Who runs: pppd by its own command line, and the peers. Each is a function that makes one Sample."""

import os
import shutil
import subprocess
import sys
import time

from harness import process
from harness.daemon import PPPCTL, Daemon

import measure
from measure import Sample, Skip, command, two_numbers

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
ENV = process.clean_environment()


class Pppd:
    """A daemon for the whole run; @config is the text of its configuration."""

    def __init__(self, directory, name="bench", config=""):
        self.directory = directory
        path = os.path.join(directory, f"{name}.conf")
        with open(path, "w") as file:
            file.write(config)
        self.daemon = Daemon(directory, name, args=["--config", path]).start()

    def job(self, level, workload, inputs, units, *options, ok=(0,)):
        """`pppctl run` with its inputs from a file; the numbers are from the job's summary."""
        args = self.daemon.pppctl_args("run", level, workload, "--from", inputs, "-q", *options)
        daemon_before = _cpu_of(self.daemon.pid)
        with open(os.devnull, "wb") as null:
            began = time.monotonic()
            popen = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=null, stderr=null, env=ENV)
            _, status, usage = os.wait4(popen.pid, 0)
            whole = time.monotonic() - began
        popen.returncode = os.waitstatus_to_exitcode(status)
        summary = self.newest()
        if popen.returncode not in ok or summary["tasks_failed"]:
            raise RuntimeError(f"{' '.join(args)} ended with {popen.returncode}; {summary['tasks_failed']} tasks failed")
        cpu = job_cpu(summary)
        others = usage.ru_utime + usage.ru_stime + _cpu_of(self.daemon.pid) - daemon_before
        return Sample(units=units, whole=whole, work=summary["wall_seconds"], cpu=cpu,
                      all_cpu=None if cpu is None else cpu + others, peak=summary.get("rss_peak_bytes"),
                      answer=self.answer(summary["job"]) if summary["tasks_total"] <= 20000 else None)

    def newest(self):
        with self.daemon.connect() as client:
            return client.stream(f"{PPPCTL}.List", {"limit": 1})[0]["job"]["summary"]

    def answer(self, job):
        return sum(row.value for row in self.daemon.rows(job))

    def stop(self):
        self.daemon.stop()


def job_cpu(summary):
    if "cpu_user_seconds" not in summary:
        return None
    return summary["cpu_user_seconds"] + summary["cpu_system_seconds"]


def _cpu_of(pid):
    """To 10 ms: good for a share of a run, not for one call."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Limits:
    """tests/bench/limits.c, built against the same wordcount that ships."""

    def __init__(self, build, directory):
        self.program = os.path.join(directory, "limits")
        compiler = os.environ.get("CC", "cc")
        done = subprocess.run(
            [compiler, "-std=gnu17", "-O2", "-D_GNU_SOURCE", "-I", SOURCE, "-I", f"{SOURCE}/include", f"{HERE}/limits.c",
             f"{build}/runner.a", f"{build}/lib.a", "-o", self.program, "-Wl,--as-needed", "-luring", "-ljansson", "-ldl",
             "-lpthread"], capture_output=True, env={**os.environ, "LANG": "C.UTF-8"})
        self.error = done.stderr.decode() if done.returncode else None
        if not self.error:
            measure.launcher[:] = [self.program, "measure", os.path.join(directory, "peak")]

    def run(self, units, *args):
        if self.error:
            raise Skip(f"limits.c does not build: {self.error.strip().splitlines()[-1]}")
        return command([self.program, *args], units, ENV, parse=two_numbers)


def python(units, name, *args, needs=()):
    """One of peers.py."""
    for module in needs:
        if subprocess.run([interpreter(), "-c", f"import {module}"], capture_output=True, env=ENV).returncode:
            raise Skip(f"python3-{module} is not installed")
    return command([interpreter(), f"{HERE}/peers.py", name, *args], units, ENV, parse=two_numbers)


def interpreter():
    return "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def tool(units, *args, **options):
    """A program from the PATH, or by its path."""
    if not shutil.which(args[0], path=ENV["PATH"]):
        raise Skip(f"{args[0]} is not installed")
    return command(args, units, ENV, **options)


def shell(units, text, needs=(), parse=None):
    for name in needs:
        if not shutil.which(name, path=ENV["PATH"]):
            raise Skip(f"{name} is not installed")
    return command(["sh", "-c", text], units, ENV, parse=parse)
