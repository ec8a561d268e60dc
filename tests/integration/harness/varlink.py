"""A varlink client that can be used properly (call, stream) and badly (send_raw, send_fds)."""

import array
import json
import os
import socket


class Error(Exception):
    """An error reply."""

    def __init__(self, name, parameters):
        super().__init__(f"{name} {json.dumps(parameters)}")
        self.name, self.parameters = name, parameters


class Closed(Exception):
    """The daemon closed the connection."""


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.buffer = b""
        self.fds = []           # of the message handed out last

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._drop_fds()
        self.socket.close()

    def _drop_fds(self):
        for fd in self.fds:
            if fd >= 0:
                os.close(fd)
        self.fds = []

    def take_fd(self, index, close=False):
        fd, self.fds[index] = self.fds[index], -1
        if close:
            os.close(fd)
        return fd

    def send(self, method, parameters=None, fds=(), **flags):
        message = {"method": method, **flags}
        if parameters is not None:
            message["parameters"] = parameters
        self.send_raw(json.dumps(message).encode() + b"\0", fds)

    def send_raw(self, data, fds=()):
        if fds:
            sent = self.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
            data = data[sent:]
        self.socket.sendall(data)

    def receive(self, timeout=20.0):
        """The next message as an object; its descriptors are in self.fds."""
        self._drop_fds()
        self.socket.settimeout(timeout)
        while b"\0" not in self.buffer:
            data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 16)
            self.fds += fds
            if not data:
                raise Closed()
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def reply(self, timeout=20.0):
        """The parameters of the next reply, and whether more follow; an error reply is raised."""
        message = self.receive(timeout)
        if "error" in message:
            raise Error(message["error"], message.get("parameters", {}))
        return message.get("parameters", {}), message.get("continues", False)

    def call(self, method, parameters=None, fds=(), timeout=20.0):
        self.send(method, parameters, fds)
        return self.reply(timeout)[0]

    def stream(self, method, parameters=None, timeout=20.0):
        self.send(method, parameters, more=True)
        replies, more = [], True
        while more:
            reply, more = self.reply(timeout)
            replies.append(reply)
        return replies


def sealed_memfd(data, seal=True):
    import fcntl
    fd = os.memfd_create("inputs", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
    if seal:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd
