"""A supervisor that ends, in order or not, loses nothing: jobs go on, and what was is remembered."""

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import struct
import sys

from harness import attack, forbid, results, varlink
from harness.case import LEVELS, Case
from harness.daemon import PPPCTL, cgroup_mount, read_pids, remove_group
from harness.poll import wait_until
from harness.process import alive, reap_orphans
from harness.results import DONE

END = {"SIGTERM": lambda daemon: daemon.terminate(), "SIGKILL": lambda daemon: daemon.kill()}


class Adoption(Case):
    """Each test has a daemon of its own, to end as it likes."""

    with_daemon = False

    def restart(self, daemon, how):
        END[how](daemon)
        daemon.start()

    def test_a_running_job_goes_on_and_is_taken_up(self):
        for how in END:
            for level in LEVELS:
                with self.subTest(how=how, level=level):
                    daemon = self.fresh(f"{how}-{level}")
                    self.go_on(daemon, how, level)

    def go_on(self, daemon, how, level):
        options = {} if level == "serial" else {"workers": 2}
        job = daemon.submit(level, "sleep", ["0.1"] * 12, **options)
        runner = daemon.runner(job)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        self.restart(daemon, how)
        if how == "SIGKILL":
            self.assertTrue(alive(runner) or daemon.show(job)["state"] == "done", "the runner goes on")
        shown = daemon.wait(job)
        reap_orphans()
        self.assertEqual((shown["state"], shown["tasks_done"], shown["tasks_failed"]), ("done", 12, 0), shown)
        self.assert_once(daemon.rows(job), how)
        self.assertEqual(shown["summary"]["tasks_total"], 12)

    def assert_once(self, rows, how):
        """Every task has a record, and no task ran for longer than its sleep: none was begun again after it was recorded."""
        self.assertEqual([row.state for row in rows], [DONE] * 12)
        for row in rows:
            self.assertGreaterEqual(row.end_ns - row.start_ns, 99_000_000)

    def test_killed_while_it_admits_a_job(self):
        """Between giving the number and having the job's files: a job that nobody was told of is not there."""
        daemon = self.fresh("admits")
        before = daemon.submit("serial", "sum", ["5"])
        daemon.wait(before)
        daemon.terminate()
        daemon.wrap = [sys.executable, forbid.__file__, str(forbid.FALLOCATE), "kill"]
        daemon.start()
        with self.assertRaises((OSError, varlink.Closed)):
            daemon.submit("serial", "sum", ["6"])
        self.assertEqual(daemon.popen.wait(20), -signal.SIGSYS, "it died as it made the results file")
        made = os.path.join(daemon.state, "jobs", f"{before + 1}.new")
        self.assertTrue(os.path.exists(os.path.join(made, "inputs")))
        daemon.kill()
        daemon.wrap = []
        daemon.start()
        self.assertFalse(os.path.exists(made), "what nobody was told of is removed")
        listed = [json.loads(line)["job"] for line in daemon.pppctl("list", "--json").stdout.splitlines()]
        self.assertEqual(listed, [before])
        after = daemon.submit("serial", "sum", ["7"])
        self.assertEqual(after, before + 1, "a number that nobody was told is given again")
        self.assertEqual((daemon.wait(after)["tasks_done"], daemon.rows(after)[0].value), (1, 21))

    def test_killed_before_it_names_the_directory(self):
        """The row is there, so the job is: the next daemon gives the directory its name, and runs the job."""
        config = self.write("names.conf", "[jobs]\nmax_running = 1\n")
        daemon = self.fresh("names", args=["--config", config])
        first = daemon.submit("serial", "sleep", ["600"])
        job = daemon.submit("serial", "sum", ["7"])
        self.assertEqual(daemon.show(job)["state"], "queued")
        daemon.kill()
        named = os.path.join(daemon.state, "jobs", str(job))
        os.rename(named, named + ".new")
        daemon.start()
        self.assertTrue(os.path.exists(named))
        self.assertFalse(os.path.exists(named + ".new"))
        daemon.cancel(first)
        self.assertEqual((daemon.wait(job)["state"], daemon.rows(job)[0].value), ("done", 21))

    def test_a_job_that_ended_meanwhile(self):
        daemon = self.fresh("meanwhile")
        job = daemon.submit("async", "sleep", ["0.2"] * 4)
        runner = daemon.runner(job)
        daemon.kill()
        wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
        daemon.start()
        shown = daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 4), shown)

    def test_a_runner_that_died_meanwhile(self):
        daemon = self.fresh("died")
        job = daemon.submit("threads", "sleep", ["0", "60"], workers=2)
        runner = daemon.runner(job)
        wait_until(lambda: any(daemon.rows(job)), "a first record")
        daemon.kill()
        os.kill(runner, signal.SIGKILL)
        wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
        daemon.start()
        self.assertIn(daemon.show(job)["state"], ("failed", "running", "queued", "done"))
        if daemon.show(job)["state"] != "failed":       # it goes on from the task that has no record
            daemon.cancel(job)
        self.assertIsNotNone(daemon.rows(job)[0], "what was recorded is kept")
        self.assert_alive(daemon)

    def begin_large(self, name, n_jobs=1):
        """Jobs too large to be counted in the event loop, left without daemon and runners at their last task."""
        daemon = self.fresh(name)
        fd = os.memfd_create("inputs", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.write(fd, b"0\n" * 70_000 + b"600\n")
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, attack.SEALS)
        spec = {"level": "serial", "workload": "sleep"}
        with daemon.connect() as client:
            jobs = [client.call(f"{PPPCTL}.Run", {"spec": spec, "input_fd": 0}, [fd])["job"] for _ in range(n_jobs)]
        os.close(fd)
        for job in jobs:
            wait_until(lambda: daemon.show(job)["tasks_done"] == 70_000, lambda: daemon.show(job))
        runners = [daemon.runner(job) for job in jobs]
        daemon.kill()
        for runner in runners:
            os.kill(runner, signal.SIGKILL)
            wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
        return daemon, *jobs

    def results_of(self, daemon, job):
        return open(os.path.join(daemon.state, "jobs", str(job), "results"), "r+b", buffering=0)

    def test_large_jobs_go_on(self):
        daemon, *jobs = self.begin_large("large", 2)
        with self.results_of(daemon, jobs[0]) as file:          # as of a worker that was killed before it added its own
            os.pwrite(file.fileno(), struct.pack("<Q", 69_000), results.COUNTS_OFFSET)
        daemon.start()
        for job in jobs:
            wait_until(lambda: daemon.show(job)["state"] == "running", lambda: daemon.show(job))
            self.assertEqual(daemon.show(job)["tasks_done"], 70_000)
            self.assertIn(f"job {job} was interrupted: it is resumed with the 1 of its 70001 tasks", daemon.log())
            self.assertEqual(daemon.cancel(job)["tasks_done"], 70_000)

    def test_a_large_job_that_is_cancelled_before_it_goes_on(self):
        daemon, job = self.begin_large("counted")
        daemon.start()
        shown = daemon.cancel(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("cancelled", 70_000), shown)

    def test_a_large_job_that_is_complete(self):
        daemon, job = self.begin_large("complete")
        with self.results_of(daemon, job) as file:
            last = os.fstat(file.fileno()).st_size - results.RECORD.size
            os.pwrite(file.fileno(), os.pread(file.fileno(), results.RECORD.size, last - results.RECORD.size), last)
        daemon.start()
        shown = daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 70_001), shown)

    def test_cancel_after_a_restart(self):
        for how in END:
            with self.subTest(how=how):
                daemon = self.fresh(f"cancel-{how}")
                job = daemon.submit("processes", "sleep", ["60"] * 4, workers=2)
                runner = daemon.runner(job)
                self.restart(daemon, how)
                wait_until(lambda: daemon.show(job)["state"] == "running", "the job taken up")
                runner = daemon.runner(job)
                self.assertEqual(daemon.cancel(job)["state"], "cancelled")
                wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")

    def test_killed_again_and_again(self):
        daemon = self.fresh("again")
        job = daemon.submit("async", "sleep", ["0.05"] * 60, workers=2)
        for _ in range(4):
            before = sum(row is not None for row in daemon.rows(job))
            self.restart(daemon, "SIGKILL")
            wait_until(lambda: sum(row is not None for row in daemon.rows(job)) > min(before, 59), "progress")
        self.assertEqual(daemon.wait(job)["tasks_done"], 60)

    def test_a_job_number_is_never_given_twice(self):
        daemon = self.fresh("numbers")
        numbers = []
        for how in ("SIGTERM", "SIGKILL", "SIGTERM"):
            numbers.append(daemon.submit("serial", "sum", ["1"]))
            daemon.wait(numbers[-1])
            self.restart(daemon, how)
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_a_results_file_cut_short_under_a_running_job(self):
        """The job is lost, the daemon is not."""
        daemon = self.fresh("cut-running")
        job = daemon.submit("async", "sleep", ["60"] * 2)
        runner = daemon.runner(job)
        daemon.kill()
        os.kill(runner, signal.SIGKILL)
        wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
        os.truncate(os.path.join(daemon.state, "jobs", str(job), "results"), 100)
        daemon.start()
        wait_until(lambda: daemon.show(job)["state"] in ("failed", "cancelled"), "the end of the job")
        self.assert_alive(daemon)

    def test_damaged_rows(self):
        """They neither keep the daemon from starting nor hide other jobs; their results stay."""
        daemon = self.fresh("damaged")
        jobs = [daemon.submit("serial", "sum", ["5"]) for _ in range(4)]
        for job in jobs:
            daemon.wait(job)
        daemon.terminate()
        with contextlib.closing(sqlite3.connect(os.path.join(daemon.state, "jobs.db"))) as database:
            database.execute("UPDATE jobs SET state = 'running', spec = '{:\"sum\"}' WHERE number = ?", (jobs[1],))
            database.execute("UPDATE jobs SET summary = '{' WHERE number = ?", (jobs[2],))
            database.commit()
        daemon.start()
        result = daemon.pppctl("list", "--json")
        self.assertEqual(result.status, 0, result)
        listed = [json.loads(line)["job"] for line in result.out.splitlines()]
        self.assertEqual(listed, [jobs[3], jobs[0]], result)
        for job in jobs[1:3]:
            self.assertIn(f"job {job} is skipped", daemon.log())
            self.assertIn("damaged", daemon.pppctl("show", job).err)
            self.assertTrue(os.path.exists(os.path.join(daemon.state, "jobs", str(job), "results")))
        self.assertEqual(daemon.wait(daemon.submit("serial", "sum", ["5"]))["state"], "done")


