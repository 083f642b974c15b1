"""What a run came to: a fold over its events, made when someone looks.

A run of ten thousand steps keeps its events anyway; turning each into result objects would cost
as much again, so a `StepResult` is built when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic import ValidationError as PydanticValidationError

from kairos.encoding import decode
from kairos.enums import AttemptStatus, StepStatus, WorkflowStatus
from kairos.events import (
    AttemptFailed,
    BudgetExhausted,
    Event,
    FannedOut,
    ItemCompleted,
    PlanSpliced,
    RunFinished,
    RunStarted,
    Spent,
    StepCompleted,
    StepFailed,
    StepSkipped,
    StepStarted,
    Warned,
)
from kairos.exceptions import ConfigError, StateError
from kairos.security import Redactor

__all__ = ["AttemptRecord", "ItemResult", "StepResult", "StepResults", "WorkflowResult"]

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _read(kind: type[T], data: Any) -> T:
    """Build a record from plain data; extra keys are ignored, bad data is a ConfigError."""
    try:
        return _adapter(kind).validate_python(data)
    except PydanticValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        told = "; ".join(f"{'.'.join(map(str, f['loc'])) or '<root>'}: {f['msg']}" for f in faults[:5])
        raise ConfigError(f"this is no {kind.__name__}: {told}") from None


def _write(record: Any) -> dict[str, Any]:
    plain: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json")
    return plain


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt: `duration_ms` in milliseconds, `error_message` sanitised."""

    attempt_number: int
    status: AttemptStatus
    output: Any = None
    error_type: str | None = None
    error_message: str | None = None
    duration_ms: float = 0.0
    timestamp: datetime = field(default_factory=_now)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return _write(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AttemptRecord:
        """Build the record from `to_dict`'s form; ConfigError for anything else."""
        return _read(cls, data)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one element of a foreach."""

    index: int
    status: StepStatus
    output: Any = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step.  `items` tells a foreach's elements apart, `reason` says why."""

    step_id: str
    status: StepStatus
    output: Any = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    duration_ms: float = 0.0
    timestamp: datetime = field(default_factory=_now)
    items: list[ItemResult] | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return _write(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StepResult:
        """Build the result from `to_dict`'s form; ConfigError for anything else."""
        return _read(cls, data)


class StepResults(Mapping[str, StepResult]):
    """The results of a run's steps in topological order, each built when it is asked for."""

    __slots__ = ("_built", "_events", "_redactor")

    def __init__(self, names: Iterable[str], events: Iterable[Event], redactor: Redactor) -> None:
        grouped: dict[str, list[Any]] = {name: [] for name in names}
        for event in events:
            if isinstance(event, PlanSpliced):
                for name in event.plan:
                    grouped.setdefault(name, [])
            step = getattr(event, "step", None)
            if step in grouped:
                grouped[step].append(event)
        self._events = grouped
        self._redactor = redactor
        self._built: dict[str, StepResult] = {}

    def __getitem__(self, name: str) -> StepResult:
        built = self._built.get(name)
        if built is None:
            built = self._built[name] = _StepFold(name, self._redactor).over(self._events[name])
        return built

    def __iter__(self) -> Iterator[str]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        return f"StepResults({', '.join(self._events)})"


class _StepFold:
    """Folds the events of one step into its result."""

    def __init__(self, name: str, redactor: Redactor) -> None:
        self._name = name
        self._redactor = redactor
        self._attempts: list[AttemptRecord] = []
        self._items: dict[int, ItemResult] | None = None
        self._status = StepStatus.PENDING
        self._output: Any = None
        self._reason = ""
        self._ms = 0.0
        self._when = 0.0

    def over(self, events: Iterable[Event]) -> StepResult:
        for event in events:
            self._take(event)
        items = None if self._items is None else [self._items[k] for k in sorted(self._items)]
        return StepResult(
            self._name,
            self._status,
            self._output,
            self._attempts,
            self._ms,
            _at(self._when),
            items,
            self._reason,
        )

    def _take(self, event: Event) -> None:
        match event:
            case StepStarted():
                self._status = StepStatus.RUNNING
                self._when = self._when or event.at
            case FannedOut():
                self._items = {}
            case AttemptFailed():
                self._failed(event)
            case ItemCompleted():
                self._item_done(event)
            case StepCompleted():
                self._status, self._ms = StepStatus.COMPLETED, event.ms
                self._output = self._shown(event.output)
                self._when = event.at
                if self._items is None:
                    self._attempts.append(_success(event.attempt, self._output, event))
            case StepFailed():
                self._status, self._ms = StepStatus.FAILED_FINAL, event.ms
                self._reason, self._when = event.message, event.at
            case StepSkipped():
                self._status, self._reason = StepStatus.SKIPPED, event.reason
                self._ms, self._when = event.ms, event.at
                if event.cause == "returned":
                    self._attempts.append(_success(event.attempt, None, event))
            case _:
                pass

    def _failed(self, event: AttemptFailed) -> None:
        record = AttemptRecord(
            event.attempt,
            AttemptStatus.FAILURE,
            None if event.output is None else self._shown(event.output),
            event.error,
            event.message,
            event.ms,
            _at(event.at),
        )
        self._attempts.append(record)
        self._status = StepStatus.RETRYING if event.action == "retry" else StepStatus.ROUTING
        if event.item is not None and self._items is not None:
            status = {"retry": StepStatus.RETRYING, "skip": StepStatus.SKIPPED}.get(
                event.action, StepStatus.FAILED_FINAL
            )
            earlier = self._items.get(event.item)
            kept = [] if earlier is None else earlier.attempts
            self._items[event.item] = ItemResult(
                event.item, status, None, [*kept, record], event.message
            )

    def _item_done(self, event: ItemCompleted) -> None:
        output = self._shown(event.output)
        record = _success(event.attempt, output, event)
        self._attempts.append(record)
        items = self._items if self._items is not None else {}
        earlier = items.get(event.item)
        kept = [] if earlier is None else earlier.attempts
        status = StepStatus.SKIPPED if event.skipped else StepStatus.COMPLETED
        reason = "returned SKIP" if event.skipped else ""
        items[event.item] = ItemResult(event.item, status, output, [*kept, record], reason)

    def _shown(self, raw: bytes) -> Any:
        # redacted under the step's own name, which may itself be a sensitive one
        return self._redactor.redact({self._name: decode(raw)})[self._name]


def _success(attempt: int, output: Any, event: Any) -> AttemptRecord:
    return AttemptRecord(
        attempt, AttemptStatus.SUCCESS, output, duration_ms=event.ms, timestamp=_at(event.at)
    )


class WorkflowResult:
    """How a run ended, with everything it did on the way.

    `status`; `step_results` by name, in topological order; `output`, the output of the last step
    in that order (a dict by name where several steps are terminal); `final_state`; `duration_ms`;
    `timestamp`, when the run began; `llm_calls`; `warnings`; `error`, why it did not complete.

    Sensitive values are masked in all of these.  `reveal(key)` gives one value in clear, on
    purpose.
    """

    def __init__(
        self,
        status: WorkflowStatus,
        step_results: Mapping[str, StepResult],
        final_state: Mapping[str, Any],
        duration_ms: float = 0.0,
        timestamp: datetime | None = None,
        llm_calls: int = 0,
        *,
        output: Any = None,
        warnings: Iterable[str] = (),
        error: str | None = None,
        run_id: str = "",
    ) -> None:
        self.status = status
        self.step_results = step_results
        self.duration_ms = duration_ms
        self.timestamp = timestamp or _now()
        self.llm_calls = llm_calls
        self.warnings = list(warnings)
        self.error = error
        self.run_id = run_id
        self._final_state: Mapping[str, Any] | None = final_state
        self._output = output
        self._raw: Mapping[str, bytes] = {}
        self._events: Iterable[Event] = ()
        self._terminal: tuple[str, ...] = ()
        self._redactor = Redactor()

    @classmethod
    def of_run(
        cls,
        events: Iterable[Event],
        *,
        state: Mapping[str, bytes],
        terminal: tuple[str, ...],
        redactor: Redactor,
    ) -> WorkflowResult:
        """Fold a finished run.  `terminal` names the steps nothing depends on."""
        started: RunStarted | None = None
        finished: RunFinished | None = None
        names: list[str] = []
        warnings: list[str] = []
        calls = 0
        error: str | None = None
        for event in events:
            if isinstance(event, (StepStarted, StepCompleted)):
                continue
            match event:
                case RunStarted():
                    started, names = event, list(event.plan)
                case RunFinished():
                    finished = event
                case Spent():
                    calls += event.llm_calls
                case Warned():
                    warnings.append(event.message)
                case StepFailed() if error is None:
                    error = f"step '{event.step}' failed: {event.message}"
                case BudgetExhausted():
                    error = event.message
        if started is None or finished is None:
            raise ConfigError("these events are not those of a finished run")
        result = cls(
            finished.status,
            _Lazy(names, lambda: StepResults(names, events, redactor)),
            {},
            finished.ms,
            _at(started.at),
            calls,
            warnings=warnings,
            error=error or finished.reason or None,
            run_id=started.run_id,
        )
        result._final_state = None
        result._raw, result._events = state, events
        result._terminal, result._redactor = terminal, redactor
        return result

    @property
    def events(self) -> list[Event]:
        """Everything that happened, in order.  The values in it are not redacted."""
        return list(self._events)

    @property
    def output(self) -> Any:
        """The output of the terminal step, or of all of them by name."""
        if not self._terminal:
            return self._output
        if len(self._terminal) == 1:
            return self._shown(self._terminal[0])
        return {name: self._shown(name) for name in self._terminal}

    @property
    def final_state(self) -> Mapping[str, Any]:
        """Everything that was stored at the end, redacted."""
        if self._final_state is None:
            values = {key: decode(raw) for key, raw in self._raw.items()}
            self._final_state = self._redactor.redact(values)
        return self._final_state

    def _shown(self, name: str) -> Any:
        raw = self._raw.get(name)
        return None if raw is None else self._redactor.redact({name: decode(raw)})[name]

    def reveal(self, key: str) -> Any:
        """Return the value stored under a key as it is, secrets and all.

        Raises StateError when nothing is stored under it.
        """
        raw = self._raw.get(key)
        if raw is None:
            raise StateError(f"the run stored nothing under '{key}'", key=key)
        return decode(raw)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values, redacted."""
        return {
            "run_id": self.run_id,
            "status": self.status.value,
            "step_results": {name: each.to_dict() for name, each in self.step_results.items()},
            "final_state": dict(self.final_state),
            "output": self.output,
            "duration_ms": self.duration_ms,
            "timestamp": self.timestamp.isoformat(),
            "llm_calls": self.llm_calls,
            "warnings": list(self.warnings),
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkflowResult:
        """Build a result from `to_dict`'s form; extra keys are ignored.

        Raises ConfigError for anything else.
        """
        record = _read(_Record, data)
        return cls(
            record.status,
            record.step_results,
            record.final_state,
            record.duration_ms,
            record.timestamp,
            record.llm_calls,
            output=record.output,
            warnings=record.warnings,
            error=record.error,
            run_id=record.run_id,
        )

    def __repr__(self) -> str:
        return (
            f"WorkflowResult({self.status}, {len(self.step_results)} steps,"
            f" {self.duration_ms:.1f} ms)"
        )


@dataclass(frozen=True, slots=True)
class _Record:
    """The written form of a WorkflowResult."""

    status: WorkflowStatus
    step_results: dict[str, StepResult]
    final_state: dict[str, Any]
    duration_ms: float = 0.0
    timestamp: datetime = field(default_factory=_now)
    llm_calls: int = 0
    output: Any = None
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    run_id: str = ""


class _Lazy(Mapping[str, StepResult]):
    """A mapping that is made when it is first used."""

    __slots__ = ("_made", "_make")

    def __init__(self, names: list[str], make: Callable[[], Mapping[str, StepResult]]) -> None:
        self._make = make
        self._made: Mapping[str, StepResult] | None = None

    def _mapping(self) -> Mapping[str, StepResult]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, name: str) -> StepResult:
        return self._mapping()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping())

    def __len__(self) -> int:
        return len(self._mapping())
