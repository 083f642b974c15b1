"""How a declared contract is compiled, checked, written and explained."""

from __future__ import annotations

__all__: list[str] = []
