"""Progress as plain lines, for where no terminal shows a tree: one for each event worth knowing.

Of a plan with very many steps the successes are told in bulk, and of what fails over and over
the first hundred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from kairos import events as happened
from kairos.cli.output import count, say, span
from kairos.cli.progress import Progress, counts
from kairos.enums import FailureAction, WorkflowStatus
from kairos.logs.sinks import printable

if TYPE_CHECKING:
    from kairos.workflow_result import WorkflowResult

__all__ = ["Lines", "Marks", "closing", "marks_for", "unfinished"]

_MANY_STEPS = 200
_TOLD = 100  # lines of one kind


class Marks(NamedTuple):
    """One sign for each end a step can come to."""

    done: str = "✓"
    failed: str = "✗"
    skipped: str = "○"
    retried: str = "↻"
    begun: str = "▸"
    note: str = "!"
    between: str = " · "
    ellipsis: str = "…"
    of_a_foreach: str = "⊘"


_ASCII = Marks("ok", "FAILED", "skipped", "retry", ">", "!", ", ", "...", "skipped ")


def marks_for(stream: TextIO) -> Marks:
    """Return the marks that the stream's encoding has."""
    try:
        "".join(Marks()).encode(getattr(stream, "encoding", None) or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return _ASCII
    return Marks()


class Lines:
    """Observes one run and writes a line for each step that ends, fails or is tried again.

    `verbose` adds what starts, and every element of a foreach.
    """

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        self.progress = Progress()
        self._stream = stream
        self._marks = marks_for(stream)
        self._verbose = verbose
        self._tell_each = True
        self._tenth = 1
        self._told: dict[str, int] = {}

    def observe(self, event: happened.Event) -> None:
        """Take note of one event, and write its line if it has one."""
        noted = len(self.progress.notes)
        self.progress.observe(event)
        write = _LINES.get(type(event))
        if write is not None:
            write(self, event)
        for note in self.progress.notes[noted:]:
            self._line(self._marks.note, note)

    def _line(self, mark: str, text: str) -> None:
        say(self._stream, printable(f"{mark} {text}"))

    def _capped(self, mark: str, text: str) -> None:
        told = self._told[mark] = self._told.get(mark, 0) + 1
        if told <= _TOLD or self._verbose:
            self._line(mark, text)
        elif told == _TOLD + 1:
            self._line(mark, "further lines of this kind are left out")

    def _begin(self, event: happened.RunStarted) -> None:
        self._tell_each = self._verbose or len(event.plan) <= _MANY_STEPS
        self._line(self._marks.begun, f"{event.workflow}  {count(len(event.plan), 'step')}")

    def _start(self, event: happened.StepStarted) -> None:
        if self._verbose:
            attempt = f"  attempt {event.attempt}" if event.attempt > 1 else ""
            self._line(self._marks.begun, f"{event.step}{attempt}")

    def _fan_out(self, event: happened.FannedOut) -> None:
        if self._tell_each:
            self._line(self._marks.begun, f"{event.step}  {count(event.items, 'item')}")

    def _item(self, event: happened.ItemCompleted) -> None:
        if self._verbose:
            mark = self._marks.skipped if event.skipped else self._marks.done
            self._line(mark, f"{event.step}[{event.item}]  {span(event.ms)}")

    def _attempt(self, event: happened.AttemptFailed) -> None:
        retried = event.action is FailureAction.RETRY
        if not retried and event.item is None:
            return  # how the step ends says it
        who = event.step if event.item is None else f"{event.step}[{event.item}]"
        told = f"{who}  attempt {event.attempt} failed: {_error(event)}"
        if retried:
            pause = f"; again in {span(event.delay * 1000)}" if event.delay else "; again"
            self._capped(self._marks.retried, told + pause)
        else:
            self._capped(self._marks.failed, told)

    def _complete(self, event: happened.StepCompleted) -> None:
        row = self.progress.row(event.step)
        if self._tell_each:
            items = "" if row.items is None else f"  {self._counts(row)}"
            attempts = f"  attempt {event.attempt}" if event.attempt > 1 and not items else ""
            found = "  cached" if event.cached else ""
            self._line(self._marks.done, f"{event.step}{items}{attempts}{found}  {span(event.ms)}")
        else:
            self._bulk()

    def _bulk(self) -> None:
        total, ended = len(self.progress.plan), self.progress.ended
        if ended * 10 >= total * self._tenth:
            self._tenth = ended * 10 // total + 1
            self._line(self._marks.begun, f"{ended:,} of {count(total, 'step')}")

    def _fail(self, event: happened.StepFailed) -> None:
        row = self.progress.row(event.step)
        items = "" if row.items is None else f"  {self._counts(row)}"
        attempts = f"  after {row.attempt} attempts" if row.attempt > 1 and not items else ""
        self._capped(
            self._marks.failed, f"{event.step}{items}  {_error(event)}{attempts}  {span(event.ms)}"
        )

    def _skip(self, event: happened.StepSkipped) -> None:
        mark = "" if self._marks.skipped == "skipped" else "skipped: "
        self._capped(self._marks.skipped, f"{event.step}  {mark}{event.reason}")

    def _counts(self, row: Any) -> str:
        marks = self._marks
        return counts(
            row,
            failed=marks.failed if marks.failed == "✗" else f"{marks.failed} ",
            retried=marks.retried if marks.retried == "↻" else f"{marks.retried} ",
            skipped=marks.of_a_foreach,
        )

    def _cancel(self, event: happened.CancelRequested) -> None:
        self._line(self._marks.note, f"stopping: {event.reason}")


def _error(event: happened.AttemptFailed | happened.StepFailed) -> str:
    return f"{event.error}: {event.message}" if event.message else event.error


_LINES: dict[type, Any] = {
    happened.RunStarted: Lines._begin,  # noqa: SLF001 - its own table
    happened.StepStarted: Lines._start,  # noqa: SLF001
    happened.FannedOut: Lines._fan_out,  # noqa: SLF001
    happened.ItemCompleted: Lines._item,  # noqa: SLF001
    happened.AttemptFailed: Lines._attempt,  # noqa: SLF001
    happened.StepCompleted: Lines._complete,  # noqa: SLF001
    happened.StepFailed: Lines._fail,  # noqa: SLF001
    happened.StepSkipped: Lines._skip,  # noqa: SLF001
    happened.CancelRequested: Lines._cancel,  # noqa: SLF001
}


def closing(progress: Progress, result: WorkflowResult, *, between: str = " · ") -> str:
    """Return how the run ended, how long it took and what it cost, on one line."""
    total = max(len(progress.plan), len(result.step_results))
    steps = count(total, "step")
    if progress.ended < total:
        steps = f"{progress.ended:,} of {steps}"
    stopped = result.status is WorkflowStatus.PARTIAL and (result.error or progress.reason)
    told = [f"stopped ({printable(stopped)})" if stopped else result.status.value, steps]
    told += [f"{len(progress.failed):,} failed"] if progress.failed else []
    told += [f"{progress.skipped:,} skipped"] if progress.skipped else []
    told += [f"{progress.cached:,} cached"] if progress.cached else []
    told += [count(progress.retries, "retry").replace("retrys", "retries")] * bool(progress.retries)
    told += [span(result.duration_ms), count(result.llm_calls, "llm call")]
    told += [f"{progress.tokens:,} tokens"] if progress.tokens else []
    told += [f"${progress.usd:.4f}"] if progress.usd else []
    return between.join(told)


def unfinished(progress: Progress, result: WorkflowResult) -> str | None:
    """Return why the run did not complete, or None where nothing says so."""
    if result.error:
        return printable(result.error)
    return printable(progress.reason) if progress.reason else None
