#!/usr/bin/python3
"""Tests of the installed package under a real systemd: boots Debian in QEMU and runs tests/vm/suite there.

python3 tests/vm/run.py --suite bookworm|trixie... [--deb [SUITE=]FILE]... [--source DIR]
        [--rpm SUITE=FILE --next-rpm FILE] [--only PATTERN] [--keep]
python3 tests/vm/run.py --prepare DIR --suite SUITE... [--deb [SUITE=]FILE]... --source DIR

Each suite gets a machine with the .deb in it, where those after the first leave out what does not depend on the
suite (OF_NO_SUITE in guest.py); one of them also one with the .rpm. If that is the first, the two divide what does
not depend on the kind of package (OF_THE_RPM). Two suites also get a pair, a machine of each and a link between
them, for jobs over both: the one with the .rpm and the second's when their own tests are over, since a boot takes
as long as many tests; without an .rpm for the first suite, two more with the .deb. PATTERN is a part of a test's
name (FILE.CLASS.TEST); a pair of its own is booted for one that begins with "pair". The base root of each suite is
made once, needs the network and root, and is kept in --cache. When a test fails, the guest's journal of that time
is printed. The last line is `N passed, N failed, N skipped`; exit status 1 if any failed.

With --prepare only what takes long before machines start is done: base roots, and the .deb of suites that have none.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import machine
import root

HERE = os.path.dirname(os.path.abspath(__file__))
# What both kinds of tests use.
SHARED = ("__init__.py", "poll.py", "results.py", "settings.py", "varlink.py")
LEAVING_SECONDS = 30                        # for who waits for the other of a pair, when that is off
POLL_SECONDS = 1.0                          # how often is looked whether one is
ROLES = ("first", "second")                 # in a pair
ADDRESS = "10.99.0.1"                       # of the first, as in suite/pair_link.py

# One machine: `share` is which of suite/test_*.py it runs (guest.py), `role` what it is in a pair, after these.
Guest = collections.namedtuple("Guest", "suite kind share role", defaults=(None,))


def of_suite(text):
    """(suite, path); the suite is None for all of them."""
    suite, equals, path = text.rpartition("=")
    return (suite if equals else None), path


def deb_of(args, suite):
    debs = dict(args.deb)
    return debs.get(suite, debs.get(None))


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", required=True, action="append", choices=("bookworm", "trixie"),
                        help="which Debian; may be given more than once")
    parser.add_argument("--deb", default=[], action="append", metavar="[SUITE=]FILE", type=of_suite,
                        help="the package to test, of that suite or of all that have none of their own")
    parser.add_argument("--source", help="where the package comes from, with its debian/: it is built for suites that "
                        "have no --deb")
    parser.add_argument("--prepare", metavar="DIR", help="run nothing: build into DIR, and make base roots")
    parser.add_argument("--rpm", metavar="SUITE=FILE", type=of_suite, default=(None, None),
                        help="another package to test there, with what the first depends on in Debian")
    parser.add_argument("--next-rpm", help="that one of a higher version")
    parser.add_argument("--kind", choices=("deb", "rpm", "pair"), help="only the machines of that kind")
    parser.add_argument("--only", default="", help="run the tests whose name has this part")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="machines at a time (default: 1)")
    parser.add_argument("--keep", action="store_true", help="leave the machine's disk, and say how to boot it")
    parser.add_argument("--many", type=int, default=48, metavar="N", help="jobs in the test of many (default: 48)")
    parser.add_argument("--cache", default="build/vm", help="where base roots are (default: build/vm)")
    parser.add_argument("--mirror", help="where to get Debian from (default: where this machine does)")
    parser.add_argument("--accel", default="tcg", help="QEMU's accelerator (default: tcg)")
    parser.add_argument("--seconds", type=int, default=1800, help="time limit for each machine (default: 1800)")
    parser.add_argument("-v", "--verbose", action="store_true", help="name each test and its time")
    return parser.parse_args()


def check(args):
    missing = machine.missing_programs()
    if missing:
        sys.exit(f"run.py: {', '.join(name for name, _ in missing)} not there; on Debian, install: "
                 + " ".join(package for _, package in missing))
    if os.geteuid() != 0:
        sys.exit("run.py: making a root file system takes root; run it with sudo")
    if args.rpm[1] and not args.next_rpm:
        sys.exit("run.py: --rpm goes with --next-rpm, to see it upgraded")
    debs = [("deb", deb_of(args, suite)) for suite in args.suite]
    if ("deb", None) in debs and not args.source:
        sys.exit("run.py: give a --deb for each suite, one without a suite for all of them, or the --source")
    for option, path in (*debs, ("rpm", args.rpm[1]), ("rpm-next", args.next_rpm)):
        if path is not None and not os.path.isfile(path):
            sys.exit(f"run.py: there is no package {path}; run `make {option}` first, or name another")


def depends(deb):
    done = subprocess.run(["dpkg-deb", "--field", deb, "Pre-Depends", "Depends"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"run.py: {deb} is no Debian package (see above); name another with --deb")
    return ", ".join(line.split(":", 1)[1].strip() for line in done.stdout.splitlines() if ":" in line)


def make_next_deb(deb, directory):
    """The same package of a higher version, to upgrade to."""
    tree = os.path.join(directory, "tree")
    control = os.path.join(tree, "DEBIAN", "control")
    machine.run(["dpkg-deb", "--raw-extract", deb, tree])
    with open(control) as file:
        text = file.read()
    with open(control, "w") as file:
        file.write(re.sub(r"(?m)^Version: .*$", r"\g<0>+next", text))
    machine.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, os.path.join(directory, "next.deb")])
    shutil.rmtree(tree)


def get_deb(args, suite):
    """What is built on one suite does not run on all; for each that needs its own it is built once."""
    if deb_of(args, suite):
        return deb_of(args, suite)
    with building:
        if not deb_of(args, suite):
            began = time.monotonic()
            path = root.build(args.cache, suite, args.source, args.built, args.mirror, say)
            say(f"--- {os.path.basename(path)} built in {time.monotonic() - began:.0f} s")
            args.deb.append((suite, path))
    return deb_of(args, suite)


def prepare(args):
    args.built = args.prepare
    os.makedirs(args.built, exist_ok=True)
    for suite in args.suite:
        root.get(args.cache, suite, depends(get_deb(args, suite)), args.mirror, say)


def openssl(*command):
    machine.run(["openssl", *command])


def make_common(directory):
    """What both machines of a pair have: a password, an authority and, from it, what Redis needs for TLS."""
    os.mkdir(directory, 0o755)
    shutil.copy(os.path.join(HERE, "..", "..", "docs", "machines.md"), directory)
    with open(os.path.join(directory, "password"), "w") as file:
        file.write(secrets.token_hex(16) + "\n")
    ca, ca_key, pem, key, request = (os.path.join(directory, name)
                                     for name in ("ca.pem", "ca.key", "redis.pem", "redis.key", "redis.csr"))
    extension = os.path.join(directory, "extension")
    with open(extension, "w") as file:
        file.write(f"subjectAltName=IP:{ADDRESS}\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout")
    openssl("req", "-x509", *new_key, ca_key, "-subj", "/CN=pppctl test CA", "-days", "2", "-out", ca)
    openssl("req", *new_key, key, "-subj", "/CN=redis", "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", extension,
            "-days", "2", "-out", pem)


def make_payload(args, guest, deb, directory):
    """What the guest finds as /payload: its side of the tests, and the package."""
    os.mkdir(directory, 0o755)
    shutil.copy(os.path.join(HERE, "guest.py"), directory)
    shutil.copytree(os.path.join(HERE, "suite"), os.path.join(directory, "suite"),
                    ignore=shutil.ignore_patterns("__pycache__"))
    if guest.kind == "rpm":
        shutil.copy(args.rpm[1], os.path.join(directory, "package.rpm"))
        shutil.copy(args.next_rpm, os.path.join(directory, "next.rpm"))
    else:
        shutil.copy(deb, os.path.join(directory, "package.deb"))
        make_next_deb(deb, directory)
    shutil.copytree(os.path.join(HERE, "..", "..", "packaging", "debian", "tests"), os.path.join(directory, "autopkgtest"))
    os.mkdir(os.path.join(directory, "harness"))
    for name in SHARED:
        shutil.copy(os.path.join(HERE, "..", "integration", "harness", name), os.path.join(directory, "harness"))
    with open(os.path.join(directory, "arguments"), "w") as file:
        # The second of a pair has one test for that, which serves those of the first.
        json.dump({"only": "" if guest.role == "second" else args.only, "many": args.many, "role": guest.role,
                   "share": guest.share}, file)


def say(text):
    """One write, since several machines talk."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Report:
    """Counts what one guest tells, and prints it."""

    def __init__(self, name, verbose):
        self.name, self.verbose = name, verbose
        self.passed = self.failed = self.skipped = 0
        self.ended = False
        self.waits = False              # for the other of a pair
        self.current = None             # the test that was begun last, until it ends

    def take(self, message):
        kind = message.pop("kind")
        getattr(self, f"take_{kind}")(**message)

    def totals(self):
        return totals(self.passed, self.failed, self.skipped)

    def take_begin(self, test):
        self.current, self.waits = test, False

    def take_waits(self):
        self.waits = True

    def take_note(self, text):
        """A figure worth keeping, from a test."""
        say(f"     {self.name}: {text}")

    def take_result(self, test, outcome, seconds, text, journal):
        self.current = None
        if outcome == "passed":
            self.passed += 1
            if self.verbose:
                say(f"ok   {self.name}: {test} {seconds:.1f} s")
        elif outcome == "skipped":
            self.skipped += 1
            say(f"skip {self.name}: {test}: {text}")
        else:
            self.failed += 1
            say(f"\n=== FAILED {self.name}: {test} after {seconds:.1f} s\n{text}\n--- journal of the guest\n{journal}")

    def take_end(self):
        self.ended = True

    def tell_unended(self, vm, seconds):
        """The guest went away, or was too slow."""
        self.failed += 1
        where = f"in {self.current}" if self.current else "between tests"
        say(f"\n=== FAILED {self.name}: the guest did not get to its end within {seconds:.0f} s; it was {where}. "
            f"Its console:\n{vm.console_text()[-6000:]}")


