"""Random types of the kinds that hold no others, each with a way to draw values for it.

What a type is like hangs on its seed alone, so that two types made of equal seeds are equal and
two that differ in one seed differ in that one place.
"""

from __future__ import annotations

import enum
import ipaddress
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    UUID4,
    AfterValidator,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    Base64Str,
    BeforeValidator,
    Field,
    HttpUrl,
    NaiveDatetime,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    Strict,
    StringConstraints,
    WrapValidator,
)

__all__ = ["SCALARS", "Kind", "Made", "decorated"]


_LITERAL: Any = Literal


class Made(NamedTuple):
    """A type and a way to draw values that it mostly takes; `key` is fit for the keys of a dict."""

    kind: Any
    draw: Callable[[Random], Any]
    hashable: bool = False
    key: bool = False


Kind = Callable[[Random], Made]


class Word(enum.StrEnum):
    ONE = "a"
    TWO = "b"


class Size(enum.IntEnum):
    NONE = 0
    ONE = 1
    TWO = 2


class Plain(enum.Enum):
    A = "a"
    C = "c"


class Mixed(enum.Enum):
    A = "a"
    ONE = 1


class Flags(enum.IntFlag):
    R = 1
    W = 2


def even(value: Any) -> Any:
    """Stand for a validator that only a run can ask."""
    assert not isinstance(value, int) or value % 2 == 0
    return value


def short(value: Any) -> Any:
    """Stand for another."""
    assert not isinstance(value, str) or len(value) < 4
    return value


def stripped(value: Any) -> Any:
    """Stand for one that changes its value, and takes what its type would not."""
    return value.strip() if isinstance(value, str) else value


def doubled(value: Any) -> Any:
    """Stand for one that does not settle."""
    return value * 2 if isinstance(value, int) else value


def below(most: int, value: Any) -> Any:
    """Stand for one that is made by a partial."""
    assert not isinstance(value, int | float) or value < most
    return value


def as_text(value: Any) -> Any:
    """Stand for one that returns another type."""
    return str(value) if isinstance(value, int) else value


def after_others(value: Any, info: Any) -> Any:
    """Stand for one that looks at the fields before its own."""
    first = next(iter((info.data or {}).values()), None)
    assert not (isinstance(first, int) and isinstance(value, int)) or first <= value
    return value


def around(value: Any, handler: Any) -> Any:
    """Stand for one that wraps."""
    return handler(0 if value == "zero" else value)


def refuses_lists(value: Any) -> Any:
    """Stand for one in place of all validation."""
    assert not isinstance(value, list)
    return value


class Bound:
    """Validators that are methods."""

    def __init__(self, most: int) -> None:
        self.most = most

    def short(self, value: Any) -> Any:
        assert not isinstance(value, str) or len(value) <= self.most
        return value


_PARTIALS = [partial(below, 5), partial(below, 7)]
_LAMBDAS = [lambda v: v, lambda v: None if v == "b" else v]
_BOUND = [Bound(2), Bound(3)]
_VALIDATORS: list[Any] = [
    AfterValidator(even), AfterValidator(short), AfterValidator(stripped), AfterValidator(as_text),
    AfterValidator(doubled), AfterValidator(_PARTIALS[0]), AfterValidator(_PARTIALS[1]),
    AfterValidator(_LAMBDAS[0]), AfterValidator(_LAMBDAS[1]), AfterValidator(_BOUND[0].short),
    AfterValidator(_BOUND[1].short), AfterValidator(after_others), BeforeValidator(stripped),
    BeforeValidator(even), WrapValidator(around), PlainValidator(refuses_lists),
    PlainSerializer(str), PlainSerializer(lambda v: v, return_type=int),
    PlainSerializer(str, when_used="unless-none"), Strict(),
]  # fmt: skip


def decorated(rng: Random, made: Made) -> Made:
    """Return the type with a validator or a serialiser of someone's own."""
    return made._replace(kind=Annotated[made.kind, rng.choice(_VALIDATORS)], hashable=False)


def _some(rng: Random, chance: float = 0.35, **limits: Any) -> dict[str, Any]:
    return {name: rng.choice(of) for name, of in limits.items() if rng.random() < chance}


def _limited(kind: Any, limits: dict[str, Any]) -> Any:
    return Annotated[kind, Field(**limits)] if limits else kind


def _among(*values: Any) -> Callable[[Random], Any]:
    return lambda rng: rng.choice(values)


