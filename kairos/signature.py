"""What a step's function says about itself.

A function of one unannotated parameter (not named `item`), or of one annotated `StepContext`, is
handed the context.  Any other function is *typed*: its parameters name what it reads (upstream
steps and the workflow's inputs), `item` is the element of a foreach, a parameter annotated
`StepContext` (or named `ctx`) is the context, and the annotations are contracts.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Union, get_args, get_origin, get_type_hints

from kairos.exceptions import ConfigError
from kairos.source import Place, defined_at

__all__ = ["ABSENT", "Signature", "read_signature"]

ABSENT: Any = inspect.Parameter.empty
_CONTEXT_NOTE = re.compile(
    r"(?:[\w.]*Optional\[)?(?:[\w.]+\.)?StepContext(?:\[.*\])?\]?(?:\s*\|\s*None)?"
)
_CO_VARARGS, _CO_VARKEYWORDS, _CO_COROUTINE = 0x04, 0x08, 0x80


@dataclass(frozen=True, slots=True)
class Signature:
    """How to call an action, and what its annotations promise.

    `reads` are the parameters that name steps or inputs, `required` those without a default;
    `context` and `item` are the names of the parameters that take these, `positional` those that
    cannot be passed by name, each with its default or ABSENT.  `returns` is ABSENT where nothing
    is annotated.
    """

    typed: bool = False
    is_async: bool = False
    reads: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()
    annotations: Mapping[str, Any] = field(default_factory=dict)
    returns: Any = ABSENT
    context: str | None = None
    item: str | None = None
    positional: Mapping[str, Any] = field(default_factory=dict)

    def bind(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Divide values by name into those passed by position and those passed by name."""
        by_name, by_position = dict(values), []
        for name, default in self.positional.items():
            value = by_name.pop(name, default)
            if value is ABSENT:
                break  # the call itself says best what is missing
            by_position.append(value)
        return by_position, by_name


_CONTEXT_STYLE = Signature()
_ASYNC_CONTEXT_STYLE = Signature(is_async=True)


def read_signature(action: Callable[..., Any], place: Place | None = None) -> Signature:
    """Read an action's signature.

    Raises ConfigError for a parameter that no name can fill (`*args`, `**kwargs` beside named
    ones) and for an annotation that cannot be resolved.
    """
    if type(action) is types.FunctionType:
        quick = _context_style(action)
        if quick is not None:
            return quick
    try:
        parameters = list(inspect.signature(action).parameters.values())
    except (ValueError, TypeError):  # a built-in that does not tell its parameters
        return _CONTEXT_STYLE
    is_async = _is_async(action)
    hints = _Hints(action, place)
    if _takes_only_a_context(parameters, hints, _bound_keywords(action)):
        return _ASYNC_CONTEXT_STYLE if is_async else _CONTEXT_STYLE
    return _typed(action, parameters, hints, is_async=is_async)


def _context_style(action: types.FunctionType) -> Signature | None:
    """Settle `def f(ctx)`, by far the most common case, without `inspect` (12 µs a step)."""
    code, notes = action.__code__, action.__annotations__
    if code.co_argcount != 1 or code.co_kwonlyargcount or hasattr(action, "__wrapped__"):
        return None
    if code.co_flags & (_CO_VARARGS | _CO_VARKEYWORDS) or code.co_varnames[0] == "item":
        return None
    if notes:
        note = notes.get(code.co_varnames[0])
        if note is not None and not _is_context(note):
            return None
    return _ASYNC_CONTEXT_STYLE if code.co_flags & _CO_COROUTINE else _CONTEXT_STYLE


def _is_context(note: object) -> bool:
    """Tell whether an annotation, resolved or still a string, means the step's context."""
    if isinstance(note, str):
        return _CONTEXT_NOTE.fullmatch(note.strip()) is not None
    if get_origin(note) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(note) if kind is not type(None)]
        return len(kinds) == 1 and _is_context(kinds[0])
    name: str = getattr(get_origin(note) or note, "__name__", "")
    return name.rpartition(".")[2] == "StepContext"


