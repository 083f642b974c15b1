"""The edges of a plan: every check that a run would make of what a step is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kairos.contracts.contract import Contract, compile_contract
from kairos.exceptions import KairosError
from kairos.verify.edges.edge import Edge
from kairos.verify.edges.sources import Handed
from kairos.verify.proof.itself import reads_its_own
from kairos.verify.scene import signature_of_when

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.step import Step
    from kairos.verify.edges.edge import Through
    from kairos.verify.edges.sources import Sources
    from kairos.verify.scene import Scene

__all__ = ["Wire", "is_itself", "wires"]


class Wire(NamedTuple):
    """An edge with both of its sides.

    `handed` says what stands under each key that is looked at; `contract` is what it is held to,
    None for "a list of anything".  `shows_more`: there may be inputs besides, that nobody declares.
    """

    edge: Edge
    handed: dict[str, Handed]
    contract: Contract | None
    shows_more: bool = False


def is_itself(wire: Wire) -> bool:
    """Say whether an edge holds at a glance: it leads from a contract to the very same one."""
    if wire.contract is None or wire.edge.through in {"item", "input_contract"}:
        return False
    (handed,) = wire.handed.values()
    other = handed.is_list or handed.nulls or handed.of_inputs or handed.gap
    return not other and handed.contract is wire.contract and reads_its_own(wire.contract)


def wires(scene: Scene, sources: Sources) -> Iterator[Wire]:
    """Yield every edge, step by step."""
    for i, step in enumerate(scene.graph.steps):
        if step.signature.typed or step.config.foreach is not None:
            yield from _of_parameters(i, step, sources)
        contract = step.contracts.input
        if contract is not None:
            handed = {key: at for key in sources.keys(i) if (at := sources.of(i, key)) is not None}
            ends = [p for at in handed.values() for p in at.producers]
            edge = Edge(i, "", "input_contract", tuple(dict.fromkeys(ends)))
            yield Wire(edge, handed, contract, sources.shows_more(i))
        if step.when is not None:
            yield from _of_when(i, step, sources)


def _of_parameters(i: int, step: Step, sources: Sources) -> Iterator[Wire]:
    signature, parameters = step.signature, step.contracts.parameters
    for name in signature.reads:
        if name in parameters:
            yield from _of_one(i, name, "parameter", parameters[name], sources)
    for name, contract in step.contracts.view.items():
        yield from _of_one(i, name, "view", contract, sources)
    foreach = step.config.foreach
    if foreach is None:
        return
    handed = sources.of(i, foreach)
    held_to = None if signature.item is None else parameters.get(signature.item)
    # that it is a list is looked at anyhow: worth an edge only where something is known
    if handed is not None and (held_to is not None or not handed.gap):
        edge = Edge(i, foreach, "item", handed.producers)
        yield Wire(edge, {foreach: handed}, held_to)


def _of_when(i: int, step: Step, sources: Sources) -> Iterator[Wire]:
    signature = signature_of_when(step)
    if signature is None:
        return
    for name, note in {**signature.viewed, **signature.annotations}.items():
        try:
            contract = compile_contract(note, where=step.place)
        except KairosError:  # the run says so, before anything starts
            continue
        yield from _of_one(i, name, "when", contract, sources)


def _of_one(
    i: int, key: str, through: Through, contract: Contract, sources: Sources
) -> Iterator[Wire]:
    handed = sources.of(i, key)
    if handed is not None:
        yield Wire(Edge(i, key, through, handed.producers), {key: handed}, contract)
