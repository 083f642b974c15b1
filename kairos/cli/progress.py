"""What a run looks like from outside, folded from its events; who draws it is another matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos import events as happened
from kairos.enums import FailureAction, StepStatus, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Progress", "Row", "counts"]

_NOTES = 100  # kept of what steps may do as often as they like


class Row:
    """One step: times are seconds since the epoch, `ms` milliseconds once it has ended.

    `items` is None unless the step is a foreach, of which `ended` elements are over: `lost` of
    them failed and `left_out` were skipped.
    """

    __slots__ = (
        "attempt",
        "began",
        "ended",
        "items",
        "left_out",
        "lost",
        "ms",
        "name",
        "note",
        "retries",
        "status",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = StepStatus.PENDING
        self.attempt = 0
        self.began = 0.0
        self.ms = 0.0
        self.retries = 0
        self.items: int | None = None
        self.ended = self.lost = self.left_out = 0
        self.note = ""


class Progress:
    """Observes one run.

    It is told on the thread that drives the run and read on the one that draws.  Nothing locks:
    each change is one assignment, and a reader copies a dict before it walks along it.
    """

    def __init__(self) -> None:
        self.workflow = ""
        self.run_id = ""
        self.began = 0.0
        self.ms = 0.0
        self.status: WorkflowStatus | None = None
        self.reason = ""
        self.plan: dict[str, tuple[str, ...]] = {}
        self.rows: dict[str, Row] = {}
        self.running: dict[str, Row] = {}
        self.failed: dict[str, Row] = {}
        self.completed = self.skipped = self.retries = self.cached = 0
        self.llm_calls = self.tokens = 0
        self.usd = 0.0
        self.notes: list[str] = []
        self.notes_left_out = 0
        self.version = 0  # of the plan

    def observe(self, event: happened.Event) -> None:
        """Take note of one event."""
        take = _TAKES.get(type(event))
        if take is not None:
            take(self, event)

    def row(self, step: str) -> Row:
        """Return the step's row, making it where it has none yet."""
        row = self.rows.get(step)
        if row is None:
            row = self.rows[step] = Row(step)
        return row

    @property
    def ended(self) -> int:
        """How many steps are over, however they ended."""
        return self.completed + self.skipped + len(self.failed)

    def _note(self, text: str) -> None:
        if len(self.notes) < _NOTES:
            self.notes.append(text)
        else:
            self.notes_left_out += 1

    def _begin(self, event: happened.RunStarted) -> None:
        self.workflow, self.run_id, self.began = event.workflow, event.run_id, event.at
        self._plan(event.plan)

    def _splice(self, event: happened.PlanSpliced) -> None:
        self._plan(event.plan)
        self.running.pop(event.step, None)
        self.row(event.step).status = StepStatus.PENDING
        self._note(f"{event.step}: replanned, {len(event.plan)} new or changed steps")

    def _plan(self, plan: Mapping[str, tuple[str, ...]]) -> None:
        self.plan = {**self.plan, **plan}
        self.version += 1

    def _start(self, event: happened.StepStarted) -> None:
        row = self.row(event.step)
        row.attempt, row.status = event.attempt, StepStatus.RUNNING
        row.began = row.began or event.at
        self.running[event.step] = row

    def _fan_out(self, event: happened.FannedOut) -> None:
        self.row(event.step).items = event.items

    def _item(self, event: happened.ItemCompleted) -> None:
        row = self.row(event.step)
        row.ended += 1
        row.left_out += event.skipped
        self.cached += event.cached

    def _attempt_failed(self, event: happened.AttemptFailed) -> None:
        row = self.row(event.step)
        row.note = f"{event.error}: {event.message}" if event.message else event.error
        if event.action is FailureAction.RETRY:
            row.retries += 1
            self.retries += 1
            if event.item is None:
                row.status = StepStatus.RETRYING
        elif event.item is not None:
            row.ended += 1
            if event.action is FailureAction.SKIP:
                row.left_out += 1
            else:
                row.lost += 1

    def _complete(self, event: happened.StepCompleted) -> None:
        self._end(event, StepStatus.COMPLETED)
        self.completed += 1
        self.cached += event.cached

    def _fail(self, event: happened.StepFailed) -> None:
        row = self._end(event, StepStatus.FAILED_FINAL)
        row.note = f"{event.error}: {event.message}" if event.message else event.error
        self.failed[event.step] = row

    def _skip(self, event: happened.StepSkipped) -> None:
        self._end(event, StepStatus.SKIPPED).note = event.reason
        self.skipped += 1

    def _end(
        self,
        event: happened.StepCompleted | happened.StepFailed | happened.StepSkipped,
        status: StepStatus,
    ) -> Row:
        row = self.row(event.step)
        row.status, row.ms = status, event.ms
        self.running.pop(event.step, None)
        return row

    def _refused(self, event: happened.AccessRefused) -> None:
        self._note(f"{event.step}: refused to {event.access} '{event.key}'")

    def _late(self, event: happened.LateResult) -> None:
        self._note(f"{event.step}: attempt {event.attempt} came back too late; dropped")

    def _spend(self, event: happened.Spent) -> None:
        self.llm_calls += event.llm_calls
        self.tokens += event.input_tokens + event.output_tokens
        self.usd += event.usd or 0.0

    def _warn(self, event: happened.Warned) -> None:
        self._note(f"{event.step}: {event.message}" if event.step else event.message)

    def _exhausted(self, event: happened.BudgetExhausted) -> None:
        self._note(event.message)

    def _cancel(self, event: happened.CancelRequested) -> None:
        self.reason = event.reason

    def _finish(self, event: happened.RunFinished) -> None:
        self.status, self.ms = event.status, event.ms
        self.reason = event.reason or self.reason
        self.running.clear()


def counts(row: Row, *, failed: str, retried: str, skipped: str) -> str:
    """Render a foreach: `37/40 ✗1 ↻2`, with the marks that are given."""
    told = [f"{row.ended:,}/{row.items or 0:,}"]
    told += [f"{failed}{row.lost:,}"] if row.lost else []
    told += [f"{retried}{row.retries:,}"] if row.retries else []
    told += [f"{skipped}{row.left_out:,}"] if row.left_out else []
    return " ".join(told)


_TAKES: dict[type, Any] = {
    happened.RunStarted: Progress._begin,  # noqa: SLF001 - its own table
    happened.PlanSpliced: Progress._splice,  # noqa: SLF001
    happened.StepStarted: Progress._start,  # noqa: SLF001
    happened.FannedOut: Progress._fan_out,  # noqa: SLF001
    happened.ItemCompleted: Progress._item,  # noqa: SLF001
    happened.AttemptFailed: Progress._attempt_failed,  # noqa: SLF001
    happened.StepCompleted: Progress._complete,  # noqa: SLF001
    happened.StepFailed: Progress._fail,  # noqa: SLF001
    happened.StepSkipped: Progress._skip,  # noqa: SLF001
    happened.AccessRefused: Progress._refused,  # noqa: SLF001
    happened.LateResult: Progress._late,  # noqa: SLF001
    happened.Spent: Progress._spend,  # noqa: SLF001
    happened.Warned: Progress._warn,  # noqa: SLF001
    happened.BudgetExhausted: Progress._exhausted,  # noqa: SLF001
    happened.CancelRequested: Progress._cancel,  # noqa: SLF001
    happened.RunFinished: Progress._finish,  # noqa: SLF001
}
