"""The level machines in the unit's sandbox: the private Redis, and a node with limits that are in force."""

import os
import shutil

from case import Case
from commands import must, run, systemctl
from daemon import alive, group_of, kill, read_pids
from harness.poll import wait_until

FRAGMENT = "/etc/pppctl/pppctl.conf.d/90-test.conf"
SOCKET = "/run/test-redis.sock"
UNIT = "test-redis.service"
PORT = "6390"
TLS = "/etc/pppctl/test-tls"
HELPERS = ("redis", "node-1/runner", "node-2/runner")


class Machines(Case):
    def setUp(self):
        if not os.path.exists("/usr/bin/redis-server"):
            self.skipTest("redis-server is not installed")
        super().setUp()

    def pid(self, group):
        path = os.path.join(self.pppd.group, group, "cgroup.procs")
        return wait_until(lambda: read_pids(path), lambda: f"a process in {path}: {self.pppd.status()}", 30.0)[0]

    def configure(self, text):
        os.makedirs(os.path.dirname(FRAGMENT), exist_ok=True)
        with open(FRAGMENT, "w") as file:
            file.write(text)
        systemctl("reload", "pppd.service")

    def unconfigure(self):
        os.unlink(FRAGMENT)
        systemctl("reload", "pppd.service")
        wait_until(lambda: not os.path.exists(os.path.join(self.pppd.group, "node")), "the end of the node", 30.0)

    def serve(self, *lines, url=f"unix:{SOCKET}", options=()):
        """A Redis that anybody here may use, and a node of this daemon on it."""
        must("systemd-run", "--quiet", f"--unit={UNIT}", "/usr/bin/redis-server", "--port", "0", "--unixsocket", SOCKET,
             "--unixsocketperm", "777", "--save", "", *options)
        self.addCleanup(systemctl, "stop", UNIT)
        self.configure(f"[machines]\nredis = {url}\nname = here\nserve = yes\nheartbeat = 2s\n"
                       + "".join(line + "\n" for line in lines))
        self.addCleanup(self.unconfigure)
        wait_until(lambda: [node["name"] for node in self.pppd.call("Nodes")["nodes"]] == ["here"],
                   lambda: f"the node: {self.pppd.status()}", 30.0, step=0.1)

    def read(self, path):
        with open(os.path.join(self.pppd.group, path)) as file:
            return file.read().strip()

    def first(self, job):
        """The rows, once one is there; else what there is to be known of why not."""
        try:
            return self.pppd.recorded(job, 1)
        except Exception as error:
            seen = run("sh", "-c", f"ps -eo pid,stat,wchan:20,args | grep -v kworker; ls -l /var/lib/pppctl/jobs/{job};"
                       f" cat /var/lib/pppctl/jobs/{job}/output; find {self.pppd.group} -type d;"
                       f" cat /var/lib/pppctl/redis/log")
            raise AssertionError(f"{error}: {self.pppd.show(job)}\n{seen}")

    def test_the_demo(self):
        for _ in range(2):
            self.assert_counts(self.pppd.pppctl("run", "machines"))
        for group in HELPERS:
            with self.subTest(group):
                pid = self.pid(group)
                with open(f"/proc/{pid}/status") as file:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
                self.assertEqual((int(status["CapEff"], 16), status["NoNewPrivs"], status["Seccomp"]), (0, "1", "2"))
                self.assertEqual(group_of(pid), f"{self.pppd.path}/{group}")
        log = run("journalctl", "-b", "--no-pager", "--grep", "SECCOMP|apparmor=.DENIED|code=dumped", "--case-sensitive=no")
        self.assertNotRegex(log.out, "pppd-|redis")

    def test_nothing_is_left_after_a_stop(self):
        self.assert_counts(self.pppd.pppctl("run", "machines"))
        pids = [self.pid(group) for group in HELPERS]
        self.pppd.stop()
        self.assertEqual([pid for pid in pids if alive(pid)], [])
        self.assert_nothing_runs()

    def test_a_supervisor_that_is_killed(self):
        job = self.pppd.submit("machines", "sleep", ["0.5"] * 240)
        before = self.first(job)
        pids, old = [self.pid(group) for group in HELPERS], self.pppd.pid
        kill(old)
        self.pppd.await_new_pid(old)
        self.assertEqual([self.pid(group) for group in HELPERS], pids)
        self.assert_complete(job, before)

    def test_a_node_with_limits(self):
        """Before systemd 254 the limits are taken away between two supervisors, and set again."""
        self.serve("level = processes", "workers = 2", "[node]", "memory-max = 200M", "pids-max = 50", "cpu-max = 150%",
                   "worker-memory-max = 64M")
        limits = {"node/memory.max": str(200 << 20), "node/pids.max": "50", "node/cpu.max": "150000 100000",
                  "node/owner-0/memory.max": str(40 << 20), "node/owner-0/worker-0/memory.max": str(64 << 20)}
        job = self.pppd.submit("machines", "sleep", ["0.5"] * 40)
        self.first(job)
        self.assertEqual({path: self.read(path) for path in limits}, limits)
        pid, old = self.pid("node/runner"), self.pppd.pid
        kill(old)
        self.pppd.await_new_pid(old)
        self.assertEqual(self.pid("node/runner"), pid)
        self.assertEqual({path: self.read(path) for path in limits}, limits)
        self.assert_complete(job)

    def test_limits_of_a_job(self):
        """They are the coordinator's, and that is said: it is not where the work is done."""
        result = self.pppd.pppctl("run", "machines", "sleep", "0", "--memory-max", "64M")
        self.assertEqual(result.status, 0, result)
        self.assertIn("the limits bound this job's coordinator", result.err)
        job = self.pppd.submit("machines", "sleep", ["5"], limits={"memory_max_bytes": 64 << 20})
        wait_until(lambda: os.path.exists(os.path.join(self.pppd.group, f"job-{job}")), "its cgroup", 20.0)
        self.assertEqual(self.read(f"job-{job}/memory.max"), str(64 << 20))
        self.pppd.call("Cancel", {"job": job})

    def certificate(self, names, *by):
        """Made by openssl(1); (certificate, key)."""
        pair = [os.path.join(TLS, f"{len(os.listdir(TLS))}.{end}") for end in ("pem", "key")]
        must("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=test", "-addext", f"subjectAltName={names}", *by, "-out", pair[0], "-keyout", pair[1])
        return pair

    def test_over_tls(self):
        """By name, which the certificate has; then by the address, which it has not."""
        if not shutil.which("openssl"):
            self.skipTest("openssl is not installed")
        os.makedirs(TLS)
        self.addCleanup(shutil.rmtree, TLS)
        ca, ca_key = self.certificate("DNS:authority")
        certificate, key = self.certificate("DNS:localhost", "-CA", ca, "-CAkey", ca_key)
        self.serve(f"ca-file = {ca}", url=f"rediss://localhost:{PORT}",
                   options=("--tls-port", PORT, "--tls-cert-file", certificate, "--tls-key-file", key,
                            "--tls-ca-cert-file", ca, "--tls-auth-clients", "no"))
        self.assert_complete(self.pppd.submit("machines", "sum", ["1000"] * 5000))
        self.assertRegex(self.pppd.pppctl("doctor").out, "TLS to Redis +yes +OpenSSL 3")
        self.configure(f"[machines]\nredis = rediss://127.0.0.1:{PORT}\nca-file = {ca}\n")
        self.assert_says(self.pppd.pppctl("nodes"), 1, "IP address mismatch", "has to name 127.0.0.1")
        log = run("journalctl", "-b", "--no-pager", "--grep", "SECCOMP|apparmor=.DENIED|code=dumped", "--case-sensitive=no")
        self.assertNotRegex(log.out, "pppd-")

    def test_a_paused_job(self):
        job = self.pppd.submit("processes", "sleep", ["0.2"] * 40, workers=2)
        self.pppd.recorded(job, 1)
        self.assertEqual(self.pppd.call("Pause", {"job": job})["job"]["state"], "paused")
        wait_until(lambda: "frozen 1" in self.read(f"job-{job}/cgroup.events"), "it frozen", 20.0)
        old = self.pppd.pid
        kill(old)
        self.pppd.await_new_pid(old)
        self.assertEqual(self.pppd.show(job)["state"], "paused")
        self.pppd.call("Resume", {"job": job})
        self.assert_complete(job)
