"""One model after the other, as one: `ClaudeAdapter() | GeminiAdapter()`, for agents above all."""

from __future__ import annotations

from contextlib import aclosing, closing
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from kairos.exceptions import ConfigError
from kairos.models.errors import ModelError
from kairos.models.parts import as_messages
from kairos.models.prices import Price
from kairos.models.request import Request
from kairos.models.stream import Finished
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence

    from kairos.models.reply import TokenUsage
    from kairos.models.stream import StreamEvent

__all__ = [
    "Fallback",
    "Link",
    "added_price",
    "added_usage",
    "in_turn",
    "in_turn_async",
    "of_all",
]

_MILLION = 1_000_000.0


class Link(Protocol):
    """One of the models: an adapter."""

    @property
    def provider(self) -> str:
        """Whose it is."""
        ...

    @property
    def name(self) -> str:
        """Which model it is."""
        ...

    @property
    def context_window(self) -> int | None:
        """How many tokens it reads at most; None where nobody knows."""
        ...

    def price(self, request: Request) -> Price | None:
        """Return by which prices a call is estimated."""
        ...

    def stream(self, request: Request) -> Generator[StreamEvent]:
        """Ask, and give out the answer as it comes."""
        ...

    def stream_async(self, request: Request) -> AsyncGenerator[StreamEvent]:
        """Do as `stream`, on the running event loop."""
        ...


class Fallback:
    """A model that asks one after the other, until one answers; the port `kairos.models.Model`.

    The next is asked when a call has failed with a ModelError, whatever its kind, unless a part of
    an answer was given out already.  What each consumed is told with the answer, and reserved
    before it: a call may cost what all of them cost together.  Where all fail, the error is the one
    that is the most worth another attempt.
    """

    def __init__(self, models: Sequence[Link]) -> None:
        self.models = tuple(models)
        self.provider = self.models[0].provider
        self.name = "|".join(model.name for model in self.models)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.models))

    def __or__(self, other: Link | Fallback) -> Fallback:
        """Return a model that goes on with `other`."""
        more: tuple[Any, ...] = other.models if isinstance(other, Fallback) else (other,)
        if not all(hasattr(one, "stream_async") and hasattr(one, "price") for one in more):
            raise ConfigError(
                "a model falls back on what is none",
                where=declared_here(),
                expected="an adapter such as GeminiAdapter()",
                found=type(other).__name__,
            )
        return Fallback((*self.models, *more))

    @property
    def context_window(self) -> int | None:
        """How many tokens each of them reads; None where nobody knows."""
        known = [model.context_window for model in self.models]
        return min(filter(None, known), default=None) if all(known) else None

    @property
    def output_beside_tools(self) -> bool:
        """Whether each of them takes a schema of its answer beside tools."""
        return all(getattr(model, "output_beside_tools", True) for model in self.models)

    def price(self, request: Request) -> Price | None:
        """Return by which prices a call is reserved; None where nobody knows one of them."""
        prices = [model.price(request) for model in self.models]
        return added_price([one for one in prices if one is not None]) if all(prices) else None

    def request(self, prompt: str, **options: Any) -> Request:
        """Return the request that each of them makes of these options and its own.

        Raises ConfigError where they make different ones: what one was made with would be lost.
        """
        own = [made for model in self.models if (made := getattr(model, "request", None))]
        asked: list[Request] = [made(prompt, **options) for made in own]
        first, *more = asked or [Request(as_messages(prompt))]
        differing = [
            each.name
            for each in fields(Request)
            if any(getattr(one, each.name) != getattr(first, each.name) for one in more)
        ]
        if differing:
            raise ConfigError(
                f"models that stand in for one another differ in {', '.join(differing)}",
                where=declared_here(),
                fix="make them with the same, or say it once for all of them: agent(...)",
            )
        return first

    def checked(self, request: Request) -> tuple[str, ...]:
        """Return what of a request any of them is told in words; raises as they do."""
        own = [ask for model in self.models if (ask := getattr(model, "checked", None))]
        return tuple(dict.fromkeys(said for ask in own for said in ask(request)))

    def stream(self, request: Request) -> Generator[StreamEvent]:
        """Ask, and give out the answer as it comes; closing it ends the call."""
        return in_turn(partial(model.stream, request) for model in self.models)

    def stream_async(self, request: Request) -> AsyncGenerator[StreamEvent]:
        """Do as `stream`, on the running event loop."""
        return in_turn_async(partial(model.stream_async, request) for model in self.models)


