"""The clock that users test with: time by hand, and straight to what is due."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import Budget, FailurePolicy, Step, StepContext, Workflow
from kairos.events import RunFinished, StepCompleted, StepStarted
from kairos.ports import Clock, Observer
from kairos.testing import ManualClock, Recorder
from running import one


def typed_as_ports(clock: Clock, observer: Observer) -> tuple[Clock, Observer]:
    return clock, observer


def test_the_fakes_fit_their_ports() -> None:
    assert typed_as_ports(ManualClock(), Recorder())
    assert isinstance(Recorder(), Observer)


def test_a_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(start=100.0)
    assert (clock.time(), clock.monotonic(), clock.elapsed) == (100.0, 100.0, 0.0)
    clock.advance(2.5)
    assert (clock.time(), clock.monotonic(), clock.elapsed) == (102.5, 102.5, 2.5)


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf")])
def test_a_clock_moves_forward_by_a_number(seconds: float) -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(seconds)
    assert clock.elapsed == 0


@given(steps=st.lists(st.floats(0, 1e6), max_size=10))
def test_a_clock_never_goes_back(steps: list[float]) -> None:
    clock = ManualClock()
    seen = [clock.monotonic()]
    for seconds in steps:
        clock.advance(seconds)
        seen.append(clock.monotonic())
    assert seen == sorted(seen)


def test_who_subscribes_is_woken_until_they_end_it() -> None:
    clock, woken = ManualClock(), []
    end = clock.subscribe(lambda: woken.append(1))
    clock.advance(1)
    end()
    clock.advance(1)
    assert woken == [1]
    end()  # twice is once


def test_a_clock_passes_time_by_itself_only_while_nothing_runs() -> None:
    clock = ManualClock()
    assert clock.span(5.0, idle=False) is None
    assert clock.span(None, idle=True) is None
    assert clock.elapsed == 0
    assert clock.span(5.0, idle=True) == 0.0
    assert clock.elapsed == 5.0


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("use_async", [False, True])
async def test_a_day_of_retries_passes_at_once(parallel: bool, use_async: bool) -> None:
    clock = ManualClock()

    def action(ctx: StepContext) -> int:
        if ctx.attempt <= 24:
            raise ValueError
        return ctx.attempt

    policy = FailurePolicy(max_retries=24, retry_delay=3600, max_delay=3600, jitter=False)
    workflow = Workflow(
        "w", [Step("only", action, failure_policy=policy, parallel=parallel)], clock=clock
    )
    result = await workflow.run_async() if use_async else workflow.run()
    assert result.output == 25
    assert clock.elapsed == 24 * 3600
    assert result.duration_ms == 24 * 3600 * 1000


def test_a_step_that_blocks_times_out_when_the_clock_says_so() -> None:
    clock, release = ManualClock(), threading.Event()

    def action(ctx: StepContext) -> None:
        clock.advance(59)
        assert not ctx.cancelled
        clock.advance(1)
        release.wait(20)

    policy = FailurePolicy(max_retries=0)
    step = Step("only", action, timeout=60, failure_policy=policy)
    result = Workflow("w", [step], clock=clock).run()
    release.set()
    assert one(result).attempts[0].error_type == "StepTimeoutError"
    assert one(result).attempts[0].duration_ms == 60_000


def test_wall_time_is_the_clocks() -> None:
    clock = ManualClock()

    def action(ctx: StepContext) -> None:
        clock.advance(100)

    steps = [Step("first", action), Step("second", action, depends_on=["first"])]
    result = Workflow("w", steps, clock=clock, budget=Budget(seconds=150)).run()
    assert result.status == "failed"
    assert "wall-time budget of 150 s is spent" in (result.error or "")
    assert [e.at for e in result.events if isinstance(e, StepStarted)] == [1e6, 1e6 + 100]


def test_several_runs_may_share_a_clock() -> None:
    clock = ManualClock()

    def action(ctx: StepContext) -> int:
        if ctx.attempt < 3:
            raise ValueError
        return 1

    policy = FailurePolicy(retry_delay=10, jitter=False)
    workflow = Workflow("w", [Step("only", action, failure_policy=policy)], clock=clock)
    runs = [workflow.start() for _ in range(8)]
    assert [run.result(30).output for run in runs] == [1] * 8
    assert clock.elapsed >= 20


def test_a_recorder_keeps_what_it_hears_and_finds_it_by_its_kind() -> None:
    recorder = Recorder()
    result = Workflow("w", [Step("only", lambda ctx: 1)], hooks=[recorder]).run()
    assert recorder.events == result.events
    assert [e.step for e in recorder.of(StepCompleted)] == ["only"]
    kinds: list[Any] = [type(e) for e in recorder.of(RunFinished)]
    assert kinds == [RunFinished]
