"""Reading a run log back: JSON lines to runs, each folded into its steps.

A log may be one that is being written, or one whose writer died: what is no whole line is
counted and left out.  And it may come from anywhere: nothing in it is trusted to have the type
that our own writer gives it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kairos.cli.output import Stop, clean

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LoggedAttempt", "LoggedRun", "LoggedStep", "find_log", "read_log"]


@dataclass
class LoggedAttempt:
    """One attempt that the log tells of; `item` is the element of a foreach."""

    number: int
    item: int | None
    ok: bool
    error: str = ""
    ms: float | None = None
    faults: list[str] = field(default_factory=list)


@dataclass
class LoggedStep:
    """One step; `events` are its lines, whole."""

    name: str
    status: str = "pending"
    attempts: list[LoggedAttempt] = field(default_factory=list)
    ms: float | None = None
    error: str = ""
    reason: str = ""
    items: int | None = None
    tries: int = 0
    retries: int = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)  # of the attempt that is under way
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def troubled(self) -> bool:
        """Whether anything in it failed, even if it came good."""
        return self.status == "failed" or any(not attempt.ok for attempt in self.attempts)


@dataclass
class LoggedRun:
    """One run; `status` is `unfinished` where the log does not tell its end."""

    run_id: str
    workflow: str = ""
    status: str = "unfinished"
    reason: str = ""
    began: str = ""
    ms: float | None = None
    llm_calls: int = 0
    total_steps: int = 0
    steps: dict[str, LoggedStep] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def step(self, name: str) -> LoggedStep:
        """Return a step by its name, making it where it is new."""
        return self.steps.setdefault(name, LoggedStep(name))


def find_log(target: Path) -> Path:
    """Return the log that a file is, or the latest in a folder.  Raises Stop for none."""
    if not target.is_dir():
        return target
    logs = [each for each in target.glob("*.jsonl") if each.is_file()]
    if not logs:
        raise Stop(
            f"there is no log in {clean(str(target))}",
            expected="a file that ends in .jsonl",
            fix="kairos run MODULE --log-file DIR keeps one",
        )
    return max(logs, key=lambda each: (each.stat().st_mtime_ns, each.name))


def read_log(path: Path) -> tuple[list[LoggedRun], int]:
    """Return the runs in a log in the order they began, and how many lines were unreadable.

    Raises Stop when the file cannot be read, and when nothing in it is a line of a run log.
    """
    runs: dict[str, LoggedRun] = {}
    broken = 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                event = _event(line)
                if event is not None:
                    run_id = _text(event.get("run_id"))
                    _Fold(runs.setdefault(run_id, LoggedRun(run_id))).take(event)
                elif line.strip():
                    broken += 1
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise Stop(f"{clean(str(path))} cannot be read: {why}") from None
    if not runs:
        raise Stop(
            f"{clean(str(path))} is no run log",
            expected="JSON lines, as `kairos run MODULE --log-file DIR` writes them",
            found=f"{broken:,} other lines" if broken else "an empty file",
        )
    return list(runs.values()), broken


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event_type"), str):
        return None
    if not isinstance(event.get("data"), dict):
        event["data"] = {}
    return event


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _said(data: dict[str, Any]) -> str:
    parts = (_text(data.get("error")), _text(data.get("message")))
    return ": ".join(part for part in parts if part)


class _Fold:
    """Adds events to a run."""

    def __init__(self, run: LoggedRun) -> None:
        self._run = run

    def take(self, event: dict[str, Any]) -> None:
        data, kind = event["data"], event["event_type"]
        if event.get("step_id") is None:
            self._take_run(kind, data, _text(event.get("timestamp")))
            return
        step = self._run.step(_text(event["step_id"]))
        step.events.append(event)
        self._take_step(step, kind, data)

    def _take_run(self, kind: str, data: dict[str, Any], at: str) -> None:
        run = self._run
        run.began = run.began or at
        match kind:
            case "workflow_start":
                run.workflow, run.began = _text(data.get("workflow_name")), at
                run.total_steps = _whole(data.get("total_steps")) or 0
                for entry in data["plan"] if isinstance(data.get("plan"), list) else ():
                    if isinstance(entry, dict) and isinstance(entry.get("step"), str):
                        run.step(entry["step"])
            case "workflow_complete":
                run.status = _text(data.get("status")) or "complete"
                run.ms, run.reason = _number(data.get("duration_ms")), _text(data.get("reason"))
                run.llm_calls = _whole(data.get("llm_calls")) or 0
            case "warning" | "budget_exhausted":
                run.warnings.append(_text(data.get("message")))
            case "cancel_requested":
                run.warnings.append(f"stopped: {_text(data.get('reason'))}")
            case _:
                pass

    def _take_step(self, step: LoggedStep, kind: str, data: dict[str, Any]) -> None:
        match kind:
            case "step_start":
                step.status = "running"
                step.tries = max(step.tries, _whole(data.get("attempt")) or 1)
            case "fanned_out":
                step.items = _whole(data.get("items"))
            case "validation_fail" if isinstance(data.get("errors"), list):
                step.faults += [_fault(each) for each in data["errors"]]
            case "step_retry" | "attempt_fail":
                step.retries += kind == "step_retry"
                step.lost += kind == "attempt_fail" and data.get("item") is not None
                self._add(step, data, ok=False)
            case "item_complete":
                self._add(step, data, ok=True)
            case "step_complete" | "step_fail" | "step_skip":
                self._end(step, kind, data)
            case "warning":
                self._run.warnings.append(f"{step.name}: {_text(data.get('message'))}")
            case _:
                pass

    def _end(self, step: LoggedStep, kind: str, data: dict[str, Any]) -> None:
        if kind == "step_skip":
            step.status, step.reason = "skipped", _text(data.get("reason"))
            return
        step.ms = _number(data.get("duration_ms"))
        if kind == "step_fail":
            self._end_failed(step, data)
            return
        step.status = "completed"
        if step.items is None:
            self._add(step, data, ok=True)

    def _end_failed(self, step: LoggedStep, data: dict[str, Any]) -> None:
        step.status, step.error = "failed", _said(data)
        told = any(not each.ok and each.number == step.tries for each in step.attempts)
        if step.items is None and step.tries and not told:
            # Below VERBOSE the last attempt is told by the end of its step alone.
            faults, step.faults = step.faults, []
            last = LoggedAttempt(step.tries, None, False, step.error, None, faults)
            step.attempts.append(last)

    def _add(self, step: LoggedStep, data: dict[str, Any], *, ok: bool) -> None:
        number = _whole(data.get("attempt")) or 1
        step.tries = max(step.tries, number)
        faults, step.faults = step.faults, []
        step.attempts.append(
            LoggedAttempt(
                number,
                _whole(data.get("item")),
                ok,
                "" if ok else _said(data),
                _number(data.get("duration_ms")),
                [] if ok else faults,
            )
        )


def _fault(fault: object) -> str:
    if not isinstance(fault, dict):
        return _text(fault)
    field_, expected, actual = (_text(fault.get(key)) for key in ("field", "expected", "actual"))
    return f"{field_}: needs {expected}, found {actual}"
