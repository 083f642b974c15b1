"""Findings as SARIF 2.1.0, as a code-scanning page takes them.

The format is OASIS's; what GitHub makes of it is in its "SARIF support for code scanning".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from kairos._version import __version__
from kairos.source import Place
from kairos.verify.findings import CODES, Code, Finding
from kairos.verify.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Examined", "Unread", "sarif_log"]

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT = "%SRCROOT%"
_FINGERPRINT = "kairosFinding/v1"
_SMALL_WORDS = {"a", "an", "the"}
_SAFETY = {"KRS012", "KRS220"}  # what a page lists among security alerts
_SCORE = "8.0"  # of ten, as CVSS counts: high
_RULES = {code: nth for nth, code in enumerate(CODES)}


class Examined(NamedTuple):
    """A report for the log: of the workflow `name`, declared at `place` in `file`.

    `places` are those of its steps by name.
    """

    name: str
    report: Report
    file: str
    place: Place | None = None
    places: Mapping[str, Place | None] = {}


class Unread(NamedTuple):
    """A module that could not be looked at, and why."""

    message: str
    file: str | None = None
    line: int | None = None


def sarif_log(
    examined: Iterable[Examined],
    *,
    root: Path,
    unread: Sequence[Unread] = (),
    home: str | None = None,
) -> dict[str, Any]:
    """Return a SARIF log with one run.

    Files below `root` are named relative to it, as `%SRCROOT%`.  `home` is the address of the
    project's repository, where each rule's page is; None leaves the addresses out.  What a comment
    allows is a result that is suppressed in its source.
    """
    driver: dict[str, Any] = {
        "name": "kairos",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(code, meaning, home) for code, meaning in CODES.items()],
    }
    if home:
        driver["informationUri"] = home
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {
                    _ROOT: {"description": {"text": "The root of the repository."}}
                },
                "invocations": [_invocation(unread, root)],
                "results": [*_results(examined, root)],
            }
        ],
    }


# --- the rules


def _rule(code: str, meaning: Code, home: str | None) -> dict[str, Any]:
    title = f"{meaning.title[:1].upper()}{meaning.title[1:]}"
    page = f"docs/findings/{code}.md"
    address = f"{home}/blob/main/{page}" if home else None
    told = f"{title}. What it means, an example and how to mend it: {address or page}"
    linked = f"[{code}]({address})" if address else f"`{page}`"
    problem = {"note": "recommendation"}.get(meaning.severity, meaning.severity.value)
    tags: dict[str, Any] = {
        "tags": ["contracts", "correctness"],
        "precision": "very-high",
        "problem.severity": problem,
    }
    if code in _SAFETY:
        tags |= {"tags": ["contracts", "security"], "security-severity": _SCORE}
    rule = {
        "id": code,
        "name": _name_of(meaning.title),
        "shortDescription": {"text": title},
        "fullDescription": {"text": f"{title}."},
        "help": {
            "text": told,
            "markdown": f"{title}. What it means, an example and how to mend it: {linked}.",
        },
        "defaultConfiguration": {"level": meaning.severity.value},
        "properties": tags,
    }
    return rule | ({"helpUri": address} if address else {})


def _name_of(title: str) -> str:
    words = [word for word in re.findall(r"\w+", title) if word not in _SMALL_WORDS]
    return "".join(word[:1].upper() + word[1:] for word in words)


# --- the results


def _results(examined: Iterable[Examined], root: Path) -> Iterator[dict[str, Any]]:
    seen: Counter[str] = Counter()
    for each in examined:
        reasons: list[tuple[Finding, str | None]] = [(f, None) for f in each.report.findings]
        reasons += each.report.suppressed
        for finding, reason in reasons:
            mark = _fingerprint(finding, each, root)
            seen[mark] += 1
            yield _result(finding, reason, f"{mark}:{seen[mark]}", each, root)


def _result(
    finding: Finding, reason: str | None, mark: str, each: Examined, root: Path
) -> dict[str, Any]:
    source = each.places.get(finding.source or "")
    location = _location(finding.where or each.place, each.file, root)
    if finding.step is not None:
        location["logicalLocations"] = [
            {"name": finding.step, "fullyQualifiedName": f"{each.name}.{finding.step}"}
        ]
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": _RULES[finding.code],
        "level": finding.severity.value,
        "message": {"text": _message(finding, linked=source is not None)},
        "locations": [location],
        "partialFingerprints": {_FINGERPRINT: mark},
    }
    if source is not None:
        related = _location(source, each.file, root)
        result["relatedLocations"] = [
            {
                "id": 1,
                **related,
                "message": {"text": _sayable(f"{finding.source} is declared here")},
            }
        ]
    if reason is not None:
        result["suppressions"] = [
            {"kind": "inSource", "status": "accepted", "justification": _sayable(reason)}
        ]
    if finding.witness is not None:
        result["properties"] = {"witness": _sayable(finding.witness)}
    return result


def _message(finding: Finding, *, linked: bool) -> str:
    """Return all that a finding says; what comes from is a link to its place.

    Braces stay as they are: the pages that show such logs print doubled ones as they stand.
    """
    source = f"[{finding.source}](1)" if linked else finding.source
    route = (
        f"{source} → {finding.step}: " if source else f"{finding.step}: " if finding.step else ""
    )
    lines = [f"{route}{finding.message}."]
    lines += [f"{path}: {found}, {expected}" for path, found, expected in finding.details]
    if not finding.details:
        sides = (("expected", finding.expected), ("found", finding.found))
        lines += [f"{label}: {side}" for label, side in sides if side]
    lines += [f"witness: {finding.witness}"] if finding.witness is not None else []
    lines += [f"fix: {finding.fix}"] if finding.fix else []
    return _sayable("\n".join(lines))


def _sayable(text: str) -> str:
    """Return text that any JSON reader takes: a lone surrogate is none."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _fingerprint(finding: Finding, each: Examined, root: Path) -> str:
    """Return what stays the same when lines move, and when both sides change."""
    uri, _ = _uri(finding.where.file if finding.where else each.file, root)
    parts = (finding.code, uri, each.name, finding.source or "", finding.step or "")
    return sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]


