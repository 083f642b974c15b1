"""Changes as findings: what is an error depends on what one wants to stay compatible with."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING

from kairos.enums import Severity
from kairos.verify.findings import CODES, Detail, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kairos.source import Place
    from kairos.verify.lock.change import Change
    from kairos.verify.proof.outcome import Fault
    from kairos.verify.scene import Scene

__all__ = ["Compatibility", "findings_of_changes"]

_CODES = {"backward": "KRS122", "forward": "KRS121", None: "KRS123"}


class Compatibility(StrEnum):
    """What must hold between a lock and the code, in the words of the schema registries.

    backward: the new version reads what the old one stored.  forward: the old readers read what
    the new version stores.  full: both.  none: everything may change.
    """

    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"
    NONE = "none"


def findings_of_changes(
    changes: Iterable[Change],
    scene: Scene,
    *,
    compatibility: Compatibility = Compatibility.FULL,
    where: Place | None = None,
) -> list[Finding]:
    """Return a finding for each change, those that break what must hold as errors.

    A change that breaks what need not hold, and one of which it cannot be told, is a note.
    `where` stands for what belongs to no step.
    """
    places = {step.name: step.place for step in scene.graph.steps}
    return [
        _finding(change, compatibility, places.get(change.step or "") or where)
        for change in changes
    ]


def _finding(change: Change, wanted: Compatibility, where: Place | None) -> Finding:
    code = _CODES[change.breaks]
    return Finding(
        code,
        _severity(change, wanted, code),
        change.step,
        change.message,
        where,
        expected=change.expected,
        found=change.reason or change.found,
        fix=change.fix,
        source=change.source,
        details=tuple(_detail(fault, change.source or change.step) for fault in change.faults),
        witness=None if change.answer not in {"refuted", "coerced"} else _written(change),
    )


def _detail(fault: Fault, key: str | None) -> Detail:
    return Detail(fault.path.replace("$", key or "inputs", 1), fault.producer, fault.consumer)


def _severity(change: Change, wanted: Compatibility, code: str) -> Severity:
    counts = change.breaks is not None and wanted in {change.breaks, Compatibility.FULL}
    if change.answer == "refuted" and counts:
        return CODES[code].severity
    return Severity.WARNING if change.answer == "coerced" and counts else Severity.NOTE


def _written(change: Change) -> str | None:
    if change.witness is None and not change.faults:
        return None
    return json.dumps(change.witness, ensure_ascii=False)
