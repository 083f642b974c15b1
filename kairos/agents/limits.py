"""How far an agent may go.  Every limit ends it with a reason of its own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from kairos.exceptions import ConfigError
from kairos.models import TokenUsage
from kairos.source import declared_here

__all__ = ["AgentStop", "Limits", "Used"]

AgentStop: TypeAlias = Literal[
    "answered", "gave_up",
    "iterations", "tool_calls", "input_tokens", "output_tokens", "total_tokens", "usd",
    "unpriced", "seconds", "budget",
    "repeated_calls", "repeated_text",
    "invalid_answer", "refused", "filtered", "cut_off",
    "model_failed", "tool_failed", "cancelled",
]  # fmt: skip
"""Why an agent stopped.

`gave_up` is the model's own word that its goal cannot be reached, in the mode that has one.
`unpriced` is a limit of money that could not be held, since nobody knows the model's price;
`budget` is that of the workflow around it; `cut_off` an answer that `max_tokens` ended.
"""

_WHOLE = frozenset(
    {
        "iterations", "tool_calls", "input_tokens", "output_tokens", "total_tokens",
        "repeated_calls", "repeated_texts",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one task; None is no limit.

    `iterations` counts answers of the model, `tool_calls` the calls that were made.  Tokens and
    `usd` hold for what an answer may take at most: it may be no longer than the rest pays for, and
    is not asked for where the rest does not even pay for the question.  `seconds` is wall time.
    `repeated_calls` is how often the same tool may give the same result to the same arguments,
    `repeated_texts` how often in a row the model may say the same.
    """

    iterations: int | None = 25
    tool_calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None
    repeated_calls: int | None = 5
    repeated_texts: int | None = 5

    @property
    def bounded(self) -> bool:
        """Whether any of them ends even a model that only talks."""
        ending = (self.iterations, self.input_tokens, self.output_tokens, self.total_tokens)
        return any(one is not None for one in (*ending, self.usd, self.seconds))

    @property
    def metered(self) -> bool:
        """Whether any of them is about what is consumed."""
        metered = (self.input_tokens, self.output_tokens, self.total_tokens, self.usd)
        return any(one is not None for one in metered)

    def __post_init__(self) -> None:
        for each in fields(self):
            value: Any = getattr(self, each.name)
            if value is None:
                continue
            whole = each.name in _WHOLE
            good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if not good or not value > 0:
                raise ConfigError(
                    f"the limit of {each.name} is none",
                    where=declared_here(),
                    expected=f"{'a whole number' if whole else 'a number'} above 0, or None",
                    found=str(value) if good else type(value).__name__,
                )


class Used:
    """What a task has used so far."""

    __slots__ = (
        "cached", "calls", "estimated", "input", "iterations", "output", "reasoning", "total",
        "usd", "written",
    )  # fmt: skip

    def __init__(self) -> None:
        self.iterations = self.calls = 0
        self.input = self.output = self.total = 0
        self.cached = self.written = self.reasoning = 0
        self.usd: float | None = 0.0
        self.estimated = False

    def add(self, usage: TokenUsage) -> None:
        """Add what one call of the model consumed; an unknown price makes the sum unknown."""
        self.input += usage.input_tokens
        self.output += usage.output_tokens
        self.total += usage.total_tokens or usage.input_tokens + usage.output_tokens
        self.cached += usage.cached_tokens
        self.written += usage.cache_write_tokens
        self.reasoning += usage.reasoning_tokens
        self.estimated = self.estimated or usage.estimated
        cost = usage.estimated_cost_usd
        self.usd = None if cost is None or self.usd is None else self.usd + cost

    @property
    def usage(self) -> TokenUsage:
        """The sum, as a model's usage is told."""
        return TokenUsage(
            self.input,
            self.output,
            self.total,
            self.usd,
            self.cached,
            self.written,
            self.reasoning,
            self.estimated,
        )

    def over(self, limits: Limits, elapsed: float) -> AgentStop | None:
        """Return which limit is reached, or None while there is room for another answer."""
        asked: tuple[tuple[AgentStop, float, float | None], ...] = (
            ("iterations", self.iterations, limits.iterations),
            ("seconds", elapsed, limits.seconds),
            ("input_tokens", self.input, limits.input_tokens),
            ("output_tokens", self.output, limits.output_tokens),
            ("total_tokens", self.total, limits.total_tokens),
        )
        for reason, used, most in asked:
            if most is not None and used >= most:
                return reason
        if limits.usd is None:
            return None
        if self.usd is None:
            return "unpriced"
        return "usd" if self.usd >= limits.usd else None
