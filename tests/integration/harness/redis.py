"""A real redis-server, and a client that speaks just enough of its protocol for a test to look and to meddle."""

import os
import shutil
import signal
import socket
import subprocess

from . import process
from .poll import wait_until


PATH = process.clean_environment()["PATH"]
SERVER = shutil.which("redis-server", path=PATH) or shutil.which("valkey-server", path=PATH)
# Options of one that keeps its data over a restart.
KEEP = ("--appendonly", "yes", "--appendfsync", "always")


class Error(Exception):
    """What Redis refused, in its words."""


class Client:
    """Strings in replies are bytes; an error reply is raised."""

    def __init__(self, path, password=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")
        if password:
            self("AUTH", password)

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self._reply()

    def _reply(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Error(rest.decode())
        if kind in b"*$" and rest == b"-1":
            return None
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2]
        return int(rest) if kind == b":" else rest

    def info(self, section):
        lines = self("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def pairs(self, *words):
        """A flat reply of keys and values as a dictionary, keys decoded."""
        flat = self(*words)
        return {key.decode(): value for key, value in zip(flat[::2], flat[1::2])}

    def close(self):
        self.file.close()
        self.socket.close()


class Redis:
    """On `directory`/redis.sock and, if there is an address, on that one's port 6379, within `wrap`.

    `options` are those of every start.
    """

    def __init__(self, directory, wrap=(), address=None, password=None, options=()):
        self.directory = os.path.join(directory, "redis")
        self.path = os.path.join(self.directory, "redis.sock")
        self.password, self.address = password, address
        os.makedirs(self.directory, exist_ok=True)
        listen = ["--bind", address, "--port", "6379"] if address else ["--port", "0"]
        self.command = [*wrap, SERVER, *listen, "--protected-mode", "no", "--unixsocket", self.path,
                        "--unixsocketperm", "700", "--dir", self.directory, "--save", "", "--appendonly", "no",
                        "--logfile", os.path.join(self.directory, "redis.log"), "--maxmemory-policy", "noeviction",
                        *options]
        self.popen = None

    @property
    def url(self):
        return f"redis://{self.address}" if self.address else f"unix:{self.path}"

    def start(self, *options):
        if self.password:
            options += ("--requirepass", self.password)
        self.popen = subprocess.Popen([*self.command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, env=process.clean_environment())
        process.adopt_popen(self.popen)
        wait_until(self._answers, self.log)
        return self

    def _answers(self):
        if self.popen.poll() is not None:
            raise AssertionError(f"redis-server ended with {self.popen.returncode}: {self.log()}")
        try:
            return self.run("PING") == b"PONG"
        except (FileNotFoundError, ConnectionError):
            return False
        except Error as error:          # else it is still loading
            return str(error).startswith("NOAUTH")

    def connect(self):
        return Client(self.path, self.password)

    def run(self, *words):
        """One command, on a connection of its own."""
        client = self.connect()
        try:
            return client(*words)
        finally:
            client.close()

    def log(self):
        with open(os.path.join(self.directory, "redis.log"), errors="replace") as file:
            return file.read()[-3000:]

    def stop(self, number=signal.SIGTERM):
        """With all it has on the disk if it was told to keep that (KEEP), else with nothing."""
        if not self.popen:
            return
        self.popen.send_signal(number)
        self.popen.wait(20)
        process.forget_popen(self.popen)
        self.popen = None
