"""Where a callable runs: a process of its own, for steps with `isolation="process"`.

A worker is a new interpreter (never a fork, which would copy this one's memory), started when a
step first needs it and used again for that step's further attempts and items, never for another
step and never after the run.  It is sent the address of the action and the JSON that the step may
read; see `kairos.backends.worker` for its side.

What is kept apart is memory, and a crash.  It is no sandbox: a worker runs as the same user, with
the same environment variables, current directory, output streams and rights; its standard input
is empty.  Processes that the action starts end with it, and so do its threads; nothing that it
registers with `atexit` runs, since a worker is killed when it is not needed any more.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Self

from kairos.attempt import Outcome, Recipe, Work, failure_of
from kairos.backends.address import address_of, loading
from kairos.backends.worker_handle import WorkerProcess
from kairos.exceptions import ConfigError, WorkerCrashError
from kairos.state import DEFAULT_MAX_TOTAL_SIZE

if TYPE_CHECKING:
    from types import TracebackType

    from kairos.step import Step

__all__ = ["ProcessWorkers", "address_of"]

_IDLE = 32  # workers that wait for more: as many as steps run side by side at most


class ProcessWorkers:
    """The worker processes of one run.

    Close it when the run is over (it is a context manager too): that kills every worker.
    `max_answer` is how many bytes a worker may answer an attempt with.

    Raises ConfigError where processes cannot be used: on a system without process groups, and in
    a worker that is still importing its action, where a script that starts its workflow without
    `if __name__ == "__main__":` would otherwise start it again and again.
    """

    def __init__(self, *, max_answer: int = 2 * DEFAULT_MAX_TOTAL_SIZE) -> None:
        if not hasattr(os, "killpg"):
            raise ConfigError(
                "isolation='process' needs a system with process groups",
                expected="Linux, macOS or another Unix",
                found=sys.platform,
            )
        if loading():
            raise ConfigError(
                "a workflow is run while a worker process imports the module of its own action",
                fix='put what starts the workflow below `if __name__ == "__main__":`',
            )
        self._max_answer = max_answer
        self._idle: list[WorkerProcess] = []  # the one that has waited longest comes first
        self._busy: set[WorkerProcess] = set()
        self._lock = threading.Lock()
        self._closed = False

    def perform(self, work: Work) -> Outcome:
        """Make one attempt in a worker process, and wait for it.

        Whatever becomes of the action or of its process is an outcome, never an exception.

        Giving the attempt up (`work.fence`) kills the worker at once.
        """
        while True:
            try:
                worker, fresh = self._take(work.recipe)
            except (ConfigError, WorkerCrashError) as error:
                return Outcome(work, failure=failure_of(error))
            try:
                outcome = worker.perform(work)
            except BaseException:
                self._discard(worker)
                raise
            self._put_back(worker, work, outcome)
            # one that died while it waited had not begun: that is no attempt
            if fresh or worker.taken or work.fence.given_up or not _crashed(outcome):
                return outcome

    def release(self, step: Step) -> None:
        """End the workers that wait for more work of a step: it is done."""
        with self._lock:
            done = [worker for worker in self._idle if worker.step is step]
            self._idle = [worker for worker in self._idle if worker.step is not step]
        for worker in done:
            worker.end()

    def close(self) -> None:
        """Kill all workers and reap them.  Attempts that are being made fail."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for worker in busy:  # its line is closed by the thread that listens to it
            worker.kill()
        for worker in idle:
            worker.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, recipe: Recipe) -> tuple[WorkerProcess, bool]:
        """Return a worker for a step, one that waits or a new one, and whether it is new."""
        worker = self._waiting(recipe.step)
        while worker is not None and not worker.alive():
            worker.end()
            worker = self._waiting(recipe.step)
        fresh = worker is None
        if worker is None:
            worker = WorkerProcess(recipe, self._max_answer)
        with self._lock:
            self._busy.add(worker)
            closed = self._closed
        if closed:
            self._discard(worker)
            raise WorkerCrashError("the run is over", step_id=recipe.name)
        return worker, fresh

    def _waiting(self, step: Step) -> WorkerProcess | None:
        with self._lock:
            for worker in reversed(self._idle):
                if worker.step is step:
                    self._idle.remove(worker)
                    return worker
        return None

    def _put_back(self, worker: WorkerProcess, work: Work, outcome: Outcome) -> None:
        # A step that is not a foreach is done when it has an output, unless that is still to be
        # judged on this side.
        wanted = outcome.failure is not None or work.item_index is not None
        if not worker.usable or not (wanted or work.recipe.validators):
            self._discard(worker)
            return
        with self._lock:
            self._busy.discard(worker)
            self._idle.append(worker)
            surplus = self._idle[:] if self._closed else self._idle[:-_IDLE]
            self._idle = self._idle[len(surplus) :]
        for each in surplus:
            each.end()

    def _discard(self, worker: WorkerProcess) -> None:
        worker.end()
        with self._lock:
            self._busy.discard(worker)


def _crashed(outcome: Outcome) -> bool:
    failure = outcome.failure
    return failure is not None and isinstance(failure.exception, WorkerCrashError)
