"""Approval on the terminal: what a person is shown, and what counts as a yes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.agents import Deny, Question, agent, tool
from kairos.agents import terminal as on_terminal
from kairos.agents.terminal import ask_on_terminal
from kairos.testing import CallTool, ScriptedModel
from terminals import Terminal

ROOT = Path(__file__).resolve().parents[1]
HASH = "3f9a1c2e77aa" + "0" * 52

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no pseudo-terminal")

PROGRAM = """\
import json, sys
sys.path.insert(0, {root!r})
from kairos.agents import Ask, agent, tool
from kairos.agents.terminal import TerminalApproval
from kairos.testing import CallTool, ScriptedModel

made = []

@tool(effect={effect!r})
def delete(path: str, note: str = "") -> str:
    made.append(path)
    return "deleted"

def ask(request):
    return Ask({question!r})

turns = json.loads({turns!r})
calls = [tuple(CallTool("delete", each) for each in turn) for turn in turns]
model = ScriptedModel([*calls, "done"])
try:
    result = agent(model, tools=[delete], guards=[ask], approve={approve}, **{options!r}).run("go")
except KeyboardInterrupt:
    print("interrupted", made)
    sys.exit(130)
print([(one.outcome, one.decision) for one in result.actions], made, "typed:", end=" ", flush=True)
print(repr(sys.stdin.readline()) if {more!r} else "")
"""


def asking(
    folder: Path,
    *turns: list[dict[str, Any]],
    effect: str = "write",
    question: str = "",
    approve: str = "'terminal'",
    more: bool = False,
    columns: int = 80,
    options: dict[str, Any] | None = None,
    **streams: Any,
) -> Terminal:
    program = PROGRAM.format(
        root=str(ROOT),
        effect=effect,
        question=question,
        turns=json.dumps(turns or ([{"path": "/x"}],)),
        approve=approve,
        more=more,
        options=options or {},
    )
    return Terminal([sys.executable, "-c", program], folder, columns=columns, **streams)


@pytest.mark.parametrize(
    "typed, allowed",
    [
        ("y\n", True),
        ("yes\n", True),
        (" YES \n", True),
        ("n\n", False),
        ("\n", False),
        ("yy\n", False),
        ("y y\n", False),
        ("yes please\n", False),
        ("a\n", False),
        ("да\n", False),
        ("\x1b[24;80Ry\n", False),
        ("\x04", False),
        ("y" * 200 + "\n", False),
    ],
)
def test_only_a_clear_yes_allows(tmp_path: Path, typed: str, *, allowed: bool) -> None:
    with asking(tmp_path) as there:
        shown = there.expect("allow? [y/N] ")
        assert "│ delete  effect: write  hash: " in shown
        assert '│ path: "/x"\n' in shown
        there.type(typed)
        there.expect("typed:")
        assert there.end() == 0
    done = "[('done', 'allow')] ['/x']" if allowed else "[('denied', 'deny')] []"
    assert done in there.text


def test_ctrl_c_at_a_question_ends_the_task_and_makes_no_call(tmp_path: Path) -> None:
    with asking(tmp_path) as there:
        there.expect("allow? [y/N] ")
        there.type("\x03")
        assert there.end() == 130
    assert "interrupted []" in there.text


def test_a_question_that_nobody_answers_is_denied_and_takes_no_later_line(tmp_path: Path) -> None:
    with asking(tmp_path, options={"approval_timeout": 2.0}, more=True) as there:
        there.expect("allow? [y/N] ")
        there.type("y")  # and no newline
        there.expect("not answered: denied")
        there.expect("[('denied', 'deny')] [] typed: ")
        there.type("for the program\n")
        there.expect("'for the program\\n'")
        assert there.end() == 0


def test_what_was_typed_before_a_question_is_not_its_answer(tmp_path: Path) -> None:
    with asking(tmp_path, [{"path": "/a"}], [{"path": "/b"}]) as there:
        there.expect("allow? [y/N] ")
        there.type("y\ny\n")  # the second line comes before its question
        there.expect('path: "/b"')
        there.expect("allow? [y/N] ")
        there.type("n\n")
        there.expect("typed:")
        there.end()
    assert "[('done', 'allow'), ('denied', 'deny')] ['/a']" in there.text


def test_questions_of_one_turn_come_one_after_the_other(tmp_path: Path) -> None:
    with asking(tmp_path, [{"path": "/a"}, {"path": "/b"}]) as there:
        first = there.expect("allow? [y/N] ")
        assert first.count("may this call be made?") == 1
        there.type("y\n")
        second = there.expect("allow? [y/N] ")
        assert second.count("may this call be made?") == 1
        there.type("n\n")
        there.expect("typed:")
        there.end()
    assert "['/a']" in there.text


@pytest.mark.parametrize("typed, ends", [("y", "answered"), ("n", "tool_failed")])
def test_a_tool_that_has_failed_is_asked_about_as_such(
    tmp_path: Path, typed: str, ends: str
) -> None:
    program = f"""\
