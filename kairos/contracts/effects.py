"""What an action says of itself, so that it is known before it runs.

Two attributes of the action, set by whoever makes it (an adapter of a model, a guard)::

    action.__kairos_prompt__   the text of its prompt.  What its placeholders name is all that it
                               reads of these keys; they count as dependencies of its step.
    action.__kairos_touches__  what it talks to outside the process, such as ("model",)

A step can say the second itself: `Step(touches=["network"])`.  `kairos.contracts.placeholders` is
where a prompt is read, for whoever renders it and for whoever proves it.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kairos.contracts.placeholders import Template, parse_template
from kairos.exceptions import ConfigError, did_you_mean

if TYPE_CHECKING:
    from kairos.source import Place

__all__ = ["TOUCHES", "checked_touches", "prompt_of", "touches_of"]

TOUCHES = ("model", "network", "files", "commands")
"""What a step may touch outside its process."""

_PROMPT, _TOUCHES = "__kairos_prompt__", "__kairos_touches__"


def prompt_of(action: Any, step: str, place: Place | None) -> Template | None:
    """Return the prompt that an action carries, read, or None for most.

    Raises ConfigError for one that is no text, or no prompt.
    """
    text = _attribute(action, _PROMPT)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ConfigError(
            f"the prompt of step '{step}' is no text", where=place, found=type(text).__name__
        )
    return parse_template(text, where=place, label=f"the prompt of step '{step}'")


def touches_of(action: Any, step: str, place: Place | None) -> tuple[str, ...]:
    """Return what an action says that it touches.  Raises ConfigError for an unknown word."""
    said = _attribute(action, _TOUCHES)
    if said is None:
        return ()
    return checked_touches(said, f"{_TOUCHES} of the action of step '{step}'", place)


def checked_touches(said: Any, label: str, place: Place | None) -> tuple[str, ...]:
    """Return words of `TOUCHES`, each once.  Raises ConfigError for anything else."""
    words: tuple[Any, ...] = tuple(said) if isinstance(said, Iterable) else (said,)
    if isinstance(said, str):
        raise ConfigError(
            f"{label} is a string, not a list", where=place, fix=f"write ['{said[:40]}']"
        )
    for word in words:
        if word not in TOUCHES:
            raise ConfigError(
                f"{label} names what is nothing to touch",
                where=place,
                expected="some of " + ", ".join(TOUCHES),
                found=repr(word[:40]) if isinstance(word, str) else type(word).__name__,
                fix=did_you_mean(word, TOUCHES) if isinstance(word, str) else None,
            )
    return tuple(dict.fromkeys(words))


def _attribute(action: Any, name: str) -> Any:
    """Look an attribute up, also through partials; a decorator copies it by itself.

    Only one that is really there: a mock would answer to any name.
    """
    while True:
        if type(action) is types.FunctionType and not action.__dict__:
            return None
        if isinstance(action, types.MethodType):
            action = action.__func__
            continue
        if name in _held(action):
            return getattr(action, name)
        if not isinstance(action, functools.partial):
            return None
        action = action.func


def _held(action: Any) -> set[str]:
    kinds = action.__mro__ if isinstance(action, type) else type(action).__mro__
    held = {name for kind in kinds for name in vars(kind)}
    try:
        return held | {*object.__getattribute__(action, "__dict__")}
    except AttributeError:  # it has slots
        return held
