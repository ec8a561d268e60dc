"""The real supervisor on a socket and a state directory of its own, and pppctl against it."""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import threading

from . import process, varlink
from .poll import wait_until

PPPCTL = "io.pppctl.Jobs"
READY_SECONDS = 60.0
STOP_SECONDS = 60.0


class StartFailure(Exception):
    """The daemon ended, or said nothing, before it was ready."""

    def __init__(self, status, log):
        super().__init__(f"pppd-supervisor is not ready (exit status {status}); its log:\n{log}")
        self.status, self.log = status, log


class Notifications:
    """The service manager's side of sd_notify(3): reads all, since who sends to a full queue waits."""

    def __init__(self, path):
        self.path, self.lines = path, []
        if os.path.exists(path):
            os.unlink(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.ready_fd = os.eventfd(0, os.EFD_CLOEXEC)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while message := self.socket.recv(65536):
            self.lines += message.decode(errors="replace").split("\n")
            if "READY=1" in self.lines:
                os.eventfd_write(self.ready_fd, 1)

    def close(self):
        """An empty message ends the reading."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", self.path)
        self.thread.join()
        self.socket.close()
        os.close(self.ready_fd)
        os.unlink(self.path)


class Daemon:
    """One supervisor. `wrap` is a command to put before it (setpriv, the seccomp filter); one that
    does not listen is handed its socket by that command.
    """

    def __init__(self, directory, name="pppd", socket_path=None, state=None, wrap=(), env=None, args=(), listens=True,
                 inherits=()):
        self.directory = directory
        self.socket = socket_path or os.path.join(directory, f"{name}.sock")
        self.state = state or os.path.join(directory, f"{name}.state")
        self.log_path = os.path.join(directory, f"{name}.log")
        self.notify_path = os.path.join(directory, f"{name}.notify")
        self.wrap, self.env, self.inherits = list(wrap), env or {}, inherits
        self.args = ["--state", self.state, *args] + (["--socket", self.socket] if listens else [])
        self.popen = None
        self.groups = set()             # cgroups that were ours, for the leak check
        self.history = []               # what pppctl did, for the report of a failure
        self.notify = None              # what it told by sd_notify(3)

    # Life

    def start(self):
        self.notify = Notifications(self.notify_path)
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                [*self.wrap, process.program("pppd-supervisor"), *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=self.inherits,
                env=process.clean_environment(NOTIFY_SOCKET=self.notify_path, **self.env))
        process.adopt_popen(self.popen)
        self._await_ready()
        self._note_group()
        return self

    def _await_ready(self):
        pidfd = os.pidfd_open(self.popen.pid)
        try:
            ready = select.select([self.notify.ready_fd, pidfd], [], [], READY_SECONDS)[0]
        finally:
            os.close(pidfd)
        if self.notify.ready_fd not in ready:
            self._fail_start()

    def _fail_start(self):
        if self.popen.poll() is None:
            self.popen.kill()
        status = self.popen.wait()
        self._gone()
        raise StartFailure(status, self.log())

    def _note_group(self):
        """The group jobs get theirs in: the daemon has it open. None where none could be made."""
        self.group = find_base_group(self.pid)
        if self.group:
            self.groups.add(self.group)

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def _gone(self):
        process.forget_popen(self.popen)
        self.notify.close()

    def terminate(self, timeout=STOP_SECONDS):
        """SIGTERM; returns the exit status."""
        self.popen.terminate()
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"pppd-supervisor did not end within {timeout} s of SIGTERM\n{self.log()}")
        finally:
            self._gone()
        return status

    def kill(self):
        self.popen.kill()
        self.popen.wait()
        self._gone()

    def stop(self):
        """Cancels what runs, ends the daemon, and asserts that nothing of it is left."""
        if self.running():
            self.cancel_all()
            status = self.terminate()
            assert status == 0, f"pppd-supervisor ended with {status} on SIGTERM\n{self.log()}"
        left = self.leftovers()
        self.clean_up()
        assert not left, f"left behind by pppd-supervisor: {left}\n{self.log()}"

    def cancel_all(self):
        for job in self.unfinished():
            with self.connect() as client:
                client.call(f"{PPPCTL}.Cancel", {"job": job}, timeout=STOP_SECONDS)

    def unfinished(self):
        with self.connect() as client:
            replies = client.stream(f"{PPPCTL}.List", {})
        jobs = [reply["job"] for reply in replies if "job" in reply]    # without one: there is none
        return [job["job"] for job in jobs if job["state"] in ("queued", "running", "paused")]

    # What it leaves

    def leftovers(self):
        groups = [group for group in self.groups if os.path.isdir(group)]
        return groups + [f"{pid}: {line}" for pid, line in process.stray().items() if self.state in line or "pppd-" in line]

    def clean_up(self):
        """By force: for a test that failed, or that killed its daemon on purpose."""
        for group in self.groups:
            remove_group(group)
        for pid, line in process.stray().items():
            if "pppd-" in line:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    # Using it

    def pppctl_args(self, *args):
        return [process.program("pppctl"), "--socket", self.socket, *map(str, args)]

    def pppctl(self, *args, timeout=60.0, **options):
        """Runs pppctl to its end and returns the Result."""
        result = process.run(self.pppctl_args(*args), self.directory, timeout, **options)
        self.history.append(result)
        return result

    def pppctl_start(self, *args, **options):
        return process.Process(self.pppctl_args(*args), self.directory, **options)

    def connect(self):
        return varlink.Client(self.socket)

    def call(self, method, parameters=None, **options):
        with self.connect() as client:
            return client.call(f"{PPPCTL}.{method}", parameters or {}, **options)

    def submit(self, level, workload, inputs, **options):
        """Runs a job over the socket and returns its number; `options` are members of the spec."""
        spec = {"level": level, "workload": workload, **options}
        return self.call("Run", {"spec": spec, "inputs": [str(i) for i in inputs]})["job"]

    def show(self, job):
        return self.call("Show", {"job": job})["job"]

    def wait(self, job, timeout=60.0):
        return self.call("Wait", {"job": job}, timeout=timeout)["job"]

    def cancel(self, job):
        return self.call("Cancel", {"job": job})["job"]

    def rows(self, job):
        """Every record of a job, by index: a list of Row, None for a task that has none."""
        from . import results
        with self.connect() as client:
            reply = client.call(f"{PPPCTL}.Results", {"job": job})
            fd = client.take_fd(reply["results_fd"])
            client.take_fd(reply["inputs_fd"], close=True)
        return results.read(fd)

    # Where its processes are

    def job_group(self, job):
        return os.path.join(self.group, f"job-{job}")

    def runner(self, job):
        """The runner's pid, once there is one."""
        return wait_until(lambda: self.find_runner(job), f"a runner of job {job}")

    def find_runner(self, job):
        """Its pid; None while there is none."""
        wanted = re.compile(rf"pppd-runner\s+{job}(\s|$)")
        for pid in [self.pid, *process.children()]:
            for child in [pid, *descendants(pid)]:
                if wanted.search(process.command_line(child)) and not is_worker(child):
                    return child
        return None

    def workers(self, job):
        """{N: [pids]} of the job's worker-N groups, or of the runner's children where there is no group."""
        if self.group is None:
            runner = self.find_runner(job)
            return {i: [pid] for i, pid in enumerate(descendants(runner) if runner else [])}
        group = self.job_group(job)
        try:
            names = sorted(os.listdir(group))
        except FileNotFoundError:
            names = []
        return {int(name[7:]): read_pids(os.path.join(group, name)) for name in names if name.startswith("worker-")}


def is_worker(pid):
    """A worker at the processes level is a child of a runner with the same command line."""
    return "pppd-runner" in process.command_line(parent(pid))


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def descendants(pid):
    found, queue = [], [pid]
    while queue:
        at = queue.pop()
        try:
            for thread in os.listdir(f"/proc/{at}/task"):
                with open(f"/proc/{at}/task/{thread}/children") as file:
                    below = [int(word) for word in file.read().split()]
                found += below
                queue += below
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def read_pids(group):
    try:
        with open(os.path.join(group, "cgroup.procs")) as file:
            return [int(line) for line in file]
    except (FileNotFoundError, OSError):
        return []


def find_base_group(pid):
    names = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            continue
    mount = cgroup_mount()
    return next((name for name in names if mount and name.startswith(mount)
                 and os.path.basename(name).startswith("pppctl-")), None)


def cgroup_mount():
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            if rest.split()[0] == "cgroup2":
                return fields.split()[4]
    return None


def populated(group):
    try:
        with open(os.path.join(group, "cgroup.events")) as file:
            return "populated 1" in file.read()
    except FileNotFoundError:
        return False


def remove_group(group):
    """Kills what is in a group and removes it with all below, leaves first."""
    if not os.path.isdir(group):
        return
    try:
        with open(os.path.join(group, "cgroup.kill"), "w") as file:
            file.write("1")
    except FileNotFoundError:
        pass
    wait_until(lambda: not populated(group), f"{group} empty")
    for directory, _, _ in os.walk(group, topdown=False):
        os.rmdir(directory)


def parse_json_lines(text):
    """The NDJSON of `pppctl run --json`: (rows, summary)."""
    objects = [json.loads(line) for line in text.splitlines() if line.strip()]
    summaries = [o for o in objects if o.get("schema") == "io.pppctl.summary"]
    assert len(summaries) == 1 and objects[-1] is summaries[0], f"the last object is no summary: {text[-500:]}"
    return objects[:-1], summaries[0]


def remove_tree(path):
    shutil.rmtree(path, ignore_errors=True)
