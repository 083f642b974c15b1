"""A JSON Schema in the words of Python's types: `str | None`, `int ≥ 0`, `list[Doc]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.verify.proof.formats import DECIMAL
from kairos.verify.proof.reading import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["worded"]

_MOST_WORDS = 120
_MOST_DEPTH = 3
_MOST_SHOWN = 6

_TYPES = {
    "null": "None", "boolean": "bool", "integer": "int", "number": "float", "string": "str",
    "array": "list", "object": "dict",
}  # fmt: skip
_FORMATS = {
    "date-time": "datetime", "date": "date", "time": "time", "duration": "timedelta",
    "uri": "URL", "ipv4": "IPv4Address", "ipv6": "IPv6Address", DECIMAL: "Decimal",
    **{f"uuid{version}": "UUID" for version in ("", 1, 3, 4, 5, 6, 7, 8)},
}  # fmt: skip
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_SIZES = {
    "minLength": "length ≥", "maxLength": "length ≤", "minItems": "length ≥",
    "maxItems": "length ≤", "minProperties": "size ≥", "maxProperties": "size ≤",
    "multipleOf": "a multiple of",
}  # fmt: skip
_LIMITS = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    **dict.fromkeys(("integer", "number"), (*_BOUNDS, "multipleOf")),
}


def worded(schema: Any, plain: Callable[[Any], Any] = lambda schema: schema) -> str:
    """Return what a schema allows in a few words; `plain` follows its references."""
    text = _worded(schema, plain, 0, {})
    return text if len(text) <= _MOST_WORDS else f"{text[: _MOST_WORDS - 1]}…"


def _worded(
    schema: Any, plain: Callable[[Any], Any], depth: int, known: dict[tuple[int, int], str]
) -> str:
    schema = plain(schema)
    at = id(schema), depth  # what many parts refer to is put into words once
    if at not in known:
        known[at] = _worded_once(schema, plain, depth, known)
    return known[at]


def _worded_once(
    schema: Any, plain: Callable[[Any], Any], depth: int, known: dict[tuple[int, int], str]
) -> str:
    if not isinstance(schema, dict):
        return "nothing" if schema is False else "anything"
    if depth > _MOST_DEPTH:
        return str(schema.get("title", "…"))

    def inner(part: Any) -> str:
        return _worded(part, plain, depth + 1, known)

    said = [_kind(schema, inner)] if "type" in schema or "enum" in schema else []
    if "const" in schema:
        said.append(_choice([schema["const"]]))
    if "anyOf" in schema:
        said.append(_either([inner(part) for part in schema["anyOf"]]))
    if "oneOf" in schema:
        said.append(_either([inner(part) for part in schema["oneOf"]]))
    said += [text for part in schema.get("allOf", ()) if (text := inner(part)) != "anything"]
    if "not" in schema:
        said.append(f"not {inner(schema['not'])}")
    if not said and "properties" in schema:
        said.append(_fields(schema))
    text = " and ".join(dict.fromkeys(said)) or "anything"
    opaque = [name.partition("#")[0] for name in schema.get(OPAQUE, ())]
    return ", ".join([text, *opaque] if text != "anything" or not opaque else opaque)


def _kind(schema: dict[str, Any], inner: Callable[[Any], str]) -> str:
    if "enum" in schema:
        return _choice(schema["enum"])
    kind = schema["type"]
    if isinstance(kind, list):
        return _either([_kind({**schema, "type": one}, inner) for one in kind])
    if kind == "array":
        return _array(schema, inner)
    if kind == "object":
        return _object(schema, inner)
    text = _TYPES.get(kind, str(kind))
    name, _, bounds = str(schema.get("format") or "").partition(" ")
    if kind == "string" and name in _FORMATS:  # whose pattern is that of how it is written
        text, schema = f"{_FORMATS[name]} {bounds}".strip(), {}
    return text + _limits(schema, _LIMITS.get(kind, ()))


def _array(schema: dict[str, Any], inner: Callable[[Any], str]) -> str:
    if "prefixItems" in schema:
        parts = [inner(part) for part in schema["prefixItems"]]
        rest = schema.get("items", True)
        more = [] if rest is False else [f"*{inner(rest)}"]
        return f"tuple[{', '.join([*parts, *more])}]"
    name = "set" if schema.get("uniqueItems") else "list"
    items = inner(schema.get("items", True))
    text = name if items == "anything" else f"{name}[{items}]"
    return text + _limits(schema, ("minItems", "maxItems"))


def _object(schema: dict[str, Any], inner: Callable[[Any], str]) -> str:
    if "title" in schema:
        return str(schema["title"])
    if schema.get("properties"):
        return _fields(schema)
    rest = inner(schema.get("additionalProperties", True))
    text = "dict" if rest == "anything" else f"dict[str, {rest}]"
    return text + _limits(schema, ("minProperties", "maxProperties"))


def _fields(schema: dict[str, Any]) -> str:
    names = list(schema["properties"])
    more = ", …" if len(names) > _MOST_SHOWN else ""
    return f"an object with {', '.join(names[:_MOST_SHOWN])}{more}"


def _limits(schema: dict[str, Any], keywords: tuple[str, ...]) -> str:
    said = [
        f" {_BOUNDS[keyword]} {schema[keyword]}"
        for keyword in keywords
        if keyword in _BOUNDS and keyword in schema
    ]
    said += [
        f" {_SIZES[keyword]} {schema[keyword]}"
        for keyword in keywords
        if keyword in _SIZES and keyword in schema
    ]
    if "pattern" in keywords and "pattern" in schema:
        said.append(f" matching {schema['pattern']}")
    if "format" in keywords and schema.get("format"):
        said.append(f" of the format {schema['format']}")
    return ",".join(said)


def _choice(values: list[Any]) -> str:
    shown = [repr(value) for value in values[:_MOST_SHOWN]]
    more = [f"… ({len(values)} values)"] if len(values) > _MOST_SHOWN else []
    return " | ".join([*shown, *more])


def _either(parts: list[str]) -> str:
    """Join alternatives as a union is written: each once, and None last."""
    kept = [part for part in dict.fromkeys(parts) if part != "None"]
    return " | ".join([*kept, "None"] if "None" in parts else kept)
