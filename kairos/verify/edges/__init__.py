"""What one step may hand to another, against what that one accepts: the proofs of a plan.

`edge` has the words: an `Edge` is one check that a run would make, a `Proof` what is known of it
beforehand.  `wiring` lists the edges, `sources` says what may stand under a key (`skips`: whether
None may), `proving` compares, and `telling` puts what is found into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.exceptions import KairosError
from kairos.verify.edges.edge import Proof
from kairos.verify.edges.sources import Sources
from kairos.verify.edges.wiring import is_itself, is_untold, wires
from kairos.verify.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from kairos.contracts.contract import Contract
    from kairos.failure import FailurePolicy
    from kairos.plan import TaskGraph
    from kairos.verify.edges.edge import Edge
    from kairos.verify.edges.wiring import Wire
    from kairos.verify.findings import Finding
    from kairos.verify.proof.limits import Budget

__all__ = ["examined", "prove", "proved_edges"]

SECONDS = 20.0
"""What the proofs of one workflow may take, all together; those that are left are unknown."""

SECONDS_OF_RUN = 1.0
"""What they may take where they only spare a run its checks."""


def prove(
    scene: Scene, *, budget: Budget | None = None, seconds: float = SECONDS
) -> tuple[Proof, ...]:
    """Return what is known of each edge of a plan before it runs.

    `budget` is what one comparison may cost, `seconds` what all of them may take together.  Runs no
    step, and never raises for what a contract holds.
    """
    return examined(scene, budget=budget, seconds=seconds)[0]


def proved_edges(
    graph: TaskGraph,
    *,
    inputs: Collection[str] | None = None,
    contract: Contract | None = None,
    failure_policy: FailurePolicy | None = None,
    seconds: float = SECONDS_OF_RUN,
) -> frozenset[Edge]:
    """Return the edges whose checks a run may leave out (see `Proof.elides`).

    `inputs`, `contract` and `failure_policy` are those of the workflow, as a `Scene` has them.  An
    edge from a contract to the very same one is told at a glance; for others the proof is loaded,
    and asked for `seconds` at most.  True of this graph only, and of runs that check outputs.
    """
    names = None if inputs is None else frozenset(inputs)
    scene = Scene(graph, names, failure_policy=failure_policy, contract=contract)
    proved: set[Edge] = set()
    left: list[Wire] = []
    for wire in wires(scene, Sources(scene)):
        if not is_untold(wire):
            if _at_a_glance(wire):
                proved.add(wire.edge)
            else:
                left.append(wire)
    if left:
        from kairos.verify.edges.proving import Prover  # noqa: PLC0415 - it loads the proof
        from kairos.verify.proof.limits import Budget  # noqa: PLC0415

        prover = Prover(Budget(seconds=seconds), seconds, assume_closed=False)
        for wire in left:
            known = prover.prove(wire)
            if known.verdict.answer == "proved" and not known.assuming:
                proved.add(wire.edge)
    return frozenset(proved)


def _at_a_glance(wire: Wire) -> bool:
    try:
        return is_itself(wire) and not any(each.assuming for each in wire.handed.values())
    except KairosError:  # a contract that cannot be built: the run says so
        return False


def examined(
    scene: Scene,
    *,
    budget: Budget | None = None,
    seconds: float = SECONDS,
    beside: Iterable[Finding] = (),
) -> tuple[tuple[Proof, ...], list[Finding]]:
    """Return the proofs, and what is worth telling of them beside what is found already."""
    each = list(wires(scene, Sources(scene)))
    if not each:
        return (), []
    # the proof loads what a plan without contracts does not need
    from kairos.verify.edges.proving import Prover  # noqa: PLC0415
    from kairos.verify.edges.telling import assumption, finding_about  # noqa: PLC0415
    from kairos.verify.proof.limits import Budget  # noqa: PLC0415

    prover = Prover(budget or Budget(), seconds, assume_closed=scene.assume_closed)
    no_lists = {finding.step for finding in beside if finding.code == "KRS207"}
    proofs: list[Proof] = []
    findings: list[Finding] = []
    for wire in each:
        known = prover.prove(wire)
        proofs.append(Proof(wire.edge, known.verdict, assumption(wire, known, scene)))
        finding = finding_about(wire, known, scene)
        if finding is None or (wire.edge.through == "item" and finding.step in no_lists):
            continue  # that there is no list at all has better words
        findings.append(finding)
    return tuple(proofs), findings
