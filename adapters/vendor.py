"""What a provider's file has to give.  Everything else is done once, for all of them.

::

    VENDOR = Vendor(name="anthropic", …)      the facts, and functions over them
    class _Decoder(Decoder)                   the SDK's stream events, turned into ours
    class ClaudeAdapter(Adapter): vendor = VENDOR
    def claude(prompt, *, model=…, …)         the published factory

`claude.py` is the example.  A vendor's functions are pure, save `connect` and `open`: they hold
no lock, retry nothing, know no clock, and see no key but the one in `Connection`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from kairos.adapters.schemas import Dialect
from kairos.models.errors import ErrorKind, ModelError
from kairos.models.parts import Part, Reasoning, Text, ToolCall
from kairos.models.reply import StopReason, TokenUsage
from kairos.models.request import Request
from kairos.models.stream import (
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)

__all__ = [
    "Arguments",
    "Connection",
    "Decoder",
    "Malformed",
    "Opened",
    "Option",
    "Told",
    "Vendor",
    "arguments_of",
]


class Connection(NamedTuple):
    """What a client is built with; `repr` keeps the key to itself.

    `base_url` is the address as it was given, or the provider's own.  `timeout` is in seconds and
    bounds each wait for the provider's next bytes.
    """

    key: str
    base_url: str
    timeout: float

    def __repr__(self) -> str:
        return f"Connection(base_url={self.base_url!r}, timeout={self.timeout})"


class Opened(NamedTuple):
    """A stream that has begun: its events, and what ends it early.

    `events` is an iterator, or an async one where the client is async, and `close` a function or
    a coroutine function likewise.
    """

    events: Iterator[Any] | AsyncIterator[Any]
    close: Callable[[], Any]


class Told(NamedTuple):
    """What an SDK's exception means; none of its own text.

    `retry_after` is in seconds.  `said` says in our words what went wrong, where the kind and the
    status do not say it already.
    """

    kind: ErrorKind
    status: int | None = None
    retry_after: float | None = None
    said: str = ""


class Option(NamedTuple):
    """One option of a provider: the types it may have, or why it is refused.

    `sent_as` is the SDK's name of it, where that is another; for the provider's file to read.
    """

    types: tuple[type, ...] = ()
    refused: str = ""
    sent_as: str = ""


class Decoder(ABC):
    """Turns the SDK's events of one stream into ours, and keeps the whole of the answer.

    A subclass writes `feed`, which calls the methods below for what it finds and returns what
    they return.  It sets `stop` when the provider says why it stops, `done` at the provider's own
    terminal marker and not before, `usage` by `counted`, `model` where the provider names it, and
    puts into `metadata` what providers do not have in common (ids, citations).

    For what can be no event of this provider it raises `Malformed`; for an error that comes
    within the stream it raises ModelError or the SDK's own exception.  Unknown events and fields
    are passed over: providers add some every month.
    """

    def __init__(self) -> None:
        self.done = False
        self.stop: StopReason | None = None
        self.usage = TokenUsage()
        self.model = ""
        self.metadata: dict[str, Any] = {}
        self.raw: Any = None
        self._parts: list[list[Any]] = []
        self._calls: list[list[Any]] = []

    @abstractmethod
    def feed(self, event: Any) -> Sequence[StreamEvent]:
        """Return what an SDK event means, which may be nothing."""

    def text(self, delta: str) -> tuple[StreamEvent, ...]:
        """Add text to the answer."""
        if not delta:
            return ()
        self._open(Text)[1].append(delta)
        return (TextDelta(delta),)

    def reasoning(self, delta: str) -> tuple[StreamEvent, ...]:
        """Add to what the model thinks."""
        if not delta:
            return ()
        self._open(Reasoning)[1].append(delta)
        return (ReasoningDelta(delta),)

    def sealed(self, seal: str) -> None:
        """Give the reasoning that is open its seal (Reasoning.seal), or begin one with nothing."""
        self._open(Reasoning)[2].append(seal)

    def break_(self) -> None:
        """Let the next text or reasoning begin a part of its own."""
        self._parts.append([None])

    def tool_call(self, call_id: str, name: str, seal: str = "") -> tuple[StreamEvent, ...]:
        """Begin a tool call; its index is how many there were before."""
        index = len(self._calls)
        self._calls.append([ToolCall, [], [seal], call_id, name])
        self._parts.append(self._calls[-1])
        return (ToolCallStarted(index, call_id, name),)

    def arguments(self, index: int, delta: str) -> tuple[StreamEvent, ...]:
        """Add to the JSON text of a tool call's arguments.  Raises Malformed for no such call."""
        calls = self._calls
        if not 0 <= index < len(calls):
            raise Malformed("arguments of a tool call that never began")
        if not delta:
            return ()
        calls[index][1].append(delta)
        return (ToolCallDelta(index, delta),)

    def counted(self, usage: TokenUsage) -> tuple[StreamEvent, ...]:
        """Replace what was consumed so far."""
        if usage == self.usage:
            return ()
        self.usage = usage
        return (UsageSeen(usage),)

    @property
    def calls(self) -> int:
        """How many tool calls have begun."""
        return len(self._calls)

    def parts(self) -> tuple[Part, ...]:
        """Return the whole answer so far, in order."""
        found: list[Part] = []
        for kind, *held in self._parts:
            if kind is None:
                continue
            written = "".join(held[0])
            if kind is Text:
                found.append(Text(written))
            elif kind is Reasoning:
                found.append(Reasoning(written, "".join(held[1]), self.provider))
            else:
                found.append(ToolCall(held[2], held[3], written or "{}", "".join(held[1])))
        return tuple(found)

    provider = ""
    """Whose reasoning seals are; set by the core."""

    def _open(self, kind: type[Any]) -> list[Any]:
        if not self._parts or self._parts[-1][0] is not kind:
            self._parts.append([kind, [], []])
        return self._parts[-1]