def in_turn(asks: Iterable[Callable[[], Generator[StreamEvent]]]) -> Generator[StreamEvent]:
    """Give out the answer of the first that does not fail; raises as `Fallback` says."""
    failed: list[ModelError] = []
    for ask in asks:
        try:
            with closing(ask()) as events:
                for event in events:
                    yield _with(failed, event)
            return
        except ModelError as error:
            if error.emitted:
                raise
            failed.append(error)
    raise of_all(failed)


async def in_turn_async(
    asks: Iterable[Callable[[], AsyncGenerator[StreamEvent]]],
) -> AsyncGenerator[StreamEvent]:
    """Do as `in_turn`, on the running event loop."""
    failed: list[ModelError] = []
    for ask in asks:
        try:
            async with aclosing(ask()) as events:
                async for event in events:
                    yield _with(failed, event)
            return
        except ModelError as error:
            if error.emitted:
                raise
            failed.append(error)
    raise of_all(failed)


def _with(failed: Sequence[ModelError], event: StreamEvent) -> StreamEvent:
    """Add what failed calls consumed to the end of an answer."""
    if not failed or not isinstance(event, Finished):
        return event
    usage = event.response.usage
    for error in failed:
        if error.usage is not None:
            usage = added_usage(usage, error.usage)
    return Finished(replace(event.response, usage=usage))


def of_all(failed: Sequence[ModelError]) -> ModelError:
    """Return the error of a row of models: one that may pass where there is one, all in its words.

    Its usage is what all of them consumed.
    """
    worth = next((one for one in failed if one.retryable), failed[-1])
    used = [one.usage for one in failed if one.usage is not None]
    total = used[0] if used else None
    for more in used[1:]:
        total = added_usage(total, more) if total is not None else more
    return ModelError(
        worth.kind,
        "; ".join(one.message for one in failed),
        provider=worth.provider,
        model=worth.model,
        status=worth.status,
        retry_after=worth.retry_after,
        usage=total,
        fix=worth.fix,
    )


def added_usage(one: TokenUsage, more: TokenUsage) -> TokenUsage:
    """Return what two calls consumed together; a cost that is not known makes the sum unknown."""
    costs = one.estimated_cost_usd, more.estimated_cost_usd
    return type(one)(
        one.input_tokens + more.input_tokens,
        one.output_tokens + more.output_tokens,
        one.total_tokens + more.total_tokens,
        None if costs[0] is None or costs[1] is None else costs[0] + costs[1],
        one.cached_tokens + more.cached_tokens,
        one.cache_write_tokens + more.cache_write_tokens,
        one.reasoning_tokens + more.reasoning_tokens,
        one.estimated or more.estimated,
    )


def added_price(prices: Sequence[Price]) -> Price:
    """Return a price that is never below the sum of these, whatever the tokens are."""
    thresholds = sorted({tokens for price in prices for tokens in price.above})
    above = {at: _summed([_dearest(price, at) for price in prices]) for at in thresholds}
    return replace(_summed([_dearest(price, 0) for price in prices]), above=above)


def _dearest(price: Price, tokens: int) -> list[Price]:
    """Return the prices that may hold for a call of more than so many tokens, and no fewer."""
    return [price, *(each for at, each in price.above.items() if tokens >= at)]


def _summed(each: Sequence[Sequence[Price]]) -> Price:
    read = sum(max(_of(one, one.input, one.cache_write) for one in some) for some in each)
    said = sum(max(_of(one, one.output, one.reasoning) for one in some) for some in each)
    once = sum(max(one.request for one in some) for some in each)
    return Price(read, said, request=once)


def _of(price: Price, first: float, other: float | None) -> float:
    return max(first, other or 0.0) * (1.0 if price.per_million else _MILLION)
