"""pppctl waits for a job while the daemon is restarted: it connects again, and gets its answer."""

import json
import re
import signal
import socket
import sys

from harness import activate
from harness.case import LEVELS, Case
from harness.poll import wait_until
from harness.process import alive, reap_orphans

END = {"SIGTERM": lambda daemon: daemon.terminate(), "SIGKILL": lambda daemon: daemon.kill()}
AWAY = "pppd went away; waiting for it to come back\n"
BACK = "pppd is back\n"
INPUTS = [f"0.{hundredths:02}" for hundredths in range(10, 22)]        # told apart by what they print
LINES = [f"{text}: {float(text)} s" for text in INPUTS]


class Reconnect(Case):
    """Each test has a daemon of its own, to end as it likes."""

    with_daemon = False

    def restart(self, daemon, how, process):
        """Ends the daemon, waits until pppctl has noticed, and starts it again."""
        END[how](daemon)
        wait_until(lambda: AWAY.encode() in process.errors_so_far() or not process.running(), "pppctl to notice")
        daemon.start()

    def assert_told_once(self, result):
        self.assertEqual((result.err.count(AWAY), result.err.count(BACK)), (1, 1), result)

    def wait_for_a_record(self, daemon, job):
        wait_until(lambda: any(daemon.rows(job)), "a first record")

    def await_connection(self, process):
        """Until pppctl is connected it would be refused, instead of losing a connection. Its signalfd comes after."""
        wait_until(lambda: "anon_inode:[signalfd]" in process.descriptors(), "pppctl to connect")

    def test_run(self):
        """Every line once, also of the tasks that ended while the daemon was away."""
        for how in END:
            for level in LEVELS:
                with self.subTest(how=how, level=level):
                    daemon = self.fresh(f"run-{how}-{level}")
                    options = () if level == "serial" else ("--workers", "2")
                    process, job = self.start(level, "sleep", *INPUTS, *options, daemon=daemon)
                    self.wait_for_a_record(daemon, job)
                    self.restart(daemon, how, process)
                    result = process.wait()
                    reap_orphans()
                    self.assertEqual(result.status, 0, result)
                    self.assertEqual(sorted(result.out.splitlines()), LINES, result)
                    self.assert_told_once(result)
                    self.assertEqual(daemon.show(job)["tasks_done"], len(INPUTS))

    def test_lines_come_on_after_the_restart(self):
        """Not only at the end: what was printed before the last task ended has a line of a task begun after."""
        daemon = self.fresh("lines")
        process, job = self.start("serial", "sleep", "0.01", "0.5", "0.02", "60", daemon=daemon)
        wait_until(lambda: b"0.01: 0.01 s\n" in process.so_far(), "the first line")
        self.restart(daemon, "SIGKILL", process)
        wait_until(lambda: b"0.02: 0.02 s\n" in process.so_far(), "a line after the restart")
        process.signal(signal.SIGINT)
        result = process.wait()
        reap_orphans()
        self.assertEqual(result.status, 130, result)
        self.assertRegex(result.err, f"cancelled job {job}")

    def test_run_ordered_and_json(self):
        daemon = self.fresh("ordered")
        process, job = self.start("async", "sleep", *reversed(INPUTS), "--ordered", "--json", daemon=daemon)
        self.restart(daemon, "SIGKILL", process)
        result = process.wait()
        reap_orphans()
        self.assertEqual(result.status, 0, result)
        *rows, summary = map(json.loads, result.out.splitlines())
        self.assertEqual([row["input"] for row in rows], INPUTS[::-1])
        self.assertEqual((summary["job"], summary["tasks_done"]), (job, len(INPUTS)))

    def test_wait(self):
        for how in END:
            for status, inputs in ((0, ["0.3"] * 4), (1, ["0.3", "never", "0.3"])):
                with self.subTest(how=how, status=status):
                    daemon = self.fresh(f"wait-{how}-{status}")
                    job = daemon.submit("threads", "sleep", inputs, workers=1)
                    process = daemon.pppctl_start("wait", job)
                    self.addCleanup(process.end)
                    self.wait_for_a_record(daemon, job)
                    self.restart(daemon, how, process)
                    result = process.wait()
                    reap_orphans()
                    self.assertEqual((result.status, result.out), (status, ""), result)
                    self.assert_told_once(result)

    def test_the_job_ends_meanwhile(self):
        daemon = self.fresh("meanwhile")
        job = daemon.submit("async", "sleep", ["0.3"])
        process = daemon.pppctl_start("wait", job, "-q")
        self.addCleanup(process.end)
        runner = daemon.runner(job)
        self.await_connection(process)
        daemon.kill()
        wait_until(lambda: reap_orphans() or not alive(runner), "the runner's end")
        daemon.start()
        result = process.wait()
        self.assertEqual((result.status, result.out, result.err), (0, "", ""), result)

    def test_restarted_again_and_again(self):
        daemon = self.fresh("again")
        process, job = self.start("async", "sleep", *(["0.2"] * 60), "--workers", "2", daemon=daemon)
        for i in range(1, 4):
            before = sum(row is not None for row in daemon.rows(job))
            daemon.kill()
            wait_until(lambda: process.errors_so_far().count(AWAY.encode()) == i, "pppctl to notice")
            daemon.start()
            wait_until(lambda: process.errors_so_far().count(BACK.encode()) == i, "pppctl to come back")
            wait_until(lambda: sum(row is not None for row in daemon.rows(job)) > min(before, 59), "progress")
        result = process.wait()
        reap_orphans()
        self.assertEqual((result.status, result.out), (0, "0.2: 0.2 s\n" * 60), result)

    def test_compare(self):
        daemon = self.fresh("compare")
        before = set(daemon.unfinished())
        process = daemon.pppctl_start("compare", "sleep", *INPUTS, "--levels", "serial,async")
        self.addCleanup(process.end)
        job = wait_until(lambda: set(daemon.unfinished()) - before, "the job").pop()
        self.wait_for_a_record(daemon, job)
        self.restart(daemon, "SIGKILL", process)
        result = process.wait()
        reap_orphans()
        self.assertEqual(result.status, 0, result)
        self.assertEqual(sorted(re.findall(r"(?m)^0\..*: .* s$", result.out)), sorted(LINES * 2), result)
        self.assertRegex(result.out, r"(?m)^async .*x")
        self.assert_told_once(result)

    def test_ctrl_c_while_it_is_away(self):
        daemon = self.fresh("ctrl-c")
        process, job = self.start("async", "sleep", "60", daemon=daemon)
        daemon.kill()
        wait_until(lambda: AWAY.encode() in process.errors_so_far(), "pppctl to notice")
        process.signal(signal.SIGINT)
        result = process.wait(5)
        self.assertEqual(result.status, 130, result)
        self.assertRegex(result.err, f"job {job} is not cancelled; .* pppctl cancel {job}", result)
        daemon.start()
        self.assertEqual(daemon.show(job)["state"], "running")

    def test_ctrl_c_of_wait_while_it_is_away(self):
        daemon = self.fresh("ctrl-c-wait")
        job = daemon.submit("async", "sleep", ["60"])
        process = daemon.pppctl_start("wait", job)
        self.addCleanup(process.end)
        self.await_connection(process)
        daemon.kill()
        wait_until(lambda: AWAY.encode() in process.errors_so_far(), "pppctl to notice")
        process.signal(signal.SIGTERM)
        result = process.wait(5)
        self.assertEqual(result.status, 130, result)
        daemon.start()

    def test_a_job_that_is_not_there_any_more(self):
        """What comes back has lost its state: a plain error, and not another wait."""
        daemon = self.fresh("lost")
        process, job = self.start("async", "sleep", "60", daemon=daemon)
        daemon.kill()
        wait_until(lambda: AWAY.encode() in process.errors_so_far(), "pppctl to notice")
        other = self.fresh("other", socket_path=daemon.socket)
        result = process.wait(15)
        self.assertEqual(result.status, 4, result)
        self.assertRegex(result.err, f"there is no job {job}", result)
        other.terminate()
        daemon.start()
        daemon.cancel(job)

    def test_socket_of_a_service_manager(self):
        """The socket never closes: pppctl is connected again before the daemon runs."""
        with socket.socket(socket.AF_UNIX) as listener:
            path = self.path("held.sock")
            listener.bind(path)
            listener.listen(16)
            fd = listener.fileno()
            daemon = self.fresh("held", socket_path=path, listens=False, inherits=(fd,),
                                wrap=[sys.executable, activate.__file__, str(fd)])
            process, job = self.start("async", "sleep", "0.5", daemon=daemon)
            self.restart(daemon, "SIGKILL", process)
            result = process.wait()
            reap_orphans()
            self.assertEqual((result.status, result.out), (0, "0.5: 0.5 s\n"), result)
            self.assert_told_once(result)