import sys
sys.path.insert(0, {str(ROOT)!r})
from kairos.agents import agent
from kairos.testing import CallTool, ScriptedModel

def fetch() -> str:
    raise ConnectionError("\\x1b[2J")

model = ScriptedModel([CallTool("fetch"), "done"])
print(agent(model, tools=[fetch], on_tool_error="ask", approve="terminal").run("go").stop_reason)
"""
    with Terminal([sys.executable, "-c", program], tmp_path) as there:
        shown = there.expect("go on? [y/N] ")
        assert "? a tool has failed: may the task go on?\n│ fetch  effect: write\n" in shown
        assert "ConnectionError" in shown
        there.type(f"{typed}\n")
        there.expect(ends)
        assert there.end() == 0
    assert "\x1b" not in there.text


def test_on_an_event_loop_a_question_expires_as_well(tmp_path: Path) -> None:
    program = f"""\
import asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
from kairos.agents import agent
from kairos.testing import CallTool, ScriptedModel

def delete(path: str) -> str:
    return path

def made(path):
    model = ScriptedModel([CallTool("delete", {{"path": path}}), "done"])
    options = {{"mode": "supervised", "approve": "terminal", "approval_timeout": 0.5}}
    return agent(model, tools=[delete], **options).run_async("go")

async def main():
    for result in await asyncio.gather(made("/a"), made("/b")):
        print("ended", result.actions[0].outcome)
    print("typed:", await asyncio.to_thread(sys.stdin.readline))

