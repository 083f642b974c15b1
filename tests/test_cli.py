"""The commands: what they print where, and the exit codes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from kairos import __version__
from kairos.cli import app
from kairos.cli.given import inputs_from
from kairos.cli.output import Stop, clean, count, span

if TYPE_CHECKING:
    from pathlib import Path

HELLO = """\
from kairos import Step, StepContext, Workflow

def greet(ctx: StepContext) -> str:
    print("said by a step")
    return f"Hello, {ctx.inputs.get('name', 'World')}!"

def shout(ctx: StepContext) -> str:
    return ctx.inputs["greet"].upper()

print("said by the module")
hello = Workflow("hello", [
    Step("greet", greet, read_keys=["name"]),
    Step("shout", shout, depends_on=["greet"], read_keys=["greet"]),
])
"""

TROUBLE = """\
from kairos import FailureAction, FailurePolicy, Schema, Step, StepContext, Workflow

def items(ctx):
    return list(range(6))

seen = set()
def handle(ctx):
    if ctx.item == 4:
        raise ValueError("four \\x1b[2J [red]is[/red] bad")
    if ctx.item == 2 and ctx.attempt == 1:
        raise ConnectionError("reset by peer")
    return ctx.item

def slip(ctx):
    return {"total": "many"}

wf = Workflow("trouble \\x1b]0;x\\x07", [
    Step("items", items, read_keys=[]),
    Step("handle", handle, foreach="items", foreach_policy="allow_partial", read_keys=["items"],
         failure_policy=FailurePolicy(max_retries=1)),
    Step("never", slip, when=lambda ctx: False, read_keys=[]),
    Step("slip", slip, depends_on=["handle"], read_keys=[], output_contract=Schema({"total": int}),
         failure_policy=FailurePolicy(max_retries=1)),
    Step("report", slip, depends_on=["slip"], read_keys=[]),
])
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("KAIROS_WORKFLOWS_DIR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "hello.py").write_text(HELLO, encoding="utf-8")
    (tmp_path / "trouble.py").write_text(TROUBLE, encoding="utf-8")
    return tmp_path


def kairos(*arguments: str, stdin: str | None = None) -> Result:
    done = CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)
    assert "\x1b" not in done.output, "a control character came through"
    return done


def document(*arguments: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(kairos(*arguments).stdout)
    return parsed


# --- run


def test_run_prints_the_result_on_stdout_and_all_else_on_stderr() -> None:
    done = kairos("run", "hello.py", "-i", '{"name": "Kairos"}')
    assert (done.exit_code, done.stdout) == (0, "HELLO, KAIROS!\n")
    lines = done.stderr.splitlines()
    assert "said by the module" in lines
    assert "said by a step" in lines
    assert lines[-1].startswith("complete · 2 steps · ")
    assert lines[-1].endswith("0 llm calls  next: kairos run hello.py ... --log-file runs")


def test_run_json_prints_one_document() -> None:
    told = document("run", "hello.py", "--json")
    assert (told["status"], told["output"]) == ("complete", "HELLO, WORLD!")
    assert list(told["step_results"]) == ["greet", "shout"]


@pytest.mark.parametrize(
    "returned, printed",
    [
        ("'a\\tb\\nc'", "a\tb\nc\n"),
        ("'\\x1b[31m\\u202e'", "\\x1b[31m\\u202e\n"),
        ("{'a': [1, None, 'é']}", '{"a": [1, null, "é"]}\n'),
        ("{'a': 'x' * 100}", '{\n  "a": "' + "x" * 100 + '"\n}\n'),
        ("['\\x9b\\u2028']", '["\\u009b\\u2028"]\n'),
        ("{'password': 'x'}", '{"password": "[REDACTED]"}\n'),
        ("0", "0\n"),
        ("None", ""),
    ],
)
def test_a_result_is_printed_as_text_or_json_without_control_characters(
    here: Path, returned: str, printed: str
) -> None:
    (here / "flow.py").write_text(
        "from kairos import Step, Workflow\n"
        f"wf = Workflow('w', [Step('a', lambda ctx: {returned})])\n",
        encoding="utf-8",
    )
    assert kairos("run", "flow.py").stdout == printed


def test_a_failed_run_exits_1_and_says_why_with_every_step_told() -> None:
    done = kairos("run", "trouble.py")
    assert (done.exit_code, done.stdout) == (1, "")
    for said in (
        "✓ items  ",
        "↻ handle[2]  attempt 1 failed: ConnectionError: reset by peer; again",
        "✗ handle[4]  attempt 2 failed: ValueError: four ",
        "✓ handle  6/6 ✗1 ↻2  ",
        "○ never  skipped: ",
        "✗ slip  ",
        "○ report  skipped: ",
        "✗ step 'slip' failed: ",
    ):
        assert said in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "failed · 5 steps · 1 failed · 2 skipped · 3 ret"
    )