class Traces(Case):
    """What a daemon that is killed leaves behind, the next one removes, when it starts or when it stops."""

    with_daemon = False

    def killed_with_a_demo(self, name):
        """(daemon, path of the port file, processes of the demo server)"""
        daemon = self.fresh(name)
        self.assertEqual(daemon.pppctl("run", "async").status, 0)
        port = os.path.join(daemon.state, "demo-port")
        self.assertTrue(os.path.exists(port))
        pids = read_pids(os.path.join(daemon.group, "web")) if daemon.group else []
        daemon.kill()
        return daemon, port, pids

    def test_a_job_that_is_too_long_for_a_message(self):
        """What makes it too long is left out, and said to be; it stands in no other job's way."""
        daemon = self.fresh("long")
        jobs = [daemon.submit("serial", "sum", ["5"]) for _ in range(3)]
        for job in jobs:
            daemon.wait(job)
        daemon.terminate()
        with contextlib.closing(sqlite3.connect(os.path.join(daemon.state, "jobs.db"))) as db, db:
            summary, = db.execute("SELECT summary FROM jobs WHERE number = ?", jobs[1:2]).fetchone()
            longer = json.dumps({**json.loads(summary), "reason_detail": "x" * (1 << 20)})
            db.execute("UPDATE jobs SET summary = ? WHERE number = ?", (longer, jobs[1]))
        daemon.start()
        with daemon.connect() as client:
            listed = {reply["job"]["job"]: reply["job"] for reply in client.stream(f"{PPPCTL}.List", {})}
        self.assertEqual(sorted(listed), jobs)
        for job in (daemon.show(jobs[1]), daemon.wait(jobs[1]), listed[jobs[1]]):
            self.assertIn("longer than a message may be", job["omitted"])
            self.assertNotIn("summary", job)
            self.assertEqual((job["state"], job["tasks_done"]), ("done", 1))
            self.assertEqual((job["spec"]["level"], job["spec"]["workload"]), ("serial", "sum"))
        for job in (daemon.show(jobs[0]), listed[jobs[2]]):
            self.assertNotIn("omitted", job)
            self.assertIn("summary", job)
        self.assertRegex(daemon.pppctl("show", jobs[1]).out, r"left out\s+the summary")
        self.assertEqual(daemon.rows(jobs[1])[0].value, 10)

    def test_the_port_of_a_demo_server_that_is_gone(self):
        daemon, port, pids = self.killed_with_a_demo("gone")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: reap_orphans() or not any(map(alive, pids)), "its end")
        daemon.start()
        self.assertFalse(os.path.exists(port))
        self.assertEqual(daemon.pppctl("run", "async").status, 0)

    def test_the_port_of_a_demo_server_that_is_taken_over(self):
        daemon, port, _ = self.killed_with_a_demo("over")
        daemon.start()
        self.assertEqual(daemon.terminate(), 0)
        self.assertFalse(os.path.exists(port))
        daemon.start()

    def test_whether_a_job_names_the_demo_server_is_stored(self):
        """A start of the daemon reads no inputs for that, but those of jobs that an older version admitted."""
        config = self.write("one.conf", "[jobs]\nmax_running = 1\n")
        for stored in (True, False):
            with self.subTest(stored=stored):
                self.go_on_with_a_demo(self.fresh(f"names-{stored}", args=["--config", config]), stored)

    def go_on_with_a_demo(self, daemon, stored):
        first = daemon.submit("serial", "sleep", ["600"])
        job = daemon.submit("serial", "words", ["demo:2016"])
        daemon.runner(first)
        daemon.kill()
        inputs = os.path.join(daemon.state, "jobs", str(job), "inputs")
        if stored:
            os.rename(inputs, f"{inputs}.aside")
        else:
            with contextlib.closing(sqlite3.connect(os.path.join(daemon.state, "jobs.db"))) as database, database:
                database.execute("UPDATE jobs SET uses_demo = NULL")
        daemon.start()
        if stored:
            os.rename(f"{inputs}.aside", inputs)
        daemon.cancel(first)
        shown = daemon.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 1), shown)

    def test_the_group_of_a_look_that_was_killed(self):
        """What the doctor tries things in, where the daemon was killed meanwhile and the look with it."""
        daemon = self.fresh("look")
        if daemon.group is None:
            self.skipTest("no cgroup can be made here")
        daemon.kill()
        left = os.path.join(daemon.group, "pppctl-doctor-1")
        os.makedirs(os.path.join(left, "thread-0"))
        daemon.start()
        self.assertFalse(os.path.exists(left))

    def test_the_group_that_was_named(self):
        """One that it made goes with it; one that was there stays."""
        mount = cgroup_mount()
        for there in (False, True):
            with self.subTest(there=there):
                path = os.path.join(mount or "", f"test-named-{os.getpid()}-{there}")
                try:
                    os.mkdir(path)
                    if not there:
                        os.rmdir(path)
                except OSError as error:
                    self.skipTest(f"no cgroup can be made here: {error}")
                self.addCleanup(lambda path=path: remove_group(path))
                daemon = self.fresh(f"named-{there}", args=["--cgroup", path])
                daemon.groups.discard(path)             # one that was there is left, and that is right
                daemon.kill()
                daemon.start()
                daemon.groups.discard(path)
                self.assertEqual(daemon.terminate(), 0)
                self.assertEqual(os.path.isdir(path), there)
                daemon.start()
                daemon.groups.discard(path)


