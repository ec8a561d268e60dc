"""The results file, read as include/pppctl/results.h lays it out."""

import collections
import os
import re
import struct
import time

from . import settings

HEADER_SIZE = 4096
MAGIC = b"pppres\r\n"
RECORD = struct.Struct("<QQQiHBB")
NONE, DONE, FAILED = 0, 1, 2
NEXT_OFFSET, COUNTS_OFFSET = 128, 256           # each in a cache line of its own

Row = collections.namedtuple("Row", "value start_ns end_ns detail worker reason state")
Header = collections.namedtuple("Header", "condition n_tasks epoch_ns n_done n_failed")


def reasons():
    """{"HTTP_STATUS": 10, …} from the header itself, so that tests name reasons and no numbers."""
    with open(os.path.join(settings.source, "include/pppctl/results.h")) as file:
        return {name: int(number) for name, number in
                re.findall(r"PPP_REASON_([A-Z_]+) = (\d+)", file.read())}


def read(fd):
    """All records of the file, which is closed; None where there is none yet."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        data = file.read()
    magic, version, header_size, record_size, _, n_tasks = struct.unpack_from("<8sIIIIQ", data)
    assert (magic, version, header_size, record_size) == (MAGIC, 1, HEADER_SIZE, RECORD.size), data[:32]
    assert len(data) >= HEADER_SIZE + n_tasks * RECORD.size, f"{len(data)} bytes for {n_tasks} tasks"
    rows = [Row(*RECORD.unpack_from(data, HEADER_SIZE + i * RECORD.size)) for i in range(n_tasks)]
    return [row if row.state != NONE else None for row in rows]


def create(path, n_tasks):
    """An empty results file, as the supervisor lays it out."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot_id = bytes.fromhex(file.read().strip().replace("-", ""))
    header = struct.pack("<8sIIIIQ16sQq", MAGIC, 1, HEADER_SIZE, RECORD.size, 0, n_tasks, boot_id,
                         time.time_ns(), time.monotonic_ns())
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(HEADER_SIZE + n_tasks * RECORD.size)


def start_over(path):
    """For what has no record, as the supervisor does before it starts a runner again."""
    rows = read(os.open(path, os.O_RDONLY))
    states = [row.state for row in rows if row]
    with open(path, "r+b") as file:
        file.seek(NEXT_OFFSET)
        file.write(struct.pack("<Q", 0))
        file.seek(COUNTS_OFFSET)
        file.write(struct.pack("<QQ", states.count(DONE), states.count(FAILED)))


def header(path):
    with open(path, "rb") as file:
        data = file.read(HEADER_SIZE)
    condition, n_tasks = struct.unpack_from("<IQ", data, 20)
    epoch_ns, = struct.unpack_from("<q", data, 56)
    return Header(condition, n_tasks, epoch_ns, *struct.unpack_from("<QQ", data, COUNTS_OFFSET))


def conditions():
    """{"NO_NODE": 1, …}, from the header."""
    with open(os.path.join(settings.source, "include/pppctl/results.h")) as file:
        return {name: int(number) for name, number in
                re.findall(r"PPP_CONDITION_([A-Z_]+) = (\d+)", file.read())}
