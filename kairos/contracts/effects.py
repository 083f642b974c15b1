"""What an action says of itself, so that it is known before it runs.

Attributes of the action, set by whoever makes it (an adapter of a model, a guard)::

    action.__kairos_prompt__   the text of its prompt.  What its placeholders name is all that it
                               reads of these keys; they count as dependencies of its step.
    action.__kairos_touches__  what it talks to outside the process, such as ("model",)

Methods of its class, the first for an object that can be called plainly and on an event loop::

    async def __kairos_async__(self, ctx)   does as a call; the engine takes it where it can
    def __kairos_contract__(self, contract) returns in words what of its step's output contract
                                            nobody else is held to but this process, and raises
                                            ConfigError where it was told not to put up with that
    def __kairos_identity__(self)           returns, as plain JSON, all that decides what it brings
                                            besides what its step reads, for a step that is cached

A step can say the second itself: `Step(touches=["network"])`.  `kairos.contracts.placeholders` is
where a prompt is read, for whoever renders it and for whoever proves it.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kairos.exceptions import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kairos.contracts.contract import Contract
    from kairos.contracts.placeholders import Template
    from kairos.source import Place

__all__ = [
    "TOUCHES",
    "checked_touches",
    "identity_said",
    "on_a_loop",
    "prompt_of",
    "shortfall_of",
    "touches_of",
]

TOUCHES = ("model", "network", "files", "commands")
"""What a step may touch outside its process."""

_PROMPT, _TOUCHES = "__kairos_prompt__", "__kairos_touches__"
_ASYNC, _CONTRACT = "__kairos_async__", "__kairos_contract__"
_IDENTITY = "__kairos_identity__"


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
    from kairos.contracts.placeholders import parse_template  # noqa: PLC0415 - few have a prompt

    return parse_template(text, where=place, label=f"the prompt of step '{step}'")


def on_a_loop(action: Any) -> Callable[..., Coroutine[Any, Any, Any]] | None:
    """Return the method by which an action does on an event loop what it does when it is called.

    Only its own: a decorator around it, or a partial of it, does something else.
    """
    if type(action) is types.FunctionType or _ASYNC not in _names_of_class(type(action)):
        return None
    found: Callable[..., Coroutine[Any, Any, Any]] = getattr(action, _ASYNC)
    return found


def touches_of(action: Any, step: str, place: Place | None) -> tuple[str, ...]:
    """Return what an action says that it touches.  Raises ConfigError for an unknown word."""
    said = _attribute(action, _TOUCHES)
    if said is None:
        return ()
    return checked_touches(said, f"{_TOUCHES} of the action of step '{step}'", place)


def shortfall_of(action: Any, contract: Contract | None) -> tuple[str, ...]:
    """Return what of an output contract an action says it can only ask for.

    Raises ConfigError where the action was told to ask for all of it or nothing.
    """
    ask = None if contract is None else _attribute(action, _CONTRACT)
    return () if ask is None else tuple(ask(contract))


def identity_said(action: Any) -> Any:
    """Return what an action says that it is, as plain JSON; None for one that does not say."""
    if type(action) is types.FunctionType or _IDENTITY not in _names_of_class(type(action)):
        return None
    return getattr(action, _IDENTITY)()


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


def _names_of_class(kind: type[Any]) -> set[str]:
    return {name for each in kind.__mro__ for name in vars(each)}


def _held(action: Any) -> set[str]:
    held = _names_of_class(action if isinstance(action, type) else type(action))
    try:
        return held | {*object.__getattribute__(action, "__dict__")}
    except AttributeError:  # it has slots
        return held
