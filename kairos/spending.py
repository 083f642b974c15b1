"""Amounts: limits of them, exact sums of them, and what of them one attempt has spent."""

from __future__ import annotations

import math
import threading
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple, Protocol

from kairos.exceptions import ConfigError
from kairos.source import declared_here

__all__ = ["Budget", "Spend", "Sum", "Tab", "picos"]

_PICO = 10**12
"""Money is added up in whole picodollars: sums of floats drift, and what was reserved must come
back to the last digit.  The cheapest token there is costs ten thousand of them."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a run, a step or an item; None is no limit.

    `llm_calls` counts calls to models (default 50), `tokens` input and output together,
    `input_tokens` and `output_tokens` each alone, `usd` money, and `seconds` wall time from its
    start.  Running out of any of them fails what it limits: what is done is kept and nothing new
    starts.

    `unknown_prices` says what becomes of a reservation whose price nobody knows where `usd` is
    limited: "refuse" (the default; unknown is not free) or "allow", which leaves it out of the sum.

    Raises ConfigError that names the field.
    """

    llm_calls: int | None = 50
    tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None
    unknown_prices: Literal["refuse", "allow"] = "refuse"
    _: KW_ONLY
    input_tokens: int | None = None
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in _LIMITS:
            value: Any = getattr(self, name)
            whole = name not in ("usd", "seconds")
            good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if value is not None and (not good or not value >= 0):
                raise ConfigError(
                    f"budget of {name} is not a limit",
                    where=declared_here(),
                    expected=f"{'a whole number' if whole else 'a number'} from 0 up, or None",
                    found=type(value).__name__ if not good else "a negative number or NaN",
                )
        if self.unknown_prices not in ("refuse", "allow"):
            raise ConfigError(
                "budget says of unknown_prices what it cannot",
                where=declared_here(),
                expected="'refuse' or 'allow'",
                found=type(self.unknown_prices).__name__,
            )


_LIMITS = ("llm_calls", "tokens", "input_tokens", "output_tokens", "usd", "seconds")


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
