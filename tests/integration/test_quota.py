"""What one user may take: slots to run in, and room on disk. Others get theirs, and old results stay."""

import contextlib
import errno
import fcntl
import glob
import json
import os
import resource
import sys
import unittest

from harness import forbid
from harness.case import Case
from harness.daemon import PPPCTL
from harness.poll import wait_until
from harness.varlink import Error

ANNE, BERT = 64001, 64002       # users of whom nobody else is


@contextlib.contextmanager
def being(uid):
    """The kernel vouches for who connects: being somebody else for that moment is enough."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


class Quota(Case):
    with_daemon = False

    def with_config(self, name, *lines, **options):
        path = os.path.join(self.temp, f"{name}.conf")
        with open(path, "w") as file:
            file.write("\n".join(["[jobs]", *lines, ""]))
        daemon = self.fresh(name, args=["--config", path], **options)
        if os.geteuid() == 0:
            os.chmod(daemon.socket, 0o666)
        return daemon

    def connect(self, daemon, uid):
        with being(uid):
            client = daemon.connect()
        self.addCleanup(client.close)
        return client

    def submit(self, client, workload, inputs, **options):
        spec = {"level": "serial", "workload": workload, **options}
        fd = os.memfd_create("inputs", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            os.write(fd, "".join(f"{i}\n" for i in inputs).encode())
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
            client.send(f"{PPPCTL}.Run", {"spec": spec, "input_fd": 0}, [fd])
        finally:
            os.close(fd)
        return client.reply(20)[0]["job"]


@unittest.skipUnless(os.geteuid() == 0, "needs root to be several users")
class Slots(Quota):
    def states(self, daemon, jobs):
        return [daemon.show(job)["state"] for job in jobs]

    def test_one_user_leaves_a_slot_to_others(self):
        daemon = self.with_config("leaves", "max_running = 3")
        anne, bert = self.connect(daemon, ANNE), self.connect(daemon, BERT)
        hers = [self.submit(anne, "sleep", ["600"]) for _ in range(4)]
        self.assertEqual(self.states(daemon, hers), ["running", "running", "queued", "queued"])
        his = [self.submit(bert, "sleep", ["600"]) for _ in range(2)]
        self.assertEqual(self.states(daemon, his), ["running", "queued"])

    def test_pausing_does_not_make_room_for_more_than_others_have(self):
        daemon = self.with_config("more", "max_running = 2")
        if not daemon.group:
            self.skipTest("jobs have no cgroups here")
        anne, bert = self.connect(daemon, ANNE), self.connect(daemon, BERT)
        jobs = []
        for _ in range(4):
            jobs.append(self.submit(anne, "sleep", ["600"]))
            anne.call(f"{PPPCTL}.Pause", {"job": jobs[-1]})
        self.assertEqual(self.states(daemon, [self.submit(bert, "sleep", ["600"])]), ["running"])
        self.assertEqual(self.states(daemon, jobs), ["paused"] * 4)
        # Two gave their slots up; the third is frozen in its own, and the fourth waits for that.
        self.assertEqual([os.path.isdir(daemon.job_group(job)) for job in jobs], [True, True, True, False])

    def test_users_take_turns(self):
        daemon = self.with_config("turns", "max_running = 1")
        anne, bert = self.connect(daemon, ANNE), self.connect(daemon, BERT)
        first = self.submit(anne, "sleep", ["600"])
        hers = [self.submit(anne, "sleep", ["600"]) for _ in range(2)]
        his = [self.submit(bert, "sleep", ["600"]) for _ in range(2)]
        for ends, starts in ((first, his[0]), (his[0], hers[0]), (hers[0], his[1]), (his[1], hers[1])):
            daemon.cancel(ends)
            wait_until(lambda: daemon.show(starts)["state"] == "running", f"job {starts} instead of {ends}")

    def test_as_many_as_the_configuration_says(self):
        daemon = self.with_config("says", "max_running = 4", "max_running_per_user = 1")
        anne = self.connect(daemon, ANNE)
        jobs = [self.submit(anne, "sleep", ["600"]) for _ in range(2)]
        self.assertEqual(self.states(daemon, jobs), ["running", "queued"])


class Pauses(Quota):
    def begin(self, name):
        daemon = self.with_config(name, "max_running = 1")
        if not daemon.group:
            self.skipTest("jobs have no cgroups here")
        paused = daemon.submit("serial", "sleep", ["0.01", "600"])
        wait_until(lambda: any(daemon.rows(paused)), "a first record")
        self.assertEqual(daemon.call("Pause", {"job": paused})["job"]["state"], "paused")
        return daemon, paused

    def test_a_paused_job_gives_its_slot_up(self):
        daemon, paused = self.begin("gives")
        other = daemon.submit("serial", "sleep", ["600"])
        self.assertEqual(daemon.show(other)["state"], "running")
        self.assertEqual(daemon.call("Resume", {"job": paused})["job"]["state"], "queued")
        self.assertEqual(daemon.show(paused)["state"], "queued")
        self.assertRegex(daemon.pppctl("list").out, rf"(?m)^\s*{paused}\b.*queued")
        daemon.cancel(other)
        wait_until(lambda: daemon.show(paused)["state"] == "running", "the job going on")

    def test_it_is_resumed_at_once_where_there_is_a_slot(self):
        daemon, paused = self.begin("once")
        self.assertEqual(daemon.call("Resume", {"job": paused})["job"]["state"], "running")

    def test_it_waits_for_its_slot_over_a_restart(self):
        daemon, paused = self.begin("over")
        other = daemon.submit("serial", "sleep", ["0.01", "600"])
        # A runner that has not begun goes with its supervisor, and its slot with it.
        wait_until(lambda: any(daemon.rows(other)), "a first record of the other")
        daemon.call("Resume", {"job": paused})
        daemon.kill()
        daemon.start()
        self.assertEqual([daemon.show(job)["state"] for job in (paused, other)], ["queued", "running"])
        daemon.cancel(other)
        wait_until(lambda: daemon.show(paused)["state"] == "running", "the job going on")

    def test_one_that_waits_for_its_slot_can_be_cancelled(self):
        daemon, paused = self.begin("cancelled")
        other = daemon.submit("serial", "sleep", ["600"])
        daemon.call("Resume", {"job": paused})
        self.assertEqual(daemon.cancel(paused)["state"], "cancelled")
        self.assertEqual(daemon.show(other)["state"], "running")

    def test_paused_again_before_its_turn(self):
        daemon, paused = self.begin("again")
        other = daemon.submit("serial", "sleep", ["600"])
        daemon.call("Resume", {"job": paused})
        self.assertEqual(daemon.call("Pause", {"job": paused})["job"]["state"], "paused")
        daemon.cancel(other)
        third = daemon.submit("serial", "sum", ["5"])
        self.assertEqual(daemon.wait(third)["state"], "done")
        self.assertEqual(daemon.show(paused)["state"], "paused")


def on_disk(*path):
    """Bytes that a directory's files take."""
    return sum(os.stat(file).st_blocks * 512 for file in glob.glob(os.path.join(*path, "*")))


