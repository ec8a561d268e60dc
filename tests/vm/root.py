"""Base roots: a bootable Debian with all that the package depends on, but not the package itself; and
build roots, in which the package is built.

They are made by mmdebstrap from the apt sources of this machine. A base root is put into an ext4 image
without mounting anything (mke2fs -d), with its kernel beside it; a build root stays a tree. Both are kept
under a name that tells suite and package list, so that the next run needs no network.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile

import aptconf

IMAGE_SIZE = "3G"
# What the suite itself needs; ppp is there to see that the two get along, rpm to install what it made,
# redis-server for the level machines, openssl for its certificates. Not the smaller kernel for clouds: it
# comes without ppp_async.
PACKAGES = ("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "udev", "kmod", "passwd",
            "linux-image-amd64", "initramfs-tools", "python3", "procps", "ppp", "rpm", "redis-server",
            "openssl")
# What the initial file system has to bring: the disk, and what is on it. The rest comes from there.
INITIAL_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
BUILD_PACKAGES = ("build-essential", "fakeroot")
# Starts tests/vm/guest.py from the second disk, and switches off whatever happens.
UNIT = """\
[Unit]
Description=Tests of pppd
RequiresMountsFor=/payload
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -B /payload/guest.py
StandardOutput=journal+console
# The tests stop and start what they like; nothing of it is part of this.
KillMode=process
TimeoutStartSec=infinity
"""


NETWORK = "see to the network and to the apt sources of this machine, or name a mirror with --mirror"


class RootError(Exception):
    """A base root can't be had; the text says why and what to do."""


class Root:
    """One base root in the cache: its disk image, kernel and initial file system."""

    def __init__(self, directory):
        self.directory = directory
        self.disk = os.path.join(directory, "disk.img")
        self.kernel = os.path.join(directory, "vmlinuz")
        self.initrd = os.path.join(directory, "initrd.img")


def get(cache, suite, depends, mirror=None, say=print):
    """The base root of `suite` with `depends` (a Depends: line) installed; made if it isn't in `cache`."""
    root = Root(os.path.join(cache, f"{suite}-{_key(suite, depends)}"))
    with _locked(cache, suite):
        if not os.path.isdir(root.directory):
            say(f"making the base root of {suite} in {root.directory}")
            _make(root.directory, cache, suite, lambda temp: _fill(temp, suite, depends, mirror))
    return root


def build(cache, suite, source, directory, mirror=None, say=print):
    """The Debian package of the tree `source`, built in a root of that suite; its path, in `directory`."""
    depends = _build_depends(os.path.join(source, "debian", "control"))
    path = os.path.join(cache, f"build-{suite}-{_key(suite, depends)}")
    with _locked(cache, f"build-{suite}"):
        if not os.path.isdir(path):
            say(f"making the build root of {suite} in {path}")
            _make(path, cache, f"build-{suite}", lambda temp: _run(
                _mmdebstrap(suite, BUILD_PACKAGES, depends, os.path.join(temp, "tree"), mirror),
                f"make a build root of Debian {suite}", NETWORK))
        return _build_in(os.path.join(path, "tree"), suite, source, directory)


def _build_depends(control):
    """As a Depends: line. Without profiles, and so also for tests: apt's `satisfy` does not take them."""
    with open(control) as file:
        text = "".join(line for line in file if not line.startswith("#"))
    field = re.search(r"(?m)^Build-Depends:((?:.*\n)(?:[ \t].*\n)*)", text)[1]
    return " ".join(re.sub(r"<[^>]*>", "", field).split())


def _build_in(tree, suite, source, directory):
    work = os.path.join(tree, "build")
    if os.path.exists(work):
        shutil.rmtree(work)
    shutil.copytree(source, os.path.join(work, "source"), symlinks=True)
    # Its paths, its tools, and nothing of who runs this.
    _run(["env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root",
          "DEB_BUILD_OPTIONS=nocheck", "chroot", tree, "sh", "-c",
          f"cd /build/source && dpkg-buildpackage -us -uc -b -j{os.cpu_count()}"],
         f"build the package in a root of Debian {suite}", "see below")
    built = [path for path in glob.glob(os.path.join(work, "*.deb")) if "-dbgsym_" not in path]
    path = shutil.copy(built[0], os.path.join(directory, f"{suite}-" + os.path.basename(built[0])))
    shutil.rmtree(work)
    return path


