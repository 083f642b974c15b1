"""How a conversation is made shorter when the model's context fills: when, where, and by what.

Nothing here asks anybody for anything: the loop does, through its driver, and keeps what came of it
as an event.  The same event shortens the same conversation in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from kairos.agents.summary import SYSTEM, as_material, as_note, is_note
from kairos.exceptions import ConfigError
from kairos.models import Message, Request, Text, ToolResult
from kairos.models.estimate import estimate, tokens_of
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kairos.agents.events import Compacted

__all__ = ["Compaction", "Cut", "Room", "shortened", "summary_request"]

How: TypeAlias = Literal["thinned", "clipped", "summarised", "dropped"]

LONGEST = 400
"""Results of tools up to this many characters stay: a note would hardly be shorter."""

_AFTERWARDS = 0.6
"""The share of what may be used that thinning has to bring it down to, or else it is no help."""

_TAIL = 0.4
"""The share of what may be used that the last turns may take, however many should be kept."""

_LAST = 0.7
"""The share that the very last turn may take, which is kept before all others."""

_CLIPS = (50_000, 20_000, 8_000, 3_000, 1_000)
"""To how many characters the results of a turn are clipped that is too large by itself."""

_WORTH = 0.1
"""A cut that frees less than this share is not worth its price."""

_MATERIAL, _RECORD = 0.6, 0.25
_OPTIONS = ("extra_headers", "metadata", "safety_settings", "service_tier", "store", "user")
"""What of a provider's own options holds for whatever it is asked."""

_SPARSE, _DENSE = 0.2, 1.0
_NOTHING = estimate(Request(()))


@dataclass(frozen=True, slots=True)
class Compaction:
    """When a conversation is made shorter, and how much of it stays as it is.

    It is when it takes `at` of the model's context window, less the `max_tokens` of an answer.
    `window` is that window in tokens; None is what the model's adapter knows, and where it knows
    nothing, the conversation is made shorter when the provider says that it is too long.  First
    long results of tools are replaced by a note; where that does not help, the model is asked for a
    record of at most `summary_tokens` of all but the last `keep_turns` turns.  `summarise=False`
    never asks, and leaves the oldest turns out.

    Raises ConfigError for what is no number of that kind.
    """

    window: int | None = None
    at: float = 0.8
    keep_turns: int = 6
    summary_tokens: int = 2_048
    summarise: bool = True

    def __post_init__(self) -> None:
        for each in fields(self):
            value: Any = getattr(self, each.name)
            if not _good(each.name, value):
                raise ConfigError(
                    f"{each.name}= of Compaction() is wrong",
                    where=declared_here(),
                    expected=_EXPECTED[each.name],
                    found=repr(value) if type(value) in (int, float) else type(value).__name__,
                )


_EXPECTED = {
    "window": "a whole number of tokens above 0, or None",
    "at": "a share of the window, above 0 and below 1",
    "keep_turns": "a whole number from 1 up",
    "summary_tokens": "a whole number of tokens above 0",
    "summarise": "True or False",
}


def _good(name: str, value: Any) -> bool:
    if name == "summarise":
        return isinstance(value, bool)
    if name == "at":
        return isinstance(value, float) and 0 < value < 1
    return (name == "window" and value is None) or (type(value) is int and value > 0)


class Cut(NamedTuple):
    """Where a conversation is cut, and what becomes of what is before."""

    how: How
    upto: int
    longest: int = 0


