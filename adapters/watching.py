"""A response that is read no longer than its call may take.

The HTTP library's own timeout bounds each wait, and starts anew with every byte: a server that
sends a comment now and then would hold a call for ever.  So the bytes themselves are watched.
"""

from __future__ import annotations

import asyncio
import functools
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["watched", "watched_async"]


def watched(response: Any, deadline: float) -> None:
    """Let the bytes of a response end with TimeoutError after `deadline` (monotonic seconds)."""
    response.stream = _kinds()[0](response.stream, deadline)


def watched_async(response: Any, deadline: float) -> None:
    """Do as `watched` for a response that is read on an event loop."""
    response.stream = _kinds()[1](response.stream, deadline)


@functools.cache
def _kinds() -> tuple[type[Any], type[Any]]:  # noqa: C901 - two classes that need a base of httpx2's
    import httpx2  # noqa: PLC0415 - whoever has a response has it loaded

    class Watched(httpx2.SyncByteStream):
        def __init__(self, stream: Any, deadline: float) -> None:
            self._stream = stream
            self._deadline = deadline

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._stream:
                if time.monotonic() > self._deadline:
                    raise TimeoutError
                yield chunk

        def __getattr__(self, name: str) -> Any:  # SDKs look for what they have put there
            return getattr(self._stream, name)

        def close(self) -> None:
            self._stream.close()

    class WatchedAsync(httpx2.AsyncByteStream):
        def __init__(self, stream: Any, deadline: float) -> None:
            self._stream = stream
            self._deadline = deadline

        async def __aiter__(self) -> AsyncIterator[bytes]:
            chunks = aiter(self._stream)
            while True:
                async with asyncio.timeout(max(self._deadline - time.monotonic(), 0)):
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        return
                yield chunk

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Watched, WatchedAsync
