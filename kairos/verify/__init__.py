"""What can be said against a plan without running a step of it.

`verify_plan` puts a plan through every pass of `PASSES` and returns what they find; `render` puts
findings into text, `render_report` all that is known.  `compare` proves that one contract is inside
another, or shows a value that is not.  docs/findings.md has a section for each code.

Each name is imported when it is first used: a run asks for proofs, and for no pass.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kairos.verify.edges import prove
    from kairos.verify.examining import PASSES, examine, verify_plan
    from kairos.verify.findings import CODES, Finding, finding_of, findings_of
    from kairos.verify.proof.limits import Budget
    from kairos.verify.proof.outcome import Fault, Verdict
    from kairos.verify.proof.verdict import compare, compare_contracts
    from kairos.verify.report import Report
    from kairos.verify.scene import Scene
    from kairos.verify.text import render, render_report

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

_ROOMS = {
    "CODES": "findings",
    "PASSES": "examining",
    "Budget": "proof.limits",
    "Fault": "proof.outcome",
    "Finding": "findings",
    "Report": "report",
    "Scene": "scene",
    "Verdict": "proof.outcome",
    "compare": "proof.verdict",
    "compare_contracts": "proof.verdict",
    "examine": "examining",
    "finding_of": "findings",
    "findings_of": "findings",
    "prove": "edges",
    "render": "text",
    "render_report": "text",
    "verify_plan": "examining",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
