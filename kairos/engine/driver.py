"""The driver for threads: it owns the waiting, and decides nothing.

`drive` runs a plan on the calling thread: it passes mail between the engine and the workers, and
waits.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from kairos.engine.core import INTERRUPTED, Engine
from kairos.engine.options import Cancel, Mail, RunOptions, Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kairos.plan import TaskGraph
    from kairos.state import StateStore
    from kairos.workflow_result import WorkflowResult

__all__ = ["RunControl", "RunInterrupted", "drive"]


LONGEST_WAIT = 1_000_000.0  # seconds: a queue cannot be told to wait for centuries


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a run.  `result` holds all that was done until then."""

    def __init__(self, result: WorkflowResult) -> None:
        super().__init__("the run was interrupted")
        self.result = result


class RunControl:
    """The handle by which a run is stopped from outside.  Its methods may be called anywhere."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._deliver: Callable[[Mail], None] | None = None
        self._early: Cancel | None = None
        self._lock = threading.Lock()

    def attach(self, engine: Engine, deliver: Callable[[Mail], None]) -> None:
        """Connect to a run that starts; a cancellation that came before it is passed on."""
        with self._lock:
            self._engine, self._deliver = engine, deliver
            if self._early is not None:
                engine.tell_running()
                deliver(self._early)

    def cancel(self, reason: str = "cancelled", *, now: bool = False) -> None:
        """Stop the run: nothing new starts, what runs is told.

        What runs is waited for, a few seconds at most; with `now` not at all.
        """
        mail = Cancel(reason, now)
        with self._lock:
            if self._engine is None or self._deliver is None:
                self._early = mail
                return
            self._engine.tell_running()
            self._deliver(mail)


@contextlib.contextmanager
def _interrupts(engine: Engine, deliver: Callable[[Mail], None]) -> Iterator[list[int]]:
    """Turn Ctrl-C into a message, so that it cannot strike in the middle of our bookkeeping.

    Only an action that runs on this very thread is interrupted where it stands.  A second Ctrl-C
    waits for nothing.  Where someone has a handler of their own, theirs stays.
    """
    struck: list[int] = []
    mine = threading.current_thread() is threading.main_thread()
    engine.tells_interrupts = not mine  # signals strike the main thread only
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield struck
        return

    def strike(number: int, frame: object) -> None:
        del frame
        struck.append(number)
        if engine.crew.acting:
            engine.interrupted = True
            raise KeyboardInterrupt
        deliver(Cancel(INTERRUPTED, len(struck) > 1))

    signal.signal(signal.SIGINT, strike)
    engine.tells_interrupts = True
    try:
        yield struck
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def drive(
    graph: TaskGraph,
    state: StateStore,
    inputs: Mapping[str, bytes],
    options: RunOptions,
    control: RunControl | None = None,
) -> WorkflowResult:
    """Run a plan on this thread until its end.

    Raises RunInterrupted, which carries the result, when Ctrl-C stops it.
    """
    mailbox: SimpleQueue[Mail] = SimpleQueue()
    deliver = mailbox.put
    loop = options.backends.loop()
    engine = Engine(graph, state, inputs, options, deliver=deliver, spawn=loop.spawn)
    engine.crew.doubt = loop.doubt
    if control is not None:
        control.attach(engine, deliver)
    unsubscribe = engine.clock.subscribe(lambda: deliver(Wake()))
    try:
        with _interrupts(engine, deliver) as struck:
            engine.begin()
            # what runs on this thread cannot be given up, and whoever has the handle may want that
            _loop(engine, mailbox, inline=control is None)
        result = engine.result()
    finally:
        unsubscribe()
        engine.close()
        loop.stop()
    if struck or engine.was_interrupted:
        raise RunInterrupted(result)
    return result


def _loop(engine: Engine, mailbox: SimpleQueue[Mail], *, inline: bool) -> None:
    while True:
        try:
            engine.advance(inline=inline)
            if engine.machine.finished:
                return
            patience = engine.timers.patience()
            wait = engine.clock.span(patience, idle=engine.idle)
            try:
                if wait is None:
                    mail = mailbox.get()
                elif wait > 0:
                    mail = mailbox.get(timeout=min(wait, LONGEST_WAIT))
                else:
                    mail = mailbox.get_nowait()
            except Empty:
                pass
            else:
                engine.handle(mail)
                while not mailbox.empty():
                    engine.handle(mailbox.get_nowait())
            engine.look_at_the_clock()
        except KeyboardInterrupt:  # not through our handler: the user has one of their own
            engine.was_interrupted = True
            engine.cancel(INTERRUPTED, now=bool(engine.machine.stopping))
