"""What a run is made with, and the mail that passes between its workers and its driver."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from kairos.attempt import Outcome, Recipe, Work
from kairos.budget import Budget, Spend
from kairos.events import Event
from kairos.failure import FailureRouter, ReplanRequest
from kairos.ports import (
    Clock,
    Isolation,
    Journal,
    Loop,
    Observer,
    StepCache,
    SystemClock,
    Workers,
)

__all__ = [
    "Backends",
    "Cancel",
    "Late",
    "Lean",
    "LoopEnded",
    "Mail",
    "Replanned",
    "Replanner",
    "RunOptions",
    "Spawn",
    "Wake",
]

Replanner: TypeAlias = Callable[[ReplanRequest], Any]


class Backends(NamedTuple):
    """Where work is done: each is made when a run first needs it.

    `threads` takes the number of threads and their name.
    """

    threads: Callable[[int, str], Workers]
    loop: Callable[[], Loop]
    isolation: Callable[[], Isolation]


class Lean(NamedTuple):
    """A recipe without the checks that need not be made.

    It holds where each of `keys` is there, and is what the contract of its step, or that of the
    inputs, let through.
    """

    recipe: Recipe
    keys: frozenset[str]


@dataclass(slots=True)
class RunOptions:
    """What a run is made with besides its plan, its state and its inputs.

    `spent` is what was spent of the budget before the run.  `grace` is how many seconds a running
    step is waited for after it was told to stop; `recipes` and `leans` are kept from one run of a
    plan to the next.
    """

    backends: Backends
    journal: Journal
    workflow: str = ""
    router: FailureRouter | None = None
    check: bool = True
    budget: Budget = field(default_factory=Budget)
    spent: Spend | None = None
    max_concurrency: int | None = None
    observers: Sequence[Observer] = ()
    replanner: Replanner | None = None
    sensitive_keys: tuple[str, ...] = ()
    clock: Clock = field(default_factory=SystemClock)
    run_id: str | None = None
    grace: float = 5.0
    warnings: Sequence[str] = ()
    recipes: Sequence[Recipe | None] | None = None
    leans: Mapping[int, Lean] = field(default_factory=dict)
    cache: StepCache | None = None


class Spawn(Protocol):
    """Starts a coroutine on an event loop; what it returns cancels it, from any thread."""

    def __call__(self, coroutine: Coroutine[Any, Any, None], /) -> Callable[[], None]:
        """Start it."""
        ...


class Late(NamedTuple):
    """An attempt came back that had been given up; what it brought is dropped, and was paid for."""

    work: Work


class LoopEnded(NamedTuple):
    """A worker runs no further element of a foreach."""

    step: int


class Replanned(NamedTuple):
    """A replanner answered: with steps, or with what it raised."""

    step: int
    steps: Sequence[Any] | None
    error: BaseException | None


class Cancel(NamedTuple):
    """Someone wants the run to stop; `now` without waiting for what runs."""

    reason: str
    now: bool = False


class Wake(NamedTuple):
    """Look at the clock: it may have been moved."""


Mail: TypeAlias = Outcome | Late | Event | LoopEnded | Replanned | Cancel | Wake
