"""What the command line says, and on which stream.

Standard output carries the result and nothing else, so that it can be piped: what a workflow
prints while it is loaded and run goes to standard error, with the progress.  No text that came
from elsewhere reaches a terminal with a control character in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from kairos.exceptions import KairosError
from kairos.logs.sinks import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = [
    "Relay",
    "Stop",
    "Undelivered",
    "as_json",
    "clean",
    "count",
    "give",
    "say",
    "say_error",
    "span",
    "stdout_kept",
    "tell",
    "wants_color",
]


class Stop(KairosError):  # noqa: N818 - it is how a command ends early
    """A command cannot go on; it is told on standard error and the exit code is `code`."""

    code = 2

    def __str__(self) -> str:
        """Render as every error is, with what lies in other lines indented below."""
        return f"kairos: {super().__str__()}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: the `error` of a command's JSON document."""
        return {
            "kind": None,
            "message": self.message,
            "file": None,
            "line": None,
            "expected": self.expected,
            "found": self.found,
            "fix": self.fix,
            "text": str(self),
        }


class Undelivered(Stop):
    """The work is done, and what came of it cannot be written."""

    code = 1


class Relay:
    """A standard stream whose `target` can be changed while others hold on to it.

    A logger that was set up when the workflow was imported keeps the stream it found then: were
    that the terminal itself, its lines would tear the live tree.
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self.undisturbed: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext
        """What keeps all else off the terminal while a question stands there."""

    def write(self, text: str) -> int:
        """Pass text on."""
        written: int = self.target.write(text)
        return written

    def flush(self) -> None:
        """Pass it on."""
        self.target.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


@contextlib.contextmanager
def stdout_kept() -> Iterator[tuple[TextIO, Relay]]:
    """Keep standard output for the result; give it, and what stands for both streams meanwhile.

    Below the interpreter too, as far as the system allows: a subprocess that a step starts
    writes to the descriptor.
    """
    result, errors = sys.stdout, sys.stderr
    with contextlib.ExitStack() as held:
        # a stream that was closed before the program began is None, and steps print all the same
        nowhere = held.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        relay = Relay(errors or nowhere)
        kept = held.enter_context(_descriptor_kept(result))
        sys.stdout = sys.stderr = relay
        try:
            yield kept, relay
        finally:
            sys.stdout, sys.stderr = result, errors


@contextlib.contextmanager
def _descriptor_kept(result: TextIO) -> Iterator[TextIO]:
    try:
        result.flush()
        number, errors = result.fileno(), sys.stderr.fileno()
        kept = os.dup(number)
    except (OSError, ValueError, AttributeError):  # a test's stream, or a closed one
        yield result
        return
    try:
        os.dup2(errors, number)
        with os.fdopen(os.dup(kept), "w", encoding=result.encoding, errors=result.errors) as stream:
            yield stream
    finally:
        with contextlib.suppress(OSError, ValueError):
            result.flush()
        os.dup2(kept, number)
        os.close(kept)


def say(stream: TextIO | None, text: str) -> OSError | None:
    """Write a line, and return what kept it from being written.

    What the stream cannot encode becomes an escape.  A stream that was closed before the program
    began is None, and takes nothing.
    """
    if stream is None:
        return None
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError as error:
        # The reader has gone (`| head`), or the disk is full; without this the interpreter
        # complains at its end about what is still to be written.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def give(stream: TextIO | None, text: str) -> None:
    """Write what was asked for.  Raises Undelivered where it cannot be; a reader may have gone."""
    error = say(stream, text)
    if error is not None and not isinstance(error, BrokenPipeError):
        why = error.strerror or type(error).__name__
        raise Undelivered(f"the result cannot be written: {why}")


def tell(text: str) -> None:
    """Write a line on standard error."""
    say(sys.stderr, text)


def say_error(stop: Stop) -> None:
    """Write a Stop on standard output as a JSON document, for those who asked for one."""
    stream = sys.stdout
    if stream is not None:
        told = {"version": 1, "ok": False, "exit": stop.code, "error": stop.to_dict()}
        say(stream, as_json(told, stream))


def clean(text: str) -> str:
    """Return text with control characters as visible escapes; lines and tabs stay."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines)


def as_json(value: Any, stream: TextIO, *, indent: int | None = 2) -> str:
    """Write a value as JSON that holds no control character and that the stream can encode."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    text = json.dumps(value, ensure_ascii=encoding != "utf8", indent=indent, default=str)
    return "\n".join(_escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    if printable(line) == line:
        return line
    return "".join(c if printable(c) == c else json.dumps(c)[1:-1] for c in line)


def wants_color(stream: TextIO | None, *, no_color: bool) -> bool:
    """Tell whether to colour what is written to a stream."""
    if stream is None or no_color or os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced is not None:
        return forced not in {"", "0"}
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def span(ms: float) -> str:
    """Render a duration that is given in milliseconds: `12 ms`, `1.24 s`, `2 min 03 s`."""
    if ms < 1:
        return "<1 ms"
    seconds = ms / 1000
    # Each unit ends where the next would be rounded to.
    if seconds < 0.9995:  # noqa: PLR2004
        return f"{ms:.0f} ms"
    if seconds < 59.95:  # noqa: PLR2004
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"  # noqa: PLR2004
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def count(number: int, what: str) -> str:
    """Render a number of things: `1 step`, `10,000 steps`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
