"""`kairos validate --lock FILE`: the contracts on record, and what has changed since.

Where there is no lock yet it is written; where there is one it is only read, unless `--update`
accepts what changed.  In a pipeline (CI is set) a lock that is missing is an error, since one
that is written there is thrown away and proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kairos.cli.checking import Checked, Modules
from kairos.cli.output import Stop, clean, count
from kairos.enums import Severity
from kairos.verify.allowances import allowed
from kairos.verify.findings import CODES, Finding
from kairos.verify.lock import (
    Compatibility,
    LockError,
    changes,
    findings_of_changes,
    lock_of,
    lock_text,
    read_lock,
)
from kairos.verify.lock.text import LONGEST
from kairos.verify.report import Report

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kairos.exceptions import KairosError
    from kairos.verify.lock import Live, LockedWorkflow
    from kairos.workflow import Workflow

__all__ = [
    "Held",
    "LockOptions",
    "asked_of_lock",
    "found_in_lock",
    "hold",
    "locked",
    "read_file",
    "with_findings",
]


_ORDER = {severity: nth for nth, severity in enumerate(Severity)}


class LockOptions(NamedTuple):
    """The options of a lock, as they were given."""

    file: str
    update: bool = False
    compatibility: Compatibility = Compatibility.FULL


def asked_of_lock(file: str | None, compatible: str, *, update: bool) -> LockOptions | None:
    """Return the options of a lock; None where there is none.  Raises Stop for what is at odds."""
    if file is None:
        if update:
            raise Stop("--update of which lock?", fix="name it: --lock contracts.lock --update")
        if compatible != Compatibility.FULL:
            raise Stop("--compat with which lock?", fix="name it: --lock contracts.lock")
        return None
    return LockOptions(file, update=update, compatibility=Compatibility(compatible))


class Held(NamedTuple):
    """What came of it.

    findings: for each workflow, in the order in which they were given.
    others:   of the lock itself, and of workflows in it that are gone.
    told:     what was written, in one line; None where nothing was.
    """

    findings: list[list[Finding]]
    others: list[Finding]
    told: str | None = None


def locked(modules: Modules, options: LockOptions) -> tuple[Modules, str | None]:
    """Hold all that was examined to a lock, and say what was written.  Raises Stop as `hold`."""
    every = modules.checked
    if modules.stopped and (options.update or not Path(options.file).exists()):
        told = f"{clean(options.file)} is not written: what could not be read would be missing"
        return modules, told
    found = [(each.file, each.workflow) for each in every if each.workflow is not None]
    # where one workflow was chosen by its name, nothing is known of the others
    complete = {each.file for each in every if not _is_chosen(each.target)}
    held = hold(options, found, complete=complete)
    findings = iter(held.findings)
    checked = [
        each
        if each.workflow is None
        else each._replace(report=with_findings(each.report, each.workflow, next(findings)))
        for each in every
    ]
    if held.others:
        report = Report(tuple(held.others))
        checked.append(Checked(options.file, options.file, None, None, report))
    return Modules(checked, modules.stopped), held.told


def with_findings(report: Report, workflow: Workflow, found: Sequence[Finding]) -> Report:
    """Return a report with what the lock says as well, save what a comment in the source allows."""
    kept, suppressed = allowed(workflow.graph.steps, found)
    more = [finding for finding in kept if not finding.code.startswith("KRS3")]
    return replace(
        report,
        findings=tuple(sorted((*report.findings, *more), key=lambda each: _ORDER[each.severity])),
        suppressed=(*report.suppressed, *suppressed),
    )


def _is_chosen(target: str) -> bool:
    _, colon, name = target.rpartition(":")
    return bool(colon) and name.isidentifier()


def hold(
    options: LockOptions,
    workflows: Sequence[tuple[str, Workflow]],
    *,
    complete: Collection[str] = (),
) -> Held:
    """Hold workflows, each given with its file, to a lock; write the lock where that is asked.

    `complete` are the files of which all workflows are given: one of such a file that only the
    lock has is gone.  A lock that cannot be read is a finding.  Raises Stop where it cannot be
    written, and for two workflows of one name; the old lock is then as it was.
    """
    path = Path(options.file)
    live: Live = {}
    now = _now(path, workflows, live)
    whole = {_seen(path, file) for file in complete}
    nothing: list[list[Finding]] = [[] for _ in workflows]
    try:
        before = read_file(path)
    except LockError as error:
        if not options.update:
            return Held(nothing, [_unreadable(error, path)])
        before = {}
    if before is None and not options.update and _is_pipeline():
        return Held(nothing, [_missing(path)])
    if before is None or options.update:
        gone = _gone(before or {}, now, whole)
        kept = {name: each for name, each in (before or {}).items() if name not in gone}
        return Held(nothing, [], _write(path, kept | now, len(now)))
    if before and now and before.keys().isdisjoint(now):
        return Held(nothing, [_of_another(path, before, now)])
    findings = [
        _against(path, before.get(workflow.name), now[workflow.name], live, workflow, options)
        for _, workflow in workflows
    ]
    return Held(findings, [_lost(path, name, options) for name in _gone(before, now, whole)])


def found_in_lock(options: LockOptions, file: str, workflow: Workflow) -> list[Finding]:
    """Return what the lock says of one workflow; nothing is written, and a missing lock is found.

    The lock is read once for all workflows, as long as the file stays as it is.
    """
    path = Path(options.file)
    try:
        before = _read_once(path, _state_of(path))
    except LockError as error:
        return [_unreadable(error, path)]
    if before is None:
        return [_missing(path)]
    live: Live = {}
    now = _now(path, [(file, workflow)], live)
    return _against(path, before.get(workflow.name), now[workflow.name], live, workflow, options)


def _against(
    path: Path,
    before: LockedWorkflow | None,
    now: LockedWorkflow,
    live: Live,
    workflow: Workflow,
    options: LockOptions,
) -> list[Finding]:
    if before is None:
        return [_new(path, workflow)]
    return findings_of_changes(
        changes(before, now, live=live),
        workflow.scene,
        compatibility=options.compatibility,
        where=workflow.place,
    )


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=4)
def _read_once(path: Path, _state: tuple[int, int] | None) -> dict[str, LockedWorkflow] | None:
    return read_file(path)


def _now(
    path: Path, workflows: Sequence[tuple[str, Workflow]], live: Live
) -> dict[str, LockedWorkflow]:
    found: dict[str, LockedWorkflow] = {}
    for file, workflow in workflows:
        if workflow.name in found:
            raise Stop(
                f"two workflows are called '{clean(workflow.name)}', and a lock knows them by name",
                expected="a name of its own for each workflow",
                found=clean(f"{found[workflow.name].get('module', '')} and {_seen(path, file)}"),
            )
        held = lock_of(workflow.scene, live=live)
        held["module"] = _seen(path, file)
        found[workflow.name] = held
    return found


def _seen(path: Path, file: str) -> str:
    """Return a file as it is seen from the lock's folder: the same on every machine."""
    try:
        seen = os.path.relpath(Path(file).resolve(), path.parent.resolve())
    except (OSError, ValueError):  # on another drive
        return Path(file).name
    return Path(seen).as_posix()