def test_a_failed_run_gives_its_document_too() -> None:
    done = kairos("run", "trouble.py", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert told["status"] == "failed"
    assert [item["status"] for item in told["step_results"]["handle"]["items"]][4] == "failed_final"


def test_verbose_tells_of_starts_and_items() -> None:
    told = kairos("run", "trouble.py", "-v").stderr.splitlines()
    assert "▸ items" in told
    assert any(line.startswith("✓ handle[0]  ") for line in told)


def test_a_very_large_plan_is_told_in_tenths(here: Path) -> None:
    (here / "many.py").write_text(
        "from kairos import Step, Workflow\n"
        "wf = Workflow('many', [Step(f's{i}', lambda ctx: 1) for i in range(1000)])\n",
        encoding="utf-8",
    )
    told = kairos("run", "many.py").stderr.splitlines()
    assert "▸ 100 of 1,000 steps" in told
    assert len(told) == 12


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_a_log_in_json_lines_is_all_there_is_on_stderr(verbose: tuple[str, ...]) -> None:
    done = kairos("run", "hello.py", "--log-format", "jsonl", *verbose)
    said = [line for line in done.stderr.splitlines() if not line.startswith("said by")]
    events = [json.loads(line) for line in said]
    assert [event["event_type"] for event in events[::5]] == ["workflow_start", "workflow_complete"]
    assert ("output" in events[2]["data"]) == bool(verbose)


def test_a_log_on_the_console_ends_with_the_closing_line() -> None:
    told = kairos("run", "hello.py", "--log-format", "console").stderr.splitlines()
    assert any("step_complete" in line and "greet" in line for line in told)
    assert told[-1].startswith("complete · 2 steps")


def test_a_log_is_kept_in_a_folder_which_inspect_shows(here: Path) -> None:
    done = kairos("run", "trouble.py", "--log-file", "my runs")
    assert len(list((here / "my runs").glob("*.jsonl"))) == 1
    assert done.stderr.endswith("next: kairos inspect 'my runs' --failures\n")
    assert kairos("inspect", "my runs", "--failures").exit_code == 0


def test_what_a_workflow_declares_sensitive_stays_out_of_its_log(here: Path) -> None:
    (here / "flow.py").write_text(
        "from kairos import Step, Workflow\n"
        "wf = Workflow('w', [Step('a', lambda ctx: {'birth_name': 'Rumpel'})],"
        " sensitive_keys=['birth_*'])\n",
        encoding="utf-8",
    )
    done = kairos("run", "flow.py", "-v", "--log-file", "runs", "--json")
    (log,) = (here / "runs").glob("*.jsonl")
    assert "Rumpel" not in log.read_text(encoding="utf-8") + done.output


# --- inputs


@pytest.mark.parametrize("text", ['{"name": "Kairos"}', '\ufeff{"name": "Kairos"}'])
def test_inputs_come_from_a_file_or_from_standard_input(here: Path, text: str) -> None:
    (here / "in.json").write_text(text, encoding="utf-8")
    assert kairos("run", "hello.py", "--input-file", "in.json").stdout == "HELLO, KAIROS!\n"
    assert kairos("run", "hello.py", "--input-file", "-", stdin=text).stdout == "HELLO, KAIROS!\n"


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text, said",
    [
        (f'{{"a": {SECRET}}}', "line 1, column 7"),
        (f'{{\n"a": "{SECRET}" "b"}}', "line 2, column 16"),
        (f"{{'a': '{SECRET}'}}", "double quotes"),
        (f'["{SECRET}"]', "an array"),
        (f'"{SECRET}"', "a string"),
        ("null", "null"),
        ("true", "true or false"),
        ("3", "a number"),
        ("", "line 1, column 1"),
        (f'{{"a": NaN, "b": "{SECRET}"}}', "NaN is no JSON number"),
        (f'{{"a": "{SECRET}", "a": 1}}', "twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "too many digits"),
        ("hello.py", "use --input-file"),
    ],
)
def test_malformed_input_is_told_by_place_and_never_repeated(text: str, said: str) -> None:
    done = kairos("run", "hello.py", "--input", text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert SECRET not in done.stderr
    assert "said by the module" not in done.stderr, "the workflow was imported all the same"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["-i", "{}", "--input-file", "in.json"], "give the inputs once"),
        (["--input-file", "gone.json"], "no such file: gone.json"),
        (["--input-file", "."], "cannot be read"),
        (["--input-file", "latin.json"], "no UTF-8 text"),
        (["--log-file", "hello.py"], "it is a file"),
        (["--log-format", "xml"], "xml"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_wrong_usage_exits_2(here: Path, arguments: list[str], said: str) -> None:
    (here / "latin.json").write_bytes(b'{"a": "\xe9"}')
    done = kairos("run", "hello.py", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("text, said", [("{}", "needs an input 'name'"), ('{"nam": 1}', "name")])
def test_inputs_that_the_workflow_refuses_exit_2(here: Path, text: str, said: str) -> None:
    (here / "typed.py").write_text(
        "from kairos import Workflow, step\n@step\ndef greet(name: str) -> str:\n"
        "    return name\nwf = Workflow('w', [greet])\n",
        encoding="utf-8",
    )
    done = kairos("run", "typed.py", "-i", text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_no_input_is_no_inputs() -> None:
    assert inputs_from(None, None) == {}


def test_a_module_that_may_not_be_loaded_exits_2() -> None:
    done = kairos("run", "os")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("kairos: module 'os' is Python's own")


# --- validate

FAULTY = """\
from kairos import Step, Workflow
a = Step("a", lambda ctx: 1, depends_on=["b"], read_keys=[])
b = Step("b", lambda ctx: 1, depends_on=["a"], read_keys=[])
wf = Workflow("w", [a, b])
"""


def test_validate_says_where_what_and_how_to_mend_it(here: Path) -> None:
    (here / "faulty.py").write_text(FAULTY, encoding="utf-8")
    done = kairos("validate", "faulty.py")
    assert done.exit_code == 1
    assert "faulty.py:2:5  KRS004  a" in done.stdout
    assert "a → b → a" in done.stdout
    assert "1 error · " in done.stdout


def test_validate_gives_a_refused_declaration_as_a_finding(here: Path) -> None:
    (here / "faulty.py").write_text(FAULTY, encoding="utf-8")
    told = document("validate", "faulty.py", "--json")
    assert (told["ok"], told["errors"], told["workflows"]) == (False, 1, [])
    assert (told["findings"][0]["code"], told["findings"][0]["line"]) == ("KRS004", 2)


def test_validate_passes_a_sound_workflow_and_names_its_inputs() -> None:
    done = kairos("validate", "hello.py")
    assert done.exit_code == 0
    assert "no findings · 2 steps · " in done.stdout
    assert done.stdout.endswith("inputs: name\n")
    assert "said by the module" in done.stderr


def test_validate_looks_at_every_workflow_of_a_module(here: Path) -> None:
    (here / "two.py").write_text(
        HELLO + 'unscoped = Workflow("unscoped", [Step("a", greet)])\n', encoding="utf-8"
    )
    told = document("validate", "two.py", "--json")
    assert [each["variable"] for each in told["workflows"]] == ["hello", "unscoped"]
    assert {each["workflow"] for each in told["findings"]} == {"unscoped"}
    assert "unscoped  unscoped" in kairos("validate", "two.py").stdout
    assert kairos("validate", "two.py:hello", "--strict").exit_code == 0
    assert kairos("validate", "two.py").exit_code == 0
    assert kairos("validate", "two.py", "--strict").exit_code == 1


@pytest.mark.parametrize("source", ["(", "1 / 0", "x = 1"])
def test_validate_exits_2_when_there_is_nothing_to_check(here: Path, source: str) -> None:
    (here / "broken.py").write_text(source, encoding="utf-8")
    done = kairos("validate", "broken.py", "--json")
    assert (done.exit_code, json.loads(done.stdout)["exit"]) == (2, 2)
    assert "broken.py" in json.loads(done.stdout)["error"]["text"]
    assert "broken.py" in done.stderr


# --- version and help


@pytest.mark.parametrize("arguments", [["version"], ["--version"], ["-V"]])
def test_version_prints_one_line(arguments: list[str]) -> None:
    done = kairos(*arguments)
    assert (done.exit_code, done.stdout) == (0, f"kairos {__version__}\n")


@pytest.mark.parametrize("command", ["run", "validate", "inspect", "version"])
def test_every_command_explains_itself(command: str) -> None:
    done = kairos(command, "--help")
    assert done.exit_code == 0
    assert f"Usage: kairos {command}" in done.stdout


# --- words


@pytest.mark.parametrize(
    "ms, told",
    [
        (0.2, "<1 ms"),
        (12.4, "12 ms"),
        (999.9, "1.00 s"),
        (1234, "1.23 s"),
        (12_345, "12.3 s"),
        (59_999, "1 min 00 s"),
        (123_000, "2 min 03 s"),
        (3_725_000, "1 h 02 min"),
    ],
)
def test_durations_are_told_in_the_unit_that_fits(ms: float, told: str) -> None:
    assert span(ms) == told


def test_words_agree_with_their_numbers() -> None:
    assert (count(1, "step"), count(10_000, "step")) == ("1 step", "10,000 steps")


def test_text_keeps_its_lines_and_loses_its_commands() -> None:
    assert clean("a\tb\r\nc\x1b[2J\rd") == "a\tb\nc\\x1b[2J\\rd"


def test_a_stop_reads_as_every_error_does() -> None:
    assert str(Stop("no", fix="yes")) == "kairos: no\n  fix: yes"
