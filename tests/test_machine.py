"""The machine alone: events in, commands out, played by a driver that has no threads and no clock.

The driver below does what the real ones do, in any order: it takes commands, makes attempts whose
outcome is a function of what they are, and tells the machine.  Beside it stands a `Watch`, which
knows the rules and nothing of how the machine keeps them.
"""

from __future__ import annotations

import gc
import random
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.attempt import Failure
from kairos.commands import Close, Replan, Start, StartItems
from kairos.enums import FailureAction, FailureType, ForeachPolicy, WorkflowStatus
from kairos.events import (
    AttemptFailed,
    BudgetExhausted,
    CancelRequested,
    Event,
    FannedOut,
    ItemCompleted,
    PlanSpliced,
    RunFinished,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepSkipped,
    StepStarted,
)
from kairos.failure import FailureEvent, FailurePolicy, FailureRouter
from kairos.machine import Machine
from kairos.plan import TaskGraph
from kairos.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ENDS = (StepCompleted, StepFailed, StepSkipped)
FINAL = [FailureAction.SKIP, FailureAction.ABORT, FailureAction.REPLAN, FailureAction.CUSTOM]
ERRORS = {
    "fails": Failure(FailureType.EXECUTION, ValueError(), "ValueError", "it fails"),
    "breaks": Failure(FailureType.VALIDATION, ValueError(), "ContractBroken", "it breaks"),
}


def nothing(ctx: Any) -> None:
    """Stand for an action: the machine never calls one."""


def dice(*what: object) -> random.Random:
    """Return chance that is the same for the same question, in every process."""
    return random.Random(repr(what))  # noqa: S311 - a test's chance is no secret


# -- plans ----------------------------------------------------------------------------------------


def make_policy(draw: Callable[[Any], Any], *, pauses: bool, aborts: bool) -> FailurePolicy:
    actions = [a for a in FailureAction if aborts or a is not FailureAction.ABORT]
    final = [a for a in FINAL if aborts or a in {FailureAction.SKIP, FailureAction.REPLAN}]

    def handler(event: FailureEvent) -> FailureAction:
        allowed = [a for a in actions if a is not FailureAction.CUSTOM]
        return dice(event.step_id, event.item, event.attempt_number).choice(allowed)

    return FailurePolicy(
        on_execution_fail=draw(st.sampled_from(actions)),
        on_validation_fail=draw(st.sampled_from(actions)),
        fallback_action=draw(st.sampled_from(final)),
        max_retries=draw(st.integers(0, 2)),
        max_replans=draw(st.integers(0, 1)),
        retry_delay=draw(st.sampled_from([0, 1])) if pauses else 0,
        custom_handler=handler,
        jitter=False,
    )


class Plan(NamedTuple):
    """A plan, what its foreaches run over, and after how many settled steps a stop comes."""

    graph: TaskGraph
    items: dict[str, int]
    router: FailureRouter | None
    seed: int
    stop_after: int | None
    stop_by: str


@st.composite
def plans(
    draw: Any, *, pauses: bool = True, aborts: bool = True, stops: bool = True, most: int = 7
) -> Plan:
    names = [f"s{number}" for number in range(draw(st.integers(1, most)))]
    steps, items = [], {}
    for number, name in enumerate(names):
        foreach = draw(st.none() | st.integers(0, 4))
        if foreach is not None:
            items[name] = foreach
        own_policy = draw(st.booleans()) or not aborts
        steps.append(
            Step(
                name,
                nothing,
                depends_on=draw(st.lists(st.sampled_from(names[:number]), max_size=3))
                if number
                else [],
                parallel=draw(st.booleans()),
                foreach=None if foreach is None else "xs",
                foreach_policy=draw(st.sampled_from(ForeachPolicy)),
                failure_policy=make_policy(draw, pauses=pauses, aborts=aborts)
                if own_policy
                else None,
            )
        )
    shuffled = draw(st.permutations(steps))
    router = draw(st.sampled_from([FailureRouter(), FailureRouter(), None])) if aborts else None
    stop = draw(st.none() | st.integers(0, most)) if stops else None
    return Plan(
        TaskGraph("g", shuffled),
        items,
        router,
        draw(st.integers(0, 10**6)),
        stop,
        draw(st.sampled_from(["cancel", "budget"])),
    )


