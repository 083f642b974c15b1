"""The engine under stress: cancelled anywhere, thousands of steps, runs within runs."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from busy import (
    HOW_BUSY,
    INPUTS,
    At,
    assert_gone,
    busy,
    consistent,
    ended,
    kairos_threads,
)
from kairos import (
    FailureAction,
    FailurePolicy,
    StateStore,
    Step,
    StepContext,
    StepExecutor,
    TaskGraph,
    Workflow,
)
from kairos.events import RunFinished, StepStarted
from kairos.testing import ManualClock, Recorder
from running import NO_RETRY

if TYPE_CHECKING:
    from kairos import WorkflowResult
    from kairos.events import Event
    from kairos.run import Run


def test_the_busy_workflow_is_as_busy_as_the_tests_below_assume() -> None:
    result = busy().run(INPUTS)
    assert len(result.events) == HOW_BUSY
    assert len({type(event) for event in result.events}) >= 9


# -- cancellation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [False, True])
@pytest.mark.parametrize("number", range(HOW_BUSY + 1))
def test_a_run_that_is_cancelled_at_any_event_ends_in_good_order(number: int, now: bool) -> None:
    handle: list[Run] = []
    started = threading.Event()

    def cancel() -> None:
        started.wait(20)
        handle[0].cancel("enough", now=now)

    recorder = Recorder()
    run = busy(hooks=[At(number, cancel), recorder]).start(INPUTS)
    handle.append(run)
    started.set()
    result = run.result(30)
    consistent(result)
    assert recorder.events == result.events
    after = result.events[number + 1 :]
    if number < HOW_BUSY - 1 and not any(isinstance(e, RunFinished) for e in after[:1]):
        attempts = [e for e in after if isinstance(e, StepStarted)]
        assert len(attempts) <= 1  # the one that was on its way
    run.cancel()
    assert run.done()


@pytest.mark.parametrize("number", range(0, HOW_BUSY, 3))
async def test_a_task_that_is_cancelled_at_any_event_ends_in_good_order(number: int) -> None:
    recorder, tasks = Recorder(), list[asyncio.Task[Any]]()

    def cancel() -> None:
        tasks[0].cancel()

    workflow = busy(hooks=[At(number, cancel), recorder])
    tasks.append(asyncio.create_task(workflow.run_async(INPUTS)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert isinstance(recorder.events[-1], RunFinished)


def test_cancelling_from_many_threads_at_once_is_cancelling() -> None:
    for _ in range(20):
        run = busy().start(INPUTS)
        threads = [threading.Thread(target=run.cancel) for _ in range(6)]
        for thread in threads:
            thread.start()
        consistent(run.result(30))
        for thread in threads:
            thread.join(20)


# -- many at once ---------------------------------------------------------------------------------


def chancy(count: int, seed: int) -> Workflow:
    """Return a wide and deep workflow whose steps fail by a chance that is always the same."""
    chance = random.Random(seed)  # noqa: S311 - a test's chance is no secret
    policies = [
        FailurePolicy(max_retries=2, fallback_action=FailureAction.SKIP),
        FailurePolicy(on_execution_fail=FailureAction.SKIP),
        FailurePolicy(max_retries=5, fallback_action=FailureAction.REPLAN, max_replans=0),
    ]

    def action(ctx: StepContext) -> str:
        if random.Random(f"{seed}/{ctx.step_id}/{ctx.attempt}").random() < 0.4:  # noqa: S311
            raise ValueError(ctx.step_id)
        return ctx.step_id

    async def on_loop(ctx: StepContext) -> str:
        await asyncio.sleep(0)
        return action(ctx)

    names = [f"s{number}" for number in range(count)]
    return Workflow(
        "chancy",
        [
            Step(
                name,
                on_loop if chance.random() < 0.2 else action,
                parallel=chance.random() < 0.9,
                depends_on=chance.sample(names[max(0, at - 40) : at], min(at, chance.randrange(4))),
                failure_policy=chance.choice(policies[:2]),
            )
            for at, name in enumerate(names)
        ],
    )


def outcome(result: WorkflowResult) -> dict[str, tuple[str, int]]:
    return {
        name: (str(each.status), len(each.attempts)) for name, each in result.step_results.items()
    }


def test_two_thousand_steps_that_fail_by_chance_come_to_one_end_by_every_driver() -> None:
    workflow = chancy(2_000, seed=7)
    first = workflow.run()
    consistent(first)
    assert {status for status, _ in outcome(first).values()} == {"completed", "skipped"}
    for again in (ended(workflow), asyncio.run(workflow.run_async())):
        consistent(again)
        assert outcome(again) == outcome(first)
        assert again.final_state == first.final_state


def test_one_workflow_runs_many_times_at_once() -> None:
    workflow = chancy(120, seed=11)
    expected = outcome(workflow.run())
    runs = [workflow.start() for _ in range(12)]
    results = [run.result(60) for run in runs]
    assert all(outcome(result) == expected for result in results)
    assert len({result.run_id for result in results}) == 12


async def test_runs_share_an_event_loop() -> None:
    workflow = chancy(60, seed=13)
    expected = outcome(await workflow.run_async())
    results = await asyncio.gather(*(workflow.run_async() for _ in range(8)))
    assert all(outcome(result) == expected for result in results)


def test_runs_of_one_workflow_do_not_see_one_anothers_inputs() -> None:
    workflow = Workflow("w", [Step("echo", lambda ctx: ctx.inputs["n"], parallel=True)])
    runs = [workflow.start({"n": n}) for n in range(40)]
    assert [run.result(30).output for run in runs] == list(range(40))


# -- runs within runs -----------------------------------------------------------------------------


def test_a_step_may_run_a_workflow_that_runs_a_workflow() -> None:
    def nested(ctx: StepContext) -> int:
        depth = int(ctx.inputs["depth"])
        return depth if depth == 0 else int(workflow.run({"depth": depth - 1}).output) + 1

    workflow = Workflow("w", [Step("only", nested)])
    assert workflow.run({"depth": 25}).output == 25


def test_a_recursion_without_end_is_a_failed_attempt() -> None:
    def forever(ctx: StepContext) -> Any:
        return workflow.run().output

    workflow = Workflow("w", [Step("only", forever, failure_policy=NO_RETRY)])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        result = workflow.run()
    finally:
        sys.setrecursionlimit(limit)
    assert result.status in {"failed", "complete"}
    result.to_dict()


def test_an_observer_may_run_a_workflow() -> None:
    inner = Workflow("inner", [Step("only", lambda ctx: 1, parallel=True)])
    statuses_seen: list[str] = []

    class Nested:
        def observe(self, event: Event) -> None:
            statuses_seen.append(inner.run().status)

    result = busy(hooks=[Nested()]).run(INPUTS)
    assert len(statuses_seen) == len(result.events)
    assert set(statuses_seen) == {"complete"}


# -- what is left behind --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3])
def test_no_thread_is_left_after_a_run(count: int) -> None:
    async def on_loop(ctx: StepContext) -> int:
        await asyncio.sleep(0)
        return 1

    before = kairos_threads()
    for _ in range(count):
        busy().run(INPUTS)
        ended(busy(), INPUTS)
        Workflow("w", [Step("a", on_loop), Step("b", on_loop, parallel=True)]).run()
        asyncio.run(busy().run_async(INPUTS))
    assert_gone(before)


def test_a_stuck_thread_goes_when_it_is_free() -> None:
    clock, release, before = ManualClock(), threading.Event(), kairos_threads()

    def stuck(ctx: StepContext) -> None:
        clock.advance(6)
        release.wait(60)

    result = ended(
        Workflow("w", [Step("only", stuck, timeout=5, failure_policy=NO_RETRY)], clock=clock)
    )
    assert result.status == "failed"
    assert kairos_threads() - before
    release.set()
    assert_gone(before)


def script(text: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, which must end by itself."""
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(text)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, **environment},
    )


