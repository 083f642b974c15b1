"""Arrays: items by position, how many, how many of a sort, and whether they differ.

An array is built item by item.  What it still owes (an item that breaks this rule, two of that
sort) is the state; two arrays of one length in one state are as good as one another, so only one
of them is kept.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.rules import same_json
from kairos.verify.proof.answers import NONE, UNKNOWN, Answer, Tally, found
from kairos.verify.proof.distinct import all_values, distinct_values
from kairos.verify.proof.terms import TRUE, Items, Lits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.proof.answers import Solver

__all__ = ["solve_array"]

_LONGEST = 200
_LONGEST_PLAIN = 2_000
_LONGEST_DISTINCT = 12
_MOST_DEBTS = 6


class _Asked(NamedTuple):
    rules: tuple[Items, ...]
    broken: tuple[Items, ...]  # each must be broken by some item
    needs: tuple[tuple[int, int], ...]  # at least so many items like this
    caps: tuple[tuple[int, int], ...]  # at most so many
    low: int
    high: int | None
    unique: bool
    twins: bool  # two items must be equal

    def at(self, index: int) -> Lits:
        """Return what the item at `index` must satisfy in any case."""
        return frozenset(rule.at(index) for rule in self.rules) - {TRUE}

    @property
    def simple(self) -> bool:
        """Whether every item stands for itself."""
        return not (self.broken or self.needs or self.caps or self.twins or self.unique)

    @property
    def longest(self) -> int:
        """The length beyond which another item would change nothing."""
        prefix = max((len(rule.prefix) for rule in self.rules + self.broken), default=0)
        debts = sum(n for _, n in self.needs) + len(self.broken) + 2 * self.twins
        return max(self.low, prefix + debts)


class _State(NamedTuple):
    """What is still owed; `twin` is what the first of two equal items satisfies, by its index."""

    broken: frozenset[int]
    needs: tuple[int, ...]
    caps: tuple[int, ...]
    twin: tuple[int, Lits] | None = None
    twins: bool = False

    @property
    def paid(self) -> bool:
        return not self.broken and not any(self.needs) and not self.twins


class _Path(NamedTuple):
    items: tuple[Lits, ...]
    sure: bool
    twins: tuple[int, int] | None = None


def solve_array(solver: Solver, atoms: frozenset[int]) -> Answer:
    """Look for an array that satisfies the atoms."""
    asked = _asked(solver, atoms)
    if (asked.high is not None and asked.low > asked.high) or (asked.unique and asked.twins):
        return NONE
    if asked.simple:
        return _item_by_item(solver, asked)
    debts = len(asked.broken) + len(asked.needs) + len(asked.caps)
    if asked.longest > _LONGEST or debts > _MOST_DEBTS:
        solver.meter.note("arrays with too many conditions at once")
        return UNKNOWN
    return _Builder(solver, asked).build()


def _asked(solver: Solver, atoms: frozenset[int]) -> _Asked:
    rules: list[Items] = []
    broken: list[Items] = []
    needs: list[tuple[int, int]] = []
    caps: list[tuple[int, int]] = []
    low, high, unique, twins = 0, None, False, False
    for lit in sorted(atoms):
        op, arg = solver.table[lit]
        if op == "items":
            (rules if lit > 0 else broken).append(arg)
        elif op == "size" and lit > 0:
            low = max(low, arg)
        elif op == "size":
            high = arg - 1 if high is None else min(high, arg - 1)
        elif op == "unique":
            unique, twins = unique or lit > 0, twins or lit < 0
        elif op == "atleast" and lit > 0:
            needs.append(arg)
        elif op == "atleast" and arg[1] == 1:
            rules.append(Items((), -arg[0]))
        elif op == "atleast":
            caps.append((arg[0], arg[1] - 1))
    return _Asked(tuple(rules), tuple(broken), tuple(needs), tuple(caps), low, high, unique, twins)


def _item_by_item(solver: Solver, asked: _Asked) -> Answer:
    if asked.low > _LONGEST_PLAIN:
        solver.meter.note(f"arrays of at least {asked.low} items")
        return UNKNOWN
    values, tally = [], Tally()
    for index in range(asked.low):
        answer = solver.solve_all(asked.at(index))
        if answer.none:
            return answer
        tally.add(answer)
        values.append(answer.value)
    return UNKNOWN if tally.unknown else found(values)


class _Builder:
    """Builds arrays of growing length until one owes nothing."""

    def __init__(self, solver: Solver, asked: _Asked) -> None:
        self._solver = solver
        self._asked = asked
        self._tally = Tally()
        self._stuck = False

    def build(self) -> Answer:
        asked = self._asked
        start = _State(
            frozenset(range(len(asked.broken))),
            tuple(n for _, n in asked.needs),
            tuple(n for _, n in asked.caps),
            None,
            asked.twins,
        )
        layer = {start: _Path((), sure=True)}
        longest = asked.longest if asked.high is None else min(asked.longest, asked.high)
        for length in range(longest + 1):
            if length >= asked.low:
                for state, path in layer.items():
                    if state.paid and self._tally.add(answer := self._value(path)):
                        return answer
            if length < longest:
                layer = self._longer(layer, length)
        if not self._stuck:
            return self._tally.verdict()
        if longest > _LONGEST_DISTINCT:
            self._solver.meter.note("long arrays whose items must all differ")
            return UNKNOWN
        self._tally = Tally()
        return self._spread(start, (), longest) or self._tally.verdict()

    def _value(self, path: _Path) -> Answer:
        if not path.sure:
            return UNKNOWN
        if self._asked.unique:
            values = distinct_values(self._solver, path.items)
            if values is None:  # another choice of values, or another way, may still do
                self._stuck = True
                return NONE
            return found(values)
        values = [self._solver.solve_all(lits).value for lits in path.items]
        if path.twins is not None:
            first, second = path.twins
            values[first] = values[second]
        return found(values)

    def _longer(self, layer: dict[_State, _Path], index: int) -> dict[_State, _Path]:
        """Return every state that one more item leads to."""
        found_states: dict[_State, _Path] = {}
        for state, path in layer.items():
            for then, lits, pair in self._choices(state, index):
                self._solver.meter.spend()
                answer = self._solver.solve_all(lits)
                self._tally.low = min(self._tally.low, answer.low)
                if answer.none:
                    continue
                known = found_states.get(then)
                sure = path.sure and answer.found
                if known is None or (sure and not known.sure):
                    way = _Path((*path.items, lits), sure, pair or path.twins)
                    found_states[then] = way
        return found_states

    def _choices(
        self, state: _State, index: int
    ) -> Iterator[tuple[_State, Lits, tuple[int, int] | None]]:
        """Yield what one item may do for what is owed."""
        asked = self._asked
        base = asked.at(index)
        for breaks in _subsets(sorted(state.broken)):
            for helps in _subsets([i for i, n in enumerate(state.needs) if n]):
                for counted in _subsets(list(range(len(state.caps)))):
                    if any(state.caps[i] == 0 for i in counted):
                        continue
                    lits = set(base)
                    lits.update(-asked.broken[i].at(index) for i in breaks)
                    lits.update(asked.needs[i][0] for i in helps)
                    for i, (lit, _) in enumerate(asked.caps):
                        lits.add(lit if i in counted else -lit)
                    then = state._replace(
                        broken=state.broken.difference(breaks),
                        needs=tuple(n - (i in helps) for i, n in enumerate(state.needs)),
                        caps=tuple(n - (i in counted) for i, n in enumerate(state.caps)),
                    )
                    yield from _twinned(then, frozenset(lits), index)

    def _spread(
        self, state: _State, items: tuple[tuple[Any, ...], ...], longest: int
    ) -> Answer | None:
        """Go through every way to build an array of different items, values and all.

        An item with more values than the array has items can always differ; any other is
        tried with each of its values.
        """
        index = len(items)
        used = [values[0] for values in items if len(values) == 1]
        if state.paid and index >= self._asked.low:
            for several in items:
                if len(several) > 1:
                    used.append(next(v for v in several if not any(same_json(v, u) for u in used)))
            return found(self._in_order(items, used))
        if index >= longest:
            return None
        for then, lits, _ in self._choices(state, index):
            values, answer = all_values(self._solver, lits, longest + 1)
            self._tally.add(answer if answer.none else NONE)
            if answer.status == "unknown":
                self._tally.unknown = True
                continue
            ways = [tuple(values)] if answer.found else [(v,) for v in values]
            for way in ways:
                self._solver.meter.spend()
                if len(way) == 1 and any(same_json(way[0], u) for u in used):
                    continue
                done = self._spread(then, (*items, way), longest)
                if done is not None:
                    return done
        return None

    @staticmethod
    def _in_order(items: tuple[tuple[Any, ...], ...], used: list[Any]) -> list[Any]:
        """Return the values in the items' order: those of the free items were chosen last."""
        free = iter(used[sum(len(values) == 1 for values in items) :])
        return [values[0] if len(values) == 1 else next(free) for values in items]


def _twinned(
    then: _State, lits: Lits, index: int
) -> Iterator[tuple[_State, Lits, tuple[int, int] | None]]:
    """Yield the item as it is, as the first of two equal ones, and as the second."""
    yield then, lits, None
    if then.twins and then.twin is None:
        yield then._replace(twin=(index, lits)), lits, None
    elif then.twins and then.twin is not None:
        first, before = then.twin
        yield then._replace(twin=None, twins=False), lits | before, (first, index)


def _subsets(of: list[int]) -> Iterator[tuple[int, ...]]:
    for size in range(len(of) + 1):
        yield from itertools.combinations(of, size)
