"""Where a callable runs: threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

__all__ = ["Threads"]

Job = Callable[[], None]


class Threads:
    """A pool of daemon threads, started as they are needed, up to `limit`.

    Not `concurrent.futures`: its threads are joined when the interpreter exits, so that one step
    that never returns would keep the program from ending; and a future for every step costs as
    much as the step.
    """

    def __init__(self, limit: int, name: str = "kairos") -> None:
        self._limit = limit
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._started = 0
        self._idle = 0  # threads that wait for a job
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def limit(self) -> int:
        """How many jobs may run at a time."""
        return self._limit

    @property
    def waiting(self) -> bool:
        """Whether a job waits for a thread."""
        return not self._jobs.empty()

    def submit(self, job: Job) -> None:
        """Run a job as soon as a thread is free.  The job deals with its own errors."""
        self._jobs.put(job)
        if self._started < self._limit:
            self._help()

    def replace_one(self) -> None:
        """Make up for a thread that is stuck in a job nobody waits for any more."""
        with self._lock:
            self._limit += 1
        self._help()  # a job may wait already, and nobody else would come for it

    def _help(self, idle: int = 0) -> None:
        """Start a thread where more jobs than threads wait; `idle` changes how many of these do."""
        with self._lock:
            self._idle += idle
            enough = self._jobs.qsize() <= self._idle or self._started >= self._limit
            if enough or self._stopped:
                return
            self._started += 1
            number = self._started
        threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _work(self) -> None:
        jobs = self._jobs
        while True:
            try:
                job = jobs.get_nowait()
            except Empty:
                self._help(+1)
                job = jobs.get()
                # looks again: a job may have come while this thread still passed for idle
                self._help(-1)
            if job is None:
                return
            job()
            del job  # a finished job must not keep what it read alive

    def stop(self) -> None:
        """Let the threads go once they have finished what they are doing."""
        with self._lock:
            self._stopped = True
            started = self._started
        for _ in range(started):
            self._jobs.put(None)
