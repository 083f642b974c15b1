"""`kairos inspect`: a run from its log, however torn, and a plan from its module."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from kairos.cli import app
from kairos.cli.log_reading import read_log
from kairos.cli.output import Stop

if TYPE_CHECKING:
    from pathlib import Path

FLOW = """\
from kairos import FailurePolicy, Schema, Step, Workflow

def handle(ctx):
    if ctx.item == 1:
        raise ValueError("one is bad")
    return ctx.item

def slip(ctx):
    return {"total": "many"}

wf = Workflow("flow", [
    Step("items", lambda ctx: [0, 1, 2], read_keys=["source"]),
    Step("handle", handle, foreach="items", foreach_policy="allow_partial", parallel=True,
         read_keys=["items"], failure_policy=FailurePolicy(max_retries=1)),
    Step("slip", slip, depends_on=["handle"], read_keys=["handle"], timeout=5,
         output_contract=Schema({"total": int}), failure_policy=FailurePolicy(max_retries=1)),
    Step("report", slip, depends_on=["slip", "items"], read_keys=["slip"], retries=1),
], inputs=["source", "spare"])
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    return tmp_path


@pytest.fixture
def log(here: Path) -> Path:
    kairos("run", "flow.py", "-i", '{"source": 1}', "--log-file", "runs")
    (found,) = (here / "runs").glob("*.jsonl")
    return found


def kairos(*arguments: str) -> Result:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "\x1b" not in done.output
    return done


