"""The search for a value that satisfies a set of literals.

A question is a set of literals.  For each kind of value its boolean structure is taken apart into
cases, sets of atoms, and a room of its own (numbers, strings, arrays, objects) looks for a value
in each.  A question met again below itself, about a part of the value it asks for, is answered
"none": a JSON value is a finite tree, so one that needed itself inside would not end.  The same
goes for a question that asks for more than the one above it.  Such an answer leans on the
unfinished question and is remembered only once that one is settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.verify.proof.answers import FREE, NONE, UNKNOWN, Answer, Tally, found
from kairos.verify.proof.arrays import solve_array
from kairos.verify.proof.evaluation import Evaluator
from kairos.verify.proof.glance import Glance
from kairos.verify.proof.numbers import solve_number
from kairos.verify.proof.objects import solve_object
from kairos.verify.proof.regular import Space
from kairos.verify.proof.strings import solve_string
from kairos.verify.proof.terms import FALSE, FAMILY, KINDS, TRUE, Lits, Scalar, Table, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kairos.verify.proof.limits import Meter

__all__ = ["Search"]

_MOST_DEPTH = 40
_MANY_CHOICES = 3
_MANY_VALUES = 1_000  # of an enum: more are not put into an order for the sake of order
_MANY = 16  # values of an enum that cost a step of the budget


class Search:
    """One search, with all it has found out so far."""

    def __init__(self, table: Table, meter: Meter) -> None:
        self.table = table
        self.meter = meter
        self.evaluator = Evaluator(table)
        self.space = Space(meter)
        self._known: dict[Lits, Answer] = {}
        self._empty: dict[int, list[Lits]] = {}  # the sets without a value, by one of each
        self._asked: dict[Lits, int] = {}  # unfinished questions, with their depth

    def solve(self, lits: Iterable[int]) -> Answer:
        """Look for a value that satisfies all these literals."""
        return self.solve_all(frozenset(lits) - {TRUE})

    def solve_all(self, lits: Lits) -> Answer:
        """Do the same for literals that are a set already, without TRUE."""
        known = self._known.get(lits)
        if known is not None:
            return known
        if FALSE in lits or any(-lit in lits for lit in lits):
            return NONE
        if self._is_empty(lits):
            return NONE
        for asked in reversed(self._asked):
            if asked <= lits:  # a value of these were one of those, only smaller
                return Answer("none", None, self._asked[asked])
        depth = len(self._asked)
        if depth > _MOST_DEPTH:
            self.meter.note(f"parts in one another deeper than {_MOST_DEPTH}")
            return UNKNOWN
        self._asked[lits] = depth
        try:
            answer = self._look(lits)
        finally:
            del self._asked[lits]
        if answer.found or answer.low >= depth:
            answer = answer._replace(low=FREE)
            self._known[lits] = answer
            if answer.none:
                self._empty.setdefault(max(lits, key=abs), []).append(lits)
        return answer

    def _is_empty(self, lits: Lits) -> bool:
        """Say whether fewer literals than these are known to leave no value."""
        return any(few <= lits for lit in lits for few in self._empty.get(lit, ()))

    def _look(self, lits: Lits) -> Answer:
        tally = Tally()
        for kind in KINDS:
            answer = self._among(lits, kind, tally)
            if answer is not None:
                return answer
        return tally.verdict()

    def _among(self, lits: Lits, kind: str, tally: Tally) -> Answer | None:
        """Take the boolean structure apart into cases, and look for a value in each.

        Where many choices are left, what holds in any case is asked first: it may leave no value,
        or give one that will do.
        """
        waiting: list[tuple[Glance, list[int]]] = [
            (Glance(self.table, self.evaluator, kind), sorted(lits))
        ]
        while waiting:
            self.meter.spend()
            glance, todo = waiting.pop()
            if not self._gather(glance, todo):
                continue
            either = glance.smallest_choice()
            if either is None or len(glance.choices) >= _MANY_CHOICES:
                answer = self._in_case(frozenset(glance.atoms), kind)
                if either is None or answer.none:
                    if tally.add(answer):
                        return answer
                    continue
                if answer.found and self.evaluator.satisfies(lits, answer.value):
                    return answer
            waiting += [(glance.copy(), [lit]) for lit in reversed(either)]
        return None

    def _in_case(self, atoms: Lits, kind: str) -> Answer:
        opaque = [lit for lit in sorted(atoms) if self.table[lit].op == "opaque"]
        answer = self._of_kind(atoms.difference(opaque), kind)
        if answer.none:
            return answer
        refused = [self.table[lit].arg for lit in opaque if lit < 0]
        if refused:
            for name in refused:
                self.meter.note(f"{name.partition('#')[0]}, which only a run can ask")
            return UNKNOWN
        return answer

    def _of_kind(self, atoms: Lits, kind: str) -> Answer:
        finite = self._finite(atoms, kind)
        if finite is not None:
            tally = Tally()
            for at, value in enumerate(finite):
                if at % _MANY == _MANY - 1:
                    self.meter.spend()
                fits = self.evaluator.satisfies(atoms, value)
                if fits:
                    return found(value)
                tally.unknown = tally.unknown or fits is None
            return tally.verdict()
        if kind == "string":
            return solve_string(self, atoms)
        if kind == "array":
            return solve_array(self, atoms)
        if kind == "object":
            return solve_object(self, atoms)
        return solve_number(self, atoms, kind)

    def _finite(self, atoms: Lits, kind: str) -> list[Any] | None:
        """Return the values to choose from, where an enum or the kind itself lists them."""
        if kind == "null":
            return [None]
        if kind == "boolean":
            return [False, True]
        enums = [self.table[lit].arg for lit in atoms if lit > 0 and self.table[lit].op == "enum"]
        if not enums:
            return None
        shared = frozenset.intersection(*enums)
        for lit in atoms:
            if lit < 0 and self.table[lit].op == "enum":
                shared -= self.table[lit].arg
        values = []
        for key in _in_order([key for key in shared if _is_of(key, kind)], kind):
            if kind == "integer" and key[1].denominator != 1:
                continue
            value = value_of(key, kind)
            if self.table.kind(value) == kind:
                values.append(value)
        return values

    def _gather(self, glance: Glance, todo: list[int]) -> bool:  # noqa: C901, PLR0912 - flat: one an operator
        """Take in what must hold, and what follows; say whether it may still hold together."""
        while todo:
            while todo:
                lit = todo.pop()
                if lit in glance.facts or lit == TRUE:
                    continue
                if lit == FALSE or -lit in glance.facts:
                    return False
                glance.facts.add(lit)
                op, arg = self.table[lit]
                if op == "and" and lit > 0:
                    todo += arg
                elif op == "ref":
                    todo.append(self.table.target(lit))
                elif op in {"and", "one"}:
                    glance.choices.append(lit)
                elif op == "kinds":
                    if (glance.kind in arg) != (lit > 0):
                        return False
                elif op in FAMILY and glance.kind not in FAMILY[op]:
                    if lit < 0:
                        return False
                elif not self._take(glance, lit):
                    return False
            forced = glance.settle()
            if forced is None:
                return False
            todo = forced
        return True

    def _take(self, glance: Glance, lit: int) -> bool:
        """Take in an atom about values of this kind."""
        op, arg = self.table[lit]
        if op == "enum" and glance.kind in {"array", "object"}:
            return lit < 0
        glance.atoms.add(lit)
        if op == "enum" and lit > 0:
            now = frozenset(key for key in arg if _is_of(key, glance.kind))
            glance.allowed = now if glance.allowed is None else glance.allowed & now
            return bool(glance.allowed)
        return True


def _in_order(keys: list[Scalar], kind: str) -> list[Scalar]:
    if len(keys) <= _MANY_VALUES:
        return sorted(keys, key=repr)
    # the order of texts in a set differs from run to run; that of numbers does not
    return sorted(keys) if kind == "string" else keys


def _is_of(key: tuple[str, Any], kind: str) -> bool:
    return key[0] == ("number" if kind in {"integer", "float"} else kind)
