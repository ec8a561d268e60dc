"""pppctl talk: each chapter runs its jobs, and claims no more than it measured."""

import errno
import json
import os
import pty
import re
import select
import subprocess
import sys

from harness import forbid, process
from harness.case import Case

CHAPTERS = ["serial", "machines", "processes", "threads", "lock", "async", "loop", "scaling", "levels"]
USAGE = 2
FORBID_IO_URING = [sys.executable, forbid.__file__, str(forbid.IO_URING_SETUP), str(errno.EPERM)]


class Talk(Case):
    seconds = 300

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.told = cls.json_of(cls.daemon)

    @staticmethod
    def json_of(daemon, *args):
        result = daemon.pppctl("talk", "--json", *args, timeout=300)
        if (result.status, result.err) != (0, ""):
            raise AssertionError(result)
        return json.loads(result.out)

    def talk(self, *args, daemon=None, **env):
        env = {"LC_ALL": "C.UTF-8", "COLUMNS": "80", **env}
        return (daemon or self.daemon).pppctl("talk", *args, env=process.clean_environment(**env), timeout=200)

    def chapter(self, name, daemon=None):
        told = self.json_of(daemon, name) if daemon else self.told
        self.assertEqual(told["schema"], "io.pppctl.talk")
        [page] = [page for page in told["chapters"] if page["chapter"] == name]
        self.assertTrue(page["saw"])
        return page

    def test_all_chapters(self):
        self.assertEqual([page["chapter"] for page in self.told["chapters"]], CHAPTERS)

    def assert_claim(self, page, holds):
        """What it concludes follows from its facts, whatever this machine made of them."""
        self.assertEqual(page["holds"], holds, page)

    def test_serial(self):
        page = self.chapter("serial")
        facts = page["facts"]
        self.assertGreaterEqual(facts["serial_seconds"], 0.8)
        self.assertGreaterEqual(facts["together_seconds"], 0.2)
        self.assert_claim(page, facts["together_seconds"] < facts["serial_seconds"] / 2)
        self.assertEqual([c["job"]["tasks_done"] for c in page["commands"]], [4, 4])
        self.assertEqual(page["commands"][0]["command"], "pppctl run serial words")

    def test_machines(self):
        page = self.chapter("machines")
        if not page["commands"]:
            self.assertTrue(page["not_shown"])
            self.assertFalse(page["holds"])
            return
        self.assertEqual(page["facts"]["done"], 120)
        self.assertEqual((page["holds"], page["not_shown"]), (True, []), page)
        self.assertIn("signal 9", self.daemon.log())

    def test_processes(self):
        page = self.chapter("processes")
        self.assertEqual(page["facts"]["crash_done"], 5)
        self.assertLessEqual(page["facts"]["replaced"], 1)
        self.assertTrue(page["holds"], page)
        if "memory_done" not in page["facts"]:
            self.assertRegex(page["not_shown"][0], "memory")

    def test_threads(self):
        page = self.chapter("threads")
        facts = page["facts"]
        self.assertEqual((facts["expected"], facts["counted_locked"]), (8_000_000, 800_000))
        self.assertLessEqual(facts["counted"], facts["expected"])
        self.assert_claim(page, facts["counted"] < facts["expected"])
        self.assertEqual(page["commands"][2]["job"]["state"], "failed")

    def test_lock(self):
        page = self.chapter("lock")
        facts = page["facts"]
        several = page["commands"][0]["job"]["summary"]["host"]["cpus"] > 1
        self.assert_claim(page, several and facts["lock_ratio"] > 0.85 and facts["no_lock_ratio"] < 0.8 and
                          facts["released_ratio"] < 0.8)

    def test_async(self):
        page = self.chapter("async")
        self.assertGreaterEqual(page["facts"]["waited_seconds"], 100)
        self.assert_claim(page, page["facts"]["wall_seconds"] < page["facts"]["waited_seconds"] / 20)

    def test_loop(self):
        page = self.chapter("loop")
        facts = page["facts"]
        self.assertGreaterEqual(facts["sleep_p99_seconds"], 0.05)
        self.assertGreaterEqual(facts["stall_max_seconds"], 0.05)
        self.assert_claim(page, facts["executor_sleep_p99_seconds"] < facts["sleep_p99_seconds"] / 3)

    def test_scaling(self):
        page = self.chapter("scaling")
        facts = page["facts"]
        self.assertEqual(len(facts), 6)
        self.assert_claim(page, facts["threads_wait_workers"] >= 4 * facts["threads_compute_workers"])

    def test_levels(self):
        page = self.chapter("levels")
        facts = page["facts"]
        self.assertTrue(all(value >= 0 for value in facts.values()), facts)
        self.assert_claim(page, facts["processes_worker_start_seconds"] > facts["threads_worker_start_seconds"] and
                          facts["processes_worker_bytes"] > facts.get("threads_worker_bytes", 0))

    def test_one_cpu(self):
        """A claim that cannot hold is not made."""
        daemon = self.fresh("one-cpu", wrap=["taskset", "-c", str(min(os.sched_getaffinity(0)))])
        page = self.chapter("lock", daemon)
        self.assertFalse(page["holds"])
        self.assertIn("there is one CPU", page["saw"])
        self.assertIn("Not seen here: ", self.talk("lock", daemon=daemon).out)

    def test_without_io_uring(self):
        daemon = self.fresh("forbidden", wrap=FORBID_IO_URING)
        for name in ("async", "loop"):
            page = self.chapter(name, daemon)
            self.assertFalse(page["holds"])
            self.assertIn("io_uring", page["not_shown"][0])
        self.assertRegex(self.talk("async", daemon=daemon).out, r"(?s)not shown: .*io_uring.*Not seen here: the level async")

    def test_as_it_is_read(self):
        for name in ("serial", "processes", "threads"):
            result = self.talk(name)
            self.assertEqual((result.status, result.err), (0, ""), result)
            self.assertRegex(result.out, rf"^1 of 1: .* \({name}\)\n")
            self.assertEqual(len(re.findall("(?m)^(What you saw|Not seen here): ", result.out)), 1)
            self.assertNotIn("\033", result.out)
            self.assertEqual([line for line in result.out.splitlines() if len(line) > 80 and "pppctl" not in line], [])

    def test_list(self):
        result = self.talk("--list")
        self.assertEqual([line.split()[0] for line in result.out.splitlines()], CHAPTERS)
        for arguments, says in ((["asyn"], 'no chapter "asyn"; did you mean async'), (["async", "loop"], '"loop" is too much')):
            result = self.talk(*arguments)
            self.assertEqual(result.status, USAGE)
            self.assertIn(says, result.err)

    def test_pages_are_turned(self):
        """On a terminal it waits for a key; q ends it, and Ctrl-C too."""
        for key, status in ((b"q", 0), (b"\x03", 130)):
            with self.subTest(key=key):
                ours, theirs = pty.openpty()
                popen = subprocess.Popen(self.daemon.pppctl_args("talk"), stdin=theirs, stdout=theirs, stderr=theirs,
                                         env=process.clean_environment(TERM="xterm"), start_new_session=True,
                                         preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)))
                os.close(theirs)
                text = b""
                while b"-- any key: " not in text:
                    self.assertTrue(select.select([ours], [], [], 60)[0], text)
                    text += os.read(ours, 1 << 16)
                os.write(ours, key)
                while select.select([ours], [], [], 60)[0]:
                    try:
                        more = os.read(ours, 1 << 16)
                    except OSError:
                        break
                    text += more
                self.assertEqual(popen.wait(60), status, text)
                os.close(ours)
                self.assertIn(b"1 of 9", text)
                self.assertNotIn(b"2 of 9", text)
