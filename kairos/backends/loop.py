"""Where a coroutine runs when nobody else has an event loop: on a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

__all__ = ["LoopThread"]

PATIENCE = 0.1  # seconds in which a loop that is not stuck takes up what it is given


class LoopThread:
    """An event loop on a thread of its own, started when the first coroutine comes.

    Where a coroutine blocks the loop for good, another loop takes its place.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: dict[asyncio.AbstractEventLoop, threading.Thread] = {}
        self._ending: set[asyncio.AbstractEventLoop] = set()
        self._doubted = False

    def spawn(self, coroutine: Coroutine[Any, Any, None], /) -> Callable[[], None]:
        """Start a coroutine; what is returned cancels it, from any thread."""
        import asyncio  # noqa: PLC0415 - most runs have no async action

        loop = self._loop
        if loop is None or (self._doubted and not self._answers(loop)):
            loop = self._loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=self._serve, args=(loop,), name="kairos-loop", daemon=True
            )
            self._threads[loop] = thread
            thread.start()
        self._doubted = False
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)

        def cancel() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and it with it
                future.cancel()

        return cancel

    def doubt(self) -> None:
        """Say that a coroutine did not come back in time: it may have blocked the loop."""
        self._doubted = True

    def _answers(self, loop: asyncio.AbstractEventLoop) -> bool:
        answered = threading.Event()
        loop.call_soon_threadsafe(answered.set)
        return answered.wait(PATIENCE)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while loop not in self._ending:
            loop.run_forever()  # an action may stop it, which is not its business
        loop.close()

    def stop(self) -> None:
        """Cancel what is left, and let the threads go."""
        if not self._threads:
            return
        import asyncio  # noqa: PLC0415 - most runs have no async action

        for loop in self._threads:
            asyncio.run_coroutine_threadsafe(self._wind_up(loop), loop)
        if self._loop is not None:
            # a task that refuses to end must not hold up the result
            self._threads[self._loop].join(timeout=1.0)

    async def _wind_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is left, give it a moment to come to its end, and stop the loop."""
        import asyncio  # noqa: PLC0415 - as above

        try:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            if others:
                await asyncio.wait(others, timeout=0.5)
            await loop.shutdown_asyncgens()
        finally:
            self._ending.add(loop)
            loop.stop()
