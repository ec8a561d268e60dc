"""The items of jobs of commands: the workload exec beside what else starts commands."""

import os

import fixtures
from contenders import ENV, Pppd, python, shell, tool
from items import Item, cost, limit, median_of, ratio
from measure import Skip

TRUE, COMMANDS, SOME = "/bin/true", 1_000, 200
BIG, SMALL = 1_000_000_000, 1_000_000
RESULTS, PRINTED = 10_000, 1_000
LEVELS = ("threads", "processes", "async")


class Commands:
    def __init__(self, bench):
        self.bench, self.pppd, self.path = bench, bench.pppd, bench.path

    def items(self):
        return {"commands": self.grouped, "commands-plain": self.plain, "command-output": self.output,
                "command-results": self.results}

    # Many that do nothing

    def contenders(self, listing, *options):
        """Ours, with what a command has used and printed."""
        def job(level):
            return self.pppd.job(level, "exec", listing, COMMANDS, "--workers", 2, *options, "--", TRUE)
        return {f"pppd {level} (2)": lambda level=level: job(level) for level in LEVELS}

    def bare(self, group, verb="commands"):
        return self.bench.limits.run(COMMANDS, verb, 2, COMMANDS, group, TRUE, "0")     # true(1) does more with one

    def xargs(self, listing):
        return tool(COMMANDS, "xargs", "-a", listing, "-P2", "-n1", TRUE)

    def grouped(self):
        group = self.pppd.daemon.group
        if not group:
            raise Skip("no cgroups can be made here")
        listing = fixtures.list_file(self.path("commands.list"), range(COMMANDS))
        bare, vfork = "C fork, cgroup, cpu.stat (limit)", "C vfork, cgroup, cpu.stat (limit)"
        xargs = "xargs -P2 -n1 (no cgroup)"

        def targets(level):
            ours = f"pppd {level} (2)"
            return [lambda s: limit(f"{level}: rate / bare C with fork", ratio(s, bare, ours), at_least=0.9),
                    lambda s: limit(f"{level}: rate / bare C with vfork", ratio(s, vfork, ours), at_least=0.9),
                    lambda s: limit(f"{level}: rate / xargs", ratio(s, xargs, ours), at_least=1)]
        return Item(
            "commands", f"{COMMANDS:,} commands that do nothing, each in a cgroup of its own, two at a time", "command",
            {**self.contenders(listing), bare: lambda: self.bare(group), vfork: lambda: self.bare(group, "commands-vfork"),
             xargs: lambda: self.xargs(listing)},
            per="wall", reference=bare, targets=[target for level in LEVELS for target in targets(level)],
            notes=["pppd reads all counters of the cgroup and keeps what is printed; C reads the CPU time; xargs does "
                   "none of that. Wall: of the job for pppd, of the loop for C, of the command for xargs."])

    def plain(self):
        listing = fixtures.list_file(self.path("commands.list"), range(COMMANDS))
        makefile = fixtures.list_file(self.path("commands.mk"), [
            "all: " + " ".join(f"t{i}" for i in range(COMMANDS)),
            ".PHONY: all " + " ".join(f"t{i}" for i in range(COMMANDS)),
            *(f"t{i}:\n\t@{TRUE} {i}" for i in range(COMMANDS))])
        some = fixtures.list_file(self.path("commands-some.list"), range(SOME))
        peers = {"make -j2": lambda: tool(COMMANDS, "make", "-rR", "-j2", "-f", makefile),
                 "xargs -P2 -n1": lambda: self.xargs(listing),
                 "GNU parallel -j2": lambda: self.parallel(some),
                 "python subprocess, ThreadPoolExecutor(2)": lambda: python(COMMANDS, "commands-threads", COMMANDS, TRUE)}
        best = lambda s: min((c for c in (cost(s, label, "wall") for label in peers) if c), default=None)

        def target(level):
            ours = f"pppd {level} (2)"
            return lambda s: limit(f"{level}: rate / the best peer",
                                   best(s) and cost(s, ours, "wall") and best(s) / cost(s, ours, "wall"), at_least=1)
        return Item(
            "commands-plain", f"{COMMANDS:,} commands that do nothing, without cgroups, two at a time", "command",
            {**self.contenders(listing, "--no-task-cgroup"), **peers, "C fork (limit)": lambda: self.bare("-"),
             "C vfork (limit)": lambda: self.bare("-", "commands-vfork")},
            per="wall", reference="C fork (limit)", targets=[target(level) for level in LEVELS],
            notes=[f"pppd keeps what is printed. GNU parallel: {SOME} commands."])

    def parallel(self, listing):
        """Another program of that name (moreutils) has no such option."""
        if "GNU" not in self.version("parallel"):
            raise Skip("GNU parallel is not installed")
        # It makes that directory, or one in the home directory
        return shell(SOME, f"PARALLEL_HOME={self.path('parallel')} parallel -j2 -a {listing} {TRUE}")

    @staticmethod
    def version(name):
        import shutil
        import subprocess
        if not shutil.which(name, path=ENV["PATH"]):
            return ""
        return subprocess.run([name, "--version"], capture_output=True, env=ENV).stdout.decode()

    # Much output of one

    def of_few_jobs(self):
        """A daemon that soon forgets what was printed: each job has a gigabyte."""
        if "output" not in self.bench.daemons:
            self.bench.daemons["output"] = Pppd(self.bench.directory, "output", "[jobs]\nkeep_jobs = 1\n")
        return self.bench.daemons["output"]

    def output(self):
        copy, pppd = self.path("output.copy"), self.of_few_jobs()
        # Whose memory is compared with that of who has printed little
        listings = {n: fixtures.list_file(self.path(f"output-{n}.list"), [n]) for n in (BIG, SMALL)}
        cat = "head | cat > file"

        def job(level, n):
            return pppd.job(level, "exec", listings[n], n, "--output", "none", "--", "head", "-c", "{}", "/dev/zero")

        def before():
            if os.path.exists(copy):
                os.unlink(copy)
            os.sync()

        def targets(level):
            big, small = f"pppd {level}", f"pppd {level}, 1 MB"
            return [lambda s: limit(f"{level}: rate / cat", ratio(s, cat, big), at_least=0.5),
                    lambda s: limit(f"{level}: peak memory, MiB above that of 1 MB", above(s, big, small), at_most=1)]

        def above(samples, a, b):
            peaks = [median_of(samples, label, "peak") for label in (a, b)]
            return None if None in peaks else (peaks[0] - peaks[1]) / (1 << 20)
        return Item(
            "command-output", "1 GB printed by one command, kept in a file", "byte",
            {**{f"pppd {level}": lambda level=level: job(level, BIG) for level in ("threads", "async")},
             **{f"pppd {level}, 1 MB": lambda level=level: job(level, SMALL) for level in ("threads", "async")},
             cat: lambda: shell(BIG, f"head -c {BIG} /dev/zero | cat > {copy}")},
            scale=1e9, scale_name="ns", per="wall", reference=cat, before=before,
            targets=[target for level in ("threads", "async") for target in targets(level)],
            notes=["What was written before is on the disk when a run begins."])

    # What is kept

    def results(self):
        listing = fixtures.list_file(self.path("printing.list"), range(RESULTS))
        self.pppd.job("async", "exec", listing, RESULTS, "--", "printf", f"%0{PRINTED}d")
        job = self.pppd.newest()["job"]
        args = {f"pppctl {' '.join(words)}": self.pppd.daemon.pppctl_args(words[0], job, *words[1:])
                for words in (("results",), ("logs", "9999"))}
        show = self.pppd.daemon.pppctl_args("show", job)
        one = next(iter(args))
        ms = lambda s, label: cost(s, label, "wall") and cost(s, label, "wall") * 1e3
        return Item(
            "command-results", f"what is kept of {RESULTS:,} commands that have printed {PRINTED:,} bytes each", "call",
            {**{label: lambda words=words: self.bench.many(words, 20) for label, words in args.items()},
             "pppctl show (no output is read)": lambda: self.bench.many(show, 20)},
            scale=1e3, scale_name="ms", per="wall", reference=one,
            targets=[lambda s, label=label: limit(f"{label}, ms", ms(s, label), at_most=20) for label in args],
            notes=["Each sample is the median of 20 calls, one process a call. CPU is that of the process alone."])
