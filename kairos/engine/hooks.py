"""The published hooks, as observers of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.contracts.field_errors import FieldValidationError, ValidationResult
from kairos.enums import FailureAction, FailureType
from kairos.events import (
    AttemptFailed,
    Event,
    FannedOut,
    ItemCompleted,
    PlanSpliced,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepSkipped,
    StepStarted,
    ValidationFinished,
    ValidationStarted,
)
from kairos.exceptions import ExecutionError, KairosError, ValidationError
from kairos.security import redactor_with
from kairos.step_fold import StepResults

if TYPE_CHECKING:
    from kairos.plan import TaskGraph
    from kairos.results import StepResult
    from kairos.step import Step
    from kairos.workflow_result import WorkflowResult

__all__ = ["ExecutorHooks", "HookObserver"]


class ExecutorHooks:
    """Subclass it and override what you want to hear of; every method does nothing.

    They are called on the thread that drives the run, in order.  An error in one is reported as a
    warning of the run and never stops it.
    """

    def on_workflow_start(self, graph: TaskGraph) -> None:
        """Hear that a run begins."""

    def on_workflow_complete(self, result: WorkflowResult) -> None:
        """Hear that a run has ended, however it ended."""

    def on_step_start(self, step: Step, attempt: int) -> None:
        """Hear that an attempt begins (for a foreach: the whole of it)."""

    def on_step_complete(self, step: Step, result: StepResult) -> None:
        """Hear that a step has completed."""

    def on_step_fail(self, step: Step, error: KairosError, attempt: int) -> None:
        """Hear that an attempt has failed; `error` is sanitised."""

    def on_step_retry(self, step: Step, next_attempt: int) -> None:
        """Hear that a failed attempt will be followed by another."""

    def on_step_skip(self, step: Step, reason: str) -> None:
        """Hear that a step is skipped."""

    def on_validation_start(self, step: Step, phase: str, attempt: int) -> None:
        """Hear that a contract is about to be checked; `phase` is "input" or "output"."""

    def on_validation_complete(self, step: Step, phase: str, result: ValidationResult) -> None:
        """Hear that a contract was checked, and holds."""

    def on_validation_fail(
        self, step: Step, phase: str, result: ValidationResult, attempt: int
    ) -> None:
        """Hear that a contract was checked, and is broken."""


class HookObserver:
    """Calls an ExecutorHooks for the events of one run."""

    def __init__(
        self, hooks: ExecutorHooks, graph: TaskGraph, sensitive_keys: tuple[str, ...] = ()
    ) -> None:
        self._sensitive = sensitive_keys
        self.hooks = hooks
        self._graph = graph
        self._kept: dict[str, list[Event]] = {}
        self.warnings: list[str] = []

    def observe(self, event: Event) -> None:
        """Call the hook that the event stands for."""
        if isinstance(event, RunStarted):
            self.hooks.on_workflow_start(self._graph)
            return
        if isinstance(event, PlanSpliced):
            return
        name = getattr(event, "step", None)
        if not isinstance(name, str) or name not in self._graph.index:
            return
        step = self._graph.get_step(name)
        if isinstance(event, (StepStarted, FannedOut, ItemCompleted, AttemptFailed)):
            self._kept.setdefault(name, []).append(event)
        call = _CALLS.get(type(event))
        if call is not None:
            call(self, step, event)

    def complete(self, result: WorkflowResult) -> None:
        """Tell that the run has ended."""
        try:
            self.hooks.on_workflow_complete(result)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a hook is someone else's code
            who = type(self.hooks).__name__
            result.warnings.append(f"{who}.on_workflow_complete failed: {type(error).__name__}")

    def _started(self, step: Step, event: StepStarted) -> None:
        self.hooks.on_step_start(step, event.attempt)

    def _completed(self, step: Step, event: StepCompleted) -> None:
        events = [*self._kept.pop(step.name, ()), event]
        self.hooks.on_step_complete(
            step, StepResults([step.name], events, redactor_with(self._sensitive))[step.name]
        )

    def _failed(self, step: Step, event: AttemptFailed) -> None:
        kind = ValidationError if event.failure is FailureType.VALIDATION else ExecutionError
        error = kind(f"{event.error}: {event.message}", step_id=step.name)
        self.hooks.on_step_fail(step, error, event.attempt)
        if event.action is FailureAction.RETRY:
            self.hooks.on_step_retry(step, event.attempt + 1)

    def _gave_up(self, step: Step, event: StepFailed) -> None:
        if step.name not in self._kept:  # it failed before any attempt could
            self.hooks.on_step_fail(step, ExecutionError(event.message, step_id=step.name), 0)
        self._kept.pop(step.name, None)

    def _skipped(self, step: Step, event: StepSkipped) -> None:
        self._kept.pop(step.name, None)
        self.hooks.on_step_skip(step, event.reason)

    def _checking(self, step: Step, event: ValidationStarted) -> None:
        self.hooks.on_validation_start(step, event.phase, event.attempt)

    def _checked(self, step: Step, event: ValidationFinished) -> None:
        errors = [
            FieldValidationError(f.field, f.expected, f.actual, f.message) for f in event.faults
        ]
        result = ValidationResult(not errors, errors)
        if errors:
            self.hooks.on_validation_fail(step, event.phase, result, event.attempt)
        else:
            self.hooks.on_validation_complete(step, event.phase, result)


_CALLS: dict[type, Any] = {
    StepStarted: HookObserver._started,  # noqa: SLF001 - its own table
    StepCompleted: HookObserver._completed,  # noqa: SLF001
    AttemptFailed: HookObserver._failed,  # noqa: SLF001
    StepFailed: HookObserver._gave_up,  # noqa: SLF001
    StepSkipped: HookObserver._skipped,  # noqa: SLF001
    ValidationStarted: HookObserver._checking,  # noqa: SLF001
    ValidationFinished: HookObserver._checked,  # noqa: SLF001
}
