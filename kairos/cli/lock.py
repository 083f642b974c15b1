"""`kairos validate --lock FILE`: the contracts on record, and what has changed since.

Where there is no lock yet it is written; where there is one it is only read, unless `--update`
accepts what changed.  In a pipeline (CI is set) a lock that is missing is an error, since one
that is written there is thrown away and proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kairos.cli.output import Stop, clean, count
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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kairos.exceptions import KairosError
    from kairos.verify.lock import LockedWorkflow
    from kairos.workflow import Workflow

__all__ = ["Held", "LockOptions", "hold"]


class LockOptions(NamedTuple):
    """The options of a lock, as they were given."""

    file: str
    update: bool = False
    compatibility: Compatibility = Compatibility.FULL


class Held(NamedTuple):
    """What came of it.

    findings: for each workflow, in the order in which they were given.
    others:   of the lock itself, and of workflows in it that are gone.
    told:     what was written, in one line; None where nothing was.
    """

    findings: list[list[Finding]]
    others: list[Finding]
    told: str | None = None


def hold(
    options: LockOptions, workflows: Sequence[tuple[str, Workflow]], *, whole: bool = True
) -> Held:
    """Hold workflows, each given with its file, to a lock; write the lock where that is asked.

    `whole` says that these are all that their files have: a workflow of such a file that only
    the lock has is then gone.  A lock that cannot be read is a finding.  Raises Stop where it
    cannot be written, and for two workflows of one name; the old lock is then as it was.
    """
    path = Path(options.file)
    now = _now(path, workflows)
    try:
        before = _read(path)
    except LockError as error:
        if not options.update:
            return Held([[] for _ in workflows], [_unreadable(error, path)])
        before = {}
    if before is None and not options.update and _is_pipeline():
        return Held([[] for _ in workflows], [_missing(path)])
    if before is None or options.update:
        return _written(path, before or {}, now, workflows, whole=whole)
    return _compared(path, before, now, options, workflows, whole=whole)


def _now(path: Path, workflows: Sequence[tuple[str, Workflow]]) -> dict[str, LockedWorkflow]:
    found: dict[str, LockedWorkflow] = {}
    for file, workflow in workflows:
        if workflow.name in found:
            raise Stop(
                f"two workflows are called '{clean(workflow.name)}', and a lock knows them by name",
                expected="a name of its own for each workflow",
                found=clean(f"{found[workflow.name].get('module', '')} and {_seen(path, file)}"),
            )
        locked = lock_of(workflow.scene)
        locked["module"] = _seen(path, file)
        found[workflow.name] = locked
    return found


def _seen(path: Path, file: str) -> str:
    """Return a file as it is seen from the lock's folder: the same on every machine."""
    try:
        seen = os.path.relpath(Path(file).resolve(), path.parent.resolve())
    except (OSError, ValueError):  # on another drive
        return Path(file).name
    return Path(seen).as_posix()


def _read(path: Path) -> dict[str, LockedWorkflow] | None:
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


def _compared(
    path: Path,
    before: Mapping[str, LockedWorkflow],
    now: Mapping[str, LockedWorkflow],
    options: LockOptions,
    workflows: Sequence[tuple[str, Workflow]],
    *,
    whole: bool,
) -> Held:
    if before and now and before.keys().isdisjoint(now):
        return Held([[] for _ in workflows], [_of_another(path, before, now)])
    findings = []
    for _, workflow in workflows:
        locked = before.get(workflow.name)
        if locked is None:
            findings.append([_new(path, workflow)])
            continue
        found = changes(locked, now[workflow.name])
        findings.append(
            findings_of_changes(
                found,
                workflow.scene,
                compatibility=options.compatibility,
                where=workflow.place,
            )
        )
    gone = _gone(before, now) if whole else []
    return Held(findings, [_lost(path, name, options) for name in gone])


def _gone(before: Mapping[str, LockedWorkflow], now: Mapping[str, LockedWorkflow]) -> list[str]:
    files = {locked.get("module") for locked in now.values()}
    return [name for name in before if name not in now and before[name].get("module") in files]


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
        "there is no lock, and in a pipeline none is written",
        path,
        expected="the lock, committed beside the code",
        found="CI is set, and there is no such file",
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
        f"{path.name}: {message}",
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


def _written(
    path: Path,
    before: Mapping[str, LockedWorkflow],
    now: Mapping[str, LockedWorkflow],
    workflows: Sequence[tuple[str, Workflow]],
    *,
    whole: bool,
) -> Held:
    gone = set(_gone(before, now)) if whole else set()
    kept = {name: locked for name, locked in before.items() if name not in gone}
    text = lock_text(kept | dict(now))
    changed = _replace(path, text)
    told = f"{clean(path.name)}: {count(len(now), 'workflow')}"
    return Held([[] for _ in workflows], [], f"wrote {told}" if changed else f"{told}, as it was")


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