# -- the rules ------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Knows what a run may do, and fails the test at the first event that breaks a rule."""

    graph: TaskGraph
    ended: dict[str, Event] = field(default_factory=dict)
    active: dict[str, int] = field(default_factory=dict)  # steps between their start and a failure
    tried: dict[str, int] = field(default_factory=dict)
    resumable: dict[str, int] = field(default_factory=dict)
    closing: set[str] = field(default_factory=set)  # foreaches that wait for their replan
    stopped: bool = False
    over: bool = False

    def see(self, event: Event) -> None:
        assert not self.over, f"{event} after the end"
        name = getattr(event, "step", "")
        if isinstance(event, StepStarted):
            self._started(event)
        elif isinstance(event, (FannedOut, ItemCompleted)):
            assert name in self.active
        elif isinstance(event, AttemptFailed) and event.item is None:
            del self.active[name]
        elif isinstance(event, AttemptFailed) and event.action is FailureAction.REPLAN:
            self.closing.add(name)
        elif isinstance(event, ENDS):
            assert name not in self.ended, f"{name} ends twice"
            self.ended[name] = event
            self.active.pop(name, None)
        elif isinstance(event, PlanSpliced):
            assert name not in self.ended
            self.active.pop(name, None)
            self.closing.discard(name)
        elif isinstance(event, RunFinished):
            self.over = True
        if isinstance(event, (CancelRequested, BudgetExhausted)) or getattr(event, "abort", False):
            self.stopped = True

    def _started(self, event: StepStarted) -> None:
        name, again = event.step, self.resumable.pop(event.step, 0)
        assert name not in self.active, f"{name} runs twice at a time"
        assert name not in self.ended, f"{name} starts after its end"
        assert not self.stopped or again, f"{name} starts after the stop"
        assert event.attempt == (again or self.tried.get(name, 0) + 1)
        step = self.graph.get_step(name)
        for above in self.graph.get_dependencies(name):
            assert above.name in self.ended, f"{name} starts before {above.name} has ended"
            assert alive(self.ended[above.name]), f"{name} starts below {above.name}"
        if not step.config.parallel:
            others = set(self.active) - self.closing
            beside = [n for n in others if not self.graph.get_step(n).config.parallel]
            assert not beside, f"{name} starts beside {beside}"
        self.active[name] = self.tried[name] = event.attempt


def alive(end: Event) -> bool:
    """Tell whether dependents of a step that ended so may run."""
    if isinstance(end, StepSkipped):
        return end.cause not in ("upstream", "stopped")
    return isinstance(end, StepCompleted)


def kind(end: Event) -> str:
    """Return how a step ended, as far as it is its result and not a wording."""
    return f"{end.type}/{end.cause}" if isinstance(end, StepSkipped) else end.type


# -- the driver -----------------------------------------------------------------------------------


class Job(NamedTuple):
    """Something under way: an attempt, a pause before one, a question to the replanner."""

    what: str
    step: int
    item: int | None
    attempt: int


