"""Contracts as JSON Schemas that the proof may rely on.

What a producer may emit must be covered in full, what a consumer accepts must not be exceeded;
pydantic's own export does neither: a default is emitted though its field is optional, an extra
key is dropped though the schema is open, a validator is not mentioned, and a model may export
what it likes.  So both sides are read from the core schema itself.  A part that no keyword can
say becomes an opaque predicate, which only the very same part of the producer satisfies.

A consumer is read as a strict reader of JSON; what a lax one converts besides is found out by
asking it.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from kairos.contracts.json_rules import JsonRules
from kairos.contracts.readable import Node, drop_unreadable
from kairos.contracts.rules import Rule
from kairos.verify.proof.fields import fields_of, object_of
from kairos.verify.proof.identity import identity, looks_around, relevant
from kairos.verify.proof.leaves import INT_KEY, LEAVES, address, demands_of
from kairos.verify.proof.limits import UnsupportedError
from kairos.verify.proof.reading import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Side", "Translator", "asks_code", "translated"]

Side: TypeAlias = Literal["emits", "keeps", "accepts"]
"""What is asked of a contract: its canonical output, what it lets through as it is, its input."""

_ANY: dict[str, Any] = {}
_MOST_DEPTH = 100
_CONVERTED = frozenset(
    {
        "int", "float", "bool", "decimal", "uuid", "url", "bytes", "enum", "datetime", "date",
        "time", "timedelta",
    }
)  # fmt: skip


_ASIDE = frozenset({"metadata", "config", "serialization", "default"})


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
        self._config: Mapping[str, Any] = {}
        self._owners: list[Any] = []  # the models around, outermost first
        self._of_kind: dict[str, Callable[[Node, Mapping[str, Any]], dict[str, Any]]] = {
            "any": lambda *_: _ANY,
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
            "json": self._json_text,
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
        outside, self._config = self._config, config
        self._depth += 1
        try:
            return self._part(node, config)
        finally:
            self._depth -= 1
            self._config = outside

    def opaque(self, node: Any, what: str, also: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what only the same part of the producer satisfies."""
        around = self._owners[-1:] if looks_around(node) else []
        name = self.named(what, [node, relevant(self._config), around])
        return {"allOf": [also or _ANY], OPAQUE: [name]}

    def named(self, what: str, parts: list[Any]) -> str:
        """Return the name of a predicate, which only one of the very same parts has too."""
        return f"{what}#{identity(parts)}"

    def _part(self, node: Any, config: Mapping[str, Any]) -> dict[str, Any]:
        known = address(node, self.side)
        if known is not None:
            return known
        if self.side == "emits" and _may_write_anything(node):
            return _ANY
        kind = node["type"]
        if self.side == "keeps" and kind in _CONVERTED and not node.get("strict"):
            return _ANY
        leaf = LEAVES.get(kind)
        if leaf is not None:
            return leaf(self, node, config)
        translate = self._of_kind.get(kind)
        return (
            self.opaque(node, f"the type {kind}") if translate is None else translate(node, config)
        )

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
        if is_set and self.side != "keeps":
            found["uniqueItems"] = True  # written, too: two of one text would be read back as one
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
        named = self._keys(keys, config)
        return found if named is None else {**found, "propertyNames": named}

    def _keys(self, keys: Node, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what holds of the names of a dict's keys; None for nothing."""
        kind = keys["type"]
        if kind == "any":
            return None
        if kind in {"str", "enum"} or (
            kind == "literal" and all(isinstance(one, str) for one in keys["expected"])
        ):
            return self.part(keys, config)
        if kind in {"uuid", "date"} and self.side != "keeps" and not _may_write_anything(keys):
            return self.part(keys, config)
        named = INT_KEY if kind == "int" and self.side != "keeps" else _ANY
        if named and not demands_of(keys):
            return named
        return self.opaque(keys, f"keys of the type {kind}", named)

    def _union(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        choices = [one[0] if isinstance(one, tuple) else one for one in node["choices"]]
        return {"anyOf": [self.part(one, config) for one in choices]}

    def _tagged(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        parts = {tag: self.part(one, config) for tag, one in node["choices"].items()}
        if self.side != "accepts":
            whole = {"anyOf": list(parts.values())}
            if isinstance(node["discriminator"], str):
                return whole
            return self.opaque(node, "a discriminator that is a function or a path", whole)
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

    def _json_text(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        text: dict[str, Any] = {"type": "string", "format": "json-string"}
        inner = node.get("schema", {"type": "any"})
        if inner["type"] == "any" and not _may_write_anything(inner):
            return text
        text["contentSchema"] = self.part(inner, config)  # to draw examples by
        return self.opaque(node, "a text of JSON", text)

    def _chain(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        steps = node["steps"]
        if len(steps) == 1:
            return self.part(steps[0], config)
        return self.opaque(node, "several types in a row")

    def _model(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        own = node.get("config") or (config if node["type"] == "dataclass" else {})
        self._owners.append(node["cls"])
        try:
            found = self.part(node["schema"], own)
        finally:
            self._owners.pop()
        hook = node.get("post_init")
        if node.get("custom_init") or (hook and hook != "init_private_attributes"):
            return self.opaque(node, f"the code that makes a {node['cls'].__name__}", found)
        return {"title": node["cls"].__name__, **found}  # to speak of it

    def _typed_dict(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        own = node.get("config") or config
        self._owners.append(node.get("cls") or node)
        try:
            return object_of(self, fields_of(node), node, own)
        finally:
            self._owners.pop()

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
        ours = (getattr(function, "__module__", "") or "").startswith("pydantic.")
        if node["schema"]["type"] == "url" and ours:
            return self.part({**node["schema"], "type": "url"}, config)
        # it need not ask what it wraps, so what it returns may be anything
        return self._before(node, config) if ours else self.opaque(node, _named(node))

    def _definitions(self, node: Node, config: Mapping[str, Any]) -> dict[str, Any]:
        for one in node["definitions"]:
            self._defs[one["ref"]] = self.part(one, config)
        return self.part(node["schema"], config)


def asks_code(schema: Any) -> bool:
    """Say whether code of the user's decides what a contract writes."""
    if isinstance(schema, dict):
        kind = schema.get("type")
        if kind in {"function-plain", "function-wrap"}:
            return True
        if isinstance(kind, str) and _may_write_anything(schema):
            return True
        return any(asks_code(part) for key, part in schema.items() if key not in _ASIDE)
    return isinstance(schema, list | tuple) and any(map(asks_code, schema))


def _may_write_anything(node: Node) -> bool:
    """Say whether a serialiser of the user's own stands here."""
    written = node.get("serialization")
    if not isinstance(written, dict) or written["type"] == "any":
        return False
    module = getattr(written.get("function"), "__module__", "") or ""
    return not module.startswith("pydantic.")


def _named(node: Node) -> str:
    function = node["function"]["function"]
    return f"the validator {getattr(function, '__qualname__', type(function).__name__)}"


def _embedded(rules: JsonRules) -> Any:
    root = rules.source.flat()
    if not isinstance(root, dict):
        return root
    return {"$id": "kairos:contract", **root}  # so that its references start at itself


def _pointer(ref: str) -> str:
    return "#/$defs/" + ref.replace("%", "%25").replace("~", "~0").replace("/", "~1")
