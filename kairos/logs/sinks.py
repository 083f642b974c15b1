"""Where a run log goes: the console, JSON lines, plain text, a function of one's own.

A sink gets events that are redacted already.  What is left for it is that text from a model
or a user may be hostile in another way: it may hold newlines that forge a second line, or
terminal sequences that move the cursor, hide text or write to the clipboard.  Every sink here
writes such characters as visible escapes.

`emit`, `flush` and `close` may raise: the logger catches, goes on with the other sinks, and
reports.  `close` means that no run is in progress; a later `emit` opens again.
"""

from __future__ import annotations

import json
import os
import re
import sys
from copy import deepcopy
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, runtime_checkable

from kairos.enums import LogLevel, LogVerbosity
from kairos.exceptions import ConfigError
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

    from kairos.logs.run_log import LogEvent

__all__ = [
    "CallbackSink",
    "ConsoleSink",
    "FileSink",
    "JSONLinesSink",
    "LogSink",
    "printable",
    "verbosity_of",
]

RANK = {LogVerbosity.MINIMAL: 0, LogVerbosity.NORMAL: 1, LogVerbosity.VERBOSE: 2}
"""How much each verbosity lets through; a higher rank holds all of a lower one."""

VERBOSE_KEYS = frozenset({"inputs", "output", "plan", "retry_context", "writes"})
"""What an event's `data` holds at VERBOSE only: values, and whatever grows with the plan."""

RUN_END = "workflow_complete"

# Besides the control characters: line and paragraph separators, which some readers take for
# newlines; bidirectional overrides, which show text in another order than it has; invisible
# tag characters; and lone surrogates, which no UTF-8 file can hold.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SHOWN = 2000  # characters of one value in a line that people read; JSON lines hold it all
_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9_-]")
_NAME_LENGTH = 100


@runtime_checkable
class LogSink(Protocol):
    """Takes a run's log events; one object may serve several runs, one call at a time."""

    def emit(self, event: LogEvent) -> None:
        """Write one event."""

    def flush(self) -> None:
        """See that everything written so far can be read.  Called at the end of each run."""

    def close(self) -> None:
        """Let go of files and the like: no run is in progress.  A later `emit` opens again."""


def verbosity_of(value: str) -> LogVerbosity:
    """Return the verbosity that a `LogVerbosity`, a `LogLevel` or a plain string names.

    Raises ConfigError for anything else.
    """
    try:
        return LogVerbosity(str(value).lower())
    except ValueError:
        raise ConfigError(
            "not a verbosity",
            where=declared_here(),
            expected=", ".join(f"LogVerbosity.{member.name}" for member in LogVerbosity),
            found=printable(str(value)[:40]),
            fix="INFO, WARN and ERROR say how grave an event is, not how much is logged",
        ) from None


def printable(text: str) -> str:
    """Return `text` on one line, with control and invisible characters as visible escapes."""
    return _UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found.group())[1:-1]  # a pair of \u escapes beyond the basic plane


class ConsoleSink:
    """Readable lines on a stream: standard error unless told otherwise.

    `verbosity` shows less than the logger records; None shows all of it.  `color` None means:
    only on a terminal, unless NO_COLOR or FORCE_COLOR says otherwise.  The stream is never
    closed, and standard error is looked up anew for each line, so that a redirection holds.
    """

    def __init__(
        self,
        stream: IO[str] | None = None,
        verbosity: LogVerbosity | LogLevel | str | None = None,
        color: bool | None = None,  # noqa: FBT001 - published as it stands
    ) -> None:
        self._stream = stream
        self._verbosity = None if verbosity is None else verbosity_of(verbosity)
        self._color = color
        self._live: set[str] = set()

    def emit(self, event: LogEvent) -> None:
        """Write one line."""
        ended = event.event_type == RUN_END
        self._live.add(event.run_id)
        shown = _at_most(event, self._verbosity)
        if shown is not None:
            stream = self._out()
            colors = _wants_color(stream) if self._color is None else self._color
            _write_text(stream, _line(shown, colors=colors, run=len(self._live) > 1) + "\n")
        if ended:
            self._live.discard(event.run_id)

    def flush(self) -> None:
        """Flush the stream."""
        self._out().flush()

    def close(self) -> None:
        """Forget the runs; the stream belongs to someone else and stays open."""
        self._live.clear()

    def _out(self) -> IO[str]:
        stream = sys.stderr if self._stream is None else self._stream
        if stream is None:  # under pythonw there is no standard error
            raise OSError("there is no standard error to write to")
        return stream


