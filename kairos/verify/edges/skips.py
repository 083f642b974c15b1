"""Whether a step may return SKIP, which is stored as None whatever its contract says."""

from __future__ import annotations

import dis
import functools
import re
import sys
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, get_args

from kairos.step import SKIP, Skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.step import Step

__all__ = ["returns_skip"]

_NAMES = frozenset({"SKIP", "Skip"})
_WORD = re.compile(r"\bSkip\b")
_MOST_LAYERS = 20


def returns_skip(step: Step) -> bool:
    """Say whether a step's action has SKIP in its annotation, or names it in its own code.

    An action that does neither is taken at its word: what a function returns that it got from
    another one cannot be told beforehand.
    """
    return any(_annotated(each) or _mentions(each) for each in _layers(step.action))


def _layers(action: Any) -> Iterator[FunctionType]:
    for _ in range(_MOST_LAYERS):
        if isinstance(action, functools.partial):
            action = action.func
            continue
        if isinstance(action, MethodType):
            action = action.__func__
        if not isinstance(action, FunctionType):
            action = getattr(type(action), "__call__", None)  # noqa: B004 - the function itself
            if not isinstance(action, FunctionType):
                return
        yield action
        action = getattr(action, "__wrapped__", None)
        if action is None:
            return


def _annotated(function: FunctionType) -> bool:
    note = function.__annotations__.get("return")
    if isinstance(note, str):
        return _WORD.search(note) is not None
    return any(one is Skip for one in (note, *get_args(note)))


def _mentions(function: FunctionType) -> bool:
    cells = (_content(cell) for cell in function.__closure__ or ())
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    if any(one is SKIP for one in (*cells, *defaults)):
        return True
    known = function.__globals__
    # most functions name nothing of the kind, and need not be read
    return any(
        name in _NAMES or _is_ours(known.get(name)) for name in _names(function.__code__)
    ) and _loads(function.__code__, known)


def _loads(code: CodeType, known: dict[str, Any]) -> bool:
    """Say whether code gets hold of SKIP: by its name, from its module, or by an import."""
    module: Any = None
    for each in dis.get_instructions(code):
        name = each.argval
        if each.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            module = known.get(name)
            if _is_ours(module):
                return True
        elif each.opname == "IMPORT_NAME":
            module = sys.modules.get(name)
        elif each.opname in {"IMPORT_FROM", "LOAD_ATTR", "LOAD_METHOD"}:
            if name in _NAMES and _is_package(module):
                return True
            if each.opname != "IMPORT_FROM":
                module = getattr(module, name, None) if _is_package(module) else None
    return any(_loads(one, known) for one in code.co_consts if isinstance(one, CodeType))


def _is_ours(thing: Any) -> bool:
    return thing is SKIP or thing is Skip


def _is_package(thing: Any) -> bool:
    return isinstance(thing, ModuleType) and thing.__name__ in {"kairos", "kairos.step"}


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names(const)