class Play:
    """A driver without threads: it plays the commands of a machine in an order of its choice.

    With `chance` any order is played and commands are taken when it pleases; without, all commands
    are taken at once and what is under way comes back in an order that depends on nothing but
    what it is.
    """

    def __init__(self, plan: Plan, chance: random.Random | None = None) -> None:
        self.plan, self.chance = plan, chance
        self.graph = plan.graph
        self.machine = Machine(plan.graph, plan.router)
        self.watch = Watch(plan.graph)
        self.events: list[Event] = []
        self.graphs: list[TaskGraph] = []  # one for each PlanSpliced
        self.jobs: list[Job] = []
        self.closing: set[int] = set()
        self.items: dict[tuple[int, int], int] = {}  # the last attempt at each element
        self.done: set[tuple[int, int]] = set()
        self.settled = 0

    # -- from the start, or from where a journal ends

    def run(self) -> Play:
        if not self.events:
            self.write(RunStarted("r", "w", {}, {}, 0.0))
        self.pay()
        for _ in range(5_000):
            if self.machine.finished:
                return self.finish()
            if self.chance is None or self.chance.random() < 0.7 or not self.jobs:
                took = self.take()
                if self.chance is None:
                    while self.take():
                        took = True
                if took and self.chance is not None:
                    continue
            if self.jobs:
                self.come_back()
            else:
                assert self.machine.in_debt or self.machine.finished or self.take(), "a lost step"
        raise AssertionError("the run does not end")

    def replayed(self, events: Sequence[Event], graphs: Sequence[TaskGraph]) -> Play:
        """Bring a fresh driver to where a journal ends."""
        spliced = list(graphs)
        for event in events:
            if isinstance(event, PlanSpliced):
                self.graph = spliced.pop(0)
                self.graphs.append(self.graph)
                self.watch.graph = self.graph
                self.machine.spliced(self.graph, self.graph.index[event.step])
                self.forget(self.graph.index[event.step])
            self.machine.apply(event)
            self.note(event)
        self.machine.recover()
        for name in set(self.watch.active) - self.fans():
            self.watch.resumable[name] = self.watch.active.pop(name)
        return self

    def fans(self) -> set[str]:
        """Return the foreaches that have fanned out since they were last started."""
        found: set[str] = set()
        for event in self.events:
            if isinstance(event, FannedOut):
                found.add(event.step)
            elif isinstance(event, (StepStarted, PlanSpliced)):
                found.discard(event.step)
        return found

    # -- events

    def note(self, event: Event) -> None:
        self.events.append(event)
        self.watch.see(event)
        self.settled += isinstance(event, ENDS)
        if isinstance(event, (ItemCompleted, AttemptFailed)) and event.item is not None:
            at = self.graph.index[event.step], event.item
            assert at not in self.done, "an element ends twice"
            self.items[at] = event.attempt
            if isinstance(event, ItemCompleted) or event.action is not FailureAction.RETRY:
                self.done.add(at)

    def write(self, event: Event) -> None:
        self.machine.apply(event)
        self.note(event)
        self.pay()

    def pay(self) -> None:
        while (owed := self.machine.owed) is not None:
            event: Event
            if owed.kind is RunFinished:
                event = RunFinished(self.machine.status, owed.reason, 0.0, 0.0)
            elif owed.kind is StepCompleted:
                output, writes = self.machine.gathered(owed.step)
                event = StepCompleted(self.name(owed.step), 1, output, writes, 0.0, 0.0)
            elif owed.kind is StepFailed:
                name = self.name(owed.step)
                event = StepFailed(name, owed.error, owed.reason, owed.abort, 0.0, 0.0)
            else:
                name, none = self.name(owed.step), False
                event = StepSkipped(name, 0, owed.reason, owed.cause, none, 0.0, 0.0)
            self.machine.apply(event)
            self.note(event)

    def maybe_stop(self) -> None:
        after = self.plan.stop_after
        if after is None or self.watch.stopped or self.watch.over or self.settled < after:
            return
        if self.plan.stop_by == "cancel":
            self.write(CancelRequested("enough", 0.0))
        else:
            self.write(BudgetExhausted("seconds", "spent", 0.0))

    # -- commands

    def take(self) -> bool:
        self.maybe_stop()
        command = self.machine.take()
        if isinstance(command, Start):
            self.start(command)
        elif isinstance(command, StartItems):
            self.start_items(command)
        elif isinstance(command, Close):
            self.close(command.step)
        elif isinstance(command, Replan):
            assert not self.watch.stopped, "a replan after the stop"
            self.jobs.append(Job("replan", command.step, None, self.machine.replans(command.step)))
        return command is not None

    def start(self, command: Start) -> None:
        step, name = command.step, self.name(command.step)
        self.write(StepStarted(name, command.attempt, 0.0))
        if self.graph.steps[step].config.foreach is None:
            self.jobs.append(Job("step", step, None, command.attempt))
            return
        gate = self.outcome(step, None, command.attempt)
        if gate == "when":
            none = True
            self.write(StepSkipped(name, command.attempt, "no", "when", none, 0.0, 0.0))
        elif gate in ERRORS:
            self.fail(Job("step", step, None, command.attempt), gate)
        elif gate == "skips":
            self.machine.refuse(step, "StateError", "there is no list")
            self.pay()
        else:
            self.closing.discard(step)
            self.write(FannedOut(name, self.plan.items.get(name, 2), 0.0))

    def start_items(self, command: StartItems) -> None:
        step = command.step
        assert not self.watch.stopped, "an element starts after the stop"
        assert step not in self.closing, "an element starts after the close"
        running = {job.item for job in self.jobs if job.step == step and job.what == "item"}
        for item in command.items:
            assert item not in running, "an element runs twice at a time"
            assert (step, item) not in self.done, "an element runs after its end"
            assert command.attempt == self.items.get((step, item), 0) + 1
            self.jobs.append(Job("item", step, item, command.attempt))
            running.add(item)
        assert self.graph.steps[step].config.parallel or len(running) == 1

    def close(self, step: int) -> None:
        self.closing.add(step)
        drop = self.chance is None or self.chance.random() < 0.5
        kept = "none" if drop else "item"
        self.jobs = [j for j in self.jobs if j.step != step or j.what in {kept, "step", "replan"}]
        self.drain(step)

    def drain(self, step: int) -> None:
        if not any(job.step == step and job.what == "item" for job in self.jobs):
            self.machine.drained(step)
            self.pay()

    # -- what comes back

    def come_back(self) -> None:
        if self.chance is not None:
            job = self.jobs.pop(self.chance.randrange(len(self.jobs)))
        else:
            job = min(
                self.jobs, key=lambda j: dice(self.plan.seed, self.name(j.step), *j[2:]).random()
            )
            self.jobs.remove(job)
        if job.what == "due":
            self.machine.due(job.step, job.item)
        elif job.what == "replan":
            self.replan(job)
        else:
            self.end(job, self.outcome(job.step, job.item, job.attempt))
            if job.item is not None and job.step in self.closing:
                self.drain(job.step)

    def end(self, job: Job, outcome: str) -> None:
        name, attempt = self.name(job.step), job.attempt
        if outcome in ERRORS:
            self.fail(job, outcome)
        elif job.item is not None:
            skipped = outcome == "skips"
            self.write(ItemCompleted(name, job.item, attempt, b"1", None, skipped, 0.0, 0.0))
        elif outcome in ("skips", "when"):
            cause: Any = "when" if outcome == "when" else "returned"
            none = True
            self.write(StepSkipped(name, attempt, outcome, cause, none, 0.0, 0.0))
        else:
            self.write(StepCompleted(name, attempt, b"1", None, 0.0, 0.0))

    def fail(self, job: Job, outcome: str) -> None:
        event = self.machine.decide(
            job.step, attempt=job.attempt, item=job.item, failure=ERRORS[outcome], at=0.0, ms=0.0
        )
        if self.watch.stopped:
            assert event.action is FailureAction.ABORT
        self.write(event)
        if event.action is FailureAction.RETRY and event.delay:
            self.jobs.append(Job("due", job.step, job.item, job.attempt))

    def replan(self, job: Job) -> None:
        if self.watch.stopped:
            return
        name, chance = self.name(job.step), dice(self.plan.seed, self.name(job.step), "replan")
        if chance.random() < 0.3:
            self.machine.refuse(job.step, "PlanError", "no plan")
            self.pay()
            return
        old = self.graph.steps[job.step]
        others = [s.name for s in self.graph.get_dependencies(name)]
        if chance.random() < 0.5:  # below something that has nothing to do with it
            below = self.graph.get_cascade_skip_steps({name}, ())
            safe = [s for s in self.graph.steps if s.name in self.watch.ended and s not in below]
            others += [s.name for s in safe[:1]]
        helper = Step(f"{name}-helper", nothing, parallel=chance.random() < 0.5)
        new = Step(
            name,
            nothing,
            depends_on=[*others, helper.name],
            parallel=old.config.parallel,
            foreach="xs" if chance.random() < 0.3 else None,
            failure_policy=old.failure_policy,
        )
        self.graph = self.watch.graph = self.graph.splice(name, [new, helper])
        self.graphs.append(self.graph)
        self.machine.spliced(self.graph, job.step)
        self.forget(job.step)
        self.write(PlanSpliced(name, {}, 0.0))

    def forget(self, step: int) -> None:
        """Forget the elements of a foreach that was replaced."""
        self.closing.discard(step)
        self.items = {at: attempt for at, attempt in self.items.items() if at[0] != step}
        self.done = {at for at in self.done if at[0] != step}

    def outcome(self, step: int, item: int | None, attempt: int) -> str:
        chance = dice(self.plan.seed, self.name(step), item, attempt)
        if self.graph.steps[step].config.foreach is not None and item is None:
            return chance.choice([*["fine"] * 12, "when", "fails", "breaks", "skips"])
        return chance.choice([*["fine"] * 5, "skips", "when" if item is None else "fine", *ERRORS])

    def name(self, step: int) -> str:
        return self.graph.steps[step].name

    # -- the end

    def finish(self) -> Play:
        machine, watch = self.machine, self.watch
        assert watch.over
        assert machine.take() is None
        assert machine.owed is None
        assert not watch.active
        assert set(watch.ended) == {step.name for step in self.graph.steps}
        for name, end in watch.ended.items():
            dead = [
                s.name for s in self.graph.get_dependencies(name) if not alive(watch.ended[s.name])
            ]
            assert not dead or not alive(end), f"{name} has a result below {dead}"
        last = self.events[-1]
        assert isinstance(last, RunFinished)
        failed = any(isinstance(e, (StepFailed, BudgetExhausted)) for e in self.events)
        stopped = [e for e in self.events if isinstance(e, StepSkipped) and e.cause == "stopped"]
        cancelled = any(isinstance(e, CancelRequested) for e in self.events)
        expected = WorkflowStatus.COMPLETE
        if failed:
            expected = WorkflowStatus.FAILED
        elif cancelled and stopped:
            expected = WorkflowStatus.PARTIAL
        assert last.status is machine.status is expected
        return self

    def ends(self) -> dict[str, str]:
        return {name: kind(end) for name, end in self.watch.ended.items()}


