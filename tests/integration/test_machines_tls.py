"""rediss://: the level machines over TLS to a real Redis, and everything that must not be taken for it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import unittest
from unittest import mock

from harness import machines
from harness.case import Case
from harness.certificates import Certificates
from harness.machines import Job, Node, Redis
from harness.nginx import free_ports
from harness.poll import wait_until
from harness.results import FAILED, reasons
from test_machines_redis import cpu_seconds

UNREACHABLE = 2
HEARTBEAT = 1.0
# What an answer may take: the heartbeat, and twice what the reading connection blocks.
SILENCE = HEARTBEAT + 2


def has_tls():
    """Whether the redis-server that is installed was built with it."""
    done = subprocess.run([machines.SERVER, "--port", "0", "--tls-port", "1", "--tls-cert-file", "/dev/null"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    return b"Failed to configure TLS" in done.stdout


class TlsRedis(Redis):
    """The tests themselves use its Unix socket; there is no port without TLS unless `plain` names one."""

    def __init__(self, directory, pair, ca, *options, port=None, plain=0, **more):
        self.port = port or free_ports(1)[0]
        certificate, key = pair
        super().__init__(directory, "--port", str(plain), "--tls-port", str(self.port), "--tls-cert-file", certificate,
                         "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no", *options, **more)


class Odd:
    """On a port of 127.0.0.1: does with each connection what `handler` does, in a thread of its own."""

    def __init__(self, handler):
        self.handler, self.count = handler, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.count += 1
                thread = threading.Thread(target=self._handle, args=(connection,))
                self.threads.append(thread)
                thread.start()

    def _handle(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            self.handler(self, connection)

    def stop(self):
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()


def hang_up(_, connection):
    """Within the handshake: it was begun."""
    connection.recv(1)


def hang_up_later(_, connection):
    """A record is begun that never ends."""
    connection.recv(1)
    connection.sendall(b"\x16\x03\x03\x40\x00\x02")


def say_nothing(odd, _):
    odd.stopping.wait(60)


@unittest.skipUnless(machines.SERVER and shutil.which("openssl"), "redis-server or openssl is not installed")
class Tls(Case):
    with_daemon = False

    @classmethod
    def setUpClass(cls):
        if not has_tls():
            raise unittest.SkipTest(f"{machines.SERVER} was built without TLS")
        super().setUpClass()
        cls.certificates = Certificates(cls.temp)
        os.mkdir(cls.path(cls, "other"))
        cls.other = Certificates(cls.path(cls, "other"))

    def setUp(self):
        self.directory = self.path(self._testMethodName)
        os.mkdir(self.directory)
        self.jobs = self.lists = 0

    def redis(self, pair="valid", *options, **more):
        """Started; its certificate is that pair."""
        redis = TlsRedis(os.path.join(self.directory, f"redis-{pair}"), getattr(self.certificates, pair),
                         self.certificates.ca, *options, **more)
        self.addCleanup(redis.stop)
        return redis

    def odd(self, handler):
        odd = Odd(handler)
        self.addCleanup(odd.stop)
        return odd

    def trusting(self, port, host="localhost", scheme="rediss", **more):
        """What to tell a runner: where Redis is, and whom to trust."""
        return {"url": f"{scheme}://{host}:{port}", "ca_file": self.certificates.ca, "heartbeat": HEARTBEAT, **more}

    def node(self, name, **options):
        node = Node(self.directory, name=name, **options)
        self.addCleanup(node.end)
        return node

    def job(self, inputs, workload="sum", **options):
        self.jobs += 1
        job = Job(self.directory, self.jobs, inputs)
        job.start(workload=workload, **options)
        self.addCleanup(job.coordinator.end)
        return job

    def listing(self, url, ca_file=None, **_):
        """pppd-runner --nodes"""
        text = json.dumps({"machines": machines.machines(url, "host", **({"ca_file": ca_file} if ca_file else {}))})
        fd = machines.memfd("spec", text.encode())
        path = os.path.join(self.directory, f"list-{self.lists}")
        child = machines.Child([machines.RUNNER, "--nodes"], {3: fd}, path)
        self.lists += 1
        os.close(fd)
        self.addCleanup(child.end)
        return child

    def assert_sums(self, job, numbers):
        self.assertEqual(job.finish(), 0, job.coordinator.text())
        self.assertEqual([row and row.value for row in job.rows()], [i * (i - 1) // 2 for i in numbers])
        header = job.header()
        self.assertEqual((header["done"], header["failed"], header["condition"]), (len(numbers), 0, 0))

    def assert_refused(self, where, *patterns):
        """Nothing can come of that: a job, a node and a listing end at once, each with one line that says all.

        On a busy machine Redis may not answer in time, which is another matter, and passes.
        """
        runners = [self.job(["1"], **where).coordinator, self.node(f"node-{self.jobs}", **where), self.listing(**where)]
        for runner in runners:
            self.assertEqual(runner.wait(), 1, runner.text())
            [said] = [line for line in runner.text().splitlines() if not line.endswith("trying again until it works")]
            self.assertIn(where["url"], said)
            for pattern in patterns:
                self.assertRegex(said, pattern)

    # What is right

    def test_a_job_over_two_nodes(self):
        redis = self.redis()
        where = self.trusting(redis.port)
        nodes = [self.node("threads", **where), self.node("async", level="async", **where)]
        job = self.job(range(20000), **where)
        self.assert_sums(job, range(20000))
        self.assertEqual({row.worker for row in job.rows()}, {0, 1})
        self.assertEqual(job.measures["machines"]["results_duplicate"], 0)
        self.assertEqual([(node.stop(), node.text()) for node in nodes], [(0, "")] * 2)

    def test_much_at_once(self):
        """Chunks of a megabyte of inputs, and results of many records: more than one record of TLS, and of a socket."""
        where = self.trusting(self.redis().port)
        for level in ("threads", "async"):
            self.node(level, level=level, **where)
        job = self.job([f"/{'x' * 60000}{i}" for i in range(500)], "words", **where)
        self.assertEqual(job.finish(), 0, job.coordinator.text())
        self.assertEqual({(row.state, row.reason) for row in job.rows()}, {(FAILED, reasons()["OPEN"])})
        self.assertGreater(job.measures["machines"]["sent_bytes"], 500 * 60000)
        numbers = [i % 100 for i in range(300_000)]
        self.assert_sums(self.job(numbers, **where), numbers)

    def test_an_address_that_the_certificate_names(self):
        where = self.trusting(self.redis().port, host="127.0.0.1")
        self.node("node", **where)
        self.assert_sums(self.job(range(100), **where), range(100))

    def test_the_oldest_version(self):
        where = self.trusting(self.redis("valid", "--tls-protocols", "TLSv1.2").port)
        self.node("node", **where)
        self.assert_sums(self.job(range(5000), **where), range(5000))

    def test_the_systems_authorities(self):
        """Without a ca-file; where they are OpenSSL can be told."""
        where = self.trusting(self.redis().port)
        del where["ca_file"]
        with mock.patch.dict(os.environ, SSL_CERT_FILE=self.certificates.ca):
            self.node("node", **where)
            self.assert_sums(self.job(range(100), **where), range(100))

    def test_nodes_are_listed(self):
        where = self.trusting(self.redis().port)
        self.node("here", **where)
        def listed():
            child = self.listing(**where)
            self.assertEqual(child.wait(), 0, child.text())
            return [node["name"] for node in json.loads(child.text())["nodes"]] == ["here"]
        wait_until(listed, "the node in the list")

    def test_redis_is_restarted(self):
        """With its data, in mid-job: made anew, the connections are TLS again."""
        redis = self.redis(save=True)
        where = self.trusting(redis.port)
        self.node("node", **where)
        job = self.job(["0.02"] * 300, "sleep", **where)
        wait_until(lambda: job.header()["done"] > 50, "the first tasks")
        redis.kill()
        wait_until(lambda: job.header()["condition"] == UNREACHABLE, job.coordinator.text)
        redis.start()
        self.assertEqual(job.finish(), 0, job.coordinator.text())
        self.assertEqual(sum(row is None for row in job.rows()), 0)
        self.assertRegex(job.coordinator.text(), "trying again.*\n.*there again")

    def test_redis_is_restarted_without_its_data(self):
        redis = self.redis()
        where = self.trusting(redis.port)
        self.node("node", **where)
        job = self.job(["0.02"] * 300, "sleep", **where)
        wait_until(lambda: job.header()["done"] > 50, "the first tasks")
        redis.restart()
        self.assertEqual(job.finish(), 0, job.coordinator.text())
        self.assertEqual(sum(row is None for row in job.rows()), 0)

    def test_through_the_daemon(self):
        """The configuration's ca-file reaches those who need it."""
        redis = self.redis()
        config = os.path.join(self.directory, "pppctl.conf")
        with open(config, "w") as file:
            file.write(f"[machines]\nredis = rediss://localhost:{redis.port}\nca-file = {self.certificates.ca}\n"
                       "serve = yes\nname = here\nheartbeat = 1s\n")
        daemon = self.fresh(f"{self._testMethodName}/d", args=["--config", config])
        self.assert_values(self.run_job("machines", "sum", ["10", "11"], daemon=daemon), {"10": 45, "11": 55})
        self.assertRegex(daemon.pppctl("nodes").out, r"(?m)^here ")
        self.assertRegex(daemon.pppctl("doctor").out, rf"TLS to Redis +yes +OpenSSL 3\S* (.*\n)*.*Redis +yes +rediss:")

    # What must not be trusted

    def test_an_unknown_authority(self):
        remedy = "ca-file in pppctl.conf"
        where = self.trusting(self.redis().port)
        self.assert_refused({**where, "ca_file": self.other.ca}, "self.signed certificate in certificate chain|"
                            "unable to get local issuer certificate|certificate signature failure", "certificate")
        del where["ca_file"]
        self.assert_refused(where, "unable to get local issuer certificate|self.signed", remedy)

    def test_signed_by_itself(self):
        self.assert_refused(self.trusting(self.redis("self_signed").port), "self.signed certificate", "ca-file")

    def test_another_hosts_certificate(self):
        """Of the right authority: any machine that has one of it could pass for Redis otherwise."""
        port = self.redis("wrong_host").port
        self.assert_refused(self.trusting(port), "(?i)hostname mismatch", "has to name localhost")
        self.assert_refused(self.trusting(port, host="127.0.0.1"), "IP address mismatch", "has to name 127.0.0.1")

    def test_an_address_that_it_does_not_name(self):
        """A name in it does not do for the address, though the name has that address."""
        port = self.redis("name_only").port
        self.assert_refused(self.trusting(port, host="127.0.0.1"), "IP address mismatch")
        where = self.trusting(port)
        self.node("node", **where)
        self.assert_sums(self.job(range(100), **where), range(100))

    def test_an_expired_certificate(self):
        self.assert_refused(self.trusting(self.redis("expired").port), "certificate has expired", "new one.*clock")

    def test_it_wants_certificates_of_clients(self):
        """Redis' default. It says so after the handshake is over for us."""
        for version in ("TLSv1.3", "TLSv1.2"):
            with self.subTest(version):
                redis = self.redis("valid", "--tls-protocols", version, "--tls-auth-clients", "yes")
                self.assert_refused(self.trusting(redis.port), "tls-auth-clients")
                redis.stop()

    def test_a_ca_file_that_is_of_no_use(self):
        port = self.redis().port
        junk = os.path.join(self.directory, "junk.pem")
        with open(junk, "w") as file:
            file.write("no certificate\n")
        self.assert_refused(self.trusting(port, ca_file=junk), r"ca-file .*junk\.pem", "no certificate")
        gone = os.path.join(self.directory, "gone.pem")
        self.assert_refused(self.trusting(port, ca_file=gone), r"ca-file .*gone\.pem", "No such file")

    # What is no TLS

    def assert_waited_for(self, where, pattern):
        """What may pass: said once, with where and why, and tried again. The listing ends. Returns (node, job)."""
        node, job = self.node("node", **where), self.job(range(1000), **where)
        for runner in (node, job.coordinator):
            wait_until(lambda: "trying again" in runner.text(), runner.text, 2 * SILENCE)
        wait_until(lambda: job.header()["condition"] == UNREACHABLE, "the condition")
        listing = self.listing(**where)
        self.assertEqual(listing.wait(10), 1)
        for runner in (node, job.coordinator, listing):
            self.assertIn(where["url"], runner.text())
            self.assertRegex(runner.text(), pattern)
            self.assertEqual(len(runner.text().splitlines()), 1, runner.text())
        return node, job

    def test_a_port_without_tls(self):
        """Redis takes a ClientHello for a line that is no command, or for the beginning of one, and waits."""
        plain = free_ports(1)[0]
        self.redis(plain=plain)
        where = self.trusting(plain)
        for runner in (self.job(["1"], **where).coordinator, self.node("node", **where), self.listing(**where)):
            wait_until(runner.text, "a word", 2 * SILENCE)
            self.assertIn(where["url"], runner.text())
            self.assertRegex(runner.text(), "does not speak TLS .* name its TLS port|"
                             "does not answer in the TLS handshake; is that its port for TLS")

    def test_without_tls_to_a_port_for_tls(self):
        self.assert_waited_for(self.trusting(self.redis().port, scheme="redis"), "if that is a port for TLS.*rediss://")

    def test_another_protocol(self):
        def answer(_, connection):
            connection.recv(1)
            connection.sendall(b"-ERR no TLS here\r\n")
            connection.recv(100_000)
        self.assert_refused(self.trusting(self.odd(answer).port), "does not speak TLS", "redis://")

    def away_and_back(self, handler, pattern):
        """A Redis that comes later is found."""
        odd = self.odd(handler)
        node, job = self.assert_waited_for(self.trusting(odd.port), pattern)
        self.assertGreater(odd.count, 2)
        odd.stop()
        self.redis(port=odd.port)
        self.assert_sums(job, range(1000))
        for runner in (node, job.coordinator):
            self.assertEqual(len(runner.text().splitlines()), 2, runner.text())
            self.assertRegex(runner.text(), "is there")

    def test_it_hangs_up_in_the_handshake(self):
        self.away_and_back(hang_up, "closed the connection in the TLS handshake|Connection reset")

    def test_it_hangs_up_within_a_record(self):
        self.away_and_back(hang_up_later, "closed the connection in the TLS handshake|Connection reset")

    def test_it_says_nothing(self):
        """That is noticed after a while, and not by asking all the time."""
        before = {}
        def remember():
            before.update({pid: cpu_seconds(pid) for pid in self.pids})
            return True
        odd = self.odd(say_nothing)
        where = self.trusting(odd.port)
        node, job = self.node("node", **where), self.job(["1"], **where)
        self.pids = (node.pid, job.coordinator.pid)
        wait_until(lambda: odd.count >= 4 and remember(), "their connections")
        for runner in (node, job.coordinator):
            wait_until(lambda: "trying again" in runner.text(), runner.text, 2 * SILENCE)
            self.assertRegex(runner.text(), "does not answer in the TLS handshake")
        for pid, was in before.items():
            self.assertLess(cpu_seconds(pid) - was, 0.3)

    def test_silence_passes(self):
        self.away_and_back(say_nothing, "does not answer in the TLS handshake")

    def test_a_name_that_nobody_has(self):
        """It may be known later; the reason is the resolver's."""
        where = self.trusting(6379, host="nobody.invalid")
        job = self.job(["1"], **where)
        wait_until(lambda: "trying again" in job.coordinator.text(), job.coordinator.text, 60)
        self.assertRegex(job.coordinator.text(), r"rediss://nobody\.invalid:6379/0: (Name or service not known|"
                         "Temporary failure in name resolution|No address associated with hostname)")
