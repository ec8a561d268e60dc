"""The protocol: what it says of itself, and what it makes of peers that do not keep to it."""

import json
import os
import re
import shutil
import socket
import subprocess

from harness import settings, varlink
from harness.case import Case
from harness.daemon import PPPCTL
from harness.poll import wait_until
from harness.process import clean_environment
from harness.varlink import Closed, Client, Error

SERVICE = "org.varlink.service"
GET_INFO = {"method": f"{SERVICE}.GetInfo"}


class Introspection(Case):
    def interface_file(self):
        with open(f"{settings.source}/include/pppctl/io.pppctl.Jobs.varlink") as file:
            return file.read()

    def test_get_info(self):
        with self.daemon.connect() as client:
            info = client.call(f"{SERVICE}.GetInfo")
        self.assertEqual(set(info), {"vendor", "product", "version", "url", "interfaces"})
        self.assertEqual(set(info["interfaces"]) >= {SERVICE, PPPCTL}, True, info)

    def test_interface_description_is_the_file(self):
        with self.daemon.connect() as client:
            reply = client.call(f"{SERVICE}.GetInterfaceDescription", {"interface": PPPCTL})
        self.assertEqual(reply, {"description": self.interface_file()})

    def test_description_of_the_service_interface(self):
        with self.daemon.connect() as client:
            text = client.call(f"{SERVICE}.GetInterfaceDescription", {"interface": SERVICE})["description"]
        self.assertRegex(text, rf"(?m)^interface {re.escape(SERVICE)}$")
        for name in ("GetInfo", "GetInterfaceDescription", "InterfaceNotFound", "MethodNotFound", "InvalidParameter"):
            self.assertIn(name, text)

    def test_every_method_of_the_file_is_there(self):
        methods = re.findall(r"(?m)^method (\w+)", self.interface_file())
        self.assertGreater(len(methods), 4)
        for method in methods:
            with self.subTest(method=method), self.daemon.connect() as client:
                with self.assertRaises(Error) as caught:
                    client.call(f"{PPPCTL}.{method}", {"no_such_member": 1})
                self.assertNotIn("NotFound", caught.exception.name)
                self.assertNotIn("NotImplemented", caught.exception.name)

    def test_unknown_names(self):
        cases = {f"{PPPCTL}.Fly": "MethodNotFound", "io.pppctl.Birds.Fly": "InterfaceNotFound|MethodNotFound",
                 f"{SERVICE}.Fly": "MethodNotFound"}
        for method, error in cases.items():
            with self.subTest(method=method), self.daemon.connect() as client:
                with self.assertRaisesRegex(Error, rf"{SERVICE}\.({error})"):
                    client.call(method)
        with self.daemon.connect() as client, self.assertRaisesRegex(Error, f"{SERVICE}.InterfaceNotFound"):
            client.call(f"{SERVICE}.GetInterfaceDescription", {"interface": "io.pppctl.Birds"})

    def test_varlinkctl(self):
        if not shutil.which("varlinkctl"):
            self.skipTest("varlinkctl is not installed (systemd 255 and later have it)")
        for args in (["info", self.daemon.socket], ["introspect", self.daemon.socket, PPPCTL],
                     ["call", self.daemon.socket, f"{PPPCTL}.Show", '{"job": 0}']):
            done = subprocess.run(["varlinkctl", *args], capture_output=True, env=clean_environment())
            self.assertEqual(done.returncode, 1 if args[0] == "call" else 0, done)


