"""Jobs that run commands, as the daemon has them: who may run some, their files, and what nobody is told.

The runner is one of ours here, which tells what it was given: what it makes of commands is tested elsewhere.
"""

import contextlib
import glob
import grp
import json
import os
import shutil
import stat
import struct
import unittest

from harness.case import Case
from harness.daemon import PPPCTL, StartFailure
from harness.poll import wait_until
from harness.varlink import Error

MEMBER, STRANGER = 64021, 64022         # users of whom nobody else is
SECRET = "TOKEN=hunter2"
HEADER = struct.Struct("<8sIIIIQ")      # of <pppctl/tasks.h>
OUTPUT_HEAD = b"pppout\r\n" + bytes(8)

# Tells its descriptors and adds to the files of tasks; then fails, or with "stay" waits to be ended.
RUNNER = """#!/usr/bin/python3
import json, os, signal, sys
own = "/proc/self/fd"
fds = {int(n): os.readlink(f"{own}/{n}") for n in os.listdir(own) if os.path.exists(f"{own}/{n}")}
spec = json.loads(os.pread(3, 1 << 22, 0))["spec"]
found = None
if 9 in fds:
    found = os.pread(9, 100, 16).decode()
    os.pwrite(9, b"again" if found else b"first", 16 + len(found))
    os.pwrite(8, b"used", 4096)
if spec.get("command", {}).get("words") == ["leave"]:
    os.makedirs("/proc/self/fd/7/task-0/deep")
    if os.fork() == 0:
        with open("/proc/self/fd/7/task-0/deep/cgroup.procs", "w") as procs:
            procs.write("0")
        os.setsid()
        signal.pause()
    while not open("/proc/self/fd/7/task-0/deep/cgroup.procs").read():
        pass
with open(os.environ["PPPCTL_TEST_TOLD"], "a") as file:
    json.dump({"fds": fds, "found": found, "spec": spec}, file)
    file.write("\\n")
if os.path.exists(os.environ["PPPCTL_TEST_TOLD"] + ".stay"):
    signal.pause()
sys.exit(1)
"""


def command(**members):
    return {"words": ["true"], **members}


