"""Processes: running commands to their end, and finding what is left of them.

The test process is a subreaper, so whatever its daemons leave behind becomes its child and is found.
"""

import ctypes
import os
import resource
import signal
import subprocess
import time

from . import settings

PR_SET_CHILD_SUBREAPER = 36
_managed = set()        # pids that a Popen object will wait for


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def clean_environment(**extra):
    """An environment that depends on nobody's shell: no proxy, no colours, one locale."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
        if name in os.environ:
            environment[name] = os.environ[name]
    environment.update({key: str(value) for key, value in extra.items()})
    return environment


def _about_leaks(path, environment):
    """To look for leaks takes two thirds of the time of a command that does little: of the thousands of pppctl,
    those of the files that are about pppctl itself are looked at."""
    if os.path.basename(path) != "pppctl" or settings.leaks_of_pppctl or "ASAN_OPTIONS" not in environment:
        return environment
    return {**environment, "ASAN_OPTIONS": environment["ASAN_OPTIONS"] + ":detect_leaks=0"}


class Result:
    """A command that has ended."""

    def __init__(self, args, status, stdout, stderr, seconds, peak_bytes):
        self.args, self.status, self.stdout, self.stderr = args, status, stdout, stderr
        self.seconds, self.peak_bytes = seconds, peak_bytes

    @property
    def out(self):
        return self.stdout.decode(errors="replace")

    @property
    def err(self):
        return self.stderr.decode(errors="replace")

    def __str__(self):
        return (f"$ {' '.join(_shorten(a, 300) for a in self.args)}\n"
                f"exit status {self.status}, {self.seconds:.3f} s\n"
                f"stdout: {_shorten(self.out)}\nstderr: {_shorten(self.err)}")


def _shorten(text, limit=3000):
    if len(text) <= limit:
        return text
    return f"{text[:limit // 2]} [… {len(text) - limit} characters …] {text[-limit // 2:]}"


class Process:
    """A started command whose output is kept in files, so that nobody has to read along. Its standard input is a
    file too; None: /dev/null."""

    def __init__(self, args, directory, input=b"", env=None, cwd=None, new_session=False):
        self.args = [str(a) for a in args]
        self.began = time.monotonic()
        self.stdout = _scratch(directory)
        self.stderr = _scratch(directory)
        if input is None:
            stdin = open(os.devnull, "rb")
        else:
            stdin = _scratch(directory)
            stdin.write(input)
            stdin.seek(0)
        self.popen = subprocess.Popen(self.args, stdin=stdin, stdout=self.stdout, stderr=self.stderr,
                                      env=_about_leaks(self.args[0], env or clean_environment()), cwd=cwd,
                                      start_new_session=new_session)
        stdin.close()
        _managed.add(self.popen.pid)

    @property
    def pid(self):
        return self.popen.pid

    def signal(self, number):
        """Nobody else reaps it, so the pid is its own; Popen.send_signal() would reap."""
        os.kill(self.pid, number)

    def descriptors(self):
        """What each of its open descriptors is, as of proc(5)."""
        directory = f"/proc/{self.pid}/fd"
        what = []
        for fd in os.listdir(directory):
            try:
                what.append(os.readlink(f"{directory}/{fd}"))
            except FileNotFoundError:           # closed meanwhile
                pass
        return what

    def so_far(self):
        return _contents(self.stdout)

    def errors_so_far(self):
        return _contents(self.stderr)

    def running(self):
        return self.popen.returncode is None and not ended(self.pid)

    def wait(self, timeout=60.0):
        """The Result; the process is killed (status None) if it does not end in time."""
        status, peak = self._reap(timeout)
        result = Result(self.args, status, self.so_far(), self.errors_so_far(),
                        time.monotonic() - self.began, peak)
        self.stdout.close()
        self.stderr.close()
        return result

    def end(self):
        """By force, if it still runs."""
        if self.popen.returncode is None:
            self.signal(signal.SIGKILL)
            self.wait()

    def _reap(self, timeout):
        late = not _wait_ended(self.pid, timeout)
        if late:
            os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        _managed.discard(self.pid)
        return None if late else self.popen.returncode, usage.ru_maxrss * 1024


def _scratch(directory):
    fd = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
    return os.fdopen(fd, "w+b")


def _contents(file):
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def _wait_ended(pid, timeout):
    import select
    pidfd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(timeout * 1000))
    finally:
        os.close(pidfd)


def ended(pid):
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run(args, directory, timeout=60.0, **options):
    process = Process(args, directory, **options)
    try:
        return process.wait(timeout)
    except BaseException:               # the test's own time is up
        process.end()
        raise


def children():
    """The pids of this process's children that are alive, all threads' together."""
    pids = []
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children") as file:
                pids += [int(word) for word in file.read().split()]
        except FileNotFoundError:               # a thread that has just ended
            continue
    return pids


def children_of(pid):
    """Those that the main thread of another process has started and not reaped."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def reap_orphans():
    """Takes the exit status of processes that became ours when their parent died."""
    for pid in children():
        if pid not in _managed:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def stray():
    """Children nobody here waits for, as {pid: command line}."""
    reap_orphans()
    return {pid: command_line(pid) for pid in children() if pid not in _managed}


def adopt_popen(popen):
    _managed.add(popen.pid)


def forget_popen(popen):
    _managed.discard(popen.pid)


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def status_field(pid, field):
    """A number of /proc/PID/status: VmHWM in bytes, Threads."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                words = line.split()
                return int(words[1]) * (1024 if words[-1] == "kB" else 1)
    raise KeyError(field)


def alive(pid):
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill_while_there_is_progress(find, progress, most):
    """Kills the processes that `find` gives, `most` of them: two at a time, and no more before `progress`, a number of
    tasks, has changed, since ten deaths for nothing end a job. Until that is None. Returns how many it has killed."""
    killed, seen, last = 0, set(), -1
    while killed < most and (now := progress()) is not None:
        if now == last:
            continue
        for pid in list(find() - seen)[:min(2, most - killed)]:
            seen.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed, last = killed + 1, now
    return killed


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def program(name):
    return os.path.join(settings.build, name)
