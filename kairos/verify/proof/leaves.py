"""What pydantic's scalar types say: texts, numbers as texts, moments, addresses, choices."""

from __future__ import annotations

import ipaddress
from enum import Enum, Flag
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from kairos.verify.proof.formats import DECIMAL, bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.contracts.readable import Node

__all__ = ["INT_KEY", "LEAVES", "address", "demands_of"]

_DECIMAL_READ = r"^-?[0-9]+(\.[0-9]+)?$"
_DECIMAL_WRITTEN = r"^-?[0-9]+(\.[0-9]+)?(E[+-]?[0-9]+)?$"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?(Z|[+-][0-9]{2}:[0-9]{2})?"
_WRITTEN = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "datetime": f"^{_DATE}T{_TIME}$",
    "timedelta": r"^-?P([0-9]+Y)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]{1,6})?S)?)?$",
    "uuid": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "ipv4": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$",
    "ipv4network": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$",
    "ipv4interface": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$",
}
"""The shape of what pydantic writes, which is narrower than what it reads."""

_TIMES = {"datetime": "date-time", "date": "date", "time": "time", "timedelta": "duration"}
_ADDRESSES: dict[Any, str] = {
    ipaddress.IPv4Address: "ipv4",
    ipaddress.IPv6Address: "ipv6",
    ipaddress.IPv4Network: "ipv4network",
    ipaddress.IPv6Network: "ipv6network",
    ipaddress.IPv4Interface: "ipv4interface",
    ipaddress.IPv6Interface: "ipv6interface",
}
_BOUNDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}  # fmt: skip
INT_KEY: dict[str, Any] = {"pattern": r"^(0|-?[1-9][0-9]*)$"}
"""What the names of int keys are."""

# keys of a core schema that say nothing of which values it takes
_SILENT = frozenset(
    {
        "type", "ref", "metadata", "serialization", "strict", "allow_inf_nan", "cls",
        "microseconds_precision",
    }
)  # fmt: skip


_NEVER_TWICE = count()  # what an object's id is not, once the object is gone


