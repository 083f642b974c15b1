"""What may be said to `agent`: each option is held to what it can mean, where it is written."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, get_args

from kairos.agents.authority import allow_list
from kairos.agents.compaction import Compaction
from kairos.agents.plan import Via
from kairos.exceptions import ConfigError, did_you_mean
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kairos.agents.authority import Guard
    from kairos.models import Model

__all__ = [
    "allowed_tools",
    "answer_way",
    "callable_or_none",
    "compaction_of",
    "guard_list",
    "model_of",
    "seconds",
    "strategy_of",
    "text",
    "whole",
    "yes_or_no",
]

_LONGEST = 1_000_000.0


def whole(option: str, given: Any, *, least: int, unsaid: bool = False) -> Any:
    """Return a whole number from `least` up, or None where it may be left unsaid."""
    if (unsaid and given is None) or (type(given) is int and given >= least):
        return given
    raise _none(option, given, f"a whole number from {least} up")


def seconds(option: str, given: Any, *, unsaid: bool = False) -> Any:
    """Return a number of seconds that somebody can wait for, or None where it may be unsaid."""
    if (unsaid and given is None) or (type(given) in (int, float) and 0 < given <= _LONGEST):
        return given
    raise _none(option, given, f"seconds above 0, and at most {_LONGEST:,.0f}")


def yes_or_no(option: str, given: Any) -> bool:
    """Return True or False: a text would be true, whatever it says."""
    if isinstance(given, bool):
        return given
    raise _none(option, given, "True or False")


def text(option: str, given: Any) -> str:
    """Return a text."""
    if isinstance(given, str):
        return given
    raise _none(option, given, "a text")


def callable_or_none(option: str, given: Any) -> Any:
    """Return something that can be called, or None."""
    if given is None or callable(given):
        return given
    raise _none(option, given, "a function")


def answer_way(given: Any) -> Via | None:
    """Return how an answer is given, or None."""
    if given is None or given in get_args(Via):
        return given  # type: ignore[no-any-return]
    raise _none("answer_via", given, " or ".join(map(repr, get_args(Via))) + ", or None")


def allowed_tools(given: Any, names: Sequence[str]) -> tuple[Guard, ...]:
    """Return the guard of an allow list.

    Raises ConfigError for a glob that matches no tool: whoever wrote it meant one.
    """
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _none("allow", given, "a list of globs: allow=['search_*']")
    globs = tuple(given)
    for glob in globs:
        if not isinstance(glob, str):
            raise _none("allow", glob, "globs of names of tools")
        if not any(fnmatch.fnmatchcase(name, glob) for name in names):
            raise ConfigError(
                f"allow= of agent() names no tool: '{glob[:60]}'",
                where=declared_here(),
                expected="globs that match some of " + (", ".join(names) or "no tools at all"),
                fix=did_you_mean(glob, names) or "leave it out, or give the agent the tool",
            )
    return (allow_list(globs),)


def model_of(model: Any) -> Model:
    """Return a model."""
    if all(hasattr(model, name) for name in ("provider", "name", "stream", "stream_async")):
        return model  # type: ignore[no-any-return]
    raise ConfigError(
        "an agent has no model",
        where=declared_here(),
        expected="an adapter such as ClaudeAdapter(), or a ScriptedModel",
        found="a name" if isinstance(model, str) else type(model).__name__,
    )


def compaction_of(given: Any) -> Compaction | None:
    """Return a Compaction, or None."""
    if given is None or isinstance(given, Compaction):
        return given
    raise _none("compaction", given, "Compaction(...), or None")


def guard_list(guards: Any) -> tuple[Guard, ...]:
    """Return guards."""
    if callable(guards):
        raise ConfigError(
            "guards= is one guard, not a list", where=declared_here(), fix="write guards=[guard]"
        )
    if isinstance(guards, str) or not isinstance(guards, Iterable):
        raise _none("guards", guards, "a list of functions")
    found = tuple(guards)
    for guard in found:
        if not callable(guard):
            raise _none("guards", guard, "a function of a ToolRequest")
    return found


def strategy_of(given: Any) -> Any:
    """Return what a failing tool leads to."""
    if callable(given) or given in ("tell", "retry", "skip", "abort", "ask"):
        return given
    raise _none("on_tool_error", given, "tell, retry, skip, abort, ask or a function")


def _none(option: str, given: Any, expected: str) -> ConfigError:
    if type(given) in (int, float):
        found = str(given)
    else:
        found = repr(given[:40]) if isinstance(given, str) else type(given).__name__
    return ConfigError(
        f"{option}= of agent() is none", where=declared_here(), expected=expected, found=found
    )
