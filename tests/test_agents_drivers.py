"""Threads or an event loop, watched or not, in a step or alone: an agent does the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - tools are read when made
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kairos import Step, Workflow
from kairos.agents import Allow, Ask, Deny, Rewrite, Tool, ToolError, ToolRequest, agent
from kairos.models import Request, ToolResult
from kairos.testing import CallTool, ScriptedModel

if TYPE_CHECKING:
    from kairos.agents.agent import Agent


def plain(n: int) -> int:
    if n == 3:
        raise OSError("hunter2")
    return n


async def later(n: int) -> str:
    await asyncio.sleep(0)
    if n == 3:
        raise ToolError("three is taken")
    return f"later {n}"


def pieces(n: int) -> Iterator[str]:
    for number in range(n):
        yield str(number)


async def pieces_later(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


def wrong(n: int) -> str:
    return n  # type: ignore[return-value]


class Inside:
    """How many are in a tool at once, and were at most."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.now -= 1


INSIDE = Inside()


def crowded(n: int) -> int:
    with INSIDE:
        if n == 3:
            raise OSError("three")
        return n


async def crowded_later(n: int) -> int:
    with INSIDE:
        await asyncio.sleep(0)
        return n


TOOLS: list[Tool] = [
    Tool(crowded, concurrency=1, timeout=30), Tool(crowded_later, concurrency=1),
    Tool(plain, effect="read"), Tool(later, max_calls=4), Tool(pieces, concurrency=1),
    Tool(pieces_later, timeout=30), Tool(wrong, effect="external"),
]  # fmt: skip


def guard(request: ToolRequest) -> Any:
    n = request.arguments["n"]
    if request.tool == "wrong" and n == 1:
        return Deny("not one")
    if n == 5:
        return Rewrite({"n": 2})
    return Ask("six?") if n == 6 else Allow()


CALLS = st.builds(
    CallTool,
    st.sampled_from([each.name for each in TOOLS] + ["unknown"]),
    st.sampled_from([{"n": n} for n in range(7)] + [{}, {"n": "x"}, {"n": 1, "more": 2}]),
)
TURNS = st.lists(st.lists(CALLS, min_size=1, max_size=4).map(tuple), max_size=4)
OPTIONS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["task", "supervised"]),
        "read_only": st.booleans(),
        "dry_run": st.booleans(),
        "on_tool_error": st.sampled_from(["tell", "retry", "skip", "abort"]),
        "max_tool_calls": st.none() | st.integers(1, 9),
    }
)


def made(turns: list[Any], options: dict[str, Any]) -> Agent:
    return agent(
        ScriptedModel([*turns, "done"]), tools=TOOLS, guards=[guard], task="go",
        approve=lambda question: question.arguments["n"] != 6, **options,
    )  # fmt: skip


def seen(result: Any) -> Any:
    told = [
        (part.name, part.content, part.failed)
        for message in result.messages
        for part in message.parts
        if isinstance(part, ToolResult)
    ]
    actions = sorted((a.tool, a.input, a.output, a.decision, a.outcome) for a in result.actions)
    return result.stop_reason, result.answer, result.iterations, told, actions


async def streamed(one: Agent) -> Any:
    return [each async for each in one.stream_async()][-1].result  # type: ignore[union-attr]


@settings(max_examples=60)
@given(TURNS, OPTIONS)
def test_every_way_of_running_an_agent_brings_the_same(
    turns: list[Any], options: dict[str, Any]
) -> None:
    expected = seen(made(turns, options).run())
    assert seen(asyncio.run(made(turns, options).run_async())) == expected
    assert seen(list(made(turns, options).stream())[-1].result) == expected  # type: ignore[union-attr]
    assert seen(asyncio.run(streamed(made(turns, options)))) == expected
    result = Workflow("w", [Step("a", made(turns, options))]).run()
    assert (result.output if result.error is None else None) == expected[1]
    assert INSIDE.most <= 2


class Stuck:
    """A sync tool whose threads stay until they are let go, whoever has given them up."""

    def __init__(self, places: int) -> None:
        self.inside, self.gate = Inside(), threading.Event()
        self.tool = Tool(self.stay, name="stay", concurrency=places, timeout=0.05, effect="read")
        self.threads: list[threading.Thread] = []

    def stay(self, n: int) -> int:
        self.threads.append(threading.current_thread())
        with self.inside:
            self.gate.wait(30)
        return n

    def let_go(self) -> None:
        self.gate.set()
        for thread in self.threads:
            thread.join(30)


def on_this_thread(one: Agent) -> Any:
    return one.run()


def on_a_loop(one: Agent) -> Any:
    return asyncio.run(one.run_async())


@given(st.integers(1, 3), st.integers(1, 6), st.sampled_from([on_this_thread, on_a_loop]))
@settings(max_examples=15, deadline=None)
def test_a_thread_that_was_given_up_keeps_its_place_and_keeps_nobody_waiting(
    places: int, count: int, run: Any
) -> None:
    stuck = Stuck(places)
    calls = tuple(CallTool("stay", {"n": n}) for n in range(count))
    script = [calls, "done"]
    result = run(agent(ScriptedModel(script), tools=[stuck.tool], task="go"))
    assert result.answer == "done"
    assert [each.outcome for each in result.actions] == ["timeout"] * count
    assert stuck.inside.most <= places
    ran = min(places, count)
    told = sorted("the tool is busy" in each.output for each in result.actions)
    assert told == [False] * ran + [True] * (count - ran)
    stuck.let_go()
    stuck.tool.timeout = 30.0
    result = run(agent(ScriptedModel(script), tools=[stuck.tool], task="go"))
    assert {each.outcome for each in result.actions} == {"done"}
    assert stuck.inside.now == 0


def test_one_agent_serves_threads_and_loops_at_once() -> None:
    lock, inside, most = threading.Lock(), 0, 0
    meeting = threading.Event()

    def narrow(n: int) -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        meeting.wait(0.001)
        with lock:
            inside -= 1
        return n

    def answer(request: Request) -> Any:
        task = request.messages[0].text
        results = [
            p.content for m in request.messages for p in m.parts if isinstance(p, ToolResult)
        ]
        if results:
            return f"{task}: {results}"
        return CallTool("narrow", {"n": int(task)}), CallTool("narrow", {"n": int(task) + 1})

    one = agent(ScriptedModel(answer), tools=[Tool(narrow, concurrency=3)])

    async def many() -> list[Any]:
        return await asyncio.gather(*(one.run_async(str(n)) for n in range(50)))

    with ThreadPoolExecutor(25) as pool:
        on_loops = [pool.submit(asyncio.run, many()) for _ in range(2)]
        on_threads = [pool.submit(one.run, str(n)) for n in range(50)]
        results = [each.result(60) for each in on_threads]
        for loop in on_loops:
            results += loop.result(60)
    answers = sorted(each.answer for each in results)
    assert answers == sorted([f"{n}: ['{n}', '{n + 1}']" for n in range(50)] * 3)
    assert most == 3
