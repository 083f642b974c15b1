"""`kairos validate` as its users see it: text, JSON, exit codes, targets, broken modules."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from kairos.cli import app
from kairos.enums import Severity
from kairos.source import place_at
from kairos.verify import Report, Verdict, render_report
from kairos.verify.edges.edge import Edge, Proof
from kairos.verify.findings import CODES, Detail, Finding
from kairos.verify.layout import clipped, table, width_of, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable

PIPELINE = """\
from pydantic import BaseModel
from kairos import Step, Workflow, step

class Extract(BaseModel):
    title: str | None

class Doc(BaseModel):
    title: str
    body: str

@step
def extract(url: str) -> Extract:
    return Extract(title="a")

@step
def score(extract: Doc) -> int:
    return 3

wf = Workflow("pipeline", [extract, score], inputs=["url"])
"""
TIMES = "\N{MULTIPLICATION SIGN}"
SOUND = """\
from kairos import Step, Workflow
{name} = Workflow("{name}", [Step("a", lambda ctx: 1, read_keys=[])])
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("KAIROS_WORKFLOWS_DIR", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return folder


def write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def kairos(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["validate", *arguments], catch_exceptions=False)


def document(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kairos(*arguments, "--json").stdout)
    return found


def finding(code: str = "KRS102", **given: Any) -> Finding:
    given.setdefault("severity", CODES[code].severity)
    given.setdefault("step", "score")
    given.setdefault("message", "it is so")
    return Finding(code=code, **given)


def lines(*findings: Finding, proofs: Iterable[Proof] = (), **given: Any) -> list[str]:
    report = Report(findings, tuple(proofs), given.pop("suppressed", ()), 9, 38.2)
    return render_report(report, color=given.pop("color", False), **given).splitlines()


# --- the text


def test_a_finding_shows_place_route_both_sides_witness_and_fix(here: Path) -> None:
    proved, late = Verdict("proved"), Verdict("unknown")
    proofs = [Proof(Edge(0, "k", "parameter"), proved)] * 41
    proofs += [Proof(Edge(0, "k", "parameter"), late)] * 2
    found = finding(
        where=place_at(str(here / "pipeline.py"), 41, 5),
        source="extract",
        message="its parameter refuses what extract may hand over",
        details=(
            Detail("doc.body", "missing", "required str"),
            Detail("doc.title", "str | None", "needs str"),
        ),
        witness='{"title": null}',
        fix="add `body` to Extract, or mark it optional in score",
    )
    note = finding("KRS104", step="score", source="raw", message="is checked when it runs")
    assert lines(found, note, proofs=proofs) == [
        "pipeline.py:41:5  KRS102  extract → score",
        "  doc.body   missing      required str",
        "  doc.title  str | None   needs str",
        '  witness: {"title": null}',
        "  fix: add `body` to Extract, or mark it optional in score",
        "KRS104  raw → score  is checked when it runs",
        "1 error · 1 note · 9 steps · 41/43 edges proved, 2 at run time · 38 ms",
    ]


def test_the_counts_tell_every_answer_and_what_is_allowed() -> None:
    answers: list[tuple[Any, str | None]] = [
        ("proved", None),
        ("proved", "declared keys"),
        ("coerced", None),
        ("refuted", None),
        ("unknown", None),
    ]
    proofs = [Proof(Edge(0, "k", "parameter"), Verdict(a), why) for a, why in answers]
    (told,) = lines(proofs=proofs, suppressed=((finding(), "why"),))
    assert told == (
        "no findings · 1 allowed · 9 steps · 1/5 edges proved, 1 assuming declared keys,"
        " 1 by conversion, 1 at run time, 1 refuted · 38 ms"
    )


def test_a_message_that_goes_on_is_shown_beside_the_fields() -> None:
    told = lines(finding(message="refuses it: a may skip", details=(Detail("a", "b", "c"),)))
    assert told[1:3] == ["  refuses it: a may skip", "  a  b   c"]


def test_a_file_elsewhere_is_named_in_full() -> None:
    assert lines(finding(where=place_at("/elsewhere/x.py", 3)))[0].startswith("/elsewhere/x.py:3:1")


def test_many_fields_are_counted_unless_all_are_asked_for() -> None:
    found = finding(details=tuple(Detail(f"doc.f{i}", "missing", "needs") for i in range(300)))
    assert lines(found)[13] == "  and 288 more fields"
    assert len(lines(found)) == 15
    assert len(lines(found, every=True)) == 302


def test_notes_come_last_and_those_alike_in_one_line() -> None:
    notes = [finding("KRS104", step=f"s{i}", message="is checked late") for i in range(812)]
    warning = finding("KRS204")
    told = lines(*notes, warning)
    assert told[0] == "KRS204  score  warning"
    assert told[2] == f"KRS104 {TIMES} 812  is checked late  (show all with --all or --json)"
    assert len(told) == 4
    assert len(lines(*notes, warning, every=True)) == 812 * 2 + 3


def test_notes_that_differ_are_shown_up_to_a_dozen_of_a_code() -> None:
    notes = [finding("KRS104", message=f"reason {i}") for i in range(40)]
    told = lines(*notes, finding("KRS105", severity=Severity.NOTE, message="another"))
    assert told[11] == "KRS104  score  reason 11"
    assert told[12] == f"KRS104 {TIMES} 28 more  (show all with --all or --json)"
    assert told[13] == "KRS105  score  another"


def test_a_long_witness_is_laid_out_and_cut_visibly() -> None:
    value = {f"key{i}": "x" * 300 if i == 1 else i for i in range(20)}
    told = lines(finding(witness=json.dumps(value)))
    assert told[2:5] == ["  witness: {", '    "key0": 0', f'    "key1": "{"x" * 79}…']
    assert told[9:11] == ["    … and 14 more", "  }"]
    whole = lines(finding(witness=json.dumps(value)), every=True)
    assert whole[2] == f"  witness: {json.dumps(value)}"


@pytest.mark.parametrize("witness", ["[" * 100_000, "x" * 500, "1" * 5_000, '"\\ud800' + "y" * 300])
def test_any_witness_is_cut(witness: str) -> None:
    told = lines(finding(witness=witness))
    assert all(len(line) <= 200 for line in told)
    assert any(line.endswith("…") for line in told)


def test_lines_keep_within_the_terminal_and_break_between_words() -> None:
    found = finding(
        message="word " * 40,
        expected="one " * 30,
        found="short",
        fix="mend " * 30,
        details=(),
        witness=json.dumps({"a": "x" * 100}),
    )
    detailed = finding(details=(Detail("doc.a", "w " * 40, "v " * 40), Detail("doc.b", "x", "y")))
    told = lines(found, detailed, finding("KRS104", message="z" * 200), width=60)
    assert max(map(width_of, told)) <= 60
    assert {word for line in told for word in line.split()} >= {"word", "one", "mend", "w", "v"}
    assert not any(re.search(r"\b(wor|wo|men|me|on)$", line) for line in told)


def test_wide_characters_keep_the_columns_straight() -> None:
    rows = table([("名前", "字", "a"), ("name", "b", "c")], None)
    assert rows == ["  名前  字   a", "  name  b    c"]
    assert width_of("e\u0301") == 1
    assert width_of(clipped("字" * 30, 11)) <= 11


def test_a_long_word_stays_whole() -> None:
    assert wrapped(f"a {'x' * 50} b", 20).split("\n") == ["a", "x" * 50, "b"]


@given(st.text(), st.integers(5, 120), st.booleans())
def test_no_text_moves_the_cursor_or_tears_a_line(text: str, width: int, every: bool) -> None:
    found = finding(
        step=text,
        source=text,
        message=text,
        details=(Detail(text, text, text),),
        witness=text,
        fix=text,
    )
    note = finding("KRS104", step=text, message=text)
    told = lines(found, note, width=width, every=every)
    assert all(line.isprintable() for line in told)


def test_colour_changes_no_word() -> None:
    found = [
        finding(witness="{}", fix="mend", details=(Detail("a", "b", "c"),)),
        finding("KRS204", expected="a", found="b"),
        finding("KRS104"),
    ]
    painted = lines(*found, color=True)
    assert "\x1b[31mKRS102\x1b[0m" in painted[0]
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in painted] == lines(*found)


