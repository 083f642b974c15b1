"""The annotations of a callable: found below its decorators, and resolved."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
import typing
from collections import abc
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import typing_extensions

from kairos.exceptions import ConfigError
from kairos.source import Place, defined_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "ABSENT",
    "Hints",
    "called",
    "is_bare_context",
    "is_context",
    "layers",
    "own_name",
    "typed_dict",
]

ABSENT: Any = inspect.Parameter.empty
_CONTEXT = re.compile(
    r"(?:[\w.]*Optional\[)?(?:[\w.]+\.)?StepContext(?:\[.*\])?\]?(?:\s*\|\s*None)?"
)
_BARE_CONTEXT = re.compile(r"(?:[\w.]+\.)?StepContext")
_HEAD = re.compile(r"(?:[\w.]*Optional\[)?([^\W\d]\w*(?:\.\w+)*)")
_OPEN = (abc.Mapping, abc.MutableMapping, dict)


def called(action: Callable[..., Any]) -> str:
    """Return what an error calls an action."""
    return f"{getattr(action, '__name__', type(action).__name__)}()"


def own_name(function: Any) -> str:
    """Return the name of a function, also below partials; of another object that of its class."""
    while not hasattr(function, "__name__") and hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def layers(action: Any) -> Iterator[Callable[..., Any]]:
    """Yield an action and what is called below it: through partials, decorators and objects."""
    seen: set[int] = set()
    while id(action) not in seen:
        seen.add(id(action))
        yield action
        if isinstance(action, functools.partial):
            action = action.func
        elif hasattr(action, "__wrapped__"):
            action = getattr(action, "__wrapped__")  # noqa: B009 - not every callable has it
        elif isinstance(action, type):
            made = inspect.getattr_static(action, "__init__")
            if "__signature__" not in action.__dict__ and _is_function(made):
                action = made
        elif not isinstance(action, types.MethodType) and _is_function(type(action).__call__):
            action = type(action).__call__


def _is_function(thing: object) -> bool:
    return isinstance(thing, types.FunctionType)


def is_bare_context(note: object) -> bool:
    """Tell whether an annotation is `StepContext` and no more, without resolving anything."""
    if isinstance(note, str):
        return _BARE_CONTEXT.fullmatch(note.strip()) is not None
    return isinstance(note, type) and note.__name__ == "StepContext"


def is_context(note: object) -> bool:
    """Tell whether an annotation means the step's context; a string is told by its name."""
    if isinstance(note, str):
        return _CONTEXT.fullmatch(note.strip()) is not None
    if get_origin(note) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(note) if kind is not type(None)]
        return len(kinds) == 1 and is_context(kinds[0])
    if isinstance(note, typing.ForwardRef):
        return is_context(note.__forward_arg__)
    name = getattr(get_origin(note) or note, "__name__", "")
    return isinstance(name, str) and name.rpartition(".")[2] == "StepContext"


