"""What is wrong with a value, field by field, in words that never hold the value itself.

pydantic reports in its own terms and quotes the input.  Here each of its error types is mapped,
in one table, to the words kairos uses: what was expected, and the type (never the value) that
was found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kairos.enums import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails
    from pydantic_core import ValidationError as PydanticError

__all__ = [
    "EXPECTED",
    "ROOT",
    "RULE",
    "FieldValidationError",
    "ValidationResult",
    "field_errors",
    "one_error",
    "path_of",
]

ROOT = "<root>"
"""The path of the value itself."""

RULE = "kairos_rule"
"""The error type of kairos's own validators: its context says what was `expected`."""


@dataclass(frozen=True)
class FieldValidationError:
    """One thing wrong with a value.

    `field` is a path such as `items[1].name`; `actual` is the name of the type that was found
    there, or of the rule that it breaks: never the value, which may be secret.
    """

    field: str
    expected: str
    actual: str
    message: str
    severity: Severity = Severity.ERROR


@dataclass(frozen=True)
class ValidationResult:
    """The verdict on a value: `valid`, and every error that was found."""

    valid: bool
    errors: list[FieldValidationError] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.valid


def one_error(path: str, expected: str, actual: str) -> FieldValidationError:
    """Return an error whose message says the same three things as a sentence."""
    return FieldValidationError(
        path, expected, actual, f"{path}: expected {expected}, found {actual}"
    )


def field_errors(error: PydanticError, value: object) -> tuple[FieldValidationError, ...]:
    """Return pydantic's findings on `value` in kairos's words, in its order.

    The members of a union report one by one; those that speak of the same place become one
    error: `expected int or str`.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for detail in error.errors(include_url=False):
        path = path_of(_inside(value, detail))
        actual = _ACTUAL.get(detail["type"]) or type(detail["input"]).__name__
        expected = _expected(detail["type"], detail.get("ctx") or {})
        found.setdefault((path, actual), {}).setdefault(expected, detail["loc"])
    errors: list[FieldValidationError] = []
    for (path, actual), wanted in found.items():
        # several rules of one field report under one location, and each must hold
        either = len(set(wanted.values())) == len(wanted)
        words = [" or ".join(wanted)] if either else list(wanted)
        errors += [one_error(path, expected, actual) for expected in words]
    return tuple(errors)


def path_of(loc: tuple[int | str, ...]) -> str:
    """Render a location as `items[1].name`, or `<root>`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]{1,64}", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part[:40]!a}]"
    return text or ROOT


def _inside(value: object, detail: ErrorDetails) -> tuple[int | str, ...]:
    """Return the error's location without the names of union members that pydantic puts in it.

    They look like field names, so the value itself is asked which parts lead somewhere.
    """
    return tuple(_steps(value, detail["loc"], names_absent=detail["type"] in _ABSENT))


def _steps(value: object, loc: tuple[int | str, ...], *, names_absent: bool) -> Iterator[int | str]:
    for index, part in enumerate(loc):
        held = _held(value)
        if isinstance(held, dict):
            if part in held:
                value = held[part]
            elif not (names_absent and index == len(loc) - 1):
                continue
            yield part
        elif isinstance(part, int):
            if isinstance(held, list | tuple) and part < len(held):
                value = held[part]
            yield part