def numbers(n):
    return [str(i % 10) for i in range(n)]


@unittest.skipUnless(os.geteuid() == 0, "needs root to be several users")
class Room(Quota):
    def test_jobs_that_wait_take_no_room_for_results(self):
        daemon = self.with_config("wait", "max_running = 1")
        anne = self.connect(daemon, ANNE)
        first = self.submit(anne, "sleep", ["600"])
        waits = self.submit(anne, "sleep", numbers(50_000))
        self.assertLess(on_disk(daemon.state, "jobs", str(waits)), 50_000 * 32)
        self.assertEqual(daemon.show(waits)["state"], "queued")
        daemon.cancel(first)
        wait_until(lambda: daemon.show(waits)["state"] == "running", "the second job's start")
        self.assertGreater(on_disk(daemon.state, "jobs", str(waits)), 50_000 * 32)

    def test_more_than_one_user_may_have(self):
        daemon = self.with_config("may", "max_running = 4", "max_size_per_user = 1M")
        anne, bert = self.connect(daemon, ANNE), self.connect(daemon, BERT)
        with self.assertRaisesRegex(Error, r"NoSpace.*1\.4 MB.*max_size_per_user"):
            self.submit(anne, "sum", numbers(40_000))
        first = self.submit(anne, "sleep", ["600"] * 20_000)
        with self.assertRaisesRegex(Error, "NoSpace.*when some of your jobs have ended"):
            self.submit(anne, "sum", numbers(20_000))
        self.submit(bert, "sum", numbers(20_000))
        self.submit(self.connect(daemon, 0), "sum", numbers(40_000))     # root is not bounded
        daemon.cancel(first)
        daemon.wait(self.submit(anne, "sum", numbers(20_000)))

    def test_the_oldest_that_were_kept_make_room(self):
        daemon = self.with_config("kept", "max_size_per_user = 1M")
        anne, bert = self.connect(daemon, ANNE), self.connect(daemon, BERT)
        theirs = []
        for client in (bert, anne, anne, anne):
            theirs.append(self.submit(client, "sum", numbers(12_000)))
            daemon.wait(theirs[-1])
        path = os.path.join(daemon.state, "jobs")
        wait_until(lambda: not os.path.exists(os.path.join(path, str(theirs[1]))), "her oldest job gone")
        self.assertEqual(sorted(os.listdir(path)), sorted(str(job) for job in theirs if job != theirs[1]))
        # What is kept is known to the next daemon too.
        daemon.terminate()
        daemon.start()
        os.chmod(daemon.socket, 0o666)
        daemon.wait(self.submit(self.connect(daemon, ANNE), "sum", numbers(12_000)))
        wait_until(lambda: not os.path.exists(os.path.join(path, str(theirs[2]))), "the next one gone")
        self.assertTrue(os.path.exists(os.path.join(path, str(theirs[0]))), "the other user's stays")

    def test_what_is_to_stay_free(self):
        daemon = self.with_config("free", "keep_free = 1000000000G")
        with self.assertRaisesRegex(Error, "NoSpace.*keep_free"):
            self.submit(self.connect(daemon, ANNE), "sum", ["5"])
        wait_until(lambda: os.listdir(os.path.join(daemon.state, "jobs")) == [], "nothing is left of it")
        self.assertEqual(daemon.wait(daemon.submit("serial", "sum", ["5"]))["state"], "done")


