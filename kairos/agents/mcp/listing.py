"""What tools a server has, page by page and up to a number of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kairos.agents.mcp.process import MCPServerError, told

__all__ = ["RemoteTool", "listed"]

_MOST_PAGES = 100
_MOST_TOOLS = 1_000


class RemoteTool(NamedTuple):
    """What a server says of one of its tools: a stranger's words, as they came."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    result: Mapping[str, Any] | None
    hints: Mapping[str, Any]


async def listed(session: Any) -> tuple[RemoteTool, ...]:
    """Return all tools of a server, page by page."""
    from mcp import MCPError  # noqa: PLC0415 - it comes with the extra
    from mcp_types import PaginatedRequestParams  # noqa: PLC0415 - as above

    found: list[RemoteTool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        asked = None if cursor is None else PaginatedRequestParams(cursor=cursor)
        try:
            page = await session.list_tools(params=asked)
        except MCPError as error:
            raise MCPServerError(
                f"the MCP server does not list its tools: {told(error.message)}"
            ) from None
        except ValueError:
            raise MCPServerError("the MCP server's list of tools is none") from None
        found += [_remote(each) for each in page.tools]
        if page.next_cursor is None or len(found) > _MOST_TOOLS:
            break
        cursor = page.next_cursor
    else:
        raise MCPServerError("the MCP server's list of tools does not end")
    if len(found) > _MOST_TOOLS:
        raise MCPServerError(f"the MCP server has more than {_MOST_TOOLS:,} tools")
    return tuple(found)


def _remote(tool: Any) -> RemoteTool:
    noted = tool.annotations
    hints = {} if noted is None else noted.model_dump(by_alias=True, exclude_none=True)
    described = tool.description or ""
    return RemoteTool(tool.name, described, tool.input_schema, tool.output_schema, hints)
