"""The run log: an observer that turns a run's events into lines, a summary and a record.

::

    logger = RunLogger(sinks=[ConsoleSink(), JSONLinesSink("runs/output.jsonl")])
    Workflow("report", steps, hooks=[logger]).run(inputs)
    logger.get_log().summary

Every entry is redacted before anything else sees it: the sinks, and the log that is kept in
memory, get the same masked event.  What a step handled is logged at VERBOSE only.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from kairos import events as happened
from kairos.enums import LogLevel, LogVerbosity
from kairos.exceptions import ConfigError, StateError
from kairos.logs.entries import Entry, entry_for
from kairos.logs.redaction import Redaction
from kairos.logs.run_log import LogEvent, RunLog, RunSummary, Tally, moment
from kairos.logs.sinks import (
    RANK,
    CallbackSink,
    ConsoleSink,
    FileSink,
    JSONLinesSink,
    LogSink,
    printable,
    verbosity_of,
)
from kairos.security import redactor_with, sanitize_exception
from kairos.source import declared_here

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
    "CallbackSink",
    "ConsoleSink",
    "FileSink",
    "JSONLinesSink",
    "LogEvent",
    "LogLevel",
    "LogSink",
    "LogVerbosity",
    "RunLog",
    "RunLogger",
    "RunSummary",
]


class RunLogger:
    """Logs every run of every workflow that has it among its hooks.

    `sinks` are told of each event as it happens; without any, the log is kept in memory only.
    `verbosity` says how much is recorded.  `sensitive_keys` (also spelled `sensitive_patterns`)
    are patterns such as `*api_key*` that are masked besides the ones known already.

    One logger serves runs in sequence and at the same time.  A sink that fails stops neither
    the run nor the other sinks: the first failure is printed on standard error and stands in
    the run's `warnings`.

    Raises ConfigError for what is no sink, no verbosity or no list of patterns.
    """

    def __init__(
        self,
        sinks: Iterable[LogSink] | LogSink | None = None,
        verbosity: LogVerbosity | LogLevel | str = LogVerbosity.NORMAL,
        sensitive_keys: Iterable[str] | None = None,
        *,
        sensitive_patterns: Iterable[str] | None = None,
    ) -> None:
        self._sinks = _checked(sinks)
        self.verbosity = verbosity_of(verbosity)
        self._sensitive = (
            *_patterns("sensitive_keys", sensitive_keys),
            *_patterns("sensitive_patterns", sensitive_patterns),
        )
        # Re-entrant: a callback may ask for the log, or run a workflow of its own.
        self._lock = threading.RLock()
        self._live: WeakSet[_RunRecorder] = WeakSet()
        self._latest: _RunRecorder | None = None
        self._finished: _RunRecorder | None = None
        self._driving = threading.local()

    def for_run(self, run_id: str, sensitive_keys: Iterable[str] = ()) -> _RunRecorder:
        """Return the observer of one run: it shares the sinks and keeps a log of its own.

        `sensitive_keys` are the workflow's, masked besides those of this logger.
        """
        redactor = redactor_with((*self._sensitive, *sensitive_keys))
        recorder = _RunRecorder(self, run_id, Redaction(redactor))
        self._latest = recorder
        return recorder

    def observe(self, event: happened.Event) -> None:
        """Take note of an event of the run that this thread drives.

        An engine that interleaves runs on one thread gives each its own `for_run` instead.
        """
        runs: list[_RunRecorder] = self._driving.__dict__.setdefault("runs", [])
        if isinstance(event, happened.RunStarted):
            runs.append(self.for_run(event.run_id))
        recorder = runs[-1] if runs else self._shown() or self.for_run("")
        recorder.observe(event)
        if isinstance(event, happened.RunFinished) and runs:
            runs.pop()

    def get_log(self) -> RunLog:
        """Return the record of the run that finished last, or of the one in progress.

        Raises StateError when nothing has run yet.
        """
        recorder = self._shown()
        if recorder is None:
            raise StateError(
                "no run has been logged yet",
                fix="pass the logger in Workflow(..., hooks=[logger]) and run the workflow",
            )
        return recorder.get_log()

    def get_run_log(self) -> RunLog:
        """Return what `get_log` returns."""
        return self.get_log()

    @property
    def sinks(self) -> tuple[LogSink, ...]:
        """The sinks, in the order in which they are told."""
        return self._sinks

    @property
    def warnings(self) -> list[str]:
        """What went wrong with logging in the run that `get_log` shows."""
        recorder = self._shown()
        return [] if recorder is None else recorder.warnings

    def close(self) -> None:
        """Close the sinks.  Each run does so at its end, unless another is in progress."""
        self._tell("close", _Troubles())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _shown(self) -> _RunRecorder | None:
        return self._finished or self._latest

    def _began(self, recorder: _RunRecorder) -> None:
        with self._lock:
            self._live.add(recorder)

    def _ended(self, recorder: _RunRecorder) -> None:
        with self._lock:
            self._live.discard(recorder)
            self._finished = recorder
            self._tell("flush", recorder.troubles)
            if not self._live:
                self._tell("close", recorder.troubles)

    def _tell(self, what: str, troubles: _Troubles, *event: LogEvent) -> None:
        with self._lock:
            for sink in self._sinks:
                try:
                    getattr(sink, what)(*event)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - nobody else's code may stop a run
                    troubles.note(type(sink).__name__, what, error, key=id(sink))


class _RunRecorder:
    """Observes one run.  `observe` never raises: what goes wrong stands in `warnings`."""

    def __init__(self, logger: RunLogger, run_id: str, redaction: Redaction) -> None:
        self.troubles = _Troubles(redaction)
        self._logger = logger
        self._redaction = redaction
        self._values = logger.verbosity is LogVerbosity.VERBOSE
        self._rank = RANK[logger.verbosity]
        self._lock = threading.Lock()
        self._log: list[LogEvent] = []
        self._tally = Tally(run_id)
        self._began = self._ended = False

    @property
    def warnings(self) -> list[str]:
        """What went wrong with logging: one line for each sink that failed."""
        return self.troubles.lines()

    def observe(self, event: happened.Event) -> None:
        """Take note of one event of this run."""
        if not self._began:
            self._began = True
            self._logger._began(self)  # noqa: SLF001 - one room, two classes
        try:
            self._record(event)
        except Exception as error:  # noqa: BLE001 - a log never stops a run
            self.troubles.note("RunLogger", type(event).__name__, error)
        if self._ended or isinstance(event, happened.RunFinished):
            self._ended = True  # and again for what comes after: it opened the files anew
            self._logger._ended(self)  # noqa: SLF001

    def get_log(self) -> RunLog:
        """Return the record of this run as it stands."""
        with self._lock:
            return self._tally.log(tuple(self._log))

    def get_run_log(self) -> RunLog:
        """Return what `get_log` returns."""
        return self.get_log()

    def _record(self, event: happened.Event) -> None:
        at = moment(event.at)
        self._redaction.learn(event)
        with self._lock:
            self._tally.add(event, at)
        entry = entry_for(event, values=self._values)
        if RANK[entry.verbosity] > self._rank:
            return
        if isinstance(event, happened.RunFinished):
            entry.data.update(self._tally.totals())
        logged = LogEvent(
            timestamp=at,
            event_type=entry.event_type,
            step_id=entry.step_id,
            data=self._redacted(entry),
            level=entry.level,
            run_id=self._tally.run_id,
            verbosity=entry.verbosity,
        )
        if isinstance(event, happened.RunStarted):
            self._tally.workflow = str(logged.data.get("workflow_name", ""))
        with self._lock:
            self._log.append(logged)
        self._logger._tell("emit", self.troubles, logged)  # noqa: SLF001

    def _redacted(self, entry: Entry) -> dict[str, Any]:
        try:
            data: dict[str, Any] = self._redaction(None, "", entry._asdict())["data"]
        except Exception as error:  # noqa: BLE001 - what cannot be redacted is not shown
            self.troubles.note("redaction", entry.event_type, error)
            return {"withheld": "it could not be redacted"}
        return data


class _Troubles:
    """What failed while a run was logged: told once at once, and with a count at the end."""

    def __init__(self, redaction: Redaction | None = None) -> None:
        self._redaction = redaction
        self._first: dict[object, str] = {}
        self._count: dict[object, int] = {}

    def note(self, who: str, what: str, error: BaseException, *, key: object = None) -> None:
        key = who if key is None else key
        self._count[key] = self._count.get(key, 0) + 1
        if self._count[key] > 1:
            return
        self._first[key] = line = f"{who} failed at {what}: {self._said(error)}"
        with suppress(Exception):  # standard error itself may be what is broken
            print(f"kairos: warning: {line}", file=sys.stderr)  # noqa: T201 - the last resort

    def lines(self) -> list[str]:
        return [
            line if self._count[key] == 1 else f"{line} (and {self._count[key] - 1} more times)"
            for key, line in list(self._first.items())
        ]

    def _said(self, error: BaseException) -> str:
        try:
            kind, message = sanitize_exception(error)
            said = f"{kind}: {message}" if message else kind
            return printable(self._redaction.hide(said) if self._redaction else said)
        except Exception:  # noqa: BLE001 - an error may fail to describe itself
            return type(error).__name__


def _checked(sinks: Iterable[LogSink] | LogSink | None) -> tuple[LogSink, ...]:
    given: tuple[Any, ...] = ()
    if isinstance(sinks, Iterable) and not isinstance(sinks, LogSink):
        given = tuple(sinks)
    elif sinks is not None:
        given = (sinks,)
    for sink in given:
        if isinstance(sink, type) or not isinstance(sink, LogSink):
            raise ConfigError(
                "not a log sink",
                where=declared_here(),
                expected="an object with emit(event), flush() and close()",
                found=sink.__name__ if isinstance(sink, type) else type(sink).__name__,
                fix="wrap a function as CallbackSink(function)"
                if callable(sink) and not isinstance(sink, type)
                else "pass an instance, such as ConsoleSink()",
            )
    return given


def _patterns(name: str, patterns: Iterable[str] | None) -> tuple[str, ...]:
    given = () if patterns is None else tuple(patterns)
    if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in given):
        raise ConfigError(
            f"{name} is not a list of patterns",
            where=declared_here(),
            expected='strings, such as ["*api_key*", "*password*"]',
            found=type(patterns).__name__,
            fix="put the pattern in a list" if isinstance(patterns, str) else None,
        )
    return given