def totals(passed, failed, skipped):
    return f"{passed} passed, {failed} failed, {skipped} skipped"


def set_up(args, guest, directory, peer=None, common=None):
    """A Machine that is ready to boot; `peer` is the directory of the other of a pair, `common` what both have."""
    deb = get_deb(args, guest.suite)
    base = root.get(args.cache, guest.suite, depends(deb), args.mirror, say)
    vm = machine.Machine(base, directory, args.accel, peer)
    payload = os.path.join(directory, "payload")
    make_payload(args, guest, deb, payload)
    if common:
        shutil.copytree(common, os.path.join(payload, "pair"))
    vm.set_up(payload)
    return vm


def follow(args, vm, report):
    """Boots it, and prints what it reports until it is off."""
    began = time.monotonic()
    running.append(vm)
    for message in vm.run(args.seconds):
        report.take(message)
    seconds = time.monotonic() - began
    if not report.ended:
        report.tell_unended(vm, seconds)
    if args.keep:
        say(f"kept: {vm.directory}; to boot it: {vm.by_hand()}")
    say(f"--- {report.name}: {report.totals()}, {seconds:.0f} s")


def report_of(args, guest):
    return Report(f"pair, {guest.suite}" if guest.share == "none" else f"{guest.suite}, {guest.kind}", args.verbose)


