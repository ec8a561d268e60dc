"""Socket activation as a service manager does it: python3 activate.py SOCKET|FD COMMAND…

FD is the number of a descriptor that listens already, and goes on to when the command has ended.

The command gets a listening socket as descriptor 3, and LISTEN_FDS, LISTEN_PID in its environment.
"""

import os
import socket
import sys

if __name__ == "__main__":
    if sys.argv[1].isdecimal():
        fd = int(sys.argv[1])
    else:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(sys.argv[1])
        listener.listen(128)
        fd = listener.fileno()
    os.dup2(fd, 3)
    os.set_inheritable(3, True)         # it may have been 3 before
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execv(sys.argv[2], sys.argv[2:])
