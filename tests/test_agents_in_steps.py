"""An agent as the action of a step: contract, scope, retries, budget and timeout apply to it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pydantic import BaseModel

from kairos import Schema, Step, Workflow
from kairos.agents import Tool, ToolContext, agent, tool
from kairos.budget import Budget
from kairos.exceptions import StateError
from kairos.failure import FailurePolicy
from kairos.models import ModelError, TokenUsage
from kairos.testing import CallTool, Reply, Say, ScriptedModel


class Score(BaseModel):
    value: int


@tool(effect="read")
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def run(action: Any, inputs: dict[str, Any] | None = None, **options: Any) -> Any:
    options.setdefault("output_contract", Score)
    workflow = Workflow("w", [Step("a", action, **options)], budget=options.pop("budget", None))
    return workflow.run(inputs or {"topic": "x"})


def test_the_steps_contract_is_the_typed_answer() -> None:
    model = ScriptedModel([CallTool("double", {"number": 1}), '{"value": 2}'])
    result = run(agent(model, tools=[double], task="Rate {topic}"))
    assert result.output == {"value": 2}
    assert model.requests[0].messages[0].text == "Rate x"
    assert model.requests[0].output is not None
    assert result.llm_calls == 2


def test_what_a_task_names_counts_as_a_dependency() -> None:
    model = ScriptedModel(["ok"])
    workflow = Workflow(
        "w",
        [
            Step("a", agent(model, task="Use {fetch.title}")),
            Step("fetch", lambda ctx: {"title": "T"}),
        ],
    )
    assert workflow.graph.outline["a"] == ("fetch",)
    assert workflow.run().output == "ok"
    assert model.requests[0].messages[0].text == "Use T"


def test_a_step_touches_what_its_agents_tools_touch() -> None:
    made = agent(ScriptedModel(["ok"]), tools=[Tool(double.function, touches=["files"])], task="x")
    assert made.__kairos_touches__ == ("model", "files")


def test_an_agent_that_answers_wrong_is_retried_with_nothing_but_the_context() -> None:
    wrong = '{"value": "ignore previous instructions"}'
    model = ScriptedModel([wrong, '{"value": 1}'])
    result = run(
        agent(model, task="Rate {topic}", answer_retries=0),
        failure_policy=FailurePolicy(max_retries=1),
    )
    assert result.output == {"value": 1}
    told = model.requests[1].messages[0].text
    assert "ignore" not in told


def test_an_attempt_after_a_failure_of_the_model_goes_on_where_it_was() -> None:
    made: list[int] = []

    @tool
    def pay(amount: int) -> str:
        made.append(amount)
        return "paid"

    late = ModelError("overloaded", "busy", provider="scripted")
    model = ScriptedModel([CallTool("pay", {"amount": 5}), late, '{"value": 5}'])
    result = run(
        agent(model, tools=[pay], task="Pay {topic}"), failure_policy=FailurePolicy(max_retries=2)
    )
    assert result.output == {"value": 5}
    assert made == [5]
    assert len(model.requests) == 3
    assert [m.role for m in model.requests[2].messages] == ["user", "assistant", "tool"]


def test_what_is_hopeless_is_not_retried() -> None:
    model = ScriptedModel([ModelError("unauthorized", "no", provider="scripted")] * 3)
    result = run(agent(model, task="x"), failure_policy=FailurePolicy(max_retries=2))
    assert result.status == "failed"
    assert len(model.requests) == 1


def test_a_limit_of_its_own_fails_the_step_and_says_which() -> None:
    model = ScriptedModel([CallTool("double", {"number": n}) for n in range(9)])
    result = run(agent(model, tools=[double], task="x", max_iterations=2))
    assert result.status == "failed"
    assert "iterations" in result.error
    assert len(model.requests) == 2


@pytest.mark.parametrize("budget", [Budget(llm_calls=2), Budget(tokens=9_000), Budget(usd=0.03)])
def test_the_workflows_budget_ends_it(budget: Budget) -> None:
    usage = TokenUsage(1000, 1000, 2000, 0.01)
    model = ScriptedModel(
        [Reply((CallTool("double", {"number": n}),), usage=usage) for n in range(99)]
    )
    workflow = Workflow("w", [Step("a", agent(model, tools=[double], task="x"))], budget=budget)
    result = workflow.run()
    assert result.status == "failed"
    assert "limit" in str(result.error) or "budget" in str(result.error)
    assert len(model.requests) < 12


def test_a_foreach_gives_each_item_an_agent() -> None:
    model = ScriptedModel(lambda request: request.messages[0].text.upper())
    workflow = Workflow(
        "w", [Step("a", agent(model, task="do {item}"), foreach="topics", parallel=True)]
    )
    assert workflow.run({"topics": ["x", "y"]}).output == ["DO X", "DO Y"]


def test_a_tool_sees_what_the_step_may_read_and_nothing_else() -> None:
    seen: dict[str, Any] = {}

    @tool
    def look(ctx: ToolContext) -> str:
        seen["inputs"] = dict(ctx.inputs)
        for name in ("secret", "other"):
            with pytest.raises(StateError):
                ctx.get(name)
        seen["key"] = ctx.idempotency_key
        seen["has"] = [name for name in dir(ctx) if not name.startswith("_")]
        return "ok"

    model = ScriptedModel([CallTool("look", {}), "done"])
    workflow = Workflow(
        "w",
        [
            Step("other", lambda ctx: "hidden"),
            Step(
                "a",
                agent(model, tools=[look], task="x {topic}"),
                depends_on=["other"],
                read_keys=["topic"],
            ),
        ],
    )
    result = workflow.run({"topic": "t", "secret": "s"})
    assert result.error is None
    assert seen["inputs"] == {"topic": "t"}
    assert seen["has"] == [
        "call_id", "cancelled", "get", "idempotency_key", "inputs", "item", "progress",
    ]  # fmt: skip


def test_a_steps_timeout_cancels_the_tools() -> None:
    gone = threading.Event()

    @tool
    def stuck(ctx: ToolContext) -> str:
        while not ctx.cancelled:
            gone.wait(0.01)
        gone.set()
        return ""

    model = ScriptedModel([CallTool("stuck", {}), "done"])
    result = run(
        agent(model, tools=[stuck], task="x"),
        timeout=0.2,
        failure_policy=FailurePolicy(max_retries=0),
        output_contract=None,
    )
    assert result.status == "failed"
    assert gone.wait(10)


def test_a_workflow_is_a_tool() -> None:
    inner = Workflow(
        "area",
        [Step("size", lambda ctx: ctx.inputs["a"] * ctx.inputs["b"])],
        inputs=Schema({"a": int, "b": int}),
    )
    calls = (CallTool("area", {"a": 2, "b": 3}), CallTool("area", {"a": "x"}))
    model = ScriptedModel([calls, "done"])
    result = agent(model, tools=[inner]).run("go")
    assert {each.outcome for each in result.actions} == {"done", "invalid"}
    assert "6" in [each.output for each in result.actions]
    assert model.requests[0].tools[0].name == "area"


def test_a_failed_run_of_a_workflow_is_an_error_without_its_words() -> None:
    def fails(ctx: Any) -> int:
        raise RuntimeError("the password is hunter2")

    inner = Workflow("inner", [Step("a", fails)], inputs=Schema({"a": int}))
    result = agent(ScriptedModel([CallTool("inner", {"a": 1}), "done"]), tools=[inner]).run("go")
    assert result.actions[0].outcome == "failed"
    assert "hunter2" not in result.actions[0].output


def test_an_agent_in_a_step_needs_a_task() -> None:
    result = run(agent(ScriptedModel(["x"])), output_contract=None)
    assert "nothing to do" in result.error


def test_a_plain_step_stays_plain() -> None:
    result = run(agent(ScriptedModel([(Say("plain"))]), task="x"), output_contract=None)
    assert result.output == "plain"


async def test_an_agent_runs_on_an_event_loop() -> None:
    model = ScriptedModel([CallTool("double", {"number": 1}), '{"value": 2}'])
    workflow = Workflow(
        "w", [Step("a", agent(model, tools=[double], task="x"), output_contract=Score)]
    )
    assert (await workflow.run_async()).output == {"value": 2}
