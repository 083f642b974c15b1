"""How an agent works: at a task, towards a goal on its own, or under somebody's eyes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from kairos import Step, Workflow
from kairos.agents import (
    AgentResult,
    Allow,
    Ask,
    Decided,
    Deny,
    Question,
    Rewrite,
    Tool,
    ToolRequest,
    agent,
)
from kairos.agents.agent import Agent
from kairos.exceptions import ConfigError
from kairos.models import TokenUsage, ToolResult
from kairos.testing import CallTool, Reply, Say, ScriptedModel

if TYPE_CHECKING:
    from kairos.agents.events import AgentEvent


class Coverage(BaseModel):
    percent: int


MADE: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    MADE.clear()


def _look(path: str) -> str:
    MADE.append(("look", path))
    return path


def _write(path: str) -> str:
    MADE.append(("write", path))
    return path


LOOK, WRITE = Tool(_look, name="look", effect="read"), Tool(_write, name="write")
SEND = Tool(_write, name="send", effect="external")
TOOLS = [LOOK, WRITE, SEND]


def run_plain(made: Agent) -> AgentResult:
    return made.run("go")


def run_async(made: Agent) -> AgentResult:
    return asyncio.run(made.run_async("go"))


DRIVERS = pytest.mark.parametrize("run", [run_plain, run_async])
Run = Callable[[Agent], AgentResult]


def spoken(model: ScriptedModel) -> list[str]:
    return [m.text for m in model.requests[-1].messages if m.role == "user"]


# --- towards a goal


def alone(model: ScriptedModel, **options: Any) -> Agent:
    return agent(model, tools=TOOLS, mode="autonomous", **options)


@DRIVERS
def test_what_it_says_does_not_end_it_and_the_final_tool_does(run: Run) -> None:
    model = ScriptedModel(
        [
            "I am done!",
            CallTool("look", {"path": "a"}),
            "The goal is reached.",
            CallTool("final_answer", {"answer": "80 %"}),
        ]
    )
    result = run(alone(model))
    assert (result.stop_reason, result.answer) == ("answered", "80 %")
    assert result.iterations == 4
    assert MADE == [("look", "a")]
    first, second, third = spoken(model)
    assert first == "go"
    assert second == third
    assert "final_answer" in second
    assert "give_up" in second


@DRIVERS
def test_it_is_shown_how_to_end_and_nothing_else_is_different(run: Run) -> None:
    model = ScriptedModel([CallTool("final_answer", {"answer": "x"})])
    run(alone(model, instructions="Be brief."))
    (request,) = model.requests
    assert request.system == "Be brief."
    assert request.output is None
    assert [spec.name for spec in request.tools] == [
        "look", "write", "send", "final_answer", "give_up",
    ]  # fmt: skip


@DRIVERS
def test_its_answer_is_held_to_the_contract(run: Run) -> None:
    model = ScriptedModel(
        [
            CallTool("final_answer", {"percent": "most"}),
            CallTool("final_answer", {"percent": 80}),
        ]
    )
    result = run(alone(model, output=Coverage))
    assert result.answer == Coverage(percent=80)
    (refused, accepted) = [
        part for m in result.messages for part in m.parts if isinstance(part, ToolResult)
    ]
    assert '"failed_fields": ["percent"]' in refused.content
    assert "most" not in refused.content
    assert accepted.content == "accepted"


@DRIVERS
def test_answers_that_stay_wrong_end_it(run: Run) -> None:
    wrong = [CallTool("final_answer", {"answer": n}) for n in range(3)]
    assert run(alone(ScriptedModel(wrong))).stop_reason == "invalid_answer"


@DRIVERS
@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"reason": "there are no tests"}, "there are no tests"),
        ("{", ""),
        ("", ""),
        ('{"reason": 3}', ""),
        ("[]", ""),
        ("[" * 5000 + "]" * 5000, ""),
    ],
)
def test_giving_up_has_its_own_reason(run: Run, arguments: Any, reason: str) -> None:
    calls = (CallTool("give_up", arguments), CallTool("write", {"path": "a"}))
    result = run(alone(ScriptedModel([calls])))
    assert result.stop_reason == "gave_up"
    assert result.reason == reason
    assert result.answer is None
    assert MADE == []


@DRIVERS
@pytest.mark.parametrize(
    "limit, reason",
    [
        ({"max_iterations": 3}, "iterations"),
        ({"max_total_tokens": 4_000, "max_iterations": None}, "total_tokens"),
        ({"max_usd": 0.015, "max_iterations": None}, "usd"),
        ({"max_repeated_texts": 2}, "repeated_text"),
    ],
)
@pytest.mark.parametrize("text", ["Working on it.", ""])
def test_a_model_that_only_talks_comes_to_a_limit(
    run: Run, text: str, limit: dict[str, Any], reason: str
) -> None:
    replies = [Reply((Say(text),), usage=TokenUsage(900, 300, 1_200, 0.01)) for _ in range(9)]
    result = run(alone(ScriptedModel(replies), **limit))
    assert result.stop_reason == reason
    assert result.answer is None


@pytest.mark.parametrize(
    "options",
    [
        {"max_iterations": None},
        {"max_iterations": None, "max_tool_calls": 5},
        {"answer_via": "output"},
        {"tools": [Tool(_look, name="give_up")]},
    ],
)
def test_what_could_not_end_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        agent(ScriptedModel(["x"]), **{"mode": "autonomous", **options})


@pytest.mark.parametrize("limit", ["input_tokens", "output_tokens", "usd", "seconds"])
def test_any_limit_that_ends_it_will_do(limit: str) -> None:
    options: dict[str, Any] = {f"max_{limit}": 9}
    agent(ScriptedModel(["x"]), mode="autonomous", max_iterations=None, **options)


def test_in_a_step_the_contract_is_that_of_the_step() -> None:
    model = ScriptedModel(["hm", CallTool("final_answer", {"percent": 3})])
    step = Step("a", alone(model, task="Reach {topic}"), output_contract=Coverage)
    result = Workflow("w", [step]).run({"topic": "80 %"})
    assert result.output == {"percent": 3}
    assert spoken(model)[0] == "Reach 80 %"


def test_in_a_step_without_a_contract_the_answer_is_a_text() -> None:
    model = ScriptedModel([CallTool("final_answer", {"answer": "there"})])
    assert Workflow("w", [Step("a", alone(model, task="x"))]).run().output == "there"


def test_a_step_whose_agent_gives_up_fails_without_its_words() -> None:
    model = ScriptedModel([CallTool("give_up", {"reason": "the password is hunter2"})])
    made = alone(model, task="x")
    result = Workflow("w", [Step("a", made)]).run()
    assert "gave_up" in str(result.error)
    assert "hunter2" not in str(result.error) + repr(result)


def test_it_goes_on_where_it_was_broken_off() -> None:
    script = ["Hm.", CallTool("write", {"path": "a"}), CallTool("final_answer", {"answer": "ok"})]
    events: list[AgentEvent] = []
    whole = alone(ScriptedModel(script)).run("go", record=events.append)
    said = [(message.role, message.text) for message in whole.messages]
    asked = 0
    for length in range(1, len(events) + 1):
        asked = sum(type(each).__name__ == "ModelAnswered" for each in events[:length])
        model = ScriptedModel(script[asked:])
        again = alone(model).resume(events[:length])
        assert (again.stop_reason, again.answer) == ("answered", "ok")
        assert [(message.role, message.text) for message in again.messages] == said
    assert asked == len(script)


# --- under somebody's eyes


def watched(approve: Any, *calls: CallTool, **options: Any) -> Agent:
    given = calls or (CallTool("write", {"path": "a"}),)
    return agent(
        ScriptedModel([given, "done"]), tools=TOOLS, mode="supervised", approve=approve, **options
    )


ALL = [CallTool(name, {"path": "a"}) for name in ("look", "write", "send")]


@DRIVERS
def test_a_person_is_asked_of_all_but_reading_before_it_runs(run: Run) -> None:
    asked: list[Question] = []

    def approve(question: Question) -> bool:
        assert (question.tool, "a") not in MADE
        asked.append(question)
        return True

    result = run(watched(approve, *ALL))
    assert sorted(each.tool for each in asked) == ["send", "write"]
    assert {each.effect for each in asked} == {"write", "external"}
    assert [dict(each.arguments) for each in asked] == [{"path": "a"}] * 2
    assert len(MADE) == 3
    decided = {each.tool: each for each in result.events if isinstance(each, Decided)}
    assert decided["write"].answered
    assert decided["write"].hash == next(q.hash for q in asked if q.tool == "write")
    assert not decided["look"].answered


@DRIVERS
@pytest.mark.parametrize(
    "approve",
    [lambda q: False, lambda q: None, lambda q: 1, lambda q: "yes", lambda q: 1 / 0, lambda: True],
)
def test_without_a_clear_yes_nothing_is_done(run: Run, approve: Any) -> None:
    result = run(watched(approve, *ALL))
    assert MADE == [("look", "a")]
    assert sorted(each.outcome for each in result.actions) == ["denied", "denied", "done"]


@DRIVERS
def test_a_question_expires_to_deny(run: Run) -> None:
    never = threading.Event()
    result = run(watched(lambda q: never.wait(5), approval_timeout=0.05))
    never.set()
    assert MADE == []
    assert "in time" in result.actions[0].output


@DRIVERS
def test_a_guard_that_denies_is_not_overruled_and_nobody_is_asked(run: Run) -> None:
    asked: list[Question] = []

    def approve(question: Question) -> bool:
        asked.append(question)
        return True

    run(watched(approve, guards=[lambda request: Deny("no")]))
    assert (MADE, asked) == ([], [])


@DRIVERS
@pytest.mark.parametrize("verdict", [Allow(), Ask("really?")])
def test_a_guard_that_allows_does_not_save_the_question(run: Run, verdict: Any) -> None:
    asked: list[Question] = []
    run(watched(asked.append, guards=[lambda request: verdict]))
    assert len(asked) == 1
    assert MADE == []


@DRIVERS
def test_what_is_asked_about_is_what_the_guards_made_of_it(run: Run) -> None:
    asked: list[Any] = []

    def approve(question: Question) -> bool:
        asked.append(dict(question.arguments))
        return True

    def safe(request: ToolRequest) -> Rewrite:
        return Rewrite({"path": "safe/a"})

    run(watched(approve, guards=[safe]))
    assert asked == [{"path": "safe/a"}]
    assert MADE == [("write", "safe/a")]


@DRIVERS
@pytest.mark.parametrize(
    "options, outcomes",
    [
        ({"read_only": True}, {"look": "done", "write": "denied", "send": "denied"}),
        ({"allow": ["look"]}, {"look": "done", "write": "denied", "send": "denied"}),
        ({"dry_run": True}, {"look": "done", "write": "described", "send": "described"}),
    ],
)
def test_what_would_not_run_anyway_is_not_asked_about(
    run: Run, options: dict[str, Any], outcomes: dict[str, str]
) -> None:
    asked: list[Question] = []
    result = run(watched(asked.append, *ALL, **options))
    assert {each.tool: each.outcome for each in result.actions} == outcomes
    assert asked == []
    assert MADE == [("look", "a")]


@DRIVERS
def test_a_typed_answer_and_its_tool_need_nobodys_leave(run: Run) -> None:
    model = ScriptedModel([CallTool("final_answer", {"percent": 3})])
    made = agent(
        model, tools=TOOLS, mode="supervised", approve=lambda q: False, output=Coverage,
        answer_via="tool",
    )  # fmt: skip
    assert run(made).answer == Coverage(percent=3)


def test_in_a_step_it_is_asked_as_well() -> None:
    asked: list[Question] = []
    result = Workflow("w", [Step("a", watched(asked.append, task="x"))]).run()
    assert result.output == "done"
    assert len(asked) == 1
    assert MADE == []


@pytest.mark.parametrize("mode", ["supervised", "auto", "", None, 3, True])
def test_a_mode_that_is_none_or_lacks_somebody_is_refused(mode: Any) -> None:
    with pytest.raises(ConfigError) as told:
        agent(ScriptedModel(["x"]), tools=TOOLS, mode=mode)
    assert "test_agents_modes.py" in str(told.value)


# --- from one mode to another


def broken_off_before_the_call(**options: Any) -> list[AgentEvent]:
    """Return what is kept of an agent that was broken off between a decision and its call."""
    events: list[AgentEvent] = []
    model = ScriptedModel([CallTool("write", {"path": "a"}), "done"])
    agent(model, tools=TOOLS, **options).run("go", record=events.append)
    MADE.clear()
    until = next(n for n, each in enumerate(events) if isinstance(each, Decided))
    return events[: until + 1]


@pytest.mark.parametrize(
    "options",
    [
        {"read_only": True},
        {"allow": ["look"]},
        {"dry_run": True},
        {"guards": [lambda request: Deny()]},
        {"guards": [lambda request: Ask()]},
        {"before_tool": lambda request: False},
        {"mode": "supervised", "approve": lambda question: False},
    ],
)
def test_what_was_allowed_before_a_crash_is_held_to_the_rules_of_now(options: Any) -> None:
    events = broken_off_before_the_call(guards=[lambda request: Allow()])
    result = agent(ScriptedModel(["done"]), tools=TOOLS, **options).resume(events)
    assert MADE == []
    assert result.actions[0].outcome in ("denied", "described")


def test_a_person_who_said_yes_is_not_asked_again_after_a_crash() -> None:
    asked: list[Question] = []

    def approve(question: Question) -> bool:
        asked.append(question)
        return False

    events = broken_off_before_the_call(mode="supervised", approve=lambda question: True)
    made = agent(ScriptedModel(["done"]), tools=TOOLS, mode="supervised", approve=approve)
    made.resume(events, record=events.append)
    assert asked == []
    assert MADE == [("write", "a")]
    assert sum(isinstance(each, Decided) for each in events) == 1


def test_a_yes_to_other_arguments_is_none() -> None:
    events = broken_off_before_the_call(mode="supervised", approve=lambda question: True)
    move = [lambda request: Rewrite({"path": "/etc"})]
    made = agent(
        ScriptedModel(["done"]), tools=TOOLS, mode="supervised", guards=move,
        approve=lambda question: False,
    )  # fmt: skip
    made.resume(events)
    assert MADE == []


def test_a_no_stays_a_no() -> None:
    events = broken_off_before_the_call(mode="supervised", approve=lambda question: False)
    made = agent(ScriptedModel(["done"]), tools=TOOLS)
    assert made.resume(events).actions[0].outcome == "denied"
    assert MADE == []
