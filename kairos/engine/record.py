"""The record of a run: every event is journalled, folded into the machine, and told, in order."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from kairos.attempt import failure_of
from kairos.engine.hooks import HookObserver
from kairos.events import (
    Event,
    RunFinished,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepSkipped,
    Warned,
)
from kairos.exceptions import StateError
from kairos.security import sanitize_exception

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kairos.commands import Owed
    from kairos.engine.options import RunOptions
    from kairos.machine import Machine
    from kairos.ports import Observer
    from kairos.state import StateStore

__all__ = ["Record"]


class Record:
    """Writes events down, together with whatever follows from them.  One thread only."""

    def __init__(
        self, machine: Machine, state: StateStore, options: RunOptions, run_id: str
    ) -> None:
        self._machine = machine
        self._state = state
        self._options = options
        self._clock = options.clock
        self._append = options.journal.append
        self._early: list[str] = []
        self._late: list[str] = []
        self._passed_on: set[tuple[str, str]] = set()
        self._observers = [self._bound(observer, run_id) for observer in options.observers]
        self._observe = [observer.observe for observer in self._observers]
        self._mute: set[int] = set()
        self._run_id = run_id
        self._began = 0.0

    @property
    def heard(self) -> bool:
        """Whether anyone listens."""
        return bool(self._observe)

    @property
    def warnings(self) -> list[str]:
        """What is to be said after the end: of failures at the last event, and by observers."""
        said = list(self._late)
        for observer in self._observers:
            with contextlib.suppress(Exception):  # whatever stands there under this name
                said += [each for each in observer.warnings if isinstance(each, str)]  # type: ignore[attr-defined]
        return said

    def _bound(self, observer: Any, run_id: str) -> Observer:
        """Return what is told of this run: one that keeps runs apart gives a child for it."""
        bound: Observer = observer
        for_run = getattr(observer, "for_run", None)
        if for_run is not None:
            try:
                child = for_run(run_id, self._options.sensitive_keys)
                _ = child.observe
                bound = child
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer is someone else's code
                self._early.append(_complaint(observer, "for_run", error))
        return bound

    def begin(self, plan: Mapping[str, tuple[str, ...]], inputs: Mapping[str, bytes]) -> None:
        """Write down that the run starts."""
        now = self._clock.time()
        self._began = self._clock.monotonic()
        self.write(RunStarted(self._run_id, self._options.workflow, plan, inputs, now))
        for warning in (*self._options.warnings, *self._early):
            self.warn(warning)

    def write(self, event: Event) -> None:
        """Write down what happened, and pay what is owed after it."""
        machine = self._machine
        self._append(event)
        machine.apply(event)
        if self._observe:
            self.tell(event)
        if machine.in_debt:
            self.pay()  # not before all have been told of what it follows from

    def warn(self, message: str, step: str | None = None) -> None:
        """Write down something that the user should know."""
        self.write(Warned(message, step, self._clock.time()))

    def pass_on(self, messages: Iterable[str], step: str) -> None:
        """Write down what a step warns of: once, however many attempts and items say it."""
        for message in messages:
            if (step, message) not in self._passed_on:
                self._passed_on.add((step, message))
                self.warn(message, step)

    def tell(self, event: Event) -> None:
        """Tell the observers.

        One that fails is reported, once, and told the rest all the same.
        """
        news = [event]
        for each in news:  # which may become more on the way
            for number, observe in enumerate(self._observe):
                try:
                    observe(each)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - an observer is someone else's code
                    if number not in self._mute:
                        self._mute.add(number)
                        said = _complaint(self._observers[number], each.type, error)
                        news += self._complained(said)

    def _complained(self, said: str) -> list[Event]:
        """Write down that an observer failed; the end of a run stays its last event."""
        if self._machine.finished:
            self._late.append(said)
            return []
        warned = Warned(said, None, self._clock.time())
        self._append(warned)
        return [warned]

    def pay(self) -> None:
        """Write down every event that follows from those that have happened."""
        machine = self._machine
        while (owed := machine.owed) is not None:
            event = self._made(owed)
            if event is None:
                continue  # something else is owed instead
            self._append(event)
            machine.apply(event)
            if self._observe:
                self.tell(event)

    def _made(self, owed: Owed) -> Event | None:
        now = self._clock.time()
        if owed.kind is RunFinished:
            ms = (self._clock.monotonic() - self._began) * 1000.0
            return RunFinished(self._machine.status, owed.reason, now, ms)
        name = self._machine.name(owed.step)
        begun = self._machine.began(owed.step)
        ms = (now - begun) * 1000.0 if begun else 0.0
        if owed.kind is StepCompleted:
            return self._gathered(owed.step, name, now, ms)
        if owed.kind is StepFailed:
            return StepFailed(name, owed.error, owed.reason, owed.abort, now, ms)
        attempt = self._machine.attempts(owed.step)
        stores_none = False
        return StepSkipped(name, attempt, owed.reason, owed.cause, stores_none, now, ms)

    def _gathered(self, step: int, name: str, now: float, ms: float) -> Event | None:
        """Store the outputs of a foreach's elements as its output."""
        output, writes = self._machine.gathered(step)
        try:
            warnings = self._state.commit({**(writes or {}), name: output})
        except StateError as error:
            self._machine.forget_completion(step)
            failure = failure_of(error)
            self._machine.refuse(step, failure.error, failure.message)
            return None
        for warning in warnings:
            warned = Warned(warning, name, now)
            self._append(warned)
            self.tell(warned)
        return StepCompleted(name, self._machine.attempts(step), output, writes, now, ms)


def _complaint(observer: Any, at: str, error: BaseException) -> str:
    name, message = sanitize_exception(error)
    who = type(observer.hooks if isinstance(observer, HookObserver) else observer).__name__
    return f"{who} failed at {at}: {name}: {message}"