class Hints:
    """The annotations of an action, raw at first and resolved on demand."""

    def __init__(self, action: Callable[..., Any], place: Place | None) -> None:
        self._action = action
        *_, self._function = layers(action)  # the innermost carries the annotations
        self._notes = getattr(self._function, "__annotations__", {})
        self._resolved: dict[str, Any] | None = None
        self.place = defined_at(self._function) or place

    def raw(self, parameter: inspect.Parameter) -> Any:
        """Return an annotation as it stands there, or ABSENT."""
        return self._notes.get(parameter.name, ABSENT)

    def is_context(self, parameter: inspect.Parameter) -> bool:
        """Tell whether a parameter is annotated as the context, under whatever name.

        `StepContext` is told by its name, since it may be imported for type checkers only.
        """
        note = self.raw(parameter)
        if is_context(note):
            return True
        head = _HEAD.match(note.strip()) if isinstance(note, str) else None
        return head is not None and is_context(self._named(head[1]))

    def _named(self, dotted: str) -> Any:
        """Return what a name in a string annotation means, or None where that cannot be told."""
        first, *rest = dotted.split(".")
        scopes = [getattr(self._function, "__globals__", {}), *_outer_locals()]
        found = next((scope[first] for scope in scopes if first in scope), None)
        for name in rest:
            found = getattr(found, name, None)
        return found

    def view(self, parameter: inspect.Parameter) -> Any:
        """Return the TypedDict `In` of a parameter annotated `Context[In]`, or ABSENT.

        Raises ConfigError where a context is given anything else.
        """
        note = self.raw(parameter)
        if note is ABSENT or is_bare_context(note):
            return ABSENT
        if isinstance(note, str) and is_context(note) and "Context[" not in note:
            return ABSENT  # an optional one, which may be imported for type checkers only
        note = self.resolved().get(parameter.name)
        if get_origin(note) in (Union, types.UnionType):
            note = next((each for each in get_args(note) if each is not type(None)), None)
        declared, *_ = (*get_args(note), ABSENT)
        if declared in (ABSENT, Any, *_OPEN) or get_origin(declared) in _OPEN:
            return ABSENT
        if typing_extensions.is_typeddict(declared):
            return declared
        raise ConfigError(
            f"the context of {called(self._action)} is not typed by a TypedDict",
            where=self.place,
            expected="Context[In] with a TypedDict In of the keys it reads",
            found=getattr(declared, "__name__", str(declared)),
        )

    def resolved(self) -> dict[str, Any]:
        """Return the annotations, strings looked up.

        Raises ConfigError where one cannot be.
        """
        if self._resolved is None:
            self._resolved = self._resolve()
        return self._resolved

    def _resolve(self) -> dict[str, Any]:
        hints = _looked_up(self._function, called(self._action), self.place)
        if isinstance(self._action, type):
            hints.pop("return", None)  # that of its `__init__`
        if "return" in hints:
            hints["return"] = _without_skip(hints["return"])
        return {name: _plain_none(hint) for name, hint in hints.items()}


def typed_dict(kind: Any, place: Place | None) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the annotations of a TypedDict by key, and which keys it requires.

    `__required_keys__` does not know what `NotRequired` in a string annotation says.  Raises
    ConfigError for an annotation that cannot be resolved.
    """
    notes = _looked_up(kind, kind.__name__, place)
    required = set(kind.__required_keys__)
    for name, declared in notes.items():
        note = declared
        while (origin := get_origin(note)) in _QUALIFIERS:
            if origin is not typing_extensions.ReadOnly:
                (required.discard if origin in _NOT_REQUIRED else required.add)(name)
            (note,) = get_args(note)
        notes[name] = _plain_none(note)
    return notes, frozenset(required)


_NOT_REQUIRED = (typing.NotRequired, typing_extensions.NotRequired)
_QUALIFIERS = (
    *_NOT_REQUIRED,
    typing.Required,
    typing_extensions.Required,
    typing_extensions.ReadOnly,
)


def _looked_up(thing: Any, name: str, place: Place | None) -> dict[str, Any]:
    """Resolve string annotations, also against the locals of the code that declares the step.

    A model that is defined inside a function (a test, most often) is in no module's globals,
    so the frames of the declaration are searched as well.
    """
    try:
        return typing_extensions.get_type_hints(thing, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is code: anything may happen
        parameters = getattr(thing, "__type_params__", ())  # not every 3.12 looks there itself
        namespace: dict[str, Any] = {each.__name__: each for each in parameters}
        for scope in _outer_locals():
            namespace = {**scope, **namespace}
        try:
            return typing_extensions.get_type_hints(thing, localns=namespace, include_extras=True)
        except Exception as error:  # noqa: BLE001 - an annotation is code: anything may happen
            raise ConfigError(
                f"an annotation of {name} cannot be resolved ({type(error).__name__}: {error})",
                where=place,
                fix="import the name at run time, not only under TYPE_CHECKING",
            ) from None


def _outer_locals() -> Iterator[Mapping[str, Any]]:
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 - see _looked_up()
    seen = 0
    while frame is not None and seen < 4:  # noqa: PLR2004 - the declaration and its near callers
        name = frame.f_globals.get("__name__", "")
        if not (name == "kairos" or name.startswith("kairos.")):
            seen += 1
            yield frame.f_locals
        frame = frame.f_back


def _plain_none(hint: Any) -> Any:
    return None if hint is type(None) else hint


def _without_skip(hint: Any) -> Any:
    """Take SKIP's type out of `-> Score | Skip`: skipping is no output."""
    if get_origin(hint) in (Union, types.UnionType):
        kept = tuple(a for a in get_args(hint) if getattr(a, "__name__", "") != "Skip")
        if len(kept) < len(get_args(hint)):
            return Union[kept]  # noqa: UP007 - a union of what is known only now
    return hint
