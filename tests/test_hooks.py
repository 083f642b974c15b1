"""What hooks and observers hear."""

from __future__ import annotations

from typing import Any

from kairos import (
    SKIP,
    ExecutorHooks,
    Schema,
    Step,
    StepContext,
    Workflow,
    WorkflowResult,
    WorkflowStatus,
)
from kairos.events import (
    StepCompleted,
    ValidationFinished,
    ValidationStarted,
)
from kairos.logger import CallbackSink, RunLogger
from kairos.testing import Recorder


def test_hooks_hear_the_published_calls_in_order() -> None:  # noqa: C901 - one hook of each kind
    heard: list[Any] = []

    class Hooks(ExecutorHooks):
        def on_workflow_start(self, graph: Any) -> None:
            heard.append("start")

        def on_workflow_complete(self, result: Any) -> None:
            heard.append(("complete", result.status.value))

        def on_step_start(self, step: Any, attempt: int) -> None:
            heard.append(("step", step.name, attempt))

        def on_step_complete(self, step: Any, result: Any) -> None:
            heard.append(("done", step.name, result.output, len(result.attempts)))

        def on_step_fail(self, step: Any, error: Any, attempt: int) -> None:
            heard.append(("fail", type(error).__name__, attempt))

        def on_step_retry(self, step: Any, next_attempt: int) -> None:
            heard.append(("retry", next_attempt))

        def on_step_skip(self, step: Any, reason: str) -> None:
            heard.append(("skip", step.name))

        def on_validation_start(self, step: Any, phase: str, attempt: int) -> None:
            heard.append(("checking", phase))

        def on_validation_complete(self, step: Any, phase: str, result: Any) -> None:
            heard.append(("checked", phase, result.valid))

        def on_validation_fail(self, step: Any, phase: str, result: Any, attempt: int) -> None:
            heard.append(("broken", [e.field for e in result.errors]))

    def action(ctx: StepContext) -> Any:
        return {"n": "bad" if ctx.attempt == 1 else 1}

    Workflow(
        "w",
        [
            Step("a", action, output_contract=Schema({"n": int})),
            Step("b", lambda ctx: SKIP, depends_on=["a"]),
        ],
        hooks=[Hooks()],
    ).run()
    assert heard == [
        "start",
        ("step", "a", 1),
        ("checking", "output"),
        ("broken", ["n"]),
        ("fail", "ValidationError", 1),
        ("retry", 2),
        ("step", "a", 2),
        ("checking", "output"),
        ("checked", "output", True),
        ("done", "a", {"n": 1}, 2),
        ("step", "b", 1),
        ("skip", "b"),
        ("complete", "complete"),
    ]


def test_a_hook_that_raises_is_reported_once_and_stops_nothing() -> None:
    class Broken:
        def observe(self, event: Any) -> None:
            raise RuntimeError("broken hook")

    recorder = Recorder()
    result = Workflow("w", [Step("only", lambda ctx: 1)], hooks=[Broken(), recorder]).run()
    assert result.status is WorkflowStatus.COMPLETE
    assert [w for w in result.warnings if "Broken failed" in w] == result.warnings
    assert len(result.warnings) == 1
    assert recorder.of(StepCompleted)


def test_checks_are_told_to_observers_and_not_journalled() -> None:
    recorder = Recorder()
    steps = [
        Step(
            "only",
            lambda ctx: {"n": 1},
            output_contract=Schema({"n": int}),
            parallel=True,
            timeout=60,
        )
    ]
    result = Workflow("w", steps, hooks=[recorder]).run()
    assert [e.phase for e in recorder.of(ValidationStarted)] == ["output"]
    assert [e.faults for e in recorder.of(ValidationFinished)] == [()]
    assert not any(isinstance(e, (ValidationStarted, ValidationFinished)) for e in result.events)


def test_a_hook_or_a_sink_that_would_leave_the_program_stops_nothing() -> None:
    def leave(event: object = None) -> None:
        raise SystemExit(3)

    class Leaving(ExecutorHooks):
        def on_step_start(self, step: Step, attempt: int) -> None:
            leave()

        def on_workflow_complete(self, result: WorkflowResult) -> None:
            leave()

    result = Workflow(
        "w",
        [Step("a", lambda ctx: 1), Step("b", lambda ctx: 2, depends_on=["a"])],
        hooks=[Leaving(), RunLogger([CallbackSink(leave)])],
    ).run()
    assert (result.status, result.output) == (WorkflowStatus.COMPLETE, 2)
    assert [each.partition(" failed")[0] for each in result.warnings] == [
        "Leaving",
        "CallbackSink",
        "Leaving.on_workflow_complete",
    ]
