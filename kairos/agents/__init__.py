"""Agents: models that call tools until their task is done.

::

    from kairos.agents import agent, tool

    @tool(effect="read")
    def search(query: str) -> list[str]:
        \"\"\"Search the archive.\"\"\"
        ...

    researcher = agent(model, tools=[search], instructions="Answer from the archive.")
    researcher.run("Who wrote it?").answer
    Step("research", agent(model, tools=[search], task="Research {topic}"))
"""

from __future__ import annotations

from kairos.agents.agent import Agent
from kairos.agents.authority import (
    Allow,
    Ask,
    Deny,
    Question,
    Rewrite,
    ToolRequest,
    allow_list,
    only_reading,
)
from kairos.agents.compaction import Compaction
from kairos.agents.declare import agent
from kairos.agents.desk import Progress, ToolContext, ToolFailure
from kairos.agents.engagement import Final, ToolProgress, ToolStarted
from kairos.agents.events import (
    Compacted,
    Decided,
    ModelAnswered,
    ModelFailed,
    SessionEnded,
    TaskEnded,
    TaskGiven,
    ToolFinished,
    event_from_plain,
    event_to_plain,
)
from kairos.agents.limits import Limits
from kairos.agents.result import Action, AgentResult, AgentStoppedError
from kairos.agents.sessions import Session
from kairos.agents.stores import MemoryStore, SQLiteStore
from kairos.agents.tools import Tool, ToolError, tool, workflow_tool

__all__ = [
    "Action",
    "Agent",
    "AgentResult",
    "AgentStoppedError",
    "Allow",
    "Ask",
    "Compacted",
    "Compaction",
    "Decided",
    "Deny",
    "Final",
    "Limits",
    "MemoryStore",
    "ModelAnswered",
    "ModelFailed",
    "Progress",
    "Question",
    "Rewrite",
    "SQLiteStore",
    "Session",
    "SessionEnded",
    "TaskEnded",
    "TaskGiven",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolFailure",
    "ToolFinished",
    "ToolProgress",
    "ToolRequest",
    "ToolStarted",
    "agent",
    "allow_list",
    "event_from_plain",
    "event_to_plain",
    "only_reading",
    "tool",
    "workflow_tool",
]
