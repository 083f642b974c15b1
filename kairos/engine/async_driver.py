"""The driver for an event loop: it owns the waiting, and decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from kairos.engine.core import Engine
from kairos.engine.options import Mail, RunOptions, Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from kairos.engine.driver import RunControl
    from kairos.plan import TaskGraph
    from kairos.state import StateStore
    from kairos.workflow_result import WorkflowResult

__all__ = ["drive_async"]


class _Bell:
    """Wakes a driver on an event loop, from any thread, once for any number of deliveries."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._rung = False
        self.mailbox: SimpleQueue[Mail] = SimpleQueue()

    def deliver(self, mail: Mail) -> None:
        self.mailbox.put(mail)
        if not self._rung:
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float | None) -> None:
        if self.mailbox.empty() and (seconds is None or seconds > 0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._event.wait()
        else:
            await asyncio.sleep(0)
        self._event.clear()
        self._rung = False


async def drive_async(
    graph: TaskGraph,
    state: StateStore,
    inputs: Mapping[str, bytes],
    options: RunOptions,
    control: RunControl | None = None,
) -> WorkflowResult:
    """Run a plan on the running event loop until its end.

    Async actions run on the loop, others on threads.  Being cancelled cancels the run: what runs
    is told, and when the run has ended CancelledError goes on its way.
    """
    bell = _Bell()
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()  # the loop itself holds them only weakly

    def spawn(coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        task = loop.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        return cancel

    engine = Engine(graph, state, inputs, options, deliver=bell.deliver, spawn=spawn)
    if control is not None:
        control.attach(engine, bell.deliver)
    unsubscribe = engine.clock.subscribe(lambda: bell.deliver(Wake()))
    cancelled: asyncio.CancelledError | None = None
    try:
        engine.begin()
        while True:
            engine.advance(inline=False)
            if engine.machine.finished:
                break
            try:
                await bell.wait(engine.clock.span(engine.timers.patience(), idle=engine.idle))
            except asyncio.CancelledError as error:
                engine.cancel("cancelled", now=cancelled is not None)
                cancelled = error
            while not bell.mailbox.empty():
                engine.handle(bell.mailbox.get_nowait())
            engine.look_at_the_clock()
        result = engine.result()
    finally:
        unsubscribe()
        engine.close()
        for task in tasks:
            task.cancel()
    if cancelled is not None:
        raise cancelled
    return result
