"""mypy and pyright find every planted error of tests/typing, and none where nothing is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
TYPING = ROOT / "tests" / "typing"
SUBJECTS = ("wiring", "agents")
MARK = re.compile(r"# error (E\d\d):")
SAID = re.compile(r"(\S+?):(\d+):(?:\d+:)? error: (.*)")


def files(subject: str) -> tuple[Path, Path]:
    return TYPING / f"right_{subject}.py", TYPING / f"wrong_{subject}.py"


def planted(subject: str) -> dict[int, str]:
    lines = files(subject)[1].read_text(encoding="utf-8").splitlines()
    return {i: found[1] for i, line in enumerate(lines, 1) if (found := MARK.search(line))}


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout


def errors_of_mypy(*paths: Path) -> list[tuple[Path, int, str]]:
    said = run("mypy", "--no-pretty", "--hide-error-context", *map(str, paths))
    assert "Found " in said, said
    found = map(SAID.match, said.splitlines())
    return [((ROOT / one[1]).resolve(), int(one[2]), one[3]) for one in found if one]


def errors_of_pyright(*paths: Path) -> list[tuple[Path, int, str]]:
    said = run("pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, paths))
    try:
        told = json.loads(said[said.index("{") :])["generalDiagnostics"]
    except ValueError:
        pytest.skip("pyright cannot run here (it brings a node of its own, or downloads one)")
    return [
        (Path(one["file"]), one["range"]["start"]["line"] + 1, one["message"])
        for one in told
        if one["severity"] == "error"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("checker", [errors_of_mypy, errors_of_pyright])
def test_a_type_checker_finds_each_planted_error_and_no_other(
    checker: Callable[..., list[tuple[Path, int, str]]], subject: str
) -> None:
    right, wrong = files(subject)
    found = checker(right, wrong)
    assert [one for one in found if one[0] == right] == []
    marks = planted(subject)
    lines = {line for path, line, _ in found if path == wrong}
    assert [mark for line, mark in marks.items() if line not in lines] == []
    assert [one for one in found if one[0] == wrong and one[1] not in marks] == []


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_planted_error_has_a_number_of_its_own(subject: str) -> None:
    marks = [*planted(subject).values()]
    assert marks == [f"E{i:02}" for i in range(1, len(marks) + 1)]
    assert len(marks) >= 15
