"""A conversation that only grows, and what it looked like at some moment, without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, overload

from kairos.models import Message, Reasoning, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Snapshot", "Transcript", "says_something", "unpaired"]


class Transcript:
    """The messages of a conversation.  They are added, and never changed or taken away.

    A conversation that is made shorter goes on with another transcript.
    """

    __slots__ = ("_messages",)

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self._messages = list(messages)

    def add(self, message: Message) -> None:
        """Add one message."""
        self._messages.append(message)

    def snapshot(self, *, but: int = 0) -> Snapshot[Message]:
        """Return all messages, `but` the last so many, as they are now, whatever is added later."""
        return Snapshot(self._messages, len(self._messages) - but)

    def __len__(self) -> int:
        return len(self._messages)


_T = TypeVar("_T")


class Snapshot(Sequence[_T]):
    """The first items of a list that only grows.  Taking one costs the same however long it is."""

    __slots__ = ("_items", "_length")

    def __init__(self, items: list[_T], length: int) -> None:
        self._items = items
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[_T]:
        return islice(self._items, self._length)

    @overload
    def __getitem__(self, at: int) -> _T: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[_T, ...]: ...

    def __getitem__(self, at: int | slice) -> _T | tuple[_T, ...]:
        if isinstance(at, slice):
            return tuple(self._items[i] for i in range(*at.indices(self._length)))
        index = at + self._length if at < 0 else at
        if not 0 <= index < self._length:
            raise IndexError("there is no such item")
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot | tuple | list):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Snapshot({self._length} items)"


def unpaired(messages: Sequence[Message]) -> bool:
    """Whether a call stands among messages without its result after it, or the other way round."""
    calls: list[str] = []
    for message in messages:
        results = [part.id for part in message.parts if isinstance(part, ToolResult)]
        if sorted(results) != sorted(calls):
            return True
        calls = [part.id for part in message.parts if isinstance(part, ToolCall)]
    return bool(calls)


def says_something(message: Message) -> bool:
    """Whether a message says anything: one that does not is refused by those it goes back to."""
    return any(
        part.text.strip() if isinstance(part, Text) else not isinstance(part, Reasoning)
        for part in message.parts
    )
