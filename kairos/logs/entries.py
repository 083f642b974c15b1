"""What each engine event says in a run log: its name there, how grave it is, and who is told.

One function for each kind of event, found in a table; a test sees that none is missing.
Nothing here is redacted: `RunLogger` does that to all of it, in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from kairos import events as happened
from kairos.contracts.encoding import decode
from kairos.enums import FailureAction, LogLevel, LogVerbosity, WorkflowStatus
from kairos.exceptions import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Entry", "entry_for", "value_of"]

_MINIMAL, _NORMAL, _VERBOSE = LogVerbosity.MINIMAL, LogVerbosity.NORMAL, LogVerbosity.VERBOSE
_INFO, _WARN, _ERROR = LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR

UNREADABLE = "[UNREADABLE]"
_GRAVITY = {
    WorkflowStatus.COMPLETE: _INFO,
    WorkflowStatus.PARTIAL: _WARN,
    WorkflowStatus.FAILED: _ERROR,
}


class Entry(NamedTuple):
    """A log event before it is redacted."""

    event_type: str
    step_id: str | None
    verbosity: LogVerbosity
    level: LogLevel
    data: dict[str, Any]


def entry_for(event: happened.Event, *, values: bool) -> Entry:
    """Return what the log says of an event; `values` adds what the steps handled."""
    entry = _ENTRIES[type(event)](event)
    if values:
        entry.data.update(_values_in(event))
    return entry


def value_of(raw: bytes) -> Any:
    """Return the value that stored bytes say, or a mark where they say none."""
    try:
        return decode(raw)
    except StateError:
        return UNREADABLE


def _values_of(raws: Mapping[str, bytes]) -> dict[str, Any]:
    return {key: value_of(raw) for key, raw in raws.items()}


def _values_in(event: happened.Event) -> dict[str, Any]:
    match event:
        case happened.RunStarted():
            return {"inputs": _values_of(event.inputs), "plan": _plan(event.plan)}
        case happened.PlanSpliced():
            return {"plan": _plan(event.plan)}
        case happened.StepCompleted() | happened.ItemCompleted():
            output = {"output": value_of(event.output)}
            return output | {"writes": _values_of(event.writes)} if event.writes else output
        case happened.AttemptFailed():
            output = {} if event.output is None else {"output": value_of(event.output)}
            return output | _given(retry_context=event.retry_context)
        case _:
            return {}


def _plan(plan: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    # As keys of a dict the names of steps would be judged as the names of values are.
    return [{"step": step, "after": list(after)} for step, after in plan.items()]


def _ms(ms: float) -> float:
    return round(ms, 3)


def _given(**fields: object) -> dict[str, Any]:
    """Return the fields that say something."""
    return {name: value for name, value in fields.items() if value not in (None, "", ())}


def _run_started(event: happened.RunStarted) -> Entry:
    data: dict[str, Any] = {
        "workflow_name": event.workflow,
        "run_id": event.run_id,
        "total_steps": len(event.plan),
        "input_keys": list(event.inputs),
    }
    return Entry("workflow_start", None, _MINIMAL, _INFO, data)


def _run_finished(event: happened.RunFinished) -> Entry:
    data = _given(status=event.status.value, reason=event.reason, duration_ms=_ms(event.ms))
    return Entry("workflow_complete", None, _MINIMAL, _GRAVITY[event.status], data)


def _step_started(event: happened.StepStarted) -> Entry:
    return Entry("step_start", event.step, _NORMAL, _INFO, {"attempt": event.attempt})


def _fanned_out(event: happened.FannedOut) -> Entry:
    return Entry("fanned_out", event.step, _NORMAL, _INFO, {"items": event.items})


def _validation_started(event: happened.ValidationStarted) -> Entry:
    data = _given(phase=event.phase, attempt=event.attempt, item=event.item)
    return Entry("validation_start", event.step, _VERBOSE, _INFO, data)


def _validation_finished(event: happened.ValidationFinished) -> Entry:
    data = _given(phase=event.phase, attempt=event.attempt, item=event.item)
    if event.faults:
        data["errors"] = [fault._asdict() for fault in event.faults]
        return Entry("validation_fail", event.step, _MINIMAL, _ERROR, data)
    # A fan-out of ten thousand says so once, in its step's lines.
    told = _NORMAL if event.item is None else _VERBOSE
    return Entry("validation_complete", event.step, told, _INFO, data)


def _completed(event: happened.StepCompleted | happened.ItemCompleted) -> dict[str, Any]:
    data: dict[str, Any] = {"attempt": event.attempt, "duration_ms": _ms(event.ms)}
    if event.writes:
        data["wrote"] = list(event.writes)
    if event.cached:
        data["cached"] = True
    return data


def _step_completed(event: happened.StepCompleted) -> Entry:
    return Entry("step_complete", event.step, _NORMAL, _INFO, _completed(event))


def _item_completed(event: happened.ItemCompleted) -> Entry:
    data = {"item": event.item, "skipped": event.skipped, **_completed(event)}
    return Entry("item_complete", event.step, _VERBOSE, _INFO, data)


def _attempt_failed(event: happened.AttemptFailed) -> Entry:
    data = _given(
        attempt=event.attempt,
        item=event.item,
        failure_type=event.failure.value,
        error=event.error,
        message=event.message,
        reason=event.reason,
        duration_ms=_ms(event.ms),
    )
    if event.action is FailureAction.RETRY:
        data |= {"next_attempt": event.attempt + 1, "delay_s": round(event.delay, 3)}
        return Entry("step_retry", event.step, _NORMAL, _WARN, data)
    data["action"] = event.action.value
    # A whole step's last attempt is told by step_fail or step_skip; a lost item by nothing else.
    told = _VERBOSE if event.item is None else _NORMAL
    return Entry("attempt_fail", event.step, told, _WARN, data)


def _step_failed(event: happened.StepFailed) -> Entry:
    data = _given(error=event.error, message=event.message, duration_ms=_ms(event.ms))
    return Entry("step_fail", event.step, _MINIMAL, _ERROR, data | {"abort": event.abort})


def _step_skipped(event: happened.StepSkipped) -> Entry:
    chosen = event.cause in {"returned", "when"}
    data = _given(cause=event.cause, reason=event.reason)
    return Entry("step_skip", event.step, _NORMAL, _INFO if chosen else _WARN, data)


def _plan_spliced(event: happened.PlanSpliced) -> Entry:
    return Entry("plan_spliced", event.step, _NORMAL, _INFO, {"new_steps": len(event.plan)})


def _access_refused(event: happened.AccessRefused) -> Entry:
    data = _given(access=event.access, key=event.key, attempt=event.attempt, item=event.item)
    return Entry("access_refused", event.step, _NORMAL, _WARN, data)


def _late_result(event: happened.LateResult) -> Entry:
    data = _given(attempt=event.attempt, item=event.item)
    return Entry("late_result", event.step, _NORMAL, _WARN, data)


def _spent(event: happened.Spent) -> Entry:
    data = _given(
        attempt=event.attempt,
        item=event.item,
        llm_calls=event.llm_calls,
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        usd=event.usd,
    )
    return Entry("spent", event.step, _VERBOSE, _INFO, data)


def _budget_exhausted(event: happened.BudgetExhausted) -> Entry:
    data = _given(budget=event.budget, message=event.message)
    return Entry("budget_exhausted", None, _MINIMAL, _ERROR, data)


def _cancel_requested(event: happened.CancelRequested) -> Entry:
    return Entry("cancel_requested", None, _MINIMAL, _WARN, _given(reason=event.reason))


def _warned(event: happened.Warned) -> Entry:
    return Entry("warning", event.step, _MINIMAL, _WARN, _given(message=event.message))


_Telling: TypeAlias = "Callable[[Any], Entry]"

_ENTRIES: dict[type, _Telling] = cast(
    "dict[type, _Telling]",
    {
        happened.RunStarted: _run_started,
        happened.StepStarted: _step_started,
        happened.FannedOut: _fanned_out,
        happened.ValidationStarted: _validation_started,
        happened.ValidationFinished: _validation_finished,
        happened.StepCompleted: _step_completed,
        happened.ItemCompleted: _item_completed,
        happened.AttemptFailed: _attempt_failed,
        happened.StepFailed: _step_failed,
        happened.StepSkipped: _step_skipped,
        happened.PlanSpliced: _plan_spliced,
        happened.AccessRefused: _access_refused,
        happened.LateResult: _late_result,
        happened.Spent: _spent,
        happened.BudgetExhausted: _budget_exhausted,
        happened.CancelRequested: _cancel_requested,
        happened.Warned: _warned,
        happened.RunFinished: _run_finished,
    },
)
