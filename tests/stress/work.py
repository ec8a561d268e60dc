"""Random small jobs, and for each of their inputs the only record that would be right."""

import collections
import os

from harness.oddserver import OddServer, body

# reason: None for a task that is done
Expected = collections.namedtuple("Expected", "value reason")
Work = collections.namedtuple("Work", "spec inputs expected counted")

LIMITS = [{"pids_max": 500}, {"memory_max_bytes": 512 << 20}, {"cpu_max_cpus": 1.5}, {"cpu_weight": 50}]
LONG = "60"                             # seconds; such a job is cancelled in the end


class Maker:
    """Files and pages to count the words of, in a directory of its own."""

    def __init__(self, directory, levels):
        self.levels = levels
        self.server = OddServer().start()
        self.pages = 0
        self.files = []
        for n in (0, 1, 7, 100):
            path = os.path.join(directory, f"words-{n}")
            with open(path, "w") as file:
                file.write("word " * n)
            self.files.append((path, n))
        self.missing = os.path.join(directory, "missing")

    def stop(self):
        self.server.stop()

    def work(self, random):
        """A Work: `counted` says for how many requests each of its pages was asked, or is None."""
        level = random.choice([*self.levels, "processes"])
        spec, counted = {"level": level}, None
        kind = random.choice(["sum", "sum", "sleep", "sleep", "files", "pages", "sum-array"])
        spec["workload"] = "words" if kind in ("files", "pages") else kind
        n = random.choice([1, 2, 5, 20, 20, 100])
        pairs = [self._task(random, kind) for _ in range(n if kind == "sum" else min(n, 20))]
        if kind == "sum" and random.random() < 0.1:
            pairs *= random.choice([20, 200])
        if kind == "sleep" and random.random() < 0.1:
            pairs.append((LONG, Expected(int(LONG) * 10 ** 9, None)))
        if kind == "pages":
            counted = self.server.counts
        self._options(random, spec, kind)
        return Work(spec, [text for text, _ in pairs], [expected for _, expected in pairs], counted)

    def _task(self, random, kind):
        bad = random.random() < 0.05
        if kind in ("sum", "sum-array"):
            if bad:
                return random.choice([("six", Expected(None, "NOT_A_NUMBER")), ("-3", Expected(None, "NEGATIVE"))])
            n = random.choice([0, 1, 3, 1000, 100_000])
            return str(n), Expected(n * (n - 1) // 2, None)
        if kind == "sleep":
            if bad:
                return "soon", Expected(None, "NOT_A_NUMBER")
            milliseconds = random.choice([0, 1, 5, 20, 100])
            return f"{milliseconds}ms", Expected(milliseconds * 10 ** 6, None)
        if kind == "files":
            if bad:
                return self.missing, Expected(None, "OPEN")
            path, n = random.choice(self.files)
            return path, Expected(n, None)
        return self._page(random)

    def _page(self, random):
        """Each has an address of its own, so that the server tells how often a task ran."""
        self.pages += 1
        n = random.choice([1, 5, 50])
        return self.server.on(f"/{self.pages}-{random.randrange(1 << 30)}", body(b"word " * n)), Expected(n, None)

    @staticmethod
    def _options(random, spec, kind):
        def sometimes(share, name, *values):
            if random.random() < share:
                spec[name] = random.choice(values)

        sometimes(0.05, "timeout_seconds", 0.05, 0.5, 20)
        sometimes(0.05, "task_timeout_seconds", 0.01, 0.5)
        if kind != "pages":
            sometimes(0.1, "retries", 2)
        if spec["level"] == "machines":
            return                      # the rest is for the nodes to say
        sometimes(0.05, "cpu_time_max_seconds", 0.01, 30)
        sometimes(0.05, "nice", 0, 5, 19)
        sometimes(0.1, "limits", *LIMITS)
        if spec["level"] != "serial":
            sometimes(0.7, "workers", 1, 2, 3, 8)
        if spec["level"] == "async":
            sometimes(0.3, "loops", 1, 2)
        if spec["level"] == "threads":
            sometimes(0.2, "gil", True)
            sometimes(0.2, "threaded", True)


def is_long(work):
    return LONG in work.inputs and work.spec["workload"] == "sleep"
