"""Who may use the system's instance: root and the members of the group pppctl."""

import json

from case import Case
from commands import run


class Access(Case):
    def test_root(self):
        result = self.pppd.pppctl("run", "serial", "sum", "10")
        self.assertEqual((result.status, result.out.strip()), (0, "10: 45"), result)

    def test_a_member(self):
        result = self.pppd.pppctl("run", "serial", "sum", "10", user="member")
        self.assertEqual((result.status, result.out.strip()), (0, "10: 45"), result)

    def test_a_member_counts_pages(self):
        """Without --system: it is the first that answers."""
        self.assert_counts(run("pppctl", "run", "async", user="member"))

    def test_a_member_is_shown_the_talk(self):
        """The chapter that takes the most of a system: a crash, no memory, and a limit of processes."""
        result = self.assert_ok(self.pppd.pppctl("talk", "processes", "--json", user="member", timeout=110.0))
        [chapter] = json.loads(result.out)["chapters"]
        self.assertTrue(chapter["holds"], chapter)
        self.assertEqual(chapter["not_shown"], [], chapter)

    def test_a_stranger(self):
        for which in ("--system", "--color=never"):         # named, and found
            result = run("pppctl", which, "run", "serial", "sum", "10", user="stranger")
            self.assert_says(result, 5, "/run/pppctl/io.pppctl.Jobs", "permission denied", "group")
            self.assertEqual(result.out, "")

    def test_whose_job_it_is(self):
        """A member may not end what root began; root may end all."""
        roots = self.pppd.submit("async", "sleep", ["60"])
        self.assert_says(self.pppd.pppctl("cancel", str(roots), user="member"), 5, "not allowed|may not|yours|owner")
        self.assertEqual(self.pppd.show(roots)["state"], "running")
        members = self.pppd.pppctl("run", "async", "sleep", "60", "--detach", user="member").out.strip()
        self.assert_ok(self.pppd.pppctl("cancel", members, "--quiet"))
        self.assertEqual(self.pppd.show(int(members))["state"], "cancelled")
