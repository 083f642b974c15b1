"""A plan put through every pass."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from kairos.enums import Severity
from kairos.verify.actions import ACTION_PASSES
from kairos.verify.allowances import allowed
from kairos.verify.edges import examined
from kairos.verify.findings import Finding, finding_of
from kairos.verify.flow import FLOW_PASSES
from kairos.verify.report import Report
from kairos.verify.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from kairos.failure import FailurePolicy
    from kairos.plan import TaskGraph

__all__ = ["PASSES", "examine", "verify_plan"]

PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (*ACTION_PASSES, *FLOW_PASSES)


def verify_plan(
    graph: TaskGraph,
    *,
    inputs: Collection[str] | None = None,
    strict: bool = False,
    failure_policy: FailurePolicy | None = None,
) -> list[Finding]:
    """Return every finding against a plan, errors first, each kind in declaration order.

    `inputs` are the names of the inputs a run is given; None when they are not declared: a name
    that no step bears is then taken to be one.  `strict` makes a step that does not say what it
    reads an error.  `failure_policy` is the workflow's, for steps that have none of their own.
    Runs nothing, and never raises for what it finds.
    """
    known = None if inputs is None else frozenset(inputs)
    return [*examine(Scene(graph, known, strict=strict, failure_policy=failure_policy)).findings]


def examine(scene: Scene) -> Report:
    """Put a plan through every pass and return all that is known of it; runs nothing."""
    began = perf_counter()
    findings = [finding_of(fault) for fault in scene.graph.validate()]
    for each in PASSES:
        findings += each(scene)
    proofs, told = examined(scene, beside=findings)
    findings += told
    kept, suppressed = allowed(scene.graph.steps, findings)
    kept.sort(key=lambda finding: _rank(finding, scene.graph))
    ms = (perf_counter() - began) * 1000
    return Report(tuple(kept), proofs, tuple(suppressed), len(scene.graph.steps), ms)


_WORST_FIRST = tuple(Severity)


def _rank(finding: Finding, graph: TaskGraph) -> tuple[int, int, str]:
    position = graph.index.get(finding.step or "", -1)
    return (_WORST_FIRST.index(finding.severity), position, finding.code)
