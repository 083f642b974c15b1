"""The state of an agent's conversation, as the events make it.

Every method is pure of the world: the same events give the same state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.agents.allowance import Allowed, Meter
from kairos.agents.answers import judged, why_given_up
from kairos.agents.compaction import Room, shortened, summary_request
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
from kairos.agents.limits import AgentStop, Used
from kairos.agents.names import Names
from kairos.agents.plan import FINAL, GIVE_UP
from kairos.agents.transcript import Transcript, says_something
from kairos.agents.turn import After, Turn
from kairos.models import Message, Request, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kairos.agents.allowance import Unpriced
    from kairos.agents.compaction import Cut
    from kairos.agents.plan import Plan
    from kairos.models import TokenUsage
    from kairos.models.prices import Price

__all__ = ["Conversation"]

_ACCEPTED = "accepted"
_NOT_RUN = "not run: the task ended with this turn"
_NO_MORE = "not run: the agent may make no more calls"
_TOOL_USED_UP = "not run: this tool may not be called again in this task"
_BROKEN_OFF = "not finished: the agent was stopped"
_WRONG = "not the answer that was asked for"
_TOO_LONG = ("too_long", "too_large")
_GO_ON = (
    f"Go on: nobody reads this. Take the next step towards your goal with a tool. Call {FINAL} "
    f"once the goal is reached, or {GIVE_UP} if it cannot be reached."
)


_NOTHING = After()


class Conversation:
    """Where an agent stands: its messages, what it has used, and what it has seen before.

    `window` is how many tokens the model reads at most, and `price` what they cost; None where
    nobody knows.
    """

    def __init__(
        self, plan: Plan, window: int | None = None, price: Price | Unpriced | None = None
    ) -> None:
        self.plan = plan
        self.transcript = Transcript()
        self.used, self.before = Used(), Used()
        self.elapsed = 0.0
        self.events: list[Any] = []
        self.broken_off: list[ToolFinished] = []
        self._names = Names()
        self._asked: set[int] = set()
        self._task = range(0)
        self._refused = self._refused_again = False
        self._begin_counting()
        self._tools, self._ending = plan.shown, plan.ending
        self._schema = None if plan.by_tool else plan.schema
        fixed = self.request()
        self.meter = Meter(plan.limits, fixed, price)
        self._room: Room | None = None
        if plan.compaction is not None:
            self._room = Room(plan.compaction, fixed, window)

    def _begin_counting(self) -> None:
        self._started = self.elapsed
        self._first = len(self.events)
        self.broken_off.clear()
        self._calls_of: dict[str, int] = {}
        self._seen: dict[int, int] = {}
        self._last_text, self._same_texts = "", 0
        self._faults = 0
        self.said = ""
        self.arguments: dict[str, str] = {}

    @property
    def task_began(self) -> float:
        """How long the agent had run when its task began, in seconds."""
        return self._started

    @property
    def task_seconds(self) -> float:
        """How long it has worked on its task."""
        return self.elapsed - self._started

    @property
    def task_events(self) -> list[Any]:
        """What has happened since the task was given."""
        return [*self.events[self._first :], *self.broken_off]

    # --- what is told

    def begin(self, task: TaskGiven) -> None:
        """Take up a task.  Limits count anew; the conversation goes on."""
        self.before.add(self.used.usage)
        self.used = Used()
        self.meter.begin()
        self.passed(task.at)
        self._begin_counting()
        self.events.append(task)
        length = len(self.transcript)
        self._task = range(length, length + len(task.messages))
        self._names.given(task.messages)
        self._asked.update(map(id, task.messages))  # which the events keep alive
        if self._room is not None:
            self._room.begins()
        for message in task.messages:
            self.transcript.add(message)

    def passed(self, at: float) -> None:
        """Take note of how long the agent has run."""
        self.elapsed = max(self.elapsed, at)

    def failed(self, event: ModelFailed) -> None:
        """Take note of a call that failed: what it consumed counts."""
        self.events.append(event)
        self.passed(event.at)
        self._refused = event.kind in _TOO_LONG
        if event.usage is not None:
            self._count(event.usage)
        else:
            self.meter.failed(event.kind, self.transcript.snapshot(), self.request())

    def compacted(self, event: Compacted) -> None:
        """Go on with a shorter conversation."""
        self.events.append(event)
        self.passed(event.at)
        if event.usage is not None:
            self._count(event.usage)
        self._refused_again, self._refused = self._refused, False
        messages = self.transcript.snapshot()
        made, self._task = shortened(messages, event, self._task)
        if self._room is not None:
            self._room.changes(messages, made, event)
        self.transcript = Transcript(made)
        self.meter.shortened()

    def _count(self, usage: TokenUsage) -> None:
        self.used.add(usage)
        self.meter.spent.add(usage)

    def ended(self, event: TaskEnded | SessionEnded) -> None:
        """Take note of an end; nothing follows from it here."""
        self.events.append(event)
        self.passed(event.at)

    def answered(self, event: ModelAnswered, after: After = _NOTHING) -> Turn:
        """Take in an answer, and say what it leads to."""
        held = self.allowed().by if event.stop == "length" else None
        self.events.append(event)
        self.passed(event.at)
        self.used.iterations += 1
        self.meter.spent.iterations += 1
        self._count(event.usage)
        self._refused = self._refused_again = False
        message, calls = self._names.apart(event.message)
        self.arguments.update((call.id, call.arguments) for call in calls)
        if says_something(message):
            self.transcript.add(message)
        usage = event.usage
        if self._room is not None and not usage.estimated:
            self._room.reported(usage.input_tokens + usage.output_tokens, len(self.transcript))
        self.meter.answered(usage, self.transcript.snapshot())
        self.said = message.text or self.said
        if event.stop in ("refused", "filtered", "length"):
            self._unanswered(calls)
            return Turn(ends=(held or "cut_off") if event.stop == "length" else event.stop)
        text = message.text
        if self._repeats_itself(text, calls) and not (after.on or after.finished):
            self._unanswered(calls)
            return Turn(ends="repeated_text")
        return self._called_for(calls, after) if calls else self._answer(text, after)

    def decided(self, event: Decided) -> None:
        """Take note of what was decided of a call."""
        self.events.append(event)
        self.passed(event.at)

    def finished(
        self, turn: Turn, results: Mapping[str, ToolFinished], stop: AgentStop | None
    ) -> Turn:
        """Take in what came of the calls of a turn; the model hears of it in their order."""
        told = {one.id: one for one in turn.told}
        ends: AgentStop | None = stop
        for call in turn.calls:
            one = results.get(call.id)
            if one is None:
                one = ToolFinished(call.id, call.name, _BROKEN_OFF, "cancelled", at=self.elapsed)
                self.broken_off.append(one)
            else:
                self.events.append(one)
            self.passed(one.at)
            told[call.id] = ToolResult(call.id, call.name, one.content, one.failed)
            if one.ends and ends is None:
                ends = "tool_failed"
            if self._seen_before(call, one) and ends is None:
                ends = "repeated_calls"
        self._tell(tuple(told[call.id] for call in turn.order))
        if ends is None and turn.ends is None and self._no_more_calls:
            ends = "tool_calls"
        return Turn(ends=ends)

    # --- what is asked

    def over(self) -> AgentStop | None:
        """Return which limit is reached, if one is."""
        return self.meter.spent.over(self.plan.limits, self.task_seconds)

    def allowed(self) -> Allowed:
        """Return how long the next answer may be, so that no limit is exceeded by it."""
        if not self.plan.limits.metered:
            return Allowed(self.plan.max_tokens)
        return self.meter.allowed(self.transcript.snapshot(), self.request())

    def crowded(self) -> Cut | None:
        """Return where the conversation has to be cut before the model is asked; None: nowhere."""
        if self._room is None:
            return None
        return self._room.cut(self.transcript.snapshot(), self._task, refused=self._refused)

    def can_shrink(self, kind: str) -> bool:
        """Whether a call that failed in that way may go well with a shorter conversation."""
        if self._room is None or kind not in _TOO_LONG or self._refused_again:
            return False
        return self._room.cut(self.transcript.snapshot(), self._task, refused=True) is not None

    def summary(self, cut: Cut) -> Request | None:
        """Return what the model is asked so that the conversation can be cut; None: nothing."""
        if self._room is None or cut.how != "summarised":
            return None
        messages = self.transcript.snapshot()[: cut.upto]
        left = [one for at, one in enumerate(messages) if at not in self._task]
        material = self._room.material(left, self._asked)
        asked = summary_request(material, self.request(), self._room.summary_tokens)
        return self.meter.apart(asked)

    def request(self, most: int | None = None) -> Request:
        """Return what the model is asked next, for an answer of at most so many tokens."""
        plan, timeout = self.plan, self.plan.timeout
        if plan.limits.seconds is not None:
            timeout = min(timeout, plan.limits.seconds - self.task_seconds)
        return Request(
            self.transcript.snapshot(),
            plan.system,
            self._tools,
            self._schema,
            max_tokens=plan.max_tokens if most is None else most,
            temperature=plan.temperature,
            stop=plan.stop,
            seed=plan.seed,
            timeout=timeout,
            options=plan.options,
        )

    # --- one answer

    def _repeats_itself(self, text: str, calls: tuple[ToolCall, ...]) -> bool:
        most = self.plan.limits.repeated_texts
        if most is None or (calls and not text):
            return False
        self._same_texts = self._same_texts + 1 if text == self._last_text else 1
        self._last_text = text
        return self._same_texts > most

    def _seen_before(self, call: ToolCall, one: ToolFinished) -> bool:
        most = self.plan.limits.repeated_calls
        if most is None or one.outcome == "cancelled":
            return False
        key = hash((call.name, call.arguments, one.content))
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        return seen > most

    @property
    def _no_more_calls(self) -> bool:
        most = self.plan.limits.tool_calls
        return most is not None and self.used.calls >= most

    def _called_for(self, calls: tuple[ToolCall, ...], after: After) -> Turn:
        told: list[ToolResult] = []
        if self._ending:
            ended = self._ended_by(calls, told, after)
            if ended is not None:
                return ended
        made = []
        for call in calls:
            if call.name in self._ending and call.id not in after.finished:
                continue
            why = self._not_allowed(call)
            if why and call.id not in after.finished:
                told.append(ToolResult(call.id, call.name, why, failed=True))
            else:
                self.used.calls += 1
                made.append(call)
        turn = Turn(tuple(made), calls, tuple(told))
        return turn if made else self.finished(turn, {}, None)

    def _ended_by(
        self, calls: tuple[ToolCall, ...], told: list[ToolResult], after: After
    ) -> Turn | None:
        """Return the end of the task if a call is meant for it; `told` gets what is wrong."""
        went_on = after.on or bool(after.finished)
        for call in calls:
            if call.name not in self._ending or call.id in after.finished:
                continue
            if call.name == GIVE_UP and not went_on:
                self._tell_all(calls, call)
                return Turn(ends="gave_up", answer=why_given_up(call.arguments))
            answer, fault = self._judge(call.arguments)
            if fault is None and went_on:
                fault = _WRONG
            if fault is None:
                self._tell_all(calls, call)
                return Turn(ends="answered", answer=answer)
            told.append(ToolResult(call.id, call.name, fault, failed=True))
        if told and not went_on and self._faults > self.plan.answer_retries:
            self._unanswered(calls)
            return Turn(ends="invalid_answer")
        return None

    def _not_allowed(self, call: ToolCall) -> str:
        most = self.plan.limits.tool_calls
        if most is not None and self.used.calls >= most:
            return _NO_MORE
        count = self._calls_of[call.name] = self._calls_of.get(call.name, 0) + 1
        if count > self.plan.most_calls.get(call.name, count):
            return _TOOL_USED_UP
        return ""

    def _answer(self, text: str, after: After) -> Turn:
        turn, told = self._said(text)
        if after.on:
            turn, told = Turn(), told or _WRONG
        elif after.ended is not None:
            turn, told = (turn if turn.ends else Turn(ends=after.ended)), ""
        if told:
            self.transcript.add(Message("user", (Text(told),)))
        return turn

    def _said(self, text: str) -> tuple[Turn, str]:
        """Return what a text leads to, and what the model is told of it if the task goes on."""
        if self.plan.autonomous:
            return Turn(), _GO_ON
        if self.plan.answer is None:
            return Turn(ends="answered", answer=text), ""
        answer, fault = self._judge(text)
        if fault is None:
            return Turn(ends="answered", answer=answer), ""
        if self._faults > self.plan.answer_retries:
            return Turn(ends="invalid_answer"), ""
        return Turn(), fault

    def _judge(self, text: str) -> tuple[bytes, str | None]:
        """Return the JSON of an answer, or what the model is told is wrong with it."""
        answer, fault = judged(self.plan, text, self._faults + 1)
        self._faults += fault is not None
        return answer, fault

    def _unanswered(self, calls: tuple[ToolCall, ...]) -> None:
        """Give every call its result: a conversation with an open call cannot go on."""
        self._tell(tuple(ToolResult(c.id, c.name, _NOT_RUN, failed=True) for c in calls))

    def _tell_all(self, calls: tuple[ToolCall, ...], final: ToolCall) -> None:
        self._tell(
            tuple(
                ToolResult(c.id, c.name, _ACCEPTED)
                if c is final
                else ToolResult(c.id, c.name, _NOT_RUN, failed=True)
                for c in calls
            )
        )

    def _tell(self, results: tuple[ToolResult, ...]) -> None:
        if results:
            self.transcript.add(Message("tool", results))
