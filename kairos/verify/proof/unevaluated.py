"""`unevaluatedProperties` and `unevaluatedItems`, said in keywords that look at no neighbour.

What a value's properties or items count as evaluated depends on which neighbouring branches it
satisfies.  So each case is written out: these branches hold and those do not, and then nothing is
left over beyond what they speak of.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.verify.proof.limits import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["without_unevaluated"]

_MOST_CASES = 64
_MOST_DEPTH = 20


class _Seen(NamedTuple):
    """One case: the schemas that a value satisfies in it, and what they evaluate."""

    when: tuple[Any, ...] = ()
    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    every_name: bool = False
    first: int = 0
    contained: tuple[Any, ...] = ()
    every_item: bool = False

    def plus(self, other: _Seen) -> _Seen:
        return _Seen(
            self.when + other.when,
            self.names | other.names,
            self.patterns | other.patterns,
            self.every_name or other.every_name,
            max(self.first, other.first),
            self.contained + other.contained,
            self.every_item or other.every_item,
        )


def without_unevaluated(schema: dict[str, Any], target: Callable[[str], Any]) -> dict[str, Any]:
    """Return a schema of the same meaning without the two keywords at its top."""
    if "unevaluatedProperties" not in schema and "unevaluatedItems" not in schema:
        return schema
    plain = {key: part for key, part in schema.items() if not key.startswith("unevaluated")}
    cases = list(_cases(plain, target, 0))
    rewritten = [
        {
            "allOf": [
                *case.when,
                *_leftover_properties(schema.get("unevaluatedProperties", True), case),
                *_leftover_items(schema.get("unevaluatedItems", True), case),
            ]
        }
        for case in cases
    ]
    return {"allOf": [plain, {"anyOf": rewritten}]}


def _leftover_properties(rest: Any, case: _Seen) -> Iterator[Any]:
    if rest is not True and not case.every_name:
        yield {
            "properties": dict.fromkeys(case.names, True),
            "patternProperties": dict.fromkeys(case.patterns, True),
            "additionalProperties": rest,
        }


def _leftover_items(rest: Any, case: _Seen) -> Iterator[Any]:
    if rest is not True and not case.every_item:
        items = {"anyOf": [*case.contained, rest]} if case.contained else rest
        yield (
            {"prefixItems": [True] * case.first, "items": items} if case.first else {"items": items}
        )


def _cases(schema: Any, target: Callable[[str], Any], depth: int) -> Iterator[_Seen]:
    """Yield the cases of a schema that holds; together they cover every value it accepts."""
    if not isinstance(schema, dict):
        yield _Seen()
        return
    if depth > _MOST_DEPTH:
        raise UnsupportedError("unevaluated keywords over a circle of references")
    own = _Seen(
        (),
        frozenset(schema.get("properties", ())),
        frozenset(schema.get("patternProperties", ())),
        bool(schema.keys() & {"additionalProperties", "unevaluatedProperties"}),
        len(schema.get("prefixItems", ())),
        (schema["contains"],) if "contains" in schema else (),
        bool(schema.keys() & {"items", "unevaluatedItems"}),
    )
    parts = [[own]]
    if "$ref" in schema:
        parts.append(list(_cases(target(schema["$ref"]), target, depth + 1)))
    parts += [list(_cases(part, target, depth + 1)) for part in schema.get("allOf", ())]
    asked = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    parts += [_either(part, target, depth) for part in asked]
    parts += [
        _either(part, target, depth, {"type": "object", "required": [name]})
        for name, part in schema.get("dependentSchemas", {}).items()
    ]
    if "if" in schema:
        parts.append(list(_conditional(schema, target, depth)))
    count = 1
    for part in parts:
        count *= len(part)
    if count > _MOST_CASES:
        raise UnsupportedError("unevaluated keywords beside too many branches")
    for combination in itertools.product(*parts):
        found = _Seen()
        for one in combination:
            found = found.plus(one)
        yield found


def _either(
    part: Any, target: Callable[[str], Any], depth: int, condition: Any = None
) -> list[_Seen]:
    """Return the cases of a branch that may hold or not (or apply, where there is a condition)."""
    asked = part if condition is None else condition
    holds = [_Seen((asked,)).plus(case) for case in _cases(part, target, depth + 1)]
    return [*holds, _Seen(({"not": asked},))]


def _conditional(
    schema: dict[str, Any], target: Callable[[str], Any], depth: int
) -> Iterator[_Seen]:
    asked = schema["if"]
    for case in _cases(asked, target, depth + 1):
        for then in _cases(schema.get("then", True), target, depth + 1):
            yield _Seen((asked,)).plus(case).plus(then)
    for other in _cases(schema.get("else", True), target, depth + 1):
        yield _Seen(({"not": asked},)).plus(other)
