"""What a call of a model costs, from the price list of genai-prices and from one's own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kairos.exceptions import ConfigError
from kairos.source import declared_here

if TYPE_CHECKING:
    from kairos.models.reply import TokenUsage

__all__ = ["PRICES", "Price", "Prices", "context_window"]

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What the tokens of a model cost: US dollars per million, or per token.

    `cached` is for tokens read from a cache, `cache_write` for those written to one, `reasoning`
    for those that a model thought with; None is the price of input, or of output.  `request` is
    charged once a call.  `above` maps numbers of input tokens to the price of all tokens of a call
    that has more than that: `above={200_000: Price(...)}`.

    Raises ConfigError for what is no amount of money.
    """

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    request: float = 0.0
    above: Mapping[int, Price] = field(default_factory=dict)
    per_million: bool = True

    def __post_init__(self) -> None:
        for each in fields(self)[:6]:
            value: Any = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            if not _is_money(value):
                raise ConfigError(
                    f"the price of {each.name} is none",
                    where=declared_here(),
                    expected="US dollars, from 0 up",
                    found=repr(value) if type(value) in (int, float) else type(value).__name__,
                )

    def of(self, usage: TokenUsage) -> float:
        """Return what a call costs, in US dollars."""
        for tokens in sorted(self.above, reverse=True):
            if usage.input_tokens > tokens:
                return self.above[tokens].of(usage)
        cached = min(usage.cached_tokens, usage.input_tokens)
        stored = min(usage.cache_write_tokens, usage.input_tokens - cached)
        thought = min(usage.reasoning_tokens, usage.output_tokens)
        total = (
            (usage.input_tokens - cached - stored) * self.input
            + cached * (self.input if self.cached is None else self.cached)
            + stored * (self.input if self.cache_write is None else self.cache_write)
            + (usage.output_tokens - thought) * self.output
            + thought * (self.output if self.reasoning is None else self.reasoning)
        )
        return self.request + (total / _MILLION if self.per_million else total)

    def most(self, input_tokens: int, output_tokens: int, *, caching: bool = False) -> float:
        """Return what a call of at most so many tokens can cost, at the dearest of its prices."""
        dearest = 0.0
        for price in (self, *(p for tokens, p in self.above.items() if input_tokens > tokens)):
            read = max(price.input, (price.cache_write or 0.0) if caching else 0.0)
            total = input_tokens * read + output_tokens * max(price.output, price.reasoning or 0.0)
            total = total / _MILLION if price.per_million else total
            dearest = max(dearest, price.request + total)
        return dearest


def _is_money(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < math.inf


class Prices:
    """A price list: one's own prices by the name of the model, then those of genai-prices.

    ::

        Prices({"my-model": Price(input=0.5, output=2.0), "gemini/other": Price(1.0, 4.0)})

    A price that neither knows is None: unknown is never free.  Without the package (extra `prices`)
    one's own are all there are, which is warned of once.  `listed=False` asks for nothing else than
    one's own.
    """

    def __init__(self, own: Mapping[str, Price] | None = None, *, listed: bool = True) -> None:
        self._own = dict(own or {})
        self._listed = listed
        for name, price in self._own.items():
            if not isinstance(name, str) or not isinstance(price, Price):
                raise ConfigError(
                    "a price list maps names of models to prices",
                    where=declared_here(),
                    expected="{'my-model': Price(input=..., output=...)}",
                    found=f"{type(name).__name__}: {type(price).__name__}",
                )

    def price(
        self,
        provider: str,
        model: str,
        *,
        base_url: str = "",
        tier: str = "",
        at: datetime | None = None,
    ) -> Price | None:
        """Return the price of a model, or None where nobody knows it.

        `base_url` is where it is asked when that is not the provider's own address, `tier` the
        provider's service tier, and `at` when (default: now; some prices depend on it).  The first
        call of all takes a second, since it loads the list.
        """
        for name in (f"{provider}/{model}", model):
            if name in self._own:
                return self._own[name]
        if not self._listed:
            return None
        return _listed_price(provider, model, base_url, tier, at or datetime.now(UTC))

    def cost(self, provider: str, model: str, usage: TokenUsage, **which: Any) -> float | None:
        """Return what a call cost in US dollars, or None; keywords as for `price`."""
        price = self.price(provider, model, **which)
        return None if price is None else price.of(usage)


PRICES = Prices()
"""The list for whoever has none of their own."""


def context_window(provider: str, model: str, *, base_url: str = "") -> int | None:
    """Return how many tokens a model reads at most; None where nobody knows, or has genai-prices.

    `base_url` is where it is asked when that is not the provider's own address.
    """
    snapshot = _snapshot()
    found = None if snapshot is None else _found(snapshot, provider, model, base_url)
    window = None if found is None else found.context_window
    return window if isinstance(window, int) and window > 0 else None


# --- genai-prices

_warned = False
_converted: dict[int, tuple[Any, Price | None]] = {}


def _listed_price(
    provider: str, model: str, base_url: str, tier: str, at: datetime
) -> Price | None:
    global _warned  # noqa: PLW0603 - once in a process is enough
    snapshot = _snapshot()
    if snapshot is None:
        if not _warned:
            _warned = True
            warnings.warn(
                "prices of models are unknown without the package genai-prices:"
                " pip install 'kairos-ai[prices]'",
                stacklevel=2,
            )
        return None
    found = _found(snapshot, provider, model, base_url)
    if found is None:
        return None
    if tier:  # made anew for each call, so there is nothing to remember it by
        return _price_of(found.get_prices(at, {"service_tier": tier}))
    listed = found.get_prices(at)
    known = _converted.get(id(listed))
    if known is None:
        known = _converted[id(listed)] = (listed, _price_of(listed))
    return known[1]


def _snapshot() -> Any:
    try:
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - takes a second
    except ImportError:
        return None
    return get_snapshot()


_NAMED_APART = ("anthropic", "gemini")  # nobody else serves models under their names


def _found(snapshot: Any, provider: str, model: str, base_url: str) -> Any:
    """Find a model in the list: by who serves it at an address, or else by whose it is.

    At a foreign address the protocol of OpenAI says nothing about whose model answers.
    """
    if base_url:
        try:
            return snapshot.find_provider_model(model, None, None, base_url)[1]
        except LookupError:
            if provider not in _NAMED_APART:
                return None
    try:
        return snapshot.find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return None


def _price_of(listed: Any) -> Price | None:
    """Read one entry of the list; None for a model that is not paid by the token."""
    own = vars(listed)
    starts = {t.start for price in own.values() for t in getattr(price, "tiers", ())}
    above = {start: price for start in starts if (price := _at(own, start))}
    base = _at(own, -1)
    return None if base is None else replace(base, above=above)


_NAMES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}


def _at(listed: Mapping[str, Any], start: int) -> Price | None:
    """Return the price from so many input tokens on."""
    rates: dict[str, float] = {}
    for name, theirs in _NAMES.items():
        price = listed.get(theirs)
        tiers = getattr(price, "tiers", None)
        if price is not None and tiers is not None:
            reached = [tier.price for tier in tiers if tier.start <= start]
            price = reached[-1] if reached else price.base
        if price is not None:
            rates[name] = float(price)
    if "input" not in rates or "output" not in rates:
        return None
    requests = listed.get("requests_kcount")
    return Price(
        rates["input"],
        rates["output"],
        rates.get("cached"),
        rates.get("cache_write"),
        rates.get("reasoning"),
        request=0.0 if requests is None else float(requests) / 1000,
    )
