"""Which properties or items of a value a schema has looked at, for the unevaluated keywords."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from kairos.contracts.rules import regex_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["Seen", "looked_at"]

Seen: TypeAlias = "frozenset[Any]"
"""Names of properties, or positions of items."""

_Asking: TypeAlias = "Generator[tuple[Any, Any], Any, Seen]"


def looked_at(
    schema: dict[str, Any],
    value: Any,
    resolve: Callable[[dict[str, Any]], Any],
    known: dict[tuple[int, int], Seen],
    *,
    below: bool = False,
) -> _Asking:
    """Return what `schema`, which accepts `value`, has looked at before its unevaluated keywords.

    With `below`, these are counted as well.  A generator: it yields a schema and a value that it
    needs judged and is sent their faults.  `known` holds what was found out before.
    """
    found: set[Any] = set()
    if isinstance(value, dict):
        found.update(_names(schema, value, below=below))
    if isinstance(value, list):
        found.update(_places(schema, value, below=below))
        for place, item in enumerate(value if "contains" in schema else ()):
            if not (yield schema["contains"], item):
                found.add(place)
    parts = [*_branches(schema, value), *([resolve(schema)] if "$ref" in schema else [])]
    if "if" in schema:
        parts += [schema["if"]]
        parts += [schema.get("else" if (yield schema["if"], value) else "then", True)]
    for part in parts:
        if isinstance(part, bool) or (yield part, value):
            continue
        key = (id(part), id(value))
        if key not in known:
            known[key] = yield from looked_at(part, value, resolve, known, below=True)
        found |= known[key]
    return frozenset(found)


def _branches(schema: dict[str, Any], value: Any) -> Iterator[Any]:
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from schema.get(keyword, ())
    for name, part in schema.get("dependentSchemas", {}).items():
        if isinstance(value, dict) and name in value:
            yield part


def _names(schema: dict[str, Any], value: dict[str, Any], *, below: bool) -> set[str]:
    if "additionalProperties" in schema or (below and "unevaluatedProperties" in schema):
        return set(value)
    engines = [regex_engine(regex) for regex in schema.get("patternProperties", ())]
    named = schema.get("properties", {})
    return {
        name for name in value if name in named or any(e.isinstance_python(name) for e in engines)
    }


def _places(schema: dict[str, Any], value: list[Any], *, below: bool) -> range:
    if "items" in schema or (below and "unevaluatedItems" in schema):
        return range(len(value))
    return range(min(len(schema.get("prefixItems", ())), len(value)))