@pytest.mark.parametrize(
    "environment, arguments, colored",
    [
        ({}, [], False),
        ({"FORCE_COLOR": "1"}, [], True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, [], False),
        ({"FORCE_COLOR": "1"}, ["--no-color"], False),
    ],
)
def test_colour_is_for_terminals_unless_it_is_forced(
    environment: dict[str, str], arguments: list[str], colored: bool
) -> None:
    write(flow=PIPELINE)
    done = process("validate", "flow.py", *arguments, **environment)
    assert ("\x1b[" in done.stdout) is colored


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    return subprocess.run(
        [sys.executable, "-m", "kairos", *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        check=False,
    )


def test_a_stream_without_the_signs_gets_plain_ones() -> None:
    write(flow=PIPELINE)
    done = process("validate", "flow.py", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.stdout.isascii()
    assert "KRS102  extract -> score" in done.stdout
    assert "\\u" not in done.stdout


# --- the answers of the proof, through the command line


def test_a_broken_edge_is_told_field_by_field() -> None:
    write(flow=PIPELINE)
    done = kairos("flow.py")
    first, *rest = done.stdout.splitlines()
    assert done.exit_code == 1
    assert first == "flow.py:15:1  KRS102  extract → score"
    assert any(line.split()[0] == "extract.body" for line in rest)
    assert any(line.split()[0] == "extract.title" for line in rest)
    assert any(line.startswith("  witness: {") for line in rest)
    assert "1 error" in rest[-2]
    assert "edges proved" in rest[-2]


def test_json_tells_findings_edges_and_coverage() -> None:
    write(flow=PIPELINE)
    told = document("flow.py")
    assert (told["version"], told["ok"], told["exit"], told["error"]) == (1, False, 1, None)
    (workflow,) = told["workflows"]
    edge = next(each for each in workflow["edges"] if each["step"] == "score")
    assert (edge["key"], edge["through"], edge["producers"]) == (
        "extract",
        "parameter",
        ["extract"],
    )
    assert (edge["answer"], edge["assuming"], edge["elided"]) == ("refuted", None, False)
    assert told["coverage"]["refuted"] == workflow["coverage"]["refuted"] == 1
    found = told["findings"][0]
    assert (found["workflow"], found["code"], found["source"]) == ("wf", "KRS102", "extract")
    assert {each["path"] for each in found["details"]} == {"extract.title", "extract.body"}
    assert json.loads(found["witness"])["title"] is None or found["witness"]
    assert found["file"].endswith("flow.py")


def test_what_is_allowed_is_told_with_its_reason_and_fails_nothing() -> None:
    write(
        flow=PIPELINE.replace("@step\ndef score", "@step  # kairos: allow KRS102: later\ndef score")
    )
    told = document("flow.py")
    assert (told["ok"], told["errors"]) == (True, 0)
    assert [(each["code"], each["reason"]) for each in told["suppressed"]] == [("KRS102", "later")]
    assert told["coverage"]["refuted"] == 1
    assert "1 allowed" in kairos("flow.py").stdout


def test_strict_counts_whatever_is_found_but_not_what_is_allowed() -> None:
    open_step = (
        'from kairos import Step, Workflow\nwf = Workflow("w", [Step("a", lambda ctx: 1{})])\n'
    )
    write(warned=open_step.format(""), sound=open_step.format(", read_keys=[]"))
    write(allowed=open_step.format("").rstrip() + "  # kairos: allow KRS204: it dumps all\n")
    exits = [
        (kairos(f"{name}.py").exit_code, kairos(f"{name}.py", "--strict").exit_code)
        for name in ("warned", "sound", "allowed")
    ]
    assert exits == [(0, 1), (0, 0), (0, 0)]


# --- SARIF and Mermaid, through the command line


def test_sarif_is_written_beside_the_text_or_to_standard_output(here: Path) -> None:
    write(sub__flow=PIPELINE)
    (here / ".git").mkdir()
    done = kairos("sub/flow.py", "--sarif", "out.sarif")
    written = json.loads((here / "out.sarif").read_text(encoding="utf-8"))
    assert (done.exit_code, "KRS102" in done.stdout) == (1, True)
    assert json.loads(kairos("sub/flow.py", "--sarif", "-").stdout) == written
    result = written["runs"][0]["results"][0]
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert (result["ruleId"], place["uri"]) == ("KRS102", "sub/flow.py")


def test_addresses_in_sarif_count_from_the_root_of_the_repository(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(sub__flow=PIPELINE)
    (here / ".git").write_text("gitdir: elsewhere\n", encoding="utf-8")
    monkeypatch.chdir(here / "sub")
    log = json.loads(kairos("flow.py", "--sarif", "-").stdout)
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "sub/flow.py"


def test_sarif_is_written_for_a_module_that_cannot_be_read_too(here: Path) -> None:
    write(broken="x = 1\n1 / 0\n")
    assert kairos("broken.py", "--sarif", "out.sarif").exit_code == 2
    run = json.loads((here / "out.sarif").read_text(encoding="utf-8"))["runs"][0]
    (told,) = run["invocations"][0]["toolExecutionNotifications"]
    assert not run["invocations"][0]["executionSuccessful"]
    assert told["message"]["text"] == "ZeroDivisionError: division by zero"
    assert told["locations"][0]["physicalLocation"]["region"]["startLine"] == 2


def test_a_sarif_file_that_cannot_be_written_is_told() -> None:
    write(flow=PIPELINE)
    done = kairos("flow.py", "--sarif", "gone/out.sarif")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "gone/out.sarif cannot be written: No such file" in done.stderr


def test_a_picture_marks_the_faulty_edge() -> None:
    write(flow=PIPELINE)
    done = kairos("flow.py", "--mermaid")
    assert done.exit_code == 1
    assert done.stdout.startswith("flowchart TD\n")
    assert 'n0 -->|"KRS102"| n1' in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--json", "--mermaid"], ["--sarif", "-", "--json"], ["--explain", "score", "--mermaid"]],
)
def test_two_forms_cannot_share_standard_output(arguments: list[str]) -> None:
    write(flow=PIPELINE)
    done = kairos("flow.py", *arguments)
    assert done.exit_code == 2
    assert "cannot both have standard output" in done.stderr


def test_a_step_is_explained_in_words_or_as_a_document() -> None:
    write(flow=PIPELINE)
    assert "may read" in kairos("flow.py", "--explain", "score").stdout
    (explained,) = document("flow.py", "--explain", "score")["explained"]
    assert explained["step"] == "score"
    done = kairos("flow.py", "--explain", "scoer")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "did you mean 'score'?" in done.stderr


def test_a_picture_is_of_one_workflow() -> None:
    write(two=SOUND.format(name="one") + SOUND.format(name="other"))
    done = kairos("two.py", "--mermaid")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "choose one: two.py:one" in done.stderr
    assert kairos("two.py:other", "--mermaid").exit_code == 0


# --- several modules, and folders


def test_several_modules_are_one_report_and_one_exit_code() -> None:
    write(flow=PIPELINE, sound=SOUND.format(name="sound"))
    done = kairos("sound.py", "flow.py")
    assert done.exit_code == 1
    assert "sound.py:sound  sound\n" in done.stdout
    assert "flow.py:wf  pipeline\n" in done.stdout
    assert "2 workflows · 1 error" in done.stdout.splitlines()[-1]
    assert [
        each["target"] for each in document("sound.py", "flow.py", "sound.py")["workflows"]
    ] == [
        "sound.py",
        "flow.py",
    ]


def test_a_folder_stands_for_all_its_workflow_modules() -> None:
    write(
        src__a=SOUND.format(name="a"),
        src__deep__b=SOUND.format(name="b"),
        src__setup="raise SystemError('was run')",
        src__imports="from a import a\nfrom kairos import Workflow\n",
        src__speaks="# kairos has a Workflow\n",
    )
    for environment in ("src/venv", "src/.hidden", "src/node_modules"):
        write(**{f"{environment}__c": "raise SystemError('was run: kairos Workflow')"})
    Path("src/venv/pyvenv.cfg").touch()
    told = document("src")
    assert [each["target"] for each in told["workflows"]] == ["src/a.py", "src/deep/b.py"]
    assert (told["exit"], told["unread"]) == (0, [])


def test_one_broken_module_does_not_hide_the_others() -> None:
    write(src__a=SOUND.format(name="a"), src__b="1 / 0  # kairos Workflow\n")
    done = kairos("src/")
    assert done.exit_code == 2
    assert "no findings · 1 step" in done.stdout
    assert "b.py failed when it was imported" in done.stderr
    told = document("src/")
    assert (told["ok"], told["exit"], len(told["workflows"])) == (False, 2, 1)
    assert [each["target"] for each in told["unread"]] == ["src/b.py"]


def test_a_package_by_its_name_is_the_module_and_with_a_slash_the_folder() -> None:
    write(parcel__b=SOUND.format(name="b"))
    Path("parcel/__init__.py").write_text(SOUND.format(name="own"), encoding="utf-8")
    assert [each["name"] for each in document("parcel")["workflows"]] == ["own"]
    assert [each["name"] for each in document("parcel/")["workflows"]] == ["own", "b"]


def test_a_folder_outside_and_a_link_to_outside_are_refused_unexecuted(here: Path) -> None:
    trap = "raise AssertionError('this was executed: kairos Workflow')\n"
    outside = here.parent / "outside"
    outside.mkdir()
    (outside / "flow.py").write_text(trap, encoding="utf-8")
    write(src__a=SOUND.format(name="a"))
    Path("src/link.py").symlink_to(outside / "flow.py")
    Path("src/folder").symlink_to(outside)
    Path("all").symlink_to(outside)
    for target in ("../outside", str(outside), "all", "src/folder", "src/link.py", "src"):
        done = kairos(target)
        assert done.exit_code == 2
        assert "lies outside the folders" in done.stderr
        assert "this was executed" not in done.stderr


def test_a_folder_without_workflows_is_told() -> None:
    write(src__a="x = 1\n")
    done = kairos("src")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no workflow below src" in done.stderr


# --- modules that cannot be read


@pytest.mark.parametrize(
    "source, kind, line",
    [
        ("x = 1\ndef f(:\n", "SyntaxError", 2),
        ("\nimport requsts_of\n", "ModuleNotFoundError", 2),
        ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError", 2),
        ("def f():\n    f()\nf()\n", "RecursionError", 2),
        ("import sys\nsys.exit('enough')\n", "SystemExit", None),
        ("class E(BaseException):\n    pass\nraise E\n", "E", 3),
        (
            "class E(Exception):\n    def __str__(self):\n        raise SystemExit\nraise E\n",
            "E",
            4,
        ),
        ("e = ValueError('v')\ne.add_note('n')\nraise e\n", "ValueError", 3),
        ("x = 1\n", None, None),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run", "inspect"])
def test_json_tells_of_a_module_that_cannot_be_read(
    source: str, kind: str | None, line: int | None, command: str
) -> None:
    write(flow=source)
    done = CliRunner().invoke(app, [command, "flow.py", "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"], told["version"], told["exit"]) == (2, False, 1, 2)
    error = told["error"]
    assert (error["kind"], error["line"]) == (kind, line)
    assert "\n" not in error["message"]
    assert error["text"].strip() == done.stderr.strip()
    for ours in ("loading.py", "importlib", "checking.py"):
        assert ours not in done.output


def test_a_missing_module_comes_with_what_to_do(here: Path) -> None:
    write(flow="import pipelin\n", pipeline="x = 1\n", other="import nothing_like_it\n")
    assert "did you mean 'pipeline'?" in kairos("flow.py").stderr
    assert "install what provides 'nothing_like_it'" in kairos("other.py").stderr


def test_what_a_module_prints_does_not_disturb_the_document() -> None:
    write(flow=SOUND.format(name="a") + "import os\nprint('said')\nos.system('echo below')\n")
    done = process("validate", "flow.py", "--json")
    assert json.loads(done.stdout)["ok"]
    assert {"said", "below"} <= set(done.stderr.split())


def test_an_endless_error_is_cut() -> None:
    write(flow="raise ValueError('x' * 1_000_000)\n")
    assert len(kairos("flow.py").stderr) < 25_000


def test_an_interrupt_while_importing_ends_the_command() -> None:
    write(flow="raise KeyboardInterrupt\n")
    done = process("validate", "flow.py")
    assert (done.returncode, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr


def test_a_column_counts_characters() -> None:
    line = 'x = "größe 名前"; wf = Workflow("w", [Step("a", print)])\n'
    write(flow="from kairos import Step, Workflow\n" + line)
    assert f"flow.py:2:{line.index('Step') + 1}  KRS" in kairos("flow.py").stdout


def test_a_stray_comment_is_told_once_for_a_module_with_several_workflows() -> None:
    write(
        two=SOUND.format(name="a") + SOUND.format(name="b") + "x = 1  # kairos: allow KRS204: so\n"
    )
    assert [each["code"] for each in document("two.py")["findings"]] == ["KRS302"]


def test_a_module_that_changes_the_folder_disturbs_no_other(here: Path) -> None:
    write(away=SOUND.format(name="away") + "import os\nos.chdir('/')\n", flow=PIPELINE)
    done = kairos("away.py", "flow.py", "--sarif", "out.sarif")
    assert done.exit_code == 1
    assert "\nflow.py:15:1  KRS102" in done.stdout
    assert (here / "out.sarif").exists()


def test_names_cannot_move_the_cursor() -> None:
    write(
        flow=SOUND.format(name="a")
        + SOUND.format(name="b")
        + "globals()['\\x1b[2J'] = Workflow('c\\x1b[2J', b.steps)\n"
    )
    done = kairos("flow.py")
    assert "\\x1b[2J  c\\x1b[2J" in done.stdout
    assert "\x1b" not in done.output
