"""What runs beside what, and what becomes of a foreach."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kairos import (
    SKIP,
    FailurePolicy,
    Step,
    StepContext,
    StepStatus,
    Workflow,
    WorkflowStatus,
)
from kairos.events import StepStarted
from kairos.testing import ManualClock, Recorder
from running import one, run_one


def test_a_dependent_does_not_wait_for_an_unrelated_sibling() -> None:
    release = threading.Event()
    seen: list[str] = []

    def slow(ctx: StepContext) -> None:
        assert release.wait(20)

    def after_fast(ctx: StepContext) -> None:
        seen.append("after fast")
        release.set()

    steps = [
        Step("slow", slow, parallel=True),
        Step("fast", lambda ctx: 1, parallel=True),
        Step("after_fast", after_fast, depends_on=["fast"]),
    ]
    assert Workflow("w", steps).run().status == "complete"
    assert seen == ["after fast"]


def test_steps_that_are_not_parallel_take_turns_in_declaration_order() -> None:
    order: list[int] = []
    steps = [Step(f"s{i}", lambda ctx, i=i: order.append(i)) for i in range(20)]
    # a default makes it typed: i is an optional input
    Workflow("w", steps).run()
    assert order == list(range(20))


def test_parallel_items_really_run_beside_one_another() -> None:
    barrier = threading.Barrier(4, timeout=20)

    def meet(ctx: StepContext) -> int:
        barrier.wait()
        return int(ctx.item)

    result = run_one(meet, {"xs": [1, 2, 3, 4]}, foreach="xs", parallel=True)
    assert result.output == [1, 2, 3, 4]


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_items_run_at_a_time_than_max_concurrency(limit: int) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def count(ctx: StepContext) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.001)
        with lock:
            now[0] -= 1

    run_one(count, {"xs": list(range(40))}, foreach="xs", parallel=True, max_concurrency=limit)
    assert 1 <= most[0] <= limit


def test_a_long_foreach_leaves_others_their_turn() -> None:
    freed = threading.Event()

    def item(ctx: StepContext) -> None:
        if ctx.item == 399:
            assert freed.wait(20)

    steps = [
        Step("many", item, foreach="xs", parallel=True),
        Step("free", lambda ctx: freed.set(), parallel=True),
    ]
    workflow = Workflow("w", steps, max_concurrency=2)
    assert workflow.run({"xs": list(range(400))}).status == "complete"


@pytest.mark.parametrize("parallel", [False, True])
def test_an_empty_foreach_completes_with_an_empty_list(parallel: bool) -> None:
    result = run_one(lambda ctx: 1, {"xs": []}, foreach="xs", parallel=parallel)
    assert (one(result).status, result.output) == ("completed", [])


@pytest.mark.parametrize("value", ["text", {"a": 1}, 5, None, True])
def test_a_foreach_over_no_list_fails_for_good(value: Any) -> None:
    result = run_one(lambda ctx: 1, {"xs": value}, foreach="xs", retries=3)
    assert one(result).status is StepStatus.FAILED_FINAL
    assert "needs a list under 'xs'" in (result.error or "")


@pytest.mark.parametrize("parallel", [False, True])
def test_allow_partial_tells_failed_skipped_and_none_apart(parallel: bool) -> None:
    def action(ctx: StepContext) -> Any:
        if ctx.item == "fail":
            raise ValueError("bad")
        return SKIP if ctx.item == "skip" else None if ctx.item == "none" else ctx.item

    result = run_one(
        action,
        {"xs": ["a", "fail", "skip", "none", "b"]},
        foreach="xs",
        parallel=parallel,
        foreach_policy="allow_partial",
        failure_policy=FailurePolicy(max_retries=1),
    )
    assert result.output == ["a", None, None, None, "b"]
    assert result.status is WorkflowStatus.COMPLETE
    items = one(result).items
    assert [i.status for i in items] == [
        "completed",
        "failed_final",
        "skipped",
        "completed",
        "completed",
    ]
    assert [len(i.attempts) for i in items] == [1, 2, 1, 1, 1]


@pytest.mark.parametrize("parallel", [False, True])
def test_require_all_stops_at_the_first_bad_item_and_stores_nothing(parallel: bool) -> None:
    seen: list[int] = []

    def action(ctx: StepContext) -> int:
        seen.append(ctx.item)
        if ctx.item == 2:
            raise ValueError("bad")
        return int(ctx.item)

    result = run_one(
        action, {"xs": list(range(1000))}, foreach="xs", parallel=parallel, max_concurrency=2
    )
    assert one(result).status is StepStatus.FAILED_FINAL
    assert "only" not in result.final_state
    assert len(seen) < 1000
    assert any(not r.output and r.error_type == "ValueError" for r in one(result).attempts)


def test_allow_partial_with_every_item_failed_is_a_failure() -> None:
    def action(ctx: StepContext) -> None:
        raise ValueError

    result = run_one(action, {"xs": [1, 2]}, foreach="xs", foreach_policy="allow_partial")
    assert one(result).status is StepStatus.FAILED_FINAL
    assert "all 2 elements" in (result.error or "")


@pytest.mark.parametrize("parallel", [False, True])
def test_an_item_is_retried_by_itself(parallel: bool) -> None:
    tries: dict[int, int] = {}

    def action(ctx: StepContext) -> int:
        tries[ctx.item] = tries.get(ctx.item, 0) + 1
        if ctx.item == 1 and ctx.attempt < 3:
            raise ValueError
        return int(ctx.item)

    clock = ManualClock()
    workflow = Workflow(
        "w",
        [
            Step(
                "only",
                action,
                foreach="xs",
                parallel=parallel,
                failure_policy=FailurePolicy(max_retries=2, retry_delay=60, jitter=False),
            )
        ],
        clock=clock,
    )
    assert workflow.run({"xs": [0, 1, 2]}).output == [0, 1, 2]
    assert tries == {0: 1, 1: 3, 2: 1}
    assert clock.elapsed == 120


def test_two_long_foreaches_share_the_workers() -> None:
    turns: list[str] = []

    def item(ctx: StepContext) -> None:
        turns.append(ctx.step_id)
        threading.Event().wait(0.0005)

    steps = [
        Step("first", item, foreach="xs", parallel=True),
        Step("second", item, foreach="xs", parallel=True),
    ]
    workflow = Workflow("w", steps, max_concurrency=4)
    assert workflow.run({"xs": list(range(200))}).status == "complete"
    assert turns.index("second") < 100
    assert turns[-100:].count("first") > 10


def test_a_step_waits_for_room_and_is_not_said_to_have_started_before() -> None:
    release = threading.Event()
    recorder = Recorder()
    seen: list[int] = []

    def hold(ctx: StepContext) -> None:
        seen.append(len(recorder.of(StepStarted)))
        if len(seen) == 2:
            release.set()
        assert release.wait(20)

    steps = [Step(f"s{i}", hold, parallel=True) for i in range(6)]
    assert Workflow("w", steps, max_concurrency=2, hooks=[recorder]).run().status == "complete"
    assert seen[:2] == [2, 2] or max(seen[:2]) <= 2


def test_a_steps_turn_comes_while_a_foreach_has_all_the_workers() -> None:
    freed = threading.Event()

    def item(ctx: StepContext) -> None:
        if ctx.item == 399:
            assert freed.wait(20)

    steps = [
        Step("first", lambda ctx: threading.Event().wait(0.005), parallel=True),
        Step("many", item, foreach="xs", parallel=True),
        Step("free", lambda ctx: freed.set(), parallel=True, depends_on=["first"]),
    ]
    workflow = Workflow("w", steps, max_concurrency=2)
    assert workflow.run({"xs": list(range(400))}).status == "complete"


def test_a_foreach_without_its_list_is_a_failed_step() -> None:
    result = run_one(lambda ctx: ctx.item, foreach="rows")
    assert one(result).status is StepStatus.FAILED_FINAL
    assert "nothing is stored there" in str(result.error)
