"""Checks that need not be made: those of values that a proof says will pass.

A producer's output is checked when its step commits, and what is stored cannot change; where its
contract is proved to lie inside a reader's, to check it again costs time and finds nothing.  Which
checks those are is settled once for a plan (`leans`).  Whether the values that a step is about to
read are such outputs is settled each time it starts (`Elision`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kairos.contracts.annotations import is_schema
from kairos.contracts.bare import fields_of, is_its_own, reads_bare
from kairos.engine.options import Lean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kairos.attempt import Outcome, Recipe
    from kairos.contracts.contract import Contract
    from kairos.plan import TaskGraph
    from kairos.verify.edges.edge import Edge
    from kairos.verify.scene import Scene

__all__ = ["SECONDS", "Elision", "leans"]

SECONDS = 0.1
"""What the proofs for a plan may take, all together, when it first runs; the rest is checked."""


# what a check looks at, by its key and by what it goes through
_Needless: TypeAlias = "dict[tuple[str, str], frozenset[str]]"


class _Check(NamedTuple):
    """A check that could be left out; `owned` are the keys that it sees, where no proof is needed.

    That is so where each value comes out of the very contract that it would be held to.
    """

    step: int
    key: str
    through: str
    owned: frozenset[str] | None = None


def leans(
    graph: TaskGraph, recipes: Iterable[Recipe], scene: Callable[[], Scene]
) -> dict[int, Lean]:
    """Return the lean recipes of a plan, by the position of the step.

    Never raises: a check that cannot be shown to be needless is made.
    """
    found = {}
    try:
        each = list(recipes)
        for step, checks in _needless([*_Candidates(graph, each)], scene).items():
            lean = each[step].without(frozenset(checks))
            found[step] = Lean(lean, frozenset().union(*checks.values()))
    except Exception:  # noqa: BLE001 - a fault of ours here costs time and nothing else
        return {}
    return found


def _needless(candidates: list[_Check], scene: Callable[[], Scene]) -> dict[int, _Needless]:
    """Return the checks that need not be made, by step, and for each which keys it looks at."""
    found: dict[int, _Needless] = {}
    wanted = set()
    for each in candidates:
        if each.owned is not None:
            found.setdefault(each.step, {})[each.key, each.through] = each.owned
        else:
            wanted.add((each.step, each.key, each.through))
    for edge, keys in _proved(scene(), wanted) if wanted else ():
        found.setdefault(edge.step, {})[edge.key, edge.through] = keys
    return found


def _proved(
    scene: Scene, wanted: set[tuple[int, str, str]]
) -> Iterator[tuple[Edge, frozenset[str]]]:
    # all of it is only loaded where there is something to prove
    from kairos.verify.edges.edge import Proof  # noqa: PLC0415
    from kairos.verify.edges.proving import Prover  # noqa: PLC0415
    from kairos.verify.edges.sources import Sources  # noqa: PLC0415
    from kairos.verify.edges.telling import assumption  # noqa: PLC0415
    from kairos.verify.edges.wiring import wires  # noqa: PLC0415
    from kairos.verify.proof.limits import Budget  # noqa: PLC0415

    scene = replace(scene, assume_closed=False)
    prover = Prover(Budget(seconds=SECONDS), SECONDS, assume_closed=False)
    for wire in wires(scene, Sources(scene)):
        edge = wire.edge
        if (edge.step, edge.key, edge.through) in wanted:
            known = prover.prove(wire)
            if Proof(edge, known.verdict, assumption(wire, known, scene)).elides:
                yield edge, frozenset(k for k, handed in wire.handed.items() if not handed.gap)


class _Candidates:
    """The checks of a plan that could be left out without a change to what an action is handed.

    Many steps share few contracts, so a pair of them is looked at once.
    """

    def __init__(self, graph: TaskGraph, recipes: list[Recipe]) -> None:
        self._graph = graph
        self._recipes = recipes
        self._asked: dict[tuple[int, int, bool], tuple[bool, bool]] = {}

    def __iter__(self) -> Iterator[_Check]:
        for step, recipe in enumerate(self._recipes):
            if recipe.input is not None:
                yield _Check(step, "", "input_contract", self._owned(recipe.input))
            for key, contract in recipe.parameters.items():
                if key == recipe.signature.item:
                    source = recipe.step.config.foreach or ""
                    yield from self._decodable(_Check(step, source, "item"), contract)
                else:
                    yield from self._decodable(_Check(step, key, "parameter"), contract)
            if recipe.when is not None:
                for key, contract in recipe.when.contracts.items():
                    yield from self._decodable(_Check(step, key, "when"), contract)

    def _decodable(self, check: _Check, contract: Contract) -> Iterator[_Check]:
        """Yield a check where what it makes of a value is what the value's bare JSON says."""
        position = self._graph.index.get(check.key)
        if position is None:
            return  # an input of the run: it is checked when it is given
        producer = self._recipes[position]
        many, item = producer.fans_out, check.through == "item"
        if producer.output is None or (many and not item):
            return
        bare, same = self._compared(producer.output, contract, element=item and not many)
        if bare:
            yield check._replace(owned=frozenset((check.key,)) if same else None)

    def _compared(
        self, producer: Contract, contract: Contract, *, element: bool
    ) -> tuple[bool, bool]:
        asked = (id(producer), id(contract), element)
        known = self._asked.get(asked)
        if known is None:
            bare = reads_bare(producer, contract, element=element) and _worth_it(contract)
            asks = bare or producer is contract
            same = asks and is_its_own(producer, contract.adapter.core_schema, element=element)
            known = self._asked[asked] = bare, same
        return known

    def _owned(self, contract: Contract) -> frozenset[str] | None:
        """Return the keys that an input contract names, where each is held to its step's own.

        A Schema is not even built for that: it is enough that it names those contracts.
        """
        declared: Any = contract.declared
        known = is_schema(declared)
        parts = declared.bare_types if known else fields_of(contract)
        same: Callable[[Contract, Any], bool] = self._is_declared if known else is_its_own
        for name, kind in (parts or {}).items():
            position = self._graph.index.get(name)
            made = None if position is None else self._recipes[position]
            if made is None or made.output is None or made.fans_out or not same(made.output, kind):
                return None
        return None if parts is None else frozenset(parts)

    def _is_declared(self, producer: Contract, kind: Any) -> bool:
        own = is_schema(kind) and producer.declared is kind
        return own and self._compared(producer, producer, element=False)[1]


