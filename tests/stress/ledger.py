"""What was asked of the daemon, what it has told, and whether all of that can be true at once."""

import threading
import time

from harness.results import DONE, reasons

LIVE = ("queued", "running", "paused")
REASONS = reasons()
NAMES = {number: name for name, number in REASONS.items()}


class Broken(AssertionError):
    """A promise that the daemon has not kept."""


class Job:
    """One that was admitted, and what was done to it."""

    def __init__(self, number, work, marks, vanishes):
        self.number, self.work = number, work
        self.cancelled = vanishes       # by a call, or by the end of its connection
        self.worker_killed = self.runner_killed = False
        self.restarts, self.helper_kills = marks        # that were before it
        self.rows, self.rows_ns = [None] * len(work.inputs), 0
        self.ended = None               # the first reply that told its end,
        self.ended_ns = 0               # and when it had come


class Ledger:
    """Shared by all threads; every reply about a job passes here. `asked_ns` is when it was asked for."""

    def __init__(self, world):
        self.world = world
        self.lock = threading.Lock()
        self.jobs = {}
        self.lost = []                  # works whose Run got no reply: (work, vanishes)
        self.ends = {}                  # of jobs that are not known: their first reply

    def add(self, number, work, marks, vanishes):
        """`marks`: world.marks() of before it was asked for; `vanishes`: it ends with its connection."""
        with self.lock:
            if number in self.jobs:
                raise Broken(f"job {number} was given twice")
            self.jobs[number] = Job(number, work, marks, vanishes)

    def add_lost(self, work, vanishes):
        with self.lock:
            self.lost.append((work, vanishes))

    def pick(self, random):
        """A job, the newer the likelier; None if there is none."""
        with self.lock:
            numbers = list(self.jobs)
        if not numbers:
            return None
        last = numbers[-30:] if random.random() < 0.8 else numbers
        return self.jobs[random.choice(last)]

    def n_open(self):
        with self.lock:
            return sum(job.ended is None for job in self.jobs.values())

    # Replies

    def told(self, shown, asked_ns):
        """A reply about a job: what has ended stays as it was."""
        number, state = shown["job"], shown["state"]
        with self.lock:
            job = self.jobs.get(number)
            before, noted_ns = (job.ended, job.ended_ns) if job else self.ends.get(number, (None, 0))
            if state in LIVE:
                if before and noted_ns < asked_ns:
                    raise Broken(f"job {number} had ended ({before['state']}), and is {state}: {shown}")
            elif before:
                if before != shown:
                    raise Broken(f"the end of job {number} has changed:\n{before}\n{shown}")
            elif job:
                job.ended, job.ended_ns = shown, time.monotonic_ns()
            else:
                self.ends[number] = shown, time.monotonic_ns()
        n = shown["tasks_done"] + shown["tasks_failed"]
        if n > shown["tasks_total"] or (job and shown["tasks_total"] != len(job.work.inputs)):
            raise Broken(f"{n} records for {shown['tasks_total']} tasks: {shown}")
        if job and state not in LIVE:
            self._check_end(job, shown)

    def _check_end(self, job, shown):
        spec, state = job.work.spec, shown["state"]
        n = shown["tasks_done"] + shown["tasks_failed"]
        if state == "done" and n != shown["tasks_total"]:
            raise Broken(f"job {job.number} is done with {n} of {shown['tasks_total']} records: {shown}")
        if state == "cancelled" and not (job.cancelled or "timeout_seconds" in spec or "cpu_time_max_seconds" in spec):
            raise Broken(f"nobody has cancelled job {job.number}: {shown}")
        if state == "failed" and not (job.runner_killed or job.worker_killed):
            raise Broken(f"nobody has made job {job.number} fail: {shown}")
        summary = shown.get("summary")
        if not summary:
            raise Broken(f"job {job.number} has ended without a summary: {shown}")
        for name in ("state", "tasks_total", "tasks_done", "tasks_failed"):
            if summary[name] != shown[name]:
                raise Broken(f"job {job.number} and its summary differ in {name}: {shown}")

    def records(self, job, shown, rows, asked_ns):
        """Records as they were read: what is there stays, is right, and no counter is ahead of them."""
        states = [row.state for row in rows if row]
        counts = states.count(DONE), len(states) - states.count(DONE)
        with self.lock:
            for i, (before, now) in enumerate(zip(job.rows, rows, strict=True)):
                if before and now and before != now:
                    raise Broken(f"task {i} of job {job.number} has two records: {before}, {now}")
                if before and not now and job.rows_ns < asked_ns:
                    raise Broken(f"the record of task {i} of job {job.number} is gone: {before}")
                if now and not before:
                    self._check_record(job, i, now)
                    job.rows[i] = now
            job.rows_ns = time.monotonic_ns()
        told = shown["tasks_done"], shown["tasks_failed"]
        if shown["state"] in LIVE:
            if told[0] > counts[0] or told[1] > counts[1]:
                raise Broken(f"job {job.number} told {told} done and failed, its records are {counts}: {shown}")
        elif told != counts:
            raise Broken(f"job {job.number} has ended with {told} done and failed, its records are {counts}: {shown}")

    def _check_record(self, job, i, row):
        expected, spec = job.work.expected[i], job.work.spec
        if row.state == DONE:
            right = expected.reason is None and row.value == expected.value
        else:
            reason = NAMES.get(row.reason)
            right = (reason == expected.reason or
                     (reason == "SIGNAL" and row.detail == 9 and self.may_be_killed(job)) or
                     (reason == "TIMEOUT" and "task_timeout_seconds" in spec))
        if not right:
            raise Broken(f"task {i} ({job.work.inputs[i]}) of job {job.number} ({spec}) has the record {row}, "
                         f"reason {NAMES.get(row.reason)}; expected was {expected}")

    def may_be_killed(self, job):
        """At machines, tasks run in the nodes."""
        return job.worker_killed or (job.work.spec["level"] == "machines" and
                                     self.world.helper_kills > job.helper_kills)

    # Events

    def attempts(self, job):
        """How often a task was begun at most, without one too many: each end of the daemon may interrupt it."""
        n = 1 + self.world.restarts - job.restarts
        if job.work.spec["level"] == "machines":
            n += self.world.helper_kills - job.helper_kills
        return n

    def check_attempts(self, job):
        if job.work.counted is None:
            return
        for url, row in zip(job.work.inputs, job.rows, strict=True):
            n = job.work.counted["/" + url.rsplit("/", 1)[1]]
            if n > self.attempts(job) or (row and row.state == DONE and n == 0):
                raise Broken(f"{url} of job {job.number} was asked for {n} times, {self.attempts(job)} were due: {row}")

    def open_jobs(self):
        with self.lock:
            return [job for job in self.jobs.values() if job.ended is None]

    def claim(self, number, spec, inputs):
        """A job nobody was told of: it is one whose Run got no reply."""
        with self.lock:
            matching = [(work, vanishes) for work, vanishes in self.lost if work.inputs == inputs and
                        all(spec.get(name) == work.spec[name] for name in ("level", "workload"))]
            if not matching:
                raise Broken(f"nobody has asked for job {number}: {spec}, {inputs[:5]}")
            # Of several that look the same it may be any; one that may vanish is left for the next.
            lost = min(matching, key=lambda one: one[1])
            self.lost.remove(lost)
            job = self.jobs[number] = Job(number, lost[0], (0, 0), any(vanishes for _, vanishes in matching))
            job.worker_killed = job.runner_killed = True        # whoever did it did not know
            return job
