"""How a run ended, with everything it did on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kairos import exceptions
from kairos.contracts.encoding import decode
from kairos.enums import WorkflowStatus
from kairos.events import (
    BudgetExhausted,
    Event,
    RunFinished,
    RunStarted,
    Spent,
    StepCompleted,
    StepFailed,
    StepStarted,
    Warned,
)
from kairos.exceptions import ConfigError, StateError
from kairos.results import StepResult, now, read_record
from kairos.security import Redactor, redactor_with
from kairos.step_fold import StepResults, at

__all__ = ["WorkflowResult"]


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
        self.timestamp = timestamp or now()
        self.llm_calls = llm_calls
        self.warnings = list(warnings)
        self.error = error
        self.run_id = run_id
        self._final_state: Mapping[str, Any] | None = final_state
        self._output = output
        self._raw: Mapping[str, bytes] = {}
        self._events: Iterable[Event] = ()
        self._terminal: tuple[str, ...] = ()
        self._redactor: Redactor | None = None

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
                    step = f"{event.step}: " if event.step else ""
                    warnings.append(f"{step}{event.message}")
                case StepFailed() if error is None:
                    error = f"step '{event.step}' failed: {_told(event)}"
                case BudgetExhausted():
                    error = event.message
        if started is None or finished is None:
            raise ConfigError("these events are not those of a finished run")
        result = cls(
            finished.status,
            _Lazy(lambda: StepResults(names, events, redactor)),
            {},
            finished.ms,
            at(started.at),
            calls,
            warnings=warnings,
            error=error or finished.reason or None
            if finished.status is not WorkflowStatus.COMPLETE
            else None,
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
            self._final_state = self._redact(values)
        return self._final_state

    def _shown(self, name: str) -> Any:
        raw = self._raw.get(name)
        return None if raw is None else self._redact({name: decode(raw)})[name]

    def _redact(self, values: dict[str, Any]) -> dict[str, Any]:
        masked: dict[str, Any] = (self._redactor or redactor_with()).redact(values)
        return masked

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
            "timestamp": self.timestamp.isoformat().replace("+00:00", "Z"),
            "llm_calls": self.llm_calls,
            "warnings": list(self.warnings),
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkflowResult:
        """Build a result from `to_dict`'s form; extra keys are ignored.

        Raises ConfigError for anything else.
        """
        record = read_record(_Record, data, cls.__name__)
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


_OURS = frozenset((*exceptions.__all__, "ContractBroken", "MissingKeyError"))


def _told(event: StepFailed) -> str:
    """Say why a step failed; our own errors say it without the name of their class."""
    if event.error in _OURS or not event.error:
        return event.message
    return f"{event.error}: {event.message}" if event.message else event.error


@dataclass(frozen=True, slots=True)
class _Record:
    """The written form of a WorkflowResult."""

    status: WorkflowStatus
    step_results: dict[str, StepResult]
    final_state: dict[str, Any]
    duration_ms: float = 0.0
    timestamp: datetime = field(default_factory=now)
    llm_calls: int = 0
    output: Any = None
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    run_id: str = ""


class _Lazy(Mapping[str, StepResult]):
    """A mapping that is made when it is first used."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Mapping[str, StepResult]]) -> None:
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
