#!/usr/bin/python3
"""What includes or calls a module above its own (tests/layers), and names that two files export."""

import argparse
import collections
import fnmatch
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'#include "(.+)"')


def read_modules():
    """[(line, pattern)], lowest first."""
    lines = (TOP / "tests/layers").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [(i, pattern) for i, row in enumerate(rows) for pattern in row]


def module_of(modules, path):
    found = [module for module in modules if fnmatch.fnmatchcase(path, module[1])]
    return found[-1] if found else None


def program_of(module):
    """The folder of the program whose part it is."""
    return re.match(r"lib|cli|daemon/[^/]+", module[1])[0]


def may_use(user, used):
    if user is None or used is None or user == used:
        return True
    return used[0] < user[0] and program_of(used) in ("lib", program_of(user))


def sources():
    """Those that are part of a program, relative to the top."""
    for folder in ("lib", "daemon", "cli"):
        yield from (path.relative_to(TOP) for path in sorted((TOP / folder).rglob("*.[ch]")))


def includes():
    for path in sources():
        for name in INCLUDE.findall((TOP / path).read_text()):
            if (TOP / name).exists():
                yield str(path), name, f"includes {name}"


def symbols(build):
    """(names that each source defines, names that it needs)"""
    objects = {f"{build / 'obj' / path}.o": str(path) for path in sources() if path.suffix == ".c"}
    made = [path for path in objects if pathlib.Path(path).exists()]
    defines, needs = ({objects[path]: set() for path in made} for _ in range(2))
    command = ["nm", "-A", *made] if made else ["true"]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        made_path, _, symbol = line.partition(":")
        path, (kind, name) = objects[made_path], symbol.split()[-2:]
        if kind in ("T", "D", "B", "R"):
            defines[path].add(name)
        elif kind == "U":
            needs[path].add(name)
    return defines, needs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", type=pathlib.Path)
    modules = read_modules()
    defines, needs = symbols(parser.parse_args().build)
    if not defines:
        sys.exit("layers: nothing is built here: make all, or --build DIRECTORY")

    homes = collections.defaultdict(list)
    for path, names in defines.items():
        for name in names - {"main"}:
            homes[name].append(path)
    calls = ((path, home, f"uses {name} of {home}")
             for path, names in needs.items() for name in sorted(names) for home in homes.get(name, []))
    wrong = [f"{path} {how}, which is no module below it" for path, used, how in [*includes(), *calls]
             if not may_use(module_of(modules, path), module_of(modules, used))]
    wrong += [f"{name} is exported by {' and '.join(paths)}" for name, paths in sorted(homes.items())
              if len(paths) > 1]
    for line in wrong:
        print(line)
    print(f"layers: {len(defines)} sources, {len(wrong)} wrong")
    sys.exit(bool(wrong))


main()
