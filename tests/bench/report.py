"""Tables of the benchmark, for people and for programs."""

import dataclasses

from items import cost
from measure import median, number, spread


def markdown(item, samples, skipped):
    lines = [f"## {item.name}: {item.title}", ""]
    lines += table(item, samples)
    lines += [""] + [f"- {target_line(target(samples))}" for target in item.targets]
    lines += [f"- {note}" for note in item.notes]
    lines += noise(samples)
    lines += [f"- skipped: {label}: {why}" for label, why in skipped.items()]
    return "\n".join(lines) + "\n"


HEAD_SHORT = ["work", "of each", "pppd", "the best other", "times more", "the least there is"]
INCOMPARABLE = ("does not count", "no job is made")


def row_in_short(item, samples):
    """One line of what the item shows: the best of ours, of what one would use otherwise, and of bare C."""
    def best(belongs):
        costs = {label: cost(samples, label, item.per) for label in samples
                 if belongs(label) and not any(mark in label for mark in INCOMPARABLE)}
        return min(((value, label) for label, value in costs.items() if value is not None), default=(None, ""))
    ours = best(is_ours)
    other = best(lambda label: not is_ours(label) and not is_limit(label))
    bare = best(is_limit)
    unit = {"cpu": "CPU", "wall": "wall"}[item.per] + f" {item.scale_name}/{item.unit}"
    return [item.title, unit, told(item, *ours), told(item, *other),
            number(other[0] / ours[0]) if ours[0] and other[0] else "-", told(item, *bare)]


def is_ours(label):
    return label.startswith(("pppd ", "pppctl "))


def is_limit(label):
    return "(limit)" in label or label.startswith("C ")


def told(item, value, label):
    label = label.removeprefix("pppd ").replace(" (limit)", "")
    return "-" if value is None else f"{number(scaled(value, 1, item.scale))}, {label}"


def in_short(rows):
    return "\n".join(["## In short", ""] + aligned([HEAD_SHORT] + rows)) + "\n"


def noise(samples):
    worst = max((s.others for runs in samples.values() for s in runs), default=0)
    if worst <= 0.1:
        return []
    return [f"- others used up to {worst:.0%} of the machine during a run: take these figures with care"]


def table(item, samples):
    unit, scale, name = item.unit, item.scale, item.scale_name
    head = ["", f"{unit}/s", "wall s", "whole command s", f"CPU {name}/{unit}", "with pppctl and pppd",
            "peak MiB", f"x {item.reference}, {item.per}"]
    rows = [[label, number(1 / cost(samples, label, "wall"), 4), spread([s.wall for s in runs]),
             spread([s.whole for s in runs]), spread([scaled(s.cpu, s.units, scale) for s in runs]),
             number(median([scaled(s.all_cpu, s.units, scale) for s in runs])),
             number(median([None if s.peak is None else s.peak / (1 << 20) for s in runs])),
             number(relative(item, samples, label))]
            for label, runs in samples.items()]
    return aligned([head] + rows)


def scaled(value, units, scale):
    return None if value is None else value / units * scale


def relative(item, samples, label):
    ours, theirs = cost(samples, item.reference, item.per), cost(samples, label, item.per)
    return None if not ours or theirs is None else theirs / ours


def aligned(rows):
    rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def target_line(target):
    text, value, at_most, at_least = target
    if at_most is None and at_least is None:
        return f"{text}: {number(value, 4)}"
    wanted = f"at most {number(at_most)}" if at_most is not None else f"at least {number(at_least)}"
    return f"{text}: {number(value, 4)}, {wanted}: {verdict(target)}"


def verdict(target):
    _, value, at_most, at_least = target
    if value is None:
        return "not measured"
    if at_most is None and at_least is None:
        return "no target"
    met = value <= at_most if at_most is not None else value >= at_least
    return "met" if met else "MISSED"


def as_json(item, samples, skipped):
    targets = [target(samples) for target in item.targets]
    return {
        "name": item.name, "title": item.title, "unit": item.unit,
        "contenders": {label: [dataclasses.asdict(s) for s in runs] for label, runs in samples.items()},
        "cost_seconds": {label: {per: cost(samples, label, per) for per in ("wall", "cpu")} for label in samples},
        "targets": [dict(zip(("text", "value", "at_most", "at_least"), t), verdict=verdict(t)) for t in targets],
        "skipped": skipped,
    }
