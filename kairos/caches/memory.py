"""Kept outputs that last as long as the process."""

from __future__ import annotations

import threading
from collections import OrderedDict

__all__ = ["MemoryCache"]


class MemoryCache:
    """Keeps what was used last, up to `max_entries`; several threads may use it at once."""

    at_rest = False

    def __init__(self, max_entries: int = 10_000) -> None:
        self._most = max(1, max_entries)
        self._entries: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"MemoryCache({len(self)} entries)"

    def get(self, key: str, /) -> bytes | None:
        """Return what is kept under a key; see `StepCache`."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: str, value: bytes, /) -> None:
        """Keep something; see `StepCache`."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
