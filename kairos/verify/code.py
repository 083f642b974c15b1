"""What the code of an action asks its context for, read from its instructions and never run.

Every use of the context must have one of a few plain shapes (`ctx.inputs["x"]`, `.get("x")`,
`"x" in ctx.inputs`, `ctx.state.get("x")`); a code in which one has not may read anything, and
nothing is said about it.  Instructions differ between interpreters, so a shape that is not known is
no guess but such a use.  They are read rather than the source, which may be gone, or newer.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.context import StepContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kairos.step import Step

__all__ = [
    "Op",
    "Usage",
    "codes_in",
    "function_of",
    "mistaken_context",
    "ops_of",
    "returns_nothing",
    "usage_of",
]

# What a context offers besides `inputs` and `state`.
_HARMLESS = frozenset(
    {
        "attempt", "cancelled", "charge", "idempotency_key", "increment_llm_calls", "item",
        "item_index", "reserve", "reserve_async", "retry_context", "run_id", "spent", "step_id",
    }
)  # fmt: skip
# Through these the context can be had without its name.
_REFLECTING = frozenset(
    {"_getframe", "currentframe", "eval", "exec", "globals", "locals", "stack", "vars"}
)
_SILENT = frozenset(
    {"CACHE", "COPY_FREE_VARS", "EXTENDED_ARG", "MAKE_CELL", "NOP", "NOT_TAKEN", "PRECALL"}
    | {"PUSH_NULL", "RESUME", "TO_BOOL"}
)
_LOADS = ("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_NAME", "LOAD_FROM_DICT")
# What comes after a value that is gone through, subscripted, or cut.
_OF_A_VALUE = (
    ["GET_ITER"],
    ["LOAD_CONST", "BINARY_SUBSCR"],
    ["LOAD_CONST", "LOAD_CONST", "BINARY_SLICE"],
    ["LOAD_CONST", "LOAD_CONST", "BUILD_SLICE"],  # 3.11
)


class Op(NamedTuple):
    """One instruction, under a name that all interpreters share; `target` of a jump or not."""

    name: str
    value: Any
    line: int | None
    target: bool


@dataclass(frozen=True)
class Usage:
    """The keys that a code asks for, each with the line where it first does.

    `needs` fail where there is no value; `asks` can do without one, though not without the right
    to read it; `looks` only want to know whether it is there.  `sets` are written.  `guarded`:
    some of it stands in a `try` or a `with`, so an error need not end the attempt.
    """

    needs: Mapping[str, int | None] = field(default_factory=dict)
    asks: Mapping[str, int | None] = field(default_factory=dict)
    looks: Mapping[str, int | None] = field(default_factory=dict)
    sets: frozenset[str] = frozenset()
    guarded: bool = False

    @property
    def keys(self) -> frozenset[str]:
        """All the keys that are read."""
        return frozenset((*self.needs, *self.asks, *self.looks))


def usage_of(function: Callable[..., Any], context: str | None = None) -> Usage | None:
    """Return what a function asks its context for, or None where that cannot be told.

    `context` is the name of its parameter; None for a function that takes nothing else.
    """
    plain = function_of(function)
    if plain is None:
        return None
    code = plain.__code__
    if context is None:
        first = 1 if isinstance(function, types.MethodType) else 0
        if code.co_argcount <= first:
            return None
        context = code.co_varnames[first]
    return _usage(code, context)


def function_of(action: Any) -> types.FunctionType | None:
    """Return the function whose code runs when a function or a bound method is called."""
    if isinstance(action, types.MethodType):
        action = action.__func__
    return action if isinstance(action, types.FunctionType) else None


def returns_nothing(step: Step) -> bool:
    """Tell whether a step has no output to speak of: certain where it says True."""
    returned = step.signature.returns
    if step.signature.typed and (returned is None or returned is type(None)):
        return True
    function = function_of(step.action)
    return function is not None and _returns_none(function.__code__)


@lru_cache(maxsize=4096)
def _returns_none(code: types.CodeType) -> bool:
    if code.co_flags & 0x20:  # a generator
        return False
    ops = ops_of(code)
    ends = [i for i, op in enumerate(ops) if op.name == "RETURN_VALUE"]
    return bool(ends) and all(
        ops[i - 1].name == "LOAD_CONST" and ops[i - 1].value is None and not ops[i].target
        for i in ends
    )


def mistaken_context(function: Callable[..., Any]) -> str | None:
    """Return the first parameter's name where the code takes a context for a plain value.

    It subscripts it, goes through it, or asks it for an attribute that no context has.
    """
    plain = function_of(function)
    first = 1 if isinstance(function, types.MethodType) else 0
    if plain is None or plain.__code__.co_argcount <= first:
        return None
    name = plain.__code__.co_varnames[first]
    ops = ops_of(plain.__code__)
    given = any(op.value == name and op.name.startswith(("STORE", "DELETE")) for op in ops)
    taken = (_is_taken_for_value(ops, i) for i, op in enumerate(ops) if op.value == name)
    return name if not given and any(taken) else None


def _is_taken_for_value(ops: tuple[Op, ...], i: int) -> bool:
    if ops[i].name not in _LOADS:
        return False
    first = _at(ops, i + 1)
    if first.name == "LOAD_ATTR":
        attribute = str(first.value)
        return not (first.target or attribute in _HARMLESS or hasattr(StepContext, attribute))
    following = takewhile(lambda op: not op.target, ops[i + 1 : i + 4])
    plain = ["LOAD_CONST" if op.name == "LOAD_FAST" else op.name for op in following]
    return any(plain[: len(shape)] == shape for shape in _OF_A_VALUE)


def codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code and those of the functions, lambdas and comprehensions inside it."""
    waiting = [code]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += [const for const in each.co_consts if isinstance(const, types.CodeType)]