def run_machine(args, guests, directory):
    """Returns its Report in a list."""
    report = report_of(args, guests[0])
    follow(args, set_up(args, guests[0], directory), report)
    return [report]


def run_pair(args, guests, directory):
    """Two at once, with a link; each is booted as soon as it can be. Returns their Reports."""
    common = os.path.join(directory, "common")
    make_common(common)
    directories = [os.path.join(directory, guest.role) for guest in guests]
    for path in directories:
        os.mkdir(path)
    vms, reports = [None, None], [report_of(args, guest) for guest in guests]

    def run_one(i):
        vms[i] = set_up(args, guests[i], directories[i], peer=directories[1 - i], common=common)
        follow(args, vms[i], reports[i])
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run_one, i) for i in range(2)]
        while not all(future.done() for future in futures):
            concurrent.futures.wait(futures, POLL_SECONDS)
            for i in range(2):
                if futures[1 - i].done() and reports[i].waits:
                    concurrent.futures.wait(futures[i:i + 1], LEAVING_SECONDS)
                    vms[i].kill()
    for future in futures:
        future.result()
    return reports


def run_in_directory(args, guests):
    name = "-".join(dict.fromkeys([guest.suite for guest in guests] + [guest.kind for guest in guests]))
    directory = tempfile.mkdtemp(prefix=f"run-{name}.", dir=args.cache)
    try:
        return (run_pair if len(guests) > 1 else run_machine)(args, guests, directory)
    finally:
        if not args.keep:
            shutil.rmtree(directory)


