"""What one call's fate means for the next: to the same model, to another, after a break."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kairos import Step, Workflow
from kairos.adapters.claude import ClaudeAdapter, claude
from kairos.models import ModelError
from kairos.models.limits import ProviderLimits
from kairos.models.ways import Way, way_of
from kairos.testing import FakeProviders, Stall, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ASKED, OTHER = "claude-opus-5-5", "claude-sonnet-5-5"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as fake:
        for name, value in {**fake.environ(), "KAIROS_ALLOW_LOCALHOST": "1"}.items():
            monkeypatch.setenv(name, value)
        yield fake


def refused(after: float) -> ModelError:
    return ModelError("rate_limited", "too many", provider="anthropic", retry_after=after)


def test_a_refusal_keeps_waiting_who_asks_the_same_model_and_nobody_else() -> None:
    ways = [way_of("anthropic", model) for model in (ASKED, OTHER)]
    ways[0].enter(tokens=1, patience=1.0).leave(refused(60))
    with pytest.raises(ModelError, match="its turn would not come in time"):
        ways[0].enter(tokens=1, patience=1.0)
    ways[1].enter(tokens=1, patience=1.0).leave()


def test_a_fallback_is_asked_at_once_where_the_first_was_refused(fake: FakeProviders) -> None:
    fake.reply(Status(429, retry_after=600), model=ASKED)
    both = claude("x", model=ASKED) | claude("x", model=OTHER)
    for _ in range(2):  # the second time the first model is not even asked
        result = Workflow("w", [Step("a", both, retries=0, timeout=20)]).run()
        assert result.output == "echo: x"
    assert [each.body["model"] for each in fake.requests] == [ASKED, OTHER, OTHER]


def test_slots_and_rates_are_shared_by_a_providers_models() -> None:
    limits = ProviderLimits(concurrency=1)
    ways = [way_of("anthropic", model, limits=limits) for model in (ASKED, OTHER)]
    passed = ways[0].enter(tokens=1, patience=1.0)
    with pytest.raises(ModelError, match="its turn"):
        ways[1].enter(tokens=1, patience=0.0)
    assert ways[1].model.busy == 0
    passed.leave()
    ways[1].enter(tokens=1, patience=0.0).leave()
    assert [way.provider.busy for way in ways] == [0, 0]


@pytest.mark.parametrize("after", [3_600.0, 1e9, float("1e300")])
def test_no_refusal_keeps_everybody_waiting_for_long(after: float) -> None:
    way = way_of("anthropic", ASKED)
    way.enter(tokens=1, patience=1.0).leave(refused(after))
    with pytest.raises(ModelError) as raised:
        way.enter(tokens=1, patience=1.0)
    assert raised.value.retry_after is not None
    assert raised.value.retry_after <= 600


async def until(so: Callable[[], bool]) -> None:
    while not so():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)


async def opened(fake: FakeProviders) -> tuple[ClaudeAdapter, Way]:
    limits = ProviderLimits(failures=1, cooldown=1e-9)
    model = ClaudeAdapter(model=ASKED, limits=limits)
    fake.script(Status(500))
    with pytest.raises(ModelError):
        await model.call_async("x")
    ready = model._ready(model.request("x"))
    assert ready.way.model.state == "half-open"
    return model, ready.way


async def test_a_probe_that_is_broken_off_shows_nothing(fake: FakeProviders) -> None:
    model, way = await opened(fake)
    fake.script(("hello", Stall(60, at=0)))
    probing = asyncio.create_task(model.call_async("x"))
    await until(lambda: way.model.busy == 1 and fake.count() == 2)
    probing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probing
    assert (way.model.state, way.model.busy, way.provider.busy) == ("half-open", 0, 0)


async def test_a_probe_that_was_answered_closes_the_circuit(fake: FakeProviders) -> None:
    model, way = await opened(fake)
    await model.call_async("x")
    assert way.model.state == "closed"


async def test_who_waits_for_a_slot_and_is_broken_off_says_nothing_of_the_model() -> None:
    way = way_of("anthropic", ASKED, limits=ProviderLimits(concurrency=1, failures=1))
    held = await way.enter_async(tokens=1, patience=1.0)
    waiting = asyncio.create_task(way.enter_async(tokens=1, patience=60.0))
    await until(lambda: way.model.busy == 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    held.leave()
    assert (way.model.state, way.model.busy, way.provider.busy) == ("closed", 0, 0)