# --- places


def _location(place: Place | None, file: str, root: Path) -> dict[str, Any]:
    if place is None:
        return {"physicalLocation": _physical(file, 1, 1, root)}
    return {"physicalLocation": _physical(place.file, place.line, place.column, root)}


def _physical(file: str, line: int, column: int, root: Path) -> dict[str, Any]:
    uri, below = _uri(file, root)
    where = {"uri": uri, "uriBaseId": _ROOT} if below else {"uri": uri}
    return {"artifactLocation": where, "region": {"startLine": line, "startColumn": column}}


def _uri(file: str, root: Path) -> tuple[str, bool]:
    """Return the address of a file, and whether it is relative to the root."""
    path = Path(file)
    try:
        path = path.resolve() if path.is_absolute() else (Path.cwd() / path).resolve()
        if path.is_relative_to(root):
            return quote(_sayable(path.relative_to(root).as_posix())), True
        return PurePath(path).as_uri(), False
    except (OSError, ValueError, UnicodeError):
        return quote(_sayable(file)), False


def _invocation(unread: Sequence[Unread], root: Path) -> dict[str, Any]:
    invocation: dict[str, Any] = {"executionSuccessful": not unread}
    if unread:
        invocation["toolExecutionNotifications"] = [_notification(each, root) for each in unread]
    return invocation


def _notification(unread: Unread, root: Path) -> dict[str, Any]:
    told: dict[str, Any] = {"level": "error", "message": {"text": _sayable(unread.message)}}
    if unread.file is not None:
        place = _physical(unread.file, unread.line or 1, 1, root)
        told["locations"] = [{"physicalLocation": place}]
    return told
