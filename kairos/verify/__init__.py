"""What can be said against a plan without running a step of it.

`verify_plan` puts a plan through every pass of `PASSES` and returns what they find; `render` puts
findings into text, `render_report` all that is known.  `compare` proves that one contract is inside
another, or shows a value that is not.  docs/findings.md has a section for each code.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from kairos.enums import Severity
from kairos.verify.actions import ACTION_PASSES
from kairos.verify.allowances import allowed
from kairos.verify.edges import examined, prove
from kairos.verify.findings import CODES, Finding, finding_of, findings_of
from kairos.verify.flow import FLOW_PASSES
from kairos.verify.report import Report
from kairos.verify.scene import Scene
from kairos.verify.text import render, render_report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from kairos.failure import FailurePolicy
    from kairos.plan import TaskGraph
    from kairos.verify.proof.limits import Budget
    from kairos.verify.proof.outcome import Fault, Verdict
    from kairos.verify.proof.verdict import compare, compare_contracts

__all__ = [
    "CODES",
    "PASSES",
    "Budget",
    "Fault",
    "Finding",
    "Report",
    "Scene",
    "Verdict",
    "compare",
    "compare_contracts",
    "examine",
    "finding_of",
    "findings_of",
    "prove",
    "render",
    "render_report",
    "verify_plan",
]

# the proof loads pydantic, which a plan without contracts does not need
_PROOF = {
    "Budget": "limits",
    "Fault": "outcome",
    "Verdict": "outcome",
    "compare": "verdict",
    "compare_contracts": "verdict",
}

PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (*ACTION_PASSES, *FLOW_PASSES)


def __getattr__(name: str) -> Any:
    if name not in _PROOF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only the proof's names come this way

    found = getattr(import_module(f"kairos.verify.proof.{_PROOF[name]}"), name)
    globals()[name] = found
    return found


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
