"""What a step's function says about itself.

A function of one unannotated parameter (not named `item`), or of one annotated `StepContext`, is
handed the context.  Any other function is *typed*: its parameters name what it reads (upstream
steps and the workflow's inputs), `item` is the element of a foreach, a parameter annotated
`StepContext` (or named `ctx`) is the context, and the annotations are contracts.

Two annotations say more: `Annotated[list[Doc], From("fetch")]` reads a key that is not called like
the parameter, and `Context[In]` reads the keys of the TypedDict `In` through `ctx.inputs`.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

from kairos.exceptions import ConfigError, did_you_mean
from kairos.hints import ABSENT, Hints, called, is_bare_context, layers, typed_dict
from kairos.source import Place, declared_here

__all__ = ["ABSENT", "SOURCES", "From", "Signature", "fillable", "read_signature"]

SOURCES = "__kairos_sources__"
"""The attribute under which a callable may carry the `sources` of `read_signature` itself."""

_CO_VARARGS, _CO_VARKEYWORDS, _CO_COROUTINE = 0x04, 0x08, 0x80


@dataclass(frozen=True, slots=True)
class From:
    """The key that a parameter reads, where it is not the parameter's own name.

    `def total(prices: Annotated[list[float], From("price")]) -> float`: for a type checker, and for
    whoever calls the function, the parameter is a `list[float]`.

    Raises ConfigError for what is no name.
    """

    key: str

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not self.key:
            raise ConfigError(
                "From() names no key",
                where=declared_here(),
                expected="the name of a step or of an input",
                found="an empty string" if self.key == "" else type(self.key).__name__,
            )


@dataclass(frozen=True, slots=True)
class Signature:
    """How to call an action, and what its annotations promise.

    `reads` are the keys (steps and inputs) that it names, `required` those it cannot do without,
    `parameters` the parameter that takes each; a key of `reads` that is not in there is read
    through the context.  `context` and `item_parameter` are the names of the parameters that take
    these, `positional` those that cannot be passed by name, each with its default or ABSENT.
    `annotations` go by key, and that of the element of a foreach by `item`.  `returns` is ABSENT
    where nothing is annotated, and so is `view`, the TypedDict `In` of a `Context[In]`; `viewed`
    are its annotations.
    """

    typed: bool = False
    is_async: bool = False
    reads: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()
    parameters: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    returns: Any = ABSENT
    context: str | None = None
    item: str | None = None
    item_parameter: str | None = None
    positional: Mapping[str, Any] = field(default_factory=dict)
    view: Any = ABSENT
    viewed: Mapping[str, Any] = field(default_factory=dict)

    def bind(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Divide values by parameter into those passed by position and those passed by name."""
        by_name, by_position = dict(values), []
        for name, default in self.positional.items():
            value = by_name.pop(name, default)
            if value is ABSENT:
                break  # the call itself says best what is missing
            by_position.append(value)
        return by_position, by_name

    def through(self, key: str) -> str:
        """Say in words what reads a key: a parameter, or the type of the context."""
        parameter = self.parameters.get(key)
        if parameter is None:
            return f"its Context[{self.view.__name__}]"
        return f"its parameter '{parameter}'"

    def path(self, key: str) -> str:
        """Return what stands before the path of a fault within the value of a key."""
        parameter = self.parameters.get(key, key)
        return key if parameter == key else f"{parameter}={key}"


_CONTEXT_STYLE = Signature()
_ASYNC_CONTEXT_STYLE = Signature(is_async=True)


def read_signature(
    action: Callable[..., Any],
    place: Place | None = None,
    sources: Mapping[str, str | None] | None = None,
) -> Signature:
    """Read an action's signature.

    `sources` says what the parameters read, in place of their names: a key, or None for the
    element of a foreach.  A parameter that it leaves out keeps its default (or is the context).

    Raises ConfigError for a parameter that no name can fill (`*args`, `**kwargs` beside named
    ones), for an annotation that cannot be resolved, for a parameter without a source or a
    default, and for two parameters that read the same.
    """
    if type(action) is types.FunctionType and sources is None:
        quick = _context_style(action)
        if quick is not None:
            return quick
    if sources is None:
        sources = getattr(action, SOURCES, None)
        sources = sources if isinstance(sources, Mapping) else None  # a mock has any attribute
    try:
        parameters = list(inspect.signature(action).parameters.values())
    except (ValueError, TypeError):  # a built-in that does not tell its parameters
        return _CONTEXT_STYLE
    is_async = any(map(inspect.iscoroutinefunction, layers(action)))
    hints = Hints(action, place)
    bound = _bound_keywords(action)
    if sources is None and (only := _only_context(action, parameters, hints, bound)) is not None:
        view = ABSENT if only is True else hints.view(only)
        if view is ABSENT:
            return _ASYNC_CONTEXT_STYLE if is_async else _CONTEXT_STYLE
    if sources is None or place is None:
        place = hints.place  # what is wrong is the function, and not what it is given
    reading = _Reading(action, hints, sources, bound, place)
    return reading.of(parameters, is_async=is_async)