def order_matters(events: Sequence[Event]) -> bool:
    """Tell whether a run was aborted, or replanned: who comes first then changes what follows."""
    return any(isinstance(e, PlanSpliced) or getattr(e, "abort", False) for e in events)


# -- any order keeps the rules --------------------------------------------------------------------


@settings(max_examples=200)
@given(plan=plans(), chance=st.randoms(use_true_random=False))
def test_in_whatever_order_things_come_the_rules_hold(plan: Plan, chance: random.Random) -> None:
    Play(plan, chance).run()


@settings(max_examples=60)
@given(plan=plans(aborts=False, stops=False), seeds=st.lists(st.integers(), min_size=2, max_size=4))
def test_where_nothing_stops_a_run_the_order_does_not_matter(plan: Plan, seeds: list[int]) -> None:
    if order_matters(Play(plan).run().events):
        return
    first, *others = [Play(plan, dice(seed)).run().ends() for seed in seeds]
    assert all(other == first for other in others)


# -- replay ---------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(plan=plans(), chance=st.randoms(use_true_random=False), data=st.data())
def test_from_any_prefix_of_its_events_a_run_goes_on_by_the_rules(
    plan: Plan, chance: random.Random, data: st.DataObject
) -> None:
    played = Play(plan, chance).run()
    for cut in sorted(data.draw(st.sets(st.integers(0, len(played.events)), max_size=6))):
        resumed = Play(plan, dice(cut)).replayed(played.events[:cut], played.graphs).run()
        for name, end in ends_in(played.events[:cut]).items():
            assert resumed.watch.ended[name] is end


