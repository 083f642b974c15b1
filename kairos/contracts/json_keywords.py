"""The keywords of JSON Schema 2020-12: which there are, and what each must hold.

A keyword that the standard does not know says nothing of a value, so it is left alone, unless it
looks like a slip of the pen: one that would be passed over in silence is refused by name.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, to_json

from kairos.contracts.rules import regex_engine
from kairos.contracts.unreadable import UnreadableContractError
from kairos.exceptions import ConfigError, did_you_mean
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ASSERTIONS",
    "NAMED",
    "SCHEMA",
    "SCHEMAS",
    "check_keyword",
    "check_pattern",
    "check_plain",
    "format_parser",
    "is_free_format",
    "kind_of",
    "mapped",
    "refused",
]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NOTES = frozenset(
    {
        "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
        "$comment", "$schema", "$id", "$anchor", "$dynamicAnchor", "$vocabulary", "$defs",
        "definitions", "contentEncoding", "contentMediaType", "contentSchema", "discriminator",
    }
)  # fmt: skip
SCHEMA = frozenset(
    {
        "items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else",
        "contentSchema", "unevaluatedProperties", "unevaluatedItems",
    }
)  # fmt: skip
"""Keywords that hold one schema."""
SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""Keywords that hold a list of schemas."""
NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""Keywords that hold schemas by name."""
_COUNTS = frozenset(
    {
        "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
        "minContains", "maxContains",
    }
)  # fmt: skip
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
_OTHERS = frozenset(
    {
        "type", "enum", "const", "multipleOf", "pattern", "format", "uniqueItems", "required",
        "dependentRequired", "$ref", "$dynamicRef",
    }
)  # fmt: skip
_KNOWN = SCHEMA | SCHEMAS | NAMED | _COUNTS | _BOUNDS | _OTHERS | _NOTES

ASSERTIONS = _KNOWN - _NOTES
"""Keywords that may refuse a value; every other one, known or not, only tells of it."""

# what older drafts said in other words, so that it would be passed over here
_OLDER = {
    "additionalItems": "say items, and prefixItems for the first ones",
    "dependencies": "say dependentRequired or dependentSchemas",
    "$recursiveRef": "say $dynamicRef, or $ref",
    "$recursiveAnchor": "say $dynamicAnchor",
}
_OURS = "x-kairos-"  # what kairos itself says in the schemas that it makes of contracts
_NEAR = 0.75
_SHORT = 3  # a keyword of so few letters is near to too many words

# pydantic's own names for texts that any string may be
_FREE_FORMATS = frozenset({"binary", "password", "path", "file-path", "directory-path"})
_PARSED_FORMATS = {
    "date-time": "datetime.datetime",
    "date": "datetime.date",
    "time": "datetime.time",
    "duration": "datetime.timedelta",
    "uuid": "uuid.UUID",
    "uuid1": "pydantic.UUID1",
    "uuid3": "pydantic.UUID3",
    "uuid4": "pydantic.UUID4",
    "uuid5": "pydantic.UUID5",
    "uuid6": "pydantic.UUID6",
    "uuid7": "pydantic.UUID7",
    "uuid8": "pydantic.UUID8",
    "ipv4": "ipaddress.IPv4Address",
    "ipv6": "ipaddress.IPv6Address",
    "ipv4network": "ipaddress.IPv4Network",
    "ipv6network": "ipaddress.IPv6Network",
    "ipv4interface": "ipaddress.IPv4Interface",
    "ipv6interface": "ipaddress.IPv6Interface",
    "ipvanyaddress": "pydantic.IPvAnyAddress",
    "ipvanynetwork": "pydantic.IPvAnyNetwork",
    "ipvanyinterface": "pydantic.IPvAnyInterface",
    "uri": "pydantic.AnyUrl",
    "multi-host-uri": "pydantic.MultiHostUrl",
    "base64": "pydantic.Base64Bytes",
    "base64url": "pydantic.Base64UrlBytes",
    "json-string": "pydantic.Json",
    "email": "pydantic.EmailStr",
    "name-email": "pydantic.NameEmail",
}


def check_keyword(keyword: str, here: str) -> None:
    """Raise ConfigError for a keyword that is none but looks as if it should be one."""
    if keyword in _KNOWN:
        return
    fix = _OLDER.get(keyword) or _meant(keyword)
    if keyword.startswith(_OURS):
        fix = f"choose a name that does not begin with {_OURS}"
    if fix:
        raise refused(
            f"the keyword {keyword!r}",
            here,
            "a keyword of JSON Schema 2020-12, or an annotation",
            "one that would be ignored",
            fix,
        )


def _meant(keyword: str) -> str | None:
    if keyword.startswith("x-"):
        return None
    low = keyword.lower()
    bare = low.replace("-", "").replace("_", "")
    for known in ASSERTIONS:
        if bare == known.lower():
            return f"did you mean {known!r}?"
    long = {known.lower(): known for known in ASSERTIONS if len(known) > _SHORT}
    import difflib  # noqa: PLC0415 - only for a keyword that is not known

    near = difflib.get_close_matches(low, long, n=1, cutoff=_NEAR)
    return f"did you mean {long[near[0]]!r}?" if near else None


def check_plain(  # noqa: C901, PLR0912 - one case a keyword
    keyword: str, value: Any, here: str, *, any_format: bool = False
) -> None:
    """Raise ConfigError where a keyword that holds no schema holds the wrong thing."""
    wrong = ""
    if keyword in _COUNTS:
        right = _is_number(value) and value == int(value) and value >= 0
        wrong = "" if right else "a whole number from 0 up"
    elif keyword in _BOUNDS:
        wrong = "" if _is_number(value) else "a number"
    elif keyword == "multipleOf":
        wrong = "" if _is_number(value) and value > 0 else "a number above 0"
    elif keyword == "type":
        kinds = value if isinstance(value, list) else [value]
        right = kinds and all(isinstance(kind, str) and kind in _TYPES for kind in kinds)
        wrong = "" if right else f"one or several of {', '.join(sorted(_TYPES))}"
    elif keyword == "enum":
        wrong = "" if isinstance(value, list) and value else "a list of values, at least one"
    elif keyword == "required":
        wrong = "" if _is_names(value) else "a list of names"
    elif keyword == "dependentRequired":
        right = isinstance(value, dict) and all(map(_is_names, value.values()))
        wrong = "" if right else "an object of lists of names"
    elif keyword == "uniqueItems":
        wrong = "" if isinstance(value, bool) else "true or false"
    elif keyword == "pattern":
        check_pattern(value, here)
    elif keyword == "format":
        _check_format(value, here, any_format=any_format)
    elif keyword == "$schema":
        wrong = "" if str(value).rstrip("#") == _DIALECT else _DIALECT
    elif keyword in {"$id", "$anchor", "$dynamicAnchor", "$ref", "$dynamicRef"}:
        wrong = "" if isinstance(value, str) else "a string"
    if wrong:
        fix = did_you_mean(value, _TYPES) if keyword == "type" and isinstance(value, str) else None
        raise refused(f"the value of {keyword!r}", here, wrong, kind_of(value), fix)


def check_pattern(value: Any, here: str) -> None:
    """Raise ConfigError for a pattern that the engine does not take."""
    if not isinstance(value, str):
        raise refused("a pattern", here, "a string", kind_of(value))
    try:
        regex_engine(value)
    except ConfigError as error:
        found = error.found or "one it does not know"
        raise refused("a pattern", here, str(error.expected), found, error.fix) from None


def _check_format(value: Any, here: str, *, any_format: bool) -> None:
    if any_format and isinstance(value, str):
        return
    try:
        known = isinstance(value, str) and (
            value == "regex" or value in _FREE_FORMATS or _parser(value) is not None
        )
    except ImportError as error:
        raise refused(f"the format {value!r}", here, "its parser", str(error)) from None
    if not known:
        raise refused(
            f"the format {value!r}",
            here,
            "a format that pydantic can parse",
            "one that would be ignored",
            did_you_mean(str(value), _PARSED_FORMATS) or "leave it out, or use a pattern",
        )


def is_free_format(name: str) -> bool:
    """Say whether any text has the format."""
    return name in _FREE_FORMATS


def format_parser(name: str) -> Callable[[str], bool] | None:
    """Return what tells whether a text has the format; None where nothing here can tell."""
    try:
        return _parser(name)
    except ImportError:
        return None


@lru_cache(maxsize=64)
def _parser(name: str) -> Callable[[str], bool] | None:
    if name == "regex":
        return _is_regex
    path = _PARSED_FORMATS.get(name)
    if path is None:
        return None
    from importlib import import_module  # noqa: PLC0415 - only a document with a format

    from pydantic import TypeAdapter  # noqa: PLC0415 - as above

    module, _, kind = path.rpartition(".")
    adapter = TypeAdapter[Any](getattr(import_module(module), kind))

    def parses(text: str) -> bool:
        try:
            adapter.validate_json(to_json(text), strict=True)
        except (ValueError, PydanticSerializationError):
            return False
        return True

    return parses


def _is_regex(text: str) -> bool:
    try:
        regex_engine(text)
    except ConfigError:
        return False
    return True


def mapped(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a copy of `schema` with `change` made to each schema directly inside it."""
    out = dict(schema)
    for keyword, value in schema.items():
        if keyword in SCHEMA:
            out[keyword] = change(value)
        elif keyword in SCHEMAS:
            out[keyword] = [change(part) for part in value]
        elif keyword in NAMED:
            out[keyword] = {name: change(part) for name, part in value.items()}
    return out


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and isfinite(value))


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def kind_of(value: Any) -> str:
    """Return a few words for what stands in a document."""
    if isinstance(value, str | int | float):
        return repr(value)[:60]
    return ("" if value or value is None else "an empty ") + type(value).__name__


def refused(
    what: str, pointer: str, expected: str, found: str, fix: str | None = None
) -> ConfigError:
    """Return the error that says what of a document cannot be read, and where."""
    return UnreadableContractError(
        f"the JSON Schema cannot be read at {pointer}: {what}",
        where=declared_here(),
        expected=expected,
        found=found,
        fix=fix,
    )
