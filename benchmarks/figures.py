"""What a measurement is: a figure, the floor it stands on, and what it is to reach."""

from __future__ import annotations

import gc
import statistics
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Row", "Scale", "Target", "interleaved"]


class Scale(NamedTuple):
    """How much is measured: everything, or (`quick`) just enough to see that it runs."""

    quick: bool = False

    def size(self, full: int) -> int:
        """Return how many of something to make."""
        return max(full // 500, 4) if self.quick else full

    def rounds(self, full: int) -> int:
        """Return how often to measure."""
        return 1 if self.quick else full


class Target(NamedTuple):
    """What to reach: a bound on the figure itself, on its ratio to the floor, or its excess."""

    bound: float
    of: Literal["figure", "ratio", "excess"] = "figure"


class Row(NamedTuple):
    """One line of the table.  `key` names it for programs; no `target` means for information."""

    key: str
    what: str
    unit: str
    kairos: float
    floor: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """The figure as a multiple of its floor."""
        return None if not self.floor else self.kairos / self.floor

    @property
    def verdict(self) -> Literal["ok", "over", ""]:
        """Whether the target is reached; empty where there is none."""
        if self.target is None:
            return ""
        floor = self.floor or 0.0
        found = {
            "figure": self.kairos,
            "ratio": self.kairos / floor if floor else float("inf"),
            "excess": self.kairos - floor,
        }[self.target.of]
        return "ok" if found <= self.target.bound else "over"


def interleaved(
    sides: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: int = 1
) -> dict[str, float]:
    """Return each side's median over `rounds`, in which the sides take turns: A B A B.

    A side does one run and returns what it measured of it, so that what it prepares is not
    counted.  Taking turns, all sides meet the same disturbances; `warm_up` turns of each go
    before, unmeasured.  The collector is on, as users have it, and nothing is left to it from the
    turn before.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-warm_up, rounds):
        for name, side in sides.items():
            gc.collect()
            gc.freeze()  # what earlier rows keep is not walked again and again within this one
            try:
                measured = side()
            finally:
                gc.unfreeze()
            if turn >= 0:
                found[name].append(measured)
    return {name: statistics.median(each) for name, each in found.items()}