@settings(max_examples=60)
@given(plan=plans(pauses=False))
def test_from_any_prefix_of_its_events_a_run_comes_to_the_same_end(plan: Plan) -> None:
    played = Play(plan).run()
    for cut in range(len(played.events) + 1):
        resumed = Play(plan).replayed(played.events[:cut], played.graphs).run()
        assert resumed.ends() == played.ends()
        assert resumed.machine.status is played.machine.status


@settings(max_examples=60)
@given(plan=plans(aborts=False, stops=False), chance=st.randoms(use_true_random=False))
def test_pauses_and_order_do_not_change_what_a_replay_comes_to(
    plan: Plan, chance: random.Random
) -> None:
    played = Play(plan, chance).run()
    if order_matters(played.events):
        return
    for cut in range(0, len(played.events) + 1, 3):
        resumed = Play(plan, dice(cut)).replayed(played.events[:cut], played.graphs).run()
        assert resumed.ends() == played.ends()


def ends_in(events: Sequence[Event]) -> dict[str, Event]:
    return {e.step: e for e in events if isinstance(e, ENDS)}


def test_a_machine_that_applied_everything_has_nothing_to_do() -> None:
    plan = Plan(
        TaskGraph("g", [Step("a", nothing), Step("b", nothing)]), {}, None, 1, None, "cancel"
    )
    events = Play(plan).run().events
    again = Play(plan).replayed(events, [])
    assert again.machine.finished
    assert again.machine.take() is None
    assert again.machine.owed is None


