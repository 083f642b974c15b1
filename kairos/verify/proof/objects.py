"""Objects: properties by name, by pattern and all others, which must be there, and how many.

A demand is that some property breaks a rule, or that some name does.  Demands wait until every
rule is known: a name chosen earlier could turn out to be under a rule that another name is not.
Names that no rule mentions fall into classes by the patterns they match; one name stands for all
of its class.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.verify.proof.answers import NONE, UNKNOWN, Answer, Tally, found
from kairos.verify.proof.evaluation import matches
from kairos.verify.proof.terms import TRUE, Lits, Props

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kairos.verify.proof.answers import Solver

__all__ = ["solve_object"]

_MOST_SORTS = 64  # of names, as the patterns tell them apart
_MOST_KEYS = 200


class _Asked(NamedTuple):
    rules: tuple[Props, ...]
    broken: tuple[Props, ...]
    names: tuple[int, ...]
    bad_names: tuple[int, ...]  # each must be broken by some name
    required: tuple[str, ...]
    forbidden: frozenset[str]
    low: int
    high: int | None


def solve_object(solver: Solver, atoms: frozenset[int]) -> Answer:
    """Look for an object that satisfies the atoms."""
    asked = _asked(solver, atoms)
    if asked.high is not None and max(asked.low, len(asked.required)) > asked.high:
        return NONE
    if asked.forbidden.intersection(asked.required):
        return NONE
    return _Builder(solver, asked).build()


def _asked(solver: Solver, atoms: frozenset[int]) -> _Asked:
    rules: list[Props] = []
    broken: list[Props] = []
    names: list[int] = []
    bad_names: list[int] = []
    required: list[str] = []
    forbidden: set[str] = set()
    low, high = 0, None
    for lit in sorted(atoms):
        op, arg = solver.table[lit]
        if op == "props":
            (rules if lit > 0 else broken).append(arg)
        elif op == "names":
            (names if lit > 0 else bad_names).append(arg)
        elif op == "required" and lit > 0:
            required.append(arg)
        elif op == "required":
            forbidden.add(arg)
        elif op == "count" and lit > 0:
            low = max(low, arg)
        elif op == "count":
            high = arg - 1 if high is None else min(high, arg - 1)
    return _Asked(
        tuple(rules),
        tuple(broken),
        tuple(names),
        tuple(bad_names),
        tuple(required),
        frozenset(forbidden),
        low,
        high,
    )


def _at(props: Props, named: Mapping[str, int], name: str) -> list[int]:
    """Return what `props` says of the property `name`."""
    lits = [lit for regex, lit in props.patterns if matches(regex, name)]
    if name in named:
        lits.append(named[name])
    return lits or [props.rest]


class _Builder:
    """Builds one object; `slots` are its properties, with what each must satisfy besides."""

    def __init__(self, solver: Solver, asked: _Asked) -> None:
        self._solver = solver
        self._asked = asked
        self._rules = [(rule, dict(rule.named)) for rule in asked.rules]
        self._broken = [(rule, dict(rule.named)) for rule in asked.broken]
        every = (*asked.rules, *asked.broken)
        names = [*asked.required, *(name for rule in every for name, _ in rule.named)]
        self._known = tuple(dict.fromkeys(names))
        table = solver.table
        regexes = dict.fromkeys(regex for rule in every for regex, _ in rule.patterns)
        self._sorts = [*(table.atom("pattern", regex) for regex in regexes), *asked.bad_names]
        self._base: dict[str, Lits] = {}
        self._fresh: dict[Lits, list[str | None]] = {}
        self._found_classes: list[list[int]] | None = None
        self._tally = Tally()

    def build(self) -> Answer:
        """Look for an object, and say that there is none only where that is proved."""
        slots: dict[str, Lits] = dict.fromkeys(self._asked.required, frozenset())
        for name in slots:
            if not self._may_stand(name, frozenset()):
                return self._tally.verdict()
        return self._place(0, slots) or self._tally.verdict()

    def _of(self, name: str) -> Lits:
        """Return what every rule says of the property `name`."""
        if name not in self._base:
            lits = (lit for rule, named in self._rules for lit in _at(rule, named, name))
            self._base[name] = frozenset(lits) - {TRUE}
        return self._base[name]

    def _may_stand(self, name: str, more: Lits) -> bool:
        """Say whether a property of this name may be there; what cannot be told may."""
        if name in self._asked.forbidden:
            return False
        fits = self._solver.evaluator.satisfies(self._asked.names, name)
        if fits is False:
            return False
        answer = self._solver.solve_all(self._of(name) | more)
        self._tally.low = min(self._tally.low, answer.low)
        return not answer.none

    def _place(self, demand: int, slots: dict[str, Lits]) -> Answer | None:
        """Meet the demands from this one on in every way there is, then finish the object."""
        self._solver.meter.spend()
        high = self._asked.high
        if high is not None and len(slots) > high:
            return None
        if demand >= len(self._broken) + len(self._asked.bad_names):
            answer = self._finish(slots)
            return answer if self._tally.add(answer) else None
        for name, lit in self._ways(demand, slots):
            more = slots.get(name, frozenset()) | {lit} - {TRUE}
            if -TRUE in more or not self._may_stand(name, more):
                continue
            done = self._place(demand + 1, {**slots, name: more})
            if done is not None:
                return done
        return None

    def _ways(self, demand: int, slots: dict[str, Lits]) -> Iterator[tuple[str, int]]:
        """Yield a name and what its value must satisfy, for each way to meet a demand."""
        names = itertools.chain(
            dict.fromkeys((*self._known, *slots)), self._new_names(frozenset(slots))
        )
        for name in names:
            if demand < len(self._broken):
                for lit in dict.fromkeys(_at(*self._broken[demand], name)):
                    yield name, -lit
                continue
            bad = self._asked.bad_names[demand - len(self._broken)]
            fits = self._solver.evaluator.holds(bad, name)
            if fits is None:
                self._cannot_tell("names of properties that only a validator knows")
            if not fits:
                yield name, TRUE

    def _cannot_tell(self, why: str) -> None:
        self._solver.meter.note(why)
        self._tally.unknown = True

    def _new_names(self, used: frozenset[str]) -> Iterator[str]:
        """Yield a name of each class of names that are neither known nor used."""
        taken = {*self._known, *used, *self._asked.forbidden}
        if not self._sorts and not self._asked.names:
            yield next(
                name
                for name in itertools.chain(["extra"], (f"extra{n}" for n in itertools.count(1)))
                if name not in taken
            )
            return
        excluded = -self._solver.table.choice(sorted(taken))
        for signed in self._classes():
            answer = self._solver.solve([*signed, excluded])
            self._tally.add(answer)
            if answer.found:
                yield answer.value

    def _classes(self) -> list[list[int]]:
        """Return the sorts of names there are: the patterns that each matches and does not."""
        if self._found_classes is None:
            found = [[self._solver.table.kinds(["string"]), *self._asked.names]]
            for lit in self._sorts:
                halves = [[*signed, half] for signed in found for half in (lit, -lit)]
                answers = [(signed, self._solver.solve(signed)) for signed in halves]
                for _, answer in answers:
                    self._tally.add(answer)
                found = [signed for signed, answer in answers if not answer.none]
                if len(found) > _MOST_SORTS:
                    names = f"{len(self._sorts)} patterns for the names of properties"
                    self._cannot_tell(f"{names}, which tell too many sorts of them apart")
                    found = []
                    break
            self._found_classes = found
        return self._found_classes

    def _finish(self, slots: dict[str, Lits]) -> Answer:
        values: dict[str, Any] = {}
        sure = True
        for name, more in slots.items():
            answer = self._solver.solve_all(self._of(name) | more)
            if answer.none:
                return answer
            sure = sure and answer.found
            values[name] = answer.value
            sure = sure and self._solver.evaluator.satisfies(self._asked.names, name) is True
        missing = self._asked.low - len(values)
        if missing > _MOST_KEYS:
            self._solver.meter.note(f"objects of at least {self._asked.low} keys")
            return UNKNOWN
        tally = Tally()
        for _ in range(missing):
            one = self._another(values, tally)
            if one is None:
                self._tally.low = min(self._tally.low, tally.low)
                return tally.verdict()
            values[one[0]] = one[1]
        return found(values) if sure else UNKNOWN

    def _another(self, values: dict[str, Any], tally: Tally) -> tuple[str, Any] | None:
        """Return one more property, with its value, that the object may have."""
        before = self._tally.unknown
        names = itertools.chain(self._known, self._new_names(frozenset(values)))
        for name in names:
            if name in values or name in self._asked.forbidden:
                continue
            fits = self._solver.evaluator.satisfies(self._asked.names, name)
            if fits is False:
                continue
            answer = self._solver.solve_all(self._of(name))
            if tally.add(answer) and fits:
                return name, answer.value
            tally.unknown = tally.unknown or fits is None
        tally.unknown = tally.unknown or (self._tally.unknown and not before)
        return None