def _takes_only_a_context(
    parameters: list[inspect.Parameter], hints: _Hints, bound: set[str]
) -> bool:
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        # `print`, a mock, a wrapper: whatever takes anything takes a context
        return all(
            p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            or (p.kind is p.KEYWORD_ONLY and p.default is not p.empty)
            for p in parameters
        )
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in bound]
    required = [p for p in named if p.default is p.empty]
    candidates = required or named[:1]
    if len(candidates) != 1 or (len(named) > 1 and not _is_context(hints.raw(candidates[0]))):
        return False
    (only,) = candidates
    if only.kind is only.KEYWORD_ONLY:
        return False
    note = hints.raw(only)
    if note is only.empty:
        return len(named) == 1 and only.name != "item"
    return _is_context(note) and len(named) == 1


def _typed(
    action: Callable[..., Any],
    parameters: list[inspect.Parameter],
    hints: _Hints,
    *,
    is_async: bool,
) -> Signature:
    reads: list[str] = []
    required: set[str] = set()
    positional: dict[str, Any] = {}
    context = item = None
    bound = _bound_keywords(action)
    for p in parameters:
        if p.name in bound:
            continue  # a partial has settled it: no input of that name may change it
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise ConfigError(
                f"{_called(action)} takes {p}, which names nothing it reads",
                where=hints.place,
                expected="named parameters: upstream steps, inputs, item, ctx",
                fix="name what the step reads, or take a StepContext alone",
            )
        if p.kind is p.POSITIONAL_ONLY:
            positional[p.name] = p.default
        if _is_context(hints.raw(p)) or (p.name == "ctx" and hints.raw(p) is p.empty):
            context = p.name
        elif p.name == "item":
            item = p.name
        else:
            reads.append(p.name)
        if p.default is p.empty:
            required.add(p.name)
    resolved = hints.resolved()
    return Signature(
        typed=True,
        is_async=is_async,
        reads=tuple(reads),
        required=frozenset(required),
        annotations={k: v for k, v in resolved.items() if k in reads or k == item},
        returns=resolved.get("return", ABSENT),
        context=context,
        item=item,
        positional=positional,
    )


def _bound_keywords(action: Callable[..., Any]) -> set[str]:
    partials = (each for each in _layers(action) if isinstance(each, functools.partial))
    return {name for each in partials for name in each.keywords}


def _called(action: Callable[..., Any]) -> str:
    return f"{getattr(action, '__name__', type(action).__name__)}()"


def _layers(action: Any) -> Iterator[Callable[..., Any]]:
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


def _innermost(action: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that carries the annotations."""
    *_, last = _layers(action)
    return last


def _is_async(action: Callable[..., Any]) -> bool:
    """Tell whether calling an action gives something to await.

    A decorator may hide a coroutine function behind a plain one, or make one of a plain one.
    """
    return any(map(inspect.iscoroutinefunction, _layers(action)))


class _Hints:
    """The annotations of an action, raw at first and resolved on demand."""

    def __init__(self, action: Callable[..., Any], place: Place | None) -> None:
        self._action = action
        self._function = _innermost(action)
        self._notes = getattr(self._function, "__annotations__", {})
        self.place = defined_at(self._function) or place

    def raw(self, parameter: inspect.Parameter) -> Any:
        return self._notes.get(parameter.name, parameter.empty)

    def resolved(self) -> dict[str, Any]:
        """Resolve string annotations, also against the locals of the code that declares the step.

        A model that is defined inside a function (a test, most often) is in no module's globals,
        so the frames of the declaration are searched as well.
        """
        namespace: dict[str, Any] | None = None
        try:
            hints = get_type_hints(self._function, include_extras=True)
        except Exception:  # noqa: BLE001 - an annotation is code: anything may happen
            namespace = {}
            for scope in _outer_locals():
                namespace = {**scope, **namespace}
            try:
                hints = get_type_hints(self._function, localns=namespace, include_extras=True)
            except Exception as error:  # noqa: BLE001 - an annotation is code: anything may happen
                raise ConfigError(
                    f"an annotation of {_called(self._action)} cannot be resolved"
                    f" ({type(error).__name__}: {error})",
                    where=self.place,
                    fix="import the name at run time, not only under TYPE_CHECKING",
                ) from None
        if isinstance(self._action, type):
            hints.pop("return", None)  # that of its `__init__`
        if "return" in hints:
            hints["return"] = _without_skip(hints["return"])
        return {name: _plain_none(hint) for name, hint in hints.items()}


def _outer_locals() -> Iterator[dict[str, Any]]:
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 - see resolved()
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
