"""Tools of MCP servers, for an agent."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kairos.addresses import checked_url
from kairos.agents.mcp.choice import CONTEXT, EFFECTS, Choice
from kairos.agents.mcp.connection import Connection
from kairos.agents.mcp.content import value_of
from kairos.agents.mcp.pins import changes, digest_of, plain, read_lock, write_lock
from kairos.agents.mcp.process import MCPServerError, told
from kairos.agents.mcp.ways import Address, Command
from kairos.agents.tools import Tool
from kairos.exceptions import ConfigError
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.agents.mcp.listing import RemoteTool
    from kairos.agents.mcp.ways import Way
    from kairos.agents.tools import Effect

__all__ = ["MCPTools", "mcp_tools"]

_TOLD = 200
_PREFIX = re.compile(r"[A-Za-z0-9_-]{0,32}")


def mcp_tools(
    command: Sequence[str] | None = None,
    *,
    url: str | None = None,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    prefix: str = "",
    effects: Mapping[str, Effect] | None = None,
    trust_hints: bool = False,
    unchecked: Iterable[str] = (),
    pin: str | Path | None = None,
    timeout: float | None = 60.0,
    connect_timeout: float = 30.0,
    close_timeout: float = 2.0,
    reopens: int = 3,
    max_chars: int = 100_000,
    env: Mapping[str, str] | Iterable[str] = (),
    cwd: str | Path | None = None,
    headers: Mapping[str, str] | None = None,
    allow_localhost: bool = False,
) -> MCPTools:
    """Return the tools of an MCP server: of a program that is started, or behind a `url`.

    Use it as a context manager (`with` or `async with`): the server runs in between.  `include`
    and `exclude` are globs of the server's names; `prefix` keeps two servers apart.

    An effect is `external` unless `effects`, globs to effects of which the first that matches
    counts, says otherwise; `trust_hints` believes what the server itself says about that.
    `unchecked` names tools to take although their schema cannot be compiled: their arguments are
    checked by the server alone.  `pin` is the digest or the lock file of tools that somebody has
    looked at; others are refused.

    `timeout` bounds a call, `connect_timeout` the start, `close_timeout` each of the three ways to
    end a program (close its input, terminate, kill); all in seconds.  A server that ended is opened
    anew by the next call, `reopens` times in all; a call that was under way has failed.

    A program gets PATH, HOME and the like, and of the rest of the environment what `env` names: a
    list of names, or names with values.  `headers` go to the `url`, which is https, or with
    `allow_localhost` an exact local host.

    Raises ConfigError for what is wrong of this.  Opening raises ConfigError for tools that cannot
    be taken, and MCPServerError for a server that does not answer.
    """
    if (command is None) == (url is None):
        raise ConfigError(
            "an MCP server is a command or a url",
            where=declared_here(),
            found="neither" if command is None else "both",
            fix="mcp_tools(['python', 'server.py']), or mcp_tools(url='https://...')",
        )
    way: Way
    if command is not None:
        way = Command(
            _command(command),
            _environment(env),
            None if cwd is None else str(cwd),
            close_timeout=_seconds("close_timeout", close_timeout),
            watched=pin is not None,
        )
    else:
        checked_url(str(url), "url", allow_localhost=allow_localhost)
        way = Address(str(url), _headers(headers or {}), watched=pin is not None)
    choice = Choice(
        None if include is None else _globs("include", include),
        _globs("exclude", exclude),
        _checked(
            "prefix",
            prefix,
            isinstance(prefix, str) and _PREFIX.fullmatch(prefix),
            "letters, digits, _ and -, 32 at most",
        ),
        _checked_effects(effects or {}),
        trust_hints=trust_hints,
        unchecked=_globs("unchecked", unchecked),
        place=declared_here(),
        options={
            "timeout": None if timeout is None else _seconds("timeout", timeout),
            "max_chars": _checked(
                "max_chars", max_chars, _is_whole(max_chars, 1), "a whole number above 0"
            ),
            "touches": ("commands",) if command is not None else ("network",),
        },
    )
    _checked("cwd", cwd, cwd is None or _is_folder(cwd), "a folder that is there")
    _checked("pin", pin, pin is None or isinstance(pin, str | Path), "a digest, or a path")
    return MCPTools(
        way,
        choice,
        pin,
        connect_timeout=_seconds("connect_timeout", connect_timeout),
        reopens=_checked("reopens", reopens, _is_whole(reopens, 0), "a whole number from 0 up"),
    )


class MCPTools(Sequence[Tool]):
    """The tools of one server, while it is open: a sequence of `Tool`."""

    def __init__(
        self,
        way: Way,
        choice: Choice,
        pin: str | Path | None,
        *,
        connect_timeout: float,
        reopens: int,
    ) -> None:
        self._way = way
        self._choice = choice
        self._pin = pin
        self._known: dict[str, Any] | None = None
        self._tools: tuple[Tool, ...] = ()
        self._connection = Connection(
            way, self._accept, connect_timeout=connect_timeout, reopens=reopens
        )
        self._open = False

    def __repr__(self) -> str:
        names = ", ".join(each.name for each in self._tools)
        return f"MCPTools([{names}])"

    # --- as a sequence

    def __len__(self) -> int:
        return len(self._opened())

    def __getitem__(self, index: Any) -> Any:
        """Return a tool by its number, or by its name."""
        if isinstance(index, str):
            for each in self._opened():
                if each.name == index:
                    return each
            raise KeyError(index)
        return self._opened()[index]

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._opened())

    def _opened(self) -> tuple[Tool, ...]:
        if self._known is None:
            raise ConfigError(
                "the MCP server was not opened, so nobody knows its tools",
                where=declared_here(),
                fix="with mcp_tools(...) as tools: agent(model, tools=[*tools])",
            )
        return self._tools

    # --- while it is open

    def open(self) -> Self:
        """Start the server and read its tools; whoever calls this calls `close`."""
        if self._open:
            return self
        self._known, self._tools = None, ()
        self._connection.open()
        self._open = True
        return self

    def close(self) -> None:
        """End the server, and every call with it."""
        self._open = False
        self._connection.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.open)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    @property
    def digest(self) -> str:
        """What `pin` may be given to take these very tools and no others."""
        self._opened()
        return digest_of(self._known or {})

    def write_lock(self, path: str | Path) -> None:
        """Write a lock file for `pin`: these tools as they are, to be read and kept."""
        self._opened()
        write_lock(path, self._known or {})

    @property
    def changed(self) -> bool:
        """Whether the server has said that its tools are others now; these stay as they are."""
        return self._connection.changed

    @property
    def errors(self) -> str:
        """The end of what the server wrote on standard error, 64 KiB at most, as it came."""
        return self._way.errors

    # --- the tools

    def _accept(self, listing: tuple[RemoteTool, ...]) -> None:
        chosen = self._choice.of(listing)
        now = plain(chosen)
        if self._known is not None:
            if differing := changes(self._known, now):
                raise MCPServerError(
                    "the MCP server's tools are not those that it had", found=differing
                )
            return
        self._hold_to_pin(now)
        self._tools = tuple(self._choice.made(chosen, self._call))
        self._known = now

    def _hold_to_pin(self, now: dict[str, Any]) -> None:
        if self._pin is None:
            return
        if isinstance(self._pin, str) and self._pin.startswith("sha256:"):
            if self._pin == digest_of(now):
                return
            found = f"pin {digest_of(now)}"
        else:
            path = Path(self._pin)
            found = changes(read_lock(path), now)
            if not found:
                return
        raise ConfigError(
            "the MCP server's tools are not those that were looked at",
            expected="the tools of pin=",
            found=found,
            fix="look at what changed; take it with tools.write_lock(path), or a new pin",
        )

    async def _call(
        self, remote: RemoteTool, tool: Tool, given: dict[str, Any], *, structured: bool
    ) -> Any:
        context = given.pop(CONTEXT, None)
        arguments = json.loads(tool.signature.arguments.check_output(given))

        def tell(progress: float, total: float | None, message: str | None) -> None:
            said = told(message or "", _TOLD)
            with suppress(RuntimeError):  # the loop that was told is closed
                context.progress({"progress": progress, "total": total, "message": said})

        calling = self._connection.call(remote.name, arguments, None if context is None else tell)
        result = await asyncio.wrap_future(self._connection.submit(calling))
        return value_of(result, structured=structured)


# --- what is given


def _command(given: Any) -> tuple[str, ...]:
    words: Any = given if isinstance(given, Sequence) and not isinstance(given, str | bytes) else ()
    found = tuple(os.fspath(each) for each in words if isinstance(each, str | os.PathLike))
    if not found or len(found) < len(words):
        raise ConfigError(
            "the command of an MCP server is no list",
            where=declared_here(),
            expected="the program and its arguments, one by one",
            found=type(given).__name__,
            fix="mcp_tools(['python', 'server.py'])",
        )
    return found


def _environment(given: Any) -> dict[str, str]:
    if isinstance(given, Mapping):
        if not all(isinstance(each, str) for pair in given.items() for each in pair):
            raise ConfigError("env= holds what is no text", where=declared_here())
        if any(not name or "=" in name or "\0" in name + value for name, value in given.items()):
            raise ConfigError("env= holds what can be no variable", where=declared_here())
        return dict(given)
    found = {}
    for name in _globs("env", (given,) if isinstance(given, str) else given):
        if name not in os.environ:
            raise ConfigError(
                f"env= names {name!r}, which the environment does not have", where=declared_here()
            )
        found[name] = os.environ[name]
    return found


def _headers(given: Any) -> dict[str, str]:
    for name, value in given.items():
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ConfigError(
                f"the header {name!r} holds what can be none",
                where=declared_here(),
                expected="printable ASCII letters",
            )
    return dict(given)


def _globs(option: str, given: Any) -> tuple[str, ...]:
    names = None if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if names is None or not all(isinstance(each, str) for each in names):
        raise ConfigError(
            f"{option}= is no list of names",
            where=declared_here(),
            fix="env=['NAME']" if option == "env" else f"{option}=['search_*']",
        )
    return names


def _checked_effects(given: Any) -> Mapping[str, Effect]:
    if not isinstance(given, Mapping):
        raise ConfigError(
            "effects= maps no globs", where=declared_here(), fix="effects={'search_*': 'read'}"
        )
    for glob, effect in given.items():
        if effect not in EFFECTS:
            raise ConfigError(
                f"effects= says of {glob!r} what is no effect",
                where=declared_here(),
                expected=" or ".join(EFFECTS),
            )
    return dict(given)


def _is_folder(given: Any) -> bool:
    return isinstance(given, str | os.PathLike) and Path(given).is_dir()


def _is_whole(given: Any, least: int) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and given >= least


def _checked(option: str, given: Any, good: Any, expected: str) -> Any:
    if good:
        return given
    raise ConfigError(
        f"{option}= is none", where=declared_here(), expected=expected, found=repr(given)[:80]
    )


def _seconds(option: str, given: Any) -> float:
    if isinstance(given, int | float) and not isinstance(given, bool) and given > 0:
        return float(given)
    raise ConfigError(f"{option}= is no number of seconds above 0", where=declared_here())
