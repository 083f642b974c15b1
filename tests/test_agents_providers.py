"""An agent over a provider's own SDK, on loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kairos import Budget, Step, Workflow
from kairos.adapters.claude import ClaudeAdapter
from kairos.agents import agent, event_to_plain, tool
from kairos.models.prices import Price, Prices
from kairos.testing import CallTool, FakeProviders, ScriptedModel
from kairos.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-ant-secret-key-0123456789abcdef"


@tool(effect="read")
def search(query: str) -> list[str]:
    """Search the archive."""
    return [query]


@pytest.fixture(name="fake")
def _fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    pytest.importorskip("anthropic")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with FakeProviders() as fake:
        yield fake


def model(fake: FakeProviders) -> ClaudeAdapter:
    return ClaudeAdapter(model="claude-sonnet-4-6", base_url=fake.url, allow_localhost=True)


def test_an_agent_talks_to_claude_and_no_key_gets_out(fake: FakeProviders) -> None:
    fake.reply(CallTool("search", {"query": "Iliad"}), provider="anthropic")
    fake.reply("It is by Homer.", provider="anthropic")
    made = agent(model(fake), tools=[search], instructions="Be brief.")
    result = made.run("Who?")
    assert result.answer == "It is by Homer."
    assert len(fake.requests) == 2
    events = json.dumps([event_to_plain(event) for event in result.events])
    assert KEY not in events + repr(result) + repr(made) + repr(result.messages)


def test_a_rejected_key_is_told_without_it(fake: FakeProviders) -> None:
    from kairos.testing import Status

    fake.reply(Status(401, KEY), provider="anthropic")
    result = agent(model(fake)).run("Who?")
    assert result.stop_reason == "model_failed"
    assert KEY not in repr(result) + str(result.error) + repr(result.error)
    assert len(fake.requests) == 1


def test_an_agent_in_a_step_reserves_and_is_charged(fake: FakeProviders) -> None:
    fake.reply(CallTool("search", {"query": "Iliad"}), provider="anthropic")
    fake.reply("It is by Homer.", provider="anthropic")
    workflow = Workflow("w", [Step("a", agent(model(fake), tools=[search], task="Who?"))])
    result = workflow.run()
    assert result.output == "It is by Homer."
    assert result.llm_calls == 2


@pytest.mark.parametrize("dollars, calls", [(0.001, 1), (1_000.0, 0)])
def test_an_agent_in_a_step_reserves_by_its_models_own_prices(
    fake: FakeProviders, dollars: float, calls: int
) -> None:
    own = Prices({"house-model": Price(input=dollars, output=dollars)})
    priced = ClaudeAdapter(model="house-model", base_url=fake.url, allow_localhost=True, prices=own)
    workflow = Workflow("w", [Step("a", agent(priced, task="Who?"))], budget=Budget(usd=1.0))
    result = workflow.run()
    assert result.status == ("complete" if calls else "failed")
    assert len(fake.requests) == calls


def test_time_is_up_between_turns_on_a_clock_by_hand() -> None:
    clock = ManualClock()

    @tool
    def wait() -> str:
        clock.advance(7)
        return "waited"

    scripted = ScriptedModel([CallTool("wait", {}) for _ in range(9)])
    result = agent(scripted, tools=[wait], max_seconds=20, clock=clock).run("go")
    assert result.stop_reason == "seconds"
    assert len(scripted.requests) <= 3
    assert scripted.requests[1].timeout == pytest.approx(13)
