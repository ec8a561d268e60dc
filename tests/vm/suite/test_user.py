"""systemctl --user start pppd: jobs run as their user, in the cgroup that the user's systemd was given."""

import json
import os
import pwd

from case import USER, OfUser
from commands import must, run
from daemon import group_of, kill
from test_limits import TABLE, Limits


class User(OfUser, Limits):
    @property
    def instance(self):
        return self.own

    def test_start(self):
        self.own.stop()
        self.own.start()
        self.assertTrue(self.own.is_active(), self.own.status())

    def test_every_level(self):
        for level in ("serial", "threads", "processes", "async"):
            with self.subTest(level=level):
                self.assert_counts(self.own.pppctl("run", level))

    def test_pppctl_finds_it(self):
        result = run("pppctl", "run", "serial", "sum", "10", user=USER, login=True)
        self.assertEqual((result.status, result.out.strip()), (0, "10: 45"), result)

    def test_the_socket_starts_it(self):
        self.own.stop()
        self.assert_ok(self.own.pppctl("run", "serial", "sum", "10"))
        self.assertTrue(self.own.is_active())

    def test_jobs_are_the_users_own(self):
        """As the user, on a file that nobody else may read, in the user's part of the tree."""
        entry = pwd.getpwnam(USER)
        path = os.path.join(entry.pw_dir, "private")
        with open(path, "w") as file:
            file.write("three little words\n")
        os.chown(path, entry.pw_uid, entry.pw_gid)
        os.chmod(path, 0o600)
        result = self.own.pppctl("run", "async", "words", path)
        self.assertEqual((result.status, result.out.strip()), (0, f"{path}: 3 words"), result)
        job = self.own.submit("async", "sleep", ["5"])
        runner = self.own.runner(job)
        self.assertEqual(os.stat(f"/proc/{runner}").st_uid, entry.pw_uid)
        self.assertIn(f"/user@{entry.pw_uid}.service/", group_of(runner))

    def test_which_limits(self):
        """Those whose controllers systemd delegates to users are in force; of the others it is said why they can't be."""
        with open(os.path.join(self.own.group, "cgroup.controllers")) as file:
            controllers = set(file.read().split())
        self.assertLessEqual({"memory", "pids"}, controllers)
        for option, value, name, text in TABLE:
            controller = name.split(".")[0]
            with self.subTest(option):
                if controller in controllers:
                    job = self.begin("async", f"--{option}", value)
                    self.assertEqual(self.read(job, name), text)
                    self.cancel(job)
                else:
                    self.assert_says(self.own.pppctl("run", "async", "sleep", "0", f"--{option}", value), 1,
                                     f"--{option}", controller, "delegate")

    def test_out_of_memory_is_that_tasks_result(self):
        self.check_oom_of_a_task("--memory-max", "64M", "--workers", "2")

    def test_more_workers_than_pids(self):
        _, summary, result = self.run_json("processes", "sleep", *["0.2"] * 6, "--workers", "6", "--pids-max", "4")
        self.assertEqual((result.status, summary["tasks_done"], summary["reason"]), (0, 6, "pids-max"), result)

    def test_the_doctor(self):
        """Tells whether all levels work: they do."""
        self.assert_ok(self.own.pppctl("doctor"))

    def test_its_cgroup_has_controllers(self):
        """What Debian's systemd gives users: memory and pids at least."""
        job = self.own.submit("processes", "sleep", ["3"] * 2, workers=2)
        self.own.runner(job)
        with open(os.path.join(self.own.job_group(job), "cgroup.controllers")) as file:
            self.assertLessEqual({"memory", "pids"}, set(file.read().split()))
        summary = self.own.wait(job)["summary"]
        self.assertGreater(summary["memory_peak_bytes"], 100_000)

    def test_limits(self):
        """In force, and again after the supervisor was killed; met, they are the reason."""
        limits = {"memory_max_bytes": 64 << 20, "pids_max": 20}
        job = self.own.submit("processes", "sleep", ["0.5"] * 40, workers=2, limits=limits)
        before, pid = self.own.recorded(job, 2), self.own.pid
        for again in (False, True):
            with self.subTest(again=again):
                self.assertEqual((self.read(job, "memory.max"), self.read(job, "pids.max")), (str(64 << 20), "20"))
            if not again:
                kill(pid)
                self.own.await_new_pid(pid)
        rows = self.own.rows(self.own.wait(job)["job"])
        self.assertEqual([rows[i] for i, row in enumerate(before) if row], [row for row in before if row])
        self.assertNotIn(None, rows)

        result = self.own.pppctl("run", "processes", "sum-array", "1000", "130000000", "--memory-max", "64M", "--json")
        self.assertEqual(result.status, 1, result)
        reasons = {row["input"]: row.get("reason") for row in map(json.loads, result.out.splitlines()) if "input" in row}
        self.assertEqual(reasons, {"1000": None, "130000000": "oom-killed"}, result)

    def test_processes_are_born_in_their_group(self):
        """No filter here forbids clone3."""
        checks = json.loads(self.own.pppctl("doctor", "--json").out)["checks"]
        check = next(check for check in checks if check["name"] == "clone3 into a group")
        self.assertEqual((check["status"], check["detail"]), ("yes", "processes are born in their group"))

    def read(self, job, file):
        with open(os.path.join(self.own.job_group(job), file)) as opened:
            return opened.read().strip()

    def test_supervisor_killed(self):
        job = self.own.submit("async", "sleep", ["0.5"] * 30, workers=2)
        before, runner, pid = self.own.recorded(job, 2), self.own.runner(job), self.own.pid
        kill(pid)
        self.own.await_new_pid(pid)
        self.assertEqual(self.own.runner(job), runner)
        shown = self.own.wait(job)
        self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 30))
        rows = self.own.rows(job)
        self.assertEqual([rows[i] for i, row in enumerate(before) if row], [row for row in before if row])

    def test_stop_leaves_nothing(self):
        job = self.own.submit("processes", "sleep", ["0.5"] * 30, workers=2)
        self.own.recorded(job, 2)
        group = self.own.group
        self.own.stop()
        self.assertFalse(os.path.exists(group), group)

    def test_state_is_where_the_xdg_says(self):
        self.own.wait(self.own.submit("serial", "sum", [10]))
        self.assertTrue(os.path.exists(os.path.join(pwd.getpwnam(USER).pw_dir, ".local/state/pppctl/jobs.db")))
