"""What is secret, and how it is masked: in data, in text, in what strangers wrote."""

from __future__ import annotations

__all__: list[str] = []
