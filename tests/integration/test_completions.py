"""What bash, and zsh and fish where they are there, make of `pppctl --complete`."""

import os
import shlex
import shutil
import subprocess

from harness import process, settings
from harness.case import Case

COMPLETIONS = os.path.join(settings.source, "packaging", "completions")


class Completions(Case):
    def setUp(self):
        self.path = f"{os.path.dirname(process.program('pppctl'))}:{process.clean_environment()['PATH']}"

    def shell(self, *argv):
        # fish makes its directories where it is told that home is.
        environment = {**process.clean_environment(), "PATH": self.path, "HOME": self.temp}
        return subprocess.run(argv, cwd=settings.source, env=environment, capture_output=True, text=True, check=True,
                              timeout=60).stdout

    def bash(self, *words):
        script = (f". {shlex.quote(os.path.join(COMPLETIONS, 'pppctl.bash'))}; COMP_WORDS=(\"$@\"); "
                  "COMP_CWORD=$(($# - 1)); _pppctl; printf '%s\\n' \"${COMPREPLY[@]}\"")
        return self.shell("bash", "-c", script, "bash", "pppctl", *words).splitlines()

    def test_bash(self):
        self.assertEqual(self.bash("run", "a"), ["async"])
        self.assertEqual(self.bash("compare", "--levels", "serial,as"),
                         ["serial,async", "serial,async+threads", "serial,async+processes"])
        self.assertEqual(self.bash("compare", "--ti"), ["--time-max", "--timeline"])
        self.assertEqual(self.bash("timeline", "--as"), ["--ascii"])
        self.assertEqual(self.bash("run", "--color", "=", "al"), ["always"])
        self.assertEqual(self.bash("run", "--from", "READ"), ["README.md"])
        self.assertEqual(self.bash("run", "--worker-mem"), ["--worker-memory-max", "--worker-memory-high"])

    def test_jobs_of_the_daemon(self):
        self.daemon.pppctl("run", "serial", "sum", "1", "-q")
        socket = self.daemon.socket
        self.assertEqual(self.bash("--socket", socket, "show", ""), ["1"])
        self.assertEqual(self.bash("--socket", "=", socket, "wait", "1"), ["1"])
        self.assertEqual(self.bash("--socket", socket, "show", "2"), [""])
        self.assertEqual(self.bash("--socket", socket, "timeline", "1", "1", "1", "1", ""), ["1"])

    def test_fish(self):
        if not shutil.which("fish"):
            self.skipTest("there is no fish")

        def fish(line):
            return self.shell("fish", "-N", "-c", f"source {COMPLETIONS}/pppctl.fish; complete -C '{line}'").splitlines()

        self.assertEqual(fish("pppctl run a"), ["async\tin flight together on an io_uring completion loop"])
        self.assertEqual(fish("pppctl run --from=READ"), ["--from=README.md"])
        self.assertEqual([line.split("\t")[0] for line in fish("pppctl compare --levels=serial,as")],
                         ["--levels=serial,async", "--levels=serial,async+threads",
                          "--levels=serial,async+processes"])
