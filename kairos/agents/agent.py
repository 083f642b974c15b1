"""An agent: a model that calls tools until its task is done, as the action of a step or alone."""

from __future__ import annotations

import dataclasses
import inspect
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from kairos.agents.allowance import UNPRICED, Unpriced
from kairos.agents.asking import shortfall
from kairos.agents.async_driver import drive_async
from kairos.agents.beside import awaited
from kairos.agents.conversation import Conversation
from kairos.agents.desk import Desk
from kairos.agents.driver import drive
from kairos.agents.engagement import Engagement, Final, Said, last_of, last_of_async, price_of
from kairos.agents.events import AgentEvent, TaskGiven
from kairos.agents.host import Host
from kairos.agents.plan import Plan
from kairos.agents.result import AgentResult, AgentStoppedError, T
from kairos.agents.sessions import Session
from kairos.agents.transcript import unpaired
from kairos.contracts.placeholders import Template
from kairos.contracts.rendering import feedback, of_context, rendered
from kairos.exceptions import BudgetExceededError, ConfigError, ExecutionError
from kairos.failure import FailurePolicy
from kairos.models import Message, Model, ModelError, Request, Text, as_messages
from kairos.ports import Clock, SessionStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from kairos.context import StepContext
    from kairos.contracts.contract import Contract
    from kairos.models.prices import Price

__all__ = ["Agent", "Settings"]

_KEPT = 256


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that an agent was made with; see `agent`."""

    model: Model
    plan: Plan
    desk: Desk
    task: Template | None
    policy: FailurePolicy | None
    clock: Clock
    progress: Callable[[Said], Any] | None


class _Fitted(NamedTuple):
    """The plan under a step's contract, and what of that the model is told in words."""

    plan: Plan
    words: tuple[str, ...]


