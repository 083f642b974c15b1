"""Tool calls of one turn, all at once, as tasks of the running event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any

from kairos.agents.calls import Do, Done, carry_out
from kairos.agents.engagement import Engagement, ToolProgress, ToolStarted, joined
from kairos.agents.events import Decided, ToolFinished
from kairos.agents.loop import Called
from kairos.agents.slots import Place
from kairos.agents.waiting import on_a_thread, place

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from kairos.agents.engagement import Said
    from kairos.agents.limits import AgentStop
    from kairos.models import ToolCall

__all__ = ["AsyncCrew"]

_LOOK = 0.05
"""How often, in seconds, a flag is looked at that tells nobody of its change."""

_GRACE = 1.0
"""How long, in seconds, a tool that was cancelled is waited for, so that it can tidy up."""


class AsyncCrew:
    """The calls of one turn; `called` is what came of them once `call` has ended."""

    def __init__(
        self, engagement: Engagement, calls: tuple[ToolCall, ...], decided: Mapping[str, Decided]
    ) -> None:
        self._engagement = engagement
        self._calls = calls
        self._decided = decided
        self._said: asyncio.Queue[Said | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._lines = {"person": asyncio.Lock(), "guard": asyncio.Lock()}
        self._over = False
        self._gone: dict[str, threading.Event] = {}
        self._made: list[Decided] = []
        self._results: list[ToolFinished] = []
        self.called = Called(())

    async def call(self) -> AsyncGenerator[Said]:
        """Make the calls, and give out what happens; closing it cancels what runs."""
        tasks = [asyncio.create_task(self._one(call)) for call in self._calls]
        for task in tasks:
            task.add_done_callback(lambda _: self._said.put_nowait(None))
        stop: AgentStop | None = None
        open_ = len(tasks)
        try:
            while open_ and stop is None:
                said = await self._next()
                if said is None:
                    open_ = sum(not task.done() for task in tasks)
                elif not isinstance(said, _Tick):
                    yield said
                stop = self._why_stop() if open_ else None
        finally:
            self._over = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        while not self._said.empty():
            left = self._said.get_nowait()
            if left is not None:
                yield left
        now = self._engagement.now
        self.called = Called(tuple(self._results), tuple(self._made), stop, now)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _why_stop(self) -> AgentStop | None:
        engagement = self._engagement
        if engagement.cancelled:
            return "cancelled"
        until = engagement.until
        return "seconds" if until is not None and engagement.clock.monotonic() >= until else None

    async def _next(self) -> Said | _Tick | None:
        engagement = self._engagement
        until, seconds = engagement.until, None
        if until is not None:
            seconds = engagement.clock.span(until - engagement.clock.monotonic(), idle=False)
        if engagement.signalled:
            seconds = _LOOK if seconds is None else min(seconds, _LOOK)
        try:
            async with asyncio.timeout(seconds):
                return await self._said.get()
        except TimeoutError:
            return _TICK

    # --- one call

    async def _one(self, call: ToolCall) -> None:
        engagement = self._engagement

        def tell(value: Any) -> None:
            self._loop.call_soon_threadsafe(self._tell, call, value)

        def attempt() -> Callable[[], bool]:
            gone = self._gone[call.id] = threading.Event()
            return lambda: self._over or gone.is_set()

        bind = engagement.bind(call.id, attempt, tell)
        steps = carry_out(call, engagement.desk, bind, self._decided.get(call.id))
        done: Done | None = None
        try:
            while True:
                step = steps.send(done)
                done = None
                if isinstance(step, Decided):
                    made = step._replace(at=engagement.now)
                    self._made.append(made)  # first: who is cancelled now has it kept all the same
                    await engagement.keep_async(made)
                    self._said.put_nowait(made)
                elif step.kind in self._lines:
                    async with self._lines[step.kind]:
                        done = await self._done(call, step)
                else:
                    done = await self._placed(call, step)
        except StopIteration as ended:
            finished: ToolFinished = ended.value._replace(at=engagement.now)
            self._results.append(finished)
            await engagement.keep_async(finished)
            self._said.put_nowait(finished)
        finally:
            steps.close()

    def _tell(self, call: ToolCall, value: Any) -> None:
        if not self._over:
            self._said.put_nowait(ToolProgress(call.id, call.name, value))

    async def _placed(self, call: ToolCall, step: Do) -> Done:
        slots = step.slots
        if slots is None or not slots.bounded:
            return await self._done(call, step)
        began = self._engagement.clock.monotonic()
        try:
            async with asyncio.timeout(step.timeout):
                await place(slots)
        except TimeoutError:
            return Done(fate="busy", seconds=self._engagement.clock.monotonic() - began)
        held = Place(slots)
        release = held.share()
        try:
            return await self._done(call, step, held)
        finally:
            if release is not None:
                release()

    async def _done(self, call: ToolCall, step: Do, held: Place | None = None) -> Done:
        clock = self._engagement.clock
        if step.kind == "tool":
            self._said.put_nowait(ToolStarted(call.id, call.name))
        began = clock.monotonic()
        gone = self._gone[call.id] if step.kind == "tool" else threading.Event()
        limit = asyncio.timeout(step.timeout)
        try:
            async with limit:
                value = await self._value(call, step, gone, held)
        except TimeoutError as error:
            if limit.expired():
                return Done(fate="timeout", seconds=clock.monotonic() - began)
            return Done(error=error, seconds=clock.monotonic() - began)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return Done(error=error, seconds=clock.monotonic() - began)  # nobody's but the tool's
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a tool may raise anything at all
            if isinstance(error, GeneratorExit) and _is_closed(error):
                raise
            if limit.expired():
                return Done(fate="timeout", seconds=clock.monotonic() - began)
            return Done(error=error, seconds=clock.monotonic() - began)
        finally:
            gone.set()
        return Done(value, seconds=clock.monotonic() - began)

    async def _value(
        self, call: ToolCall, step: Do, gone: threading.Event, held: Place | None
    ) -> Any:
        if step.kind == "rule" or self._is_async(call, step):
            value = step.function()
        else:
            ended = None if held is None else held.share()
            value = await on_a_thread(lambda: self._on_thread(call, step, gone), ended)
        if step.kind == "tool" and inspect.isasyncgen(value):
            value = self._drained(call, value)
        if not inspect.isawaitable(value):
            return value
        return await _cancellable(value, None if held is None else held.share())

    def _is_async(self, call: ToolCall, step: Do) -> bool:
        if step.kind == "person":
            return inspect.iscoroutinefunction(self._engagement.desk.approve)
        if step.kind == "guard":
            return inspect.iscoroutinefunction(step.function)
        return self._engagement.desk.tools[call.name].signature.kind.startswith("async")

    def _on_thread(self, call: ToolCall, step: Do, gone: threading.Event) -> Any:
        value = step.function()
        if step.kind != "tool" or not inspect.isgenerator(value):
            return value
        found = []
        try:
            for part in value:
                if gone.is_set():
                    break
                found.append(part)
                self._loop.call_soon_threadsafe(self._tell, call, part)
        finally:
            value.close()
        return joined(found)

    async def _drained(self, call: ToolCall, parts: Any) -> Any:
        found = []
        try:
            async for part in parts:
                found.append(part)
                self._tell(call, part)
                await asyncio.sleep(0)  # it may be one that never waits, and could not be cancelled
        finally:
            await parts.aclose()
        return joined(found)


async def _cancellable(value: Any, ended: Callable[[], None] | None) -> Any:
    """Await something that may swallow its cancellation, and be no longer than that needs.

    `ended` is called when it has, which may be later.
    """
    task = asyncio.ensure_future(_outcome(value))
    if ended is not None:
        task.add_done_callback(lambda _: ended())
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_heard)
        await asyncio.wait({task}, timeout=_GRACE)
        raise
    found, error = task.result()
    if error is not None:
        raise error
    return found


async def _outcome(value: Any) -> tuple[Any, BaseException | None]:
    """Return a value or an error: as that of a task, some errors would end the loop."""
    try:
        return await value, None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as error:
        if isinstance(error, GeneratorExit) and _is_closed(error):
            raise
        return None, error


def _heard(task: asyncio.Future[Any]) -> None:
    """Take note of what a task that was given up has raised: nobody else does."""
    if not task.cancelled():
        task.exception()


def _is_closed(error: GeneratorExit) -> bool:
    """Whether it says that the call itself is closed: then it was raised no deeper than here."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_globals is globals():
        at = at.tb_next
    return at is None


class _Tick:
    """Nothing was said: it is time to look around."""


_TICK = _Tick()
