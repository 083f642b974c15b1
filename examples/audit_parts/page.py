"""The report as one HTML page that needs nothing else: no script, no font, no request.

Everything in it that came out of a package's metadata is escaped, and a content security policy
in the page forbids whatever might slip through.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from audit_parts.drawing import Link, Node, draw
from audit_parts.wording import count, plain, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from audit_parts.models import Document, Edge, Finding, Report, Row, RunStep

STYLE = Path(__file__).with_name("page.css")
CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
FEW = 4  # findings about one thing that are shown before the reader asks for more
LEGEND = (
    ("required", ""),
    ("asked for by an extra", "optional"),
    ("not met", "unmet"),
)


def page(document: Document) -> str:
    """Return the whole page."""
    report = document.report
    sections = (
        _header(document),
        _findings(report),
        _skipped(report),
        _dependencies(report),
        _distributions(report.rows),
        _startup(report),
        _run(document.run),
        _policy(report),
        _footer(document),
    )
    style = STYLE.read_text("utf-8").replace("</", "")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{CSP}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{_verdict(report)}: dependency audit</title>"
        f"<style>\n{style}</style></head>\n<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _text(value: object, limit: int = 400) -> str:
    return escape(plain(str(value), limit))


def _verdict(report: Report) -> str:
    return "The policy holds" if report.holds else "The policy does not hold"


def _header(document: Document) -> str:
    report, totals = document.report, document.report.totals
    unread = f"{count(totals.skipped, 'could not be read', 'could not be read')}"
    tiles = (
        ("Distributions", f"{totals.found:,}", unread if totals.skipped else "all of them read"),
        (
            "Requirements",
            f"{totals.requirements:,}",
            f"{totals.not_for_here:,} more do not apply here"
            if totals.not_for_here
            else "all of them apply here",
        ),
        ("Files hashed", f"{totals.hashed:,}", f"{totals.unhashed:,} without a recorded hash"),
        ("Read and hashed", size(totals.size), f"in {seconds(document.seconds)}"),
        (
            "Violations",
            f"{totals.violations:,}",
            f"{count(totals.warnings, 'warning')}, {count(totals.notes, 'note')}",
        ),
    )
    return (
        f'<header class="{"holds" if report.holds else "fails"}">'
        f'<p class="soft">Dependency audit</p><h1>{_verdict(report)}</h1>'
        f'<p class="soft"><code>{_text(report.place)}</code>, Python {_text(report.python)}, '
        f"{_text(document.created)}</p></header>"
        '<dl class="tiles">'
        + "".join(
            f'<div class="tile"><dt>{name}</dt><dd>{value}<small>{detail}</small></dd></div>'
            for name, value, detail in tiles
        )
        + "</dl>"
    )


def _section(title: str, about: str, body: str) -> str:
    return f'<section><h2>{title}</h2><p class="about">{about}</p>{body}</section>'


def _findings(report: Report) -> str:
    grave = [finding for finding in report.findings if finding.severity != "note"]
    notes = [finding for finding in report.findings if finding.severity == "note"]
    about = "A violation breaks the policy. A warning is something that nobody could decide"
    about += " but you" + ("; here it breaks the policy, too." if report.strict else ".")
    body = _finding_list(grave) if grave else "<p>Nothing to object to.</p>"
    if notes:
        summary = f"<summary>{count(len(notes), 'note')}</summary>"
        body += f"<details>{summary}{_finding_list(notes)}</details>"
    return _section("Findings", about, f'<div class="card">{body}</div>')


def _finding_list(findings: Iterable[Finding]) -> str:
    """Return the findings as a list, with those that share a distribution and a fix together."""
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        alike.setdefault((one.severity, one.path, one.topic, one.fix), []).append(one)
    return '<ul class="findings">' + "".join(map(_alike, alike.values())) + "</ul>"


def _alike(findings: Sequence[Finding]) -> str:
    first = findings[0]
    name = f"<strong>{_text(first.distribution)}</strong> " if first.distribution else ""
    said = [_text(finding.message, 600) for finding in findings]
    what = said[0] if len(said) == 1 else "<br>".join(said[:FEW])
    if rest := said[FEW:]:
        summary = f"<summary>and {len(rest)} more</summary>"
        what += f"<details>{summary}{'<br>'.join(rest)}</details>"
    fix = f'<div class="fix">{_text(first.fix)}</div>' if first.fix else ""
    return (
        f'<li><span class="badge {first.severity}">{first.severity}</span>'
        f'<div class="what">{name}{"<br>" if name and len(said) > 1 else ""}{what}</div>{fix}</li>'
    )


def _skipped(report: Report) -> str:
    if not report.skipped:
        return ""
    words = {"parse": "metadata", "inventory": "RECORD"}
    rows = "".join(
        f'<tr><td class="name">{_text(one.label)}</td><td>{words[one.step]}</td>'
        f"<td>{_text(one.reason or 'not recorded')}</td></tr>"
        for one in report.skipped
    )
    about = "These could not be read. The failure policy skipped each one and the audit went on;"
    about += " nothing below speaks for them."
    head = "<th>Found as</th><th>Skipped while reading its</th><th>Because</th>"
    return _section("Skipped", about, _table(head, rows))


def _table(head: str, rows: str) -> str:
    return (
        f'<div class="card scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _dependencies(report: Report) -> str:
    edges = report.edges
    joined = {key for edge in edges for key in (edge.source, edge.target)}
    rows = {row.key: row for row in reversed(report.rows) if row.key}
    nodes = [
        Node(
            key=key,
            title=row.name,
            subtitle=row.version,
            tone=row.state,
            tip=f"{row.name} {row.version}: {row.licence}; requires {row.requires}, "
            f"required by {row.required_by}",
        )
        for key, row in sorted(rows.items())
        if key in joined
    ]
    nodes += [
        Node(key=key, title=key, subtitle="not installed", tone="absent")
        for key in sorted(joined - rows.keys())
    ]
    if not nodes:
        return ""
    alone = sorted((row.name for key, row in rows.items() if key not in joined), key=str.lower)
    chips = "".join(f"<li>{_text(name)}</li>" for name in alone)
    body = (
        '<div class="card"><div class="scroll">'
        + draw(nodes, list(_links(edges)), "Which distribution requires which")
        + f'</div><div class="legend">{"".join(_legend())}</div>'
        + (f'<ul class="chips"><li>unconnected:</li>{chips}</ul>' if alone else "")
        + "</div>"
    )
    about = "Each points at what it requires. Point at one to see its own lines."
    return _section("Dependencies", about, body)


def _links(edges: Iterable[Edge]) -> Iterator[Link]:
    for edge in edges:
        tone = "optional" if edge.optional else "required" if edge.met else "unmet"
        tip = f"{edge.source} requires {edge.target} {edge.demand}".rstrip()
        yield Link(edge.source, edge.target, tone, tip, loose=edge.optional)


def _legend() -> Iterator[str]:
    for name, tone in LEGEND:
        line = f'<path class="link {tone}" d="M0 5H30"/>'
        yield f'<span><svg width="30" height="10" aria-hidden="true">{line}</svg>{name}</span>'


def _distributions(rows: Sequence[Row]) -> str:
    head = "".join(
        f'<th class="number">{name}</th>' if name in _NUMBERS else f"<th>{name}</th>"
        for name in ("Name", "Version", "Licence", "From", *_NUMBERS, "Result")
    )
    about = "Every distribution that was found, in the order in which Python finds them."
    return _section("Distributions", about, _table(head, "".join(map(_row, rows))))


_NUMBERS = ("Requires", "Required by", "Files", "Hashed")


def _row(row: Row) -> str:
    standing = ""
    if row.standing in {"refused", "unclear"}:
        standing = f' <span class="badge {row.standing}">{row.standing}</span>'
    numbers = (row.requires, row.required_by, row.recorded, row.hashed)
    return (
        f'<tr><td class="name">{_text(row.name)}</td><td class="mono">{_text(row.version)}</td>'
        f"<td>{_text(row.licence)}{standing}</td><td>{_text(row.origin)}</td>"
        + "".join(f'<td class="number">{number:,}</td>' for number in numbers)
        + f'<td><span class="badge {row.state}">{row.state}</span></td></tr>'
    )


def _startup(report: Report) -> str:
    if not report.startup:
        return ""
    rows = "".join(
        f'<tr><td class="name">{_text(line.file)}</td><td>{_text(line.owner or "nobody")}</td>'
        f"<td><code>{_text(line.code)}</code></td></tr>"
        for line in report.startup
    )
    about = "Lines of .pth files that Python executes whenever it starts."
    head = "<th>File</th><th>Belongs to</th><th>Line</th>"
    return _section("Code that runs at every start", about, _table(head, rows))


def _run(steps: Sequence[RunStep]) -> str:
    if not steps:
        return ""
    nodes = [
        Node(
            key=step.name,
            title=step.name,
            subtitle=_step_result(step),
            tone="warning" if step.skipped else "ok" if step.status == "completed" else "violation",
            tip=f"{step.name}: {step.status}, {count(step.attempts, 'attempt')}, "
            f"{step.milliseconds:.1f} ms",
        )
        for step in steps
    ]
    links = [Link(before, step.name, "required") for step in steps for before in step.after]
    svg = draw(nodes, links, "The steps of the run and what each waited for")
    about = "The workflow that made this report: each step, how often it ran, and how long."
    return _section("How it was made", about, f'<div class="card scroll">{svg}</div>')


def _step_result(step: RunStep) -> str:
    items = "" if step.items is None else f"{count(step.items, 'item')}, "
    skipped = f"{step.skipped:,} skipped, " if step.skipped else ""
    return f"{items}{skipped}{step.milliseconds:.0f} ms"


def _policy(report: Report) -> str:
    chips = "".join(f"<li>{_text(name)}</li>" for name in report.allowed)
    summary = f"<summary>{count(len(report.allowed), 'allowed licence')}</summary>"
    about = "Every requirement that applies here is met; every file is what was installed; every"
    about += " licence is one of these, or a choice among them."
    body = f'<details>{summary}<ul class="chips">{chips}</ul></details>'
    return _section("The policy", about, f'<div class="card">{body}</div>')


def _footer(document: Document) -> str:
    totals = document.report.totals
    return (
        f"<footer>Checked {count(totals.recorded, 'recorded file')}: {totals.hashed:,} hashed, "
        f"{totals.unhashed:,} without a hash to compare with (RECORD itself, and what was compiled"
        f" after installing), {totals.unread:,} missing or of another size. A hash in RECORD"
        " vouches for a file only as far as RECORD itself has not been rewritten.</footer>"
    )