class Requests(Case):
    """Whole messages whose contents are wrong: a named error, and the connection goes on."""

    GOOD = {"level": "serial", "workload": "sum"}

    def assert_error(self, method, parameters, error, *patterns, fds=()):
        with self.daemon.connect() as client:
            with self.assertRaises(Error) as caught:
                client.call(f"{PPPCTL}.{method}", parameters, fds)
            text = str(caught.exception)
            self.assertRegex(caught.exception.name, error)
            for pattern in patterns:
                self.assertRegex(text, pattern)
            self.assertIn("interfaces", client.call(f"{SERVICE}.GetInfo"), "the connection goes on")

    def test_specs(self):
        cases = [
            ({}, "level|workload"), ({"level": "serial"}, "workload"), ({"workload": "sum"}, "level"),
            ({**self.GOOD, "level": "fast"}, "spec.level"), ({**self.GOOD, "level": 5}, "spec.level"),
            ({**self.GOOD, "workload": "fly"}, "spec.workload"), ({**self.GOOD, "workload": None}, "spec.workload"),
            ({**self.GOOD, "wrokers": 2}, "wrokers"), ({**self.GOOD, "workers": "2"}, "spec.workers"),
            ({**self.GOOD, "workers": -1}, "spec.workers"), ({**self.GOOD, "workers": 1 << 40}, "spec.workers"),
            ({**self.GOOD, "workers": 1.5}, "spec.workers"), ({**self.GOOD, "retries": 101}, "spec.retries"),
            ({**self.GOOD, "gil": "yes"}, "spec.gil"), ({**self.GOOD, "timeout_seconds": -1}, "spec.timeout_seconds"),
            ({**self.GOOD, "timeout_seconds": 1e300}, "spec.timeout_seconds"), ({**self.GOOD, "ca_file": 5}, "spec.ca_file"),
            ({**self.GOOD, "ca_file": "relative.pem"}, "spec.ca_file"), ([], "spec"), ("spec", "spec"), (None, "spec"),
        ]
        for spec, pattern in cases:
            with self.subTest(spec=spec):
                self.assert_error("Run", {"spec": spec, "inputs": ["1"]}, "BadRequest|InvalidParameter", pattern)

    def test_bounds(self):
        """A spec is a part of each reply about its job, so that no member of it may be as long as a message."""
        long = "0," * 450_000 + "0"
        for member in ("cpus", "device"):
            limits = {"cpus": long} if member == "cpus" else {"io_max": [{"device": long, "reads_per_second": 10}]}
            with self.subTest(member=member):
                self.assert_error("Run", {"spec": {**self.GOOD, "limits": limits}, "inputs": ["1"]}, "BadRequest",
                                  rf"spec\.limits\.\S*{member}", "900001 bytes long, more than the")
        for member in ("level", "workload", "ca_file"):
            with self.subTest(member=member):
                self.assert_error("Run", {"spec": {**self.GOOD, member: "/" * 900_001}, "inputs": ["1"]}, "BadRequest",
                                  rf"spec\.{member}", "900001 bytes long, more than the")

    def test_members_of_run(self):
        cases = [({"spec": self.GOOD}, "input"), ({"inputs": ["1"]}, "spec"), ({"spec": self.GOOD, "inputs": "1"}, "inputs"),
                 ({"spec": self.GOOD, "inputs": [1]}, "inputs"), ({"spec": self.GOOD, "inputs": ["1"], "extra": 1}, "extra"),
                 ({"spec": self.GOOD, "inputs": ["1"], "on_disconnect": "explode"}, "on_disconnect"),
                 ({"spec": self.GOOD, "inputs": ["1"], "on_disconnect": 1}, "on_disconnect"),
                 ({"spec": self.GOOD, "input_fd": 0}, "input_fd"), ({"spec": self.GOOD, "input_fd": -1}, "input_fd"),
                 ({"spec": self.GOOD, "input_fd": 1 << 40}, "input_fd"), ({"spec": self.GOOD, "input_fd": "0"}, "input_fd"),
                 ([], "parameters")]
        for parameters, pattern in cases:
            with self.subTest(parameters=parameters):
                self.assert_error("Run", parameters, "BadRequest|InvalidParameter|BadInputs", pattern)

    def test_inputs(self):
        for inputs, pattern in (([], "empty"), ([""], "empty"), (["a\nb"], "newline|line"), (["x" * 100_000], "longer|65536")):
            with self.subTest(pattern=pattern):
                self.assert_error("Run", {"spec": self.GOOD, "inputs": inputs}, "BadInputs|BadRequest|InvalidParameter", pattern)

    def test_a_nul_in_an_input(self):
        """JSON can say it, inputs cannot hold it; the peer may lose its connection over it."""
        with self.daemon.connect() as client, self.assertRaises((Error, Closed, ConnectionError)):
            client.call(f"{PPPCTL}.Run", {"spec": self.GOOD, "inputs": ["1", "2\0"]})
        self.assert_alive()

    def test_both_kinds_of_inputs(self):
        fd = varlink.sealed_memfd(b"1\n")
        self.addCleanup(os.close, fd)
        self.assert_error("Run", {"spec": self.GOOD, "input_fd": 0, "inputs": ["1"]}, "BadRequest|InvalidParameter", fds=[fd])

    def test_job_members(self):
        for method in ("Wait", "Show", "Results", "Cancel"):
            for parameters in ({}, {"job": "1"}, {"job": -1}, {"job": 1.0}, {"job": None}, {"job": [1]}, {"job": 1, "x": 1}):
                with self.subTest(method=method, parameters=parameters):
                    self.assert_error(method, parameters, "BadRequest|InvalidParameter|NoSuchJob")
            self.assert_error(method, {"job": 4611686018427387904}, "NoSuchJob")

    def test_memfds(self):
        """What is sent as inputs has to be a sealed memfd: nobody may change or cut it while it is read."""
        read_end, write_end = os.pipe()
        directory, file = os.open("/tmp", os.O_RDONLY), os.open("/etc/passwd", os.O_RDONLY)
        fds = {"unsealed": varlink.sealed_memfd(b"1\n2\n", seal=False), "pipe": read_end, "directory": directory, "file": file,
               "empty": varlink.sealed_memfd(b""), "no newline at its end": varlink.sealed_memfd(b"1\n2"),
               "nul": varlink.sealed_memfd(b"1\n\0\n"), "empty line": varlink.sealed_memfd(b"1\n\n2\n"),
               "write end": write_end}
        for name, fd in fds.items():
            with self.subTest(fd=name):
                self.assert_error("Run", {"spec": self.GOOD, "input_fd": 0}, "BadInputs|BadRequest|InvalidParameter|Failed", fds=[fd])
        for fd in fds.values():
            os.close(fd)
        self.assert_alive()

    def test_a_good_memfd(self):
        fd = varlink.sealed_memfd(b"3\n4\n")
        with self.daemon.connect() as client:
            job = client.call(f"{PPPCTL}.Run", {"spec": self.GOOD, "input_fd": 0}, [fd])["job"]
            self.assertEqual(client.call(f"{PPPCTL}.Wait", {"job": job})["job"]["tasks_done"], 2)
        os.close(fd)

    def test_envelopes(self):
        cases = [{}, {"method": 5}, {"method": None}, {"method": ""}, {"method": "x"}, {"parameters": {}},
                 {"method": f"{SERVICE}.GetInfo", "parameters": []}, {"method": f"{SERVICE}.GetInfo", "parameters": "x"},
                 {"method": f"{SERVICE}.GetInfo", "more": "yes"}, {"method": "." * 5000}]
        for message in cases:
            with self.subTest(message=str(message)[:100]), self.daemon.connect() as client:
                client.send_raw(json.dumps(message).encode() + b"\0")
                try:
                    self.assertIn("error", client.receive())
                except Closed:
                    pass                # a peer that cannot form a request may be shown the door
        self.assert_alive()

    def test_oneway(self):
        """No reply to a one-way call, not even for an error; the next call is answered."""
        with self.daemon.connect() as client:
            client.send(f"{SERVICE}.GetInfo", oneway=True)
            client.send(f"{PPPCTL}.Show", {"job": 4611686018427387904}, oneway=True)
            self.assertIn("description", client.call(f"{SERVICE}.GetInterfaceDescription", {"interface": PPPCTL}))

    def test_list_without_more(self):
        self.run_job("serial", "sum", ["1"])
        with self.daemon.connect() as client:
            client.send(f"{PPPCTL}.List", {})
            message = client.receive()
        self.assertFalse(message.get("continues", False), message)

    def test_wait_with_more_shows_progress(self):
        job = self.daemon.submit("serial", "sleep", ["0.2"] * 6)
        with self.daemon.connect() as client:
            replies = [reply["job"] for reply in client.stream(f"{PPPCTL}.Wait", {"job": job})]
        self.assertEqual(replies[-1]["state"], "done")
        done = [reply["tasks_done"] for reply in replies]
        self.assertEqual(done, sorted(done))
        self.assertGreater(len(set(done)), 1, "some progress before the end")


