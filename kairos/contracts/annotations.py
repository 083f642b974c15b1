"""What may be written where a contract is expected, told without building anything.

Building a pydantic adapter takes half a millisecond or more, so what is obviously a contract is
accepted on sight; only a class that pydantic may or may not understand is built to find out.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import sys
import types
import typing
import uuid
from collections import abc
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import typing_extensions

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Doubt", "allows_none", "doubt", "is_schema", "parts", "shown"]


class Doubt(NamedTuple):
    """Why something is not, or may not be, a contract: `certain` says which."""

    found: str
    fix: str
    certain: bool = True


_WRITE_SCHEMA = "write Schema({...}), a model, or a type such as list[str]"
_OF_JSON_SCHEMA = {"$schema", "$defs", "$ref", "type", "properties", "anyOf", "allOf", "oneOf"}
_PLAIN_CLASSES = frozenset(
    {
        bool, int, float, str, bytes, list, dict, tuple, set, frozenset, object, type(None),
        dt.date, dt.datetime, dt.time, dt.timedelta, decimal.Decimal,
        uuid.UUID,
    }
)  # fmt: skip


_NOT_DATA = frozenset(
    {
        abc.AsyncGenerator, abc.AsyncIterable, abc.AsyncIterator, abc.Awaitable, abc.Callable,
        abc.Coroutine, abc.Generator, abc.Iterable, abc.Iterator, type, typing.ClassVar,
    }
)  # fmt: skip


def is_schema(declared: object) -> bool:
    """Say whether `declared` is a Schema, without importing the module that defines it."""
    return hasattr(type(declared), "__kairos_schema__")


def doubt(annotation: object) -> Doubt | None:  # noqa: PLR0911 - one question, one answer each
    """Return what speaks against `annotation` as a contract, or None where nothing does."""
    if annotation is None or annotation is Any or is_schema(annotation):
        return None
    if isinstance(annotation, str | typing.ForwardRef):
        return Doubt(
            "a forward reference, which cannot be looked up from here",
            "give the class itself, or move the declaration below the class",
        )
    if _is_not_data(annotation):
        return Doubt(f"{shown(annotation)}, which JSON cannot carry", "write list[...] for many")
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return _doubt_of_class(annotation)
    if isinstance(annotation, typing.NewType):
        return doubt(annotation.__supertype__)
    if isinstance(annotation, typing_extensions.TypeAliasType | typing.TypeVar):
        return None
    if typing.get_origin(annotation) is None:
        return _doubt_of_object(annotation)
    if typing.get_origin(annotation) is Literal:
        return None
    return next(filter(None, map(doubt, parts(annotation))), None)


def parts(annotation: object) -> Iterator[object]:
    """Yield the types that a generic, a union or an Annotated is made of."""
    origin = typing.get_origin(annotation)
    if origin is None or origin is Literal:
        return
    args = typing.get_args(annotation)
    for arg in args[:1] if origin is typing.Annotated else args:
        if isinstance(arg, list):  # the parameters of a Callable
            yield from arg
        elif arg is not ...:
            yield arg


def allows_none(annotation: object) -> bool:
    """Say whether `annotation` is None, or a union with None in it."""
    if annotation is None or annotation is type(None):
        return True
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated or origin is typing.Union or origin is types.UnionType:
        return any(map(allows_none, parts(annotation)))
    return origin is Literal and None in typing.get_args(annotation)


def shown(annotation: object) -> str:
    """Return a short name for `annotation`, such as `Score`, `list[Doc]` or `int | None`."""
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is ...:
        return "..."
    origin = typing.get_origin(annotation)
    args = typing.get_args(annotation)
    if origin is typing.Annotated:
        return shown(args[0])
    if origin is typing.Union or origin is types.UnionType:
        return " | ".join(map(shown, args))
    name = str(getattr(origin or annotation, "__name__", annotation))
    if not args:
        return name
    inner = map(repr, args) if origin is Literal else map(shown, args)
    return f"{name}[{', '.join(inner)}]"


def _is_not_data(annotation: object) -> bool:
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, abc.Hashable) and origin in _NOT_DATA


def _doubt_of_class(kind: type) -> Doubt | None:
    if (
        kind in _PLAIN_CLASSES
        or issubclass(kind, enum.Enum)
        or hasattr(kind, "__get_pydantic_core_schema__")
        or is_dataclass(kind)
    ):
        return None
    if typing_extensions.is_typeddict(kind):
        if type(kind).__module__ == "typing" and sys.version_info < (3, 12):
            return Doubt(
                f"the typing.TypedDict {kind.__name__}, of which Python 3.11 tells too little",
                "write `from typing_extensions import TypedDict`",
            )
        return None
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return None
    return Doubt(
        f"the class {kind.__name__}, which pydantic cannot validate",
        "make it a dataclass or a pydantic model",
        certain=False,
    )


def _doubt_of_object(declared: object) -> Doubt | None:
    if isinstance(declared, dict):
        if not declared.keys().isdisjoint(_OF_JSON_SCHEMA):
            return Doubt("a dict", "write Schema.from_json_schema({...}) around a JSON Schema")
        return Doubt("a dict", "write Schema({...}) around a dict of fields")
    if isinstance(declared, types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        return Doubt("a function", _WRITE_SCHEMA + "; a check on a value belongs in validators")
    module = type(declared).__module__
    if module in {"typing", "typing_extensions", "types"}:
        return Doubt(f"{declared}", _WRITE_SCHEMA, certain=False)
    if hasattr(type(declared), "__get_pydantic_core_schema__") or is_dataclass(declared):
        return Doubt(
            f"an instance of {type(declared).__name__}", f"give the class {type(declared).__name__}"
        )
    return Doubt(f"{_a(type(declared).__name__)}, not a type", _WRITE_SCHEMA)


def _a(name: str) -> str:
    return f"an {name}" if name[:1] in "aeiou" else f"a {name}"