def test_recovering_before_anything_began_changes_nothing() -> None:
    machine = Machine(TaskGraph("g", [Step("a", nothing)]))
    machine.recover()
    assert machine.take() is None
    machine.apply(RunStarted("r", "w", {}, {}, 0.0))
    assert machine.take() == Start(0, 1)
    assert machine.take() is None


def begun(*steps: Step, router: FailureRouter | None = None) -> Machine:
    machine = Machine(TaskGraph("g", list(steps)), router)
    machine.apply(RunStarted("r", "w", {}, {}, 0.0))
    return machine


def failed(
    step: str, attempt: int, item: int | None = None, action: str = "retry", delay: float = 0.0
) -> AttemptFailed:
    return AttemptFailed(
        step,
        attempt,
        item,
        FailureType.EXECUTION,
        "ValueError",
        "no",
        (),
        FailureAction(action),
        "",
        delay,
        None,
        0.0,
        0.0,
        {"n": 1},
    )


def taken(machine: Machine) -> list[Any]:
    return list(iter(machine.take, None))


def test_an_attempt_under_way_is_offered_again_as_the_same_attempt() -> None:
    machine = begun(Step("a", nothing))
    for event in (StepStarted("a", 1, 0.0), failed("a", 1), StepStarted("a", 2, 0.0)):
        machine.apply(event)
    machine.recover()
    assert taken(machine) == [Start(0, 2, {"n": 1})]


@pytest.mark.parametrize("delay", [0.0, 3600.0])
def test_a_retry_that_is_due_or_pauses_is_offered_once(delay: float) -> None:
    machine = begun(Step("a", nothing))
    machine.apply(StepStarted("a", 1, 0.0))
    machine.apply(failed("a", 1, delay=delay))
    machine.recover()
    assert taken(machine) == [Start(0, 2, {"n": 1})]
    machine.due(0, None)
    assert taken(machine) == []


def test_the_elements_that_have_not_ended_are_offered_again() -> None:
    machine = begun(Step("a", nothing, foreach="xs", parallel=True))
    for event in (
        StepStarted("a", 1, 0.0),
        FannedOut("a", 5, 0.0),
        ItemCompleted("a", 1, 1, b"1", None, False, 0.0, 0.0),
        failed("a", 3, item=3, delay=60.0),
        failed("a", 1, item=4, action="skip"),
    ):
        machine.apply(event)
    machine.recover()
    assert taken(machine) == [StartItems(0, (3,), 4, {"n": 1}), StartItems(0, [0, 2], 1)]


def test_a_serial_foreach_goes_on_where_it_was() -> None:
    machine = begun(Step("a", nothing, foreach="xs"))
    for event in (
        StepStarted("a", 1, 0.0),
        FannedOut("a", 4, 0.0),
        ItemCompleted("a", 0, 1, b"1", None, False, 0.0, 0.0),
        failed("a", 1, item=1, delay=60.0),
    ):
        machine.apply(event)
    machine.recover()
    assert taken(machine) == [StartItems(0, (1,), 2, {"n": 1})]
    machine.apply(ItemCompleted("a", 1, 2, b"1", None, False, 0.0, 0.0))
    assert taken(machine) == [StartItems(0, (2,), 1)]


def test_what_ran_goes_on_to_its_end_although_the_run_is_stopping() -> None:
    machine = begun(Step("a", nothing, parallel=True), Step("b", nothing, parallel=True))
    for event in (
        StepStarted("a", 1, 0.0),
        StepStarted("b", 1, 0.0),
        StepFailed("a", "E", "no", True, 0.0, 0.0),
    ):
        machine.apply(event)
    machine.recover()
    assert taken(machine) == [Start(1, 1)]


# -- what went wrong once -------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [CancelRequested("enough", 0.0), BudgetExhausted("usd", "x", 0.0)])
def test_a_foreach_whose_last_element_failed_is_closed_even_when_the_run_stops_first(
    stop: Event,
) -> None:
    machine = begun(Step("a", nothing, foreach="xs", parallel=True))
    for event in (
        StepStarted("a", 1, 0.0),
        FannedOut("a", 1, 0.0),
        failed("a", 1, item=0, action="abort"),
        stop,
    ):
        machine.apply(event)
    assert taken(machine) == [Close(0)]
    machine.drained(0)
    assert machine.owed is not None


