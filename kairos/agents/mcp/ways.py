"""How a server is reached: a process of this machine, or an address."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from kairos.agents.mcp.process import LONGEST, ServerProcess
from kairos.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

__all__ = ["Address", "Command", "Way"]

_CONNECT = 30.0
_READ = 300.0
_BAD = 400


class Way(Protocol):
    """How a server is reached.

    `watched` says that its tools must stay those that are known, `started` that it is a program
    which begins anew with each connection.
    """

    watched: bool
    started: bool

    def open(self) -> AbstractAsyncContextManager[Any]:
        """Give what the SDK's client takes for a transport."""
        ...

    def why(self) -> str:
        """Say how the last connection ended, as far as it is known."""
        ...

    @property
    def errors(self) -> str:
        """What the server wrote for people to read."""
        ...


class Command:
    """A server that is started, and ends with the connection."""

    started = True

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        *,
        close_timeout: float,
        watched: bool,
    ) -> None:
        self.watched = watched
        self._command = tuple(command)
        self._env = dict(env)
        self._cwd = cwd
        self._close_timeout = close_timeout
        self._process: ServerProcess | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Any]:
        """Start the process, and stop it in the end, however that comes."""
        from mcp.client.stdio import get_default_environment  # noqa: PLC0415 - an extra

        env = {**get_default_environment(), **self._env}
        secrets = [value for value in self._env.values() if value]
        try:
            process = await ServerProcess.start(self._command, env, self._cwd, secrets)
        except (OSError, ValueError) as error:
            raise ConfigError(
                "the MCP server cannot be started",
                found=getattr(error, "strerror", None) or type(error).__name__,
                fix=f"look whether '{self._command[0]}' is a program on the PATH",
            ) from None
        self._process = process
        try:
            yield process.spoken()
        finally:
            await process.stop(self._close_timeout)

    def why(self) -> str:
        """Say how the process ended."""
        return "" if self._process is None else self._process.why()

    @property
    def errors(self) -> str:
        """The end of its standard error."""
        return "" if self._process is None else self._process.errors


async def _bounded(response: Any) -> None:
    """Have a body end where it is longer than a message may be; of a stream each event is bound."""
    import httpx2  # noqa: PLC0415 - it comes with the extra

    if response.headers.get("content-encoding", "identity") != "identity":
        # it was not asked for, and a few bytes can unpack to what fills the memory
        raise httpx2.ReadError("the body is packed", request=response.request)
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return
    stream = response.stream

    class Bounded(httpx2.AsyncByteStream):
        """A body, as far as it may go."""

        async def __aiter__(self) -> AsyncIterator[bytes]:
            seen = 0
            async for part in stream:
                seen += len(part)
                if seen > LONGEST:
                    raise httpx2.ReadError("the body is too long", request=response.request)
                yield part

        async def aclose(self) -> None:
            """Close it."""
            await stream.aclose()

    response.stream = Bounded()


class Address:
    """A server behind a URL, which speaks streamable HTTP."""

    errors = ""
    started = False

    def __init__(self, url: str, headers: Mapping[str, str], *, watched: bool) -> None:
        self.watched = watched
        self._url = url
        self._headers = dict(headers)
        self._status = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Any]:
        """Give the SDK's transport; redirects leave the address only within its origin."""
        import httpx2  # noqa: PLC0415 - it comes with the extra
        from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415 - as above

        async with httpx2.AsyncClient(
            headers={**self._headers, "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(_CONNECT, read=_READ),
            event_hooks={"response": [self._see, _bounded]},
        ) as client:
            yield streamable_http_client(self._url, http_client=client)

    async def _see(self, response: Any) -> None:
        self._status = response.status_code

    def why(self) -> str:
        """Say what is known without what a transport tells, which may quote what was sent."""
        if self._status >= _BAD:
            return f"it answered with HTTP status {self._status}"
        return "the connection was lost" if self._status else "nobody answers at its address"
