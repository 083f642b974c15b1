"""What type checkers see: checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

from kairos import (
    Context,
    From,
    Ref,
    Run,
    Schema,
    StateStore,
    Step,
    StepContext,
    StepResult,
    ValidationResult,
    Wiring,
    Workflow,
    WorkflowResult,
    step,
)


class Doc(BaseModel):
    title: str


class In(TypedDict):
    doc: Doc
    limit: int


@step
def fetch(query: str) -> Doc:
    return Doc(title=query)


@step(retries=2, timeout=5.0)
def score(fetch: Doc, ctx: StepContext, weight: float = 1.0) -> float:
    return len(fetch.title) * weight


@step("renamed", foreach="fetch")
async def each(item: Doc) -> int:
    return len(item.title)


@step
def length(document: Annotated[Doc, From("fetch")]) -> int:
    return len(document.title)


def cut(ctx: Context[In]) -> str:
    assert_type(ctx.inputs["doc"], Doc)
    return ctx.inputs["doc"].title[: ctx.inputs["limit"]]


def greet(ctx: StepContext) -> str:
    assert_type(ctx.attempt, int)
    assert_type(ctx.inputs, Mapping[str, Any])
    assert_type(ctx.cancelled, bool)
    return "hello"


assert_type(fetch("a"), Doc)
assert_type(score(Doc(title="a"), StepContext(StateStore(), {})), float)
assert_type(length(Doc(title="a")), int)
assert_type(Step("cut", cut), Step[In, str])
assert_type(Step("fetch", fetch), Step[Mapping[str, Any], Doc])
assert_type(StepContext(StateStore(), {}), StepContext[Mapping[str, Any]])
fetch(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
score()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

workflow = Workflow("typed", [fetch, score, Step("greet", greet)], inputs=Schema({"query": str}))

several: list[Step[Any, Any]] = [Step("cut", cut), Step("greet", greet)]
Workflow("several", several)

wiring = Wiring("wired")
found = wiring.add(fetch, wiring.input("query", str), retries=2)
assert_type(found, Ref[Doc])
assert_type(wiring.add(length, found), Ref[int])
assert_type(wiring.workflow(), Workflow)
wiring.add(score, wiring.input("other", int))  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]


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
