"""The logic of an agent: a generator that asks, is told, and asks on.

It knows no model, no tool, no clock and no thread.  It yields `Ask` to have a request answered and
`Call` to have tools called, and is sent what came of it; it returns `Ended`.  What it is sent are
the events themselves, so that the same events, told again, lead to the same place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from kairos.agents.compaction import Cut
from kairos.agents.conversation import Conversation
from kairos.agents.events import (
    Compacted,
    Decided,
    ModelAnswered,
    ModelFailed,
    SessionEnded,
    TaskEnded,
    TaskGiven,
    ToolFinished,
)
from kairos.agents.limits import AgentStop
from kairos.agents.turn import After, Turn
from kairos.models import Request, ToolCall

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from kairos.agents.events import AgentEvent
    from kairos.agents.plan import Plan

__all__ = ["Ask", "Call", "Called", "Compact", "Ended", "Loop", "Stopped", "resume", "turns"]


class Ask(NamedTuple):
    """The model is to answer; the loop is sent ModelAnswered, ModelFailed or Stopped."""

    request: Request


class Call(NamedTuple):
    """Tools are to be called, all at once; the loop is sent Called.

    `decided` holds, by the id of the call, what was decided already.
    """

    calls: tuple[ToolCall, ...]
    decided: Mapping[str, Decided]


class Compact(NamedTuple):
    """The conversation is to be cut; the loop is sent Compacted, ModelFailed or Stopped.

    `request` asks for a summary; without one the cut needs nobody.
    """

    cut: Cut
    request: Request | None


class Called(NamedTuple):
    """What came of the calls, in any order; `stop` ends the task for a reason from outside."""

    results: tuple[ToolFinished, ...]
    decided: tuple[Decided, ...] = ()
    stop: AgentStop | None = None
    at: float = 0.0


class Stopped(NamedTuple):
    """The task ends for a reason from outside."""

    reason: AgentStop
    at: float = 0.0


class Ended(NamedTuple):
    """The task has ended; `answer` is the JSON of a typed answer, or the text of a plain one."""

    reason: AgentStop
    answer: bytes | str | None = None


Told: TypeAlias = ModelAnswered | ModelFailed | Compacted | Called | Stopped
Loop: TypeAlias = "Generator[Ask | Call | Compact, Told | None, Ended]"
_Turns: TypeAlias = "Generator[Ask | Call | Compact, Told | None, Turn]"


def resume(plan: Plan, events: Iterable[AgentEvent]) -> tuple[Conversation, Loop]:
    """Return a conversation and its loop, which goes on where `events` end.

    The first event is the task.  What was answered is not asked for again; of a turn that was
    broken off, only the calls that did not finish are made.
    """
    conversation = Conversation(plan)
    return conversation, turns(conversation, events)


def turns(conversation: Conversation, events: Iterable[AgentEvent] = ()) -> Loop:
    """Run a conversation to the end of its task; `events` are what happened before."""
    past = _Past(events, conversation)
    if past.task():
        ended = yield from _task(conversation, past)
        while past.task():
            ended = yield from _task(conversation, past)
        return ended
    return (yield from _task(conversation, past))


def _task(conversation: Conversation, past: _Past) -> Loop:
    while True:
        told: Told | None = past.answer()
        if told is None and past.goes_on:
            return Ended("cancelled")  # the next task was given before this one had ended
        if told is None:
            wanted = _next(conversation)
            if isinstance(wanted, Ended):
                return wanted
            told = yield wanted
        if isinstance(told, ModelFailed):
            conversation.failed(told)
            continue
        if isinstance(told, Compacted):
            conversation.compacted(told)
            continue
        if not isinstance(told, ModelAnswered):
            return Ended(_reason(told))
        turn = conversation.answered(told, past.after())
        if turn.ends is None and turn.calls:
            turn = yield from _calls(conversation, past, turn)
        if turn.ends is not None and not past.has_more:
            return Ended(turn.ends, turn.answer)


def _next(conversation: Conversation) -> Ask | Compact | Ended:
    over = conversation.over()
    if over is not None:
        return Ended(over)
    cut = conversation.crowded()
    if cut is not None:
        request = conversation.summary(cut)
        if request is None and cut.how == "summarised":  # there is nothing left to pay it with
            cut = cut._replace(how="dropped")
        return Compact(cut, request)
    allowed = conversation.allowed()
    if not allowed.tokens:
        return Ended(allowed.by or "total_tokens")
    return Ask(conversation.request(allowed.tokens))


def _calls(conversation: Conversation, past: _Past, turn: Turn) -> _Turns:
    """Have the calls of a turn made, save those that were."""
    results, decided = past.finished()
    for each in decided.values():
        conversation.decided(each)
    left = tuple(call for call in turn.calls if call.id not in results)
    if not left:
        return conversation.finished(turn, results, None)
    if past.goes_on or past.has_more:  # what was not called then is not called now
        return conversation.finished(turn, results, "cancelled" if past.goes_on else None)
    called = yield Call(left, decided)
    if not isinstance(called, Called):
        return conversation.finished(turn, results, _reason(called))
    for each in called.decided:
        conversation.decided(each)
    results.update((one.call, one) for one in called.results)
    conversation.passed(called.at)
    return conversation.finished(turn, results, called.stop)


def _reason(told: object) -> AgentStop:
    if isinstance(told, Stopped):
        return told.reason
    return (told.stop if isinstance(told, Called) else None) or "cancelled"


_ENDS = (TaskGiven, TaskEnded, SessionEnded)
_MORE = (ModelAnswered, ModelFailed, Compacted)
_BY_ITSELF = frozenset(
    {"answered", "gave_up", "invalid_answer", "repeated_text", "refused", "filtered", "cut_off"}
)
"""How an answer ends its task; what else does, comes after it."""


class _Past:
    """The events that are there already, in their order."""

    __slots__ = ("_conversation", "_events")

    def __init__(self, events: Iterable[AgentEvent], conversation: Conversation) -> None:
        self._events = deque(events)
        self._conversation = conversation

    def task(self) -> bool:
        """Begin the next task, if one was given."""
        while self._events and not isinstance(self._events[0], TaskGiven):
            event = self._events.popleft()
            if isinstance(event, TaskEnded | SessionEnded):
                self._conversation.ended(event)
        if not self._events:
            return False
        task = self._events.popleft()
        assert isinstance(task, TaskGiven)  # noqa: S101 - for the type checker: see above
        self._conversation.begin(task)
        return True

    @property
    def goes_on(self) -> bool:
        """Whether the task has no more to it: the next that happened is its end, or another."""
        return bool(self._events) and isinstance(self._events[0], _ENDS)

    @property
    def has_more(self) -> bool:
        """Whether the task is known to have gone on."""
        return bool(self._events) and isinstance(self._events[0], _MORE)

    def after(self) -> After:
        """Return what followed the answer that was just given."""
        if not self._events:
            return After()
        finished: set[str] = set()
        for event in self._events:
            if isinstance(event, ToolFinished):
                finished.add(event.call)
            elif isinstance(event, TaskEnded):
                ended = cast("AgentStop", event.reason)
                if ended in _BY_ITSELF:
                    return After(finished, ended=ended)
                return After(finished, on=True)
            elif not isinstance(event, Decided):
                return After(finished, on=isinstance(event, _MORE))
        return After(finished)

    def answer(self) -> ModelAnswered | None:
        """Return the next answer that was given already."""
        while self._events and not isinstance(self._events[0], (ModelAnswered, *_ENDS)):
            event = self._events.popleft()
            if isinstance(event, ModelFailed):
                self._conversation.failed(event)
            elif isinstance(event, Compacted):
                self._conversation.compacted(event)
        if not self._events or isinstance(self._events[0], _ENDS):
            return None
        answer = self._events.popleft()
        return answer if isinstance(answer, ModelAnswered) else None

    def finished(self) -> tuple[dict[str, ToolFinished], dict[str, Decided]]:
        """Return what is known of a turn's calls: which finished, and what was decided of them."""
        results: dict[str, ToolFinished] = {}
        decided: dict[str, Decided] = {}
        while self._events:
            event = self._events[0]
            if isinstance(event, ToolFinished):
                results[event.call] = event
            elif isinstance(event, Decided):
                decided[event.call] = event
            else:
                break
            self._events.popleft()
        return results, decided
