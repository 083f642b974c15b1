"""What a run uses unless it is told otherwise: this process, its threads and its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.backends.loop import LoopThread
from kairos.backends.threads import Threads
from kairos.engine.options import Backends
from kairos.journal.memory import MemoryJournal

if TYPE_CHECKING:
    from kairos.ports import Isolation, Journal, StepCache

__all__ = ["local_backends", "new_cache", "new_journal"]


def local_backends() -> Backends:
    """Return the backends of this machine."""
    return Backends(Threads, LoopThread, _processes)


def new_journal() -> Journal:
    """Return an empty journal that lasts as long as the process."""
    return MemoryJournal()


def new_cache() -> StepCache:
    """Return an empty cache that lasts as long as the process."""
    from kairos.caches.memory import MemoryCache  # noqa: PLC0415 - few steps are cached

    return MemoryCache()


def _processes() -> Isolation:
    from kairos.backends.processes import ProcessWorkers  # noqa: PLC0415 - few steps need it

    return ProcessWorkers()
