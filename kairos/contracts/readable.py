"""A core schema of which only that is written which is also read.

Whoever reads an output may read it with the contract that wrote it, so what is written stands under
a name that is read, and a computed field stands only where an extra key is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Node", "drop_unreadable", "return_type"]

Node: TypeAlias = "dict[str, Any]"
"""A core schema, or one of the parts that it is made of."""


def return_type(computed: Node) -> Node | None:
    """Return the type that a computed field is held to; None where it is held to none.

    That is one without a declared type, with a serialiser of its own, or of a type that refers to
    another part of its model.
    """
    declared: Node = computed["return_schema"]
    return None if declared["type"] == "any" or _is_special(declared) else declared


def _is_special(schema: Any) -> bool:
    if isinstance(schema, dict):
        if schema.get("type") == "definition-ref":
            return True
        written = schema.get("serialization")
        if isinstance(written, dict) and "function" in written:
            return True
        return any(_is_special(part) for key, part in schema.items() if key != "metadata")
    return isinstance(schema, list | tuple) and any(map(_is_special, schema))


def drop_unreadable(schema: Node, config: Mapping[str, Any]) -> Node:
    """Return a copy of `schema` that writes only what it also reads.

    A computed field of a model that forbids or keeps extra keys is not written.  A field is
    also read under the name it is written under.  Scalars are not copied.
    """
    if schema.get("type") in _SCALARS:
        return schema
    own = schema.get("config") or config
    behaviour = schema.get("extra_behavior") or own.get("extra_fields_behavior")
    out = dict(schema)
    if schema.get("computed_fields") and behaviour in {"forbid", "allow"}:
        out["computed_fields"] = []
    for key, part in schema.items():
        if key in _ASIDE:
            continue
        if key in {"fields", "choices"} and isinstance(part, dict):
            out[key] = {name: _readable(name, inner, own) for name, inner in part.items()}
        elif isinstance(part, dict) and "type" in part:
            out[key] = drop_unreadable(part, own)
        elif isinstance(part, list) and key in _LISTS:
            out[key] = [_listed(inner, own) for inner in part]
    return out


_SCALARS = frozenset(
    {
        "none", "bool", "int", "float", "str", "bytes", "decimal", "uuid", "url", "literal", "any",
        "date", "datetime", "time", "timedelta", "definition-ref",
    }
)  # fmt: skip
_ASIDE = frozenset({"metadata", "config", "serialization", "default", "computed_fields"})
_LISTS = frozenset({"steps", "definitions", "items_schema", "fields", "choices"})


def _listed(part: Any, config: Mapping[str, Any]) -> Any:
    if isinstance(part, tuple):
        return (drop_unreadable(part[0], config), *part[1:])
    if isinstance(part, dict):
        return _readable(part.get("name", ""), part, config)
    return part


def _readable(name: str, node: Node, config: Mapping[str, Any]) -> Node:
    out = drop_unreadable(node, config)
    if not node.get("type", "").endswith("-field"):
        return out
    if config.get("validate_by_alias") is False:
        out.pop("serialization_alias", None)
        return out
    written = node.get("serialization_alias", name)
    alias = node.get("validation_alias")
    if alias is None:
        reads: list[list[str | int]] = [[name]]
    elif isinstance(alias, str):
        reads = [[alias]]
    else:
        reads = [list(way) for way in alias] if isinstance(alias[0], list) else [list(alias)]
    if config.get("validate_by_name"):
        reads.append([name])
    if [written] not in reads:
        out["validation_alias"] = [*reads, [written]]
    return out
