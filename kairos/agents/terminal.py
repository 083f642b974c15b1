"""Approval on the terminal: what is asked is shown whole, and only a clear yes is one.

What is shown comes from a model, which may have been told what to write by anybody.  So every
character that is not plainly seen is an escape, each line of foreign text stands behind a bar that
it cannot leave, and what is left out is counted.  The answer is read here, on the event loop, so
that a question whose time is up leaves nobody behind who would take the next answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from kairos.agents.authority import Allow, Deny, Question
from kairos.redaction.visible import visible
from kairos.security import redact_sensitive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["TerminalApproval", "ask_on_terminal", "can_ask"]

_TITLE = "may this call be made?"
_FAILED = "a tool has failed: may the task go on?"
_YES = frozenset({"y", "yes"})
_HASH = 12  # characters of it: enough to tell two calls on one screen apart
_LONG = 400  # characters of one argument until it is asked for in full
_MANY = 20  # arguments, likewise
_NARROW = 24  # columns, below which nothing could be read
_GOES_ON = "  "  # before what goes on, lest it pass for an argument of its own
_LONGEST_ANSWER = 64  # bytes; what is longer is no answer
_LOOK = 0.05  # seconds between looks at what tells nobody of its change

_one_at_a_time = threading.Lock()


async def ask_on_terminal(question: Question) -> Allow | Deny:
    """Ask whoever sits at the terminal whether a call may be made: `agent(approve="terminal")`.

    The tool, its arguments and the head of their hash are shown, what is secret masked.  `y` or
    `yes` allows this one call; `f` shows everything in full; anything else, an empty line and the
    end of the input deny.  Without a terminal on standard input and standard error it denies.
    """
    return await TerminalApproval(remember=False)(question)


class TerminalApproval:
    """Asks on the terminal as `ask_on_terminal`, and remembers what it was told to.

    To `a` the same tool is allowed the very same arguments again for as long as this object
    lives, and each time that is shown.  It is not offered for what leaves this system
    (`external`): a second payment is not the first one, whatever its arguments.

    `stream` is where it asks; without one, wherever standard error leads by then.
    """

    def __init__(self, *, remember: bool = True, stream: TextIO | None = None) -> None:
        self._remember = remember
        self._stream = stream
        self._allowed: set[tuple[str, str]] = set()

    async def __call__(self, question: Question) -> Allow | Deny:
        """Ask, and return what was answered."""
        stream = self._stream or sys.stderr
        terminal = _terminal(stream)
        if terminal is None:
            return Deny("there is no terminal to ask on")
        call = (question.tool, question.hash)
        async with _turn():
            if call in self._allowed:
                told = f"{visible(question.tool)} {question.hash[:_HASH]}"
                _write(stream, f"{told}: allowed as before\n")
                return Allow("allowed as before on the terminal")
            lasting = self._remember and bool(question.hash) and question.effect != "external"
            # Whoever draws on that stream may have a way to be asked for quiet.
            with getattr(stream, "undisturbed", contextlib.nullcontext)():
                answer = await _asked(question, terminal, stream, lasting=lasting)
        if answer == "a" and lasting:
            self._allowed.add(call)
        elif answer not in _YES:
            return Deny("it was not approved")
        return Allow("approved on the terminal")


@contextlib.asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    """Let one question of the process be on the terminal at a time, from whatever event loop."""
    while not _one_at_a_time.acquire(blocking=False):  # noqa: ASYNC110 - other loops hold it
        await asyncio.sleep(_LOOK)
    try:
        yield
    finally:
        _one_at_a_time.release()


async def _asked(question: Question, terminal: int, stream: TextIO, *, lasting: bool) -> str:
    shown = _Shown(question, stream)
    full = not shown.is_cut
    answer = ""
    _forget_what_was_typed(terminal)
    try:
        _write(stream, shown.text(lasting=lasting, full=False))
        answer = await _line(terminal, stream)
        while answer == "f" and not full:
            full = True
            _forget_what_was_typed(terminal)
            _write(stream, shown.text(lasting=lasting, full=True))
            answer = await _line(terminal, stream)
    except asyncio.CancelledError:
        _forget_what_was_typed(terminal)
        _write(stream, "\nnot answered: denied\n")
        raise
    return answer


# --- what is shown


class _Shown:
    """A question as it is written on the terminal."""

    def __init__(self, question: Question, stream: Any) -> None:
        self._question = question
        self._stream = stream
        given = dict(question.arguments)
        told = redact_sensitive(given)
        self._masked = told != given
        self._lines = [f"{visible(str(name))}: {_json(value)}" for name, value in told.items()]
        self._why = visible(question.question) if question.question != _TITLE else ""
        longest = max(map(len, (self._why, *self._lines)))
        self.is_cut = len(self._lines) > _MANY or longest > _LONG

    def text(self, *, lasting: bool, full: bool) -> str:
        """Return all of it, the last line open for the answer."""
        question = self._question
        marks = _marks(self._stream)
        width = _width(self._stream)
        # without arguments it is no call that is asked about, but one that has failed
        lines = [f"{marks.asks} {_TITLE if question.hash else _FAILED}"]
        head = f"{visible(question.tool)}  effect: {visible(question.effect)}"
        if question.hash:
            head += f"  hash: {visible(question.hash[:_HASH])}"
        for line in self._body(head, marks, full=full):
            first, *more = _wrapped(line, width - len(marks.bar) - len(_GOES_ON))
            lines += [marks.bar + first, *(marks.bar + _GOES_ON + part for part in more)]
        if question.hash:
            lines.append(", ".join(self._choices(lasting=lasting, full=full)))
            return "\n".join(lines) + "; anything else denies\nallow? [y/N] "
        lines.append("y to go on without it; anything else ends the task")
        return "\n".join(lines) + "\ngo on? [y/N] "

    def _choices(self, *, lasting: bool, full: bool) -> Iterator[str]:
        yield "y to allow it once"
        if lasting:
            yield "a to allow these very arguments from now on"
        if self.is_cut and not full:
            yield "f to see it in full"

    def _body(self, head: str, marks: _Marks, *, full: bool) -> Iterator[str]:
        yield head
        if self._why:
            yield f"asked since: {_cut(self._why, marks, full=full)}"
        shown = self._lines if full else self._lines[:_MANY]
        for line in shown:
            yield _cut(line, marks, full=full)
        if len(shown) < len(self._lines):
            yield f"[{len(self._lines) - len(shown):,} more arguments are not shown]"
        if self._masked:
            yield "[what looks like a secret is masked]"


def _cut(line: str, marks: _Marks, *, full: bool) -> str:
    if full or len(line) <= _LONG:
        return line
    return f"{line[:_LONG]}{marks.cut} [{len(line) - _LONG:,} more characters are not shown]"


def _json(value: Any) -> str:
    return visible(json.dumps(value, ensure_ascii=False, default=str), secrets=True)


class _Marks(NamedTuple):
    asks: str = "?"
    bar: str = "│ "
    cut: str = "…"


_ASCII = _Marks("?", "| ", "...")


def _marks(stream: Any) -> _Marks:
    try:
        "".join(_Marks()).encode(getattr(stream, "encoding", None) or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return _ASCII
    return _Marks()


def _width(stream: Any) -> int:
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        columns = 80
    return max(columns or 80, _NARROW) - 1


def _wrapped(line: str, width: int) -> Iterator[str]:
    """Give a line in parts that fit, so that the terminal wraps nothing to where ours begin."""
    if line.isascii():
        for at in range(0, len(line), width):
            yield line[at : at + width]
        return
    from unicodedata import east_asian_width  # noqa: PLC0415 - only such text pays for it

    start = cells = 0
    for at, char in enumerate(line):
        wide = 2 if east_asian_width(char) in "WFA" else 1
        if cells + wide > width:
            yield line[start:at]
            start, cells = at, 0
        cells += wide
    yield line[start:]


def _write(stream: Any, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()


# --- the terminal


def can_ask() -> bool:
    """Return whether there is a terminal on which somebody can be asked."""
    return _terminal(sys.stderr) is not None


def _terminal(stream: Any) -> int | None:
    """Return where answers are read from; None where nobody would see the question or answer it."""
    try:
        number = sys.stdin.fileno()
        if not (os.isatty(number) and stream.isatty()):
            return None
    except (OSError, ValueError, AttributeError):
        return None
    # In the background a read would stop the whole program.
    with contextlib.suppress(OSError, AttributeError):
        if os.tcgetpgrp(number) != os.getpgrp():
            return None
    return number


def _forget_what_was_typed(terminal: int) -> None:
    """Drop what was typed before the question was seen: it cannot be its answer."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - only there

        while msvcrt.kbhit():
            msvcrt.getwch()
    else:
        import termios  # noqa: PLC0415 - not on every system

        with contextlib.suppress(termios.error):
            termios.tcflush(terminal, termios.TCIFLUSH)


async def _line(terminal: int, stream: TextIO) -> str:
    """Return a line, in lower case and stripped; nothing at the end of the input."""
    typed = b""
    while not typed.endswith((b"\n", b"\r", b"\x03", b"\x04")):
        more = await _typed(terminal)
        if not more:
            _write(stream, "\n")
            return ""
        typed += more
    if len(typed) > _LONGEST_ANSWER:
        return ""
    return typed.decode("utf-8", "replace").strip(" \t\r\n").lower()


if sys.platform == "win32":

    async def _typed(terminal: int) -> bytes:
        import msvcrt  # noqa: PLC0415 - only there

        del terminal
        while not msvcrt.kbhit():  # noqa: ASYNC110 - nothing tells of a key
            await asyncio.sleep(_LOOK)
        return msvcrt.getwche().encode()

else:

    async def _typed(terminal: int) -> bytes:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        # One of its own: somebody may watch standard input on this very loop.
        own = os.dup(terminal)
        try:
            loop.add_reader(own, lambda: None if ready.done() else ready.set_result(None))
            try:
                await ready
            finally:
                loop.remove_reader(own)
            return os.read(own, 4096)
        except OSError:  # the terminal is gone
            return b""
        finally:
            os.close(own)
