"""rediss://: the level machines over TLS to a real Redis, and everything that must not be taken for it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import unittest

from harness.certificates import Certificates
from harness.fleet import HEARTBEAT, FleetCase
from harness.nginx import free_ports
from harness.poll import wait_until
from harness.redis import KEEP, SERVER, Redis
from harness.results import FAILED, conditions, reasons
from test_machines_redis import cpu_seconds

UNREACHABLE = conditions()["ENGINE_UNREACHABLE"]
# What an answer may take: the heartbeat, and twice what the reading connection blocks.
SILENCE = HEARTBEAT + 2


def has_tls():
    """Whether the redis-server that is installed was built with it."""
    done = subprocess.run([SERVER, "--port", "0", "--tls-port", "1", "--tls-cert-file", "/dev/null"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    return b"Failed to configure TLS" in done.stdout


class TlsRedis(Redis):
    """The tests themselves use its Unix socket; there is no port without TLS unless `plain` names one."""

    def __init__(self, directory, pair, ca, *options, port=None, plain=0):
        self.port = port or free_ports(1)[0]
        certificate, key = pair
        super().__init__(directory, options=(
            "--port", str(plain), "--tls-port", str(self.port), "--tls-cert-file", certificate, "--tls-key-file", key,
            "--tls-ca-cert-file", ca, "--tls-auth-clients", "no", *options))


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


@unittest.skipUnless(SERVER and shutil.which("openssl"), "redis-server or openssl is not installed")
class Tls(FleetCase):
    """Each test starts a Redis of its own, with the certificate that it is about; `where` is what runners are told."""

    with_redis = apart = False

    @classmethod
    def setUpClass(cls):
        if not has_tls():
            raise unittest.SkipTest(f"{SERVER} was built without TLS")
        super().setUpClass()
        cls.certificates = Certificates(cls.temp)
        os.mkdir(cls.path(cls, "other"))
        cls.other = Certificates(cls.path(cls, "other"))

    def tls_redis(self, pair="valid", *options, **more):
        """Started; its certificate is that pair."""
        directory = os.path.join(self.directory, pair)
        os.makedirs(directory, exist_ok=True)
        redis = TlsRedis(directory, getattr(self.certificates, pair), self.certificates.ca, *options, **more).start()
        self.addCleanup(lambda: redis.stop(signal.SIGKILL))
        return redis

    def odd(self, handler):
        odd = Odd(handler)
        self.addCleanup(odd.stop)
        return odd

    def trusting(self, port, host="localhost", scheme="rediss", **more):
        """What to tell a runner: where Redis is, and whom to trust."""
        return {"redis": f"{scheme}://{host}:{port}", "ca_file": self.certificates.ca, "name": "host",
                "heartbeat_ns": int(HEARTBEAT * 1e9), **more}

    def begin_node(self, name, where, **options):
        """Started, and not waited for: its Redis may be none."""
        return self.new_node(name, machines=where, **options).start()

    def assert_sums(self, job, numbers):
        self.assert_all_done(job, [i * (i - 1) // 2 for i in numbers])

    def assert_refused(self, where, *patterns):
        """Nothing can come of that: a job, a node and a listing end at once, each with one line that says all.

        On a busy machine Redis may not answer in time, which is another matter, and passes.
        """
        runners = [self.job("sum", ["1"], machines=where), self.begin_node(f"node-{len(self.runners)}", where),
                   self.refused_listing(where)]
        for runner in runners:
            self.assertEqual(runner.wait(), 1, runner.output())
            [said] = [line for line in runner.output().splitlines() if not line.endswith("trying again until it works")]
            self.assertIn(where["redis"], said)
            for pattern in patterns:
                self.assertRegex(said, pattern)

    def refused_listing(self, where):
        """Asked for again while Redis does not answer: a listing tries once."""
        for _ in range(5):
            listing = self.listing(where)
            listing.wait()
            if "it does not answer" not in listing.output():
                break
        return listing

    # What is right

    def test_a_job_over_two_nodes(self):
        redis = self.tls_redis()
        where = self.trusting(redis.port)
        nodes = [self.begin_node("threads", where), self.begin_node("async", where, level="async")]
        job = self.job("sum", range(20000), machines=where)
        self.assert_sums(job, range(20000))
        self.assertEqual({row.worker for row in job.rows()}, {0, 1})
        self.assertEqual(job.measured()["machines"]["results_duplicate"], 0)
        self.assertEqual([(node.stop(), node.output()) for node in nodes], [(0, "")] * 2)

    def test_much_at_once(self):
        """Chunks of a megabyte of inputs, and results of many records: more than one record of TLS, and of a socket."""
        where = self.trusting(self.tls_redis().port)
        for level in ("threads", "async"):
            self.begin_node(level, where, level=level)
        job = self.job("words", [f"/{'x' * 60000}{i}" for i in range(500)], machines=where)
        self.assertEqual(job.wait(), 0, job.output())
        self.assertEqual({(row.state, row.reason) for row in job.rows()}, {(FAILED, reasons()["OPEN"])})
        self.assertGreater(job.measured()["machines"]["sent_bytes"], 500 * 60000)
        numbers = [i % 100 for i in range(300_000)]
        self.assert_sums(self.job("sum", numbers, machines=where), numbers)

    def test_an_address_that_the_certificate_names(self):
        where = self.trusting(self.tls_redis().port, host="127.0.0.1")
        self.begin_node("node", where)
        self.assert_sums(self.job("sum", range(100), machines=where), range(100))

    def test_the_oldest_version(self):
        where = self.trusting(self.tls_redis("valid", "--tls-protocols", "TLSv1.2").port)
        self.begin_node("node", where)
        self.assert_sums(self.job("sum", range(5000), machines=where), range(5000))

    def test_the_systems_authorities(self):
        """Without a ca-file; where they are OpenSSL can be told."""
        where = self.trusting(self.tls_redis().port)
        del where["ca_file"]
        wrap = ["env", f"SSL_CERT_FILE={self.certificates.ca}"]
        self.begin_node("node", where, wrap=wrap)
        self.assert_sums(self.job("sum", range(100), machines=where, wrap=wrap), range(100))

    def test_nodes_are_listed(self):
        where = self.trusting(self.tls_redis().port)
        self.begin_node("here", where)
        wait_until(lambda: [node["name"] for node in self.listed(where)] == ["here"], "the node in the list")

    def test_redis_is_restarted(self):
        """With its data, in mid-job: made anew, the connections are TLS again."""
        redis = self.tls_redis("valid", *KEEP)
        where = self.trusting(redis.port)
        self.begin_node("node", where)
        job = self.job("sleep", ["0.02"] * 300, machines=where)
        job.await_done(51)
        redis.stop(signal.SIGKILL)
        wait_until(lambda: job.header().condition == UNREACHABLE, job.output)
        redis.start()
        self.assertEqual(job.wait(), 0, job.output())
        self.assertEqual(sum(row is None for row in job.rows()), 0)
        self.assertRegex(job.output(), "trying again.*\n.*there again")

    def test_redis_is_restarted_without_its_data(self):
        redis = self.tls_redis()
        where = self.trusting(redis.port)
        self.begin_node("node", where)
        job = self.job("sleep", ["0.02"] * 300, machines=where)
        job.await_done(51)
        redis.stop(signal.SIGKILL)
        redis.start()
        self.assertEqual(job.wait(), 0, job.output())
        self.assertEqual(sum(row is None for row in job.rows()), 0)

    def test_through_the_daemon(self):
        """The configuration's ca-file reaches those who need it."""
        redis = self.tls_redis()
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
        where = self.trusting(self.tls_redis().port)
        self.assert_refused({**where, "ca_file": self.other.ca}, "self.signed certificate in certificate chain|"
                            "unable to get local issuer certificate|certificate signature failure", "certificate")
        del where["ca_file"]
        self.assert_refused(where, "unable to get local issuer certificate|self.signed", remedy)

    def test_signed_by_itself(self):
        self.assert_refused(self.trusting(self.tls_redis("self_signed").port), "self.signed certificate", "ca-file")

    def test_another_hosts_certificate(self):
        """Of the right authority: any machine that has one of it could pass for Redis otherwise."""
        port = self.tls_redis("wrong_host").port
        self.assert_refused(self.trusting(port), "(?i)hostname mismatch", "has to name localhost")
        self.assert_refused(self.trusting(port, host="127.0.0.1"), "IP address mismatch", "has to name 127.0.0.1")

    def test_an_address_that_it_does_not_name(self):
        """A name in it does not do for the address, though the name has that address."""
        port = self.tls_redis("name_only").port
        self.assert_refused(self.trusting(port, host="127.0.0.1"), "IP address mismatch")
        where = self.trusting(port)
        self.begin_node("node", where)
        self.assert_sums(self.job("sum", range(100), machines=where), range(100))

    def test_an_expired_certificate(self):
        self.assert_refused(self.trusting(self.tls_redis("expired").port), "certificate has expired", "new one.*clock")

    def test_it_wants_certificates_of_clients(self):
        """Redis' default. It says so after the handshake is over for us."""
        for version in ("TLSv1.3", "TLSv1.2"):
            with self.subTest(version):
                redis = self.tls_redis("valid", "--tls-protocols", version, "--tls-auth-clients", "yes")
                self.assert_refused(self.trusting(redis.port), "tls-auth-clients")
                redis.stop()

    def test_a_ca_file_that_is_of_no_use(self):
        port = self.tls_redis().port
        junk = os.path.join(self.directory, "junk.pem")
        with open(junk, "w") as file:
            file.write("no certificate\n")
        self.assert_refused(self.trusting(port, ca_file=junk), r"ca-file .*junk\.pem", "no certificate")
        gone = os.path.join(self.directory, "gone.pem")
        self.assert_refused(self.trusting(port, ca_file=gone), r"ca-file .*gone\.pem", "No such file")

    # What is no TLS

    def assert_waited_for(self, where, pattern):
        """What may pass: said once, with where and why, and tried again. The listing ends. Returns (node, job)."""
        node, job = self.begin_node("node", where), self.job("sum", range(1000), machines=where)
        for runner in (node, job):
            wait_until(lambda: "trying again" in runner.output(), runner.output, 2 * SILENCE)
        wait_until(lambda: job.header().condition == UNREACHABLE, "the condition")
        listing = self.listing(where)
        self.assertEqual(listing.wait(10), 1)
        for runner in (node, job, listing):
            self.assertIn(where["redis"], runner.output())
            self.assertRegex(runner.output(), pattern)
            self.assertEqual(len(runner.output().splitlines()), 1, runner.output())
        return node, job

    def test_a_port_without_tls(self):
        """Redis takes a ClientHello for a line that is no command, or for the beginning of one, and waits."""
        plain = free_ports(1)[0]
        self.tls_redis(plain=plain)
        where = self.trusting(plain)
        for runner in (self.job("sum", ["1"], machines=where), self.begin_node("node", where), self.listing(where)):
            wait_until(runner.output, "a word", 2 * SILENCE)
            self.assertIn(where["redis"], runner.output())
            self.assertRegex(runner.output(), "does not speak TLS .* name its TLS port|"
                             "does not answer in the TLS handshake; is that its port for TLS")

    def test_without_tls_to_a_port_for_tls(self):
        self.assert_waited_for(self.trusting(self.tls_redis().port, scheme="redis"), "if that is a port for TLS.*rediss://")

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
        self.tls_redis(port=odd.port)
        self.assert_sums(job, range(1000))
        for runner in (node, job):
            self.assertEqual(len(runner.output().splitlines()), 2, runner.output())
            self.assertRegex(runner.output(), "is there")

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
        node, job = self.begin_node("node", where), self.job("sum", ["1"], machines=where)
        self.pids = (node.pid, job.pid)
        wait_until(lambda: odd.count >= 4 and remember(), "their connections")
        for runner in (node, job):
            wait_until(lambda: "trying again" in runner.output(), runner.output, 2 * SILENCE)
            self.assertRegex(runner.output(), "does not answer in the TLS handshake")
        for pid, was in before.items():
            self.assertLess(cpu_seconds(pid) - was, 0.3)

    def test_silence_passes(self):
        self.away_and_back(say_nothing, "does not answer in the TLS handshake")

    def test_a_name_that_nobody_has(self):
        """It may be known later; the reason is the resolver's."""
        where = self.trusting(6379, host="nobody.invalid")
        job = self.job("sum", ["1"], machines=where)
        wait_until(lambda: "trying again" in job.output(), job.output, 60)
        self.assertRegex(job.output(), r"rediss://nobody\.invalid:6379/0: (Name or service not known|"
                         "Temporary failure in name resolution|No address associated with hostname)")