def _key(suite, depends):
    with open(__file__) as file:
        text = "\n".join([suite, depends, file.read()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _locked(cache, name):
    """Two runs at once make one root."""
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, f"{name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_others(path, cache, name):
    """Roots of this name with another package list: nobody will ask for them again."""
    for other in glob.glob(os.path.join(cache, f"{name}-" + "[0-9a-f]" * 16)):
        if other != path:
            _remove_tree(other)


def _make(path, cache, name, fill):
    """The directory `path`, once `fill` has filled it; all of it, or none."""
    temp = tempfile.mkdtemp(prefix=f"{name}.", dir=cache)
    try:
        fill(temp)
        os.rename(temp, path)
    except BaseException:
        _remove_tree(temp)
        raise
    _forget_others(path, cache, name)


def _fill(temp, suite, depends, mirror):
    tree = os.path.join(temp, "tree")
    initial = ('mkdir -p "$1/etc/initramfs-tools/conf.d" && echo MODULES=list >"$1/etc/initramfs-tools/conf.d/list" && '
               f'printf "%s\\n" {" ".join(INITIAL_MODULES)} >"$1/etc/initramfs-tools/modules"')
    _run(_mmdebstrap(suite, PACKAGES, depends, tree, mirror, f"--essential-hook={initial}"),
         f"make a root of Debian {suite}", NETWORK)
    _configure(tree)
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        shutil.copy(glob.glob(os.path.join(tree, "boot", pattern))[0], os.path.join(temp, name))
    _run(["mke2fs", "-q", "-t", "ext4", "-d", tree, os.path.join(temp, "disk.img"), IMAGE_SIZE],
         "put the root into an image", "see to the space on the disk")
    _remove_tree(tree)


def _remove_tree(path):
    """Never across a mount that mmdebstrap left behind: that would be this machine's /dev."""
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4] for line in file]
    if any(point.startswith(os.path.abspath(path) + "/") for point in points):
        raise RootError(f"something is still mounted below {path}: unmount it and remove that directory")
    shutil.rmtree(path)


def _run(command, attempted, remedy):
    """A command whose output matters only if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace")[-4000:]
        raise RootError(f"cannot {attempted}: {shlex.join(command)} ended with {done.returncode}; {remedy}. "
                        f"It said:\n{output}")


def _mmdebstrap(suite, packages, depends, tree, mirror, *options):
    mirror = mirror or aptconf.own_mirror()
    # apt's `satisfy` reads a Depends: line as it is, alternatives and versions included.
    satisfy = ('APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -q -y --no-install-recommends '
               f'-oDPkg::Chroot-Directory="$1" satisfy {shlex.quote(depends)}')
    return ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--include=" + ",".join(packages), *options,
            *(f"--aptopt={line}" for line in aptconf.own_options()),
            *([f"--customize-hook={satisfy}"] if depends else []),
            suite, tree, *([mirror] if mirror else [])]


# The root's own configuration

def _files():
    return {
        "etc/hostname": "pppctl-vm\n",
        "etc/hosts": "127.0.0.1 localhost pppctl-vm\n",
        "etc/fstab": "/dev/vda / ext4 rw 0 1\nLABEL=payload /payload ext4 ro 0 0\n",
        "etc/systemd/system/pppctl-tests.service": UNIT,
        "etc/systemd/journald.conf.d/tests.conf": "[Journal]\nStorage=persistent\nRateLimitBurst=0\n",
        "etc/systemd/system/serial-getty@ttyS0.service.d/root.conf":
            "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --keep-baud 115200 %I vt220\n",
        # There is no network; what would look for one only takes time.
        "etc/apt/sources.list": "",
    }


# Timers would start in the middle of a test.
_MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
           "dpkg-db-backup.timer", "systemd-tmpfiles-clean.timer", "systemd-pstore.service",
           "redis-server.service")


# Each daemon-reload runs them all, and emulation makes that seconds. The first reads systemd.mask= of the command line.
_GENERATORS = ("systemd-debug-generator", "systemd-fstab-generator")


def _mask_generators(tree):
    for path in glob.glob(os.path.join(tree, "usr/lib/systemd/system-generators/*")):
        name = os.path.basename(path)
        if name not in _GENERATORS:
            _link("/dev/null", os.path.join(tree, "etc/systemd/system-generators", name))


def _configure(tree):
    for name, text in _files().items():
        path = os.path.join(tree, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
    os.makedirs(os.path.join(tree, "payload"), exist_ok=True)
    for path in glob.glob(os.path.join(tree, "etc/apt/sources.list.d/*")):
        os.unlink(path)
    for unit in _MASKED:
        _link("/dev/null", os.path.join(tree, "etc/systemd/system", unit))
    _mask_generators(tree)
    _link("../pppctl-tests.service", os.path.join(tree, "etc/systemd/system/graphical.target.wants/pppctl-tests.service"))
    _run(["chroot", tree, "useradd", "--create-home", "--shell", "/bin/bash", "member"], "make a user", "see above")
    _run(["chroot", tree, "useradd", "--create-home", "--shell", "/bin/bash", "stranger"], "make a user", "see above")
    _run(["chroot", tree, "passwd", "--delete", "root"], "open the console", "see above")


def _link(target, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)
