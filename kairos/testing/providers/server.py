"""The HTTP of the fakes: sockets, threads, and bytes at the right moment."""

from __future__ import annotations

import gzip
import select
import socket
import struct
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from kairos.testing.providers.wire import Hangup, Head, Pause, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Call", "Server"]

# How long a function that answers may go on behind the end of the test.
_LAST_WORDS = 1.0
_LOOK = 0.05  # seconds between looks at whether the server is being stopped


class Call(NamedTuple):
    """A request as HTTP has it; header names are in small letters."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Server:
    """A server on 127.0.0.1 that answers each call with what `answer` makes of it.

    The system chooses the port, which stays the same when the server is stopped and started
    again; while it is stopped, connections are refused.  `finished` hears of the end of every
    answer, whole or not.
    """

    def __init__(self, answer: Callable[[Call], Wire], finished: Callable[[], None]) -> None:
        self._answer = answer
        self._finished = finished
        self._listening: _Listening | None = None
        self._thread: threading.Thread | None = None
        self._hung_up = 0
        self.port = 0

    @property
    def listens(self) -> bool:
        """Whether its port is open."""
        return self._listening is not None

    @property
    def hung_up(self) -> int:
        """How many answers were given to nobody: the client had closed its connection."""
        return self._hung_up + (self._listening.hung_up if self._listening else 0)

    def start(self) -> None:
        """Listen."""
        self._listening = _Listening(("127.0.0.1", self.port), self._answer, self._finished)
        self.port = self._listening.server_address[1]
        self._thread = threading.Thread(
            target=self._listening.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="fake-providers",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection, and end every silence."""
        if self._listening is None or self._thread is None:
            return
        self._listening.closing.set()
        self._listening.shutdown()
        self._listening.server_close()
        self._listening.hang_up()
        self._thread.join()
        self._hung_up += self._listening.hung_up
        self._listening = self._thread = None


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(
        self,
        address: tuple[str, int],
        answer: Callable[[Call], Wire],
        finished: Callable[[], None],
    ) -> None:
        self.answer = answer
        self.finished = finished
        self.closing = threading.Event()
        self.hung_up = 0
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is part of the test."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection."""
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def lost(self) -> None:
        """Count a client that has hung up."""
        with self._changed:
            self.hung_up += 1

    def shutdown_request(self, request: Any) -> None:
        """Close the connection, and forget it."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def hang_up(self) -> None:
        """Close what is still open; each handler notices, and is given a moment to end."""
        with self._changed:
            left = list(self._connections)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, timeout=_LAST_WORDS)

    def server_close(self) -> None:
        """Close the port without waiting for handlers: `hang_up` ends them."""
        self.socket.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every reply takes 40 ms more

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's own
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        self._reply()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - http.server's own names

    @property
    def _listening(self) -> _Listening:
        return cast("_Listening", self.server)

    def _reply(self) -> None:
        wire = self._listening.answer(self._call())
        try:
            self._send(wire)
        except OSError:
            self.close_connection = True
            if not self._listening.closing.is_set():
                self._listening.lost()
        finally:
            self._listening.finished()

    def _send(self, wire: Wire) -> None:
        if wire.head is not None:
            self._send_head(wire.head)
        chunked = wire.head is not None and wire.head.length is None
        for piece in wire.body:
            if isinstance(piece, Pause):
                self._pause(piece.seconds)
            elif isinstance(piece, Hangup):
                self._hang_up(reset=piece.reset)
                return
            elif piece:
                self._write(_chunks(piece, wire.write) if chunked else _cut(piece, wire.write))
        if chunked:
            self._write([b"0\r\n\r\n"])

    def _call(self) -> Call:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(headers.get("content-length") or 0))
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return Call(self.command, self.path, headers, body)

    def _chunks(self) -> Iterator[bytes]:
        """Read what a client sends without having said how much it is."""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue

    def _send_head(self, head: Head) -> None:
        self._pause(head.delay)
        if head.interim is not None:
            self._write([_status_line(head.interim), b"link: </style.css>; rel=preload\r\n\r\n"])
        headers = dict(head.headers)
        if head.length is None:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(head.length)
        lines = [_status_line(head.status)]
        lines += [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers.items()]
        lines.append(b"\r\n")
        if not head.between:
            lines = [b"".join(lines)]
        for line in lines:
            self._pause(head.between)
            self._write([line])

    def _write(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.wfile.write(piece)

    def _pause(self, seconds: float) -> None:
        """Say nothing, until the time is over, the server is stopped, or the client hangs up."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._listening.closing.is_set():
            if self._gone(min(left, _LOOK)):
                raise ConnectionResetError

    def _gone(self, seconds: float) -> bool:
        """Wait for the client to close its end, and say whether it did."""
        if not self._hears_of_the_end:
            self._listening.closing.wait(seconds)
            return False
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        return bool(poll.poll(seconds * 1000.0))

    _hears_of_the_end = hasattr(select, "POLLRDHUP")
    """Elsewhere than on Linux a client that hangs up is noticed when something is sent to it."""

    def _hang_up(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            now = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.rfile.close()
            self.wfile.close()
            self.connection.close()


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Overloaded"  # 529 is nobody's standard
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


def _cut(piece: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(piece), size or len(piece)):
        yield piece[at : at + (size or len(piece))]


def _chunks(piece: bytes, size: int) -> Iterator[bytes]:
    for part in _cut(piece, size):
        yield b"%x\r\n%s\r\n" % (len(part), part)
