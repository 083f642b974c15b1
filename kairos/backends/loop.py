"""Where a coroutine runs when nobody else has an event loop: on a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

__all__ = ["LoopThread"]


class LoopThread:
    """An event loop on a thread of its own, started when the first coroutine comes."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def spawn(self, coroutine: Coroutine[Any, Any, None], /) -> Callable[[], None]:
        """Start a coroutine; what is returned cancels it, from any thread."""
        import asyncio  # noqa: PLC0415 - most runs have no async action

        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=loop.run_forever, name="kairos-loop", daemon=True
            )
            self._thread.start()
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)

        def cancel() -> None:
            future.cancel()

        return cancel

    def stop(self) -> None:
        """Cancel what is left, and let the thread go."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        import asyncio  # noqa: PLC0415 - most runs have no async action

        asyncio.run_coroutine_threadsafe(_wind_up(loop), loop)
        thread.join(timeout=1.0)  # a task that refuses to end must not hold up the result
        if not thread.is_alive():
            loop.close()


async def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
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
        loop.stop()
