"""Findings as text: where, what, both sides, how to mend it, and a last line that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.enums import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from kairos.verify.findings import Finding

    Paint: TypeAlias = Callable[[str, str], str]

__all__ = ["render"]

_BOLD, _DIM, _RED, _YELLOW, _GREEN = ("1", "2", "31", "33", "32")


def render(findings: Iterable[Finding], *, steps: int, ms: float, color: bool) -> str:
    """Return findings as text that ends in one line of counts.

    `steps` is how many were looked at, `ms` how long that took; `color` adds ANSI colours.
    Control and invisible characters appear as visible escapes, whoever wrote them.
    """
    findings = list(findings)
    paint = _painted if color else _plain
    blocks = [_block(finding, paint) for finding in findings]
    return "\n".join([*blocks, _counts(findings, steps, ms, paint)]) + "\n"


def _block(finding: Finding, paint: Paint) -> str:
    error = finding.severity is Severity.ERROR
    head = [
        paint(_shown(str(finding.where)), _BOLD) if finding.where else "",
        paint(finding.code, _RED if error else _YELLOW),
        _shown(finding.step or ""),
        "" if error else paint("warning", _YELLOW),
    ]
    sides = [(label, text) for label, text in _sides(finding) if text]
    width = max((len(label) for label, _ in sides), default=0)
    lines = ["  ".join(part for part in head if part), f"  {_shown(finding.message)}"]
    lines += [f"  {paint(label.ljust(width), _DIM)}  {_shown(text)}" for label, text in sides]
    if finding.fix:
        lines.append(f"  {paint('fix:', _GREEN)} {_shown(finding.fix)}")
    return "\n".join(lines)


def _sides(finding: Finding) -> tuple[tuple[str, str | None], ...]:
    return (("expected", finding.expected), ("found", finding.found))


def _counts(findings: list[Finding], steps: int, ms: float, paint: Paint) -> str:
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = len(findings) - errors
    parts = [
        paint(_many(errors, "error"), _RED) if errors else "",
        paint(_many(warnings, "warning"), _YELLOW) if warnings else "",
        "" if findings else paint("no findings", _GREEN),
        _many(steps, "step"),
        f"{ms:.0f} ms",
    ]
    return " · ".join(part for part in parts if part)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _plain(text: str, _style: str) -> str:
    return text


def _painted(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m"


def _shown(text: str) -> str:
    """Return text on one line; what is not printable could move the cursor, or hide words."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )
