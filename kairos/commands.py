"""What the machine asks for: commands to a driver, and events that are owed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from kairos.events import RunFinished, StepCompleted, StepFailed, StepSkipped

__all__ = ["Close", "Command", "Owed", "Replan", "Start", "StartItems"]


class Start(NamedTuple):
    """Start an attempt at a step (for a foreach: fan it out)."""

    step: int
    attempt: int
    context: dict[str, Any] | None = None


class StartItems(NamedTuple):
    """Start an attempt at each of these elements."""

    step: int
    items: Sequence[int]
    attempt: int
    context: dict[str, Any] | None = None


class Close(NamedTuple):
    """Start no further element of this step; tell those that run, and report `drained`."""

    step: int


class Replan(NamedTuple):
    """Ask the replanner for steps in place of this one."""

    step: int


Command: TypeAlias = Start | StartItems | Close | Replan


class Owed(NamedTuple):
    """An event that follows from those that have happened, but for its time."""

    kind: type[StepCompleted | StepFailed | StepSkipped | RunFinished]
    step: int
    reason: str = ""
    cause: Any = "upstream"
    abort: bool = False
    error: str = ""
