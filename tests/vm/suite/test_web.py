"""pppd-web.socket: off until somebody wants it, then the metrics on the loopback address and nowhere else."""

import http.client
import os
import re
import socket

from case import Case
from commands import linger, linger_no_more, must, run

PORT = 9777
UNITS = ("pppd-web.socket", "pppd-web.service")
USER = "stranger"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def get(path, connection=None):
    connection = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


class Web(Case):
    def begin(self):
        self.addCleanup(run, "systemctl", "stop", *UNITS)
        must("systemctl", "start", "pppd-web.socket")

    def test_off_by_default(self):
        for unit in UNITS:
            with self.subTest(unit):
                self.assertIn(run("systemctl", "is-enabled", unit).out.strip(), ("disabled", "static"))
                self.assertEqual(run("systemctl", "is-active", unit).out.strip(), "inactive")
        with self.assertRaises(ConnectionRefusedError):
            get("/metrics")

    def test_the_socket_starts_it(self):
        self.begin()
        self.assertEqual(run("systemctl", "is-active", "pppd-web.service").out.strip(), "inactive")
        self.pppd.wait(self.pppd.submit("serial", "sum", ["10"]))
        status, kind, text = get("/metrics")
        self.assertEqual((status, kind), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertRegex(text, r'(?m)^pppctl_jobs_total\{level="serial",workload="sum",outcome="done",reason="none"\} \d+$')
        # All controllers are there, so nothing is missing.
        for name in ("job_memory_peak_bytes_bucket", "cpu_user_seconds_total", "oom_kills_total", "forks_refused_total",
                     "cpu_throttled_seconds_total", "io_read_bytes_total", "pressure_io_waiting_seconds_total"):
            self.assertIn(f"\npppctl_{name}{{", text)
        self.assertEqual(get("/")[0], 200)
        self.assertEqual(run("pppctl", "--system", "metrics").out.split("\n")[0], text.split("\n")[0])

    def test_what_limits_did_is_counted(self):
        def kills():
            found = re.search(r'(?m)^pppctl_oom_kills_total\{level="processes",workload="sum-array"\} (\d+)$', get("/metrics")[2])
            return int(found[1]) if found else 0
        self.begin()
        before = kills()
        result = self.pppd.pppctl("run", "processes", "sum-array", "100000000", "--memory-max", "64M")
        self.assertEqual(result.status, 1, result)
        self.assertGreater(kills(), before)

    def test_it_is_nobody(self):
        """A user of its own for as long as it runs, the socket's group, nothing else."""
        self.begin()
        get("/")
        pid = self.main_pid()
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        uid = int(status["Uid"].split()[0])
        self.assertTrue(61184 <= uid <= 65519, uid)         # systemd's range of dynamic users
        self.assertEqual((int(status["CapEff"], 16), status["NoNewPrivs"], status["Seccomp"]), (0, "1", "2"))
        self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/net"), os.readlink("/proc/self/ns/net"))
        exposure = run("systemd-analyze", "security", "--no-pager", "pppd-web.service").out
        self.assertLessEqual(float(re.search(r"Overall exposure level for pppd-web.service: ([0-9.]+)", exposure)[1]), 0.3)

    def test_only_on_the_loopback_address(self):
        self.begin()
        with open("/proc/net/tcp") as file:
            listening = [line.split()[1] for line in file if line.split()[3] == "0A"]
        self.assertEqual([address for address in listening if address.endswith(f":{PORT:04X}")], [f"0100007F:{PORT:04X}"])
        with open("/proc/net/tcp6") as file:
            self.assertNotIn(f":{PORT:04X} ", file.read())

    def test_over_a_restart_of_the_daemon(self):
        self.begin()
        self.pppd.wait(self.pppd.submit("serial", "sum", ["10"]))
        pattern = r'pppctl_jobs_total\{level="serial",workload="sum",outcome="done",reason="none"\} (\d+)'
        before = int(re.search(pattern, get("/metrics")[2])[1])
        self.pppd.restart()
        status, _, text = get("/metrics")
        self.assertEqual(status, 200, text)
        self.assertEqual(int(re.search(pattern, text)[1]), before)

    def main_pid(self):
        return must("systemctl", "show", "--property=MainPID", "--value", "pppd-web.service").out.strip()

    def test_a_users_own(self):
        self.addCleanup(linger_no_more, USER)
        runtime = linger(USER)
        must("systemctl", "--user", "start", "pppd-web.socket", user=USER, login=True)
        status, _, text = get("/metrics", UnixConnection(f"{runtime}/pppctl/web"))
        self.assertEqual(status, 200, text)
        self.assertIn("pppctl_build_info", text)
