"""One task of an agent, as both drivers know it: what it works with, and what it is for."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, closing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kairos.agents.conversation import Conversation
from kairos.agents.desk import Desk, Progress, ToolContext
from kairos.agents.events import (
    AgentEvent,
    Compacted,
    Decided,
    ModelAnswered,
    ModelFailed,
    TaskGiven,
    ToolFinished,
)
from kairos.agents.limits import AgentStop
from kairos.agents.loop import Stopped, turns
from kairos.agents.result import AgentResult
from kairos.agents.transcript import Snapshot
from kairos.budget import Spend
from kairos.context import StepContext
from kairos.contracts.accounts import reserved, reserved_async
from kairos.enums import FailureAction, FailureType
from kairos.failure import FailureEvent, FailurePolicy, FailureRouter
from kairos.models import (
    Model,
    ModelError,
    ModelResponse,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)
from kairos.models.estimate import estimate
from kairos.models.prices import PRICES
from kairos.ports import Clock, SystemClock
from kairos.security import sanitize_untrusted_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from contextlib import AbstractContextManager

    from kairos.agents.compaction import Cut
    from kairos.agents.loop import Loop
    from kairos.agents.tools import Tool
    from kairos.exceptions import BudgetExceededError
    from kairos.models.prices import Price

__all__ = [
    "Engagement",
    "Final",
    "Said",
    "ToolProgress",
    "ToolStarted",
    "joined",
    "last_of",
    "last_of_async",
    "price_of",
    "unfinished",
]


_LONGEST_RECORD = 100_000
"""Characters; what a summary may have in tokens is far less."""


class ToolStarted(NamedTuple):
    """A tool begins to run."""

    call: str
    tool: str


class ToolProgress(NamedTuple):
    """A running tool gave a partial result, or told how far it is."""

    call: str
    tool: str
    value: Any


class Final(NamedTuple):
    """The task has ended, and every stream with it."""

    result: AgentResult


Said: TypeAlias = (
    TextDelta | ReasoningDelta | ToolCallStarted | ToolCallDelta | UsageSeen
    | ModelAnswered | ModelFailed | Decided | ToolStarted | ToolProgress | ToolFinished
    | Compacted | Progress | Final
)  # fmt: skip
"""What `stream` gives out."""


@dataclass
class Engagement:
    """A task that is being worked on.

    `record` keeps each event before anything follows from it; `record_async` does it in its place
    where an event loop must not wait.  `watched` says that somebody sees
    the model's deltas, so that an answer that was begun cannot be begun again.  Inside a step,
    `context` is the step's: its account is charged, and its engine decides about retries.
    """

    conversation: Conversation
    model: Model
    desk: Desk
    context: StepContext[Any] | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    policy: FailurePolicy | None = None
    clock: Clock = field(default_factory=SystemClock)
    record: Callable[[AgentEvent], None] | None = None
    record_async: Callable[[AgentEvent], Awaitable[None]] | None = None
    watched: bool = False
    key: str = ""
    error: Exception | None = None
    failures: int = 0
    shown: bool = False
    cut_by: AgentStop | None = None

    def begin(self, task: TaskGiven | None, history: Iterable[AgentEvent] = ()) -> Loop:
        """Return the loop, after what happened before; keeps the task, if it is new."""
        events = list(history)
        if task is not None:
            self.keep(task)
            events.append(task)
        begun = max((event.at for event in events), default=0.0)
        self._zero = self.clock.monotonic() - begun
        return turns(self.conversation, events)

    @property
    def now(self) -> float:
        """How long the agent has run, in seconds, without the time between a crash and now."""
        return self.clock.monotonic() - self._zero

    @property
    def until(self) -> float | None:
        """When wall time is up, on the clock; None for never."""
        seconds = self.conversation.plan.limits.seconds
        if seconds is None:
            return None
        return self._zero + self.conversation.task_began + seconds

    @property
    def signalled(self) -> bool:
        """Whether somebody may cancel the task from outside while it waits."""
        return self.context is not None

    @property
    def cancelled(self) -> bool:
        """Whether the step around it was told to stop."""
        return self.context is not None and self.context.cancelled

    def keep(self, event: AgentEvent) -> None:
        """Keep an event."""
        if self.record is not None:
            self.record(event)

    async def keep_async(self, event: AgentEvent) -> None:
        """Do as `keep`, without blocking the event loop where somebody can."""
        if self.record_async is None:
            self.keep(event)
        else:
            await self.record_async(event)

    # --- the model

    def reserved(self, request: Request) -> AbstractContextManager[Any]:
        """Set aside what a call may cost.  Raises BudgetExceededError."""
        if self.context is None:
            return nullcontext()
        return reserved(self.context, self._most(request))

    async def reserved_async(self, request: Request) -> AbstractContextManager[Any]:
        """Do as `reserved`, without blocking the event loop."""
        if self.context is None:
            return nullcontext()
        return await reserved_async(self.context, self._most(request))

    def _most(self, request: Request) -> Spend:
        """Return what a call may cost at most; only what is new in a conversation is counted."""
        if not isinstance(request.messages, Snapshot):  # it is no part of the conversation
            return self._spend(request, estimate(request).input_tokens)
        return self._spend(request, self.conversation.meter.estimated(request.messages))

    def _spend(self, request: Request, read: int) -> Spend:
        written = estimate(dataclasses.replace(request, messages=(), tools=(), output=None))
        price = price_of(self.model, request)
        caching = any("cache" in name for name in request.options)
        said = written.output_tokens
        usd = None if price is None else price.most(read, said, caching=caching)
        return Spend(1, read, said, usd)

    def stopped(self, reason: AgentStop, error: Exception | None = None) -> Stopped:
        """Return what the loop is told when the task must end."""
        self.error = error
        return Stopped(self.cut_by or reason, self.now)

    def answered(self, response: ModelResponse, began: float) -> ModelAnswered:
        """Return an answer as an event."""
        at = self.now
        self.failures, self.shown = 0, False
        return ModelAnswered(
            response.message, response.usage, response.stop, response.model, at - began, at
        )

    def failed(self, error: ModelError, began: float) -> ModelFailed:
        """Return a failed call as an event."""
        self.cut_by = self.conversation.allowed().by if error.kind == "cut_off" else None
        return ModelFailed(error.kind, error.usage, self.now - began, self.now)

    def summarised(self, cut: Cut, response: ModelResponse, began: float) -> Compacted:
        """Return what a summary leads to, which is to leave out what it does not tell of."""
        at = self.now
        self.failures = 0
        # it will be read with each turn to come: what imitates our controls is defused for good
        text = sanitize_untrusted_text(response.text.strip(), max_len=_LONGEST_RECORD).text
        told = response.stop in ("end", "stop_sequence") and bool(text)
        return Compacted(
            "summarised" if told else "dropped",
            cut.upto,
            text=text if told else "",
            fault="" if told else "empty" if response.stop in ("end", "tools") else response.stop,
            usage=response.usage,
            model=response.model,
            seconds=at - began,
            at=at,
        )

    def cut(self, cut: Cut, error: ModelError | BudgetExceededError | None = None) -> Compacted:
        """Return a cut as an event that nobody is asked about, or that comes of a failure."""
        self.failures = 0
        if error is None:
            return Compacted(cut.how, cut.upto, cut.longest, at=self.now)
        kind, usage = ("budget", None)
        if isinstance(error, ModelError):
            kind, usage = error.kind, error.usage
        return Compacted("dropped", cut.upto, fault=kind, usage=usage, at=self.now)

    def pause_before_retry(self, error: ModelError) -> float | None:
        """Return how many seconds to wait before the model is asked again; None: not at all.

        Inside a step the engine decides, and the agent goes on where it was.  What somebody has
        seen of an answer already is not said to them twice.
        """
        self.failures += 1
        if self.context is not None or self.shown:
            return None
        event = FailureEvent(self.model.name, FailureType.EXECUTION, error, self.failures)
        decision = FailureRouter(self.policy).handle(event)
        if decision.action is not FailureAction.RETRY:
            return None
        until = self.until  # a pause beyond it would be spent for nothing
        left = decision.delay if until is None else max(until - self.clock.monotonic(), 0.0)
        return min(decision.delay, left)

    def left_to_the_engine(self, error: ModelError) -> bool:
        """Whether the step around it decides if a failed call is made again."""
        return self.context is not None and error.retryable

    # --- the tools

    def bind(
        self,
        call_id: str,
        attempt: Callable[[], Callable[[], bool]],
        tell: Callable[[Any], None],
    ) -> Callable[[Tool, Mapping[str, Any]], Callable[[], Any]]:
        """Return what puts arguments, and the context if it takes one, to a tool's function.

        `attempt` begins an attempt and returns what tells that it was given up.
        """

        def bound(tool: Tool, values: Mapping[str, Any]) -> Callable[[], Any]:
            cancelled = attempt()
            named = tool.signature.context
            if named is None:
                return lambda: tool.function(**values)
            context = self._view(call_id, cancelled, tell)
            return lambda: tool.function(**{**values, named: context})

        return bound

    def _view(
        self, call_id: str, cancelled: Callable[[], bool], tell: Callable[[Any], None]
    ) -> ToolContext:
        around = self.context
        key = hashlib.sha256(f"{self.key}\0{call_id}".encode()).hexdigest()[:32]
        if around is None:
            return ToolContext(
                self.inputs, None, call_id, key, read=None, cancelled=cancelled, tell=tell
            )
        state = around.state
        return ToolContext(
            around.inputs,
            around.item,
            call_id,
            key,
            read=state.get,
            cancelled=lambda: cancelled() or around.cancelled,
            tell=tell,
        )

    def progress(self) -> Progress:
        """Return how far it is."""
        used = self.conversation.used
        return Progress(used.iterations, used.calls, used.input, used.output, used.usd, self.now)


def price_of(model: Model, request: Request) -> Price | None:
    """Return what a model's tokens cost: by its own list, where it has one."""
    own: Callable[[Request], Price | None] | None = getattr(model, "price", None)
    return PRICES.price(model.provider, model.name) if own is None else own(request)


def joined(parts: list[Any]) -> Any:
    """Return the result of a stream of partial ones: texts joined, else the last."""
    if parts and all(isinstance(part, str) for part in parts):
        return "".join(parts)
    return parts[-1] if parts else None


def unfinished(model: Model) -> ModelError:
    """Return the error of a stream that ended without its end."""
    return ModelError(
        "interrupted", "the answer ended before it was whole", provider=model.provider
    )


def last_of(said: Generator[Said]) -> AgentResult:
    """Return the result of a task, once it is there."""
    with closing(said):
        for each in said:
            if isinstance(each, Final):
                return each.result
    raise RuntimeError("an agent has ended without its end")


async def last_of_async(said: AsyncGenerator[Said]) -> AgentResult:
    """Do as `last_of`, on the running event loop."""
    async with aclosing(said):
        async for each in said:
            if isinstance(each, Final):
                return each.result
    raise RuntimeError("an agent has ended without its end")
