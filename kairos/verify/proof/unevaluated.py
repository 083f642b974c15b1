"""`unevaluatedProperties` and `unevaluatedItems`, said in keywords that look at no neighbour.

What a value's properties or items count as evaluated depends on which neighbouring branches it
satisfies.  So for each name and each position it is said: one of the branches that speak of it
holds, or the leftover schema does.  The more branches hold, the less is left over; so for what
has no name (patterns, and items that a `contains` counts) it is enough that some set of branches
holds and covers what is there.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.verify.proof.evaluation import matches
from kairos.verify.proof.limits import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["without_unevaluated"]

_MOST_SETS = 6  # of branches with patterns, or with contains, that may hold or not
_MOST_DEPTH = 40
_MOST_SOURCES = 400


class _Source(NamedTuple):
    """One schema that looks at parts of the value, and what must hold for it to count."""

    when: tuple[Any, ...]
    schema: dict[str, Any]
    is_top: bool

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.schema.get("properties", ()))

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(self.schema.get("patternProperties", ()))

    @property
    def every_name(self) -> bool:
        nested = not self.is_top and "unevaluatedProperties" in self.schema
        return nested or "additionalProperties" in self.schema

    @property
    def first(self) -> int:
        return len(self.schema.get("prefixItems", ()))

    @property
    def every_item(self) -> bool:
        nested = not self.is_top and "unevaluatedItems" in self.schema
        return nested or "items" in self.schema

    def speaks_of(self, name: str) -> bool:
        """Say whether it looks at the property `name`."""
        if self.every_name or name in self.names:
            return True
        return any(matches(regex, name) for regex in self.patterns)


def without_unevaluated(schema: dict[str, Any], target: Callable[[str], Any]) -> dict[str, Any]:
    """Return a schema of the same meaning without the two keywords at its top."""
    if "unevaluatedProperties" not in schema and "unevaluatedItems" not in schema:
        return schema
    plain = {key: part for key, part in schema.items() if not key.startswith("unevaluated")}
    sources = list(itertools.islice(_sources(schema, target, (), 0), _MOST_SOURCES + 1))
    if len(sources) > _MOST_SOURCES:
        raise UnsupportedError("unevaluated keywords beside too many branches")
    said: list[Any] = []
    if schema.get("unevaluatedProperties", True) is not True:
        said += _of_names(schema["unevaluatedProperties"], sources)
    if schema.get("unevaluatedItems", True) is not True:
        said.append(_of_items(schema["unevaluatedItems"], sources))
    return {"allOf": [plain, *said]}


def _sources(
    schema: Any, target: Callable[[str], Any], when: tuple[Any, ...], depth: int
) -> Iterator[_Source]:
    """Yield what looks at the same value as `schema` does, itself first."""
    if not isinstance(schema, dict):
        return
    if depth > _MOST_DEPTH:
        raise UnsupportedError("unevaluated keywords over too many branches in one another")
    yield _Source(when, schema, depth == 0)
    always = [*schema.get("allOf", ())]
    if "$ref" in schema:
        always.append(target(schema["$ref"]))
    parts: list[tuple[Any, Any]] = [(part, None) for part in always]
    parts += [(part, part) for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()))]
    for name, part in schema.get("dependentSchemas", {}).items():
        parts.append((part, {"type": "object", "required": [name]}))
    if "if" in schema:
        parts += [(schema["if"], schema["if"]), (schema.get("then", True), schema["if"])]
        parts.append((schema.get("else", True), {"not": schema["if"]}))
    for part, condition in parts:
        held = when if condition is None else (*when, condition)
        yield from _sources(part, target, held, depth + 1)


def _of_names(rest: Any, sources: list[_Source]) -> Iterator[Any]:
    named = list(dict.fromkeys(name for source in sources for name in source.names))
    for name in named:
        ways = [source.when for source in sources if source.speaks_of(name)]
        yield _one_of_these(ways, {"properties": {name: rest}})
    every = [source.when for source in sources if source.every_name]
    ways_over = []
    for held in _sets([source for source in sources if source.patterns]):
        patterns = dict.fromkeys(regex for source in held for regex in source.patterns)
        covered = {
            "properties": dict.fromkeys(named, True),
            "patternProperties": dict.fromkeys(patterns, True),
            "additionalProperties": rest,
        }
        ways_over.append({"allOf": [*_conditions(held), covered]})
    yield _one_of_these(every, *ways_over)


def _of_items(rest: Any, sources: list[_Source]) -> Any:
    longest = max(source.first for source in sources)
    every = [source.when for source in sources if source.every_item]
    ways_over = []
    for held in _sets([source for source in sources if "contains" in source.schema]):
        item = {"anyOf": [rest, *(source.schema["contains"] for source in held)]}
        parts = list(_conditions(held))
        for index in range(longest):
            ways = [source.when for source in sources if source.first > index]
            ahead = {"prefixItems": [*[True] * index, item]}
            parts.append(_one_of_these([*ways, *every], ahead))
        behind: dict[str, Any] = {"items": item}
        if longest:
            behind = {"prefixItems": [True] * longest, **behind}
        parts.append(_one_of_these(every, behind))
        ways_over.append({"allOf": parts})
    return {"anyOf": ways_over}


def _sets(sources: list[_Source]) -> Iterator[tuple[_Source, ...]]:
    """Yield every set of sources that may be relied on; those without a condition always are."""
    always = [source for source in sources if not source.when]
    perhaps = [source for source in sources if source.when]
    if len(perhaps) > _MOST_SETS:
        raise UnsupportedError("unevaluated keywords beside too many branches")
    for size in range(len(perhaps) + 1):
        for some in itertools.combinations(perhaps, size):
            yield (*always, *some)


def _conditions(held: Iterable[_Source]) -> Iterator[Any]:
    for source in held:
        yield from source.when


def _one_of_these(ways: Iterable[tuple[Any, ...]], *others: Any) -> Any:
    """Return a schema for: all of one of the `ways` hold, or one of the others does."""
    return {"anyOf": [*({"allOf": list(way)} if way else True for way in ways), *others]}
