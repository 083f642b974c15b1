"""The fakes speak as the providers do: the real SDKs understand them, and see each fault.

What an SDK makes of a fault is written down here as it is, wrong or not: an adapter has to mend it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import sys
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from kairos import ConfigError
from kairos.models import ModelError, TokenUsage
from kairos.testing import (
    Answer,
    Body,
    CallTool,
    ContentType,
    Cut,
    Delay,
    Duplicate,
    End,
    FakeProviders,
    Filter,
    Framing,
    Garbage,
    Gzip,
    Insert,
    Interim,
    NoUsage,
    Received,
    Refuse,
    Reply,
    Say,
    SlowHeaders,
    Stall,
    Status,
    StreamError,
    Swap,
    Think,
    Truncate,
    sample,
)
from sdk_calls import APIS, MODES, call

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("anthropic")
pytest.importorskip("openai")
pytest.importorskip("google.genai")

pytestmark = [
    # google-genai's own, on the way out of a client that saw an error
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "words": {"type": "array", "items": {"enum": ["a"]}}},
    "required": ["n", "words"],
    "additionalProperties": False,
}
QUERY = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS: dict[str, dict[str, Any]] = {
    "anthropic": {"tools": [{"name": "search", "description": "d", "input_schema": QUERY}]},
    "openai.chat": {
        "tools": [{"type": "function", "function": {"name": "search", "parameters": QUERY}}]
    },
    "openai.responses": {"tools": [{"type": "function", "name": "search", "parameters": QUERY}]},
    "gemini": {
        "config": {
            "tools": [
                {"function_declarations": [{"name": "search", "parameters_json_schema": QUERY}]}
            ],
            "automatic_function_calling": {"disable": True},
        }
    },
}
OUTPUT: dict[str, dict[str, Any]] = {
    "anthropic": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "openai.chat": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        }
    },
    "openai.responses": {
        "text": {
            "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
        }
    },
    "gemini": {
        "config": {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    },
}
STOPS = {
    "end": ("end_turn", "stop", "completed", "STOP"),
    "tools": ("tool_use", "tool_calls", "completed", "STOP"),
    "length": ("max_tokens", "length", "incomplete", "MAX_TOKENS"),
    "stop_sequence": ("stop_sequence", "stop", "completed", "STOP"),
    "refused": ("refusal", "stop", "completed", "SAFETY"),
    "filtered": ("refusal", "content_filter", "incomplete", "SAFETY"),
}
every_api = pytest.mark.parametrize("api", APIS)
every_mode = pytest.mark.parametrize("mode", MODES)
two_modes = pytest.mark.parametrize("mode", ["plain", "async-stream"])


@pytest.fixture
def fake() -> Iterator[FakeProviders]:
    with FakeProviders() as running:
        yield running


def stop_of(seen: Any) -> str:
    return str(getattr(seen.stop, "value", seen.stop))


# --- what can be said


@every_api
@every_mode
def test_a_text_arrives_whole_in_pieces_or_not(fake: FakeProviders, api: str, mode: str) -> None:
    text = "Grüße aus Köln 🙂, in several pieces"
    fake.reply(text)

    seen = call(fake.url, api, mode)

    assert seen.error is None
    assert "".join(seen.text) == text
    assert len(seen.text) == (5 if mode.endswith("stream") else 1)
    assert seen.ended
    assert stop_of(seen) == STOPS["end"][APIS.index(api)]


@every_api
@every_mode
def test_thoughts_text_and_calls_of_tools_arrive(fake: FakeProviders, api: str, mode: str) -> None:
    fake.reply(Think("let me see"), Say("I look"), CallTool("search", {"q": "ä"}))

    seen = call(fake.url, api, mode, **TOOLS[api])

    assert seen.error is None
    assert "".join(seen.text) == "I look"
    ((name, arguments),) = seen.calls
    assert name == "search"
    assert json.loads(arguments.replace("'", '"')) == {"q": "ä"}
    assert stop_of(seen) == STOPS["tools"][APIS.index(api)]
    if api != "openai.chat":  # whose SDK has no field for thoughts
        assert "".join(seen.thoughts) == "let me see"


@every_api
@every_mode
def test_several_tools_are_called_at_once(fake: FakeProviders, api: str, mode: str) -> None:
    fake.reply(CallTool("search", {"q": "a"}), CallTool("search", {"q": "b"}))

    seen = call(fake.url, api, mode, **TOOLS[api])

    assert [name for name, _ in seen.calls] == ["search", "search"]


@every_api
@two_modes
@pytest.mark.parametrize("stop", ["length", "stop_sequence"])
def test_it_stops_for_the_reason_that_is_scripted(
    fake: FakeProviders, api: str, mode: str, stop: str
) -> None:
    fake.reply("cut", stop=stop)

    assert stop_of(call(fake.url, api, mode)) == STOPS[stop][APIS.index(api)]


@every_api
@every_mode
def test_a_refusal_is_told_as_the_provider_tells_it(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply(Refuse("I will not."))

    seen = call(fake.url, api, mode)

    assert stop_of(seen) == STOPS["refused"][APIS.index(api)]
    assert "".join(seen.text) == ("" if api == "anthropic" else "I will not.")


@every_api
@every_mode
def test_a_filter_is_told_as_the_provider_tells_it(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply(Filter())

    seen = call(fake.url, api, mode)

    assert stop_of(seen) == STOPS["filtered"][APIS.index(api)]
    assert "".join(seen.text) == ""


@every_mode
def test_a_blocked_prompt_is_an_error_or_at_gemini_a_reply_without_candidates(
    fake: FakeProviders, mode: str
) -> None:
    for api in APIS[:3]:
        fake.reply(Filter(prompt=True))
        assert getattr(call(fake.url, api, mode).error, "status_code", None) == 400

    fake.reply(Filter(prompt=True))
    (answer,) = call(fake.url, "gemini", mode).raw

    assert answer.candidates is None
    assert answer.prompt_feedback.block_reason == "PROHIBITED_CONTENT"


@every_api
@every_mode
def test_usage_is_told_in_the_providers_own_terms(fake: FakeProviders, api: str, mode: str) -> None:
    fake.reply("x", usage=TokenUsage(100, 20, 120, cached_tokens=60, reasoning_tokens=5))

    usage = call(fake.url, api, mode).usage

    told = {
        "anthropic": lambda: (
            usage.input_tokens + usage.cache_read_input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens,
        ),
        "openai.chat": lambda: (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.prompt_tokens_details.cached_tokens,
        ),
        "openai.responses": lambda: (
            usage.input_tokens,
            usage.output_tokens,
            usage.input_tokens_details.cached_tokens,
        ),
        "gemini": lambda: (
            usage.prompt_token_count,
            usage.candidates_token_count + usage.thoughts_token_count,
            usage.cached_content_token_count,
        ),
    }[api]()
    assert told == (100, 20, 60)


@every_api
@every_mode
def test_usage_may_be_missing(fake: FakeProviders, api: str, mode: str) -> None:
    fake.reply("x", NoUsage())

    seen = call(fake.url, api, mode)

    assert seen.error is None
    assert seen.usage is None
    assert seen.ended


def test_an_openai_stream_tells_its_usage_only_where_it_is_asked_for(fake: FakeProviders) -> None:
    import openai

    with openai.OpenAI(api_key="k", base_url=f"{fake.url}/v1") as client:
        stream = client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        assert all(chunk.usage is None for chunk in stream)


# --- without a script


@every_api
@every_mode
def test_without_a_script_the_prompt_is_echoed(fake: FakeProviders, api: str, mode: str) -> None:
    assert "".join(call(fake.url, api, mode, prompt="who?").text) == "echo: who?"


@every_api
@every_mode
def test_without_a_script_a_wanted_output_is_satisfied(
    fake: FakeProviders, api: str, mode: str
) -> None:
    seen = call(fake.url, api, mode, **OUTPUT[api])

    assert json.loads("".join(seen.text)) == {"n": 1, "words": ["a"]}


@every_api
@every_mode
def test_without_a_script_a_tool_is_called(fake: FakeProviders, api: str, mode: str) -> None:
    ((name, arguments),) = call(fake.url, api, mode, **TOOLS[api]).calls

    assert name == "search"
    assert json.loads(arguments.replace("'", '"')) == {"q": "text"}


def test_without_a_script_a_whole_loop_over_a_tool_ends(fake: FakeProviders) -> None:
    import anthropic

    messages: list[Any] = [{"role": "user", "content": "find it"}]
    answer: Any = None
    with anthropic.Anthropic(api_key="k", base_url=fake.url) as client:
        for _ in range(3):
            answer = client.messages.create(
                model="claude", max_tokens=99, messages=messages, **TOOLS["anthropic"]
            )
            messages.append({"role": "assistant", "content": answer.content})
            if answer.stop_reason != "tool_use":
                break
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": "it is here"}
                for block in answer.content
                if block.type == "tool_use"
            ]
            messages.append({"role": "user", "content": results})

    assert fake.count() == 2
    assert answer.content[-1].text == "The tool answered: it is here"


@pytest.mark.parametrize(
    "choice, calls",
    [({"type": "none"}, 0), ({"type": "any"}, 1), ({"type": "tool", "name": "search"}, 1)],
)
def test_a_choice_of_tools_is_heard(fake: FakeProviders, choice: Any, calls: int) -> None:
    seen = call(fake.url, "anthropic", tool_choice=choice, **TOOLS["anthropic"])

    assert len(seen.calls) == calls


# --- scripts


def test_replies_come_in_order_and_then_the_requests_own(fake: FakeProviders) -> None:
    fake.script("one", ("two", CallTool("x")), Answer([3]))

    said = ["".join(call(fake.url, "anthropic").text) for _ in range(4)]

    assert said == ["one", "two", "[3]", "echo: hi"]
    assert fake.left == 0


def test_a_reply_waits_for_its_provider_and_its_model(fake: FakeProviders) -> None:
    fake.reply("all")
    fake.reply("claude's", provider="anthropic")
    fake.reply("gpt's", provider="openai", model="gpt")
    fake.reply("only responses", provider="openai.responses")

    said = ["".join(call(fake.url, api).text) for api in ("anthropic", *APIS[1:], "gemini")]

    assert said == ["claude's", "gpt's", "only responses", "all", "echo: hi"]


def test_a_reply_may_be_for_one_call_by_its_number(fake: FakeProviders) -> None:
    fake.reply("third", on=3).reply(Status(500), on=2, provider="anthropic")

    seen = [call(fake.url, "anthropic") for _ in range(4)]

    assert [getattr(one.error, "status_code", None) for one in seen] == [None, 500, None, None]
    assert "".join(seen[2].text) == "third"


def test_a_function_of_the_request_answers_all_or_leaves_it(fake: FakeProviders) -> None:
    def shout(received: Received) -> str | None:
        return received.prompt.upper() if received.model == "claude" else None

    fake.answer(shout).reply("first")

    said = ["".join(call(fake.url, api).text) for api in ("anthropic", "anthropic", "gemini")]

    assert said == ["first", "HI", "echo: hi"]


@pytest.mark.parametrize(
    "arrange",
    [
        lambda fake: fake.reply(7),
        lambda fake: fake.reply({"text": "x"}),
        lambda fake: fake.reply("x", provider="cohere"),
        lambda fake: fake.reply("x", on=0),
        lambda fake: fake.reply(ModelError("server", "down", provider="x")),
    ],
)
def test_what_cannot_be_arranged_is_refused_at_once(arrange: Any) -> None:
    with pytest.raises(ConfigError):
        arrange(FakeProviders())


# --- what is known after


@every_api
def test_what_was_received_is_kept_without_its_key(fake: FakeProviders, api: str) -> None:
    call(fake.url, api, "stream", prompt="hello", **TOOLS[api])

    (one,) = fake.requests
    assert (one.number, one.api, one.method, one.stream) == (1, api, "POST", True)
    assert one.asked is not None
    assert one.prompt == "hello"
    assert [tool.name for tool in one.asked.tools] == ["search"]
    assert one.key_header is not None
    assert "[REDACTED]" in one.headers[one.key_header]
    assert one.headers[one.key_header].removeprefix("Bearer ") == "[REDACTED]"
    assert fake.count(api) == fake.count() == 1
    assert fake.count("anthropic" if api == "gemini" else "gemini") == 0


def test_a_key_in_the_query_is_masked_and_taken(fake: FakeProviders) -> None:
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    status, _, _ = raw(fake, "/v1beta/models/g:generateContent?key=hunter2", body)

    assert status == 403  # today's API wants the header
    assert "hunter2" not in repr(fake.requests)


def raw(
    fake: FakeProviders, path: str, body: Any, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """Post without an SDK."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{fake.url}{path}", data, headers or {})  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


