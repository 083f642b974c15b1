"""Waiting on an event loop, for a place among others and for what runs on a thread."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.agents.slots import Slots

__all__ = ["on_a_thread", "place"]


async def place(slots: Slots) -> None:
    """Wait until there is a place, and have it; whoever returns from this calls `leave`."""
    loop = asyncio.get_running_loop()
    free: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(_set, free)
        except RuntimeError:  # the loop is closed: nobody waits there any longer
            slots.leave()

    if slots.enter(wake):
        return
    try:
        await free
    except asyncio.CancelledError:
        if not slots.withdraw(wake):
            slots.leave()
        raise


def _set(free: asyncio.Future[None]) -> None:
    if not free.done():
        free.set_result(None)


async def on_a_thread(function: Callable[[], Any], ended: Callable[[], None] | None = None) -> Any:
    """Call a function on a thread of its own, which nobody joins if it gets stuck.

    `ended` is called when the function has, on its thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def work() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = context.run(function)
        except StopIteration:
            error = RuntimeError("a tool raised StopIteration")
        except Exception as raised:  # noqa: BLE001 - a tool may raise anything at all
            error = raised
        except BaseException as raised:  # noqa: BLE001 - the loop must not take it for its own end
            error = RuntimeError(type(raised).__name__)
        finally:
            if ended is not None:
                ended()
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:  # the loop is closed: nobody waits any longer
            return

    threading.Thread(target=work, name="kairos-tool", daemon=True).start()
    return await future