STUCK = """
    import asyncio, threading
    from kairos import *

    def forever(ctx):
        threading.Event().wait()

    async def never(ctx):
        await asyncio.Event().wait()

    async def deaf(ctx):
        threading.Event().wait()

    def stuck(action):
        step = Step("s", action, timeout=0.05, failure_policy=FailurePolicy(max_retries=0))
        return Workflow("w", [step])

"""


@pytest.mark.parametrize(
    "ending",
    [
        "print(stuck(forever).run().status)",
        "print(stuck(never).run().status)",
        "print(stuck(deaf).run().status)",
        "stuck(forever).start(); print('failed')",
        "Workflow('w', [Step('s', forever)]).start(); print('failed')",
    ],
)
def test_a_program_ends_while_a_step_is_stuck(ending: str) -> None:
    done = script(STUCK + "    " + ending)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("failed", "", 0)


def test_nothing_is_left_open() -> None:
    done = script(
        """
        import asyncio, gc
        from kairos import *

        async def numbers():
            for n in range(3):
                yield n

        async def first(ctx):
            async for n in numbers():
                return n

        async def slow(ctx):
            await asyncio.sleep(60)

        def bad(ctx):
            raise ValueError

        skip = FailurePolicy(on_execution_fail="skip")
        steps = [
            Step("first", first),
            Step("each", first, foreach="xs", parallel=True),
            Step("slow", slow, timeout=0.05, failure_policy=skip),
            Step("bad", bad, parallel=True, failure_policy=FailurePolicy(max_retries=1)),
        ]
        workflow = Workflow("w", steps)
        print(workflow.run({"xs": [1, 2]}).status)
        print(asyncio.run(workflow.run_async({"xs": [1, 2]})).status)
        gc.collect()
        """,
        "-X",
        "dev",
        "-W",
        "error",
    )
    assert (done.stdout.split(), done.stderr) == (["failed", "failed"], "")


def test_a_run_is_the_same_whatever_the_seed_of_hashes() -> None:
    text = """
        from kairos import *

        def bad(ctx):
            raise ValueError

        def give(ctx):
            return {"b": 1, "a": 2}

        def read(ctx):
            return dict(ctx.inputs)

        steps = [Step(f"s{n}", give, read_keys={"x", "y", "z"}) for n in range(8)]
        steps += [Step(f"t{n}", read, depends_on=["s1", "s0"]) for n in range(4)]
        steps += [Step("bad", bad, failure_policy=FailurePolicy(fallback_action="skip"))]
        result = Workflow("w", steps).run({"z": 1, "y": 2, "x": 3})
        print([(e.type, getattr(e, "step", None)) for e in result.events])
        print(list(result.final_state.items()), list(result.output.items()), result.warnings)
        """
    outputs = {script(text, PYTHONHASHSEED=seed).stdout for seed in ("0", "1", "2")}
    assert len(outputs) == 1
    assert "run_finished" in outputs.pop()


def test_a_plan_without_steps_ends_at_once() -> None:
    result = StepExecutor(StateStore()).run(TaskGraph("empty", []))
    assert result.status.value == "complete"
    assert [event.type for event in result.events] == ["run_started", "run_finished"]
