"""The events of a session on their way to its store."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from typing import TYPE_CHECKING, Any

from kairos.agents.events import event_from_plain, event_to_plain
from kairos.agents.stores import MemoryStore
from kairos.exceptions import ConfigError
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.agents.events import AgentEvent
    from kairos.ports import SessionStore

__all__ = ["Log", "both", "both_async", "named"]

_LONGEST_ID = 200
_METHODS = ("append", "read", "fork", "sessions", "delete")


class Log:
    """The end of a session in its store: what is kept next has the number that is next here."""

    def __init__(self, store: SessionStore | None, session: str) -> None:
        self.store = store = _store(store)
        self.session = session
        self.length = 0
        self._lock = threading.Lock()
        # what waits for a disk or another process must not stand in an event loop's way
        self._waits = not isinstance(store, MemoryStore)

    def keep(self, event: AgentEvent) -> None:
        """Keep an event.  Raises SessionConflictError where somebody else goes on."""
        with self._lock:
            self.store.append(self.session, self.length, [event_to_plain(event)])
            self.length += 1

    async def keep_async(self, event: AgentEvent) -> None:
        """Do as `keep`, without blocking the event loop.

        Who is cancelled meanwhile waits all the same: what may be kept has to be known to be.
        """
        if not self._waits:
            self.keep(event)
            return
        keeping = asyncio.ensure_future(asyncio.to_thread(self.keep, event))
        cancelled = False
        while not keeping.done():
            try:
                await asyncio.shield(keeping)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            keeping.exception()
            raise asyncio.CancelledError
        keeping.result()

    def read(self) -> list[AgentEvent]:
        """Return all that is kept, and go on behind it."""
        with self._lock:
            found = [event_from_plain(each) for each in self.store.read(self.session)]
            self.length = len(found)
            return found


def _store(given: Any) -> SessionStore:
    if given is None:
        return MemoryStore()
    methods = all(callable(getattr(given, name, None)) for name in _METHODS)
    if methods and not isinstance(given, type):
        return given  # type: ignore[no-any-return]
    path = isinstance(given, str | os.PathLike)
    raise ConfigError(
        "store= of session() is no store",
        where=declared_here(),
        expected="a MemoryStore, a SQLiteStore, or another SessionStore",
        found="a path" if path else type(given).__name__,
        fix="open it: SQLiteStore(path)" if path else None,
    )


def both(
    first: Callable[[AgentEvent], None], second: Callable[[AgentEvent], None] | None
) -> Callable[[AgentEvent], None]:
    """Return what hands an event to one, and then to the other if there is one."""
    if second is None:
        return first

    def kept(event: AgentEvent) -> None:
        first(event)
        second(event)

    return kept


def both_async(
    first: Callable[[AgentEvent], Any], second: Callable[[AgentEvent], None] | None
) -> Callable[[AgentEvent], Any]:
    """Do as `both`, where the first is awaited."""
    if second is None:
        return first

    async def kept(event: AgentEvent) -> None:
        await first(event)
        second(event)

    return kept


def named(name: str | None) -> str:
    """Return the id of a session, a new one for None.  Raises ConfigError for what is none."""
    if name is None:
        return uuid.uuid4().hex
    good = isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_ID
    if good:
        return name
    raise ConfigError(
        "this is no id of a session",
        where=declared_here(),
        expected=f"a text of 1 to {_LONGEST_ID} printable characters",
        found=f"{len(name)} characters" if isinstance(name, str) else type(name).__name__,
    )