def _held(value: object) -> object:
    """Return the dict or list that `value` is, or that its fields are."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        fields: object = value._asdict()  # pyright: ignore[reportAttributeAccessIssue]
        return fields
    return value if isinstance(value, dict | list | tuple) else getattr(value, "__dict__", None)


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    template = EXPECTED.get(kind)
    if template is None:
        return "what its validator accepts"
    try:
        # a bound may be a date or a Decimal: its own text is short, and from the declaration
        return template.format_map({key: str(inner)[:200] for key, inner in context.items()})
    except KeyError:  # somebody's own error under a known name
        return "what its validator accepts"


_ABSENT = frozenset(
    {
        "missing",
        "missing_argument",
        "missing_keyword_only_argument",
        "missing_positional_only_argument",
    }
)

_ACTUAL = {
    **dict.fromkeys(_ABSENT, "missing"),
    "extra_forbidden": "unexpected key",
    "unexpected_keyword_argument": "unexpected key",
    "unexpected_positional_argument": "unexpected item",
    "finite_number": "NaN or Infinity",
    "recursion_loop": "cycle",
    "recursion_depth_exceeded": "too deep",
}

EXPECTED: dict[str, str] = {
    RULE: "{expected}",
    "json_value": "a JSON value",
    "arguments_type": "a list or a dict of arguments",
    "assertion_error": "what its validator accepts",
    "bool_parsing": "bool",
    "bool_type": "bool",
    "bytes_invalid_encoding": "bytes as {encoding}",
    "bytes_too_long": "at most {max_length} bytes",
    "bytes_too_short": "at least {min_length} bytes",
    "bytes_type": "bytes",
    "callable_type": "a callable",
    "complex_str_parsing": "complex",
    "complex_type": "complex",
    "counter_type": "Counter",
    "dataclass_exact_type": "{class_name}",
    "dataclass_type": "{class_name}",
    "date_from_datetime_inexact": "date",
    "date_from_datetime_parsing": "date",
    "date_future": "a date in the future",
    "date_parsing": "date",
    "date_past": "a date in the past",
    "date_type": "date",
    "datetime_from_date_parsing": "datetime",
    "datetime_future": "a time in the future",
    "datetime_object_invalid": "datetime",
    "datetime_parsing": "datetime",
    "datetime_past": "a time in the past",
    "datetime_type": "datetime",
    "decimal_max_digits": "at most {max_digits} digits",
    "decimal_max_places": "at most {decimal_places} decimal places",
    "decimal_parsing": "Decimal",
    "decimal_type": "Decimal",
    "decimal_whole_digits": "at most {whole_digits} digits before the point",
    "default_factory_not_called": "a default, which needs the other fields to be right",
    "deque_type": "deque",
    "dict_type": "dict",
    "ellipsis_error": "...",
    "enum": "{expected}",
    "extra_forbidden": "no further keys",
    "finite_number": "a finite number",
    "float_parsing": "float",
    "float_type": "float",
    "fraction_parsing": "Fraction",
    "fraction_type": "Fraction",
    "frozen_dict_type": "frozendict",
    "frozen_field": "no change to a frozen field",
    "frozen_instance": "no change to a frozen instance",
    "frozen_set_type": "frozenset",
    "get_attribute_error": "an attribute that can be read",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "int",
    "int_parsing": "int",
    "int_parsing_size": "int of at most 4300 digits",
    "int_type": "int",
    "invalid_key": "str keys",
    "is_instance_of": "{class}",
    "is_subclass_of": "a subclass of {class}",
    "iterable_type": "an iterable",
    "iteration_error": "an iterable that can be read",
    "json_invalid": "JSON",
    "json_type": "JSON",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "list",
    "literal_error": "{expected}",
    "mapping_type": "a mapping",
    "missing": "a value",
    "missing_argument": "a value",
    "missing_keyword_only_argument": "a value",
    "missing_positional_only_argument": "a value",
    "missing_sentinel_error": "nothing",
    "model_attributes_type": "dict",
    "model_type": "{class_name}",
    "multiple_argument_values": "one value",
    "multiple_of": "a multiple of {multiple_of}",
    "named_tuple_type": "{class_name}",
    "needs_python_object": "a type that JSON can carry",
    "no_such_attribute": "an attribute {attribute}",
    "none_required": "None",
    "ordered_dict_type": "OrderedDict",
    "recursion_depth_exceeded": "less depth",
    "recursion_loop": "a tree, without cycles",
    "set_item_not_hashable": "hashable items",
    "set_type": "set",
    "string_not_ascii": "ASCII characters",
    "string_pattern_mismatch": "a match of {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "string_type": "str",
    "string_unicode": "str that UTF-8 can write",
    "time_delta_parsing": "timedelta",
    "time_delta_type": "timedelta",
    "time_parsing": "time",
    "time_type": "time",
    "timezone_aware": "a time with a zone",
    "timezone_naive": "a time without a zone",
    "timezone_offset": "a zone offset of {tz_expected} seconds",
    "too_long": "at most {max_length} items",
    "too_short": "at least {min_length} items",
    "tuple_type": "tuple",
    "unexpected_keyword_argument": "no further keys",
    "unexpected_positional_argument": "no further items",
    "union_tag_invalid": "one of {expected_tags} in {discriminator}",
    "union_tag_not_found": "a value in {discriminator}",
    "url_parsing": "URL",
    "url_scheme": "URL with scheme {expected_schemes}",
    "url_syntax_violation": "URL",
    "url_too_long": "URL of at most {max_length} characters",
    "url_type": "URL",
    "uuid_parsing": "UUID",
    "uuid_type": "UUID",
    "uuid_version": "UUID of version {expected_version}",
    "value_error": "what its validator accepts",
}