def shown(*arguments: str) -> str:
    done = kairos("inspect", *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def document(*arguments: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(shown(*arguments, "--json"))
    return parsed


def lines_of(*events: dict[str, Any]) -> str:
    return "".join(json.dumps({"run_id": "r", **event}) + "\n" for event in events)


# --- a log


def test_a_log_is_shown_as_a_table_of_steps(log: Path) -> None:
    told = shown(str(log)).splitlines()
    assert told[0].startswith("flow  ")
    assert told[2].split() == ["step", "status", "attempts", "duration", "error"]
    cells = {line.split()[0]: line for line in told[3:7]}
    assert "completed  1" in cells["items"]
    assert "3 items ✗1 ↻1" in cells["handle"]
    assert "failed     2" in cells["slip"]
    assert "skipped" in cells["report"]
    assert told[-1].startswith("failed · 4 steps · 2 completed · 1 failed · 1 skipped · ")


def test_failures_are_shown_attempt_by_attempt_with_what_broke(log: Path) -> None:
    told = shown("runs", "--failures")
    assert "✗ item 1  attempt 1" in told
    assert "✗ item 1  attempt 2" in told
    assert told.count("total: needs int, found str") >= 2
    assert "items  completed" not in told


def test_one_step_is_shown_in_full(log: Path) -> None:
    told = shown("runs", "--step", "slip")
    assert "✗ attempt 2" in told
    assert "step_retry  attempt=1" in told
    assert "item 1" not in told


def test_a_log_is_one_document_for_machines(log: Path) -> None:
    told = document("runs")
    assert (told["status"], told["workflow"], told["unreadable_lines"]) == ("failed", "flow", 0)
    assert [step["name"] for step in told["steps"]] == ["items", "handle", "slip", "report"]
    assert [step["name"] for step in document("runs", "-f")["steps"]] == ["handle", "slip"]
    assert len(document("runs", "-s", "slip")["steps"][0]["attempts"]) == 2


def test_a_run_without_failures_says_so(here: Path) -> None:
    (here / "sound.py").write_text(
        "from kairos import Step, Workflow\nwf = Workflow('w', [Step('a', lambda ctx: 1)])\n",
        encoding="utf-8",
    )
    kairos("run", "sound.py", "--log-file", "sound")
    assert "nothing failed" in shown("sound", "-f")


def test_of_a_folder_the_latest_log_is_shown(here: Path) -> None:
    for age, name in enumerate(["new", "old"]):
        path = here / f"{name}.jsonl"
        path.write_text(
            lines_of({"event_type": "workflow_start", "data": {"workflow_name": name}}),
            encoding="utf-8",
        )
        os.utime(path, (1000 - age, 1000 - age))
    assert shown(".").startswith("new  ")


def test_of_a_file_with_several_runs_the_last_is_shown(here: Path) -> None:
    start = {"event_type": "workflow_start"}
    (here / "all.jsonl").write_text(
        lines_of(*({**start, "run_id": f"run-{n}"} for n in range(3))), encoding="utf-8"
    )
    told = shown("all.jsonl")
    assert "run-2" in told
    assert "the last of 3 runs in it" in told


def test_a_torn_last_line_is_left_out_and_said(log: Path) -> None:
    whole = log.read_bytes()
    log.write_bytes(whole[:-40])
    told = shown(str(log))
    assert "1 line could not be read and is left out" in told
    assert "unfinished · 4 steps" in told
    assert document(str(log))["unreadable_lines"] == 1


def test_hostile_lines_are_shown_as_text(here: Path) -> None:
    bad = "\x1b[2J\n[red]\u202e"
    (here / "bad.jsonl").write_text(
        lines_of(
            {"event_type": "workflow_start", "data": {"workflow_name": bad, "total_steps": bad}},
            {"event_type": "step_start", "step_id": bad, "timestamp": bad, "data": {bad: bad}},
            {"event_type": "step_fail", "step_id": bad, "data": {"error": bad, "message": [bad]}},
            {"event_type": bad, "step_id": bad, "data": 3},
            {"event_type": "warning", "data": {"message": bad}},
        ),
        encoding="utf-8",
    )
    for arguments in ((), ("-f",), ("-s", bad), ("--json",)):
        told = shown("bad.jsonl", *arguments)
        assert "\u202e" not in told
        assert "[red]" in told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KINDS = st.sampled_from(
    [
        "workflow_start",
        "workflow_complete",
        "step_start",
        "fanned_out",
        "validation_fail",
        "step_retry",
        "attempt_fail",
        "item_complete",
        "step_complete",
        "step_fail",
        "step_skip",
        "warning",
        "cancel_requested",
        "other",
    ]
)
FIELDS = st.sampled_from(
    [
        "attempt",
        "item",
        "items",
        "error",
        "message",
        "errors",
        "duration_ms",
        "reason",
        "status",
        "plan",
        "llm_calls",
    ]
)
EVENTS = st.fixed_dictionaries(
    {"event_type": KINDS, "data": st.dictionaries(FIELDS, JSON)},
    optional={"step_id": st.sampled_from(["a", "b"]) | JSON, "timestamp": JSON, "run_id": JSON},
)


@given(st.lists(EVENTS | JSON, min_size=1), st.integers(0, 40))
def test_no_log_is_too_broken_to_read(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any], torn: int
) -> None:
    path = tmp_path_factory.mktemp("logs") / "any.jsonl"
    raw = "".join(json.dumps(event) + "\n" for event in events).encode()
    path.write_bytes(raw[: len(raw) - torn])
    done = CliRunner().invoke(app, ["inspect", str(path)], catch_exceptions=False)
    assert done.exit_code in {0, 2}
    assert "Traceback" not in done.output


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"not json\n", b"[]\n{}\n", b"\xff\xfe\n"])
def test_what_is_no_log_is_refused(here: Path, raw: bytes) -> None:
    (here / "x.jsonl").write_bytes(raw)
    with pytest.raises(Stop, match="is no run log"):
        read_log(here / "x.jsonl")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["gone.jsonl"], "no such log"),
        (["gone.py"], "no such file"),
        (["empty"], "there is no log"),
        (["runs", "-s", "slpi"], "did you mean 'slip'?"),
        (["runs", "--mermaid"], "this is a log"),
        (["flow.py", "-f"], "this is a workflow"),
        (["flow.py", "-s", "slpi"], "did you mean 'slip'?"),
    ],
)
def test_what_cannot_be_shown_exits_2(
    here: Path, log: Path, arguments: list[str], said: str
) -> None:
    (here / "empty").mkdir()
    done = kairos("inspect", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


# --- a workflow


def test_a_workflow_is_shown_as_a_tree() -> None:
    assert shown("flow.py").splitlines() == [
        "flow  4 steps  inputs: source, spare",
        "├─ items",
        "├─ handle  foreach items · parallel",
        "├─ slip    timeout 5 s",
        "└─ report  after slip, items",
    ]


def test_a_workflow_is_drawn_with_mermaid() -> None:
    assert shown("flow.py", "--mermaid").startswith("flowchart TD\n")


def test_a_step_of_a_workflow_is_told_in_full() -> None:
    told = shown("flow.py", "-s", "slip")
    for said in (
        "declared at  flow.py:15",
        "after        handle",
        "before       report",
        "timeout",
    ):
        assert said in told


def test_a_workflow_is_one_document_for_machines() -> None:
    assert document("flow.py")["steps"][0]["name"] == "items"
    assert document("flow.py", "-s", "slip")["name"] == "slip"


def test_a_very_large_plan_is_a_list(here: Path) -> None:
    (here / "many.py").write_text(
        "from kairos import Step, Workflow\nwf = Workflow('many', [Step(f's{i}', print,"
        " depends_on=[f's{i-1}'] if i else []) for i in range(3000)])\n",
        encoding="utf-8",
    )
    told = shown("many.py").splitlines()
    assert len(told) == 3001
    assert told[-1] == "s2999  after s2998"
