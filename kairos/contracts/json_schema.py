"""A JSON Schema document read as a Schema.

What Python types can say exactly becomes fields with such types, so that the result can be
inspected, extended and validated at full speed.  Everything else keeps its document, which then
judges by itself (`json_rules`): nothing is approximated, nothing is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from kairos.contracts.fields import FieldDefinition
from kairos.contracts.json_keywords import ASSERTIONS, mapped
from kairos.contracts.json_rules import JsonRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kairos.contracts.json_documents import Document

__all__ = ["read_json_schema"]

_MAX_PARTS = 5_000  # of a document with its references written out
_LEFT_OUT = frozenset(
    {"$defs", "definitions", "$ref", "$anchor", "$dynamicAnchor", "$schema", "$id"}
)
_NOTES = ("title", "description", "examples", "deprecated", "default", "readOnly", "writeOnly")
_OF_STRINGS = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_OF_NUMBERS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
_OF_ARRAYS = {"minItems": "min_length", "maxItems": "max_length"}


def read_json_schema(document: Mapping[str, Any], make: Any) -> Any:
    """Return the Schema that `document` describes; `make` is that class, which imports this one.

    Raises ConfigError as `Schema.from_json_schema` says.
    """
    rules = JsonRules(document)
    inlined = _written_out(rules.source)
    if not isinstance(inlined, dict):  # it refers to itself, which no type says; or is true
        return make(Annotated[Any, rules])
    found = _Reader(make).read(inlined)
    return found if isinstance(found, make) else make(found)


class _Reader:
    def __init__(self, make: Any) -> None:
        self._make = make

    def read(self, node: Any) -> Any:
        """Return the annotation that says what `node` says."""
        if node is True or node == {}:
            return Any
        found = self._typed(node) if isinstance(node, dict) else None
        if found is None:
            return Annotated[Any, JsonRules(node)]
        return found if isinstance(found, self._make) else _noted(found, node)

    def _typed(self, node: dict[str, Any]) -> Any:  # noqa: PLR0911 - one answer a kind of schema
        """Return a type that says exactly what `node` demands, or None where there is none."""
        keywords = node.keys() & ASSERTIONS
        if not keywords:
            return Any
        if keywords <= {"type", "enum", "const"} and keywords != {"type"}:
            return _literal(node)
        if keywords == {"anyOf"}:
            return self._union(node["anyOf"])
        kind = node.get("type")
        if isinstance(kind, list):
            return self._union([{"type": one} for one in kind]) if keywords == {"type"} else None
        limits = keywords - {"type"}
        if kind == "string" and limits <= _OF_STRINGS.keys():
            return _limited(str, node, _OF_STRINGS)
        if kind in {"integer", "number"} and limits <= _OF_NUMBERS.keys():
            return _number(node, limits)
        if kind in {"boolean", "null"} and not limits:
            return bool if kind == "boolean" else type(None)
        if kind == "array" and limits <= {"items", *_OF_ARRAYS}:
            items = list[self.read(node["items"])] if "items" in node else list  # type: ignore[misc]
            return _limited(items, node, _OF_ARRAYS)
        if kind == "object" and limits <= {"properties", "required", "additionalProperties"}:
            return self._object(node)
        return None

    def _union(self, nodes: list[Any]) -> Any:
        parts = [self._typed(node) if isinstance(node, dict) else None for node in nodes]
        if any(part is None or part is Any for part in parts):
            return None
        described = zip(parts, nodes, strict=True)
        return Union[  # noqa: UP007 - the parts are values here
            tuple(p if isinstance(p, self._make) else _noted(p, n) for p, n in described)
        ]

    def _object(self, node: dict[str, Any]) -> Any:
        named, required = node.get("properties", {}), node.get("required", [])
        rest = node.get("additionalProperties", True)
        if not named and not required and rest is not False:
            return dict if rest is True else dict[str, self.read(rest)]  # type: ignore[misc]
        fields = []
        for name in dict.fromkeys((*named, *required)):
            part = named.get(name, True)
            notes = {k: part[k] for k in _NOTES if k in part} if isinstance(part, dict) else {}
            plain = {k: part[k] for k in part if k not in notes} if notes else part
            fields.append(FieldDefinition(name, self.read(plain), name in required, (), notes))
        extra = rest if isinstance(rest, bool) else self.read(rest)
        return self._make.of(fields, extra=extra, notes={k: node[k] for k in _NOTES if k in node})


def _literal(node: dict[str, Any]) -> Any:
    """Return the Literal of an enum or const, where its values are strings, ints or bools."""
    values = node.get("enum", [node["const"]] if "const" in node else [])
    kinds = {type(value) for value in values}
    if "enum" in node and "const" in node:
        return None
    # a Literal finds 1 where True stands, so the two must not meet; and 1.0 where 1 stands
    if kinds not in ({str}, {bool}, {str, type(None)}, {type(None)}):
        return None
    named = {str: "string", bool: "boolean", type(None): "null"}
    if "type" in node:
        wanted = node["type"] if isinstance(node["type"], list) else [node["type"]]
        if not {named[kind] for kind in kinds} <= set(wanted):
            return None
    return Literal[tuple(values)]


def _number(node: dict[str, Any], limits: set[str]) -> Any:
    if node["type"] == "number":
        return _limited(float, node, _OF_NUMBERS)
    # pydantic's own int takes only int bounds
    if any(isinstance(node[limit], float) for limit in limits):
        return None
    return _limited(int, node, _OF_NUMBERS)


def _limited(kind: Any, node: dict[str, Any], names: Mapping[str, str]) -> Any:
    limits = {ours: node[theirs] for theirs, ours in names.items() if theirs in node}
    if not limits:
        return kind
    from pydantic import Field  # noqa: PLC0415 - only a document with limits

    return Annotated[kind, Field(**limits)]


def _noted(found: Any, node: dict[str, Any]) -> Any:
    """Return the annotation with the node's title and the like, for those who export it."""
    notes = {name: node[name] for name in _NOTES if name in node}
    if not notes:
        return found
    from pydantic import Field  # noqa: PLC0415 - only a document with notes

    return Annotated[found, Field(json_schema_extra=notes)]


def _written_out(source: Document) -> Any:
    """Return the document with each $ref replaced by what it refers to.

    None where that would not end, or grows out of proportion.
    """
    count = 0

    def written(node: Any, within: tuple[int, ...]) -> Any:
        nonlocal count
        count += 1
        if count > _MAX_PARTS or id(node) in within:
            raise RecursionError
        if not isinstance(node, dict):
            return node
        below = (*within, id(node))
        own = {name: part for name, part in node.items() if name not in _LEFT_OUT}
        out = mapped(own, lambda part: written(part, below))
        if "$ref" not in node:
            return out
        target = written(source.resolve(node), below)
        if not out.keys() & ASSERTIONS and isinstance(target, dict):
            return {**target, **out}
        return {"allOf": [target], **out} if "allOf" not in out else {"allOf": [target, out]}

    try:
        return written(source.root, ())
    except RecursionError:
        return None