running = []
building = threading.Lock()


def terminate(*_):
    """Leaves as after an exception: without its QEMUs, and without their disks."""
    for vm in running:
        vm.kill()
    sys.exit(143)


def whole(args):
    """The Guests of each machine or pair to boot, for all tests of all kinds; what takes longest comes first."""
    first, *others = args.suite
    divided = args.rpm[0] == first
    debs = [Guest(first, "deb", "deb" if divided else "all")] + [Guest(suite, "deb", "brief") for suite in others]
    rpms = [Guest(suite, "rpm", "rpm" if divided else "package") for suite in args.suite if suite == args.rpm[0]]
    if not others:
        pairs = []
    elif divided:
        pairs = [paired(rpms.pop(), debs.pop(1))]
    else:
        pairs = [own_pair(args)]
    return pairs + [(guest,) for guest in debs + rpms]


def paired(*guests):
    return tuple(guest._replace(role=role) for guest, role in zip(guests, ROLES))


def own_pair(args):
    return paired(*(Guest(suite, "deb", "none") for suite in args.suite[:2]))


def wanted(args):
    """As whole(), of what was asked for."""
    if not args.only and not args.kind:
        return whole(args)
    machines = {"deb": [(Guest(suite, "deb", "brief" if suite != args.suite[0] and not args.only else "all"),)
                        for suite in args.suite],
                "rpm": [(Guest(suite, "rpm", "package"),) for suite in args.suite if suite == args.rpm[0]],
                "pair": [own_pair(args)] if len(args.suite) > 1 else []}
    if args.kind:
        kinds = [args.kind]
    else:
        kinds = ["pair"] if args.only.startswith("pair") else ["deb", "rpm"]
    return [guests for kind in kinds for guests in machines[kind]]


def main():
    args = parse_args()
    check(args)
    signal.signal(signal.SIGTERM, terminate)
    args.cache = os.path.abspath(args.cache)
    os.makedirs(args.cache, exist_ok=True)
    if args.prepare:
        prepare(args)
        return
    with tempfile.TemporaryDirectory(prefix="built.", dir=args.cache) as args.built, \
            concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(run_in_directory, args, guests) for guests in wanted(args)]
        reports = [report for future in futures for report in future.result()]
    counts = [sum(getattr(report, name) for report in reports) for name in ("passed", "failed", "skipped")]
    if not any(counts):
        sys.exit(f"run.py: no test's name has {args.only!r}")
    say(totals(*counts))
    sys.exit(1 if counts[1] else 0)


if __name__ == "__main__":
    try:
        main()
    except (machine.MachineError, root.RootError) as error:
        sys.exit(f"run.py: {error}")
