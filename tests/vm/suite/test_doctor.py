"""pppctl doctor: here, where everything is, everything works."""

from case import Case, needs


@needs("doctor", verb="")
class Doctor(Case):
    def test_all_is_well(self):
        result = self.assert_ok(self.pppd.pppctl("doctor"))
        for word in ("cgroup", "io_uring", "memory", "pids", "cpuset", "clone3", "pidfd"):
            self.assertIn(word, result.out)

    def test_a_stranger_is_told_what_is_missing(self):
        from commands import run
        result = run("pppctl", "doctor", user="stranger")
        self.assertNotEqual(result.status, 0, result)
        self.assertRegex(result.out + result.err, "group|permission")

    def test_io_uring_forbidden(self):
        """On a kernel that knows the switch."""
        path = "/proc/sys/kernel/io_uring_disabled"
        try:
            with open(path, "r+") as file:
                before = file.read()
                file.write("2")
        except FileNotFoundError:
            self.skipTest("this kernel has no kernel.io_uring_disabled (6.6)")
        self.addCleanup(self.write, path, before)
        result = self.pppd.pppctl("doctor")
        self.assertNotEqual(result.status, 0, result)
        self.assertIn("kernel.io_uring_disabled", result.out + result.err)

    @staticmethod
    def write(path, text):
        with open(path, "w") as file:
            file.write(text)