def _int(rng: Random) -> Made:
    limits = _some(
        rng, 0.25, ge=[0, 1, -2], gt=[0, 2], le=[9, 3, 5], lt=[10, 4], multiple_of=[2, 3],
        strict=[True, False],
    )  # fmt: skip

    def draw(rng: Random) -> Any:
        odd = (True, 2.0, "3", 2**70, -(2**63) - 1, Decimal(4), Size.ONE)
        return rng.randint(-4, 12) if rng.random() < 0.85 else rng.choice(odd)

    return Made(_limited(int, limits), draw, hashable=True, key=True)


def _float(rng: Random) -> Made:
    limits = _some(
        rng, 0.25, ge=[0, 0.5], gt=[0, -1.5], le=[9, 2.5], lt=[10, 1], multiple_of=[0.5],
        strict=[True], allow_inf_nan=[False, True],
    )  # fmt: skip

    def draw(rng: Random) -> Any:
        odd = (1, True, "1.5", float("inf"), float("nan"), 1e300, -0.0, 5e-324, 10**20)
        return rng.randint(-8, 20) / 4 if rng.random() < 0.85 else rng.choice(odd)

    return Made(_limited(float, limits), draw, hashable=True)


_WORDS = (
    "", "a", "b", "c", "ab", "abc", "AB", " a ", "abab", "1", "1.5", "true", "é", "a\n", "x" * 9,
    "2024-01-02", "2024-01-02T03:04:05Z", "null", "[1]", "日本", "\U0001f600", "a@b.co",
)  # fmt: skip
_PATTERNS = ("^a", "b$", "^[ab]+$", "^[a-z]*$", "^.{2}$", "a|b", r"^\d+$", r"^\w+$")


def _str(rng: Random) -> Made:
    limits = _some(rng, 0.25, min_length=[0, 1, 2], max_length=[2, 3, 9], strict=[True])
    limits |= _some(rng, 0.25, pattern=_PATTERNS)
    kind = _limited(str, limits)
    if rng.random() < 0.12:
        more = _some(
            rng, 0.5, strip_whitespace=[True], to_lower=[True], to_upper=[True], max_length=[2, 3]
        )
        kind = Annotated[str, StringConstraints(**more)]

    def draw(rng: Random) -> Any:
        if rng.random() < 0.3:
            return "".join(rng.choices("ab", k=rng.randint(0, 4)))
        return rng.choice(_WORDS) if rng.random() < 0.95 else rng.choice((Word.ONE, 3, b"a"))

    return Made(kind, draw, hashable=True, key=True)


def _literal(rng: Random) -> Made:
    pools: tuple[tuple[Any, ...], ...] = (
        ("a", "b", "c"), (0, 1, 2), (True,), ("a", 1, None), (Word.ONE, "b"), (False, 3),
    )  # fmt: skip
    pool = rng.choice(pools)
    values = tuple(rng.sample(pool, rng.randint(1, len(pool))))
    kind = _LITERAL[values]
    return Made(kind, _among(*values, 1, True, "a"), hashable=True, key=isinstance(values[0], str))


def _enum(rng: Random) -> Made:
    kind: Any = rng.choice([Word, Size, Plain, Mixed, Flags])
    members = (*kind, *(one.value for one in kind))
    strict = _some(rng, 0.15, strict=[True]) if kind is not Flags else {}
    draw = _among(*members, *([Flags(3), 3] if kind is Flags else ["a", 1]))
    return Made(_limited(kind, strict), draw, hashable=True, key=kind in {Word, Plain})


def _decimal(rng: Random) -> Made:
    limits = _some(
        rng, 0.3, ge=[0, Decimal("0.5")], gt=[0, Decimal("-1.5")], le=[9, Decimal("2.5")],
        lt=[Decimal(10), 3], max_digits=[3, 5], decimal_places=[0, 1, 2], strict=[True],
    )  # fmt: skip
    if rng.random() < 0.1:
        limits["multiple_of"] = Decimal("0.5")

    def draw(rng: Random) -> Any:
        odd = (1, "1.5", 0.1, Decimal("1E+2"), Decimal("-0"), Decimal("NaN"), True, Decimal("1E-9"))
        number = Decimal(rng.randint(-200, 1000)).scaleb(-rng.randint(0, 2))
        return number if rng.random() < 0.85 else rng.choice(odd)

    return Made(_limited(Decimal, limits), draw, hashable=True)


_ZONES = (None, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-3)))


def _moment(rng: Random) -> datetime:
    moment = datetime(2024, 1, 1) + timedelta(seconds=rng.randint(-(10**8), 10**8))  # noqa: DTZ001
    return moment.replace(microsecond=rng.choice([0, 0, 500, 120_000]), tzinfo=rng.choice(_ZONES))


