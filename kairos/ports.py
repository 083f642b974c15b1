"""The seams: small Protocols through which the engine meets the world.

Each has an official fake or a simplest implementation that ships with kairos:
`Clock` → `kairos.testing.ManualClock`, `Journal` → `kairos.journal.MemoryJournal`,
`Observer` → any object with an `observe` method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar, runtime_checkable

from kairos.events import Event

__all__ = ["Clock", "Journal", "Observer", "SystemClock", "Workers"]

T = TypeVar("T")


@runtime_checkable
class Observer(Protocol):
    """Is told of every event, in order, on the thread that drives the run.

    What it raises is reported as a warning and never stops a run.
    """

    def observe(self, event: Event) -> None:
        """Take note of one event."""


class Journal(Protocol):
    """Where a run's events are kept.  Iterating gives them back in order."""

    def append(self, event: Event) -> None:
        """Keep one event.  Returning means that it is kept."""

    def __iter__(self) -> Iterator[Event]:
        """Give back what was kept."""


class Clock(Protocol):
    """Time, as an object: the system's in earnest, a manual one in tests."""

    def time(self) -> float:
        """Return seconds since the epoch, for the record."""

    def monotonic(self) -> float:
        """Return seconds that never go back, for deadlines and durations."""

    def receive(self, mailbox: SimpleQueue[T], timeout: float | None, *, idle: bool) -> T | None:
        """Wait for the mailbox at most `timeout` seconds; None when the time is up.

        `idle` says that nothing is running: only time itself can bring news.
        """


class Workers(Protocol):
    """Runs callables beside the driver; each delivers its own result."""

    def submit(self, job: Callable[[], Any]) -> None:
        """Run `job` as soon as a worker is free."""

    def stop(self) -> None:
        """Let the workers go once they have finished what they are doing."""


class SystemClock:
    """The system's own clock."""

    def __init__(self) -> None:
        import time  # noqa: PLC0415 - bound once, so that the hot path calls the C functions

        self.time = time.time
        self.monotonic = time.perf_counter

    def receive(self, mailbox: SimpleQueue[T], timeout: float | None, *, idle: bool) -> T | None:
        """Wait for the mailbox at most `timeout` seconds; None when the time is up."""
        from queue import Empty  # noqa: PLC0415

        del idle  # the system's time passes by itself
        try:
            return mailbox.get(timeout=timeout)
        except Empty:
            return None
