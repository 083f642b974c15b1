"""A model without a socket says what it is told to, in the order and the pieces it is told."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from kairos import ConfigError
from kairos.models import (
    Finished,
    Message,
    Model,
    ModelError,
    ModelResponse,
    Reasoning,
    ReasoningDelta,
    Request,
    StreamEvent,
    Text,
    TextDelta,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolResult,
    ToolSpec,
    UsageSeen,
    as_messages,
)
from kairos.testing import (
    Answer,
    CallTool,
    Cut,
    Filter,
    Refuse,
    Reply,
    Say,
    ScriptedModel,
    Status,
    Think,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ASK = Request(as_messages("hi"))
SEARCH = ToolSpec(
    "search",
    "",
    {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
)


def said(model: Model, request: Request = ASK) -> ModelResponse:
    return finished(list(model.stream(request)))


def finished(events: list[StreamEvent]) -> ModelResponse:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.response


def said_async(model: Model, request: Request = ASK) -> list[StreamEvent]:
    async def gather() -> list[StreamEvent]:
        return [event async for event in model.stream_async(request)]

    return asyncio.run(gather())


def test_each_call_gets_the_next_reply() -> None:
    model = ScriptedModel(["one", Say("two"), Answer({"three": 3})])

    assert [said(model).text for _ in range(3)] == ["one", "two", '{"three": 3}']


def test_a_plain_and_an_async_stream_give_the_same_events() -> None:
    replies: list[Any] = [(Think("so"), Say("hello"), CallTool("search", {"q": "x"}))]

    plain = list(ScriptedModel(replies, delta=2).stream(ASK))

    assert plain == said_async(ScriptedModel(replies, delta=2))


def test_deltas_have_the_size_that_was_chosen_and_finished_has_the_whole() -> None:
    reply = (Think("hmm", seal="s"), Say("hello"), CallTool("search", {"q": 1}, id="a"))
    model = ScriptedModel([reply], delta=3, provider="mine", name="small")

    *events, seen, last = model.stream(ASK)

    assert events == [
        ReasoningDelta("hmm"),
        TextDelta("hel"),
        TextDelta("lo"),
        ToolCallStarted(0, "a", "search"),
        ToolCallDelta(0, '{"q'),
        ToolCallDelta(0, '": '),
        ToolCallDelta(0, "1}"),
    ]
    assert isinstance(last, Finished)
    assert last.response.parts == (
        Reasoning("hmm", "s", "mine"),
        Text("hello"),
        ToolCall("a", "search", '{"q": 1}'),
    )
    assert (last.response.model, last.response.stop) == ("small", "tools")
    assert seen == UsageSeen(last.response.usage)


def test_without_a_size_each_text_is_one_delta() -> None:
    assert next(ScriptedModel(["a long text"]).stream(ASK)) == TextDelta("a long text")


def test_calls_of_tools_are_numbered_and_their_ids_are_unique() -> None:
    model = ScriptedModel([(CallTool("a"), CallTool("b")), CallTool("a")])

    events = [*model.stream(ASK), *model.stream(ASK)]
    started = [one for one in events if isinstance(one, ToolCallStarted)]

    assert [(one.call, one.name) for one in started] == [(0, "a"), (1, "b"), (0, "a")]
    assert len({one.id for one in started}) == 3


def test_arguments_that_are_text_go_out_as_they_are() -> None:
    model = ScriptedModel([CallTool("a", '{"broken": ')])

    assert said(model).tool_calls[0].arguments == '{"broken": '


@pytest.mark.parametrize(
    "content, stop",
    [
        (Say("x"), "end"),
        (CallTool("x"), "tools"),
        (Refuse(), "refused"),
        (Filter(), "filtered"),
        (Reply((Say("x"),), stop="length"), "length"),
    ],
)
def test_why_it_stopped_follows_from_what_it_said(content: Any, stop: str) -> None:
    assert said(ScriptedModel([content])).stop == stop


def test_usage_is_counted_by_messages_and_letters_or_is_given() -> None:
    usage = TokenUsage(100, 7, 107, cached_tokens=90)
    model = ScriptedModel(["eight888", Reply((Say("x"),), usage=usage)])
    long = Request(as_messages([{"role": "user", "content": "hi"}] * 3))

    assert said(model, long).usage == TokenUsage(30, 2, 32)
    assert said(model).usage is usage


def test_requests_are_kept_when_they_are_made() -> None:
    model = ScriptedModel(["one", "two"])

    model.stream(ASK)
    other = Request(as_messages("other"))
    model.stream_async(other)

    assert model.requests == [ASK, other]


def test_an_error_is_raised_in_its_turn() -> None:
    error = ModelError("rate_limited", "slow down", provider="x", status=429, retry_after=2.0)
    model = ScriptedModel([error, "then"])

    with pytest.raises(ModelError) as caught:
        list(model.stream(ASK))

    found = caught.value
    assert (found.kind, found.status, found.retry_after) == ("rate_limited", 429, 2.0)
    assert found.retryable
    assert not found.emitted
    assert said(model).text == "then"


def test_an_error_after_some_contents_says_that_something_was_given_out() -> None:
    model = ScriptedModel([("half", ModelError("interrupted", "lost", provider="x"))])
    events = model.stream(ASK)

    assert next(events) == TextDelta("half")
    with pytest.raises(ModelError) as caught:
        next(events)
    assert caught.value.emitted


def test_an_error_that_is_scripted_twice_is_made_anew() -> None:
    error = ModelError("server", "down", provider="x")
    model = ScriptedModel([error, error])

    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            said(model)
        assert caught.value is not error
    assert error.__traceback__ is None


def test_a_script_that_is_over_says_so_and_not_what_was_asked() -> None:
    model = ScriptedModel(["one"])
    said(model)

    with pytest.raises(ConfigError) as caught:
        model.stream(Request(as_messages("hunter2")))

    assert "call 2" in str(caught.value)
    assert "1 calls" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_function_of_the_request_answers_without_end() -> None:
    model = ScriptedModel(lambda request: request.messages[-1].text.upper())

    assert [said(model).text for _ in range(3)] == ["HI"] * 3


def test_a_function_may_stand_among_the_replies() -> None:
    model = ScriptedModel(["one", lambda request: Say(f"{len(request.messages)}"), "three"])

    assert [said(model).text for _ in range(3)] == ["one", "1", "three"]


def test_an_async_function_answers_an_async_call() -> None:
    async def slowly(request: Request) -> str:
        await asyncio.sleep(0)
        return "at last"

    assert finished(said_async(ScriptedModel(slowly))).text == "at last"
    with pytest.raises(ConfigError, match="stream_async"):
        ScriptedModel(slowly).stream(ASK)


def test_a_call_that_is_cancelled_while_the_model_thinks_ends() -> None:
    async def forever(request: Request) -> str:
        await asyncio.Event().wait()
        return "never"

    async def run() -> None:
        async def read() -> None:
            async for _ in ScriptedModel(forever).stream_async(ASK):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_without_replies_a_tool_is_called_until_there_is_a_result() -> None:
    model = ScriptedModel()
    first = said(model, Request(as_messages("find"), tools=(SEARCH,)))
    call = first.tool_calls[0]
    history = (
        *as_messages("find"),
        first.message,
        Message("tool", (ToolResult(call.id, call.name, "it is here"),)),
    )

    assert (call.name, call.arguments) == ("search", '{"q": "text"}')
    assert "it is here" in said(model, Request(history, tools=(SEARCH,))).text


def test_without_replies_an_output_is_satisfied_and_a_text_echoed() -> None:
    output = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    assert said(ScriptedModel(), Request(as_messages("x"), output=output)).text == '{"n": 1}'
    assert said(ScriptedModel()).text == "echo: hi"


def test_a_stream_that_is_closed_early_ends() -> None:
    model = ScriptedModel(["a text"], delta=1)
    events: Any = model.stream(ASK)
    next(events)

    events.close()

    assert list(events) == []


def test_many_threads_share_a_script_without_losing_a_reply() -> None:
    model = ScriptedModel([str(number) for number in range(200)])
    seen: list[str] = []

    def ask() -> None:
        seen.extend(said(model).text for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(int, seen)) == list(range(200))
    assert len(model.requests) == 200


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: ScriptedModel("one"), "list"),
        (lambda: ScriptedModel(Say("one")), "list"),
        (lambda: ScriptedModel(("one", "two")), "list"),
        (lambda: ScriptedModel([Cut()]), "FakeProviders"),
        (lambda: ScriptedModel([Status(500)]), "ModelError"),
        (lambda: ScriptedModel([7]), "int"),  # type: ignore[list-item]
        (lambda: ScriptedModel([{"text": "x"}]), "dict"),
        (lambda: ScriptedModel([b"x"]), "bytes"),
    ],
)
def test_what_is_no_script_is_refused_when_the_model_is_made(
    make: Callable[[], object], says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make()

    assert says in str(caught.value)