class Agent(Generic[T]):
    """A model with tools; make one with `agent`.

    As the action of a step it is called with the step's context: the step's output contract is
    the contract of its answer, the workflow's account is charged, and the engine alone decides
    about retries.  An attempt after a failure of the model goes on where the one before ended,
    and pays for nothing twice.
    """

    def __init__(self, settings: Settings, prompt: str | None) -> None:
        self._settings = settings
        self._kept = _Kept()
        self._fitted: _Fitted | None = None
        touched = ["model"]
        for each in settings.desk.tools.values():
            touched += each.touches
        self.__kairos_prompt__ = prompt
        self.__kairos_touches__ = tuple(dict.fromkeys(touched))
        self.__name__ = f"agent_{settings.model.provider}"

    def __repr__(self) -> str:
        tools = ", ".join(self._settings.desk.tools)
        return f"Agent({self._settings.model.name}, tools=[{tools}])"

    # --- as an action

    def __call__(self, ctx: StepContext) -> Any:
        """Do the task for a step, and return the answer.

        Raises ModelError as the model failed, BudgetExceededError where the workflow has no more,
        and AgentStoppedError where the agent came to its own limits.
        """
        engagement, task, history = self._engaged(ctx)
        with closing(drive(engagement, engagement.begin(task, history))) as said:
            for each in said:
                self._tell(each)
                if isinstance(each, Final):
                    return self._answer(ctx, engagement, each.result)
        raise RuntimeError("an agent has ended without its end")

    async def __kairos_async__(self, ctx: StepContext) -> Any:
        """Do as a call, on an event loop."""
        engagement, task, history = self._engaged(ctx)
        async with aclosing(drive_async(engagement, engagement.begin(task, history))) as said:
            async for each in said:
                await self._tell_async(each)
                if isinstance(each, Final):
                    return self._answer(ctx, engagement, each.result)
        raise RuntimeError("an agent has ended without its end")

    def _engaged(
        self, ctx: StepContext
    ) -> tuple[Engagement, TaskGiven | None, Sequence[AgentEvent]]:
        template = self._settings.task
        if template is None:
            raise ConfigError(
                "an agent in a step has nothing to do",
                fix="give it a task: agent(model, task='Summarise {doc}')",
            )
        history = self._kept.take(ctx.idempotency_key)
        plan = self._plan_for(ctx)
        engagement = self._engagement(plan, context=ctx, key=ctx.idempotency_key)
        if history and not feedback(ctx.retry_context):
            return engagement, None, history
        parts = [Text(rendered(template, of_context(ctx)))]
        if again := feedback(ctx.retry_context):
            parts.append(Text(again))
        return engagement, TaskGiven((Message("user", tuple(parts)),)), ()

    def __kairos_contract__(self, contract: Contract) -> tuple[str, ...]:
        """Return what of a contract the model is told in words, and the way taken round it.

        Raises ConfigError for a contract that the model cannot be held to.
        """
        try:
            contract.json_schema("validation")
        except Exception:  # noqa: BLE001 - a contract that cannot be built is a finding of its own
            return ()
        return self._fitting(contract).words

    def _plan_for(self, ctx: StepContext) -> Plan:
        """Return the plan for a step's output contract; what is lost of that is warned of."""
        if ctx.output_contract is None:
            return self._settings.plan
        fitted = self._fitting(ctx.output_contract)
        for said in fitted.words:
            ctx.warn(said)
        return fitted.plan

    def _fitting(self, contract: Contract) -> _Fitted:
        fitted = self._fitted
        if fitted is None or fitted.plan.answer is not contract:
            plan = self._settings.plan.answering(contract)
            fitted = self._fitted = _Fitted(plan, shortfall(self._settings.model, plan))
        return fitted

    def _answer(self, ctx: StepContext, engagement: Engagement, result: AgentResult) -> Any:
        if result.answered:
            return result.answer
        error = engagement.error
        if isinstance(error, ModelError):
            if error.retryable:
                self._kept.put(ctx.idempotency_key, result.events)
            raise error
        if isinstance(error, BudgetExceededError):
            raise error
        if result.stop_reason == "cancelled":
            raise ExecutionError("the agent was given up", retryable=False)
        raise AgentStoppedError(result, step_id=ctx.step_id or None)

    # --- directly

    def run(
        self,
        task: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AgentResult[T]:
        """Do a task: a text, messages, or None for the agent's own, rendered with `inputs`.

        `record` is given every event before anything follows from it.  Whatever happens on the way
        is told by the result; raises only for what is wrong beforehand.
        """
        return last_of(self._driven(self._given(task, inputs), (), inputs, record, watched=False))

    async def run_async(
        self,
        task: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AgentResult[T]:
        """Do as `run`, on the running event loop."""
        return await last_of_async(
            self._driven_async(self._given(task, inputs), inputs, record, watched=False)
        )

    def stream(
        self,
        task: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> Generator[Said]:
        """Do a task, and give out what happens as it happens; `Final`, with the result, is last.

        Closing it cancels the answer that is being given and the tools that run.  An answer of
        which a part was given out is never begun again: the task then ends with `model_failed`.
        """
        return self._driven(self._given(task, inputs), (), inputs, record, watched=True)

    def stream_async(
        self,
        task: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AsyncGenerator[Said]:
        """Do as `stream`, on the running event loop."""
        return self._driven_async(self._given(task, inputs), inputs, record, watched=True)

    def resume(
        self,
        events: Iterable[AgentEvent],
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AgentResult[T]:
        """Go on where recorded events end; `record` is given the new ones alone.

        What was answered is not asked for again, and no call that finished is made again.
        """
        history = tuple(events)
        if not history or not isinstance(history[0], TaskGiven):
            raise ConfigError(
                "there is no task to resume",
                expected="the events of a run, from its first on",
                found="nothing" if not history else type(history[0]).__name__,
            )
        return last_of(self._driven(None, history, inputs, record, watched=False))

    def session(
        self,
        id: str | None = None,  # noqa: A002 - as the session has it
        *,
        store: SessionStore | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Session[T]:
        """Open a conversation of many tasks: one that the store has under that id, or a new one.

        Without a store it is kept in memory, without an id under one that nobody else has.
        `inputs` are what its tools see and its task is rendered with; they are not kept.
        """
        host = Host(self._given, self._conversation, self._engaged_in, self._tell, self._tell_async)
        return Session(host, store, id, inputs or {})

    def _given(self, task: Any, inputs: Mapping[str, Any] | None) -> TaskGiven:
        if task is not None:
            messages = as_messages(task)
            if unpaired(messages):
                raise ConfigError(
                    "the messages of a task have calls and results that do not belong together",
                    expected="each call followed by its result, and no result without its call",
                    fix="give whole turns, or texts alone",
                )
            return TaskGiven(messages)
        template = self._settings.task
        if template is None:
            raise ConfigError("there is nothing to do", fix="give a task: agent.run('...')")
        values = inputs or {}
        for name in template.names:
            if name not in values:
                raise ConfigError(
                    f"the placeholder {{{name}}} has no value", fix=f"run(inputs={{'{name}': ...}})"
                )
        return TaskGiven(as_messages(rendered(template, values.__getitem__)))

    def _driven(
        self,
        task: TaskGiven | None,
        history: Sequence[AgentEvent],
        inputs: Mapping[str, Any] | None,
        record: Callable[[AgentEvent], None] | None,
        *,
        watched: bool,
    ) -> Generator[Said]:
        engagement = self._engagement(inputs=inputs or {}, record=record, watched=watched)
        with closing(drive(engagement, engagement.begin(task, history))) as said:
            for each in said:
                self._tell(each)
                yield each

    async def _driven_async(
        self,
        task: TaskGiven,
        inputs: Mapping[str, Any] | None,
        record: Callable[[AgentEvent], None] | None,
        *,
        watched: bool,
    ) -> AsyncGenerator[Said]:
        engagement = self._engagement(inputs=inputs or {}, record=record, watched=watched)
        async with aclosing(drive_async(engagement, engagement.begin(task))) as said:
            async for each in said:
                await self._tell_async(each)
                yield each

    def _engagement(self, plan: Plan | None = None, **more: Any) -> Engagement:
        return self._engaged_in(self._conversation(plan), **more)

    def _conversation(self, plan: Plan | None = None) -> Conversation:
        plan = plan or self._settings.plan
        return Conversation(plan, _window(self._settings), _price(self._settings.model, plan))

    def _engaged_in(self, conversation: Conversation, **more: Any) -> Engagement:
        settings = self._settings
        return Engagement(
            conversation,
            settings.model,
            settings.desk,
            policy=settings.policy,
            clock=settings.clock,
            **more,
        )

    def _tell(self, said: Said) -> None:
        progress = self._settings.progress
        if progress is not None:
            with _harmless():
                value = progress(said)
                if inspect.isawaitable(value):
                    awaited(value)

    async def _tell_async(self, said: Said) -> None:
        progress = self._settings.progress
        if progress is not None:
            with _harmless():
                value = progress(said)
                if inspect.isawaitable(value):
                    await value


@contextmanager
def _harmless() -> Generator[None]:
    """Let who is only told of the work not end it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - as above
        told = f"progress= of an agent raised {type(error).__name__}; the agent goes on"
        warnings.warn(told, RuntimeWarning, stacklevel=2)


def _window(settings: Settings) -> int | None:
    """Return how many tokens the model reads at most, where that matters and somebody knows it."""
    if settings.plan.compaction is None:
        return None
    known: int | None = getattr(settings.model, "context_window", None)
    return known


def _price(model: Model, plan: Plan) -> Price | Unpriced | None:
    """Return what the model's tokens cost, where that matters.

    A model that has no price list tells with each answer what it has cost.
    """
    if plan.limits.usd is None:
        return None
    found = price_of(model, Request((), options=plan.options))
    return UNPRICED if found is None and hasattr(model, "price") else found


class _Kept:
    """What attempts did that the model failed, until the next one takes it up.

    Bounded: of a run that was given up nobody ever asks again.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[str, Sequence[AgentEvent]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, events: Sequence[AgentEvent]) -> None:
        """Keep the events of an attempt."""
        with self._lock:
            self._events[key] = events
            if len(self._events) > _KEPT:
                self._events.popitem(last=False)

    def take(self, key: str) -> Sequence[AgentEvent]:
        """Return and forget the events of the attempt before."""
        with self._lock:
            return self._events.pop(key, ())
