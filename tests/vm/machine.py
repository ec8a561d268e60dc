"""One virtual machine: QEMU under software emulation, a disk of its own, and a line on which the guest reports.

The guest gets a copy of a base root as /dev/vda and, read-only, what is to be tested as a file system
labelled "payload". It writes JSON lines to a virtio-serial port, which end in a file here, and switches
itself off. There is no network, but there may be an Ethernet link to one other machine.
"""

import json
import os
import shlex
import shutil
import subprocess
import time

PORT = "tests.report"
MEMORY = "2048"
# QEMU 7.2 now and then corrupts the flags in an emulated cmpxchg16b, and Linux, which allocates memory with
# it where it is there, dies of a double fault. Page tables of five levels only take longer to walk. "Fast" string
# moves are emulated a byte at a time: without them Linux and glibc take others, and it all takes a fifth less.
CPU = "max,-cx16,-la57,-erms,-fsrm"
POLL_SECONDS = 0.2          # a file can't be waited for


class MachineError(Exception):
    """The machine can't be set up or started."""


class Machine:
    """Lives in a directory of its own: disk.img, payload.img, report, console.log; link, its end of the link."""

    def __init__(self, root, directory, accel="tcg", peer=None):
        """`peer`: the directory of the machine at the other end of the link."""
        self.root, self.directory, self.accel, self.peer = root, directory, accel, peer
        self.disk, self.payload = self.path("disk.img"), self.path("payload.img")
        self.report, self.console = self.path("report"), self.path("console.log")
        self.process = None

    def path(self, name):
        return os.path.join(self.directory, name)

    def set_up(self, payload):
        """`payload`: a directory that the guest finds as /payload."""
        run(["cp", "--sparse=always", "--reflink=auto", self.root.disk, self.disk])
        run(["mke2fs", "-q", "-t", "ext4", "-L", "payload", "-d", payload, self.payload, "64M"])
        with open(self.report, "wb"):
            pass

    def command(self, tests=True):
        """To start QEMU: the tests, or a login on the console."""
        # Nobody logs in during tests, and a session takes ten seconds of emulation.
        mode = "systemd.unit=graphical.target" if tests else "systemd.unit=multi-user.target"
        mode += " systemd.mask=serial-getty@ttyS0.service systemd.mask=getty@tty1.service" if tests else ""
        accel = "tcg,thread=multi" if self.accel == "tcg" else self.accel
        return ["qemu-system-x86_64", "-accel", accel, "-cpu", CPU, "-smp", "2", "-m", MEMORY, "-nographic",
                "-no-reboot", "-nic", "none", "-kernel", self.root.kernel, "-initrd", self.root.initrd,
                "-append", f"root=/dev/vda rw console=ttyS0 quiet 8250.nr_uarts=1 panic=-1 mitigations=off {mode}",
                # Nobody reads this disk after the machine's end, so nothing waits for the host's.
                "-drive", f"file={self.disk},format=raw,if=virtio,cache=unsafe",
                "-drive", f"file={self.payload},format=raw,if=virtio,readonly=on",
                "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                "-chardev", f"file,id=report,path={self.report},append=on",
                "-device", f"virtserialport,chardev=report,name={PORT}", *self.link()]

    def link(self):
        """A frame is a datagram from one Unix socket to the other. Their paths may not be long: see run()."""
        if not self.peer:
            return []
        mac = f"52:54:00:00:00:{int(self.directory > self.peer):02x}"
        peer = os.path.join(os.path.relpath(self.peer, self.directory), "link")
        return ["-netdev", f"dgram,id=link,local.type=unix,local.path=link,remote.type=unix,remote.path={peer}",
                "-device", f"virtio-net-pci,netdev=link,mac={mac},romfile="]

    def run(self, seconds):
        """Boots, and yields what the guest reports until it is off, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=console,
                                            stderr=subprocess.STDOUT, cwd=self.directory)
        try:
            with open(self.report, "rb") as report:
                yield from self._follow(report, deadline)
        finally:
            self.kill()

    def _follow(self, report, deadline):
        rest = b""
        while True:
            ended = self.process.poll() is not None
            *lines, rest = (rest + report.read()).split(b"\n")
            yield from map(json.loads, lines)
            if ended or time.monotonic() > deadline:
                return
            time.sleep(POLL_SECONDS)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def console_text(self):
        with open(self.console, "rb") as file:
            return file.read().decode(errors="replace")

    def by_hand(self):
        """The command that boots it with a root shell on the console."""
        return f"cd {shlex.quote(self.directory)} && {shlex.join(self.command(tests=False))}"


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise MachineError(f"cannot set up the machine: {shlex.join(command)} ended with {done.returncode}: "
                           f"{done.stdout.decode(errors='replace').strip()}; see to the space on the disk")


def missing_programs():
    """(program, Debian package) of what has to be installed first."""
    wanted = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "qemu-system-x86_64": "qemu-system-x86",
              "dpkg-deb": "dpkg", "openssl": "openssl"}
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return [(program, package) for program, package in wanted.items() if not shutil.which(program, path=path)]
