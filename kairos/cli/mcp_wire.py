"""Standard input and output as the wire of a server: messages, one on a line.

Nothing else may reach them: steps and what they start read an empty input, and write to standard
error.  Both ends are threads of their own, so that no blocked read keeps the server from ending.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from kairos.agents.mcp.process import LONGEST, message_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

__all__ = ["Wire", "stdin_kept"]

_PART = 65_536
_AHEAD = 64  # messages that are read before anybody asked for them
_INVALID_REQUEST = -32600
_FLUSH = 2.0  # seconds for what was said last


@contextmanager
def stdin_kept() -> Iterator[int]:
    """Keep standard input for the wire; give its descriptor, and nothing to whoever reads."""
    empty = os.open(os.devnull, os.O_RDONLY)
    try:
        kept = os.dup(0)
    except OSError:  # it was closed from the start: a client that has left already
        kept = os.dup(empty)
    try:
        os.dup2(empty, 0)
        yield kept
    finally:
        os.dup2(kept, 0)
        os.close(empty)
        # `kept` stays open: a thread may still be reading from it


class Wire:
    """The two descriptors, and what reads and writes them."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(_AHEAD)
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="kairos-mcp-write", daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, name="kairos-mcp-read", daemon=True).start()

    @asynccontextmanager
    async def spoken(self) -> AsyncGenerator[tuple[Any, Any]]:
        """Give the streams of messages that the SDK's server speaks through."""
        import anyio  # noqa: PLC0415 - it comes with the extra

        to_server, heard = anyio.create_memory_object_stream[Any](0)
        said, from_server = anyio.create_memory_object_stream[Any](0)
        both = [
            asyncio.create_task(self._hear(to_server)),
            asyncio.create_task(self._say(from_server)),
        ]
        try:
            yield heard, said
        finally:
            said.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH):
                    await both[1]
            both[0].cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for stream in (to_server, heard, from_server):
                stream.close()
            self._out.put(None)
            await asyncio.to_thread(self._writer.join, _FLUSH)

    async def _hear(self, to_server: Any) -> None:
        import anyio  # noqa: PLC0415 - it comes with the extra
        from mcp.shared.message import SessionMessage  # noqa: PLC0415 - as above

        with to_server, suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            while (line := await self._lines.get()) is not None:
                self._room.release()
                try:
                    message = message_of(line)
                except ValueError as error:
                    self._refuse(line)
                    await to_server.send(error)
                else:
                    await to_server.send(SessionMessage(message))

    def _refuse(self, line: bytes) -> None:
        """Answer what is no message if somebody waits for that, which its id tells."""
        try:
            asked = json.loads(line)
            id_ = asked["id"] if "method" in asked else None
        except (ValueError, TypeError, LookupError, RecursionError):
            return
        if isinstance(id_, int | str) and not isinstance(id_, bool):
            error = {"code": _INVALID_REQUEST, "message": "this is no message of the protocol"}
            said = json.dumps({"jsonrpc": "2.0", "id": id_, "error": error})
            self._out.put(said.encode() + b"\n")

    async def _say(self, from_server: Any) -> None:
        with from_server:
            async for said in from_server:
                text = said.message.model_dump_json(by_alias=True, exclude_unset=True)
                self._out.put(text.encode() + b"\n")

    # --- the threads

    def _read(self) -> None:
        rest = b""
        with suppress(OSError, RuntimeError):  # closed under us, or the loop has ended
            while part := os.read(self._reading, _PART):
                *lines, rest = (rest + part).split(b"\n") if b"\n" in part else (rest + part,)
                for line in lines:
                    self._room.acquire()
                    self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
                if len(rest) > LONGEST:
                    break
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._lines.put_nowait, None)

    def _write(self) -> None:
        gone = False
        while (line := self._out.get()) is not None:
            at = 0
            while at < len(line) and not gone:
                try:
                    at += os.write(self._writing, line[at:])
                except OSError:
                    gone = True  # whoever has asked does not listen any longer
