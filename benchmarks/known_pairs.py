"""Pairs of JSON Schemas whose answer is known by how they were made.

A leaf stands beside a wider and a narrower one; put into the same place of the same larger schema,
the larger ones contain one another as the leaves do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pair", "own_pairs", "public_pairs"]

_PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "schema_pairs.jsonl"


class Pair(NamedTuple):
    """Whether all that `producer` allows is allowed by `consumer`, too."""

    producer: Any
    consumer: Any
    is_inside: bool


_INT = {"type": "integer"}
_TEXT = {"type": "string"}
_A = {"type": "object", "properties": {"a": _INT}, "required": ["a"]}
_AB = {"type": "object", "properties": {"a": _INT, "b": _TEXT}, "additionalProperties": False}

# what a schema is: a wider one; one that it is not inside of
_LEAVES: list[tuple[Any, Any, Any]] = [
    (_INT, {"type": "number"}, {**_INT, "minimum": 0}),
    ({**_INT, "minimum": 0, "maximum": 10}, {**_INT, "minimum": -1}, {**_INT, "maximum": 9}),
    ({**_INT, "exclusiveMinimum": 2}, {**_INT, "minimum": 3}, {**_INT, "minimum": 4}),
    ({"type": "number", "exclusiveMinimum": 0}, {"minimum": 0}, {"exclusiveMinimum": 1}),
    ({**_INT, "multipleOf": 6}, {**_INT, "multipleOf": 3}, {**_INT, "multipleOf": 12}),
    ({**_INT, "minimum": 1, "maximum": 3}, {"enum": [1, 2, 3, 4]}, {"enum": [1, 2]}),
    ({**_TEXT, "minLength": 2}, {**_TEXT, "minLength": 1}, {**_TEXT, "minLength": 3}),
    ({**_TEXT, "maxLength": 5}, {**_TEXT, "maxLength": 9}, {**_TEXT, "maxLength": 4}),
    ({**_TEXT, "pattern": "^[a-c]+$"}, {"pattern": "^[a-z]+$"}, {"pattern": "^[ab]+$"}),
    ({**_TEXT, "pattern": "^[0-9]{4}$"}, {"minLength": 4, "maxLength": 4}, {"pattern": "^[1-9]"}),
    ({"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}, {"const": "a"}),
    ({"const": 1}, _INT, {"const": 2}),
    ({"type": "boolean"}, {"enum": [True, False]}, {"const": True}),
    ({**_TEXT, "format": "date"}, _TEXT, {**_TEXT, "format": "uuid"}),
    (_TEXT, {"type": ["string", "null"]}, {**_TEXT, "format": "date-time"}),
    (
        {"anyOf": [{"type": "null"}, _TEXT]},
        {"anyOf": [{"type": "null"}, _TEXT, _INT]},
        {"anyOf": [_TEXT, _INT]},
    ),
    ({"oneOf": [_TEXT, _INT]}, {"anyOf": [_TEXT, {"type": "number"}]}, _TEXT),
    ({"type": "array", "items": _INT}, {"items": {"type": "number"}}, {"minItems": 1}),
    (
        {"type": "array", "items": _INT, "maxItems": 3},
        {"type": "array", "maxItems": 4},
        {"type": "array", "maxItems": 2},
    ),
    ({"type": "array", "uniqueItems": True}, {"type": "array"}, {"maxItems": 5}),
    (
        {"type": "array", "prefixItems": [_INT, _TEXT], "items": False, "minItems": 2},
        {"prefixItems": [{"type": "number"}, _TEXT], "maxItems": 2},
        {"prefixItems": [_INT, {"maxLength": 3}]},
    ),
    (
        {"type": "array", "items": _INT, "contains": {"const": 1}, "minContains": 2},
        {"minItems": 2},
        {"minItems": 3},
    ),
    (_A, {"type": "object", "properties": {"a": _INT}}, {**_A, "required": ["a", "b"]}),
    (_AB, {**_AB, "additionalProperties": True}, {"maxProperties": 1}),
    (
        {"type": "object", "additionalProperties": _INT},
        {"additionalProperties": {"type": "number"}},
        {"maxProperties": 2},
    ),
    (
        {"type": "object", "patternProperties": {"^x_": _INT}, "additionalProperties": False},
        {"propertyNames": {"pattern": "^x"}},
        {"patternProperties": {"^x_": {"minimum": 0}}},
    ),
    (
        {"type": "object", "required": ["a"], "dependentRequired": {"a": ["b"]}},
        {"required": ["b"]},
        {"required": ["c"]},
    ),
    (
        {"if": _TEXT, "then": {"minLength": 1}, "else": _INT},
        {"anyOf": [{**_TEXT, "minLength": 1}, _INT]},
        _TEXT,
    ),
    ({"not": _TEXT}, {"not": {**_TEXT, "minLength": 1}}, _INT),
]


def _variant(leaf: Any) -> Any:
    other = {"properties": {"kind": {"const": "other"}, "v": _TEXT}, "required": ["kind"]}
    mine = {"properties": {"kind": {"const": "mine"}, "v": leaf}, "required": ["kind", "v"]}
    return {"oneOf": [{"type": "object", **mine}, {"type": "object", **other}]}


def _recursive(leaf: Any) -> Any:
    kids = {"type": "array", "items": {"$ref": "#/$defs/tree"}}
    tree = {"type": "object", "properties": {"v": leaf, "kids": kids}, "required": ["v", "kids"]}
    return {"$defs": {"tree": tree}, "$ref": "#/$defs/tree"}


_PLACES: list[Callable[[Any], Any]] = [
    lambda leaf: leaf,
    lambda leaf: {"type": "object", "properties": {"v": leaf, "n": _INT}, "required": ["v"]},
    lambda leaf: {"type": "array", "items": {"type": "object", "properties": {"v": leaf}}},
    lambda leaf: {"$defs": {"leaf": leaf}, "type": "array", "items": {"$ref": "#/$defs/leaf"}},
    _variant,
    _recursive,
]


def own_pairs() -> list[Pair]:
    """Return every leaf in every place, against itself, a wider and a narrower one."""
    return [
        Pair(place(leaf), place(other), is_inside)
        for place in _PLACES
        for leaf, wider, narrower in _LEAVES
        for other, is_inside in ((leaf, True), (wider, True), (narrower, False))
    ]


def public_pairs() -> list[Pair]:
    """Return the public pairs, where a checkout has them beside it; else none."""
    if not _PUBLIC.exists():
        return []
    lines = map(json.loads, _PUBLIC.read_text(encoding="utf-8").splitlines())
    return [Pair(one["producer"], one["consumer"], one["expected"]) for one in lines]
