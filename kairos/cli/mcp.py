"""`kairos mcp serve`: workflows and tools, offered to MCP clients."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos._version import __version__
from kairos.agents.mcp.connection import needed
from kairos.agents.tools import Tool
from kairos.cli.loading import load
from kairos.cli.mcp_offers import offers_of
from kairos.cli.mcp_wire import Wire, stdin_kept
from kairos.cli.output import Stop, clean, stdout_kept, tell
from kairos.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import ModuleType

    from kairos.cli.loading import Loaded
    from kairos.cli.mcp_offers import Answer, Offer
    from kairos.workflow import Workflow

__all__ = ["ServeOptions", "serve"]

_HOST = "127.0.0.1"
_GRACE = 3  # seconds


class ServeOptions(NamedTuple):
    """The options of `kairos mcp serve`, as they were given."""

    modules: tuple[str, ...]
    workflows_dir: str | None = None
    http: int | None = None


def serve(options: ServeOptions) -> int:
    """Serve until the client leaves, or a signal ends it.  Raises Stop where nothing can be."""
    try:
        needed()
    except ConfigError as error:
        raise Stop(error.message, fix=error.fix) from None
    # The SDK quotes what a client has sent; whoever wants to read that has a handler of their own.
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    with stdout_kept() as (stdout, _), stdin_kept() as reading:
        offers = offers_of(_found(_loaded(options)))
        if options.http is not None:
            return asyncio.run(_serve_http(offers, options.http))
        try:
            writing = stdout.fileno()
        except (OSError, ValueError, AttributeError):
            raise Stop("standard output is no stream that a client could read") from None
        if os.isatty(reading):
            tell("kairos: serving on standard input and output, for a client to start; Ctrl-C ends")
        return asyncio.run(_serve_stdio(offers, reading, writing))


def _loaded(options: ServeOptions) -> list[Loaded]:
    """Load all modules, and leave them all loaded: each `load` would take out those before it."""
    found: list[Loaded] = []
    modules: dict[str, ModuleType] = {}
    folders: list[str] = []
    for target in options.modules:
        found.append(load(target, workflows_dir=options.workflows_dir))
        modules |= sys.modules
        folders.append(sys.path[0])
    for name, module in modules.items():
        sys.modules.setdefault(name, module)
    sys.path += [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    return found


def _found(modules: list[Loaded]) -> Iterator[tuple[str, Workflow | Tool, bool]]:
    for loaded in modules:
        place, members = clean(loaded.target), vars(loaded.module)
        if isinstance(members.get(loaded.chosen or ""), Tool):
            yield place, members[loaded.chosen or ""], True
            continue
        tools: list[Tool] = []
        if loaded.chosen is None:
            for value in members.values():
                if isinstance(value, Tool) and value.function.__module__ == loaded.module.__name__:
                    tools.append(value)  # noqa: PERF401 - the condition is a sentence of its own
        workflows = loaded.workflows if tools and not loaded.workflows else loaded.every()
        for workflow in workflows.values():
            yield place, workflow, loaded.chosen is not None
        for tool in tools:
            yield place, tool, False


# --- the SDK's server


def _server(offers: dict[str, Offer]) -> Any:
    from mcp import MCPError  # noqa: PLC0415 - an extra
    from mcp.server.lowlevel import Server  # noqa: PLC0415 - as above
    from mcp_types import (  # noqa: PLC0415 - as above
        INVALID_PARAMS,
        CallToolResult,
        ListToolsResult,
        TextContent,
        ToolAnnotations,
    )
    from mcp_types import Tool as Offered  # noqa: PLC0415 - as above

    listed = [
        Offered(
            name=each.name,
            description=each.description,
            input_schema=each.parameters,
            output_schema=each.result,
            annotations=ToolAnnotations(read_only_hint=True) if each.effect == "read" else None,
        )
        for each in offers.values()
    ]

    async def list_tools(_context: Any, _params: Any) -> ListToolsResult:
        return ListToolsResult(tools=listed)

    async def call_tool(context: Any, params: Any) -> CallToolResult:
        offer = offers.get(params.name)
        if offer is None:
            raise MCPError(code=INVALID_PARAMS, message="there is no such tool")
        answer = await _called(offer, params.arguments or {}, context)
        content: list[Any] = [TextContent(text=answer.text)]
        if answer.structured is None:
            return CallToolResult(content=content, is_error=answer.failed)
        return CallToolResult(content=content, structured_content=answer.structured)

    return Server("kairos", version=__version__, on_list_tools=list_tools, on_call_tool=call_tool)


async def _called(offer: Offer, arguments: dict[str, Any], context: Any) -> Answer:
    """Make a call, and tell how far it is in order, all of it before the answer."""
    if (context.meta or {}).get("progress_token") is None:
        return await offer.call(arguments, _untold)
    loop = asyncio.get_running_loop()
    said: asyncio.Queue[tuple[float, float | None, str] | None] = asyncio.Queue()

    def telling(progress: float, total: float | None, message: str) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any longer
            loop.call_soon_threadsafe(said.put_nowait, (progress, total, message))

    async def pass_on() -> None:
        while (each := await said.get()) is not None:
            await context.session.report_progress(*each)

    passing = asyncio.create_task(pass_on())
    try:
        answer = await offer.call(arguments, telling)
        loop.call_soon(said.put_nowait, None)
        await passing
    finally:
        passing.cancel()
    return answer


def _untold(progress: float, total: float | None, message: str) -> None:
    """Tell nobody."""


# --- over standard input and output, or HTTP


async def _serve_stdio(offers: dict[str, Offer], reading: int, writing: int) -> int:
    server = _server(offers)
    wire = Wire(reading, writing)
    asked = False

    def leave() -> None:
        nonlocal asked
        asked = True
        serving.cancel()

    async with wire.spoken() as (heard, said):
        serving = asyncio.create_task(
            server.run(heard, said, server.create_initialization_options())
        )
        with _heeded(leave):
            await asyncio.gather(serving, return_exceptions=True)
    if asked or serving.cancelled():  # what could not be said any more is no failure then
        return 0
    if (error := serving.exception()) is not None:
        tell(f"kairos: the server failed: {type(error).__name__}")
        return 1
    return 0


@contextmanager
def _heeded(leave: Callable[[], Any]) -> Iterator[None]:
    """Have Ctrl-C, SIGTERM and the end of the terminal call `leave`.

    The server was asked to go, which is no error.
    """
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # no nohup
        numbers.append(signal.SIGHUP)
    with suppress(NotImplementedError, RuntimeError):
        for number in numbers:
            loop.add_signal_handler(number, leave)
    try:
        yield
    finally:
        with suppress(NotImplementedError, RuntimeError):
            for number in numbers:
                loop.remove_signal_handler(number)


async def _serve_http(offers: dict[str, Offer], port: int) -> int:
    import uvicorn  # noqa: PLC0415 - it comes with the extra

    app = _server(offers).streamable_http_app(host=_HOST)
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((_HOST, port))
        listening.listen()  # before anybody is told where
    except OSError as error:
        listening.close()
        raise Stop(f"port {port} cannot be listened on: {error.strerror}") from None
    tell(f"kairos: serving on http://{_HOST}:{listening.getsockname()[1]}/mcp")

    class Serving(uvicorn.Server):
        """A server that is told of signals by us: it would raise them again at its end."""

        @contextmanager
        def capture_signals(self) -> Generator[None]:
            """Capture none."""
            yield

    # at its end it would tell of each call that it broke off, with words of its own
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, timeout_graceful_shutdown=_GRACE
    )
    serving = Serving(config)
    with _heeded(lambda: serving.handle_exit(signal.SIGINT, None)):
        await serving.serve(sockets=[listening])
    return 0
