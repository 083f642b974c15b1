"""Where an action runs: beside the driver in a thread, or in a process of its own."""

from __future__ import annotations

__all__: list[str] = []
