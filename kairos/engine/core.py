"""One run: turns the machine's commands into work, and outcomes into events.

Everything a driver does save waiting.  All of it runs on the driving thread, except for the few
functions that say otherwise; workers deliver their outcomes into the mailbox.
"""

from __future__ import annotations

import uuid
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kairos.attempt import (
    Failure,
    Outcome,
    Recipe,
    Surroundings,
    Work,
    failure_of,
    gate,
)
from kairos.commands import Close, Start, StartItems
from kairos.engine.accounts import around_step, late, of_run, settle_up, spent_event
from kairos.engine.crew import Crew
from kairos.engine.fans import Fans
from kairos.engine.identity import identify, memory_of
from kairos.engine.options import Cancel, Late, LoopEnded, Mail, Replanned, RunOptions, Spawn, Wake
from kairos.engine.outcomes import completion, overreach
from kairos.engine.record import Record
from kairos.engine.replanning import ask, request_for, verified
from kairos.engine.timers import Timers
from kairos.events import (
    AccessRefused,
    BudgetExhausted,
    CancelRequested,
    Event,
    Fault,
    LateResult,
    PlanSpliced,
    StepStarted,
    ValidationFinished,
    ValidationStarted,
)
from kairos.exceptions import ExecutionError, StateError
from kairos.machine import Machine
from kairos.security import redactor_with, sanitize_exception
from kairos.state import StateStore, layered
from kairos.workflow_result import WorkflowResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.engine.elision import Elision
    from kairos.engine.options import Lean
    from kairos.plan import TaskGraph

__all__ = ["INTERRUPTED", "Engine"]

INTERRUPTED = "interrupted"


