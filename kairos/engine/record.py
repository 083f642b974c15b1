"""The record of a run: every event is journalled, folded into the machine, and told, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    from collections.abc import Mapping, Sequence

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
        self._observers = [
            _bound(observer, run_id, options.sensitive_keys) for observer in options.observers
        ]
        self._observe = [observer.observe for observer in self._observers]
        self._mute: set[int] = set()
        self._run_id = run_id
        self._began = 0.0

    @property
    def heard(self) -> bool:
        """Whether anyone listens."""
        return bool(self._observe)

    @property
    def observers(self) -> Sequence[Observer]:
        """Those who listen to this run."""
        return self._observers

    def begin(self, plan: Mapping[str, tuple[str, ...]], inputs: Mapping[str, bytes]) -> None:
        """Write down that the run starts."""
        now = self._clock.time()
        self._began = self._clock.monotonic()
        self.write(RunStarted(self._run_id, self._options.workflow, plan, inputs, now))
        for warning in self._options.warnings:
            self.warn(warning)

    def write(self, event: Event) -> None:
        """Write down what happened, and pay what is owed after it."""
        machine = self._machine
        self._append(event)
        machine.apply(event)
        if self._observe:
            self.tell(event)
        if machine.in_debt:
            self.pay()

    def warn(self, message: str, step: str | None = None) -> None:
        """Write down something that the user should know."""
        self.write(Warned(message, step, self._clock.time()))

    def tell(self, event: Event) -> None:
        """Tell the observers.

        One that fails is reported, once, and told the rest all the same.
        """
        for number, observe in enumerate(self._observe):
            try:
                observe(event)
            except Exception as error:  # noqa: BLE001 - an observer is someone else's code
                if number not in self._mute:
                    self._mute.add(number)
                    name, message = sanitize_exception(error)
                    who = type(self._observers[number]).__name__
                    self.warn(f"{who} failed at {event.type}: {name}: {message}")

    def pay(self) -> None:
        """Write down every event that follows from those that have happened."""
        machine = self._machine
        while (owed := machine.owed) is not None:
            event = self._made(owed)
            self._append(event)
            machine.apply(event)
            if self._observe:
                self.tell(event)

    def _made(self, owed: Owed) -> Event:
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

    def _gathered(self, step: int, name: str, now: float, ms: float) -> Event:
        """Store the outputs of a foreach's elements as its output."""
        output, writes = self._machine.gathered(step)
        try:
            warnings = self._state.commit({**(writes or {}), name: output})
        except StateError as error:
            self._machine.forget_completion(step)
            return StepFailed(name, "StateError", error.message, False, now, ms)
        for warning in warnings:
            self._append(Warned(warning, name, now))
        return StepCompleted(name, self._machine.attempts(step), output, writes, now, ms)


def _bound(observer: Any, run_id: str, sensitive_keys: tuple[str, ...]) -> Observer:
    """Return what is told of this run: an observer that keeps runs apart gives a child for it."""
    for_run = getattr(observer, "for_run", None)
    bound: Observer = observer if for_run is None else for_run(run_id, sensitive_keys)
    return bound
