"""What a model is made to say, in words that no provider owns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from kairos.exceptions import ConfigError
from kairos.models.errors import ModelError
from kairos.models.reply import TokenUsage
from kairos.testing.faults import FAULTS, Fault

__all__ = [
    "Answer",
    "CallTool",
    "Content",
    "Filter",
    "Given",
    "Refuse",
    "Reply",
    "Say",
    "Think",
    "reply_of",
    "tokens_of",
]


class Say(NamedTuple):
    """Text."""

    text: str


class Think(NamedTuple):
    """Reasoning; `seal` is the signature or encrypted copy, which is base64 on every wire."""

    text: str
    seal: str = "a2Fpcm9z"


class CallTool(NamedTuple):
    """A call of a tool.  Arguments given as text go out as they are, JSON or not."""

    name: str
    arguments: Mapping[str, Any] | str = {}
    id: str = ""
    seal: str = ""

    @property
    def text(self) -> str:
        """The arguments as the model writes them."""
        given = self.arguments
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


class Answer(NamedTuple):
    """A value as JSON, as structured output has it."""

    value: Any


class Refuse(NamedTuple):
    """The model declines."""

    text: str = "I can't help with that."


class Filter(NamedTuple):
    """The provider's filter blocks the answer, or with `prompt` what was asked."""

    prompt: bool = False


Content: TypeAlias = Say | Think | CallTool | Answer | Refuse | Filter
_CONTENTS = (Say, Think, CallTool, Answer, Refuse, Filter)


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: what is said, what goes wrong, why it stops, what it cost.

    Without contents the reply follows from the request.  `stop` is a `StopReason`, or a word that
    only that provider knows; without it, it follows from the contents.  Without `usage` a token is
    four characters.  `error` is raised by a ScriptedModel once the contents were given out.
    """

    contents: tuple[Content, ...] = ()
    faults: tuple[Fault, ...] = ()
    stop: str | None = None
    usage: TokenUsage | None = None
    error: ModelError | None = None


Given: TypeAlias = str | Content | Fault | Reply | ModelError | Iterable[Any]


def reply_of(given: Given, *, stop: str | None = None, usage: TokenUsage | None = None) -> Reply:
    """Return the reply that is meant: by a text, a content, a fault, or several of them.

    Raises ConfigError for anything else.
    """
    if isinstance(given, Reply):
        return given
    several: Iterable[Any]
    if isinstance(given, (str, ModelError, *_CONTENTS, *FAULTS)):
        several = (given,)
    elif isinstance(given, Iterable) and not isinstance(given, Mapping | bytes):
        several = given
    else:
        raise _unknown(given)
    contents: list[Content] = []
    faults: list[Fault] = []
    error = None
    for one in several:
        if isinstance(one, str):
            contents.append(Say(one))
        elif isinstance(one, _CONTENTS):
            contents.append(one)
        elif isinstance(one, FAULTS):
            faults.append(one)
        elif isinstance(one, ModelError):
            error = one
        else:
            raise _unknown(one)
    return Reply(tuple(contents), tuple(faults), stop, usage, error)


def _unknown(given: object) -> ConfigError:
    return ConfigError(
        "this is no reply",
        expected="a text, Say, Think, CallTool, Answer, Refuse, Filter, or a fault",
        found=type(given).__name__,
    )


def tokens_of(value: object) -> int:
    """Return about how many tokens a text has, or the JSON of a value: one in four characters."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return max(1, len(text) // 4)
