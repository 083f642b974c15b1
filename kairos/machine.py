"""The run's logic: events in, commands out.

The machine knows no clock, no thread and no I/O.  It is told what happened (`apply`), says what
should be started (`take`), what follows from what happened (`owed`), and what to do about a
failure (`decide`).  Applying a journal to a fresh machine brings it to where the run was.

Steps are indices into the plan's arrays, so that a step costs the same in a run of ten as in one
of a hundred thousand.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from functools import partial
from typing import TYPE_CHECKING, Any

from kairos.commands import Close, Command, Owed, Replan, Start, StartItems
from kairos.enums import FailureAction, WorkflowStatus
from kairos.events import (
    AttemptFailed,
    BudgetExhausted,
    CancelRequested,
    Event,
    FannedOut,
    ItemCompleted,
    RunFinished,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepSkipped,
    StepStarted,
)
from kairos.fan import Fan
from kairos.judge import Judge

if TYPE_CHECKING:
    from kairos.attempt import Failure
    from kairos.failure import FailureRouter
    from kairos.plan import TaskGraph

__all__ = ["Machine"]

_PENDING, _RUNNING, _WAITING, _SETTLED = range(4)
_AGAIN = (FailureAction.RETRY, FailureAction.REPLAN)


class Machine:
    """The state of a run, folded from its events.

    Without a router the steps' own `retries` rule, and a failed step fails alone.
    """

    def __init__(self, graph: TaskGraph, router: FailureRouter | None = None) -> None:
        self._judge = Judge(router)
        self._fans: dict[int, Fan] = {}
        self._retry: dict[int, tuple[int, dict[str, Any] | None]] = {}
        self._began: dict[int, float] = {}
        self._urgent: deque[Command] = deque()
        self._ready: deque[int] = deque()  # steps that may run beside others
        self._queue: list[int] = []  # ranks of the others, which take turns
        self._turn: int | None = None  # whose turn it is
        # ordered: to find the first entry of a dict takes as long as many were taken out before it
        self._owed: OrderedDict[tuple[type, int], Owed] = OrderedDict()
        self._lost: set[int] = set()  # steps whose dependents cannot run
        self._begun = False
        self._stop = ""
        self._cancelled = False
        self._failed = False
        self._stopped_any = False
        self.finished = False
        self.in_debt = False  # whether an event may be owed; an attribute, since all steps ask
        self._load(graph)
        self._state = bytearray(len(graph.steps))
        self._attempts = [0] * len(graph.steps)
        self._waiting = [len(each) for each in graph.dependencies]
        self._left = len(graph.steps)

    def _load(self, graph: TaskGraph) -> None:
        self._graph = graph
        self._steps = graph.steps
        self._index = graph.index
        self._dependents = graph.dependents
        self._rank = [0] * len(graph.steps)
        for rank, step in enumerate(graph.order):
            self._rank[step] = rank
        self._by_rank = graph.order
        self._parallel = [step.config.parallel for step in graph.steps]

    # -- what to do ------------------------------------------------------------------------

    def take(self, *, room: bool = True) -> Command | None:
        """Return the next command, or None while there is nothing to start.

        Without `room` for another step beside those that run, none is offered: a step that is said
        to have started has not merely joined a queue.
        """
        if self._urgent:
            return self._urgent.popleft()
        if not room:
            return None
        if self._ready:
            step = self._ready.popleft()
        elif self._queue and self._turn is None:
            step = self._by_rank[heapq.heappop(self._queue)]
            self._turn = step
        else:
            return None
        attempt = self._attempts[step] + 1
        if step in self._retry:
            return Start(step, attempt, self._retry.pop(step)[1])
        return Start(step, attempt)

    @property
    def crowded(self) -> bool:
        """Whether something else could start beside what was just taken."""
        return bool(self._ready or self._urgent)

    @property
    def wants_room(self) -> bool:
        """Whether a step could start at once if there were room for it."""
        return bool(self._ready) or (bool(self._queue) and self._turn is None)

    @property
    def owed(self) -> Owed | None:
        """The next event that follows from the past; gone once it is applied."""
        for each in self._owed.values():
            return each
        if self._left == 0 and not self.finished:
            return Owed(RunFinished, -1, self._stop)
        self.in_debt = False
        return None

    @property
    def stopping(self) -> str:
        """Why nothing new starts; empty while the run goes on."""
        return self._stop

    @property
    def status(self) -> WorkflowStatus:
        """How the run stands, or ended."""
        if self._failed:
            return WorkflowStatus.FAILED
        if self._cancelled and self._stopped_any:
            return WorkflowStatus.PARTIAL
        return WorkflowStatus.COMPLETE

    def gathered(self, step: int) -> tuple[bytes, dict[str, bytes] | None]:
        """Return a foreach's list of outputs, and what its elements wrote, in their order."""
        return self._fans[step].gathered()

    def goes_on(self, step: int) -> bool:
        """Whether further elements of a foreach may start."""
        return not self._stop and self._fans[step].verdict is None

    def last_failure(self, step: int) -> AttemptFailed | None:
        """Return the last failure of a step or of any of its elements."""
        return self._judge.last_of_all(step)

    def replans(self, step: int) -> int:
        """Return how often a step was replanned."""
        return self._judge.replans(step)

    def name(self, step: int) -> str:
        """Return a step's name."""
        return self._steps[step].name

    def settled(self, step: int) -> bool:
        """Whether a step has come to its end."""
        return self._state[step] == _SETTLED

    def attempts(self, step: int) -> int:
        """Return how many attempts at a step have begun."""
        return self._attempts[step]

    def began(self, step: int) -> float:
        """Return when the first attempt at a step began, in seconds since the epoch."""
        return self._began.get(step, 0.0)

    # -- what happened ---------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take note of one event."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _run_started(self, event: RunStarted) -> None:
        del event
        self._begun = True
        for step, waiting in enumerate(self._waiting):
            if waiting == 0:
                self._enqueue(step)
        self.in_debt = self.in_debt or self._left == 0  # no steps: its end follows at once

    def _started(self, event: StepStarted) -> None:
        step = self._index[event.step]
        if self._state[step] == _SETTLED:
            return
        self._state[step] = _RUNNING
        self._attempts[step] = event.attempt
        if event.attempt == 1:
            self._began.setdefault(step, event.at)

    def _fanned_out(self, event: FannedOut) -> None:
        step = self._index[event.step]
        self._fans[step] = fan = Fan(step, event.items, self._steps[step].config)
        if event.items == 0:
            self._owe(Owed(StepCompleted, step))
        else:
            self._urgent.append(Close(step) if self._stop else fan.begin())

    def _completed(self, event: StepCompleted) -> None:
        self._settle(self._index[event.step], alive=True, kind=StepCompleted)

    def _item_completed(self, event: ItemCompleted) -> None:
        step = self._index[event.step]
        fan = self._fans[step]
        fan.complete(event)
        self._item_settled(step, fan)

    def _item_settled(self, step: int, fan: Fan) -> None:
        fan.left -= 1
        if fan.verdict is not None:
            return  # it is being closed
        if fan.left == 0:
            futile = fan.futile()
            self._owe(self._all_failed(step, futile) if futile else Owed(StepCompleted, step))
        elif not self._stop and (following := fan.following()) is not None:
            self._urgent.append(following)

    def _all_failed(self, step: int, reason: str) -> Owed:
        last = self.last_failure(step)
        abort = last is not None and self._judge.aborts(last.action)
        error = "" if last is None else last.error
        return Owed(StepFailed, step, reason, abort=abort, error=error)

    def _attempt_failed(self, event: AttemptFailed) -> None:
        step = self._index[event.step]
        self._judge.note(step, event)
        if event.item is not None:
            self._item_failed(step, event)
            return
        self._release(step)
        action = event.action
        if self._stop and action in _AGAIN:
            self._owe(Owed(StepSkipped, step, self._stop, cause="stopped"))
        elif action is FailureAction.RETRY:
            self._state[step] = _WAITING
            self._retry[step] = (event.attempt + 1, event.retry_context)
            if event.delay == 0:
                self.due(step, None)
        elif action is FailureAction.REPLAN:
            self._state[step] = _WAITING
            self._retry.pop(step, None)  # a replayed one, which nobody took
            self._urgent.append(Replan(step))
        elif action is FailureAction.SKIP:
            reason = f"{event.error}: {event.message} ({event.reason})"
            self._owe(Owed(StepSkipped, step, reason, cause="policy"))
        else:
            self._owe(self._failure(step, event))

    def _failure(self, step: int, event: AttemptFailed) -> Owed:
        if self._cancelled:  # it was told to stop: that is no failure of the step
            reason = f"{self._stop}; its last attempt ended in {event.error}"
            return Owed(StepSkipped, step, reason, cause="stopped")
        return Owed(
            StepFailed,
            step,
            event.message,
            abort=self._judge.aborts(event.action),
            error=event.error,
        )

    def _item_failed(self, step: int, event: AttemptFailed) -> None:
        fan = self._fans[step]
        if event.action is FailureAction.RETRY:
            fan.pausing.add(event.item or 0)
            if event.delay == 0:
                self.due(step, event.item)
            return
        if fan.bears(event, stopping=bool(self._stop)):
            self._item_settled(step, fan)
            return
        fan.left -= 1
        if fan.verdict is None:
            fan.verdict = event
            if event.action is FailureAction.REPLAN:
                self._judge.count_replan(step)
            self._urgent.append(Close(step))

    def due(self, step: int, item: int | None) -> None:
        """Take note that the pause before a retry is over.

        For what waits no longer, since its step was replaced meanwhile, this means nothing.
        """
        if self._stop:
            return
        if item is None:
            if self._state[step] == _WAITING and step in self._retry:
                self._enqueue(step)
            return
        fan = self._fans.get(step)
        if fan is not None and fan.verdict is None and item in fan.pausing:
            fan.pausing.remove(item)
            failed = self._judge.last(step, item)
            if failed is not None:
                again = StartItems(step, (item,), failed.attempt + 1, failed.retry_context)
                self._urgent.append(again)

    def drained(self, step: int) -> None:
        """Take note that no element of a closed foreach is running any more."""
        if self._state[step] == _SETTLED:
            return
        verdict = self._fans[step].verdict
        if verdict is None or (self._stop and verdict.action is FailureAction.REPLAN):
            fan = self._fans[step]
            reason = f"{self._stop}; {fan.succeeded} of {fan.total} elements were done"
            self._owe(Owed(StepSkipped, step, reason, cause="stopped"))
        elif verdict.action is FailureAction.REPLAN:
            self._release(step)
            self._state[step] = _WAITING
            self._urgent.append(Replan(step))
        else:
            self._owe(self._failure(step, verdict))

    def _step_failed(self, event: StepFailed) -> None:
        step = self._index[event.step]
        self._failed = True
        self._settle(step, alive=False, kind=StepFailed)
        if event.abort:
            self._stop_all(f"step '{event.step}' failed and its policy aborts the run")

    def _step_skipped(self, event: StepSkipped) -> None:
        step = self._index[event.step]
        if event.cause == "stopped":
            self._stopped_any = True
        self._settle(step, alive=event.cause not in ("upstream", "stopped"), kind=StepSkipped)

    def _budget_exhausted(self, event: BudgetExhausted) -> None:
        self._failed = True
        self._stop_all(event.message)

    def _cancel_requested(self, event: CancelRequested) -> None:
        self._cancelled = True
        self._stop_all(event.reason)

    def _run_finished(self, event: RunFinished) -> None:
        del event
        self.finished = True
        self._urgent.clear()  # nothing is left that could be closed

    # -- bookkeeping -----------------------------------------------------------------------

    def _enqueue(self, step: int) -> None:
        self._state[step] = _PENDING
        if self._parallel[step]:
            self._ready.append(step)
        else:
            heapq.heappush(self._queue, self._rank[step])

    def _release(self, step: int) -> None:
        if self._turn == step:
            self._turn = None

    def _owe(self, owed: Owed) -> None:
        self._owed[owed.kind, owed.step] = owed
        self.in_debt = True

    def _settle(self, step: int, *, alive: bool, kind: type) -> None:
        if self._owed:
            self._owed.pop((kind, step), None)
        if self._state[step] == _SETTLED:
            return
        if self._turn == step:
            self._turn = None
        self._state[step] = _SETTLED
        self._left -= 1
        if self._left == 0:
            self.in_debt = True
        waiting = self._waiting
        if alive:
            for dependent in self._dependents[step]:
                waiting[dependent] -= 1
                if (
                    waiting[dependent] == 0
                    and not self._stop
                    and self._state[dependent] == _PENDING
                ):
                    self._enqueue(dependent)
        else:
            self._lost.add(step)
            name = self._steps[step].name
            for dependent in self._dependents[step]:
                if self._state[dependent] != _SETTLED:
                    self._owe_upstream(dependent, name)

    def _owe_upstream(self, step: int, above: str) -> None:
        if (StepSkipped, step) not in self._owed:
            self._owe(Owed(StepSkipped, step, f"'{above}' before it did not complete"))

    def _stop_all(self, reason: str) -> None:
        """Let nothing new start: what waits is skipped, what runs goes on to its end."""
        if self._stop:
            return
        self._stop = reason
        self._ready.clear()
        self._queue.clear()
        # what is to start at once is what a recovered run was at
        self._urgent = deque(each for each in self._urgent if isinstance(each, Start))
        for step, state in enumerate(self._state):
            if state in (_PENDING, _WAITING) and (StepSkipped, step) not in self._owed:
                if (StepFailed, step) not in self._owed:
                    self._owe(Owed(StepSkipped, step, reason, cause="stopped"))
            elif state == _RUNNING and (fan := self._fans.get(step)) is not None and fan.open:
                self._urgent.append(Close(step))

    def forget_completion(self, step: int) -> None:
        """Drop the completion that is owed: the output could not be stored."""
        self._owed.pop((StepCompleted, step), None)

    # -- failures and replans --------------------------------------------------------------

    def decide(
        self, step: int, *, attempt: int, item: int | None, failure: Failure, at: float, ms: float
    ) -> AttemptFailed:
        """Say what to do about a failed attempt, as the event that records it."""
        return self._judge.decide(
            self._steps[step],
            step,
            attempt=attempt,
            item=item,
            failure=failure,
            at=at,
            ms=ms,
            stopping=self._stop,
        )

    def spliced(self, graph: TaskGraph, step: int) -> None:
        """Take over a plan in which `step` was replaced; new steps follow the known ones."""
        known = len(self._steps)
        queued = [self._by_rank[rank] for rank in self._queue]
        self._load(graph)
        new = len(graph.steps) - known
        self._state.extend(bytes(new))
        self._attempts += [0] * new
        self._left += new
        self._judge.start_over(step, self._attempts[step])
        self._fans.pop(step, None)
        self._retry.pop(step, None)
        self._release(step)
        self._queue = [self._rank[each] for each in queued]
        heapq.heapify(self._queue)
        self._waiting += [0] * new
        for each in (step, *range(known, len(graph.steps))):
            self._state[each] = _PENDING
            self._waiting[each] = sum(self._state[d] != _SETTLED for d in graph.dependencies[each])
            lost = next((d for d in graph.dependencies[each] if d in self._lost), None)
            if lost is not None:
                self._owe_upstream(each, self._steps[lost].name)
            elif self._waiting[each] == 0:
                self._enqueue(each)

    def recover(self) -> None:
        """Offer again what was under way when the events that were applied came to their end.

        Call it once, after a journal was applied to a fresh machine.  An attempt of which the
        journal tells the beginning and not the end is offered first, as the same attempt, also
        while the run is stopping: what ran goes on to its end.  Of a foreach, the elements that
        have not come to theirs are offered, unless it is being closed; no pause before a retry
        is waited for a second time.
        """
        # nobody took from the queue while the events were applied: its order is still that in
        # which steps came to wait, some of them several times, and the last time counts
        queued = reversed(dict.fromkeys(reversed(self._ready)))
        self._urgent.clear()
        self._ready.clear()
        self._queue.clear()
        self._turn = None
        if not self._begun or self.finished:
            return
        owing = {step for _, step in self._owed}
        for step in dict.fromkeys((*queued, *self._by_rank)):
            state = self._state[step]
            if step in owing or state == _SETTLED:
                continue
            if state == _RUNNING:
                self._resume(step)
            elif state == _WAITING and step not in self._retry:
                self._urgent.append(Replan(step))
            elif not self._waiting[step]:
                self._enqueue(step)

    def _resume(self, step: int) -> None:
        """Go on with a step that was running."""
        fan = self._fans.get(step)
        if fan is not None and (self._stop or fan.verdict is not None):
            self._urgent.append(Close(step))
            return
        if not self._parallel[step]:
            self._turn = step
        if fan is None:
            again = self._retry.pop(step, None)
            attempt = self._attempts[step]
            context = again[1] if again is not None and again[0] == attempt else None
            self._urgent.append(Start(step, attempt, context))
        else:
            self._urgent.extend(fan.recovered(partial(self._judge.last, step)))

    def refuse(self, step: int, error: str, message: str) -> None:
        """Fail a step for a reason that no further attempt can change."""
        fallback = self._judge.policy(self._steps[step], step).fallback_action
        abort = self._judge.aborts(fallback)
        self._owe(Owed(StepFailed, step, message, abort=abort, error=error))


_HANDLERS: dict[type, Any] = {
    RunStarted: Machine._run_started,  # noqa: SLF001 - its own table
    StepStarted: Machine._started,  # noqa: SLF001
    StepCompleted: Machine._completed,  # noqa: SLF001
    ItemCompleted: Machine._item_completed,  # noqa: SLF001
    FannedOut: Machine._fanned_out,  # noqa: SLF001
    AttemptFailed: Machine._attempt_failed,  # noqa: SLF001
    StepFailed: Machine._step_failed,  # noqa: SLF001
    StepSkipped: Machine._step_skipped,  # noqa: SLF001
    BudgetExhausted: Machine._budget_exhausted,  # noqa: SLF001
    CancelRequested: Machine._cancel_requested,  # noqa: SLF001
    RunFinished: Machine._run_finished,  # noqa: SLF001
}
