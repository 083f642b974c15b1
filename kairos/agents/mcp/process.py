"""A server on this machine: a process that speaks JSON-RPC over its standard streams, line by line.

What it writes is a stranger's: a line that is no message is passed over, up to a number of them,
and one that is too long ends the connection.  Its standard error is kept apart, the end of it only.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from kairos.agents.tools import ToolError
from kairos.security import sanitize_untrusted_text, scrub_credentials

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

__all__ = ["LONGEST", "MCPServerError", "ServerProcess", "message_of", "told"]

LONGEST = 16 * 1024 * 1024
"""Bytes that one message may have."""
_MOST_NOISE = 1_000  # lines that are no message
_KEPT = 64 * 1024  # bytes of standard error
_TOLD = 300  # characters of it in an error
_LOOK = 0.01
_REAP = 2.0
_LAST_WORDS = 0.5
_AHEAD = 64  # messages that are read before anybody asked for them
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


class MCPServerError(ToolError):
    """A server cannot be reached, has ended, or does not keep to the protocol."""


def told(text: str, longest: int = _TOLD) -> str:
    """Return a server's words for an error: one short line, without what a terminal obeys."""
    said = sanitize_untrusted_text(scrub_credentials(text[: 4 * longest]), max_len=longest).text
    return " ".join(said.split())


def message_of(line: bytes) -> Any:
    """Return the message on a line.  Raises ValueError for what is none.

    Half a surrogate pair, which is left where somebody cuts a text in JavaScript, is no Unicode;
    it becomes a question mark, so that nobody waits in vain for the answer.
    """
    from mcp_types import jsonrpc_message_adapter  # noqa: PLC0415 - it comes with the extra

    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        if not _HALF.search(line):
            raise
    try:
        whole = json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return jsonrpc_message_adapter.validate_json(whole, by_name=False)


class ServerProcess:
    """A server's process and its streams; made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, secrets: Sequence[str]) -> None:
        self._process = process
        self._secrets = secrets
        self._errors = bytearray()
        self._noise = 0
        self._fault = ""
        self._first_noise = ""
        self._made_to_end = self._gone = False
        self._listening = asyncio.create_task(self._keep_errors())

    @classmethod
    async def start(
        cls, command: Sequence[str], env: Mapping[str, str], cwd: str | None, secrets: Sequence[str]
    ) -> ServerProcess:
        """Start a command with this environment and no other.  Raises OSError, ValueError."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            limit=LONGEST,
            start_new_session=True,  # its children end with it, and a Ctrl-C is ours
        )
        return cls(process, secrets)

    @property
    def errors(self) -> str:
        """The end of what it wrote on standard error."""
        return self._errors.decode("utf-8", "replace")

    def why(self) -> str:
        """Say how it ended, or what is wrong with it, as far as it is known."""
        if self._fault:
            return self._fault
        how, said = self._how(), self._last_words()
        if how:
            return f"{how}, and said: {said}" if said else how
        return f"it said: {said}" if said else ""

    def _how(self) -> str:
        if self._made_to_end:
            if not self._noise:
                return ""
            lines = "a line" if self._noise == 1 else f"{self._noise:,} lines"
            return f"what it wrote to its standard output is no message, in {lines}"
        code = self._process.returncode
        if code is None:
            return "it has closed its standard output"
        return f"signal {-code} ended it" if code < 0 else f"it exited with code {code}"

    def _last_words(self) -> str:
        lines = [line for line in self.errors.splitlines() if line.strip()]
        said = lines[-1] if lines else self._first_noise
        for secret in self._secrets:
            said = said.replace(secret, "[REDACTED]")
        return told(said)

    @asynccontextmanager
    async def spoken(self) -> AsyncGenerator[tuple[Any, Any]]:
        """Give the streams of messages that the SDK speaks through."""
        import anyio  # noqa: PLC0415 - it comes with the extra

        to_session, heard = anyio.create_memory_object_stream[Any](_AHEAD)
        said, from_session = anyio.create_memory_object_stream[Any](0)
        both = [
            asyncio.create_task(self._hear(to_session)),
            asyncio.create_task(self._say(from_session, to_session)),
        ]
        try:
            yield heard, said
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for stream in (to_session, heard, said, from_session):
                stream.close()

    async def _hear(self, to_session: Any) -> None:
        import anyio  # noqa: PLC0415 - it comes with the extra
        from mcp.shared.message import SessionMessage  # noqa: PLC0415 - as above

        with to_session, suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            async for line in self._lines():
                try:
                    message = message_of(line)
                except ValueError:
                    self._noise += 1
                    if self._noise == 1:
                        self._first_noise = line[:_KEPT].decode("utf-8", "replace")
                    if self._noise > _MOST_NOISE:
                        self._fault = "it writes to its standard output what is no message"
                        return
                    continue
                await to_session.send(SessionMessage(message))
            self._gone = True
            if not self._fault:
                await self._ended()

    async def _lines(self) -> AsyncGenerator[bytes]:
        stdout = self._process.stdout
        while stdout is not None:
            try:
                line = await stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                self._fault = f"it sent a message of more than {LONGEST:,} bytes"
                return
            except OSError:
                return
            yield line

    async def _ended(self) -> None:
        """Give the process a moment to be known as ended, so that it can be told how."""
        if not await self._exited(_REAP):
            return
        with suppress(TimeoutError):  # a child of its own may hold its standard error open
            async with asyncio.timeout(_LAST_WORDS):
                await asyncio.shield(self._listening)

    async def _say(self, from_session: Any, to_session: Any) -> None:
        stdin = self._process.stdin
        with from_session:
            async for said in from_session:
                text = said.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    if stdin is None:
                        raise BrokenPipeError
                    stdin.write(text.encode() + b"\n")
                    await stdin.drain()
                except (OSError, RuntimeError):
                    self._gone = True
                    to_session.close()  # whoever waits for an answer gets none
                    return

    async def _keep_errors(self) -> None:
        stderr = self._process.stderr
        with suppress(OSError):
            while stderr is not None and (part := await stderr.read(_KEPT)):
                self._errors += part
                del self._errors[:-_KEPT]

    async def stop(self, grace: float) -> None:
        """End it: close its input, wait, terminate, wait, kill; and its children with it."""
        self._made_to_end = self._process.returncode is None and not self._gone
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            if not await self._exited(grace):
                self._signal(signal.SIGTERM)
                await self._exited(grace)
        finally:
            self.kill()
            await self._exited(_REAP)
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._let_go()

    def kill(self) -> None:
        """End it at once, and what it has left behind."""
        self._signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with suppress(OSError):
            if sys.platform == "win32":
                self._process.send_signal(number)
            else:
                os.killpg(self._process.pid, number)

    async def _exited(self, seconds: float) -> bool:
        """Wait for its end.  Not by `wait()`, which waits for all who hold its pipes as well."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._process.returncode is None:
            if loop.time() >= until:
                return False
            await asyncio.sleep(_LOOK)
        return True

    def _let_go(self) -> None:
        """Close the pipes, which a child that outlived all this may hold open at its end."""
        transport = getattr(self._process, "_transport", None)
        if transport is not None:
            transport.close()
