"""What a row of failures, a refusal and the last minute mean for the next call."""

from __future__ import annotations

from collections import deque
from typing import Literal

__all__ = ["Circuit", "Window"]

_MINUTE = 60.0


class Circuit:
    """Keeps away from a provider that does not answer.

    Closed, everything passes.  After `failures` in a row it is open, and nothing passes for
    `cooldown` seconds; then it is half-open, and one call passes, to see.
    """

    __slots__ = ("_open_until", "_probing", "_row", "round")

    def __init__(self) -> None:
        self._row = 0
        self._open_until: float | None = None  # None while it is closed
        self._probing = False
        self.round = 0  # so that calls from before it opened, or closed, have no say

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        """Return how it stands."""
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half-open"

    def refusal(self, now: float) -> tuple[str, float] | None:
        """Say why nothing passes, and after how many seconds to come again."""
        if self._open_until is None:
            return None
        if now < self._open_until:
            return "it has failed too often in a row", self._open_until - now
        return ("it is being tried out after failures", 1.0) if self._probing else None

    def enter(self) -> bool:
        """Let a call pass; return whether it is the one that is to show how things are."""
        probe = self._open_until is not None
        self._probing = self._probing or probe
        return probe

    def failed(self, *, probe: bool, most: int | None, until: float) -> bool:
        """Take note of a failure; return whether nothing passes any more, from now `until`."""
        self._row += 1
        if not probe and (most is None or self._row < most):
            return False
        self._open_until = until
        self._probing = False
        self.round += 1
        return True

    def answered(self, *, probe: bool) -> None:
        """Take note that the provider is there."""
        self._row = 0
        if probe:
            self._open_until, self._probing = None, False
            self.round += 1

    def shown_nothing(self, *, probe: bool) -> None:
        """Take note of a call that was broken off: another may show how things are."""
        if probe:
            self._probing = False


class Window:
    """The calls of the last minute, each as a list of when and how many tokens."""

    __slots__ = ("_stamps", "_tokens")

    def __init__(self) -> None:
        self._stamps: deque[list[float]] = deque()
        self._tokens = 0.0

    def add(self, now: float, tokens: int) -> list[float]:
        """Count a call; what is returned is its entry."""
        stamp = [now, float(tokens)]
        self._stamps.append(stamp)
        self._tokens += tokens
        return stamp

    def correct(self, stamp: list[float], tokens: int) -> None:
        """Count what a call used in place of what was estimated."""
        if any(each is stamp for each in self._stamps):
            self._tokens += tokens - stamp[1]
            stamp[1] = float(tokens)

    def room_at(self, now: float, tokens: int, *, calls: int | None, most: int | None) -> float:
        """Return when one more call fits below `calls` a minute and `most` tokens a minute.

        A call that is larger than all of `most` fits alone: otherwise it never would.
        """
        stamps = self._stamps
        while stamps and stamps[0][0] + _MINUTE <= now:
            self._tokens -= stamps.popleft()[1]
        due = now
        if calls is not None and len(stamps) >= calls:
            due = stamps[len(stamps) - calls][0] + _MINUTE
        if most is not None:
            room, total = max(most - tokens, 0), self._tokens
            for stamp in stamps:
                if total <= room:
                    break
                total -= stamp[1]
                due = max(due, stamp[0] + _MINUTE)
        return due
