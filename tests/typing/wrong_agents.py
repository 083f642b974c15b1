"""Agents that are wrong, one mistake a line: a type checker has to say so on every marked one."""

from __future__ import annotations

from pydantic import BaseModel

from kairos.adapters.claude import ClaudeAdapter
from kairos.agents import Question, ToolRequest, agent, tool


class Verdict(BaseModel):
    author: str


@tool
def search(query: str) -> list[str]:
    """Search."""
    return [query]


@tool(effect="reads")  # error E01: no such effect
def fetch(url: str) -> bytes:
    """Fetch."""
    return url.encode()


@tool(concurency=2)  # error E02: no such option
def lines(path: str) -> str:
    """Read."""
    return path


def says(request: ToolRequest) -> str:
    return request.tool


def shouts(question: Question) -> str:
    return question.tool


model = ClaudeAdapter()
search(3)  # error E03: a number is no query
search("x", foo=1)  # error E04: no such parameter
number: int = search("x")  # error E05: a list of texts
agent(model, guards=[says])  # error E06: a text is no verdict
agent(model, approve=shouts)  # error E07: a text is no answer
agent(model, approve="terminals")  # error E08: nobody to ask there
agent(model, mode="tasks")  # error E09: no such mode
agent(model, max_usd="1")  # error E10: no amount of money
agent(model, max_dollars=1)  # error E11: no such option
agent(model, before_tool=lambda question: question.hashed)  # error E12: it has no such thing
agent(model, on_tool_error="forgive")  # error E13: no such strategy
writer = agent(model, output=Verdict).run("x").answer.writer  # error E14: it has no such field
agent("claude")  # error E15: a name is no model
