"""The events of a run, folded into the results of its steps when someone looks.

A run of ten thousand steps keeps its events anyway; turning each into result objects would cost
as much again, so a `StepResult` is built when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

from kairos.contracts.encoding import decode
from kairos.enums import AttemptStatus, StepStatus
from kairos.events import (
    AttemptFailed,
    Event,
    FannedOut,
    ItemCompleted,
    PlanSpliced,
    RunStarted,
    Spent,
    StepCompleted,
    StepFailed,
    StepSkipped,
    StepStarted,
)
from kairos.results import AttemptRecord, ItemResult, StepResult
from kairos.spending import Spend

if TYPE_CHECKING:
    from kairos.security import Redactor

__all__ = ["StepResults", "at"]


def at(seconds: float) -> datetime:
    """Return a moment given in seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


class StepResults(Mapping[str, StepResult]):
    """The results of a run's steps in topological order, each built when it is asked for."""

    __slots__ = ("_built", "_events", "_redactor")

    def __init__(self, names: Iterable[str], events: Iterable[Event], redactor: Redactor) -> None:
        grouped: dict[str, list[Any]] = {name: [] for name in names}
        plan: dict[str, tuple[str, ...]] = {}
        spliced = False
        for event in events:
            if isinstance(event, RunStarted):
                plan = dict(event.plan)
            elif isinstance(event, PlanSpliced):
                spliced = True
                plan.update(event.plan)
                for name in event.plan:
                    grouped.setdefault(name, [])
            step = getattr(event, "step", None)
            if step in grouped:
                grouped[step].append(event)
        self._events = _sorted(grouped, plan) if spliced else grouped
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


def _sorted(
    grouped: dict[str, list[Any]], plan: Mapping[str, tuple[str, ...]]
) -> dict[str, list[Any]]:
    """Put steps into topological order again, after some were replaced."""
    from graphlib import TopologicalSorter  # noqa: PLC0415 - only a replan pays for it

    return {name: grouped[name] for name in TopologicalSorter(plan).static_order()}


class _StepFold:
    """Folds the events of one step into its result."""

    def __init__(self, name: str, redactor: Redactor) -> None:
        self._name = name
        self._redactor = redactor
        self._attempts: list[AttemptRecord] = []
        self._items: dict[int, ItemResult] | None = None
        self._spent: dict[int | None, Spend] = {}
        self._status = StepStatus.PENDING
        self._output: Any = None
        self._reason = ""
        self._cached = False
        self._ms = 0.0
        self._when = 0.0

    def over(self, events: Iterable[Event]) -> StepResult:
        for event in events:
            if isinstance(event, Spent):
                self._pay(event)
            else:
                self._take(event)
        spent = self._spent
        items = None if self._items is None else [self._items[k] for k in sorted(self._items)]
        if items and spent:
            items = [replace(each, spent=spent.get(each.index)) for each in items]
        return StepResult(
            self._name,
            self._status,
            self._output,
            self._attempts,
            self._ms,
            at(self._when),
            items,
            self._reason,
            reduce(Spend.plus, spent.values()) if spent else None,
            all(each.cached for each in items) if items else self._cached,
        )

    def _pay(self, event: Spent) -> None:
        amount = Spend(event.llm_calls, event.input_tokens, event.output_tokens, event.usd)
        before = self._spent.get(event.item)
        self._spent[event.item] = amount if before is None else before.plus(amount)

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
                self._when, self._cached = event.at, event.cached
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
            at(event.at),
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
        items[event.item] = ItemResult(
            event.item, status, output, [*kept, record], reason, cached=event.cached
        )

    def _shown(self, raw: bytes) -> Any:
        # redacted under the step's own name, which may itself be a sensitive one
        return self._redactor.redact({self._name: decode(raw)})[self._name]


def _success(attempt: int, output: Any, event: Any) -> AttemptRecord:
    return AttemptRecord(
        attempt, AttemptStatus.SUCCESS, output, duration_ms=event.ms, timestamp=at(event.at)
    )
