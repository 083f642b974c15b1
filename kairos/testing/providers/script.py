"""Which reply comes next: queues by provider and model, numbered calls, and functions."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from kairos.exceptions import ConfigError
from kairos.testing import replies
from kairos.testing.faults import Status
from kairos.testing.replies import Given, Reply, reply_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.testing.providers.dialect import Asked
    from kairos.testing.providers.received import Received

__all__ = ["PROVIDERS", "Script", "natural"]

PROVIDERS = ("anthropic", "openai", "openai.chat", "openai.responses", "gemini")
Answering: TypeAlias = "Callable[[Received], Given | None]"
_Lane: TypeAlias = tuple[str | None, str | None]


@dataclass
class _Queue:
    calls: int = 0
    numbered: dict[int, Reply] = field(default_factory=dict)
    waiting: deque[Reply] = field(default_factory=deque)
    answering: Answering | None = None


class Script:
    """What was arranged, and how often it was asked for.

    A call is counted in every lane that it belongs to: its model's, its provider's, everybody's.
    The narrowest lane that has something for it answers; in a lane a reply for exactly this call
    goes before the queue, and the queue before the function.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[_Lane, _Queue] = {}

    def add(self, reply: Reply, provider: str | None, model: str | None, on: int | None) -> None:
        """Arrange one reply, for the call with the number `on` or as the next in line."""
        _sendable(reply)
        with self._lock:
            queue = self._lane(provider, model)
            if on is None:
                queue.waiting.append(reply)
            elif type(on) is not int or on < 1:
                raise ConfigError("calls are counted from 1", found=repr(on)[:40])
            else:
                queue.numbered[on] = reply

    def answer(self, function: Answering, provider: str | None, model: str | None) -> None:
        """Have a function answer what no arranged reply does."""
        if not callable(function):
            raise ConfigError(
                "what answers is no function", found=type(function).__name__, fix="reply(...)"
            )
        with self._lock:
            self._lane(provider, model).answering = function

    def clear(self) -> None:
        """Forget everything, the counts too."""
        with self._lock:
            self._lanes.clear()

    @property
    def left(self) -> int:
        """How many arranged replies nobody has asked for."""
        with self._lock:
            return sum(len(one.waiting) + len(one.numbered) for one in self._lanes.values())

    def take(self, received: Received) -> Reply | None:
        """Return the reply for a request, or None where nothing was arranged."""
        answering = []
        with self._lock:
            queues = [self._lanes[lane] for lane in _lanes_of(received) if lane in self._lanes]
            for queue in queues:
                queue.calls += 1
            for queue in queues:
                if queue.calls in queue.numbered:
                    return queue.numbered.pop(queue.calls)
            for queue in queues:
                if queue.waiting:
                    return queue.waiting.popleft()
            answering = [queue.answering for queue in queues if queue.answering]
        for function in answering:  # outside the lock: it may take its time
            given = function(received)
            if given is not None:
                return _sendable(reply_of(given))
        return None

    def _lane(self, provider: str | None, model: str | None) -> _Queue:
        if provider is not None and provider not in PROVIDERS:
            raise ConfigError(
                "there is no such provider",
                expected=", ".join(PROVIDERS),
                found=str(provider)[:40],
            )
        if model is not None and not isinstance(model, str):
            raise ConfigError("a model has a name", found=type(model).__name__)
        return self._lanes.setdefault((provider, model), _Queue())


def _sendable(reply: Reply) -> Reply:
    if reply.error is not None:
        raise ConfigError(
            "a provider cannot send a ModelError",
            fix="arrange what it does send: Status(429), Cut(), StreamError(), ...",
        )
    for fault in reply.faults:
        if isinstance(fault, Status):
            _check_status(fault)
    return reply


def _check_status(status: Status) -> None:
    """Refuse at once what would end a connection later, and puzzle whoever tests."""
    if type(status.code) is not int or not 300 <= status.code <= 599:  # noqa: PLR2004 - HTTP's own
        raise ConfigError(
            "Status is an error or a redirect",
            expected="300 to 599",
            found=repr(status.code)[:40],
            fix="Body(...) for a good status",
        )
    after = status.retry_after
    said = {**status.headers, **({"retry-after": after} if isinstance(after, str) else {})}
    for name, value in said.items():
        if not (isinstance(value, str) and f"{name}{value}".isprintable() and value.isascii()):
            raise ConfigError(f"a header cannot be sent: {name!r:.40}", expected="printable ASCII")


def _lanes_of(received: Received) -> list[_Lane]:
    owners = dict.fromkeys((received.api, received.provider))
    return [
        *((owner, received.model) for owner in owners),
        (None, received.model),
        *((owner, None) for owner in owners),
        (None, None),
    ]


def natural(asked: Asked, reply: Reply | None) -> Reply:
    """Return the reply with contents: where it has none, those that the request asks for."""
    if reply is not None and reply.contents:
        return reply
    content = replies.natural(
        asked.prompt,
        asked.tools,
        asked.results,
        asked.output,
        forced=asked.forced,
        barred=asked.barred,
    )
    return replace(reply or Reply(), contents=(content,))