class Memory(Case):
    """list, show, results, wait and cancel of jobs that ended before the daemon was started."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = cls.daemon.submit("threads", "sum", ["5", "six", "7"])
        cls.daemon.wait(done)
        cancelled = cls.daemon.submit("async", "sleep", ["60"])
        cls.daemon.cancel(cancelled)
        cls.done, cls.cancelled = done, cancelled
        cls.before = {job: cls.daemon.show(job) for job in (done, cancelled)}
        cls.daemon.terminate()
        cls.daemon.start()

    def test_show(self):
        self.assertEqual({job: self.daemon.show(job) for job in self.before}, self.before)
        result = self.daemon.pppctl("show", self.done)
        self.assertEqual(result.status, 0, result)
        self.assertIn("threads", result.out)

    def test_list(self):
        result = self.daemon.pppctl("list")
        self.assertEqual(result.status, 0, result)
        self.assertRegex(result.out, rf"(?m)^\s*{self.done}\b.*done")
        self.assertRegex(result.out, rf"(?m)^\s*{self.cancelled}\b.*cancelled")

    def test_list_json(self):
        result = self.daemon.pppctl("list", "--json")
        self.assertEqual(result.status, 0, result)
        text = result.out.strip()
        jobs = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        self.assertEqual({job["job"] for job in jobs} >= {self.done, self.cancelled}, True, result)

    def test_results(self):
        result = self.daemon.pppctl("results", self.done)
        self.assertEqual(result.out, "5: 10\n7: 21\n", result)
        self.assertRegex(result.err, r"six: failed: .*number")
        self.assertEqual(result.status, 1, result)

    def test_wait(self):
        self.assertEqual(self.daemon.pppctl("wait", self.done).status, 1, "a task of it failed")
        self.assertEqual(self.daemon.wait(self.done), self.before[self.done])

    def test_cancel_changes_nothing(self):
        self.daemon.pppctl("cancel", self.done)
        self.assertEqual(self.daemon.show(self.done), self.before[self.done])

    def test_results_cut_short(self):
        """Each length at which something else is missing; then whole again."""
        path = os.path.join(self.daemon.state, "jobs", str(self.done), "results")
        with open(path, "rb") as file:
            whole = file.read()
        try:
            for size in (0, 1, 100, 4095, 4096, 4096 + 32, len(whole) - 1):
                with self.subTest(size=size):
                    os.truncate(path, size)
                    result = self.daemon.pppctl("results", self.done)
                    self.assertNotEqual(result.status, 0, result)
                    self.assertGreater(result.status, 0, "no signal")
                    self.assertEqual(result.out, "", result)
                    self.assertRegex(result.err, r"(?i)results|cut|short|damaged", result)
                with open(path, "r+b") as file:
                    file.write(whole)
        finally:
            with open(path, "r+b") as file:
                file.write(whole)
        self.assertEqual(self.daemon.pppctl("results", self.done).out, "5: 10\n7: 21\n")
        self.assert_alive()

    def test_results_with_a_lying_header(self):
        path = os.path.join(self.daemon.state, "jobs", str(self.done), "results")
        with open(path, "rb") as file:
            whole = file.read()
        lies = {"n_tasks": (24, (1 << 60).to_bytes(8, "little")), "magic": (0, b"x"), "version": (8, b"\xff"),
                "record_size": (16, b"\x01")}
        try:
            for name, (offset, value) in lies.items():
                with self.subTest(lie=name):
                    with open(path, "r+b") as file:
                        file.write(whole[:offset] + value + whole[offset + len(value):])
                    result = self.daemon.pppctl("results", self.done)
                    self.assertGreater(result.status, 0, result)
                    self.assertEqual(result.out, "", result)
        finally:
            with open(path, "r+b") as file:
                file.write(whole)
        self.assert_alive()

    def test_results_gone(self):
        path = os.path.join(self.daemon.state, "jobs", str(self.done), "results")
        os.rename(path, path + ".away")
        try:
            result = self.daemon.pppctl("results", self.done)
            self.assertGreater(result.status, 0, result)
            self.assertRegex(result.err, "(?i)no such file|gone|missing", result)
        finally:
            os.rename(path + ".away", path)
        self.assert_alive()
