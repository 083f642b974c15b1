"""Validators of one field.

A field validator is called with a value and answers True, or says in a string what is wrong.
The factories here (`range_`, `length`, `pattern`, `one_of`, `not_empty`) return a `Rule`, which
also says in JSON Schema what it checks, so that a contract can be exported and proved; `custom`
wraps any function, whose meaning only itself knows.  What a rule reports never holds the value.
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic_core import (
    PydanticCustomError,
    SchemaError,
    SchemaValidator,
    core_schema,
)
from pydantic_core import ValidationError as PydanticError

from kairos.contracts.field_errors import RULE
from kairos.exceptions import ConfigError
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

__all__ = [
    "Rule",
    "custom",
    "length",
    "not_empty",
    "one_of",
    "pattern",
    "pattern_fix",
    "range_",
    "regex_engine",
    "same_json",
]

_KEYWORDS_OF = {
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "array": frozenset({"minItems", "maxItems"}),
    "object": frozenset({"minProperties", "maxProperties"}),
    "number": frozenset({"minimum", "maximum"}),
    "integer": frozenset({"minimum", "maximum"}),
    "boolean": frozenset[str](),
    "null": frozenset[str](),
}
_OF_SOME_TYPE = frozenset().union(*_KEYWORDS_OF.values())


class Rule:
    """A field validator: call it with a value, and it answers True or an error string.

    `expected` says in words what it wants; `json_schema` says the same as JSON Schema keywords
    and is empty where they cannot say it.  Rules that say the same are equal.  A rule is also
    Annotated metadata: `Annotated[float, range(min=0)]` works in any pydantic model.
    """

    def __init__(
        self,
        expected: str,
        test: Callable[[Any], bool],
        *,
        json_schema: Mapping[str, Any] | None = None,
        same: object = None,
    ) -> None:
        self.expected = expected
        self.json_schema = dict(json_schema or {})
        self.test = test
        self._same = (expected, repr(self.json_schema)) if same is None else (same,)

    def __call__(self, value: object) -> bool | str:
        """Answer True, or say in a string what is wrong."""
        try:
            if self.test(value):
                return True
        except Exception as error:  # noqa: BLE001 - a check that fails is a check not passed
            return f"expected {self.expected}, but the check raised {type(error).__name__}"
        return f"expected {self.expected}, found {type(value).__name__}"

    def enforce(self, value: Any) -> Any:
        """Return `value` as it is; raise pydantic's own kind of error when it breaks the rule."""
        if self(value) is True:
            return value
        raise PydanticCustomError(RULE, "expected {expected}", {"expected": self.expected})

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.enforce, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.narrow(handler(schema))

    def narrow(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON Schema `found` with what this rule demands added to it."""
        mine = dict(self.json_schema)
        kind = found.get("type")
        wanted = mine.get("type", ())
        if kind in wanted or (kind == "integer" and "number" in wanted):
            del mine["type"]
            others = _OF_SOME_TYPE - _KEYWORDS_OF.get(str(kind), frozenset())
            mine = {name: inner for name, inner in mine.items() if name not in others}
        if not mine:
            return found
        if "$ref" in found or mine.keys() & found.keys():
            return {"allOf": [found, mine]}
        return {**found, **mine}

    def __eq__(self, other: object) -> bool:
        return self._same == other._same if isinstance(other, Rule) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._same)

    def __repr__(self) -> str:
        return f"Rule({self.expected})"


def range_(*, min: float | None = None, max: float | None = None) -> Rule:  # noqa: A002 - published
    """Accept a number from `min` to `max`, both included; bool and NaN are not numbers here.

    Raises ConfigError when neither is given, or `min` is above `max`.
    """
    _bounds("range", min, max)
    kinds = (int, float, Decimal)

    def within(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        return (min is None or value >= min) and (max is None or value <= max)

    return Rule(
        _between("a number", min, max),
        within,
        json_schema={"type": ["number"], **_given(minimum=min, maximum=max)},
    )


def length(*, min: int | None = None, max: int | None = None) -> Rule:  # noqa: A002 - published
    """Accept a string, list or dict of `min` to `max` characters, items or keys, both included.

    Raises ConfigError when neither is given, one is negative, or `min` is above `max`.
    """
    _bounds("length", min, max)
    if any(bound is not None and (not isinstance(bound, int) or bound < 0) for bound in (min, max)):
        raise ConfigError(
            "length counts whole things",
            where=declared_here(),
            expected="min and max as ints from 0 up",
            fix="write length(min=1)",
        )

    def within(value: Any) -> bool:
        size = len(value)
        return (min is None or size >= min) and (max is None or size <= max)

    return Rule(
        _between("a length of", min, max),
        within,
        json_schema={
            "type": ["string", "array", "object"],
            **_given(minLength=min, minItems=min, minProperties=min),
            **_given(maxLength=max, maxItems=max, maxProperties=max),
        },
    )


def pattern(regex: str, *, timeout: float = 5.0) -> Rule:  # noqa: ARG001 - see its docstring
    r"""Accept a string that `regex` matches as a whole.

    A pattern that has its own anchor (`^` or `\A` in front, `$` or `\z` at the end) is searched
    for instead, as it says itself.  `timeout` is accepted for compatibility: the engine takes
    time in proportion to the text, whatever the pattern, and so needs none.

    Raises ConfigError for what the engine does not know (look-around, back-references).
    """
    if not isinstance(regex, str):
        raise _bad_pattern("a regular expression as a string", type(regex).__name__)
    written, engine = _compiled(regex)

    def matches(value: Any) -> bool:
        try:
            engine.validate_python(value)
        except PydanticError:
            return False
        return True

    return Rule(
        f"a match of {regex}", matches, json_schema={"type": ["string"], "pattern": written}
    )


def one_of(values: Iterable[Any]) -> Rule:
    """Accept a value that equals one of `values`; True is not 1, as in JSON.

    Raises ConfigError when there are none, or when a single string stands for the list.
    """
    if isinstance(values, str | bytes) or not (choices := tuple(values)):
        raise ConfigError(
            "one_of needs the values to choose from",
            where=declared_here(),
            expected="a list of values, at least one",
            found=type(values).__name__,
            fix='write one_of(["a", "b"])',
        )
    shown = ", ".join(map(repr, choices))
    words = f"one of {shown}" if len(shown) < 200 else f"one of {len(choices)} values"  # noqa: PLR2004
    plain = all(_is_json(choice) for choice in choices)
    return Rule(
        words,
        lambda value: any(same_json(value, choice) for choice in choices),
        json_schema={"enum": list(choices)} if plain else None,
        same=None if plain else repr(choices),
    )


def not_empty() -> Rule:
    """Accept what holds something: text that is not all white space, a list or dict with items.

    None is empty; a number or a bool is not.
    """
    _, visible = _compiled(_NOT_BLANK)

    def holds(value: Any) -> bool:
        if value is None:
            return False
        if isinstance(value, str):
            return visible.isinstance_python(value)
        return bool(len(value)) if hasattr(value, "__len__") else True

    return Rule(
        "something, not an empty value",
        holds,
        json_schema={
            "type": ["string", "array", "object", "number", "boolean"],
            "pattern": _NOT_BLANK,
            "minItems": 1,
            "minProperties": 1,
        },
    )


def custom(function: Callable[[Any], object]) -> Rule:
    """Use any function as a validator: it answers True, or False or an error string.

    An exception counts as an error.  Called directly, the rule passes the function's own string
    on; in a contract's errors the function is only named, since its string may hold the value.

    Raises ConfigError when `function` cannot be called.
    """
    if isinstance(function, Rule):
        return function
    if not callable(function):
        raise ConfigError(
            "a validator is a function of the value",
            where=declared_here(),
            expected="a function that returns True or an error string",
            found=type(function).__name__,
            fix="pass a function, or one of kairos.validators such as range(min=0)",
        )
    name = getattr(function, "__name__", "").rstrip("_")
    if any(function is factory for factory in (range_, length, pattern, one_of, not_empty, custom)):
        raise ConfigError(
            f"{name} makes a validator, and is none itself",
            where=declared_here(),
            fix=f"call it: {name}(...)",
        )
    return _Custom(function)


class _Custom(Rule):
    def __init__(self, function: Callable[[Any], object]) -> None:
        self.function = function
        name = getattr(function, "__name__", type(function).__name__)
        words = "what its validator accepts" if name == "<lambda>" else f"what {name} accepts"
        super().__init__(words, self._passes, same=function)

    def _passes(self, value: object) -> bool:
        verdict = self.function(value)
        return not isinstance(verdict, str) and bool(verdict)

    def __call__(self, value: object) -> bool | str:
        try:
            verdict = self.function(value)
        except Exception as error:  # noqa: BLE001 - a check that fails is a check not passed
            return f"expected {self.expected}, but it raised {type(error).__name__}"
        if isinstance(verdict, str):
            return verdict or f"expected {self.expected}"
        return True if verdict else f"expected {self.expected}, found {type(value).__name__}"


def same_json(one: object, other: object) -> bool:
    """Say whether two values are equal as JSON: 1 is 1.0, and True is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def _is_json(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(inner) for key, inner in value.items())
    return value is None or isinstance(value, bool | int | float | str)


_NOT_BLANK = r"\S"


def _compiled(regex: str) -> tuple[str, SchemaValidator]:
    """Return the pattern as it is searched for, and the engine that searches."""
    forms = [regex] if _is_anchored(regex) or regex == _NOT_BLANK else [
        f"^(?:{regex})$",
        f"^(?:{regex}\n)$",  # a verbose pattern may end in a comment, which takes the bracket
    ]  # fmt: skip
    regex_engine(regex)
    for form in forms:
        try:
            return form, regex_engine(form)
        except ConfigError:
            continue
    return forms[0], regex_engine(forms[0])


@lru_cache(maxsize=1024)
def regex_engine(regex: str) -> SchemaValidator:
    """Return what finds `regex` in a string, in time proportional to the string.

    Raises ConfigError for what the engine does not know.
    """
    try:
        return SchemaValidator(core_schema.str_schema(pattern=regex, strict=True))
    except SchemaError as error:
        why = str(error).strip().splitlines()[-1].strip()
        why = why.removeprefix("error: ").removeprefix("SchemaError: ")
        raise _bad_pattern("a regular expression that runs in linear time", why) from None


def _is_anchored(regex: str) -> bool:
    ended = regex.removesuffix("$") if regex.endswith("$") else regex.removesuffix(r"\z")
    escaped = (len(ended) - len(ended.rstrip("\\"))) % 2 == 1
    return regex.startswith(("^", r"\A")) or (ended != regex and not escaped)


def pattern_fix(found: str) -> str:
    """Say how a pattern is mended, where it is more than a slip in it; "" otherwise."""
    if "look-" in found or "backreference" in found or "unrecognized flag" in found:
        return "leave out look-around and back-references, and check the rest with a custom(fn)"
    return "ask for fewer repetitions" if "size limit" in found else ""


def _bad_pattern(expected: str, found: str) -> ConfigError:
    return ConfigError(
        "this pattern cannot be used",
        where=declared_here(),
        expected=expected,
        found=found,
        fix=pattern_fix(found) or None,
    )


def _bounds(name: str, low: Any, high: Any) -> None:
    given = [bound for bound in (low, high) if bound is not None]
    right = all(
        isinstance(bound, int | float) and not isinstance(bound, bool) and not math.isnan(bound)
        for bound in given
    )
    if not given or not right or (len(given) > 1 and low > high):
        raise ConfigError(
            f"{name} needs bounds that some value can meet",
            where=declared_here(),
            expected="min, max or both, as numbers, min not above max",
            fix=f"write {name}(min=1, max=10)",
        )


def _between(what: str, low: object, high: object) -> str:
    words = [f"at least {low}"] if low is not None else []
    words += [f"at most {high}"] if high is not None else []
    return f"{what} {' and '.join(words)}"


def _given(**bounds: Any) -> dict[str, Any]:
    return {
        name: bound for name, bound in bounds.items() if bound is not None and math.isfinite(bound)
    }