def read_file(path: Path) -> dict[str, LockedWorkflow] | None:
    """Return the workflows of a lock, or None where there is no such file.

    Raises LockError for what is no lock, and where it cannot be read.
    """
    try:
        if path.stat().st_size > 4 * LONGEST:
            raise LockError("a lock that is too long", found=f"{path.stat().st_size:,} bytes")
        return read_lock(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise LockError("the lock is no text in UTF-8") from None
    except OSError as error:
        raise LockError(
            "the lock cannot be read", found=os.strerror(error.errno or 0) or type(error).__name__
        ) from None


def _is_pipeline() -> bool:
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


# --- comparing


def _gone(
    before: Mapping[str, LockedWorkflow], now: Mapping[str, LockedWorkflow], whole: set[str]
) -> list[str]:
    return [name for name in before if name not in now and before[name].get("module") in whole]


def _unreadable(error: KairosError, path: Path) -> Finding:
    return _of_lock(
        error.message,
        path,
        expected=error.expected,
        found=error.found,
        fix=error.fix or "bring it back as it was committed, or write it anew with --update",
    )


def _missing(path: Path) -> Finding:
    return _of_lock(
        "there is no such lock, and none is written here",
        path,
        expected="the lock, committed beside the code",
        found="no such file",
        fix=f"write it where you work, and commit it: kairos validate … --lock {path.name}",
    )


def _of_another(
    path: Path, before: Mapping[str, LockedWorkflow], now: Mapping[str, LockedWorkflow]
) -> Finding:
    return _of_lock(
        "the lock is of other workflows",
        path,
        expected=_listed(list(now)),
        found=_listed(list(before)),
        fix="name the right lock, or put these into it as well with --update",
    )


def _of_lock(
    message: str, path: Path, *, expected: str | None, found: str | None, fix: str
) -> Finding:
    return Finding(
        "KRS120",
        CODES["KRS120"].severity,
        None,
        f"{path.name or path}: {message}",
        expected=expected,
        found=found,
        fix=fix,
    )


def _new(path: Path, workflow: Workflow) -> Finding:
    return Finding(
        "KRS123",
        CODES["KRS123"].severity,
        None,
        f"'{workflow.name}' is not in {path.name} yet",
        workflow.place,
        fix="put it there with --update",
    )


def _lost(path: Path, name: str, options: LockOptions) -> Finding:
    wanted = options.compatibility
    code = "KRS123" if wanted is Compatibility.NONE else "KRS122"
    return Finding(
        code,
        CODES[code].severity,
        None,
        f"the workflow '{name}' is in {path.name} and not in its module any more: its runs in"
        " flight cannot go on",
        expected=f"a workflow of the name '{name}'",
        fix="keep it until no run of it is in flight, then accept with --update",
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"  # noqa: PLR2004


# --- writing


def _write(path: Path, workflows: Mapping[str, LockedWorkflow], how_many: int) -> str:
    changed = _replace(path, lock_text(workflows))
    told = f"{clean(path.name)}: {count(how_many, 'workflow')}"
    return f"wrote {told}" if changed else f"{told}, as it was"


def _replace(path: Path, text: str) -> bool:
    """Put a text in the place of a file, whole or not at all; say whether it was another."""
    data = text.encode()
    target = Path(os.path.realpath(path))  # a link stays a link
    with contextlib.suppress(OSError):
        if target.read_bytes() == data:
            return False
    made = None
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(made).chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        Path(made).replace(target)
    except OSError as error:
        if made is not None:
            with contextlib.suppress(OSError):
                Path(made).unlink()
        raise Stop(
            f"{clean(str(path))} cannot be written",
            found=os.strerror(error.errno) if error.errno else type(error).__name__,
            fix="the old lock, where there was one, is as it was",
        ) from None
    return True
