"""Findings that a comment in the source allows, with its reason.

`# kairos: allow KRS102, KRS104: the reason` stands on a line of the declaration that a finding
points at (any line of a call; of a function its decorators and its head), or alone above it.  An
allowance without its reason is a finding, and so is one that allows nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kairos.exceptions import did_you_mean
from kairos.source import Place, place_at
from kairos.verify.comments import Commented, commented
from kairos.verify.findings import CODES, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kairos.step import Step

__all__ = ["allowed"]

_ALLOWANCE = re.compile(
    r"\s*(?P<word>\w+)\s*(?P<codes>(?:KRS\d+\b[\s,]*)*)(?P<colon>:?)(?P<reason>.*)",
    re.IGNORECASE | re.DOTALL,
)
_CODE = re.compile(r"KRS\d+", re.IGNORECASE)
_NEXT_COMMENT = re.compile(r"\s#\s")  # what follows is for another tool
_LONGEST_REASON = 500
_WORD = "allow"

# What may be at fault elsewhere: in another workflow, or against a lock that is not looked at.
_ELSEWHERE = re.compile(r"KRS12[1-3]|KRS302")

# What no comment can allow: a plan that cannot run, what safety refuses, a bad allowance.
_NEVER = re.compile(r"KRS00\d|KRS012|KRS301")


@dataclass
class _Allowance:
    """One comment; `used` are the codes of the findings that it does allow."""

    place: Place
    codes: tuple[str, ...]
    reason: str
    word: str
    step: str | None = None
    used: set[str] = field(default_factory=set)

    def allows(self, code: str) -> bool:
        stated = self.word == _WORD and bool(self.reason)
        fits = stated and code in self.codes and not _NEVER.fullmatch(code)
        if fits:
            self.used.add(code)
        return fits


def allowed(
    steps: Sequence[Step], findings: Iterable[Finding]
) -> tuple[list[Finding], list[tuple[Finding, str]]]:
    """Return what stays of findings, and what a comment allows, each with its reason.

    What is wrong with the comments themselves is added to what stays.  Only the files are read
    in which a step or a finding is declared, each once.
    """
    findings = list(findings)
    comments = _Comments(steps, findings)
    if not comments:
        return findings, []
    kept: list[Finding] = []
    suppressed: list[tuple[Finding, str]] = []
    # what is said against an allowance can itself be allowed, so it comes last
    for finding in findings:
        comments.judge(finding, kept, suppressed)
    for fault in comments.faults():
        comments.judge(fault, kept, suppressed)
    return kept, suppressed


class _Comments:
    """The allowances of the files that a plan points at, by the places that they belong to."""

    def __init__(self, steps: Sequence[Step], findings: Iterable[Finding]) -> None:
        self._files: dict[str, Commented | None] = {}
        self._known: dict[tuple[str, int], _Allowance] = {}
        self._of: dict[tuple[str, int, int], list[_Allowance]] = {}
        # a finding may point at the function that a step calls: its comment may stand at either
        self._places = {step.name: step.place for step in reversed(steps)}
        self._add((step.place, step.name) for step in steps)
        self._add((finding.where, finding.step) for finding in findings)
        for file, source in self._files.items():
            for line in () if source is None else source.astray:
                self._at(file, line)

    def __bool__(self) -> bool:
        return bool(self._known)

    def _add(self, places: Iterable[tuple[Place | None, str | None]]) -> None:
        for place, step in places:
            if place is None:
                continue
            file = place.file
            if file not in self._files:
                self._files[file] = commented(file)
            source = self._files[file]
            if source is None or (key := _key(place)) in self._of:
                continue
            self._of[key] = found = []
            for line in source.belonging(place.line, place.last_line):
                allowance = self._at(file, line)
                allowance.step = allowance.step or step
                found.append(allowance)

    def _at(self, file: str, line: int) -> _Allowance:
        key = (file, line)
        if key not in self._known:
            source = self._files[file]
            assert source is not None  # noqa: S101 - only a file with comments has lines to ask for
            column, text = source.comments[line]
            self._known[key] = _read(place_at(file, line, column), text)
        return self._known[key]

    def judge(
        self, finding: Finding, kept: list[Finding], suppressed: list[tuple[Finding, str]]
    ) -> None:
        near: list[_Allowance] = []
        for place in (finding.where, self._places.get(finding.step or "")):
            if place is not None:
                near += self._of.get(_key(place), ())
                own = self._known.get((place.file, place.line))
                near += [own] if own is not None else []
        for allowance in near:
            if allowance.allows(finding.code):
                suppressed.append((finding, allowance.reason))
                return
        kept.append(finding)

    def faults(self) -> Iterator[Finding]:
        for allowance in self._known.values():
            if fault := _fault(allowance):
                yield fault


def _key(place: Place) -> tuple[str, int, int]:
    return (place.file, place.line, place.column)


def _read(place: Place, text: str) -> _Allowance:
    found = _ALLOWANCE.match(text)
    if found is None:
        return _Allowance(place, (), "", "")  # nothing after the colon
    codes = tuple(dict.fromkeys(code.upper() for code in _CODE.findall(found["codes"])))
    reason = _NEXT_COMMENT.split(found["reason"], maxsplit=1)[0] if found["colon"] else ""
    reason = " ".join(reason.split())[:_LONGEST_REASON]
    if not any(char.isalnum() for char in reason):
        reason = ""
    return _Allowance(place, codes, reason, found["word"].lower())


def _fault(allowance: _Allowance) -> Finding | None:
    codes = ", ".join(allowance.codes)
    if allowance.word != _WORD:
        if not allowance.codes:
            return None  # somebody's own remark
        return _said(
            allowance,
            "KRS302",
            f"a comment allows nothing with the word '{allowance.word}'",
            fix=f"write: # kairos: allow {codes}: the reason",
        )
    if not allowance.codes:
        return _said(
            allowance,
            "KRS302",
            "an allowance names no code, so it allows nothing",
            fix="write: # kairos: allow KRS102: the reason",
        )
    if not allowance.reason:
        return _said(
            allowance,
            "KRS301",
            f"{codes} is allowed without a reason, so it is not",
            expected=f"# kairos: allow {codes}: why it is all right here",
            fix="say why after a colon, or mend what was found and take the comment away",
        )
    # naming KRS302 is for a step of several workflows, which is at fault in one of them only
    idle = [c for c in allowance.codes if c not in allowance.used and not _ELSEWHERE.fullmatch(c)]
    if not idle:
        return None
    return _said(
        allowance,
        "KRS302",
        "; ".join(map(_why_idle, idle)),
        fix="take it out of the comment",
    )


def _why_idle(code: str) -> str:
    if code not in CODES:
        near = did_you_mean(code, CODES)
        return f"{code} is no code" + (f", {near}" if near else "")
    if _NEVER.fullmatch(code):
        return f"{code} ({CODES[code].title}) cannot be allowed"
    return f"{code} is allowed, and is not found here"


def _said(
    allowance: _Allowance,
    code: str,
    message: str,
    *,
    expected: str | None = None,
    fix: str | None = None,
) -> Finding:
    weight = CODES[code].severity
    return Finding(code, weight, allowance.step, message, allowance.place, expected, fix=fix)