def test_how_many_were_open_at_once_is_known(fake: FakeProviders) -> None:
    together = threading.Barrier(4)

    def meet(received: Received) -> str:
        together.wait(timeout=30)
        return "met"

    fake.answer(meet)
    threads = [threading.Thread(target=call, args=(fake.url, api)) for api in APIS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert fake.most_open == 4


def test_the_environment_leads_the_sdks_here(
    fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    import anthropic
    import openai
    from google import genai

    for name, value in fake.environ().items():
        monkeypatch.setenv(name, value)
    with anthropic.Anthropic() as first, openai.OpenAI() as second, genai.Client() as third:
        first.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
        second.responses.create(model="m", input="hi")
        third.models.generate_content(model="m", contents="hi")

    assert [one.provider for one in fake.requests] == ["anthropic", "openai", "gemini"]


# --- HTTP faults


@every_api
@two_modes
@pytest.mark.parametrize("code", [400, 401, 403, 404, 408, 409, 413, 429, 500, 503, 529])
def test_an_error_status_is_told_as_the_provider_tells_it(
    fake: FakeProviders, api: str, mode: str, code: int
) -> None:
    fake.reply(Status(code))

    error: Any = call(fake.url, api, mode).error

    if api == "gemini":
        assert (error.code, error.details["error"]["code"]) == (code, code)
        assert error.status
    else:
        assert error.status_code == code
        assert error.body
    assert fake.count() == 1


@pytest.mark.parametrize(
    "after, header",
    [
        (2, "2"),
        (0.5, "0.5"),
        (datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC), "Sat, 21 Nov 2026 12:00:00 GMT"),
        ("soon", "soon"),
    ],
)
def test_when_to_come_again_is_told_in_every_form(
    fake: FakeProviders, after: Any, header: str
) -> None:
    fake.reply(Status(429, retry_after=after, retry_after_ms=20, headers={"X-More": "y"}))

    error: Any = call(fake.url, "anthropic").error

    assert error.response.headers["retry-after"] == header
    assert error.response.headers["retry-after-ms"] == "20"
    assert error.response.headers["x-more"] == "y"


def test_gemini_tells_in_its_body_when_to_come_again(fake: FakeProviders) -> None:
    fake.reply(Status(429, retry_after=36))

    error: Any = call(fake.url, "gemini").error

    (detail,) = error.details["error"]["details"]
    assert detail["@type"].endswith("google.rpc.RetryInfo")
    assert detail["retryDelay"] == "36s"


@pytest.mark.parametrize(
    "status, kind, code",
    [
        (Status(429), "tokens", "rate_limit_exceeded"),
        (Status(429, message="slower"), "tokens", "rate_limit_exceeded"),
        (Status(429, type="insufficient_quota"), "insufficient_quota", "insufficient_quota"),
        (Status(401), "invalid_request_error", "invalid_api_key"),
    ],
)
def test_openai_tells_a_spent_account_from_a_full_minute(
    fake: FakeProviders, status: Status, kind: str, code: str
) -> None:
    fake.reply(status)

    error: Any = call(fake.url, "openai.chat").error

    assert (error.type, error.code) == (kind, code)


@pytest.mark.parametrize("api, calls", [("anthropic", 3), ("openai.chat", 3), ("gemini", 1)])
@pytest.mark.parametrize("mode", ["plain", "stream"])
def test_sdks_try_again_on_their_own_unless_told_not_to(
    fake: FakeProviders, api: str, mode: str, calls: int
) -> None:
    fake.script(*[Status(503, retry_after_ms=1)] * 9)

    call(fake.url, api, mode, retries=2)

    assert fake.count() == calls


@every_api
@every_mode
def test_an_sdk_does_not_try_again_once_it_streams(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.script(("hello there my friend", Cut(after_events=-1)))

    seen = call(fake.url, api, mode, retries=0 if mode in ("plain", "async") else 2)

    assert seen.error is not None
    assert fake.count() == 1


@every_api
@two_modes
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    "where", [{}, {"after_events": 2}, {"after_bytes": 0}, {"after_bytes": 60}]
)
def test_a_lost_connection_is_an_error(
    fake: FakeProviders, api: str, mode: str, reset: bool, where: Any
) -> None:
    fake.reply("hello there my friend", Cut(**where, reset=reset))

    seen = call(fake.url, api, mode)

    wrapped = {"anthropic": "APIConnectionError", "gemini": "httpx2"}.get(api, "APIConnectionError")
    if api == "anthropic" and where and mode.endswith("stream"):
        wrapped = "httpx2"  # within a stream this SDK lets the transport's own error out
    assert wrapped in repr(type(seen.error))
    assert not seen.ended


@every_api
@pytest.mark.parametrize("mode", ["stream", "async-stream"])
@pytest.mark.parametrize("fault", [End(-1), End(0), Truncate(90)])
def test_a_stream_that_ends_early_in_good_order_is_no_error_to_any_sdk(
    fake: FakeProviders, api: str, mode: str, fault: Any
) -> None:
    fake.reply("hello there my friend", fault)

    seen = call(fake.url, api, mode)

    if fault == Truncate(90) and api == "gemini":
        assert "UnknownApiResponseError" in repr(seen.error)  # it reads what is half an event
        return
    assert seen.error is None
    if not (api == "openai.chat" and fault == End(-1)):  # only [DONE] is missing, and not missed
        assert not seen.ended or seen.stop is not None


@every_api
@pytest.mark.parametrize("mode", ["plain", "async"])
@pytest.mark.parametrize("fault", [End(1), Truncate(30), Garbage()])
def test_a_body_that_is_no_json_is_a_bare_decode_error(
    fake: FakeProviders, api: str, mode: str, fault: Any
) -> None:
    fake.reply("hello", fault)

    assert isinstance(call(fake.url, api, mode).error, json.JSONDecodeError)


@every_api
@every_mode
def test_html_with_a_good_status_is_a_text_nothing_or_an_error(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply(Body("<html>a proxy</html>", content_type="text/html"))

    seen = call(fake.url, api, mode)

    if api == "gemini":
        assert isinstance(seen.error, ValueError)
    else:
        assert seen.error is None
        assert seen.raw == ([] if mode.endswith("stream") else ["<html>a proxy</html>"])


@every_api
@every_mode
def test_an_empty_body_with_a_good_status_is_a_decode_error_or_nothing(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply(Body(""))

    seen = call(fake.url, api, mode)

    streamed = mode.endswith("stream")
    assert isinstance(seen.error, json.JSONDecodeError) is (not streamed and api != "gemini")
    assert seen.text == []


@every_api
@every_mode
def test_an_empty_object_is_an_answer_without_anything(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply(Body("{}"))

    seen = call(fake.url, api, mode)

    assert seen.error is None
    assert (seen.text, seen.stop, seen.usage) == ([], None, None)


@every_api
@pytest.mark.parametrize("mode", ["stream", "async-stream"])
def test_an_event_that_is_no_json_ends_a_stream_with_an_error(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply("hello there my friend", Garbage(-2))

    seen = call(fake.url, api, mode)

    assert isinstance(seen.error, ValueError)


@every_api
@every_mode
def test_an_error_within_a_stream_is_raised_by_all_but_responses(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply("hello there my friend", StreamError(at=-1))

    seen = call(fake.url, api, mode)

    if api == "openai.responses" and mode.endswith("stream"):
        assert seen.error is None
        assert seen.raw[-1].type == "error"
    else:
        assert seen.error is not None
    assert stop_of(seen) == "None" or api in ("openai.chat", "anthropic")


def test_responses_tell_of_a_failure_in_a_second_way_too(fake: FakeProviders) -> None:
    fake.reply("hello", StreamError(at=4, type="response.failed"))

    seen = call(fake.url, "openai.responses", "stream")

    assert seen.error is None
    assert seen.raw[-1].type == "response.failed"
    assert seen.raw[-1].response.error.code == "server_error"


@every_api
@pytest.mark.parametrize("mode", ["stream", "async-stream"])
def test_an_unheard_of_event_does_not_change_the_text(
    fake: FakeProviders, api: str, mode: str
) -> None:
    fake.reply("hello there my friend", Insert(1), Insert(-1, event=None))

    seen = call(fake.url, api, mode)

    assert seen.error is None
    assert "".join(seen.text) == "hello there my friend"


@every_api
@pytest.mark.parametrize("mode", ["stream", "async-stream"])
def test_an_event_may_come_twice_or_late(fake: FakeProviders, api: str, mode: str) -> None:
    first = {"anthropic": 3, "openai.chat": 1, "openai.responses": 4, "gemini": 0}[api]
    fake.script(("hello there", Duplicate(first)), ("hello there", Swap(first)))

    twice, late = call(fake.url, api, mode), call(fake.url, api, mode)

    assert "".join(twice.text) == "hello thello there"
    assert "".join(late.text) == "herehello t"


@every_api
@every_mode
def test_the_framing_of_a_stream_does_not_change_what_is_said(
    fake: FakeProviders, api: str, mode: str
) -> None:
    text = "Grüße 🙂\r\n\u2028 data: x"
    comments = api != "gemini"  # whose SDK takes a comment for data
    fake.reply(text, Framing(delta=1, write=1, crlf=True, comments=comments))

    seen = call(fake.url, api, mode)

    assert seen.error is None
    assert "".join(seen.text) == text


@pytest.mark.parametrize("mode", ["stream", "async-stream"])
def test_a_comment_in_a_stream_breaks_the_gemini_sdk(fake: FakeProviders, mode: str) -> None:
    fake.reply("hello", Framing(comments=True))

    assert "UnknownApiResponseError" in repr(call(fake.url, "gemini", mode).error)


@every_api
@two_modes
@pytest.mark.parametrize("fault", [Gzip(), Interim(103), ContentType("text/plain")])
def test_what_http_allows_is_understood(
    fake: FakeProviders, api: str, mode: str, fault: Any
) -> None:
    fake.reply("hello there", fault)

    seen = call(fake.url, api, mode)

    assert seen.error is None
    assert "".join(seen.text) == "hello there"


@every_api
@two_modes
def test_a_redirect_is_followed(fake: FakeProviders, api: str, mode: str) -> None:
    fake.reply(Status(307, headers={"location": "/v1/elsewhere"}))

    error: Any = call(fake.url, api, mode).error

    assert getattr(error, "status_code", getattr(error, "code", None)) == 404
    assert [one.path for one in fake.requests][1:] == ["/v1/elsewhere"]


@every_api
@pytest.mark.parametrize("mode", ["plain", "stream"])
@pytest.mark.parametrize("fault", [Delay(30), Stall(30, at=-1)])
def test_silence_ends_with_the_clients_patience(
    fake: FakeProviders, api: str, mode: str, fault: Any
) -> None:
    fake.reply("hello there my friend", fault)

    seen = call(fake.url, api, mode, timeout=0.3)

    assert "Timeout" in repr(type(seen.error))
    assert not seen.ended or api == "openai.chat"


def test_a_compressed_reply_is_compressed(fake: FakeProviders) -> None:
    fake.reply("x" * 9999, Gzip())

    error = call(fake.url, "anthropic")

    assert error.error is None
    request = urllib.request.Request(  # noqa: S310
        f"{fake.url}/v1/responses",
        json.dumps({"model": "m", "input": "y" * 9999}).encode(),
        {"authorization": "Bearer k"},
    )
    fake.reply(Gzip())
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) < 2000


def test_headers_may_come_one_by_one(fake: FakeProviders) -> None:
    fake.reply("x", SlowHeaders(0.01))

    assert "".join(call(fake.url, "gemini").text) == "x"


@every_api
@two_modes
def test_a_huge_reply_arrives(fake: FakeProviders, api: str, mode: str) -> None:
    fake.reply("x" * 2_000_000, Framing(delta=50_000))

    assert len("".join(call(fake.url, api, mode).text)) == 2_000_000


@every_api
@two_modes
def test_while_the_server_is_down_connections_are_refused(
    fake: FakeProviders, api: str, mode: str
) -> None:
    call(fake.url, api, mode)
    with fake.down():
        refused = call(fake.url, api, mode)
    after = call(fake.url, api, mode)

    assert refused.error is not None
    assert "Connect" in repr(type(refused.error)) + repr(refused.error.__cause__)
    assert after.error is None
    assert fake.count() == 2


# --- bad requests


@every_api
def test_without_a_key_the_provider_refuses(fake: FakeProviders, api: str) -> None:
    path = {
        "anthropic": "/v1/messages",
        "openai.chat": "/v1/chat/completions",
        "openai.responses": "/v1/responses",
        "gemini": "/v1beta/models/g:generateContent",
    }[api]

    status, body, _ = raw(fake, path, {})

    assert status == (403 if api == "gemini" else 401)
    assert body["error"]["message"]
    assert fake.requests[0].key_header is None


HI = [{"role": "user", "content": "hi"}]
USE = {"type": "tool_use", "id": "a", "name": "t", "input": {}}
LOOSE = {"type": "object", "properties": {"n": {"type": "integer"}}}
CALLED = {
    "role": "assistant",
    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}],
}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("anthropic", {"max_tokens": None}, "max_tokens"),
    ("anthropic", {"messages": []}, "at least one message"),
    ("anthropic", {"messages": [{"role": "bot", "content": "x"}]}, "messages.0.role"),
    ("anthropic", {"messages": [*HI, {"role": "assistant", "content": [USE]}]}, "tool_result"),
    (
        "anthropic",
        {"messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "z", "content": "x"}]}]},
        "unexpected `tool_use_id`",
    ),
    ("anthropic", {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]},
     "non-whitespace"),
    ("anthropic", {"extra_body": {"seed": 1}}, "seed: Extra inputs are not permitted"),
    ("anthropic", {"tools": [{"name": "a b", "input_schema": QUERY}]}, "String should match"),
    ("anthropic", {"tools": [{"name": "a", "input_schema": {}}]}, "input_schema.type"),
    ("anthropic", {"tools": [{"name": "a", "input_schema": QUERY}] * 2}, "unique"),
    ("anthropic", {"output_config": {"format": {"type": "json_schema", "schema": LOOSE}}},
     "additionalProperties"),
    ("anthropic", {"output_config": {"format": {"type": "json_schema", "schema": {
        "type": "integer", "minimum": 1}}}}, "minimum"),
    ("openai.chat", {"messages": []}, "messages"),
    ("openai.chat", {"extra_body": {"top_k": 1}}, "Unrecognized request argument"),
    ("openai.chat", {"messages": [{"role": "bot", "content": "x"}]}, "Invalid value: 'bot'"),
    ("openai.chat", {"messages": [*HI, CALLED]}, "did not have response messages: c"),
    ("openai.chat", {"messages": [*HI, {"role": "tool", "tool_call_id": "c", "content": "x"}]},
     "must be a response"),
    ("openai.chat", {"max_tokens": 1, "max_completion_tokens": 1}, "at the same time"),
    ("openai.chat", {"response_format": {"type": "json_object"}}, "the word 'json'"),
    ("openai.chat", {"response_format": {"type": "json_schema", "json_schema": {
        "name": "a", "strict": True, "schema": LOOSE}}}, "additionalProperties"),
    ("openai.chat", {"tools": [{"type": "function", "function": {
        "name": "a", "strict": True, "parameters": {**LOOSE, "additionalProperties": False}}}]},
     "Missing 'n'"),
    ("openai.chat", {"tool_choice": "required"}, "only allowed when 'tools'"),
    ("openai.responses", {"extra_body": {"seed": 1}}, "Unknown parameter: 'seed'"),
    ("openai.responses", {"input": []}, "Missing required parameter: 'input'"),
    ("openai.responses", {"input": [{"type": "function_call_output", "call_id": "z",
                                     "output": "x"}]}, "No tool call found"),
    ("openai.responses", {"input": [{"type": "function_call", "call_id": "z", "name": "t",
                                     "arguments": "{}"}]}, "No tool output found"),
    ("openai.responses", {"max_output_tokens": 3}, ">= 16"),
    ("openai.responses", {"text": {"format": {"type": "json_schema", "name": "a", "strict": True,
                                              "schema": LOOSE}}}, "additionalProperties"),
    ("gemini", {"contents": [{"role": "bot", "parts": [{"text": "x"}]}]}, "valid role"),
    ("gemini", {"contents": [{"role": "model", "parts": [
        {"function_call": {"name": "t", "args": {}}}]},
        {"role": "user", "parts": [{"text": "x"}]}]}, "function response parts"),
    ("gemini", {"config": {"response_json_schema": LOOSE}}, "application/json"),
    ("gemini", {"config": {"http_options": {"extra_body": {"generationConfig": {"bad": 1}}}}},
     'Unknown name "bad"'),
    ("gemini", {"config": {"tools": [{"function_declarations": [
        {"name": "t"}, {"name": "t"}]}]}}, "Duplicate function declaration"),
]  # fmt: skip


@pytest.mark.parametrize("api, options, says", BAD)
def test_a_bad_request_is_refused_in_the_providers_words(
    fake: FakeProviders, api: str, options: dict[str, Any], says: str
) -> None:
    error: Any = call(fake.url, api, **options).error

    assert getattr(error, "status_code", getattr(error, "code", None)) == 400
    assert says in str(error)
    assert fake.requests[0].refused == 400
    fake.reply("not taken")
    assert fake.left == 1


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"null", b'{"messages": 7}', b"\xff\xfe"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
def test_a_malformed_body_is_refused_and_never_a_crash(
    fake: FakeProviders, path: str, body: bytes
) -> None:
    headers = {"authorization": "Bearer k", "anthropic-version": "2023-06-01"}

    status, answer, _ = raw(fake, path, body, headers)

    assert status == 400
    assert answer["error"]["message"]


@pytest.mark.parametrize(
    "headers, says",
    [
        ({"anthropic-version": "2023-06-01", "x-api-key": "k"}, "not_found_error"),
        ({"authorization": "Bearer k"}, "Invalid URL (POST /v1/nowhere)"),
        ({"x-goog-api-key": "k"}, "NOT_FOUND"),
    ],
)
def test_a_place_that_is_not_there_is_refused_in_the_words_of_whom_the_client_means(
    fake: FakeProviders, headers: dict[str, str], says: str
) -> None:
    status, answer, _ = raw(fake, "/v1/nowhere", {}, headers)

    assert status == 404
    assert says in json.dumps(answer)


@every_api
def test_only_the_models_that_exist_answer(api: str) -> None:
    with FakeProviders(models={"claude", "gpt", "gemini"}) as fake:
        assert call(fake.url, api).error is None
        error: Any = call(fake.url, api, model="gone-1").error

    assert getattr(error, "status_code", getattr(error, "code", None)) == 404
    assert "gone-1" in str(error)


@every_api
def test_only_the_keys_that_are_good_are_taken(api: str) -> None:
    with FakeProviders(keys={"other"}) as fake:
        error: Any = call(fake.url, api).error
    with FakeProviders(keys={"k"}) as fake:
        assert call(fake.url, api).error is None

    if api == "gemini":
        assert error.code == 400
        assert error.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    else:
        assert error.status_code == 401


def test_tokens_are_counted_where_the_provider_counts_them(fake: FakeProviders) -> None:
    import anthropic

    with anthropic.Anthropic(api_key="k", base_url=fake.url) as client:
        counted = client.messages.count_tokens(
            model="m", messages=[{"role": "user", "content": "hi"}]
        )

    assert counted.input_tokens > 0


# --- the server itself


def test_leaving_does_not_wait_for_a_stalled_reply() -> None:
    with FakeProviders() as fake:
        fake.reply("x", Delay(3600))
        thread = threading.Thread(target=call, args=(fake.url, "anthropic"))
        thread.start()
        while not fake.requests:
            threading.Event().wait(0.001)
    thread.join(timeout=30)

    assert not thread.is_alive()


def test_many_async_calls_at_once_are_all_answered(fake: FakeProviders) -> None:
    import openai

    async def many() -> list[str]:
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{fake.url}/v1") as client:
            answers = await asyncio.gather(
                *(client.responses.create(model="m", input=str(number)) for number in range(64))
            )
        return [one.output_text for one in answers]

    assert asyncio.run(many()) == [f"echo: {number}" for number in range(64)]
    assert fake.count() == 64


# --- samples


@pytest.mark.parametrize(
    "schema, value",
    [
        ({"const": 7}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "multipleOf": 5}, 5),
        ({"type": "number", "minimum": 0, "maximum": 0.2}, 0.0),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "null"}, None),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True},
         [1, 2]),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False}, [1, 2]),
        ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, {"a": "text"}),
        ({"type": "object", "minProperties": 1}, {"key0": {}}),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]}]}, {"a": 1, "b": 2}),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}, "v": {"const": 1}},
            "required": ["v"]}}}, {"v": 1}),
    ],
)  # fmt: skip
def test_a_sample_satisfies_its_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema) == value


