"""The report as text: a table for a terminal, aligned columns anywhere else."""

from __future__ import annotations

import importlib.util
from collections import Counter
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from audit_parts.wording import count, plain, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from audit_parts.models import Document, Finding, Report, Row

FEW_ROWS = 60  # beyond these, only the distributions with something to tell are listed
FEW_FINDINGS = 30
FEW_FILES = 3
COLUMNS = ("Distribution", "Version", "Licence", "Requires", "Files hashed", "Result")
RIGHT = {"Requires", "Files hashed"}
STYLES = {"violation": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}


def show(document: Document, stream: TextIO, *, following: str) -> None:
    """Print the report; `following` says what to type next."""
    if stream.isatty() and importlib.util.find_spec("rich") is not None:
        _show_rich(document, stream, following)
        return
    for line in lines(document, following):
        print(line, file=stream)


def lines(document: Document, following: str) -> Iterator[str]:
    """Yield the report in plain text."""
    report = document.report
    rows, omitted = _rows(report)
    if rows:
        yield from _aligned([COLUMNS, *map(_cells, rows)])
    yield from omitted
    if rows or omitted:
        yield ""
    findings, more = _findings(report)
    for finding, fix in findings:
        yield f"{finding.severity:<9}  {_about(finding)}"
        if fix:
            yield f"{'':<9}  fix: {fix}"
    yield from more
    if findings or more:
        yield ""
    yield closing(document, following)


def closing(document: Document, following: str) -> str:
    """Return the last line: the verdict, what was checked, how long it took, what comes next."""
    report, totals = document.report, document.report.totals
    verdict = "The policy holds" if report.holds else "The policy does not hold"
    skipped = f" ({totals.skipped:,} unreadable)" if totals.skipped else ""
    checked = (
        f"{count(totals.found, 'distribution')}{skipped}, "
        f"{count(totals.requirements, 'requirement')}, "
        f"{count(totals.hashed, 'file')} hashed ({size(totals.size)})"
    )
    weights = ((totals.violations, "violation"), (totals.warnings, "warning"))
    outcome = ", ".join(count(number, noun) for number, noun in weights if number)
    outcome = outcome or "nothing to object to"
    return f"{verdict}: {checked} in {seconds(document.seconds)}; {outcome}. {following}"


def _rows(report: Report) -> tuple[Sequence[Row], list[str]]:
    if len(report.rows) <= FEW_ROWS:
        return report.rows, []
    rows = [row for row in report.rows if row.state not in {"ok", "note"}][:FEW_ROWS]
    others = len(report.rows) - len(rows)
    return rows, [f"... and {count(others, 'distribution')} more; --html and --json list them all"]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        plain(row.name, 40),
        plain(row.version, 24) or "-",
        _licence(row),
        f"{row.requires:,}",
        f"{row.hashed:,}" if row.recorded else "-",
        row.state,
    )


def _licence(row: Row) -> str:
    if row.standing == "unread":
        return "-"
    return plain(row.licence, 32) + ("" if row.standing == "allowed" else f" ({row.standing})")


def _aligned(table: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        yield "  ".join(
            cell.rjust(width) if name in RIGHT else cell.ljust(width)
            for cell, width, name in zip(cells, widths, COLUMNS, strict=True)
        ).rstrip()


def _findings(report: Report) -> tuple[list[tuple[Finding, str]], list[str]]:
    """Return the findings to be listed, and a line about the others.

    Of one distribution's files only a few are listed, and a fix that several findings share is
    given after the last of them.
    """
    grave = [finding for finding in report.findings if finding.severity != "note"]
    kept = []
    alike: Counter[tuple[str, str]] = Counter()
    for finding in grave:
        alike[finding.path, finding.topic] += 1
        if finding.topic != "file" or alike[finding.path, finding.topic] <= FEW_FILES:
            kept.append(finding)
    kept = kept[:FEW_FINDINGS]
    shown = []
    for finding, after in zip_longest(kept, kept[1:]):
        shared = after is not None and (finding.path, finding.fix) == (after.path, after.fix)
        shown.append((finding, "" if shared else plain(finding.fix, 400)))
    parts = []
    if more := len(grave) - len(shown):
        parts.append(count(more, "more finding"))
    if report.totals.notes:
        parts.append(count(report.totals.notes, "note"))
    return shown, [f"... and {' and '.join(parts)}; --html and --json list them"] if parts else []


def _about(finding: Finding) -> str:
    name, message = plain(finding.distribution, 60), plain(finding.message, 600)
    return f"{name}: {message}" if name else message


def _show_rich(document: Document, stream: TextIO, following: str) -> None:
    from rich import box  # noqa: PLC0415 - an extra
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=stream, highlight=False)
    report = document.report
    rows, omitted = _rows(report)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        justify: Any = "right" if name in RIGHT else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in RIGHT)
    for row in rows:
        # Text, and never a string: markup inside somebody's metadata is not ours to obey.
        cells = [Text(cell) for cell in _cells(row)]
        cells[-1].stylize(STYLES[row.state])
        if row.standing == "refused":
            cells[2].stylize(STYLES["violation"])
        elif row.standing == "unclear":
            cells[2].stylize(STYLES["warning"])
        table.add_row(*cells)
    if rows:
        console.print(table)
    findings, more = _findings(report)
    for line in omitted:
        console.print(Text(line, style="dim"))
    listed = Table.grid(padding=(0, 2))
    listed.add_column(no_wrap=True)
    listed.add_column(overflow="fold")
    for finding, fix in findings:
        listed.add_row(Text(finding.severity, STYLES[finding.severity]), Text(_about(finding)))
        if fix:
            listed.add_row("", Text(f"fix: {fix}", style="dim"))
    console.print(listed)
    for line in more:
        console.print(Text(line, style="dim"))
    verdict, _, rest = closing(document, following).partition(": ")
    style = "bold green" if report.holds else "bold red"
    console.print(Text.assemble("\n", (verdict, style), f": {rest}"))
