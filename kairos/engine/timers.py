"""What is due when: retries, attempts' deadlines, the end of the budget and of the grace."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Timers"]

NEVER = float("inf")


class Timers:
    """The moments at which a driver must do something, on its monotonic clock.

    Deadlines of attempts are not kept one by one: an attempt's time starts when a worker takes it
    up, on the worker's thread.  It is enough to look at the attempts that run no later than the
    shortest timeout there is.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._retries: list[tuple[float, int, int, int | None]] = []
        self._ticket = itertools.count()
        self._look = NEVER
        self._shortest = NEVER
        self._end = NEVER
        self._grace = NEVER

    @property
    def set(self) -> bool:
        """Whether something may fall due while nothing runs beside the driver."""
        return bool(self._retries) or self._end != NEVER

    def retry_in(self, seconds: float, step: int, item: int | None) -> None:
        """Have a step or an element tried again."""
        heapq.heappush(self._retries, (self._now() + seconds, next(self._ticket), step, item))

    def retries_due(self) -> Iterator[tuple[int, int | None]]:
        """Take what is to be tried again by now."""
        now = self._now() if self._retries else 0.0
        while self._retries and self._retries[0][0] <= now:
            _, _, step, item = heapq.heappop(self._retries)
            yield step, item

    def forget_retries(self) -> None:
        """Try nothing again."""
        self._retries.clear()

    def timeout(self, seconds: float) -> None:
        """Take note that an attempt is about to start that has so much time."""
        self._shortest = min(self._shortest, seconds)
        self._look = min(self._look, self._now() + seconds)

    def look_by(self, moment: float) -> None:
        """Take note that something that runs may have no time left then."""
        self._look = min(self._look, moment)

    def look_due(self) -> bool:
        """Tell whether it is time to look at the deadlines of what runs."""
        return self._look != NEVER and self._now() >= self._look

    def look_again(self, soonest: float, *, running: bool) -> None:
        """Take note of the soonest deadline that was found."""
        if running and self._shortest != NEVER:
            soonest = min(soonest, self._now() + self._shortest)
        self._look = soonest

    def end_in(self, seconds: float) -> None:
        """Limit the run's own time."""
        self._end = self._now() + seconds

    def end_due(self) -> bool:
        """Tell, once, that the run's time is over."""
        if self._end == NEVER or self._now() < self._end:
            return False
        self._end = NEVER
        return True

    def grace(self, seconds: float) -> None:
        """Give what runs some time to stop."""
        self._grace = self._now() + seconds

    def grace_due(self) -> bool:
        """Tell, once, that the grace is over."""
        if self._grace == NEVER or self._now() < self._grace:
            return False
        self._grace = NEVER
        return True

    def patience(self) -> float | None:
        """Return for how many seconds nothing is due; None for ever."""
        soonest = min(self._look, self._end, self._grace)
        if self._retries:
            soonest = min(soonest, self._retries[0][0])
        return None if soonest == NEVER else max(soonest - self._now(), 0.0)
