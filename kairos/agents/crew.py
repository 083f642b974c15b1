"""Tool calls of one turn, all at once, on threads and on an event loop beside them."""

from __future__ import annotations

import contextvars
import inspect
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from kairos.agents.beside import Beside
from kairos.agents.calls import Do, Done, Steps, carry_out
from kairos.agents.engagement import Engagement, ToolProgress, ToolStarted
from kairos.agents.events import Decided, ToolFinished
from kairos.agents.loop import Called
from kairos.agents.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from kairos.agents.engagement import Said
    from kairos.agents.limits import AgentStop
    from kairos.agents.slots import Slots
    from kairos.models import ToolCall

__all__ = ["Crew"]

_LOOK = 0.05
"""How often, in seconds, a flag is looked at that tells nobody of its change."""


class _Job:
    """One call on its way: its steps, and what of it is running."""

    __slots__ = ("began", "call", "deadline", "doing", "gone", "steps", "stop", "tries", "waits")

    def __init__(self, call: ToolCall) -> None:
        self.call = call
        self.steps: Steps | None = None
        self.doing: Do | None = None
        self.gone = False
        self.tries = 0
        self.began = 0.0
        self.deadline: float | None = None
        self.waits = False
        self.stop: Callable[[], Any] | None = None

    def attempt(self) -> Callable[[], bool]:
        """Begin another attempt; returns what tells that nobody waits for it any longer."""
        self.tries += 1
        this = self.tries
        return lambda: self.gone or self.tries != this


class _Line:
    """Those who are asked one at a time: people, and guards."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.busy = False
        self.waiting: deque[tuple[_Job, Do]] = deque()


class _Turn:
    """One turn's calls; the thread that drives the agent moves them on."""

    def __init__(self, crew: Crew, calls: tuple[ToolCall, ...]) -> None:
        self.crew = crew
        self.jobs = {call.id: _Job(call) for call in calls}
        self.open = len(calls)
        self.results: list[ToolFinished] = []
        self.decided: list[Decided] = []
        self.said: deque[Said] = deque()
        self.lines = {"person": _Line(), "guard": _Line()}
        self.news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()