class _Walk(Protocol):
    """The walk over a whole contract."""

    side: str

    def opaque(self, node: Any, what: str, also: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what only the same part of the producer satisfies."""
        ...


def demands_of(node: Node) -> dict[str, Any]:
    """Return what a core schema demands besides its type."""
    return {key: node[key] for key in node.keys() - _SILENT if node[key] is not None}


def address(node: Node, side: str) -> dict[str, Any] | None:
    """Return what pydantic's own network types say; None for another type."""
    if node["type"] != "lax-or-strict" or node["strict_schema"]["type"] != "json-or-python":
        return None
    known = _ADDRESSES.get(node["strict_schema"]["python_schema"].get("cls"))
    if known is None:
        return None
    found = {"type": "string", "format": known}
    if side == "emits" and known in _WRITTEN:
        found["pattern"] = _WRITTEN[known]
    return found


def _numeric(kind: str) -> Callable[[_Walk, Node, Mapping[str, Any]], dict[str, Any]]:
    def said(_walk: _Walk, node: Node, _config: Mapping[str, Any]) -> dict[str, Any]:
        bounds = {_BOUNDS[name]: v for name, v in demands_of(node).items() if name in _BOUNDS}
        return {"type": kind, **bounds}

    return said


def _text(walk: _Walk, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
    given = {name.removeprefix("str_"): v for name, v in config.items() if name[:4] == "str_"}
    given |= {name: value for name, value in node.items() if value is not None}
    changes = any(given.get(name) for name in ("strip_whitespace", "to_lower", "to_upper"))
    regex = given.get("pattern")
    python = regex is not None and (
        not isinstance(regex, str) or given.get("regex_engine") or config.get("regex_engine")
    )
    if changes or python or given.get("ascii_only"):
        return walk.opaque(node, "a text that is changed", {"type": "string"})
    found: dict[str, Any] = {"type": "string"}
    for name, keyword in (("min_length", "minLength"), ("max_length", "maxLength")):
        if given.get(name) is not None:
            found[keyword] = given[name]
    return {**found, "pattern": regex} if regex is not None else found


def _bytes(walk: _Walk, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
    plain = not demands_of(node) and config.get("val_json_bytes", "utf8") == "utf8"
    return {"type": "string"} if plain else walk.opaque(node, "bytes", {"type": "string"})


def _decimal(walk: _Walk, node: Node, _config: Mapping[str, Any]) -> dict[str, Any]:
    if walk.side == "keeps":
        return {"type": ["string", "number"]}
    demands = demands_of(node)
    name = bounded(DECIMAL, demands) if demands else DECIMAL
    if name is None:
        return walk.opaque(node, "a Decimal within bounds", {"type": "string", "format": DECIMAL})
    text: dict[str, Any] = {"type": "string", "format": name}
    if walk.side == "emits":
        return {**text, "pattern": _DECIMAL_WRITTEN}
    ways: list[dict[str, Any]] = (
        [text] if demands else [text, {"type": "string", "pattern": _DECIMAL_READ}]
    )
    if demands.keys() <= _BOUNDS.keys() - {"multiple_of"} and all(map(_is_exact, demands.values())):
        bounds = {_BOUNDS[name]: _number(bound) for name, bound in demands.items()}
        ways.append({"type": "number", **bounds})
    return {"anyOf": ways} if len(ways) > 1 else text


def _number(bound: Any) -> int | float:
    return int(bound) if bound == int(bound) else float(bound)


def _is_exact(bound: Any) -> bool:
    """Say whether a bound is a float through and through: a float is read by its digits."""
    return bool(abs(bound) < 2**53 and float(bound) == bound)


def _uuid(walk: _Walk, node: Node, _config: Mapping[str, Any]) -> dict[str, Any]:
    version = node.get("version")
    found = {"type": "string", "format": f"uuid{version}" if version else "uuid"}
    return {**found, "pattern": _WRITTEN["uuid"]} if walk.side == "emits" else found


def _url(walk: _Walk, node: Node, _config: Mapping[str, Any]) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string", "format": "uri"}
    if walk.side == "emits":
        text["minLength"] = 2
    return walk.opaque(node, "a URL of a certain kind", text) if demands_of(node) else text


def _moment(walk: _Walk, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
    kind, side = node["type"], walk.side
    if any(name in config for name in ("ser_json_temporal", "ser_json_timedelta")):
        return {} if side == "emits" else walk.opaque(node, f"the type {kind}")
    found: dict[str, Any] = {"type": "string", "format": _TIMES[kind]}
    if side == "emits":
        found["pattern"] = _WRITTEN[kind]
    demands = demands_of(node)
    if demands.keys() & {"now_op", "now_utc_offset"}:
        # what was to come when it was written is past when it is read
        return walk.opaque([node, next(_NEVER_TWICE)], f"a {kind} before or after now", found)
    if not demands:
        return found
    name = bounded(_TIMES[kind], demands)
    if name is None:
        return walk.opaque(node, f"a {kind} within bounds", found)
    return {**found, "format": name}


def _choice(walk: _Walk, node: Node, values: list[Any]) -> dict[str, Any]:
    values = [one.value if isinstance(one, Enum) else one for one in values]
    kinds = {type(value) for value in values}
    loose = node.get("missing") or issubclass(node.get("cls", Enum), Flag)
    if not kinds <= {str, int, bool, type(None)} or loose:
        return walk.opaque(node, "a choice with a function or odd values")
    names = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
    if walk.side == "keeps":  # pydantic finds them by Python's ==, and keeps what it was given
        numbers = [int(one) for one in values if isinstance(one, bool)]
        flags = [bool(one) for one in values if isinstance(one, int) and one in {0, 1}]
        return {"enum": [*values, *numbers, *flags]}
    return {"enum": values, "type": sorted(names[kind] for kind in kinds)}


LEAVES: dict[str, Callable[[Any, Node, Mapping[str, Any]], dict[str, Any]]] = {
    "none": lambda *_: {"type": "null"},
    "bool": lambda *_: {"type": "boolean"},
    "int": _numeric("integer"),
    "float": _numeric("number"),
    "str": _text,
    "bytes": _bytes,
    "decimal": _decimal,
    "uuid": _uuid,
    "url": _url,
    **dict.fromkeys(_TIMES, _moment),
    "literal": lambda walk, node, _: _choice(walk, node, node["expected"]),
    "enum": lambda walk, node, _: _choice(walk, node, [one.value for one in node["members"]]),
}
"""What each scalar type says, by the name that its core schema gives it."""
