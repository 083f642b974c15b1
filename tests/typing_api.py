"""What type checkers see: checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

from pydantic import BaseModel

from kairos import (
    Run,
    Schema,
    StateStore,
    Step,
    StepContext,
    StepResult,
    ValidationResult,
    Workflow,
    WorkflowResult,
    step,
)


class Doc(BaseModel):
    title: str


@step
def fetch(query: str) -> Doc:
    return Doc(title=query)


@step(retries=2, timeout=5.0)
def score(fetch: Doc, ctx: StepContext, weight: float = 1.0) -> float:
    return len(fetch.title) * weight


@step("renamed", foreach="fetch")
async def each(item: Doc) -> int:
    return len(item.title)


def greet(ctx: StepContext) -> str:
    assert_type(ctx.attempt, int)
    assert_type(ctx.cancelled, bool)
    return "hello"


assert_type(fetch("a"), Doc)
assert_type(score(Doc(title="a"), StepContext(StateStore(), {})), float)
fetch(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
score()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

workflow = Workflow("typed", [fetch, score, Step("greet", greet)], inputs=Schema({"query": str}))


async def use() -> None:
    assert_type(await each(Doc(title="a")), int)
    assert_type(workflow.run({"query": "x"}), WorkflowResult)
    assert_type(await workflow.run_async(), WorkflowResult)
    run = workflow.start()
    assert_type(run, Run)
    assert_type(await run, WorkflowResult)
    assert_type(run.result(timeout=1).step_results["fetch"], StepResult)
    assert_type(Schema({"a": int}).validate({}), ValidationResult)
    given: dict[str, Any] = {}
    workflow.run(given)