class Room:
    """How much of the model's context a conversation takes.

    The last reply tells what was read and said up to then.  What came after is estimated, and the
    estimate is corrected by how far off it was for what has been counted.
    """

    def __init__(self, option: Compaction, fixed: Request, window: int | None) -> None:
        self._option = option
        window = option.window or window
        most = None if window is None else max(window - fixed.max_tokens, window // 2)
        self._most = most
        self._fixed = estimate(fixed).input_tokens
        self._sums = [self._fixed]
        self._ratio = _DENSE
        self._reported = (0, 0)
        self._quiet = 0.0
        self._length = -1

    def reported(self, tokens: int, at: int) -> None:
        """Take note of how many tokens the first `at` messages are, as a reply tells."""
        if tokens:
            self._reported = (tokens, at)

    def begins(self) -> None:
        """Take note of a new task: what could not be cut away before may be now."""
        self._quiet = 0.0

    def changes(self, messages: Sequence[Message], to: Sequence[Message], event: Compacted) -> None:
        """Take note that the conversation becomes another one.

        It is not cut again until something has been said, since nothing could come of it; but
        where the last turn was clipped, what is before may have to be cut as well.
        """
        self._taken(messages)
        self._quiet, self._length = 0.0, -1 if event.how == "clipped" else len(to)
        del self._sums[1:]
        self._reported = (0, 0)

    def cut(self, messages: Sequence[Message], task: range, *, refused: bool) -> Cut | None:
        """Return where to cut, or None where there is room, or nothing to be gained.

        `task` is where the messages of the task stand, which are never cut away; `refused` says
        that the provider finds the conversation too long, whatever it seems here.
        """
        if not refused and (self._most is None or len(messages) == self._length):
            return None
        taken = self._taken(messages)
        most = taken if self._most is None else float(self._most)
        if refused:
            most = min(most, taken)
        elif taken <= self._option.at * most or self._sums[-1] < self._quiet:
            return None
        upto = _beside(task, self._upto(messages, most))
        if (self._sums[-1] - self._sums[upto]) * self._ratio > _LAST * most:
            clipped = self._clipped(messages, upto, task, _TAIL * most)
            if clipped is not None:
                return clipped
        freed = self._sums[upto] - self._fixed - self._stays(messages[:upto], task)
        if freed <= 0 or (freed * self._ratio < _WORTH * most and not refused):
            self._quiet = self._sums[-1] + _WORTH / 2 * most / self._ratio
            return None
        thin = (taken - self._thinner(messages, upto)) <= _AFTERWARDS * self._option.at * most
        how: How = "thinned" if thin else "summarised" if self._option.summarise else "dropped"
        return Cut(how, upto, LONGEST if thin else 0)

    @property
    def summary_tokens(self) -> int:
        """How long a summary may be: a small part of what it has to make room in."""
        most = self._most or int(self._sums[-1] * self._ratio)
        return max(min(self._option.summary_tokens, int(_RECORD * most)), 1)

    def material(self, messages: Sequence[Message], asked: Collection[int]) -> str:
        """Return messages as a model is given them that is to make them short; see `summary`."""
        taken = self._sums[-1] * self._ratio
        most = _MATERIAL * min(taken, self._most or taken)
        return as_material(messages, most, lambda text: tokens_of(text) * self._ratio, asked)

    def _taken(self, messages: Sequence[Message]) -> float:
        sums = self._sums
        for message in messages[len(sums) - 1 :]:
            sums.append(
                sums[-1] + estimate(Request((message,))).input_tokens - _NOTHING.input_tokens
            )
        tokens, at = self._reported
        if tokens:
            self._ratio = min(max(tokens / sums[at], _SPARSE), _DENSE)
        return tokens + self._ratio * (sums[-1] - (sums[at] if tokens else 0))

    def _stays(self, messages: Sequence[Message], task: range) -> int:
        """Return what the task takes of messages, and the note of a cut before, or another one."""
        return sum(
            self._sums[at + 1] - self._sums[at]
            for at, message in enumerate(messages)
            if at in task or is_note(message)
        )

    def _upto(self, messages: Sequence[Message], most: float) -> int:
        """Return where the last turns begin that are kept; a call stays with its result.

        The turn that the model has to go on from is kept whatever it takes.
        """
        upto = found = len(messages)
        turns = 0
        while upto and turns < self._option.keep_turns:
            upto -= 1
            role = messages[upto].role
            if role == "tool":
                continue
            tail = (self._sums[-1] - self._sums[upto]) * self._ratio
            if found < len(messages) and tail > (_TAIL if turns else _LAST) * most:
                break
            found = upto
            turns += role == "assistant"
        return found

    def _clipped(
        self, messages: Sequence[Message], first: int, task: range, most: float
    ) -> Cut | None:
        """Return how to clip the results of a last turn that is too large by itself."""
        last = [m for at, m in enumerate(messages[first:], first) if at not in task]
        whole = (self._sums[-1] - self._sums[first]) * self._ratio
        found = 0
        for longest in _CLIPS:
            saved = sum(_size(m) - _size(_clip(m, longest)) for m in last if m.role == "tool")
            found = longest if saved > 0 else found
            if found and whole - saved * self._ratio <= most:
                break
        return Cut("clipped", len(messages), found) if found else None

    def _thinner(self, messages: Sequence[Message], upto: int) -> float:
        """Return how many tokens it saves to replace long results of tools."""
        saved = 0
        for at, message in enumerate(messages[:upto]):
            if message.role != "tool":
                continue
            saved += self._sums[at + 1] - self._sums[at] - _size(_thin(message, LONGEST))
        return saved * self._ratio


def _size(message: Message) -> int:
    return estimate(Request((message,))).input_tokens - _NOTHING.input_tokens


def summary_request(material: str, like: Request, max_tokens: int) -> Request:
    """Return what the model is asked to make a conversation short: no tools, and little else."""
    return Request(
        (Message("user", (Text(material),)),),
        SYSTEM,
        max_tokens=max_tokens,
        temperature=like.temperature,
        timeout=like.timeout,
        options={name: like.options[name] for name in _OPTIONS if name in like.options},
    )


def shortened(
    messages: Sequence[Message], event: Compacted, task: range
) -> tuple[list[Message], range]:
    """Return a conversation as it is after an event, and where the task's messages stand now.

    An event of another conversation than this one is held to what this one has: a call is never
    parted from its result.
    """
    upto = min(max(event.upto, 0), len(messages))
    while 0 < upto < len(messages) and messages[upto].role == "tool":
        upto -= 1
    upto = _beside(task, upto)
    before, after = messages[:upto], list(messages[upto:])
    if event.how in ("thinned", "clipped"):
        less = _thin if event.how == "thinned" else _clip
        made = [m if at in task else less(m, event.longest) for at, m in enumerate(before)]
        return [*made, *after], task
    kept = [messages[at] for at in task if at < upto]
    note = as_note(event.text if event.how == "summarised" else "")
    moved = upto - len(kept) - 1
    first = 0 if kept else task.start - moved
    made = [*kept, note, *after]
    return made, range(first, first + len(task))


def _beside(task: range, upto: int) -> int:
    """Return a place to cut at that does not part the messages of a task."""
    return task.start if task.start < upto < task.stop else upto


def _thin(message: Message, longest: int) -> Message:
    """Return a message without the results that are longer than that."""
    return _less(message, longest, 0)


def _clip(message: Message, longest: int) -> Message:
    """Return a message with no more of each result than that."""
    return _less(message, longest, max(longest, 0))


def _less(message: Message, longest: int, kept: int) -> Message:
    if message.role != "tool":
        return message
    parts = (
        part._replace(content=f"{part.content[:kept]}{_gone(len(part.content) - kept)}")
        if isinstance(part, ToolResult) and len(part.content) > longest + _NOTE
        else part
        for part in message.parts
    )
    return Message("tool", tuple(parts))


def _gone(count: int) -> str:
    return f"[{count:,} characters were taken out here to save room]"


_NOTE = len(_gone(10**12))
"""What a note takes at most: nothing is gained where it would be longer than what it is for."""
