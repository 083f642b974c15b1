"""A reply as the bytes that go out, with everything in it that is to go wrong."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from email.utils import format_datetime
from typing import NamedTuple, TypeAlias, TypeVar

from kairos.testing.faults import (
    Body,
    ContentType,
    Cut,
    Delay,
    Duplicate,
    End,
    Fault,
    Framing,
    Garbage,
    Gzip,
    Insert,
    Interim,
    SlowHeaders,
    Stall,
    Status,
    StreamError,
    Swap,
    Truncate,
)
from kairos.testing.providers.dialect import Asked, Dialect, Event, Problem, Said

__all__ = ["Hangup", "Head", "Pause", "Wire", "found", "of_body", "of_problem", "of_reply"]

F = TypeVar("F")


class Pause(NamedTuple):
    """Silence, in seconds."""

    seconds: float


class Hangup(NamedTuple):
    """The end of the connection: with a reset, or in good order."""

    reset: bool


Piece: TypeAlias = bytes | Pause | Hangup


class Head(NamedTuple):
    """Status and headers; a body without a `length` goes out in chunks."""

    status: int
    headers: dict[str, str]
    length: int | None = None
    interim: int | None = None
    delay: float = 0.0
    between: float = 0.0


class Wire(NamedTuple):
    """A whole reply; without a head the connection is lost before it."""

    head: Head | None
    body: Iterable[Piece]
    write: int = 0


def found(faults: Iterable[Fault], kind: type[F]) -> F | None:
    """Return the fault of a kind; one without fields is false, so ask whether it is None."""
    return next((one for one in faults if isinstance(one, kind)), None)


def of_problem(
    dialect: Dialect, problem: Problem, number: int, faults: tuple[Fault, ...] = ()
) -> Wire:
    """Return a problem on the wire, in the provider's own shape."""
    status = found(faults, Status)
    extra = {} if status is None else _status_headers(status)
    moved = 300 <= problem.status < 400  # noqa: PLR2004 - HTTP's own classes
    body = b"" if moved else json.dumps(dialect.problem(problem, number)).encode()
    headers = {"content-type": "application/json", **dialect.headers(number), **extra}
    return _plain(problem.status, headers, body, faults)


def _status_headers(status: Status) -> dict[str, str]:
    headers = {name.lower(): value for name, value in status.headers.items()}
    after = status.retry_after
    if isinstance(after, datetime):
        after = format_datetime(after, usegmt=True)
    if after is not None:
        headers["retry-after"] = str(after)
    if status.retry_after_ms is not None:
        headers["retry-after-ms"] = str(status.retry_after_ms)
    return headers


def of_body(body: Body, dialect: Dialect, number: int, faults: tuple[Fault, ...]) -> Wire:
    """Return a body that is not the provider's on the wire."""
    data = body.data.encode() if isinstance(body.data, str) else body.data
    headers = {"content-type": body.content_type, **dialect.headers(number)}
    return _plain(body.status, headers, data, faults)


def of_reply(dialect: Dialect, asked: Asked, said: Said, faults: tuple[Fault, ...]) -> Wire:
    """Return a reply on the wire, streamed if the request wants it so."""
    broken = found(faults, StreamError)
    if not asked.stream and broken is not None:
        problem = Problem(dialect.overloaded, broken.message, broken.type)
        return of_problem(dialect, problem, said.number, faults)
    headers = dialect.headers(said.number)
    if asked.stream:
        kind = "text/event-stream; charset=utf-8"
        return _streamed({"content-type": kind, **headers}, dialect, asked, said, faults)
    garbage = found(faults, Garbage)
    body = json.dumps(dialect.whole(asked, said), ensure_ascii=False).encode()
    data = garbage.data.encode() if garbage else body
    return _plain(200, {"content-type": "application/json", **headers}, data, faults)


# --- plain