def _datetime(rng: Random) -> Made:
    kind = rng.choice([datetime, datetime, datetime, AwareDatetime, NaiveDatetime])
    if kind is datetime:
        known = [datetime(2024, 1, 1), datetime(2023, 6, 1, 12)]  # noqa: DTZ001
        known = [one.replace(tzinfo=rng.choice([None, UTC])) for one in known]
        kind = _limited(datetime, _some(rng, 0.15, ge=known, lt=known, strict=[True]))

    def draw(rng: Random) -> Any:
        if rng.random() < 0.9:
            return _moment(rng)
        return rng.choice((date(2024, 1, 2), 0, 1_700_000_000.5, "2024-01-02T03:04", "2024-01-02"))

    return Made(kind, draw, hashable=True)


def _date(rng: Random) -> Made:
    known = [date(2024, 1, 1), date(2023, 6, 1)]
    kind = _limited(date, _some(rng, 0.2, ge=known, gt=known, le=known, strict=[True]))

    def draw(rng: Random) -> Any:
        return _moment(rng).date() if rng.random() < 0.9 else rng.choice(("2024-01-02", 0, 86_400))

    return Made(kind, draw, hashable=True, key=True)


def _time(rng: Random) -> Made:
    known = [time(9), time(12, 30)]
    kind = _limited(time, _some(rng, 0.2, ge=known, lt=known))

    def draw(rng: Random) -> Any:
        return _moment(rng).timetz() if rng.random() < 0.9 else rng.choice(("09:00", 3600))

    return Made(kind, draw, hashable=True)


def _timedelta(rng: Random) -> Made:
    known = [timedelta(0), timedelta(days=1), timedelta(minutes=90)]
    kind = _limited(timedelta, _some(rng, 0.2, ge=known, gt=known, le=known, lt=known))

    def draw(rng: Random) -> Any:
        if rng.random() < 0.85:
            return timedelta(seconds=rng.randint(-(10**5), 10**6), microseconds=rng.choice([0, 5]))
        return rng.choice((1.5, "P1D", 0, timedelta(days=-1), timedelta(days=999)))

    return Made(kind, draw, hashable=True)


def _uuid(rng: Random) -> Made:
    kind = rng.choice([uuid.UUID, uuid.UUID, UUID4])

    def draw(rng: Random) -> Any:
        made = uuid.UUID(int=rng.getrandbits(128), version=rng.choice([4, 4, 4, 1, 5]))
        return rng.choice((made, made, str(made), made.hex))

    return Made(kind, draw, hashable=True, key=True)


def _address(rng: Random) -> Made:
    kind = rng.choice(
        [ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network,
         ipaddress.IPv4Interface]
    )  # fmt: skip

    def draw(rng: Random) -> Any:
        return rng.choice(("1.2.3.4", "::1", "10.0.0.0/8", "10.1.2.3/8", kind("1.2.3.4")
                           if kind is not ipaddress.IPv6Address else kind("fe80::1")))  # fmt: skip

    return Made(kind, draw, hashable=True)


def _url(rng: Random) -> Made:
    kind = rng.choice([AnyUrl, HttpUrl, AnyUrl])
    return Made(kind, _among("http://a.co", "https://a.co/x?y=1", "ftp://a.co", "http://é.co/"))


def _text_like(rng: Random) -> Made:
    path = _among(Path("a/b"), "x", ".")
    code = _among(b"YQ==", "YQ==", b"YWI=", "!")
    choices = [
        Made(bytes, _among(b"a", b"", b"\xff", "é", bytearray(b"a"))),
        Made(_limited(bytes, _some(rng, 0.5, max_length=[2], min_length=[1])), _among(b"a", "é")),
        Made(Base64Bytes, code),
        Made(Base64Str, code),
        Made(SecretStr, _among("x", "", "**********")),
        Made(Path, path),
    ]
    return rng.choice(choices)


SCALARS: list[Kind] = [
    _int, _int, _int, _float, _float, _str, _str, _str, _literal, _literal, _enum, _decimal,
    _datetime, _date, _time, _timedelta, _uuid, _address, _url, _text_like,
    lambda _: Made(bool, _among(True, False, False, 1, "yes"), hashable=True),
    lambda _: Made(type(None), _among(None), hashable=True),
    lambda _: Made(Any, _among(1, "a", None, [1], {"a": 1}, 2.5, {1})),
    lambda _: Made(object, _among(1, "a", None, [1], {"a": 1}, 2.5)),
]  # fmt: skip
