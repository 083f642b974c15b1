"""Amounts, and exact sums of them."""

from __future__ import annotations

import math
import threading
from typing import NamedTuple, Protocol

__all__ = ["Spend", "Sum", "Tab", "picos"]

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


class _Reserved(Protocol):
    @property
    def open(self) -> bool: ...
    def keep(self) -> None: ...


class Tab:
    """What one attempt spends, and what it has set aside and not settled.

    The run keeps it, so that it can be closed over the head of an attempt that is given up: such
    an attempt may come back when the run has ended, and what it costs has to be told before.
    """

    __slots__ = ("_held", "_untold", "spent")

    def __init__(self) -> None:
        self.spent: Spend | None = None
        self._untold: Spend | None = None
        self._held: tuple[_Reserved, ...] = ()

    def note(self, spend: Spend) -> None:
        """Add what was booked."""
        with _NOTING:
            self.spent = spend if self.spent is None else self.spent.plus(spend)
            self._untold = spend if self._untold is None else self._untold.plus(spend)

    def hold(self, reservation: _Reserved) -> None:
        """Remember a reservation until it is settled."""
        with _NOTING:
            self._held = (*(each for each in self._held if each.open), reservation)

    def take(self) -> Spend | None:
        """Return what was booked since this was asked last."""
        with _NOTING:
            spent, self._untold = self._untold, None
        return spent

    def close(self) -> None:
        """Book what is not settled as it was reserved."""
        for each in self._held:
            each.keep()


# One for all: it is held for a microsecond, and an attempt that spends nothing pays nothing for it.
_NOTING = threading.Lock()


def picos(usd: float) -> int:
    """Return dollars as whole picodollars."""
    whole = int(usd)  # apart, so that a large sum keeps its small change
    return whole * _PICO + round((usd - whole) * _PICO)
