"""A model that says what it is told to, without a socket."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias, cast

from kairos.exceptions import ConfigError
from kairos.models.errors import ModelError
from kairos.models.parts import Part, Reasoning, Text, ToolCall, ToolResult
from kairos.models.reply import ModelResponse, StopReason, TokenUsage
from kairos.models.request import Request
from kairos.models.stream import (
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)
from kairos.testing.replies import (
    CallTool,
    Content,
    Filter,
    Given,
    Refuse,
    Reply,
    Think,
    natural,
    pieces,
    reply_of,
    text_of,
    tokens_of,
)

__all__ = ["ScriptedModel"]

Answering: TypeAlias = Callable[[Request], "Given | Awaitable[Given]"]

_MESSAGE = 10


class _Ready(NamedTuple):
    """A reply that only lacks what depends on the request."""

    events: tuple[StreamEvent, ...]
    text: str
    parts: tuple[Part, ...]
    stop: StopReason
    output: int
    usage: TokenUsage | None
    error: ModelError | None


class ScriptedModel:
    """A `kairos.models.Model` that gives the replies it was made with, one a call.

    ::

        model = ScriptedModel([CallTool("search", {"q": "x"}), "It is so."])
        model = ScriptedModel([(Say("half of"), ModelError("interrupted", "", provider="x")), "it"])
        model = ScriptedModel(lambda request: request.messages[-1].text.upper())

    A reply is a text, a content, several of them in a tuple, or a ModelError, which is raised once
    the contents before it were given out.  A function of the request, alone or among the replies,
    gives the reply when it is asked; an async one for `stream_async` only.  Without replies the
    model answers from the request as FakeProviders does.

    A delta has `delta` characters, 0 for all at once.  A reply without usage counts ten tokens in
    for each message and one out for every four characters.  `requests` has every request in order.
    Asked for more than it has, it raises ConfigError, which nobody takes for a model's failure.
    """

    def __init__(
        self,
        replies: Iterable[Given | Answering] | Answering | None = None,
        *,
        provider: str = "scripted",
        name: str = "scripted",
        delta: int = 0,
    ) -> None:
        self.provider = provider
        self.name = name
        self.requests: list[Request] = []
        self._numbers = itertools.count()
        self._delta = delta
        self._function = replies if callable(replies) else None
        self._natural = replies is None
        given = () if replies is None or callable(replies) else tuple(_listed(replies))
        self._size = len(given)
        # An iterator is the whole state: one step of it is atomic, so no lock is needed.
        self._left = iter(
            [one if callable(one) else self._ready(one, at) for at, one in enumerate(given)]
        )

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Give out the next reply."""
        number = self._noted(request)
        ready = self._next(request, number)
        if not isinstance(ready, _Ready):
            close = getattr(ready, "close", None)
            if close is not None:
                close()  # or Python warns that nobody awaited it
            raise ConfigError(
                "an async reply cannot be given out in a plain call",
                fix="call stream_async, or script a plain function",
            )
        return self._given_out(ready, request)

    def stream_async(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Do as `stream`, on the running event loop."""
        number = self._noted(request)
        return self._given_out_async(self._next(request, number), request, number)

    def _noted(self, request: Request) -> int:
        self.requests.append(request)
        return next(self._numbers)

    def _next(self, request: Request, number: int) -> _Ready | Awaitable[Given]:
        if self._natural:
            return self._ready(Reply((_natural(request),)), number)
        found = self._function or next(self._left, None)
        if found is None:
            raise ConfigError(
                "a scripted model was asked for more than it has",
                expected=f"{self._size} calls",
                found=f"call {number + 1}",
                fix="script one more reply, or a function",
            )
        if isinstance(found, _Ready):
            return found
        given = found(request)
        if inspect.isawaitable(given):
            return given
        return self._ready(cast("Given", given), number)

    def _given_out(self, ready: _Ready, request: Request) -> Iterator[StreamEvent]:
        yield from ready.events
        yield from self._ending(ready, request)

    async def _given_out_async(
        self, ready: _Ready | Awaitable[Given], request: Request, number: int
    ) -> AsyncIterator[StreamEvent]:
        if not isinstance(ready, _Ready):
            ready = self._ready(await ready, number)
        for event in ready.events:
            yield event
        for event in self._ending(ready, request):
            yield event

    def _ending(self, ready: _Ready, request: Request) -> tuple[UsageSeen, Finished]:
        if ready.error is not None:
            raise _fresh(ready.error, emitted=bool(ready.events))
        usage = ready.usage
        if usage is None:
            read = _MESSAGE * len(request.messages)
            usage = TokenUsage(read, ready.output, read + ready.output)
        response = ModelResponse(
            ready.text, self.name, usage, 0.0, parts=ready.parts, stop=ready.stop
        )
        return UsageSeen(usage), Finished(response)

    def _ready(self, given: Given, number: int) -> _Ready:
        reply = reply_of(given)
        if reply.faults:
            raise ConfigError(
                "a scripted model has no wire that something could go wrong on",
                found=type(reply.faults[0]).__name__,
                fix="script a ModelError, or use FakeProviders",
            )
        parts = tuple(
            part
            for at, one in enumerate(reply.contents)
            if (part := _part(one, f"{number}_{at}", self.provider))
        )
        calls = any(isinstance(part, ToolCall) for part in parts)
        text = "".join(part.text for part in parts if isinstance(part, Text))
        return _Ready(
            tuple(_events(parts, self._delta)),
            text,
            parts,
            cast("StopReason", reply.stop) if reply.stop else _stop(reply.contents, calls=calls),
            sum(tokens_of(part.arguments if isinstance(part, ToolCall) else part.text)
                for part in parts if isinstance(part, Text | Reasoning | ToolCall)),
            reply.usage,
            reply.error,
        )  # fmt: skip


def _listed(replies: Any) -> Iterable[Any]:
    if isinstance(replies, str | ModelError | tuple):
        # A reply alone is itself iterable, and each letter would be a reply.
        raise ConfigError(
            "a scripted model wants a list of replies",
            found=type(replies).__name__,
            fix="put the one reply into a list",
        )
    return cast("Iterable[Any]", replies)


def _natural(request: Request) -> Content:
    asked = [one.text for one in request.messages if one.role == "user"]
    results = [
        part.content
        for message in request.messages
        for part in message.parts
        if isinstance(part, ToolResult)
    ]
    prompt = next((text for text in reversed(asked) if text), "")
    return natural(prompt, request.tools, results, request.output)


def _part(content: Content, key: str, provider: str) -> Part | None:
    if isinstance(content, Think):
        return Reasoning(content.text, content.seal, provider)
    if isinstance(content, CallTool):
        return ToolCall(content.id or f"call_{key}", content.name, content.text, content.seal)
    text = content.text if isinstance(content, Refuse) else text_of(content)
    return Text(text) if text else None


def _stop(contents: tuple[Content, ...], *, calls: bool) -> StopReason:
    if calls:
        return "tools"
    if any(isinstance(one, Filter) for one in contents):
        return "filtered"
    return "refused" if any(isinstance(one, Refuse) for one in contents) else "end"


def _events(parts: tuple[Part, ...], size: int) -> Iterator[StreamEvent]:
    index = 0
    for part in parts:
        if isinstance(part, ToolCall):
            yield ToolCallStarted(index, part.id, part.name)
            for piece in pieces(part.arguments, size):
                yield ToolCallDelta(index, piece)
            index += 1
        elif isinstance(part, Text | Reasoning):
            kind = TextDelta if isinstance(part, Text) else ReasoningDelta
            for piece in pieces(part.text, size):
                yield kind(piece)


def _fresh(error: ModelError, *, emitted: bool) -> ModelError:
    """Return the error as if it were made now: one that is raised twice grows its traceback."""
    return ModelError(
        error.kind,
        error.message,
        provider=error.provider,
        model=error.model,
        status=error.status,
        retry_after=error.retry_after,
        usage=error.usage,
        emitted=emitted or error.emitted,
        fix=error.fix,
    )