class FileSink:
    """The console's lines, without colour, appended to a file whose folders are made."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        verbosity: LogVerbosity | LogLevel | str | None = None,
    ) -> None:
        self._lines = _Appender(_file(path, "FileSink(...)"))
        self._verbosity = None if verbosity is None else verbosity_of(verbosity)

    def emit(self, event: LogEvent) -> None:
        """Append one line; it is in the file when this returns."""
        shown = _at_most(event, self._verbosity)
        if shown is not None:
            self._lines.append(_line(shown, colors=False, run=True))

    def flush(self) -> None:
        """Do nothing: each line was handed to the system as it was written."""

    def close(self) -> None:
        """Close the file; the next event opens it again and appends."""
        self._lines.close()


class JSONLinesSink:
    """One JSON object a line, UTF-8, in one file or in one file for each run.

    `JSONLinesSink("runs/output.jsonl")` appends every run to that file;
    `JSONLinesSink(base_dir="runs")` writes `runs/<run id>.jsonl`.  Folders are made.  Each line
    is handed to the system whole, so that a crash leaves complete lines; one that was torn
    (a full disk, a crash of the machine) is ended before anything is written below it.

    Raises ConfigError unless exactly one of the two is given.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        base_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if (path is None) == (base_dir is None):
            raise ConfigError(
                "JSONLinesSink needs a file or a folder",
                where=declared_here(),
                expected="exactly one of path= and base_dir=",
                found="neither" if path is None else "both",
                fix='JSONLinesSink("runs/output.jsonl"), or JSONLinesSink(base_dir="runs")',
            )
        self._path = None if path is None else _file(path, "JSONLinesSink(base_dir=...)")
        self._base = None if base_dir is None else Path(base_dir).absolute()
        self._open: dict[Path, _Appender] = {}

    def emit(self, event: LogEvent) -> None:
        """Append one line; it is in the file when this returns."""
        path = self.path_for(event.run_id)
        lines = self._open.get(path)
        if lines is None:
            lines = self._open[path] = _Appender(path)
        lines.append(_UNPRINTABLE.sub(_json_escape, _as_json(event.to_dict())))
        if self._base is not None and event.event_type == RUN_END:
            del self._open[path]
            lines.close()

    def path_for(self, run_id: str) -> Path:
        """Return the file that the run's lines go to.

        Two runs never share a name: one that had to be made safe ends in a digest of the id.
        """
        if self._path is not None:
            return self._path
        assert self._base is not None  # noqa: S101 - one of the two is given
        return self._base / f"{_safe_name(run_id)}.jsonl"

    def flush(self) -> None:
        """Do nothing: each line was handed to the system as it was written."""

    def close(self) -> None:
        """Close every file; the next event opens its own again and appends."""
        while self._open:
            self._open.popitem()[1].close()


class CallbackSink:
    """Calls a function with each event, on the thread that drives the run: be quick."""

    def __init__(self, callback: Callable[[LogEvent], object]) -> None:
        if not callable(callback):
            raise ConfigError(
                "CallbackSink needs something to call",
                where=declared_here(),
                expected="a callable that takes one LogEvent",
                found=type(callback).__name__,
            )
        self._callback = callback

    def emit(self, event: LogEvent) -> None:
        """Call the function with a copy, which is its own to change."""
        self._callback(deepcopy(event))

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Do nothing: nothing is held open."""


class _Appender:
    """A file that only grows, by whole lines, opened when the first one comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: FileIO | None = None

    def append(self, line: str) -> None:
        raw = line.encode("utf-8", "backslashreplace") + b"\n"
        try:
            written = self._write(raw)
        except BaseException:
            self.close()
            raise
        if written != len(raw):
            self.close()  # opening anew finds the torn line and ends it
            raise OSError(f"only {written} of {len(raw)} bytes could be written")

    def _write(self, raw: bytes) -> int:
        if self._handle is not None:
            return self._handle.write(raw)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: one line is one write, and what failed is not tried again behind our back.
        self._handle = self._path.open("ab+", buffering=0)
        if _ends_torn(self._handle):
            self._handle.write(b"\n")
        return self._handle.write(raw)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()


