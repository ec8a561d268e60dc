"""varlinkctl, which comes with systemd 255 and later, works as it is."""

import json
import shutil
import unittest

from case import Case
from commands import run

INTERFACE = "io.pppctl.Jobs"


@unittest.skipUnless(shutil.which("varlinkctl"), "this systemd has no varlinkctl (255)")
class Varlinkctl(Case):
    def varlinkctl(self, *args, **options):
        return run("varlinkctl", "--no-pager", *args, **options)

    def test_info(self):
        result = self.assert_ok(self.varlinkctl("info", self.pppd.socket))
        self.assertIn(INTERFACE, result.out)

    def test_list_interfaces(self):
        result = self.assert_ok(self.varlinkctl("list-interfaces", self.pppd.socket))
        self.assertEqual(set(result.out.split()), {INTERFACE, "org.varlink.service"})

    def test_introspect(self):
        """It parses what we say of ourselves: comments, types, errors."""
        result = self.assert_ok(self.varlinkctl("introspect", self.pppd.socket, INTERFACE))
        for word in ("method Run", "type Spec", "error NoSuchJob"):
            self.assertIn(word, result.out)

    def test_call(self):
        spec = {"spec": {"level": "serial", "workload": "sum"}, "inputs": ["10"]}
        result = self.assert_ok(self.varlinkctl("call", "-j", self.pppd.socket, f"{INTERFACE}.Run", json.dumps(spec)))
        job = json.loads(result.out)["job"]
        result = self.assert_ok(self.varlinkctl("call", "-j", self.pppd.socket, f"{INTERFACE}.Wait", json.dumps({"job": job})))
        self.assertEqual(json.loads(result.out)["job"]["state"], "done")

    def test_call_more(self):
        for _ in range(2):
            self.pppd.wait(self.pppd.submit("serial", "sum", [1]))
        result = self.assert_ok(self.varlinkctl("call", "--more", "-j", self.pppd.socket, f"{INTERFACE}.List", '{"limit":2}'))
        self.assertEqual(result.out.count('"submitted_at"'), 2)

    def test_an_error_has_its_name(self):
        result = self.varlinkctl("call", self.pppd.socket, f"{INTERFACE}.Show", '{"job":123456}')
        self.assertNotEqual(result.status, 0)
        self.assertIn("NoSuchJob", result.out + result.err)

    def test_a_stranger(self):
        result = self.varlinkctl("info", self.pppd.socket, user="stranger")
        self.assertNotEqual(result.status, 0)
        self.assertIn("ermission denied", result.err)
