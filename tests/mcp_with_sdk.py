"""An MCP server as people write them: with the SDK.  `python mcp_with_sdk.py [stdio|PORT]`."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp_types import ToolAnnotations
from pydantic import BaseModel

server = MCPServer("with the SDK")


class Sum(BaseModel):
    total: int


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(total=a + b)


@server.tool()
async def count(to: int, context: Context) -> str:
    """Count, and say so."""
    for number in range(to):
        await context.report_progress(number + 1, to, f"at {number + 1}")
    return "counted"


@server.tool()
def fails() -> str:
    """Fail."""
    raise ValueError("a secret value")


@server.tool(structured_output=False)
def picture() -> Image:
    """Draw."""
    return Image(data=b"\x89PNG" * 300, format="png")


@server.tool()
async def waits() -> str:
    """Wait for ever."""
    await asyncio.Event().wait()
    return ""


@server.tool()
async def grows(context: Context) -> str:
    """Offer one tool more."""
    server.add_tool(fails, name="new")
    await context.notify_tools_changed()
    return ""


@server.tool()
def ends() -> str:
    """End the server."""
    os._exit(3)


if __name__ == "__main__":
    how = sys.argv[1] if len(sys.argv) > 1 else "stdio"
    if how == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(how))
