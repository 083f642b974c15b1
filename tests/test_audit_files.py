"""RECORD, the files that it lists, and those that it does not."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_parts import files, metadata, strays
from audit_parts.models import BatchCheck, BrokenDistributionError, FileCheck, Inventory, StrayCheck
from fake_site import checksum, install, only, record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "env/lib/python3.11/site-packages"
    folder.mkdir(parents=True)
    return folder


def checked(folder: Path) -> BatchCheck:
    """Check all files of one distribution, in one batch."""
    found = only(folder.parent)
    (batch,) = files.cut_batches([files.take_inventory(found)])
    return files.check_batch(batch)


def test_untouched_files_are_all_verified(site: Path) -> None:
    check = checked(install(site, "demo", modules={"demo/data.bin": bytes(5000)}))
    assert (check.rows, check.hashed, check.unhashed, check.unread) == (6, 5, 1, 0)
    assert check.faults == ()
    assert check.size > 5000


def test_changed_and_missing_files_are_told(site: Path) -> None:
    folder = install(site, "demo", modules=dict.fromkeys(("a.py", "b.py", "c.py"), b"12345"))
    (site / "a.py").write_bytes(b"54321")
    (site / "b.py").write_bytes(b"123456")
    (site / "c.py").unlink()
    check = checked(folder)
    assert [(fault.path, fault.kind, fault.detail) for fault in check.faults] == [
        ("a.py", "modified", "its sha256 is not the recorded one"),
        ("b.py", "modified", "6 bytes, recorded are 5"),
        ("c.py", "missing", ""),
    ]
    assert check.rows == check.hashed + check.unhashed + check.unread


@pytest.mark.parametrize(
    "line, kind",
    [
        ("x.py,sha256={sha256_hex},5", None),
        ("x.py,SHA256={sha256},5", None),
        ("x.py,sha512={sha512},", None),
        ("x.py,,", None),
        ("x.py,md5={md5},5", "weak"),
        ("x.py,crc32=abc,5", "weak"),
        ("folder,sha256=abc,5", "unreadable"),
        ("pipe,sha256=abc,0", "unreadable"),
        ("gone.py,,", "missing"),
        ("__pycache__/gone.pyc,,", None),
        ("x.py/below,sha256=abc,5", "missing"),
    ],
)
def test_what_a_line_of_record_claims_is_held_against_the_disk(
    site: Path, line: str, kind: str | None
) -> None:
    folder = install(site, "demo")
    (site / "x.py").write_bytes(b"12345")
    (site / "folder").mkdir()
    os.mkfifo(site / "pipe")
    sums = {
        name: checksum(b"12345", name).partition("=")[2] for name in ("sha256", "sha512", "md5")
    }
    sums["sha256_hex"] = hashlib.sha256(b"12345").hexdigest()
    record(folder, line.format(**sums))
    assert [fault.kind for fault in checked(folder).faults] == [kind] * (kind is not None)


@pytest.mark.parametrize(
    "lines, reason",
    [
        ("a.py,sha256=x", "line 1 of RECORD"),
        ("ok.py,,\na.py,sha256,5", "line 2 of RECORD"),
        ("a.py,sha256=x,five", "line 1 of RECORD"),
        (",sha256=x,5", "line 1 of RECORD"),
        ('"a.py,sha256=x,5', "line 1 of RECORD"),
        ("a\0.py,,", "line 1 of RECORD"),
        ("a.py,,,", "line 1 of RECORD"),
        ("", "RECORD is empty"),
        ("../../../../etc/passwd,,", "outside of the environment: '../../../../etc/passwd'"),
        ("/etc/passwd,sha256=x,5", "outside of the environment"),
        ("a/../../../../../x,,", "outside of the environment"),
    ],
)
def test_a_record_that_cannot_be_believed_is_refused(site: Path, lines: str, reason: str) -> None:
    folder = install(site, "demo")
    (folder / "RECORD").write_text(lines)
    with pytest.raises(BrokenDistributionError) as raised:
        files.take_inventory(only(site))
    assert reason in str(raised.value)


def test_an_undecodable_record_is_refused(site: Path) -> None:
    (install(site, "demo") / "RECORD").write_bytes(b"\xff.py,,\n")
    with pytest.raises(BrokenDistributionError, match="line 1"):
        files.take_inventory(only(site))


def test_a_missing_record_is_refused(site: Path) -> None:
    (install(site, "demo") / "RECORD").unlink()
    with pytest.raises(BrokenDistributionError, match="it has no RECORD"):
        files.take_inventory(only(site))


def test_a_script_of_the_environment_lies_within_it(site: Path) -> None:
    script = site.parents[2] / "bin/demo"
    script.parent.mkdir()
    script.write_bytes(b"#!")
    folder = install(site, "demo")
    record(folder, f"../../../bin/demo,{checksum(b'#!')},2")
    assert checked(folder).hashed == 1


def test_a_script_is_found_where_target_installs_put_it(tmp_path: Path) -> None:
    folder = install(tmp_path / "vendored", "demo")
    (tmp_path / "vendored/bin").mkdir()
    (tmp_path / "vendored/bin/demo").write_bytes(b"#!")
    record(folder, f"../../bin/demo,{checksum(b'#!')},2")
    assert checked(folder).hashed == 1


def test_a_path_may_hold_what_csv_has_to_quote(site: Path) -> None:
    folder = install(site, "demo")
    (site / 'a,"b"\n.py').write_bytes(b"12345")
    record(folder, f'"a,""b""\n.py",{checksum(b"12345")},5')
    check = checked(folder)
    assert (check.rows, check.hashed, check.faults) == (2, 1, ())


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12)


@given(st.lists(st.tuples(NAMES, st.integers(0, files.BATCH_BYTES)), min_size=1, max_size=40))
def test_slices_hold_every_line_once_and_in_order(rows: list[tuple[str, int]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    data = "\n".join(f"d/{quoted(name)[1:-1]}" if name.isalnum() and name.isascii()
                     else quoted(f"d/{name}").replace("\r", "_") for name, _ in rows)  # fmt: skip
    lines = re.split(r"\n(?=\"?d/)", data)
    whole = "".join(f"{line},,{weight}\n" for line, (_, weight) in zip(lines, rows, strict=True))
    raw = whole.encode()
    slices = list(files._slices(raw, "/s", "/s"))
    again = [
        entry
        for part in slices
        for _, entry in files.read_entries(raw[part.offset : part.offset + part.length])
    ]
    assert again == [entry for _, entry in files.read_entries(raw)]
    assert sum(part.rows for part in slices) == len(again) == len(rows)
    assert sum(part.length for part in slices) == len(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_entries_or_told_to_be_none(data: bytes) -> None:
    for end, entry in files.read_entries(data):
        assert 0 < end <= len(data)
        assert entry is None or entry.path


def test_many_files_make_many_batches(site: Path) -> None:
    folder = install(site, "demo")
    record(folder, *(f"m{number}.py,," for number in range(1000)))
    inventory = files.take_inventory(only(site))
    assert [part.rows for part in inventory.slices] == [256, 256, 256, 233]


def test_a_record_that_changes_meanwhile_is_noticed(site: Path) -> None:
    folder = install(site, "demo")
    (batch,) = files.cut_batches([files.take_inventory(only(site))])
    record(folder, "only.py,,")
    with pytest.raises(BrokenDistributionError, match="changed"):
        files.check_batch(batch)


def gathered(site: Path, checks: list[Any]) -> FileCheck:
    found = metadata.installed(str(site))
    inventories: list[Inventory | None] = []
    for place in found:
        try:
            inventories.append(files.take_inventory(place))
        except BrokenDistributionError:
            inventories.append(None)
    return files.gather_files(found, inventories, checks)


def test_how_grave_a_lack_of_hashes_is_depends_on_why(site: Path) -> None:
    (install(site, "bad") / "RECORD").write_text("x")
    (install(site, "none") / "RECORD").unlink()
    (site / "old-1.egg-info").write_text("Name: old\nVersion: 1\n")
    assert [finding.severity for finding in gathered(site, []).findings] == [
        "violation",
        "warning",
        "note",
    ]


def test_a_batch_that_was_skipped_leaves_its_files_unread(site: Path) -> None:
    install(site, "demo")
    check = gathered(site, [None])
    assert check.tallies[0].unread == check.tallies[0].recorded == 5
    assert check.findings[0].severity == "violation"


def test_of_many_faults_only_some_are_named(site: Path) -> None:
    folder = install(site, "demo")
    record(folder, *(f"gone{number}.py,," for number in range(30)))
    messages = [finding.message for finding in gathered(site, [checked(folder)]).findings]
    assert len(messages) == files.NAMED_FAULTS + 1
    assert messages[-1] == "and 20 more files of it like these"


def strayed(site: Path) -> StrayCheck:
    found = metadata.installed(str(site))
    inventories = [files.take_inventory(place) if place.record else None for place in found]
    return strays.find_strays(found, inventories)


def test_files_that_belong_to_nobody_are_told(site: Path) -> None:
    install(site, "demo")
    (site / "loose.py").touch()
    (site / "left/deep").mkdir(parents=True)
    (site / "left/deep/a.py").touch()
    (site / "left/b.py").touch()
    (site / "__pycache__").mkdir()
    (site / "__pycache__/demo.cpython-311.pyc").touch()
    (site / "README.txt").touch()
    check = strayed(site)
    assert sorted(finding.message for finding in check.findings) == [
        "left/: 2 files that no RECORD names",
        "loose.py that no RECORD names",
    ]
    assert check.strays == 3


def test_an_unowned_pth_file_that_runs_code_is_a_warning(site: Path) -> None:
    install(site, "demo", modules={"own.pth": b"import demo\n"})
    (site / "odd.pth").write_text("/some/path\nimport os; os.system('x')\n")
    (site / "quiet.pth").write_text("/some/path\n")
    check = strayed(site)
    assert [f.message for f in check.findings if f.severity == "warning"] == [
        "odd.pth runs code whenever Python starts, and no RECORD names it"
    ]
    assert {line.file: bool(line.owner) for line in check.startup} == {
        "odd.pth": False,
        "own.pth": True,
    }


def test_nothing_is_called_stray_beside_a_distribution_without_record(site: Path) -> None:
    install(site, "demo")
    (site / "old-1.egg-info").write_text("Name: old\nVersion: 1\n")
    (site / "old.py").touch()
    check = strayed(site)
    assert (check.findings, check.strays, check.unchecked) == ((), 0, 1)
