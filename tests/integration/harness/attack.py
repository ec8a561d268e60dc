#!/usr/bin/python3
"""A user of the daemon who takes what there is: python3 attack.py KIND SOCKET [UID] [NUMBER].

Goes on until it is killed. Prints a line once it has begun; `NUMBER` is how much of it there is to be.
"""

import fcntl
import json
import os
import selectors
import socket
import sys

PPPCTL = "io.pppctl.Jobs"
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
SUM = {"level": "serial", "workload": "sum"}


def message(method, parameters=None, **flags):
    return json.dumps({"method": method, "parameters": parameters or {}, **flags}).encode() + b"\0"


def connect(path):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    return client


def call(client, method, parameters=None, fds=(), **flags):
    """One call and its one reply, whatever that is."""
    data = message(method, parameters, **flags)
    if fds:
        socket.send_fds(client, [data], fds)
    else:
        client.sendall(data)
    reply = b""
    while not reply.endswith(b"\0"):
        data, fds, _, _ = socket.recv_fds(client, 1 << 20, 16)
        for fd in fds:
            os.close(fd)
        if not data:
            raise ConnectionError("closed")
        reply += data
    return json.loads(reply[:-1].split(b"\0")[-1])


def ready():
    print("ready", flush=True)


def flood(path, calls, n, reads=True):
    """`n` connections, each with as many `calls` on their way as it takes."""
    selector = selectors.DefaultSelector()
    sent = {}
    for _ in range(n):
        client = connect(path)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0))
        sent[client] = 0
    ready()
    while True:
        for key, events in selector.select():
            if events & selectors.EVENT_READ:
                data, fds, _, _ = socket.recv_fds(key.fileobj, 1 << 20, 253)
                for fd in fds:
                    os.close(fd)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
            if events & selectors.EVENT_WRITE:
                try:
                    at = sent[key.fileobj] + key.fileobj.send(calls[sent[key.fileobj]:])
                    sent[key.fileobj] = at % len(calls)
                except BlockingIOError:
                    pass
                except ConnectionError:
                    selector.unregister(key.fileobj)
        if not selector.get_map():
            raise ConnectionError("all closed")


def memfd(size, text=b""):
    """`size` bytes, sealed: `text` over and over at its end, or a hole."""
    fd = os.memfd_create("inputs", os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    piece = text * max(1, (1 << 20) // max(1, len(text)))
    at = 0
    while piece and at < size:
        at += os.pwrite(fd, piece[:size - at], at)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def own_job(path, inputs=("1",), **spec):
    with connect(path) as client:
        return call(client, f"{PPPCTL}.Run", {"spec": {**SUM, **spec}, "inputs": list(inputs)})["parameters"]["job"]


def get_info(path, n):
    flood(path, message("org.varlink.service.GetInfo") * 100, n or 60)


def unread(path, n):
    flood(path, message("org.varlink.service.GetInterfaceDescription", {"interface": PPPCTL}) * 100, n or 60, False)


def doctor(path, n):
    flood(path, message(f"{PPPCTL}.Doctor") * 100, n or 60)


def results(path, n):
    flood(path, message(f"{PPPCTL}.Results", {"job": own_job(path)}) * 100, n or 60)


def results_unread(path, n):
    flood(path, message(f"{PPPCTL}.Results", {"job": own_job(path)}) * 100, n or 60, False)


def show(path, n):
    flood(path, message(f"{PPPCTL}.Show", {"job": own_job(path)}) * 100, n or 1)


def list_jobs(path, n):
    for _ in range(100):
        own_job(path)
    flood(path, message(f"{PPPCTL}.List", more=True) * 100, n or 60)


def wait(path, n):
    """Many who follow a job that makes progress all the time."""
    job = own_job(path, ["0.01"] * 10000, level="serial", workload="sleep")
    flood(path, message(f"{PPPCTL}.Wait", {"job": job}, more=True), n or 60)


def run_over_and_over(path, fd, level="serial", stop=False):
    with connect(path) as client:
        ready()
        while True:
            reply = call(client, f"{PPPCTL}.Run", {"spec": {**SUM, "level": level}, "input_fd": 0}, [fd])
            if stop and "error" not in reply:
                call(client, f"{PPPCTL}.Cancel", {"job": reply["parameters"]["job"]})


def hole(path, n):
    run_over_and_over(path, memfd(n or 256 << 20))


def refused(path, n):
    """Good but for the end, which has no newline."""
    size = n or 256 << 20
    run_over_and_over(path, memfd(size, b"%07d\n" % 0 if size % 8 else b"%06d\n" % 0))


def large(path, n):
    """Jobs of many tasks, each cancelled as soon as it is there."""
    run_over_and_over(path, memfd(2 * (n or 3_000_000), b"0\n"), "threads", True)


def small_jobs(path, n):
    flood(path, message(f"{PPPCTL}.Run", {"spec": SUM, "inputs": ["1"]}) * 100, n or 60)


def long_message(path, n):
    """As many values as a message may hold."""
    text = json.dumps({"method": f"{PPPCTL}.Run", "parameters": {"spec": SUM, "inputs": ["1"] * (n or 200_000)}},
                      separators=(",", ":"))
    flood(path, text.replace('["1"', '["1",5', 1).encode() + b"\0", 8)


def halves(path, n):
    """Messages without an end, a few bytes at a time."""
    flood(path, b"x", n or 60)


def churn(path, n):
    """Connections that come and go."""
    ready()
    while True:
        clients = []
        for _ in range(n or 60):
            clients.append(connect(path))
        for client in clients:
            client.close()


KINDS = {kind.__name__: kind for kind in (get_info, unread, doctor, results, results_unread, show, list_jobs, wait, hole,
                                          refused, large, small_jobs, long_message, halves, churn)}


def main():
    kind, path = sys.argv[1:3]
    uid = int(sys.argv[3]) if len(sys.argv) > 3 else os.getuid()
    number = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    if uid != os.getuid():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    while True:
        try:
            KINDS[kind](path, number)
        except (ConnectionRefusedError, FileNotFoundError):
            sys.exit("the daemon is gone")
        except ConnectionError:             # thrown out: it comes again
            pass


if __name__ == "__main__":
    main()
