#!/usr/bin/python3
"""pppd side by side with its peers, in one run: python3 tests/bench/run.py --build DIR [--only NAME] [--runs 5]

Contenders take turns, run by run, so that a noisy moment hits them alike. Prints a table an item
(medians [least..most]), the ratios, and what was to be reached; writes the same as Markdown and JSON.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time

NOISE = 0.1         # of the machine
PAGES = {"pages": 20_000, "latency": 2000, "machines-pages": 1000}      # that an item's answer is of

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "integration")]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="where the programs are (default: build)")
    parser.add_argument("--only", help="items, by a comma: pages, latency, file-ascii, file-mixed, files, sum, nothing, executor, submit, machines, machines-pages, commands, commands-plain, command-output, command-results")
    parser.add_argument("--contender", default="", help="only contenders whose label has this part")
    parser.add_argument("--runs", type=int, default=5, help="runs of each contender (default: 5)")
    parser.add_argument("--patience", type=int, default=2,
                        help="times a run is repeated when others used over 10 %% of the machine (default: 2)")
    parser.add_argument("--scratch", default="/tmp", help="where the files are made: about 1.2 GiB (default: /tmp)")
    parser.add_argument("--out", help="DIR for bench.md and bench.json (default: the build directory)")
    return parser.parse_args()


def main():
    args = parse_args()
    os.environ["PPPCTL_TEST_BUILD"] = os.path.abspath(args.build)
    from harness import process
    from commands import Commands
    from contenders import Limits, Pppd
    from items import Bench
    process.become_subreaper()
    process.raise_descriptor_limit()
    directory = tempfile.mkdtemp(prefix="pppctl-bench-", dir=args.scratch)
    pppd = bench = None
    try:
        pppd = Pppd(directory)
        bench = Bench(directory, pppd, Limits(os.path.abspath(args.build), directory))
        items = {**bench.items(), **Commands(bench).items()}
        results = [run_item(make, name, args) for name, make in chosen(items, args.only).items()]
    finally:
        if bench:
            bench.stop()
        if pppd:
            pppd.stop()
        shutil.rmtree(directory, ignore_errors=True)
    write(args.out or args.build, [r for r in results if r])


def chosen(items, only):
    if not only:
        return items
    unknown = set(only.split(",")) - set(items)
    if unknown:
        sys.exit(f"run.py: there is no item {', '.join(sorted(unknown))}; there are {', '.join(items)}")
    return {name: items[name] for name in only.split(",")}


def run_item(make, name, args):
    """Returns (Markdown, JSON object, row of the table in short) of one item; None when it cannot be run here."""
    from measure import Skip
    import report
    try:
        item = make()
    except Skip as why:
        print(f"\n## {name}\nskipped: {why}", flush=True)
        return None
    samples, skipped = collect(item, args)
    text = report.markdown(item, samples, skipped)
    print("\n" + text, flush=True)
    return text, report.as_json(item, samples, skipped), report.row_in_short(item, samples)


def collect(item, args):
    from measure import Skip
    samples = {label: [] for label in item.contenders if args.contender in label}
    skipped = {}
    for turn in range(args.runs):
        for label in samples:
            if label in skipped:
                continue
            print(f"\r{item.name}: run {turn + 1} of {args.runs}: {label:50}", end="", file=sys.stderr, flush=True)
            try:
                if item.before:
                    item.before()
                samples[label].append(quiet_sample(item, label, args.patience))
            except Skip as why:
                skipped[label] = str(why)
            except RuntimeError as why:
                skipped[label] = f"failed: {why}"
    print("\r" + " " * 90 + "\r", end="", file=sys.stderr, flush=True)
    return {label: s for label, s in samples.items() if s}, skipped


def quiet_sample(item, label, patience):
    """The first run in which others used little of the machine, else the one in which they used least."""
    best = None
    for _ in range(1 + patience):
        sample = watched(item, label)
        if best is None or sample.others < best.others:
            best = sample
        if best.others <= NOISE:
            break
    return best


def watched(item, label):
    from measure import busy_seconds
    server = item.server_cpu or (lambda: 0)
    busy, served, began = busy_seconds(), server(), time.monotonic()
    sample = checked(item, label, item.contenders[label]())
    ours = (sample.all_cpu or sample.cpu or 0) * sample.calls + server() - served
    machine = (time.monotonic() - began) * os.cpu_count()
    sample.others = max(0.0, (busy_seconds() - busy - ours) / machine)
    return sample


def checked(item, label, sample):
    """Who counts has to count right; those with fewer units are held to their share."""
    if item.answer is not None and sample.answer is not None:
        full = max(sample.units, 1)
        expected = item.answer if item.unit != "page" else item.answer * full // PAGES[item.name]
        if sample.answer != expected:
            raise RuntimeError(f"{label} found {sample.answer}, not {expected}")
    return sample


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(), "system": distribution()}


def distribution():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform()


def write(directory, results):
    from report import in_short
    about = machine()
    with open(os.path.join(directory, "bench.md"), "w") as file:
        file.write(f"# Benchmark\n\n{about['cpus']} x {about['cpu']}, Linux {about['kernel']}, {about['system']}. "
                   "Medians [least..most]; contenders took turns.\n\n")
        file.write("\n".join([in_short([row for _, _, row in results])] + [text for text, _, _ in results]))
    with open(os.path.join(directory, "bench.json"), "w") as file:
        json.dump({"machine": about, "items": [data for _, data, _ in results]}, file, indent=2)
    print(f"\nwritten: {directory}/bench.md, {directory}/bench.json")


if __name__ == "__main__":
    main()
