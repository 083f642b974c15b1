"""How a run log is made: its entries, what they hide, and where they go."""

from __future__ import annotations

__all__: list[str] = []
