"""The ids of calls, no two the same in one conversation, whatever a model gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.models import Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Names"]


class Names:
    """The ids that a conversation has had."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def given(self, messages: Iterable[Message]) -> None:
        """Take note of the ids that messages from outside have."""
        self._ids.update(
            part.id for one in messages for part in one.parts if isinstance(part, ToolCall)
        )

    def apart(self, message: Message) -> tuple[Message, tuple[ToolCall, ...]]:
        """Return a message whose calls have ids of their own, and these calls."""
        calls: list[ToolCall] = []
        again = False
        for part in message.parts:
            if isinstance(part, ToolCall):
                if not part.id or part.id in self._ids:
                    part = part._replace(id=self._fresh(part.id or "call"))  # noqa: PLW2901
                    again = True
                self._ids.add(part.id)
                calls.append(part)
        if again:
            fresh = iter(calls)
            parts = tuple(next(fresh) if isinstance(p, ToolCall) else p for p in message.parts)
            message = Message(message.role, parts)
        return message, tuple(calls)

    def _fresh(self, name: str) -> str:
        number = len(self._ids)
        while (made := f"{name[:40]}-{number}") in self._ids:
            number += 1
        return made
