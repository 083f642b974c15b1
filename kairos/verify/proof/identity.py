"""When two parts of two contracts are the same part: functions and classes go by object.

A part that no keyword can say is taken on trust where producer and consumer have the very same
one: what the producer wrote was read back by it.  So everything that it may hang on is a part of
its name: its settings, and for a validator that looks at the fields beside its own the model that
it stands in.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from operator import attrgetter, itemgetter
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

__all__ = ["identity", "looks_around", "relevant"]

_PLAIN = frozenset(
    {str, int, float, bool, bytes, Decimal, dt.date, dt.time, dt.timedelta, type(None), type(...)}
)
_PLAIN_KINDS = (dt.date, dt.time)
_MOST_DEPTH = 4
# settings that bear on no value below a model's own fields
_IDLE = frozenset(
    {
        "title", "extra_fields_behavior", "populate_by_name", "validate_by_name",
        "validate_by_alias", "serialize_by_alias", "loc_by_alias", "hide_input_in_errors",
        "from_attributes", "cache_strings", "validation_error_cause", "frozen",
    }
)  # fmt: skip


def identity(node: Any) -> str:
    """Return a name that only the same part of a core schema has."""
    if isinstance(node, dict):
        pairs = ((str(key), identity(part)) for key, part in node.items() if key != "metadata")
        return "{" + ",".join(f"{key}:{part}" for key, part in sorted(pairs)) + "}"
    if isinstance(node, list | tuple):
        return "[" + ",".join(map(identity, node)) + "]"
    return _of_object(node, 0)


def _of_object(one: Any, depth: int) -> str:  # noqa: PLR0911 - one answer a kind
    if type(one) in _PLAIN or isinstance(one, _PLAIN_KINDS):
        return f"{type(one).__name__}:{one!r}"
    if isinstance(one, re.Pattern):
        return f"{one.pattern!r}/{one.flags}"
    if isinstance(one, FunctionType) and depth < _MOST_DEPTH:
        # closures share their code; made alike from the same things they do the same
        cells = [cell.cell_contents for cell in one.__closure__ or () if _is_full(cell)]
        held = [*cells, *(one.__defaults__ or ()), *(one.__kwdefaults__ or {}).values()]
        parts = ",".join(_of_object(inner, depth + 1) for inner in held)
        return f"{one.__qualname__}@{id(one.__code__):x}/{id(one.__globals__):x}({parts})"
    if isinstance(one, MethodType):  # one is made anew each time
        return f"{_of_object(one.__func__, depth)}@{id(one.__self__):x}"
    if isinstance(one, BuiltinMethodType):
        return f"{one.__qualname__}@{id(one.__self__):x}"
    if type(one) in {attrgetter, itemgetter}:
        return repr(one)
    return f"{type(one).__name__}@{id(one):x}"


def _is_full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def relevant(config: Any) -> dict[str, Any]:
    """Return the settings that may change what a part makes of a value."""
    return {name: value for name, value in config.items() if name not in _IDLE}


def looks_around(node: Any) -> bool:
    """Say whether some function in it is told of the fields beside its own."""
    if isinstance(node, dict):
        if node.get("type") == "with-info" or node.get("default_factory_takes_data"):
            return True
        return any(looks_around(part) for key, part in node.items() if key != "metadata")
    return isinstance(node, list | tuple) and any(map(looks_around, node))
