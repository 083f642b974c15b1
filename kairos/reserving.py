"""Waiting in turn for a budget that others have reserved and may yet give back.

A queue is worth having because a reservation is the worst case: a call that may cost ten cents
mostly costs one, and refusing the eleventh of sixty-four calls would waste nine tenths of a
budget.  It cannot lock up: whoever holds a reservation never waits for another (without hold and
wait there is no circle), an event loop is never blocked, and every wait ends after some time.
"""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

from kairos.exceptions import ExecutionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATIENCE", "Claim", "Desk", "unwanted"]

PATIENCE = 120.0
"""Seconds to wait for what others have reserved: as long as a call of a model may take."""

_LOOK = 0.1  # seconds between looks at whether anybody still wants what is waited for


class Claim(ABC):
    """What is asked for at a desk.  All of its methods are called with the desk's lock held."""

    __slots__ = ("owner",)

    def __init__(self) -> None:
        self.owner: object = None

    @abstractmethod
    def verdict(self) -> object | Exception | None:
        """Say what stands in the way: nothing, something for now, or an error for good."""

    @abstractmethod
    def take(self) -> None:
        """Take what is asked for."""

    @abstractmethod
    def give_back(self) -> None:
        """Give back what was taken, since nobody is there any more to use it."""

    @abstractmethod
    def concerns(self, way: Any, /) -> bool:
        """Tell whether it would take from what another claim waits for."""

    @abstractmethod
    def crowded(self) -> Exception:
        """Return the refusal of what others stand in the way of, and that cannot wait."""


class _Waiter:
    __slots__ = ("claim", "done", "error", "wake", "way")

    def __init__(self, claim: Claim, way: object, wake: Callable[[], Any]) -> None:
        self.claim = claim
        self.way = way
        self.wake = wake
        self.done = False
        self.error: Exception | None = None


class Desk:
    """Where claims are made on budgets that belong together, one at a time, first come first."""

    __slots__ = ("_holders", "_waiting", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self._holders: dict[object, int] = {}

    def enter(self, claim: Claim, wait: float, given_up: Callable[[], bool] | None) -> None:
        """Have a claim granted, now or within `wait` seconds; raises what refuses it."""
        task = _task()
        claim.owner = task or threading.current_thread()
        event: threading.Event | None = None
        with self.lock:
            way = self._ask(claim)
            if way is None:
                return
            if wait <= 0 or task or claim.owner in self._holders:
                raise claim.crowded()
            event = threading.Event()
            self._waiting.append(waiter := _Waiter(claim, way, event.set))
        until = time.monotonic() + wait
        try:
            while not event.wait(min(_LOOK, max(until - time.monotonic(), 0.0))):
                if given_up is not None and given_up():
                    self._leave(waiter, unwanted())
                elif time.monotonic() >= until:
                    self._leave(waiter, None)
        except BaseException:  # Ctrl-C
            self._forget(waiter)
            raise
        if waiter.error is not None:
            raise waiter.error

    async def enter_async(self, claim: Claim, wait: float) -> None:
        """Do as `enter`, without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - whoever runs a coroutine has it already

        claim.owner = _task()
        with self.lock:
            way = self._ask(claim)
            if way is None:
                return
            if wait <= 0 or claim.owner in self._holders:
                raise claim.crowded()
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            waiter = _Waiter(claim, way, lambda: _tell(loop, done))
            self._waiting.append(waiter)
        try:
            await asyncio.wait((done,), timeout=wait)
        except BaseException:
            self._forget(waiter)
            raise
        self._leave(waiter, None)
        if waiter.error is not None:
            raise waiter.error

    def left(self, claim: Claim) -> None:
        """Take note that a claim is over.  With the lock held, as what follows."""
        count = self._holders.get(claim.owner, 0)
        if count > 1:
            self._holders[claim.owner] = count - 1
        else:
            self._holders.pop(claim.owner, None)

    def look(self) -> None:
        """Serve whoever can be served, in their order, now that something has changed."""
        if not self._waiting:
            return
        ways: list[object] = []
        for waiter in tuple(self._waiting):
            found = waiter.claim.verdict()
            if found is None:
                found = next((way for way in ways if waiter.claim.concerns(way)), None)
            if found is None:
                self._grant(waiter.claim)
                self._end(waiter, None)
            elif isinstance(found, Exception):
                self._end(waiter, found)
            else:
                waiter.way = found
                ways.append(found)

    def _ask(self, claim: Claim) -> object | None:
        """Grant a claim that nothing stands in the way of, neither a budget nor others."""
        way = claim.verdict()
        if isinstance(way, Exception):
            raise way
        if way is None and self._waiting:
            way = next((w.way for w in self._waiting if claim.concerns(w.way)), None)
        if way is None:
            self._grant(claim)
        return way

    def _grant(self, claim: Claim) -> None:
        claim.take()
        self._holders[claim.owner] = self._holders.get(claim.owner, 0) + 1

    def _end(self, waiter: _Waiter, error: Exception | None) -> None:
        self._waiting.remove(waiter)
        waiter.done, waiter.error = True, error
        waiter.wake()

    def _leave(self, waiter: _Waiter, error: Exception | None) -> None:
        """Stop waiting, unless it was served meanwhile."""
        with self.lock:
            if not waiter.done:
                self._end(waiter, error or waiter.claim.crowded())
                self.look()

    def _forget(self, waiter: _Waiter) -> None:
        """Undo all of a wait that was broken off, and what it was served with."""
        with self.lock:
            if not waiter.done:
                self._waiting.remove(waiter)
                waiter.done = True
                self.look()
            elif waiter.error is None:
                waiter.claim.give_back()


def unwanted() -> ExecutionError:
    """Return the refusal of what an attempt reserves that nobody waits for."""
    return ExecutionError("the attempt was told to stop before it had its budget", retryable=False)


def _task() -> object:
    """Return the task that runs on this thread's event loop; None where there is none.

    Itself and not its id, which is another's as soon as it has ended; so with threads.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        task: object = asyncio.current_task()
        return task or asyncio.get_running_loop()
    except RuntimeError:
        return None


def _tell(loop: Any, done: Any) -> None:
    try:
        loop.call_soon_threadsafe(lambda: done.done() or done.set_result(None))
    except RuntimeError:  # the loop is closed: nobody waits there any more
        return