def ask_a_function_that_fails() -> Any:
    def fail(received: Received) -> str:
        raise ZeroDivisionError

    with FakeProviders() as fake:
        fake.answer(fail)
        seen = call(fake.url, "anthropic")
        assert getattr(seen.error, "status_code", None) == 500
        assert fake.most_open == 1


def test_a_function_that_fails_is_not_lost_in_a_thread() -> None:
    with pytest.raises(ZeroDivisionError):
        ask_a_function_that_fails()


@every_api
def test_a_body_that_is_too_deep_is_refused(fake: FakeProviders, api: str) -> None:
    path = "/v1/messages" if api == "anthropic" else "/v1/responses"

    status, _, _ = raw(fake, path, b"[" * 200_000, {"authorization": "Bearer k"})

    assert status == 400


# --- what only one provider has


def gemini_turns(fake: FakeProviders, *, seal: bytes | None) -> Any:
    asked = {"role": "user", "parts": [{"text": "find"}]}
    ((part),) = [
        one
        for one in call(fake.url, "gemini", **TOOLS["gemini"]).raw[0].candidates[0].content.parts
        if one.function_call
    ]
    called = {"function_call": part.function_call.model_dump(exclude_none=True)}
    if seal is not None:
        called["thought_signature"] = seal
    result = {"function_response": {"name": "search", "response": {"found": 1}}}
    turns = [asked, {"role": "model", "parts": [called]}, {"role": "user", "parts": [result]}]
    return call(fake.url, "gemini", contents=turns, **TOOLS["gemini"])


