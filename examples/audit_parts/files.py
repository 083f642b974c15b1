"""The files that RECORD lists, and whether they are still what was installed."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import stat
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from audit_parts.models import (
    Batch,
    BatchCheck,
    BrokenDistributionError,
    Fault,
    FaultKind,
    FileCheck,
    FileTally,
    Finding,
    Inventory,
    Severity,
    Slice,
)
from audit_parts.wording import count, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from audit_parts.models import Found

LARGEST_RECORD = 128 * 2**20
BATCH_ROWS = 256
BATCH_BYTES = 16 * 2**20
UNVERIFIED = "its files were not verified"
NAMED_FAULTS = 10  # of one distribution: a removed folder would otherwise fill the report
STRONG = {"sha256", "sha384", "sha512"}
WEAK = {"md5", "sha1", "sha224"}  # the wheel format forbids them; they still tell an accident


class Entry(NamedTuple):
    """One line of RECORD.  `digest` and `algorithm` are empty where it records no hash."""

    path: str
    algorithm: str
    digest: str
    size: int | None


def take_inventory(found: Found) -> Inventory:
    """Read a RECORD from end to end and cut it into slices.

    BrokenDistributionError when there is none, when a line of it is malformed, or when a path
    leads out of the environment.
    """
    record = os.path.join(found.path, "RECORD")  # noqa: PTH118 - ten thousand paths are joined
    try:
        with open(record, "rb") as stream:  # noqa: PTH123 - as above
            data = stream.read(LARGEST_RECORD + 1)
    except FileNotFoundError:
        raise BrokenDistributionError("it has no RECORD") from None
    except OSError as error:
        raise BrokenDistributionError(f"RECORD cannot be opened: {error.strerror}") from None
    if len(data) > LARGEST_RECORD:
        raise BrokenDistributionError("RECORD is larger than 128 MiB")
    slices = list(_slices(data, found.site, found.root))
    if not slices:
        raise BrokenDistributionError("RECORD is empty")
    return Inventory(
        path=found.path,
        record=record,
        site=found.site,
        root=found.root,
        rows=sum(part.rows for part in slices),
        slices=tuple(slices),
    )


def _slices(data: bytes, site: str, root: str) -> Iterator[Slice]:
    begin = rows = weight = 0
    for number, (end, entry) in enumerate(read_entries(data), start=1):
        if entry is None:
            raise BrokenDistributionError(f"line {number} of RECORD is not `path,hash,size`")
        locate(entry.path, site, root)
        rows += 1
        weight += entry.size or 0
        if rows == BATCH_ROWS or weight >= BATCH_BYTES:
            yield Slice(offset=begin, length=end - begin, rows=rows)
            begin, rows, weight = end, 0, 0
    if rows:
        yield Slice(offset=begin, length=len(data) - begin, rows=rows)


def read_entries(data: bytes) -> Iterator[tuple[int, Entry | None]]:
    """Yield each record of a RECORD with the offset at which it ends; None for a malformed one."""
    pending, end = b"", 0
    for line in data.splitlines(keepends=True):
        pending += line
        end += len(line)
        if pending.count(b'"') % 2:
            continue  # a quoted path with a line break in it
        if pending.strip():
            yield end, _entry(pending)
        pending = b""
    if pending:
        yield end, None


def _entry(line: bytes) -> Entry | None:
    try:
        fields = next(csv.reader([line.decode("utf-8").strip("\r\n")], strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return None
    if len(fields) != 3 or not fields[0] or "\0" in fields[0]:  # noqa: PLR2004 - path, hash, size
        return None
    path, checksum, length = fields
    algorithm, equals, digest = checksum.partition("=")
    if (checksum and not (equals and digest)) or (length and not length.isdecimal()):
        return None
    return Entry(path, algorithm.lower(), digest, int(length) if length else None)


def locate(path: str, site: str, root: str) -> str:
    """Return where a recorded path lies.

    BrokenDistributionError when that is outside of the environment: it is never opened.
    """
    if not os.path.isabs(path) and ".." not in path:  # noqa: PTH117 - ten thousand of them
        return os.path.join(site, path)  # noqa: PTH118
    place = os.path.normpath(os.path.join(site, path))  # noqa: PTH118
    if root == site and path.replace("\\", "/").startswith("../../bin/"):
        # `pip install --target` moves its scripts but records where they were before.
        place = os.path.normpath(os.path.join(site, path[6:]))  # noqa: PTH118
    if os.path.commonpath([root, place]) != root:
        raise BrokenDistributionError(
            f"RECORD names a file outside of the environment: {plain(path, 80)!r}"
        )
    return place


def cut_batches(inventories: Sequence[Inventory | None]) -> list[Batch]:
    """Return the slices of all inventories as one list, to be hashed independently."""
    return [
        Batch(path=one.path, record=one.record, site=one.site, root=one.root, part=part)
        for one in inventories
        if one is not None
        for part in one.slices
    ]


def check_batch(batch: Batch) -> BatchCheck:
    """Compare the files of one batch with what RECORD says of them."""
    with open(batch.record, "rb") as stream:  # noqa: PTH123
        stream.seek(batch.part.offset)
        data = stream.read(batch.part.length)
    rows = hashed = unhashed = unread = size = 0
    faults = []
    for _, entry in read_entries(data):
        if entry is None:
            raise BrokenDistributionError("RECORD changed while it was read")
        rows += 1
        place = locate(entry.path, batch.site, batch.root)
        read, fault = _check_file(entry, place, own=place == batch.record)
        if read is None:
            unhashed += fault is None
            unread += fault is not None
        else:
            hashed += 1
            size += read
        if fault is not None:
            faults.append(fault)
    if rows != batch.part.rows:
        raise BrokenDistributionError("RECORD changed while it was read")
    return BatchCheck(
        path=batch.path,
        rows=rows,
        hashed=hashed,
        unhashed=unhashed,
        unread=unread,
        size=size,
        faults=tuple(faults),
    )


def _check_file(entry: Entry, place: str, *, own: bool) -> tuple[int | None, Fault | None]:
    """Return how many bytes were hashed (None if it was not) and what is wrong with the file."""
    try:
        status = os.stat(place)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):
            return None, _fault(entry, "unreadable", "it is not a regular file")
        if not entry.digest:
            # Nothing vouches for it: RECORD itself, and what was compiled after installing.
            return None, None
        if entry.size is not None and entry.size != status.st_size:
            detail = f"{status.st_size:,} bytes, recorded are {entry.size:,}"
            return None, _fault(entry, "modified", detail)
        return _check_digest(entry, place)
    except (FileNotFoundError, NotADirectoryError):
        compiled = entry.path.endswith((".pyc", ".pyo")) and not entry.digest
        return None, None if compiled or own else _fault(entry, "missing", "")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be used here"
        return None, _fault(entry, "unreadable", str(reason))


def _check_digest(entry: Entry, place: str) -> tuple[int | None, Fault | None]:
    if entry.algorithm not in STRONG | WEAK:
        detail = f"hashed by {plain(entry.algorithm, 20)}, which is not known"
        return None, _fault(entry, "weak", detail)
    with open(place, "rb", buffering=0) as stream:  # noqa: PTH123
        digest = hashlib.file_digest(stream, entry.algorithm).digest()
        size = stream.tell()
    # The format says base64; what Debian builds has hexadecimal digits.
    written = {base64.urlsafe_b64encode(digest).decode().rstrip("="), digest.hex()}
    if entry.digest.rstrip("=") not in written:
        return size, _fault(entry, "modified", f"its {entry.algorithm} is not the recorded one")
    if entry.algorithm in WEAK:
        return size, _fault(entry, "weak", f"hashed by {entry.algorithm}, which can be forged")
    return size, None


def _fault(entry: Entry, kind: FaultKind, detail: str) -> Fault:
    return Fault(path=plain(entry.path), kind=kind, detail=detail)


def gather_files(
    found: Sequence[Found],
    inventories: Sequence[Inventory | None],
    checks: Sequence[BatchCheck | None],
) -> FileCheck:
    """Put the batches together again, by distribution."""
    by_path: dict[str, list[BatchCheck]] = defaultdict(list)
    for check in checks:
        if check is not None:
            by_path[check.path].append(check)
    findings: list[Finding] = []
    tallies = []
    for place, inventory in zip(found, inventories, strict=True):
        lost = 0
        parts = by_path[place.path]
        if inventory is None:
            findings.append(_unverified(place))
        elif lost := inventory.rows - sum(part.rows for part in parts):
            findings.append(_finding(place.path, "violation", "not all of its files were hashed"))
        faults = [fault for part in parts for fault in part.faults]
        findings += _fault_findings(place.path, faults)
        tallies.append(
            FileTally(
                path=place.path,
                recorded=0 if inventory is None else inventory.rows,
                hashed=sum(part.hashed for part in parts),
                unhashed=sum(part.unhashed for part in parts),
                unread=sum(part.unread for part in parts) + lost,
                size=sum(part.size for part in parts),
                faulty=len(faults),
            )
        )
    return FileCheck(findings=tuple(findings), tallies=tuple(tallies))


def _unverified(place: Found) -> Finding:
    """Say that a distribution's files could not be verified; how grave that is depends on why."""
    if place.record:
        return _finding(place.path, "violation", UNVERIFIED, "reinstall it")
    if place.kind == "dist-info":  # a system's own packager may leave RECORD out, by right
        return _finding(place.path, "warning", UNVERIFIED)
    return _finding(place.path, "note", "an egg-info records no hashes: nothing to verify")


def _fault_findings(path: str, faults: Sequence[Fault]) -> Iterable[Finding]:
    for fault in faults[:NAMED_FAULTS]:
        severity: Severity = "warning" if fault.kind == "weak" else "violation"
        detail = f": {fault.detail}" if fault.detail else ""
        yield _finding(path, severity, f"{fault.path} is {_WORD[fault.kind]}{detail}", _REINSTALL)
    if more := len(faults[NAMED_FAULTS:]):
        weak = all(fault.kind == "weak" for fault in faults)
        message = f"and {count(more, 'more file')} of it like these"
        yield _finding(path, "warning" if weak else "violation", message, _REINSTALL)


_WORD = {
    "modified": "not what was installed",
    "missing": "missing",
    "unreadable": "unreadable",
    "weak": "weakly vouched for",
}
_REINSTALL = "reinstall it, unless you changed it yourself"


def _finding(path: str, severity: Severity, message: str, fix: str = "") -> Finding:
    return Finding(severity=severity, topic="file", path=path, message=message, fix=fix)
