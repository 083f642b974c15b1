"""Attempts that come back late, at the last moment, or never, and who waits behind them."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from busy import ended
from kairos import FailureAction, FailurePolicy, Step, StepContext, StepStatus, Workflow
from kairos.backends.threads import Threads
from kairos.events import LateResult, RunFinished, StepStarted
from kairos.testing import ManualClock, Recorder
from running import NO_RETRY, one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.events import Event

SKIP_IT = FailurePolicy(on_execution_fail=FailureAction.SKIP)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Give an event to be stuck on, which is set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


# -- threads --------------------------------------------------------------------------------------


def test_a_job_behind_a_stuck_one_gets_the_thread_that_takes_its_place(
    release: threading.Event,
) -> None:
    threads, done = Threads(1), threading.Event()
    threads.submit(release.wait)  # type: ignore[arg-type]  # what it returns is nobody's business
    threads.submit(done.set)
    threads.replace_one()
    assert done.wait(20)
    threads.stop()


def test_a_replacement_is_started_even_when_a_thread_once_passed_for_idle(
    release: threading.Event,
) -> None:
    threads, first, done = Threads(1), threading.Event(), threading.Event()
    threads.submit(first.set)
    assert first.wait(20)
    threads.submit(release.wait)  # type: ignore[arg-type]
    threads.replace_one()
    threads.submit(done.set)
    assert done.wait(20)
    threads.stop()


@pytest.mark.parametrize("limit", [1, 3, 32])
def test_no_more_threads_than_the_limit_and_no_job_is_lost(limit: int) -> None:
    threads = Threads(limit, "pool")
    lock, names, ran, over = threading.Lock(), set(), [0], threading.Event()

    def job() -> None:
        with lock:
            names.add(threading.current_thread().name)
            ran[0] += 1
            if ran[0] == 3000:
                over.set()

    for _ in range(3000):
        threads.submit(job)
    assert over.wait(30)
    assert 1 <= len(names) <= limit
    threads.stop()


@pytest.mark.parametrize("count", [2, 8])
def test_jobs_that_wait_for_one_another_all_get_a_thread(count: int) -> None:
    threads, barrier = Threads(count), threading.Barrier(count)
    for _ in range(20):
        done = threading.Semaphore(0)

        def job(done: threading.Semaphore = done) -> None:
            barrier.wait(20)
            done.release()

        for _ in range(count):
            threads.submit(job)
        for _ in range(count):
            assert done.acquire(timeout=20)
    threads.stop()


# -- stuck attempts -------------------------------------------------------------------------------


def test_a_step_that_got_stuck_on_the_only_thread_is_tried_again(
    clock: ManualClock, release: threading.Event
) -> None:
    def stuck(ctx: StepContext) -> str:
        if ctx.attempt == 1:
            clock.advance(6)
            release.wait(60)
        return "second"

    result = ended(
        Workflow(
            "w",
            [
                Step("first", lambda ctx: 1, timeout=5),
                Step(
                    "stuck",
                    stuck,
                    timeout=5,
                    depends_on=["first"],
                    failure_policy=FailurePolicy(max_retries=1),
                ),
            ],
            max_concurrency=1,
            clock=clock,
        )
    )
    assert result.output == "second"


def test_a_step_behind_a_stuck_one_runs(clock: ManualClock, release: threading.Event) -> None:
    def stuck(ctx: StepContext) -> None:
        clock.advance(6)
        release.wait(60)

    result = ended(
        Workflow(
            "w",
            [
                Step("stuck", stuck, timeout=5, parallel=True, failure_policy=SKIP_IT),
                Step("behind", lambda ctx: "ran", parallel=True),
            ],
            max_concurrency=1,
            clock=clock,
        )
    )
    assert result.step_results["behind"].output == "ran"
    assert result.step_results["stuck"].status is StepStatus.SKIPPED


def test_an_item_that_fails_after_it_was_given_up_holds_nobody_up(clock: ManualClock) -> None:
    late, dropped = threading.Event(), threading.Event()

    class Ear:
        def observe(self, event: Event) -> None:
            if isinstance(event, LateResult):
                dropped.set()

    def action(ctx: StepContext) -> int:
        if ctx.item == 0:
            clock.advance(6)
            late.wait(20)
            raise ValueError("too late to matter")
        if ctx.item == 5:
            late.set()
            dropped.wait(20)
        return int(ctx.item)

    workflow = Workflow(
        "w",
        [
            Step(
                "only",
                action,
                foreach="xs",
                parallel=True,
                max_concurrency=1,
                timeout=5,
                foreach_policy="allow_partial",
                failure_policy=NO_RETRY,
            )
        ],
        clock=clock,
        hooks=[Ear()],
    )
    assert ended(workflow, {"xs": list(range(60))}).output == [None, *range(1, 60)]


@pytest.mark.parametrize("retries", [0, 1])
def test_an_async_item_that_is_given_up_holds_nobody_up(clock: ManualClock, retries: int) -> None:
    async def action(ctx: StepContext) -> int:
        if ctx.item == 0 and ctx.attempt == 1:
            clock.advance(6)
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return int(ctx.item)

    workflow = Workflow(
        "w",
        [
            Step(
                "only",
                action,
                foreach="xs",
                parallel=True,
                max_concurrency=3,
                timeout=5,
                foreach_policy="allow_partial",
                failure_policy=FailurePolicy(max_retries=retries),
            )
        ],
        clock=clock,
    )
    output = ended(workflow, {"xs": list(range(60))}).output
    assert output[0] == (0 if retries else None)
    assert output[3:] == list(range(3, 60))  # its two neighbours may have lost their time as well


class Patient(ManualClock):
    """A clock that lets the driver look at it only after the workers have got somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.until: threading.Event | None = None
        self.driver: threading.Thread | None = None
        self.asleep, self.looking = threading.Event(), threading.Event()

    def monotonic(self) -> float:
        if self.until is not None and threading.current_thread() is self.driver:
            until, self.until = self.until, None
            self.looking.set()
            until.wait(20)
        return super().monotonic()

    def span(self, seconds: float | None, *, idle: bool) -> float | None:
        self.driver = threading.current_thread()
        self.asleep.set()
        return super().span(seconds, idle=idle)


