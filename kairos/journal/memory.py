"""A journal that lasts as long as the process."""

from __future__ import annotations

from kairos.events import Event

__all__ = ["MemoryJournal"]


class MemoryJournal(list[Event]):
    """The events of one run, in a list."""
