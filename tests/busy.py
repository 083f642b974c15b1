"""A workflow in which nearly everything happens, and what holds of every run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from kairos import SKIP, FailureAction, FailurePolicy, Step, StepContext, StepStatus, Workflow
from kairos.events import RunFinished, StepCompleted, StepFailed, StepSkipped
from running import NO_RETRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos import WorkflowResult
    from kairos.events import Event


def ended(workflow: Workflow, inputs: dict[str, Any] | None = None) -> WorkflowResult:
    """Run a workflow that may hang where there is a fault: on a thread, and not for ever."""
    return workflow.start(inputs).result(30)


def busy(**options: Any) -> Workflow:
    """Return a workflow in which nearly everything happens that can happen."""

    def flaky(ctx: StepContext) -> int:
        if ctx.attempt == 1:
            raise ValueError("once")
        return 1

    def item(ctx: StepContext) -> Any:
        if ctx.item == 2:
            raise ValueError("always")
        return ctx.item

    def bad(ctx: StepContext) -> None:
        ctx.state.set("elsewhere", 1)

    alone = FailurePolicy(max_retries=0, fallback_action=FailureAction.SKIP)
    partial: dict[str, Any] = {"foreach_policy": "allow_partial", "failure_policy": NO_RETRY}
    return Workflow(
        "busy",
        [
            Step("flaky", flaky),
            Step("skips", lambda ctx: SKIP, depends_on=["flaky"]),
            Step("serial", item, foreach="xs", **partial),
            Step("parallel", item, foreach="xs", parallel=True, depends_on=["serial"], **partial),
            Step("bad", bad, failure_policy=alone),
            Step("beside", lambda ctx: 1, parallel=True),
            Step("never", lambda ctx: 1, when=lambda ctx: False),
            Step("end", lambda ctx: 1, depends_on=["parallel", "bad", "beside", "never", "skips"]),
            Step("fails", item_of_nothing, depends_on=["end"], failure_policy=NO_RETRY),
            Step("below", lambda ctx: 1, depends_on=["fails"]),
        ],
        **options,
    )


def item_of_nothing(ctx: StepContext) -> Any:
    return ctx.inputs["nothing"]


INPUTS = {"xs": [1, 2, 3]}
HOW_BUSY = 34  # events


def statuses(result: WorkflowResult) -> dict[str, str]:
    return {name: str(each.status) for name, each in result.step_results.items()}


class At:
    """An observer that does something at one event."""

    def __init__(self, number: int, what: Callable[[], object]) -> None:
        self.left, self.what = number, what

    def observe(self, event: Event) -> None:
        self.left -= 1
        if self.left == -1:
            self.what()


def fail() -> None:
    raise RuntimeError("an observer fails")


def consistent(result: WorkflowResult) -> None:
    """Hold a result to what every result promises."""
    assert [type(e) for e in result.events].count(RunFinished) == 1
    assert isinstance(result.events[-1], RunFinished)
    ends = [
        e.step for e in result.events if isinstance(e, StepCompleted | StepFailed | StepSkipped)
    ]
    assert sorted(ends) == sorted(result.step_results)
    final = {StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED_FINAL}
    assert {each.status for each in result.step_results.values()} <= final
    failed = any(each.status == "failed_final" for each in result.step_results.values())
    assert (result.status == "failed") is failed
    assert (result.error is None) is (result.status == "complete")
    for name, each in result.step_results.items():
        if each.status == "completed":
            assert result.reveal(name) == each.output
    result.to_dict()


def kairos_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("kairos")}


def assert_gone(before: set[threading.Thread]) -> None:
    """Wait for the threads that have come since to go, which they do as soon as they may."""
    for thread in kairos_threads() - before:
        thread.join(20)
    assert not kairos_threads() - before
