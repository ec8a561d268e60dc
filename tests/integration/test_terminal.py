"""What a job brings along (inputs, paths, names) is shown on a terminal, and never obeyed by it."""

import json
import os
import pty
import re
import subprocess
import unicodedata

from harness import process
from harness.case import Case

NAME = "a\x1b[2Jb\x9b31m\u202etxt\u2066.exe\x07"
SHOWN = r"a\x1b[2Jb\x9b31m\u202etxt\u2066.exe\a"


class Terminal(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = os.path.join(cls.temp, NAME)
        with open(cls.file, "w", encoding="utf-8") as file:
            file.write("one two three")
        cls.job = cls.daemon.submit("serial", "words", [cls.file, cls.file + "-gone"], ca_file=cls.file)
        cls.daemon.wait(cls.job)

    def on_terminal(self, *args):
        """What pppctl writes to one."""
        master, slave = pty.openpty()
        popen = subprocess.Popen(self.daemon.pppctl_args(*args), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                                 env=process.clean_environment(TERM="dumb"))
        os.close(slave)
        data = b""
        try:
            while chunk := os.read(master, 65536):
                data += chunk
        except OSError:                 # EIO: the other side is closed
            pass
        os.close(master)
        popen.wait()
        return data.decode(errors="replace").replace("\r\n", "\n")

    def assert_tame(self, text, *args):
        hidden = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}
        self.assertEqual(hidden, set(), (args, text))

    def test_nothing_is_obeyed(self):
        for args in (("results", self.job), ("results", self.job, "--failed"), ("results", self.job, "--json"),
                     ("show", self.job), ("show", self.job, "--json"), ("list",), ("list", "--json"), ("wait", self.job),
                     ("run", "serial", "words", self.file, self.file + "-gone"),
                     ("compare", "words", self.file, "--levels", "serial,threads"),
                     ("run", "serial", "words", "--from", self.file + "-gone"), ("run", NAME), ("show", NAME)):
            with self.subTest(args=args):
                self.assert_tame(self.on_terminal(*args), *args)

    def test_it_is_shown(self):
        self.assertIn(f"{SHOWN}: 3 words\n", self.on_terminal("results", self.job))
        self.assertIn(f"{SHOWN}-gone: failed: ", self.on_terminal("results", self.job))
        self.assertRegex(self.on_terminal("results", self.job, "--json"), re.escape(json.dumps(NAME)[1:5]))

    def test_a_running_job(self):
        """Its ca_file is told as long as there is no summary."""
        job = self.daemon.submit("serial", "sleep", ["60"], ca_file=self.file)
        shown = self.on_terminal("show", job)
        self.daemon.cancel(job)
        self.assert_tame(shown)
        self.assertIn(f"{SHOWN}\n", shown)

    def test_a_pipe_gets_bytes_as_they_are(self):
        result = self.daemon.pppctl("results", self.job)
        self.assertIn(f"{self.file}: 3 words\n".encode(), result.stdout)
        rows = [json.loads(line) for line in self.daemon.pppctl("results", self.job, "--json").out.splitlines()]
        self.assertEqual([row["input"] for row in rows], [self.file, self.file + "-gone"])


class CutShort(Case):
    def test_a_results_file_that_was_cut(self):
        job = self.daemon.submit("serial", "sum", range(5000))
        self.daemon.wait(job)
        os.truncate(os.path.join(self.daemon.state, "jobs", str(job), "results"), 4096 + 32 * 10)
        result = self.daemon.pppctl("results", job)
        self.assert_says(result, 1, "cut short")
