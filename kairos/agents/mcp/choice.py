"""Which of a server's tools an agent gets, and as what."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from kairos.agents.mcp.foreign import contract_of, name_for, readable, shown_schema
from kairos.agents.mcp.process import MCPServerError, told
from kairos.agents.tools import Tool
from kairos.contracts.contract import compile_contract
from kairos.exceptions import ConfigError, did_you_mean
from kairos.models import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kairos.agents.mcp.listing import RemoteTool
    from kairos.agents.tools import Effect
    from kairos.source import Place

__all__ = ["CONTEXT", "EFFECTS", "Choice"]

EFFECTS = ("read", "write", "external")
"""What a tool may do to the world."""
CONTEXT = "kairos:context"
"""The context's name among the arguments of a call: one that no parameter of Python's has."""


class Choice:
    """Which of a server's tools are taken, and as what."""

    def __init__(
        self,
        include: tuple[str, ...] | None,
        exclude: tuple[str, ...],
        prefix: str,
        effects: Mapping[str, Effect],
        *,
        trust_hints: bool,
        unchecked: tuple[str, ...],
        place: Place | None,
        options: Mapping[str, Any],
    ) -> None:
        self._include = include
        self._exclude = exclude
        self._prefix = prefix
        self._effects = effects
        self._trust_hints = trust_hints
        self._unchecked = unchecked
        self._place = place
        self._options = options

    def of(self, listing: tuple[RemoteTool, ...]) -> tuple[RemoteTool, ...]:
        """Return the tools that are taken.  Raises ConfigError for a glob that names none."""
        names = [each.name for each in listing]
        for glob in self._include or ():
            if not any(fnmatch.fnmatchcase(name, glob) for name in names):
                raise ConfigError(
                    f"include= names {glob!r}, and the MCP server has no such tool",
                    expected=", ".join(sorted(map(_named, names))[:20]) or "nothing: it has none",
                    fix=did_you_mean(glob, names),
                )
        if len(set(names)) < len(names):
            raise MCPServerError("the MCP server lists two tools of one name")
        return tuple(
            each
            for each in listing
            if (self._include is None or _matches(each.name, self._include))
            and not _matches(each.name, self._exclude)
        )

    def made(self, chosen: tuple[RemoteTool, ...], call: Callable[..., Any]) -> Iterator[Tool]:
        """Return them as tools.  Raises ConfigError for all that cannot be compiled, at once."""
        faults: list[str] = []
        found: dict[str, RemoteTool] = {}
        made = []
        for remote in chosen:
            try:
                name = name_for(self._prefix, remote.name)
                if name in found:
                    faults.append(f"{_named(remote.name)} and {_named(found[name].name)}: one name")
                found[name] = remote
                made.append(self._tool(name, remote, call, faults))
            except ConfigError as error:
                faults.append(f"{_named(remote.name)}: {error.message}")
        if faults:
            raise ConfigError(
                "tools of the MCP server cannot be taken as they are",
                found="; ".join(faults[:10]),
                fix="leave them out with exclude=[...], or name them in unchecked=[...]",
            )
        return iter(made)

    def _tool(
        self, name: str, remote: RemoteTool, call: Callable[..., Any], faults: list[str]
    ) -> Tool:
        shown = shown_schema(remote.parameters)
        loose = _matches(remote.name, self._unchecked)

        def say(why: str) -> None:
            if not loose:
                faults.append(f"{_named(remote.name)}: {why}")

        parameters = contract_of(remote.parameters, say) or compile_contract(dict)
        result = None
        if remote.result is not None:
            result = contract_of(remote.result, say)

        async def calling(**given: Any) -> Any:
            return await call(remote, tool, given, structured=result is not None)

        tool = Tool(
            calling,
            name=name,
            effect=self._effect(remote),
            untrusted=True,
            parameters=parameters,
            result=result,
            **self._options,
        )
        tool.place = self._place
        tool.signature = tool.signature._replace(schema=shown, context=CONTEXT)
        tool.spec = ToolSpec(name, readable(remote.description), shown)
        return tool

    def _effect(self, remote: RemoteTool) -> Effect:
        for glob, effect in self._effects.items():
            if fnmatch.fnmatchcase(remote.name, glob):
                return effect
        if self._trust_hints:
            if remote.hints.get("readOnlyHint") is True:
                return "read"
            if remote.hints.get("openWorldHint") is False:
                return "write"
        return "external"


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)


def _named(name: str) -> str:
    """Return a stranger's name for an error: short, and without what a terminal obeys."""
    return repr(told(name, 64))
