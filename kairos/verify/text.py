"""Findings as text: where, what, both sides, how to mend it, and a last line that counts."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kairos.enums import Severity
from kairos.verify.layout import clipped, padded, painted, plain, shown, table, width_of, wrapped
from kairos.verify.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kairos.source import Place
    from kairos.verify.edges.edge import Coverage
    from kairos.verify.findings import Finding
    from kairos.verify.layout import Paint

__all__ = ["render", "render_counts", "render_report"]

_BOLD, _DIM, _RED, _YELLOW, _GREEN, _CYAN = ("1", "2", "31", "33", "32", "36")
_COLORS = {Severity.ERROR: _RED, Severity.WARNING: _YELLOW, Severity.NOTE: _CYAN}

_FIELDS = 12  # of one finding; a contract has hundreds
_ALIKE = 3  # notes that say the same of different steps
_NOTES = 12  # of one code
_WITNESS_LINE = 100  # characters, where the terminal does not say how wide it is
_WITNESS_LINES = 6
_TIMES = "\N{MULTIPLICATION SIGN}"
_SHOW_ALL = "show all with --all or --json"


def render(findings: Iterable[Finding], *, steps: int, ms: float, color: bool) -> str:
    """Return findings as text that ends in one line of counts.

    `steps` is how many were looked at, `ms` how long that took; `color` adds ANSI colours.
    Control and invisible characters appear as visible escapes, whoever wrote them.
    """
    return render_report(Report(tuple(findings), steps=steps, ms=ms), color=color)


def render_report(
    report: Report, *, color: bool, width: int | None = None, every: bool = False
) -> str:
    """Return a report as text: errors and warnings in full, notes in a line each, the counts.

    Lines are kept within `width` columns, as far as words allow; None is for what is no terminal.
    Many notes that are alike, and the fields of a finding beyond a dozen, are counted only, unless
    `every` is set.
    """
    paint = painted if color else plain
    grave = [finding for finding in report.findings if finding.severity is not Severity.NOTE]
    notes = [finding for finding in report.findings if finding.severity is Severity.NOTE]
    lines = [line for finding in grave for line in _block(finding, paint, width, every=every)]
    lines += _notes(notes, paint, width, every=every)
    lines += _counts(report, paint, width)
    return "\n".join(lines) + "\n"


def render_counts(report: Report, *, color: bool, width: int | None = None) -> str:
    """Return the last line of a report alone: how much was found, looked at and proved."""
    return "\n".join(_counts(report, painted if color else plain, width))


def _where(place: Place) -> str:
    path = Path(place.file)
    with contextlib.suppress(ValueError, OSError):  # elsewhere, or the current folder is gone
        path = path.relative_to(Path.cwd())
    return f"{path}:{place.line}:{place.column}"


def _head(finding: Finding, paint: Paint) -> list[str]:
    place = shown(_where(finding.where)) if finding.where else ""
    route = f"{finding.source} → {finding.step}" if finding.source else finding.step or ""
    return [
        part
        for part in (
            paint(place, _BOLD) if place else "",
            paint(finding.code, _COLORS[finding.severity]),
            shown(route),
        )
        if part
    ]


# --- what fails, and what is seldom meant


def _block(finding: Finding, paint: Paint, width: int | None, *, every: bool) -> Iterator[str]:
    mild = finding.severity is not Severity.ERROR
    head = _head(finding, paint)
    if mild:
        head.append(paint(finding.severity.value, _COLORS[finding.severity]))
    yield "  ".join(head)
    # both sides, field by field, are the message, unless it goes on to say what comes of what
    if not finding.details or ": " in finding.message:
        yield "  " + wrapped(shown(finding.message), _less(width, 2), "  ")
    if finding.details:
        yield from _fields(finding, width, every=every)
    else:
        yield from _sides(finding, paint, width)
    if finding.witness is not None:
        yield from _witness(finding.witness, paint, width, every=every)
    if finding.fix:
        yield f"  {paint('fix:', _GREEN)} " + wrapped(shown(finding.fix), _less(width, 7), " " * 7)


def _less(width: int | None, taken: int) -> int | None:
    return None if width is None else max(width - taken, 1)


def _fields(finding: Finding, width: int | None, *, every: bool) -> Iterator[str]:
    details = finding.details if every else finding.details[:_FIELDS]
    yield from table(details, width)
    if len(finding.details) > len(details):
        yield f"  and {len(finding.details) - len(details)} more fields"


def _sides(finding: Finding, paint: Paint, width: int | None) -> Iterator[str]:
    sides = [(k, v) for k, v in (("expected", finding.expected), ("found", finding.found)) if v]
    column = max((len(label) for label, _ in sides), default=0)
    for label, text in sides:
        told = wrapped(shown(text), _less(width, column + 4), " " * (column + 4))
        yield f"  {paint(padded(label, column), _DIM)}  {told}"


def _witness(text: str, paint: Paint, width: int | None, *, every: bool) -> Iterator[str]:
    room = max((width or _WITNESS_LINE) - len("  witness: "), 20)
    label = f"  {paint('witness:', _DIM)} "
    if every or width_of(shown(text)) <= room:
        yield label + shown(text)
        return
    entries = _entries(text)
    if entries is None:
        yield label + clipped(shown(text), room)
        return
    brackets, parts = entries
    yield label + brackets[0]
    for part in parts[:_WITNESS_LINES]:
        yield "    " + clipped(shown(part), room)
    if len(parts) > _WITNESS_LINES:
        yield f"    … and {len(parts) - _WITNESS_LINES} more"
    yield f"  {brackets[1]}"


def _entries(text: str) -> tuple[str, list[str]] | None:
    """Return the brackets of a JSON array or object and its entries, or None for anything else."""
    try:
        value = json.loads(text)
        if isinstance(value, dict):
            return "{}", [f"{_compact(key)}: {_compact(each)}" for key, each in value.items()]
        if isinstance(value, list):
            return "[]", [_compact(each) for each in value]
    except (ValueError, RecursionError):  # no JSON, or of a depth or length that no reader takes
        pass
    return None


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- what could not be told


def _notes(notes: list[Finding], paint: Paint, width: int | None, *, every: bool) -> Iterator[str]:
    if every:
        for note in notes:
            yield from _block(note, paint, width, every=True)
        return
    alike = Counter((note.code, note.message) for note in notes)
    rows: dict[str, list[str]] = {}
    told: Counter[str] = Counter()  # how many notes of a code the lines so far stand for
    for note in notes:
        count = alike[note.code, note.message]
        if not count or len(rows.setdefault(note.code, [])) >= _NOTES:
            continue
        if count > _ALIKE:
            alike[note.code, note.message] = 0
            head, tail = f"{note.code} {_TIMES} {count}  ", f"  ({_SHOW_ALL})"
            said = clipped(shown(note.message), _less(width, len(head) + len(tail)))
            line = f"{head}{said}{tail}"
        else:
            count = 1
            line = "  ".join([*_head(note, plain), shown(note.message)])
        told[note.code] += count
        rows[note.code].append(_tinted(clipped(line, width), note.code, paint))
    totals = Counter(note.code for note in notes)
    for code, lines in rows.items():
        yield from lines
        if totals[code] > told[code]:
            more = f"{code} {_TIMES} {totals[code] - told[code]} more  ({_SHOW_ALL})"
            yield _tinted(more, code, paint)


def _tinted(line: str, code: str, paint: Paint) -> str:
    return line.replace(code, paint(code, _CYAN), 1)


# --- the counts


def _counts(report: Report, paint: Paint, width: int | None) -> list[str]:
    counts = Counter(finding.severity for finding in report.findings)
    parts = [(_many(counts[each], each), _COLORS[each]) for each in Severity if counts[each]]
    parts += [
        ("" if report.findings else "no findings", _GREEN),
        (f"{len(report.suppressed)} allowed" if report.suppressed else "", ""),
        (_many(report.steps, "step"), ""),
        (_covered(report.coverage), ""),
        (f"{report.ms:.0f} ms", ""),
    ]
    lines: list[str] = []
    used = 0
    for text, style in parts:
        if not text:
            continue
        told = paint(text, style) if style else text
        used += len(text) + 3
        if lines and (width is None or used - 3 <= width):
            lines[-1] += f" · {told}"
        else:
            lines.append(told)
            used = len(text)
    return lines


def _covered(coverage: Coverage) -> str:
    if not coverage.edges:
        return ""
    edges = "edge" if coverage.edges == 1 else "edges"
    told = [f"{coverage.proved}/{coverage.edges} {edges} proved"]
    told += [
        f"{count} {what}"
        for count, what in (
            (coverage.assumed, "assuming declared keys"),
            (coverage.coerced, "by conversion"),
            (coverage.unknown, "at run time"),
            (coverage.refuted, "refuted"),
        )
        if count
    ]
    return ", ".join(told)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
