"""What a run may spend, and what it has spent."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from kairos.exceptions import BudgetExceededError, ConfigError
from kairos.source import declared_here

__all__ = ["Budget", "Ledger", "Spend"]


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one run; None is no limit.

    `llm_calls` counts calls to models (default 50), `tokens` input and output together, `usd`
    money, and `seconds` wall time from the start of the run.  Running out of any of them fails the
    run: what is done is kept and nothing new starts.
    """

    llm_calls: int | None = 50
    tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value: Any = getattr(self, each.name)
            whole = each.name in ("llm_calls", "tokens")
            good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if value is not None and (not good or not value >= 0):
                raise ConfigError(
                    f"budget of {each.name} is not a limit",
                    where=declared_here(),
                    expected=f"{'a whole number' if whole else 'a number'} from 0 up, or None",
                    found=type(value).__name__ if not good else "a negative number or NaN",
                )


class Spend(NamedTuple):
    """What something cost.  `usd` is None when a price was not known."""

    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0

    def plus(self, other: Spend) -> Spend:
        """Add up; an unknown price makes the sum unknown."""
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Spend(
            self.llm_calls + other.llm_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            usd,
        )


class Ledger:
    """The running account of a run, shared by all its steps and threads.

    It holds numbers and nothing else, so that a step's context may hold it too.  `tripped` names
    the budget that ran out and says so in words; it is None while there is enough.
    """

    __slots__ = ("_limits", "_lock", "_spent", "_usd_known", "tripped")

    def __init__(self, limits: Budget | None = None, spent: Spend | None = None) -> None:
        self._limits = limits or Budget()
        self._spent = spent or Spend()
        self._usd_known = self._spent.usd or 0.0
        self.tripped: tuple[str, str] | None = None
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spend:
        """The sum of everything charged so far."""
        return self._spent

    def charge(self, spend: Spend) -> None:
        """Book what is about to be spent.

        Raises BudgetExceededError when it is more than is left; from then on every charge does,
        and the run fails even when the step swallows the error.
        """
        with self._lock:
            self._spent = self._spent.plus(spend)
            self._usd_known += spend.usd or 0.0
            over = self.tripped or self._over()
            self.tripped = over
        if over is not None:
            raise BudgetExceededError(over[1], fix=f"raise the workflow's budget of {over[0]}")

    def _over(self) -> tuple[str, str] | None:
        limits, spent = self._limits, self._spent
        if limits.llm_calls is not None and spent.llm_calls > limits.llm_calls:
            return "llm_calls", f"LLM call limit reached: {limits.llm_calls}"
        tokens = spent.input_tokens + spent.output_tokens
        if limits.tokens is not None and tokens > limits.tokens:
            return "tokens", f"token limit reached: {limits.tokens}"
        if limits.usd is not None and self._usd_known > limits.usd:
            return "usd", f"spending limit reached: {limits.usd} USD"
        return None

    def trip(self, budget: str, message: str) -> None:
        """Declare a budget spent that is not counted here: wall time."""
        with self._lock:
            self.tripped = self.tripped or (budget, message)
