"""What a call of an MCP server's tool costs beside the same call by the bare SDK.

The server is this file, written by hand: it answers at once, so that little else is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from figures import Row, interleaved
from kairos.agents.mcp import mcp_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from figures import Scale
    from kairos.agents.mcp import MCPTools

__all__ = ["rows"]

_MICROSECONDS = 1e6
_CALLS = 2_000
_AT_ONCE = 20
_SERVER = [sys.executable, __file__]
_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
_RESULT = {
    "type": "object",
    "properties": {"total": {"type": "integer"}},
    "required": ["total"],
}


async def _opened() -> tuple[Any, Callable[[], Coroutine[Any, Any, None]]]:
    """Return the SDK's client, and what closes it; one task enters and leaves it, as it must be."""
    from mcp import Client, StdioServerParameters  # noqa: PLC0415 - an extra
    from mcp.client.stdio import stdio_client  # noqa: PLC0415 - as above

    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    closing = asyncio.Event()

    async def hold() -> None:
        given = StdioServerParameters(command=_SERVER[0], args=_SERVER[1:])
        async with Client(stdio_client(given)) as client:
            opened.set_result(client)
            await closing.wait()

    holding = asyncio.create_task(hold())

    async def close() -> None:
        closing.set()
        await holding

    return await opened, close


async def _timed_bare(client: Any, calls: int, at_once: int) -> float:
    begun = time.process_time()
    for _ in range(calls // at_once):
        called = [client.call_tool("add", {"a": 1, "b": 2}) for _ in range(at_once)]
        for each in await asyncio.gather(*called):
            assert each.structured_content == {"total": 3}
    return (time.process_time() - begun) / calls * _MICROSECONDS


async def _timed_ours(tools: MCPTools, calls: int, at_once: int) -> float:
    add = tools["add"]
    begun = time.process_time()
    for _ in range(calls // at_once):
        for each in await asyncio.gather(*(add(a=1, b=2) for _ in range(at_once))):
            assert each == {"total": 3}
    return (time.process_time() - begun) / calls * _MICROSECONDS


def rows(scale: Scale) -> Iterator[Row]:
    """Measure calls over standard streams: one after another, and several at once."""
    if find_spec("mcp") is None:
        return
    calls = max(scale.size(_CALLS) // _AT_ONCE, 1) * _AT_ONCE
    with asyncio.Runner() as runner, mcp_tools(_SERVER) as tools:
        client, close = runner.run(_opened())
        for at_once, name in ((1, "one by one"), (_AT_ONCE, f"{_AT_ONCE} at once")):
            sides = {
                "ours": lambda n=at_once: runner.run(_timed_ours(tools, calls, n)),
                "bare": lambda n=at_once: runner.run(_timed_bare(client, calls, n)),
            }
            found = interleaved(sides, scale.rounds(7))
            what = f"a call of an MCP tool, {name}"
            yield Row(f"mcp_call_{at_once}", what, "µs CPU a call", found["ours"], found["bare"])
        runner.run(close())


# --- the server


def _serve() -> None:
    tool = {"name": "add", "inputSchema": _SCHEMA, "outputSchema": _RESULT}
    for line in sys.stdin:
        asked = json.loads(line)
        params = asked.get("params", {})
        method = asked["method"]
        if method == "initialize":
            found: dict[str, Any] = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bench", "version": "1"},
            }
        elif method == "tools/list":
            found = {"tools": [tool]}
        elif method == "tools/call":
            total = params["arguments"]["a"] + params["arguments"]["b"]
            found = {"content": [], "structuredContent": {"total": total}}
        else:
            if "id" in asked:
                error = {"code": -32601, "message": "Method not found"}
                _say({"jsonrpc": "2.0", "id": asked["id"], "error": error})
            continue
        _say({"jsonrpc": "2.0", "id": asked["id"], "result": found})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