@lru_cache(maxsize=16_384)
def ops_of(code: types.CodeType) -> tuple[Op, ...]:
    """Return the instructions of a code, those that only keep the interpreter busy left out."""
    return tuple(_ops(code))


def _ops(code: types.CodeType) -> Iterator[Op]:
    target = False
    for each in dis.get_instructions(code):
        name, value = each.opname, each.argval
        target = target or each.is_jump_target
        if name in _SILENT:
            continue
        line = each.positions.lineno if each.positions else None
        if name == "RETURN_CONST":  # 3.12 and 3.13
            yield Op("LOAD_CONST", value, line, target)
            name, value, target = "RETURN_VALUE", None, False
        name = name.replace("_BORROW", "").replace("_CHECK", "")
        if isinstance(value, tuple) and "_FAST_" in name:  # two in one, since 3.13
            first, _, second = name.partition("_FAST_")
            yield Op(f"{first}_FAST", value[0], line, target)
            name, value, target = second, value[1], False
        if name == "LOAD_METHOD":  # 3.11
            name = "LOAD_ATTR"
        elif name == "LOAD_SMALL_INT":  # since 3.14
            name = "LOAD_CONST"
        elif name == "BINARY_OP" and each.argrepr == "[]":  # since 3.14
            name = "BINARY_SUBSCR"
        elif name == "COMPARE_OP":
            value = str(value).removeprefix("bool(").removesuffix(")")
        yield Op(name, value, line, target)
        target = False


@lru_cache(maxsize=4096)
def _usage(code: types.CodeType, context: str) -> Usage | None:
    scan = _Scan()
    for each in codes_in(code):
        if not _REFLECTING.isdisjoint(each.co_names):
            return None
        own = each is code or context in each.co_freevars
        if own and not scan.through(each, context):
            return None
    return Usage(scan.needs, scan.asks, scan.looks, frozenset(scan.sets), scan.guarded)