def test_a_worker_that_comes_back_at_the_last_moment_is_counted_once() -> None:
    """An item returns just before the driver would give it up, and its worker goes on pulling."""
    clock, next_taken = Patient(), threading.Event()

    def action(ctx: StepContext) -> int:
        if ctx.item == 0:
            clock.asleep.wait(20)
            clock.until = next_taken
            clock.advance(6)
            clock.looking.wait(20)  # the driver looks at the clock now, and waits there
        if ctx.item == 1:
            next_taken.set()
            raise ValueError
        return int(ctx.item)

    workflow = Workflow(
        "w",
        [
            Step(
                "only",
                action,
                foreach="xs",
                parallel=True,
                max_concurrency=1,
                timeout=5,
                failure_policy=NO_RETRY,
            )
        ],
        clock=clock,
    )
    result = ended(workflow, {"xs": [0, 1, 2, 3]})
    assert one(result).status is StepStatus.FAILED_FINAL
    assert [each.output for each in one(result).items] == [0, None]


def test_nothing_is_recorded_after_the_end() -> None:
    """A late result, a cancellation and the end of the budget may all come when all is over."""
    release, returned = threading.Event(), threading.Event()
    clock, recorder = ManualClock(), Recorder()

    def late(ctx: StepContext) -> str:
        clock.advance(6)
        release.wait(20)
        returned.set()
        return "late"

    def last(ctx: StepContext) -> str:
        release.set()
        returned.wait(20)
        threading.Event().wait(0.02)  # the late result is on its way, and likely there
        return "last"

    run = Workflow(
        "w",
        [
            Step("late", late, timeout=5, parallel=True, failure_policy=SKIP_IT),
            Step("last", last, depends_on=["late"]),
        ],
        clock=clock,
        hooks=[recorder],
    ).start()
    result = run.result(20)
    run.cancel()
    assert [type(e) for e in result.events].count(RunFinished) == 1
    assert isinstance(result.events[-1], RunFinished)
    assert recorder.events == result.events
    assert len([e for e in result.events if isinstance(e, LateResult)]) <= 1


def test_a_run_that_is_cancelled_before_it_begins_starts_nothing() -> None:
    from kairos.engine.driver import RunControl

    control = RunControl()
    control.cancel("never mind")
    result = Workflow("w", [Step("only", lambda ctx: 1, parallel=True)])._drive(None, control)
    assert result.status == "partial"
    assert not [e for e in result.events if isinstance(e, StepStarted)]
    assert one(result).reason == "never mind"


# -- event loops ----------------------------------------------------------------------------------


async def quick(ctx: StepContext) -> str:
    await asyncio.sleep(0)
    return "done"


@pytest.mark.parametrize("foreach", [None, "xs"])
def test_an_async_step_that_blocks_its_loop_holds_up_no_other(
    clock: ManualClock, release: threading.Event, foreach: str | None
) -> None:
    async def blocks(ctx: StepContext) -> str:
        if ctx.attempt == 1:
            clock.advance(6)
            release.wait(60)  # what no async action should do
        return "second"

    policy = FailurePolicy(max_retries=1)
    steps = [
        Step("blocks", blocks, timeout=5, failure_policy=policy, foreach=foreach),
        Step("after", quick, depends_on=["blocks"]),
    ]
    result = ended(Workflow("w", steps, clock=clock), {"xs": [1]})
    assert result.output == "done"
    assert result.step_results["blocks"].output == (["second"] if foreach else "second")


def test_an_action_that_stops_the_loop_stops_nobody_else() -> None:
    async def stops(ctx: StepContext) -> str:
        asyncio.get_running_loop().stop()
        return "stopped"

    steps = [Step("stops", stops), Step("after", quick, depends_on=["stops"])]
    result = ended(Workflow("w", steps))
    assert result.step_results["stops"].output == "stopped"
    assert result.output == "done"


@pytest.mark.parametrize("parallel", [False, True])
def test_an_action_that_cancels_itself_has_failed(parallel: bool) -> None:
    async def cancels(ctx: StepContext) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    step = Step("only", cancels, parallel=parallel, foreach="xs", failure_policy=NO_RETRY)
    result = ended(Workflow("w", [step]), {"xs": [1, 2]})
    assert one(result).attempts[0].error_type == "CancelledError"


def test_a_cancellation_that_comes_too_late_for_everything_is_no_error() -> None:
    running = threading.Event()

    def finishes(ctx: StepContext) -> str:
        running.set()
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        return "finished all the same"

    run = Workflow("w", [Step("only", finishes)]).start()
    assert running.wait(20)
    run.cancel()
    result = run.result(20)
    assert (result.status, result.output) == ("complete", "finished all the same")
    assert result.error is None
