"""Numbers: intervals, steps and exceptions, in exact fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.verify.proof.answers import NONE, UNKNOWN, Answer, found
from kairos.verify.proof.evaluation import is_multiple
from kairos.verify.proof.terms import exact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.proof.answers import Solver

__all__ = ["solve_number"]

_MOST_TRIED = 20_000
_EXACT_INTS = 2**53  # up to here a float tells every int apart
_WHOLE = Fraction(1)


class _Bound(NamedTuple):
    at: Fraction
    is_open: bool


class _Asked(NamedTuple):
    """All that is asked of a number; what is `loose` is held to within a tolerance."""

    low: _Bound | None
    high: _Bound | None
    steps: tuple[Fraction, ...]
    no_steps: tuple[Fraction, ...]
    loose: tuple[Fraction, ...]
    no_loose: tuple[Fraction, ...]
    excluded: frozenset[Fraction]

    @property
    def no_room(self) -> bool:
        """Whether the bounds leave nothing between them."""
        if self.low is None or self.high is None:
            return False
        if self.low.at == self.high.at:
            return self.low.is_open or self.high.is_open
        return self.low.at > self.high.at


def solve_number(solver: Solver, atoms: frozenset[int], kind: str) -> Answer:
    """Look for a number of this kind that satisfies the atoms."""
    asked = _asked(solver, atoms, kind)
    if asked.no_room:
        return UNKNOWN if _blurred(solver, asked, kind) else NONE
    if solver.table.whole_floats:
        return _among_read_floats(solver, atoms, asked, kind)
    if kind == "integer":
        return _on_a_lattice(asked._replace(steps=(*asked.steps, _WHOLE)), solver)
    asked = asked._replace(no_steps=(*asked.no_steps, _WHOLE))
    return _on_a_lattice(asked, solver) if asked.steps else _in_between(asked)


def _asked(solver: Solver, atoms: frozenset[int], kind: str) -> _Asked:
    low: _Bound | None = None
    high: _Bound | None = None
    steps: list[Fraction] = []
    no_steps: list[Fraction] = []
    loose: list[Fraction] = []
    no_loose: list[Fraction] = []
    excluded: set[Fraction] = set()
    for lit in atoms:
        op, arg = solver.table[lit]
        if op in {"lower", "upper"}:
            # outside one bound is within the opposite one, closed where that was open
            bound = _Bound(arg[0], arg[1] if lit > 0 else not arg[1])
            if (op == "lower") == (lit > 0):
                low = bound if low is None else max(low, bound)
            else:
                high = bound if high is None else min(high, bound, key=_from_above)
        elif op == "multiple" and solver.table.whole_floats and not _is_exact(arg, kind):
            (loose if lit > 0 else no_loose).append(arg)
        elif op in {"multiple", "exactly"}:
            (steps if lit > 0 else no_steps).append(arg)
        elif op == "enum" and lit < 0:
            excluded |= {number for kind, number in arg if kind == "number"}
    exactly, loosely = (tuple(steps), tuple(no_steps)), (tuple(loose), tuple(no_loose))
    return _Asked(low, high, *exactly, *loosely, frozenset(excluded))


def _is_exact(step: Fraction, kind: str) -> bool:
    return kind == "integer" and step.denominator == 1


def _from_above(bound: _Bound) -> tuple[Fraction, bool]:
    return bound.at, not bound.is_open


def _blurred(solver: Solver, asked: _Asked, kind: str) -> bool:
    """Say whether bounds that exclude one another may both hold of an int read as a float."""
    if not solver.table.whole_floats or kind != "integer":
        return False
    if asked.low is None or asked.high is None:
        return False
    apart = abs(asked.low.at - asked.high.at)
    if abs(asked.low.at) <= _EXACT_INTS or apart * 2**50 > abs(asked.low.at):
        return False
    solver.meter.note("bounds beyond 2**53, where a float tells no neighbours apart")
    return True


def _among_read_floats(solver: Solver, atoms: frozenset[int], asked: _Asked, kind: str) -> Answer:
    """Look as a strict reader does, which holds floats to a step within a tolerance only."""
    for step in asked.no_loose:
        if kind == "integer" and step.numerator == 1:
            return NONE
        if any(_surely_multiple(one, step) for one in (*asked.steps, *asked.loose)):
            return NONE
    whole = (_WHOLE,) if kind == "integer" else ()
    exactly = asked._replace(steps=(*asked.steps, *whole))
    answer = _read(_on_a_lattice(exactly, solver) if exactly.steps else _in_between(exactly), kind)
    if answer.none or not (asked.loose or asked.no_loose):
        return answer
    # the steps pin no exact value, so a candidate for all of them is all there can be
    wanted = exactly._replace(
        steps=(*exactly.steps, *asked.loose), no_steps=(*asked.no_steps, *asked.no_loose)
    )
    if wanted.steps:
        answer = _read(_on_a_lattice(wanted, solver), kind)
    if answer.found and solver.evaluator.satisfies(atoms, answer.value):
        return answer
    solver.meter.note("a multipleOf on floats, which holds within a tolerance")
    return UNKNOWN


def _read(answer: Answer, kind: str) -> Answer:
    """Return a number that was found as a value of this kind, if it is one."""
    if not answer.found or kind == "integer":
        return answer
    try:
        value = float(answer.value)
    except OverflowError:
        return UNKNOWN
    return found(value) if exact(value) == exact(answer.value) else UNKNOWN


def _surely_multiple(one: Fraction, other: Fraction) -> bool:
    return is_multiple(Fraction(float(one)), Fraction(float(other)))


def _on_a_lattice(asked: _Asked, solver: Solver) -> Answer:
    """Look among the multiples of all the steps; what they rule out recurs after a period."""
    step = asked.steps[0]
    for other in asked.steps[1:]:
        step = _common(step, other)
    if any(is_multiple(step, one) for one in asked.no_steps):
        return NONE
    whole = step
    for other in asked.no_steps:
        whole = _common(whole, other)
    period = int(whole / step)
    enough = period * (len(asked.excluded) + 1)
    first = None if asked.low is None else _first_above(asked.low, step)
    last = None if asked.high is None else -_first_above(_mirrored(asked.high), step)
    if first is not None and last is not None:
        enough = min(enough, last - first + 1)
    for n in itertools.islice(_counted(first, last), min(max(enough, 0), _MOST_TRIED)):
        solver.meter.spend()
        number = step * n
        if number in asked.excluded or any(is_multiple(number, one) for one in asked.no_steps):
            continue
        value = _as_json(number)
        return UNKNOWN if value is None else found(value)
    if enough > _MOST_TRIED:
        solver.meter.note("steps whose common period is too long")
        return UNKNOWN
    return NONE


def _common(one: Fraction, other: Fraction) -> Fraction:
    """Return the least common multiple of two steps."""
    shared = one.denominator * other.denominator
    return Fraction(
        math.lcm(one.numerator * other.denominator, other.numerator * one.denominator), shared
    )


def _first_above(bound: _Bound, step: Fraction) -> int:
    n = math.ceil(bound.at / step)
    return n + 1 if bound.is_open and step * n == bound.at else n


def _mirrored(bound: _Bound) -> _Bound:
    return _Bound(-bound.at, bound.is_open)


def _counted(first: int | None, last: int | None) -> Iterator[int]:
    if first is not None:
        return itertools.count(first)
    return itertools.count(0 if last is None else last, -1)


def _in_between(asked: _Asked) -> Answer:
    """Look for a number in an interval without steps: there is one unless it is a point."""
    low, high = asked.low, asked.high
    if low is not None and high is not None and low.at == high.at:
        if not _is_right(low.at, asked):
            return NONE
        value = _as_json(low.at)
        return UNKNOWN if value is None else found(value)
    for number in _candidates(asked):
        if _is_right(number, asked):
            value = float(number)
            if exact(value) == number:
                return found(value)
    return UNKNOWN


def _is_right(number: Fraction, asked: _Asked) -> bool:
    low, high = asked.low, asked.high
    if low is not None and (number < low.at or (low.is_open and number == low.at)):
        return False
    if high is not None and (number > high.at or (high.is_open and number == high.at)):
        return False
    return number not in asked.excluded and not any(is_multiple(number, s) for s in asked.no_steps)


def _candidates(asked: _Asked) -> Iterator[Fraction]:
    """Yield numbers with few digits from the interval, short ones first."""
    tries = len(asked.excluded) + 8
    for digits in range(1, 18):
        unit = Fraction(1, 10**digits)
        if asked.low is not None:
            start, way = math.floor(asked.low.at / unit), 1
        elif asked.high is not None:
            start, way = math.ceil(asked.high.at / unit), -1
        else:
            start, way = 5, 1
        yield from (unit * (start + way * n) for n in (5, *range(tries)))
    if asked.low is not None and asked.high is not None:
        gap = asked.high.at - asked.low.at
        for n in range(1, tries + 8):
            yield exact(float(asked.low.at + gap * Fraction(n, tries + 8)))


def _as_json(number: Fraction) -> Any:
    """Return the int or float that is exactly this number, or None."""
    if number.denominator == 1:
        return number.numerator
    try:
        value = float(number)
    except OverflowError:
        return None
    return value if exact(value) == number else None
