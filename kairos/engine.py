"""One run: turns the machine's commands into work, and outcomes into events.

Everything a driver does save waiting.  All of it runs on the driving thread, except for the few
functions that say otherwise; workers deliver their outcomes into the mailbox.
"""

from __future__ import annotations

import contextvars
import heapq
import itertools
import threading
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from pydantic_core import to_json

from kairos.attempt import (
    Failure,
    Outcome,
    Recipe,
    Surroundings,
    Work,
    failure_of,
    gate,
    perform,
    perform_async,
)
from kairos.backends.threads import Threads
from kairos.budget import Budget, Ledger
from kairos.encoding import decode
from kairos.enums import FailureType, Severity
from kairos.events import (
    AccessRefused,
    AttemptFailed,
    BudgetExhausted,
    CancelRequested,
    Event,
    FannedOut,
    Fault,
    ItemCompleted,
    LateResult,
    PlanSpliced,
    RunFinished,
    RunStarted,
    Spent,
    StepCompleted,
    StepFailed,
    StepSkipped,
    StepStarted,
    ValidationFinished,
    ValidationStarted,
    Warned,
)
from kairos.exceptions import ExecutionError, PlanError, StateError, StepTimeoutError
from kairos.failure import FailureRouter, ReplanRequest
from kairos.journal.memory import MemoryJournal
from kairos.machine import Close, Command, Machine, Owed, Replan, Start, StartItems
from kairos.plan import TaskGraph
from kairos.ports import Clock, Journal, Observer, SystemClock
from kairos.results import WorkflowResult
from kairos.security import Redactor, sanitize_exception
from kairos.state import StateStore, layered
from kairos.step import Step, as_step

if TYPE_CHECKING:
    from kairos.backends.processes import ProcessWorkers

__all__ = ["Engine", "Mail", "Replanner", "RunOptions", "Spawn"]

MAX_THREADS = 32
_TO_THE_END = float("inf")
Replanner: TypeAlias = Callable[[ReplanRequest], Any]


class Spawn(Protocol):
    """Starts a coroutine on an event loop; what it returns cancels it, from any thread."""

    def __call__(self, coroutine: Coroutine[Any, Any, None], /) -> Callable[[], None]:
        """Start it."""
        ...


class LoopEnded(NamedTuple):
    """A worker found no further element to run."""

    step: int


class Replanned(NamedTuple):
    """A replanner answered: with steps, or with what it raised."""

    step: int
    steps: Sequence[Any] | None
    error: BaseException | None


class Cancel(NamedTuple):
    """Someone wants the run to stop; `now` without waiting for what runs."""

    reason: str
    now: bool = False


class Wake(NamedTuple):
    """Look at the clock: it may have been moved."""


Mail: TypeAlias = Outcome | Event | LoopEnded | Replanned | Cancel | Wake


@dataclass(slots=True)
class RunOptions:
    """What a run is made with besides its plan, its state and its inputs.

    `grace` is how many seconds a running step is waited for after it was told to stop; `recipes`
    are kept from one run of a plan to the next.
    """

    workflow: str = ""
    router: FailureRouter | None = None
    check: bool = True
    budget: Budget = field(default_factory=Budget)
    max_concurrency: int | None = None
    observers: Sequence[Observer] = ()
    replanner: Replanner | None = None
    redactor: Redactor = field(default_factory=Redactor)
    clock: Clock = field(default_factory=SystemClock)
    journal: Journal | None = None
    run_id: str | None = None
    grace: float = 5.0
    warnings: Sequence[str] = ()
    recipes: list[Recipe | None] | None = None