def test_a_foreach_that_is_to_be_replanned_is_not_when_the_run_stops_first() -> None:
    machine = begun(Step("a", nothing, foreach="xs", parallel=True))
    for event in (
        StepStarted("a", 1, 0.0),
        FannedOut("a", 2, 0.0),
        failed("a", 1, item=0, action="replan"),
        CancelRequested("enough", 0.0),
    ):
        machine.apply(event)
    machine.drained(0)
    owed = machine.owed
    assert owed is not None
    assert (owed.kind, owed.cause) == (StepSkipped, "stopped")


def test_the_pause_of_an_element_whose_step_was_replaced_means_nothing() -> None:
    first = Step("a", nothing, foreach="xs", parallel=True)
    graph = TaskGraph("g", [first])
    machine = Machine(graph)
    for event in (
        RunStarted("r", "w", {}, {}, 0.0),
        StepStarted("a", 1, 0.0),
        FannedOut("a", 2, 0.0),
        failed("a", 1, item=0, delay=60.0),
        failed("a", 1, item=1, action="replan"),
    ):
        machine.apply(event)
    machine.drained(0)
    machine.spliced(graph.splice("a", [Step("a", nothing, foreach="xs", parallel=True)]), 0)
    machine.due(0, 0)
    machine.apply(StepStarted("a", 2, 0.0))
    machine.apply(FannedOut("a", 2, 0.0))
    taken(machine)
    machine.due(0, 0)
    assert taken(machine) == []


def test_the_retries_of_elements_are_counted_anew_after_a_replan() -> None:
    graph = TaskGraph("g", [Step("a", nothing, foreach="xs", retries=1)])
    machine = Machine(graph)
    for event in (
        RunStarted("r", "w", {}, {}, 0.0),
        StepStarted("a", 1, 0.0),
        FannedOut("a", 1, 0.0),
        failed("a", 1, item=0, action="replan"),
    ):
        machine.apply(event)
    machine.drained(0)
    machine.spliced(graph.splice("a", [Step("a", nothing, foreach="xs", retries=1)]), 0)
    machine.apply(StepStarted("a", 2, 0.0))
    machine.apply(FannedOut("a", 1, 0.0))

    def decide(attempt: int) -> FailureAction:
        event = machine.decide(0, attempt=attempt, item=0, failure=ERRORS["fails"], at=0.0, ms=0.0)
        machine.apply(event)
        return event.action

    assert [decide(1), decide(2)] == [FailureAction.RETRY, FailureAction.ABORT]


def test_new_steps_below_one_that_failed_do_not_run() -> None:
    graph = TaskGraph("g", [Step("lost", nothing), Step("work", nothing)])
    machine = Machine(graph)
    machine.apply(RunStarted("r", "w", {}, {}, 0.0))
    assert machine.take() == Start(0, 1)
    machine.apply(StepStarted("lost", 1, 0.0))
    machine.apply(StepFailed("lost", "E", "no", False, 0.0, 0.0))
    assert machine.take() == Start(1, 1)
    machine.apply(StepStarted("work", 1, 0.0))
    machine.apply(failed("work", 1, action="replan"))
    assert machine.take() == Replan(1)
    new = [Step("work", nothing, depends_on=["more"]), Step("more", nothing, depends_on=["lost"])]
    machine.spliced(graph.splice("work", new), 1)
    assert machine.take() is None
    owed = machine.owed
    assert owed is not None
    assert (owed.kind, machine.name(owed.step), owed.cause) == (StepSkipped, "more", "upstream")


def test_the_last_failure_is_the_last_in_time() -> None:
    machine = begun(Step("a", nothing, foreach="xs", parallel=True))
    machine.apply(StepStarted("a", 1, 0.0))
    machine.apply(FannedOut("a", 2, 0.0))
    for attempt, item in ((1, 0), (1, 1), (2, 0)):
        machine.apply(failed("a", attempt, item=item))
    last = machine.last_failure(0)
    assert last is not None
    assert (last.item, last.attempt) == (0, 2)


# -- cost -----------------------------------------------------------------------------------------


@cache
def chain(count: int) -> TaskGraph:
    return TaskGraph(
        "chain",
        [Step(f"s{i}", nothing, depends_on=[f"s{i - 1}"] if i else []) for i in range(count)],
    )


@cache
def star(count: int) -> TaskGraph:
    rays = [Step(f"s{i}", nothing, depends_on=["hub"], parallel=True) for i in range(count)]
    end = Step("end", nothing, depends_on=[ray.name for ray in rays])
    return TaskGraph("star", [Step("hub", nothing), *rays, end])


