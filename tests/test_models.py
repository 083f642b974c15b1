"""The words between kairos and a language model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.exceptions import ConfigError
from kairos.models import (
    Document,
    Image,
    Message,
    ModelError,
    ModelResponse,
    Reasoning,
    Text,
    TokenUsage,
    ToolCall,
    ToolResult,
    as_messages,
)
from kairos.models.errors import RETRYABLE, kind_of_status
from kairos.models.parts import from_plain, to_plain

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(max_size=20)
PARTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Reasoning, TEXTS, TEXTS, TEXTS),
    st.builds(Image, TEXTS, st.binary(max_size=8), TEXTS),
    st.builds(Document, TEXTS, st.binary(max_size=8), TEXTS, TEXTS),
    st.builds(ToolCall, TEXTS, TEXTS, TEXTS, TEXTS),
    st.builds(ToolResult, TEXTS, TEXTS, TEXTS, st.booleans()),
)
MESSAGES = st.builds(
    Message, st.sampled_from(["user", "assistant", "tool"]), st.lists(PARTS).map(tuple)
)


@given(MESSAGES)
def test_a_message_is_plain_json_at_rest_and_comes_back_equal(message: Message) -> None:
    stored = json.dumps(to_plain(message), ensure_ascii=True)

    assert from_plain(json.loads(stored)) == message


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {},
        {"role": "user"},
        {"role": "root", "parts": []},
        {"role": "user", "parts": [{"type": "spell"}]},
        {"role": "user", "parts": [{"type": "text", "text": 3}]},
        {"role": "user", "parts": [{"type": "text", "text": "a", "more": "b"}]},
        {"role": "user", "parts": [{"type": "image", "media_type": "image/png", "data": "%"}]},
        {"role": "user", "parts": [3]},
    ],
)
def test_what_is_no_stored_message_is_refused(stored: Any) -> None:
    with pytest.raises(ConfigError):
        from_plain(stored)


def test_people_write_messages_in_three_ways() -> None:
    asked = Message("user", (Text("Hello"),))

    assert as_messages("Hello") == (asked,)
    assert as_messages(asked) == (asked,)
    assert as_messages([{"role": "user", "content": "Hello"}, asked]) == (asked, asked)
    assert as_messages([to_plain(asked)]) == (asked,)


@pytest.mark.parametrize(
    "given_", [3, b"Hello", {"role": "user"}, [3], [{"role": "system", "content": "x"}]]
)
def test_what_is_no_message_is_refused(given_: Any) -> None:
    with pytest.raises(ConfigError):
        as_messages(given_)


def test_an_image_is_a_file_bytes_or_a_url(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"png")

    assert Image.of(tmp_path / "a.png") == Image("image/png", b"png")
    assert Image.of("https://example.org/a.jpg").url == "https://example.org/a.jpg"
    assert Image.of(b"png", "image/png").data == b"png"
    assert Document.of("https://example.org/a.pdf").name == "a.pdf"
    with pytest.raises(ConfigError, match="what kind of file"):
        Image.of(b"png")


def test_an_answer_gives_its_tool_calls_and_itself_as_a_message() -> None:
    call = ToolCall("1", "search", "{}")
    answer = ModelResponse("Hm", "m", TokenUsage(), 1.0, parts=(Text("Hm"), call))

    assert answer.tool_calls == (call,)
    assert answer.message == Message("assistant", (Text("Hm"), call))
    assert answer.message.text == "Hm"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529, 599])
def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    assert kind_of_status(status) in RETRYABLE


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 418, 422])
def test_a_status_that_stays_is_not(status: int) -> None:
    assert kind_of_status(status) not in RETRYABLE


def test_an_error_says_whether_and_when_to_try_again() -> None:
    busy = ModelError("rate_limited", "too many requests", provider="p", retry_after=3.0)
    refused = ModelError("refused", "the model refused", provider="p")

    assert (busy.retryable, busy.retry_after) == (True, 3.0)
    assert refused.retryable is False
