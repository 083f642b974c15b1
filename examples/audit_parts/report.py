"""One report out of what the checks found."""

from __future__ import annotations

import platform
from collections import Counter
from typing import TYPE_CHECKING

from audit_parts.files import UNVERIFIED
from audit_parts.models import (
    Finding,
    Report,
    Row,
    Severity,
    Skipped,
    Totals,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from audit_parts.models import (
        Distribution,
        FileCheck,
        FileTally,
        Found,
        LicenceCheck,
        RequirementCheck,
        StrayCheck,
    )

WORST_FIRST: tuple[Severity, ...] = ("violation", "warning", "note")
EDITABLE = "installed from a working folder, whose files no RECORD covers"
UNREAD = "its metadata cannot be read"


def assemble(
    found: Sequence[Found],
    distributions: Sequence[Distribution | None],
    requirements: RequirementCheck,
    licences: LicenceCheck,
    files: FileCheck,
    strays: StrayCheck,
    *,
    place: str,
    strict: bool,
    allowed: Iterable[str],
) -> Report:
    """Put the checks together: every distribution that was found is in it, read or not."""
    names = {
        where.path: one.name if one else _unread_name(where)
        for where, one in zip(found, distributions, strict=True)
    }
    unread = [where for where, one in zip(found, distributions, strict=True) if one is None]
    findings = [
        Finding(
            severity="violation",
            topic="metadata",
            path=where.path,
            message=UNREAD,
            fix=f"reinstall it, or delete {where.label}",
        )
        for where in unread
    ]
    findings += [
        Finding(severity="note", topic="file", path=one.path, message=EDITABLE)
        for one in distributions
        if one is not None and one.origin == "editable"
    ]
    findings += requirements.findings + licences.findings + files.findings + strays.findings
    order = {where.path: number for number, where in enumerate(found)}
    findings = [
        finding.model_copy(update={"distribution": names.get(finding.path, "")})
        for finding in sorted(
            findings,
            key=lambda one: (WORST_FIRST.index(one.severity), order.get(one.path, len(order))),
        )
    ]
    tallies = {tally.path: tally for tally in files.tallies}
    totals = _totals(len(found), len(unread), requirements, tallies.values(), findings)
    return Report(
        place=place,
        python=platform.python_version(),
        strict=strict,
        holds=not totals.violations and not (strict and totals.warnings),
        totals=totals,
        rows=_rows(found, distributions, requirements, licences, tallies, findings),
        findings=tuple(findings),
        skipped=_skipped(found, distributions, tallies),
        edges=requirements.edges,
        startup=tuple(
            line.model_copy(update={"owner": names.get(line.owner, "")}) for line in strays.startup
        ),
        allowed=tuple(sorted(allowed)),
    )


def _unread_name(found: Found) -> str:
    """Return what to call a distribution whose own name is not known."""
    return found.label.removesuffix(".dist-info").removesuffix(".egg-info")


def _totals(
    found: int,
    unread: int,
    requirements: RequirementCheck,
    tallies: Iterable[FileTally],
    findings: Iterable[Finding],
) -> Totals:
    files: Counter[str] = Counter()
    for tally in tallies:
        files.update(tally.model_dump(exclude={"path"}))
    severities = Counter(finding.severity for finding in findings)
    return Totals(
        found=found,
        read=found - unread,
        skipped=unread,
        requirements=requirements.evaluated,
        not_for_here=requirements.not_for_here,
        recorded=files["recorded"],
        hashed=files["hashed"],
        unhashed=files["unhashed"],
        unread=files["unread"],
        size=files["size"],
        faulty=files["faulty"],
        violations=severities["violation"],
        warnings=severities["warning"],
        notes=severities["note"],
    )


def _rows(
    found: Sequence[Found],
    distributions: Sequence[Distribution | None],
    requirements: RequirementCheck,
    licences: LicenceCheck,
    tallies: Mapping[str, FileTally],
    findings: Iterable[Finding],
) -> tuple[Row, ...]:
    bound = [edge for edge in requirements.edges if not edge.optional]
    needs = Counter(edge.source for edge in bound)
    needed = Counter(edge.target for edge in bound)
    licence = {row.path: row for row in licences.rows}
    state: dict[str, Severity] = {}
    for finding in findings:  # the worst comes first
        state.setdefault(finding.path, finding.severity)
    return tuple(
        Row(
            path=where.path,
            key=one.key if one else "",
            name=one.name if one else _unread_name(where),
            version=one.version if one else "",
            licence=licence[where.path].shown if one else "",
            standing=licence[where.path].standing if one else "unread",
            origin=one.origin if one else "",
            requires=needs[one.key] if one else 0,
            required_by=needed[one.key] if one else 0,
            recorded=tallies[where.path].recorded,
            hashed=tallies[where.path].hashed,
            state=state.get(where.path, "ok"),
        )
        for where, one in zip(found, distributions, strict=True)
    )


def _skipped(
    found: Sequence[Found],
    distributions: Sequence[Distribution | None],
    tallies: Mapping[str, FileTally],
) -> tuple[Skipped, ...]:
    """Return what the failure policy skipped.

    An egg-info is left out of the second list: it has no RECORD to begin with.
    """
    unread = [
        Skipped(path=where.path, label=where.label, step="parse")
        for where, one in zip(found, distributions, strict=True)
        if one is None
    ]
    unverified = [
        Skipped(path=where.path, label=where.label, step="inventory")
        for where in found
        if where.kind == "dist-info" and not tallies[where.path].recorded
    ]
    return (*unread, *unverified)


def with_reasons(report: Report, reasons: Mapping[tuple[str, str], str]) -> Report:
    """Return the report with the reason of each skip, by the step's name and the path.

    A step that reads a skipped item sees that it is missing; why it is missing stands in the
    run's record, which only whoever ran the workflow holds.
    """
    skipped = tuple(
        one.model_copy(update={"reason": reasons.get((one.step, one.path), "")})
        for one in report.skipped
    )
    findings = []
    for finding in report.findings:
        step = {UNREAD: "parse", UNVERIFIED: "inventory"}.get(finding.message, "")
        reason = reasons.get((step, finding.path))
        message = f"{finding.message}: {reason}" if reason else finding.message
        findings.append(finding.model_copy(update={"message": message}))
    return report.model_copy(update={"skipped": skipped, "findings": tuple(findings)})


def contradictions(report: Report) -> list[str]:
    """Return what in the report does not add up: nothing, in a report that can be believed."""
    totals = report.totals
    sums = {
        "found = read + skipped": totals.found == totals.read + totals.skipped,
        "one row for each found": len(report.rows) == totals.found,
        "recorded = hashed + unhashed + unread": totals.recorded
        == totals.hashed + totals.unhashed + totals.unread,
        "rows sum up to the totals": totals.recorded == sum(row.recorded for row in report.rows)
        and totals.hashed == sum(row.hashed for row in report.rows),
        "every finding is counted": len(report.findings)
        == totals.violations + totals.warnings + totals.notes,
        "every faulty file was seen": totals.faulty <= totals.recorded,
        "the verdict follows": report.holds
        == (totals.violations == 0 and not (report.strict and totals.warnings)),
    }
    return [claim for claim, true in sums.items() if not true]
