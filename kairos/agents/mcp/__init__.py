"""MCP servers as tools for an agent; needs the extra `mcp`.

::

    from kairos.agents.mcp import mcp_tools

    with mcp_tools(["python", "server.py"], include=["search_*"]) as tools:
        agent(model, tools=[*tools, something_local]).run("...")

Nothing of it is imported before it is used.  `kairos mcp serve` is the other direction.
"""

from __future__ import annotations

from kairos.agents.mcp.client import MCPTools, mcp_tools
from kairos.agents.mcp.process import MCPServerError

__all__ = ["MCPServerError", "MCPTools", "mcp_tools"]
