"""A conversation that broke off goes on where it was, whatever it was, wherever it broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.agents import agent, event_from_plain, event_to_plain, tool
from kairos.agents.authority import Allow, Ask
from kairos.agents.events import (
    AgentEvent,
    Decided,
    ModelAnswered,
    ModelFailed,
    TaskGiven,
    ToolFinished,
)
from kairos.agents.limits import Limits
from kairos.agents.loop import Ask as Asked
from kairos.agents.loop import Call, Called, Ended, resume
from kairos.agents.plan import Plan
from kairos.agents.transcript import Snapshot
from kairos.contracts.contract import compile_contract
from kairos.exceptions import ConfigError
from kairos.models import Message, Text, TokenUsage, ToolCall, as_messages
from kairos.testing import CallTool, ScriptedModel

if TYPE_CHECKING:
    from kairos.agents.conversation import Conversation

NAMES = st.sampled_from(["a", "b", "final_answer", "give_up"])
CALLS = st.builds(
    ToolCall,
    st.sampled_from(["", "1", "2", "x"]),
    NAMES,
    st.sampled_from(["{}", '{"n": 1}', "{", '{"answer": 3}', '{"answer": "no"}']),
)
TEXTS = st.sampled_from(["", "same", "3", "text", '{"answer": 4}'])
USAGES = st.builds(
    TokenUsage,
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([None, 0.5]),
)
ANSWERS = st.builds(
    lambda text, calls, usage, stop: (
        Message("assistant", (*((Text(text),) if text else ()), *calls)),
        usage,
        stop,
    ),
    TEXTS,
    st.lists(CALLS, max_size=3),
    USAGES,
    st.sampled_from(["end"] * 12 + ["refused", "length", "filtered"]),
)
OUTCOMES = st.sampled_from(["done", "failed", "denied", "timeout"])
LIMITS = st.builds(
    Limits,
    st.integers(1, 8),
    st.none() | st.integers(1, 6),
    st.none() | st.integers(60, 400),
    st.none() | st.integers(5, 30),
    st.none() | st.integers(60, 400),
    st.none() | st.just(1.0),
    st.none() | st.integers(3, 30),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 3),
)
PLANS = st.builds(
    lambda limits, typed, via, most, autonomous: Plan(
        limits=limits,
        answer=compile_contract(int) if typed else None,
        schema={"type": "object", "properties": {"answer": {"type": "integer"}}} if typed else None,
        wrapped=typed,
        via=via,
        answer_retries=1,
        most_calls={"a": most},
        autonomous=typed and autonomous,
    ),
    LIMITS,
    st.booleans(),
    st.sampled_from(["output", "tool"]),
    st.integers(1, 3),
    st.booleans(),
)


class World:
    """What answers and calls bring, by their position: the same whoever asks, and counted."""

    def __init__(self, script: list[Any], fates: list[tuple[str, bool]]) -> None:
        self.script, self.fates = script, fates
        self.asked: list[int] = []
        self.called: list[str] = []

    def answer(self, number: int, at: float) -> ModelAnswered | ModelFailed:
        self.asked.append(number)
        message, usage, stop = self.script[number % len(self.script)]
        return ModelAnswered(message, usage, stop, at=at)

    def call(self, call: ToolCall, at: float) -> ToolFinished:
        self.called.append(call.id)
        outcome, ends = self.fates[sum(map(ord, call.id)) % len(self.fates)]
        return ToolFinished(call.id, call.name, f"{call.name} said", outcome, ends=ends, at=at)


def live(
    plan: Plan, events: list[AgentEvent], world: World
) -> tuple[Ended, Conversation, list[AgentEvent]]:
    """Run from `events` to the end; returns all events, the old and the new."""
    conversation, loop = resume(plan, events)
    all_events, told = list(events), cast("Any", None)
    answered = sum(isinstance(each, ModelAnswered) for each in events)
    while True:
        try:
            wanted = loop.send(told)
        except StopIteration as ended:
            return ended.value, conversation, all_events
        at = float(len(all_events))
        if isinstance(wanted, Asked):
            assert isinstance(wanted.request.messages, Snapshot)
            told = world.answer(answered, at)
            answered += 1
            all_events.append(told)
        else:
            assert isinstance(wanted, Call)
            results = [world.call(call, at + n) for n, call in enumerate(wanted.calls)]
            all_events += results
            told = Called(tuple(reversed(results)))


@settings(max_examples=300, deadline=None)
@given(
    PLANS,
    st.lists(ANSWERS, min_size=1, max_size=6),
    st.lists(st.tuples(OUTCOMES, st.booleans()), min_size=1, max_size=4),
)
def test_every_prefix_leads_to_the_same_end_and_asks_for_nothing_twice(
    plan: Plan, script: list[Any], fates: list[tuple[str, bool]]
) -> None:
    task: list[AgentEvent] = [TaskGiven(as_messages("go"))]
    ended, conversation, events = live(plan, task, World(script, fates))
    messages = list(conversation.transcript.snapshot())
    for length in range(1, len(events) + 1):
        world = World(script, fates)
        prefix = [event_from_plain(event_to_plain(each)) for each in events[:length]]
        again, resumed, more = live(plan, prefix, world)
        assert again == ended
        assert list(resumed.transcript.snapshot()) == messages
        assert resumed.used.usage == conversation.used.usage
        assert more == events
        assert len(world.asked) == sum(isinstance(e, ModelAnswered) for e in events[length:])
        finished = {e.call for e in events[:length] if isinstance(e, ToolFinished)}
        assert not finished & set(world.called)


@settings(max_examples=200, deadline=None)
@given(PLANS, st.lists(ANSWERS, min_size=1, max_size=6))
def test_every_call_has_its_result_whatever_ends_the_task(plan: Plan, script: list[Any]) -> None:
    task: list[AgentEvent] = [TaskGiven(as_messages("go"))]
    _, conversation, _ = live(plan, task, World(script, [("done", False)]))
    open_calls: list[str] = []
    for message in conversation.transcript.snapshot():
        if message.role == "tool":
            assert [part.id for part in message.parts] == open_calls  # type: ignore[union-attr]
            open_calls = []
        else:
            assert open_calls == []
            open_calls = [part.id for part in message.parts if isinstance(part, ToolCall)]
    assert open_calls == []


def test_an_agent_resumes_without_asking_for_what_was_answered() -> None:
    made: list[int] = []

    @tool
    def write(number: int) -> int:
        made.append(number)
        return number

    script = [(CallTool("write", {"number": 1}), CallTool("write", {"number": 2})), "done"]
    events: list[AgentEvent] = []
    whole = agent(ScriptedModel(script), tools=[write]).run("go", record=events.append)
    for length in range(1, len(events) + 1):
        made.clear()
        kept = events[:length]
        answered = sum(isinstance(each, ModelAnswered) for each in kept)
        model = ScriptedModel(script[answered:])
        again = agent(model, tools=[write]).resume(kept)
        assert again.answer == whole.answer
        assert [each.output for each in again.actions] == [each.output for each in whole.actions]
        assert len(made) == 2 - sum(isinstance(each, ToolFinished) for each in kept)
        assert len(model.requests) == 2 - answered


def test_a_question_that_was_answered_is_not_asked_again() -> None:
    asked: list[str] = []

    @tool
    def delete(path: str) -> str:
        return f"deleted {path}"

    def approve(question: Any) -> Allow:
        asked.append(question.hash)
        return Allow()

    def made(script: list[Any]) -> Any:
        return agent(
            ScriptedModel(script),
            tools=[delete],
            guards=[lambda r: Ask("really?")],
            approve=approve,
        )

    events: list[AgentEvent] = []
    made([CallTool("delete", {"path": "x"}), "done"]).run("go", record=events.append)
    until = next(n for n, each in enumerate(events) if isinstance(each, Decided))
    result = made(["done"]).resume(events[: until + 1])
    assert result.actions[0].output == "deleted x"
    assert len(asked) == 1


@settings(max_examples=100, deadline=None)
@given(st.lists(ANSWERS, max_size=3))
def test_events_are_plain_json_and_back(answers: list[Any]) -> None:
    import json

    events: list[AgentEvent] = [
        TaskGiven(as_messages("go")),
        *(ModelAnswered(m, u, s, "m", 1.5, 2.5) for m, u, s in answers),
        ModelFailed("overloaded", None),
        Decided("c", "t", "deny", "h", "{}", "no", "why?", answered=True),
        ToolFinished("c", "t", "x", "denied", ("role_marker",), ends=True),
    ]
    for event in events:
        assert event_from_plain(json.loads(json.dumps(event_to_plain(event)))) == event


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"type": "no"},
        {"type": "task_given"},
        3,
        {"type": "model_failed", "kind": 1, "version": 1},
        {"type": "model_failed", "kind": "x", "version": 99},
        {"type": "tool_finished", "version": 1},
    ],
)
def test_what_is_no_event_is_refused(stored: Any) -> None:
    with pytest.raises(ConfigError):
        event_from_plain(stored)


def test_a_snapshot_is_a_sequence_that_stays_as_it_is() -> None:
    messages = [*as_messages("a"), *as_messages("b"), *as_messages("c")]
    shot = Snapshot(messages, 2)
    messages += as_messages("d")
    assert len(shot) == 2
    assert [m.text for m in shot] == ["a", "b"]
    assert shot[-1].text == "b"
    assert [m.text for m in shot[:9]] == ["a", "b"]
    assert shot == tuple(messages[:2])
    assert shot != tuple(messages)
    with pytest.raises(IndexError):
        _ = shot[2]
