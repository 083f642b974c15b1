"""What an answer of the model leads to, and what is known to have followed it."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from kairos.agents.limits import AgentStop
from kairos.models import ToolCall, ToolResult

__all__ = ["After", "Turn"]


class Turn(NamedTuple):
    """What an answer of the model leads to.

    `calls` are to be made; `told` holds, by the id of the call, what is said of those that are
    not.  `ends` says why the task is over, if it is.
    """

    calls: tuple[ToolCall, ...] = ()
    order: tuple[ToolCall, ...] = ()
    told: tuple[ToolResult, ...] = ()
    ends: AgentStop | None = None
    answer: bytes | str | None = None


class After(NamedTuple):
    """What is known to have followed an answer: calls that finished, more of the task, its end.

    The plan may be another one by now, and changes nothing of what has happened.
    """

    finished: Collection[str] = ()
    on: bool = False
    ended: AgentStop | None = None
