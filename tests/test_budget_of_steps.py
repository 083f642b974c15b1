"""Budgets of steps and of items, and what a run makes of their end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from kairos import Budget, FailurePolicy, Step, StepContext, StepExecutor, Workflow
from kairos.budget import AROUND, Spend
from kairos.enums import FailureAction
from kairos.events import BudgetExhausted, LateResult, RunFinished, Spent
from kairos.exceptions import BudgetExceededError, ConfigError, ExecutionError
from kairos.plan import TaskGraph
from kairos.state import StateStore
from kairos.testing import ManualClock, Recorder
from running import NO_RETRY, one

if TYPE_CHECKING:
    from pathlib import Path

SKIPS = FailurePolicy(on_execution_fail=FailureAction.SKIP)


def call(ctx: StepContext) -> str:
    with ctx.reserve(usd=0.3) as reserved:
        reserved.settle(Spend(1, 10, 10, 0.2))
    return "answered"


# -- the run's budget -----------------------------------------------------------------------------


def test_a_refused_call_ends_the_run_and_keeps_what_is_done() -> None:
    recorder = Recorder()
    step = Step("only", call, foreach="xs", foreach_policy="allow_partial")
    workflow = Workflow("w", [step], budget=Budget(usd=1.0), hooks=[recorder])
    result = workflow.run({"xs": list(range(9))})
    assert result.error == "spending limit reached: 1.0 USD"
    assert result.status == "failed"
    assert [each.status for each in one(result).items if each.output] == ["completed"] * 4
    assert [each.budget for each in recorder.of(BudgetExhausted)] == ["usd"]
    assert result.llm_calls == 4


def test_an_action_may_do_with_less_when_a_call_is_refused() -> None:
    def frugal(ctx: StepContext) -> str:
        with contextlib.suppress(BudgetExceededError), ctx.reserve(usd=5.0):
            return "dear"
        with ctx.reserve(usd=0.1) as reserved:
            reserved.settle(Spend(1, usd=0.1))
        return "cheap"

    result = Workflow("w", [Step("only", frugal)], budget=Budget(usd=1.0)).run()
    assert (result.status, result.output) == ("complete", "cheap")


def test_what_costs_more_than_was_thought_ends_the_run_and_keeps_the_answer() -> None:
    def dear(ctx: StepContext) -> str:
        with ctx.reserve(usd=0.1) as reserved:
            reserved.settle(Spend(1, usd=2.0))
        return "paid for"

    steps = [Step("a", dear), Step("b", call, depends_on=["a"])]
    result = Workflow("w", steps, budget=Budget(usd=1.0)).run()
    assert result.error == "spending limit reached: 1.0 USD"
    assert result.step_results["a"].output == "paid for"
    assert result.step_results["b"].status == "skipped"


def test_parallel_items_share_the_last_cents() -> None:
    step = Step("only", call, foreach="xs", parallel=True, foreach_policy="allow_partial")
    recorder = Recorder()
    workflow = Workflow("w", [step], budget=Budget(usd=1.0), hooks=[recorder])
    result = workflow.run({"xs": list(range(40))})
    assert result.status == "failed"
    # a fifth call may cost thirty cents, and twenty are left
    assert round(sum(each.usd or 0 for each in recorder.of(Spent)), 9) == 0.8


# -- of a step ------------------------------------------------------------------------------------


def test_a_step_may_spend_its_own_budget_over_all_its_attempts() -> None:
    def failing(ctx: StepContext) -> None:
        call(ctx)
        raise ValueError

    policy = FailurePolicy(max_retries=9)
    step = Step("only", failing, budget=Budget(llm_calls=3), failure_policy=policy)
    result = Workflow("w", [step]).run()
    assert [a.error_type for a in one(result).attempts] == [
        *["ValueError"] * 3,
        "BudgetExceededError",
    ]
    assert "LLM call limit reached: 3 (step 'only')" in (result.error or "")


def test_the_end_of_a_steps_budget_is_for_its_policy_to_judge() -> None:
    steps = [
        Step("a", call, budget=Budget(usd=0.1), failure_policy=SKIPS),
        Step("b", call, depends_on=["a"]),
    ]
    result = Workflow("w", steps).run()
    assert result.status == "complete"
    assert result.step_results["a"].status == "skipped"
    assert result.step_results["b"].output == "answered"


def test_a_step_that_swallows_the_end_of_its_budget_has_failed_all_the_same() -> None:
    def swallows(ctx: StepContext) -> str:
        with contextlib.suppress(BudgetExceededError):
            ctx.increment_llm_calls(5)
        return "fine"

    step = Step("only", swallows, budget=Budget(llm_calls=3), failure_policy=NO_RETRY)
    result = Workflow("w", [step]).run()
    assert result.status == "failed"
    assert one(result).attempts[0].output == "fine"


def test_a_steps_wall_time_covers_its_attempts_and_their_pauses() -> None:
    clock = ManualClock()
    begun: list[float] = []

    def failing(ctx: StepContext) -> None:
        begun.append(clock.elapsed)
        raise ValueError

    policy = FailurePolicy(max_retries=9, retry_delay=4.0, jitter=False)
    step = Step("only", failing, budget=Budget(seconds=10), failure_policy=policy)
    result = Workflow("w", [step], clock=clock).run()
    assert begun == [0.0, 4.0, 8.0]
    assert "wall-time budget of 10 s is spent (step 'only')" in (result.error or "")


def test_an_attempt_is_given_up_when_the_wall_time_of_its_step_is_over() -> None:
    clock, told = ManualClock(), threading.Event()

    def slow(ctx: StepContext) -> None:
        clock.advance(11)
        told.wait(20)

    step = Step("only", slow, budget=Budget(seconds=10), failure_policy=NO_RETRY)
    result = Workflow("w", [step], clock=clock).run()
    told.set()
    assert one(result).attempts[0].error_type == "BudgetExceededError"


# -- of an item -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True])
def test_each_item_has_a_budget_of_its_own(parallel: bool) -> None:
    def greedy(ctx: StepContext) -> int:
        for _ in range(ctx.item):
            call(ctx)
        return int(ctx.item)

    step = Step(
        "only",
        greedy,
        foreach="xs",
        parallel=parallel,
        foreach_policy="allow_partial",
        item_budget=Budget(llm_calls=2),
        budget=Budget(usd=100.0),
    )
    result = Workflow("w", [step]).run({"xs": [1, 5, 2, 3]})
    assert result.output == [1, None, 2, None]
    assert result.status == "complete"


def test_an_item_keeps_its_account_over_its_attempts() -> None:
    def failing(ctx: StepContext) -> None:
        call(ctx)
        raise ValueError

    policy = FailurePolicy(max_retries=9)
    step = Step(
        "only",
        failing,
        foreach="xs",
        failure_policy=policy,
        item_budget=Budget(llm_calls=2),
        foreach_policy="allow_partial",
    )
    result = Workflow("w", [step]).run({"xs": [1, 2]})
    items = one(result).items
    assert [[a.error_type for a in each.attempts] for each in items or ()] == [
        ["ValueError", "ValueError", "BudgetExceededError"]
    ] * 2


def test_an_item_that_takes_too_long_is_given_up_and_its_siblings_are_not() -> None:
    clock, release = ManualClock(), threading.Event()

    def action(ctx: StepContext) -> int:
        if ctx.item == 1:
            clock.advance(6)
            release.wait(20)
        return int(ctx.item)

    step = Step(
        "only",
        action,
        foreach="xs",
        foreach_policy="allow_partial",
        item_budget=Budget(seconds=5),
        failure_policy=NO_RETRY,
    )
    result = Workflow("w", [step], clock=clock).run({"xs": [0, 1, 2]})
    release.set()
    assert result.output == [0, None, 2]


def test_what_each_step_and_item_spent_is_in_its_result_and_survives_being_plain_data() -> None:
    def action(ctx: StepContext) -> None:
        call(ctx)
        if ctx.attempt == 1 and ctx.item == 2:
            raise ValueError

    steps = [Step("a", action, foreach="xs"), Step("b", lambda ctx: 1, depends_on=["a"])]
    result = Workflow("w", steps).run({"xs": [1, 2]})
    step = result.step_results["a"]
    assert [each.spent for each in step.items or ()] == [
        Spend(1, 10, 10, 0.2),
        Spend(2, 20, 20, 0.4),
    ]
    assert step.spent == Spend(3, 30, 30, 0.6)
    assert result.step_results["b"].spent is None
    assert step.to_dict()["spent"]["llm_calls"] == 3
    assert type(step).from_dict(step.to_dict()) == step


def test_an_action_that_reserves_is_still_seen_through() -> None:
    def action(ctx: StepContext) -> str:
        with ctx.reserve(usd=0.1):
            return str(ctx.inputs["nobody"])

    found = Workflow("w", [Step("a", action, read_keys=[])]).verify().findings
    assert any("nobody" in each.message for each in found)


# -- declared -------------------------------------------------------------------------------------


def test_budgets_survive_being_written_as_plain_data() -> None:
    step = Step("a", call, foreach="xs", budget=Budget(usd=2.0), item_budget=Budget(tokens=5))
    graph = TaskGraph("w", [step])
    again = TaskGraph.from_dict(graph.to_dict()).get_step("a")
    assert again.config == step.config


def test_a_budget_in_plain_data_that_is_none_is_refused() -> None:
    plain = TaskGraph("w", [Step("a", call)]).to_dict()
    plain["steps"][0]["config"]["budget"] = {"euro": 5}
    with pytest.raises(ConfigError, match="budget"):
        TaskGraph.from_dict(plain)


# -- elsewhere ------------------------------------------------------------------------------------


def test_calls_that_an_executor_is_told_of_count_towards_its_limit() -> None:
    executor = StepExecutor(StateStore(), max_llm_calls=3)
    executor.increment_llm_calls(2)
    graph = TaskGraph("w", [Step("only", lambda ctx: ctx.increment_llm_calls(2))])
    assert "LLM call limit reached: 3" in (executor.run(graph).error or "")
    with pytest.raises(BudgetExceededError, match="LLM call limit reached: 3"):
        executor.increment_llm_calls()
    with pytest.raises(ConfigError):
        executor.increment_llm_calls(-1)


def test_what_a_late_attempt_spent_is_told() -> None:
    clock, recorder = ManualClock(), Recorder()
    release, waiting = threading.Event(), threading.Event()

    def action(ctx: StepContext) -> str:
        if ctx.attempt == 1:
            clock.advance(6)
            assert release.wait(20)
            ctx.charge(llm_calls=1)
            return "first"
        release.set()
        assert waiting.wait(20)
        return "second"

    class Notices:
        def observe(self, event: Any) -> None:
            if isinstance(event, LateResult):
                waiting.set()

    step = Step("only", action, timeout=5, failure_policy=FailurePolicy(max_retries=1))
    result = Workflow("w", [step], clock=clock, hooks=[recorder, Notices()]).run()
    assert result.output == "second"
    assert [each.attempt for each in recorder.of(Spent)] == [1]
    assert result.llm_calls == 1


def waits_with_a_reservation(ctx: StepContext) -> None:
    with ctx.reserve(usd=0.3):
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        GIVEN_UP.wait(20)


async def waits_with_a_reservation_on_a_loop(ctx: StepContext) -> None:
    with await ctx.reserve_async(usd=0.3):
        try:
            await asyncio.Event().wait()
        finally:  # a cancellation that takes its time
            await asyncio.to_thread(GIVEN_UP.wait, 20)


GIVEN_UP = threading.Event()


@pytest.mark.parametrize("action", [waits_with_a_reservation, waits_with_a_reservation_on_a_loop])
def test_the_last_attempt_is_counted_even_where_it_comes_back_after_the_end(action: Any) -> None:
    class Ends:
        def observe(self, event: Any) -> None:
            if isinstance(event, RunFinished):
                GIVEN_UP.set()

    GIVEN_UP.clear()
    step = Step("only", action, timeout=0.05, failure_policy=NO_RETRY)
    result = Workflow("w", [step], budget=Budget(usd=1.0), hooks=[Ends()]).run()
    assert (result.status, result.llm_calls) == ("failed", 1)
    assert one(result).spent == Spend(1, usd=0.3)


@pytest.mark.parametrize("on_a_loop", [False, True])
def test_an_attempt_that_nobody_waits_for_reserves_nothing(*, on_a_loop: bool) -> None:
    clock, refused, ended = ManualClock(), list[str](), threading.Event()

    def late(ctx: StepContext) -> None:
        clock.advance(6)
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        try:
            if on_a_loop:
                asyncio.run(ctx.reserve_async(usd=0.1))
            else:
                ctx.reserve(usd=0.1)
        except ExecutionError as error:
            refused.append(error.message)
        ended.set()

    step = Step("only", late, timeout=5, failure_policy=NO_RETRY)
    result = Workflow("w", [step], clock=clock, budget=Budget(usd=1.0)).run()
    assert ended.wait(20)
    assert result.llm_calls == 0
    assert refused == ["the attempt was told to stop before it had its budget"]


ISOLATED = """
from kairos.budget import AROUND, Spend

