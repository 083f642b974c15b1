"""What an agent does, as it is seen: its text as it comes, and a line for each call of a tool.

Text goes to standard output, where that is a terminal; all the rest to standard error.  While a
person is asked, nothing else is written: it comes when the question is answered.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any, TextIO

from kairos.agents.engagement import Final, ToolStarted
from kairos.agents.events import Decided, ModelAnswered, ModelFailed, ToolFinished
from kairos.cli.lines import marks_for
from kairos.cli.output import clean, say, span
from kairos.models import ReasoningDelta, TextDelta, ToolCall
from kairos.redaction.visible import visible
from kairos.security import redact_sensitive, scrub_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.agents.engagement import Said

__all__ = ["Heard", "Screen"]

_SHOWN = 160  # characters of a call's arguments
_DIM, _GREEN, _RED, _YELLOW = "2", "32", "1;31", "33"
_WORDS = {"described": "described only (--dry-run)", "timeout": "out of time"}


class Screen:
    """Shows one task after another; `text` is None where the answer is not to be shown as it comes.

    `iterations`, `calls` and `tokens` are counted for the task that is shown, for where it is
    interrupted and brings no result.
    """

    def __init__(
        self, text: TextIO | None, lines: TextIO | None, *, color: bool, reasoning: bool
    ) -> None:
        self._text = text
        self._lines = lines
        self._marks = marks_for(lines) if lines is not None else None
        self._color = color
        self._reasoning = reasoning
        self._lock = threading.Lock()
        self._waiting: list[Said | str] | None = None
        self._open: TextIO | None = None
        self._printed = ""
        self._held = ""
        self.begin()

    def begin(self) -> None:
        """Begin a task."""
        self.iterations = self.calls = self.tokens = 0
        self._streamed: list[str] = []
        self._calls: dict[str, str] = {}
        self._decided: dict[str, Decided] = {}

    @property
    def streamed(self) -> str:
        """The text that the last turn has shown."""
        return "".join(self._streamed)

    def show(self, said: Said) -> None:
        """Show what happened, or keep it until a question is answered."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(said)
            else:
                self._show(said)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody else."""
        with self._lock:
            self._end_line()
            self._waiting = []
        try:
            yield
        finally:
            with self._lock:
                waiting, self._waiting = self._waiting, None
                for said in waiting or ():
                    self._line(said) if isinstance(said, str) else self._show(said)

    def print(self, text: str) -> None:
        """Show what a tool has printed, line by line and between the others."""
        with self._lock:
            *whole, self._printed = (self._printed + text).split("\n")
            for line in whole:
                if self._waiting is not None:
                    self._waiting.append(clean(line))
                else:
                    self._line(clean(line))

    def end(self) -> None:
        """End a line that was begun."""
        with self._lock:
            if self._printed:
                printed, self._printed = self._printed, ""
                self._line(clean(printed))
            self._end_line()

    def line(self, text: str, style: str = "") -> None:
        """Write a line about what happens."""
        with self._lock:
            self._line(text, style)

    def note(self, text: str) -> None:
        """Write a line that is to be heeded."""
        self.line(f"{self._marks.note if self._marks else '!'} {text}", _YELLOW)

    # --- one thing that happened

    def _show(self, said: Said) -> None:
        match said:
            case TextDelta(text):
                self._delta(self._text, text, "")
            case ReasoningDelta(text):
                if self._reasoning:
                    self._delta(self._lines, text, _DIM)
            case ModelAnswered():
                self._answered(said)
            case ModelFailed():
                self._line(f"{self._mark('note')} the model failed: {visible(said.kind)}", _YELLOW)
            case Decided():
                self._decided[said.call] = said
            case ToolStarted():
                told = self._calls.get(said.call, "")
                self._line(f"{self._mark('begun')} {visible(said.tool)} {told}".rstrip())
            case ToolFinished():
                self._finished(said)
            case Final():
                self._end_line()
            case _:
                pass

    def _answered(self, answered: ModelAnswered) -> None:
        self.iterations += 1
        usage = answered.usage
        self.tokens += usage.total_tokens or usage.input_tokens + usage.output_tokens
        calls = [part for part in answered.message.parts if isinstance(part, ToolCall)]
        for call in calls:
            self._calls[call.id] = _short(call.arguments)
        self._release()
        if calls:
            self._end_line()
            self._streamed.clear()

    def _finished(self, finished: ToolFinished) -> None:
        self.calls += 1
        done = finished.outcome == "done"
        told = [f"{self._mark('done' if done else 'failed')} {visible(finished.tool)}"]
        decided = self._decided.get(finished.call)
        if finished.outcome == "denied":
            why = visible(decided.reason) if decided is not None else ""
            told += [self._calls.get(finished.call, ""), f"denied: {why}" if why else "denied"]
        else:
            told += [span(finished.seconds * 1000)]
            told += [] if done else [_WORDS.get(finished.outcome, visible(finished.outcome))]
            told += ["approved"] if decided is not None and decided.answered else []
        if finished.flags:
            told += [f"its result imitates {', '.join(map(visible, finished.flags))}"]
        self._line("  ".join(filter(None, told)), _GREEN if done else _RED)

    def _mark(self, name: str) -> str:
        return "" if self._marks is None else str(getattr(self._marks, name))

    # --- where the cursor is

    def _delta(self, stream: TextIO | None, text: str, style: str) -> None:
        if stream is None or not text:
            return
        if self._open is not None and self._open is not stream:
            self._end_line()
        text = self._held + text
        # the second half of a line's end may still be on its way
        text, self._held = (text[:-1], "\r") if text.endswith("\r") else (text, "")
        if not style:
            self._streamed.append(text)
        shown = text if text.isascii() and text.isprintable() else clean(text)
        if not shown:
            return
        self._open = stream  # before it is so, for Ctrl-C may come in between
        _put(stream, f"\x1b[{style}m{shown}\x1b[0m" if style and self._color else shown)
        if shown.endswith("\n"):
            self._open = None

    def _release(self) -> None:
        if self._held:
            self._held = ""
            self._streamed.append("\r")

    def _end_line(self) -> None:
        self._release()
        if self._open is not None:
            _put(self._open, "\n")
            self._open = None

    def _line(self, text: str, style: str = "") -> None:
        self._end_line()
        if style and self._color:
            text = f"\x1b[{style}m{text}\x1b[0m"
        say(self._lines, text)


class Heard:
    """The stream to which tools print: a screen takes it up."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen = screen
        self._stream = stream

    def write(self, text: str) -> int:
        """Hand text on."""
        self._screen.print(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: a line is shown when it is whole."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _short(arguments: str) -> str:
    try:
        told = json.dumps(redact_sensitive(json.loads(arguments)), ensure_ascii=False)
    except (ValueError, RecursionError):  # a model may write anything
        told = scrub_credentials(arguments.strip())
    shown = visible(told, secrets=True)
    if shown in ("", "{}"):
        return ""
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _put(stream: Any, text: str) -> None:
    if not text.isascii():
        encoding = getattr(stream, "encoding", None) or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    with contextlib.suppress(OSError):  # a reader that has gone is told of at the end
        stream.write(text)
        stream.flush()
