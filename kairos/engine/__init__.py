"""How a run is driven: the record, the crew, the fan-outs, and who waits for them."""

from __future__ import annotations

__all__: list[str] = []
