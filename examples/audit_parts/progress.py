"""Progress, drawn from a run's events: one live line on a terminal, plain lines anywhere else.

An observer is told of every event, in order, on the thread that drives the run: it needs no lock
and decides nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, TextIO

from audit_parts.wording import count, plain

if TYPE_CHECKING:
    from kairos.events import Event

BAR = 24
PAUSE = 0.05  # seconds between two drawings of the live line
NOUNS = {"parse": "distribution", "inventory": "distribution", "verify": "batch of files"}
PLURALS = {"verify": "batches of files"}


class Progress:
    """Tells on `stream` what a run is doing; `live` is by default what suits the stream."""

    def __init__(self, stream: TextIO, *, live: bool | None = None) -> None:
        terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._stream = stream
        self._live = terminal if live is None else live
        self._labels: list[str] = []
        self._begun: dict[str, float] = {}
        self._total: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._skipped: dict[str, int] = {}
        self._drawn = 0.0

    def observe(self, event: Event) -> None:
        """Take note of one event."""
        tell = getattr(self, f"_{event.type}", None)
        if tell is not None:
            tell(event)
        if self._live and event.at - self._drawn >= PAUSE:
            self._draw(event.at)

    def _step_started(self, event: Any) -> None:
        self._begun.setdefault(event.step, event.at)

    def _fanned_out(self, event: Any) -> None:
        self._total[event.step] = event.items

    def _item_completed(self, event: Any) -> None:
        self._done[event.step] = self._done.get(event.step, 0) + 1

    def _attempt_failed(self, event: Any) -> None:
        if event.item is None or event.action != "skip":
            return
        self._done[event.step] = self._done.get(event.step, 0) + 1
        self._skipped[event.step] = self._skipped.get(event.step, 0) + 1
        if event.step in {"parse", "inventory"} and event.item < len(self._labels):
            self._say(f"{'skipped':<12}  {self._labels[event.item]}: {plain(event.message)}")

    def _step_completed(self, event: Any) -> None:
        if event.step == "collect":
            self._labels = [plain(found["label"], 60) for found in json.loads(event.output)]
        self._end(event.step, event.at)

    def _step_failed(self, event: Any) -> None:
        self._end(event.step, event.at)
        self._say(f"{'failed':<12}  {event.step}: {plain(event.message)}")

    def _step_skipped(self, event: Any) -> None:
        self._end(event.step, event.at)

    def _warned(self, event: Any) -> None:
        self._say(f"{'warning':<12}  {plain(event.message)}")

    def _run_finished(self, event: Any) -> None:
        del event
        self._begun.clear()
        if self._live:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def _end(self, step: str, at: float) -> None:
        """Tell of a step's end; on a terminal only the live line does."""
        seconds = at - self._begun.pop(step, at)
        if self._live:
            return
        parts = [count(len(self._labels), "distribution")] if step == "collect" else []
        if step in self._total:
            noun = NOUNS.get(step, "item")
            parts.append(count(self._total[step], noun, PLURALS.get(step, "")))
        if skipped := self._skipped.get(step):
            parts.append(f"{skipped:,} skipped")
        self._say(f"{step:<12}  {', '.join([*parts, f'{seconds:.2f} s'])}")

    def _say(self, line: str) -> None:
        if self._live:
            self._stream.write("\r\x1b[2K")
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def _draw(self, at: float) -> None:
        self._drawn = at
        parts = []
        for step in self._begun:
            total, done = self._total.get(step), self._done.get(step, 0)
            if not total:
                parts.append(step)
                continue
            full = BAR * done // total
            bar = f" {'━' * full}{'╌' * (BAR - full)}" if step == "verify" else ""
            parts.append(f"{step}{bar} {done:,}/{total:,}")
        width = shutil.get_terminal_size((80, 24)).columns - 1
        self._stream.write("\r\x1b[2K" + "  ".join(parts)[:width])
        self._stream.flush()
