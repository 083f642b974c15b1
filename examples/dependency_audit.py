"""Audit the Python distributions that are installed here: requirements, licences, files.

    python examples/dependency_audit.py
    python examples/dependency_audit.py --html audit.html --json audit.json
    python examples/dependency_audit.py --input '{"site": "some/lib/python3.12/site-packages"}'
    kairos run examples/dependency_audit.py

It finds every distribution, reads what its metadata says, hashes its files and compares them with
RECORD, and holds all of it against a policy: what is required is installed in a version that will
do, every licence is an allowed one, and every file is what was installed.

As a workflow::

    collect ─┬─ parse (each) ─────┬─ requirements ──────────┐
             │                    └─ licences ──────────────┤
             └─ inventory (each) ─┬─ strays ────────────────┼─ report
                                  └─ batches ─ verify (each) ─ files

A distribution whose metadata or RECORD is broken is skipped by the failure policy of the step
that met it: the run's record says why, and the report is made all the same.

Exit status: 0 when the policy holds, 1 when it does not, 2 when the command is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from audit_parts.files import check_batch, cut_batches, gather_files, take_inventory
from audit_parts.metadata import installed, read_distribution
from audit_parts.models import (
    Batch,
    BatchCheck,
    BrokenDistributionError,
    Distribution,
    Document,
    FileCheck,
    Found,
    Inventory,
    LicenceCheck,
    Report,
    RequirementCheck,
    RunStep,
    StrayCheck,
)
from audit_parts.page import page
from audit_parts.policy import check_licences, policy
from audit_parts.progress import Progress
from audit_parts.report import assemble, contradictions, with_reasons
from audit_parts.requirements import check_requirements
from audit_parts.strays import find_strays
from audit_parts.terminal import closing, show
from kairos import FailurePolicy, Workflow, WorkflowResult
from kairos.enums import FailureAction, WorkflowStatus
from kairos.exceptions import KairosError
from kairos.step import SKIP, Skip, step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kairos.ports import Observer

# Most files are small, so that threads beyond the processors only wait for one another.
WORKERS = min(os.cpu_count() or 1, 8)

# A file that cannot be read just now is tried once more; metadata that is broken stays broken.
SKIP_BROKEN = FailurePolicy(
    on_execution_fail=FailureAction.RETRY,
    on_validation_fail=FailureAction.SKIP,
    max_retries=1,
    retry_delay=0.05,
    give_up_on=BrokenDistributionError,
    fallback_action=FailureAction.SKIP,
)


class Inputs(BaseModel):
    """What `--input` takes: the folder to audit, and changes to the list of allowed licences."""

    model_config = ConfigDict(extra="forbid")

    site: str | None = None  # None: wherever this interpreter imports from
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    strict: bool = False  # whether a warning breaks the policy, too


@step
def collect(site: str | None = None) -> list[Found]:
    """Find what says that it is installed; read nothing yet."""
    return installed(site)


@step(foreach="collect", parallel=True, max_concurrency=WORKERS, failure_policy=SKIP_BROKEN)
def parse(item: Found) -> Distribution:
    """Read one distribution's metadata."""
    return read_distribution(item)


@step(foreach="collect", parallel=True, max_concurrency=WORKERS, failure_policy=SKIP_BROKEN)
def inventory(item: Found) -> Inventory | Skip:
    """Read one distribution's RECORD; an egg-info has none, and that is no failure."""
    return take_inventory(item) if item.kind == "dist-info" else SKIP


@step
def batches(inventory: list[Inventory | None]) -> list[Batch]:
    """Cut all files into batches of like size, so that one large package keeps nobody waiting."""
    return cut_batches(inventory)


@step(foreach="batches", parallel=True, max_concurrency=WORKERS, failure_policy=SKIP_BROKEN)
def verify(item: Batch) -> BatchCheck:
    """Hash one batch's files."""
    return check_batch(item)


@step(parallel=True)
def files(
    collect: list[Found], inventory: list[Inventory | None], verify: list[BatchCheck | None]
) -> FileCheck:
    """Put the batches together again."""
    return gather_files(collect, inventory, verify)


@step(parallel=True)
def strays(collect: list[Found], inventory: list[Inventory | None]) -> StrayCheck:
    """Look for files that belong to no distribution."""
    return find_strays(collect, inventory)


@step(parallel=True)
def requirements(collect: list[Found], parse: list[Distribution | None]) -> RequirementCheck:
    """Look for requirements that are not met."""
    return check_requirements(collect, parse)


@step(parallel=True)
def licences(
    parse: list[Distribution | None], allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()
) -> LicenceCheck:
    """Hold every licence against the policy."""
    return check_licences(parse, policy(allow, deny))


@step
def report(
    *,
    collect: list[Found],
    parse: list[Distribution | None],
    requirements: RequirementCheck,
    licences: LicenceCheck,
    files: FileCheck,
    strays: StrayCheck,
    site: str | None = None,
    allow: tuple[str, ...] = (),
    deny: tuple[str, ...] = (),
    strict: bool = False,
) -> Report:
    """Make one report of it all."""
    return assemble(
        collect,
        parse,
        requirements,
        licences,
        files,
        strays,
        place=site or sys.prefix,
        strict=strict,
        allowed=policy(allow, deny),
    )