def fillable(action: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters that a value can be given for, in order: all but the context.

    Raises ConfigError for what does not tell its parameters, and as `read_signature`.
    """
    try:
        parameters = list(inspect.signature(action).parameters.values())
    except (ValueError, TypeError):
        raise ConfigError(
            f"{called(action)} does not say what parameters it has",
            where=declared_here(),
            fix="wrap it into a function with annotations",
        ) from None
    hints, bound = Hints(action, declared_here()), _bound_keywords(action)
    for p in parameters:
        _refuse_variadic(action, p, hints)
    return [p for p in parameters if p.name not in bound and not _is_context(p, hints)]


def _context_style(action: types.FunctionType) -> Signature | None:
    """Settle `def f(ctx)`, by far the most common case, without `inspect` (12 µs a step)."""
    code, notes = action.__code__, action.__annotations__
    if code.co_argcount != 1 or code.co_kwonlyargcount or hasattr(action, "__wrapped__"):
        return None
    if code.co_flags & (_CO_VARARGS | _CO_VARKEYWORDS) or code.co_varnames[0] == "item":
        return None
    if notes:
        note = notes.get(code.co_varnames[0])
        if note is not None and not is_bare_context(note):
            return None
    return _ASYNC_CONTEXT_STYLE if code.co_flags & _CO_COROUTINE else _CONTEXT_STYLE


def _is_context(parameter: inspect.Parameter, hints: Hints) -> bool:
    return hints.is_context(parameter) or (
        parameter.name == "ctx" and hints.raw(parameter) is ABSENT
    )


def _only_context(
    action: Callable[..., Any],
    parameters: list[inspect.Parameter],
    hints: Hints,
    bound: set[str],
) -> inspect.Parameter | Literal[True] | None:
    """Return the parameter of an action that takes a context and nothing else.

    True stands for one that takes whatever it is given: `print`, a mock, a wrapper.
    """
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        anything = all(
            p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            or (p.kind is p.KEYWORD_ONLY and p.default is not p.empty)
            for p in parameters
        )
        return True if anything else None
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in bound]
    required = [p for p in named if p.default is p.empty]
    if _binds_in_a_loop(action, named, required):
        return named[0]
    if len(named) != 1 or named[0].kind is named[0].KEYWORD_ONLY:
        return None
    (only,) = named
    if hints.raw(only) is ABSENT:
        return None if only.name == "item" else only
    return only if hints.is_context(only) else None


def _binds_in_a_loop(
    action: Callable[..., Any],
    named: list[inspect.Parameter],
    required: list[inspect.Parameter],
) -> bool:
    """Tell `lambda ctx, i=i: ...`, the idiom that binds a loop's variable: `i` is no key."""
    is_lambda = getattr(action, "__name__", "") == "<lambda>"
    return (
        is_lambda
        and required == named[:1]
        and [p.name for p in required] == ["ctx"]
        and required[0].kind is not inspect.Parameter.KEYWORD_ONLY
    )


def _refuse_variadic(action: Callable[..., Any], p: inspect.Parameter, hints: Hints) -> None:
    if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
        raise ConfigError(
            f"{called(action)} takes {p}, which names nothing it reads",
            where=hints.place,
            expected="named parameters: upstream steps, inputs, item, ctx",
            fix="name what the step reads, or take a StepContext alone",
        )


class _Reading:
    """The signature of a typed function, as it is read parameter by parameter."""

    def __init__(
        self,
        action: Callable[..., Any],
        hints: Hints,
        sources: Mapping[str, str | None] | None,
        bound: set[str],
        place: Place | None,
    ) -> None:
        self._action = action
        self._place = place
        self._hints = hints
        self._sources = sources
        self._bound = bound
        self._parameters: dict[str, str] = {}
        self._required: set[str] = set()
        self._context: str | None = None
        self._item: str | None = None
        self._viewed: tuple[Any, dict[str, Any]] = (ABSENT, {})

    def of(self, parameters: list[inspect.Parameter], *, is_async: bool) -> Signature:
        # a partial has settled what it has bound: no input of that name may change it
        open_ = [p for p in parameters if p.name not in self._bound]
        for p in open_:
            _refuse_variadic(self._action, p, self._hints)
        resolved = self._hints.resolved()
        self._refuse_unknown(open_)
        for p in open_:
            self._read(p, resolved.get(p.name, ABSENT))
        annotations = {
            key: _without_source(resolved[name])
            for key, name in self._parameters.items()
            if name in resolved
        }
        view, viewed = self._viewed
        reads = tuple(dict.fromkeys((*self._parameters, *viewed)))
        item = self._item
        while item is not None and item in reads:
            item += "'"  # it is no key, and must not be taken for one
        if item is not None and self._item in resolved:
            annotations[item] = _without_source(resolved[self._item])
        return Signature(
            typed=True,
            is_async=is_async,
            reads=reads,
            required=frozenset(self._required),
            parameters=self._parameters,
            annotations=annotations,
            returns=resolved.get("return", ABSENT),
            context=self._context,
            item=item,
            item_parameter=self._item,
            positional={p.name: p.default for p in open_ if p.kind is p.POSITIONAL_ONLY},
            view=view,
            viewed=viewed,
        )

    def _read(self, p: inspect.Parameter, note: Any) -> None:
        given = self._sources
        if given is not None and p.name in given:
            source = given[p.name]
        elif _is_context(p, self._hints):
            self._context = p.name
            self._look_through(p)
            return
        elif given is not None:
            if p.default is p.empty:
                raise self._fault(
                    f"nothing is given for parameter '{p.name}' of {called(self._action)}",
                    fix=f"name its key in sources: {{'{p.name}': '...'}}",
                )
            return
        elif (source := _source(note)) is None and p.name != "item":
            source = p.name
        if source is None:
            if self._item is not None:
                raise self._fault(f"{called(self._action)} takes the element of a foreach twice")
            self._item = p.name
            return
        if source in self._parameters:
            raise self._fault(
                f"parameters '{self._parameters[source]}' and '{p.name}' of"
                f" {called(self._action)} both read '{source}'",
                fix="read it once, and use it twice in the function",
            )
        self._parameters[source] = p.name
        if p.default is p.empty:
            self._required.add(source)

    def _look_through(self, p: inspect.Parameter) -> None:
        view = self._hints.view(p)
        if view is not ABSENT:
            notes, required = typed_dict(view, self._hints.place)
            self._viewed = (view, notes)
            self._required |= required

    def _refuse_unknown(self, parameters: list[inspect.Parameter]) -> None:
        names = [p.name for p in parameters]
        for name, key in (self._sources or {}).items():
            if name not in names:
                raise self._fault(
                    f"{called(self._action)} has no parameter '{name}' to give a source",
                    expected=", ".join(names) or "no parameters",
                    fix=did_you_mean(name, names),
                )
            if key is not None and (not isinstance(key, str) or not key):
                raise self._fault(
                    f"the source of parameter '{name}' of {called(self._action)} is no key",
                    expected="the name of a step or of an input; None for the element of a foreach",
                    found="an empty string" if key == "" else type(key).__name__,
                )

    def _fault(self, message: str, **told: str | None) -> ConfigError:
        return ConfigError(message, where=self._place, **told)


def _source(note: Any) -> str | None:
    """Return the key that an annotation names with `From`, or None."""
    if get_origin(note) is not Annotated:
        return None
    return next((each.key for each in get_args(note)[1:] if isinstance(each, From)), None)


def _without_source(note: Any) -> Any:
    """Take `From` out of an annotation: what is left is the contract."""
    if _source(note) is None:
        return note
    kind, *extras = get_args(note)
    kept = tuple(each for each in extras if not isinstance(each, From))
    kind = None if kind is type(None) else kind
    return Annotated[(kind, *kept)] if kept else kind


def _bound_keywords(action: Callable[..., Any]) -> set[str]:
    partials = (each for each in layers(action) if isinstance(each, functools.partial))
    return {name for each in partials for name in each.keywords}
