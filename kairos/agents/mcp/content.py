"""What came of a call, as a model can take it: values and texts; of all else, what it is."""

from __future__ import annotations

from typing import Any

from kairos.agents.mcp.process import MCPServerError, told
from kairos.agents.tools import ToolError

__all__ = ["value_of"]

_TOLD = 300


def value_of(result: Any, *, structured: bool) -> Any:
    """Return a result's value: what is structured where the tool has a contract for it, else text.

    Raises ToolError for what the tool calls an error, with its words, and MCPServerError for a
    request that a server makes in place of an answer.
    """
    if not hasattr(result, "content"):
        wanted = ", ".join(sorted({each.method for each in (result.input_requests or {}).values()}))
        raise MCPServerError(f"the tool asks for what it is not given: {told(wanted)}")
    if result.is_error:
        raise ToolError(_text(result.content) or "the tool failed")
    if structured:
        return result.structured_content
    if not result.content and result.structured_content is not None:
        return result.structured_content
    return _text(result.content)


def _text(content: list[Any]) -> str:
    return "\n".join(map(_one, content))


def _one(block: Any) -> str:
    kind = block.type
    if kind == "text":
        return str(block.text)
    if kind in ("image", "audio"):
        return f"[{kind}: {block.mime_type[:80]}, {_size(block.data)}]"
    if kind == "resource_link":
        named = " ".join(filter(None, (block.name, block.mime_type, block.description)))
        return f"[link: {block.uri} {named[:_TOLD]}]"
    held = block.resource
    if hasattr(held, "text"):
        return f"[resource: {held.uri}]\n{held.text}"
    return f"[resource: {held.uri} {held.mime_type or ''}, {_size(held.blob)}]"


def _size(encoded: str) -> str:
    return f"{len(encoded) * 3 // 4:,} bytes"
