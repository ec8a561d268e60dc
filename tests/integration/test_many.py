"""Many jobs of one task each: as many complete summaries, and nothing left of any of them."""

import os

from harness import settings
from harness.case import Case

IN_FLIGHT = 16          # not more than the queue takes
SPEC = {"level": "serial", "workload": "sum"}


def how_many():
    """PPPCTL_TEST_MANY; ten thousand take six minutes."""
    return int(os.environ.get("PPPCTL_TEST_MANY") or (200 if settings.sanitized() else 1000))


class Many(Case):
    seconds = 120 + how_many() // 20

    def run_jobs(self, n):
        """Summaries, in the order of the jobs."""
        jobs, summaries = [], []
        with self.daemon.connect() as client:
            def take():
                shown = client.call("io.pppctl.Jobs.Wait", {"job": jobs[len(summaries)]}, timeout=60.0)["job"]
                self.assertEqual((shown["state"], shown["tasks_done"]), ("done", 1), shown)
                summaries.append(shown["summary"])
            for i in range(n):
                jobs.append(client.call("io.pppctl.Jobs.Run", {"spec": SPEC, "inputs": [str(i)]}, timeout=60.0)["job"])
                if len(jobs) - len(summaries) == IN_FLIGHT:
                    take()
            while len(summaries) < n:
                take()
        return summaries

    def test_no_summary_lacks_anything(self):
        """What one has all have: nothing was read too late, from a cgroup that was gone."""
        n, pid = how_many(), self.daemon.pid
        summaries = self.run_jobs(n)
        self.assertEqual(len({summary["job"] for summary in summaries}), n)
        absent = {frozenset(entry["metric"] for entry in summary["unavailable"]) for summary in summaries}
        self.assertEqual(len(absent), 1, absent)
        present = {frozenset(summary) for summary in summaries}
        self.assertEqual(len(present), 1, present)
        self.assertGreater(min(summary["wall_seconds"] for summary in summaries), 0)
        self.assertEqual(self.daemon.pid, pid)
        if self.daemon.group is not None:
            self.assertEqual([name for name in os.listdir(self.daemon.group) if name.startswith("job-")], [])

    def test_no_descriptor_is_left(self):
        self.run_jobs(50)
        fds = os.listdir(f"/proc/{self.daemon.pid}/fd")
        self.run_jobs(200)
        self.assertLessEqual(len(os.listdir(f"/proc/{self.daemon.pid}/fd")), len(fds) + 2)
