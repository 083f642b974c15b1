"""Progress as a live tree on a terminal, redrawn at most ten times a second.

Drawing happens on a thread of its own and only ever as much as the screen holds: of a large plan
what runs, what failed, and how many are done.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Self, TextIO, cast

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.text import Text

from kairos.cli.lines import Marks
from kairos.cli.output import count, span
from kairos.cli.progress import Progress, Row, counts
from kairos.cli.tree import layout
from kairos.enums import StepStatus
from kairos.logs.sinks import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from rich.console import ConsoleOptions, RenderResult

    from kairos.cli.output import Relay

__all__ = ["LiveTree", "terminal"]

_MARKS = Marks()
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_REDRAWS = 10  # a second
_LARGE = 100  # steps from which a plan is told in numbers
_BAR = 20
_ROOM_FOR_A_BAR = 60
_FAILURES = 20  # shown of a large plan at its end

_OVER = {StepStatus.COMPLETED, StepStatus.FAILED_FINAL, StepStatus.SKIPPED}
_STYLES = {
    StepStatus.COMPLETED: "green",
    StepStatus.FAILED_FINAL: "bold red",
    StepStatus.SKIPPED: "yellow",
    StepStatus.RETRYING: "yellow",
    StepStatus.RUNNING: "cyan",
}
_WORDS = {
    StepStatus.PENDING: "waiting",
    StepStatus.COMPLETED: "done",
    StepStatus.FAILED_FINAL: "failed",
    StepStatus.SKIPPED: "skipped",
}
_SIGNS = {
    StepStatus.COMPLETED: _MARKS.done,
    StepStatus.FAILED_FINAL: _MARKS.failed,
    StepStatus.SKIPPED: _MARKS.skipped,
    StepStatus.RETRYING: _MARKS.retried,
}


def terminal(stream: TextIO, *, color: bool) -> Console:
    """Return a console on a stream that shows text as it is: no markup, no highlighting."""
    return Console(
        file=stream,
        markup=False,
        highlight=False,
        emoji=False,
        no_color=not color,
        force_terminal=True,
        soft_wrap=False,
    )


class LiveTree:
    """Observes one run and draws it while the `with` lasts; what remains is its final form."""

    def __init__(self, stream: TextIO, relay: Relay, *, color: bool) -> None:
        self.progress = Progress()
        self._relay = relay
        self._stream = stream
        self._console = terminal(stream, color=color)
        self._drawing = _Drawing(self.progress)
        self._live = self._drawer()
        self._over = False
        self.observe = self.progress.observe

    def __enter__(self) -> Self:
        self._relay.target = FileProxy(self._console, self._stream)
        self._relay.undisturbed = self._undisturbed
        self._live.start()
        return self

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Draw nothing while somebody is asked something."""
        self._live.stop()
        self._relay.flush()
        self._relay.target = self._stream
        try:
            yield
        finally:
            if not self._over:
                self._relay.target = FileProxy(self._console, self._stream)
                # a new one: the old one would draw over what was asked, where it stood before
                self._live = self._drawer()
                self._live.start()

    def _drawer(self) -> Live:
        return Live(
            self._drawing,
            console=self._console,
            refresh_per_second=_REDRAWS,
            transient=True,
            redirect_stdout=False,  # the relay does it, for those too who hold a stream already
            redirect_stderr=False,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        self._relay.flush()
        self._live.stop()
        self._relay.target = self._stream
        self._relay.undisturbed = contextlib.nullcontext
        if self.progress.plan:
            self._drawing.final = True
            self._console.print(self._drawing)


class _Drawing:
    """The tree at this moment; `final` draws all of it, however high the screen."""

    def __init__(self, progress: Progress) -> None:
        self.final = False
        self._progress = progress
        self._layout: list[tuple[str, str]] = []
        self._version = -1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        room = max(console.size.height - 2, 4)
        lines = self._lines(width, None if self.final else room)
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
            line.truncate(width, overflow="ellipsis")
            yield line

    def _lines(self, width: int, room: int | None) -> list[Text]:
        progress = self._progress
        now = time.time()
        head = [_header(progress, now)]
        notes = [_note(text) for text in progress.notes[-3:]] if room else _notes(progress)
        left = None if room is None else max(room - len(head) - len(notes), 1)
        if len(progress.plan) > _LARGE:
            return [*head, *_summary(progress, now, width, left), *notes]
        if self._version != progress.version:
            self._version = progress.version
            self._layout = layout(progress.plan)
        return [*head, *_tree(progress, self._layout, now, width, left), *notes]


def _header(progress: Progress, now: float) -> Text:
    total = len(progress.plan)
    steps = count(total, "step")
    if progress.ended and progress.ended < total:
        steps = f"{progress.ended:,}/{steps}"
    took = progress.ms if progress.status else (now - progress.began) * 1000
    text = Text(printable(progress.workflow), style="bold")
    text.append(f"  {steps}", style="not bold dim")
    if progress.began:
        text.append(f"  {span(took)}", style="not bold dim")
    return text


def _note(text: str) -> Text:
    return Text(f"{_MARKS.note} {printable(text)}", style="yellow")


def _notes(progress: Progress) -> list[Text]:
    more = progress.notes_left_out
    notes = [_note(text) for text in progress.notes]
    return [*notes, _note(f"and {more:,} more")] if more else notes


# --- a tree, of a plan that a screen can hold


def _tree(
    progress: Progress,
    drawn: Sequence[tuple[str, str]],
    now: float,
    width: int,
    room: int | None,
) -> Iterator[Text]:
    rows = [(before, progress.row(name)) for before, name in drawn]
    longest = max((len(before) + len(row.name) for before, row in rows), default=0)
    column = min(longest, max(width // 2 - 4, 8))
    for entry in _chosen(rows, room):
        if isinstance(entry, Counter):
            told = ", ".join(f"{number:,} {what}" for what, number in entry.items())
            yield Text(f"⋮  {told}", style="dim")
        else:
            before, row = entry
            yield _row(row, before, column, now, width)


def _chosen(
    rows: list[tuple[str, Row]], room: int | None
) -> Iterable[tuple[str, Row] | Counter[str]]:
    """Choose what fits: what runs or failed first, then what is nearest to it.

    A Counter stands for the rows that are left out there.
    """
    if room is None or len(rows) <= room:
        return rows
    kept: set[int] = set()
    for number in sorted(range(len(rows)), key=lambda n: _weight(n, rows)):
        if _height(kept | {number}, len(rows)) > room:
            break
        kept.add(number)
    shown: list[tuple[str, Row] | Counter[str]] = []
    for number, row in enumerate(rows):
        if number in kept:
            shown.append(row)
            continue
        if not shown or not isinstance(shown[-1], Counter):
            shown.append(Counter())
        cast("Counter[str]", shown[-1])[_WORDS.get(row[1].status, "running")] += 1
    return shown


def _weight(number: int, rows: list[tuple[str, Row]]) -> tuple[int, int]:
    match rows[number][1].status:
        case StepStatus.FAILED_FINAL:
            return 1, number
        case StepStatus.COMPLETED | StepStatus.SKIPPED:
            return 2, -number  # the latest first
        case StepStatus.PENDING:
            return 3, number
        case _:
            return 0, number


def _height(kept: set[int], total: int) -> int:
    gaps = sum(1 for n in range(total) if n not in kept and (n == 0 or n - 1 in kept))
    return len(kept) + gaps


def _row(row: Row, before: str, column: int, now: float, width: int) -> Text:
    style = _STYLES.get(row.status, "dim")
    text = Text(before, style="dim")
    text.append(f"{_sign(row, now)} ", style=style)
    name = row.name.ljust(column - len(before))
    text.append(name, style="dim" if row.status is StepStatus.PENDING else "default")
    for told, how in _details(row, now, width):
        text.append("  ")
        text.append(printable(told), style=how)
    text.rstrip()
    return text


def _sign(row: Row, now: float) -> str:
    if row.status is StepStatus.RUNNING:
        return _SPINNER[int(now * _REDRAWS) % len(_SPINNER)]
    return _SIGNS.get(row.status, "·")


def _details(row: Row, now: float, width: int) -> Iterator[tuple[str, str]]:
    """Say what there is to say of a step, the most telling first: a narrow screen cuts the rest."""
    if row.items is not None:
        yield from _fan(row, width)
    if row.status is StepStatus.PENDING:
        return
    if row.status is StepStatus.SKIPPED:
        yield f"skipped: {row.note}" if row.note else "skipped", "yellow"
        return
    over = row.status in _OVER
    yield span(row.ms if over else (now - row.began) * 1000), "dim"
    if row.attempt > 1 and row.items is None:
        yield f"{_MARKS.retried}{row.attempt - 1}" if over else f"attempt {row.attempt}", "yellow"
    if row.note and row.status is not StepStatus.COMPLETED:
        yield row.note, "red" if row.status is StepStatus.FAILED_FINAL else "yellow"


def _fan(row: Row, width: int) -> Iterator[tuple[str, str]]:
    if row.status not in _OVER and width >= _ROOM_FOR_A_BAR:
        full = _BAR * row.ended // row.items if row.items else _BAR
        yield "━" * full + "─" * (_BAR - full), "cyan"
    yield (
        counts(row, failed=_MARKS.failed, retried=_MARKS.retried, skipped=_MARKS.of_a_foreach),
        "red" if row.lost else "default",
    )


# --- numbers, of one that no screen can hold


def _summary(progress: Progress, now: float, width: int, room: int | None) -> Iterator[Text]:
    total = len(progress.plan)
    # A copy: the run goes on while this is drawn.
    running = [] if room is None else list(progress.running.values())
    failed = list(progress.failed.values())
    yield _total(progress, total, len(running), width)
    some = failed[:_FAILURES] if room is None else failed[-max((room - 1) // 3, 1) :]
    left = None if room is None else max(room - 3 - len(some), 1)
    for rows, most in ((some, None), (running, left)):
        shown = rows[:most]
        column = min(max((len(row.name) for row in shown), default=0), max(width // 2 - 4, 8))
        for row in shown:
            yield _row(row, "", column, now, width)
        if len(shown) < len(rows):
            yield Text(f"⋮  {len(rows) - len(shown):,} more are running", style="dim")
    if len(some) < len(failed):
        yield Text(f"⋮  {len(failed) - len(some):,} more failed", style="dim")


def _total(progress: Progress, total: int, running: int, width: int) -> Text:
    text = Text()
    if progress.status is None and width >= _ROOM_FOR_A_BAR:
        full = _BAR * progress.ended // total
        text.append("━" * full + "─" * (_BAR - full), style="cyan").append("  ")
    text.append(f"{_MARKS.done} {progress.completed:,}", style="green")
    for number, sign, style in (
        (len(progress.failed), _MARKS.failed, "bold red"),
        (progress.skipped, _MARKS.skipped, "yellow"),
        (progress.retries, _MARKS.retried, "yellow"),
    ):
        if number:
            text.append(f"  {sign} {number:,}", style=style)
    waiting = total - progress.ended - running
    if waiting > 0:
        text.append(f"  {waiting:,} {'not started' if progress.status else 'waiting'}", style="dim")
    return text
