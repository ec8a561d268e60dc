"""The package under test: what it is called, and putting it in and out, offline."""

import os
import unittest

from commands import must, run

DEB, RPM = "/payload/package.deb", "/payload/package.rpm"
IS_DEB = os.path.exists(DEB)
MEMBER_OF = "pppctl"

deb_only = unittest.skipUnless(IS_DEB, "Debian's packages only")


def name():
    return must("dpkg-deb", "--field", DEB, "Package").out.strip() if IS_DEB else \
        must("rpm", "--query", "--package", "--queryformat=%{NAME}", RPM).out


def _apt(*args):
    return must("apt-get", "-q", "-y", "-oDpkg::Use-Pty=0", *args, timeout=180.0)


def _rpm(*args):
    """The database of rpm knows none of Debian's packages; what Fedora's systemd does after files came or went is ours."""
    result = must("rpm", "--nodeps", *args, timeout=180.0)
    must("systemctl", "daemon-reload", timeout=60.0)
    return result


def install(again=False):
    """Also the user `member` gets the group that the package made."""
    if IS_DEB:
        result = _apt("install", "--no-install-recommends", *(["--reinstall"] if again else []), DEB)
    else:
        result = _rpm("--upgrade", *(["--force"] if again else []), RPM)
    must("usermod", "--append", "--groups", MEMBER_OF, "member")
    return result


def remove():
    return _apt("remove", name()) if IS_DEB else _rpm("--erase", name())


def purge():
    return _apt("purge", name())


def is_installed():
    """By what it brings: asked before each test, and dpkg takes its time under emulation."""
    return os.path.exists("/usr/bin/pppctl")


def files():
    command = ["dpkg", "--listfiles"] if IS_DEB else ["rpm", "--query", "--list"]
    return must(*command, name()).out.splitlines()


def verify():
    """What differs from what was installed: nothing, so an empty text."""
    result = run(*(["dpkg"] if IS_DEB else ["rpm", "--nodeps"]), "--verify", name())
    return result.out + result.err
