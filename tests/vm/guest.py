"""The guest's side of tests/vm/run.py: installs the package, runs suite/test_*.py, reports on a virtio port.

A message is one line of JSON; "kind" tells what it is (see Report in run.py).
"""

import glob
import json
import os
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = "/dev/virtio-ports/tests.report"
JOURNAL_MAX = 1 << 20
# What depends on how the package was put in: each kind of package is tested by it.
OF_THE_PACKAGE = ("test_install", "test_access", "test_service", "test_package")
# Of the rest, what the machine with the .rpm runs where two divide it: about a half, by the time it takes.
OF_THE_RPM = ("test_blame", "test_limits", "test_restore", "test_user")
# What does not depend on which systemd and which kernel there are: where one Debian ran it, the next need not.
OF_NO_SUITE = ("test_access", "test_accounting.Many", "test_autopkgtest", "test_doctor", "test_exec",
               "test_interruption.Interruption", "test_journal", "test_limits.Cpu.test_half_a_cpu_takes_twice_as_long",
               "test_limits.Refusals.test_malformed", "test_limits.Refusals.test_past_the_machine", "test_limits.Time",
               "test_machines", "test_package", "test_ppp", "test_web")

sys.path[:0] = [HERE, os.path.join(HERE, "suite")]


class Line:
    """To the host."""

    def __init__(self):
        self.fd = os.open(PORT, os.O_WRONLY)

    def send(self, kind, **members):
        data = json.dumps({"kind": kind, **members}).encode() + b"\n"
        while data:
            data = data[os.write(self.fd, data):]


def mark(text):
    """Where tests begin and end shows in the journal."""
    with open("/dev/kmsg", "w") as file:
        file.write(f"<5>tests: {text}\n")


def journal(since):
    """What was logged since that time, by services and by the kernel."""
    subprocess.run(["journalctl", "--sync"])
    command = ["journalctl", "-b", "-o", "short-precise", "--no-pager", f"--since=@{since:.6f}"]
    return subprocess.run(command, stdout=subprocess.PIPE).stdout[-JOURNAL_MAX:].decode(errors="replace")


class Result(unittest.TestResult):
    def __init__(self, line):
        super().__init__()
        self.line = line
        self.began, self.since, self.texts = 0.0, time.time(), []

    def startTest(self, test):
        super().startTest(test)
        self.began, self.since, self.outcome, self.texts = time.monotonic(), time.time(), "passed", []
        mark(f"{test.id()} begins")
        self.line.send("begin", test=test.id())

    def stopTest(self, test):
        super().stopTest(test)
        mark(f"{test.id()} {self.outcome}")
        self._send(test, self.outcome, time.monotonic() - self.began, "\n".join(self.texts))

    def _send(self, test, outcome, seconds, text):
        log = journal(self.since) if outcome == "failed" else ""
        self.line.send("result", test=test.id(), outcome=outcome, seconds=seconds, text=text, journal=log)

    def addSkip(self, test, reason):
        self.outcome, self.texts = "skipped", [reason]
        if not hasattr(test, "_testMethodName"):
            self._send(test, "skipped", 0.0, reason)

    def _fail(self, test, error):
        text = self._exc_info_to_string(error, test)
        if hasattr(test, "_testMethodName"):
            self.outcome = "failed"
            self.texts.append(text)
        else:                                   # set-up or tear-down of a class
            self._send(test, "failed", 0.0, text)

    def addFailure(self, test, error):
        self._fail(test, error)

    def addError(self, test, error):
        self._fail(test, error)

    def addSubTest(self, test, subtest, error):
        if error:
            self.outcome = "failed"
            self.texts.append(f"{subtest.id()}:\n{self._exc_info_to_string(error, test)}")

    def addUnexpectedSuccess(self, test):
        self.outcome = "failed"


def pick(suite, pattern, leave_out):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from pick(item, pattern, leave_out)
        elif pattern in item.id() and not f"{item.id()}.".startswith(leave_out):
            yield item


def is_shared(name, share):
    """Whether a machine with that share runs the file: the .deb's, the .rpm's, or all, none or a few of them."""
    if share in ("package", "rpm"):
        return name in OF_THE_PACKAGE or (share == "rpm" and name in OF_THE_RPM)
    return share != "none" and (share != "deb" or name not in OF_THE_RPM)


def names(share, role):
    """test_install first: the others stand on it. test_package after them: it takes the package away. Then the pair."""
    found = sorted(os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "suite", "test_*.py")))
    place = {"test_install": -1, "test_package": 1}
    found = sorted((name for name in found if is_shared(name, share)), key=lambda name: place.get(name, 0))
    return found + ([f"pair_{role}"] if role else [])


def run_tests(line, share, role, pattern):
    """Whatever the pattern, the package is installed."""
    leave_out = tuple(f"{name}." for name in OF_NO_SUITE) if share == "brief" else ()
    if leave_out:
        line.send("note", text=f"left out, since they do not depend on the suite: {' '.join(OF_NO_SUITE)}")
    tests = list(pick(unittest.defaultTestLoader.loadTestsFromNames(names(share, role)), pattern, leave_out))
    if tests and not any("test_install." in test.id() for test in tests):
        import package
        package.install()
    unittest.TestSuite(tests).run(Result(line))


def die():
    """Without a word to anybody, while whatever was in hand is in hand; QEMU ends instead of booting again."""
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("b")


def main():
    line = Line()
    with open("/proc/uptime") as file:
        line.send("note", text=f"up after {file.read().split()[0]} s")
    with open(os.path.join(HERE, "arguments")) as file:
        arguments = json.load(file)
    os.environ["PPPCTL_TEST_MANY"] = str(arguments["many"])
    import case
    case.note = lambda text: line.send("note", text=text)
    case.waits = lambda: line.send("waits")
    run_tests(line, arguments["share"], arguments["role"], arguments["only"])
    line.send("end")
    if arguments["role"] == "second":
        die()


if __name__ == "__main__":
    main()
