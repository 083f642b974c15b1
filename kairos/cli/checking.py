"""Which workflows a command line names, each loaded and examined."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from kairos.cli.finding import allowed_roots
from kairos.cli.folders import folder_of, modules_below
from kairos.cli.loading import Unloadable, load
from kairos.cli.output import Stop
from kairos.exceptions import KairosError
from kairos.verify.findings import findings_of
from kairos.verify.report import Report
from kairos.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kairos.cli.loading import Loaded

__all__ = ["Checked", "Modules", "check"]

_OF_COMMENTS = {"KRS301", "KRS302"}


class Checked(NamedTuple):
    """What is known of a workflow, or of a module whose declarations were refused.

    `variable` and `workflow` are None for a module that never came to have one; `file` is where
    it stands.
    """

    target: str
    file: str
    variable: str | None
    workflow: Workflow | None
    report: Report


class Modules(NamedTuple):
    """All that was looked at, and the targets that could not be, each with the reason."""

    checked: list[Checked]
    stopped: list[tuple[str, Stop]]


def check(targets: Sequence[str], workflows_dir: str | None) -> Modules:
    """Load and examine the workflows of every target: a module, or a folder of them.

    A workflow that several modules hold, since one imports it from another, is examined once.
    """
    modules = Modules([], [])
    seen: dict[tuple[object, ...], str] = {}
    for target, is_listed in _expanded(targets, workflows_dir, modules):
        try:
            with _same_folder():
                for checked in _examined(target, workflows_dir, is_listed=is_listed):
                    if seen.setdefault(_identity(checked), checked.file) == checked.file:
                        modules.checked.append(checked)
        except Stop as stop:
            modules.stopped.append((target, stop))
    return modules


@contextlib.contextmanager
def _same_folder() -> Iterator[None]:
    """Come back to the current folder: a module may change it, and means nobody else by that."""
    here = Path.cwd()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is gone
            os.chdir(here)


def _expanded(
    targets: Sequence[str], workflows_dir: str | None, modules: Modules
) -> Iterator[tuple[str, bool]]:
    """Give each module once, with whether it was found in a folder."""
    roots = allowed_roots(workflows_dir)
    given: set[str] = set()
    for target in targets:
        folder = folder_of(target, roots)
        listed = [target]
        if folder is not None:
            try:
                listed = modules_below(folder, target, roots)
            except Stop as stop:
                modules.stopped.append((target, stop))
                continue
        for each in listed:
            if each not in given:
                given.add(each)
                yield each, folder is not None


def _examined(target: str, workflows_dir: str | None, *, is_listed: bool) -> Iterator[Checked]:
    began = perf_counter()
    try:
        loaded = load(target, workflows_dir=workflows_dir)
    except Unloadable as stop:
        # a declaration that is refused is what this command is there to find
        if isinstance(stop.cause, KairosError) and not isinstance(stop.cause, Stop):
            ms = (perf_counter() - began) * 1000
            report = Report(tuple(findings_of(stop.cause)), ms=ms)
            yield Checked(target, stop.file, None, None, report)
            return
        raise
    if is_listed and not loaded.workflows:
        return  # it only speaks of workflows
    yield from _each(target, loaded)


def _each(target: str, loaded: Loaded) -> Iterator[Checked]:
    file = loaded.module.__file__ or target
    told: set[str] = set()
    for variable, workflow in loaded.every().items():
        report = workflow.verify()
        # each workflow of a file sees the comments that belong to none of them
        findings = tuple(
            finding
            for finding in report.findings
            if not (finding.code in _OF_COMMENTS and f"{finding.code} {finding.where!r}" in told)
        )
        told.update(f"{finding.code} {finding.where!r}" for finding in findings)
        yield Checked(target, file, variable, workflow, replace(report, findings=findings))


def _identity(checked: Checked) -> tuple[object, ...]:
    place = None if checked.workflow is None else checked.workflow.place
    if place is None or checked.workflow is None:
        return (checked.file, checked.variable)
    return (place.file, place.line, place.column, checked.workflow.name)