@dataclass(slots=True)
class _Fan:
    """A foreach on its way: its elements, and which of them wait for a worker."""

    recipe: Recipe
    elements: list[Any]
    inputs: Mapping[str, bytes]
    visible: Mapping[str, bytes]
    source: deque[tuple[int, int, dict[str, Any] | None]]
    limit: int
    loops: int = 0
    closing: bool = False
    held: bool = False  # an element failed, and what that means is not decided yet


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
        self.journal: Journal = MemoryJournal() if options.journal is None else options.journal
        self.ledger = Ledger(options.budget)
        self.interrupted = False
        self.acting = False  # an action runs on the driving thread right now
        self._hurry = False  # mail is on its way that must be read before anything else starts
        self._deliver = deliver
        self._spawn = spawn
        self._inputs = inputs
        self._visible = state.values
        self._held = state.values
        self._processes: ProcessWorkers | None = None
        self._processes_lock = threading.Lock()
        known = options.recipes
        self._recipes = [None] * len(graph.steps) if known is None else known
        self._needs = graph.dependencies
        self._fans: dict[int, _Fan] = {}
        self._running: dict[int, tuple[Work, int]] = {}
        self._in_flight = 0
        self._timers: list[tuple[float, int, int, int | None]] = []
        self._ticket = itertools.count()
        self._next_look = _TO_THE_END
        self._shortest = _TO_THE_END
        self._ends = _TO_THE_END
        self._grace_ends = _TO_THE_END
        self._began = 0.0
        self._context = contextvars.copy_context()
        limit = min(options.max_concurrency or MAX_THREADS, MAX_THREADS)
        self._threads = Threads(limit, f"kairos-{self.run_id[:8]}")
        self._limit = limit
        self._observers = [_bound(o, self.run_id) for o in options.observers]
        self._observe = [observer.observe for observer in self._observers]
        self._mute: set[int] = set()
        self._append = self.journal.append
        self._surroundings = Surroundings(
            self.run_id,
            self.ledger,
            self.clock.monotonic,
            self._tell_check if self._observe else None,
            self._isolate,
        )

    # -- the record ------------------------------------------------------------------------

    def begin(self) -> None:
        """Record that the run starts."""
        self._began = self.clock.monotonic()
        if self.options.budget.seconds is not None:
            self._ends = self._began + self.options.budget.seconds
        self.state.commit(self._inputs)
        self.record(
            RunStarted(
                self.run_id, self.options.workflow, self.graph.outline, self._inputs, self.clock.time()
            )
        )
        for warning in self.options.warnings:
            self.record(Warned(warning, None, self.clock.time()))

    def record(self, event: Event) -> None:
        """Write down what happened, and whatever follows from it."""
        machine = self.machine
        self._append(event)
        machine.apply(event)
        if self._observe:
            self.tell(event)
        if machine.in_debt:
            self._pay_all()

    def _write(self, event: Event) -> None:
        self._append(event)
        self.machine.apply(event)
        if self._observe:
            self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell the observers.  One that fails is reported once; it is told the rest all the same."""
        for number, observe in enumerate(self._observe):
            try:
                observe(event)
            except Exception as error:  # noqa: BLE001 - an observer is someone else's code
                if number not in self._mute:
                    self._mute.add(number)
                    name, message = sanitize_exception(error)
                    who = type(getattr(observe, "__self__", observe)).__name__
                    self.record(
                        Warned(f"{who} failed at {event.type}: {name}: {message}", None, event.at)
                    )

    def _pay(self, owed: Owed) -> Event:
        """Make the event that is owed."""
        now = self.clock.time()
        if owed.kind is RunFinished:
            ms = (self.clock.monotonic() - self._began) * 1000.0
            return RunFinished(self.machine.status, owed.reason, now, ms)
        name = self.graph.steps[owed.step].name
        begun = self.machine.began(owed.step)
        ms = (now - begun) * 1000.0 if begun else 0.0
        if owed.kind is StepCompleted:
            return self._gathered(owed.step, name, now, ms)
        if owed.kind is StepFailed:
            return StepFailed(name, owed.error, owed.reason, owed.abort, now, ms)
        attempt = self.machine.attempts(owed.step)
        return StepSkipped(name, attempt, owed.reason, owed.cause, False, now, ms)

    def _gathered(self, step: int, name: str, now: float, ms: float) -> Event:
        self._fans.pop(step, None)
        output, writes = self.machine.gathered(step)
        try:
            warnings = self.state.commit({**(writes or {}), name: output})
        except StateError as error:
            self.machine.forget_completion(step)
            return StepFailed(name, "StateError", error.message, False, now, ms)
        for warning in warnings:
            self._deliver(Warned(warning, name, now))
        return StepCompleted(name, self.machine.attempts(step), output, writes, now, ms)

    # -- commands --------------------------------------------------------------------------

    def advance(self, *, inline: bool) -> None:
        """Start everything that can be started.

        With `inline` a step that nothing else could run beside is performed here and now, since
        handing it to another thread would cost more than most steps do.
        """
        machine = self.machine
        while not self._hurry and (command := machine.take()) is not None:
            kind = type(command)
            if kind is Start:
                self._start(command, inline=inline)  # type: ignore[arg-type]  # by its type
            elif kind is StartItems:
                self._start_items(command, inline=inline)  # type: ignore[arg-type]
            elif kind is Close:
                self._close(command.step)
            else:
                self._replan(command.step)

    def _recipe(self, step: int) -> Recipe:
        recipe = Recipe(self.graph.steps[step], check=self.options.check)
        self._recipes[step] = recipe
        return recipe

    def _isolate(self, work: Work) -> Outcome:
        """Perform a work in a worker process (on a worker's thread)."""
        with self._processes_lock:
            if self._processes is None:
                from kairos.backends.processes import ProcessWorkers  # noqa: PLC0415 - few need it

                self._processes = ProcessWorkers()
        return self._processes.perform(work)

    def _scope(self, step: int, recipe: Recipe) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
        """Return what a step's `inputs` and `state` may show: its keys, or everything."""
        held = self._held
        if recipe.read_keys is not None:
            allowed = {key: held[key] for key in recipe.step.read_keys or () if key in held}
            return allowed, allowed
        steps = self.graph.steps
        own = {}
        for dependency in self._needs[step]:
            name = steps[dependency].name
            if name in held:
                own[name] = held[name]
        return layered(own, self._inputs), self._visible

    def _start(self, command: Start, *, inline: bool) -> None:
        step = command.step
        recipe = self._recipes[step] or self._recipe(step)
        inputs, visible = self._scope(step, recipe)
        work = Work(
            recipe, command.attempt, inputs, visible, self._surroundings, None, None, command.context
        )
        self.record(StepStarted(recipe.name, command.attempt, self.clock.time()))
        if recipe.step.config.foreach is not None:
            self._fan_out(step, work)
        elif inline and self._alone(recipe):
            self.absorb(self._perform_here(work, step), step)
        else:
            self._send(work, step)

    def _alone(self, recipe: Recipe) -> bool:
        return (
            not self._in_flight
            and not self.machine.crowded
            and not self._timers
            and recipe.step.config.timeout is None
            and not recipe.signature.is_async
            and not recipe.isolated
            and self._ends == _TO_THE_END
        )

    def _perform_here(self, work: Work, step: int) -> Outcome:
        self._running[id(work)] = (work, step)
        self.acting = True
        try:
            return perform(work)
        finally:
            self.acting = False
            self._running.pop(id(work), None)

    def _send(self, work: Work, step: int) -> None:
        """Have an attempt made beside the driver."""
        self._in_flight += 1
        self._running_soon(work)
        if work.recipe.signature.is_async and not work.recipe.isolated:
            self._hand_over(work, self._spawn(self._perform_async(work, step)))
        else:
            self._threads.submit(partial(self._perform_there, work, step))

    def _running_soon(self, work: Work) -> None:
        timeout = work.recipe.step.config.timeout
        if work.recipe.validators and work.recipe.step.config.validation_timeout is not None:
            timeout = min(timeout or _TO_THE_END, work.recipe.step.config.validation_timeout)
        if timeout is not None and timeout < self._shortest:
            self._shortest = timeout
        if timeout is not None:
            self._next_look = min(self._next_look, self.clock.monotonic() + timeout)

    def _enter(self, work: Work, step: int) -> None:
        """Take an attempt up (on its worker's thread): its time starts now."""
        timeout = work.recipe.step.config.timeout
        if timeout is not None:
            work.fence.deadline = self.clock.monotonic() + timeout
        self._running[id(work)] = (work, step)
        if self.machine.stopping:
            work.fence.cancel()

    def _perform_there(self, work: Work, step: int) -> None:
        self._enter(work, step)
        outcome = self._context.copy().run(perform, work)
        self._deliver(outcome)

    async def _perform_async(self, work: Work, step: int) -> None:
        self._enter(work, step)
        self._deliver(await perform_async(work))

    @staticmethod
    def _hand_over(work: Work, cancel: Callable[[], None]) -> None:
        work.fence.on_cancel = cancel
        work.fence.on_give_up = cancel
        if work.fence.cancelled:
            cancel()

    def _tell_check(
        self, work: Work, phase: Any, faults: tuple[Fault, ...] | None
    ) -> None:
        """Pass on that a contract is, or was, checked (on whichever thread checks it)."""
        place = (work.recipe.name, work.attempt, work.item_index, phase)
        now = self.clock.time()
        event: Event = (
            ValidationStarted(*place, now) if faults is None else ValidationFinished(*place, faults, now)
        )
        if self.acting:
            self.tell(event)
        else:
            self._deliver(event)

    # -- foreach ---------------------------------------------------------------------------

    def _fan_out(self, step: int, work: Work) -> None:
        recipe, now = work.recipe, self.clock.time()
        if recipe.guarded:
            verdict = gate(work)
            if verdict is not None:
                self._in_flight += 1
                self.absorb(verdict, step)
                return
        key = recipe.step.config.foreach or ""
        raw = self._held.get(key)
        elements = None if raw is None else decode(raw)
        if not isinstance(elements, list):
            found = "nothing is stored there" if raw is None else f"it holds {_json_kind(elements)}"
            self.machine.refuse(
                step, "StateError", f"foreach='{key}' needs a list under '{key}', and {found}"
            )
            self._pay_all()
            return
        limit = recipe.step.config.max_concurrency or self._limit
        self._fans[step] = _Fan(
            recipe,
            elements,
            work.inputs,
            work.visible,
            deque(),
            min(limit, self._limit, max(len(elements), 1)) if recipe.step.config.parallel else 1,
        )
        self.record(FannedOut(recipe.name, len(elements), now))

    def _pay_all(self) -> None:
        while (owed := self.machine.owed) is not None:
            self._write(self._pay(owed))

    def _start_items(self, command: StartItems, *, inline: bool) -> None:
        fan = self._fans.get(command.step)
        if fan is None or fan.closing:
            return
        for item in command.items:
            fan.source.append((item, command.attempt, command.context))
        serial = not fan.recipe.step.config.parallel  # then the machine hands out one at a time
        if inline and serial and self._alone(fan.recipe):
            item, attempt, context = fan.source.popleft()
            work = self._item_work(fan, item, attempt, context)
            self.absorb(self._perform_here(work, command.step), command.step)
        else:
            self._feed(command.step, fan)

    def _feed(self, step: int, fan: _Fan) -> None:
        """Have as many workers on a foreach as it may have and has elements for."""
        for _ in range(min(fan.limit - fan.loops, len(fan.source))):
            fan.loops += 1
            self._in_flight += 1
            self._note_timeout(fan.recipe)
            if fan.recipe.signature.is_async and not fan.recipe.isolated:
                self._spawn(self._pull_async(fan, step))
            else:
                self._threads.submit(partial(self._pull, fan, step))

    def _note_timeout(self, recipe: Recipe) -> None:
        timeout = recipe.step.config.timeout
        if timeout is not None:
            self._shortest = min(self._shortest, timeout)
            self._next_look = min(self._next_look, self.clock.monotonic() + timeout)

    def _item_work(
        self, fan: _Fan, item: int, attempt: int, context: dict[str, Any] | None
    ) -> Work:
        return Work(
            fan.recipe,
            attempt,
            fan.inputs,
            fan.visible,
            self._surroundings,
            item,
            to_json(fan.elements[item]),  # parsed from JSON, so it is JSON
            context,
        )

    def _pull(self, fan: _Fan, step: int) -> None:
        """Run elements on a worker's thread until there are none left.

        Pulling from one shared queue spares a hop between threads for every element.
        """
        source, deliver, run = fan.source, self._deliver, self._context.copy
        while True:
            try:
                item, attempt, context = source.popleft()
            except IndexError:
                deliver(LoopEnded(step))
                return
            work = self._item_work(fan, item, attempt, context)
            self._enter(work, step)
            outcome = run().run(perform, work)
            if outcome.failure is not None:
                fan.held = True
            deliver(outcome)
            if work.fence.given_up:
                return  # the driver has put another worker in this one's place
            if fan.held or self._threads.waiting:  # let the driver decide, or others have a turn
                deliver(LoopEnded(step))
                return

    async def _pull_async(self, fan: _Fan, step: int) -> None:
        import asyncio  # noqa: PLC0415 - here it is loaded already

        while True:
            try:
                item, attempt, context = fan.source.popleft()
            except IndexError:
                self._deliver(LoopEnded(step))
                return
            work = self._item_work(fan, item, attempt, context)
            loop = asyncio.get_running_loop()
            task = loop.create_task(perform_async(work))
            cancel = partial(loop.call_soon_threadsafe, task.cancel)
            self._hand_over(work, cancel)
            self._enter(work, step)
            outcome = await task
            if outcome.failure is not None:
                fan.held = True
            self._deliver(outcome)
            if work.fence.given_up:
                return
            if fan.held:
                self._deliver(LoopEnded(step))
                return

    def _close(self, step: int) -> None:
        """Start no further element; tell those that run."""
        fan = self._fans.get(step)
        if fan is None:
            self.machine.drained(step)
        else:
            fan.closing = True
            fan.source.clear()
            for work, of in list(self._running.values()):
                if of == step:
                    work.fence.cancel()
            if not fan.loops:
                self._drained(step)
        self._pay_all()

    def _drained(self, step: int) -> None:
        self._fans.pop(step, None)
        self.machine.drained(step)
        self._pay_all()

    # -- outcomes --------------------------------------------------------------------------

    def handle(self, mail: Mail) -> None:
        """Deal with whatever came in."""
        if isinstance(mail, Outcome):
            found = self._running.pop(id(mail.work), None)
            if mail.work.fence.given_up or found is None:
                work = mail.work
                self.record(
                    LateResult(work.recipe.name, work.attempt, work.item_index, self.clock.time())
                )
                return
            self.absorb(mail, found[1])
        elif isinstance(mail, LoopEnded):
            self._loop_ended(mail.step)
        elif isinstance(mail, Replanned):
            self._in_flight -= 1
            self._replanned(mail)
        elif isinstance(mail, Cancel):
            self.cancel(mail.reason, now=mail.now)
        elif isinstance(mail, (ValidationStarted, ValidationFinished)):
            self.tell(mail)
        elif not isinstance(mail, Wake):
            self.record(mail)

    def absorb(self, outcome: Outcome, step: int) -> None:
        """Turn an outcome into events."""
        work = outcome.work
        item = work.item_index
        if item is None and self._in_flight:
            self._in_flight -= 1
        name, now = work.recipe.name, self.clock.time()
        if self.interrupted:
            self.interrupted = False
            self.cancel("interrupted", now=False)
        for refusal in outcome.refusals:
            self.record(AccessRefused(name, work.attempt, item, refusal.access, refusal.key, now))
        if outcome.spent is not None:
            self.record(Spent(name, work.attempt, item, *outcome.spent, now))
        if outcome.failure is None and item is None and not outcome.skipped:
            outcome.failure = self._commit(name, outcome)
        if outcome.failure is not None:
            self._failed(outcome, step, now)
        elif item is not None:
            output = outcome.output or b"null"
            self.record(
                ItemCompleted(
                    name, item, work.attempt, output, outcome.writes,
                    bool(outcome.skipped), now, outcome.ms,
                )
            )
        elif outcome.skipped:
            self._skipped(outcome, name, now)
        else:
            self.record(
                StepCompleted(
                    name, work.attempt, outcome.output or b"null", outcome.writes, now, outcome.ms
                )
            )
        if self.ledger.tripped is not None and not self.machine.stopping:
            self._exhausted()

    def _commit(self, name: str, outcome: Outcome) -> Failure | None:
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
        for warning in warnings:
            self.record(Warned(warning, name, self.clock.time()))
        return None

    def _skipped(self, outcome: Outcome, name: str, now: float) -> None:
        returned = outcome.skipped == "returned"
        self.state.commit({**(outcome.writes or {}), name: b"null"})
        reason = "its action returned SKIP" if returned else "its `when` was false"
        cause = "returned" if returned else "when"
        self.record(
            StepSkipped(name, outcome.work.attempt, reason, cause, True, now, outcome.ms)
        )

    def _failed(self, outcome: Outcome, step: int, now: float) -> None:
        work, failure = outcome.work, outcome.failure
        if failure is None:
            return
        event = self.machine.decide(step, work.attempt, work.item_index, failure, now, outcome.ms)
        self.record(event)
        if event.action == "retry" and event.delay > 0:
            due = self.clock.monotonic() + event.delay
            heapq.heappush(self._timers, (due, next(self._ticket), step, work.item_index))
        if work.item_index is not None:
            self._let_go(step)

    def _let_go(self, step: int) -> None:
        """Go on with a foreach that was held until a failure was judged."""
        fan = self._fans.get(step)
        if fan is not None and self.machine.goes_on(step):
            fan.held = False
            self._feed(step, fan)

    def _loop_ended(self, step: int) -> None:
        self._in_flight -= 1
        fan = self._fans.get(step)
        if fan is None:
            return
        fan.loops -= 1
        if fan.closing and not fan.loops:
            self._drained(step)
        elif not fan.held:
            self._feed(step, fan)

    # -- time ------------------------------------------------------------------------------

    def patience(self) -> float | None:
        """Return for how many seconds of the clock nothing needs to be done; None for ever."""
        soonest = min(self._next_look, self._ends, self._grace_ends)
        if self._timers:
            soonest = min(soonest, self._timers[0][0])
        if soonest == _TO_THE_END:
            return None
        return max(soonest - self.clock.monotonic(), 0.0)

    @property
    def idle(self) -> bool:
        """Whether nothing is running."""
        return not self._in_flight

    def look_at_the_clock(self) -> None:
        """Do what is due: retries, timeouts, the end of the budget or of the grace."""
        if not self._timers and self._next_look == self._ends == self._grace_ends == _TO_THE_END:
            return
        now = self.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, step, item = heapq.heappop(self._timers)
            self.machine.due(step, item)
        if now >= self._next_look:
            self._give_up_late(now)
        if now >= self._ends:
            self._ends = _TO_THE_END
            limit = self.options.budget.seconds
            self.ledger.trip("seconds", f"wall-time budget of {limit:g} s is spent")
            self._exhausted()
        if now >= self._grace_ends:
            self._grace_ends = _TO_THE_END
            self._abandon("did not stop when told")

    def _give_up_late(self, now: float) -> None:
        soonest = _TO_THE_END
        for work, step in list(self._running.values()):
            deadline = work.fence.deadline
            if deadline is None:
                continue
            if now >= deadline:
                timeout = work.recipe.step.config.timeout
                phase = "did not finish" if timeout else "was not validated"
                limit = timeout or work.recipe.step.config.validation_timeout or 0.0
                error = StepTimeoutError(
                    f"step '{work.recipe.name}' {phase} within {limit:g} s",
                    step_id=work.recipe.name,
                    attempt=work.attempt,
                )
                self._give_up(work, step, error)
            else:
                soonest = min(soonest, deadline)
        if self._in_flight and self._shortest != _TO_THE_END:
            soonest = min(soonest, now + self._shortest)
        self._next_look = soonest

    def _give_up(self, work: Work, step: int, error: ExecutionError) -> None:
        """Wait no longer for an attempt; whatever it still brings is dropped."""
        if self._running.pop(id(work), None) is None:
            return
        work.fence.give_up()
        if not work.recipe.signature.is_async and not work.recipe.isolated:
            self._threads.replace_one()
        outcome = Outcome(work, failure=failure_of(error))
        outcome.ms = (self.clock.monotonic() - work.started) * 1000.0
        self.absorb(outcome, step)
        if work.item_index is not None:
            self._loop_ended(step)

    def _exhausted(self) -> None:
        budget, message = self.ledger.tripped or ("", "")
        self.record(BudgetExhausted(budget, message, self.clock.time()))
        self._tell_to_stop()

    def cancel(self, reason: str, *, now: bool = False) -> None:
        """Start nothing new and tell what runs to stop; `now` does not wait for it."""
        self._hurry = False
        if not self.machine.stopping:
            self.record(CancelRequested(reason, self.clock.time()))
            self._tell_to_stop()
        if now:
            self._abandon("was given up")

    def tell_running(self) -> None:
        """Tell every running attempt that it should stop, ahead of a `Cancel`.  From any thread."""
        self._hurry = True
        for work, _ in list(self._running.values()):
            work.fence.cancel()

    def _tell_to_stop(self) -> None:
        self._timers.clear()
        self.tell_running()
        self._hurry = False
        self._grace_ends = self.clock.monotonic() + self.options.grace

    def _abandon(self, why: str) -> None:
        for work, step in list(self._running.values()):
            error = ExecutionError(f"step '{work.recipe.name}' {why}", step_id=work.recipe.name)
            self._give_up(work, step, error)

    # -- replanning ------------------------------------------------------------------------

    def _replan(self, step: int) -> None:
        replanner = self.options.replanner
        failed = self.machine.last_failure(step)
        if replanner is None or failed is None:
            self.machine.refuse(step, "ConfigError", "its policy says replan and there is no replanner")
            self._pay_all()
            return
        request = ReplanRequest(
            self.graph.steps[step].name,
            failed.error,
            failed.message,
            failed.faults,
            self.graph.outline,
            tuple(self._held),
            self.machine.replans(step),
        )
        self._in_flight += 1
        self._threads.submit(partial(self._ask_replanner, replanner, request, step))

    def _ask_replanner(self, replanner: Replanner, request: ReplanRequest, step: int) -> None:
        """Ask for new steps (on a worker's thread)."""
        try:
            self._deliver(Replanned(step, list(replanner(request)), None))
        except BaseException as error:  # noqa: BLE001 - a replanner may do anything at all
            self._deliver(Replanned(step, None, error))

    def _replanned(self, mail: Replanned) -> None:
        step, name = mail.step, self.graph.steps[mail.step].name
        if self.machine.stopping:
            return
        try:
            if mail.error is not None:
                raise mail.error
            steps = [as_step(each) for each in mail.steps or ()]
            graph = self.graph.splice(name, steps)
            self._verify(graph, {each.name for each in steps})
        except BaseException as error:  # noqa: BLE001 - see above
            cls, message = sanitize_exception(error)
            self.machine.refuse(step, cls, f"the replanner gave no plan: {message}")
            self._pay_all()
            return
        self._splice(graph, step, [each.name for each in steps])

    def _verify(self, graph: TaskGraph, names: set[str]) -> None:
        """Hold new steps to what `kairos validate` would hold them to."""
        from kairos.verify import verify_plan  # noqa: PLC0415 - only a replan pays for it

        for finding in verify_plan(graph, inputs=tuple(self._inputs)):
            if finding.severity is Severity.ERROR and finding.step in names:
                raise PlanError(f"{finding.code} {finding.message}", step_id=finding.step)

    def _splice(self, graph: TaskGraph, step: int, names: Iterable[str]) -> None:
        self.graph = graph
        self._needs = graph.dependencies
        new = len(graph.steps) - len(self._recipes)
        self._recipes = [*self._recipes, *([None] * new)]  # a copy: other runs share the list
        self._recipes[step] = None
        self._fans.pop(step, None)
        plan = {name: graph.outline[name] for name in names}
        self.machine.spliced(graph, step)
        self.record(PlanSpliced(graph.steps[step].name, plan, self.clock.time()))

    # -- the end ---------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.machine.finished

    def result(self) -> WorkflowResult:
        """Let the workers go and fold the run."""
        self._threads.stop()
        if self._processes is not None:
            self._processes.close()
        result = WorkflowResult.of_run(
            self.journal,
            state=dict(self._held),
            terminal=self.graph.terminal,
            redactor=self.options.redactor,
        )
        for observer in self._observers:
            result.warnings.extend(getattr(observer, "warnings", ()))
        return result


def _bound(observer: Any, run_id: str) -> Observer:
    """Return what is told of this run: an observer that keeps runs apart gives a child for it."""
    for_run = getattr(observer, "for_run", None)
    bound: Observer = observer if for_run is None else for_run(run_id)
    return bound


def _json_kind(value: Any) -> str:
    kinds = {dict: "an object", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
