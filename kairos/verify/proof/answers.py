"""What a search for a value says: there is none, here is one, or it cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kairos.verify.proof.evaluation import Evaluator
    from kairos.verify.proof.limits import Meter
    from kairos.verify.proof.regular import Space
    from kairos.verify.proof.terms import Lits, Table

__all__ = ["FREE", "NONE", "UNKNOWN", "Answer", "Solver", "Tally", "found"]

FREE = 1 << 30


class Answer(NamedTuple):
    """`low` is the outermost unfinished question that a "none" leans on; FREE for no such."""

    status: str
    value: Any = None
    low: int = FREE

    @property
    def none(self) -> bool:
        """Whether it is proved that there is no value."""
        return self.status == "none"

    @property
    def found(self) -> bool:
        """Whether there is a value: `value` is one."""
        return self.status == "found"


NONE = Answer("none")
UNKNOWN = Answer("unknown")


def found(value: Any) -> Answer:
    """Return the answer that `value` is one."""
    return Answer("found", value)


class Tally:
    """The answers to several ways of looking for one value."""

    def __init__(self) -> None:
        self.unknown = False
        self.low = FREE

    def add(self, answer: Answer) -> bool:
        """Count an answer; say whether it found a value."""
        self.low = min(self.low, answer.low)
        self.unknown = self.unknown or answer.status == "unknown"
        return answer.found

    def verdict(self) -> Answer:
        """Return what all the answers come to, none of which found a value."""
        return UNKNOWN if self.unknown else Answer("none", None, self.low)


class Solver(Protocol):
    """What the rooms for arrays, objects and strings ask the search for."""

    table: Table
    meter: Meter
    evaluator: Evaluator
    space: Space

    def solve(self, lits: Iterable[int]) -> Answer:
        """Look for a value that satisfies all these literals."""
        ...

    def solve_all(self, lits: Lits) -> Answer:
        """Do the same for literals that are a set already."""
        ...
