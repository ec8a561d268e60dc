#!/usr/bin/python3
"""Integration tests: the real daemon, pppctl and real servers.

python3 tests/integration/run.py --build DIR [--only PATTERN] [--levels LIST] [--jobs N] [-v]

Test files run in processes of their own, --jobs at a time. PATTERN is a part of a test's name
(FILE.CLASS.TEST). The last line is `N passed, N failed, N skipped`; exit status 1 if any failed.
"""

import argparse
import concurrent.futures
import contextlib
import glob
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from harness import settings

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = ("pppd-supervisor", "pppd-runner", "pppctl", "pppd-web", "pppd-after-stop")
# The longest first, so that none of them is begun last.
FIRST = ("test_many", "test_machines_redis", "test_machines_cancel", "test_machines_nodes", "test_engine", "test_pause",
         "test_machines", "test_processes", "test_ends", "test_machines_tls", "test_machines_owners",
         "test_http", "test_threads", "test_environment")
# With a sanitizer, which makes tests compute, whole runs leave these out: they are about numbers, times and texts,
# and the code that they run is run by others.
NOT_SANITIZED = ("test_many", "test_talk", "test_neighbours", "test_compare", "test_completions")
# What pppctl does, so that its leaks are looked for here.
OF_PPPCTL = ("test_cli", "test_inputs", "test_terminal", "test_timeline")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="where the programs are (default: build)")
    parser.add_argument("--only", default="", help="run the tests whose name has this part")
    parser.add_argument("--levels", help="where a test goes through the levels: only these, by a comma")
    parser.add_argument("--jobs", type=int, help="test files at a time (default: 6 a CPU, with a sanitizer 3)")
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="name each test and its time")
    parser.add_argument("--file", help=argparse.SUPPRESS)
    parser.add_argument("--report", help=argparse.SUPPRESS)
    return parser.parse_args()


class Result(unittest.TestResult):
    """Counts, and prints each failure with the commands and the daemon's log."""

    def __init__(self, verbose):
        super().__init__()
        self.verbose = verbose
        self.passed = self.failed = self.skips = 0
        self.began = 0.0
        self.ok, self.skipped_one = True, False

    def startTest(self, test):
        super().startTest(test)
        self.began, self.ok, self.skipped_one = time.monotonic(), True, False

    def stopTest(self, test):
        super().stopTest(test)
        if not self.ok:
            self.failed += 1
        if self.verbose and not self.skipped_one:
            print(f"{'ok  ' if self.ok else 'FAIL'} {test.id()} {time.monotonic() - self.began:.2f} s", flush=True)

    def addSuccess(self, test):
        self.passed += self.ok

    def addSkip(self, test, reason):
        self.skips += 1
        self.skipped_one = True
        print(f"skip {test.id()}: {reason}", flush=True)

    def _fail(self, test, error):
        print(f"\n=== FAILED {test.id()}\n{self._exc_info_to_string(error, test)}", flush=True)
        if hasattr(type(test), "report"):
            print(type(test).report(), flush=True)
        if hasattr(test, "_testMethodName"):
            self.ok = False             # counted by stopTest()
        else:
            self.failed += 1            # set-up or tear-down of a class

    def addFailure(self, test, error):
        self._fail(test, error)

    def addError(self, test, error):
        self._fail(test, error)

    def addSubTest(self, test, subtest, error):
        if error:
            print(f"\n=== FAILED {subtest.id()}\n{self._exc_info_to_string(error, test)}", flush=True)
            print(type(test).report(), flush=True)
            self.ok = False

    def addUnexpectedSuccess(self, test):
        self.ok = False


def pick(suite, pattern):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from pick(item, pattern)
        elif pattern in item.id():
            yield item


def run_file(args):
    """In a process of its own: runs one file's tests, writes the counts to args.report."""
    sys.path.insert(0, HERE)
    settings.build = os.environ["PPPCTL_TEST_BUILD"] = os.path.abspath(args.build)
    from harness import process
    settings.leaks_of_pppctl = args.file in OF_PPPCTL
    process.become_subreaper()
    process.raise_descriptor_limit()
    tests = list(pick(unittest.defaultTestLoader.loadTestsFromName(args.file), args.only))
    result = Result(args.verbose)
    unittest.TestSuite(tests).run(result)
    leaks = process.stray()
    if leaks:
        print(f"\n=== FAILED {args.file}: processes are left: {leaks}")
        result.failed += 1
        for pid in leaks:
            os.kill(pid, 9)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    with open(args.report, "w") as file:
        json.dump([result.passed, result.failed, result.skips, sum(u.ru_utime + u.ru_stime for u in used)], file)


def start_file(args, name):
    """Returns (name, seconds, output, counts, seconds of CPU)."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("r") as report:
        command = [sys.executable, os.path.join(HERE, "run.py"), "--build", args.build, f"--only={args.only}",
                   "--file", name, "--report", report.name] + (["-v"] if args.verbose else [])
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = report.read()
    *counts, cpu = json.loads(text) if text else [0, 1, 0, 0.0]
    output = done.stdout.decode(errors="replace")
    if not text:
        output += f"\n=== FAILED {name}: it ended with {done.returncode} before its end\n"
    return name, time.monotonic() - began, output, counts, cpu


def say(name, seconds, output, counts, cpu):
    if any(counts):
        print(f"{output}{name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped, {seconds:.1f} s, "
              f"{cpu:.1f} s of CPU", flush=True)


def file_names(args):
    names = sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "test_*.py")))
    if settings.sanitized() and not args.only:
        print("left out, since these are programs with a sanitizer:", *NOT_SANITIZED, flush=True)
        names = [name for name in names if name not in NOT_SANITIZED]
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def open_to_all(path):
    """Whether other users may pass through every directory above `path`."""
    while (path := os.path.dirname(path)) != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
    return True


@contextlib.contextmanager
def programs_for_all(build):
    """The directory to run programs from. Root's tests run some as another user, who cannot reach a checkout
    in root's home: a copy then."""
    if os.geteuid() != 0 or open_to_all(os.path.abspath(os.path.join(build, PROGRAMS[0]))):
        yield build
        return
    with tempfile.TemporaryDirectory(prefix="pppctl-test-", dir="/tmp") as copy:
        os.chmod(copy, 0o755)
        for program in PROGRAMS:
            if os.path.exists(os.path.join(build, program)):
                shutil.copy(os.path.join(build, program), copy)
                os.chmod(os.path.join(copy, program), 0o755)
        print(f"other users cannot reach {os.path.abspath(build)}: the tests run copies in {copy}", flush=True)
        yield copy


def main():
    args = parse_args()
    if args.levels:
        os.environ["PPPCTL_TEST_LEVELS"] = args.levels
    if args.file:
        return run_file(args)
    for program in PROGRAMS[:3]:
        if not os.access(os.path.join(args.build, program), os.X_OK):
            sys.exit(f"run.py: {os.path.join(args.build, program)} is not there; run `make` first, or name its --build")
    totals = [0, 0, 0]
    settings.build = args.build
    # Of five seconds that a test takes it computes for less than one, and waits for the others; not with a sanitizer.
    jobs = args.jobs or (3 if settings.sanitized() else 6) * len(os.sched_getaffinity(0))
    with programs_for_all(args.build) as args.build, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for future in concurrent.futures.as_completed([pool.submit(start_file, args, n) for n in file_names(args)]):
            say(*future.result())
            totals = [a + b for a, b in zip(totals, future.result()[3])]
    if not any(totals):
        sys.exit(f"run.py: no test's name has {args.only!r}")
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    sys.exit(1 if totals[1] else 0)


if __name__ == "__main__":
    main()
