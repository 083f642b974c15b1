"""What was found, in the forms that other programs read: JSON, SARIF, Mermaid."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kairos.cli.expected import expected_inputs
from kairos.cli.finding import listed
from kairos.cli.loading import Unloadable
from kairos.cli.output import Stop, clean
from kairos.enums import Severity
from kairos.verify.document import edges_told, findings_told, suppressed_told
from kairos.verify.edges.edge import Coverage

if TYPE_CHECKING:
    from kairos.cli.checking import Checked, Modules
    from kairos.workflow import Workflow

__all__ = ["VERSION", "document", "flowchart", "put_sarif", "sarif_of"]

VERSION = 1
"""Of the JSON document: a new key does not change it, one that goes or means another thing does."""


def document(modules: Modules, code: int) -> dict[str, Any]:
    """Return the document of `--json`; docs/cli.md says what each key means."""
    checked, stopped = modules
    findings = [
        {"target": each.target, "workflow": each.variable, **finding}
        for each in checked
        for finding in findings_told(each.report)
    ]
    suppressed = [
        {"target": each.target, "workflow": each.variable, **finding}
        for each in checked
        for finding in suppressed_told(each.report)
    ]
    proofs = [proof for each in checked for proof in each.report.proofs]
    weights = [finding["severity"] for finding in findings]
    return {
        "version": VERSION,
        "ok": code == 0,
        "exit": code,
        "error": {"target": stopped[0][0], **stopped[0][1].to_dict()} if stopped else None,
        "unread": [{"target": target, **stop.to_dict()} for target, stop in stopped],
        "errors": weights.count(Severity.ERROR.value),
        "warnings": weights.count(Severity.WARNING.value),
        "notes": weights.count(Severity.NOTE.value),
        "steps": sum(each.report.steps for each in checked),
        "ms": round(sum(each.report.ms for each in checked), 3),
        "coverage": Coverage.of(proofs)._asdict(),
        "workflows": [_workflow(each, each.workflow) for each in checked if each.workflow],
        "findings": findings,
        "suppressed": suppressed,
    }


def _workflow(checked: Checked, workflow: Workflow) -> dict[str, Any]:
    return {
        "target": checked.target,
        "variable": checked.variable,
        "name": workflow.name,
        "steps": checked.report.steps,
        "inputs": expected_inputs(workflow),
        "coverage": checked.report.coverage._asdict(),
        "edges": edges_told(checked.report, workflow.graph),
    }


# --- SARIF


def sarif_of(modules: Modules) -> dict[str, Any]:
    """Return a SARIF log of all that was looked at; its root is that of the repository, if any."""
    from kairos.verify.sarif import Examined, Unread, sarif_log  # noqa: PLC0415 - for this form only

    examined = []
    for each in modules.checked:
        workflow = each.workflow
        if workflow is None:
            examined.append(Examined(each.target, each.report, each.file))
        else:
            places = {step.name: step.place for step in workflow.graph.steps}
            name, place = workflow.name, workflow.place
            examined.append(Examined(name, each.report, each.file, place, places))
    unread = [
        Unread(stop.told, *stop.at) if isinstance(stop, Unloadable) else Unread(stop.message)
        for _, stop in modules.stopped
    ]
    return sarif_log(examined, root=_root(), unread=unread, home=_home())


def put_sarif(log: dict[str, Any], file: str) -> None:
    """Write a SARIF log to a file.  Raises Stop where it cannot be written."""
    try:
        Path(file).write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Stop(f"{clean(file)} cannot be written: {why}") from None


def _root() -> Path:
    """Return the root of the repository around the current folder, or that folder itself."""
    here = Path.cwd().resolve()
    return next((each for each in (here, *here.parents) if (each / ".git").exists()), here)


def _home() -> str | None:
    """Return the address of kairos's own repository, where the metadata has one."""
    try:
        urls = metadata.metadata("kairos-ai").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    known = dict(url.partition(", ")[::2] for url in urls)
    found = [known[name] for name in ("Repository", "Source", "Homepage") if name in known]
    return found[0].rstrip("/") if found else None


# --- Mermaid


def flowchart(modules: Modules) -> str:
    """Return a Mermaid flowchart of the one workflow.  Raises Stop for none, and for several."""
    from kairos.verify.picture import picture  # noqa: PLC0415 - for this form only

    drawn = [each for each in modules.checked if each.workflow is not None]
    if len(drawn) > 1:
        names = [
            f"{each.target.rpartition(':')[0] or each.target}:{each.variable}" for each in drawn
        ]
        raise Stop(
            f"a picture is of one workflow, and there are {len(drawn)}",
            found=clean(listed(names)),
            fix=f"choose one: {clean(names[0])}",
        )
    if not drawn or drawn[0].workflow is None:
        raise Stop(
            "there is no workflow to draw", fix="look at what was found: leave out --mermaid"
        )
    return picture(drawn[0].workflow.graph, drawn[0].report)
