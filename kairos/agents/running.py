"""What runs on a thread of a plain run, and may go on on the event loop beside it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any

from kairos.agents.engagement import joined
from kairos.agents.slots import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.agents.beside import Beside
    from kairos.agents.calls import Do

__all__ = ["Running"]

_LOOK = 0.05
"""How often, in seconds, a flag is looked at that tells nobody of its change."""

_UNREAD = 1000
"""How many partial results a generator may be ahead of whoever reads them."""


class Running:
    """A function that runs on a thread; what it returns may go on on the event loop."""

    def __init__(self, step: Do, loop: Callable[[], Beside]) -> None:
        self._step = step
        self._loop = loop
        self._lock = threading.Lock()
        self._cancelled = False
        self._place = None if step.slots is None else Place(step.slots)
        self._hold = None if self._place is None else self._place.share()
        self._stop: Callable[[], Any] | None = None
        self.unread = threading.Semaphore(_UNREAD)

    def outcome(self, tell: Callable[[Any], None]) -> tuple[Any, BaseException | None]:
        """Return the value or the error; partial results are told as they come."""
        try:
            value = self._step.function()
            streams = self._step.kind == "tool"  # what decides has to answer, and not to yield
            if streams and inspect.isgenerator(value):
                return self._drained(value, tell), None
            if streams and inspect.isasyncgen(value):
                value = _drained_async(value, tell)
            if inspect.isawaitable(value):
                return self._awaited(value), None
        except BaseException as error:  # noqa: BLE001 - a tool may raise anything at all
            return None, error
        return value, None

    def _drained(self, parts: Any, tell: Callable[[Any], None]) -> Any:
        found = []
        try:
            for part in parts:
                while not (self._cancelled or self.unread.acquire(timeout=_LOOK)):
                    pass
                if self._cancelled:
                    break
                found.append(part)
                tell(part)
        finally:
            parts.close()
        return joined(found)

    def _awaited(self, value: Any) -> Any:
        with self._lock:
            if self._cancelled:  # the loop may be gone already
                if inspect.iscoroutine(value):
                    value.close()
                return None
            beside = self._loop()
            future = beside.submit(self._in_place(value, beside))
            self._stop = future.cancel
        return future.result()

    async def _in_place(self, value: Any, beside: Beside) -> Any:
        """Hold the place for as long as it takes, also where nobody waits for it any longer."""
        if self._place is None:
            return await value
        release = self._place.share()
        if release is None:  # it was given up before it could begin
            if inspect.iscoroutine(value):
                value.close()
            return None
        beside.at_end(release)  # what clings to the loop ends with it
        try:
            return await value
        finally:
            release()

    def leave(self) -> None:
        """Leave the place, once its function has ended on its thread."""
        if self._hold is not None:
            self._hold()

    def cancel(self) -> None:
        """End it, where it can be ended from outside; it keeps its place until it has ended."""
        with self._lock:
            self._cancelled = True
            if self._stop is not None:
                self._stop()


async def _drained_async(parts: Any, tell: Callable[[Any], None]) -> Any:
    found = []
    try:
        async for part in parts:
            found.append(part)
            tell(part)
            await asyncio.sleep(0)  # it may be one that never waits, and could not be cancelled
    finally:
        await parts.aclose()
    return joined(found)