def _ends_torn(handle: FileIO) -> bool:
    if not handle.seekable() or handle.seek(0, os.SEEK_END) == 0:  # a pipe, or a new file
        return False
    handle.seek(-1, os.SEEK_END)
    return handle.read(1) != b"\n"


def _file(path: str | os.PathLike[str], fix: str) -> Path:
    # Absolute from the start: a step that changes the directory must not split the log.
    whole = Path(path).absolute()
    if whole.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        raise ConfigError(
            "a log needs a file to write to",
            where=declared_here(),
            expected="the path of a file",
            found="the path of a folder",
            fix=f"add a file name, or use {fix}" if "base_dir" in fix else "add a file name",
        )
    return whole


def _safe_name(run_id: str) -> str:
    safe = _UNSAFE_IN_NAME.sub("_", run_id)[:_NAME_LENGTH]
    if safe == run_id and safe:
        return safe
    digest = sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe or 'run'}-{digest}"


def _at_most(event: LogEvent, verbosity: LogVerbosity | None) -> LogEvent | None:
    """Return what of the event `verbosity` lets through, or None."""
    if verbosity is None or verbosity is LogVerbosity.VERBOSE:
        return event
    if RANK[event.verbosity] > RANK[verbosity]:
        return None
    if VERBOSE_KEYS.isdisjoint(event.data):
        return event
    kept = {key: value for key, value in event.data.items() if key not in VERBOSE_KEYS}
    return replace(event, data=kept)


def _line(event: LogEvent, *, colors: bool, run: bool) -> str:
    """Render one line; `run` says whether it must name its run."""
    fields = {
        "timestamp": event.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": event.level.value,
        "event": printable(event.event_type),
        "step": event.step_id,
        **event.data,
    }
    if event.step_id is None:
        del fields["step"]
    if run:
        fields.setdefault("run_id", event.run_id)
    rendered: str = _renderer(colors=colors)(None, "", fields)
    return rendered


@cache
def _renderer(*, colors: bool) -> Any:
    from structlog import dev  # noqa: PLC0415 - 60 ms, and as much again where rich is installed

    dim, reset = (dev.DIM, dev.RESET_ALL) if colors else ("", "")
    bright, cyan = (dev.BRIGHT, dev.CYAN) if colors else ("", "")
    levels = dev.ConsoleRenderer.get_default_level_styles(colors)
    shown = dev.KeyValueColumnFormatter
    return dev.ConsoleRenderer(
        columns=[
            dev.Column("", shown(cyan, "", reset, value_repr=_shown)),
            dev.Column("timestamp", shown(None, dim, reset, value_repr=str)),
            dev.Column("level", dev.LogLevelColumnFormatter(levels, reset, width=5)),
            dev.Column("event", shown(None, bright, reset, value_repr=str, width=19)),
        ],
        # No traceback ever comes this way, and the default would draw it with rich.
        exception_formatter=dev.plain_traceback,
        sort_keys=False,
    )


def _shown(value: object) -> str:
    """Render a value so that it cannot be taken for another field, nor for a command."""
    plain = isinstance(value, str) and value and not set(value) & {" ", "=", '"', "'"}
    text = value if plain else json.dumps(value, ensure_ascii=False, default=str)
    assert isinstance(text, str)  # noqa: S101 - for the checker: plain implies it
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}… ({len(text) - _SHOWN} more characters)"
    return printable(text)


def _wants_color(stream: IO[str]) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced is not None:
        return forced not in {"", "0"}
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _write_text(stream: IO[str], text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # an ASCII terminal: escapes say more than nothing
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
