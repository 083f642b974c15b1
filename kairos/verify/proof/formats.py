"""The formats of strings: which texts have one, which lies inside another, and samples of each.

Besides the formats that JSON Schema documents name there are kairos's own, for what pydantic's
types demand of a text: `kairos-decimal`, and a format with bounds, such as `date ge=2024-01-01`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic_core import SchemaValidator, to_json
from pydantic_core import ValidationError as PydanticError

from kairos.contracts.json_keywords import format_parser

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DECIMAL", "bounded", "has_format", "is_empty", "near", "samples", "within"]

DECIMAL = "kairos-decimal"
"""A format of kairos's own: the texts that are a Decimal."""

_TYPES = {
    "date-time": "datetime", "date": "date", "time": "time", "duration": "timedelta",
    DECIMAL: "decimal",
}  # fmt: skip
_LOWER, _UPPER = ("ge", "gt"), ("le", "lt")
_BOUNDS = (*_LOWER, *_UPPER)
_COUNTS = ("max_digits", "decimal_places")

# every text of the first format is one of the second
_WITHIN = frozenset(
    {(f"uuid{n}", "uuid") for n in (1, 3, 4, 5, 6, 7, 8)}
    | {("ipv4", "ipvanyaddress"), ("ipv6", "ipvanyaddress")}
)
_SAMPLES: dict[str, tuple[str, ...]] = {
    "date-time": (
        "2024-01-02T03:04:05Z", "2024-01-02T03:04:05.678+01:00", "2024-01-02T03:04:05",
        "1969-12-31T00:00:00", "2124-01-01T00:00:00+00:00",
    ),
    "date": ("2024-01-02", "1969-12-31", "2124-01-01"),
    "time": ("03:04:05", "03:04:05Z", "23:59:59.999999"),
    "duration": ("P1D", "PT1H30M", "-PT1S", "PT0S", "P9Y"),
    "uuid": ("3fa85f64-5717-4562-b3fc-2c963f66afa6", "7d444840-9dc0-11d1-b245-5ffdce74fad2"),
    "uuid1": ("7d444840-9dc0-11d1-b245-5ffdce74fad2",),
    "uuid4": ("3fa85f64-5717-4562-b3fc-2c963f66afa6",),
    "ipv4": ("1.2.3.4",),
    "ipv6": ("::1",),
    "ipvanyaddress": ("1.2.3.4", "::1"),
    "ipv4network": ("10.0.0.0/8",),
    "ipv6network": ("::/64",),
    "ipv4interface": ("10.1.2.3/8",),
    "ipv6interface": ("::1/64",),
    "uri": ("http://a.co/", "ftp://a.co/x", "https://a.co/"),
    "email": ("a@b.co",),
    "base64": ("YQ==", ""),
    "base64url": ("YQ==", ""),
    "json-string": ("1", "{}", "null", '"a"', "[]", "true", "-1.5", "0", '"2024-01-02"'),
    "regex": ("a+",),
    DECIMAL: ("1.5", "1E+2", "0", "-1", "1000000.125", "-1E+2", "1E-7"),
}  # fmt: skip


def bounded(name: str, demands: Mapping[str, Any]) -> str | None:
    """Return the format of those texts of `name` that satisfy a core schema's demands.

    None where they demand what no format can say.
    """
    told = []
    for key, value in sorted(demands.items()):
        if key == "multiple_of" and name == DECIMAL:
            text = str(_decimal(value))
        elif key in _BOUNDS:
            text = _written(name, value)
        elif key in _COUNTS or (key == "tz_constraint" and isinstance(value, str | int)):
            text = str(value)
        else:
            return None
        told.append(f"{key}={text}")
    made = " ".join((name, *told))
    try:
        _parser(made)
    except (ValueError, TypeError, InvalidOperation):
        return None
    return made


def has_format(name: str, text: str) -> bool | None:
    """Say whether a text has a format; None for one that is not known."""
    if name == DECIMAL:
        return _is_decimal(text)
    if _read(name)[1]:
        if name.startswith(DECIMAL) and not _is_decimal(text):
            return False
        try:
            _parser(name).validate_json(to_json(text), strict=True)
        except PydanticError:
            return False
        return True
    parse = format_parser(name)
    return None if parse is None else parse(text)


@lru_cache(maxsize=4096)
def within(one: str, other: str) -> bool:
    """Say whether every text of one format is known to have the other."""
    if one == other or (one, other) in _WITHIN:
        return True
    kind, has = _read(one)
    other_kind, wants = _read(other)
    if kind != other_kind:
        return False
    return all(_follows(key, value, kind, has) for key, value in wants.items()) and _fits(
        has, wants
    )


