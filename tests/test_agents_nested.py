"""A workflow as a tool: it ends with whoever wanted it, and keeps to itself why it failed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import Any

import pytest

from kairos import Schema, Step, StepContext, Workflow
from kairos.agents import ToolStarted, agent, workflow_tool
from kairos.testing import CallTool, ScriptedModel

SCRIPT = [CallTool("inner", {"n": 1}), "done"]


class Inner:
    """A workflow that goes on until it is told to stop, and knows who told it."""

    def __init__(self) -> None:
        self.begun, self.told = threading.Event(), threading.Event()
        self.workflow = Workflow(
            "inner",
            [Step("wait", self._wait), Step("after", lambda ctx: "never", depends_on=["wait"])],
            inputs=Schema({"n": int}),
        )

    def _wait(self, ctx: StepContext) -> str:
        self.begun.set()
        for _ in range(3_000):
            if ctx.cancelled:
                self.told.set()
                return "stopped"
            self.told.wait(0.01)
        return "nobody told it"


def plain(one: Any) -> Any:
    return one.run("go")


def on_a_loop(one: Any) -> Any:
    return asyncio.run(one.run_async("go"))


DRIVERS = pytest.mark.parametrize("run", [plain, on_a_loop])


@DRIVERS
def test_a_nested_run_is_cancelled_when_its_time_is_up(run: Any) -> None:
    inner = Inner()
    made = agent(ScriptedModel(SCRIPT), tools=[workflow_tool(inner.workflow, timeout=0.1)])
    result = run(made)
    assert [each.outcome for each in result.actions] == ["timeout"]
    assert inner.told.wait(20)


@DRIVERS
def test_a_nested_run_is_cancelled_when_the_agents_time_is_up(run: Any) -> None:
    inner = Inner()
    made = agent(ScriptedModel(SCRIPT), tools=[inner.workflow], max_seconds=0.2)
    assert run(made).stop_reason == "seconds"
    assert inner.told.wait(20)


def test_a_nested_run_is_cancelled_with_the_step_around_it() -> None:
    inner = Inner()
    made = agent(ScriptedModel(SCRIPT), tools=[inner.workflow], task="go")
    outer = Workflow("outer", [Step("a", made)]).start()
    assert inner.begun.wait(20)
    outer.cancel()
    assert outer.result(30).error is not None
    assert inner.told.wait(20)


def test_a_nested_run_is_cancelled_with_the_step_on_a_loop() -> None:
    inner = Inner()
    made = agent(ScriptedModel(SCRIPT), tools=[inner.workflow], task="go")

    async def cancelled() -> None:
        task = asyncio.create_task(Workflow("outer", [Step("a", made)]).run_async())
        await asyncio.to_thread(inner.begun.wait, 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    assert inner.told.wait(20)


def test_a_nested_run_is_cancelled_when_nobody_listens_to_its_session_any_more() -> None:
    inner = Inner()
    session = agent(ScriptedModel(SCRIPT), tools=[inner.workflow]).session()
    with closing(session.stream("go")) as said:
        for each in said:
            if isinstance(each, ToolStarted):
                assert inner.begun.wait(20)
                break
    assert inner.told.wait(20)


def failing(ctx: StepContext) -> str:
    raise RuntimeError("hunter2 is the password")


def partial(ctx: StepContext) -> str:
    return "as far as it came"


@DRIVERS
@pytest.mark.parametrize(
    "steps",
    [
        [Step("bad", failing)],
        [Step("good", partial), Step("bad", failing)],
        [Step("bad", failing), Step("after", partial, depends_on=["bad"])],
    ],
    ids=["failed", "partly", "first"],
)
def test_of_a_nested_run_that_fails_the_model_hears_that_and_nothing_else(
    run: Any, steps: Any
) -> None:
    inner = Workflow("inner", steps, inputs=Schema({"n": int}))
    result = run(agent(ScriptedModel(SCRIPT), tools=[inner]))
    (action,) = result.actions
    assert action.output == '{"error": "failed", "message": "the workflow failed"}'


@DRIVERS
def test_nor_does_it_hear_why_a_nested_run_could_not_begin(run: Any) -> None:
    inner = Workflow("inner", [Step("good", partial)], inputs=Schema({"n": int}))

    class Broken:
        name, input_contract = "inner", inner.input_contract

        def run(self, inputs: Any) -> Any:
            raise OSError("/home/me/hunter2")

        start = run

    result = run(agent(ScriptedModel(SCRIPT), tools=[Broken()]))
    assert result.actions[0].output == '{"error": "failed", "message": "the workflow failed"}'


@DRIVERS
def test_what_a_nested_run_brings_is_the_result(run: Any) -> None:
    inner = Workflow(
        "inner", [Step("twice", lambda ctx: ctx.inputs["n"] * 2)], inputs=Schema({"n": int})
    )
    assert run(agent(ScriptedModel(SCRIPT), tools=[inner])).actions[0].output == "2"
