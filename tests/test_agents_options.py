"""What is said to an agent, and to its model before: sent, or refused where it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kairos import Schema, Step, Workflow
from kairos.adapters.claude import ClaudeAdapter
from kairos.adapters.gemini import GeminiAdapter
from kairos.adapters.openai_adapter import OpenAIAdapter
from kairos.agents import agent, tool
from kairos.exceptions import ConfigError
from kairos.testing import FakeProviders, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator


@tool(effect="read")
def search(query: str) -> str:
    """Search."""
    return query


@tool
def delete(path: str) -> str:
    """Delete."""
    return path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as server:
        for name, value in server.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KAIROS_ALLOW_LOCALHOST", "1")
        yield server


# --- what the model was made with


def test_what_an_adapter_was_made_with_holds_under_an_agent(fake: FakeProviders) -> None:
    model = ClaudeAdapter(
        model="claude-sonnet-4-6", max_tokens=77, system="Be kind.", stop=["XX"], temperature=0.5,
        metadata={"user_id": "u"},
    )  # fmt: skip
    agent(model, instructions="Be brief.").run("hi")
    body = fake.requests[-1].body
    assert body["max_tokens"] == 77
    assert body["stop_sequences"] == ["XX"]
    assert body["metadata"] == {"user_id": "u"}
    assert body["temperature"] == 0.5
    assert body["system"] == "Be kind.\n\nBe brief."


@pytest.mark.parametrize(
    "model, seed",
    [
        (lambda: OpenAIAdapter(model="gpt-4o", api="chat", seed=7, max_tokens=99), "seed"),
        (lambda: GeminiAdapter(seed=7, max_tokens=99), "generationConfig"),
    ],
)
def test_so_it_does_for_every_provider(fake: FakeProviders, model: Any, seed: str) -> None:
    agent(model()).run("hi")
    found = fake.requests[-1].body[seed]
    assert found == 7 or (found["seed"], found["maxOutputTokens"]) == (7, 99)


def test_what_the_agent_says_holds_before_what_its_adapter_was_made_with(
    fake: FakeProviders,
) -> None:
    model = ClaudeAdapter(model="claude-sonnet-4-6", max_tokens=77, temperature=0.5, top_k=3)
    agent(model, max_tokens=55, temperature=0.25, options={"top_k": 4}).run("hi")
    body = fake.requests[-1].body
    assert (body["max_tokens"], body["temperature"], body["top_k"]) == (55, 0.25, 4)


def test_an_adapter_with_messages_of_its_own_is_no_agents_model() -> None:
    with pytest.raises(ConfigError, match="messages or tools of its own"):
        agent(ClaudeAdapter(messages=[{"role": "user", "content": "before"}]))


def test_models_that_stand_in_for_one_another_lose_nothing_unsaid() -> None:
    with pytest.raises(ConfigError, match="differ in temperature"):
        agent(GeminiAdapter(temperature=0.1) | GeminiAdapter(temperature=0.9))
    agent(GeminiAdapter(temperature=0.1) | GeminiAdapter(temperature=0.9), temperature=0.5)
    agent(GeminiAdapter(seed=7) | OpenAIAdapter(model="gpt-4o", api="chat", seed=7))


# --- what cannot be meant


@pytest.mark.parametrize(
    "options, said",
    [
        ({"allow": "search"}, "allow="),
        ({"allow": ["serch*"]}, "names no tool: 'serch"),
        ({"allow": ["search", "del"]}, "names no tool: 'del'"),
        ({"allow": [7]}, "allow="),
        ({"approval_timeout": -1}, "approval_timeout="),
        ({"approval_timeout": 0}, "approval_timeout="),
        ({"approval_timeout": float("inf")}, "approval_timeout="),
        ({"approval_timeout": float("nan")}, "approval_timeout="),
        ({"approval_timeout": None}, "approval_timeout="),
        ({"approval_timeout": True}, "approval_timeout="),
        ({"answer_retries": -1}, "answer_retries="),
        ({"answer_retries": None}, "answer_retries="),
        ({"answer_retries": 1.5}, "answer_retries="),
        ({"tool_retries": "x"}, "tool_retries="),
        ({"tool_retries": -1}, "tool_retries="),
        ({"answer_via": "json"}, "answer_via="),
        ({"max_tokens": 0}, "max_tokens="),
        ({"max_tokens": "10"}, "max_tokens="),
        ({"max_tokens": True}, "max_tokens="),
        ({"timeout": 0}, "timeout="),
        ({"timeout": "1"}, "timeout="),
        ({"timeout": float("nan")}, "timeout="),
        ({"temperature": -0.1}, "temperature="),
        ({"temperature": "hot"}, "temperature="),
        ({"temperature": float("nan")}, "temperature="),
        ({"read_only": "no"}, "read_only="),
        ({"dry_run": 1}, "dry_run="),
        ({"instructions": None}, "instructions="),
        ({"progress": "x"}, "progress="),
        ({"guards": "x"}, "guards="),
        ({"guards": ["x"]}, "guards="),
        ({"on_tool_error": "forgive"}, "on_tool_error="),
        ({"options": "x"}, "options="),
        ({"options": 7}, "options="),
        ({"options": {1: 2}}, "options="),
        ({"options": {"api_key": "sk-123"}}, "no key in the program"),
        ({"options": {"system": "x"}}, "instructions="),
        ({"options": {"tools": []}}, "tools="),
        ({"options": {"messages": []}}, "the task"),
        ({"options": {"max_tokens": 5}, "max_tokens": 6}, "say it once"),
    ],
)
def test_an_option_that_can_mean_nothing_is_refused_by_name(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        agent(ScriptedModel([]), tools=[search, delete], **options)
    assert said in str(raised.value)
    assert "sk-123" not in str(raised.value)
    assert "test_agents_options.py" in str(raised.value.where)


def test_an_allow_list_that_names_no_tool_says_which_there_are() -> None:
    with pytest.raises(ConfigError) as raised:
        agent(ScriptedModel([]), tools=[search, delete], allow=["serch"])
    assert "search, delete" in str(raised.value)
    assert "search" in str(raised.value.fix)


@pytest.mark.parametrize(
    "options",
    [
        {"allow": []},
        {"allow": ("s*", "delete")},
        {"answer_retries": 0, "tool_retries": 0},
        {"options": {}},
        {"options": {"anything": 1}},
    ],
)
def test_what_can_be_meant_is_taken(options: dict[str, Any]) -> None:
    agent(ScriptedModel([]), tools=[search, delete], **options)


MODELS = [
    lambda: ClaudeAdapter(model="claude-sonnet-4-6"),
    lambda: OpenAIAdapter(model="gpt-4o", api="chat"),
    lambda: OpenAIAdapter(model="gpt-4o"),
    GeminiAdapter,
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "options", [{"temprature": 1}, {"api_key": "sk-1"}, {"stop": 7}, {"timeout": "soon"}]
)
def test_options_are_the_adapters_to_take_or_to_refuse(model: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        agent(model(), options=options)
    assert next(iter(options)) in str(raised.value)
    assert "sk-1" not in str(raised.value)


def test_what_this_model_does_not_take_is_refused_where_the_agent_is_made() -> None:
    with pytest.raises(ConfigError, match="takes no temperature"):
        agent(ClaudeAdapter(model="claude-sonnet-5-5"), temperature=0.5)
    with pytest.raises(ConfigError, match="seed"):
        agent(ClaudeAdapter(), options={"seed": 3})


def test_a_contract_that_a_model_can_only_be_told_of_in_words_is_a_warning() -> None:
    """What a provider cannot take of a schema is known when the workflow is verified."""
    properties = {"n": {"type": "integer", "multipleOf": 7}}
    contract = Schema.from_json_schema({"type": "object", "properties": properties})
    model = ClaudeAdapter(model="claude-sonnet-4-6")
    strict = ClaudeAdapter(model="claude-sonnet-4-6", schema_fallback="error")
    step = Step("a", agent(model, task="go"), output_contract=contract)
    assert "KRS224" in {one.code for one in Workflow("w", [step]).verify().findings}
    with pytest.raises(ConfigError, match="cannot be held to this contract"):
        Step("a", agent(strict, task="go"), output_contract=contract)
