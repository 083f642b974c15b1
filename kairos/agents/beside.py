"""An event loop beside a plain run, for those of its tools and callbacks that are async."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Beside", "awaited"]


class Beside:
    """An event loop on a thread of its own, for what is async in a plain run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ended: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._work, name="kairos-agent-loop", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()  # here, since nobody waits for as long as something may block it
            for ended in self._ended:
                ended()

    def at_end(self, ended: Callable[[], None]) -> None:
        """Have something called when nothing can run here any more."""
        self._ended.append(ended)

    def submit(self, awaitable: Any) -> Any:
        """Start something; returns a future of this thread's kind."""
        return asyncio.run_coroutine_threadsafe(_awaiting(awaitable), self._loop)

    def run(self, awaitable: Any) -> Any:
        """Do as `submit`, and wait."""
        return self.submit(awaitable).result()

    def close(self) -> None:
        """Cancel what is left, and stop; what does not let itself be cancelled is left behind."""

        async def end() -> None:
            left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1.0) if left else None
            await self._loop.shutdown_asyncgens()

        ended = asyncio.run_coroutine_threadsafe(end(), self._loop)
        ended.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        self._thread.join(2.0)  # longer only where something blocks the loop, or clings to it


def awaited(value: Any) -> Any:
    """Wait for one thing, on a loop of its own."""
    beside = Beside()
    try:
        return beside.run(value)
    finally:
        beside.close()


async def _awaiting(awaitable: Any) -> Any:
    try:
        return await awaitable
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as stop:
        # they would end the loop, and whoever waits for an answer would wait for ever
        raise RuntimeError(type(stop).__name__) from None
    except Exception:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # nobody is there who would hear of it
            raise asyncio.CancelledError from None
        raise