class Malformed(Exception):  # noqa: N818 - it never reaches a user: the core makes it a ModelError
    """What came is nothing that this provider sends; the words are ours and name no value."""


Arguments: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """One provider, as the core sees it.

    name         of the provider as it is reported, priced and limited: "anthropic"
    title        as people call it in an error: "Claude"
    module       the SDK's module, imported on first use; `extra` is what installs it
    keys         variables of the environment that may hold the key, the first one set wins
    addresses    variables of the environment that may hold the base URL
    home         the base URL where nothing else is said
    options      the provider's own options that are passed through, by name; the common ones
                 (`options.COMMON`) are the core's.  One that the provider is known not to have
                 carries the reason, and is refused with it.
    schemas      what its structured output can take of JSON Schema, see `schemas.Dialect`
    connect      (SDK module, Connection, is_async) -> client.  No retries of its own, no
                 redirects (they would carry the key along), its HTTP client `wire.held` to the
                 total timeout of each request
    disconnect   client -> None, or an awaitable for an async one
    arguments    (Request, model) -> the keyword arguments of the SDK's streaming call.
                 `request.output` is a schema that is fit for `schemas` already.  Raises
                 ConfigError for what the provider cannot express
    open         (client, arguments, timeout) -> Opened, an awaitable of it for an async client
    decoder      () -> a fresh Decoder
    told         (SDK module, exception) -> Told, or None for what is none of the SDK's: httpx2's
                 exceptions, JSON's and the system's are mapped by the core
    refuses      (Request, model) -> None; raises ConfigError for what this model does not take
                 (a temperature, say)
    native       (Request, model) -> whether this model has structured output of its own
    forces_tools whether `request.forced` can be obeyed: the name of a tool that must be called
    keyless      what a server on this machine is sent in place of a key that nobody has set; ""
                 where none is reached without one
    """

    name: str
    title: str
    module: str
    extra: str
    keys: tuple[str, ...]
    addresses: tuple[str, ...]
    home: str
    connect: Callable[[ModuleType, Connection, bool], Any]
    disconnect: Callable[[Any], Awaitable[None] | None]
    arguments: Callable[[Request, str], Arguments]
    open: Callable[[Any, Arguments, float], Any]
    decoder: Callable[[], Decoder]
    told: Callable[[ModuleType, BaseException], Told | ModelError | None]
    refuses: Callable[[Request, str], None] = lambda _request, _model: None
    native: Callable[[Request, str], bool] = lambda _request, _model: True
    forces_tools: bool = True
    keyless: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    schemas: Dialect = field(default_factory=Dialect)


def arguments_of(written: str) -> dict[str, Any]:
    """Return the arguments of a call that a model made before, as its provider takes them back.

    What was no JSON object was refused then, and its result says so.
    """
    try:
        found = json.loads(written or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
