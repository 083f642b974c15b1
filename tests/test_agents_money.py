"""What an answer may take is known before it is asked for: no limit is exceeded by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import Budget, Step, Workflow
from kairos.adapters.claude import ClaudeAdapter
from kairos.agents import Compacted, Compaction, agent, tool
from kairos.models import ModelError, Request, TokenUsage
from kairos.models.estimate import estimate
from kairos.models.prices import Price, Prices
from kairos.testing import CallTool, FakeProviders, Reply, Say, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRICE = Price(input=10.0, output=1000.0)
FULL = 64.0


@tool(effect="read")
def look(at: int) -> str:
    """Look."""
    return f"{at} " * 40


class Priced(ScriptedModel):
    """Takes all that it may take, and says what it costs; nobody tells it when to stop."""

    own: Price | None = PRICE

    def price(self, request: Request) -> Price | None:
        return self.own


def greedy(reply: Callable[[int], Any]) -> Priced:
    """Return a model that reads and says as much as a request can come to."""
    count = 0

    def answer(request: Request) -> Any:
        nonlocal count
        count += 1
        read, said = estimate(request)
        made = reply(count)
        if isinstance(made, ModelError):
            return made
        usage = TokenUsage(read, said, read + said)
        cost = PRICE.of(usage)
        return Reply((made,), usage=TokenUsage(read, said, read + said, cost))

    return Priced(answer)


def calls(count: int) -> CallTool:
    return CallTool("look", {"at": count})


Run = Any
DRIVERS = pytest.mark.parametrize(
    "run",
    [
        lambda one: one.run("go"),
        lambda one: asyncio.run(one.run_async("go")),
        lambda one: list(one.stream("go"))[-1].result,
    ],
    ids=["plain", "async", "stream"],
)


@DRIVERS
@pytest.mark.parametrize("usd", [0.001, 0.05, 0.5, 3.0, 20.0])
def test_money_is_never_exceeded_not_even_by_one_answer(run: Run, usd: float) -> None:
    model = greedy(calls)
    result = run(agent(model, tools=[look], max_usd=usd, max_repeated_calls=None))
    assert result.cost <= usd
    assert result.stop_reason == "usd" if usd < FULL else "iterations"
    assert bool(model.requests) == (usd >= 0.05)


@given(
    st.sampled_from(["max_input_tokens", "max_output_tokens", "max_total_tokens"]),
    st.integers(1, 40_000),
)
def test_tokens_are_never_exceeded_not_even_by_one_answer(option: str, most: int) -> None:
    limits: Any = {option: most}
    result = agent(greedy(calls), tools=[look], max_repeated_calls=None, **limits).run("go")
    used = {
        "max_input_tokens": result.usage.input_tokens,
        "max_output_tokens": result.usage.output_tokens,
        "max_total_tokens": result.usage.total_tokens,
    }
    assert used[option] <= most
    assert result.stop_reason in {option.removeprefix("max_"), "iterations"}


def test_an_answer_is_asked_for_as_long_as_the_rest_pays_for() -> None:
    model = greedy(lambda _: Say("well"))
    assert agent(model, max_usd=0.1).run("go").answer == "well"
    assert 90 <= model.requests[0].max_tokens < 100
    plenty = greedy(lambda _: Say("well"))
    agent(plenty, max_usd=100.0).run("go")
    assert plenty.requests[0].max_tokens == 4096


def test_an_answer_that_a_limit_cut_off_ends_with_the_limit() -> None:
    cut = Reply((Say("half of"),), stop="length", usage=TokenUsage(10, 90, 100, 0.09))
    assert agent(Priced([cut]), max_usd=0.1).run("go").stop_reason == "usd"
    assert agent(Priced([cut]), max_usd=100.0).run("go").stop_reason == "cut_off"
    failed = ModelError("cut_off", "", provider="scripted", usage=TokenUsage(10, 90, 100, 0.09))
    assert agent(Priced([failed]), max_usd=0.1).run("go").stop_reason == "usd"
    assert agent(Priced([failed]), max_usd=100.0).run("go").stop_reason == "model_failed"


@DRIVERS
def test_a_model_that_says_that_its_price_is_unknown_is_not_asked(run: Run) -> None:
    model = Priced(["never"])
    model.own = None
    result = run(agent(model, max_usd=1.0))
    assert (result.stop_reason, result.iterations, model.requests) == ("unpriced", 0, [])


def test_what_a_failed_call_may_have_cost_is_taken_for_spent() -> None:
    lost = ModelError("interrupted", "it broke off", provider="scripted")
    model = greedy(lambda count: lost if count == 1 else Say("well"))
    result = agent(model, max_usd=4.2).run("go")
    assert result.answer == "well"
    first, second = (request.max_tokens for request in model.requests)
    assert first == 4096
    assert second < 200


def test_options_that_ask_for_more_answers_are_paid_for() -> None:
    model = greedy(lambda _: Say("well"))
    agent(model, max_usd=0.4, options={"n": 4}).run("go")
    assert 90 <= model.requests[0].max_tokens < 100


def test_a_long_conversation_is_held_to_what_the_provider_counted() -> None:
    """The estimate is two or three times too high; a count that is there is better."""
    text = "word " * 2_000
    replies = [
        Reply((CallTool("look", {"at": 1}),), usage=TokenUsage(2_050, 10, 2_060, 0.03)),
        Reply((Say("done"),), usage=TokenUsage(2_150, 10, 2_160, 0.03)),
    ]
    made = agent(Priced(replies), tools=[look], max_input_tokens=8_000)
    assert made.run(text).answer == "done"


def test_a_summary_is_held_to_what_is_left() -> None:
    def answer(request: Request) -> Any:
        read, said = estimate(request)
        size = min(said, 300)
        usage = TokenUsage(read // 2, size, read // 2 + size)
        usage = TokenUsage(read // 2, size, read // 2 + size, PRICE.of(usage))
        made: Any = Say("a record") if not request.tools else calls(len(model.requests))
        return Reply((made,), usage=usage)

    model = Priced(answer)
    made = agent(
        model, tools=[look], max_tokens=300, max_iterations=200, max_usd=6.0,
        compaction=Compaction(window=3_000, keep_turns=2, summary_tokens=600),
    )  # fmt: skip
    result = made.run("go")
    assert result.stop_reason == "usd"
    assert result.cost is not None
    assert result.cost <= 6.0
    assert any(isinstance(each, Compacted) for each in result.events)


def test_in_a_step_both_the_budget_and_the_limit_hold() -> None:
    one = greedy(calls)
    made = agent(one, tools=[look], max_usd=50.0, task="go", max_repeated_calls=None)
    result = Workflow("w", [Step("a", made)], budget=Budget(usd=1.0)).run()
    assert result.error is not None
    other = greedy(calls)
    made = agent(other, tools=[look], max_usd=1.0, task="go", max_repeated_calls=None)
    result = Workflow("w", [Step("a", made)], budget=Budget(usd=50.0)).run()
    assert "usd" in str(result.error)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as server:
        for name, value in server.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KAIROS_ALLOW_LOCALHOST", "1")
        yield server


def test_the_sdk_is_given_no_more_than_the_rest_pays_for(fake: FakeProviders) -> None:
    fake.answer(
        lambda asked: Reply(
            (Say("y"),),
            usage=TokenUsage(10, asked.body["max_tokens"], asked.body["max_tokens"] + 10),
        )
    )
    model = ClaudeAdapter(model="m", prices=Prices({"m": Price(input=1.0, output=1000.0)}))
    result = agent(model, max_usd=0.05).run("hi")
    assert result.cost is not None
    assert 0.04 < result.cost <= 0.05
