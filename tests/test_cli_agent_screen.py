"""What an agent does, as it is seen: nothing of it moves the cursor, and nothing gets lost."""

from __future__ import annotations

import io
import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kairos.agents.engagement import ToolStarted
from kairos.agents.events import Decided, ModelAnswered, ToolFinished
from kairos.cli.agent_screen import Heard, Screen
from kairos.cli.output import clean
from kairos.models import Message, ReasoningDelta, Text, TextDelta, TokenUsage, ToolCall

SGR = re.compile(r"\x1b\[[\d;]*m")


class Stream(io.StringIO):
    encoding = "utf-8"


def screen(*, color: bool = False, reasoning: bool = False) -> tuple[Screen, Stream, Stream]:
    text, lines = Stream(), Stream()
    return Screen(text, lines, color=color, reasoning=reasoning), text, lines


def answered(*parts: Any) -> ModelAnswered:
    return ModelAnswered(Message("assistant", parts), TokenUsage(1, 1, 2))


@given(st.lists(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\r\n\x1b")))))
def test_text_is_the_same_however_it_is_cut(pieces: list[str]) -> None:
    seen, text, _ = screen()
    for piece in pieces:
        seen.show(TextDelta(piece))
    seen.end()
    whole = "".join(pieces)
    told = clean(whole.removesuffix("\r")).encode("utf-8", "backslashreplace").decode()
    assert text.getvalue() == (told if not told or told.endswith("\n") else f"{told}\n")
    assert seen.streamed == whole


@given(
    st.lists(
        st.one_of(
            st.builds(TextDelta, st.text()),
            st.builds(ReasoningDelta, st.text()),
            st.builds(ToolStarted, st.just("1"), st.text()),
            st.builds(Decided, st.just("1"), st.text(), st.just("deny"), reason=st.text()),
            st.builds(
                ToolFinished,
                st.just("1"),
                st.text(),
                st.text(),
                st.sampled_from(["done", "denied", "failed", "timeout"]),
                st.tuples(st.text()),
                seconds=st.floats(0, 1e6),
            ),
            st.text().map(lambda each: answered(Text(each), ToolCall("1", "tool", each))),
            st.text(),
        )
    ),
    st.booleans(),
)
def test_nothing_that_is_said_moves_the_cursor(happened: list[Any], color: bool) -> None:
    seen, text, lines = screen(color=color, reasoning=True)
    printing = Heard(seen, lines)
    for each in happened:
        printing.write(each) if isinstance(each, str) else seen.show(each)
    seen.end()
    for stream in (text, lines):
        written = SGR.sub("", stream.getvalue()) if color else stream.getvalue()
        assert clean(written) == written


def test_lines_are_held_while_somebody_is_asked() -> None:
    seen, text, lines = screen()
    seen.show(TextDelta("Let me"))
    with seen.paused():
        assert text.getvalue() == "Let me\n"
        seen.show(ToolStarted("1", "search"))
        Heard(seen, lines).write("printed\n")
        assert lines.getvalue() == ""
    assert lines.getvalue() == "▸ search\nprinted\n"


def test_arguments_are_told_without_their_secrets_and_not_at_any_length() -> None:
    seen, _, lines = screen()
    given = json.dumps({"api_key": "hunter2", "text": "x" * 10_000})
    seen.show(answered(ToolCall("1", "send", given)))
    seen.show(ToolStarted("1", "send"))
    assert "hunter2" not in lines.getvalue()
    assert len(lines.getvalue()) < 200
