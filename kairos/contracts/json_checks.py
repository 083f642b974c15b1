"""What the types and the plain keywords of JSON Schema ask of a value.

They have two meanings: what a run enforces, and what the standard says to the letter.  They differ
in whether 1.0 is an integer, and in when a float is a multiple.
"""

from __future__ import annotations

import json
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pydantic_core import SchemaValidator, to_json

from kairos.contracts.rules import regex_engine, same_json

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENFORCED", "TO_THE_LETTER", "Meaning", "matches", "wrong_type"]

_Types: TypeAlias = "dict[str, Callable[[Any], bool]]"
_Checks: TypeAlias = "dict[str, Callable[[Any, Any], str]]"


class Meaning(NamedTuple):
    """What a type and a keyword ask of a value."""

    types: _Types
    checks: _Checks


def wrong_type(schema: Any, value: Any, types: _Types) -> str:
    """Say which types a value should be of; nothing where it is of one."""
    wanted = schema.get("type")
    if wanted is None:
        return ""
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if any(types[kind](value) for kind in kinds):
        return ""
    return " or ".join(_NAMES[kind] for kind in kinds)


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: _Types = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_NAMES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "array": "list",
    "object": "dict",
}


def matches(regex: str, text: str) -> bool:
    """Say whether a pattern is found in a text."""
    return regex_engine(regex).isinstance_python(text)


def _multiple_of(step: Any, value: Any) -> str:
    kind = "int" if isinstance(step, int) and isinstance(value, int) else "float"
    schema: Any = {"type": kind, "multiple_of": step}
    engine = SchemaValidator(schema)
    return "" if engine.isinstance_python(value) else f"a multiple of {step}"


def _exact_multiple_of(step: Any, value: Any) -> str:
    parts = Fraction(repr(value)) / Fraction(repr(step))  # 0.1 is a tenth
    return "" if parts.denominator == 1 else f"a multiple of {step}"


def _unique(wanted: bool, value: list[Any]) -> str:  # noqa: FBT001 - a check takes bound and value
    if not wanted or len({_canonical(item) for item in value}) == len(value):
        return ""
    return "items that all differ"


def _canonical(value: Any) -> bytes:
    """Return the same bytes for what is the same as JSON: 1 and 1.0, or keys in another order."""
    return to_json(_settled(value))


def _settled(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_settled(item) for item in value]
    if isinstance(value, dict):
        return {name: _settled(value[name]) for name in sorted(value)}
    return value


def _on(kind: str, broken: Callable[[Any, Any], bool], words: str) -> Callable[[Any, Any], str]:
    """Make a check for values of one type: what `broken` says breaks it."""
    is_kind = _TYPES[kind]

    def check(bound: Any, value: Any) -> str:
        return words.format(bound) if is_kind(value) and broken(bound, value) else ""

    return check


def _asked(kind: str, answer: Callable[[Any, Any], str]) -> Callable[[Any, Any], str]:
    """Make a check for values of one type from a function that words its own answer."""
    is_kind = _TYPES[kind]
    return lambda bound, value: answer(bound, value) if is_kind(value) else ""


def _one_of(choices: list[Any]) -> str:
    words = ", ".join(json.dumps(choice) for choice in choices)
    return words if len(words) <= 200 else f"one of {len(choices)} values"  # noqa: PLR2004


_CHECKS: _Checks = {
    "minimum": _on("number", lambda bound, value: value < bound, "at least {}"),
    "maximum": _on("number", lambda bound, value: value > bound, "at most {}"),
    "exclusiveMinimum": _on("number", lambda bound, value: value <= bound, "greater than {}"),
    "exclusiveMaximum": _on("number", lambda bound, value: value >= bound, "less than {}"),
    "multipleOf": _asked("number", _multiple_of),
    "minLength": _on("string", lambda n, value: len(value) < n, "at least {} characters"),
    "maxLength": _on("string", lambda n, value: len(value) > n, "at most {} characters"),
    "pattern": _on("string", lambda regex, value: not matches(regex, value), "a match of {}"),
    "minItems": _on("array", lambda n, value: len(value) < n, "at least {} items"),
    "maxItems": _on("array", lambda n, value: len(value) > n, "at most {} items"),
    "uniqueItems": _asked("array", _unique),
    "minProperties": _on("object", lambda n, value: len(value) < n, "at least {} keys"),
    "maxProperties": _on("object", lambda n, value: len(value) > n, "at most {} keys"),
    "const": lambda wanted, value: "" if same_json(wanted, value) else json.dumps(wanted)[:200],
    "enum": lambda choices, value: (
        "" if any(same_json(choice, value) for choice in choices) else _one_of(choices)
    ),
}
ENFORCED = Meaning(_TYPES, _CHECKS)
TO_THE_LETTER = Meaning(
    {**_TYPES, "integer": lambda value: _is_number(value) and value == value // 1},
    {**_CHECKS, "multipleOf": _asked("number", _exact_multiple_of)},
)
