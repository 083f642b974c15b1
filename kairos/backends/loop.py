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
        import asyncio  # noqa: PLC0415 - most runs have no async action

        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop)
        loop.call_soon_threadsafe(loop.call_later, 0.0, loop.stop)
        thread.join(timeout=1.0)  # a task that refuses to end must not hold up the result
        if not thread.is_alive():
            loop.close()


async def _cancel_others() -> None:
    import asyncio  # noqa: PLC0415 - as above

    me = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not me:
            task.cancel()
