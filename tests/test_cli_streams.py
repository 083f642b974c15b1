"""The command line where a stream is closed or full, or the folder it stands in is gone."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kairos import __version__

HELLO = """\
from kairos import Step, Workflow

def greet(ctx):
    print("said by a step")
    return "hello"

hello = Workflow("hello", [Step("greet", greet)])
"""
FULL = Path("/dev/full")

needs_full = pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(HELLO, encoding="utf-8")
    return tmp_path


def kairos(here: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m kairos` with what a shell makes of the rest of the line."""
    command = f"exec {shlex.quote(sys.executable)} -m kairos {line}"
    return subprocess.run(
        ["/bin/sh", "-c", command], cwd=here, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["run", "validate", "inspect"])
def test_a_stream_that_is_closed_takes_nothing_and_changes_nothing(
    here: Path, command: str, closed: str
) -> None:
    done = kairos(here, f"{command} hello.py {closed}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if command == "run" and ">&-" not in closed.replace("2>&-", ""):
        assert done.stdout == "hello\n"


@needs_full
@pytest.mark.parametrize("command", ["run", "run --json", "validate", "inspect"])
def test_a_result_that_cannot_be_written_is_said_and_exits_1(here: Path, command: str) -> None:
    name, _, rest = command.partition(" ")
    done = kairos(here, f"{name} hello.py {rest} > /dev/full")
    assert done.returncode == 1
    assert "kairos: the result cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@needs_full
@pytest.mark.parametrize("line", ["version", "version --json", "--version", "-V"])
def test_a_version_that_cannot_be_written_is_said_and_exits_1(here: Path, line: str) -> None:
    done = kairos(here, f"{line} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "kairos: the result cannot be written: No space left on device\n"


@needs_full
@pytest.mark.parametrize("form", ["--json", "--mermaid", "--sarif -", "--sarif /dev/full"])
def test_findings_that_cannot_be_written_are_said(here: Path, form: str) -> None:
    done = kairos(here, f"validate hello.py {form} > /dev/full")
    assert done.returncode in {1, 2}
    assert "cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_is_no_fault(here: Path) -> None:
    done = kairos(here, "version | true")
    assert (done.returncode, done.stderr) == (0, "")


@needs_full
def test_progress_that_cannot_be_written_loses_no_result(here: Path) -> None:
    (here / "hello.py").write_text(HELLO.replace('print("said by a step")', "pass"))
    done = kairos(here, "run hello.py 2> /dev/full")
    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_inputs_from_a_closed_standard_input_are_wrong_usage(here: Path) -> None:
    done = kairos(here, "run hello.py --input-file - <&-")
    assert done.returncode == 2
    assert "standard input is closed" in done.stderr


def test_a_current_folder_that_was_removed_is_wrong_usage(here: Path) -> None:
    gone = here / "gone"
    gone.mkdir()
    line = f"rmdir {shlex.quote(str(gone))}; exec {shlex.quote(sys.executable)} -P -m kairos run x"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=gone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "the current folder is gone" in done.stderr


def test_the_version_is_a_document_too(here: Path) -> None:
    assert json.loads(kairos(here, "version --json").stdout) == {"version": __version__}