asyncio.run(main())
"""
    with Terminal([sys.executable, "-c", program], tmp_path) as there:
        there.expect("allow? [y/N] ")
        there.expect("ended denied\nended denied\n")
        there.type("mine\n")
        there.expect("typed: mine")
        assert there.end() == 0


# --- once, or from now on


MEMORY = "TerminalApproval()"


def test_a_holds_for_the_very_same_arguments_and_no_others(tmp_path: Path) -> None:
    turns = [[{"path": "/a"}], [{"path": "/a"}], [{"path": "/b"}]]
    with asking(tmp_path, *turns, approve=MEMORY) as there:
        assert "a to allow these very arguments" in there.expect("allow? [y/N] ")
        there.type("a\n")
        there.expect("allowed as before")
        assert '"/b"' in there.expect("allow? [y/N] ")
        there.type("n\n")
        there.expect("typed:")
        there.end()
    assert "['/a', '/a']" in there.text


@pytest.mark.parametrize("approve, effect", [("'terminal'", "write"), (MEMORY, "external")])
def test_where_a_is_not_offered_it_denies(tmp_path: Path, approve: str, effect: str) -> None:
    with asking(tmp_path, approve=approve, effect=effect) as there:
        assert "very arguments" not in there.expect("allow? [y/N] ")
        there.type("a\n")
        there.expect("typed:")
        there.end()
    assert "[('denied', 'deny')] []" in there.text


# --- without a terminal


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_without_a_terminal_nobody_is_asked(tmp_path: Path, stream: str) -> None:
    elsewhere: dict[str, Any] = {stream: subprocess.DEVNULL}
    with asking(tmp_path, **elsewhere) as there:
        there.expect("typed:")
        assert there.end() == 0
    assert "[('denied', 'deny')] []" in there.text
    assert "allow?" not in there.text


def test_in_the_background_nobody_is_asked_and_nothing_stops(tmp_path: Path) -> None:
    with asking(tmp_path) as there:
        program = there.process.args
        there.expect("allow? [y/N] ")
        there.type("n\n")
        there.end()
    assert isinstance(program, list)
    with Terminal(["bash", "-m", "-c", f"{shlex.join(program)} & wait"], tmp_path) as there:
        there.expect("[('denied', 'deny')] []")
        assert there.end() == 0
    assert "allow?" not in there.text


async def test_under_a_test_runner_nobody_is_asked() -> None:
    said = await ask_on_terminal(Question("delete", "write", {}, HASH, "", "1"))
    assert said == Deny("there is no terminal to ask on")


async def test_an_async_run_asks_in_the_same_way() -> None:
    @tool(effect="write")
    def delete(path: str) -> str:
        return path

    model = ScriptedModel([CallTool("delete", {"path": "x"}), "done"])
    made = agent(model, tools=[delete], mode="supervised", approve="terminal")
    result = await asyncio.wait_for(made.run_async("go"), 30)
    assert result.actions[0].outcome == "denied"
    assert "no terminal" in result.actions[0].output


# --- hostile arguments

FAKE = "x\nallow? [y/N] y\n? may this call be made?\n│ read_file  effect: read"
HOSTILE = [
    FAKE,
    "\x1b[2J\x1b[Hnothing to see",
    "\r? may this call be made?",
    "safe\x1b[8m rm -rf / \x1b[0m",
    "safe\u202egpj.exe",
    "\x9b2J",
    "a" + "\u0301" * 50,
    " " * 300 + "allow? [y/N] y",
    "\u3164" * 200 + "rm -rf /",
    "\ud800\U000e0041",
    "x\x08\x08\x08y",
    "\u2028allow? [y/N] ",
]


def lines_of(text: str) -> list[str]:
    return text.split("\n")


def shown(arguments: dict[str, Any], *, full: bool = False, question: str = "") -> list[str]:
    asked = Question("delete", "write", arguments, HASH, question, "1")
    return lines_of(on_terminal._Shown(asked, io.StringIO()).text(lasting=False, full=full))


def held(lines: list[str]) -> None:
    """Everything foreign stands behind a bar; what does not is ours, word for word."""
    assert lines[0] == "? may this call be made?"
    assert lines[-1] == "allow? [y/N] "
    assert re.fullmatch(
        r"y to allow it once(, f to see it in full)?; anything else denies", lines[-2]
    )
    assert all(line.startswith(("│ ", "| ")) for line in lines[1:-2])
    assert all(line.isprintable() and len(line) < 80 for line in lines)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("full", [False, True])
def test_hostile_arguments_cannot_leave_their_bar(hostile: str, *, full: bool) -> None:
    for arguments in ({"path": hostile}, {hostile: 1}, {"deep": [{"er": {hostile: hostile}}]}):
        held(shown(arguments, full=full, question=hostile))


@given(st.dictionaries(st.text(), st.recursive(st.text(), st.lists, max_leaves=5), max_size=5))
def test_no_arguments_at_all_can_leave_their_bar(arguments: dict[str, Any]) -> None:
    held(shown(arguments))
    held(shown(arguments, full=True))


@pytest.mark.parametrize("hostile", HOSTILE[:3])
def test_on_a_real_terminal_the_prompt_cannot_be_faked(tmp_path: Path, hostile: str) -> None:
    with asking(tmp_path, [{"path": hostile}], question=hostile) as there:
        there.expect("hash: ")
        there.expect("\nallow? [y/N] ")
        there.type("n\n")
        there.expect("typed:")
        there.end()
    assert "\x1b" not in there.text
    assert there.text.count("\nallow? [y/N] ") == 1
    assert lines_of(there.text)[1].startswith("│ delete  effect: write")
    assert len(re.findall(r"^\? may this call be made\?$", there.text, re.MULTILINE)) == 1


def test_an_argument_that_goes_on_cannot_pass_for_another() -> None:
    for spaces in range(90):
        lines = shown({"note": "x" + " " * spaces + 'path: "/safe"', "path": "/etc"})
        assert [line for line in lines if line.startswith("│ path: ")] == ['│ path: "/etc"']


def test_wide_letters_do_not_reach_the_edge() -> None:
    for line in shown({"path": "東京" * 90})[1:-2]:
        assert sum(2 if ord(char) > 0x2E80 else 1 for char in line) < 80


def test_a_long_argument_hides_no_other_and_is_shown_in_full_when_asked(tmp_path: Path) -> None:
    long = "x" * 3000 + "THE END"
    with asking(tmp_path, [{"path": long, "note": "short"}]) as there:
        first = there.expect("allow? [y/N] ")
        assert "THE END" not in first
        assert re.search(r"\[2,6\d\d more\W+characters\W+are not\W+shown\]", first)
        assert 'note: "short"' in first
        there.type("f\n")
        second = there.expect("allow? [y/N] ")
        assert "THE END" in second.replace("\n│   ", "")
        assert "f to see" not in second
        there.type("y\n")
        there.expect("typed:")
        there.end()
    assert "('done', 'allow')" in there.text


def test_a_long_question_is_cut_as_arguments_are() -> None:
    told = "\n".join(shown({}, question="may it? " * 100))
    assert "[400 more characters are not shown]" in told.replace("\n│   ", "")
    assert "f to see it in full" in told


def test_many_arguments_are_counted() -> None:
    told = "\n".join(shown({f"a{number}": number for number in range(50)}))
    assert "│ [30 more arguments are not shown]" in told
    assert "f to see it in full" in told


def test_secrets_are_masked_and_that_is_told() -> None:
    key = "sk-ant-api03-" + "x" * 90
    told = "\n".join(shown({"api_key": "hunter2", "header": f"use {key}", "to": "me"}))
    assert "hunter2" not in told
    assert key not in told
    assert 'to: "me"' in told
    assert "[what looks like a secret is masked]" in told
    assert "masked" not in "\n".join(shown({"to": "me"}))


def test_a_narrow_terminal_gets_narrow_lines(tmp_path: Path) -> None:
    with asking(tmp_path, [{"path": "/a" * 60}], columns=30) as there:
        told = there.expect("allow? [y/N] ")
        there.type("n\n")
        there.expect("typed:")
        there.end()
    assert max(len(line) for line in lines_of(told) if line.startswith("│")) < 30


UNDER_A_TREE = """\
import asyncio, sys, threading
sys.path.insert(0, {root!r})
from kairos import events
from kairos.agents import Question
from kairos.agents.terminal import ask_on_terminal
from kairos.cli.live import LiveTree
from kairos.cli.output import Relay

relay = sys.stderr = Relay(sys.stderr)
with LiveTree(relay.target, relay, color=False) as tree:
    tree.observe(events.RunStarted("r", "flow", {{"first": ()}}, {{}}, 1.0))
    said = asyncio.run(ask_on_terminal(Question("delete", "write", {{}}, "0" * 64, "", "1")))
print(type(said).__name__)
"""


def test_a_live_tree_keeps_still_while_somebody_is_asked(tmp_path: Path) -> None:
    program = UNDER_A_TREE.format(root=str(ROOT))
    with Terminal([sys.executable, "-c", program], tmp_path) as there:
        before = there.expect("? may this call be made?\n")
        assert before.endswith("\x1b[2K? may this call be made?\n")
        assert "\x1b[?25h" in before
        there.expect("allow? [y/N] ")
        there.type("ye")
        there.expect("ye")
        there.type("s\n")
        answered = there.expect("flow")
        assert answered.startswith("s\n\x1b[?25l")
        assert "\x1b[1A" not in answered, "it draws over the question"
        assert there.end() == 0
    assert there.text.endswith("\nAllow\n")
