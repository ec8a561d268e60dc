"""The results file, read as include/pppctl/results.h lays it out."""

import collections
import os
import re
import struct

from . import settings

HEADER_SIZE = 4096
MAGIC = b"pppres\r\n"
RECORD = struct.Struct("<QQQiHBB")
NONE, DONE, FAILED = 0, 1, 2

Row = collections.namedtuple("Row", "value start_ns end_ns detail worker reason state")


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
