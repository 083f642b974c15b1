"""A small value that satisfies a JSON Schema, the same one every time."""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["sample"]

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "P1D",
    "email": "ann@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_DEEP = 24


def sample(schema: Mapping[str, Any]) -> Any:
    """Return a value for a schema: its const, default or first enum value, else the smallest.

    Keywords that need a search (`pattern`, `not`, a contradiction) are not heard.
    """
    return _of(schema, schema, 0)


def _of(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        return None if depth > _DEEP else _of(_target(schema["$ref"], root), root, depth + 1)
    given = [schema[key] for key in ("const", "default") if key in schema]
    given += (schema.get("enum") or [])[:1]
    if given:
        return given[0]
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices and not schema.get("allOf"):
        return _of(_simplest(choices), root, depth + 1)
    return _by_type(_merged(schema, root), root, depth)


def _by_type(schema: dict[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    made: Any = None
    match _type_of(schema):
        case "object":
            made = _object(schema, root, depth)
        case "array":
            made = _array(schema, root, depth)
        case "integer":
            made = int(_number(schema, whole=True))
        case "number":
            made = float(_number(schema, whole=False))
        case "boolean":
            made = True
        case "string":
            made = _text(schema)
    return made


def _type_of(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind.lower()  # one provider writes OBJECT
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "string" if {"pattern", "format", "minLength"} & schema.keys() else "object"


def _target(ref: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for name in ref.removeprefix("#").strip("/").split("/"):
        if name:
            found = found.get(name.replace("~1", "/").replace("~0", "~"), {})
    return found


def _merged(schema: dict[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema.get("allOf") or ():
        given = _target(part["$ref"], root) if "$ref" in part else part
        properties = whole.get("properties", {}) | given.get("properties", {})
        required = [*whole.get("required", []), *given.get("required", [])]
        whole = given | whole
        if properties:
            whole |= {"properties": properties, "required": required}
    return whole


def _simplest(choices: list[Any]) -> Any:
    """Return the first choice that is not null and does not lead back to itself."""
    plain = [one for one in choices if one.get("type") != "null"]
    return next((one for one in plain if "$ref" not in one), (plain or choices)[0])


def _object(schema: dict[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    if depth > _DEEP:
        return {}
    required = schema.get("required", list(properties) if depth < 2 else [])  # noqa: PLR2004
    made = {name: _of(properties.get(name, {}), root, depth + 1) for name in required}
    extra = schema.get("additionalProperties")
    for number in range(schema.get("minProperties", 0) - len(made)):
        made[f"key{number}"] = _of(extra if isinstance(extra, dict) else {}, root, depth + 1)
    return made


def _array(schema: dict[str, Any], root: Mapping[str, Any], depth: int) -> list[Any]:
    made = [_of(one, root, depth + 1) for one in schema.get("prefixItems", [])]
    items = schema.get("items", {"type": "string"})
    least = schema.get("minItems", 1 if not made and schema.get("maxItems") != 0 else 0)
    if depth > _DEEP or items is False:
        return made
    while len(made) < least:
        one = _of(items, root, depth + 1)
        made.append(_other(one, len(made)) if schema.get("uniqueItems") and one in made else one)
    return made


def _other(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return f"{value}{number}"
    return value + number if isinstance(value, int | float) else {"key": number}


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    least, most = schema.get("minimum"), schema.get("maximum")
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is not None and above is not True and (least is None or above >= least):
        least = (floor(above / step) + 1) * step
    if below is not None and below is not True and (most is None or below <= most):
        most = (ceil(below / step) - 1) * step
    low = ceil(least / step) * step if least is not None else None
    if low is not None and most is not None and low > most:
        return float(least + most) / 2  # no step fits between: any number does
    start = 1.0 if whole else 0.5
    start = ceil(start / step) * step
    if low is not None:
        start = max(start, low)
    return float(start if most is None else min(start, floor(most / step) * step))


def _text(schema: dict[str, Any]) -> str:
    text: str = _FORMATS.get(schema.get("format", ""), "text")
    text += "x" * (schema.get("minLength", 0) - len(text))
    most: int = schema.get("maxLength", len(text))
    return text[:most]
