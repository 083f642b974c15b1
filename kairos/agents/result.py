"""What comes of an agent's work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from typing_extensions import TypeVar

from kairos.agents.events import AgentEvent, Decided, ToolFinished
from kairos.agents.limits import AgentStop
from kairos.agents.transcript import Snapshot
from kairos.exceptions import ExecutionError
from kairos.models import Message, ModelError, TokenUsage

if TYPE_CHECKING:
    from kairos.agents.conversation import Conversation
    from kairos.agents.loop import Ended

__all__ = ["Action", "AgentResult", "AgentStoppedError", "result_of"]


T = TypeVar("T", default=Any)


class Action(NamedTuple):
    """A call of a tool: what it was given and answered, how long it took, what was decided of it.

    `decision` is `allow`, `deny` or `describe`, and empty where nothing had to be decided;
    `outcome` is that of `ToolFinished`.  `flags` say what in the output imitates the controls of
    a conversation.
    """

    tool: str
    input: str
    output: str
    duration: float
    decision: str
    outcome: str
    flags: tuple[str, ...] = ()
    call: str = ""


class AgentStoppedError(ExecutionError):
    """An agent stopped without an answer; `result` has why, and all that it did."""

    def __init__(self, result: AgentResult, *, step_id: str | None = None) -> None:
        super().__init__(
            f"the agent stopped without an answer: {result.stop_reason}",
            step_id=step_id,
            retryable=result.stop_reason == "invalid_answer",
            fix=_FIXES.get(result.stop_reason),
        )
        self.result = result


_FIXES: dict[str, str] = {
    "unpriced": "give the model's price, or limit tokens instead of max_usd",
    "cut_off": "raise max_tokens",
    "iterations": "raise max_iterations",
}


@dataclass(frozen=True, slots=True)
class AgentResult(Generic[T]):
    """What an agent brought.

    `output` is the last text it said, `answer` the typed answer (the text where none was asked
    for), or None where there is none (see `answered`), `stop_reason` why it stopped: `answered`, or
    the limit or mishap.  `cost` is in USD, and None where a price is not known.  `messages` is the
    whole conversation and `events` what it can be resumed from.  `error` is the model's error that
    ended it, and `reason` what the model said when it gave up.
    """

    output: str
    answer: T
    stop_reason: AgentStop
    iterations: int
    usage: TokenUsage
    cost: float | None
    seconds: float
    actions: tuple[Action, ...]
    messages: Sequence[Message] = field(repr=False)
    events: Sequence[AgentEvent] = field(repr=False)
    error: ModelError | None = field(default=None, repr=False)
    reason: str = field(default="", repr=False)

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return self.stop_reason == "answered"


def result_of(
    conversation: Conversation, ended: Ended, error: ModelError | None = None
) -> AgentResult:
    """Return the result of a conversation that has ended."""
    answer: Any = ended.answer
    contract = conversation.plan.answer
    if isinstance(answer, bytes) and contract is not None:
        answer = contract.check_json(answer)
    reason = ""
    if ended.reason == "gave_up":
        reason, answer = str(answer), None
    used = conversation.used
    return AgentResult(
        conversation.said,
        answer,
        ended.reason,
        used.iterations,
        used.usage,
        used.usd,
        conversation.task_seconds,
        tuple(_actions(conversation)),
        conversation.transcript.snapshot(),
        Snapshot(conversation.events, len(conversation.events)),
        error,
        reason,
    )


def _actions(conversation: Conversation) -> list[Action]:
    inputs = conversation.arguments
    decided: dict[str, Decided] = {}
    found: list[Action] = []
    for event in conversation.task_events:
        if isinstance(event, Decided):
            decided[event.call] = event
        elif isinstance(event, ToolFinished):
            decision = decided.get(event.call)
            rewritten = decision is not None and decision.arguments
            found.append(
                Action(
                    event.tool,
                    str(rewritten) if rewritten else inputs.get(event.call, ""),
                    event.content,
                    event.seconds,
                    "" if decision is None else decision.verdict,
                    event.outcome,
                    event.flags,
                    event.call,
                )
            )
    return found
