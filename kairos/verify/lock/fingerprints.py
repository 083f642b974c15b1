"""Whether a function of today is the one that a lock was written with, or that a cache knows.

A function is described by its source without comments, docstrings and layout, by its defaults and
what it closes over, and by the globals it names, so that a limit that moved to a constant counts
too.  What is installed goes by its name: its own version says when it changes.  Only a digest of
the description is kept, so nothing of it can be read from a lock.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import functools
import hashlib
import json
import logging
import re
import sys
import types
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from kairos.verify.lock.sources import (
    asks_its_owner,
    class_source,
    constants,
    file_of,
    imported,
    is_installed,
    is_installed_module,
    names,
    source,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Watched", "fingerprint", "watched"]

_MOST_PARTS = 200_000
_MOST_DEPTH = 60
_DIGITS = 16
_SPELT = (complex, range, Decimal, Fraction, UUID, PurePath, dt.date, dt.time, dt.timedelta)
_SPELT_ALSO = (dt.tzinfo, type(...), type(NotImplemented))
_PLAIN = (bool, int, float, bytes)
_SEVERAL = (list, tuple, set, frozenset, dict)
_METHODS = (classmethod, staticmethod)
_AROUND = (functools.cached_property, functools.partialmethod, functools.singledispatchmethod)
_OURS_INSIDE = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__"})


class _UntoldError(Exception):
    """Something stands in the way whose like cannot be recognised in another process."""


class _Place(NamedTuple):
    """Where a description found something: the entry of a dict, a closure's cell, an attribute."""

    holder: Any
    name: str | None
    held: Any

    def changed(self) -> bool:
        holder = self.holder
        if isinstance(holder, types.CellType):
            return _content(holder) is not self.held
        if self.name is None:
            return bool(len(holder) != self.held)
        if isinstance(holder, dict | types.MappingProxyType):
            return holder.get(self.name) is not self.held
        return getattr(holder, self.name, None) is not self.held


class Watched:
    """A fingerprint, and where what it tells was found.

    `digest` is None where none can be had.
    """

    __slots__ = ("_places", "digest")

    def __init__(self, digest: str | None, places: list[_Place]) -> None:
        self.digest = digest
        self._places = places

    def changed(self) -> bool:
        """Whether a name stands for another object now; what a list holds is not looked at."""
        return any(place.changed() for place in self._places)


def fingerprint(thing: Any) -> str | None:
    """Return a digest that changes when `thing` comes to mean something else.

    `thing` is a function, a class, an object, or plain data with such in it.  The digest is the
    same in every process, and as far as a function's source is at hand under every Python.  None
    where no such digest can be had: of a lock or a socket, say.
    """
    return watched(thing).digest


def watched(thing: Any, *, ordered: bool = False) -> Watched:
    """Do as `fingerprint`, and keep where names were looked up.

    `ordered` tells dicts of different orders apart, which those of core schemas have not.
    """
    teller = _Teller(ordered=ordered)
    try:
        told = teller.told(thing, 0)
    except (_UntoldError, RecursionError):
        return Watched(None, teller.places)
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return Watched(digest, teller.places)


