"""Stopping a run from outside."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from kairos import (
    RunInterrupted,
    Step,
    StepContext,
    StepStatus,
    Workflow,
    WorkflowStatus,
)
from running import one


def test_cancel_keeps_what_is_done_tells_what_runs_and_starts_nothing_new() -> None:
    running = threading.Event()

    def waits(ctx: StepContext) -> str:
        running.set()
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        return "stopped in good order"

    run = Workflow(
        "w",
        [
            Step("done", lambda ctx: "kept"),
            Step("waits", waits, depends_on=["done"]),
            Step("never", lambda ctx: 1, depends_on=["waits"]),
        ],
    ).start()
    assert running.wait(20)
    run.cancel("enough")
    result = run.result(20)
    assert result.status is WorkflowStatus.PARTIAL
    assert result.step_results["done"].output == "kept"
    assert result.step_results["waits"].output == "stopped in good order"
    assert result.step_results["never"].status is StepStatus.SKIPPED
    assert result.error == "enough"


def test_cancel_now_does_not_wait() -> None:
    running, release = threading.Event(), threading.Event()

    def deaf(ctx: StepContext) -> None:
        running.set()
        release.wait(20)

    run = Workflow("w", [Step("deaf", deaf, parallel=True)]).start()
    assert running.wait(20)
    run.cancel(now=True)
    result = run.result(20)
    release.set()
    assert result.status is WorkflowStatus.PARTIAL
    assert result.step_results["deaf"].status is StepStatus.SKIPPED


def test_cancelling_a_foreach_keeps_the_finished_items() -> None:
    reached = threading.Event()

    def action(ctx: StepContext) -> int:
        if ctx.item == 5:
            reached.set()
            while not ctx.cancelled:
                threading.Event().wait(0.001)
        return int(ctx.item)

    run = Workflow("w", [Step("only", action, foreach="xs")]).start({"xs": list(range(100))})
    assert reached.wait(20)
    run.cancel()
    result = run.result(20)
    assert result.status is WorkflowStatus.PARTIAL
    assert [i.output for i in one(result).items] == [0, 1, 2, 3, 4, 5]
    assert "6 of 100" in one(result).reason


@pytest.mark.parametrize("parallel", [False, True])
def test_ctrl_c_stops_the_run_and_carries_the_result(parallel: bool) -> None:
    def strike(ctx: StepContext) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 20
        while not ctx.cancelled and time.monotonic() < deadline:
            threading.Event().wait(0.001)
        return "finished"

    workflow = Workflow(
        "w",
        [
            Step("done", lambda ctx: "kept"),
            Step(
                "strike",
                strike,
                depends_on=["done"],
                parallel=parallel,
                timeout=60 if parallel else None,
            ),
            Step("never", lambda ctx: 1, depends_on=["strike"]),
        ],
    )
    with pytest.raises(RunInterrupted) as caught:
        workflow.run()
    result = caught.value.result
    assert result.status is WorkflowStatus.PARTIAL
    assert result.step_results["done"].output == "kept"
    assert result.step_results["never"].status is StepStatus.SKIPPED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
