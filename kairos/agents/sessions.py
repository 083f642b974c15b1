"""A conversation of many tasks, which is kept as it goes and can be taken up again."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any, Generic, Self

from kairos.agents.async_driver import drive_async
from kairos.agents.driver import drive
from kairos.agents.engagement import Engagement, Final, Said, last_of, last_of_async
from kairos.agents.events import (
    AgentEvent,
    SessionEnded,
    TaskEnded,
    TaskGiven,
)
from kairos.agents.limits import Used
from kairos.agents.log import Log, both, both_async, named
from kairos.agents.loop import Call, turns
from kairos.agents.result import T
from kairos.agents.transcript import Snapshot
from kairos.exceptions import ConfigError, SessionConflictError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence

    from kairos.agents.conversation import Conversation
    from kairos.agents.host import Host
    from kairos.agents.result import AgentResult
    from kairos.models import Message, TokenUsage
    from kairos.ports import SessionStore

__all__ = ["Session"]

_LEFT_OPEN = ("model_failed", "cancelled", "budget")
"""What ends a task from outside: it can be resumed."""


class Session(Generic[T]):
    """A conversation of many tasks; made by `Agent.session`.

    Every event is kept before anything follows from it.  `send` gives a task and returns what came
    of it.  One send at a time: a second at once, and one of another process that goes on with the
    same session, is a SessionConflictError.

    A task that did not come to its end is `unfinished`: its process died, it was cancelled, or the
    model failed.  `resume` goes on with it; a new `send` breaks it off, and the model is told that
    calls were not finished.  Limits are those of one task.

    Leaving a `with` closes the session: what is kept can be opened and gone on with.  `end` is for
    good.
    """

    def __init__(
        self, host: Host, store: SessionStore | None, name: str | None, inputs: Mapping[str, Any]
    ) -> None:
        self._host = host
        self._inputs = dict(inputs)
        self._log = Log(store, named(name))
        self._busy, self._loading = threading.Lock(), threading.Lock()
        self._closed = self._ended = False
        self._conversation: Conversation | None = None
        self._left: list[AgentEvent] = []
        self._open_calls = False

    @property
    def id(self) -> str:
        """By what name it is kept."""
        return self._log.session

    def __repr__(self) -> str:
        return f"Session({self.id!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    # --- what it is

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation as the model would be shown it next, without calls left unanswered."""
        return self._loaded().transcript.snapshot(but=1 if self._open_calls else 0)

    @property
    def events(self) -> Sequence[AgentEvent]:
        """All that has happened."""
        events: list[Any] = self._loaded().events
        return Snapshot(self._left or events, len(self._left or events))

    @property
    def usage(self) -> TokenUsage:
        """What all its tasks consumed."""
        conversation, total = self._loaded(), Used()
        total.add(conversation.before.usage)
        total.add(conversation.used.usage)
        return total.usage

    @property
    def cost(self) -> float | None:
        """What all its tasks cost, in USD; None where a price is not known."""
        return self.usage.estimated_cost_usd

    @property
    def unfinished(self) -> bool:
        """Whether its last task did not come to its end."""
        self._loaded()
        return bool(self._left)

    @property
    def ended(self) -> bool:
        """Whether nothing can be sent any more."""
        self._loaded()
        return self._ended

    # --- what it does

    def send(
        self,
        task: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AgentResult[T]:
        """Give a task, and return what came of it; as `Agent.run`, but for what was said before.

        `inputs` are added to the session's own.  Raises SessionConflictError, and StoreError where
        the store fails: then nothing has happened that is not kept.
        """
        return last_of(self._work(task, inputs, record, watched=False))

    async def send_async(
        self,
        task: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AgentResult[T]:
        """Do as `send`, on the running event loop."""
        return await last_of_async(self._work_async(task, inputs, record, watched=False))

    def stream(
        self,
        task: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> Generator[Said]:
        """Give a task, and give out what happens as it happens; `Final` is last.

        Closing it leaves the task unfinished.
        """
        return self._work(task, inputs, record, watched=True)

    def stream_async(
        self,
        task: Any = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AsyncGenerator[Said]:
        """Do as `stream`, on the running event loop."""
        return self._work_async(task, inputs, record, watched=True)

    def resume(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AgentResult[T]:
        """Go on with the task that is unfinished, at its last finished turn.

        What was answered is not asked for again, and no call that finished is made again.
        """
        return last_of(self._work(_GO_ON, inputs, record, watched=False))

    async def resume_async(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AgentResult[T]:
        """Do as `resume`, on the running event loop."""
        return await last_of_async(self._work_async(_GO_ON, inputs, record, watched=False))

    def resume_stream(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> Generator[Said]:
        """Do as `resume`, and give out what happens as it happens; `Final` is last."""
        return self._work(_GO_ON, inputs, record, watched=True)

    def resume_stream_async(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        record: Callable[[AgentEvent], None] | None = None,
    ) -> AsyncGenerator[Said]:
        """Do as `resume_stream`, on the running event loop."""
        return self._work_async(_GO_ON, inputs, record, watched=True)

    def fork(self, id: str | None = None) -> Session:  # noqa: A002 - as the session has it
        """Begin another session with all that was said in this one; both go on by themselves.

        It costs the same however long the session is, and is open where this one has ended.
        """
        with self._alone():
            self._loaded()
            made: Session[T] = Session(self._host, self._log.store, id, self._inputs)
            upto = self._log.length - (1 if self._ended else 0)
            self._log.store.fork(self.id, upto, made.id)
            return made

    def end(self) -> None:
        """End it for good: what is kept can be read, and nothing be sent."""
        with self._alone():
            conversation = self._loaded()
            if not self._ended:
                self._log.keep(SessionEnded(conversation.elapsed))
                self._forget()

    def close(self) -> None:
        """Send nothing more through this object; the session itself goes on where it is opened."""
        self._closed = True

    # --- a task

    def _work(
        self,
        task: Any,
        inputs: Mapping[str, Any] | None,
        record: Callable[[AgentEvent], None] | None,
        *,
        watched: bool,
    ) -> Generator[Said]:
        final: Final | None = None
        with self._alone():
            try:
                engagement, history = self._begun(task, inputs, record, watched=watched)
                if isinstance(history[-1], TaskGiven) and task is not _GO_ON:
                    engagement.keep(history[-1])
                with closing(drive(engagement, engagement.begin(None, history))) as said:
                    for each in said:
                        if isinstance(each, Final):
                            final = each
                        else:
                            self._host.tell(each)
                            yield each
                end = self._over(engagement, final)
                if end is not None:
                    engagement.keep(end)
            except BaseException:
                self._forget()
                raise
        if final is not None:
            self._host.tell(final)
            yield final

    async def _work_async(
        self,
        task: Any,
        inputs: Mapping[str, Any] | None,
        record: Callable[[AgentEvent], None] | None,
        *,
        watched: bool,
    ) -> AsyncGenerator[Said]:
        final: Final | None = None
        with self._alone():
            try:
                if self._conversation is None:
                    await asyncio.to_thread(self._loaded)
                engagement, history = self._begun(task, inputs, record, watched=watched)
                if isinstance(history[-1], TaskGiven) and task is not _GO_ON:
                    await engagement.keep_async(history[-1])
                working = drive_async(engagement, engagement.begin(None, history))
                async with aclosing(working) as said:
                    async for each in said:
                        if isinstance(each, Final):
                            final = each
                        else:
                            await self._host.tell_async(each)
                            yield each
                end = self._over(engagement, final)
                if end is not None:
                    await engagement.keep_async(end)
            except BaseException:
                self._forget()
                raise
        if final is not None:
            await self._host.tell_async(final)
            yield final

    def _begun(
        self,
        task: Any,
        inputs: Mapping[str, Any] | None,
        record: Callable[[AgentEvent], None] | None,
        *,
        watched: bool,
    ) -> tuple[Engagement, list[AgentEvent]]:
        """Return what works on a task, and what has to be told to its conversation before."""
        conversation = self._loaded()
        if self._closed or self._ended:
            raise ConfigError(
                f"the session has {'ended' if self._ended else 'been closed'}",
                fix="fork it" if self._ended else "open it again: agent.session(id, store=store)",
            )
        values = {**self._inputs, **(inputs or {})}
        if task is _GO_ON:
            if not self._left:
                raise ConfigError("the session has no unfinished task", fix="send one")
            history = self._left
        else:
            given = self._host.given(task, values)._replace(at=conversation.elapsed)
            history = [*self._left, given]
        if self._left:  # it stands in the middle of a turn
            conversation = self._host.conversation()
        engagement = self._host.engaged(
            conversation,
            inputs=values,
            record=both(self._log.keep, record),
            record_async=both_async(self._log.keep_async, record),
            watched=watched,
            key=self.id,
        )
        return engagement, history

    def _over(self, engagement: Engagement, final: Final | None) -> TaskEnded | None:
        """Return the end of a task that is to be kept, if it is one."""
        if final is None or final.result.stop_reason in _LEFT_OPEN:
            self._forget()
            return None
        self._conversation = engagement.conversation
        self._left, self._open_calls = [], False
        end = TaskEnded(final.result.stop_reason, engagement.conversation.elapsed)
        engagement.conversation.ended(end)
        return end

    # --- what is kept

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise SessionConflictError(
                f"the session '{self.id}' is at work on another task",
                fix="wait for it, or fork the session",
            )
        try:
            yield
        finally:
            self._busy.release()

    def _forget(self) -> None:
        """Read from the store anew when next something is wanted."""
        self._conversation = None

    def _loaded(self) -> Conversation:
        """Return the conversation as its events make it, told once."""
        if self._conversation is not None:
            return self._conversation
        with self._loading:  # somebody may look at it while another one sends
            return self._conversation or self._told()

    def _told(self) -> Conversation:
        events = self._log.read()
        if events and not isinstance(events[0], TaskGiven):
            raise StoreError(
                f"the session '{self.id}' has no beginning",
                expected="events of an agent, from its first task on",
                found=type(events[0]).__name__,
            )
        conversation = self._host.conversation()
        wanted: Any = None
        if events:
            loop = turns(conversation, events)
            wanted = next(loop, None)
            loop.close()
        self._open_calls = isinstance(wanted, Call)
        self._ended = bool(events) and isinstance(events[-1], SessionEnded)
        done = not events or isinstance(events[-1], TaskEnded | SessionEnded)
        self._left = [] if done else events
        self._conversation = conversation
        return conversation


_GO_ON = object()
"""Given in the place of a task: the one that is unfinished."""
