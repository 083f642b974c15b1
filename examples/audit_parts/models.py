"""What one step of the audit hands to the next, and what the report holds."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["dist-info", "egg-info", "egg-info file"]
Standing = Literal["allowed", "refused", "unclear"]
Severity = Literal["violation", "warning", "note"]
FaultKind = Literal["modified", "missing", "unreadable", "weak"]
Topic = Literal["metadata", "requirement", "licence", "file"]
Origin = Literal["index", "editable", "local folder", "archive", "version control"]


class BrokenDistributionError(ValueError):
    """A distribution's metadata or its RECORD cannot be believed; the message says why."""


class Model(BaseModel):
    """The base of every contract here: what is not declared is refused, what is made stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Found(Model):
    """A place where a distribution says that it is installed; nothing has been read yet."""

    label: str  # the metadata folder's own name: all that is known when its content is broken
    path: str
    site: str  # the folder that RECORD's paths start from
    root: str  # the environment's own folder: no recorded path may lead out of it
    kind: Kind
    record: bool


class Licence(Model):
    """What a distribution says of its licence.

    `expression` is an SPDX expression where that is certain.  Where it is not, `candidates` are
    the identifiers that the wording may mean ("BSD" is one of two), and `raw` is the wording.
    """

    expression: str | None
    candidates: tuple[str, ...]
    source: str
    raw: str


class Requirement(Model):
    """One line of Requires-Dist.  `fault` says why it cannot be read, empty when it can."""

    text: str
    fault: str


class Distribution(Model):
    """An installed distribution, as its metadata describes it."""

    label: str
    path: str
    site: str
    name: str
    key: str  # the normalised name: what requirements are matched by
    version: str
    summary: str
    licence: Licence
    requires: tuple[Requirement, ...]
    extras: tuple[str, ...]
    requires_python: str
    origin: Origin


class Slice(Model):
    """Some lines of a RECORD: where they begin, in bytes, and how many there are."""

    offset: int
    length: int
    rows: int


class Inventory(Model):
    """A RECORD that was read and holds together.

    It names slices and no files, so that the state of a run stays small however large the
    environment is: whoever hashes the files reads its own lines again.
    """

    path: str
    record: str
    site: str
    root: str
    rows: int
    slices: tuple[Slice, ...]


class Batch(Model):
    """A slice together with where it comes from: enough to hash its files by itself."""

    path: str
    record: str
    site: str
    root: str
    part: Slice


class Fault(Model):
    """A file that is not what RECORD says."""

    path: str
    kind: FaultKind
    detail: str


class BatchCheck(Model):
    """What became of one batch's files: rows = hashed + unhashed + unread."""

    path: str
    rows: int
    hashed: int
    unhashed: int  # RECORD holds no hash for them
    unread: int  # missing, or wrong before a byte of them was read
    size: int  # in bytes, of what was hashed
    faults: tuple[Fault, ...]


class Finding(Model):
    """Something the reader should know; a violation means that the policy does not hold."""

    severity: Severity
    topic: Topic
    path: str  # of the metadata it is about, as in Found; empty when it is about none
    message: str
    fix: str = ""
    distribution: str = ""  # how that is called; the report fills it in


class Edge(Model):
    """`source` requires `target`; `optional` when only one of its extras does."""

    source: str
    target: str
    demand: str
    optional: bool
    met: bool


class RequirementCheck(Model):
    """Whether everything that is required is installed, in a version that will do."""

    findings: tuple[Finding, ...]
    edges: tuple[Edge, ...]
    evaluated: int
    not_for_here: int  # behind a marker or an extra that does not apply in this environment


class LicenceRow(Model):
    """One distribution's licence as it is shown, and how it stands with the policy."""

    path: str
    shown: str
    standing: Standing
    reason: str


class LicenceCheck(Model):
    """Every licence, judged."""

    findings: tuple[Finding, ...]
    rows: tuple[LicenceRow, ...]


class FileTally(Model):
    """One distribution's files."""

    path: str
    recorded: int
    hashed: int
    unhashed: int
    unread: int
    size: int
    faulty: int


class FileCheck(Model):
    """Every recorded file, compared with what is on the disk."""

    findings: tuple[Finding, ...]
    tallies: tuple[FileTally, ...]


class StartupLine(Model):
    """A line of a .pth file that Python executes whenever it starts."""

    file: str
    owner: str  # empty when no RECORD names the file
    code: str


class StrayCheck(Model):
    """What lies in the site folders and belongs to nobody."""

    findings: tuple[Finding, ...]
    strays: int
    unchecked: int  # distributions without a RECORD: their folders cannot be judged
    startup: tuple[StartupLine, ...]


class Row(Model):
    """One distribution in the report, whether it could be read or not."""

    path: str
    key: str
    name: str
    version: str
    licence: str
    standing: Standing | Literal["unread"]
    origin: str
    requires: int
    required_by: int
    recorded: int
    hashed: int
    state: Literal["ok", "note", "warning", "violation"]


class Skipped(Model):
    """A distribution that a step gave up; the reason comes from the run's own record."""

    path: str
    label: str
    step: Literal["parse", "inventory"]
    reason: str = ""


class Totals(Model):
    """What was looked at, in numbers."""

    found: int
    read: int
    skipped: int
    requirements: int
    not_for_here: int
    recorded: int
    hashed: int
    unhashed: int
    unread: int
    size: int
    faulty: int
    violations: int
    warnings: int
    notes: int


class Report(Model):
    """The whole audit."""

    place: str
    python: str
    strict: bool  # whether a warning, too, breaks the policy
    holds: bool
    totals: Totals
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    edges: tuple[Edge, ...]
    startup: tuple[StartupLine, ...]
    allowed: tuple[str, ...]


class RunStep(Model):
    """A step of the run that made the report."""

    name: str
    after: tuple[str, ...]
    status: str
    items: int | None  # None for a step that runs once
    skipped: int
    attempts: int
    milliseconds: float


class Document(Model):
    """The report with the record of the run that made it: what is written to a file."""

    version: int = 1
    created: str  # ISO 8601, UTC
    seconds: float
    report: Report
    run: tuple[RunStep, ...]