class _Scan:
    """What has been found so far; `through` says False at the first use of no known shape."""

    def __init__(self) -> None:
        self.needs: dict[str, int | None] = {}
        self.asks: dict[str, int | None] = {}
        self.looks: dict[str, int | None] = {}
        self.sets: set[str] = set()
        self.guarded = False

    def through(self, code: types.CodeType, context: str) -> bool:
        ops = ops_of(code)
        self.guarded = self.guarded or _catches(code)
        cells = (*code.co_cellvars, *code.co_freevars)
        views: dict[str, str] = {}  # `inputs = ctx.inputs`: a name of its own, given once
        for i, op in enumerate(ops):
            if op.value == context and op.name not in {"LOAD_ATTR", "LOAD_CONST", "LOAD_GLOBAL"}:
                if op.name == "LOAD_CLOSURE" or (op.name == "LOAD_FAST" and context in cells):
                    continue  # for a code inside this one, which is looked at as well
                if op.name not in _LOADS or not self._context(ops, i, code, views):
                    return False
        return all(
            op.name in _LOADS and self._view(ops, i + 1, i, views[op.value])
            for i, op in enumerate(ops)
            if isinstance(op.value, str)
            and op.value in views
            and op.name not in {"LOAD_ATTR", "LOAD_CONST", "LOAD_GLOBAL"}
            and not _stores_view(ops, i)
        )

    def _context(
        self, ops: tuple[Op, ...], i: int, code: types.CodeType, views: dict[str, str]
    ) -> bool:
        attribute = _at(ops, i + 1)
        if attribute.name != "LOAD_ATTR" or attribute.target:
            return False
        if attribute.value in _HARMLESS:
            return True
        if attribute.value not in {"inputs", "state"}:
            return False
        stored = _at(ops, i + 2)
        if stored.name == "STORE_FAST" and not stored.target:
            name = stored.value
            times = sum(op.value == name and op.name.startswith("STORE") for op in ops)
            given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if times != 1 or name in given or name in code.co_cellvars:
                return False
            views[name] = attribute.value
            return True
        return self._view(ops, i + 2, i, attribute.value)

    def _view(self, ops: tuple[Op, ...], i: int, loaded: int, kind: str) -> bool:
        """Read what is done with `inputs` or `state`, which was loaded from `loaded` on."""
        first, second, third = _at(ops, i), _at(ops, i + 1), _at(ops, i + 2)
        if first.target or second.target:
            return False
        if first.name == "LOAD_CONST" and second.name == "BINARY_SUBSCR":
            return kind == "inputs" and _note(self.needs, first)
        if first.name == "CONTAINS_OP":
            key = _at(ops, loaded - 1)
            return kind == "inputs" and not ops[loaded].target and _note(self.looks, key)
        if first.name != "LOAD_ATTR" or second.name != "LOAD_CONST":
            return False
        alone = third.name == "CALL" and third.value == 1
        return self._method(kind, first.value, second, alone=alone)

    def _method(self, kind: str, name: str, key: Op, *, alone: bool) -> bool:
        if name == "get":
            return _note(self.needs if kind == "state" and alone else self.asks, key)
        if kind == "state" and name == "has":
            return _note(self.looks, key)
        if kind == "state" and name == "set" and isinstance(key.value, str):
            self.sets.add(key.value)
            return True
        return False


def _catches(code: types.CodeType) -> bool:
    """Tell whether an error may be caught, or seen on its way, by what the author wrote.

    Since 3.12 a comprehension, a generator and an await have handlers as well, which tidy up and
    let everything through; they alone do not take note of the error.
    """
    if not code.co_exceptiontable:
        return False
    noted = "PUSH_EXC_INFO"
    return noted not in dis.opmap or any(op.name == noted for op in ops_of(code))


_NO_OP = Op("", None, None, target=True)


def _at(ops: tuple[Op, ...], i: int) -> Op:
    return ops[i] if 0 <= i < len(ops) else _NO_OP


def _stores_view(ops: tuple[Op, ...], i: int) -> bool:
    return ops[i].name == "STORE_FAST" and _at(ops, i - 1).name == "LOAD_ATTR"


def _note(found: dict[str, int | None], op: Op) -> bool:
    if op.name != "LOAD_CONST" or not isinstance(op.value, str):
        return False
    found.setdefault(op.value, op.line)
    return True
