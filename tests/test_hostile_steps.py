"""Whatever a step does, a run ends with a result."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from pydantic import BaseModel

from kairos import (
    FailurePolicy,
    Schema,
    Step,
    StepContext,
    StepStatus,
    Workflow,
    WorkflowStatus,
)
from running import ALONE, one, run_one


def raises(error: BaseException) -> Any:
    def action(ctx: StepContext) -> None:
        raise error

    return action


def recurse(ctx: StepContext) -> Any:
    return recurse(ctx)


def cyclic() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


async def _a() -> int:
    return 1


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no eq")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __reduce__(self) -> Any:
        raise RuntimeError("no reduce")


class BadError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class LeavingError(Exception):
    def __str__(self) -> str:
        raise SystemExit("while it is told")


class TwoFacedError(Exception):
    @property  # type: ignore[misc]  # which is the point
    def __class__(self) -> Any:
        sys.exit("while it is asked what it is")


def strip(ctx: StepContext) -> int:
    for name in StepContext.__slots__:
        delattr(ctx, name)
    return 1


@pytest.mark.parametrize(
    "action",
    [
        raises(ValueError("x")),
        raises(SystemExit(3)),
        raises(KeyboardInterrupt()),
        raises(GeneratorExit()),
        raises(asyncio.CancelledError()),
        raises(StopIteration()),
        raises(MemoryError()),
        raises(BadError()),
        raises(LeavingError()),
        raises(TwoFacedError()),
        strip,
        raises(BaseExceptionGroup("g", [KeyboardInterrupt()])),
        recurse,
        lambda ctx: {1: 2},
        lambda ctx: {"a": {1, 2}},
        lambda ctx: float("nan"),
        lambda ctx: [1, {"x": float("inf")}],
        lambda ctx: [cyclic()],
        lambda ctx: _a(),
        lambda ctx: (i for i in range(3)),
        lambda ctx: b"bytes",
        lambda ctx: object(),
        lambda ctx: [Hostile()],
        lambda ctx: {"x": Hostile()},
        lambda ctx: "\ud800",
        lambda ctx: ctx,
        lambda ctx: ctx.state.set("other", 1),
        lambda ctx: setattr(ctx, "state", None),
        lambda ctx: ctx.inputs["nowhere"],
        lambda ctx: ctx.increment_llm_calls(51),
        lambda ctx: ctx.increment_llm_calls("x"),
        lambda ctx: sys.exit("bye"),
    ],
)
@pytest.mark.parametrize("parallel", [False, True])
def test_whatever_a_step_does_there_is_a_result_with_every_attempt(
    action: Any, parallel: bool
) -> None:
    result = Workflow(
        "w",
        [
            Step("before", lambda ctx: 1),
            Step("only", action, parallel=parallel, depends_on=["before"]),
        ],
        failure_policy=FailurePolicy(max_retries=1),
    ).run()
    assert result.step_results["before"].output == 1
    assert result.status in (WorkflowStatus.FAILED, WorkflowStatus.COMPLETE)
    if result.status is WorkflowStatus.FAILED:
        assert one(result).status is StepStatus.FAILED_FINAL
        assert 1 <= len(one(result).attempts) <= 2
        assert result.error
    result.to_dict()


@pytest.mark.parametrize(
    "value, where, what",
    [
        ({"rows": [{"when": {1}}]}, ".rows[0].when", "set"),
        ({"a": {1: 2}}, ".a", "int"),
        ([1, float("nan")], "[1]", "nan"),
        ({"a": b"x"}, ".a", "bytes"),
    ],
)
def test_an_output_that_is_no_json_is_located(value: Any, where: str, what: str) -> None:
    result = run_one(lambda ctx: value)
    assert where in (result.error or "")
    assert what in (result.error or "")
    assert one(result).attempts[0].error_type == "StateError"


def test_an_async_action_runs_under_run_and_a_coroutine_by_mistake_is_named() -> None:
    async def action(ctx: StepContext) -> int:
        await asyncio.sleep(0)
        return 7

    assert run_one(action).output == 7
    result = run_one(lambda ctx: action(ctx))  # noqa: PLW0108 - it hides that it is async
    assert "coroutine that nobody awaited" in (result.error or "")


def test_a_step_cannot_change_what_another_reads() -> None:
    def first(ctx: StepContext) -> Any:
        return {"list": [1]}

    def vandal(ctx: StepContext) -> Any:
        ctx.inputs["first"]["list"].append(2)
        ctx.state.get("first")["list"].append(3)
        ctx.inputs["given"]["x"] = "changed"
        return None

    given = {"x": "as it was"}
    result = Workflow(
        "w",
        [
            Step("first", first),
            Step("vandal", vandal, depends_on=["first"]),
            Step(
                "last",
                lambda ctx: [ctx.inputs["first"], ctx.inputs["given"]],
                depends_on=["first", "vandal"],
            ),
        ],
    ).run({"given": given})
    assert result.output == [{"list": [1]}, {"x": "as it was"}]
    assert given == {"x": "as it was"}


def test_what_a_failed_attempt_wrote_is_not_stored() -> None:
    def action(ctx: StepContext) -> str:
        ctx.state.set("note", ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError
        return "done"

    def peek(ctx: StepContext) -> Any:
        return ctx.state.get("note", "nothing")

    workflow = Workflow(
        "w",
        [
            Step("only", action, write_keys=["only", "note"], failure_policy=ALONE),
            Step("peek", peek, depends_on=["only"]),
        ],
    )
    assert workflow.run().output == "nothing"


def test_a_total_over_the_limit_fails_the_step_and_keeps_the_rest() -> None:
    from kairos import StateStore, StepExecutor, TaskGraph

    state = StateStore(max_total_size=100)
    graph = TaskGraph("g", [Step("small", lambda ctx: 1), Step("large", lambda ctx: "x" * 200)])
    result = StepExecutor(state).run(graph)
    assert result.step_results["small"].output == 1
    assert result.step_results["large"].status is StepStatus.FAILED_FINAL
    assert "max_total_size" in str(result.error) or "grow to" in str(result.error)


def test_a_pydantic_error_inside_an_action_tells_the_field_and_not_the_value() -> None:
    class Patient(BaseModel):
        age: int

    secret = "patient " + "Ada"
    result = run_one(lambda ctx: Patient.model_validate({"age": secret}).model_dump())
    assert "age" in (result.error or "")
    assert secret not in str(result.to_dict()) + str(result.events)


def test_what_a_broken_contract_was_checked_against_is_kept_with_the_attempt() -> None:
    result = run_one(lambda ctx: {"age": "x"}, output_contract=Schema({"age": int}))
    assert one(result).attempts[0].output == {"age": "x"}
    assert "age: expected int, found str" in (result.error or "")


def test_a_step_that_returns_its_context_is_told_why() -> None:
    result = run_one(lambda x=1: x)
    assert "one without an annotation is the context" in (result.error or "")
