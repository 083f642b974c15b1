"""The records a run log is made of, and the tally that adds a run's events up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python

from kairos import events as happened
from kairos.enums import FailureAction, LogLevel, LogVerbosity, StepStatus, WorkflowStatus

__all__ = ["LogEvent", "RunLog", "RunSummary", "Tally", "moment"]


@dataclass(frozen=True)
class LogEvent:
    """One line of a run log; `data` is redacted, and read-only by agreement.

    `step_id` is None for what concerns the whole run.  `verbosity` is the least at which the
    event is told.
    """

    timestamp: datetime
    event_type: str
    step_id: str | None
    data: dict[str, Any]
    level: LogLevel
    run_id: str = ""
    verbosity: LogVerbosity = LogVerbosity.NORMAL

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON types; times are ISO 8601 in UTC."""
        return _plain(self)


@dataclass(frozen=True)
class RunSummary:
    """A run in numbers; a fan-out counts as one step, its retries and validations by item."""

    total_steps: int = 0
    completed_steps: int = 0
    failed_steps: int = 0
    skipped_steps: int = 0
    total_retries: int = 0
    total_duration_ms: float = 0.0
    validations_passed: int = 0
    validations_failed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return _plain(self)


@dataclass(frozen=True)
class RunLog:
    """The record of one run.  While it is in progress `completed_at` and `status` are None.

    `initial_plan` maps each step to the steps it waits for, as the run began: what a replanner
    changed is told in the events.
    """

    run_id: str
    workflow_name: str
    started_at: datetime | None
    completed_at: datetime | None
    status: WorkflowStatus | None
    events: tuple[LogEvent, ...]
    summary: RunSummary
    initial_plan: dict[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON types; times are ISO 8601 in UTC."""
        return _plain(self)


@dataclass
class Tally:
    """What a run's events add up to."""

    run_id: str
    workflow: str = ""
    started: datetime | None = None
    completed: datetime | None = None
    status: WorkflowStatus | None = None
    ms: float = 0.0
    plan: dict[str, tuple[str, ...]] = field(default_factory=dict)
    steps: set[str] = field(default_factory=set)
    ends: dict[str, StepStatus] = field(default_factory=dict)  # by step: a resume tells twice
    retries: int = 0
    passed: int = 0
    failed: int = 0
    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, event: happened.Event, at: datetime) -> None:
        """Count one event in, which happened `at` that time."""
        match event:
            case happened.RunStarted():
                self.run_id, self.started = event.run_id, at
                self.plan = {step: tuple(after) for step, after in event.plan.items()}
                self.steps.update(self.plan)
            case happened.PlanSpliced():
                self.steps.discard(event.step)
                self.steps.update(event.plan)
            case happened.StepCompleted():
                self.ends[event.step] = StepStatus.COMPLETED
            case happened.StepFailed():
                self.ends[event.step] = StepStatus.FAILED_FINAL
            case happened.StepSkipped():
                self.ends[event.step] = StepStatus.SKIPPED
            case happened.AttemptFailed(action=FailureAction.RETRY):
                self.retries += 1
            case happened.ValidationFinished():
                self.passed += not event.faults
                self.failed += bool(event.faults)
            case happened.Spent():
                self.llm_calls += event.llm_calls
                self.input_tokens += event.input_tokens
                self.output_tokens += event.output_tokens
            case happened.RunFinished():
                self.completed, self.status, self.ms = at, event.status, event.ms
            case _:
                pass

    def summary(self) -> RunSummary:
        """Return the numbers so far."""
        ends = list(self.ends.values())
        return RunSummary(
            total_steps=len(self.steps),
            completed_steps=ends.count(StepStatus.COMPLETED),
            failed_steps=ends.count(StepStatus.FAILED_FINAL),
            skipped_steps=ends.count(StepStatus.SKIPPED),
            total_retries=self.retries,
            total_duration_ms=self.ms,
            validations_passed=self.passed,
            validations_failed=self.failed,
        )

    def totals(self) -> dict[str, Any]:
        """Return what the last line says besides its status: the numbers that are not nought."""
        counted = _plain(self.summary()) | {
            "llm_calls": self.llm_calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }
        del counted["total_duration_ms"]  # the line has it already
        return {name: count for name, count in counted.items() if count}

    def log(self, logged: tuple[LogEvent, ...]) -> RunLog:
        """Return the record so far, around the events that were logged."""
        return RunLog(
            run_id=self.run_id,
            workflow_name=self.workflow,
            started_at=self.started,
            completed_at=self.completed,
            status=self.status,
            events=logged,
            summary=self.summary(),
            initial_plan=dict(self.plan),
        )


def moment(at: float) -> datetime:
    """Return the time that is `at` seconds after the epoch, in UTC."""
    return datetime.fromtimestamp(at, UTC)


def _plain(record: object) -> dict[str, Any]:
    plain: dict[str, Any] = to_jsonable_python(record)
    return plain
