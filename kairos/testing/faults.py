"""What may go wrong between a provider and its client, each as a value.

Events are counted from 0, in the order in which they would go out, or back from -1, the last.  One
provider has more of them than another for the same text: a place behind the end is the last event,
so that no fault is lost.  A plain reply is one event.  Faults of one reply add up: `Delay(1),
Status(503)` waits, then fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, TypeAlias

__all__ = [
    "FAULTS",
    "Body",
    "ContentType",
    "Cut",
    "Delay",
    "Duplicate",
    "End",
    "Fault",
    "Framing",
    "Garbage",
    "Gzip",
    "Insert",
    "Interim",
    "NoUsage",
    "SlowHeaders",
    "Stall",
    "Status",
    "StreamError",
    "Swap",
    "Truncate",
]


class Status(NamedTuple):
    """An HTTP error in the provider's own shape, or a redirect when `headers` has a location.

    `retry_after` goes out as it is given: seconds, a date, or any text at all; Gemini has seconds
    in its body too.  `type` and `message` are the provider's own where they are not given.
    """

    code: int
    message: str | None = None
    type: str | None = None
    headers: Mapping[str, str] = {}
    retry_after: float | datetime | str | None = None
    retry_after_ms: float | None = None


class Body(NamedTuple):
    """A body that is not the provider's: HTML, nothing at all, `{}`, or what else is given."""

    data: str | bytes
    status: int = 200
    content_type: str = "application/json"


class Truncate(NamedTuple):
    """Only the first bytes of a body, which then ends in good order."""

    size: int


class ContentType(NamedTuple):
    """The right body under a wrong type."""

    value: str


class Delay(NamedTuple):
    """Seconds of silence before the first byte."""

    seconds: float


class SlowHeaders(NamedTuple):
    """Seconds of silence before each header."""

    seconds: float


class Stall(NamedTuple):
    """Seconds of silence before an event, after the headers."""

    seconds: float
    at: int = 0


class Cut(NamedTuple):
    """The connection is lost: after so many events or bytes of body, or before any answer.

    With `reset` the peer crashed (RST), without it the peer hung up (FIN).  A plain reply is cut
    in its middle unless `after_events` is 0.
    """

    after_events: int | None = None
    after_bytes: int | None = None
    reset: bool = True


class End(NamedTuple):
    """A stream ends in good order after so many events; a plain reply has half its body."""

    after_events: int


class Garbage(NamedTuple):
    """An event whose data is not JSON."""

    at: int = 0
    data: str = '{"not": json'


class StreamError(NamedTuple):
    """The provider reports an error in the middle of a stream, in its own shape, and ends it.

    `type` is the provider's own where it is not given: `overloaded_error`, `server_error`,
    `UNAVAILABLE`.  A plain reply has the status instead.
    """

    at: int = 0
    type: str | None = None
    message: str | None = None


class Duplicate(NamedTuple):
    """An event comes twice."""

    at: int


class Swap(NamedTuple):
    """An event comes after the one that follows it."""

    at: int


class Insert(NamedTuple):
    """An event that the provider does not have (yet); its name only where events have names."""

    at: int
    data: str = '{"type": "kairos.unheard_of", "x": 1}'
    event: str | None = "kairos.unheard_of"


class Framing(NamedTuple):
    """How a stream is cut into pieces: characters a delta, bytes a write, ends of line.

    With `write=1` every byte is a TCP segment of its own, so characters of UTF-8 are split;
    `comments` puts a line before each event that a client has to skip (google-genai does not).
    `together` writes as many events at once as it can, so that a benchmark measures the client.
    """

    delta: int = 7
    write: int = 0
    crlf: bool = False
    comments: bool = False
    together: bool = False


class Gzip(NamedTuple):
    """The body is compressed."""


class NoUsage(NamedTuple):
    """The reply says nothing about tokens."""


class Interim(NamedTuple):
    """An interim answer (1xx) goes before the true one."""

    code: int = 103


Fault: TypeAlias = (
    Status
    | Body
    | Truncate
    | ContentType
    | Delay
    | SlowHeaders
    | Stall
    | Cut
    | End
    | Garbage
    | StreamError
    | Duplicate
    | Swap
    | Insert
    | Framing
    | Gzip
    | NoUsage
    | Interim
)

FAULTS = (
    Status, Body, Truncate, ContentType, Delay, SlowHeaders, Stall, Cut, End, Garbage,
    StreamError, Duplicate, Swap, Insert, Framing, Gzip, NoUsage, Interim,
)  # fmt: skip
"""All of them, for `isinstance`."""
