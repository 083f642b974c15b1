"""What a function says of itself as a tool: its arguments, its result, its description."""

from __future__ import annotations

import functools
import inspect
import json
import re
import types
from collections import abc
from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypeAlias,
    get_args,
    get_origin,
)

from typing_extensions import TypedDict

from kairos.agents.docstrings import Docstring, read_docstring
from kairos.contracts.contract import Contract
from kairos.exceptions import ConfigError
from kairos.hints import ABSENT, Hints, called, layers, own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kairos.source import Place

__all__ = ["Kind", "ToolSignature", "given_tool", "name_of", "read_tool"]

Kind: TypeAlias = Literal["sync", "async", "generator", "async_generator"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_STREAMS = frozenset({abc.Iterator, abc.Iterable, abc.Generator})
_ASYNC_STREAMS = frozenset({abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator})


class ToolSignature(NamedTuple):
    """How to call a tool, and what its annotations promise.

    `result` is None where nothing is annotated.  `context` names the parameter that takes the
    context.  Of a generator `result` holds for each text and for the last of other values.
    """

    kind: Kind
    arguments: Contract
    schema: Mapping[str, Any]
    result: Contract | None
    context: str | None
    description: str


def name_of(function: Any, name: Any, place: Place | None) -> str:
    """Return a tool's name.  Raises ConfigError for one that some provider refuses."""
    chosen = own_name(function) if name is None else name
    if isinstance(chosen, str) and _NAME.fullmatch(chosen):
        return chosen
    raise ConfigError(
        "a tool has a name that the providers refuse",
        where=place,
        expected="1 to 64 letters, digits, _ and -, not beginning with a digit or -",
        found=repr(chosen[:80]) if isinstance(chosen, str) else type(chosen).__name__,
        fix="name it: Tool(function, name='...')",
    )


def read_tool(function: Callable[..., Any], name: str, place: Place | None) -> ToolSignature:
    """Read a function as a tool.

    Raises ConfigError for what cannot be one: no annotations, `*args` or `**kwargs`, a parameter
    by position only, a generator that does not say what it yields.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise ConfigError(
            f"tool '{name}' does not say what parameters it has",
            where=place,
            found=type(function).__name__,
            fix="wrap it into a function with annotations",
        ) from None
    hints = Hints(function, place)
    notes = hints.resolved()
    context = next((p.name for p in parameters if _is_context(p, hints)), None)
    fields: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    bound = {name for each in layers(function) for name in getattr(each, "keywords", None) or ()}
    for p in parameters:
        if p.name == context or p.name in bound:  # a partial has settled what it has bound
            continue
        _refuse(p, notes, function, place)
        fields[p.name] = _field(p, notes[p.name])
        if p.default is not p.empty:
            defaults[p.name] = p.default
    arguments = _arguments(name, fields, place)
    kind = _kind(function)
    said = _documented(function)
    return ToolSignature(
        kind,
        arguments,
        _schema(arguments, defaults, said.parameters, place),
        _result(notes.get("return", ABSENT), kind, function, place),
        context,
        said.description,
    )


def given_tool(
    function: Callable[..., Any], parameters: Contract, result: Contract | None
) -> ToolSignature:
    """Return the signature of a function that is given everything by name."""
    schema, said = parameters.json_schema("validation"), _documented(function)
    return ToolSignature(_kind(function), parameters, schema, result, None, said.description)


def _is_context(p: inspect.Parameter, hints: Hints) -> bool:
    note = hints.raw(p)
    if note is ABSENT:
        return p.name == "ctx"
    named = note if isinstance(note, str) else getattr(note, "__name__", "")
    return hints.is_context(p) or named.strip().rpartition(".")[2] == "ToolContext"


def _refuse(
    p: inspect.Parameter, notes: Mapping[str, Any], function: Any, place: Place | None
) -> None:
    if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
        raise ConfigError(
            f"tool {called(function)} takes {p}, which names no argument",
            where=place,
            expected="named parameters with annotations",
            fix="name what the model may give, one parameter each",
        )
    if p.kind is p.POSITIONAL_ONLY:
        raise ConfigError(
            f"tool {called(function)} takes '{p.name}' by position only",
            where=place,
            expected="parameters that can be given by name",
            fix="take the '/' out of its parameters",
        )
    if p.name not in notes and p.name == "self" and p.default is p.empty:
        raise ConfigError(
            f"tool {called(function)} is a method of no object",
            where=place,
            expected="a method of an object, which has its 'self'",
            fix="give the method of the object: Archive().find in place of Archive.find",
        )
    if p.name not in notes:
        raise ConfigError(
            f"parameter '{p.name}' of tool {called(function)} has no annotation",
            where=place,
            expected="a type, from which the model's arguments are checked",
            fix=f"write '{p.name}: str', or whatever it is",
        )


def _field(p: inspect.Parameter, note: Any) -> Any:
    from pydantic.fields import FieldInfo  # noqa: PLC0415 - built when a tool is declared

    if isinstance(p.default, FieldInfo):
        needed = p.default.is_required()
        return (Required if needed else NotRequired)[Annotated[note, p.default]]
    return (Required if p.default is p.empty else NotRequired)[note]


def _arguments(name: str, fields: dict[str, Any], place: Place | None) -> Contract:
    from pydantic import ConfigDict  # noqa: PLC0415 - built when a tool is declared

    made: Any = TypedDict  # which of its fields there are is known only now
    shape = made(name, fields)
    shape.__pydantic_config__ = ConfigDict(extra="forbid")
    contract = Contract(shape, where=place, label=f"the arguments of tool '{name}'")
    _ = contract.adapter  # what pydantic cannot read is told where the tool is declared
    return contract


def _schema(
    arguments: Contract,
    defaults: Mapping[str, Any],
    said: Mapping[str, str],
    place: Place | None,
) -> Mapping[str, Any]:
    from pydantic.errors import PydanticInvalidForJsonSchema  # noqa: PLC0415 - as above

    try:
        found = arguments.json_schema("validation")
    except PydanticInvalidForJsonSchema as error:
        raise ConfigError(
            f"a parameter has a type that no model can be shown ({error.message})",
            where=place,
            expected="types that have a JSON Schema",
            fix="take a text or a number in its place, and look it up in the tool",
        ) from None
    found.pop("title", None)
    found.setdefault("properties", {})
    for name, shown in found["properties"].items():
        shown.pop("title", None)
        default = defaults.get(name)
        if "$ref" not in shown and _is_json(default) and name in defaults:
            shown.setdefault("default", json.loads(json.dumps(default)))  # plain, and its own
        if name in said:
            shown.setdefault("description", said[name])
    return found


def _is_json(value: Any) -> bool:
    if not isinstance(value, str | int | float | bool | list | dict | None):
        return False
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _kind(function: Any) -> Kind:
    inner = list(layers(function))
    if any(map(inspect.isasyncgenfunction, inner)):
        return "async_generator"
    if any(map(inspect.iscoroutinefunction, inner)):
        return "async"
    return "generator" if any(map(inspect.isgeneratorfunction, inner)) else "sync"


def _result(note: Any, kind: Kind, function: Any, place: Place | None) -> Contract | None:
    if kind in ("generator", "async_generator"):
        wanted = _STREAMS if kind == "generator" else _ASYNC_STREAMS
        if get_origin(note) not in wanted or not get_args(note):
            asynchronous = "Async" if kind == "async_generator" else ""
            raise ConfigError(
                f"tool {called(function)} is a generator that does not say what it yields",
                where=place,
                expected=f"{asynchronous}Iterator[...]",
                fix=f"annotate it: '-> {asynchronous}Iterator[str]'",
            )
        note = get_args(note)[0]
    if note is ABSENT:
        return None
    contract = Contract(
        type(None) if note is None else note,
        where=place,
        label=f"what tool {called(function)} returns",
    )
    _ = contract.adapter
    return contract


def _documented(function: Any) -> Docstring:
    """Return what is said of a callable, by itself or by what it calls."""
    description, parameters = "", dict[str, str]()
    for text in _docstrings(function):
        said = read_docstring(text)
        description = description or said.description
        parameters = {**said.parameters, **parameters}
    return Docstring(description, parameters)


def _docstrings(function: Any) -> Iterator[str | None]:
    """Yield docstrings from the outermost in; what only its class says of an object comes last."""
    classes: list[type] = []
    for each in layers(function):
        if isinstance(each, type):
            yield each.__dict__.get("__doc__")  # that of its base is about something else
        elif isinstance(each, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
            special = each.__name__.startswith("__")  # what it inherits is about calls as such
            yield each.__doc__ if special else inspect.getdoc(each)
        elif not isinstance(each, functools.partial) and not hasattr(each, "__wrapped__"):
            classes.append(type(each))
    for kind in classes:
        yield kind.__dict__.get("__doc__")
