"""Conditions that exclude one another, or of which one always holds, where that can be proved.

Proved is what stands in two predicates themselves: one is the other's `not`, or both compare the
same thing with constants (`kind == "a"`, `kind == "b"`, `kind != "a"`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.verify.code import function_of, ops_of

if TYPE_CHECKING:
    import types

    from kairos.step import Step
    from kairos.verify.scene import Scene

__all__ = ["constant_condition", "cover_all", "exclude_one_another"]

_PURE = frozenset({"LOAD_FAST", "LOAD_ATTR", "LOAD_CONST", "BINARY_SUBSCR"})
_CONTEXT = "<context>"


class _Condition(NamedTuple):
    """A thing that is looked at, as instructions, and what is asked of it."""

    thing: tuple[tuple[str, Any], ...]
    asked: str
    constant: Any = None
    keys: tuple[str, ...] = ()


def exclude_one_another(scene: Scene, one: Step, other: Step) -> bool:
    """Say whether at most one of two steps can run, by their `when=`: True is proved."""
    a, b = _conditions(scene, one, other)
    if a is None or b is None or a.thing != b.thing:
        return False
    asked = {a.asked, b.asked}
    if asked == {"true", "false"}:
        return True
    if asked == {"=="}:
        return not _same(a.constant, b.constant)
    return asked == {"==", "!="} and _same(a.constant, b.constant)


def cover_all(scene: Scene, one: Step, other: Step) -> bool:
    """Say whether at least one of two steps runs, by their `when=`: True is proved."""
    a, b = _conditions(scene, one, other)
    if a is None or b is None or a.thing != b.thing:
        return False
    asked = {a.asked, b.asked}
    if asked == {"true", "false"}:
        return True
    return asked == {"==", "!="} and _same(a.constant, b.constant)


def constant_condition(step: Step) -> bool | None:
    """Return the answer of a `when=` that gives a literal one, or None."""
    function = function_of(step.when)
    if function is None or function.__code__.co_flags & 0x2A0:  # a generator, or to be awaited
        return None
    ops = ops_of(function.__code__)
    if [op.name for op in ops] != ["LOAD_CONST", "RETURN_VALUE"]:
        return None
    value = ops[0].value
    return bool(value) if value is None or isinstance(value, bool | int | str) else None


def _conditions(scene: Scene, one: Step, other: Step) -> tuple[_Condition | None, ...]:
    found = tuple(_condition_of(step) for step in (one, other))
    for condition in found:
        for key in condition.keys if condition else ():
            # asked at two times, it has to be the same value both times
            sources = len(scene.writers.get(key, ())) + (key in (scene.inputs or ()))
            if sources > 1 or key in (*one.write_keys, one.name, *other.write_keys, other.name):
                return None, None
    return found


def _condition_of(step: Step) -> _Condition | None:
    function = function_of(step.when)
    return None if function is None else _read(function.__code__)


@lru_cache(maxsize=1024)
def _read(code: types.CodeType) -> _Condition | None:
    if code.co_kwonlyargcount or code.co_freevars or code.co_flags & 0x2AC:  # *args, async and such
        return None
    ops = ops_of(code)
    if any(op.target for op in ops) or not ops or ops[-1].name != "RETURN_VALUE":
        return None
    body = ops[:-1]
    asked, constant = "true", None
    if body and body[-1].name == "UNARY_NOT":
        asked, body = "false", body[:-1]
    if len(body) > 1 and body[-1].name == "COMPARE_OP" and body[-2].name == "LOAD_CONST":
        if body[-1].value not in {"==", "!="}:
            return None
        turned = {"==": "!=", "!=": "=="} if asked == "false" else {"==": "==", "!=": "!="}
        asked, constant, body = turned[body[-1].value], body[-2].value, body[:-2]
        if not isinstance(constant, str | int | bool | None):
            return None
    return _thing(code, body, asked, constant)


def _thing(code: types.CodeType, body: Any, asked: str, constant: Any) -> _Condition | None:
    """Return what is looked at: reads of the context or of parameters, and nothing that acts."""
    thing, keys = [], []
    for i, op in enumerate(body):
        value = op.value
        if op.name == "CALL" and _is_get(body, i):
            value = None
        elif op.name not in _PURE:
            return None
        elif op.name in {"LOAD_FAST", "LOAD_CONST"} and isinstance(value, str):
            keys.append(value)
        thing.append((op.name, value))
    if code.co_argcount == 1 and ("LOAD_ATTR", "inputs") in thing:
        name = code.co_varnames[0]
        thing = [(n, _CONTEXT if n == "LOAD_FAST" and v == name else v) for n, v in thing]
        keys = [key for key in keys if key != name]
    return _Condition(tuple(thing), asked, constant, tuple(keys))


def _is_get(body: Any, i: int) -> bool:
    args = body[i].value
    at = i - 1 - (args if isinstance(args, int) else 0)
    plain = all(op.name == "LOAD_CONST" for op in body[at + 1 : i])
    return at >= 0 and plain and (body[at].name, body[at].value) == ("LOAD_ATTR", "get")


def _same(one: Any, other: Any) -> bool:
    return bool(one == other)
