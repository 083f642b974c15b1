"""Sessions over each provider's own SDK: what is on the wire is valid, whatever was cut away."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from kairos.agents import Compacted, Compaction, SQLiteStore, agent, tool
from kairos.agents.summary import SYSTEM
from kairos.models import TokenUsage
from kairos.testing import CallTool, FakeProviders, Reply, Say, Status, Think
from provider_faults import APIS, adapter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kairos.agents import AgentResult, Session

LONG = "All about the Iliad, and more of it than anybody wants to read. " * 80
SEAL = "c2VhbGVk"
TOO_LONG = {
    "claude": Status(400, "prompt is too long: 207791 tokens > 200000 maximum"),
    "chat": Status(400, "This model's maximum context length is 8192 tokens."),
    "responses": Status(400, "Your input exceeds the context window of this model."),
    "gemini": Status(400, "The input token count (9) exceeds the maximum number of tokens"),
}


@tool(effect="read")
def search(query: str) -> list[str]:
    """Search the archive."""
    return [query, LONG[:300]]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeProviders]:
    with FakeProviders() as one:
        yield one


@pytest.fixture
def fake(server: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> FakeProviders:
    server.clear()
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    return server


def calls(api: str, *queries: str) -> tuple[Any, ...]:
    made = tuple(CallTool("search", {"query": each}, seal=_seal(api)) for each in queries)
    return (Think("let me see", SEAL), *made) if api != "chat" else made


def _seal(api: str) -> str:
    return SEAL if api == "gemini" else ""


def send(session: Session, task: str, *, in_loop: bool) -> AgentResult:
    return asyncio.run(session.send_async(task)) if in_loop else session.send(task)


@pytest.mark.parametrize("in_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("api", APIS)
def test_three_tasks_with_tools_and_a_cut_between_are_valid_for_each_provider(
    fake: FakeProviders, api: str, in_loop: bool, tmp_path: Path
) -> None:
    full = TokenUsage(8_000, 20, 8_020)
    for reply in (
        calls(api, "a", "b"),
        "The first answer.",
        calls(api, "c"),
        Reply((Say("The second answer."),), usage=full),
        "A record of both.",  # asked for before the third task is
        calls(api, "d"),
        calls(api, "e", "f"),
        "The third answer.",
    ):
        fake.reply(reply)
    store = SQLiteStore(tmp_path / "s.db")
    made = agent(
        adapter(api), tools=[search], compaction=Compaction(window=10_000, keep_turns=1),
        max_tokens=500, instructions="Be brief.",
    )  # fmt: skip
    session = made.session("s", store=store)
    for number, answer in enumerate(("first", "second", "third")):
        result = send(session, f"Task {number}. {LONG}", in_loop=in_loop)
        assert result.answer == f"The {answer} answer.", result
    assert [e.how for e in session.events if isinstance(e, Compacted)] == ["summarised"]
    asked = [json.dumps(each.body) for each in fake.requests]
    assert len(asked) == 8
    assert {each.refused for each in fake.requests} == {None}
    assert [number for number, each in enumerate(asked) if json.dumps(SYSTEM)[1:-1] in each] == [4]
    assert "search" not in json.dumps(fake.requests[4].body.get("tools", ""))
    for each in asked[5:]:
        assert "A record of both." in each
        assert "Task 0." not in each
        assert "Task 2." in each
    again = made.session("s", store=store)
    assert again.messages == session.messages
    store.close()


@pytest.mark.parametrize("api", APIS)
def test_what_a_provider_finds_too_long_is_cut_and_asked_again(
    fake: FakeProviders, api: str
) -> None:
    for reply in (
        calls(api, "a", "b"),
        "The first answer.",
        TOO_LONG[api],
        "A record.",
        "The second answer.",
    ):
        fake.reply(reply)
    made = agent(adapter(api), tools=[search], compaction=Compaction(window=900_000, keep_turns=1))
    session = made.session()
    assert session.send(LONG).answer == "The first answer."
    result = session.send("And now?")
    assert result.answer == "The second answer.", result
    assert [e.how for e in session.events if isinstance(e, Compacted)] == ["summarised"]


@pytest.mark.parametrize("api", APIS)
def test_a_session_goes_on_after_what_was_broken_off_or_said_nothing(
    fake: FakeProviders, api: str, tmp_path: Path
) -> None:
    fake.reply(calls(api, "a", "b"))
    store = SQLiteStore(tmp_path / "s.db")
    made = agent(adapter(api), tools=[search])
    session = made.session("s", store=store)
    stream = session.stream("One.")
    for each in stream:
        if type(each).__name__ == "ModelAnswered":
            break
    stream.close()
    assert session.unfinished
    fake.reply(Reply((Say(""),)))
    made.session("s", store=store).send("Two.")
    fake.reply("The third answer.")
    again = made.session("s", store=store)
    assert again.send("Three.").answer == "The third answer."
    key = next(iter(fake.environ().values()))
    assert key not in repr(again) + repr(list(again.events)) + repr(store.read("s"))
    store.close()