@lru_cache(maxsize=1024)
def is_empty(name: str) -> bool:
    """Say whether the bounds of a format leave no text."""
    kind, has = _read(name)
    for low in _LOWER:
        for high in _UPPER:
            if low in has and high in has:
                one, other = has[low], has[high]
                if kind in {"date-time", "time"} and one.utcoffset() != other.utcoffset():
                    continue
                if one > other or (one == other and (low, high) != ("ge", "le")):
                    return True
    return False


@lru_cache(maxsize=1024)
def samples(name: str) -> tuple[str, ...]:
    """Return some texts of a format, those at its bounds among them."""
    return tuple(text for text in near(name) if has_format(name, text))


@lru_cache(maxsize=1024)
def near(name: str) -> tuple[str, ...]:
    """Return texts at the bounds of a format, on either side of them, and others of its type."""
    kind, demands = _read(name)
    found = [*_SAMPLES.get(kind, ())]
    for key in _BOUNDS:
        if key in demands:
            found += _near(kind, demands[key])
    return tuple(dict.fromkeys(found))


def _is_decimal(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and text == text.strip() and "_" not in text
    except InvalidOperation:
        return False


def _decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _written(name: str, value: Any) -> str:
    """Return a bound as the text that `_bound` reads."""
    if name == DECIMAL:
        return str(_decimal(value))
    if isinstance(value, timedelta):
        return f"{value.days},{value.seconds},{value.microseconds}"
    return str(value.isoformat())


def _bound(kind: str, text: str) -> Any:
    if kind == DECIMAL:
        return Decimal(text)
    if kind == "duration":
        days, seconds, micros = map(int, text.split(","))
        return timedelta(days, seconds, micros)
    parse: Any = {"date-time": datetime, "date": date, "time": time}[kind]
    return parse.fromisoformat(text)


@lru_cache(maxsize=4096)
def _read(name: str) -> tuple[str, dict[str, Any]]:
    kind, *told = name.split(" ")
    if kind not in _TYPES:
        return name, {}
    found: dict[str, Any] = {}
    for one in told:
        key, _, text = one.partition("=")
        if key in _BOUNDS:
            found[key] = _bound(kind, text)
        elif key == "multiple_of":
            found[key] = Decimal(text)
        else:
            found[key] = int(text) if re.fullmatch(r"-?\d+", text) else text
    return kind, found


@lru_cache(maxsize=4096)
def _parser(name: str) -> SchemaValidator:
    kind, demands = _read(name)
    schema: Any = {"type": _TYPES[kind], **demands}
    return SchemaValidator(schema)


def _follows(key: str, wanted: Any, kind: str, has: Mapping[str, Any]) -> bool:
    """Say whether a demand follows from others."""
    if key in _LOWER or key in _UPPER:
        side = _LOWER if key in _LOWER else _UPPER
        return any(_bounds(one, has[one], key, wanted, kind) for one in side if one in has)
    if key == "multiple_of":
        return "multiple_of" in has and has[key] % wanted == 0
    if key in _COUNTS:
        return key in has and bool(has[key] <= wanted)
    if key == "tz_constraint":
        given = has.get(key)
        return bool(given == wanted) or (wanted == "aware" and isinstance(given, int))
    return False


def _bounds(one: str, bound: Any, other: str, wanted: Any, kind: str) -> bool:
    """Say whether a bound is at least as tight as another on the same side."""
    if kind in {"date-time", "time"} and bound.utcoffset() != wanted.utcoffset():
        return False  # a value without a zone is compared with each in its own way
    if bound == wanted:
        return one == other or one in {"gt", "lt"}
    return bool(bound > wanted if one in _LOWER else bound < wanted)


def _fits(has: Mapping[str, Any], wants: Mapping[str, Any]) -> bool:
    """Say whether the digits before the point fit: pydantic counts them where both are limited."""
    if not all(key in wants for key in _COUNTS):
        return True
    room = wants["max_digits"] - wants["decimal_places"]
    least = has["max_digits"] - (has["decimal_places"] if all(k in has for k in _COUNTS) else 0)
    return bool(least <= room)


def _near(kind: str, bound: Any) -> list[str]:
    if kind == DECIMAL:
        steps = (0, 1, -1, Decimal("0.1"), Decimal("-0.1"), Decimal("0.001"), Decimal("-0.001"))
        return [str(bound + step) for step in steps]
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - for samples alone

    if kind == "time":
        moved = [bound, bound.replace(tzinfo=UTC), time(0), time(23, 59, 59)]
    else:
        small = timedelta(days=1) if kind == "date" else timedelta(microseconds=1)
        moved = [bound, *_moved(bound, small), *_moved(bound, timedelta(days=400))]
    if kind == "date-time":
        moved += [one.replace(tzinfo=zone) for one in moved for zone in (None, UTC)]
    return [str(to_jsonable_python(one)) for one in moved]


def _moved(bound: Any, by: timedelta) -> list[Any]:
    found = []
    for step in (by, -by):
        try:
            found.append(bound + step)
        except OverflowError:
            continue
    return found
