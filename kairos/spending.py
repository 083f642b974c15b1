"""Amounts, and exact sums of them."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Spend", "Sum", "picos"]

_PICO = 10**12
"""Money is added up in whole picodollars: sums of floats drift, and what was reserved must come
back to the last digit.  The cheapest token there is costs ten thousand of them."""


class Spend(NamedTuple):
    """What something cost.  `usd` is None when a price was not known."""

    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0

    def plus(self, other: Spend) -> Spend:
        """Add up; an unknown price makes the sum unknown."""
        # rounded far below any price, so that the dust of floats does not pile up
        usd = None if self.usd is None or other.usd is None else round(self.usd + other.usd, 12)
        return Spend(
            self.llm_calls + other.llm_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            usd,
        )


class Sum:
    """A sum of spending; `unknown` counts the prices that are missing from `picos`."""

    __slots__ = ("calls", "picos", "read", "unknown", "written")

    def __init__(self, spend: Spend = Spend()) -> None:  # noqa: B008 - it cannot change
        self.calls, self.read, self.written, usd = spend
        self.unknown = int(usd is None or not math.isfinite(usd))
        self.picos = 0 if usd is None or self.unknown else picos(usd)

    def add(self, other: Sum) -> None:
        """Add an amount."""
        self.calls += other.calls
        self.read += other.read
        self.written += other.written
        self.picos += other.picos
        self.unknown += other.unknown

    def take(self, other: Sum) -> None:
        """Take an amount away that was added."""
        self.calls -= other.calls
        self.read -= other.read
        self.written -= other.written
        self.picos -= other.picos
        self.unknown -= other.unknown

    def spend(self) -> Spend:
        """Return it as others know it."""
        usd = None if self.unknown else self.picos / _PICO
        return Spend(self.calls, self.read, self.written, usd)


def picos(usd: float) -> int:
    """Return dollars as whole picodollars."""
    whole = int(usd)  # apart, so that a large sum keeps its small change
    return whole * _PICO + round((usd - whole) * _PICO)
