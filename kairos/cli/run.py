"""`kairos run`: load a workflow, run it, show it, print its result."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from kairos.cli.given import inputs_from
from kairos.cli.interrupts import insisted
from kairos.cli.lines import Lines, closing, marks_for, unfinished
from kairos.cli.loading import load
from kairos.cli.output import Stop, as_json, clean, give, say, stdout_kept, wants_color
from kairos.engine.driver import RunInterrupted
from kairos.enums import LogVerbosity, WorkflowStatus
from kairos.exceptions import KairosError
from kairos.logger import CallbackSink, ConsoleSink, JSONLinesSink, LogSink, RunLogger
from kairos.logs.sinks import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from kairos.cli.output import Relay
    from kairos.cli.progress import Progress
    from kairos.logs.run_log import LogEvent
    from kairos.workflow import Workflow
    from kairos.workflow_result import WorkflowResult

__all__ = ["INTERRUPTED", "TERMINATED", "RunOptions", "run", "terminated"]

INTERRUPTED = 130
TERMINATED = 143
_LINE = 80  # characters that a result may have on one line


class RunOptions(NamedTuple):
    """The options of `kairos run`, as they were given."""

    module: str
    input: str | None = None
    input_file: str | None = None
    workflows_dir: str | None = None
    verbose: bool = False
    log_format: str | None = None
    log_dir: str | None = None
    as_json: bool = False
    no_color: bool = False


def run(options: RunOptions) -> int:
    """Run a workflow and return the exit code.  Raises Stop when nothing could be run."""
    inputs = inputs_from(options.input, options.input_file)
    folder = _log_folder(options.log_dir)
    with stdout_kept() as (stdout, relay):
        workflow = load(options.module, workflows_dir=options.workflows_dir).one()
        log = JSONLinesSink(base_dir=folder) if folder else None
        _add_logger(workflow, options, log)
        shown, result, code = _observed(workflow, inputs, options, relay)
        if options.log_format != "jsonl":
            _close(shown.progress, result, options, log)
        if options.as_json:
            give(stdout, as_json(result.to_dict(), stdout))
        elif result.status is WorkflowStatus.COMPLETE and result.output is not None:
            output = result.output
            text = clean(output) if isinstance(output, str) else _shown(output, stdout)
            give(stdout, text)
    return code


def _shown(output: Any, stream: TextIO) -> str:
    line = as_json(output, stream, indent=None)
    return line if len(line) <= _LINE else as_json(output, stream)


def _log_folder(given: str | None) -> Path | None:
    if given is None:
        return None
    folder = Path(given)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if folder.is_file() else error.strerror or type(error).__name__
        raise Stop(f"--log-file cannot be {clean(given)}: {why}", expected="a folder") from None
    return folder


def _add_logger(workflow: Workflow, options: RunOptions, log: JSONLinesSink | None) -> None:
    sinks: list[LogSink] = [] if log is None else [log]
    if options.log_format == "jsonl":
        sinks.append(CallbackSink(_write_json_line))
    elif options.log_format == "console":
        sinks.append(ConsoleSink(color=False if options.no_color else None))
    if sinks:
        verbosity = LogVerbosity.VERBOSE if options.verbose else LogVerbosity.NORMAL
        workflow.add_hook(RunLogger(sinks, verbosity))


def _write_json_line(event: LogEvent) -> None:
    say(sys.stderr, json.dumps(event.to_dict(), separators=(",", ":")))


# --- running it under someone's eyes


class _Quiet:
    """Observes for the closing line alone, where log lines are shown instead of progress."""

    def __init__(self) -> None:
        from kairos.cli.progress import Progress  # noqa: PLC0415 - for this one only

        self.progress = Progress()
        self.observe = self.progress.observe


def _observed(
    workflow: Workflow, inputs: dict[str, Any], options: RunOptions, relay: Relay
) -> tuple[Any, WorkflowResult, int]:
    shown: Any
    stream: TextIO = relay.target
    color = wants_color(stream, no_color=options.no_color)
    with contextlib.ExitStack() as drawing:
        if options.log_format is not None:
            shown = _Quiet()
        elif _is_live(stream) and not options.verbose:
            from kairos.cli.live import LiveTree  # noqa: PLC0415 - rich costs 60 ms

            shown = drawing.enter_context(LiveTree(stream, relay, color=color))
        else:
            shown = Lines(stream, verbose=options.verbose)
        workflow.add_hook(shown)
        result, code = _driven(workflow, inputs)
    return shown, result, code


def _is_live(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that can draw, in an alphabet that has the marks."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and marks_for(stream).done == "✓"


def _driven(workflow: Workflow, inputs: dict[str, Any]) -> tuple[WorkflowResult, int]:
    with terminated() as told:
        try:
            result = workflow.run(inputs)
        except RunInterrupted as stopped:
            return stopped.result, TERMINATED if told else INTERRUPTED
        except KairosError as error:
            raise Stop(clean(str(error))) from None
    if told:
        return result, TERMINATED
    return result, 0 if result.status is WorkflowStatus.COMPLETE else 1


@contextlib.contextmanager
def terminated() -> Iterator[list[int]]:
    """Have SIGTERM stop a run as Ctrl-C does, so that the terminal and the log are left whole.

    SIGHUP too, lest a terminal that is closed leave behind what was started on it.
    """
    told: list[int] = []

    def strike(number: int, frame: FrameType | None) -> None:
        del frame
        told.append(number)
        signal.raise_signal(signal.SIGINT)

    # In the background Ctrl-C is ignored, and there is nothing to lean on.
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield told
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, strike)}
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # no nohup
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, strike)
    try:
        with insisted():
            yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- the closing line


def _close(
    progress: Progress, result: WorkflowResult, options: RunOptions, log: JSONLinesSink | None
) -> None:
    """Say how it ended: the reason if it did not complete, and one line with what comes next."""
    stderr = sys.stderr
    marks = marks_for(stderr)
    for warning in result.warnings:
        if warning not in progress.notes:
            say(stderr, f"{marks.note} {printable(warning)}")
    why = unfinished(progress, result)
    if why is not None and result.status is WorkflowStatus.FAILED:
        say(stderr, f"{marks.failed} {why}")
    told = closing(progress, result, between=marks.between)
    following = _following(result, options, log)
    width = shutil.get_terminal_size().columns if stderr.isatty() else None
    gap = "  next: "
    if width is not None and len(told) + len(gap) + len(following) > width:
        gap = "\nnext: "
    say(stderr, f"{told}{gap}{following}")


def _following(result: WorkflowResult, options: RunOptions, log: JSONLinesSink | None) -> str:
    if log is not None:
        path = log.path_for(result.run_id).parent  # of a folder, inspect shows the latest
        with contextlib.suppress(ValueError):
            path = path.relative_to(Path.cwd())
        flag = "" if result.status is WorkflowStatus.COMPLETE else " --failures"
        return f"kairos inspect {shlex.quote(printable(str(path)))}{flag}"
    more = " ..." if options.input or options.input_file or options.workflows_dir else ""
    return f"kairos run {shlex.quote(printable(options.module))}{more} --log-file runs"
