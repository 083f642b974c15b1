"""Time by hand."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ManualClock"]


class ManualClock:
    """A clock that stands still until it is moved.

    It moves by itself, straight to the next thing that is due, whenever a run has nothing running:
    pauses before retries therefore pass at once.  While something runs, only `advance` moves it: a
    test of a timeout lets its step block, and advances the clock.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self._start = start
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []

    def time(self) -> float:
        """Return the time in seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return the same time: this clock never goes back."""
        return self._now

    @property
    def elapsed(self) -> float:
        """How many seconds have passed since the clock was made."""
        return self._now - self._start

    def advance(self, seconds: float) -> None:
        """Move on, and wake the runs that wait for it."""
        if not 0 <= seconds < float("inf"):
            raise ValueError("a clock does not go back, and moves on by a finite time")
        with self._lock:
            self._now += seconds
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def span(self, seconds: float | None, *, idle: bool) -> float | None:
        """Move on by `seconds` when nothing is running; otherwise wait for news."""
        if not idle or seconds is None:
            return None
        with self._lock:
            self._now += seconds
        return 0.0

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called by `advance`; returns what ends that."""
        with self._lock:
            self._wakers.append(wake)

        def unsubscribe() -> None:
            with self._lock, contextlib.suppress(ValueError):  # ended already
                self._wakers.remove(wake)

        return unsubscribe
