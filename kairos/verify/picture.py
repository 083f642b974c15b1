"""A plan as a Mermaid flowchart, with what is wrong between two steps marked where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kairos.enums import Severity
from kairos.plan import mermaid_nodes
from kairos.verify.layout import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.plan import TaskGraph
    from kairos.verify.edges.edge import Proof
    from kairos.verify.findings import Finding
    from kairos.verify.report import Report

__all__ = ["picture"]

_CODE_OF = {"refuted": "KRS102", "coerced": "KRS103", "unknown": "KRS104"}
_ASSUMED = "KRS105"  # proved, and so drawn plain
_RED, _AMBER, _GREY = "#c62828", "#b26a00", "#777777"
_LINES = {Severity.ERROR: (_RED, "2px"), Severity.WARNING: (_AMBER, "1px")}


class _Mark(NamedTuple):
    """What is said of an edge."""

    severity: Severity
    code: str


def picture(graph: TaskGraph, report: Report) -> str:
    """Return a Mermaid flowchart of a plan, in which the edges at fault bear their codes.

    Refuted edges are red; those that hold by conversion only, or are checked when they run, are
    dashed.  Inputs of the workflow are drawn where an edge from them is at fault.
    """
    marks = _marks(graph, report)
    inputs = list(dict.fromkeys(source for source, _ in marks if isinstance(source, str)))
    nodes = {name: f"i{i}" for i, name in enumerate(inputs)}
    lines = ["flowchart TD", *mermaid_nodes(graph.steps)]
    lines += [f'    {nodes[name]}(["{_quoted(name)}"])' for name in inputs]
    plain = [(d, i) for i, positions in enumerate(graph.dependencies) for d in positions]
    drawn = dict.fromkeys([*plain, *marks])
    styles: dict[Severity, list[int]] = {}
    for nth, edge in enumerate(drawn):
        source, target = edge
        start = nodes[source] if isinstance(source, str) else f"n{source}"
        found = marks.get(edge, [])
        lines.append(f"    {start} {_arrow(found)} n{target}")
        if found:
            styles.setdefault(found[0].severity, []).append(nth)
    lines += _styled(styles)
    lines += _faulty(graph, report)
    return "\n".join(lines) + "\n"


def _arrow(found: list[_Mark]) -> str:
    if not found:
        return "-->"
    codes = " ".join(dict.fromkeys(mark.code for mark in found))
    line = "-->" if found[0].severity is Severity.ERROR else "-.->"
    return f'{line}|"{codes}"|'


def _styled(styles: dict[Severity, list[int]]) -> Iterator[str]:
    for severity, edges in styles.items():
        color, width = _LINES.get(severity, (_GREY, "1px"))
        numbers = ",".join(map(str, edges))
        yield f"    linkStyle {numbers} stroke:{color},stroke-width:{width},color:{color}"


def _faulty(graph: TaskGraph, report: Report) -> Iterator[str]:
    """Frame the steps against which there is an error that belongs to no edge."""
    steps = {
        graph.index[finding.step]
        for finding in report.findings
        if finding.severity is Severity.ERROR
        and finding.step is not None
        and finding.step in graph.index
        and not [*_edges_of(finding, graph)]
    }
    if steps:
        yield f"    classDef faulty stroke:{_RED},stroke-width:2px"
        yield f"    class {','.join(f'n{i}' for i in sorted(steps))} faulty"


_Edges = dict[tuple[int | str, int], list[_Mark]]


def _marks(graph: TaskGraph, report: Report) -> _Edges:
    marks: _Edges = {}
    told: set[tuple[int | str, int]] = set()
    for finding in report.findings:
        if finding.code == _ASSUMED:
            continue
        for edge in _edges_of(finding, graph):
            marks.setdefault(edge, []).append(_Mark(finding.severity, finding.code))
            told.add(edge)
    for proof in report.proofs:
        code = _CODE_OF.get(proof.verdict.answer)
        for edge in _edges_of_proof(proof):
            if code is not None and edge not in told:  # allowed, or not worth a finding
                marks.setdefault(edge, []).append(_Mark(Severity.NOTE, code))
    return {edge: sorted(found, key=_gravest) for edge, found in marks.items()}


def _gravest(mark: _Mark) -> tuple[int, str]:
    return ([*Severity].index(mark.severity), mark.code)


def _edges_of(finding: Finding, graph: TaskGraph) -> Iterator[tuple[int | str, int]]:
    step = graph.index.get(finding.step or "")
    if finding.source is None or step is None:
        return
    sources = [graph.index[name] for name in finding.source.split(", ") if name in graph.index]
    if sources:
        yield from ((source, step) for source in sources)
    else:
        yield (finding.source, step)


def _edges_of_proof(proof: Proof) -> list[tuple[int | str, int]]:
    edge = proof.edge
    if edge.producers:
        return [(producer, edge.step) for producer in edge.producers]
    return [(edge.key, edge.step)] if edge.key else []


def _quoted(text: str) -> str:
    """Return text for a quoted label: Mermaid takes `#quot;` and numbers for characters."""
    return "".join(
        char if char.isalnum() or char in " _-.,:/()" else f"#{ord(char)};" for char in shown(text)
    )
