"""Servers on this machine that speak bytes: what no well-behaved server would send."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HEAD", "Drip", "Kept", "Raw", "serving"]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
_PAUSE = 0.03


class Raw(NamedTuple):
    """Bytes that are sent at once; then the connection ends, in good order or by a reset."""

    data: bytes
    reset: bool = False


class Drip(NamedTuple):
    """Bytes that are sent at once, more that come again and again, and silence after so many."""

    at_once: bytes
    again: bytes
    times: int = 100_000


class Kept(NamedTuple):
    """An answer that is given to every request on a connection, which stays open."""

    data: bytes


class _Server:
    def __init__(self, what: Raw | Drip | Kept, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listening = socket.create_server((host, 0), family=family)
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        self._what = what
        named = f"[{host}]" if ":" in host else host
        self.url = f"http://{named}:{self.listening.getsockname()[1]}"

    def accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            what = self._what
            self.requests.append(_received(connection))
            while isinstance(what, Kept):
                connection.sendall(what.data)
                if not (again := _received(connection)):
                    return
                self.requests.append(again)
            if isinstance(what, Raw):
                connection.sendall(what.data)
                if what.reset:
                    zero = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, zero)
                else:
                    connection.shutdown(socket.SHUT_WR)
                    self.over.wait(0.2)
                return
            connection.sendall(what.at_once)
            for _ in range(what.times):
                if self.over.wait(_PAUSE):
                    return
                connection.sendall(what.again)
            self.over.wait()


def _received(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        data += part
        if not part or data.startswith(b"\x16"):  # TLS begins so
            return data
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    while left > 0 and (part := connection.recv(65_536)):
        left -= len(part)
    return data


@contextlib.contextmanager
def serving(what: Raw | Drip | Kept, host: str = "127.0.0.1") -> Iterator[_Server]:
    """Answer every connection with the same; `.url` says where, `.requests` has the heads."""
    server = _Server(what, host)
    thread = threading.Thread(target=server.accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        with contextlib.suppress(OSError):
            server.listening.shutdown(socket.SHUT_RDWR)
        server.listening.close()
        thread.join()
