"""What a model is made to say, in words that no provider owns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kairos.exceptions import ConfigError
from kairos.models.errors import ModelError
from kairos.models.reply import TokenUsage
from kairos.testing.faults import FAULTS, Fault
from kairos.testing.samples import sample

if TYPE_CHECKING:
    from kairos.models.request import ToolSpec

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
    "natural",
    "pieces",
    "reply_of",
    "text_of",
    "tokens_of",
]


class Say(NamedTuple):
    """Text."""

    text: str


class Think(NamedTuple):
    """Reasoning; `seal` is the signature or encrypted copy, which is base64 on every wire.

    What is `hidden` goes out without its text, in the provider's own way.
    """

    text: str
    seal: str = "a2Fpcm9z"
    hidden: bool = False


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

    def __post_init__(self) -> None:
        for name, given, kinds in (
            ("contents", self.contents, _CONTENTS),
            ("faults", self.faults, FAULTS),
        ):
            if not isinstance(given, tuple) or not all(isinstance(one, kinds) for one in given):
                raise ConfigError(
                    f"{name} of a Reply are none",
                    expected=f"a tuple such as ({kinds[0].__name__}(...),)",
                    found=type(given).__name__,
                )
        for name, value, kind in (("stop", self.stop, str), ("usage", self.usage, TokenUsage)):
            if value is not None and not isinstance(value, kind):
                raise ConfigError(
                    f"{name} of a Reply is none",
                    expected=kind.__name__,
                    found=type(value).__name__,
                )


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


def text_of(content: Content) -> str:
    """Return what of a content is plain text."""
    if isinstance(content, Say):
        return content.text
    if isinstance(content, Answer):
        return json.dumps(content.value, ensure_ascii=False)
    return ""


def pieces(text: str, size: int) -> list[str]:
    """Return a text in pieces of so many characters, 0 for all at once; at least one piece."""
    if size <= 0 or len(text) <= size:
        return [text]
    return [text[at : at + size] for at in range(0, len(text), size)]


def natural(
    prompt: str,
    tools: Sequence[ToolSpec],
    results: Sequence[str],
    output: Mapping[str, Any] | None,
    *,
    forced: str | None = None,
    barred: bool = False,
) -> Content:
    """Return what answers a request without a script.

    A tool is called while the conversation has no result yet, a schema gets a value that
    satisfies it, and everything else an echo.  `forced` names the tool that has to be called,
    `""` stands for any of them, `barred` says that none may be.
    """
    wanted = next((tool for tool in tools if tool.name == forced), tools[0] if tools else None)
    if wanted is not None and (forced is not None or not (results or barred)):
        return CallTool(wanted.name, sample(wanted.parameters))
    if output is not None:
        return Answer(sample(output))
    return Say(f"The tool answered: {results[-1]}" if results else f"echo: {prompt}")
