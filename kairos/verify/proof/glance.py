"""What can be told of a literal at a glance, from what is already known to hold.

It decides most choices without a search: a value whose tag is "cat" is of no other variant.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from kairos.verify.proof.terms import FAMILY, KINDS, Scalar, Table, value_of

if TYPE_CHECKING:
    from kairos.verify.proof.evaluation import Evaluator

__all__ = ["Glance"]

_MOST_DEPTH = 6
_MOST_VALUES = 40
_NUMERIC = {"integer": "number", "float": "number"}


class Glance:
    """The facts of one case: `atoms` and `choices` are those of them still to be looked into."""

    def __init__(self, table: Table, evaluator: Evaluator, kind: str) -> None:
        self.table = table
        self.evaluator = evaluator
        self.kind = kind
        self.facts: set[int] = set()
        self.atoms: set[int] = set()
        self.choices: list[int] = []
        self.allowed: frozenset[Scalar] | None = None  # the values an enum leaves
        self._options: dict[int, list[int]] = {}

    def copy(self) -> Glance:
        """Return a case of its own with the same facts."""
        other = Glance(self.table, self.evaluator, self.kind)
        other.facts = set(self.facts)
        other.atoms = set(self.atoms)
        other.choices = list(self.choices)
        other.allowed = self.allowed
        return other

    def settle(self) -> list[int] | None:
        """Drop the choices that are made already; return what is forced, None for no way out."""
        left: list[int] = []
        forced: list[int] = []
        self._options = {}
        for lit in self.choices:
            options = self._ways(lit)
            if options is None:
                continue
            if not options:
                return None
            if len(options) == 1:
                forced.append(options[0])
            else:
                left.append(lit)
                self._options[lit] = options
        self.choices = left
        return forced

    def smallest_choice(self) -> list[int] | None:
        """Take out the choice to make next and return its ways; None for no choice.

        What a value is tells more than what it is not, so a union comes before a negation.
        """
        if not self.choices:
            return None
        lit = min(self.choices, key=self._order)
        self.choices.remove(lit)
        return self._options[lit]

    def _order(self, lit: int) -> tuple[bool, int]:
        options = self._options[lit]
        return any(one < 0 for one in options), len(options)

    def _ways(self, lit: int) -> list[int] | None:
        """Return the ways in which a choice can hold; None where it holds anyhow."""
        term = self.table[lit]
        if term.op == "and":
            found = []
            for part in term.arg:
                told = self.tell(-part)
                if told:
                    return None
                if told is None:
                    found.append(-part)
            return found
        live = [part for part in term.arg if self.tell(part) is not False]
        if lit > 0:
            return [
                self.table.all_of([part, *(-other for other in live if other != part)])
                for part in live
            ]
        pairs = itertools.combinations(live, 2)
        return [
            self.table.all_of([-part for part in live]),
            *(self.table.all_of(pair) for pair in pairs),
        ]

    def tell(self, lit: int, depth: int = 0) -> bool | None:
        """Say whether `lit` follows from the facts (True) or contradicts them (False)."""
        if lit in self.facts:
            return True
        if -lit in self.facts:
            return False
        told = self._tell(abs(lit), depth)
        return told if told is None or lit > 0 else not told

    def _tell(self, number: int, depth: int) -> bool | None:  # noqa: PLR0911 - one answer an operator
        op, arg = self.table[number]
        if op == "kinds":
            return self.kind in arg
        if op in FAMILY and self.kind not in FAMILY[op]:
            return True
        if op == "and":
            return self._tell_all(arg, depth) if depth < _MOST_DEPTH else None
        if op == "ref":
            return self.tell(self.table.target(number), depth + 1) if depth < _MOST_DEPTH else None
        if op == "enum" and self.kind in {"array", "object"}:
            return False
        if op == "props":
            return False if self._clashes(arg.named) else None
        if op in {"one", "opaque"} or self.allowed is None or len(self.allowed) > _MOST_VALUES:
            return None
        answers = {self.evaluator.holds(number, v) for v in self._values()}
        return answers.pop() if len(answers) == 1 else None

    def _tell_all(self, lits: tuple[int, ...], depth: int) -> bool | None:
        told: bool | None = True
        for lit in lits:
            one = self.tell(lit, depth + 1)
            if one is False:
                return False
            if one is None:
                told = None
        return told

    def _values(self) -> list[object]:
        values = [
            value_of(key, self.kind)
            for key in self.allowed or ()
            if self.kind != "integer" or key[1].denominator == 1
        ]
        return [value for value in values if self.table.kind(value) == self.kind]

    def _clashes(self, named: tuple[tuple[str, int], ...]) -> bool:
        """Say whether a property that is there cannot be what it is and also as in `named`."""
        wanted = [(name, lit) for name, lit in named if self._is_there(name)]
        if not wanted:
            return False
        for fact in self.atoms:
            if fact < 0 or self.table[fact].op != "props":
                continue
            has = dict(self.table[fact].arg.named)
            for name, lit in wanted:
                if name in has and self._apart(has[name], lit):
                    return True
        return False

    def _is_there(self, name: str) -> bool:
        return self.table.atom("required", name) in self.facts

    def _apart(self, one: int, other: int) -> bool:
        kinds, values = _outline(self.table, one)
        more_kinds, more_values = _outline(self.table, other)
        if not kinds & more_kinds:
            return True
        return values is not None and more_values is not None and not values & more_values


def _outline(
    table: Table, lit: int, depth: int = 0
) -> tuple[frozenset[str], frozenset[Scalar] | None]:
    """Return the kinds a literal allows at most, and the values where an enum lists them."""
    known = table.outlines.get(lit)
    if known is None:
        known = _outlined(table, lit, depth)
        if depth == 0:
            table.outlines[lit] = known
    return known


def _outlined(  # noqa: PLR0911 - one answer an operator
    table: Table, lit: int, depth: int
) -> tuple[frozenset[str], frozenset[Scalar] | None]:
    every = frozenset(KINDS)
    if depth > _MOST_DEPTH:
        return every, None
    op, arg = table[lit]
    if op == "ref":
        return _outline(table, table.target(lit), depth + 1)
    if op == "kinds":
        return arg if lit > 0 else every - arg, None
    if op == "enum" and lit > 0:
        return frozenset(k for k in KINDS if any(key[0] == _NUMERIC.get(k, k) for key in arg)), arg
    if op != "and":
        return every, None
    parts = [_outline(table, part if lit > 0 else -part, depth + 1) for part in arg]
    listed = [values for _, values in parts if values is not None]
    if lit > 0:
        kinds = frozenset.intersection(*(k for k, _ in parts)) if parts else every
        return kinds, frozenset.intersection(*listed) if listed else None
    if not parts:
        return frozenset(), None
    values = frozenset[Scalar]().union(*listed) if len(listed) == len(parts) else None
    return frozenset[str]().union(*(k for k, _ in parts)), values
