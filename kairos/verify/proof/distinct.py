"""Values that differ from one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.verify.proof.answers import Answer, found

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kairos.verify.proof.answers import Solver
    from kairos.verify.proof.terms import Lits

__all__ = ["all_values", "distinct_values"]


def distinct_values(solver: Solver, items: Iterable[Lits]) -> list[Any] | None:
    """Return one value for each item, all different; None where taking them in turn fails."""
    values: list[Any] = []
    for lits in items:
        answer = solver.solve([*lits, -solver.table.choice(values)])
        if not answer.found:
            return None
        values.append(answer.value)
    return values


def all_values(solver: Solver, lits: Lits, enough: int) -> tuple[list[Any], Answer]:
    """Return the values that satisfy `lits`, at most `enough`.

    The answer beside them says whether there are that many (found), or no others (none).
    """
    values: list[Any] = []
    while len(values) < enough:
        answer = solver.solve([*lits, -solver.table.choice(values)])
        if not answer.found:
            return values, answer
        values.append(answer.value)
    return values, found(None)
