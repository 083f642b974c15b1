"""What may be stored without a contract, and what each thing that may not is told."""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from kairos.contracts.encoding import MAX_DEPTH, MAX_DIGITS, decode, encode
from kairos.exceptions import StateError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
) | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20
)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: int


class Text(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7

    def __str__(self) -> str:
        return "something else"


class Number(int):
    def __repr__(self) -> str:
        return "something else"


class Doc(BaseModel):
    title: str
    when: dt.date = dt.date(2026, 1, 2)
    full_name: str = Field(default="x", alias="fullName")


@dataclass
class Row:
    id: int
    tags: set[str]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@given(JSON)
def test_every_json_value_comes_back_as_it_was(value: Any) -> None:
    back = decode(encode(value, key="k"))
    assert back == value
    assert repr(back) == repr(value)  # tells 1 from 1.0 and from True


@pytest.mark.parametrize(
    "value,raw",
    [
        ((1, (2,)), b"[1,[2]]"),
        (Point(1, 2), b"[1,2]"),
        (OrderedDict(a=1), b'{"a":1}'),
        (Counter("aab"), b'{"a":2,"b":1}'),
        ({Colour.RED: Colour.RED, "n": Level.LOW}, b'{"red":"red","n":1}'),
        ([Text("real"), Number(5)], b'["real",5]'),
        (Doc(title="a"), b'{"title":"a","when":"2026-01-02","fullName":"x"}'),
        ([{"doc": Doc(title="a", fullName="b").full_name}], b'[{"doc":"b"}]'),
        (Row(1, {"a"}), b'{"id":1,"tags":["a"]}'),
        (-0.0, b"-0.0"),
        (10 ** (MAX_DIGITS - 1), b"1" + b"0" * (MAX_DIGITS - 1)),
    ],
)  # fmt: skip
def test_what_stands_for_a_json_value_is_written_as_one(value: Any, raw: bytes) -> None:
    assert encode(value, key="k") == raw


async def coroutine() -> None:
    """Never awaited."""


class Lying:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class LyingSet(set[int]):  # noqa: PLW1641 - sets have no hash
    def __eq__(self, other: object) -> bool:
        return True


class Raising(list[int]):  # noqa: PLW1641 - lists have no hash
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")


BROKEN: dict[str, Any] = {"title": 5}
NOT_JSON = {
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "bytes": b"x",
    "bytearray": bytearray(b"x"),
    "datetime.datetime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "datetime.date": dt.date(2026, 1, 1),
    "decimal.Decimal": Decimal("1.5"),
    "uuid.UUID": uuid4(),
    "pathlib": Path("x"),
    "complex": 1j,
    "range": range(3),
    "generator": (x for x in "ab"),
    "deque": deque([1]),
    "function": nested,
    "type": int,
    "object": object(),
    "ellipsis": ...,
    "Lying": Lying(),
    "LyingSet": LyingSet({1}),
    "a key of type int": {1: "a"},
    "a key of type NoneType": {None: 1},
    "two keys that read the same": {Text("a"): 1, "a": 2},
    "nan": math.nan,
    "inf": -math.inf,
    "lone surrogate": "\ud800",
    f"more than {MAX_DIGITS} digits": 10**MAX_DIGITS,
    "does not satisfy its own declaration": Doc.model_construct(**BROKEN),
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_json_cannot_say_is_refused_with_its_place_and_type(name: str) -> None:
    with pytest.raises(StateError) as caught:
        encode({"rows": [0, {"when": NOT_JSON[name]}]}, key="fetch")
    assert caught.value.key == "fetch"
    assert "'fetch' is not JSON: .rows[1].when " in caught.value.message
    assert name in caught.value.message
    assert caught.value.fix


def test_an_object_whose_comparison_fails_is_still_a_list() -> None:
    assert encode([Raising([1])], key="k") == b"[[1]]"


def test_a_coroutine_is_told_to_be_awaited() -> None:
    pending = coroutine()
    with pytest.raises(StateError, match="it is coroutine") as caught:
        encode(pending, key="k")
    pending.close()
    assert "await" in str(caught.value.fix)


@given(JSON, st.sampled_from(["a", "key with space", "é"]), st.integers(0, 3))
def test_one_bad_part_is_found_wherever_it_hides(value: Any, name: str, depth: int) -> None:
    bad: Any = {name: [value, {1}]}
    path = f".{name}[1]" if name.isidentifier() else f"[{name!a}][1]"
    for _ in range(depth):
        bad, path = [bad], f"[0]{path}"
    with pytest.raises(StateError) as caught:
        encode(bad, key="k")
    assert f" {path} is set" in caught.value.message


def test_a_bad_key_is_not_repeated_since_it_may_be_a_secret() -> None:
    with pytest.raises(StateError) as caught:
        encode({"users": {b"hunter2": 1}}, key="k")
    assert "hunter2" not in str(caught.value)
    assert ".users is a dict with a key of type bytes" in caught.value.message


def test_what_contains_itself_is_named_where_the_circle_begins() -> None:
    loop: dict[str, Any] = {"a": [1]}
    loop["a"].append(loop)
    with pytest.raises(StateError, match=r"\.a\[1\] contains itself"):
        encode(loop, key="k")
    with pytest.raises(StateError, match=r"is not JSON: \[0\]\.a\[1\] contains itself"):
        encode([loop], key="k")


def test_depth_has_a_limit_and_up_to_it_all_is_well() -> None:
    assert decode(encode(nested(MAX_DEPTH), key="k")) == nested(MAX_DEPTH)
    with pytest.raises(StateError, match=f"nests deeper than {MAX_DEPTH} levels"):
        encode(nested(MAX_DEPTH + 1), key="k")
    with pytest.raises(StateError, match="deeper"):
        encode(nested(100_000), key="k")


@pytest.mark.parametrize("raw", [b"", b"{", b"NaN", b"[Infinity]", b"\xff", b'"\\ud800"', b"1 2"])
def test_bytes_that_are_no_json_are_refused_without_being_quoted(raw: bytes) -> None:
    with pytest.raises(StateError, match="stored bytes are not JSON"):
        decode(raw)


def test_each_reader_gets_a_value_of_its_own() -> None:
    raw = encode({"a": [1]}, key="k")
    first, second = decode(raw), decode(raw)
    first["a"].append(2)
    assert second == {"a": [1]}
