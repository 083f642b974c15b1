"""What a comment in the source allows: where it may stand, and what is said of a bad one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import Step, TaskGraph
from kairos.cli.loading import load
from kairos.enums import Severity
from kairos.source import place_at
from kairos.verify import Scene, examine
from kairos.verify.allowances import allowed
from kairos.verify.comments import commented
from kairos.verify.findings import Finding

if TYPE_CHECKING:
    from kairos.verify import Report

HEAD = "from kairos import Step, Workflow, step\ndef act(ctx):\n    return dict(ctx.inputs)\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def report(source: str, head: str = HEAD) -> Report:
    Path("flow.py").write_text(head + source, encoding="utf-8")
    return load("flow.py").one().verify()


def codes(found: Report) -> list[str]:
    return [finding.code for finding in found.findings]


# every one of these has a step 'a' that does not say what it reads: KRS204
ALLOWED = {
    "on its line": "wf = Workflow('w', [Step('a', act)])  # kairos: allow KRS204: it dumps all\n",
    "on the first line of its call": (
        "wf = Workflow('w', [\n    Step(  # kairos: allow KRS204: it dumps all\n"
        "        'a',\n        act,\n    ),\n])\n"
    ),
    "within its call": (
        "wf = Workflow('w', [\n    Step(\n        'a',\n        act,\n"
        "        # kairos: allow KRS204: it dumps all\n    ),\n])\n"
    ),
    "on the last line of its call": (
        "a = Step(\n    'a',\n    act,\n)  # kairos: allow KRS204: it dumps all\n"
        "wf = Workflow('w', [a])\n"
    ),
    "alone above": (
        "wf = Workflow('w', [\n    # kairos: allow KRS204: it dumps all\n    Step('a', act),\n])\n"
    ),
    "among comments above": (
        "# kairos: allow KRS204: it dumps all\n# and more of it\na = Step('a', act)\n"
        "wf = Workflow('w', [a])\n"
    ),
    "above a decorator": (
        "# kairos: allow KRS204: it dumps all\n@step()\ndef a(ctx):\n    return 1\n"
        "wf = Workflow('w', [a])\n"
    ),
    "on a decorator": (
        "@step()  # kairos: allow KRS204: it dumps all\ndef a(ctx):\n    return 1\n"
        "wf = Workflow('w', [a])\n"
    ),
    "between decorator and function": (
        "@step()\n# kairos: allow KRS204: it dumps all\ndef a(ctx):\n    return 1\n"
        "wf = Workflow('w', [a])\n"
    ),
    "on the head of a function": (
        "@step()\ndef a(\n    ctx,  # kairos: allow KRS204: it dumps all\n):\n    return 1\n"
        "wf = Workflow('w', [a])\n"
    ),
    "with another code and other spelling": (
        "a = Step('a', act)  #KAIROS:Allow krs204 ,KRS302 :it dumps all # noqa: E501\n"
        "wf = Workflow('w', [a])\n"
    ),
    "behind another comment": (
        "a = Step('a', act)  # noqa: E501  # kairos: allow KRS204: it dumps all\n"
        "wf = Workflow('w', [a])\n"
    ),
}


@pytest.mark.parametrize("source", ALLOWED.values(), ids=ALLOWED)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_finding_is_allowed_at_its_declaration(source: str, ends: str) -> None:
    Path("flow.py").write_text((HEAD + source).replace("\n", ends), encoding="utf-8", newline="")
    workflow = load("flow.py").one()
    found = workflow.verify()
    assert (codes(found), workflow.validate()) == ([], [])
    assert [(each.code, reason) for each, reason in found.suppressed] == [
        ("KRS204", "it dumps all")
    ]
    assert not found.fails(strict=True)


NOT_ALLOWED = {
    "in a string": "s = '# kairos: allow KRS204: it dumps all'; a = Step('a', act)\n",
    "in a docstring": "'''\n# kairos: allow KRS204: it dumps all\n'''\na = Step('a', act)\n",
    "two lines above": "# kairos: allow KRS204: it dumps all\n\na = Step('a', act)\n",
    "below": "a = Step('a', act)\n# kairos: allow KRS204: it dumps all\n",
    "on another step": (
        "a = Step('a', act)\nb = Step('b', act, read_keys=[])  # kairos: allow KRS204: it dumps\n"
    ),
    "of another code": "a = Step('a', act)  # kairos: allow KRS203: it dumps all\n",
    "without a reason": "a = Step('a', act)  # kairos: allow KRS204\n",
    "without words in its reason": "a = Step('a', act)  # kairos: allow KRS204: ...\n",
    "without the colon": "a = Step('a', act)  # kairos: allow KRS204 because it dumps all\n",
    "without a code": "a = Step('a', act)  # kairos: allow: it dumps all\n",
    "by another word": "a = Step('a', act)  # kairos: ignore KRS204: it dumps all\n",
}


@pytest.mark.parametrize("source", NOT_ALLOWED.values(), ids=NOT_ALLOWED)
def test_a_comment_elsewhere_or_otherwise_allows_nothing(source: str) -> None:
    found = report(f"{source}wf = Workflow('w', [a])\n")
    assert "KRS204" in codes(found)
    assert found.suppressed == ()


def test_an_allowance_without_its_reason_is_an_error_where_it_stands() -> None:
    found = report("wf = Workflow('w', [Step('a', act)])  # kairos: allow KRS204\n")
    fault = found.findings[0]
    assert (fault.code, fault.severity, fault.step) == ("KRS301", Severity.ERROR, "a")
    assert fault.where is not None
    assert (fault.where.line, fault.where.column) == (4, 39)
    assert fault.expected == "# kairos: allow KRS204: why it is all right here"
    assert found.fails()


@pytest.mark.parametrize(
    "comment, said",
    [
        ("allow KRS208: why not", "KRS208 is allowed, and is not found here"),
        ("allow KRS999: why not", "KRS999 is no code"),
        ("allow KRS003: why not", "cannot be allowed"),
        ("allow KRS012: why not", "cannot be allowed"),
        ("allow: why not", "names no code"),
        ("ignore KRS204: why not", "'ignore'"),
    ],
)
def test_an_allowance_that_allows_nothing_is_a_warning(comment: str, said: str) -> None:
    found = report(f"wf = Workflow('w', [Step('a', act, read_keys=[])])  # kairos: {comment}\n")
    (fault,) = found.findings
    assert (fault.code, fault.severity) == ("KRS302", Severity.WARNING)
    assert said in fault.message


def test_an_idle_allowance_can_be_allowed_where_several_workflows_share_the_step() -> None:
    found = report(
        "# kairos: allow KRS204, KRS302: the other one dumps\na = Step('a', act, read_keys=[])\n"
        "wf = Workflow('w', [a])\n"
    )
    assert codes(found) == []
    assert [each.code for each, _ in found.suppressed] == ["KRS302"]


def test_of_several_codes_only_the_idle_ones_are_told() -> None:
    found = report("wf = Workflow('w', [Step('a', act)])  # kairos: allow KRS204, KRS208: it may\n")
    assert [finding.message for finding in found.findings] == [
        "KRS208 is allowed, and is not found here"
    ]
    assert len(found.suppressed) == 1


@pytest.mark.parametrize("source", ["x = 1  {}", "\n{}\n", "x = 1\n{}"])
def test_an_allowance_where_nothing_is_declared_is_told(source: str) -> None:
    comment = "# kairos: allow KRS204: astray"
    found = report("wf = Workflow('w', [Step('a', act, read_keys=[])])\n" + source.format(comment))
    assert codes(found) == ["KRS302"]


def test_another_remark_to_kairos_is_none_of_ours() -> None:
    found = report("wf = Workflow('w', [Step('a', act, read_keys=[])])  # kairos: nice, is it\n")
    assert codes(found) == []


def test_faults_of_the_graph_are_never_allowed() -> None:
    place = place_at(str(Path("flow.py").resolve()), 1)
    Path("flow.py").write_text("call()  # kairos: allow KRS001, KRS012: why not\n", "utf-8")
    given = [
        Finding(code, Severity.ERROR, None, "it is so", place) for code in ("KRS001", "KRS012")
    ]
    kept, suppressed = allowed([], given)
    assert [finding.code for finding in kept] == ["KRS001", "KRS012", "KRS302"]
    assert suppressed == []


def test_a_comment_at_the_function_or_at_its_step_will_do() -> None:
    declared = (
        "def typed(a: int) -> int:{}\n    return a\nwf = Workflow('w', [Step('b', typed){}])\n"
    )
    comment = "  # kairos: allow KRS204: it dumps all\n"
    place = place_at(str(Path("flow.py").resolve()), 4)
    for at_function, at_step in ((comment.rstrip(), ""), ("", f"{comment}\n")):
        Path("flow.py").write_text(HEAD + declared.format(at_function, at_step), encoding="utf-8")
        steps = load("flow.py").one().graph.steps
        kept, suppressed = allowed(
            steps, [Finding("KRS204", Severity.WARNING, "b", "it reads", place)]
        )
        assert (kept, len(suppressed)) == ([], 1)


def test_a_plan_made_of_plain_data_has_no_places_and_no_comments() -> None:
    graph = TaskGraph("plan", [Step("a", lambda ctx: 1)])
    again = TaskGraph.from_dict(graph.to_dict())
    assert examine(Scene(again)).suppressed == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"# kairos: allow KRS204: x\n\xff\xfe",
        b"# -*- coding: nonsense -*-\n# kairos: allow KRS204: x\n",
        b"# kairos: allow KRS204: x\n\0",
        b"x = '''\n# kairos: allow KRS204: x\n",
        b"(" * 10_000 + b"# kairos: allow KRS204: x\n",
        b"#" + b" " * 5_000_000 + b"kairos: allow KRS204: x\n",
        b"if 1:\n        x\n    y  # kairos: allow KRS204: x\n",
    ],
    ids=["bytes", "encoding", "nul", "unclosed", "deep", "huge", "indent"],
)
def test_a_file_that_is_no_python_is_no_crash(raw: bytes) -> None:
    Path("odd.py").write_bytes(raw)
    place = place_at(str(Path("odd.py").resolve()), 1)
    kept, _ = allowed([], [Finding("KRS205", Severity.ERROR, None, "it is so", place)])
    assert kept[0].code == "KRS205"


@pytest.mark.parametrize("file", ["gone.py", "<stdin>", "folder.py", "notes.md", "bad\0.py", ""])
def test_what_cannot_be_read_has_no_comments(file: str) -> None:
    Path("folder.py").mkdir()
    Path("notes.md").write_text("# kairos: allow KRS204: x", encoding="utf-8")
    assert commented(file) is None


def test_a_device_is_never_opened() -> None:
    assert commented("/dev/zero") is None


@given(st.text(max_size=200), st.text(alphabet="# kairos:alowKRS204,\n\"'()@def", max_size=200))
def test_any_text_is_read_without_a_crash(before: str, after: str) -> None:
    text = f"{before}# kairos: allow KRS204{after}"
    path = Path("any.py")
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = commented(str(path.resolve()))
    for line, (column, _) in (found.comments if found else {}).items():
        assert line >= 1
        assert column >= 1


@given(st.lists(st.sampled_from(["x = '{}'", '"""{}"""', "f'{}'", "r'''\n{}\n'''"]), max_size=5))
def test_no_string_is_ever_taken_for_a_comment(lines: list[str]) -> None:
    source = "\n".join(line.format("# kairos: allow KRS204: no") for line in lines)
    path = Path("strings.py")
    path.write_text(source + "\n# kairos: allow KRS201: yes\n", encoding="utf-8")
    found = commented(str(path.resolve()))
    assert found is not None
    assert [text for _, text in found.comments.values()] == [" allow KRS201: yes"]
