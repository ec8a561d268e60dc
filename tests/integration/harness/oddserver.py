"""An HTTP/1.1 server for what nginx cannot be made to do: it answers each path as its handler says.

A handler is a function (connection, request number of that path) that writes bytes to the socket as
it likes. When it returns True the connection is kept for the next request, else it is closed.
"""

import collections
import socket
import threading


class OddServer:
    def __init__(self, context=None):
        """With an ssl.SSLContext of a server it speaks TLS."""
        self.context = context
        self.handlers = {}
        self.counts = collections.Counter()     # requests by path
        self.requests = {}                      # the last one by path, as it came
        self.lock = threading.Lock()
        self.stopping = threading.Event()       # slow handlers wait on it, so that stop() ends them
        self.connections = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"

    def on(self, path, handler):
        self.handlers[path] = handler
        return self.url + path

    def start(self):
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        with self.lock:
            for connection in self.connections:
                _shut(connection)

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            while self._serve_one(connection):
                pass
        except OSError:
            pass                                # the client went away: its business
        finally:
            with self.lock:
                self.connections.discard(connection)
            connection.close()

    def _serve_one(self, connection):
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(65536)
            if not data:
                return False
            request += data
        path = request.split(b" ", 2)[1].decode()
        with self.lock:
            self.counts[path] += 1
            self.requests[path] = request
            count = self.counts[path]
        return self.handlers.get(path, not_found)(connection, count)


def _shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def head(status="200 OK", **fields):
    lines = [f"HTTP/1.1 {status}"] + [f"{key.replace('_', '-')}: {value}" for key, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def not_found(connection, _):
    connection.sendall(head("404 Not Found", Content_Length=0))
    return True


def send(data, keep=False):
    """Sends exactly these bytes, then closes, or waits for the next request."""
    def handler(connection, _):
        connection.sendall(data)
        return keep
    return handler


def body(data, content_type="text/plain", **fields):
    """A proper answer."""
    def handler(connection, _):
        connection.sendall(head(Content_Type=content_type, Content_Length=len(data), **fields) + data)
        return True
    return handler


def redirect(location):
    def handler(connection, _):
        connection.sendall(head("302 Found", Location=location, Content_Length=0))
        return True
    return handler


def chunked(pieces):
    """Each piece is a chunk and a packet of its own, its frame split too."""
    def handler(connection, _):
        connection.sendall(head(Content_Type="text/plain", Transfer_Encoding="chunked"))
        for piece in pieces:
            frame = b"%x\r\n" % len(piece) + piece + b"\r\n"
            connection.sendall(frame[:1])
            connection.sendall(frame[1:])
        connection.sendall(b"0\r\n\r\n")
        return True
    return handler


def drip(server, data, size, seconds):
    """Sends `size` bytes at a time with a pause between; ends early when the server stops."""
    def handler(connection, _):
        connection.sendall(head(Content_Type="text/plain", Content_Length=len(data)))
        for at in range(0, len(data), size):
            connection.sendall(data[at:at + size])
            if server.stopping.wait(seconds):
                return False
        return True
    return handler


def never(server):
    """Takes the request and does not answer."""
    def handler(_, __):
        server.stopping.wait()
        return False
    return handler


def together(n, seconds=60.0):
    """Answers n requests at once, when the last of them is there: proof that they overlap, and of no time."""
    barrier = threading.Barrier(n)

    def handler(connection, count):
        try:
            barrier.wait(seconds)
        except threading.BrokenBarrierError:
            return False
        return body(b"one two three")(connection, count)
    return handler


def fail_first(n, bad, good):
    """The first n requests are answered by `bad`, later ones by `good`."""
    def handler(connection, count):
        return (bad if count <= n else good)(connection, count)
    return handler


def reset(connection, _):
    """Sends half an answer and a TCP reset."""
    connection.sendall(head(Content_Length=1000) + b"some words ")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return False
