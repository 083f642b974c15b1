"""The seams: small Protocols through which the engine meets the world.

Each has an official fake or a simplest implementation that ships with kairos:
`Clock` → `kairos.testing.ManualClock`, `Journal` → `kairos.journal.MemoryJournal`,
`Observer` → any object with an `observe` method,
`SessionStore` → `kairos.agents.stores.MemoryStore`,
`StepCache` → `kairos.caches.MemoryCache`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from kairos.events import Event

__all__ = [
    "Clock",
    "Isolation",
    "Journal",
    "Loop",
    "Observer",
    "SessionStore",
    "StepCache",
    "StoredSession",
    "SystemClock",
    "Workers",
]


@runtime_checkable
class Observer(Protocol):
    """Is told of every event, in order, on the thread that drives the run.

    What it raises is reported as a warning and never stops a run.
    """

    def observe(self, event: Event) -> None:
        """Take note of one event."""
        ...


class Journal(Protocol):
    """Where a run's events are kept.  Iterating gives them back in order."""

    def append(self, event: Event, /) -> None:
        """Keep one event.  Returning means that it is kept."""
        ...

    def __iter__(self) -> Iterator[Event]:
        """Give back what was kept."""
        ...


class StoredSession(NamedTuple):
    """A session that is kept: how many events it has, and when it began and last grew.

    Times are seconds since the epoch.
    """

    id: str
    events: int
    created: float
    changed: float


class SessionStore(Protocol):
    """Where conversations are kept: events as plain JSON, numbered from 0 in each session.

    It may be used from several threads.  Every method raises StoreError where the store cannot be
    read or written.
    """

    def append(self, session: str, at: int, events: Sequence[Mapping[str, Any]], /) -> None:
        """Keep events, all or none, as number `at` of a session and those that follow.

        Returning means that they are kept.  Number 0 begins a session.  Raises SessionConflictError
        where `at` is not the session's next number.
        """
        ...

    def read(self, session: str, start: int = 0, /) -> list[dict[str, Any]]:
        """Return the events of a session from a number on; nothing for one that is not known."""
        ...

    def fork(self, session: str, upto: int, new: str, /) -> None:
        """Begin a session with the first `upto` events of another, without a copy of them.

        Raises SessionConflictError where there is a session of the new name already.
        """
        ...

    def sessions(self) -> list[StoredSession]:
        """Return all sessions, by their ids."""
        ...

    def delete(self, session: str, /) -> bool:
        """Forget a session, whether there was one or not; what its forks share of it they keep."""
        ...


class StepCache(Protocol):
    """Where the outputs of cached steps are kept.

    It may be used from several threads, and may forget whatever it likes.  `at_rest` says that what
    it keeps outlives the process: then no output that holds a secret is put there.  A method that
    cannot do its work raises StoreError.
    """

    @property
    def at_rest(self) -> bool:
        """Whether what is kept outlives the process."""
        ...

    def get(self, key: str, /) -> bytes | None:
        """Return what is kept under a key; None for nothing."""
        ...

    def put(self, key: str, value: bytes, /) -> None:
        """Keep something under a key, in place of what was there."""
        ...


class Clock(Protocol):
    """Time, as an object: the system's in earnest, a manual one in tests."""

    def time(self) -> float:
        """Return seconds since the epoch, for the record."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, for deadlines and durations."""
        ...

    def span(self, seconds: float | None, *, idle: bool) -> float | None:
        """Return how many real seconds may pass while `seconds` of this clock do; None: any.

        `idle` says that nothing is running, so that only time itself can bring news: a manual
        clock then moves on by itself.
        """
        ...

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called when the time is moved by hand; returns what ends that."""
        ...


class Workers(Protocol):
    """A pool of threads.  A job deals with its own errors."""

    @property
    def waiting(self) -> bool:
        """Whether a job waits for a thread."""
        ...

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job as soon as a thread is free."""
        ...

    def replace_one(self) -> None:
        """Make up for a thread that is stuck in a job nobody waits for any more."""
        ...

    def stop(self) -> None:
        """Let the threads go once they have finished what they are doing."""
        ...


class Loop(Protocol):
    """An event loop beside the driver."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], /) -> Callable[[], None]:
        """Start a coroutine; what is returned cancels it, from any thread."""
        ...

    def doubt(self) -> None:
        """Take note that a coroutine did not come back in time: it may have blocked the loop."""
        ...

    def stop(self) -> None:
        """Cancel what is left, and let the loop go."""
        ...


class Isolation(Protocol):
    """Performs attempts where they can reach nothing but what they may read.

    A work and its outcome are those of `kairos.attempt`.
    """

    def perform(self, work: Any) -> Any:
        """Make the attempt, on the calling thread's time, and return its outcome."""
        ...

    def release(self, step: Any) -> None:
        """Keep nothing ready any longer for a step that has come to its end."""
        ...

    def close(self) -> None:
        """End whatever still runs."""
        ...


class SystemClock:
    """The system's own clock."""

    def __init__(self) -> None:
        import time  # noqa: PLC0415 - bound once, so that the hot path calls the C functions

        self.time = time.time
        self.monotonic = time.perf_counter

    def span(self, seconds: float | None, *, idle: bool) -> float | None:
        """Return the same: this clock's seconds are real ones."""
        del idle
        return seconds

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Do nothing: nobody moves this clock by hand."""
        del wake
        return lambda: None
