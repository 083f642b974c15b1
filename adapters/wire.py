"""The HTTP client under an SDK: a call ends at its total timeout, and an answer has an end.

The HTTP library's own timeout bounds each wait, and starts anew with every byte: a server that
sends its headers one byte at a time, or a comment now and then, would hold a call for ever.  So the
network itself is held to what is left of the call, below TLS, chunks and compression.
"""

from __future__ import annotations

import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Self

from kairos.adapters.vendor import Connection, Malformed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

__all__ = ["LONGEST", "bounded", "bounded_async", "connecting", "held"]

LONGEST = 256 * 2**20
"""Bytes of an answer that are read, unpacked.  A hundred thousand tokens, each an event of its own
with all that a provider puts around it, are a tenth of that; a bomb is more."""

_LONGEST_LINE = 16 * 2**20
"""Bytes of one event.  SDKs join a line anew with each piece of it: more would take minutes."""
_SLICE = 8192
_DONE = (b"[DONE]\n\n", b"[DONE]\r\n\r\n")
_HANGING = 0.2
"""Seconds in which a stream that has said all has to end, for its connection to be used again."""


def connecting(name: str) -> Callable[[ModuleType, Connection, bool], Any]:
    """Return what builds a client of an SDK of OpenAI's make; `name` is that of its class."""

    def connect(sdk: ModuleType, to: Connection, is_async: bool) -> Any:  # noqa: FBT001 - as Vendor has it
        prefix = "Async" if is_async else ""
        http = getattr(sdk, f"Default{prefix}HttpxClient")
        return getattr(sdk, prefix + name)(
            api_key=to.key,
            base_url=to.base_url,
            timeout=to.timeout,
            max_retries=0,
            # a redirect would carry the key along
            http_client=held(http(follow_redirects=False, timeout=to.timeout), is_async=is_async),
        )

    return connect


def held(client: Any, *, is_async: bool) -> Any:
    """Hold an HTTP client, which is returned, to total timeouts and to answers that end.

    The total timeout of a request is its `read` timeout.
    """
    hooks = client.event_hooks
    if is_async:
        hooks["request"].append(_timed_async)
        hooks["response"].insert(0, _measured_async)
    else:
        hooks["request"].append(_timed)
        hooks["response"].insert(0, _measured)
    client.event_hooks = hooks
    # there is no public door to the network of a client that still finds its proxies by itself
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            network = _AsyncNetwork if is_async else _Network
            pool._network_backend = network(pool._network_backend)  # noqa: SLF001
    return client


# --- the time


class _Until(float):
    """A number of seconds to wait at most, and the moment (monotonic) after which not at all."""

    __slots__ = ("at",)
    at: float

    @classmethod
    def of(cls, seconds: float, at: float) -> Self:
        made = cls(seconds)
        made.at = at
        return made


def _timed(request: Any) -> None:
    timeouts = request.extensions.get("timeout", {})
    total = timeouts.get("read")
    if total is not None:
        at = time.monotonic() + total
        request.extensions["timeout"] = {
            name: _Until.of(total if wait is None else wait, at) for name, wait in timeouts.items()
        }


async def _timed_async(request: Any) -> None:
    _timed(request)


def _left(timeout: float | None, late: str) -> float | None:
    """Return how long may still be waited.  Raises the library's own error where not at all."""
    if type(timeout) is not _Until:
        return timeout
    left = timeout.at - time.monotonic()
    if left > 0:
        return left if left < timeout else float(timeout)
    import httpcore2  # noqa: PLC0415 - whoever waits has it loaded

    raise getattr(httpcore2, late)


class _Network:
    """What connects, each wait cut to what is left."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **more: Any
    ) -> _Stream:
        left = _left(timeout, "ConnectTimeout")
        return _Stream(self._inner.connect_tcp(host, port, timeout=left, **more))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Stream:
    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.close = inner.close
        self.get_extra_info = inner.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        got: bytes = self._inner.read(max_bytes, _left(timeout, "ReadTimeout"))
        return got

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for part in _slices(buffer):
            self._inner.write(part, _left(timeout, "WriteTimeout"))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        left = _left(timeout, "ConnectTimeout")
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))


class _AsyncNetwork:
    """As `_Network`, on an event loop."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as the library calls it
        **more: Any,
    ) -> _AsyncStream:
        left = _left(timeout, "ConnectTimeout")
        return _AsyncStream(await self._inner.connect_tcp(host, port, timeout=left, **more))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _AsyncStream:
    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.aclose = inner.aclose
        self.get_extra_info = inner.get_extra_info

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        got: bytes = await self._inner.read(max_bytes, _left(timeout, "ReadTimeout"))
        return got

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._inner.write(buffer, _left(timeout, "WriteTimeout"))

    async def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> _AsyncStream:
        left = _left(timeout, "ConnectTimeout")
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, left))


def _slices(buffer: bytes) -> Iterator[Any]:
    """Cut what is sent, since each piece is given its time anew by the one who sends it."""
    if len(buffer) <= _SLICE:
        yield buffer
        return
    view = memoryview(buffer)
    for at in range(0, len(view), _SLICE):
        yield view[at : at + _SLICE]


# --- the length


def _measured(response: Any) -> None:
    response.iter_bytes = bounded(response.iter_bytes, LONGEST, _hurry(response))


async def _measured_async(response: Any) -> None:
    response.aiter_bytes = bounded_async(response.aiter_bytes, LONGEST, _hurry(response))


def _hurry(response: Any) -> Callable[[], None]:
    """Return what gives a response that has said all a moment more, and no longer."""
    until = response.request.extensions.get("timeout", {}).get("read")

    def hurry() -> None:
        if isinstance(until, _Until):
            until.at = min(until.at, time.monotonic() + _HANGING)

    return hurry


def _nothing() -> None:
    """Leave the time as it is."""


class _Length:
    """How much of a body may still come."""

    __slots__ = ("_left", "_line")

    def __init__(self, most: int) -> None:
        self._left = most
        self._line = 0

    def take(self, chunk: bytes) -> None:
        size = len(chunk)
        end = chunk.rfind(b"\n")
        self._left -= size
        self._line = self._line + size if end < 0 else size - end - 1
        if self._left < 0 or self._line > _LONGEST_LINE:
            raise Malformed("its answer does not end")


def bounded(
    read: Callable[..., Iterator[bytes]], most: int, said_all: Callable[[], None] = _nothing
) -> Callable[..., Iterator[bytes]]:
    """Return a way to read a body that raises Malformed behind so many bytes, and in endless lines.

    OpenAI's SDK reads no further than `[DONE]`, and so loses the connection with every call.  What
    comes behind it is read here, after `said_all` was called, and is of no interest.
    """

    def reading(chunk_size: int | None = None) -> Iterator[bytes]:
        length, chunks = _Length(most), read(chunk_size)
        for chunk in chunks:
            length.take(chunk)
            if chunk.endswith(_DONE):
                said_all()
                with suppress(Exception):
                    for rest in chunks:
                        length.take(rest)
            yield chunk

    return reading


def bounded_async(
    read: Callable[..., AsyncIterator[bytes]], most: int, said_all: Callable[[], None] = _nothing
) -> Callable[..., AsyncIterator[bytes]]:
    """Do as `bounded`, on an event loop."""

    async def reading(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        length = _Length(most)
        async with aclosing(read(chunk_size)) as chunks:  # type: ignore[type-var]  # a generator
            async for chunk in chunks:
                length.take(chunk)
                if chunk.endswith(_DONE):
                    said_all()
                    with suppress(Exception):
                        async for rest in chunks:
                            length.take(rest)
                yield chunk

    return reading
