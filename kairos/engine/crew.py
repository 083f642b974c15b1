"""Those who do the work of a run: this thread, others, an event loop, worker processes.

A crew is told which attempt to make and delivers its outcome; it knows what runs, can tell it to
stop, and can give it up.
"""

from __future__ import annotations

import contextvars
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from kairos.attempt import Outcome, Recipe, Work, failure_of, perform, perform_async
from kairos.engine.options import Backends, Late, LoopEnded, Mail, Spawn

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from kairos.context import Fence
    from kairos.engine.fanout import FanOut
    from kairos.engine.timers import Timers
    from kairos.ports import Clock, Isolation, Workers
    from kairos.step import Step

__all__ = ["MAX_THREADS", "Crew"]

MAX_THREADS = 32


class Crew:
    """Makes the attempts of one run.

    `deliver` may be called from any thread; `stopping` says whether the run is to stop, so that
    an attempt that begins after everyone was told is told as well.
    """

    def __init__(
        self,
        backends: Backends,
        clock: Clock,
        timers: Timers,
        *,
        deliver: Callable[[Mail], None],
        spawn: Spawn,
        stopping: Callable[[], str],
        max_concurrency: int | None,
        name: str,
    ) -> None:
        self.limit = max_concurrency or MAX_THREADS
        self.threads = min(self.limit, MAX_THREADS)  # a coroutine needs none
        self.acting = False  # an action runs on the driving thread right now
        self.in_flight = 0  # works and pulling workers that have not come back
        self.pressed = False  # a step waits for room
        self.doubt: Callable[[], None] = _nothing  # tells the loop that it may be blocked
        self._backends = backends
        self._clock = clock
        self._timers = timers
        self._deliver = deliver
        self._spawn = spawn
        self._stopping = stopping
        self._running: dict[int, tuple[Work, int]] = {}
        self._here: tuple[Work, int] | None = None
        self._last_here: Work | None = None
        self._context = contextvars.copy_context()
        self._threads: Workers = backends.threads(self.threads, name)
        self._isolation: Isolation | None = None
        self._isolation_lock = threading.Lock()

    def prepare(self, steps: Collection[Step]) -> None:
        """Make ready for isolated steps, before anything starts.

        A script whose import would run it again is refused here, and not halfway through.
        """
        if any(step.config.isolation == "process" for step in steps):
            self._isolation = self._backends.isolation()

    # -- on the driving thread -------------------------------------------------------------

    def here(self, work: Work, step: int) -> Outcome:
        """Make an attempt here and now."""
        self._here = (work, step)
        self.acting = True
        try:
            outcome = perform(work)  # raises nothing itself, but Ctrl-C may strike just beside it
            self.acting = False
        except KeyboardInterrupt as error:
            self.acting = False
            outcome = Outcome(work, failure=failure_of(error))
        self._here, self._last_here = None, work
        return outcome

    def send(self, work: Work, step: int) -> None:
        """Have an attempt made beside the driver."""
        self.in_flight += 1
        self._expect(work.recipe)
        if work.recipe.on_loop:
            _hand_over(work.fence, self._spawn(self._perform_async(work, step)))
        else:
            self._threads.submit(partial(self._perform, work, step))

    def feed(self, fan: FanOut, step: int) -> None:
        """Have as many workers pull elements of a foreach as it may have and has use for."""
        # one at least: a foreach that lost its last worker to others would never get one again
        room = max(self.limit - self.in_flight, 0 if fan.loops else 1)
        for _ in range(min(fan.wanted, room)):
            fan.loops += 1
            self.in_flight += 1
            self._expect(fan.recipe)
            if fan.recipe.on_loop:
                self._spawn(self._pull_async(fan, step))
            else:
                self._threads.submit(partial(self._pull, fan, step))

    def submit(self, job: Callable[[], None]) -> None:
        """Have something else done on a thread; it delivers its own mail."""
        self.in_flight += 1
        self._threads.submit(job)

    def came_from_here(self, work: Work) -> bool:
        """Tell whether the attempt that was made last on the driving thread is this one."""
        return self._last_here is work

    def running(self) -> list[tuple[Work, int]]:
        """Return the attempts that are being made, with their steps.  From any thread."""
        here = self._here
        return [*self._running.values(), *(() if here is None else (here,))]

    def give_up(self, work: Work) -> bool:
        """Wait no longer for an attempt; False when it has come back already."""
        if self._running.pop(id(work), None) is None:
            return False
        work.fence.give_up()
        if work.recipe.stuck_when_given_up:
            self._threads.replace_one()
        elif work.recipe.on_loop:
            self.doubt()
        return True

    def tell_to_stop(self) -> None:
        """Tell everyone that they should stop.  From any thread."""
        for work, _ in self.running():
            work.fence.cancel()

    def release(self, step: Step) -> None:
        """Keep no worker process ready for a step that has come to its end."""
        if self._isolation is not None:
            self._isolation.release(step)

    def dismiss(self) -> None:
        """Let everyone go: the run is over."""
        self._threads.stop()
        if self._isolation is not None:
            self._isolation.close()

    def _expect(self, recipe: Recipe) -> None:
        config = recipe.step.config
        if config.timeout is not None:
            self._timers.timeout(config.timeout)
        if recipe.validators and config.validation_timeout is not None:
            self._timers.timeout(config.validation_timeout)
        if recipe.budgeted:
            for budget in (config.budget, config.item_budget):
                if budget is not None and budget.seconds is not None:
                    self._timers.timeout(budget.seconds)

    # -- on the workers' threads and loops -------------------------------------------------

    def _enter(self, work: Work, step: int) -> None:
        """Take an attempt up: its time starts now."""
        timeout = work.recipe.step.config.timeout
        if timeout is not None:
            work.fence.deadline = self._clock.monotonic() + timeout
        if work.recipe.budgeted:
            _limit(work, self._clock.monotonic())
        self._running[id(work)] = (work, step)
        if self._stopping():
            work.fence.cancel()

    def _leave(self, work: Work) -> bool:
        """Take an attempt off the list; False when it was given up before.

        Done where the attempt was made: it either comes back or is given up, and whoever takes
        it off the list has decided which.
        """
        return self._running.pop(id(work), None) is not None

    def _perform(self, work: Work, step: int) -> None:
        self._enter(work, step)
        outcome = self._context.copy().run(perform, work)
        self._deliver(outcome if self._leave(work) else Late(work))

    async def _perform_async(self, work: Work, step: int) -> None:
        self._enter(work, step)
        outcome = await perform_async(work)
        self._deliver(outcome if self._leave(work) else Late(work))

    def _pull(self, fan: FanOut, step: int) -> None:
        deliver, copied = self._deliver, self._context.copy
        while (work := fan.next_work()) is not None:
            self._enter(work, step)
            outcome = copied().run(perform, work)
            if not self._leave(work):
                deliver(Late(work))
                return  # the driver has put another worker in this one's place
            if outcome.failure is not None:
                fan.held = True
            deliver(outcome)
            if fan.should_pause or self.pressed:
                break
        deliver(LoopEnded(step))

    async def _pull_async(self, fan: FanOut, step: int) -> None:
        import asyncio  # noqa: PLC0415 - whoever runs a coroutine has it already

        loop = asyncio.get_running_loop()
        while (work := fan.next_work()) is not None:
            task = loop.create_task(perform_async(work))
            _hand_over(work.fence, _canceller(loop, task))
            self._enter(work, step)
            outcome = await task
            if not self._leave(work):
                self._deliver(Late(work))
                return
            if outcome.failure is not None:
                fan.held = True
            self._deliver(outcome)
            if fan.should_pause or self.pressed:
                break
        self._deliver(LoopEnded(step))

    def isolate(self, work: Work) -> Outcome:
        """Make an attempt in a worker process, on the calling thread's time."""
        with self._isolation_lock:
            if self._isolation is None:  # a replanner brought the first isolated step
                self._isolation = self._backends.isolation()
        outcome: Outcome = self._isolation.perform(work)
        return outcome


def _limit(work: Work, now: float) -> None:
    """Let an attempt end no later than the time of its step and its item."""
    ledger, fence = work.surroundings.ledger, work.fence
    until = None if ledger is None else ledger.start(now)
    if until is not None:
        fence.deadline = until if fence.deadline is None else min(fence.deadline, until)


def _canceller(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> Callable[[], Any]:
    return lambda: loop.call_soon_threadsafe(task.cancel)


def _nothing() -> None:
    """Tell nobody: the loop is the driver's own, and if it were blocked so would the driver be."""


def _hand_over(fence: Fence, cancel: Callable[[], Any]) -> None:
    """Have an attempt on an event loop cancelled when it should stop."""
    fence.on_cancel = cancel
    fence.on_give_up = cancel
    if fence.cancelled:
        cancel()
