"""A report as plain data, for machines; docs/cli.md says what each key means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kairos.plan import TaskGraph
    from kairos.verify.report import Report

__all__ = ["edges_told", "findings_told", "suppressed_told"]


def findings_told(report: Report) -> list[dict[str, Any]]:
    """Return the findings, worst first."""
    return [finding.to_dict() for finding in report.findings]


def suppressed_told(report: Report) -> list[dict[str, Any]]:
    """Return the findings that a comment allows, each with its reason."""
    return [{**finding.to_dict(), "reason": reason} for finding, reason in report.suppressed]


def edges_told(report: Report, graph: TaskGraph) -> list[dict[str, Any]]:
    """Return what is known of each edge, with its steps by name."""
    steps = graph.steps
    return [
        {
            "step": steps[proof.edge.step].name,
            "key": proof.edge.key or None,
            "through": proof.edge.through,
            "producers": [steps[i].name for i in proof.edge.producers],
            "answer": proof.verdict.answer,
            "assuming": proof.assuming,
            "reason": proof.verdict.reason,
            "elided": proof.elides,
        }
        for proof in report.proofs
    ]
