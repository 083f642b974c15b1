"""`kairos inspect`: what a run did, from its log; or the plan of a workflow that has not run."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from kairos.cli.lines import Marks, marks_for
from kairos.cli.log_reading import LoggedAttempt, LoggedRun, LoggedStep, find_log, read_log
from kairos.cli.output import Stop, as_json, clean, count, give, span, stdout_kept, wants_color
from kairos.exceptions import did_you_mean
from kairos.logs.sinks import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["InspectOptions", "inspect"]

_COLORS = {"completed": "32", "complete": "32", "failed": "31", "skipped": "33", "partial": "33"}
_DIM = "2"
_LONGEST_NAME = 40


class InspectOptions(NamedTuple):
    """The options of `kairos inspect`, as they were given."""

    target: str
    failures: bool = False
    step: str | None = None
    workflows_dir: str | None = None
    mermaid: bool = False
    as_json: bool = False
    no_color: bool = False


def inspect(options: InspectOptions) -> int:
    """Show a log, the latest of a folder, or a workflow's plan.

    Raises Stop when the target is neither, and for a step that it does not have.
    """
    path = Path(options.target)
    try:
        is_log = path.is_dir() or (path.is_file() and path.suffix != ".py")
    except (OSError, ValueError):
        is_log = False
    if is_log:
        if options.mermaid:
            raise Stop("--mermaid draws a workflow, and this is a log")
        _show_log(path, options)
    elif path.suffix in {".jsonl", ".json", ".log"}:
        raise Stop(f"no such log: {clean(options.target)}")
    else:
        if options.failures:
            raise Stop("--failures looks at a run's log, and this is a workflow")
        _show_workflow(options)
    return 0


# --- a log


def _show_log(path: Path, options: InspectOptions) -> None:
    path = find_log(path)
    runs, broken = read_log(path)
    run = runs[-1]
    steps = _wanted(run, options)
    if options.as_json:
        give(sys.stdout, as_json(_document(run, steps, path, broken), sys.stdout))
        return
    show = _Show(sys.stdout, no_color=options.no_color)
    for line in show.head(run, path, len(runs)):
        give(sys.stdout, line)
    for line in _body(run, steps, options, show):
        give(sys.stdout, line)
    if broken:
        note = f"{count(broken, 'line')} could not be read and {'is' if broken == 1 else 'are'}"
        give(sys.stdout, show.painted(f"{show.marks.note} {note} left out", "33"))


def _wanted(run: LoggedRun, options: InspectOptions) -> list[LoggedStep]:
    steps = list(run.steps.values())
    if options.step is not None:
        if options.step not in run.steps:
            raise Stop(
                f"the log tells of no step '{clean(options.step)}'",
                fix=did_you_mean(options.step, run.steps),
            )
        steps = [run.steps[options.step]]
    return [step for step in steps if step.troubled] if options.failures else steps


def _body(
    run: LoggedRun, steps: Sequence[LoggedStep], options: InspectOptions, show: _Show
) -> Iterator[str]:
    if options.step is not None:
        for step in steps:
            yield from show.whole(step)
    elif options.failures:
        for step in steps:
            yield from show.failures(step)
        if not steps:
            yield "nothing failed"
    else:
        yield from show.table(steps)
    yield from (show.painted(f"{show.marks.note} {printable(text)}", "33") for text in run.warnings)
    yield show.summary(run)


class _Show:
    """Renders for one stream: its marks, its colours, and its width when it is a terminal."""

    def __init__(self, stream: TextIO, *, no_color: bool) -> None:
        self.marks: Marks = marks_for(stream)
        self._color = wants_color(stream, no_color=no_color)
        self._width = shutil.get_terminal_size().columns if stream.isatty() else None

    def painted(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._color and text else text

    def head(self, run: LoggedRun, path: Path, runs: int) -> Iterator[str]:
        yield self.painted(printable(run.workflow or "a run"), "1") + self.painted(
            f"  {printable(run.run_id)}", _DIM
        )
        told = [printable(run.began), clean(str(path))]
        told += [f"the last of {runs:,} runs in it"] if runs > 1 else []
        yield self.painted(self.marks.between.join(part for part in told if part), _DIM)

    def table(self, steps: Sequence[LoggedStep]) -> Iterator[str]:
        header = ("step", "status", "attempts", "duration", "error")
        rows = [self._cells(step) for step in steps]
        widths = [max(len(row[n]) for row in [header, *rows]) for n in range(4)]
        widths[0] = min(widths[0], _LONGEST_NAME)
        yield self.painted(self._fitted(header, widths), _DIM)
        for step, row in zip(steps, rows, strict=True):
            yield self.painted(self._fitted(row, widths), _COLORS.get(step.status, ""))

    def _cells(self, step: LoggedStep) -> tuple[str, str, str, str, str]:
        tries = str(step.tries or "")
        if step.items is not None:
            tries = f"{count(step.items, 'item')}"
            tries += f" {self.marks.failed}{step.lost}" if step.lost else ""
            tries += f" {self.marks.retried}{step.retries}" if step.retries else ""
        took = "" if step.ms is None else span(step.ms)
        return (
            printable(step.name),
            step.status,
            tries,
            took,
            printable(step.error or step.reason),
        )

    def _fitted(self, row: Sequence[str], widths: Sequence[int]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        line = "  ".join([*cells, row[-1]]).rstrip()
        if self._width is not None and len(line) > self._width:
            return line[: self._width - 1] + self.marks.ellipsis[:1]
        return line

    def failures(self, step: LoggedStep) -> Iterator[str]:
        ended = f"{step.name}  {step.status}"
        yield self.painted(printable(ended), _COLORS.get(step.status, ""))
        for attempt in step.attempts:
            if not attempt.ok:
                yield from self._attempt(attempt)
        if step.error and not any(step.error == each.error for each in step.attempts):
            yield f"  {printable(step.error)}"

    def _attempt(self, attempt: LoggedAttempt) -> Iterator[str]:
        item = "" if attempt.item is None else f"item {attempt.item}  "
        took = "" if attempt.ms is None else f"  {span(attempt.ms)}"
        mark = self.marks.done if attempt.ok else self.marks.failed
        yield f"  {mark} {item}attempt {attempt.number}{took}  {printable(attempt.error)}".rstrip()
        for fault in attempt.faults:
            yield f"      {printable(fault)}"

    def whole(self, step: LoggedStep) -> Iterator[str]:
        yield self.painted(self._fitted(self._cells(step), (0, 0, 0, 0)), "1")
        for attempt in step.attempts:
            yield from self._attempt(attempt)
        for event in step.events:
            at = printable(str(event.get("timestamp", "")))[11:23]
            told = "  ".join(
                f"{key}={json.dumps(value, ensure_ascii=False)}"
                for key, value in event["data"].items()
            )
            yield self.painted(f"  {at}", _DIM) + printable(f"  {event['event_type']}  {told}")

    def summary(self, run: LoggedRun) -> str:
        ends = [step.status for step in run.steps.values()]
        total = max(run.total_steps, len(ends))
        told = [printable(run.status), count(total, "step")]
        for status in ("completed", "failed", "skipped", "running"):
            number = ends.count(status)
            told += [f"{number:,} {status}"] if number else []
        told += [] if run.ms is None else [span(run.ms)]
        told += [count(run.llm_calls, "llm call")]
        told += [printable(run.reason)] if run.reason else []
        return self.painted(self.marks.between.join(told), _COLORS.get(run.status, ""))


def _document(
    run: LoggedRun, steps: Iterable[LoggedStep], path: Path, broken: int
) -> dict[str, Any]:
    shown = [
        {key: value for key, value in asdict(step).items() if key != "faults"} for step in steps
    ]
    return {**asdict(run), "steps": shown, "log": str(path), "unreadable_lines": broken}


# --- a workflow


def _show_workflow(options: InspectOptions) -> None:
    from kairos.cli.loading import load  # noqa: PLC0415 - a log needs no workflow
    from kairos.cli.plan_view import plan_document, plan_lines, step_lines  # noqa: PLC0415

    with stdout_kept() as (stdout, _):
        workflow = load(options.target, workflows_dir=options.workflows_dir).one()
        graph = workflow.graph
        if options.step is not None and options.step not in graph.index:
            raise Stop(
                f"workflow '{clean(workflow.name)}' has no step '{clean(options.step)}'",
                fix=did_you_mean(options.step, graph.index),
            )
        if options.as_json:
            give(stdout, as_json(plan_document(workflow, options.step), stdout))
        elif options.mermaid:
            give(stdout, clean(graph.to_mermaid()))
        elif options.step is not None:
            for line in step_lines(graph.get_step(options.step), graph):
                give(stdout, printable(line))
        else:
            for line in plan_lines(workflow):
                give(stdout, printable(line))