class Crew:
    """Those who call tools for one task; `close` when it is over."""

    def __init__(self, engagement: Engagement) -> None:
        self._engagement = engagement
        self._beside: Beside | None = None
        self._starting = threading.Lock()

    def call(
        self, calls: tuple[ToolCall, ...], decided: Mapping[str, Decided]
    ) -> Generator[Said, None, Called]:
        """Make calls, and give out what happens; closing the generator cancels what runs."""
        turn = _Turn(self, calls)
        engagement = self._engagement
        wake = engagement.clock.subscribe(lambda: turn.news.put(lambda: None))
        # Who watches is told that a call begins, and not when it is over.
        waited = engagement.signalled or engagement.watched or engagement.until is not None
        alone = len(calls) == 1 and not waited
        stop: AgentStop | None = None
        try:
            for job in turn.jobs.values():
                self._take_up(turn, job, decided.get(job.call.id), alone=alone)
            while True:
                while turn.said:
                    yield turn.said.popleft()
                if not turn.open:
                    break
                stop = self._wait(turn)
                if stop is not None:
                    self._cancel(turn)
        finally:
            wake()
            self._cancel(turn)
        return Called(tuple(turn.results), tuple(turn.decided), stop, engagement.now)

    def now(self, function: Callable[[], Any]) -> Any:
        """Call what decides, and wait for it where it is async."""
        value = function()
        return self._loop().run(value) if inspect.isawaitable(value) else value

    def close(self) -> None:
        """Let the event loop go, if there is one."""
        if self._beside is not None:
            self._beside.close()

    # --- one call

    def _take_up(self, turn: _Turn, job: _Job, decided: Decided | None, *, alone: bool) -> None:
        def tell(value: Any) -> None:
            told = ToolProgress(job.call.id, job.call.name, value)
            turn.news.put(lambda: None if job.gone else turn.said.append(told))

        engagement = self._engagement
        bind = engagement.bind(job.call.id, job.attempt, tell)
        job.steps = carry_out(job.call, engagement.desk, bind, decided)
        self._move(turn, job, None, alone=alone)

    def _move(self, turn: _Turn, job: _Job, done: Done | None, *, alone: bool = False) -> None:
        """Move a call on, up to what takes time."""
        engagement = self._engagement
        job.doing = job.stop = job.deadline = None
        job.waits = False
        while job.steps is not None:
            try:
                step = job.steps.send(done)
            except StopIteration as ended:
                self._finish(turn, job, ended.value)
                return
            done = None
            if isinstance(step, Decided):
                made = step._replace(at=engagement.now)
                engagement.keep(made)
                turn.decided.append(made)
                turn.said.append(made)
            elif step.kind == "rule":
                done = self._outcome(step)
            elif step.kind in turn.lines:
                self._ask(turn, job, step)
                return
            elif alone and step.timeout is None and self._at_once(job, step):
                turn.said.append(ToolStarted(job.call.id, job.call.name))
                try:
                    done = self._outcome(step)
                finally:
                    if step.slots is not None:
                        step.slots.leave()
            else:
                self._place(turn, job, step)
                return

    def _at_once(self, job: _Job, step: Do) -> bool:
        """Whether a call needs no thread: nobody could end it early, and it finds a place."""
        tool = self._engagement.desk.tools[job.call.name]
        if tool.signature.kind != "sync":
            return False
        return step.slots is None or not step.slots.bounded or step.slots.enter(_nothing)

    def _outcome(self, step: Do) -> Done:
        began = self._engagement.now
        try:
            value = self.now(step.function)
        except KeyboardInterrupt:
            raise  # a person's, who sits before this very thread
        except BaseException as error:  # noqa: BLE001 - a tool may raise anything at all
            return Done(error=error, seconds=self._engagement.now - began)
        return Done(value, seconds=self._engagement.now - began)

    def _finish(self, turn: _Turn, job: _Job, finished: ToolFinished) -> None:
        job.steps = None
        turn.open -= 1
        finished = finished._replace(at=self._engagement.now)
        self._engagement.keep(finished)
        turn.results.append(finished)
        turn.said.append(finished)

    # --- what takes time

    def _ask(self, turn: _Turn, job: _Job, step: Do) -> None:
        line = turn.lines[step.kind]
        if line.busy:
            line.waiting.append((job, step))
            return
        line.busy = True
        self._start(turn, job, step)

    def _place(self, turn: _Turn, job: _Job, step: Do) -> None:
        def placed() -> None:
            turn.news.put(lambda: self._placed(turn, job, step))

        job.doing = step
        slots = step.slots
        if slots is None or slots.enter(placed):
            self._start(turn, job, step)
            return
        job.waits, job.began = True, self._engagement.clock.monotonic()
        job.deadline = None if step.timeout is None else job.began + step.timeout
        job.stop = lambda: _withdraw(slots, placed)

    def _placed(self, turn: _Turn, job: _Job, step: Do) -> None:
        if job.waits and job.doing is step and not job.gone:  # or else it has left it already
            self._start(turn, job, step)

    def _start(self, turn: _Turn, job: _Job, step: Do) -> None:
        engagement = self._engagement
        job.doing, job.began, job.waits = step, engagement.clock.monotonic(), False
        job.deadline = None if step.timeout is None else job.began + step.timeout
        if step.kind == "tool":
            turn.said.append(ToolStarted(job.call.id, job.call.name))
        running = Running(step, self._loop)
        job.stop = running.cancel

        def tell(value: Any) -> None:
            told = ToolProgress(job.call.id, job.call.name, value)

            def read() -> None:
                running.unread.release()
                if job.stop == running.cancel and not job.gone:
                    turn.said.append(told)

            turn.news.put(read)

        def work() -> None:
            value, error = running.outcome(tell)
            running.leave()
            ended = engagement.clock.monotonic()
            turn.news.put(lambda: self._ended(turn, job, step, value, error, ended))

        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(work,), name=f"kairos-tool-{job.call.name}", daemon=True
        ).start()

    def _ended(
        self, turn: _Turn, job: _Job, step: Do, value: Any, error: BaseException | None, at: float
    ) -> None:
        if job.gone or job.doing is not step:
            return  # it was given up
        late = job.deadline is not None and at > job.deadline
        if late:
            value = error = None
        self._over(turn, job, Done(value, error, "timeout" if late else "", at - job.began))

    def _over(self, turn: _Turn, job: _Job, done: Done) -> None:
        step = job.doing
        self._move(turn, job, done)
        line = None if step is None else turn.lines.get(step.kind)
        if line is not None:
            line.busy = False
            if line.waiting:
                self._ask(turn, *line.waiting.popleft())

    # --- waiting

    def _wait(self, turn: _Turn) -> AgentStop | None:
        """Wait for news, or for what is due; return why all of it must stop."""
        engagement = self._engagement
        now = engagement.clock.monotonic()
        due = [job.deadline for job in turn.jobs.values() if job.deadline is not None]
        until = engagement.until
        if until is not None:
            due.append(until)
        seconds = engagement.clock.span(min(due) - now, idle=False) if due else None
        if engagement.signalled:
            seconds = _LOOK if seconds is None else min(seconds, _LOOK)
        try:
            news = turn.news.get(timeout=None if seconds is None else max(seconds, 0.0))
        except queue.Empty:
            pass
        else:
            news()
            for _ in range(turn.news.qsize()):  # no more: a tool may bring news without end
                turn.news.get_nowait()()
        if engagement.cancelled:
            return "cancelled"
        now = engagement.clock.monotonic()
        for job in turn.jobs.values():
            if job.deadline is not None and now >= job.deadline:
                self._give_up(job)
                fate: Literal["busy", "timeout"] = "busy" if job.waits else "timeout"
                self._over(turn, job, Done(fate=fate, seconds=now - job.began))
        return "seconds" if until is not None and now >= until else None

    def _give_up(self, job: _Job) -> None:
        job.tries += 1  # whoever asks whether it is waited for is told that it is not
        stop, job.stop = job.stop, None
        if stop is not None:
            stop()

    def _cancel(self, turn: _Turn) -> None:
        """Tell everything that still runs to stop, and wait for none of it."""
        for line in turn.lines.values():
            line.waiting.clear()
        for job in turn.jobs.values():
            if job.steps is None or job.gone:
                continue
            job.gone = True
            self._give_up(job)
            steps, job.steps = job.steps, None
            steps.close()
            turn.open -= 1

    def _loop(self) -> Beside:
        with self._starting:  # async tools of one turn ask for it at the same time
            if self._beside is None:
                self._beside = Beside()
        return self._beside


def _withdraw(slots: Slots, wake: Callable[[], None]) -> None:
    """Wait for a place no longer; one that was given meanwhile goes on to the next."""
    if not slots.withdraw(wake):
        slots.leave()


def _nothing() -> None:
    """Wait for nothing: whoever passes this asks again in another way."""
