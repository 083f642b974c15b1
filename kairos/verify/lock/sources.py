"""The source of code that runs, as far as it is at hand, and what its names stand for.

A file may have been edited since it was imported.  So what stands there is only believed of a
function that it compiles to; of any other one its bytecode is told.
"""

from __future__ import annotations

import ast
import dis
import functools
import importlib.util
import linecache
import os
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "asks_its_owner",
    "class_source",
    "constants",
    "file_of",
    "imported",
    "is_installed",
    "is_installed_module",
    "names",
    "source",
]

_PREAMBLE = frozenset({"RESUME", "COPY_FREE_VARS", "MAKE_CELL"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD = str(Path(os.__file__).parent) + os.sep
_KAIROS = str(Path(__file__).parents[2]) + os.sep
_ON_THE_HEAP = 1 << 9  # of a class: that a program made it, and not the interpreter


def is_installed(file: str) -> bool:
    """Say whether a file is not the user's own: it goes by its name."""
    return file.startswith((_STANDARD, _KAIROS, "<frozen")) or not _INSTALLED.isdisjoint(
        Path(file).parts
    )


def is_installed_module(module: types.ModuleType) -> bool:
    """Say the same of a module; one without a file is, unless it is made by hand or typed in."""
    file = getattr(module, "__file__", None)
    if file is not None:
        return is_installed(file)
    name = module.__name__
    return name != "__main__" and getattr(module, "__spec__", None) is not None


def file_of(made: type) -> str | None:
    """Return the file that a class of the user's own is from, "" for none; None if installed."""
    module = sys.modules.get(made.__module__)
    if not made.__flags__ & _ON_THE_HEAP:
        return None
    if module is None:
        return ""
    return None if is_installed_module(module) else getattr(module, "__file__", None) or ""


def names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code looks up, of globals and of attributes, that inside of it too."""
    yield from code.co_names
    for inner in _inner(code):
        yield from names(inner)


def imported(code: types.CodeType, module: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what code imports by itself, of the user's own: the module, or its file's text."""
    package = str(module.get("__package__") or "")
    for each in dis.get_instructions(code):
        if each.opname != "IMPORT_NAME":
            continue
        inside = f"{package}.{each.argval}".strip(".") if package else each.argval
        for name in dict.fromkeys((each.argval.partition(".")[0], each.argval, inside)):
            if name:
                yield from _imported(name)
    for inner in _inner(code):
        yield from imported(inner, module)


def _imported(name: str) -> Iterator[tuple[str, Any]]:
    found = sys.modules.get(name)
    if found is not None:
        if not is_installed_module(found):
            yield name, found
        return
    try:
        spec = importlib.util.find_spec(name) if "." not in name else None
    except (ImportError, ValueError, AttributeError):
        return
    file = None if spec is None or not spec.has_location else spec.origin
    if file is not None and not is_installed(file):
        yield name, "".join(linecache.getlines(file))


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    return (each for each in code.co_consts if isinstance(each, types.CodeType))


def constants(code: types.CodeType) -> list[Any]:
    """Return the constants of code that are no code."""
    return [each for each in code.co_consts if not isinstance(each, types.CodeType)]


def asks_its_owner(method: types.MethodType) -> bool:
    """Say whether what a method is bound to may matter: most validators ignore their class."""
    function = method.__func__
    if not isinstance(method.__self__, type) or not isinstance(function, types.FunctionType):
        return True
    node, code = _node(function.__code__, function.__globals__), function.__code__
    if node is None or not code.co_argcount or "__class__" in code.co_freevars:
        return True
    own = code.co_varnames[0]
    return any(isinstance(each, ast.Name) and each.id == own for each in ast.walk(node))


def source(code: types.CodeType, module: dict[str, Any]) -> str | None:
    """Return the source of a function's code, without docstrings; None where it is not at hand."""
    node = _node(code, module)
    return None if node is None else ast.unparse(_bare(node))


def _node(code: types.CodeType, module: dict[str, Any]) -> ast.AST | None:
    linecache.checkcache(code.co_filename)
    lines = tuple(linecache.getlines(code.co_filename, module))
    if not any(_is_same(each, code) for each in _compiled(lines, code)):
        return None
    begun_here = _functions(lines)
    found = [
        node for node in begun_here.get(code.co_firstlineno, ()) if _name(node) == code.co_name
    ]
    if len(found) > 1:  # several lambdas in a line: the innermost that has all of the code
        spots = list(_spots(code))
        found = [node for node in found if spots and all(_spans(node, spot) for spot in spots)]
        found.sort(key=lambda node: len(ast.unparse(node)))
    return found[0] if found else None


def _compiled(lines: tuple[str, ...], code: types.CodeType) -> tuple[types.CodeType, ...]:
    return _codes(lines).get((code.co_firstlineno, code.co_name), ())


def _is_same(one: types.CodeType, other: types.CodeType) -> bool:
    """Say whether two codes do the same, wherever they stand."""
    if one.co_code != other.co_code or any(
        getattr(one, name) != getattr(other, name)
        for name in ("co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount")
    ):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    for mine, its in zip(one.co_consts, other.co_consts, strict=True):
        if isinstance(mine, types.CodeType) and isinstance(its, types.CodeType):
            if not _is_same(mine, its):
                return False
        elif type(mine) is not type(its) or (mine != its and repr(mine) != repr(its)):
            return False
    return True


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
def _codes(lines: tuple[str, ...]) -> dict[tuple[int, str], tuple[types.CodeType, ...]]:
    """Return the codes that a source compiles to, by the line and the name that they begin with."""
    found: dict[tuple[int, str], tuple[types.CodeType, ...]] = {}
    try:
        left = [compile("".join(lines), "<source>", "exec", dont_inherit=True)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    while left:
        for each in _inner(left.pop()):
            at = each.co_firstlineno, each.co_name
            found[at] = (*found.get(at, ()), each)
            left.append(each)
    return found


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


def class_source(file: str, qualname: str) -> str:
    """Return the source of a class without docstrings; "" where it is not at hand."""
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
