"""Sessions in memory, for as long as the process lives."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from kairos.agents.stores.faults import as_json, begun_already, longer_than, moved_on
from kairos.ports import StoredSession

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MemoryStore"]


class _Branch:
    """A session's own events, after those that it shares with another."""

    __slots__ = ("changed", "created", "own", "parent", "shared")

    def __init__(self, parent: _Branch | None = None, shared: int = 0) -> None:
        self.parent = parent
        self.shared = shared
        self.own: list[str] = []
        self.created = self.changed = time.time()

    def __len__(self) -> int:
        return self.shared + len(self.own)

    def written(self, start: int) -> list[str]:
        """Return the events from a number on, up to the end."""
        pieces: list[list[str]] = []
        branch: _Branch | None = self
        until = len(self)
        while branch is not None and until > start:
            pieces.append(branch.own[max(start - branch.shared, 0) : until - branch.shared])
            until = min(until, branch.shared)
            branch = branch.parent
        return [each for piece in reversed(pieces) for each in piece]


class MemoryStore:
    """Keeps sessions in memory; what is kept is JSON, so that nobody can change it from outside."""

    def __init__(self) -> None:
        self._branches: dict[str, _Branch] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._branches)} sessions)"

    def append(self, session: str, at: int, events: Sequence[Mapping[str, Any]], /) -> None:
        """Keep events; see `SessionStore`."""
        written = as_json(events)
        with self._lock:
            branch = self._branches.get(session)
            length = 0 if branch is None else len(branch)
            if at != length:
                raise moved_on(session, at, length)
            if branch is None:
                branch = self._branches[session] = _Branch()
            branch.own += written
            branch.changed = time.time()

    def read(self, session: str, start: int = 0, /) -> list[dict[str, Any]]:
        """Return the events of a session; see `SessionStore`."""
        with self._lock:
            branch = self._branches.get(session)
            written = [] if branch is None else branch.written(max(start, 0))
        return [json.loads(each) for each in written]

    def fork(self, session: str, upto: int, new: str, /) -> None:
        """Begin a session with the first events of another; see `SessionStore`."""
        with self._lock:
            if new in self._branches:
                raise begun_already(new)
            parent = self._branches.get(session)
            length = 0 if parent is None else len(parent)
            if not 0 <= upto <= length:
                raise longer_than(session, upto, length)
            while parent is not None and upto <= parent.shared:
                parent = parent.parent  # or a fork of a fork of a fork would grow a chain
            self._branches[new] = _Branch(parent, upto)

    def sessions(self) -> list[StoredSession]:
        """Return all sessions, by their ids."""
        with self._lock:
            found = sorted(self._branches.items())
            return [StoredSession(name, len(b), b.created, b.changed) for name, b in found]

    def delete(self, session: str, /) -> bool:
        """Forget a session; see `SessionStore`."""
        with self._lock:
            return self._branches.pop(session, None) is not None
