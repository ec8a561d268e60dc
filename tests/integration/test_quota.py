"""What one user may take: slots to run in. Others get theirs."""

import contextlib
import os
import unittest

from harness.case import Case
from harness.daemon import PPPCTL
from harness.poll import wait_until

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

    def with_config(self, name, *lines):
        path = os.path.join(self.temp, f"{name}.conf")
        with open(path, "w") as file:
            file.write("\n".join(["[jobs]", *lines, ""]))
        daemon = self.fresh(name, args=["--config", path])
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
        return client.call(f"{PPPCTL}.Run", {"spec": spec, "inputs": [str(i) for i in inputs]})["job"]


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
        other = daemon.submit("serial", "sleep", ["600"])
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
