"""`kairos validate`: what can be said against a workflow without running it."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.cli.loading import Unloadable, load
from kairos.cli.output import Stop, as_json, give, stdout_kept, wants_color
from kairos.enums import Severity
from kairos.exceptions import KairosError
from kairos.logs.sinks import printable
from kairos.verify.findings import Finding, findings_of
from kairos.verify.text import render
from kairos.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ValidateOptions", "expected_inputs", "named", "validate"]


class ValidateOptions(NamedTuple):
    """The options of `kairos validate`, as they were given."""

    module: str
    workflows_dir: str | None = None
    strict: bool = False
    as_json: bool = False
    no_color: bool = False


class _Checked(NamedTuple):
    """What was found; `variable` and `workflow` are None for what came before there was one."""

    variable: str | None
    workflow: Workflow | None
    findings: list[Finding]
    ms: float

    @property
    def steps(self) -> int:
        return 0 if self.workflow is None else len(self.workflow.graph.steps)


def validate(options: ValidateOptions) -> int:
    """Check every workflow of a module: 0 when nothing speaks against it, 1 otherwise.

    With `strict` a warning counts as an error.  Raises Stop when there is nothing to check.
    """
    with stdout_kept() as (stdout, _):
        checked = _checked(options)
        failing = [Severity.ERROR, *([Severity.WARNING] if options.strict else [])]
        bad = any(finding.severity in failing for each in checked for finding in each.findings)
        if options.as_json:
            give(stdout, as_json(_document(checked, ok=not bad), stdout))
        else:
            color = wants_color(sys.__stdout__ or stdout, no_color=options.no_color)
            give(stdout, "\n\n".join(_text(each, len(checked), color=color) for each in checked))
    return int(bad)


def _checked(options: ValidateOptions) -> list[_Checked]:
    began = perf_counter()
    try:
        found = load(options.module, workflows_dir=options.workflows_dir).every()
    except Unloadable as stop:
        # A declaration that is refused is what this command is there to find.
        if isinstance(stop.cause, KairosError) and not isinstance(stop.cause, Stop):
            return [_Checked(None, None, findings_of(stop.cause), _since(began))]
        raise
    return [_one(variable, workflow) for variable, workflow in found.items()]


def _one(variable: str, workflow: Workflow) -> _Checked:
    began = perf_counter()
    findings = workflow.validate()
    return _Checked(variable, workflow, findings, _since(began))


def _since(began: float) -> float:
    return (perf_counter() - began) * 1000


def _text(checked: _Checked, among: int, *, color: bool) -> str:
    lines = []
    if among > 1 and checked.workflow is not None:
        lines.append(f"{checked.variable}  {printable(checked.workflow.name)}")
    report = render(checked.findings, steps=checked.steps, ms=checked.ms, color=color)
    lines.append(report.rstrip("\n"))
    if checked.workflow is not None:
        lines.append(f"inputs: {_inputs_told(checked.workflow)}")
    return "\n".join(lines)


def _inputs_told(workflow: Workflow) -> str:
    nothing = "none" if workflow.declared_inputs is not None else "none that are declared"
    return printable(named(expected_inputs(workflow))) or nothing


def named(inputs: Mapping[str, bool | None]) -> str:
    """Render what `expected_inputs` gives: `topic, limit (optional)`."""
    return ", ".join(
        f"{name} (optional)" if needed is False else name for name, needed in inputs.items()
    )


def expected_inputs(workflow: Workflow) -> dict[str, bool | None]:
    """Return the inputs that a workflow is known to take, each with whether a run needs it.

    None means that nothing tells.  They are what it declares, what its typed steps and fan-outs
    read, and what its `read_keys` name that no step writes.
    """
    graph, declared = workflow.graph, workflow.declared_inputs
    inputs: dict[str, bool | None] = dict(sorted(graph.expected_inputs.items()))
    written = {key for step in graph.steps for key in (step.name, *(step.write_keys or ()))}
    for step in graph.steps:
        for key in step.read_keys or ():
            if key not in written:
                inputs.setdefault(key, None)
    for name in sorted(declared or ()):
        inputs.setdefault(name, None)
    return inputs


def _document(checked: list[_Checked], *, ok: bool) -> dict[str, Any]:
    findings = [
        {"workflow": each.variable, **finding.to_dict()}
        for each in checked
        for finding in each.findings
    ]
    return {
        "ok": ok,
        "errors": sum(each["severity"] == Severity.ERROR.value for each in findings),
        "warnings": sum(each["severity"] == Severity.WARNING.value for each in findings),
        "steps": sum(each.steps for each in checked),
        "ms": round(sum(each.ms for each in checked), 3),
        "workflows": [
            {
                "variable": each.variable,
                "name": each.workflow.name,
                "steps": each.steps,
                "inputs": expected_inputs(each.workflow),
            }
            for each in checked
            if each.workflow is not None
        ],
        "findings": findings,
    }
