"""Machines on one machine: network namespaces on a bridge, all of them gone when nobody has them open.

The hub is a namespace with the bridge; each machine is one with a veth to it. They have no name
anywhere: this process keeps them open, so whatever happens to it, nothing of them is left.
"""

import ctypes
import os
import shutil
import subprocess
import threading

from . import process

CLONE_NEWNET = 0x40000000
NETWORK = "192.0.2"             # of documentation (RFC 5737); it exists in the namespaces only


class Unavailable(Exception):
    """Namespaces cannot be made here; says why."""


def _new_namespace():
    """A descriptor of a new network namespace: that of a thread that is gone."""
    fds, errors = [], []

    def make():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            errors.append(os.strerror(ctypes.get_errno()))
        else:
            fds.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if errors:
        raise Unavailable(f"no network namespace can be made here: {errors[0]}")
    return fds[0]


class Namespace:
    def __init__(self):
        self.fd = _new_namespace()
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"

    def wrap(self):
        """A command's first words that run the rest in here."""
        return ["nsenter", f"--net={self.path}", "--"]

    def ip(self, *words):
        done = subprocess.run([*self.wrap(), "ip", *words], capture_output=True, text=True,
                              env=process.clean_environment())
        if done.returncode != 0:
            raise Unavailable(f"`ip {' '.join(words)}` in a namespace: {done.stderr.strip()}")

    def close(self):
        os.close(self.fd)


class Network:
    """The hub at NETWORK.1, and machines at NETWORK.2 and on."""

    def __init__(self):
        for tool in ("nsenter", "ip"):
            if not shutil.which(tool, path=process.clean_environment()["PATH"]):
                raise Unavailable(f"{tool} is not there")
        self.address = f"{NETWORK}.1"
        self.namespaces = []
        self.hub = self._new()
        try:
            self.hub.ip("link", "add", "hub", "type", "bridge")
            self.hub.ip("addr", "add", f"{self.address}/24", "dev", "hub")
            self.hub.ip("link", "set", "hub", "up")
        except Unavailable:
            self.close()
            raise

    def _new(self):
        namespace = Namespace()
        self.namespaces.append(namespace)
        namespace.ip("link", "set", "lo", "up")
        return namespace

    def join(self):
        """(namespace, name of its port at the hub) of a new machine."""
        namespace = self._new()
        number = len(self.namespaces)
        port = f"port{number}"
        self.hub.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace.path)
        self.hub.ip("link", "set", port, "master", "hub", "up")
        namespace.ip("addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        namespace.ip("link", "set", "eth0", "up")
        return namespace, port

    def cut(self, port):
        self.hub.ip("link", "set", port, "down")

    def mend(self, port):
        self.hub.ip("link", "set", port, "up")

    def close(self):
        for namespace in self.namespaces:
            namespace.close()
