"""One agent, with tools, a guard, an approval and a typed answer, over every SDK there is."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from kairos import FailurePolicy, Step, Workflow
from kairos.agents import Allow, Ask, Final, agent, tool
from kairos.models import TextDelta, ToolCallStarted, ToolResult
from kairos.testing import Answer, CallTool, Cut, FakeProviders, Reply, Say, Status
from provider_faults import APIS, adapter

if TYPE_CHECKING:
    from kairos.agents import AgentResult, Question, ToolRequest
    from kairos.agents.agent import Agent

KEY = "sk-only-for-tests-0123456789abcdef"

MODES = ("run", "run_async", "stream", "stream_async")
EVERYWHERE = pytest.mark.parametrize("api", APIS)
ANYHOW = pytest.mark.parametrize("mode", MODES)

SDKS = {"claude": "anthropic", "chat": "openai", "responses": "openai", "gemini": "google.genai"}


class Refund(BaseModel):
    """What was decided of an order."""

    order: int
    refunded: bool


PAID: list[tuple[int, float]] = []
ASKED: list[dict[str, Any]] = []


@tool(effect="read")
def orders(customer: str, limit: int = 5) -> list[int]:
    """Return the newest orders of a customer.

    Args:
        customer: Who ordered.
        limit: How many at most.
    """
    return [7, 8][:limit]


@tool(effect="external")
async def pay_back(order: int, amount: float) -> str:
    """Pay the money of an order back."""
    await asyncio.sleep(0)
    PAID.append((order, amount))
    return f"paid {amount} for order {order}"


def above_ten(request: ToolRequest) -> Ask | Allow:
    if request.tool == "pay_back" and request.arguments["amount"] > 10:
        return Ask("more than 10")
    return Allow()


def approve(question: Question) -> bool:
    ASKED.append(dict(question.arguments))
    return bool(question.arguments["amount"] < 100)


@pytest.fixture(name="all_fakes")
def _all_fakes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    for module in {SDKS[request.getfixturevalue("api")]}:
        pytest.importorskip(module)
    PAID.clear()
    ASKED.clear()
    with FakeProviders() as fakes:
        for name, value in fakes.environ(KEY).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KAIROS_ALLOW_LOCALHOST", "1")
        yield fakes


def desk(api: str, **options: Any) -> Agent:
    given: dict[str, Any] = {
        "tools": [orders, pay_back],
        "guards": [above_ten],
        "approve": approve,
        "output": Refund,
        **options,
    }
    return agent(adapter(api), instructions="You are a refund desk.", **given)


def refunded(value: Any, *, by_tool: bool) -> Any:
    return CallTool("final_answer", value) if by_tool else Answer(value)


def arrange(fakes: FakeProviders, *, by_tool: bool) -> None:
    fakes.script(
        (Say("Let me see."), CallTool("orders", {"customer": "Ann"})),
        (
            CallTool("pay_back", {"order": 7, "amount": 5.5}),
            CallTool("pay_back", {"order": 8, "amount": 50.0}),
            CallTool("pay_back", {"order": 9, "amount": 500.0}),
            CallTool("pay_back", {"order": "ten"}),
            CallTool("write_off", {"order": 9}),
        ),
        refunded({"order": "all of them"}, by_tool=by_tool),
        refunded({"order": 7, "refunded": True}, by_tool=by_tool),
    )


def worked(made: Agent, mode: str, task: str = "Refund Ann.") -> tuple[AgentResult, list[Any]]:
    said: list[Any] = []

    async def run() -> AgentResult:
        if mode == "run_async":
            return await made.run_async(task)
        async for each in made.stream_async(task):
            said.append(each)
        return said[-1].result  # type: ignore[no-any-return]

    if mode == "run":
        return made.run(task), said
    if mode == "stream":
        said += made.stream(task)
        return said[-1].result, said
    return asyncio.run(run()), said


EXPECTED = {
    ("orders", "done", "allow", "[7,8]"),
    ("pay_back", "done", "allow", "paid 5.5 for order 7"),
    ("pay_back", "done", "allow", "paid 50.0 for order 8"),
    ("pay_back", "denied", "deny", None),
    ("pay_back", "invalid", "", None),
    ("write_off", "unknown", "", None),
}


def held_to_what_was_expected(result: AgentResult) -> None:
    assert (result.stop_reason, result.answer) == ("answered", Refund(order=7, refunded=True))
    assert result.iterations == 4
    found = {
        (each.tool, each.outcome, each.decision, each.output if each.outcome == "done" else None)
        for each in result.actions
    }
    assert found == EXPECTED


@EVERYWHERE
@ANYHOW
@pytest.mark.parametrize("via", ["output", "tool"])
def test_one_agent_does_the_same_over_every_sdk(
    api: str, mode: str, via: Any, all_fakes: FakeProviders
) -> None:
    arrange(all_fakes, by_tool=via == "tool")
    result, said = worked(desk(api, answer_via=via), mode)
    held_to_what_was_expected(result)
    assert sorted(PAID) == [(7, 5.5), (8, 50.0)]
    assert sorted(each["amount"] for each in ASKED) == [50.0, 500.0]
    assert all_fakes.left == 0
    assert len(all_fakes.requests) == 4
    assert result.usage.input_tokens > 0
    assert result.usage.output_tokens > 0
    told = [p for m in result.messages for p in m.parts if isinstance(p, ToolResult)]
    assert [part.failed for part in told[:6]] == [False, False, False, True, True, True]
    if mode.startswith("stream"):
        assert sum(isinstance(each, Final) for each in said) == 1
        assert sum(isinstance(each, ToolCallStarted) for each in said) >= 6
        text = "".join(each.text for each in said if isinstance(each, TextDelta))
        assert text.startswith("Let me see.")


@EVERYWHERE
def test_every_sdk_shows_the_tools_as_they_are_described(
    api: str, all_fakes: FakeProviders
) -> None:
    arrange(all_fakes, by_tool=False)
    desk(api).run("Refund Ann.")
    sent = json.dumps(all_fakes.requests[0].body)
    for words in ("Return the newest orders of a customer.", "Who ordered.", "How many at most."):
        assert words in sent


@EVERYWHERE
@ANYHOW
def test_one_agent_works_towards_its_goal_over_every_sdk(
    api: str, mode: str, all_fakes: FakeProviders
) -> None:
    all_fakes.script(
        "I am done.",
        CallTool("orders", {"customer": "Ann"}),
        CallTool("final_answer", {"order": 7, "refunded": True}),
    )
    result, _ = worked(desk(api, mode="autonomous"), mode)
    assert result.answer == Refund(order=7, refunded=True)
    assert [m.role for m in result.messages] == [
        "user", "assistant", "user", "assistant", "tool", "assistant", "tool",
    ]  # fmt: skip
    assert len(all_fakes.requests) == 3


@EVERYWHERE
@ANYHOW
def test_one_agent_is_watched_over_every_sdk(api: str, mode: str, all_fakes: FakeProviders) -> None:
    all_fakes.script(
        (
            CallTool("orders", {"customer": "Ann"}),
            CallTool("pay_back", {"order": 7, "amount": 5.5}),
            CallTool("pay_back", {"order": 8, "amount": 500.0}),
        ),
        Answer({"order": 7, "refunded": True}),
    )
    worked(desk(api, guards=[], mode="supervised"), mode)
    assert sorted(each["amount"] for each in ASKED) == [5.5, 500.0]
    assert PAID == [(7, 5.5)]


@EVERYWHERE
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("fault", [Status(529), Status(503), Cut(), Status(429, retry_after=0)])
def test_a_step_whose_model_fails_midway_pays_nothing_twice(
    api: str, fault: Any, asynchronous: bool, all_fakes: FakeProviders
) -> None:
    all_fakes.script(
        CallTool("orders", {"customer": "Ann"}),
        CallTool("pay_back", {"order": 7, "amount": 5.5}),
        fault,
        fault,
        Answer({"order": 7, "refunded": True}),
    )
    made = desk(api, task="Refund {who}.", output=None)
    policy = FailurePolicy(max_retries=3, retry_delay=0.001)
    step = Step("a", made, output_contract=Refund, failure_policy=policy)
    workflow = Workflow("w", [step])
    inputs = {"who": "Ann"}
    result = asyncio.run(workflow.run_async(inputs)) if asynchronous else workflow.run(inputs)
    assert result.output == {"order": 7, "refunded": True}
    assert PAID == [(7, 5.5)]
    assert len(all_fakes.requests) == 5
    last = json.dumps(all_fakes.requests[-1].body)
    assert "paid 5.5 for order 7" in last
    assert all_fakes.left == 0


LONG = Say("word " * 2000)


@EVERYWHERE
@pytest.mark.parametrize("number", [1, 2])
def test_a_stream_that_is_closed_in_the_middle_leaves_no_thread(
    api: str, number: int, all_fakes: FakeProviders
) -> None:
    all_fakes.script(LONG)
    stream = desk(api, tools=[]).stream("Refund Ann.")
    seen = [next(stream) for _ in range(number)]
    stream.close()
    assert not any(isinstance(each, Final) for each in seen)
    assert not [each for each in threading.enumerate() if each.name.startswith("kairos-tool")]
    assert len(all_fakes.requests) == 1


@EVERYWHERE
def test_a_stream_that_is_cancelled_in_the_middle_leaves_no_task(
    api: str, all_fakes: FakeProviders
) -> None:
    async def watch() -> set[Any]:
        begun = asyncio.Event()

        async def read() -> None:
            async for _ in desk(api, tools=[]).stream_async("Refund Ann."):
                begun.set()

        all_fakes.script(LONG)
        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(watch()) == set()


@EVERYWHERE
@pytest.mark.parametrize("said", ["", " "])
def test_a_model_that_says_nothing_can_be_asked_again(
    api: str, said: str, all_fakes: FakeProviders
) -> None:
    all_fakes.script(Say(said), CallTool("final_answer", {"order": 7, "refunded": True}))
    result = desk(api, mode="autonomous").run("Refund Ann.")
    assert result.answer == Refund(order=7, refunded=True)


@pytest.mark.parametrize("api", ["claude", "chat"])  # the others do not say that they ask for one
@pytest.mark.parametrize("said, kind", [("", "empty"), ("I will look.", "malformed")])
def test_an_answer_that_asks_for_a_tool_and_names_none_is_no_answer(
    all_fakes: FakeProviders, api: str, said: str, kind: str
) -> None:
    all_fakes.answer(lambda _: Reply((Say(said),), stop="tools"))
    result = agent(adapter(api), tools=[orders], max_iterations=3).run("go")
    assert result.stop_reason == "model_failed"
    assert result.error is not None
    assert (result.error.kind, result.error.retryable) == (kind, True)
