"""Whether a JSON value satisfies a literal: the check on every candidate of the search."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kairos.contracts.rules import regex_engine, same_json
from kairos.verify.proof.formats import has_format
from kairos.verify.proof.terms import FAMILY, NUMBERS, Props, Table, exact, scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from fractions import Fraction

__all__ = ["Evaluator", "is_multiple", "matches"]


def matches(regex: str, text: str) -> bool:
    """Say whether pydantic's engine finds `regex` in `text`."""
    return regex_engine(regex).isinstance_python(text)


def is_multiple(number: Fraction, step: Fraction) -> bool:
    """Say whether `number` is a whole multiple of `step`."""
    return (number / step).denominator == 1


class Evaluator:
    """Judges values by the terms of one table; an opaque predicate makes the answer None."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._atoms: dict[str, Callable[[Any, Any], bool | None]] = {
            "lower": lambda arg, v: exact(v) > arg[0] or (exact(v) == arg[0] and not arg[1]),
            "upper": lambda arg, v: exact(v) < arg[0] or (exact(v) == arg[0] and not arg[1]),
            "multiple": self._multiple,
            "exactly": lambda arg, v: is_multiple(exact(v), arg),
            "longer": lambda arg, v: len(v) >= arg,
            "size": lambda arg, v: len(v) >= arg,
            "count": lambda arg, v: len(v) >= arg,
            "pattern": matches,
            "format": has_format,
            "required": lambda arg, v: arg in v,
            "unique": lambda _, v: (
                not any(same_json(one, other) for at, one in enumerate(v) for other in v[:at])
            ),
            "items": lambda arg, v: _all(self.holds(arg.at(i), x) for i, x in enumerate(v)),
            "atleast": self._at_least,
            "names": lambda arg, v: _all(self.holds(arg, name) for name in v),
            "props": self._properties,
        }

    def holds(self, lit: int, value: Any) -> bool | None:
        """Say whether `value` satisfies `lit`; None where only running a validator could tell."""
        found = self._holds(abs(lit), value)
        return found if found is None or lit > 0 else not found

    def satisfies(self, lits: Iterable[int], value: Any) -> bool | None:
        """Say whether `value` satisfies all of these."""
        return _all(self.holds(lit, value) for lit in lits)

    def _holds(self, number: int, value: Any) -> bool | None:  # noqa: PLR0911 - one answer an operator
        op, arg = self._table[number]
        if op == "and":
            return _all(self.holds(lit, value) for lit in arg)
        kind = self._table.kind(value)
        if op == "kinds":
            return kind in arg
        if op == "enum":
            return kind not in {"array", "object"} and scalar(value) in arg
        if op == "ref":
            return self.holds(self._table.target(number), value)
        if op == "one":
            answers = [self.holds(lit, value) for lit in arg]
            return None if None in answers else answers.count(True) == 1
        if op == "opaque":
            return None
        if kind not in FAMILY[op]:
            return True
        if kind in NUMBERS and not math.isfinite(value):
            return None
        return self._atoms[op](arg, value)

    def _multiple(self, step: Fraction, value: float) -> bool | None:
        if is_multiple(exact(value), step):
            return True
        # pydantic holds floats to a step within a tolerance
        by_float = isinstance(value, float) or step.denominator != 1
        return None if self._table.whole_floats and by_float else False

    def _at_least(self, arg: tuple[int, int], value: list[Any]) -> bool | None:
        lit, least = arg
        answers = [self.holds(lit, item) for item in value]
        if answers.count(True) >= least:
            return True
        return None if answers.count(True) + answers.count(None) >= least else False

    def _properties(self, arg: Props, value: dict[str, Any]) -> bool | None:
        named = dict(arg.named)

        def each() -> Iterable[bool | None]:
            for name, inner in value.items():
                lits = [lit for regex, lit in arg.patterns if matches(regex, name)]
                if name in named:
                    lits.append(named[name])
                yield self.satisfies(lits or [arg.rest], inner)

        return _all(each())


def _all(answers: Iterable[bool | None]) -> bool | None:
    found: bool | None = True
    for answer in answers:
        if answer is False:
            return False
        if answer is None:
            found = None
    return found
