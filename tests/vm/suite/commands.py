"""Running commands in the guest, as root or as one of its users."""

import os
import pwd
import shlex
import signal
import subprocess
import tempfile

from harness.poll import wait_until

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
               "TERM": "dumb", "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_PAGER": "", "NO_COLOR": "1"}


class Result:
    def __init__(self, args, user, status, out, err):
        self.args, self.user, self.status, self.out, self.err = args, user, status, out, err

    def __str__(self):
        return f"{self.user}# {shlex.join(self.args)}\nexit status {self.status}\n{self.out}{self.err}"


def environment(user, login=False):
    """`login`: with what a session of that user has, so that its systemd is found."""
    entry = pwd.getpwnam(user)
    env = {**ENVIRONMENT, "HOME": entry.pw_dir, "USER": user, "LOGNAME": user}
    if login:
        env["XDG_RUNTIME_DIR"] = f"/run/user/{entry.pw_uid}"
        env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path=/run/user/{entry.pw_uid}/bus"
    return env


def identity(user):
    """Popen's arguments that make a process `user`'s, with the groups it has now."""
    if user == "root":
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


class Process:
    """A command that runs beside the test; wait() gives its Result."""

    def __init__(self, *args, user="root", login=False, input=None):
        self.args, self.user = [str(arg) for arg in args], user
        self.out, self.err, source = (tempfile.TemporaryFile() for _ in range(3))
        source.write((input or "").encode())
        source.seek(0)
        self.popen = subprocess.Popen(self.args, stdin=source, stdout=self.out, stderr=self.err, cwd="/",
                                      env=environment(user, login), **identity(user))
        source.close()

    @property
    def pid(self):
        return self.popen.pid

    def ended(self):
        return self.popen.poll() is not None

    def output(self):
        """What came so far. With a position of its own: the child's is shared."""
        return os.pread(self.out.fileno(), 1 << 24, 0).decode(errors="replace")

    def wait(self, timeout=60.0):
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {timeout:g} s: {shlex.join(self.args)}\n{self._result(None)}")
        result = self._result(status)
        self.close()
        return result

    def _result(self, status):
        return Result(self.args, self.user, status, self.output(),
                      os.pread(self.err.fileno(), 1 << 24, 0).decode(errors="replace"))

    def kill(self):
        if not self.ended():
            self.popen.send_signal(signal.SIGKILL)
            self.popen.wait()

    def close(self):
        self.out.close()
        self.err.close()


def run(*args, timeout=60.0, **options):
    return Process(*args, **options).wait(timeout)


def must(*args, **options):
    """A command that the test needs, and is not about."""
    result = run(*args, **options)
    if result.status != 0:
        raise AssertionError(f"failed:\n{result}")
    return result


def systemctl(*args, **options):
    return must("systemctl", *args, **options)


def linger(user):
    """Starts the user's own systemd; returns its runtime directory."""
    runtime = f"/run/user/{pwd.getpwnam(user).pw_uid}"
    must("loginctl", "enable-linger", user)
    wait_until(lambda: os.path.exists(f"{runtime}/bus"), f"the systemd of {user}", 60.0, step=0.1)
    return runtime


def linger_no_more(user):
    """When this returns it has left: who asks for it again meets the new one."""
    runtime = f"/run/user/{pwd.getpwnam(user).pw_uid}"
    must("loginctl", "disable-linger", user)
    wait_until(lambda: not os.path.exists(runtime), f"the end of the systemd of {user}", 60.0, step=0.1)
