"""`kairos validate`: what can be said against a workflow without running it."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple, TextIO

from kairos.cli.checking import Modules, check
from kairos.cli.expected import expected_inputs, named
from kairos.cli.findings_as import document, flowchart, put_sarif, sarif_of
from kairos.cli.output import Stop, as_json, clean, count, give, stdout_kept, tell, wants_color
from kairos.exceptions import did_you_mean
from kairos.logs.sinks import printable
from kairos.verify.report import Report
from kairos.verify.text import render_counts, render_report

if TYPE_CHECKING:
    from kairos.cli.checking import Checked
    from kairos.cli.lock import LockOptions  # noqa: TC004 - nobody asks for the annotation
    from kairos.verify.explanation import Explanation
    from kairos.workflow import Workflow

__all__ = ["ValidateOptions", "validate"]

_ASCII = str.maketrans(
    {"→": "->", "·": "|", "\N{MULTIPLICATION SIGN}": "x", "…": "...", "≥": ">=", "≤": "<="}
)


class ValidateOptions(NamedTuple):
    """The options of `kairos validate`, as they were given.

    `every` shows what is folded otherwise; `sarif` is a file, or `-` for standard output, and
    `explain` the name of a step; `lock` says which lock to compare with, and how.
    """

    modules: tuple[str, ...]
    workflows_dir: str | None = None
    strict: bool = False
    as_json: bool = False
    no_color: bool = False
    every: bool = False
    sarif: str | None = None
    mermaid: bool = False
    explain: str | None = None
    lock: LockOptions | None = None


def validate(options: ValidateOptions) -> int:
    """Check every workflow of the modules: 0 when nothing speaks against them, 1 otherwise.

    With `strict` everything counts that was found, whatever it weighs.  It is 2 when a module
    could not be looked at, however the others fare.  Raises Stop where nothing else is to be told.
    """
    _refuse_at_odds(options)
    with stdout_kept() as (stdout, _):
        modules, written = check(options.modules, options.workflows_dir), None
        if options.lock is not None:
            from kairos.cli.lock import locked  # noqa: PLC0415 - it loads the proof

            modules, written = locked(modules, options.lock)
        failed = any(each.report.fails(strict=options.strict) for each in modules.checked)
        code = 2 if modules.stopped else int(failed)
        if options.sarif not in {None, "-"}:
            put_sarif(sarif_of(modules), str(options.sarif))
        for_machines = options.as_json or options.sarif == "-"
        if not (for_machines or modules.checked) and modules.stopped:
            _stop(modules)
        for _target, stop in modules.stopped:
            tell(clean(str(stop)))
        if written is not None:
            tell(written)
        give(stdout, _told(modules, options, stdout, code))
    return code


def _refuse_at_odds(options: ValidateOptions) -> None:
    asked = {
        "--json": options.as_json,
        "--mermaid": options.mermaid,
        "--sarif -": options.sarif == "-",
        "--explain": options.explain is not None,
    }
    forms = [name for name, wanted in asked.items() if wanted]
    if len(forms) > 1 and forms != ["--json", "--explain"]:
        raise Stop(f"{' and '.join(forms)} cannot both have standard output", fix="choose one")


def _stop(modules: Modules) -> None:
    """Raise the last of the reasons why nothing could be looked at, and tell the others."""
    *others, (_, last) = modules.stopped
    for _target, stop in others:
        tell(clean(str(stop)))
    raise last


def _told(modules: Modules, options: ValidateOptions, stdout: TextIO, code: int) -> str:
    explained = None if options.explain is None else _explained(modules, options.explain)
    if options.as_json:
        found = document(modules, code)
        if explained is not None:
            found["explained"] = [explanation.to_dict() for explanation in explained]
        return as_json(found, stdout)
    if options.sarif == "-":
        return as_json(sarif_of(modules), stdout)
    if options.mermaid:
        return clean(flowchart(modules)).rstrip("\n")
    terminal = sys.__stdout__ or stdout
    color = wants_color(terminal, no_color=options.no_color)
    if explained is not None:
        from kairos.verify.explanation import told  # noqa: PLC0415 - for this option only

        text = "\n\n".join(told(each, color=color).rstrip("\n") for each in explained)
    else:
        at_terminal = terminal is not None and terminal.isatty()
        width = shutil.get_terminal_size().columns if at_terminal else None
        text = _text(modules, color=color, width=width, every=options.every)
    return _encodable(text, stdout)


def _encodable(text: str, stream: TextIO) -> str:
    try:
        "".join(map(chr, _ASCII)).encode(getattr(stream, "encoding", None) or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return text.translate(_ASCII)
    return text


# --- as text


def _text(modules: Modules, *, color: bool, width: int | None, every: bool) -> str:
    checked = modules.checked
    blocks = []
    several = len({each.target for each in checked}) > 1
    for each in checked:
        lines = [_heading(each, several=several)] if len(checked) > 1 else []
        report = render_report(each.report, color=color, width=width, every=every)
        lines.append(report.rstrip("\n"))
        if each.workflow is not None:
            lines.append(f"inputs: {_inputs_told(each.workflow)}")
        blocks.append("\n".join(lines))
    if len(checked) > 1:
        total = render_counts(_summed(checked), color=color, width=width)
        blocks.append(f"{count(len(checked), 'workflow')} · {total}")
    return "\n\n".join(blocks)


def _heading(checked: Checked, *, several: bool) -> str:
    module = clean(checked.target)
    if checked.workflow is None:
        return module
    variable = printable(checked.variable or "")
    shown = f"{module}:{variable}" if several and ":" not in module else variable
    return f"{shown}  {printable(checked.workflow.name)}"


def _summed(checked: list[Checked]) -> Report:
    reports = [each.report for each in checked]
    return Report(
        tuple(finding for report in reports for finding in report.findings),
        tuple(proof for report in reports for proof in report.proofs),
        tuple(pair for report in reports for pair in report.suppressed),
        sum(report.steps for report in reports),
        sum(report.ms for report in reports),
    )


def _inputs_told(workflow: Workflow) -> str:
    nothing = "none" if workflow.declared_inputs is not None else "none that are declared"
    return printable(named(expected_inputs(workflow))) or nothing


def _explained(modules: Modules, step: str) -> list[Explanation]:
    """Explain a step in every workflow that has it.  Raises Stop where none has."""
    from kairos.verify.explanation import explain  # noqa: PLC0415 - for this option only

    found: list[Explanation] = []
    names: list[str] = []
    for each in modules.checked:
        if each.workflow is None:
            continue
        names += each.workflow.graph.index
        if step in each.workflow.graph.index:
            found.append(explain(each.workflow.scene, step, proofs=each.report.proofs))
    if not found:
        raise Stop(f"there is no step '{clean(step)}'", fix=did_you_mean(step, names))
    return found
