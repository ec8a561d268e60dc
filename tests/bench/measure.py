"""Samples: what one run of one contender took. Medians of them, and how they are written."""

import dataclasses
import os
import resource
import statistics
import time


@dataclasses.dataclass
class Sample:
    units: float                    # pages, bytes, tasks done
    whole: float                    # wall seconds of the whole command
    work: float = None              # wall seconds of the work, as the contender itself says
    cpu: float = None               # user and system seconds: the job's cgroup for pppd, the process tree for others
    all_cpu: float = None           # pppd: the job, pppctl and the daemon's share
    peak: int = None                # bytes
    answer: int = None              # what it counted
    calls: int = 1                  # the figures are of one of so many
    others: float = None            # share of the machine that others used meanwhile

    @property
    def wall(self):
        return self.whole if self.work is None else self.work


class Skip(Exception):
    """This contender cannot run here, and why."""


launcher = []       # put before each command: `limits measure FILE`, once that is built


def command(args, units, env=None, stdin=None, parse=None, ok=(0,), peak=True):
    """Runs a command to its end. `parse` takes its output and returns (answer, work seconds)."""
    import subprocess
    if launcher and peak:
        args = [*launcher, *args]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    popen = subprocess.Popen([str(a) for a in args], stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=env)
    out, err = _drain(popen)
    _, status = os.waitpid(popen.pid, 0)
    whole = time.monotonic() - began
    popen.returncode = os.waitstatus_to_exitcode(status)
    if popen.returncode not in ok:
        raise RuntimeError(f"{' '.join(map(str, args))[:300]} ended with {popen.returncode}: {err.decode()[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer, work = parse(out.decode()) if parse else (None, None)
    return Sample(units=units, whole=whole, work=work, cpu=cpu, answer=answer,
                  peak=_peak(launcher[2]) if launcher and peak else None)


def _peak(path):
    with open(path) as file:
        return int(file.read()) * 1024


def busy_seconds():
    """CPU time the machine has spent so far on anything, stolen time included."""
    with open("/proc/stat") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _drain(popen):
    """All output, without popen.wait(): its usage is ours to take."""
    import selectors
    parts = {popen.stdout: [], popen.stderr: []}
    with selectors.DefaultSelector() as selector:
        for pipe in parts:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 20)
                parts[key.fileobj].append(data)
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
    return tuple(b"".join(part) for part in parts.values())


def two_numbers(out):
    """The last line of limits and of peers.py: the answer and the seconds."""
    answer, seconds = out.split()[-2:]
    return int(answer), float(seconds)


def spread(values, digits=3):
    """median [least..most]"""
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    middle = statistics.median(values)
    if len(values) == 1:
        return number(middle, digits)
    return f"{number(middle, digits)} [{number(min(values), digits)}..{number(max(values), digits)}]"


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def number(value, digits=3):
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 10 ** digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