class _Teller:
    """One description; what was met before is told by its number, so circles end."""

    def __init__(self, *, ordered: bool = False) -> None:
        self.places: list[_Place] = []
        self._ordered = ordered
        self._count = 0
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used twice

    def told(self, thing: Any, depth: int) -> str:
        """Return the description of one thing.  Raises _UntoldError."""
        self._count += 1
        if self._count > _MOST_PARTS:
            raise _UntoldError
        if thing is None or type(thing) in _PLAIN:
            return f"{type(thing).__name__} {thing!r}"
        if type(thing) is str:
            return json.dumps(thing)
        if isinstance(thing, Enum):
            return f"{_of(thing)} of {self.told(type(thing), depth + 1)}"
        if isinstance(thing, _SPELT + _SPELT_ALSO) and file_of(type(thing)) is None:
            return _of(thing)
        if id(thing) in self._met:
            return f"#{self._met[id(thing)]}"
        self._met[id(thing)] = len(self._met)
        self._kept.append(thing)
        if depth > _MOST_DEPTH:
            raise _UntoldError
        return self._made_of(thing, depth + 1)

    def _made_of(self, thing: Any, depth: int) -> str:  # noqa: C901, PLR0911 - one answer a kind
        if isinstance(thing, (*_SEVERAL, types.MappingProxyType)):
            return self._several(thing, depth)
        if isinstance(thing, re.Pattern):
            return f"pattern {thing.pattern!r} {thing.flags}"
        if isinstance(thing, types.ModuleType | logging.Logger):
            return f"{_kind(thing)} {getattr(thing, '__name__', '') or thing.name}"
        if isinstance(thing, types.FunctionType):
            return self._function(thing, depth)
        if isinstance(thing, types.MethodType):
            owner = self.told(thing.__self__, depth) if asks_its_owner(thing) else ""
            return f"{self.told(thing.__func__, depth)} of {owner}"
        if isinstance(thing, functools.partial) and file_of(type(thing)) is None:
            parts = thing.func, thing.args, thing.keywords
            return f"partial({self._all(parts, depth)})"
        if isinstance(thing, (*_METHODS, property)):
            inside = [getattr(thing, name, None) for name in ("__func__", "fget", "fset")]
            return f"{_kind(thing)}({self._all(inside, depth)})"
        if isinstance(thing, type):
            return self._class(thing, depth)
        if isinstance(thing, _AROUND):
            return f"{_kind(thing)}({self.told(thing.func, depth)})"
        inner = getattr(thing, "__wrapped__", None)
        if inner is not None and file_of(type(thing)) is None:
            return f"{_kind(thing)}({self.told(inner, depth)})"
        return self._instance(thing, depth)

    def _several(self, thing: Any, depth: int) -> str:
        """Return the description of a list, a dict or a set, and of what is made from one."""
        if isinstance(thing, dict | types.MappingProxyType):
            pairs = [(self._key(key, depth), inner) for key, inner in _shown_of(thing)]
            if not self._ordered:  # in the order of their own words, as core schemas have none
                pairs.sort(key=lambda pair: pair[0])
            told = ",".join(f"{key}:{self.told(inner, depth)}" for key, inner in pairs)
            told = f"{{{told}}}"
        elif isinstance(thing, set | frozenset):
            told = f"set{sorted(_Teller().told(one, depth) for one in thing)}"
        else:
            told = f"{_kind(thing)}[{self._all(thing, depth)}]"
        if isinstance(thing, collections.defaultdict):
            told += f"else {self.told(thing.default_factory, depth)}"
        if file_of(type(thing)) is None:
            return told
        return f"{told} as {self._instance(thing, depth)}"

    def _all(self, things: Iterable[Any], depth: int) -> str:
        return ",".join(self.told(one, depth) for one in things)

    def _key(self, key: Any, depth: int) -> str:
        return self.told(key, depth) if isinstance(key, str | int) else _of(key)

    def _function(self, function: types.FunctionType, depth: int) -> str:
        name, code = f"{function.__module__}.{function.__qualname__}", function.__code__
        cells = [_content(cell) for cell in function.__closure__ or ()]
        self.places += [
            _Place(cell, None, held)
            for cell, held in zip(function.__closure__ or (), cells, strict=True)
        ]
        held = self._all((function.__defaults__, function.__kwdefaults__, *cells), depth)
        if is_installed(code.co_filename):
            return f"{name}({held})"
        text = self._source(code, function.__globals__)
        looked_up = dict.fromkeys(names(code))
        used = [
            f"{each}={self._looked_up(function.__globals__, each, looked_up, depth)}"
            for each in looked_up
            if each in function.__globals__
        ]
        for each, found in imported(code, function.__globals__):
            used.append(f"{each}={self._reached(found, looked_up, depth, set())}")
        kept = {key: each for key, each in vars(function).items() if not _is_dunder(key)}
        own = f";{self._attributes(kept, vars(function), depth)}" if kept else ""
        return f"def({text};{held};{','.join(used)}{own})"

    def _source(self, code: types.CodeType, module: dict[str, Any]) -> str:
        text = source(code, module)
        if text is not None:
            return text
        # typed at a prompt, or made by exec: only this very interpreter compiles it the same again
        consts = _Teller().told(constants(code), 0)
        inner = [
            self._source(each, module)
            for each in code.co_consts
            if isinstance(each, types.CodeType)
        ]
        tag = sys.implementation.cache_tag
        return f"{tag} {code.co_code.hex()} {consts} {code.co_names} {code.co_varnames} {inner}"

    def _looked_up(
        self, holder: dict[str, Any], name: str, looked_up: Iterable[str], depth: int
    ) -> str:
        self.places.append(_Place(holder, name, holder[name]))
        return self._reached(holder[name], looked_up, depth, set())

    def _reached(self, found: Any, looked_up: Iterable[str], depth: int, seen: set[int]) -> str:
        """Return the description of what a name stands for; of a module, what may be used of it."""
        if not isinstance(found, types.ModuleType) or is_installed_module(found):
            return self.told(found, depth)
        inside = []
        if id(found) not in seen:
            seen.add(id(found))
            for each in looked_up:
                if each in vars(found):
                    held = vars(found)[each]
                    self.places.append(_Place(vars(found), each, held))
                    inside.append(f"{each}={self._reached(held, looked_up, depth, seen)}")
        return f"module {found.__name__}({','.join(inside)})"

    def _class(self, made: type, depth: int) -> str:
        name = f"{made.__module__}.{made.__qualname__}"
        file = file_of(made)
        if file is None:
            return name
        held = {
            key: part
            for key, part in sorted(vars(made).items())
            if key not in _OURS_INSIDE and _matters(key, part, made)
        }
        bases = [base for base in (*made.__bases__, type(made)) if base not in {object, type}]
        text = class_source(file, made.__qualname__) if file else ""
        if not text and "__pydantic_core_schema__" in vars(made):  # made by a call
            held["schema"] = vars(made)["__pydantic_core_schema__"]
        inside = self._attributes(held, vars(made), depth)
        return f"class {name}({text};{inside};{self._all(bases, depth)})"

    def _attributes(self, held: dict[str, Any], holder: Any, depth: int) -> str:
        """Return the description of attributes, save those of which nothing can be told."""
        told = []
        self.places.append(_Place(holder, None, len(holder)))
        for key, part in held.items():
            if key in holder:
                self.places.append(_Place(holder, key, part))
            met = len(self._met)
            try:
                told.append(f"{key}={self.told(part, depth)}")
            except _UntoldError:
                while len(self._met) > met:
                    self._met.popitem()
        return ",".join(told)

    def _instance(self, thing: Any, depth: int) -> str:
        kind = self.told(type(thing), depth)
        state = getattr(thing, "__dict__", None)
        slots = [name for owner in type(thing).__mro__ for name in _slots(owner)]
        own = file_of(type(thing)) is not None
        if state is None and not slots and not (own and _holds_nothing_else(thing)):
            if isinstance(thing, types.BuiltinFunctionType | types.MethodDescriptorType):
                name = f"{getattr(thing, '__module__', '')}.{thing.__qualname__}"
                owner = getattr(thing, "__self__", None)
                bound = owner is not None and not isinstance(owner, types.ModuleType)
                return f"{name} of {self.told(owner, depth)}" if bound else name
            raise _UntoldError
        held = {**{n: getattr(thing, n, None) for n in slots}, **(state or {})}
        self.places += [_Place(thing, name, held[name]) for name in slots]
        if state is not None:
            self.places.append(_Place(state, None, len(state)))
            self.places += [_Place(state, name, each) for name, each in state.items()]
        if dataclasses.is_dataclass(thing) and not own:
            held = {field.name: getattr(thing, field.name, None) for field in _fields(thing)}
        kinds: tuple[Any, ...] = (*_PLAIN[1:], str)
        inner = next((base for base in kinds if isinstance(thing, base)), None)
        plain = "" if inner is None else f" {inner.__repr__(thing)}"
        if isinstance(thing, _SPELT):
            plain = f" {thing!r}"
        elif any("__reduce__" in vars(owner) for owner in type(thing).__mro__[:-1]):
            plain = f" {self._reduced(thing, depth)}"  # what it is made of stands elsewhere
        told = ",".join(f"{key}:{self.told(held[key], depth)}" for key in sorted(held, key=str))
        return f"{kind}{plain} {{{told}}}"

    def _reduced(self, thing: Any, depth: int) -> str:
        try:
            parts = thing.__reduce__()
        except Exception:  # noqa: BLE001 - somebody else's code
            raise _UntoldError from None
        return parts if isinstance(parts, str) else self._all(parts[1:3], depth)


