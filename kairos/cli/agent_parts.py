"""What an agent on the command line is made of, found by the names that were given for it.

A name with a colon, or of a file, is a module that may be loaded as `kairos run` may load it;
any other name is an extension.  Nothing is imported that was not named.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kairos.cli.finding import listed
from kairos.cli.loading import load
from kairos.cli.output import Stop, clean
from kairos.exceptions import ConfigError, KairosError
from kairos.extensions import GROUPS, extensions, load_extension, load_extensions

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

__all__ = [
    "Modules",
    "contract_of",
    "foreign",
    "guards_of",
    "instructions_of",
    "mcp_tools_of",
    "model_of",
    "store_of",
    "task_of",
    "tools_of",
]

_NAMED_SERVER = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]{0,31})=")
_GLOB = frozenset("*?[")
_OF_A_STORE = ("append", "read", "fork", "sessions", "delete")


def model_of(name: str | None) -> Any:
    """Return the model that `claude`, `claude:MODEL` or `distribution/name:MODEL` names."""
    offered = [one.name for one in extensions("kairos.adapters")]
    if name is None or not name.strip():
        raise Stop(
            "which model?",
            expected=f"--model {' or '.join(dict.fromkeys(offered)) or 'NAME'}, "
            "or NAME:MODEL for one of its models",
        )
    adapter, _, model = name.partition(":")
    made = load_extension("kairos.adapters", adapter)
    model = model or getattr(made, "default_model", "")
    if not model:
        raise Stop(f"which model of {clean(adapter)}?", fix=f"--model {clean(adapter)}:MODEL")
    try:
        return made(model=model)
    except KairosError:
        raise
    except Exception as error:  # noqa: BLE001 - it is foreign code
        raise foreign(f"the adapter {clean(adapter)} cannot be made", error) from None


class Modules:
    """Modules of one's own, each loaded once, as `kairos.cli.loading` may load them."""

    def __init__(self, workflows_dir: str | None = None) -> None:
        self._workflows_dir = workflows_dir
        self._begun = False

    def member(self, target: str, what: str) -> Any:
        """Return what `module:name` names.  Raises Stop where there is nothing by that name."""
        loaded = load(target, workflows_dir=self._workflows_dir, beside=self._begun)
        self._begun = True
        return _member(loaded.module, loaded.chosen, loaded.target, what)


def _member(module: ModuleType, name: str | None, target: str, what: str) -> Any:
    members = vars(module)
    public = [each for each, value in members.items() if _is_tool(value)]
    shown = clean(target)
    if name is None:
        raise Stop(
            f"which {what} of {shown}?",
            expected=f"{shown}:NAME",
            found=listed(public) or None,
            fix=f"{shown}:{public[0]}" if public else None,
        )
    if name not in members:
        raise Stop(f"there is no '{name}' in {shown}", found=listed(public) or None)
    return members[name]


def _is_tool(value: Any) -> bool:
    from kairos.agents.tools import Tool  # noqa: PLC0415 - only an error asks

    return isinstance(value, Tool)


def _is_module(name: str) -> bool:
    return ":" in name or name.endswith(".py")


def _split(given: Iterable[str], option: str) -> list[str]:
    names: dict[str, None] = {}
    for each in given:
        several = [name.strip() for name in each.split(",")]
        if not any(several):  # a variable of the shell that is not set, say
            raise Stop(f"{option} names nothing", fix=f"leave {option} out")
        names |= dict.fromkeys(filter(None, several))
    return list(names)


def tools_of(given: Sequence[str], modules: Modules) -> list[Any]:
    """Return the tools that were named, lists of them laid out, in the order of their names."""
    found: list[Any] = []
    for name in _split(given, "--tools"):
        if _is_module(name):
            found += _laid_out(_member_of("kairos.tools", name, modules))
        elif _GLOB & {*name}:
            several = load_extensions("kairos.tools", allowlist=[name])
            if not several:
                raise Stop(f"no installed tool is named like {clean(name)}")
            found += [each for one in several.values() for each in _laid_out(one)]
        else:
            found += _laid_out(_extension("kairos.tools", name))
    return found


def _member_of(group: str, name: str, modules: Modules) -> Any:
    """Return what a module holds under a name, if an extension of the group could be that too."""
    kind, held = _kind(group), GROUPS[group]
    value = modules.member(name, kind)
    fault = held.fault(value)
    if fault is not None:
        raise Stop(
            f"{clean(name)} is no {kind}",
            expected=held.expected,
            found=fault.removeprefix("which is "),
        )
    return value


def _kind(group: str) -> str:
    return group.removeprefix("kairos.").removesuffix("s")


def _extension(group: str, name: str) -> Any:
    """Load an extension.  Raises Stop where a module was meant, and ConfigError as loading does."""
    beside = next((each for each in (f"{name}.py", name) if Path(each).exists()), None)
    if beside is not None and not any(
        name in (one.name, one.full_name) for one in extensions(group)
    ):
        raise Stop(
            f"there is no {_kind(group)} '{clean(name)}' installed",
            expected="the name of one that is, or a module and what it is called there",
            fix=f"{clean(name.replace('/', '.'))}:NAME",
        )
    return load_extension(group, name)


