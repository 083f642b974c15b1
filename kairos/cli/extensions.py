"""`kairos extensions`: what this machine has, by group."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kairos.cli.lines import marks_for
from kairos.cli.output import Stop, as_json, clean, give
from kairos.exceptions import did_you_mean
from kairos.extensions import GROUPS, extensions
from kairos.redaction.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kairos.extensions import Extension

__all__ = ["list_extensions"]


def list_extensions(group: str | None, allow: Sequence[str], *, document: bool) -> int:
    """Print what is offered and return the exit code.  Raises Stop for a group that is none."""
    found = [one for each in _groups(group) for one in extensions(each, allowlist=allow or None)]
    if document:
        _document(found)
        return 0
    mark = f"{marks_for(sys.stdout).done} " if allow else ""
    rows = [_row(one, found, mark) for one in found]
    if not rows:
        give(sys.stdout, "nothing is offered")
        return 0
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    before = None
    for one, row in zip(found, rows, strict=True):
        if one.group != before:
            give(sys.stdout, ("\n" if before else "") + one.group)
            before = one.group
        name, offered, value = row
        give(sys.stdout, f"  {name:{widths[0]}}  {offered:{widths[1]}}  {value}")
    return 0


def _groups(group: str | None) -> list[str]:
    if group is None:
        return list(GROUPS)
    full = group if group.startswith("kairos.") else f"kairos.{group}"
    if full in GROUPS:
        return [full]
    names = [each.removeprefix("kairos.") for each in GROUPS]
    raise Stop(
        f"there is no group '{clean(group)}'",
        expected=", ".join(names),
        fix=did_you_mean(group, names),
    )


def _row(one: Extension, found: Sequence[Extension], mark: str) -> tuple[str, str, str]:
    named = mark if one.allowed else " " * len(mark)
    return (
        named + visible(_said_as(one, found)),
        visible(f"{one.distribution} {one.version}".strip()),
        visible(one.value),
    )


def _said_as(one: Extension, found: Sequence[Extension]) -> str:
    """Return the shortest name that means this one and no other."""
    others = [each for each in found if each[:2] == one[:2] and each is not one]
    return one.full_name if others and not one.first_party else one.name


def _document(found: Sequence[Extension]) -> None:
    told = [
        {**one._asdict(), "full_name": one.full_name, "named": _said_as(one, found)}
        for one in found
    ]
    give(sys.stdout, as_json({"version": 1, "extensions": told}, sys.stdout))
