"""Contracts as JSON Schemas that the proof may rely on.

What a producer may emit must be covered in full, what a consumer accepts must not be exceeded;
pydantic's own export does neither: a default is emitted though its field is optional, an extra
key is dropped though the schema is open, a validator is not mentioned, and a model may export
what it likes.  So both sides are read from the core schema itself.  A part that no keyword can
say becomes an opaque predicate, which only the very same part of the producer satisfies.

A consumer is read as a strict reader of JSON; what a lax one converts besides is found out by
asking it.  That a validator returns a value of its field's own type is taken for granted.
"""

from __future__ import annotations

import ipaddress
from enum import Enum
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from kairos.contracts.json_rules import JsonRules
from kairos.contracts.mending import Node, drop_unreadable
from kairos.contracts.rules import Rule
from kairos.verify.proof.evaluation import DECIMAL
from kairos.verify.proof.fields import fields_of, object_of
from kairos.verify.proof.limits import UnsupportedError
from kairos.verify.proof.reading import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BEFORE_OR_AFTER_NOW", "Side", "Translator", "translated"]

Side: TypeAlias = Literal["emits", "keeps", "accepts"]
"""What is asked of a contract: its canonical output, what it lets through as it is, its input."""

BEFORE_OR_AFTER_NOW = "before or after now"

_ANY: dict[str, Any] = {}
_MOST_DEPTH = 100
_DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"
_DECIMAL_WRITTEN = r"^-?[0-9]+(\.[0-9]+)?(E[+-]?[0-9]+)?$"
_INT_KEY = r"^(0|-?[1-9][0-9]*)$"
_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_DATE = r"^-?[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_BOUNDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}  # fmt: skip
_TIMES = {"datetime": "date-time", "date": "date", "time": "time", "timedelta": "duration"}
_FORMATS: dict[Any, str] = {
    ipaddress.IPv4Address: "ipv4",
    ipaddress.IPv6Address: "ipv6",
    ipaddress.IPv4Network: "ipv4network",
    ipaddress.IPv6Network: "ipv6network",
    ipaddress.IPv4Interface: "ipv4interface",
    ipaddress.IPv6Interface: "ipv6interface",
}
# keys of a core schema that say nothing of which values it takes
_SILENT = frozenset({"type", "ref", "metadata", "serialization", "strict", "allow_inf_nan", "cls"})
_PLAIN_ITEMS = frozenset({"int", "str", "bool", "float"})


def translated(schema: Node, config: Mapping[str, Any], side: Side) -> dict[str, Any]:
    """Return the JSON Schema of one side of a contract, given its core schema.

    Raises UnsupportedError where the core schema nests too deep.
    """
    return Translator(side).document(drop_unreadable(schema, config), config)


