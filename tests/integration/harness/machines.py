"""A private Redis, nodes and coordinators as the supervisor would start them: pppd-runner with its descriptors."""

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import time

from . import process, settings
from .daemon import descendants
from .poll import wait_until
from .results import DONE, HEADER_SIZE, MAGIC, RECORD, Row  # noqa: F401

RUNNER = os.path.join(settings.build, "pppd-runner")
SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
CLI = shutil.which("redis-cli") or shutil.which("valkey-cli")
HIGH = 100


def memfd(name, data):
    fd = os.memfd_create(name)
    os.write(fd, data)
    return fd


def spawn(argv, fds, output, env=None):
    """fds: {number in the child: ours}. Returns the process ID."""
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for number, fd in fds.items()}
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in moved.items()]
    actions += [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2)]
    try:
        return os.posix_spawn(argv[0], argv, env or dict(os.environ), file_actions=actions, setpgroup=0)
    finally:
        for fd in moved.values():
            os.close(fd)


class Child:
    """A process of ours and what it printed."""

    def __init__(self, argv, fds, output):
        self.output = output
        self.pid = spawn(argv, fds, output)
        self.status = None
        process.adopt_popen(self)

    def text(self):
        with open(self.output) as file:
            return file.read()

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                process.forget_popen(self)
        return self.status

    def wait(self, seconds=60):
        wait_until(lambda: self.poll() is not None, lambda: f"the end of {self.pid}: {self.text()}", seconds)
        return self.status

    def kill(self, number=signal.SIGKILL):
        if self.poll() is None:
            os.kill(self.pid, number)

    def stop(self):
        self.kill(signal.SIGTERM)
        return self.wait()

    def end(self):
        if self.poll() is None:
            self.kill()
            self.wait()


class Redis:
    """redis-server on a Unix socket in a directory of its own; `save`: keeps its data over a restart."""

    def __init__(self, directory, *options, save=False):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.socket = os.path.join(directory, "socket")
        self.options = ["--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700", "--dir", directory,
                        "--appendonly", "yes" if save else "no", "--appendfsync", "always" if save else "no",
                        "--save", "", *options]
        self.process = None
        self.start()

    def start(self):
        log = open(os.path.join(self.directory, "log"), "ab")
        self.process = subprocess.Popen([SERVER, *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        wait_until(lambda: os.path.exists(self.socket) and self._pings(), "Redis to answer")

    def _pings(self):
        return "PONG" in self.run("PING") or "NOAUTH" in self.run("PING")

    def run(self, *argv):
        done = subprocess.run([CLI, "-s", self.socket, *map(str, argv)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=30)
        return done.stdout.decode(errors="replace").strip()

    def kill(self):
        self.process.kill()
        self.process.wait()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def restart(self):
        self.kill()
        self.start()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def url(self):
        return f"unix:{self.socket}"


def machines(url, name, heartbeat=1.0, **more):
    return {"redis": url, "name": name, "heartbeat_ns": int(heartbeat * 1e9), **more}


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


class Node(Child):
    def __init__(self, directory, url, name, level="threads", workers=2, loops=0, heartbeat=1.0, demo_url=None,
                 workloads=("words", "sum", "sum-array", "sleep", "mix"), under=(), **more):
        spec = {"node": {"machines": machines(url, name, heartbeat, **more), "workloads": list(workloads),
                         "level": level, "workers": workers, "loops": loops}}
        if demo_url:
            spec["demo_url"] = demo_url
        self.name = name
        fd = memfd("spec", json.dumps(spec).encode())
        null = os.open("/dev/null", os.O_RDWR)
        super().__init__([*under, RUNNER, "--node"], {3: fd, 4: null, 7: null},
                         os.path.join(directory, f"node-{name}"))
        os.close(fd)
        os.close(null)

    def children(self):
        """The runners, one an owner."""
        return children_of(self.pid)

    def levels(self):
        """The processes of the runners' levels."""
        return [pid for runner in self.children() for pid in children_of(runner)]

    def end(self):
        """With those it has started: they die when it is dead."""
        pids = set(descendants(self.pid)) if self.poll() is None else set()
        super().end()
        wait_until(lambda: process.reap_orphans() or not pids & set(process.children()), f"the end of {pids}")


HEADER = struct.Struct("<8sIIIIQ16sQQQQ")


class Job:
    """A job's files; a coordinator may be started on them again and again."""

    def __init__(self, directory, number, inputs):
        self.directory, self.number, self.n = directory, number, len(inputs)
        self.path = os.path.join(directory, f"results-{number}")
        self.inputs = memfd("inputs", b"")
        with os.fdopen(os.dup(self.inputs), "wb") as file:
            file.write("".join(f"{line}\n" for line in inputs).encode())
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = bytes.fromhex(file.read().strip().replace("-", ""))
        self.began = time.monotonic_ns()
        with open(self.path, "wb") as file:
            file.write(HEADER.pack(MAGIC, 1, HEADER_SIZE, RECORD.size, 0, self.n, boot, time.time_ns(), self.began,
                                   0, 0))
            file.truncate(HEADER_SIZE + self.n * RECORD.size)
        self.measures = {}

    def start(self, url, workload="sleep", heartbeat=1.0, name="host", spec=None, **more):
        text = {"spec": {"level": "machines", "workload": workload, **(spec or {})},
                "machines": machines(url, name, heartbeat, **more)}
        fd = memfd("spec", json.dumps(text).encode())
        null = os.open("/dev/null", os.O_RDWR)
        results = os.open(self.path, os.O_RDWR)
        self.measures_fd = memfd("measures", b"")
        self.coordinator = Child([RUNNER, str(self.number)],
                                 {3: fd, 4: self.inputs, 5: results, 6: self.measures_fd, 7: null},
                                 os.path.join(self.directory, f"job-{self.number}"))
        for one in (fd, null, results):
            os.close(one)
        return self.coordinator

    def finish(self, seconds=60):
        """Waits for the coordinator; returns its exit status, and keeps its measures."""
        status = self.coordinator.wait(seconds)
        text = os.pread(self.measures_fd, 1 << 20, 0)
        self.measures = json.loads(text) if text else {}
        return status

    def header(self):
        with open(self.path, "rb") as file:
            data = file.read(HEADER_SIZE)
        return {"condition": struct.unpack_from("<I", data, 20)[0],
                "done": struct.unpack_from("<Q", data, 256)[0], "failed": struct.unpack_from("<Q", data, 264)[0]}

    def rows(self):
        with open(self.path, "rb") as file:
            data = file.read()
        rows = [Row(*RECORD.unpack_from(data, HEADER_SIZE + i * RECORD.size)) for i in range(self.n)]
        return [row if row.state else None for row in rows]
