"""pppd.service as a test sees it: its state in systemd, its cgroup, its processes, and its socket."""

import os
import pwd
import signal

from commands import Process, must, run
from harness import results, varlink
from harness.poll import wait_until

INTERFACE = "io.pppctl.Jobs"
CGROUPS = "/sys/fs/cgroup"
UNITS = ("pppd.service", "pppd.socket")
START_SECONDS = 60.0
RECENT = 32


class Daemon:
    """The system's instance, or that of a user."""

    def __init__(self, user=None):
        self.user = user
        runtime, above = "/run", ""
        if user:
            uid = pwd.getpwnam(user).pw_uid
            runtime, above = f"/run/user/{uid}", f"/user.slice/user-{uid}.slice/user@{uid}.service"
        self.socket = f"{runtime}/pppctl/{INTERFACE}"
        self.path = f"{above}/pppd.slice/pppd.service"

    def systemctl(self, *args, check=True, **options):
        command = ["systemctl", *(["--user"] if self.user else []), *args]
        if self.user:
            options.update(user=self.user, login=True)
        return (must if check else run)(*command, **options)

    def get(self, name, unit="pppd.service"):
        return self.systemctl("show", "--property", name, "--value", unit).out.strip()

    # Life

    def start(self):
        self.systemctl("start", "pppd.service", timeout=START_SECONDS)

    def stop(self):
        """The socket stays and would start it again."""
        self.systemctl("stop", "pppd.service", timeout=START_SECONDS)

    def restart(self):
        self.systemctl("restart", "pppd.service", timeout=START_SECONDS)

    def reset(self):
        """Running, with its socket: asks systemd only if it isn't, since that takes long under emulation."""
        if not self.pid or not os.path.exists(self.socket):
            self.systemctl("reset-failed", *UNITS, check=False)
            self.systemctl("start", *reversed(UNITS), timeout=START_SECONDS)

    def is_active(self):
        return self.get("ActiveState") == "active"

    @property
    def pid(self):
        """The supervisor, by its leaf of the unit's cgroup; 0 while there is none."""
        pids = read_pids(os.path.join(self.group, "supervisor", "cgroup.procs"))
        return pids[0] if pids else 0

    def await_new_pid(self, old, seconds=60.0):
        """The supervisor that systemd started in the place of `old`, once it answers."""
        pid = wait_until(lambda: self.pid not in (0, old) and self.pid, lambda: f"a new supervisor: {self.status()}",
                         seconds, step=0.05)
        with self.connect() as client:
            client.call("org.varlink.service.GetInfo", timeout=seconds)
        return pid

    def status(self):
        return self.systemctl("status", "--no-pager", "--lines=20", "pppd.service", check=False).out

    # Where its processes are

    @property
    def group(self):
        """The directory of the unit's cgroup, while there is one."""
        return CGROUPS + self.path

    def job_group(self, job):
        return os.path.join(self.group, f"job-{job}")

    def job_groups(self):
        """Names of the groups of jobs that are there."""
        return [name for name in os.listdir(self.group) if name.startswith("job-")]

    def runner(self, job):
        """The runner's process id, once there is one: what the supervisor forked has become the runner."""
        path = os.path.join(self.job_group(job), "runner", "cgroup.procs")
        return wait_until(lambda: [pid for pid in read_pids(path) if comm_of(pid) == "pppd-runner"],
                          lambda: f"a runner in {path}: {self.status()}", 20.0)[0]

    # Jobs

    def connect(self):
        return varlink.Client(self.socket)

    def call(self, method, parameters=None, timeout=60.0):
        with self.connect() as client:
            return client.call(f"{INTERFACE}.{method}", parameters or {}, timeout=timeout)

    def submit(self, level, workload, inputs, **options):
        """Returns the job's number; `options` are members of the spec."""
        spec = {"level": level, "workload": workload, **options}
        return self.call("Run", {"spec": spec, "inputs": [str(i) for i in inputs]})["job"]

    def show(self, job):
        return self.call("Show", {"job": job})["job"]

    def wait(self, job, timeout=90.0):
        return self.call("Wait", {"job": job}, timeout=timeout)["job"]

    def rows(self, job):
        """Every record of a job, by index; None for a task that has none."""
        with self.connect() as client:
            reply = client.call(f"{INTERFACE}.Results", {"job": job})
            fd = client.take_fd(reply["results_fd"])
            client.take_fd(reply["inputs_fd"], close=True)
        return results.read(fd)

    def recorded(self, job, n):
        """The rows, once `n` of them are there."""
        def enough():
            rows = self.rows(job)
            return rows if sum(row is not None for row in rows) >= n else None
        return wait_until(enough, f"{n} records of job {job}", 60.0, step=0.05)

    def cancel_all(self):
        """Of those a test can have begun: there may be thousands."""
        with self.connect() as client:
            try:
                replies = client.stream(f"{INTERFACE}.List", {"limit": RECENT})
            except varlink.Error as error:
                if not error.name.endswith(".NoSuchJob"):       # a stream of none
                    raise
                replies = []
            for job in (reply["job"] for reply in replies if "job" in reply):
                if job["state"] in ("queued", "running"):
                    client.call(f"{INTERFACE}.Cancel", {"job": job["job"]}, timeout=60.0)

    # pppctl

    def pppctl_start(self, *args, user=None):
        which = "--user" if self.user else "--system"
        return Process("pppctl", which, *args, user=user or self.user or "root", login=bool(self.user))

    def pppctl(self, *args, user=None, timeout=90.0):
        return self.pppctl_start(*args, user=user).wait(timeout)


def read_pids(path):
    try:
        with open(path) as file:
            return [int(line) for line in file]
    except OSError:
        return []


def processes():
    """{pid: command line} of all processes of pppd that live."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(words[0]).startswith(b"pppd-"):
            found[int(name)] = b" ".join(words).decode(errors="replace").strip()
    return found


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def waits_for_reply(pid):
    """Whether a pppctl has sent what it had to say: it has its socket, and sleeps."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return state == "S" and any(link.startswith("socket:") for link in links)


def group_of(pid):
    """Where a process is in the cgroup tree."""
    with open(f"/proc/{pid}/cgroup") as file:
        return next(line.rstrip("\n")[3:] for line in file if line.startswith("0::"))


def comm_of(pid):
    """The name of a process's program; None: there is no such process."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().rstrip("\n")
    except OSError:
        return None


def kill(pid):
    os.kill(pid, signal.SIGKILL)