class Large(Quota):
    """Room for many results is reserved by another process, between Run and the job's start."""

    MANY = 140_000

    def run_many(self, daemon):
        client = daemon.connect()
        self.addCleanup(client.close)
        return self.submit(client, "sum", ["5"] * self.MANY)

    def test_it_starts_where_no_job_may_wait(self):
        daemon = self.with_config("many", "max_running = 1", "max_queued = 0")
        shown = daemon.wait(self.run_many(daemon))
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", self.MANY), shown)

    def test_it_is_cancelled_before(self):
        daemon = self.with_config("before", "max_running = 1")
        job = self.run_many(daemon)
        self.assertIn(daemon.cancel(job)["state"], ("cancelled", "done"))
        self.assertEqual(daemon.wait(self.run_many(daemon))["state"], "done", "its slot is free")

    def test_it_is_paused_before(self):
        daemon = self.with_config("paused", "max_running = 1")
        job = self.run_many(daemon)
        with contextlib.suppress(Error):        # it may be done already
            daemon.call("Pause", {"job": job})
            daemon.wait(daemon.submit("serial", "sum", ["5"]))
            daemon.call("Resume", {"job": job})
        self.assertEqual(daemon.wait(job)["tasks_done"], self.MANY)

    def test_there_is_none(self):
        full = [sys.executable, forbid.__file__, str(forbid.FALLOCATE), str(errno.ENOSPC)]
        daemon = self.with_config("none", wrap=full)
        shown = daemon.wait(self.run_many(daemon))
        self.assertEqual((shown["state"], shown["tasks_done"]), ("failed", 0), shown)
        self.assertRegex(shown["reason"], "cannot reserve 4.5 MB for the results.*No space left.*keep_jobs")
        with self.assertRaisesRegex(Error, "Failed.*reserve.*No space left"):
            daemon.submit("serial", "sum", ["5"])       # a small one is refused


