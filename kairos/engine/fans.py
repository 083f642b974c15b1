"""Every foreach of a run that is on its way: begun, fed with workers, closed."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kairos.engine.fanout import FanOut, elements_of
from kairos.events import FannedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.attempt import Work
    from kairos.commands import StartItems
    from kairos.engine.crew import Crew
    from kairos.engine.record import Record
    from kairos.machine import Machine

__all__ = ["Fans"]


class Fans:
    """Every foreach of a run that is on its way.  Used by the driving thread only."""

    def __init__(
        self, machine: Machine, record: Record, crew: Crew, now: Callable[[], float]
    ) -> None:
        self._machine = machine
        self._record = record
        self._crew = crew
        self._now = now
        self.open: dict[int, FanOut] = {}

    def begin(self, step: int, work: Work, held: Mapping[str, bytes]) -> None:
        """Fan a step out over the list that it names, or fail it where there is none."""
        recipe, config = work.recipe, work.recipe.step.config
        key = config.foreach or ""
        elements = elements_of(key, held.get(key))
        if isinstance(elements, str):
            self._machine.refuse(step, "StateError", elements)
            self._record.pay()
            return
        most = self._crew.limit if recipe.on_loop else self._crew.threads
        self.open[step] = FanOut(
            recipe,
            elements,
            MappingProxyType(work.inputs),  # shared by all its elements
            MappingProxyType(work.visible),
            work.surroundings,
            min(config.max_concurrency or most, most) if config.parallel else 1,
        )
        self._record.write(FannedOut(recipe.name, len(elements), self._now()))

    def offer(self, command: StartItems) -> FanOut | None:
        """Let elements start; None where no further one may."""
        fan = self.open.get(command.step)
        if fan is None or fan.closing:
            return None
        fan.source.extend((item, command.attempt, command.context) for item in command.items)
        return fan

    def feed(self) -> None:
        """Give each its share of the workers that steps have left."""
        share = max(self._crew.limit // len(self.open), 1)
        for step, fan in list(self.open.items()):
            fan.share = share
            if not fan.closing and not fan.held:
                self._crew.feed(fan, step)

    def judged(self, step: int) -> None:
        """Let an element's failure, on which the judge has spoken, hold up the others no more."""
        fan = self.open.get(step)
        if fan is not None and self._machine.goes_on(step):
            fan.held = False

    def loop_ended(self, step: int) -> None:
        """Take note that a worker runs no further element."""
        self._crew.in_flight -= 1
        fan = self.open.get(step)
        if fan is None:
            return
        fan.loops -= 1
        if fan.closing:
            self._drain(step, fan)

    def close(self, step: int) -> None:
        """Start no further element; tell those that run."""
        fan = self.open.get(step)
        if fan is None:
            self._machine.drained(step)
            self._record.pay()
            return
        fan.close()
        for work, of in self._crew.running():
            if of == step:
                work.fence.cancel()
        self._drain(step, fan)

    def forget(self, step: int) -> None:
        """Drop what is known of a foreach that is over."""
        self.open.pop(step, None)

    def _drain(self, step: int, fan: FanOut) -> None:
        if not fan.loops:
            self.forget(step)
            self._machine.drained(step)
            self._record.pay()