class Engine:
    """A run in progress.

    `deliver` puts mail where the driver will find it, and may be called from any thread; `spawn`
    starts coroutines.
    """

    def __init__(
        self,
        graph: TaskGraph,
        state: StateStore,
        inputs: Mapping[str, bytes],
        options: RunOptions,
        *,
        deliver: Callable[[Mail], None],
        spawn: Spawn,
    ) -> None:
        self.graph = graph
        self.state = state
        self.options = options
        self.clock = options.clock
        self.machine = Machine(graph, options.router)
        self.run_id = options.run_id or uuid.uuid4().hex
        self.record = Record(self.machine, state, options, self.run_id)
        self.ledger = of_run(options.budget, options.spent)
        self.timers = Timers(options.clock.monotonic)
        self.crew = Crew(
            options.backends,
            options.clock,
            self.timers,
            deliver=deliver,
            spawn=spawn,
            # not a method of ours: a run that is part of a circle lives until the collector comes
            stopping=partial(getattr, self.machine, "stopping"),
            max_concurrency=options.max_concurrency,
            name=f"kairos-{self.run_id[:8]}",
        )
        self.interrupted = False  # Ctrl-C struck an action on this thread
        self.tells_interrupts = False  # the driver knows a Ctrl-C from what an action raises
        self.was_interrupted = False
        self._hurry = False  # mail is on its way that must be read before anything else starts
        self._deliver = deliver
        self._budgeted: dict[int, Surroundings] = {}
        self._inputs = MappingProxyType(inputs)  # every step reads from it, and none writes
        self._held = state.values
        self._needs = graph.outline
        unknown = [None] * len(graph.steps)
        self._recipes: list[Recipe | None] = [*(options.recipes or unknown)]
        self._elision = _elision(options.leans, graph, inputs)
        self._fans = Fans(self.machine, self.record, self.crew, self.clock.time)
        self._surroundings = Surroundings(
            self.run_id,
            self.ledger,
            self.clock.monotonic,
            self._tell_check if self.record.heard else None,
            self.crew.isolate,
            memory_of(options),
        )

    def begin(self) -> None:
        """Start the run."""
        self.crew.prepare(self.graph.steps)
        if self.options.budget.seconds is not None:
            self.timers.end_in(self.options.budget.seconds)
        self.state.commit(self._inputs)
        self.record.begin(self.graph.outline, self._inputs)

    # -- commands --------------------------------------------------------------------------

    def advance(self, *, inline: bool) -> None:
        """Start everything that can be started.

        With `inline` a step that nothing else could run beside is performed here and now, since
        handing it to another thread would cost more than most steps do.
        """
        machine, crew = self.machine, self.crew
        while not self._hurry:
            command = machine.take(room=crew.in_flight < crew.limit)
            if command is None:
                break
            if isinstance(command, Start):
                self._start(command, inline=inline)
            elif isinstance(command, StartItems):
                self._start_items(command, inline=inline)
            elif isinstance(command, Close):
                self._fans.close(command.step)
            else:
                self._replan(command.step)
        crew.pressed = machine.wants_room
        if self._fans.open:
            self._fans.feed()

    def _recipe(self, step: int) -> Recipe:
        recipe = Recipe(self.graph.steps[step], check=self.options.check)
        if self.options.cache is not None and recipe.step.config.cache:
            identify([recipe], self.options.cache, self.options.sensitive_keys)
        self._recipes[step] = recipe
        return recipe

    def _scope(self, recipe: Recipe) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
        """Return what a step's `inputs` and `state` may show: its keys, or everything."""
        held = self._held
        if recipe.read_keys is not None:
            allowed = {key: held[key] for key in recipe.step.read_keys or () if key in held}
            return allowed, allowed
        own = {}
        for name in self._needs[recipe.name]:
            if name in held:
                own[name] = held[name]
        return layered(own, self._inputs) if self._inputs else own, held

    def _start(self, command: Start, *, inline: bool) -> None:
        step = command.step
        elision = self._elision
        lean = None if elision is None else elision.leans.get(step)
        recipe = (self._recipes[step] or self._recipe(step)) if lean is None else lean.recipe
        inputs, visible = self._scope(recipe)
        if lean is not None and elision is not None and not elision.holds(lean, inputs):
            recipe = self._recipes[step] or self._recipe(step)
        work = Work(
            recipe,
            command.attempt,
            inputs,
            visible,
            self._around(step, recipe) if recipe.budgeted else self._surroundings,
            None,
            None,
            command.context,
        )
        self.record.write(StepStarted(recipe.name, command.attempt, self.clock.time()))
        if recipe.fans_out:
            verdict = gate(work) if recipe.guarded else None
            if verdict is None:
                self._fans.begin(step, work, self._held)
            else:
                self.absorb(verdict, step)
        elif inline and self._alone(recipe):
            self.absorb(self.crew.here(work, step), step)
        else:
            self.crew.send(work, step)

    def _around(self, step: int, recipe: Recipe) -> Surroundings:
        around = self._budgeted.get(step)
        if around is None:
            around = self._budgeted[step] = around_step(recipe, self._surroundings)
        ledger = around.ledger
        until = None if ledger is None else ledger.until
        if until is not None:
            self.timers.look_by(until)
        return around

    def _alone(self, recipe: Recipe) -> bool:
        return (
            not self.crew.in_flight
            and not self.machine.crowded
            and not recipe.beside
            and not self.timers.set
        )

    def _tell_check(self, work: Work, phase: Any, faults: tuple[Fault, ...] | None) -> None:
        """Pass on that a contract is, or was, checked (on whichever thread checks it)."""
        place = (work.recipe.name, work.attempt, work.item_index, phase)
        now = self.clock.time()
        event: Event = (
            ValidationStarted(*place, now)
            if faults is None
            else ValidationFinished(*place, faults, now)
        )
        if self.crew.acting:
            self.record.tell(event)
        else:
            self._deliver(event)

    def _start_items(self, command: StartItems, *, inline: bool) -> None:
        fan = self._fans.offer(command)
        if fan is None:
            return
        serial = not fan.recipe.step.config.parallel  # then the machine hands out one at a time
        if inline and serial and self._alone(fan.recipe):
            work = fan.next_work()
            if work is not None:
                self.absorb(self.crew.here(work, command.step), command.step)

    # -- outcomes --------------------------------------------------------------------------

    def handle(self, mail: Mail) -> None:
        """Deal with whatever came in; nothing happens any more in a run that has ended."""
        if self.machine.finished:
            return
        if isinstance(mail, Outcome):
            if mail.work.item_index is None:
                self.crew.in_flight -= 1
            self.absorb(mail, self.graph.index[mail.work.recipe.name])
        elif isinstance(mail, Late):
            which = (mail.work.recipe.name, mail.work.attempt, mail.work.item_index)
            self.record.write(LateResult(*which, self.clock.time()))
            self._note_spent(mail.work, self.clock.time())
        elif isinstance(mail, LoopEnded):
            self._fans.loop_ended(mail.step)
        elif isinstance(mail, Replanned):
            self.crew.in_flight -= 1
            self._replanned(mail)
        elif isinstance(mail, Cancel):
            self.cancel(mail.reason, now=mail.now)
        elif isinstance(mail, Wake):
            self.look_at_the_clock()  # before what came after: it may have come too late
        else:
            self.record.tell(mail)  # a check of a contract: it changes nothing

    def absorb(self, outcome: Outcome, step: int) -> None:
        """Turn an outcome into events."""
        work = outcome.work
        item, name, now = work.item_index, work.recipe.name, self.clock.time()
        if outcome.failure is not None and self._struck(outcome):
            self.cancel(INTERRUPTED)
        for refusal in outcome.refusals:
            self.record.write(AccessRefused(name, work.attempt, item, *refusal, now))
        if work.tab.spent is not None or outcome.warnings:
            self._note_spent(work, now)
            self.record.pass_on(outcome.warnings, name)
        settle_up(outcome, self.ledger)
        if self.ledger.tripped is not None and not self.machine.stopping:
            self._exhausted()  # before the step completes: it may be the last one
        if outcome.failure is None and outcome.writes:
            outcome.failure = overreach(outcome.writes, work.recipe.write_keys)
        if outcome.failure is None and item is None:
            outcome.failure = self._store(name, outcome)
        if outcome.failure is not None:
            self._failed(outcome, outcome.failure, step, now)
        else:
            if (outcome.skipped or outcome.writes) and self._elision is not None:
                self._elision.note(outcome)
            self.record.write(completion(outcome, name, now))
        if item is not None and self.machine.settled(step):
            self._fan_is_over(step, work.recipe)

    def _fan_is_over(self, step: int, recipe: Recipe) -> None:
        self._fans.forget(step)
        if recipe.isolated:
            self.crew.release(recipe.step)

    def _struck(self, outcome: Outcome) -> bool:
        """Tell whether Ctrl-C ended an action on the driving thread."""
        failure = outcome.failure
        # by its type: an instance may say that it is anything
        if failure is None or not issubclass(type(failure.exception), KeyboardInterrupt):
            return False
        here = self.crew.came_from_here(outcome.work)
        struck = here and (self.interrupted or not self.tells_interrupts)
        self.interrupted = False
        self.was_interrupted = self.was_interrupted or struck
        return struck

    def _note_spent(self, work: Work, now: float) -> None:
        """Write down what an attempt has spent that is not written yet."""
        spent = work.tab.take()
        if spent is not None:
            self.record.write(spent_event(work, spent, now))

    def _store(self, name: str, outcome: Outcome) -> Failure | None:
        """Store what a step brought, all of it or nothing."""
        output = outcome.output or b"null"
        try:
            if outcome.writes:
                warnings = self.state.commit({**outcome.writes, name: output})
            elif (warning := self.state.put(name, output)) is not None:
                warnings = [warning]
            else:
                return None
        except StateError as error:
            return failure_of(error)
        for each in warnings:
            self.record.warn(each, name)
        return None

    def _failed(self, outcome: Outcome, failure: Failure, step: int, now: float) -> None:
        item = outcome.work.item_index
        event = self.machine.decide(
            step,
            attempt=outcome.work.attempt,
            item=item,
            failure=failure,
            at=now,
            ms=outcome.ms,
        )
        self.record.write(event)
        if self._elision is not None and item is not None and event.action != "retry":
            self._elision.doubt(event.step)
        if event.action == "retry" and event.delay > 0:
            self.timers.retry_in(event.delay, step, item)
        self._fans.judged(step)

    # -- time and the end ------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing is running."""
        return not self.crew.in_flight

    def look_at_the_clock(self) -> None:
        """Do what is due: retries, timeouts, the end of the budget or of the grace."""
        if self.machine.finished:
            return
        for step, item in self.timers.retries_due():
            self.machine.due(step, item)
        if self.timers.look_due():
            self._give_up_late()
        if self.timers.end_due():
            self.ledger.trip(
                "seconds", f"wall-time budget of {self.options.budget.seconds:g} s is spent"
            )
            self._exhausted()
        if self.timers.grace_due():
            self._abandon("did not stop when told")

    def _give_up_late(self) -> None:
        """Give up the attempts whose time is over."""
        now, soonest = self.clock.monotonic(), float("inf")
        for work, step in self.crew.running():
            deadline = work.fence.deadline
            if deadline is not None and now >= deadline:
                self._give_up(work, step, late(work, now))
            elif deadline is not None:
                soonest = min(soonest, deadline)
        self.timers.look_again(soonest, running=not self.idle)

    def _give_up(self, work: Work, step: int, error: ExecutionError) -> None:
        """Wait no longer for an attempt; whatever it still brings is dropped."""
        if not self.crew.give_up(work):
            return
        work.tab.close()  # it may come back when the run has ended, and be told by nobody
        outcome = Outcome(work, failure=failure_of(error))
        outcome.ms = (self.clock.monotonic() - work.started) * 1000.0
        if work.item_index is None:
            self.crew.in_flight -= 1
        self.absorb(outcome, step)
        if work.item_index is not None:
            self._fans.loop_ended(step)

    def _exhausted(self) -> None:
        budget, message = self.ledger.tripped or ("", "")
        self.record.write(BudgetExhausted(budget, message, self.clock.time()))
        self._tell_to_stop()

    def cancel(self, reason: str, *, now: bool = False) -> None:
        """Start nothing new and tell what runs to stop; `now` does not wait for it."""
        if not self.machine.stopping and not self.machine.finished:
            self.record.write(CancelRequested(reason, self.clock.time()))
            self._tell_to_stop()
        self._hurry = False
        if now:
            self._abandon("was given up")

    def tell_running(self) -> None:
        """Tell every running attempt that it should stop, ahead of a `Cancel`.  From any thread."""
        self._hurry = True
        self.crew.tell_to_stop()

    def _tell_to_stop(self) -> None:
        self.timers.forget_retries()
        self.crew.tell_to_stop()
        self.timers.grace(self.options.grace)

    def _abandon(self, why: str) -> None:
        for work, step in self.crew.running():
            error = ExecutionError(f"it {why}", step_id=work.recipe.name)
            self._give_up(work, step, error)

    def result(self) -> WorkflowResult:
        """Fold the run."""
        self._surroundings = self._surroundings._replace(tell=None)  # as for `stopping`
        result = WorkflowResult.of_run(
            self.options.journal,
            state=dict(self._held),
            terminal=self.graph.terminal,
            redactor=redactor_with(self.options.sensitive_keys),
        )
        result.warnings += self.record.warnings
        return result

    def close(self) -> None:
        """Let the workers go; what still runs is told that nobody waits for it."""
        self.crew.tell_to_stop()
        self.crew.dismiss()

    # -- replanning ------------------------------------------------------------------------

    def _replan(self, step: int) -> None:
        replanner = self.options.replanner
        request = request_for(self.machine, self.graph, step, self._held)
        if replanner is None or request is None:
            reason = "its policy says replan, and the workflow has no replanner"
            self.machine.refuse(step, "ConfigError", reason)
            self.record.pay()
            return
        self.crew.submit(partial(ask, replanner, request, step, self._deliver))

    def _replanned(self, mail: Replanned) -> None:
        if self.machine.stopping:
            return
        step = mail.step
        try:
            graph, names = verified(self.graph, mail, self._inputs)
        except Exception as error:  # noqa: BLE001 - whatever the replanner raised, or its steps
            name, message = sanitize_exception(error)
            self.machine.refuse(step, name, f"the replanner gave no plan: {message}")
            self.record.pay()
            return
        self.graph, self._needs = graph, graph.outline
        new = len(graph.steps) - len(self._recipes)
        self._recipes += [None] * new
        self._recipes[step] = None
        self._budgeted.pop(step, None)
        self._elision = None  # what was proved was proved of the plan as it was
        self._fans.forget(step)
        self.machine.spliced(graph, step)
        plan = {name: graph.outline[name] for name in names}
        self.record.write(PlanSpliced(graph.steps[step].name, plan, self.clock.time()))


def _elision(
    leans: Mapping[int, Lean], graph: TaskGraph, inputs: Mapping[str, Any]
) -> Elision | None:
    if not leans:
        return None
    from kairos.engine.elision import Elision  # noqa: PLC0415 - whoever proved has loaded it

    return Elision(leans, graph.index, inputs)
