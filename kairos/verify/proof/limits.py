"""What bounds a proof, and the words for why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

__all__ = ["Budget", "BudgetSpentError", "Meter", "UnsupportedError"]

_TICK = 16  # steps between two looks at the clock


class BudgetSpentError(Exception):
    """The search has taken all the nodes or all the time it may."""


class UnsupportedError(Exception):
    """A part of a contract that the proof cannot read; the text says which."""


@dataclass(frozen=True)
class Budget:
    """How much one comparison may cost: steps of the search, and seconds of wall time."""

    nodes: int = 20_000
    seconds: float = 2.0


class Meter:
    """What has been spent of a budget, and the reasons met for not knowing."""

    def __init__(self, budget: Budget) -> None:
        self.reasons: dict[str, None] = {}
        self.restart(budget)

    def restart(self, budget: Budget) -> None:
        """Begin anew, with this budget and no reasons."""
        self._nodes = budget.nodes
        self._end = monotonic() + budget.seconds
        self.reasons.clear()

    def spend(self, nodes: int = 1) -> None:
        """Count a step; raise BudgetSpentError where there are none left."""
        before = self._nodes
        self._nodes -= nodes
        if self._nodes < 0:
            raise BudgetSpentError("the budget of steps is spent")
        if before // _TICK != self._nodes // _TICK and monotonic() > self._end:
            raise BudgetSpentError("the budget of time is spent")

    @property
    def is_late(self) -> bool:
        """Whether the time is spent."""
        return monotonic() > self._end

    def note(self, reason: str) -> None:
        """Remember why a part could not be decided."""
        self.reasons[reason] = None