def calls(graph: TaskGraph, outcome: Callable[[Job], str], *, foreach: int = 0) -> int:
    """Count every call, of Python and of C, that a run of a plan makes."""
    plan = Plan(graph, {graph.steps[0].name: foreach}, FailureRouter(), 0, None, "")
    machine, count = Machine(graph, plan.router), 0

    def counted(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        if event in {"call", "c_call"}:
            count += 1

    machine.apply(RunStarted("r", "w", {}, {}, 0.0))
    import_module("tenacity")  # else the first failure imports it, which is no cost of the plan
    gc.disable()  # hypothesis listens to the collector: its calls would be counted too
    sys.setprofile(counted)
    try:
        drive_plainly(machine, plan, outcome)
    finally:
        sys.setprofile(None)
        gc.enable()
    assert machine.finished
    return count


def drive_plainly(machine: Machine, plan: Plan, outcome: Callable[[Job], str]) -> None:
    steps = plan.graph.steps
    while not machine.finished:
        command = machine.take()
        if isinstance(command, Start):
            step, name = command.step, steps[command.step].name
            machine.apply(StepStarted(name, command.attempt, 0.0))
            if steps[step].config.foreach is not None:
                machine.apply(FannedOut(name, plan.items[name], 0.0))
            else:
                finish_plainly(machine, name, Job("step", step, None, command.attempt), outcome)
        elif isinstance(command, StartItems):
            for item in command.items:
                job = Job("item", command.step, item, command.attempt)
                finish_plainly(machine, steps[command.step].name, job, outcome)
        while (owed := machine.owed) is not None:
            name = steps[owed.step].name
            if owed.kind is RunFinished:
                machine.apply(RunFinished(machine.status, "", 0.0, 0.0))
            elif owed.kind is StepCompleted:
                machine.gathered(owed.step)
                machine.apply(StepCompleted(name, 1, b"[]", None, 0.0, 0.0))
            elif owed.kind is StepFailed:
                machine.apply(StepFailed(name, "E", "no", owed.abort, 0.0, 0.0))
            else:
                machine.apply(StepSkipped(name, 0, "no", owed.cause, False, 0.0, 0.0))


def finish_plainly(machine: Machine, name: str, job: Job, outcome: Callable[[Job], str]) -> None:
    if outcome(job) == "fine" and job.item is None:
        machine.apply(StepCompleted(name, job.attempt, b"1", None, 0.0, 0.0))
    elif outcome(job) == "fine":
        machine.apply(ItemCompleted(name, job.item or 0, job.attempt, b"1", None, False, 0.0, 0.0))
    else:
        machine.apply(
            machine.decide(
                job.step,
                attempt=job.attempt,
                item=job.item,
                failure=ERRORS["fails"],
                at=0.0,
                ms=0.0,
            )
        )


def fine(_job: Job) -> str:
    return "fine"


def first_fails(job: Job) -> str:
    return "fails" if job.step == 0 else "fine"


def twice(job: Job) -> str:
    return "fails" if job.attempt < 3 else "fine"


@pytest.mark.parametrize("outcome", [fine, first_fails])
@pytest.mark.parametrize("shape", [chain, star])
def test_a_plan_costs_what_its_steps_cost(
    shape: Callable[[int], TaskGraph], outcome: Callable[[Job], str]
) -> None:
    assert calls(shape(20_000), outcome) < 20.2 * calls(shape(1_000), outcome)


@pytest.mark.parametrize("shape", [chain, star])
def test_retries_cost_what_their_number_is(shape: Callable[[int], TaskGraph]) -> None:
    assert calls(shape(2_000), twice) < 10.1 * calls(shape(200), twice)


@pytest.mark.parametrize("outcome", [fine, twice, lambda job: "fails"])
@pytest.mark.parametrize("parallel", [False, True])
def test_a_foreach_costs_what_its_elements_cost(
    parallel: bool, outcome: Callable[[Job], str]
) -> None:
    def cost(count: int) -> int:
        only = Step(
            "only",
            nothing,
            foreach="xs",
            parallel=parallel,
            foreach_policy=ForeachPolicy.ALLOW_PARTIAL,
        )
        return calls(TaskGraph("g", [only]), outcome, foreach=count)

    assert cost(3_000) < 10.1 * cost(300)
