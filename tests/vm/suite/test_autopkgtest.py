"""The tests that come with Debian's source package, as autopkgtest runs them on a machine of their own."""

import os
import tempfile

import package
from case import Case
from commands import must

TESTS = "/payload/autopkgtest"


@package.deb_only
class Autopkgtest(Case):
    def check(self, name):
        directory = tempfile.mkdtemp()
        must("env", f"AUTOPKGTEST_TMP={directory}", "sh", os.path.join(TESTS, name), timeout=110.0)

    def test_smoke(self):
        self.check("smoke")

    def test_full(self):
        self.check("full")