def _worth_it(contract: Contract) -> bool:
    """Say whether bare JSON is read any faster: a mere number or text is not."""
    return contract.adapter.core_schema.keys() != {"type"}


class Elision:
    """What a run knows of the values that it holds, to tell where a lean recipe holds.

    Whatever a run stores under the name of a step went through the contract of that step, but for
    what is noted here.  A run that is resumed has to do without: the values of its journal may have
    been let through by an earlier version of the contracts.
    """

    __slots__ = ("_doubtful", "leans")

    def __init__(
        self, leans: Mapping[int, Lean], steps: Mapping[str, int], inputs: Mapping[str, bytes]
    ) -> None:
        self.leans = leans
        # for good: all that follows on a doubt is that checks are made
        self._doubtful = {key for key in inputs if key in steps}

    def holds(self, lean: Lean, inputs: Mapping[str, bytes]) -> bool:
        """Say whether a lean recipe holds for a step that is to see `inputs`."""
        for key in lean.keys:
            if key not in inputs:
                return False
        return not self._doubtful or self._doubtful.isdisjoint(inputs)

    def note(self, outcome: Outcome) -> None:
        """Take note of an attempt that skipped, or wrote something besides its output."""
        name = outcome.work.recipe.name
        if outcome.skipped:
            self._doubtful.add(name)  # None is stored, whatever the contract says
        if outcome.writes:  # not held to any contract; its own output takes the place of one
            self._doubtful.update(key for key in outcome.writes if key != name)

    def doubt(self, name: str) -> None:
        """Take note that an element of a foreach brought nothing."""
        self._doubtful.add(name)