def test_gemini_wants_the_signature_back_that_a_call_went_out_with(fake: FakeProviders) -> None:
    reply = (Think("let me", seal="+/8="), CallTool("search", {"q": "x"}))
    fake.script(reply)

    assert gemini_turns(fake, seal=b"\xfb\xff").text == ['The tool answered: {"found": 1}']
    fake.clear()
    fake.script(reply)
    assert "thought_signature" in str(gemini_turns(fake, seal=None).error)


def test_claude_wants_its_thoughts_back_before_a_call(fake: FakeProviders) -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
    turns = [*HI, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [result]}]
    thinking = {"type": "enabled", "budget_tokens": 50}

    error = call(fake.url, "anthropic", messages=turns, thinking=thinking).error

    assert "Expected `thinking`" in str(error)
    assert call(fake.url, "anthropic", messages=turns).error is None


def test_a_thought_that_is_hidden_comes_without_its_text(fake: FakeProviders) -> None:
    said = (Think("secret", seal="c2VhbA==", hidden=True), Say("so"))
    fake.script(*[said] * 8)

    for api in APIS:
        for mode in ("plain", "stream"):
            seen = call(fake.url, api, mode)
            assert seen.error is None
            assert (seen.thoughts, seen.text) == ([], ["so"])
            assert "secret" not in repr(seen.raw)
            assert "c2VhbA==" in repr(seen.raw) or api in ("openai.chat", "gemini")


