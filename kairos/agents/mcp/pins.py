"""Pins: what a server's tools were when somebody looked at them, and what has changed since.

A pin covers names, descriptions, schemas and hints of the tools that are taken.  It is a digest,
which tells that something changed, or a lock file, which tells what.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kairos.agents.mcp.process import told
from kairos.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kairos.agents.mcp.listing import RemoteTool

__all__ = ["changes", "digest_of", "plain", "read_lock", "write_lock"]

_VERSION = 1
_MOST_TOLD = 10


def plain(tools: Iterable[RemoteTool]) -> dict[str, Any]:
    """Return tools as plain data, by name."""
    return {
        each.name: {
            "description": each.description,
            "parameters": dict(each.parameters),
            "result": None if each.result is None else dict(each.result),
            "hints": dict(each.hints),
        }
        for each in sorted(tools, key=lambda each: each.name)
    }


def digest_of(tools: dict[str, Any]) -> str:
    """Return the digest of tools: `sha256:` and 64 hexadecimal digits."""
    written = json.dumps(tools, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(written.encode()).hexdigest()}"


def write_lock(path: str | Path, tools: dict[str, Any]) -> None:
    """Write what the tools are now."""
    told = {"version": _VERSION, "digest": digest_of(tools), "tools": tools}
    text = json.dumps(told, indent=2, sort_keys=True, ensure_ascii=True)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_lock(path: Path) -> dict[str, Any]:
    """Return the tools of a lock file.  Raises ConfigError for what is none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        tools = told["tools"]
        good = told["version"] == _VERSION and digest_of(tools) == told["digest"]
    except FileNotFoundError:
        raise ConfigError(
            "there is no lock of the MCP server's tools",
            found=f"no file {path.name}",
            fix="look at the tools, then: with mcp_tools(...) as tools: tools.write_lock(path)",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path.name} is no lock of MCP tools", found=type(error).__name__
        ) from None
    if not good or not all(isinstance(each, dict) for each in tools.values()):
        raise ConfigError(f"{path.name} was changed by hand, or is of another version")
    return tools  # type: ignore[no-any-return]


def changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say where two sets of tools differ, without a word of what they say; empty for nowhere."""
    found = [f"'{name}' has gone" for name in before if name not in now]
    found += [f"'{name}' is new" for name in now if name not in before]
    for name, tool in now.items():
        differing = _differing(before.get(name, tool), tool)
        found += [f"'{name}' has another {where}" for where in differing]
    more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    return "; ".join(told(each) for each in found[:_MOST_TOLD]) + more


def _differing(before: Any, now: Any, where: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            inner = f"{where}.{key}" if where else str(key)
            if (key in before) != (key in now):
                yield inner
            else:
                yield from _differing(before[key], now[key], inner)
    elif json.dumps(before, sort_keys=True) != json.dumps(now, sort_keys=True):
        yield where
