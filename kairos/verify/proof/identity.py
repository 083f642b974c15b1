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
from typing import Any

__all__ = ["identity", "looks_around", "relevant"]

_PLAIN = (
    str, int, float, bool, bytes, Decimal, dt.date, dt.time, dt.timedelta, type(None), type(...)
)  # fmt: skip
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
    if type(node) in _PLAIN or isinstance(node, dt.date | dt.time):
        return repr(node)
    if isinstance(node, re.Pattern):
        return f"{node.pattern!r}/{node.flags}"
    owner = getattr(node, "__self__", None)  # a bound method is made anew each time
    if owner is not None:
        function = getattr(node, "__func__", None)
        return f"{getattr(node, '__qualname__', '')}@{id(owner):x}/{id(function):x}"
    return f"{type(node).__name__}@{id(node):x}"


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
