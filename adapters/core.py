"""What all adapters do in the same way: options, keys, streams, deadlines, errors.

A provider's file says what is its own (see `vendor`); this is the rest.
"""

from __future__ import annotations

import os
import time
from contextlib import aclosing, closing
from dataclasses import fields
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.adapters.asking import Prepared, prepared, request_of
from kairos.adapters.base import sdk
from kairos.adapters.clients import async_client, client
from kairos.adapters.endpoint import key_of, url_of
from kairos.adapters.exchange import Exchange
from kairos.adapters.fallback import Fallback, Link
from kairos.adapters.options import (
    check_types,
    checked_model,
    checked_options,
    no_key_inline,
    not_anothers,
)
from kairos.adapters.vendor import Arguments, Connection, Vendor
from kairos.models.estimate import estimate, spend_before
from kairos.models.limits import ProviderLimits, fingerprint
from kairos.models.parts import to_plain
from kairos.models.prices import PRICES, Prices, context_window
from kairos.models.request import DEFAULT_TIMEOUT, Request
from kairos.models.stream import Finished, StreamEvent
from kairos.models.ways import Way, way_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from kairos.budget import Spend
    from kairos.models.parts import Message
    from kairos.models.prices import Price
    from kairos.models.reply import ModelResponse, TokenUsage

__all__ = ["Adapter"]


