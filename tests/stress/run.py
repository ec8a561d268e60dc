#!/usr/bin/python3
"""Random calls, kills and restarts against the real daemon: python3 tests/stress/run.py --build DIR [--seconds N] [--seed N]

Some clients call whatever there is to be called, well and badly, while the daemon and its processes are
killed and the daemon is started again. What must hold all the same is checked as it is told, and at the end:
every job ends, and once; counters are as the records; a record is written once, and is right; no task is
begun more often than interruptions account for; no process, cgroup, descriptor or file is left; the daemon
never ends by itself.

The same seed makes the same choices in each thread; how they fall together is the machine's. The last line
is `N calls, N restarts, N kills: passed`, or `: failed`; exit status 1 then.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = 4
TELL_SECONDS = 5.0
LOG_SIZE = 20_000


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="where the programs are (default: build)")
    parser.add_argument("--seconds", type=float, default=60, help="how long calls are made (default: 60)")
    parser.add_argument("--seed", type=int, help="of an earlier run, to do the same")
    return parser.parse_args()


ARGS = parse_args()
os.environ["PPPCTL_TEST_BUILD"] = os.path.abspath(ARGS.build)
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from harness import process, results, varlink           # noqa: E402: they read the environment
from harness.daemon import PPPCTL                       # noqa: E402

from calls import Caller                                # noqa: E402
from faults import Faults                               # noqa: E402
from ledger import LIVE, Broken, Ledger                 # noqa: E402
from work import Maker, is_long                         # noqa: E402
from world import END_SECONDS, World                    # noqa: E402


def totals(world):
    return f"{world.calls} calls, {world.restarts} restarts, {world.kills} kills"


def play(world, ledger, maker, seed):
    """Until the time is up, or something is broken."""
    threads = [Caller(world, ledger, maker, random.Random(f"{seed} caller {i}")) for i in range(CLIENTS)]
    threads.append(Faults(world, ledger, random.Random(f"{seed} faults")))
    for thread in threads:
        thread.start()
    began = told = time.monotonic()
    while not world.stopping.wait(0.1) and time.monotonic() - began < ARGS.seconds:
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            print(f"{told - began:4.0f} s: {totals(world)}, {len(ledger.jobs)} jobs", flush=True)
    world.stopping.set()
    for thread in threads:
        thread.join(END_SECONDS)
        if thread.is_alive():
            raise Broken(f"{thread.name} of {type(thread).__name__} does not come to its end")
    if world.failure:
        raise Broken(world.failure)


def all_jobs(world):
    with world.daemon.connect() as client:
        replies = client.stream(f"{PPPCTL}.List", {}, timeout=END_SECONDS)
    return [reply["job"] for reply in replies if "job" in reply]


def learn_of_lost(world, ledger):
    """Jobs whose number nobody was told: they are known by their inputs."""
    for shown in all_jobs(world):
        if shown["job"] in ledger.jobs:
            continue
        with world.daemon.connect() as client:
            reply = client.call(f"{PPPCTL}.Results", {"job": shown["job"]})
            client.take_fd(reply["results_fd"], close=True)
            with os.fdopen(client.take_fd(reply["inputs_fd"])) as file:
                inputs = file.read().splitlines()
        ledger.claim(shown["job"], shown["spec"], inputs)


def end_all(world, ledger):
    """Whatever is paused goes on; whatever would take long is cancelled; all of it ends."""
    for shown in all_jobs(world):
        job = ledger.jobs[shown["job"]]
        if shown["state"] not in LIVE:
            continue
        try:
            if is_long(job.work):
                job.cancelled = True
                world.call("Cancel", {"job": job.number}, timeout=END_SECONDS)
            else:
                world.call("Resume", {"job": job.number})
        except varlink.Error as error:
            if not error.name.endswith(".NotRunning"):
                raise
    for number in ledger.jobs:
        asked_ns = time.monotonic_ns()
        try:
            reply = world.call("Wait", {"job": number}, timeout=END_SECONDS)
        except TimeoutError:
            raise Broken(f"job {number} does not end: {world.call('Show', {'job': number})}\n{world.state_of(number)}") from None
        ledger.told(reply["job"], asked_ns)


def check_jobs(world, ledger):
    for number, job in ledger.jobs.items():
        asked_ns = time.monotonic_ns()
        with world.daemon.connect() as client:
            reply = client.call(f"{PPPCTL}.Results", {"job": number})
            rows = results.read(client.take_fd(reply["results_fd"]))
            client.take_fd(reply["inputs_fd"], close=True)
        ledger.told(reply["job"], asked_ns)
        ledger.records(job, reply["job"], rows, asked_ns)
        ledger.check_attempts(job)


def check(world, ledger, descriptors):
    world.check_alive()
    learn_of_lost(world, ledger)
    end_all(world, ledger)
    check_jobs(world, ledger)
    world.check_totals(len(ledger.jobs))
    world.check_files(ledger.jobs)
    world.check_groups()
    world.check_descriptors(descriptors)
    world.check_alive()
    world.stop()


def levels(world):
    """Those that work here."""
    checks = world.call("Doctor", {})["checks"]
    broken = {level for check in checks if check["status"] == "no" for level in check["levels"]}
    return [level for level in ("serial", "threads", "processes", "async", "machines") if level not in broken]


def config(directory):
    """Nothing is forgotten, so that all can be looked at in the end."""
    path = os.path.join(directory, "pppctl.conf")
    with open(path, "w") as file:
        file.write("[jobs]\nkeep_jobs = 1000000\n")
    return path


def run(world, directory, seed):
    world.start()
    descriptors = world.descriptors()
    ledger, maker = Ledger(world), Maker(directory, levels(world))
    try:
        play(world, ledger, maker, seed)
        print(f"calls are over: {totals(world)}, {len(ledger.jobs)} jobs; now their ends", flush=True)
        check(world, ledger, descriptors)
        print(f"of {len(ledger.jobs)} jobs all have ended as they should", flush=True)
    finally:
        maker.stop()


def main():
    seed = ARGS.seed if ARGS.seed is not None else random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}", flush=True)
    process.become_subreaper()
    process.raise_descriptor_limit()
    directory = tempfile.mkdtemp(prefix="pppctl-stress-")
    world = World(directory, config(directory))
    try:
        run(world, directory, seed)
    except Exception as error:          # noqa: BLE001: the log belongs to any of them
        print(f"the daemon's log:\n{world.daemon.log()[-LOG_SIZE:]}\n\n{type(error).__name__}: {error}\n"
              f"again: make stress SECONDS={ARGS.seconds:g} SEED={seed}\n{totals(world)}: failed", flush=True)
        return 1
    finally:
        world.clean_up()
        shutil.rmtree(directory, True)
    print(f"{totals(world)}: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