class Old(Quota):
    """What was kept stays, whatever happens to the database or the clock."""

    def test_the_database_was_moved_away(self):
        daemon = self.with_config("moved")
        old = [daemon.submit("serial", "sum", ["5"]) for _ in range(3)]
        for job in old:
            daemon.wait(job)
        daemon.terminate()
        for file in glob.glob(os.path.join(daemon.state, "jobs.db*")):
            os.unlink(file)
        daemon.start()
        new = daemon.submit("serial", "sum", ["6"])
        self.assertEqual(new, max(old) + 1)
        daemon.wait(new)
        for job in old:
            with open(os.path.join(daemon.state, "jobs", str(job), "inputs")) as file:
                self.assertEqual(file.read(), "5\n")

    def test_one_that_cannot_be_removed_keeps_no_other(self):
        daemon = self.with_config("stuck", "keep_jobs = 4")
        path = os.path.join(daemon.state, "jobs")
        jobs = [daemon.submit("serial", "sum", ["5"]) for _ in range(4)]
        for job in jobs:
            daemon.wait(job)
        os.mkdir(os.path.join(path, str(jobs[2]), "by hand"))
        daemon.terminate()
        with open(os.path.join(self.temp, "stuck.conf"), "w") as file:
            file.write("[jobs]\nkeep_jobs = 1\n")
        daemon.start()
        wait_until(lambda: sorted(os.listdir(path)) == sorted(map(str, jobs[2:])), lambda: os.listdir(path))
        self.assertEqual(daemon.log().count(f"cannot remove the files of the old job {jobs[2]}, "), 1, daemon.log())
        listed = [json.loads(line)["job"] for line in daemon.pppctl("list", "--json").stdout.splitlines()]
        self.assertEqual(listed, jobs[3:])

    def test_a_large_one_is_gone_in_the_end(self):
        """Another process removes it; where the daemon is killed before, the next one sees to it."""
        daemon = self.with_config("large", "keep_jobs = 1")
        path = os.path.join(daemon.state, "jobs")
        jobs = [daemon.submit("serial", "sum", ["5"])]
        daemon.wait(jobs[0])
        with open(os.path.join(path, str(jobs[0]), "large"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 64 << 20)
        jobs.append(daemon.submit("serial", "sum", ["5"]))
        daemon.wait(jobs[-1])
        wait_until(lambda: not os.path.exists(os.path.join(path, str(jobs[0]))), "its name is free")
        daemon.kill()
        daemon.start()
        wait_until(lambda: os.listdir(path) == [str(jobs[1])], lambda: os.listdir(path))

    def test_a_file_that_may_not_get_that_long(self):
        """RLIMIT_FSIZE: the job is refused with the reason, and the daemon goes on."""
        daemon = self.with_config("long")
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        with self.assertRaisesRegex(Error, "Failed.*File too large.*LimitFSIZE"):
            self.submit(daemon.connect(), "sum", numbers(40_000))
        self.assertEqual(daemon.wait(daemon.submit("serial", "sum", ["5"]))["state"], "done")

    def test_a_queue_that_is_cut_by_the_limit_on_open_files_is_told(self):
        daemon = self.with_config("cut", "max_queued = 1000", wrap=["sh", "-c", 'ulimit -n 400; exec "$@"', "sh"])
        self.assertRegex(daemon.log(), "no more than 100 jobs may wait, and not max_queued = 1000: .*LimitNOFILE=")
        check, = (check for check in daemon.call("Doctor")["checks"] if check["name"] == "waiting jobs")
        self.assertEqual(check["status"], "partly")
        self.assertRegex(check["detail"], "at most 100, and not max_queued = 1000: .*open files")
        self.assertIn("LimitNOFILE=", check["remedy"])
        self.assertNotIn("jobs may wait", self.with_config("uncut", "max_queued = 5").log())
