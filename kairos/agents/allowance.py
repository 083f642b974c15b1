"""What an answer may take at most, known before it is asked for: limits hold to the last cent."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from kairos.agents.limits import AgentStop, Used
from kairos.contracts.accounts import MAY_HAVE_COST
from kairos.models import Request, TokenUsage
from kairos.models.estimate import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kairos.agents.limits import Limits
    from kairos.models import Message
    from kairos.models.prices import Price

__all__ = ["UNPRICED", "Allowed", "Meter", "Unpriced"]

_LEAST = 16
"""Tokens: a shorter answer is hardly one, and a provider refuses to be asked for it."""

_EXACT = 1 - 1e-12
"""What is added up in another order may come out a hair above."""

_NOTHING = estimate(Request(()))


class Unpriced:
    """The model itself says that nobody knows what it costs."""


UNPRICED = Unpriced()


class Allowed(NamedTuple):
    """How many tokens an answer may have, 0 for none, and which limit says so, if one does."""

    tokens: int
    by: AgentStop | None = None


class _Load:
    """How many tokens a conversation takes to read, at most, counted as it grows.

    The provider's own count of the last turn is exact, and what came after it is estimated.
    """

    __slots__ = ("_fixed", "_off", "_read", "_request", "_seen")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._fixed: int | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Take note that the conversation is another one."""
        self._read = self._seen = self._off = 0

    def estimated(self, messages: Sequence[Message]) -> int:
        """Return the estimate of it all."""
        if self._fixed is None:
            bare = dataclasses.replace(self._request, messages=())
            self._fixed = estimate(bare).input_tokens
        if len(messages) > self._seen:
            new = estimate(Request(messages[self._seen :])).input_tokens
            self._read += new - _NOTHING.input_tokens
            self._seen = len(messages)
        return self._fixed + self._read

    def most(self, messages: Sequence[Message]) -> int:
        """Return what the next turn reads at most."""
        return self.estimated(messages) + self._off

    def reported(self, tokens: int, messages: Sequence[Message]) -> None:
        """Take note of how many tokens it has by now, as a reply tells."""
        self._off = tokens - self.estimated(messages)

    def distrust(self) -> None:
        """Go by the estimate alone: another model, or other tools, may be asked now."""
        self._off = 0


class Meter:
    """What a task has spent, and what its limits leave for the next answer.

    Where a call failed of which nobody tells what it consumed, the most that it can have consumed
    is taken for spent, but is told to nobody as used.
    """

    def __init__(self, limits: Limits, fixed: Request, price: Price | Unpriced | None) -> None:
        self._limits = limits
        self._price = price
        self._load = _Load(fixed)
        self.spent = Used()

    def begin(self) -> None:
        """Begin to count anew, for another task."""
        self.spent = Used()
        self._load.distrust()

    def shortened(self) -> None:
        """Take note that the conversation is another one."""
        self._load.begin_anew()

    def answered(self, usage: TokenUsage, messages: Sequence[Message]) -> None:
        """Take note of how long the conversation is by now, as a reply tells."""
        tokens = usage.input_tokens + usage.output_tokens
        if self._limits.metered and tokens and not usage.estimated:
            self._load.reported(tokens, messages)

    def failed(self, kind: str, messages: Sequence[Message], asked: Request) -> None:
        """Take note of a call that failed, and did not tell what it consumed."""
        if self._limits.metered and kind in MAY_HAVE_COST:
            self.spent.add(_at_most(self._load.most(messages), asked, self._price))

    def estimated(self, messages: Sequence[Message]) -> int:
        """Return an estimate of what a conversation takes to read, which leans to the high side."""
        return self._load.estimated(messages)

    def allowed(self, messages: Sequence[Message], asked: Request) -> Allowed:
        """Return how long the next answer may be, so that no limit is exceeded by it."""
        if not self._limits.metered:
            return Allowed(asked.max_tokens)
        return _allowed(self._limits, self.spent, self._load.most(messages), asked, self._price)

    def apart(self, asked: Request) -> Request | None:
        """Return a request beside the conversation as it may be made; None where it may not be."""
        if not self._limits.metered:
            return asked
        read = estimate(asked).input_tokens
        most = _allowed(self._limits, self.spent, read, asked, self._price)
        return dataclasses.replace(asked, max_tokens=most.tokens) if most.tokens else None


def _allowed(
    limits: Limits, spent: Used, read: int, asked: Request, price: Price | Unpriced | None
) -> Allowed:
    """Return how long the answer to a request may be, which reads at most so many tokens.

    Where nobody knows the price, money is no bound here; where the model says so, there is none.
    """
    if limits.input_tokens is not None and spent.input + read > limits.input_tokens:
        return Allowed(0, "input_tokens")
    found = Allowed(asked.max_tokens)
    for reason, most, cost in _bounds(limits, spent, read, asked, price):
        fits = bisect_right(range(1, found.tokens + 1), most, key=cost)
        if fits < found.tokens:
            found = Allowed(fits, reason)
    least = min(_LEAST, asked.max_tokens, limits.output_tokens or _LEAST)
    return found if found.tokens >= least else Allowed(0, found.by)


def _bounds(
    limits: Limits, spent: Used, read: int, asked: Request, price: Price | Unpriced | None
) -> list[tuple[AgentStop, float, Callable[[int], float]]]:
    """Return each limit with what an answer of so many tokens would bring it to."""
    bare = dataclasses.replace(asked, messages=(), system="", tools=(), output=None)

    def said(tokens: int) -> int:  # options of the provider's own may ask for more than max_tokens
        return estimate(dataclasses.replace(bare, max_tokens=tokens)).output_tokens

    found: list[tuple[AgentStop, float, Callable[[int], float]]] = []
    if limits.output_tokens is not None:
        found.append(
            ("output_tokens", limits.output_tokens, lambda tokens: spent.output + said(tokens))
        )
    if limits.total_tokens is not None:
        before = spent.total + read
        found.append(("total_tokens", limits.total_tokens, lambda tokens: before + said(tokens)))
    if limits.usd is None or price is None:
        return found
    if isinstance(price, Unpriced) or spent.usd is None:
        return [*found, ("unpriced", 0, lambda _: 1)]
    paid, rates, caching = spent.usd, price, _caching(asked)
    found.append(
        (
            "usd",
            limits.usd * _EXACT,
            lambda tokens: paid + rates.most(read, said(tokens), caching=caching),
        )
    )
    return found


def _at_most(read: int, asked: Request, price: Price | Unpriced | None) -> TokenUsage:
    """Return what a call has consumed at most of which nobody tells what it consumed."""
    bare = dataclasses.replace(asked, messages=(), system="", tools=(), output=None)
    said = estimate(bare).output_tokens
    usd = 0.0
    if price is not None and not isinstance(price, Unpriced):
        usd = price.most(read, said, caching=_caching(asked))
    return TokenUsage(read, said, read + said, usd, estimated=True)


def _caching(asked: Request) -> bool:
    return any("cache" in name for name in asked.options)
