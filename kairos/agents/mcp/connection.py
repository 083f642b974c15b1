"""One connection to a server, on an event loop and a thread of its own.

Agents call from threads and from loops of their own, so the session lives in neither: a call is
handed over, and cancelling it there cancels it here, which the server is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from kairos._version import __version__
from kairos.agents.mcp.listing import listed
from kairos.agents.mcp.process import MCPServerError, told
from kairos.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from kairos.agents.mcp.listing import RemoteTool
    from kairos.agents.mcp.ways import Way

__all__ = ["Connection", "needed"]

Tell: TypeAlias = "Callable[[float, float | None, str | None], None]"
"""Takes how far a call is, of how much, and a word about it."""

_LAST_WORDS = 1.0
_CLOSED = "Connection closed"  # as the SDK says it
_TERMINATED = (-32600, "Session terminated")  # as it says that an HTTP server has forgotten us
_NOWHERE = logging.NullHandler()


class _Link:
    """A session that is open, until `closing` is set or the server has gone."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.closing = asyncio.Event()
        self.lost = False


class Connection:
    """Opens a session, makes calls, and opens it anew when the server has ended, `reopens` times.

    `accept` is given the tools each time, and raises if they are not those that are wanted.
    """

    def __init__(
        self,
        way: Way,
        accept: Callable[[tuple[RemoteTool, ...]], None],
        *,
        connect_timeout: float,
        reopens: int,
    ) -> None:
        self._way = way
        self._accept = accept
        self._connect_timeout = connect_timeout
        self._reopens = self._left = reopens
        self._link: _Link | None = None
        self._mode = "auto"
        self._unanswered = False
        self._changed = False
        self._closing = False
        self._handing = threading.Lock()
        self._process = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def changed(self) -> bool:
        """Whether the server has said that its tools are others now."""
        return self._changed

    # --- from any thread

    def open(self) -> None:
        """Open it.  Raises MCPServerError, and what `accept` raises."""
        needed()
        for name in ("mcp", "client"):  # what the SDK quotes of a server stays off the terminal
            logging.getLogger(name).addHandler(_NOWHERE)
        loop = asyncio.new_event_loop()
        self._link, self._left = None, self._reopens
        self._changed = self._closing = False
        thread = threading.Thread(target=self._work, args=(loop,), name="kairos-mcp", daemon=True)
        with self._handing:  # whoever closes it meanwhile finds all of it, or nothing
            self._loop, self._opening, self._process = loop, asyncio.Lock(), os.getpid()
            self._thread = thread
            thread.start()
        try:
            self.submit(self._alive()).result()
        except BaseException:
            self.close()
            raise

    def submit(self, doing: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have something done on the connection's loop.  Raises MCPServerError once closed."""
        with self._handing:
            if self._loop is not None and self._process == os.getpid():
                return asyncio.run_coroutine_threadsafe(doing, self._loop)
        doing.close()
        if self._loop is not None:  # its thread is not here, and nobody would ever answer
            raise MCPServerError(
                "the MCP server was opened by the process that this one is a fork of",
                fix="open it in the process that calls it",
            )
        raise MCPServerError("the MCP server is closed", fix="use its tools inside `with`")

    def close(self) -> None:
        """End every call, the session and the server; waits for that.  Closing again is nothing."""
        with self._handing:  # what was handed over before is still ended in order
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None or self._process != os.getpid():
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(self._end())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    async def _end(self) -> None:
        self._closing = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.closing.set()
        if self._tasks:
            await asyncio.wait(self._tasks)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if left:  # calls, which hear that it is over, each in words of its own
            await asyncio.wait(left, timeout=_LAST_WORDS)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # --- on the connection's loop

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        tell: Tell | None,
    ) -> Any:
        """Call a tool, and return the SDK's result.

        Raises MCPServerError for whatever keeps it from one.  A call is never made twice: the
        server may have carried it out before it ended.
        """
        try:
            return await self._called(name, arguments, tell)
        except asyncio.CancelledError:
            if self._closing:  # it is not the caller who gave it up
                raise MCPServerError("the MCP server is closed") from None
            raise

    async def _called(self, name: str, arguments: dict[str, Any], tell: Tell | None) -> Any:
        from mcp import MCPError  # noqa: PLC0415 - it comes with the extra
        from mcp_types import CONNECTION_CLOSED, CallToolRequest, CallToolRequestParams  # noqa: PLC0415
        from pydantic import ValidationError  # noqa: PLC0415 - as above

        link = await self._alive()
        request = CallToolRequest(params=CallToolRequestParams(name=name, arguments=arguments))
        try:
            return await link.session.send_request(
                request, _results(), progress_callback=_told(tell) if tell else None
            )
        except MCPError as error:
            # servers use this code for errors of their own; one that says both gains nothing
            if (error.code, error.message) in ((CONNECTION_CLOSED, _CLOSED), _TERMINATED):
                link.lost = True
                raise MCPServerError(f"the MCP server ended: {self._way.why()}") from None
            raise MCPServerError(f"the MCP server refused: {told(error.message)}") from None
        except ValidationError:
            raise MCPServerError("the MCP server's answer is none that the protocol has") from None
        except (OSError, RuntimeError, ValueError) as error:
            raise MCPServerError(f"the MCP server failed: {type(error).__name__}") from None

    async def _alive(self) -> _Link:
        """Return the open session, opened anew if the server has ended."""
        async with self._opening:
            link = self._link
            if link is not None and not link.lost:
                if self._changed and self._way.watched:
                    await self._examine_again(link)
                return link
            if self._closing:
                raise MCPServerError("the MCP server is closed")
            if link is not None:
                link.closing.set()
                if not self._left:
                    raise MCPServerError("the MCP server has ended too often", fix="open it anew")
                self._left -= 1
            self._link = link = await self._greeted()
            return link

    async def _greeted(self) -> _Link:
        """Open a session, asking first which protocol the server speaks.

        A server of before 2026 may end at a question that it does not know; it is then greeted
        in the old way, from there on.
        """
        self._unanswered = False
        try:
            return await self._opened()
        except MCPServerError:
            if not self._unanswered or self._mode == "legacy" or not self._way.started:
                raise
            self._mode = "legacy"
            return await self._opened()

    async def _opened(self) -> _Link:
        opened: asyncio.Future[_Link] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._hold(opened))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._connecting = task
        try:
            async with asyncio.timeout(self._connect_timeout):
                link = await asyncio.shield(opened)
                await self._examine(link)
        except BaseException as error:
            if opened.done() and not opened.cancelled() and opened.exception() is None:
                opened.result().closing.set()
            else:
                task.cancel()
            await asyncio.wait([task])
            if isinstance(error, asyncio.CancelledError) and self._closing:
                raise MCPServerError("the MCP server is closed") from None
            if isinstance(error, TimeoutError):
                raise MCPServerError(
                    f"the MCP server did not answer within {self._connect_timeout:g} s",
                    found=self._way.why() or None,
                    fix="look at the command, or give it longer: connect_timeout=",
                ) from None
            raise
        finally:
            self._connecting = None
        return link

    async def _hold(self, opened: asyncio.Future[_Link]) -> None:
        """Keep a session open until it is to close; entered and left by one task, as it must be."""
        from mcp import Client  # noqa: PLC0415 - it comes with the extra
        from mcp_types import Implementation  # noqa: PLC0415 - as above

        link: _Link | None = None
        try:
            async with self._way.open() as transport:
                client = Client(
                    transport,
                    mode=self._mode,
                    cache=None,
                    client_info=Implementation(name="kairos", version=__version__),
                    message_handler=self._heard,
                )
                async with client:
                    link = _Link(client.session)
                    listening = asyncio.create_task(self._listen(client))
                    opened.set_result(link)
                    await link.closing.wait()
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        except Exception as error:  # noqa: BLE001 - whatever a server's answers lead to
            if not opened.done():
                opened.set_exception(self._unreachable(error))
        finally:
            if link is not None:
                link.lost = True
            if not opened.done():
                opened.cancel()

    def _unreachable(self, error: BaseException) -> Exception:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, ConfigError | MCPServerError):
            return error
        refusal = _refusal(error) if self._way.started else ""
        self._unanswered = True
        return MCPServerError(
            "the MCP server cannot be reached",
            found="; ".join(filter(None, (refusal, self._way.why()))) or type(error).__name__,
            fix="try its command by hand, or look at its address",
        )

    async def _heard(self, message: Any) -> None:
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self._changed = True

    async def _listen(self, client: Any) -> None:
        """Ask to be told of changes, as the protocol of 2026-07-28 wants it; before, one is."""
        told = client.server_capabilities.tools
        if told is None or not told.list_changed:
            return
        with suppress(Exception):  # an older protocol, or a server that does not keep its word
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._changed = True

    async def _examine_again(self, link: _Link) -> None:
        self._changed = False
        try:
            await self._examine(link)
        except BaseException:
            self._changed = True
            raise

    async def _examine(self, link: _Link) -> None:
        self._accept(await listed(link.session))


def needed() -> None:
    """Raise ConfigError where the SDK is not installed."""
    try:
        import mcp  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"MCP needs '{error.name}', which is not installed", fix="pip install 'kairos-ai[mcp]'"
        ) from None


def _refusal(error: BaseException) -> str:
    """Return what a server or the SDK has against a session; empty where it just ended."""
    from mcp import MCPError  # noqa: PLC0415 - it comes with the extra
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    if isinstance(error, MCPError):
        return "" if error.message == _CLOSED else f"it refused: {told(error.message)}"
    if isinstance(error, ValidationError):
        return "its answer is none that the protocol has"
    return told(str(error)) if isinstance(error, RuntimeError) else ""


def _results() -> Any:
    """Return what reads the answer to a call, built once."""
    global _RESULTS  # noqa: PLW0603 - the SDK's types are there on first use only
    if _RESULTS is None:
        from mcp_types import CallToolResult, InputRequiredResult  # noqa: PLC0415 - an extra
        from pydantic import TypeAdapter  # noqa: PLC0415 - as above

        _RESULTS = TypeAdapter(CallToolResult | InputRequiredResult)
    return _RESULTS


_RESULTS: Any = None


def _told(tell: Tell) -> Any:
    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        tell(progress, total, message)

    return progressed
