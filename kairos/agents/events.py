"""What happens in the run of an agent, and is worth keeping.

The conversation is a fold over these records: whoever keeps them can go on after a crash, and
asks for nothing twice.  They are plain JSON at rest; a field that is new has a default, and what
changes its meaning gets a new version.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from kairos.exceptions import ConfigError
from kairos.models import Message, StopReason, TokenUsage
from kairos.models.parts import from_plain as message_from_plain
from kairos.models.parts import to_plain as message_to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AgentEvent",
    "Compacted",
    "Decided",
    "ModelAnswered",
    "ModelFailed",
    "SessionEnded",
    "TaskEnded",
    "TaskGiven",
    "ToolFinished",
    "event_from_plain",
    "event_to_plain",
]

VERSION = 1


class TaskGiven(NamedTuple):
    """The agent was given something to do."""

    messages: tuple[Message, ...]
    at: float = 0.0
    version: int = VERSION


class ModelAnswered(NamedTuple):
    """The model gave a whole answer.

    `seconds` is how long it took, and `at` how long the agent has run, here and below.
    """

    message: Message
    usage: TokenUsage
    stop: StopReason = "end"
    model: str = ""
    seconds: float = 0.0
    at: float = 0.0
    version: int = VERSION


class ModelFailed(NamedTuple):
    """A call of the model failed; `usage` is what it consumed all the same."""

    kind: str
    usage: TokenUsage | None = None
    seconds: float = 0.0
    at: float = 0.0
    version: int = VERSION


class Decided(NamedTuple):
    """What was decided of a tool call before it was made.

    `verdict` is `allow`, `deny` or `describe`, `hash` the SHA-256 of the canonical `arguments`
    that it holds for.  `question` is what a person was asked, and `answered` whether there was
    one; `reason` says why.
    """

    call: str
    tool: str
    verdict: str
    hash: str = ""
    arguments: str = ""
    reason: str = ""
    question: str = ""
    answered: bool = False
    at: float = 0.0
    version: int = VERSION


class ToolFinished(NamedTuple):
    """A tool call came to its end, well or not; `content` is what the model is told.

    `outcome` is `done`, `failed`, `invalid`, `unknown`, `denied`, `described`, `skipped`,
    `timeout`, `cancelled` or `limit`.  `flags` say what in the content imitates the controls of a
    conversation.  `ends` says that the agent's task ends with it.
    """

    call: str
    tool: str
    content: str
    outcome: str = "done"
    flags: tuple[str, ...] = ()
    ends: bool = False
    seconds: float = 0.0
    at: float = 0.0
    version: int = VERSION

    @property
    def failed(self) -> bool:
        """Whether the model is told of an error."""
        return self.outcome not in ("done", "described", "skipped")


class Compacted(NamedTuple):
    """The conversation was made shorter: its first `upto` messages, the task's own left out.

    `thinned` replaced results of tools that are longer than `longest` characters, `clipped` left
    that much of each, `summarised` put `text` in the place of it all, `dropped` a note that it is
    gone; `fault` says why there is no summary then.  `usage` is what asking for one consumed.
    """

    how: str
    upto: int
    longest: int = 0
    text: str = ""
    fault: str = ""
    usage: TokenUsage | None = None
    model: str = ""
    seconds: float = 0.0
    at: float = 0.0
    version: int = VERSION


class TaskEnded(NamedTuple):
    """A task of a session came to its end.  One that has no such end can be resumed."""

    reason: str
    at: float = 0.0
    version: int = VERSION


class SessionEnded(NamedTuple):
    """Nothing is said in this session any more."""

    at: float = 0.0
    version: int = VERSION


AgentEvent: TypeAlias = (
    TaskGiven | ModelAnswered | ModelFailed | Decided | ToolFinished
    | Compacted | TaskEnded | SessionEnded
)  # fmt: skip

_KINDS: dict[str, type[Any]] = {
    "task_given": TaskGiven,
    "model_answered": ModelAnswered,
    "model_failed": ModelFailed,
    "decided": Decided,
    "tool_finished": ToolFinished,
    "compacted": Compacted,
    "task_ended": TaskEnded,
    "session_ended": SessionEnded,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def event_to_plain(event: AgentEvent) -> dict[str, Any]:
    """Return an event as plain JSON data."""
    found: dict[str, Any] = {"type": _NAMES[type(event)]}
    for name, value in event._asdict().items():
        found[name] = _plain(name, value)
    return found


def _plain(name: str, value: Any) -> Any:
    if name == "messages":
        return [message_to_plain(message) for message in value]
    if isinstance(value, Message):
        return message_to_plain(value)
    if isinstance(value, TokenUsage):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def event_from_plain(data: Mapping[str, Any]) -> AgentEvent:
    """Return the event that `event_to_plain` wrote.

    Raises ConfigError for what is none, and for one of a version that is not known here.
    """
    try:
        given = dict(data)
        kind = _KINDS[given.pop("type")]
        if given["version"] != VERSION:
            raise ConfigError(
                "an agent's event was written by another version of kairos",
                expected=f"version {VERSION}",
                found=f"version {str(given['version'])[:20]}",
            )
        for name, value in given.items():
            given[name] = _read(name, value)
        return cast("AgentEvent", kind(**given))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigError("this is no event of an agent", found=type(data).__name__) from None


def _read(name: str, value: Any) -> Any:
    if name == "messages":
        return tuple(message_from_plain(message) for message in value)
    if name == "message":
        return message_from_plain(value)
    if name == "usage":
        return None if value is None else TokenUsage(**value)
    if name == "flags":
        return tuple(map(str, value))
    wanted = _SCALARS[name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise TypeError(name)
    return value


_SCALARS: dict[str, Any] = {
    **dict.fromkeys(("at", "seconds"), (int, float)),
    **dict.fromkeys(("ends", "answered"), bool),
    **dict.fromkeys(("longest", "upto", "version"), int),
    **dict.fromkeys(
        (
            "arguments", "call", "content", "fault", "hash", "how", "kind", "model", "outcome",
            "question", "reason", "stop", "text", "tool", "verdict",
        ),
        str,
    ),
}  # fmt: skip
