"""A whole value around some of its keys: what a contract of objects says of an example of a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.contracts.contract import ContractBroken
from kairos.contracts.field_errors import ROOT, one_error
from kairos.verify.proof.limits import BudgetSpentError, UnsupportedError
from kairos.verify.proof.terms import FALSE, Props

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kairos.verify.proof.ground import Ground
    from kairos.verify.proof.parties import Party

__all__ = ["ABSENT", "completed", "no_such_value"]

ABSENT: Any = object()
"""Stands for the value of a key that is not there."""


def no_such_value() -> ContractBroken:
    """Return the refusal of an example that no whole value has in it."""
    return ContractBroken((one_error(ROOT, "a part of a whole", "no such value"),), "inputs")


def completed(whole: Party, some: Mapping[str, Any], ground: Ground) -> Any:
    """Return an object that a party may emit and in which these keys have these values.

    Raises ContractBroken where none is found.
    """
    table = ground.table
    named = sorted(
        (key, FALSE if value is ABSENT else table.choice([value])) for key, value in some.items()
    )
    try:
        lits = [ground.reader(whole).root(), table.props(Props(tuple(named)))]
        lits += [table.atom("required", key) for key, value in some.items() if value is not ABSENT]
        answer = ground.search.solve(lits)
    except (BudgetSpentError, UnsupportedError):
        raise no_such_value() from None
    if not answer.found:
        raise no_such_value()
    return answer.value
