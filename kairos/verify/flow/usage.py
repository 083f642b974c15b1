"""What steps say that they read, against what their code is seen to ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.enums import Severity
from kairos.exceptions import did_you_mean
from kairos.source import defined_at
from kairos.verify.code import function_of
from kairos.verify.findings import Finding, found_in
from kairos.verify.flow.keys import listed
from kairos.verify.scene import signature_of_when
from kairos.verify.usages import usage_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.step import Step
    from kairos.verify.code import Usage
    from kairos.verify.scene import Scene

__all__ = ["find_unlike_usage"]


def find_unlike_usage(scene: Scene) -> Iterator[Finding]:
    """Find keys that a step may read and never asks for, and keys it asks for and may not read.

    Nothing is said of a step whose code asks for anything in a way that cannot be followed.
    """
    for step in scene.graph.steps:
        if step.read_keys is None or (step.signature.typed and step.signature.context is None):
            continue
        usage = usage_in(step)
        if usage is None:
            continue
        refused = [
            key
            for key in (*usage.needs, *usage.asks)
            if key not in step.read_keys and key not in usage.sets and key not in step.write_keys
        ]
        if refused and (asked := signature_of_when(step)) is not None:
            refused = [key for key in refused if key not in asked.reads]  # see KRS211
        if refused:
            yield _refused(step, usage, refused)
        unused = [
            key
            for key in dict.fromkeys(step.read_keys)
            if key not in usage.keys and key != step.config.foreach
        ]
        if unused:
            yield _unused(step, unused, refused)


def _refused(step: Step, usage: Usage, keys: list[str]) -> Finding:
    key = keys[0]
    line = usage.needs.get(key) or usage.asks.get(key)
    return found_in(
        step,
        "KRS223",
        f"asks for {_quoted(keys)}, which it may not read{_at(step, line)}",
        # an error that is caught need not end the attempt
        severity=Severity.WARNING if usage.guarded else None,
        expected=", ".join(step.read_keys or ()) or "no key at all",
        found=listed(keys),
        fix=did_you_mean(key, step.read_keys or ()) or f"add '{key}' to its read_keys",
    )


def _unused(step: Step, keys: list[str], refused: list[str]) -> Finding:
    kept = [key for key in dict.fromkeys((*(step.read_keys or ()), *refused)) if key not in keys]
    return found_in(
        step,
        "KRS219",
        f"may read {_quoted(keys)}, and its code never asks for {_it(keys)}",
        expected="the keys that it uses, and no others",
        found=f"read_keys={[*dict.fromkeys(step.read_keys or ())]}"
        if len(step.read_keys or ()) <= 8  # noqa: PLR2004 - one line
        else f"{len(step.read_keys or ())} keys, of which {len(keys)} are not used",
        fix=f"write read_keys={kept}"
        if len(kept) <= 8  # noqa: PLR2004 - one line
        else f"take {_quoted(keys)} out of its read_keys",
    )


def _at(step: Step, line: int | None) -> str:
    function = function_of(step.action)
    place = None if function is None else defined_at(function)
    return f" (line {line})" if line and place else ""


def _it(keys: list[str]) -> str:
    return "it" if len(keys) == 1 else "them"


def _quoted(keys: list[str]) -> str:
    return listed([f"'{key}'" for key in keys])
