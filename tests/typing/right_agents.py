"""Agents as they are written: neither mypy nor pyright has anything to say.  Checked, never run."""

# pyright: strict

from __future__ import annotations

from collections.abc import Iterator  # noqa: TC003 - tools are read when made
from typing import Literal, assert_type

from pydantic import BaseModel

from kairos import Step
from kairos.adapters.claude import ClaudeAdapter
from kairos.agents import (
    Agent,
    AgentResult,
    Allow,
    Ask,
    Deny,
    Question,
    Session,
    Tool,
    ToolContext,
    ToolFailure,
    ToolFinished,
    ToolRequest,
    agent,
    tool,
)


class Verdict(BaseModel):
    author: str
    certain: bool


@tool
def search(query: str, limit: int = 3) -> list[str]:
    """Search."""
    return [query] * limit


@tool(effect="read", timeout=5, concurrency=2)
async def fetch(url: str) -> bytes:
    """Fetch."""
    return url.encode()


@tool(effect="read")
def lines(path: str, ctx: ToolContext) -> Iterator[str]:
    """Read."""
    yield path


async def fetched() -> bytes:
    return await fetch("https://example.com")


def careful(request: ToolRequest) -> Allow | Deny | Ask:
    return Allow() if request.effect == "read" else Ask("sure?")


async def later(request: ToolRequest) -> Allow | Deny:
    return Deny(request.tool)


def approve(question: Question) -> bool:
    return question.tool == "search"


async def approve_later(question: Question) -> Deny | Allow:
    return Deny(question.question)


def logged(finished: ToolFinished) -> None:
    finished.content.strip()


def handled(failure: ToolFailure) -> Literal["skip", "retry"]:
    return "skip" if failure.attempt > 1 else "retry"


assert_type(search("x", limit=2), list[str])
made: Tool[[str, int], list[str]] = Tool(search.function, name="other")
model = ClaudeAdapter()
plain = agent(model, tools=[search, fetch, lines], guards=[careful, later])
assert_type(plain, Agent[str])
assert_type(plain.run("x").answer, str)

typed = agent(model, output=Verdict, approve=approve, after_tool=logged, max_usd=0.5)
assert_type(typed, Agent[Verdict])
assert_type(typed.run("x"), AgentResult[Verdict])
assert_type(typed.run("x").answer.author, str)
assert_type(typed.session(), Session[Verdict])
assert_type(typed.session("a").send("x").answer, Verdict)


async def run() -> None:
    assert_type((await typed.run_async("x")).answer, Verdict)
    assert_type((await typed.session().send_async("x")).answer, Verdict)


listed = agent(model, output=list[int], approve=approve_later, mode="supervised")
assert_type(listed.run("x").answer, list[int])
agent(
    model,
    approve=lambda question: question.effect == "read",
    before_tool=lambda request: request.tool != "fetch",
    progress=lambda said: repr(said)[:80],
    on_tool_error=handled,
)
step = Step("judge", agent(model, task="Who wrote {title}?", output=Verdict))