def test_a_seal_is_whole_only_when_its_item_is_done(fake: FakeProviders) -> None:
    fake.reply(Think("why", seal="c2VhbGVk"), Say("so"))

    events = call(fake.url, "openai.responses", "stream").raw

    kinds = ("response.output_item.added", "response.output_item.done")
    added, done = (next(one.item for one in events if one.type == kind) for kind in kinds)
    assert (added.encrypted_content, done.encrypted_content) == ("c2Vh", "c2VhbGVk")


@every_api
def test_all_events_may_go_out_together(fake: FakeProviders, api: str) -> None:
    fake.script(
        ("a longer text", Framing(together=True, delta=1)),
        ("cut off", Framing(together=True), Cut(-1)),
    )

    whole, cut = call(fake.url, api, "stream"), call(fake.url, api, "stream")

    assert whole.text == list("a longer text")
    assert cut.error is not None


# -- mistakes of whoever tests --------------------------------------------------------------------


def any_value(value: Any) -> Any:
    return value  # what a type checker would have refused


def test_what_does_not_listen_yet_has_no_address() -> None:
    for ask in (lambda: FakeProviders().url, FakeProviders().environ, FakeProviders().down):
        with pytest.raises(ConfigError, match="do not listen yet"):
            contextlib.ExitStack().enter_context(ask())  # type: ignore[arg-type]