class Translator:
    """One walk over a core schema, for one side."""

    def __init__(self, side: Side) -> None:
        self.side: str = side
        self._defs: dict[str, Any] = {}
        self._depth = 0
        self._of_kind: dict[str, Callable[[Node, Mapping[str, Any]], dict[str, Any]]] = {
            "any": lambda *_: _ANY,
            "none": lambda *_: {"type": "null"},
            "bool": lambda *_: {"type": "boolean"},
            "int": lambda node, _: {"type": "integer", **_bounds(node)},
            "float": lambda node, _: {"type": "number", **_bounds(node)},
            "str": self._text,
            "bytes": self._bytes,
            "decimal": self._decimal,
            "uuid": self._uuid,
            "url": self._url,
            **dict.fromkeys(_TIMES, self._time),
            "literal": lambda node, _: self._choice(node, node["expected"]),
            "enum": lambda node, _: self._choice(node, [one.value for one in node["members"]]),
            "list": self._items,
            "set": self._items,
            "frozenset": self._items,
            "tuple": self._tuple,
            "named-tuple": self._named_tuple,
            "dict": self._dict,
            "nullable": lambda node, config: {
                "anyOf": [{"type": "null"}, self.part(node["schema"], config)]
            },
            "union": self._union,
            "tagged-union": self._tagged,
            "default": lambda node, config: self.part(node["schema"], config),
            "custom-error": lambda node, config: self.part(node["schema"], config),
            "lax-or-strict": self._strict,
            "json-or-python": self._json,
            "chain": self._chain,
            "model": self._model,
            "dataclass": self._model,
            "model-fields": lambda node, config: object_of(self, fields_of(node), node, config),
            "dataclass-args": lambda node, config: object_of(self, fields_of(node), node, config),
            "typed-dict": self._typed_dict,
            "function-after": self._after,
            "function-before": self._before,
            "function-wrap": self._wrap,
            "function-plain": lambda node, _: self.opaque(node, _named(node)),
            "definitions": self._definitions,
            "definition-ref": lambda node, _: {"$ref": _pointer(node["schema_ref"])},
        }

    def document(self, schema: Any, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole document."""
        found = self.part(schema, config)
        return {"$defs": self._defs, "allOf": [found]} if self._defs else found

    def part(self, node: Any, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return what one core schema says on this side."""
        if self._depth > _MOST_DEPTH:
            raise UnsupportedError(f"types in one another deeper than {_MOST_DEPTH}")
        self._depth += 1
        try:
            return self._part(node, config)
        finally:
            self._depth -= 1

    def opaque(self, node: Any, what: str, also: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what only the same part of the producer satisfies."""
        return {"allOf": [also or _ANY], OPAQUE: [f"{what}#{_identity(node)}"]}

    def _part(self, node: Any, config: Mapping[str, Any]) -> dict[str, Any]:
        known = _known_format(node)
        if known is not None:
            return {"type": "string", "format": known}
        if self.side == "emits" and _may_write_anything(node):
            return _ANY
        kind = node["type"]
        if self.side == "keeps" and kind in _CONVERTED and not _is_strict(node):
            return _ANY
        translate = self._of_kind.get(kind)
        return (
            self.opaque(node, f"the type {kind}") if translate is None else translate(node, config)
        )

    def _text(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        given = {name.removeprefix("str_"): v for name, v in config.items() if name[:4] == "str_"}
        given |= node
        changes = any(given.get(name) for name in ("strip_whitespace", "to_lower", "to_upper"))
        regex = given.get("pattern")
        python = regex is not None and (
            not isinstance(regex, str) or given.get("regex_engine") or config.get("regex_engine")
        )
        if changes or python or given.get("ascii_only"):
            return self.opaque([node, sorted(given)], "a text that is changed", {"type": "string"})
        found: dict[str, Any] = {"type": "string"}
        for name, keyword in (("min_length", "minLength"), ("max_length", "maxLength")):
            if given.get(name) is not None:
                found[keyword] = given[name]
        return {**found, "pattern": regex} if regex is not None else found

    def _bytes(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        plain = not _says_more(node) and config.get("val_json_bytes", "utf8") == "utf8"
        return {"type": "string"} if plain else self.opaque(node, "bytes", {"type": "string"})

    def _decimal(self, node: Node, _config: Mapping[str, Any]) -> dict[str, Any]:
        text: dict[str, Any] = {"type": "string", "format": DECIMAL}
        if self.side == "keeps":
            text = {"type": ["string", "number"]}
        elif self.side == "emits":
            text["pattern"] = _DECIMAL_WRITTEN
        else:
            simple = {"type": "string", "pattern": _DECIMAL}
            text = {"anyOf": [text, simple, {"type": "number"}]}
        return self.opaque(node, "a Decimal within bounds", text) if _says_more(node) else text

    def _uuid(self, node: Node, _config: Mapping[str, Any]) -> dict[str, Any]:
        version = node.get("version")
        found = {"type": "string", "format": f"uuid{version}" if version else "uuid"}
        return {**found, "pattern": _UUID} if self.side == "emits" else found

    def _url(self, node: Node, _config: Mapping[str, Any]) -> dict[str, Any]:
        if _says_more(node):
            return self.opaque(node, "a URL of a certain kind", {"type": "string"})
        return {"type": "string", "format": "uri"}

    def _time(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        kind = node["type"]
        if any(name in config for name in ("ser_json_temporal", "ser_json_timedelta")):
            return _ANY if self.side == "emits" else self.opaque(node, f"the type {kind}")
        found: dict[str, Any] = {"type": "string", "format": _TIMES[kind]}
        if kind == "date" and self.side == "emits":
            found["pattern"] = _DATE
        more = {key for key in node if node[key] is not None} - _SILENT - {"microseconds_precision"}
        if node.get("now_op"):  # what was to come when it was written is past when it is read
            return self.opaque([node, object()], f"a {kind} {BEFORE_OR_AFTER_NOW}", found)
        return self.opaque(node, f"a {kind} within bounds", found) if more else found

    def _choice(self, node: Node, values: list[Any]) -> dict[str, Any]:
        values = [one.value if isinstance(one, Enum) else one for one in values]
        kinds = {type(value) for value in values}
        if not kinds <= {str, int, bool, type(None)} or node.get("missing"):
            return self.opaque(node, "a choice with a function or odd values")
        names = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
        if self.side == "keeps":  # pydantic finds them by Python's ==, and keeps what it was given
            numbers = [int(one) for one in values if isinstance(one, bool)]
            flags = [bool(one) for one in values if isinstance(one, int) and one in {0, 1}]
            return {"enum": [*values, *numbers, *flags]}
        return {"enum": values, "type": sorted(names[kind] for kind in kinds)}

    def _items(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        inner = node.get("items_schema")
        found: dict[str, Any] = {"type": "array"}
        if inner is not None:
            found["items"] = self.part(inner, config)
        if node.get("min_length") is not None:
            found["minItems"] = node["min_length"]
        is_set = node["type"] != "list"
        if node.get("max_length") is not None and not (is_set and self.side == "keeps"):
            found["maxItems"] = node["max_length"]
        plain = inner is not None and inner["type"] in _PLAIN_ITEMS
        if is_set and (self.side == "accepts" or (plain and self.side == "emits")):
            found["uniqueItems"] = True
        return found

    def _tuple(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        parts = [self.part(one, config) for one in node["items_schema"]]
        variadic = node.get("variadic_item_index")
        found: dict[str, Any] = {"type": "array", "minItems": len(parts), "items": False}
        if variadic is not None:
            if variadic != len(parts) - 1:
                return self.opaque(node, "a tuple that is open in the middle", {"type": "array"})
            found["items"] = parts.pop()
            found["minItems"] = max(len(parts), node.get("min_length") or 0)
            if node.get("max_length") is not None:
                found["maxItems"] = node["max_length"]
        return {**found, "prefixItems": parts} if parts else found

    def _named_tuple(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        parts = [self.part(one["schema"], config) for one in node["fields"]]
        if self.side == "keeps" or not parts:
            return _ANY if self.side != "accepts" else self.opaque(node, "a tuple")
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "items": False}

    def _dict(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "object"}
        if "values_schema" in node:
            found["additionalProperties"] = self.part(node["values_schema"], config)
        for name, keyword in (("min_length", "minProperties"), ("max_length", "maxProperties")):
            if node.get(name) is not None:
                found[keyword] = node[name]
        keys = node.get("keys_schema", {"type": "any"})
        if keys["type"] in {"str", "literal", "enum"}:
            found["propertyNames"] = self.part(keys, config)
        elif keys["type"] == "int" and not _says_more(keys) and self.side != "keeps":
            found["propertyNames"] = {"pattern": _INT_KEY}
        elif keys["type"] != "any":
            found["propertyNames"] = self.opaque(keys, f"keys of the type {keys['type']}")
        return found

    def _union(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        choices = [one[0] if isinstance(one, tuple) else one for one in node["choices"]]
        return {"anyOf": [self.part(one, config) for one in choices]}

    def _tagged(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        parts = {tag: self.part(one, config) for tag, one in node["choices"].items()}
        if self.side != "accepts":
            return {"anyOf": list(parts.values())}
        name = node["discriminator"]
        if not isinstance(name, str):
            return self.opaque(node, "a discriminator that is a function or a path")
        return {
            "anyOf": [
                {
                    "allOf": [part, {"properties": {name: {"enum": [getattr(tag, "value", tag)]}}}],
                    "required": [name],
                }
                for tag, part in parts.items()
            ]
        }

    def _strict(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        return self.part(node["strict_schema"], config) if self.side != "keeps" else _ANY

    def _json(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        return self.part(node["json_schema"], config) if self.side != "keeps" else _ANY

    def _chain(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        steps = node["steps"]
        if len(steps) == 1:
            return self.part(steps[0], config)
        return self.opaque(node, "several types in a row")

    def _model(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        own = node.get("config") or (config if node["type"] == "dataclass" else {})
        found = self.part(node["schema"], own)
        hook = node.get("post_init")
        if node.get("custom_init") or (hook and hook != "init_private_attributes"):
            return self.opaque(node, f"the code that makes a {node['cls'].__name__}", found)
        return found

    def _typed_dict(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        return object_of(self, fields_of(node), node, node.get("config") or config)

    def _after(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        inner = self.part(node["schema"], config)
        owner = getattr(node["function"]["function"], "__self__", None)
        if isinstance(owner, JsonRules):
            return {"allOf": [inner, _embedded(owner)]}
        rules = [one for one in getattr(owner, "rules", (owner,)) if isinstance(one, Rule)]
        if rules and all(rule.json_schema for rule in rules):
            return reduce(lambda found, rule: rule.narrow(found), rules, inner)
        return self.opaque(node, _named(node), inner)

    def _before(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        inner = self.part(node["schema"], config) if self.side == "emits" else _ANY
        return self.opaque(node, _named(node), inner)

    def _wrap(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        function = node["function"]["function"]
        if node["schema"]["type"] == "url" and function.__module__ == "pydantic.networks":
            return self._url(node["schema"], config)
        return self._before(node, config)

    def _definitions(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        for one in node["definitions"]:
            self._defs[one["ref"]] = self.part(one, config)
        return self.part(node["schema"], config)


_CONVERTED = frozenset({"int", "float", "bool", "decimal", "uuid", "url", "bytes", "enum", *_TIMES})


def _bounds(node: Node) -> dict[str, Any]:
    return {keyword: node[name] for name, keyword in _BOUNDS.items() if node.get(name) is not None}


def _says_more(node: Node) -> bool:
    return any(node[key] is not None for key in node.keys() - _SILENT)


def _is_strict(node: Node) -> bool:
    return bool(node.get("strict"))


def _known_format(node: Node) -> str | None:
    """Return the format of pydantic's own network types."""
    if node["type"] != "lax-or-strict" or node["strict_schema"]["type"] != "json-or-python":
        return None
    return _FORMATS.get(node["strict_schema"]["python_schema"].get("cls"))


def _may_write_anything(node: Node) -> bool:
    """Say whether a serialiser of the user's own stands here."""
    written = node.get("serialization")
    if written is None or written["type"] == "any":
        return False
    module = getattr(written.get("function"), "__module__", "") or ""
    return not module.startswith("pydantic.")


def _named(node: Node) -> str:
    function = node["function"]["function"]
    return f"the validator {getattr(function, '__qualname__', type(function).__name__)}"


def _embedded(rules: JsonRules) -> Any:
    root = rules.document
    if not isinstance(root, dict):
        return root
    return {"$id": "kairos:contract", **root}  # so that its references start at itself


def _pointer(ref: str) -> str:
    return "#/$defs/" + ref.replace("%", "%25").replace("~", "~0").replace("/", "~1")


def _identity(node: Any) -> str:
    """Return a name that only the same core schema has; functions and classes go by object."""
    if isinstance(node, dict):
        pairs = ((str(key), _identity(part)) for key, part in node.items() if key != "metadata")
        return "{" + ",".join(f"{key}:{part}" for key, part in sorted(pairs)) + "}"
    if isinstance(node, list | tuple):
        return "[" + ",".join(map(_identity, node)) + "]"
    if node is None or isinstance(node, str | int | float | bool):
        return repr(node)
    owner = getattr(node, "__self__", None)  # a bound method is made anew each time
    if owner is not None:
        return f"{node.__qualname__}@{id(owner):x}"
    return f"{type(node).__name__}@{id(node):x}"
