"""What one step may hand to another, against what that one accepts: the proofs of a plan.

`edge` has the words: an `Edge` is one check that a run would make, a `Proof` what is known of it
beforehand.  `wiring` lists the edges, `sources` says what may stand under a key (`skips`: whether
None may), `proving` compares, and `telling` puts what is found into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.verify.edges.edge import Proof
from kairos.verify.edges.sources import Sources
from kairos.verify.edges.wiring import wires

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kairos.verify.edges.wiring import Wire
    from kairos.verify.findings import Finding
    from kairos.verify.proof.limits import Budget
    from kairos.verify.scene import Scene

__all__ = ["examined", "prove"]

SECONDS = 20.0
"""What the proofs of one workflow may take, all together; those that are left are unknown."""


def prove(
    scene: Scene, *, budget: Budget | None = None, seconds: float = SECONDS
) -> tuple[Proof, ...]:
    """Return what is known of each edge of a plan before it runs.

    `budget` is what one comparison may cost, `seconds` what all of them may take together.  Runs no
    step, and never raises for what a contract holds.
    """
    return examined(scene, budget=budget, seconds=seconds)[0]


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
    said = {(finding.code, finding.step) for finding in beside}
    proofs: list[Proof] = []
    findings: list[Finding] = []
    for wire in each:
        known = prover.prove(wire)
        proofs.append(Proof(wire.edge, known.verdict, assumption(wire, known, scene)))
        finding = finding_about(wire, known, scene)
        if finding is not None and not _is_said(finding, wire, scene, said):
            findings.append(finding)
    return tuple(proofs), findings


def _is_said(finding: Finding, wire: Wire, scene: Scene, said: set[tuple[str, str | None]]) -> bool:
    """Say whether another pass has better words for it: no list, or no contract at all."""
    if wire.edge.through == "item" and ("KRS207", finding.step) in said:
        return True
    step = scene.graph.steps[wire.edge.step]
    if wire.edge.through == "view" and step.input_contract is step.signature.view:
        return True  # which is the contract of all its keys together
    ends = (finding.step, *(scene.graph.steps[i].name for i in wire.edge.producers))
    return finding.code == "KRS104" and any(
        (code, end) in said for end in ends for code in ("KRS101", "KRS213")
    )
