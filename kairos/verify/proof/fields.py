"""Models, dataclasses and typed dicts as JSON Schema objects, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import SchemaValidator

from kairos.contracts.readable import return_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kairos.contracts.readable import Node

__all__ = ["Walk", "fields_of", "object_of"]


class Walk(Protocol):
    """The walk over a whole contract, which fields are a part of."""

    side: str

    def part(self, node: Any, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return what one core schema says."""
        ...


def fields_of(node: Node) -> list[tuple[str, Node]]:
    """Return the fields of a core schema by name."""
    fields = node["fields"]
    return list(fields.items()) if isinstance(fields, dict) else [(f["name"], f) for f in fields]


def object_of(
    walk: Walk, fields: Iterable[tuple[str, Node]], node: Node, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the object that these fields make, on the side of the walk."""
    total = bool(node.get("total", True))
    extra = node.get("extra_behavior") or config.get("extra_fields_behavior") or "ignore"
    if walk.side == "emits":
        found = _written(walk, fields, config, total=total)
        for one in node.get("computed_fields", ()):
            declared = return_type(one)
            said = {} if declared is None else walk.part(declared, config)
            key = one.get("alias", one["property_name"])
            found["properties"][key] = said
            if declared is not None:
                found["required"].append(key)
        is_open = extra == "allow"
        if is_open:
            # what a field is looked for under first is never left over
            first = [_ways(name, field, config)[0] for name, field in fields]
            for way in first:
                if len(way) == 1:
                    found["properties"].setdefault(way[0], False)
    else:
        found = _read(walk, fields, config, total=total)
        is_open = extra != "forbid"
    rest: Any = is_open
    if extra == "allow" and "extras_schema" in node:
        rest = walk.part(node["extras_schema"], config)
    if rest is not True:
        found["additionalProperties"] = rest
    return found


def _is_needed(field: Node, config: Mapping[str, Any], *, total: bool) -> bool:
    """Say whether a value without the field is refused."""
    if field["type"] == "typed-dict-field":
        return bool(field.get("required", total))
    inner = field["schema"]
    if inner["type"] != "default":
        return True
    checked = inner.get("validate_default", config.get("validate_default"))
    return bool(checked) and not _takes_its_default(inner, config)


def _takes_its_default(node: Node, config: Mapping[str, Any]) -> bool:
    try:
        schema: Any = node
        settings: Any = dict(config)
        SchemaValidator(schema, settings).validate_python(node["default"])
    except Exception:  # noqa: BLE001 - made by a function, or refused, or it refers elsewhere
        return False
    return True


def _written(
    walk: Walk, fields: Iterable[tuple[str, Node]], config: Mapping[str, Any], *, total: bool
) -> dict[str, Any]:
    properties, required = {}, []
    for name, field in fields:
        if field.get("serialization_exclude") is True or field.get("init_only"):
            continue
        key = field.get("serialization_alias", name)
        properties[key] = walk.part(field["schema"], config) if field.get("init", True) else {}
        may_lack = field.get("serialization_exclude") or "serialization_exclude_if" in field
        if may_lack:
            continue
        if field["type"] != "typed-dict-field" or _is_needed(field, config, total=total):
            required.append(key)
    return {"type": "object", "properties": properties, "required": required}


def _read(
    walk: Walk, fields: Iterable[tuple[str, Node]], config: Mapping[str, Any], *, total: bool
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required, choices = [], []
    for name, field in fields:
        if not field.get("init", True):
            continue
        inner = walk.part(field["schema"], config)
        ways = _ways(name, field, config)
        needed = _is_needed(field, config, total=total)
        if len(ways) == 1 and len(ways[0]) == 1:
            key = ways[0][0]
            known = properties.get(key)  # two fields may read one key
            properties[key] = {"allOf": [known, inner]} if known else inner
            required += [key] if needed else []
        elif walk.side == "keeps":
            properties |= {way[0]: {} for way in ways}
        else:
            properties |= {way[0]: {} for way in ways if way[0] not in properties}
            choices.append(_one_way(ways, inner, needed=needed))
    found: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    return {**found, "allOf": choices} if choices else found


def _ways(name: str, field: Node, config: Mapping[str, Any]) -> list[list[str]]:
    """Return the places that a field is looked for, in order; each a way into the object."""
    alias = field.get("validation_alias")
    if alias is None or config.get("validate_by_alias") is False:
        return [[name]]
    ways: list[list[str]]
    if isinstance(alias, str):
        ways = [[alias]]
    elif alias and isinstance(alias[0], list):
        ways = [list(map(str, way)) for way in alias]
    else:
        ways = [list(map(str, alias))]
    if config.get("validate_by_name") and [name] not in ways:
        ways.append([name])
    return ways


def _one_way(ways: list[list[str]], inner: Any, *, needed: bool) -> dict[str, Any]:
    """Say that the field stands in one of its places and that the others are empty."""
    keys = [way[0] for way in ways]
    direct = dict.fromkeys(way[0] for way in ways if len(way) == 1)
    cases: list[dict[str, Any]] = [
        {
            "required": [key],
            "properties": {**{other: False for other in keys if other != key}, key: inner},
        }
        for key in direct
        if sum(other == key for other in keys) == 1
    ]
    if not needed:
        cases.append({"properties": dict.fromkeys(keys, False)})
    return {"anyOf": cases} if cases else {"not": {}}
