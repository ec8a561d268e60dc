"""The package under test: what it is called, and putting it in and out, offline."""

import os
import unittest

from commands import must, run

DEB, RPM = "/payload/package.deb", "/payload/package.rpm"
NEXT_DEB, NEXT_RPM = "/payload/next.deb", "/payload/next.rpm"       # the same, of a higher version
IS_DEB = os.path.exists(DEB)
MEMBER_OF = "pppctl"
INSTALL_SECONDS = 900.0         # an emulated machine on a busy one takes minutes

deb_only = unittest.skipUnless(IS_DEB, "Debian's packages only")


def name():
    return must("dpkg-deb", "--field", DEB, "Package").out.strip() if IS_DEB else \
        must("rpm", "--query", "--package", "--queryformat=%{NAME}", RPM).out


def _deb(path):
    """As a person does, who takes more time for it than dpkg alone."""
    return must("apt-get", "-q", "-y", "-oDpkg::Use-Pty=0", "install", "--no-install-recommends", path, timeout=INSTALL_SECONDS)


def _dpkg(*args):
    return must("dpkg", *args, timeout=INSTALL_SECONDS)


def _rpm(*args):
    """The database of rpm knows none of Debian's packages; what Fedora's systemd does after files came or went is ours."""
    result = must("rpm", "--nodeps", *args, timeout=INSTALL_SECONDS)
    must("systemctl", "daemon-reload", timeout=60.0)
    return result


def install():
    """Also the user `member` gets the group that the package made."""
    result = _deb(DEB) if IS_DEB else _rpm("--upgrade", RPM)
    must("usermod", "--append", "--groups", MEMBER_OF, "member")
    return result


def install_again():
    """After it was removed."""
    return _dpkg("--install", DEB) if IS_DEB else _rpm("--upgrade", RPM)


def upgrade():
    return _deb(NEXT_DEB) if IS_DEB else _rpm("--upgrade", NEXT_RPM)


def version():
    return must("dpkg-query", "--show", "--showformat=${Version}", name()).out if IS_DEB else \
        must("rpm", "--query", "--queryformat=%{VERSION}-%{RELEASE}", name()).out


def remove():
    return _dpkg("--remove", name()) if IS_DEB else _rpm("--erase", name())


def purge():
    return _dpkg("--purge", name())


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
