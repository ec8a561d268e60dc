"""A real nginx on loopback ports of its own."""

import os
import signal
import socket
import subprocess

from . import process
from .poll import wait_until

ECHO_MODULE = "/usr/lib/nginx/modules/ngx_http_echo_module.so"
PROGRAM = "/usr/sbin/nginx"

CONFIG = """
{load_echo}
daemon off;
master_process on;
worker_processes {workers};
worker_rlimit_nofile 16384;
user root;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    log_format plain '$connection $server_protocol $status $request_uri';
    access_log {access_log};
    default_type text/plain;
    charset utf-8;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        gzip_min_length 1;
        gzip_types *;
        location / {{ }}
        location /gzip/ {{ alias {root}/; gzip on; }}
        location /status/404 {{ return 404 "no such page"; }}
        location /status/500 {{ return 500 "broken on purpose"; }}
        location /status/503 {{ return 503 "busy on purpose"; }}
        location /redirect/ {{ return 302 /page.txt; }}
        {slow}
    }}
    {tls}
}}
"""

SLOW = "location ~ ^/slow/(.*)$ { echo_sleep 0.2; echo_exec /$1; }"

TLS = """
    server {{
        listen 127.0.0.1:{port} ssl{h2};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {root};
        {behind}
    }}
"""

BEHIND = "location /behind/ {{ proxy_pass {url}/; proxy_read_timeout 1h; proxy_http_version 1.1; }}"


def free_ports(n):
    """Ports that were free a moment ago: nginx cannot be told to pick one itself."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def available():
    return os.access(PROGRAM, os.X_OK)


def echo_available():
    return os.path.exists(ECHO_MODULE)


class Nginx:
    """Serves the files of directory/root. `tls` is {name: (certificate, key)}; each gets a port, and hands on what
    is below /behind/ to the server `behind`."""

    def __init__(self, directory, tls=None, h2=(), workers=1, log=True, behind=None):
        self.directory = directory
        self.root = os.path.join(directory, "root")
        os.makedirs(self.root, exist_ok=True)
        ports = free_ports(1 + len(tls or {}))
        self.port, self.tls_ports = ports[0], dict(zip(tls or {}, ports[1:]))
        self.url = f"http://127.0.0.1:{self.port}"
        blocks = [TLS.format(port=self.tls_ports[name], h2=" http2" if name in h2 else "",
                             certificate=pair[0], key=pair[1], root=self.root,
                             behind=BEHIND.format(url=behind) if behind else "")
                  for name, pair in (tls or {}).items()]
        self._write_config(workers, log, "".join(blocks))

    def _write_config(self, workers, log, tls):
        self.config = os.path.join(self.directory, "nginx.conf")
        load = f"load_module {ECHO_MODULE};" if echo_available() else ""
        with open(self.config, "w") as file:
            file.write(CONFIG.format(
                load_echo=load, slow=SLOW if load else "", workers=workers, directory=self.directory, tls=tls,
                port=self.port, root=self.root,
                access_log=f"{self.directory}/access.log plain" if log else "off"))

    def add(self, name, data):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    def start(self):
        self.popen = subprocess.Popen([PROGRAM, "-c", self.config, "-p", self.directory],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, env=process.clean_environment())
        process.adopt_popen(self.popen)
        wait_until(self._answers, self._why_not)
        return self

    def _answers(self):
        if self.popen.poll() is not None:
            raise AssertionError(f"nginx ended: {self.popen.stderr.read().decode(errors='replace')}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def _why_not(self):
        return f"nginx on port {self.port}"

    def log_lines(self, needle=""):
        """Access log lines: (connection, protocol, status, uri)."""
        with open(os.path.join(self.directory, "access.log")) as file:
            lines = [tuple(line.split()) for line in file]
        return [line for line in lines if len(line) == 4 and needle in line[3]]

    def cpu_seconds(self):
        """User and system time of the workers so far."""
        ticks = 0
        for pid in [self.popen.pid, *_children(self.popen.pid)]:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.popen.stderr.close()
        process.forget_popen(self.popen)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]
