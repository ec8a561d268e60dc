"""A process that is held right before its end, whoever kills it."""

import ctypes
import os

PTRACE_DETACH, PTRACE_SEIZE = 17, 0x4206
PTRACE_O_TRACEEXIT, PTRACE_EVENT_EXIT = 0x40, 6
WALL = 0x40000000


class HeldAtEnd:
    """All by one thread, as ptrace(2) wants it. OSError where processes may not be traced."""

    def __init__(self, pid):
        self.pid = pid
        _ptrace(PTRACE_SEIZE, pid, PTRACE_O_TRACEEXIT)

    def wait(self):
        """Until it would end: it runs no more, and has all it had open."""
        _, status = os.waitpid(self.pid, WALL)
        assert os.WIFSTOPPED(status) and status >> 16 == PTRACE_EVENT_EXIT, hex(status)

    def release(self):
        _ptrace(PTRACE_DETACH, self.pid, 0)


def _ptrace(request, pid, data):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, pid, None, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace {request:#x}: {os.strerror(error)}")
