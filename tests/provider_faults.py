"""What goes wrong at a provider, as a table over all of them, and one way to ask any."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.adapters.claude import ClaudeAdapter
from kairos.adapters.gemini import GeminiAdapter
from kairos.adapters.openai_adapter import OpenAIAdapter
from kairos.models import Finished, ModelError
from kairos.models.limits import ProviderLimits
from kairos.testing import (
    Body,
    ContentType,
    Cut,
    Delay,
    Duplicate,
    End,
    Framing,
    Garbage,
    Gzip,
    Insert,
    Interim,
    Stall,
    Status,
    StreamError,
    Swap,
    Truncate,
)

if TYPE_CHECKING:
    from kairos.adapters.core import Adapter

__all__ = [
    "APIS",
    "BROKEN",
    "HARMLESS",
    "MODES",
    "REFUSED",
    "WORDS",
    "Broken",
    "Refused",
    "adapter",
    "ask",
    "over",
]

WORDS = "one two three four five six seven eight nine ten"
MODES = ("call", "call_async", "stream", "stream_async")
APIS = ("claude", "chat", "responses", "gemini")

_FREE = ProviderLimits(failures=None)  # a row of failures is what these tests are about


def adapter(api: str, **options: Any) -> Adapter:
    """Return an adapter of the API; where it goes is for the environment to say, or `base_url`."""
    given: dict[str, Any] = {"allow_localhost": True, "limits": _FREE, **options}
    if api == "claude":
        return ClaudeAdapter(**{"model": "claude-sonnet-5-5", **given})
    if api == "gemini":
        return GeminiAdapter(**{"model": "gemini-3.8-flash", **given})
    return OpenAIAdapter(api=api, **{"model": "gpt-4.1", **given})  # type: ignore[arg-type]


def ask(model: Adapter, mode: str, prompt: str = "Hello", **options: Any) -> list[Any]:
    """Return the events of one call; an error is the last of them."""
    events: list[Any] = []

    async def run() -> None:
        if mode == "call_async":
            events.append(Finished(await model.call_async(prompt, **options)))
            return
        async for event in model.stream_async(model.request(prompt, **options)):
            events.append(event)  # noqa: PERF401 - what came before an error is kept

    try:
        if mode == "call":
            events.append(Finished(model.call(prompt, **options)))
        elif mode == "stream":
            events.extend(model.stream(model.request(prompt, **options)))
        else:
            asyncio.run(run())
    except ModelError as error:
        events.append(error)
    return events


def over(cases: Any) -> list[tuple[str, Any]]:
    """Return each case with each API that it is for."""
    return [(api, case) for case in cases for api in getattr(case, "apis", APIS)]


# --- before anything of an answer has come

_HTML = "<html><body>502 Bad Gateway</body></html>"
_EVENTS = "text/event-stream"
_TEN_MB = 10_000_000


class Refused(NamedTuple):
    """What is arranged, and what it is: the kind of the error, its status, and for whom else."""

    name: str
    given: Any
    kind: str
    status: int | None = None
    unlike: Mapping[str, str] = MappingProxyType({})

    def __str__(self) -> str:
        return self.name


def _events(data: str) -> Body:
    return Body(f"data: {data}\n\n", content_type=_EVENTS)


# Gemini's SDK takes a body that is no stream for a piece of one, which cannot be read, and
# Claude's passes over events without a name.
_GEMINI, _CLAUDE = {"gemini": "malformed"}, {"claude": "empty"}

REFUSED = (
    *(Refused(f"status {code}", Status(code), kind, code) for code, kind in (
        (400, "bad_request"), (401, "unauthorized"), (402, "forbidden"), (403, "forbidden"),
        (404, "not_found"), (408, "timeout"), (409, "conflict"), (413, "too_large"),
        (422, "bad_request"), (429, "rate_limited"), (500, "server"), (502, "server"),
        (503, "overloaded"), (504, "timeout"), (529, "overloaded"), (418, "bad_request"),
        (599, "server"),
    )),
    Refused("an error page", Body(_HTML, 502, "text/html"), "server", 502),
    Refused("an error that is compressed", (Body(_HTML, 500, "text/html"), Gzip()), "server", 500),
    Refused("an error of bytes", Body(b"\xff\x00" * 100, 500), "server", 500),
    *(Refused(f"400 with {text[:18]}", Body(text, 400), "bad_request", 400) for text in (
        "[]", "[1, 2]", '"text"', "null", "7", "", '{"error": null}', '{"error": [1]}',
        '{"error": "text"}', '{"error": {"code": 7, "message": null}}', "\ufeff{}",
    )),
    *(Refused(f"a redirect {code}", Status(code, headers={"location": "http://127.0.0.1:9/"}),
              "bad_request", code) for code in (301, 302, 307, 308)),
    Refused("not modified", Status(304), "bad_request", 304),
    Refused("no answer at all", Cut(), "connection"),
    Refused("a connection that is closed", Cut(reset=False), "connection"),
    Refused("HTML in place of a stream", Body(_HTML, 200, "text/html"), "empty", None, _GEMINI),
    Refused("plain text", Body("ok", content_type="text/plain"), "empty", None, _GEMINI),
    Refused("an empty body", Body(""), "empty"),
    *(Refused(f"{code}", Body("", code), "empty", None, _GEMINI) for code in (201, 204, 206)),
    *(Refused(f"nothing but {text}", Body(text), "empty") for text in
      ("{}", "null", "[]", '"text"')),
    Refused("an empty object, compressed", (Body("{}"), Gzip()), "empty"),
    Refused("a byte order mark", Body("\ufeff{}"), "empty", None, _GEMINI),
    Refused("NULs", Body(b"\x00" * 1_000), "empty", None, _GEMINI),
    Refused("no text", Body(b"data: \xff\xfe\x81\n\n", content_type=_EVENTS), "malformed"),
    Refused("comments alone", Body(": hi\n\n" * 10, content_type=_EVENTS), "empty"),
    Refused("lines alone", Body("\n" * 100_000, content_type=_EVENTS), "empty"),
    Refused("an end and nothing before", _events("[DONE]"), "empty", None, _GEMINI),
    Refused("an event of HTML", _events(_HTML), "malformed", None, _CLAUDE),
    Refused("an event null", _events("null"), "malformed", None, _CLAUDE),
    Refused("an event []", _events("[]"), "malformed", None, _CLAUDE),
    Refused("a deep event", _events("[" * 100_000), "malformed", None, _CLAUDE),
    Refused("a deep object", _events('{"a":' * 100_000), "malformed", None, _CLAUDE),
    Refused("a number without end", _events('{"type": ' + "9" * 5_000 + "}"), "malformed", None,
            _CLAUDE),
    Refused("a line of 10 MB", _events("x" * _TEN_MB), "malformed", None, _CLAUDE),
    Refused("10 MB without an end of line", Body("x" * _TEN_MB, content_type=_EVENTS), "empty",
            None, _GEMINI),
)  # fmt: skip


# --- while an answer comes


class Broken(NamedTuple):
    """What is arranged, what kind of error it is, whether text came before, and of which APIs."""

    name: str
    given: Any
    kind: str
    text: bool
    apis: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


def _broken(*rows: tuple[str, Any, str, bool], of: str) -> list[Broken]:
    return [Broken(name, (WORDS, given), kind, text, (of,)) for name, given, kind, text in rows]


def _in_all(at: int) -> list[tuple[str, Any, str, bool]]:
    """Return what breaks with every provider alike, `at` an event behind the first text."""
    return [
        ("a reset after text", Cut(after_events=at), "interrupted", True),
        ("a hang-up after text", Cut(after_events=at, reset=False), "interrupted", True),
        ("an early end after text", End(at), "interrupted", True),
        ("garbage at first", Garbage(at=0), "malformed", False),
        ("garbage later", Garbage(at=at), "malformed", True),
        ("bytes that are no text", Garbage(at=at, data="\x00"), "malformed", True),
        ("an array in place of an event", Garbage(at=at, data="[1]"), "malformed", True),
        ("a number in place of an event", Garbage(at=at, data="3"), "malformed", True),
        ("null in place of an event", Garbage(at=at, data="null"), "malformed", True),
        ("an event without an end", Garbage(at=at, data="[" * 100_000), "malformed", True),
    ]


_OPENAI = [
    ("a reset before text", Cut(after_events=1), "interrupted", False),
    ("an early end at once", End(1), "interrupted", False),
    ("a body that stops short", Truncate(2700), "interrupted", True),
    ("an error at first", StreamError(at=0), "server", False),
    ("an error later", StreamError(at=6), "server", True),
    ("overloaded", StreamError(6, "service_unavailable_error"), "overloaded", True),
    ("a limit within", StreamError(1, "rate_limit_exceeded"), "rate_limited", False),
    ("a bad request within", StreamError(6, "invalid_request_error"), "bad_request", True),
    ("too long, within", StreamError(1, "context_length_exceeded"), "too_long", False),
    ("an error unheard of", StreamError(6, "new_error"), "server", True),
]

BROKEN = (
    *_broken(
        *_in_all(6),
        ("a reset after three events", Cut(after_events=3), "interrupted", False),
        ("a cut in the middle of an event", Cut(after_bytes=1200), "interrupted", True),
        ("an early end at once", End(1), "interrupted", False),
        ("an end without its last event", End(-1), "interrupted", True),
        ("a body that stops short", Truncate(1000), "interrupted", True),
        ("overloaded at first", StreamError(at=0), "overloaded", False),
        ("overloaded later", StreamError(at=6), "overloaded", True),
        ("an error of the server", StreamError(at=6, type="api_error"), "server", True),
        ("a limit within", StreamError(at=2, type="rate_limit_error"), "rate_limited", False),
        ("an error unheard of", StreamError(at=6, type="new_error"), "server", True),
        ("a block that begins twice", Duplicate(1), "malformed", False),
        of="claude",
    ),
    *_broken(
        *_in_all(6), *_OPENAI,
        # with chat, the answer is whole before the count of its tokens comes
        ("an end without finish_reason", End(-3), "interrupted", True),
        ("a reset before [DONE]", Cut(after_events=-1), "interrupted", True),
        of="chat",
    ),
    *_broken(
        *_in_all(6), *_OPENAI,
        ("a piece that comes twice", Duplicate(6), "malformed", True),
        ("pieces that change places", Swap(6), "malformed", True),
        of="responses",
    ),
    *_broken(
        *_in_all(3),
        ("an early end at once", End(1), "interrupted", True),
        ("an end without finishReason", End(-1), "interrupted", True),
        ("a body that stops short", Truncate(700), "malformed", True),
        ("overloaded at first", StreamError(at=0), "overloaded", False),
        ("overloaded later", StreamError(at=3), "overloaded", True),
        ("an error of the server", StreamError(3, "INTERNAL"), "server", True),
        ("a limit within", StreamError(3, "RESOURCE_EXHAUSTED"), "rate_limited", True),
        ("an error unheard of", StreamError(3, "NEW_ERROR"), "server", True),
        of="gemini",
    ),
)  # fmt: skip


# --- what must not matter at all

HARMLESS: list[tuple[str, Any]] = [
    ("split into bytes", Framing(delta=3, write=1)),
    ("other ends of line", Framing(crlf=True)),
    ("comments", Framing(comments=True)),
    ("compressed", Gzip()),
    ("an interim answer", Interim(103)),
    ("an event unheard of", Insert(3)),
    ("an event unheard of at first", Insert(0)),
    ("a slow start", Delay(0.05)),
    ("a pause", Stall(0.05, at=4)),
    ("a wrong type of content", ContentType("text/plain")),
    ("no type of content that anyone knows", ContentType("x")),
    ("a wrong charset", ContentType("text/event-stream; charset=utf-16")),
]