def _plain(status: int, headers: dict[str, str], data: bytes, faults: tuple[Fault, ...]) -> Wire:
    if found(faults, Gzip) is not None:
        data = gzip.compress(data)
        headers["content-encoding"] = "gzip"
    shorter = found(faults, Truncate)
    if shorter is not None:
        data = data[: shorter.size]
    elif found(faults, End) is not None:
        data = data[: len(data) // 2]
    cut = found(faults, Cut)
    if cut is not None and cut.after_events is not None:
        cut = Cut(after_bytes=len(data) // 2 if cut.after_events else 0, reset=cut.reset)
    stall = found(faults, Stall)
    body: list[Piece] = [Pause(stall.seconds)] if stall else []
    return _wire(status, headers, len(data), _severed([*body, data], cut), faults)


def _wire(
    status: int,
    headers: dict[str, str],
    length: int | None,
    body: Iterable[Piece],
    faults: tuple[Fault, ...],
) -> Wire:
    cut, slow, delay = found(faults, Cut), found(faults, SlowHeaders), found(faults, Delay)
    wrong, framing, interim = (
        found(faults, ContentType),
        found(faults, Framing),
        found(faults, Interim),
    )
    wait = delay.seconds if delay else 0.0
    if cut is not None and cut.after_events is None and cut.after_bytes is None:
        return Wire(None, [Pause(wait), Hangup(cut.reset)])
    if wrong is not None:
        headers["content-type"] = wrong.value
    head = Head(
        status,
        headers,
        length,
        interim.code if interim else None,
        wait,
        slow.seconds if slow else 0.0,
    )
    return Wire(head, body, framing.write if framing else 0)


def _severed(body: Iterable[Piece], cut: Cut | None) -> Iterator[Piece]:
    """Let so many bytes through, then hang up."""
    if cut is None or cut.after_bytes is None:
        yield from body
        return
    yield from _first(body, cut.after_bytes)
    yield Hangup(cut.reset)


def _first(body: Iterable[Piece], left: int) -> Iterator[Piece]:
    for piece in body:
        if isinstance(piece, bytes):
            if len(piece) >= left:
                yield piece[:left]
                return
            left -= len(piece)
        yield piece


# --- streams


def _streamed(
    headers: dict[str, str], dialect: Dialect, asked: Asked, said: Said, faults: tuple[Fault, ...]
) -> Wire:
    framing = found(faults, Framing) or Framing()
    events = _disturbed(list(dialect.events(asked, said)), dialect, asked, said, faults)
    body: Iterable[Piece] = _timed(events, framing, faults)
    if framing.together:
        body = _together(body)
    if found(faults, Gzip) is not None:
        headers["content-encoding"] = "gzip"
        body = _compressed(body)
    shorter = found(faults, Truncate)
    if shorter is not None:
        body = _first(body, shorter.size)
    return _wire(200, headers, None, _severed(body, found(faults, Cut)), faults)


def _disturbed(
    events: list[Event], dialect: Dialect, asked: Asked, said: Said, faults: tuple[Fault, ...]
) -> list[Event]:
    """Return the events as they go out; places are those of the undisturbed stream."""
    more: dict[int, list[Event]] = {}
    size = len(events)
    for fault in faults:
        if isinstance(fault, Insert):
            name = fault.event if events[0].name else None
            more.setdefault(_place(fault.at, size), []).append(Event(fault.data, name))
        elif isinstance(fault, Garbage):
            at = _place(fault.at, size)
            events[at] = events[at]._replace(data=fault.data)
        elif isinstance(fault, Duplicate):
            at = _place(fault.at, size)
            more.setdefault(at, []).append(events[at])
        elif isinstance(fault, Swap) and size > 1:
            at = _place(fault.at, size - 1)
            events[at], events[at + 1] = events[at + 1], events[at]
    broken = found(faults, StreamError)
    if broken is not None:
        at = _place(broken.at, size)
        events = [*events[:at], dialect.broken(asked, said, broken, at)]
    whole = []
    for number, event in enumerate(events):
        whole += [*more.get(number, ()), event]
    return whole


def _place(at: int, size: int) -> int:
    """Return the place of an event: a negative one counts from the end, one behind it is last."""
    return max(0, at + size) if at < 0 else min(at, size - 1)


def _timed(events: list[Event], framing: Framing, faults: tuple[Fault, ...]) -> Iterator[Piece]:
    cut, end, stall = found(faults, Cut), found(faults, End), found(faults, Stall)
    size = len(events)
    severed = _place(cut.after_events, size) if cut and cut.after_events is not None else -1
    ended = _place(end.after_events, size) if end else -1
    stalled = _place(stall.at, size) if stall else -1
    for at, event in enumerate(events):
        if stall is not None and at == stalled:
            yield Pause(stall.seconds)
        if cut is not None and at == severed:
            yield Hangup(cut.reset)
            return
        if at == ended:
            return
        yield _framed(event, framing)


def _together(body: Iterable[Piece]) -> Iterator[Piece]:
    waiting: list[bytes] = []
    for piece in body:
        if isinstance(piece, bytes):
            waiting.append(piece)
            continue
        yield b"".join(waiting)
        waiting.clear()
        yield piece
    yield b"".join(waiting)


def _framed(event: Event, framing: Framing) -> bytes:
    line = "\r\n" if framing.crlf else "\n"
    comment = f": keep-alive{line}{line}" if framing.comments else ""
    name = f"event: {event.name}{line}" if event.name else ""
    return f"{comment}{name}data: {event.data}{line}{line}".encode()


def _compressed(body: Iterable[Piece]) -> Iterator[Piece]:
    squeeze = zlib.compressobj(wbits=31)
    for piece in body:
        if isinstance(piece, bytes):
            yield squeeze.compress(piece) + squeeze.flush(zlib.Z_SYNC_FLUSH)
        else:
            yield piece
    yield squeeze.flush()
