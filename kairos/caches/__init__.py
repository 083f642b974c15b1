"""Where outputs of cached steps are kept: in this process, or in a file."""

from __future__ import annotations

from kairos.caches.memory import MemoryCache
from kairos.caches.sqlite import SQLiteCache

__all__ = ["MemoryCache", "SQLiteCache"]
