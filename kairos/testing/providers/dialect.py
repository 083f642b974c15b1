"""What the fakes have in common: what was asked, what is said, and how a dialect is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kairos.models.reply import TokenUsage
from kairos.models.request import ToolSpec
from kairos.testing.faults import StreamError
from kairos.testing.replies import CallTool, Content, Filter, Refuse, Think, text_of

__all__ = [
    "Asked",
    "Dialect",
    "Event",
    "Problem",
    "Said",
    "first_key",
    "joined_text",
    "unknown_key",
]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in the words of no provider.

    `forced` names the tool that has to be called, `""` stands for any of them; `barred` says that
    none may be.  `results` are the tool results of the whole conversation, as text.
    """

    model: str
    stream: bool = False
    system: str = ""
    prompt: str = ""
    tools: tuple[ToolSpec, ...] = ()
    results: tuple[str, ...] = ()
    output: Mapping[str, Any] | None = None
    forced: str | None = None
    barred: bool = False
    max_tokens: int | None = None
    usage_wanted: bool = True
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class Said:
    """A reply that is ready to go out; `number` makes its ids."""

    number: int
    contents: tuple[Content, ...]
    stop: str
    usage: TokenUsage | None
    delta: int = 7

    @property
    def calls(self) -> tuple[CallTool, ...]:
        """The tools that are called."""
        return tuple(one for one in self.contents if isinstance(one, CallTool))

    @property
    def filtered(self) -> Filter | None:
        """The filter that struck."""
        return next((one for one in self.contents if isinstance(one, Filter)), None)

    @property
    def refusal(self) -> Refuse | None:
        """The refusal, where there is one."""
        return next((one for one in self.contents if isinstance(one, Refuse)), None)

    @property
    def thoughts(self) -> tuple[Think, ...]:
        """What was thought, and may be read."""
        return tuple(one for one in self.contents if isinstance(one, Think) and not one.hidden)

    @property
    def text(self) -> str:
        """All that is said."""
        return "".join(map(text_of, self.contents))


class Event(NamedTuple):
    """One event of a stream: its data as it goes out, and its name where the provider names it."""

    data: str
    name: str | None = None


class Problem(NamedTuple):
    """Why a provider does not answer, or what it fails with."""

    status: int
    message: str | None = None
    type: str | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None


class Dialect(NamedTuple):
    """How one provider speaks.

    `read` makes sense of a body that `check` found no fault with, `whole` and `events` are the
    plain and the streamed reply, `broken` is the event by which a stream reports an error, and
    `blocked` what a blocked prompt gets where it is no reply.
    """

    name: str
    provider: str
    check: Callable[[dict[str, Any], Mapping[str, str]], Problem | None]
    read: Callable[[dict[str, Any]], Asked]
    problem: Callable[[Problem, int], dict[str, Any]]
    whole: Callable[[Asked, Said], dict[str, Any]]
    events: Callable[[Asked, Said], Iterator[Event]]
    broken: Callable[[Asked, Said, StreamError, int], Event]
    unknown_model: Callable[[str], Problem]
    headers: Callable[[int], dict[str, str]]
    overloaded: int
    wrong_key: Problem
    blocked: Problem | None = None


def joined_text(
    content: Any, kinds: tuple[str, ...] = ("text", "input_text", "output_text")
) -> str:
    """Return the text of a message's content: a string, or a list of typed parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        str(part.get("text", ""))
        for part in content
        if isinstance(part, dict) and part.get("type", "text") in kinds
    )


def first_key(headers: Mapping[str, str], *names: str) -> str:
    """Return the key that a request brings, in a header of its own or as a bearer token."""
    own = next((headers[name] for name in names if headers.get(name)), "")
    return own or headers.get("authorization", "").partition(" ")[2]


def unknown_key(body: Mapping[str, Any], known: frozenset[str]) -> str | None:
    """Return the first field that the provider does not know."""
    return next((key for key in body if key not in known), None)