class Abuse(Case):
    """Bytes that are no messages. The peer loses its connection at most, and nobody else notices."""

    def tearDown(self):
        self.assert_alive()

    def fate(self, data, fds=()):
        """What becomes of a peer that sends this: the reply, "closed", or "waits"."""
        with self.daemon.connect() as client:
            try:
                client.send_raw(data, fds)
                return client.receive(0.3)
            except (Closed, ConnectionError, BrokenPipeError):
                return "closed"
            except socket.timeout:
                return "waits"

    def assert_refused(self, data, fds=()):
        fate = self.fate(data, fds)
        self.assertTrue(fate == "closed" or "error" in fate, f"{data[:80]!r}: {fate}")

    def test_what_is_no_json(self):
        for data in (b"\0", b"hello\0", b"{\0", b"{}}\0", b'{"method": "x"\0', b"[]\0", b"1\0", b"null\0", b'"x"\0',
                     b"\xff\xfe\0", b'{"a": 1, "a": 2}\0', b"{" + b" " * 1000 + b"\0", b"GET / HTTP/1.1\r\n\r\n\0"):
            with self.subTest(data=data[:40]):
                self.assert_refused(data)

    def test_nested_10_000_deep(self):
        for data in (b"[" * 10_000, b'{"a":' * 10_000, b"[" * 10_000 + b"]" * 10_000,
                     b'{"method":"org.varlink.service.GetInfo","parameters":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001):
            with self.subTest(data=data[:30]):
                self.assert_refused(data + b"\0")

    def test_no_end(self):
        """It is refused once it is longer than a message may be: memory is bounded."""
        with self.daemon.connect() as client:
            with self.assertRaises((Closed, ConnectionError, BrokenPipeError)):
                for _ in range(64):
                    client.send_raw(b"x" * (1 << 18))
                client.receive()
                client.receive()
        from harness.process import status_field
        self.assert_memory(status_field(self.daemon.pid, "VmHWM"), 100 << 20)

    def test_half_a_message_and_then_nothing(self):
        """Many such peers do not keep others from being served."""
        peers = [self.daemon.connect() for _ in range(50)]
        for peer in peers:
            peer.send_raw(b'{"method": "org.varl')
        self.assert_alive()
        for peer in peers:
            peer.close()

    def test_byte_by_byte(self):
        with self.daemon.connect() as client:
            for byte in json.dumps(GET_INFO).encode() + b"\0":
                client.send_raw(bytes([byte]))
            self.assertIn("interfaces", client.reply()[0])

    def test_several_in_a_packet(self):
        with self.daemon.connect() as client:
            client.send_raw((json.dumps(GET_INFO).encode() + b"\0") * 50)
            for _ in range(50):
                self.assertIn("interfaces", client.reply()[0])

    def test_a_packet_and_a_half(self):
        message = json.dumps(GET_INFO).encode() + b"\0"
        with self.daemon.connect() as client:
            client.send_raw(message + message[:10])
            client.reply()
            client.send_raw(message[10:])
            self.assertIn("interfaces", client.reply()[0])

    def test_too_many_descriptors(self):
        fd = os.open(os.devnull, os.O_RDONLY)
        try:
            before = self.count_fds()
            for n in (9, 64, 253):
                with self.subTest(n=n):
                    self.fate(json.dumps(GET_INFO).encode() + b"\0", [fd] * n)
            wait_until(lambda: self.count_fds() <= before, lambda: f"descriptors closed: {self.count_fds()} > {before}", 3)
        finally:
            os.close(fd)

    def test_too_many_descriptors_in_pieces(self):
        """Each part of a message brings a few: together more than a message may have."""
        message = json.dumps(GET_INFO).encode() + b"\0"
        fd = os.open(os.devnull, os.O_RDONLY)
        try:
            before = self.count_fds()
            with self.daemon.connect() as client:
                try:
                    for at in range(0, 40, 10):
                        client.send_raw(message[at:at + 10], [fd] * 6)
                    client.send_raw(message[40:])
                    self.assertIn("error", client.receive())
                except (Closed, ConnectionError, BrokenPipeError):
                    pass
            wait_until(lambda: self.count_fds() <= before, lambda: f"descriptors closed: {self.count_fds()} > {before}", 3)
        finally:
            os.close(fd)

    def test_descriptors_nobody_asked_for_are_closed(self):
        fd = os.open(os.devnull, os.O_RDONLY)
        with self.daemon.connect() as client:
            client.call(f"{SERVICE}.GetInfo")
            before = self.count_fds()
            for _ in range(20):
                client.send_raw(json.dumps(GET_INFO).encode() + b"\0", [fd] * 3)
                client.reply()
            wait_until(lambda: self.count_fds() <= before, lambda: f"{self.count_fds()} > {before}", 3)
        os.close(fd)

    def count_fds(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def test_peers_that_leave_leave_no_descriptor(self):
        self.fate(b"")
        before = self.count_fds()
        for _ in range(100):
            with self.daemon.connect() as client:
                client.send_raw(b'{"method')
        wait_until(lambda: self.count_fds() <= before, lambda: f"{self.count_fds()} > {before}", 3)

    def test_a_peer_that_does_not_read(self):
        """Its replies pile up to a bound; others are served meanwhile."""
        message = json.dumps({"method": f"{SERVICE}.GetInterfaceDescription", "parameters": {"interface": PPPCTL}}).encode() + b"\0"
        with self.daemon.connect() as client:
            client.socket.settimeout(2)
            try:
                for _ in range(300):
                    client.send_raw(message * 100)
            except (socket.timeout, ConnectionError, BrokenPipeError):
                pass
            self.assert_alive()
        from harness.process import status_field
        self.assert_memory(status_field(self.daemon.pid, "VmHWM"), 100 << 20)

    def test_many_connections(self):
        """Whatever the bound, the daemon says no beyond it and serves again when they have gone."""
        peers = []
        try:
            for _ in range(2000):
                peers.append(Client(self.daemon.socket))
        except OSError:
            pass
        for peer in peers:
            peer.close()
        wait_until(lambda: self.daemon.pppctl("list").status == 0, "the daemon to see that they have gone")

    def test_many_requests_that_wait(self):
        job = self.daemon.submit("async", "sleep", ["60"])
        with self.daemon.connect() as client:
            client.socket.settimeout(0.5)
            try:
                for _ in range(2000):           # a call is answered before the next is read, so this blocks
                    client.send(f"{PPPCTL}.Wait", {"job": job}, more=True)
            except (socket.timeout, ConnectionError, BrokenPipeError):
                pass
            self.assert_alive()
        self.daemon.cancel(job)
