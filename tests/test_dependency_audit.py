"""The dependency audit as a whole: the workflow, and the command."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit_parts.models import BrokenDistributionError, Document
from audit_parts.report import contradictions
from dependency_audit import SKIP_BROKEN, audit, main
from fake_site import BROKEN_METADATA, HOSTILE, broken_site, install, record
from kairos import Step, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "env/lib/python3.11/site-packages"
    folder.mkdir(parents=True)
    return folder


def run_main(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


def given_site(site: Path) -> str:
    return json.dumps({"site": str(site)})


def test_a_sound_environment_holds(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "app", "1.0", "Requires-Dist: lib")
    install(site, "lib", "1.0")
    status, out, err = run_main(capsys, "--input", given_site(site))
    assert status == 0, out
    assert out.splitlines()[-1].startswith("The policy holds: 2 distributions, 1 requirement, ")
    assert re.search(r"^parse +2 distributions, ", err, re.MULTILINE)


def test_an_editable_installation_is_said_not_to_be_covered(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = {"url": "file:///work", "dir_info": {"editable": True}}
    (install(site, "mine") / "direct_url.json").write_text(json.dumps(url))
    status, out, _ = run_main(capsys, "--input", given_site(site), "--json", "-")
    (note,) = Document.model_validate_json(out).report.findings[:1]
    assert status == 0
    assert (note.severity, note.distribution) == ("note", "mine")
    assert "working folder" in note.message


def test_an_empty_folder_holds(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run_main(capsys, "--input", given_site(site))
    assert (status, out.startswith("The policy holds: 0 distributions")) == (0, True)


@pytest.mark.parametrize(
    "breaking",
    [
        lambda site: (site / "lib.py").write_text("changed"),
        lambda site: (site / "lib.py").unlink(),
        lambda site: install(site, "third", "1.0", "Requires-Dist: gone"),
        lambda site: install(site, "third", licence="AGPL-3.0-only"),
        lambda site: (site / "lib-1.0.dist-info/METADATA").unlink(),
    ],
    ids=["modified", "missing", "unmet", "licence", "broken"],
)
def test_each_kind_of_violation_breaks_the_policy(
    site: Path, capsys: pytest.CaptureFixture[str], breaking: Callable[[Path], object]
) -> None:
    install(site, "lib")
    breaking(site)
    status, out, _ = run_main(capsys, "--input", given_site(site), "--quiet")
    assert status == 1
    assert out.startswith("The policy does not hold: ")
    assert len(out.splitlines()) == 1


def test_broken_distributions_are_skipped_and_the_report_is_made(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run_main(capsys, "--input", given_site(broken_site(site)), "--json", "-")
    made = Document.model_validate_json(out)
    skipped = {(one.step, one.label): one.reason for one in made.report.skipped}
    assert status == 1
    for case, (_, reason) in BROKEN_METADATA.items():
        label = f"broken_{case.replace(' ', '_').replace('-', '_').lower()}-1.0.dist-info"
        assert reason in skipped["parse", label]
    assert "line 1 of RECORD" in skipped["inventory", "malformed-1.0.dist-info"]
    assert "it has no RECORD" in skipped["inventory", "recordless-1.0.dist-info"]
    assert "outside of the environment" in skipped["inventory", "escaping-1.0.dist-info"]
    assert len(skipped) == len(BROKEN_METADATA) + 3
    assert made.report.totals.read == 6
    assert contradictions(made.report) == []
    states = {
        row.label if hasattr(row, "label") else row.name: row.state for row in made.report.rows
    }
    assert (states["app"], states["old"], states["recordless"]) == ("ok", "note", "warning")
    assert "skipped       malformed-1.0.dist-info: line 1 of RECORD" in err


def test_the_failure_policy_tries_again_what_may_pass_and_skips_what_is_broken() -> None:
    calls: list[str] = []

    def read(item: str) -> str:
        calls.append(item)
        if item == "busy" and calls.count("busy") == 1:
            raise OSError("the file is locked")
        if item == "broken":
            raise BrokenDistributionError("it has no METADATA")
        return item

    each = Step("each", read, foreach="items", failure_policy=SKIP_BROKEN)
    result = Workflow("reading", [each]).run({"items": ["busy", "broken", "sound"]})
    assert result.status == "complete"
    assert result.output == ["busy", None, "sound"]
    assert sorted(calls) == ["broken", "busy", "busy", "sound"]


def test_the_record_of_the_run_is_part_of_the_report(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_site(site)
    _, out, _ = run_main(capsys, "--input", given_site(site), "--json", "-", "--quiet")
    run = {step.name: step for step in Document.model_validate_json(out).run}
    assert (run["parse"].items, run["parse"].skipped) == (16, len(BROKEN_METADATA))
    assert run["inventory"].skipped == 4  # three by policy, and the egg-info, which has no RECORD
    assert {step.status for step in run.values()} == {"completed"}
    assert set(run["report"].after) >= {"requirements", "licences", "files", "strays"}


def test_the_files_that_are_asked_for_are_written(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "demo")
    target = tmp_path / "build/deep"
    status, out, _ = run_main(
        capsys,
        "--input",
        given_site(site),
        "--html",
        f"{target}/a.html",
        "--json",
        f"{target}/a.json",
    )
    assert status == 0
    assert Document.model_validate_json((target / "a.json").read_text()).report.holds
    assert (target / "a.html").read_text().startswith("<!doctype html>")
    assert out.splitlines()[-1].endswith(f"Next: open {target}/a.html")


def test_nothing_is_written_that_was_not_asked_for(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(site, "demo")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    run_main(capsys, "--input", given_site(site))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_policy_is_what_the_options_say(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "demo", licence="AGPL-3.0-only")
    install(site, "odd", licence="LicenseRef-Odd")
    given_input = ["--input", given_site(site), "--quiet"]
    assert run_main(capsys, *given_input)[0] == 1
    assert run_main(capsys, *given_input, "--allow", "AGPL-3.0-only")[0] == 0
    assert run_main(capsys, *given_input, "--allow", "AGPL-3.0-only", "--strict")[0] == 1
    both = ["--allow", "AGPL-3.0-only", "LicenseRef-Odd", "--strict"]
    assert run_main(capsys, *given_input, *both)[0] == 0
    assert run_main(capsys, *given_input, *both, "--deny", "AGPL-3.0-only")[0] == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--input", "{"], "--input is not JSON"),
        (["--input", "[]"], "--input is a JSON object"),
        (["--input", '{"sight": "x"}'], "sight"),
        (["--input", '{"site": 5}'], "site"),
        (["--input", '{"site": "no/such/folder"}'], "there is no folder 'no/such/folder'"),
        (["--input", '{"allow": "MIT"}'], "allow is a list"),
        (["--allow", "GLP-3.0"], "'GLP-3.0' is no SPDX licence identifier"),
        (["--colour"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_ends_with_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_written_ends_with_status_2(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as raised:
        main(["--input", given_site(site), "--json", f"{tmp_path}/file/a.json", "--quiet"])
    assert raised.value.code == 2
    assert "cannot write" in capsys.readouterr().err


def test_hostile_metadata_reaches_neither_terminal_nor_page(
    site: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    install(site, "demo", "1.0", f"Summary: {HOSTILE}", f"License: {HOSTILE}", licence=HOSTILE)
    folder = install(site, "second")
    name = "<script>\x1b[31m.py"
    record(folder, f"{name},,")
    status, out, err = run_main(
        capsys, "--input", given_site(site), "--html", str(tmp_path / "a.html")
    )
    assert status == 1
    assert "\x1b" not in out + err
    assert "<script" not in (tmp_path / "a.html").read_text()


def test_the_workflow_finds_nothing_wrong_with_itself() -> None:
    assert [finding for finding in audit().validate() if finding.severity == "error"] == []


@pytest.mark.slow
def test_it_runs_as_a_script_from_any_folder(site: Path, tmp_path: Path) -> None:
    install(site, "demo")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "dependency_audit.py", "--input", given_site(site)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{platform.python_version()}" not in done.stderr
    assert done.stdout.splitlines()[-1].startswith("The policy holds: 1 distribution, ")
