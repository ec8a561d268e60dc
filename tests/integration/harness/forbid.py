"""Runs a command under a seccomp filter: python3 forbid.py NUMBER ERRNO COMMAND…

System call NUMBER fails with ERRNO; all others are allowed. A container runtime does the same. With "kill" for
ERRNO the process dies there and then.
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
RET_KILL_PROCESS = 0x80000000
LD_W_ABS, JEQ_K, RET_K = 0x20, 0x15, 0x06
IO_URING_SETUP = 425
CLONE3 = 435
FALLOCATE = {"x86_64": 285, "aarch64": 47}[os.uname().machine]


def instruction(code, true, false, k):
    return struct.pack("<HBBI", code, true, false, k)


def install(number, verdict):
    code = (instruction(LD_W_ABS, 0, 0, 0) + instruction(JEQ_K, 0, 1, number)
            + instruction(RET_K, 0, 0, verdict) + instruction(RET_K, 0, 0, RET_ALLOW))
    buffer = ctypes.create_string_buffer(code)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    program = Program(len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for args in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*args) != 0:
            sys.exit(f"forbid.py: prctl({args[0]}): {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    install(int(sys.argv[1]), RET_KILL_PROCESS if sys.argv[2] == "kill" else RET_ERRNO | int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])
