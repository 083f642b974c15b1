"""Runs on the caller's event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from kairos import (
    Step,
    StepContext,
    Workflow,
)
from kairos.events import (
    StepCompleted,
)
from kairos.testing import Recorder


async def test_run_async_runs_async_actions_on_the_callers_loop() -> None:
    loops: list[Any] = []

    async def action(ctx: StepContext) -> int:
        loops.append(asyncio.get_running_loop())
        return 1

    def sync(ctx: StepContext) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return int(ctx.inputs["action"]) + 1

    workflow = Workflow("w", [Step("action", action), Step("sync", sync, depends_on=["action"])])
    result = await workflow.run_async()
    assert result.output == 2
    assert loops == [asyncio.get_running_loop()]


async def test_async_items_run_together() -> None:
    met: list[int] = []
    everyone = asyncio.Event()

    async def action(ctx: StepContext) -> int:
        met.append(ctx.item)
        if len(met) == 5:
            everyone.set()
        await everyone.wait()
        return int(ctx.item)

    workflow = Workflow("w", [Step("only", action, foreach="xs", parallel=True)])
    assert (await workflow.run_async({"xs": list(range(5))})).output == list(range(5))


async def test_cancelling_the_task_cancels_the_run() -> None:
    started = asyncio.Event()
    events = Recorder()

    async def waits(ctx: StepContext) -> None:
        started.set()
        await asyncio.Event().wait()

    workflow = Workflow(
        "w",
        [Step("done", lambda ctx: 1), Step("waits", waits, depends_on=["done"])],
        hooks=[events],
    )
    task = asyncio.create_task(workflow.run_async())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [e.step for e in events.of(StepCompleted)] == ["done"]
    assert events.events[-1].type == "run_finished"


async def test_run_works_inside_a_running_loop() -> None:
    async def action(ctx: StepContext) -> int:
        return 3

    assert Workflow("w", [Step("only", action)]).run().output == 3


async def test_a_started_run_can_be_awaited() -> None:
    assert (await Workflow("w", [Step("only", lambda ctx: 4)]).start()).output == 4
