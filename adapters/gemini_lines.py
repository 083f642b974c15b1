"""What Google's SDK would not see of a stream, seen before it reads.

The SDK takes a comment for the beginning of an answer, knows `data:` only with a blank behind it,
and passes over an event that is JSON and no object, whatever was lost with it.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from kairos.adapters.vendor import Malformed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import TypeAlias

    Read: TypeAlias = Callable[..., Iterator[bytes]]
    ReadAsync: TypeAlias = Callable[..., AsyncIterator[bytes]]

__all__ = ["readable", "readable_async"]


class _Lines:
    """The lines of a stream of events, of which only those go on that the SDK reads rightly."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._within = False  # an event whose data have begun

    def feed(self, chunk: bytes) -> bytes:
        """Return what is to be read of the lines that a chunk completes."""
        if not self._rest and not self._within and _is_whole(chunk):
            return chunk
        if b"\n" not in chunk:
            self._rest.append(chunk)
            return b""
        *lines, rest = b"".join((*self._rest, chunk)).split(b"\n")
        self._rest = [rest] if rest else []
        return b"".join(map(self._kept, lines))

    def end(self) -> bytes:
        """Return what is left of a last line without an end."""
        return self._kept(b"".join(self._rest)).removesuffix(b"\n") if self._rest else b""

    def _kept(self, line: bytes) -> bytes:
        if line.startswith(b"data:"):
            data = line[5:].lstrip(b" ")
            if not self._within and data.strip() and not data.startswith(b"{"):
                raise Malformed("an event that is no object")
            self._within = True
            return b"data: " + data + b"\n"
        if line.startswith(b":"):
            return b""
        self._within = self._within and bool(line.strip())
        return line + b"\n"


def _is_whole(chunk: bytes) -> bool:
    """Tell whether a chunk is whole events of objects and nothing else, as nearly all are."""
    return (
        chunk.startswith(b"data: {")
        and chunk.endswith((b"\n\n", b"\n\r\n"))
        and b"\n:" not in chunk
        and chunk.count(b"\ndata:") == chunk.count(b"\ndata: {")
    )


def readable(read: Read) -> Read:
    """Return a way to read a body that keeps from the SDK what it would trip over.

    It raises Malformed for an event that is no object.
    """

    def reading(chunk_size: int | None = None) -> Iterator[bytes]:
        lines = _Lines()
        for chunk in read(chunk_size):
            if kept := lines.feed(chunk):
                yield kept
        if kept := lines.end():
            yield kept

    return reading


def readable_async(read: ReadAsync) -> ReadAsync:
    """Do as `readable`, on an event loop."""

    async def reading(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        lines = _Lines()
        async with aclosing(read(chunk_size)) as chunks:  # type: ignore[type-var]  # a generator
            async for chunk in chunks:
                if kept := lines.feed(chunk):
                    yield kept
        if kept := lines.end():
            yield kept

    return reading
