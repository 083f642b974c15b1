"""Where sessions are kept: `MemoryStore` while the process lives, `SQLiteStore` in a file."""

from __future__ import annotations

from kairos.agents.stores.memory import MemoryStore
from kairos.agents.stores.sqlite import SQLiteStore
from kairos.ports import SessionStore, StoredSession

__all__ = ["MemoryStore", "SQLiteStore", "SessionStore", "StoredSession"]