def call(ctx):
    with ctx.reserve(usd=0.3) as reserved:
        reserved.settle(Spend(1, 10, 10, 0.2))
    return "answered"

async def call_async(ctx):
    with await ctx.reserve_async(usd=0.3) as reserved:
        reserved.settle(Spend(1, 10, 10, 0.2))
    return "answered"

def leaves_it_open(ctx):
    ctx.reserve(usd=0.3)
    ctx.reserve(usd=0.1).release()
    return "answered"
"""


@pytest.mark.parametrize(
    "name, spent", [("call", 0.2), ("call_async", 0.2), ("leaves_it_open", 0.3)]
)
def test_a_worker_process_reserves_like_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, spent: float
) -> None:
    module = f"reserving_{name}"
    (tmp_path / f"{module}.py").write_text(ISOLATED)
    monkeypatch.syspath_prepend(tmp_path)
    action = getattr(__import__(module), name)
    recorder = Recorder()
    step = Step("only", action, isolation="process", foreach="xs", foreach_policy="allow_partial")
    workflow = Workflow("w", [step], budget=Budget(usd=1.0), hooks=[recorder])
    result = workflow.run({"xs": [1, 2, 3, 4, 5, 6]})
    assert result.error == "spending limit reached: 1.0 USD"
    assert {each.usd for each in recorder.of(Spent)} == {spent}
    assert len(recorder.of(Spent)) == (4 if spent == 0.2 else 3)


# -- a run within a run ---------------------------------------------------------------------------


def test_what_a_run_within_a_step_spends_is_the_steps_spending() -> None:
    inner = Workflow("inner", [Step("only", call)])
    outer = Workflow(
        "outer",
        [Step("only", lambda ctx: inner.run().output, foreach="xs")],
        budget=Budget(usd=5.0),
    )
    result = outer.run({"xs": [1, 2, 3]})
    assert (result.status, result.llm_calls) == ("complete", 3)
    assert one(result).spent == Spend(3, 30, 30, 0.6)
    assert inner.run().llm_calls == 1  # and afterwards it is on its own again


@pytest.mark.parametrize("scope", ["run", "step", "item"])
def test_a_run_within_a_step_cannot_overspend_what_is_around_it(scope: str) -> None:
    made: list[str] = []

    async def counted(ctx: StepContext) -> str:
        with await ctx.reserve_async(usd=0.3) as reserved:
            made.append("call")
            reserved.settle(Spend(1, usd=0.3))
        return "answered"

    inner = Workflow("inner", [Step("only", counted)], budget=Budget(usd=99.0))

    async def outside(ctx: StepContext) -> list[str]:
        runs = [inner.run_async() for _ in range(9)]
        return [str(each.status) for each in await asyncio.gather(*runs)]

    limit = Budget(usd=1.0, llm_calls=None)
    around: dict[str, Any] = {"step": {"budget": limit}, "item": {"item_budget": limit}}
    step = Step(
        "outside", outside, foreach="xs", foreach_policy="allow_partial", **around.get(scope, {})
    )
    result = Workflow("outer", [step], budget=limit if scope == "run" else None).run({"xs": [1]})
    assert len(made) == 3
    assert result.llm_calls == 3


def test_a_run_within_a_step_that_is_given_up_is_counted() -> None:
    GIVEN_UP.clear()
    inner = Workflow("inner", [Step("only", waits_with_a_reservation)])

    class Ends:
        def observe(self, event: Any) -> None:
            if isinstance(event, RunFinished):
                GIVEN_UP.set()

    step = Step("outside", lambda ctx: inner.run(), timeout=0.3, failure_policy=NO_RETRY)
    result = Workflow("outer", [step], hooks=[Ends()]).run()
    GIVEN_UP.set()
    assert (result.status, result.llm_calls) == ("failed", 1)


def test_what_lives_on_in_a_steps_context_holds_no_value_of_the_run() -> None:
    kept: list[contextvars.Context] = []  # as an open connection does

    def action(ctx: StepContext) -> str:
        kept.append(contextvars.copy_context())
        return str(ctx.inputs["word"])

    assert Workflow("w", [Step("only", action)]).run({"word": "needle"}).output == "needle"
    left: list[Any] = [kept[0][AROUND]]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen.add(id(one))
        assert one != b'"needle"'
        left += gc.get_referents(one)


def test_each_run_within_a_run_has_its_own_clock() -> None:
    def slow(ctx: StepContext) -> str:
        clock.advance(50)
        return "done"

    clock = ManualClock()
    inner = Workflow("inner", [Step("only", slow, budget=Budget(seconds=60))], clock=clock)
    step = Step("outside", lambda ctx: inner.run().output, budget=Budget(seconds=30))
    result = Workflow("outer", [step]).run()
    assert (result.status, result.output) == ("complete", "done")
