"""Whether a function of today is the one that a lock was written with.

A function is described by its source without comments, docstrings and layout, by its defaults and
what it closes over, and by the globals it names, so that a limit that moved to a constant counts
too.  What is installed goes by its name: its own version says when it changes.  Only a digest of
the description is kept, so nothing of it can be read from a lock.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import dis
import functools
import hashlib
import json
import linecache
import logging
import os
import re
import sys
import types
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["fingerprint"]

_MOST_PARTS = 200_000
_MOST_DEPTH = 60
_DIGITS = 16
_SPELT = (complex, range, Decimal, Fraction, UUID, PurePath, dt.date, dt.time, dt.timedelta)
_SPELT_ALSO = (dt.tzinfo, type(...), type(NotImplemented), Enum)
_PREAMBLE = frozenset({"RESUME", "COPY_FREE_VARS", "MAKE_CELL"})
_METHODS = (classmethod, staticmethod)
_OURS_INSIDE = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD = str(Path(os.__file__).parent)
_KAIROS = str(Path(__file__).parents[2])


class _UntoldError(Exception):
    """Something stands in the way whose like cannot be recognised in another process."""


def fingerprint(thing: Any) -> str | None:
    """Return a digest that changes when `thing` comes to mean something else.

    `thing` is a function, a class, an object, or plain data with such in it.  The digest is the
    same in every process, and as far as a function's source is at hand under every Python.  None
    where no such digest can be had: of a lock or a socket, say.
    """
    try:
        told = _Teller().told(thing, 0)
    except (_UntoldError, RecursionError):
        return None
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


class _Teller:
    """One description; what was met before is told by its number, so circles end."""

    def __init__(self) -> None:
        self._count = 0
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used twice

    def told(self, thing: Any, depth: int) -> str:
        """Return the description of one thing.  Raises _UntoldError."""
        self._count += 1
        if self._count > _MOST_PARTS:
            raise _UntoldError
        if thing is None or isinstance(thing, bool | int | float | bytes):
            return (
                f"{type(thing).__name__} {thing!r}" if not isinstance(thing, Enum) else _of(thing)
            )
        if isinstance(thing, str) and not isinstance(thing, Enum):
            return json.dumps(thing)
        if isinstance(thing, _SPELT + _SPELT_ALSO):
            return _of(thing)
        if id(thing) in self._met:
            return f"#{self._met[id(thing)]}"
        self._met[id(thing)] = len(self._met)
        self._kept.append(thing)
        if depth > _MOST_DEPTH:
            raise _UntoldError
        return self._made_of(thing, depth + 1)

    def _made_of(self, thing: Any, depth: int) -> str:  # noqa: C901, PLR0911 - one answer a kind
        if isinstance(thing, list | tuple):
            return f"{_kind(thing)}[{self._all(thing, depth)}]"
        if isinstance(thing, dict | types.MappingProxyType):
            # in the order of the keys' own words, as a core schema has no order of its own
            pairs = sorted((self._key(key, depth), inner) for key, inner in _shown_of(thing))
            told = ",".join(f"{key}:{self.told(inner, depth)}" for key, inner in pairs)
            return f"{{{told}}}"
        if isinstance(thing, set | frozenset):
            return f"set{sorted(_Teller().told(one, depth) for one in thing)}"
        if isinstance(thing, re.Pattern):
            return f"pattern {thing.pattern!r} {thing.flags}"
        if isinstance(thing, types.ModuleType | logging.Logger):
            return f"{_kind(thing)} {getattr(thing, '__name__', '') or thing.name}"
        if isinstance(thing, types.FunctionType):
            return self._function(thing, depth)
        if isinstance(thing, types.MethodType):
            owner = self.told(thing.__self__, depth) if _asks_its_owner(thing) else ""
            return f"{self.told(thing.__func__, depth)} of {owner}"
        if isinstance(thing, functools.partial):
            parts = thing.func, thing.args, thing.keywords
            return f"partial({self._all(parts, depth)})"
        if isinstance(thing, (*_METHODS, property)):
            inside = [getattr(thing, name, None) for name in ("__func__", "fget", "fset")]
            return f"{_kind(thing)}({self._all(inside, depth)})"
        if isinstance(thing, type):
            return self._class(thing, depth)
        inner = getattr(thing, "__wrapped__", None)
        if inner is not None:
            return f"{_kind(thing)}({self.told(inner, depth)})"
        return self._instance(thing, depth)

    def _all(self, things: Iterable[Any], depth: int) -> str:
        return ",".join(self.told(one, depth) for one in things)

    def _key(self, key: Any, depth: int) -> str:
        return self.told(key, depth) if isinstance(key, str | int) else _of(key)

    def _function(self, function: types.FunctionType, depth: int) -> str:
        name, code = f"{function.__module__}.{function.__qualname__}", function.__code__
        cells = [_content(cell) for cell in function.__closure__ or ()]
        held = self._all((function.__defaults__, function.__kwdefaults__, *cells), depth)
        if _is_installed(code.co_filename):
            return f"{name}({held})"
        source = _source(code, function.__globals__)
        names = dict.fromkeys(_names(code))
        used = (
            (each, function.__globals__[each]) for each in names if each in function.__globals__
        )
        globals_used = ",".join(f"{each}={self.told(held, depth)}" for each, held in used)
        return f"def({source};{held};{globals_used})"

    def _class(self, made: type, depth: int) -> str:
        name = f"{made.__module__}.{made.__qualname__}"
        module = sys.modules.get(made.__module__)
        file = getattr(module, "__file__", None)
        if file is None or _is_installed(file):
            return name
        functions = [
            part
            for key, part in sorted(vars(made).items())
            if key not in _OURS_INSIDE and _is_written_in(part, made)
        ]
        bases = [base for base in made.__bases__ if base is not object]
        text = _class_source(file, made.__qualname__)
        return f"class {name}({text};{self._all([*functions, *bases], depth)})"

    def _instance(self, thing: Any, depth: int) -> str:
        kind = self.told(type(thing), depth)
        state = getattr(thing, "__dict__", None)
        slots = [name for owner in type(thing).__mro__ for name in _slots(owner)]
        if state is None and not slots:
            if isinstance(thing, types.BuiltinFunctionType | types.MethodDescriptorType):
                return f"{getattr(thing, '__module__', '')}.{thing.__qualname__}"
            raise _UntoldError
        held = {**{n: getattr(thing, n, None) for n in slots}, **(state or {})}
        if dataclasses.is_dataclass(thing):
            held = {field.name: getattr(thing, field.name, None) for field in _fields(thing)}
        return f"{kind} {self.told(held, depth)}"


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


def _asks_its_owner(method: types.MethodType) -> bool:
    """Say whether what a method is bound to may matter: most validators ignore their class."""
    function = method.__func__
    if not isinstance(method.__self__, type) or not isinstance(function, types.FunctionType):
        return True
    node, code = _node(function.__code__, function.__globals__), function.__code__
    if node is None or not code.co_argcount or "__class__" in code.co_freevars:
        return True
    own = code.co_varnames[0]
    return any(isinstance(each, ast.Name) and each.id == own for each in ast.walk(node))


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
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if not name.startswith("__"))


def _fields(thing: Any) -> tuple[Any, ...]:
    return dataclasses.fields(thing)


def _is_written_in(part: Any, owner: type) -> bool:
    if isinstance(part, property):
        part = part.fget
    inner = getattr(part, "__func__", part)
    return isinstance(inner, types.FunctionType) and inner.__module__ == owner.__module__


def _is_installed(file: str) -> bool:
    return file.startswith((_STANDARD, _KAIROS, "<frozen")) or not _INSTALLED.isdisjoint(
        Path(file).parts
    )


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names(const)


def _source(code: types.CodeType, module: dict[str, Any]) -> str:
    node = _node(code, module)
    if node is not None:
        return ast.unparse(_bare(node))
    # typed at a prompt, or made by exec: only this very interpreter compiles it the same again
    consts = _Teller().told([c for c in code.co_consts if not isinstance(c, types.CodeType)], 0)
    inner = [_source(c, module) for c in code.co_consts if isinstance(c, types.CodeType)]
    tag = sys.implementation.cache_tag
    return f"{tag} {code.co_code.hex()} {consts} {code.co_names} {code.co_varnames} {inner}"


def _node(code: types.CodeType, module: dict[str, Any]) -> ast.AST | None:
    linecache.checkcache(code.co_filename)
    begun_here = _functions(tuple(linecache.getlines(code.co_filename, module)))
    found = [
        node for node in begun_here.get(code.co_firstlineno, ()) if _name(node) == code.co_name
    ]
    if len(found) > 1:  # several lambdas in a line: the innermost that has all of the code
        spots = list(_spots(code))
        found = [node for node in found if spots and all(_spans(node, spot) for spot in spots)]
        found.sort(key=lambda node: len(ast.unparse(node)))
    return found[0] if found else None


def _name(node: Any) -> str:
    return getattr(node, "name", "<lambda>")


def _spots(code: types.CodeType) -> Iterator[tuple[int, int]]:
    for each in dis.get_instructions(code):
        at = each.positions
        if each.opname not in _PREAMBLE and at is not None and at.lineno and at.col_offset:
            yield at.lineno, at.col_offset


def _spans(node: Any, spot: tuple[int, int]) -> bool:
    body = node.body
    return bool((body.lineno, body.col_offset) <= spot < (body.end_lineno, body.end_col_offset))


@functools.lru_cache(maxsize=64)
def _tree(lines: tuple[str, ...]) -> ast.Module:
    try:
        return ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


@functools.lru_cache(maxsize=64)
def _functions(lines: tuple[str, ...]) -> dict[int, list[Any]]:
    """Return the functions of a source by the line that their code begins at."""
    found: dict[int, list[Any]] = {}
    for node in ast.walk(_tree(lines)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            decorators = getattr(node, "decorator_list", ())
            line = min([node.lineno, *(one.lineno for one in decorators)])
            found.setdefault(line, []).append(node)
    return found


def _class_source(file: str, qualname: str) -> str:
    body: list[Any] = _tree(tuple(linecache.getlines(file))).body
    node = None
    for name in qualname.replace(".<locals>", "").split("."):
        kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        node = next((n for n in body if isinstance(n, kinds) and n.name == name), None)
        if node is None:
            return ""
        body = node.body
    return ast.unparse(_bare(node)) if node is not None else ""


def _bare(node: ast.AST) -> ast.AST:
    """Return a copy without docstrings, which change nothing."""
    copy = ast.parse(ast.unparse(node))
    for each in ast.walk(copy):
        body = getattr(each, "body", None)
        if not isinstance(body, list) or not body or isinstance(each, ast.Module):
            continue
        first = body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            body[:1] = [] if len(body) > 1 else [ast.Pass()]
    return copy
