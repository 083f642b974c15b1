"""Checks that need not be made: those of values that a proof says will pass.

A producer's output is checked when its step commits, and what is stored cannot change; where its
contract is proved to lie inside a reader's, to check it again costs time and finds nothing.  Which
checks those are is settled once for a plan (`leans`).  Whether the values that a step is about to
read are such outputs is settled each time it starts (`Elision`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kairos.attempt import Recipe
from kairos.contracts.bare import is_its_own, reads_bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kairos.attempt import Outcome
    from kairos.contracts.contract import Contract
    from kairos.plan import TaskGraph
    from kairos.verify.edges.edge import Edge
    from kairos.verify.scene import Scene

__all__ = ["SECONDS", "Elision", "Lean", "leans"]

SECONDS = 0.1
"""What the proofs for a plan may take, all together, when it first runs; the rest is checked."""


class Lean(NamedTuple):
    """A recipe without the checks that need not be made.

    It holds where each of `keys` is there, and is what the contract of its step let through.
    """

    recipe: Recipe
    keys: frozenset[str]


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
        left_out = _needless([*_candidates(graph, each)], scene)
        for step, checks in left_out.items():
            lean = each[step].without(frozenset(checks))
            found[step] = Lean(lean, frozenset().union(*checks.values()))
    except Exception:  # noqa: BLE001 - a fault of ours here costs time and nothing else
        return {}
    return found


def _needless(candidates: list[_Check], scene: Callable[[], Scene]) -> dict[int, _Needless]:
    """Return the checks that need not be made, by step, and for each which keys it looks at."""
    found: dict[int, _Needless] = {}
    open_ = []
    for each in candidates:
        if each.owned is not None:
            found.setdefault(each.step, {})[each.key, each.through] = each.owned
        else:
            open_.append(each)
    if open_:
        seen = scene()
        for edge, keys in _proved(seen, {(each.step, each.key, each.through) for each in open_}):
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


def _candidates(graph: TaskGraph, recipes: list[Recipe]) -> Iterator[_Check]:
    """Yield the checks that could be left out without a change to what an action is handed."""
    for step, recipe in enumerate(recipes):
        if recipe.input is not None:
            yield _Check(step, "", "input_contract", _owned_fields(graph, recipes, recipe.input))
        for key, contract in recipe.parameters.items():
            if key == recipe.signature.item:
                source = recipe.step.config.foreach or ""
                yield from _decodable(graph, recipes, _Check(step, source, "item"), contract)
            else:
                yield from _decodable(graph, recipes, _Check(step, key, "parameter"), contract)
        if recipe.when is not None:
            for key, contract in recipe.when.contracts.items():
                yield from _decodable(graph, recipes, _Check(step, key, "when"), contract)


def _decodable(
    graph: TaskGraph, recipes: list[Recipe], check: _Check, contract: Contract
) -> Iterator[_Check]:
    """Yield a check where what it makes of a value is what the value's bare JSON says."""
    position = graph.index.get(check.key)
    if position is None:
        return  # an input of the run: read as it is given, and given once
    producer = recipes[position]
    made, many, item = producer.output, producer.fans_out, check.through == "item"
    if made is None or (many and not item):
        return
    element = item and not many
    if reads_bare(made, contract, element=element):
        same = is_its_own(made, contract.adapter.core_schema, element=element)
        yield check._replace(owned=frozenset((check.key,)) if same else None)


def _owned_fields(
    graph: TaskGraph, recipes: list[Recipe], contract: Contract
) -> frozenset[str] | None:
    """Return the keys that an input contract names, where each is held to its step's contract."""
    schema: Any = contract.adapter.core_schema
    around = schema.get("config", {})
    forbids = schema.get("extra_behavior") == "forbid" or "extras_schema" in schema
    if schema["type"] != "typed-dict" or forbids or "extra_fields_behavior" in around:
        return None
    for name, field in schema["fields"].items():
        position = graph.index.get(name)
        if position is None or recipes[position].fans_out or "validation_alias" in field:
            return None
        made, reads = recipes[position].output, field["schema"]
        # a part is the same part only under the same settings
        inside = reads.get("config", {})
        settled = all(inside.get(name) == value for name, value in around.items())
        if made is None or made.settings or not settled or not is_its_own(made, reads):
            return None
    return None if contract.settings else frozenset(schema["fields"])


class Elision:
    """What a run knows of the values that it holds, to tell where a lean recipe holds.

    Only a value that was checked in this very run is vouched for.  A run that is resumed therefore
    begins with none: the values of its journal may have been let through by an earlier version of
    the contracts, and whoever replays them has to decide here whether to vouch for them.
    """

    __slots__ = ("_doubtful", "_leans", "_vouched")

    def __init__(
        self, leans: Mapping[int, Lean], steps: Mapping[str, int], inputs: Mapping[str, bytes]
    ) -> None:
        self._leans = leans
        self._vouched = {key for key in inputs if key not in steps}
        # for good: what follows on a doubt is that checks are made
        self._doubtful = {key for key in inputs if key in steps}

    def choose(self, step: int, recipe: Recipe, inputs: Mapping[str, bytes]) -> Recipe:
        """Return the lean recipe of a step that is to see `inputs`, where it holds."""
        lean = self._leans.get(step)
        if (
            lean is None
            or not lean.keys <= self._vouched
            or not all(key in inputs for key in lean.keys)
            or not self._doubtful.isdisjoint(inputs)
        ):
            return recipe
        return lean.recipe

    def note(self, outcome: Outcome) -> None:
        """Take note of what an attempt brought that did not fail."""
        name = outcome.work.recipe.name
        if outcome.skipped:
            self._doubtful.add(name)  # None is stored, whatever the contract says
        else:
            self._vouched.add(name)
        if outcome.writes:  # not held to any contract; its own output takes the place of one
            self._doubtful.update(key for key in outcome.writes if key != name)

    def doubt(self, name: str) -> None:
        """Vouch no more for a step: an element of its foreach brought nothing."""
        self._doubtful.add(name)
