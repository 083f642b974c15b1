"""Where a run's events are kept."""

from __future__ import annotations

from kairos.journal.memory import MemoryJournal

__all__ = ["MemoryJournal"]