class Adapter:
    """A model of a provider: the port `kairos.models.Model`, and calls in one line.

    `model` is the one that the provider's factory has, too, where nothing is said.
    `base_url` is the provider's own where neither it nor the environment says otherwise, `timeout`
    is in seconds and covers a whole call, `allow_localhost` lets plain http go to exactly
    localhost, 127.0.0.1 or ::1, `prices` is the list by which calls are estimated and priced, and
    `limits` says how hard the provider may be pressed by all that reach it with this key.  Further
    options hold for every call that does not say otherwise.

    The key is read from the environment with each call, and nowhere else.  Nothing is retried.

    Raises ConfigError for an unknown option, one that the provider does not take and a key that
    is passed inline, SecurityError for plain http to another host.
    """

    vendor: Vendor
    default_model: str

    def __init__(
        self,
        *,
        model: str | None = None,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        allow_localhost: bool = False,
        prices: Prices = PRICES,
        limits: ProviderLimits | None = None,
        **options: Any,
    ) -> None:
        vendor = self.vendor
        no_key_inline(vendor, options)
        check_types(
            vendor,
            {
                "prices": (prices, Prices),
                "limits": (ProviderLimits() if limits is None else limits, ProviderLimits),
                "allow_localhost": (allow_localhost, bool),
            },
        )
        self._model = checked_model(vendor, self.default_model if model is None else model)
        self._base_url = base_url
        self._allow_localhost = allow_localhost
        self._prices = prices
        self._limits = limits
        self._options = checked_options(vendor, {"timeout": timeout, **options})
        if base_url is not None:
            url_of(vendor, base_url, allow_localhost=allow_localhost)
        elif not any(os.environ.get(name, "").strip() for name in vendor.addresses):
            not_anothers(vendor, self._model)

    @property
    def provider(self) -> str:
        """Whose it is."""
        return self.vendor.name

    @property
    def name(self) -> str:
        """Which model it is."""
        return self._model

    @property
    def context_window(self) -> int | None:
        """How many tokens the model reads at most; None where nobody knows."""
        return context_window(self.provider, self._model, base_url=self._base_url or "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self._model!r})"

    def __or__(self, other: Link | Fallback) -> Fallback:
        """Return a model that asks `other` where this one fails."""
        return Fallback((self,)) | other

    def identity(self) -> dict[str, Any]:
        """Return, as plain JSON, which model of which server is asked, and with which options."""
        asked = self.request("x")
        url = url_of(self.vendor, self._base_url, allow_localhost=self._allow_localhost)
        told = {field.name: getattr(asked, field.name) for field in fields(asked)}
        told["messages"] = [to_plain(message) for message in asked.messages]
        del told["timeout"]
        api = type(self.vendor).__name__
        return {"provider": self.provider, "api": api, "model": self._model, "server": url, **told}

    # --- what it costs

    def price(self, request: Request) -> Price | None:
        """Return by which prices a call is estimated and booked; None where nobody knows them."""
        return self._prices.price(self.provider, self._model, **self._priced_as(request))

    def most(self, request: Request) -> Spend:
        """Return what a call may cost at most; `usd` is None where nobody knows the price."""
        return spend_before(
            request, self.provider, self._model, prices=self._prices, **self._priced_as(request)
        )

    def _cost(self, request: Request) -> Callable[[str, TokenUsage], float | None]:
        """Return what prices the usage of a request: by the model that was asked, or answered."""

        def cost(answered: str, usage: TokenUsage) -> float | None:
            which = self._priced_as(request)
            found = self._prices.cost(self.provider, self._model, usage, **which)
            if found is None and answered and answered != self._model:
                found = self._prices.cost(self.provider, answered, usage, **which)
            return found

        return cost

    def _priced_as(self, request: Request) -> dict[str, Any]:
        tier = request.options.get("service_tier")
        # an address of the environment is a gateway to the provider, as far as prices go
        url = self._base_url or ""
        return {"base_url": url, "tier": tier if isinstance(tier, str) else ""}

    # --- one call

    def call(self, prompt: str, **options: Any) -> ModelResponse:
        """Send `prompt` and wait for the whole answer; `options` hold for this call alone.

        Raises ModelError for all that goes wrong at the provider or on the way, and ConfigError,
        before any request, for what is wrong here.
        """
        with closing(self.stream(self.request(prompt, **options))) as events:
            for event in events:
                if isinstance(event, Finished):
                    return event.response
        raise _endless()

    async def call_async(self, prompt: str, **options: Any) -> ModelResponse:
        """Do as `call`, without blocking the event loop."""
        async with aclosing(self.stream_async(self.request(prompt, **options))) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.response
        raise _endless()

    def request(
        self,
        prompt: str | Message | None = None,
        *,
        output: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Request:
        """Return the request that a call with these options makes.

        The prompt comes after `messages`.  `output` is the JSON Schema that the reply has to
        satisfy.  Raises ConfigError for options that cannot be sent.
        """
        given = {**self._options, **checked_options(self.vendor, options)}
        return request_of(self.vendor, prompt, output, given)

    def shortfall(self, output: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what of an output schema the provider is told in words, and the way round it.

        Raises ConfigError, as the call would, where that way is barred.
        """
        return self._given(self.request("x", output=output)).warnings

    def checked(self, request: Request) -> tuple[str, ...]:
        """Return what of a request the provider is told in words, and the way round it.

        Raises ConfigError for what it cannot be asked, as the call would.
        """
        given = self._given(request)
        self.vendor.arguments(given.request, self._model)
        return given.warnings

    # --- streams

    def stream(self, request: Request) -> Generator[StreamEvent]:
        """Ask, and give out the answer as it comes; closing it ends the call."""
        return self._stream(self._ready(request))

    def stream_async(self, request: Request) -> AsyncGenerator[StreamEvent]:
        """Do as `stream`, on the running event loop."""
        return self._stream_async(self._ready(request))

    def _ready(self, request: Request) -> _Ready:
        """Do all that can fail before a request is made."""
        vendor, given = self.vendor, self._given(request)
        module = sdk(vendor.module, vendor.extra)
        url = url_of(vendor, self._base_url, allow_localhost=self._allow_localhost)
        to = Connection(key_of(vendor, url), url, request.timeout)
        key = fingerprint(to.key)
        way = way_of(self.provider, self._model, base_url=url, key=key, limits=self._limits)
        return _Ready(module, to, vendor.arguments(given.request, self._model), given, way)

    def _given(self, request: Request) -> Prepared:
        given = prepared(self.vendor, self._model, request)
        self.vendor.refuses(given.request, self._model)
        return given

    def _tokens(self, ready: _Ready) -> int:
        """Return how many tokens a call may take, where that is limited."""
        return sum(estimate(ready.given.request)) if ready.way.counts_tokens else 0

    def _exchange(self, ready: _Ready) -> Exchange:
        given = ready.given
        return Exchange(self.vendor, self._model, given, self._cost(given.request))

    def _stream(self, ready: _Ready) -> Generator[StreamEvent]:
        vendor, timeout = self.vendor, ready.given.request.timeout
        exchange = self._exchange(ready)
        entry = ready.way.enter(tokens=self._tokens(ready), patience=timeout)
        begun = time.monotonic()
        opened: Any = None
        failed: BaseException | None = None
        try:
            opened = vendor.open(client(vendor, ready.sdk, ready.to), ready.arguments, timeout)
            feed = exchange.feed
            try:
                for event in opened.events:
                    # read to its very end, so that its connection can be used again
                    if not exchange.decoder.done:
                        yield from feed(event)
            except Exception:
                if not exchange.decoder.done:
                    raise
            finished = exchange.finished((time.monotonic() - begun) * 1000.0)
            entry.used(finished.response.usage.total_tokens)
            entry.leave()  # whoever closes this from here on has had the whole answer
            yield finished
        except Exception as error:  # noqa: BLE001 - SDKs raise whatever they trip over
            failed = exchange.failure(ready.sdk, error)
            raise failed from None
        except BaseException as broken_off:
            failed = broken_off
            raise
        finally:
            entry.leave(failed)
            if opened is not None:
                opened.close()

    async def _stream_async(self, ready: _Ready) -> AsyncGenerator[StreamEvent]:
        vendor, timeout = self.vendor, ready.given.request.timeout
        exchange = self._exchange(ready)
        entry = await ready.way.enter_async(tokens=self._tokens(ready), patience=timeout)
        begun = time.monotonic()
        opened: Any = None
        failed: BaseException | None = None
        try:
            made = await async_client(vendor, ready.sdk, ready.to)
            # no deadline that cancels: a connection that is being made would be left open, and a
            # generator must not be cancelled from where it is suspended at a yield
            opened = await vendor.open(made, ready.arguments, timeout)
            feed = exchange.feed
            try:
                async for event in opened.events:
                    if not exchange.decoder.done:
                        for said in feed(event):
                            yield said
            except Exception:
                if not exchange.decoder.done:
                    raise
            finished = exchange.finished((time.monotonic() - begun) * 1000.0)
            entry.used(finished.response.usage.total_tokens)
            entry.leave()  # whoever closes this from here on has had the whole answer
            yield finished
        except Exception as error:  # noqa: BLE001 - SDKs raise whatever they trip over
            failed = exchange.failure(ready.sdk, error)
            raise failed from None
        except BaseException as broken_off:
            failed = broken_off
            raise
        finally:
            entry.leave(failed)
            if opened is not None:
                await opened.close()


class _Ready(NamedTuple):
    """A call that nothing here can refuse any more.  Its repr shows no key: see Connection."""

    sdk: ModuleType
    to: Connection
    arguments: Arguments
    given: Prepared
    way: Way


def _endless() -> RuntimeError:
    return RuntimeError("a stream has ended without its end")