def _laid_out(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def guards_of(given: Sequence[str], modules: Modules) -> list[Callable[..., Any]]:
    """Return the guards that were named."""
    return [
        _member_of("kairos.guards", name, modules)
        if _is_module(name)
        else _extension("kairos.guards", name)
        for name in _split(given, "--guards")
    ]


def mcp_tools_of(
    given: Sequence[str], variables: Sequence[str], held: contextlib.ExitStack
) -> list[Any]:
    """Return the tools of MCP servers, which are open as long as `held` is.

    Each is a command or an address, with `NAME=` before it or without: then `NAME_` goes before
    the names of its tools.  Of the environment they see the variables that are named.
    """
    if not given:
        if variables:
            raise Stop("--mcp-env is for servers, and there is none", fix='--mcp "PROGRAM ..."')
        return []
    from kairos.agents.mcp import mcp_tools  # noqa: PLC0415 - for those who name one

    seen = _split(variables, "--mcp-env")
    for name in seen:
        if name not in os.environ:
            raise Stop(f"--mcp-env names '{clean(name)}', which the environment does not have")
    found: dict[str, Any] = {}
    for each in given:
        named = _NAMED_SERVER.match(each)
        prefix, place = (f"{named[1]}_", each[named.end() :]) if named else ("", each.strip())
        if place.startswith(("https://", "http://")):
            # it was typed here, by whoever also could start a program
            server = mcp_tools(url=place, prefix=prefix, allow_localhost=True)
        else:
            server = mcp_tools(_words(place), prefix=prefix, env=seen)
        for tool in held.enter_context(server):
            if tool.name in found:
                raise Stop(
                    f"two servers have a tool '{clean(tool.name)}'",
                    fix='give each a name: --mcp "NAME=PROGRAM ...", which goes before its tools',
                )
            found[tool.name] = tool
    return list(found.values())


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise Stop("--mcp names no program", expected='--mcp "PROGRAM ARGUMENT ..."')
    return words


def contract_of(given: str | None, modules: Modules) -> Any:
    """Return the contract of the answer, a `module:Model`; None where none is asked for."""
    if given is None:
        return None
    if not _is_module(given):
        raise Stop("--output-contract names no model", expected="module:Model, or file.py:Model")
    return modules.member(given, "model")


def store_of(given: str | None) -> Any:
    """Return the store of sessions that `name` or `name:PLACE` names; None where none is."""
    if given is None:
        return None
    name, _, place = given.partition(":")
    made = load_extension("kairos.stores", name)
    try:
        store = made(place) if place else made()
    except KairosError:
        raise
    except TypeError:
        wrong = "takes no place" if place else "needs a place"
        raise Stop(f"the store {clean(name)} {wrong}", expected="--store sqlite:PATH") from None
    except Exception as error:  # noqa: BLE001 - it is foreign code
        raise foreign(f"the store {clean(name)} cannot be opened", error) from None
    missing = [each for each in _OF_A_STORE if not callable(getattr(store, each, None))]
    if missing:
        raise Stop(f"{clean(name)} is no store", found=f"it cannot {' or '.join(missing)}")
    return store


def instructions_of(given: str) -> str:
    """Return a text, or with `@` before it that of a file."""
    return _file(given[1:], "--instructions") if given.startswith("@") else given


def task_of(given: Sequence[str]) -> str:
    """Return the task: its parts one below the other, `-` for what stands on standard input."""
    if given.count("-") > 1:
        raise Stop("standard input can be read once", found="- more than once")
    parts = [_standard_input() if part == "-" else part for part in given]
    return "\n\n".join(part for part in parts if part.strip())


def _standard_input() -> str:
    if sys.stdin is None:
        raise Stop("standard input is closed", fix="pipe the task in, or write it down")
    raw = getattr(sys.stdin, "buffer", None)
    return _text(sys.stdin.read() if raw is None else raw.read(), "standard input")


def _file(name: str, option: str) -> str:
    shown = clean(name)
    try:
        return _text(Path(name).read_bytes(), shown)
    except FileNotFoundError:
        raise Stop(f"{option}: no such file: {shown}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Stop(f"{option}: {shown} cannot be read: {why}") from None


def _text(raw: bytes | str, source: str) -> str:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Stop(
            f"{source} is no UTF-8 text", found=f"a byte that is none, at offset {error.start}"
        ) from None


def foreign(message: str, error: Exception) -> ConfigError:
    """Return what somebody else's code raised as an error of ours, without its stack."""
    from kairos.security import sanitize_exception  # noqa: PLC0415 - only an error asks

    kind, said = sanitize_exception(error)
    return ConfigError(message, found=f"{kind}: {clean(said)}" if said else kind)
