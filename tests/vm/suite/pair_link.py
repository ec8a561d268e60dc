"""What the two machines of a pair have in common: an Ethernet link, and how each of them is set up.

Each serves pages over the link, http://ADDRESS:8000/words/N with N words; the second also does as the
first says, so that one test tells what happens on both.
"""

import collections
import http.client
import http.server
import json
import os
import pwd
import shutil
import socket
import threading
import time

import commands
from commands import must, systemctl
from daemon import Daemon
from harness.poll import wait_until

ADDRESSES = {"first": "10.99.0.1", "second": "10.99.0.2"}
LEVELS = {"first": "level = threads\nworkers = 4\n", "second": "level = async\nworkers = 8\n"}
HEARTBEAT = 10          # seconds; emulation may well keep a machine from its work for a part of the default
PORT = 8000
PAYLOAD = "/payload/pair"
NETWORK = "/run/systemd/network/10-link.network"
CONFIGURATION = "/etc/pppctl/pppctl.conf.d/90-test.conf"
PASSWORD, AUTHORITY = "/etc/pppctl/redis-password", "/etc/pppctl/redis-ca.pem"
AHEAD_SECONDS = 3600


def interface():
    return next(name for name in os.listdir("/sys/class/net") if name != "lo")


def step_clock(seconds):
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def _write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)


def _has_address(address):
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def connect(role):
    """Its end of the link."""
    _write(NETWORK, f"[Match]\nType=ether\n\n[Network]\nAddress={ADDRESSES[role]}/24\nLinkLocalAddressing=no\n")
    systemctl("start", "systemd-networkd.service")
    wait_until(lambda: _has_address(ADDRESSES[role]), lambda: commands.run("networkctl", "status", "--all"), 60.0,
               step=0.1)


def join(role):
    """Its pppd becomes a node, as docs/machines.md says. Whether Redis is there yet makes no difference."""
    Daemon().reset()
    pppd = pwd.getpwnam("_pppctl")
    with open(os.path.join(PAYLOAD, "password")) as file:
        _write(PASSWORD, file.read(), mode=0o600)
    os.chown(PASSWORD, pppd.pw_uid, pppd.pw_gid)
    shutil.copy(os.path.join(PAYLOAD, "ca.pem"), AUTHORITY)
    _write(CONFIGURATION, f"[machines]\nname = {role}\nredis = rediss://{ADDRESSES['first']}\nusername = pppd\n"
           f"password-file = {PASSWORD}\nca-file = {AUTHORITY}\nserve = yes\nheartbeat = {HEARTBEAT}s\n" + LEVELS[role])
    systemctl("reload", "pppd.service")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1                       # head and body leave together

    def reply(self, text, status=200):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self):
        self.server.pages[self.client_address[0]] += 1
        self.reply("word " * int(self.path.rpartition("/")[2]))

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.reply(json.dumps(self.server.obey(**order)))

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """In a thread of its own; `pages` counts by the client's address."""

    request_queue_size = 128

    def __init__(self, role):
        super().__init__((ADDRESSES[role], PORT), Handler)
        self.pages = collections.Counter()
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def obey(self, order, **arguments):
        return getattr(self, f"order_{order}")(**arguments)

    def order_run(self, args):
        result = commands.run(*args)
        return {"status": result.status, "out": result.out, "err": result.err}

    def order_pages(self):
        return self.pages

    def order_step_clock(self, seconds):
        step_clock(seconds)

    def order_cut_off(self, seconds):
        """From the link. How long is what makes the case, so there is nothing else to wait for."""
        def cut():
            must("networkctl", "down", interface())
            time.sleep(seconds)
            must("networkctl", "up", interface())
        threading.Thread(target=cut, daemon=True).start()

    def order_die(self):
        self.end.set()


class Other:
    """The second machine, as the first sees it."""

    def __init__(self):
        self.ended = False

    def order(self, order, timeout=60.0, **arguments):
        connection = http.client.HTTPConnection(ADDRESSES["second"], PORT, timeout=timeout)
        try:
            connection.request("POST", "/", json.dumps({"order": order, **arguments}))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def run(self, *args):
        return commands.Result(args, "second", **self.order("run", args=args))

    def is_there(self):
        try:
            self.order("pages", timeout=2.0)
        except OSError:
            return False
        return True

    def die(self):
        """As a machine does that loses its power; returns when it is no more."""
        self.order("die")
        self.ended = True
        wait_until(lambda: not self.is_there(), "the second machine's death", 60.0)

    def end(self):
        if not self.ended and self.is_there():
            self.die()