def test_it_is_entered_once_at_a_time(fake: FakeProviders) -> None:
    with pytest.raises(ConfigError, match="listen already"):
        fake.__enter__()
    assert not call(fake.url, "anthropic").error


@pytest.mark.parametrize(
    "arrange",
    [
        lambda fake: fake.reply("x", on="1"),
        lambda fake: fake.reply("x", on=True),
        lambda fake: fake.reply("x", model=3),
        lambda fake: fake.reply("x", provider=3),
        lambda fake: fake.reply("x", stop=3),
        lambda fake: fake.reply("x", usage={"input_tokens": 3}),
        lambda fake: fake.reply(Reply((Say("x"),)), stop="length"),
        lambda fake: fake.reply(Status(200)),
        lambda fake: fake.reply(Status(any_value("429"))),
        lambda fake: fake.reply(Status(429, retry_after="\u0663")),
        lambda fake: fake.reply(Status(429, headers={"x": "a\nb"})),
        lambda fake: fake.script(["one", "two"]),
        lambda fake: fake.answer("x"),
        lambda fake: fake.answer(Reply(any_value("x"))),
        lambda _: FakeProviders(models=any_value("gpt-5-mini")),
        lambda _: FakeProviders(keys=any_value("sk")),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_arranged(
    fake: FakeProviders, arrange: Any
) -> None:
    with pytest.raises(ConfigError):
        arrange(fake)
    assert fake.left == 0


def test_nothing_of_a_key_or_a_cookie_is_kept(fake: FakeProviders) -> None:
    headers = {"x-api-key": "two words", "cookie": "sid=abc; t=def", "proxy-authorization": "b xyz"}
    request = urllib.request.Request(f"{fake.url}/v1/messages", b"{}", headers)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request)  # noqa: S310
    kept = fake.requests[0].headers
    assert (kept["x-api-key"], kept["cookie"]) == ("[REDACTED]", "[REDACTED]")
    assert kept["proxy-authorization"] == "b [REDACTED]"


def test_a_body_in_chunks_is_read(fake: FakeProviders) -> None:
    asked = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
    port = int(fake.url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(2):  # on the same connection, which nothing is left over in
        connection.request(
            "POST",
            "/v1/chat/completions",
            iter([asked[:9], asked[9:]]),
            {"authorization": "Bearer x"},
            encode_chunked=True,
        )
        assert json.loads(connection.getresponse().read())["choices"][0]["finish_reason"] == "stop"
    connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of it in the middle")
@pytest.mark.parametrize("fault", [Delay(30), Stall(30, at=2)])
def test_a_client_that_hangs_up_is_noticed_in_the_middle_of_a_silence(
    fake: FakeProviders, fault: Any
) -> None:
    fake.reply("one two three", fault)
    assert call(fake.url, "anthropic", "async-stream", timeout=0.2).error
    gone = threading.Event()
    for _ in range(200):
        if fake.hung_up or gone.wait(0.02):
            break
    assert fake.hung_up == 1
