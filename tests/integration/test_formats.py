"""pppctl results --format: read back by programs that know the formats."""

import csv
import io
import json
import os
import time

from harness.case import Case

AWKWARD = ["plain", "a,b", 'say "x"', "tab\there", "back\\slash", " blanks ", "\u00fc,\u2211", "=1+1"]


def csv_rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def tsv_rows(text):
    """As IANA registers it, with the escapes that are said in the manual."""
    plain = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}

    def unescape(cell):
        out, escaped = "", False
        for char in cell:
            if escaped:
                out += plain[char]
                escaped = False
            elif char == "\\":
                escaped = True
            else:
                out += char
        return out
    lines = [[unescape(cell) for cell in line.split("\t")] for line in text.split("\n")[:-1]]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


class Formats(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.began = time.time()
        script = 'case $1 in a,b) exit 3;; plain) kill -9 $$;; " blanks ") sleep 40;; esac; echo "$1"'
        path = os.path.join(cls.temp, "inputs")
        with open(path, "w") as file:
            file.write("".join(f"{line}\n" for line in AWKWARD))
        result = cls.daemon.pppctl("run", "threads", "exec", "--detach", "--task-timeout", "2", "--from", path, "--",
                                   "sh", "-c", script, "sh")
        cls.job = int(result.out)
        cls.daemon.wait(cls.job)
        cls.sums = cls.daemon.submit("serial", "sum", ["10", "x"])
        cls.daemon.wait(cls.sums)

    def results(self, job, *options, status=1):
        result = self.daemon.pppctl("results", job, *options)
        self.assertEqual((result.status, result.err), (status, ""))
        return result.stdout.decode()

    def test_data_is_what_json_has(self):
        told = [json.loads(line) for line in self.results(self.job, "--json").splitlines()]
        self.assertEqual(self.results(self.job, "--format", "json"), self.results(self.job, "--json"))
        for read, name in ((csv_rows, "csv"), (tsv_rows, "tsv")):
            with self.subTest(format=name):
                rows = read(self.results(self.job, "--format", name))
                self.assertEqual([row["input"] for row in rows], AWKWARD)
                self.assertEqual([row["task"] for row in rows], [str(i + 1) for i in range(len(AWKWARD))])
                for row, expected in zip(rows, told, strict=True):
                    for key in set(row) - {"task", "seconds"}:
                        value = expected.get(key, "")
                        self.assertEqual(row[key], f"{value:.9f}" if isinstance(value, float) else str(value), (key, row))
                    self.assertAlmostEqual(float(row["seconds"]), expected["end_seconds"] - expected["start_seconds"], 6)

    def test_lines_of_csv_end_as_they_should(self):
        text = self.results(self.sums, "--format", "csv")
        self.assertTrue(text.startswith("task,input,state,reason,detail,value,start_seconds,seconds,worker\r\n1,10,done,,,45,"))
        self.assertEqual(text.count("\r\n"), 3)

    def test_job_log(self):
        """The columns of GNU parallel."""
        lines = [line.split("\t") for line in self.results(self.job, "--format", "joblog").split("\n")[:-1]]
        self.assertEqual(lines[0], ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal",
                                    "Command"])
        by_input = dict(zip(AWKWARD, lines[1:], strict=True))
        self.assertEqual([by_input["a,b"][i] for i in (5, 6, 7)], ["0", "3", "0"])
        self.assertEqual([by_input["plain"][i] for i in (6, 7)], ["0", "9"])
        self.assertEqual([by_input[" blanks "][i] for i in (6, 7)], ["-1", "0"])
        self.assertEqual([by_input["=1+1"][i] for i in (5, 6, 7)], ["5", "0", "0"])
        self.assertTrue(by_input["=1+1"][8].endswith(" sh =1+1"), by_input["=1+1"][8])
        self.assertGreater(float(by_input["plain"][2]), self.began - 1)
        self.assertLess(float(by_input["plain"][2]), time.time() + 1)
        result = self.daemon.pppctl("results", self.sums, "--format", "joblog")
        self.assert_says(result, 2, "a job log is of commands")

    def test_table(self):
        lines = self.results(self.job, "--format", "table").splitlines()
        self.assertEqual(lines[0].split(), ["TASK", "RESULT", "TIME", "CPU", "MEMORY", "INPUT"])
        self.assertRegex(lines[1], r"^ +1  signal 9 .*  plain$")
        self.assertRegex(lines[2], r"^ +2  exit 3 .*  a,b$")
        self.assertRegex(lines[6], r"^ +6  timeout .*blanks")
        lines = self.results(self.sums, "--format", "table").splitlines()
        self.assertRegex(lines[1], r"^ +1 +45 .*  10$")
        self.assertRegex(lines[2], r"^ +2 +not-a-number .*  x$")

    def test_failed_only(self):
        rows = csv_rows(self.results(self.job, "--format", "csv", "--failed"))
        self.assertEqual([row["input"] for row in rows], ["plain", "a,b", " blanks "])

    def test_what_is_none(self):
        self.assert_says(self.daemon.pppctl("results", self.job, "--format", "xml"), 2, "give one of json, table, csv")
        self.assert_says(self.daemon.pppctl("results", self.job, "--format", "csv", "--json"), 2, "leave one")
