#!/usr/bin/python3
"""Puts the numbers of `pppctl talk --json`, read from standard input, into pppctl-levels(7).

    build/pppctl talk levels --json | packaging/levels-numbers.py

and writes docs/levels.md, which is that page as Markdown.
"""

import json
import os
import platform
import re
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(SOURCE, "packaging/man/pppctl-levels.7")
MARKDOWN = os.path.join(SOURCE, "docs/levels.md")


def units(value, steps):
    for factor, name in steps:
        if value >= factor:
            return f"{value / factor:.3g} {name}"
    return f"{value / steps[-1][0]:.3g} {steps[-1][1]}"


def seconds(value):
    return units(value, ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))).replace("µs", "us")


def costs(facts, level):
    """A sentence for each that was measured."""
    told = [("task_cpu_seconds", "a task {}", seconds), ("wait_cpu_seconds", "a wait {}", seconds),
            ("worker_start_seconds", "the start of a worker {}", seconds),
            ("worker_bytes", "its memory {}", lambda v: units(v, ((1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))))]
    found = [text.format(form(facts[f"{level}_{name}"])) for name, text, form in told if f"{level}_{name}" in facts]
    line = ", ".join(found) + "."
    return line[0].upper() + line[1:]


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    return f"The machine: {os.cpu_count()} CPUs ({model}), Linux {platform.release().split('-')[0]}."


def put(text, name, line):
    pattern = rf'(?s)(\.\\" talk begins: {name}\n).*?(\.\\" talk ends: {name}\n)'
    if not re.search(pattern, text):
        sys.exit(f"{PAGE}: there is no place for the numbers of {name}")
    return re.sub(pattern, lambda match: match[1] + line + "\n" + match[2], text)


def markdown():
    """The page as Markdown, as docs/levels.md has it."""
    text = subprocess.run(["mandoc", "-T", "markdown", PAGE], check=True, capture_output=True, text=True).stdout
    return re.sub(r"(?m)^PPPCTL-LEVELS\(7\) - .*\n+|\n*[^\n]* - [^\n]*\d{4}\n*\Z", "", text).rstrip("\n") + "\n"


def main():
    if sys.argv[1:] == ["--check"]:
        with open(MARKDOWN) as file:
            sys.exit(0 if file.read() == markdown() else f"{MARKDOWN} is not {PAGE} any more: packaging/levels-numbers.py --page writes it")
    if sys.argv[1:] != ["--page"]:
        told = json.load(sys.stdin)
        facts = next(page["facts"] for page in told["chapters"] if page["chapter"] == "levels")
        with open(PAGE) as file:
            text = file.read()
        for level in ("serial", "threads", "processes", "async"):
            text = put(text, level, costs(facts, level))
        text = put(text, "machine", machine())
        with open(PAGE, "w") as file:
            file.write(text)
    with open(MARKDOWN, "w") as file:
        file.write(markdown())


if __name__ == "__main__":
    main()