def audit(hooks: Iterable[Observer] = ()) -> Workflow:
    """Return the workflow; `hooks` are told of what happens while it runs."""
    return Workflow(
        "dependency_audit",
        [
            collect,
            parse,
            inventory,
            batches,
            verify,
            files,
            strays,
            requirements,
            licences,
            report,
        ],
        inputs=Inputs,
        hooks=list(hooks),
    )


workflow = audit()


def document(result: WorkflowResult, graph: Mapping[str, Sequence[str]]) -> Document:
    """Return the report that a run made, with what only the run's own record can tell.

    The paths in it may look like secrets to a redactor: `reveal` gives them as they are.
    """
    found = result.reveal("collect")
    reasons = {
        (name, found[item.index]["path"]): item.reason
        for name in ("parse", "inventory")
        for item in result.step_results[name].items or ()
        if item.reason
    }
    return Document(
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        seconds=result.duration_ms / 1000,
        report=with_reasons(Report.model_validate(result.reveal("report")), reasons),
        run=tuple(_run_step(result, name, after) for name, after in graph.items()),
    )


def _run_step(result: WorkflowResult, name: str, after: Sequence[str]) -> RunStep:
    told = result.step_results[name]
    items = told.items
    return RunStep(
        name=name,
        after=tuple(after),
        status=told.status.value,
        items=None if items is None else len(items),
        skipped=sum(item.status == "skipped" for item in items or ()),
        attempts=len(told.attempts),
        milliseconds=round(told.duration_ms, 3),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit as a command and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    inputs = _inputs(parser, options)
    running = audit([] if options.quiet else [Progress(sys.stderr)])
    try:
        result = running.run(inputs)
    except KairosError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("Interrupted: no report was made.", file=sys.stderr)
        return 130
    if result.status is not WorkflowStatus.COMPLETE:
        print(f"The audit could not be finished: {result.error}", file=sys.stderr)
        return 1
    graph = running.graph
    made = document(
        result,
        {
            one.name: [before.name for before in graph.get_dependencies(one.name)]
            for one in running.steps
        },
    )
    _write(parser, made, options)
    faults = contradictions(made.report)
    assert not faults, f"the report contradicts itself: {faults}"
    return 0 if made.report.holds else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Audit the Python distributions that are installed here.",
        epilog="Exit status: 0 the policy holds, 1 it does not, 2 the command is wrong.",
    )
    parser.add_argument(
        "-i", "--input", metavar="JSON", help="""such as '{"site": "lib/site-packages"}'"""
    )
    parser.add_argument("--allow", nargs="+", default=[], metavar="LICENCE", action="extend",
                        help="allow these SPDX identifiers, too")  # fmt: skip
    parser.add_argument("--deny", nargs="+", default=[], metavar="LICENCE", action="extend",
                        help="take these off the list of allowed licences")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="a warning breaks the policy, too")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON; - for stdout")
    parser.add_argument("--html", metavar="FILE", help="write the report as one HTML page")
    parser.add_argument("-q", "--quiet", action="store_true", help="print the last line only")
    return parser


def _inputs(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, Any]:
    """Return the run's inputs; whatever is wrong with them ends the command with status 2."""
    try:
        inputs = json.loads(options.input or "{}")
    except (ValueError, RecursionError) as error:
        parser.error(f"--input is not JSON: {error}")
    if not isinstance(inputs, dict):
        parser.error("""--input is a JSON object, such as '{"site": "lib/site-packages"}'""")
    for name in ("allow", "deny"):
        given = inputs.get(name, [])
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            parser.error(f"--input: {name} is a list of SPDX identifiers")
        inputs[name] = [*given, *getattr(options, name)]
    try:
        policy(inputs["allow"], inputs["deny"])
    except ValueError as error:
        parser.error(str(error))
    site = inputs.get("site")
    if isinstance(site, str) and not Path(site).is_dir():
        parser.error(f"there is no folder {site!r}")
    if options.strict:
        inputs["strict"] = True
    return inputs


def _write(parser: argparse.ArgumentParser, made: Document, options: argparse.Namespace) -> None:
    """Write the files that were asked for, then tell the result."""
    text = made.model_dump_json(indent=2) + "\n"
    if options.html:
        _save(parser, options.html, page(made))
    if options.json == "-":
        sys.stdout.write(text)
    elif options.json:
        _save(parser, options.json, text)
    stream = sys.stderr if options.json == "-" else sys.stdout
    if options.quiet or options.json == "-":
        print(closing(made, _following(made, options)), file=stream)
    else:
        show(made, stream, following=_following(made, options))


def _save(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, "utf-8")
    except OSError as error:
        parser.error(f"cannot write {name}: {error.strerror}")


def _following(made: Document, options: argparse.Namespace) -> str:
    """Return what to do next."""
    if options.html:
        return f"Next: open {options.html}"
    if not made.report.holds and options.quiet:
        return f"Next: python {sys.argv[0]}, for what it found"
    return f"Next: python {sys.argv[0]} --html audit.html, for all of it as a page"


if __name__ == "__main__":
    sys.exit(main())
