"""A contract's JSON Schema, fitted to what a provider's structured output takes.

What a provider does not take is not lost: it goes into the description, where the model may heed
it, and the step's own contract checks it all the same.  What cannot be expressed at all says so,
and the reply is asked for in another way: as the arguments of a tool that must be called, or in
words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["WRAPPED", "Dialect", "Fitted", "fitted", "rooted"]

WRAPPED = "value"
"""The property that holds a value which is no object: providers take objects at the root only."""

_EVERYWHERE = frozenset({"type", "enum", "const", "anyOf", "$ref", "$defs", "description", "title"})
_OF_OBJECTS = frozenset({"properties", "required", "additionalProperties"})
_SILENT = frozenset({"default", "examples", "$schema", "$id", "$comment", "discriminator"})
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Dialect:
    """What of JSON Schema a provider's structured output takes.

    keywords      that it takes; `values` narrows one to some values of it ({"minItems": {0, 1}})
    formats       of strings that it takes; None for all
    closed        every object must say `additionalProperties: false`, so that one of open keys
                  cannot be expressed
    all_required  every property must be required
    recursion     a schema may refer to itself
    one_of        how oneOf is written: as it stands, as "anyOf", or "" for not at all
    mend          a last hand on the fitted schema, for what this table cannot say
    """

    keywords: frozenset[str] = _EVERYWHERE | _OF_OBJECTS | {"items"}
    values: Mapping[str, frozenset[Any]] = field(default_factory=dict)
    formats: frozenset[str] | None = None
    closed: bool = True
    all_required: bool = False
    recursion: bool = False
    one_of: str = "anyOf"
    mend: Callable[[dict[str, Any]], dict[str, Any]] | None = None


class Fitted(NamedTuple):
    """A schema as a provider takes it, and what came of the rest.

    `lost` names the keywords that only the description tells, each with where it stands, and
    `impossible` what keeps the schema from being taken at all; then `schema` is not to be sent.
    """

    schema: dict[str, Any]
    lost: tuple[str, ...] = ()
    impossible: tuple[str, ...] = ()


def rooted(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return a schema whose root is an object, and whether the value was wrapped for that."""
    whole = dict(schema)
    if whole.get("type") == "object":
        return whole, False
    ref = whole.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/$defs/"):
        target = whole.get("$defs", {}).get(ref.removeprefix("#/$defs/"))
        if isinstance(target, Mapping) and target.get("type") == "object":
            # a root that is a reference is refused by two of three: stand its target there
            return {**target, "$defs": whole["$defs"]}, False
    defs = whole.pop("$defs", None)
    outer: dict[str, Any] = {
        "type": "object",
        "properties": {WRAPPED: whole},
        "required": [WRAPPED],
        "additionalProperties": False,
    }
    return ({**outer, "$defs": defs} if defs else outer), True


def fitted(schema: Mapping[str, Any], dialect: Dialect) -> Fitted:
    """Fit a schema (of an object) to a dialect."""
    fitting = _Fitting(dialect)
    made = fitting.of(schema, "", 0)
    if not dialect.recursion and _circular(schema):
        fitting.impossible.append("$ref to itself")
    if dialect.mend is not None:
        made = dialect.mend(made)
    return Fitted(
        made, tuple(dict.fromkeys(fitting.lost)), tuple(dict.fromkeys(fitting.impossible))
    )


class _Fitting:
    """One schema on its way into a dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.lost: list[str] = []
        self.impossible: list[str] = []

    def of(self, schema: Any, path: str, depth: int) -> dict[str, Any]:
        if depth > _DEEPEST:
            self.impossible.append(f"nesting deeper than {_DEEPEST}")
            return {}
        if not isinstance(schema, Mapping):
            if schema is False:
                self._cannot("false", path)
            return self._anything(path)
        given = dict(schema)
        made: dict[str, Any] = {}
        told: dict[str, Any] = {}
        self._settle_one_of(given, path)
        for name, value in given.items():
            if name in _SILENT:
                continue
            if self._takes(name, value):
                made[name] = self._part(name, value, path, depth)
            else:
                self._lose(name, path)
                told[name] = value
        self._settle_object(given, made, told, path, depth)
        if not made.keys() & {"type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"}:
            made |= self._anything(path)
        if told:
            words = json.dumps(told, ensure_ascii=False, default=str)
            made["description"] = f"{made.get('description', '')}\n\n{words}".strip()
        return made

    def _settle_one_of(self, given: dict[str, Any], path: str) -> None:
        if "oneOf" in given and "anyOf" not in given and self._dialect.one_of == "anyOf":
            given["anyOf"] = given.pop("oneOf")
            if "discriminator" not in given:
                self._lose("oneOf", path)

    def _takes(self, name: str, value: Any) -> bool:
        dialect = self._dialect
        if name not in dialect.keywords:
            return False
        if name == "format" and dialect.formats is not None:
            return value in dialect.formats
        return name not in dialect.values or value in dialect.values[name]

    def _part(self, name: str, value: Any, path: str, depth: int) -> Any:
        if name in ("properties", "$defs") and isinstance(value, Mapping):
            at = "" if name == "$defs" else path
            return {key: self.of(one, f"{at}.{key}", depth + 1) for key, one in value.items()}
        if name in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
            return [self.of(one, path, depth + 1) for one in value]
        if name == "items":
            return self.of(value, f"{path}[]", depth + 1)
        return value

    def _settle_object(
        self,
        given: dict[str, Any],
        made: dict[str, Any],
        told: dict[str, Any],
        path: str,
        depth: int,
    ) -> None:
        if given.get("type") != "object" and "properties" not in given:
            return
        extra = given.get("additionalProperties")
        if self._dialect.closed:
            if isinstance(extra, Mapping) or (not given.get("properties") and extra is not False):
                self._cannot("additionalProperties", path)
            made["additionalProperties"] = False
            told.pop("additionalProperties", None)
        elif isinstance(extra, Mapping) and "additionalProperties" in made:
            made["additionalProperties"] = self.of(extra, f"{path}.*", depth + 1)
        if self._dialect.all_required and (names := list(made.get("properties", {}))):
            if missing := [name for name in names if name not in given.get("required", ())]:
                self._cannot("required (without " + ", ".join(missing[:5]) + ")", path)
            made["required"] = names

    def _anything(self, path: str) -> dict[str, Any]:
        self._cannot("a schema of anything", path)
        return {"type": "string"}

    def _lose(self, name: str, path: str) -> None:
        self.lost.append(f"{name} at {path.lstrip('.') or '<root>'}")

    def _cannot(self, name: str, path: str) -> None:
        self.impossible.append(f"{name} at {path.lstrip('.') or '<root>'}")


def _circular(schema: Mapping[str, Any]) -> bool:
    """Tell whether a definition leads back to itself."""
    defs = schema.get("$defs")
    if not isinstance(defs, Mapping):
        return "$ref" in json.dumps(schema, default=str)
    leads = {name: _refs(one) for name, one in defs.items()}
    for name, first in leads.items():
        seen: set[str] = set()
        open_ = [*first]
        while open_:
            at = open_.pop()
            if at == name:
                return True
            if at not in seen:
                seen.add(at)
                open_ += leads.get(at, ())
    return False


def _refs(schema: Any) -> set[str]:
    if isinstance(schema, Mapping):
        own = schema.get("$ref")
        found = {own.removeprefix("#/$defs/")} if isinstance(own, str) else set()
        return found.union(*map(_refs, schema.values()))
    if isinstance(schema, list):
        return set().union(*map(_refs, schema))
    return set()
