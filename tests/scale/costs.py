#!/usr/bin/python3
"""What single things cost Redis: the figures of docs/scale.md that are not the simulation's.

python3 tests/scale/costs.py

CPU time of a private redis-server (INFO cpu) for each, over many of them.
"""

import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from harness import process, redis
from harness.poll import wait_until

RECORD_BYTES = 32


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Meter:
    def __init__(self, client):
        self.client = client

    def cpu(self):
        info = self.client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def microseconds(self, n, action):
        """Of Redis' CPU for each of n."""
        before = self.cpu()
        action()
        return (self.cpu() - before) / n * 1e6

    def pipeline(self, commands):
        """Sends them together; reads all the replies."""
        self.client.socket.sendall(b"".join(commands))
        return [self.client._reply() for _ in commands]


def fresh(meter):
    meter.client("FLUSHALL")
    meter.client("XGROUP", "CREATE", "chunks", "nodes", "0", "MKSTREAM")


def waiting(server, meter, n):
    """Clients that wait for a chunk, as idle nodes do."""
    clients = []
    for i in range(n):
        client = server.connect()
        client("PING")                  # a listening socket's queue is finite
        client.socket.sendall(command("XREADGROUP", "GROUP", "nodes", f"node-{i}", "COUNT", 1, "BLOCK", 600000,
                                      "STREAMS", "chunks", ">"))
        clients.append(client)
    wait_until(lambda: int(meter.client.info("clients")["blocked_clients"]) == n, f"{n} clients that wait", 60)
    return clients


def cost_of_waiting(server, meter):
    print("\nXADD of a chunk while that many nodes wait for one (us):\n\nnodes  alone  of 64 in a transaction")
    for n in (128, 1000, 4000):
        costs = []
        for size in (1, 64):
            fresh(meter)
            clients = waiting(server, meter, n)
            # A few, so that nearly as many wait at the end.
            add = command("XADD", "chunks", "*", "job", "host-1-18c3a5f", "first", 0, "n", 1, "inputs", "0\n")
            batch = [add] if size == 1 else [command("MULTI"), *[add] * size, command("EXEC")]
            rounds = 64 // size
            costs.append(meter.microseconds(64, lambda: [meter.pipeline(batch) for _ in range(rounds)]))
            for client in clients:
                client.close()
        print(f"{n:5}  {costs[0]:5.0f}  {costs[1]:5.0f}")


def cost_of_looking(meter):
    print("\nLooking for chunks of silent nodes, in a list of that many pending ones (us):\n\n"
          "pending  XAUTOCLAIM to its end  XPENDING IDLE")
    for n in (100, 1000, 10000):
        fresh(meter)
        meter.pipeline([command("XADD", "chunks", "*", "job", "host-1-18c3a5f", "first", i, "n", 1, "inputs", "0\n")
                        for i in range(n)])
        meter.client("XREADGROUP", "GROUP", "nodes", "dead", "COUNT", n, "STREAMS", "chunks", ">")
        claim = command("XAUTOCLAIM", "chunks", "nodes", "heir", 3600000, "0-0", "COUNT", n)
        look = command("XPENDING", "chunks", "nodes", "IDLE", 3600000, "-", "+", n)
        times = max(200_000 // n, 100)
        costs = [meter.microseconds(times, lambda: meter.pipeline([one] * times)) for one in (claim, look)]
        print(f"{n:7}  {costs[0]:21.0f}  {costs[1]:13.0f}")


def cost_of_bytes(meter):
    """The whole way of a chunk through Redis, 64 at a time: so what is left is its content."""
    print("\nThe way of a chunk, 64 together (us of Redis, all in all):\n\n"
          "tasks  bytes of inputs  bytes of records    us  us a task")
    for n, n_input in ((1, 5), (10, 5), (100, 5), (1000, 5), (16384, 5), (100, 60), (1000, 60)):
        fresh(meter)
        inputs, records = b"x" * (n * n_input), b"r" * (n * RECORD_BYTES)
        rounds, batch = max(3_000_000 // (n * (n_input + RECORD_BYTES) * 64), 5), 64

        def run():
            for _ in range(min(rounds, 300)):
                add = command("XADD", "chunks", "*", "job", "host-1-18c3a5f", "first", 0, "n", n, "inputs", inputs)
                ids = meter.pipeline([command("MULTI"), *[add] * batch, command("EXEC")])[-1]
                meter.client("XREADGROUP", "GROUP", "nodes", "node", "COUNT", batch, "STREAMS", "chunks", ">")
                add = command("XADD", "results", "*", "chunk", ids[0], "first", 0, "n", n, "node", "node", "taken",
                              1795388374435582000, "records", records)
                done = meter.pipeline([command("MULTI"), *[add] * batch, command("XACK", "chunks", "nodes", *ids),
                                       command("XDEL", "chunks", *ids), command("EXEC")])[-1][:batch]
                meter.client("XREAD", "COUNT", batch, "STREAMS", "results", "0")
                meter.client("XDEL", "results", *done)
        cost = meter.microseconds(min(rounds, 300) * batch, run)
        print(f"{n:5}  {len(inputs):15}  {len(records):16}  {cost:4.0f}  {cost / n:9.3f}")


def main():
    process.raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="pppctl-scale-") as directory:
        server = redis.Redis(directory).start("--maxclients", "100000")
        try:
            meter = Meter(server.connect())
            print(f"redis-server {meter.client.info('server')['redis_version']}")
            cost_of_waiting(server, meter)
            cost_of_looking(meter)
            cost_of_bytes(meter)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
