"""Clients that call whatever there is to be called, well and badly, and come and go."""

import os
import re
import threading
import time

from harness import results, varlink
from harness.daemon import PPPCTL

from ledger import LIVE, Broken
from work import is_long

OPEN_MAX = 40                           # jobs that have not ended, before others are begun
MESSAGE_INPUTS = 10_000                 # more go in a memfd
REPLY_SECONDS = 120.0
WAIT_SECONDS = 0.2                      # for one of several replies, which may never come

NUL_LESS = b'{"method": "io.pppctl.Jobs.List"'
NO_MESSAGES = [b"\0", b"x\0", b"{}\0", b"[]\0", b'{"method": 5}\0', b'{"method": "x"}\0', b"\xff\xfe\0",
               b"[" * 10_000 + b"\0", b'{"method": "io.pppctl.Jobs.Nothing"}\0', b'{"method": "io.pppctl.Jobs.Show", "parameters": []}\0']
SUM = {"level": "serial", "workload": "sum"}
STOPPING = "daemon stops|daemon is stopping"
ENDED = ["^NotRunning", "^Failed.*is being ended"]
REFUSED = [
    ("Show", {}), ("Show", {"job": "1"}), ("Show", {"job": -1}), ("Show", {"job": 1 << 60}), ("Show", {"job": 1, "x": 2}),
    ("Wait", {"job": 1 << 60}), ("Cancel", {"job": 1 << 60}), ("Pause", {"job": 1 << 60}), ("Resume", {"job": 1 << 60}),
    ("Results", {"job": 1 << 60}), ("List", {"limit": 0}), ("List", {"limit": "all"}),
    ("Run", {}), ("Run", {"spec": SUM}), ("Run", {"spec": SUM, "inputs": []}), ("Run", {"spec": SUM, "inputs": [1]}),
    ("Run", {"spec": SUM, "inputs": ["1\n2"]}), ("Run", {"spec": SUM, "inputs": ["1"], "on_disconnect": "explode"}),
    ("Run", {"spec": SUM, "input_fd": 0}), ("Run", {"spec": {**SUM, "workers": -1}, "inputs": ["1"]}),
    ("Run", {"spec": {**SUM, "level": "fast"}, "inputs": ["1"]}), ("Run", {"spec": {**SUM, "nice": 20}, "inputs": ["1"]}),
    ("Run", {"spec": {**SUM, "limits": {"pids_max": 0}}, "inputs": ["1"]}),
    ("Run", {"spec": {**SUM, "limits": {"cpus": "zero"}}, "inputs": ["1"]}),
]


class Lost(Exception):
    """The connection went with the daemon, as was to be expected."""