def _shown_of(thing: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what a dict holds, but of a core schema not what names places in memory."""
    is_schema = isinstance(thing.get("type"), str)
    for key, inner in thing.items():
        if is_schema and key in {"metadata", "ref"}:
            continue
        if is_schema and key == "schema_ref":
            yield key, re.sub(r":\d+", "", str(inner))
        else:
            yield key, inner


def _of(thing: Any) -> str:
    if isinstance(thing, Enum):
        return f"{type(thing).__module__}.{type(thing).__qualname__}.{thing.name}={thing.value!r}"
    written: Any = type(thing).__repr__
    if written is object.__repr__:
        raise _UntoldError
    return f"{_kind(thing)} {thing!r}"


def _kind(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _slots(owner: type) -> tuple[str, ...]:
    slots = vars(owner).get("__slots__", ())
    given = (slots,) if isinstance(slots, str) else tuple(slots)
    # a name of one's own stands there under another one
    inside = owner.__name__.lstrip("_")
    return tuple(
        f"_{inside}{name}" if name.startswith("__") and inside else name
        for name in given
        if not _is_dunder(name)
    )


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _fields(thing: Any) -> tuple[Any, ...]:
    return dataclasses.fields(thing)


def _holds_nothing_else(thing: Any) -> bool:
    """Say whether what an object holds is told by its class, and by what it is made from."""
    made_from = (*_SEVERAL, *_PLAIN, *_SPELT, str)
    return isinstance(thing, made_from) or type(thing).__basicsize__ == object.__basicsize__


def _matters(key: str, part: Any, owner: type) -> bool:
    """Say whether an attribute of a class has to be told: what decorators add to it has not."""
    if isinstance(part, property):
        part = part.fget
    inner = getattr(part, "__func__", part)
    if not isinstance(inner, types.FunctionType):
        return not _is_dunder(key)
    if inner.__module__ == owner.__module__:
        return True
    return not is_installed(inner.__code__.co_filename) and key != "__new__"
