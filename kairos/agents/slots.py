"""How many may do something at once, among threads and event loops alike."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Place", "Slots"]


class Slots:
    """A number of places; None for as many as there are takers.

    Nobody waits in here: who finds no place is called when one is free, on the thread of whoever
    leaves it, and then has it.
    """

    __slots__ = ("_free", "_lock", "_waiting", "bounded")

    def __init__(self, places: int | None = None) -> None:
        self.bounded = places is not None
        self._free = places or 0
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self, wake: Callable[[], None]) -> bool:
        """Take a place if one is free; else have `wake` called once there is one."""
        if not self.bounded:
            return True
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._waiting.append(wake)
            return False

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        if not self.bounded:
            return
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            wake = self._waiting.popleft()
        wake()

    def withdraw(self, wake: Callable[[], None]) -> bool:
        """Stop waiting.  False says that the place was given already, and has to be left."""
        with self._lock:
            try:
                self._waiting.remove(wake)
            except ValueError:
                return False
            return True


class Place:
    """One of the places, held by all that runs in it until the last of it has really ended.

    What was given up may go on for long: a thread cannot be ended from outside.
    """

    __slots__ = ("_held", "_left", "_lock", "_slots")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._lock = threading.Lock()
        self._held: set[object] = set()
        self._left = False

    def share(self) -> Callable[[], None] | None:
        """Hold it as well; returns what gives up this hold, once, on whichever thread.

        None says that it was left already, and nothing may run in it any more.
        """
        hold = object()
        with self._lock:
            if self._left:
                return None
            self._held.add(hold)

        def release() -> None:
            with self._lock:
                if hold not in self._held:
                    return
                self._held.discard(hold)
                last = self._left = not self._held
            if last:
                self._slots.leave()

        return release
