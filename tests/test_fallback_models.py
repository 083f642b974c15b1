"""Models that stand in for one another, as one model: for agents, and for calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from kairos import Budget, Step, Workflow
from kairos.adapters.claude import ClaudeAdapter
from kairos.adapters.fallback import Fallback, added_price, added_usage
from kairos.adapters.gemini import GeminiAdapter
from kairos.adapters.openai_adapter import OpenAIAdapter
from kairos.agents import agent, tool
from kairos.exceptions import ConfigError
from kairos.models import Finished, ModelError, Request, TextDelta, TokenUsage, as_messages
from kairos.models.prices import Price, Prices
from kairos.testing import Answer, CallTool, Cut, FakeProviders, Refuse, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

HELLO = Request(as_messages("Hello"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as fake:
        for name, value in {**fake.environ(), "KAIROS_ALLOW_LOCALHOST": "1"}.items():
            monkeypatch.setenv(name, value)
        yield fake


@tool(effect="read")
def population(city: str) -> int:
    """Look up how many live there."""
    return len(city) * 1000


def both() -> Fallback:
    return ClaudeAdapter() | GeminiAdapter()


def asked(fake: FakeProviders) -> list[str]:
    return [each.provider for each in fake.requests]


def test_an_agent_goes_on_with_the_other_in_the_middle_of_its_task(fake: FakeProviders) -> None:
    fake.script(CallTool("population", {"city": "Bern"}), Status(529), provider="anthropic")
    fake.script("Bern has 4000.", provider="gemini")
    result = agent(both(), tools=[population]).run("How many live in Bern?")
    assert (result.answer, result.stop_reason) == ("Bern has 4000.", "answered")
    assert [each.output for each in result.actions] == ["4000"]
    assert asked(fake) == ["anthropic", "anthropic", "gemini"]


async def test_it_does_so_on_an_event_loop(fake: FakeProviders) -> None:
    fake.script(Refuse(), Refuse(), provider="anthropic")
    fake.script(CallTool("population", {"city": "Bern"}), provider="gemini")
    result = await agent(both(), tools=[population]).run_async("How many live in Bern?")
    assert "4000" in result.answer
    assert asked(fake) == ["anthropic", "gemini"] * 2


class Count(BaseModel):
    people: int


def test_a_typed_answer_of_a_step_comes_from_whoever_gives_it(fake: FakeProviders) -> None:
    fake.script(Status(500), provider="anthropic")
    fake.script(Answer({"people": 4000}), provider="gemini")
    step = Step("count", agent(both(), task="How many?"), output_contract=Count)
    result = Workflow("w", [step]).run()
    assert result.output == {"people": 4000}
    assert len(result.step_results["count"].attempts) == 1


def test_three_are_one_however_they_are_put_together(fake: FakeProviders) -> None:
    one, two, three = ClaudeAdapter(), OpenAIAdapter(model="gpt-4.1"), GeminiAdapter()
    for model in ((one | two) | three, one | (two | three)):
        assert model.models == (one, two, three)
    fake.reply(Status(500), provider="anthropic")
    fake.reply(Status(429), provider="openai")
    events = list((one | two | three).stream(HELLO))
    assert isinstance(events[-1], Finished)
    assert events[-1].response.text == "echo: Hello"


def test_nothing_that_was_given_out_is_said_twice(fake: FakeProviders) -> None:
    fake.script(("Hello, this is an answer", Cut(after_events=4)), provider="anthropic")
    stream = both().stream(HELLO)
    assert any(isinstance(event, TextDelta) for event in stream)
    with pytest.raises(ModelError) as raised:
        list(stream)
    assert raised.value.emitted
    assert asked(fake) == ["anthropic"]


def test_where_all_fail_all_are_told_of_and_the_hopeful_one_decides(fake: FakeProviders) -> None:
    fake.reply(Status(429, retry_after=7), provider="anthropic")
    fake.reply(Status(400), provider="gemini")
    with pytest.raises(ModelError, match="; ") as raised:
        list(both().stream(HELLO))
    assert (raised.value.kind, raised.value.retry_after) == ("rate_limited", 7.0)


def test_what_failed_calls_consumed_is_told_with_the_answer(fake: FakeProviders) -> None:
    fake.script(Refuse(), provider="anthropic")
    (*_, finished) = both().stream(HELLO)
    assert isinstance(finished, Finished)
    alone = GeminiAdapter().call("Hello").usage
    assert finished.response.usage.input_tokens > alone.input_tokens


def test_a_budget_reserves_for_all_of_them(fake: FakeProviders) -> None:
    prices = Prices({"claude-x": Price(10.0, 100.0), "gemini-x": Price(1.0, 10.0)})
    first = ClaudeAdapter(model="claude-x", prices=prices, max_tokens=1000)
    second = GeminiAdapter(model="gemini-x", prices=prices, max_tokens=1000)
    most = [one.most(HELLO).usd or 0.0 for one in (first, second)]
    price = (first | second).price(HELLO)
    assert price is not None
    assert price.most(one_most := first.most(HELLO).input_tokens, 4096) >= sum(most) * 0.999
    assert one_most > 0
    for limit, status in ((sum(most) * 0.9, "failed"), (sum(most) * 1.1, "complete")):
        step = Step("a", agent(first | second, task="Hello", max_tokens=4096))
        result = Workflow("w", [step], budget=Budget(usd=limit)).run()
        assert str(result.status) == status


def test_a_price_that_one_of_them_lacks_is_unknown(fake: FakeProviders) -> None:
    assert fake.url
    unknown = ClaudeAdapter(model="claude-of-mine", prices=Prices(listed=False))
    assert (unknown | GeminiAdapter()).price(HELLO) is None


_money = st.floats(0, 100, allow_nan=False)
_price = st.builds(
    Price,
    _money,
    _money,
    cache_write=st.none() | _money,
    reasoning=st.none() | _money,
    request=_money,
    above=st.dictionaries(st.integers(1, 500), st.builds(Price, _money, _money), max_size=2),
)


@given(st.lists(_price, min_size=1, max_size=3), st.integers(0, 1000), st.integers(0, 1000))
def test_a_sum_of_prices_is_never_below_what_it_sums(
    prices: list[Price], read: int, written: int
) -> None:
    together = added_price(prices).most(read, written)
    assert together >= sum(each.most(read, written, caching=True) for each in prices) * (1 - 1e-9)


def test_usage_is_added_up_and_an_unknown_cost_makes_it_unknown() -> None:
    known, unknown = TokenUsage(1, 2, 3, 0.5, 1, 1, 1), TokenUsage(4, 5, 9, None, estimated=True)
    assert added_usage(known, known) == TokenUsage(2, 4, 6, 1.0, 2, 2, 2)
    assert added_usage(known, unknown) == TokenUsage(5, 7, 12, None, 1, 1, 1, estimated=True)


@pytest.mark.parametrize("other", ["gemini", None, 5, object(), lambda ctx: 1])
def test_a_model_falls_back_on_models_only(other: Any) -> None:
    with pytest.raises(ConfigError, match="falls back on what is none"):
        _ = ClaudeAdapter() | other
    with pytest.raises(ConfigError, match="falls back on what is none"):
        _ = both() | other


def test_the_smallest_window_of_all_holds() -> None:
    models = both().models
    assert both().context_window == min(one.context_window or 0 for one in models)
    unknown = ClaudeAdapter(model="claude-of-mine") | GeminiAdapter()
    assert unknown.context_window is None