class Caller(threading.Thread):
    """One client at a time. Whatever is random comes from its own generator, in the order of its calls."""

    def __init__(self, world, ledger, maker, random):
        super().__init__(daemon=True)
        self.world, self.ledger, self.maker, self.random = world, ledger, maker, random
        self.client, self.generation = None, 0
        self.samples = {}               # of Metrics: what only grows
        self.actions = {
            self.run_job: 20, self.show: 15, self.results: 12, self.cancel: 5, self.pause: 4, self.resume: 6,
            self.wait: 5, self.watch: 3, self.list: 4, self.metrics: 2, self.doctor: 0.5, self.get_info: 1, self.nodes: 0.3,
            self.refused: 8, self.no_message: 3, self.vanish: 4, self.connect_anew: 3,
        }

    def run(self):
        try:
            while not self.world.stopping.is_set():
                self._do(self.random.choices(list(self.actions), list(self.actions.values()))[0])
        except Exception as error:              # noqa: BLE001: whatever it is, it is told at the end
            self.world.fail(f"{type(error).__name__}: {error}")
        finally:
            self.close()

    def _do(self, action):
        """Through one that is lost with its daemon, or interrupted as that stops, nothing is known."""
        try:
            action()
        except Lost:
            self.close()
        except (OSError, varlink.Closed) as error:
            if not self._expected():
                raise Broken(f"{action.__name__}: the connection broke, and nobody has ended the daemon: {error!r}") from None
            self.close()

    def _expected(self):
        return self.generation != self.world.generation or not self.world.up.is_set()

    def close(self):
        if self.client:
            self.client.close()
        self.client = None

    def connected(self):
        if not self.client:
            while not self.world.up.wait(1):
                if self.world.stopping.is_set():
                    raise Lost
            self.generation = self.world.generation
            self.client = self.world.daemon.connect()
        return self.client

    def call(self, method, parameters, allowed=(), fds=(), timeout=REPLY_SECONDS, interface=PPPCTL):
        """(reply, when it was asked for); None for an error that one of the patterns `allowed` finds."""
        client = self.connected()
        self.world.count_call()
        asked_ns = time.monotonic_ns()
        try:
            return client.call(f"{interface}.{method}", parameters, fds, timeout=timeout), asked_ns
        except varlink.Error as error:
            return self._refused(method, parameters, error, allowed), asked_ns

    def _refused(self, method, parameters, error, allowed):
        text = f"{error.name.rpartition('.')[2]}: {error.parameters.get('why')}"
        if self._expected() and re.search(STOPPING, text):
            raise Lost
        if not any(re.search(pattern, text) for pattern in allowed):
            raise Broken(f"{method} {str(parameters)[:500]}: {error}")

    def about(self, method, allowed=(), job=None, **options):
        """A call about a job; (job, shown)."""
        job = job or self.ledger.pick(self.random)
        if not job:
            return None, None
        reply, asked_ns = self.call(method, {"job": job.number}, allowed, **options)
        if reply:
            self.ledger.told(reply["job"], asked_ns)
        return job, reply and reply["job"]

    # Jobs

    def run_job(self):
        if self.ledger.n_open() >= OPEN_MAX:
            return self.show()
        work, marks = self.maker.work(self.random), self.world.marks()
        vanishes = self.random.random() < 0.1
        parameters, fds = {"spec": work.spec}, []
        if vanishes:
            parameters["on_disconnect"] = "cancel"
        if len(work.inputs) > MESSAGE_INPUTS or self.random.random() < 0.5:
            fds = [varlink.sealed_memfd("".join(f"{line}\n" for line in work.inputs).encode())]
            parameters["input_fd"] = 0
        else:
            parameters["inputs"] = work.inputs
        try:
            reply, _ = self.call("Run", parameters, ["^QueueFull"] + ["^LimitUnavailable"] * ("limits" in work.spec), fds)
        except (OSError, varlink.Closed, Lost):
            self.ledger.add_lost(work, vanishes)
            raise
        finally:
            for fd in fds:
                os.close(fd)
        if reply:
            self.ledger.add(reply["job"], work, marks, vanishes)

    def show(self):
        self.about("Show")

    def results(self):
        job = self.ledger.pick(self.random)
        if not job:
            return
        asked_ns = time.monotonic_ns()
        reply, _ = self.call("Results", {"job": job.number})
        self.ledger.told(reply["job"], asked_ns)
        rows = results.read(self.client.take_fd(reply["results_fd"]))
        self.client.take_fd(reply["inputs_fd"], close=True)
        self.ledger.records(job, reply["job"], rows, asked_ns)

    def cancel(self):
        job = self.ledger.pick(self.random)
        if not job:
            return
        job.cancelled = True
        _, shown = self.about("Cancel", job=job)
        if shown["state"] in LIVE:
            raise Broken(f"Cancel returned before the end: {shown}")

    def pause(self):
        self.about("Pause", ENDED)

    def resume(self):
        self.about("Resume", ENDED)

    def wait(self):
        """For a job that may take its time: whoever does not want to wait any longer leaves."""
        try:
            _, shown = self.about("Wait", timeout=WAIT_SECONDS)
        except TimeoutError:
            return self.close()
        if shown and shown["state"] in LIVE:
            raise Broken(f"Wait returned before the end: {shown}")

    def watch(self):
        """Progress of a job, until it ends or this client has seen enough."""
        job = self.ledger.pick(self.random)
        if not job:
            return
        client = self.connected()
        self.world.count_call()
        asked_ns = time.monotonic_ns()
        client.send(f"{PPPCTL}.Wait", {"job": job.number}, more=True)
        try:
            for _ in range(self.random.randrange(1, 10)):
                reply, more = client.reply(WAIT_SECONDS)
                self.ledger.told(reply["job"], asked_ns)
                if not more:
                    return
        except TimeoutError:
            pass
        except varlink.Error as error:
            self._refused("Wait", job.number, error, ())
        self.close()

    def list(self):
        client = self.connected()
        self.world.count_call()
        asked_ns = time.monotonic_ns()
        parameters = {} if self.random.random() < 0.3 else {"limit": self.random.randrange(1, 50)}
        replies = client.stream(f"{PPPCTL}.List", parameters, timeout=REPLY_SECONDS)
        shown = [reply["job"] for reply in replies if "job" in reply]
        numbers = [one["job"] for one in shown]
        if numbers != sorted(set(numbers), reverse=True):
            raise Broken(f"List is out of order: {numbers}")
        for one in shown:
            self.ledger.told(one, asked_ns)

    # The rest

    def metrics(self):
        reply, _ = self.call("Metrics", {})
        text = reply["openmetrics"]
        if not text.endswith("# EOF\n"):
            raise Broken(f"metrics without an end: {text[-200:]}")
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if line.startswith("#") or not name.partition("{")[0].endswith("_total"):
                continue
            if float(value) < self.samples.get(name, 0):
                raise Broken(f"a counter has fallen from {self.samples[name]}: {line}")
            self.samples[name] = float(value)

    def doctor(self):
        reply, _ = self.call("Doctor", {})
        if not reply["checks"]:
            raise Broken("the doctor has looked at nothing")

    def nodes(self):
        self.call("Nodes", {}, ["^Failed"])

    def get_info(self):
        self.call("GetInfo", {}, interface="org.varlink.service")

    def connect_anew(self):
        self.close()
        self.connected()

    def refused(self):
        method, parameters = self.random.choice(REFUSED)
        try:
            reply = self.connected().call(f"{PPPCTL}.{method}", parameters, timeout=REPLY_SECONDS)
        except varlink.Error:
            return
        finally:
            self.world.count_call()
        raise Broken(f"{method} {parameters} was not refused: {reply}")

    def no_message(self):
        """An error, or the door."""
        client = self.connected()
        self.world.count_call()
        data = self.random.choice(NO_MESSAGES)
        client.send_raw(data)
        try:
            message = client.receive(REPLY_SECONDS)
            if "error" not in message:
                raise Broken(f"{data[:200]} was answered: {message}")
        except (varlink.Closed, ConnectionError):
            pass
        self.close()

    def vanish(self):
        """In the middle of a message, or with a reply on its way."""
        client = self.connected()
        self.world.count_call()
        how = self.random.randrange(3)
        if how == 0:
            client.send_raw(NUL_LESS)
        elif how == 1:
            client.send(f"{PPPCTL}.List", {}, more=True)
        else:
            self._vanish_with_a_job(client)
        self.close()

    def _vanish_with_a_job(self, client):
        work = self.maker.work(self.random)
        if is_long(work) or len(work.inputs) > MESSAGE_INPUTS or self.ledger.n_open() >= OPEN_MAX:
            return
        self.ledger.add_lost(work, True)
        client.send(f"{PPPCTL}.Run", {"spec": work.spec, "inputs": work.inputs,
                                      "on_disconnect": self.random.choice(["cancel", "continue"])})