@contextlib.contextmanager
def being(uid, gid=None, groups=()):
    """The kernel vouches for who connects: being somebody else for that moment is enough."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid if gid is None else gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


class WithRunner(Case):
    with_daemon = False

    def begin(self, name, *lines, told=None, **options):
        """A daemon with our runner and this configuration."""
        runner = self.write(f"{name}-runner", RUNNER)
        os.chmod(runner, 0o755)
        self.told_path = told or self.path(f"{name}.told")
        config = self.write(f"{name}.conf", "".join(f"{line}\n" for line in lines))
        return self.fresh(name, args=["--config", config, "--runner", runner],
                          env={"PPPCTL_TEST_TOLD": self.told_path}, **options)

    def told(self, n=1):
        def read():
            if not os.path.exists(self.told_path):
                return None
            with open(self.told_path) as file:
                lines = file.readlines()
            return [json.loads(line) for line in lines] if len(lines) >= n and lines[-1].endswith("\n") else None
        return wait_until(read, f"{n} runners")

    def directory(self, daemon, job):
        return os.path.join(daemon.state, "jobs", str(job))


class Files(WithRunner):
    def test_what_a_runner_is_given(self):
        daemon = self.begin("given")
        job = daemon.submit("serial", "exec", ["a", "b", "c"], command=command(environment=[SECRET]))
        told = self.told()[0]
        directory = self.directory(daemon, job)
        self.assertEqual(told["fds"]["8"], f"{directory}/tasks")
        self.assertEqual(told["fds"]["9"], f"{directory}/task-output")
        self.assertEqual(told["spec"]["command"]["environment"], [SECRET])
        daemon.wait(job)
        for name in ("tasks", "task-output", "results", "inputs"):
            self.assertEqual(stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode), 0o600, name)

    def test_others_are_given_none(self):
        daemon = self.begin("others")
        job = daemon.submit("serial", "sum", ["1"])
        fds = self.told()[0]["fds"]
        self.assertIn("7", fds)
        self.assertNotIn("8", fds)
        self.assertNotIn("9", fds)
        self.assertEqual(sorted(os.listdir(self.directory(daemon, job))), ["inputs", "measures", "output", "results"])
        with daemon.connect() as client:
            self.assertEqual(set(client.call(f"{PPPCTL}.Results", {"job": job})), {"job", "results_fd", "inputs_fd"})

    def test_what_a_client_is_given(self):
        daemon = self.begin("client")
        job = daemon.submit("serial", "exec", ["a", "b", "c"], command=command())
        daemon.wait(job)
        with daemon.connect() as client:
            reply = client.call(f"{PPPCTL}.Results", {"job": job})
            members = ("results_fd", "inputs_fd", "tasks_fd", "output_fd")
            self.assertEqual([reply[name] for name in members], [0, 1, 2, 3])
            fds = [client.take_fd(i) for i in range(4)]
        try:
            tasks, output = fds[2:]
            magic, version, header_size, record_size, _, n_tasks = HEADER.unpack(os.pread(tasks, HEADER.size, 0))
            self.assertEqual((magic, version, header_size, record_size, n_tasks), (b"ppptsk\r\n", 1, 4096, 192, 3))
            self.assertEqual(os.pread(tasks, 8, 128), struct.pack("<Q", 16))
            self.assertEqual(os.fstat(tasks).st_size, 4096 + 3 * 192)
            self.assertEqual(os.pread(output, 16, 0), OUTPUT_HEAD)
            for fd in fds:
                with self.assertRaises(OSError):
                    os.pwrite(fd, b"x", 0)
        finally:
            for fd in fds:
                os.close(fd)

    def test_room_is_reserved(self):
        daemon = self.begin("room")
        job = daemon.submit("serial", "exec", range(1000), command=command())
        daemon.wait(job)
        taken = os.stat(f"{self.directory(daemon, job)}/tasks").st_blocks * 512
        self.assertGreaterEqual(taken, 4096 + 1000 * 192)

    def test_they_outlive_a_supervisor(self):
        daemon = self.begin("outlive")
        stay = self.write("outlive.told.stay", "")
        job = daemon.submit("serial", "exec", ["a"], command=command(environment=[SECRET]))
        self.assertEqual(self.told()[0]["found"], "")
        self.assertEqual(daemon.terminate(), 0)
        os.unlink(stay)
        daemon.start()
        told = self.told(2)[1]
        self.assertEqual(told["found"], "first")
        self.assertEqual(told["spec"]["command"]["environment"], [SECRET])
        daemon.wait(job)
        with open(f"{self.directory(daemon, job)}/task-output", "rb") as file:
            self.assertEqual(file.read(), OUTPUT_HEAD + b"firstagain")
        with open(f"{self.directory(daemon, job)}/tasks", "rb") as file:
            self.assertEqual(file.read()[4096:4100], b"used")

    def test_groups_of_tasks_that_are_left(self):
        """They are gone with the job, and so is what is in them."""
        daemon = self.begin("left")
        if not daemon.group:
            self.skipTest("jobs have no cgroups here")
        job = daemon.submit("serial", "exec", ["a"], command=command(words=["leave"]))
        self.told()
        self.assertEqual(daemon.wait(job)["state"], "failed")
        self.assertFalse(os.path.exists(daemon.job_group(job)))

    def test_a_file_that_is_gone(self):
        daemon = self.begin("gone")
        self.write("gone.told.stay", "")
        job = daemon.submit("serial", "exec", ["a"], command=command())
        self.told()
        self.assertEqual(daemon.terminate(), 0)
        os.unlink(f"{self.directory(daemon, job)}/task-output")
        daemon.start()
        job = daemon.show(job)
        self.assertEqual(job["state"], "failed")
        self.assertRegex(job["reason"], "No such file")


class Secrets(WithRunner):
    def test_no_reply_has_the_environment(self):
        daemon = self.begin("secrets")
        self.write("secrets.told.stay", "")
        job = daemon.submit("serial", "exec", ["a"], command=command(environment=[SECRET], umask=0o27))
        self.told()

        def check(what, reply):
            self.assertEqual(reply["spec"]["command"], {"words": ["true"], "umask": 0o27}, what)
            self.assertNotIn("hunter2", json.dumps(reply), what)

        for _ in range(2):              # while it runs, and after it
            check("Show", daemon.show(job))
            with daemon.connect() as client:
                check("List", client.stream(f"{PPPCTL}.List", {})[0]["job"])
                reply = client.call(f"{PPPCTL}.Results", {"job": job})
                for i in range(4):
                    client.take_fd(i, close=True)
                check("Results", reply["job"])
            for args in (["show", job], ["show", job, "--json"], ["list", "--json"]):
                result = daemon.pppctl(*args)
                self.assertNotIn("hunter2", result.out + result.err, args)
            check("Cancel", daemon.cancel(job))
        check("Wait", daemon.wait(job))
        self.assertNotIn("hunter2", daemon.log())

    def test_only_the_daemons_user_may_read_it(self):
        daemon = self.begin("modes")
        daemon.wait(daemon.submit("serial", "exec", ["a"], command=command(environment=[SECRET])))
        self.assertEqual(stat.S_IMODE(os.stat(daemon.state).st_mode) & 0o077, 0)
        for path in glob.glob(f"{daemon.state}/**", recursive=True):
            self.assertEqual(stat.S_IMODE(os.lstat(path).st_mode) & 0o077, 0, path)


class Access(WithRunner):
    def connect(self, daemon, uid, gid=None, groups=()):
        os.chmod(daemon.socket, 0o666)
        with being(uid, gid, groups):
            client = daemon.connect()
        self.addCleanup(client.close)
        return client

    def run_on(self, client, workload="exec"):
        spec = {"level": "serial", "workload": workload, **({"command": command()} if workload == "exec" else {})}
        return client.call(f"{PPPCTL}.Run", {"spec": spec, "inputs": ["1"]})["job"]

    def assert_refused(self, client, why):
        with self.assertRaises(Error) as caught:
            self.run_on(client)
        text = str(caught.exception)
        self.assertIn("BadRequest", caught.exception.name)
        for part in ("spec.workload", why, "[exec] allow = GROUP", "systemctl --user start pppd"):
            self.assertIn(part, text)

    def test_its_own_user(self):
        daemon = self.begin("own")
        self.assertGreaterEqual(daemon.submit("serial", "exec", ["1"], command=command()), 0)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to be several users")
    def test_others_by_default(self):
        daemon = self.begin("default")
        client = self.connect(daemon, STRANGER, groups=[grp.getgrgid(0).gr_gid])
        self.assert_refused(client, "runs no commands of its users")
        self.run_on(client, "sum")

    @unittest.skipUnless(os.geteuid() == 0, "needs root to be several users")
    def test_members_of_a_group(self):
        group = max(grp.getgrall(), key=lambda g: (g.gr_gid < 65000, g.gr_gid))
        daemon = self.begin("members", "[exec]", f"allow = {group.gr_name}")
        self.assert_refused(self.connect(daemon, STRANGER), "not in the group")
        self.assert_refused(self.connect(daemon, STRANGER, groups=[64023]), "not in the group")
        self.run_on(self.connect(daemon, MEMBER, groups=[64023, group.gr_gid]))
        self.run_on(self.connect(daemon, MEMBER, gid=group.gr_gid))
        self.run_on(self.connect(daemon, 0))

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv to be another user")
    def test_a_daemon_that_is_not_roots(self):
        """As the system's: root may have commands run only where some may."""
        group = grp.getgrgid(0).gr_name
        for name, lines, may in (("system", [], False), ("allows", ["[exec]", f"allow = {group}"], True)):
            directory = self.path(f"{name}.own")
            os.mkdir(directory)
            os.chown(directory, MEMBER, MEMBER)
            daemon = self.begin(name, *lines, state=f"{directory}/state", socket_path=f"{directory}/socket",
                                told=f"{directory}/told", wrap=["setpriv", f"--reuid={MEMBER}", f"--regid={MEMBER}",
                                                                "--clear-groups"])
            self.run_on(self.connect(daemon, MEMBER))
            if may:
                self.run_on(self.connect(daemon, 0))
            else:
                self.assert_refused(self.connect(daemon, 0), "runs no commands of its users")

    @unittest.skipUnless(os.geteuid() == 0, "needs root to be several users")
    def test_a_reload_takes_it_back(self):
        group = grp.getgrgid(0).gr_name
        daemon = self.begin("reload", "[exec]", f"allow = {group}")
        self.run_on(self.connect(daemon, MEMBER, gid=0))
        self.write("reload.conf", "[exec]\nallow =\n")
        os.kill(daemon.pid, 1)
        wait_until(lambda: "was read again" in daemon.log(), "the reload")
        self.assert_refused(self.connect(daemon, MEMBER, gid=0), "runs no commands of its users")

    def test_a_group_that_does_not_exist(self):
        with self.assertRaises(StartFailure) as caught:
            self.begin("nobody", "[exec]", "allow = no-such-group")
        self.assertEqual(caught.exception.status, 78)
        self.assertRegex(caught.exception.log, r'nobody\.conf:2: allow: there is no group "no-such-group"')
