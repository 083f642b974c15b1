"""Budgets and timeouts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

from kairos import (
    Budget,
    BudgetExceededError,
    FailurePolicy,
    Step,
    StepContext,
    StepStatus,
    Workflow,
    WorkflowStatus,
)
from kairos.events import (
    LateResult,
)
from kairos.testing import ManualClock, Recorder
from running import NO_RETRY, one


def test_more_llm_calls_than_allowed_fail_the_run_even_when_the_step_swallows_it() -> None:
    attempts: list[int] = []

    def greedy(ctx: StepContext) -> str:
        attempts.append(ctx.attempt)
        for _ in range(5):
            with contextlib.suppress(BudgetExceededError):
                ctx.increment_llm_calls()
        return "fine"

    result = Workflow(
        "w",
        [Step("greedy", greedy), Step("after", lambda ctx: 1, depends_on=["greedy"])],
        max_llm_calls=3,
    ).run()
    assert attempts == [1]
    assert result.status is WorkflowStatus.FAILED
    assert "LLM call limit reached" in (result.error or "")
    assert result.step_results["after"].status is StepStatus.SKIPPED
    assert result.llm_calls == 5


def test_a_budget_that_the_last_step_spends_and_swallows_fails_the_run() -> None:
    def greedy(ctx: StepContext) -> str:
        with contextlib.suppress(BudgetExceededError):
            ctx.increment_llm_calls(99)
        return "fine"

    result = Workflow("w", [Step("only", greedy)], max_llm_calls=3).run()
    assert result.status is WorkflowStatus.FAILED
    assert result.step_results["only"].output == "fine"
    assert result.events[-1].type == "run_finished"


def test_the_llm_breaker_is_never_retried() -> None:
    def greedy(ctx: StepContext) -> None:
        ctx.increment_llm_calls(9)

    result = Workflow("w", [Step("only", greedy)], max_llm_calls=3).run()
    assert len(one(result).attempts) == 1
    assert "LLM call limit reached" in (result.error or "")


def test_wall_time_ends_a_run_and_tells_what_runs() -> None:
    clock = ManualClock()
    told = threading.Event()

    def slow(ctx: StepContext) -> str:
        clock.advance(11)
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        told.set()
        return "kept"

    result = Workflow(
        "w",
        [Step("slow", slow), Step("after", lambda ctx: 1, depends_on=["slow"])],
        budget=Budget(seconds=10),
        clock=clock,
    ).run()
    assert told.is_set()
    assert result.status is WorkflowStatus.FAILED
    assert "wall-time budget of 10 s" in (result.error or "")
    assert result.step_results["slow"].output == "kept"
    assert result.step_results["after"].status is StepStatus.SKIPPED


def test_money_and_tokens_are_counted() -> None:
    def spend(ctx: StepContext) -> None:
        ctx.charge(llm_calls=1, input_tokens=600, output_tokens=300, usd=0.02)

    steps = [Step("a", spend), Step("b", spend, depends_on=["a"])]
    result = Workflow("w", steps, budget=Budget(tokens=1000)).run()
    assert "token limit reached" in (result.error or "")
    assert Workflow("w", steps, budget=Budget(usd=0.03)).run().status == "failed"
    assert Workflow("w", steps, budget=Budget(usd=0.04, tokens=1800)).run().status == "complete"


def test_a_timeout_fails_the_attempt_and_a_late_result_is_dropped_and_recorded() -> None:
    clock = ManualClock()
    release = threading.Event()
    returned = threading.Event()

    def action(ctx: StepContext) -> str:
        if ctx.attempt == 1:
            clock.advance(6)
            assert release.wait(20)
            ctx.state.set("only", "late write")
            returned.set()
            return "late"
        release.set()
        assert returned.wait(20)
        return "second"

    def then(ctx: StepContext) -> Any:
        return ctx.state.get("only")

    recorder = Recorder()
    result = Workflow(
        "w",
        [
            Step("only", action, timeout=5, failure_policy=FailurePolicy(max_retries=1)),
            Step("then", then, depends_on=["only"]),
        ],
        clock=clock,
        hooks=[recorder],
    ).run()
    assert result.output == "second"
    assert [a.error_type for a in one(result).attempts] == ["StepTimeoutError", None]
    assert recorder.of(LateResult)


def test_an_async_step_is_cancelled_at_its_timeout() -> None:
    clock = ManualClock()
    cancelled = threading.Event()

    async def action(ctx: StepContext) -> None:
        clock.advance(6)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    workflow = Workflow(
        "w", [Step("only", action, timeout=5, failure_policy=NO_RETRY)], clock=clock
    )
    result = workflow.run()
    assert one(result).attempts[0].error_type == "StepTimeoutError"
    assert cancelled.wait(20)


def test_items_time_out_one_by_one() -> None:
    clock = ManualClock()
    release = threading.Event()

    def action(ctx: StepContext) -> int:
        if ctx.item == 1:
            clock.advance(6)
            release.wait(20)
        return int(ctx.item)

    result = Workflow(
        "w",
        [
            Step(
                "only",
                action,
                foreach="xs",
                timeout=5,
                foreach_policy="allow_partial",
                failure_policy=NO_RETRY,
            )
        ],
        clock=clock,
    ).run({"xs": [0, 1, 2]})
    release.set()
    assert result.output == [0, None, 2]
