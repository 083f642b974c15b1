"""Pydantic contracts inside one another, each answer borne out by values that are passed on."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    HttpUrl,
    Json,
    PastDate,
    RootModel,
    StrictInt,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationInfo,
    WrapValidator,
)
from typing_extensions import TypedDict

import fuzz_models
from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.schema import Schema
from kairos.verify import compare

T = TypeVar("T")


class Color(enum.StrEnum):
    RED = "r"
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 0
    HIGH = 1


class Money(BaseModel):
    amount: Annotated[Decimal, Field(ge=0, le=100, decimal_places=2)]


class Price(BaseModel):
    amount: Annotated[Decimal, Field(ge=-1, lt=Decimal("100.5"))]


class Cheap(BaseModel):
    amount: Annotated[Decimal, Field(le=50)]


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Shut(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int


class TypedExtras(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]
    a: int


class Renamed(BaseModel):
    a: int = Field(serialization_alias="b")


class ReadsB(BaseModel):
    b: int


class Choosy(BaseModel):
    b: int = Field(validation_alias=AliasChoices("c", "b"))  # type: ignore[pydantic-alias]


class BadDefault(BaseModel):
    a: int = None  # type: ignore[assignment]


class CheckedDefault(BaseModel):
    a: int = Field(default="x", validate_default=True)


class Parent(BaseModel):
    a: int


class Child(Parent):
    b: str = "b"


class Holds(BaseModel):
    one: Parent


class HoldsShut(BaseModel):
    one: Shut


class Box(BaseModel, Generic[T]):
    item: T


class Node(BaseModel):
    v: int
    next: Node | None = None


class FloatNode(BaseModel):
    v: float
    next: FloatNode | None = None


class SmallNode(BaseModel):
    v: Annotated[int, Field(le=5)]
    next: SmallNode | None = None


class Partial(TypedDict):
    a: int
    b: NotRequired[str]


class Whole(TypedDict):
    a: int
    b: str


class Pair(NamedTuple):
    a: int
    b: str


@dataclasses.dataclass(slots=True)
class Slotted:
    a: int
    made: int = dataclasses.field(default=3, init=False)


class Lax(BaseModel):
    a: int
    path: Path = Path()


class Square(BaseModel):
    kind: Literal["square"]
    side: float


class Disc(BaseModel):
    kind: Literal["disc"]
    radius: float


def kind_of(value: Any) -> Any:
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)


Shape = Annotated[Square | Disc, Field(discriminator="kind")]
Told = Annotated[Annotated[Square, Tag("square")] | Annotated[Disc, Tag("disc")],
                 Discriminator(kind_of)]  # fmt: skip
Numbers = RootModel[set[int]]
Zip = Annotated[str, Field(pattern=r"^[0-9]{5}$")]
Short = Annotated[str, Field(max_length=3)]


def even(value: int) -> int:
    assert value % 2 == 0
    return value


NOW = datetime(2024, 5, 6, 7, 8, 9, 120_000, tzinfo=UTC)
NEW_YEAR, MIDSUMMER = date(2024, 1, 1), date(2024, 6, 21)
KEY = uuid.UUID("3fa85f64-5717-4562-b3fc-2c963f66afa6")

TABLE: list[tuple[Any, Any, str, list[Any]]] = [
    # numbers
    (int, Annotated[int, Field(ge=-(2**63))], "refuted", [0, -(2**70)]),
    (Annotated[int, Field(ge=3, multiple_of=6)], Annotated[int, Field(gt=2, multiple_of=3)],
     "proved", [6, 12, 6 * 2**64]),
    (Annotated[int, Field(gt=2)], Annotated[int, Field(ge=3)], "proved", [3, 2**65]),
    (Annotated[float, Field(gt=2)], Annotated[float, Field(ge=3)], "refuted", [2.5, 7]),
    (float, int, "refuted", [1.0, 1.5]),
    (int, float, "proved", [1, -(2**53)]),
    (float, StrictInt, "refuted", [0.5]),
    (bool, StrictInt, "refuted", [True]),
    (bool, int, "coerced", [True, False]),
    (Level, bool, "coerced", [Level.LOW, 1]),
    (Level, Annotated[int, Field(ge=0, le=1)], "proved", [Level.HIGH, 0]),
    (Literal[1, 2], Annotated[int, Field(le=2)], "proved", [1, 2]),
    (Decimal, float, "coerced", [Decimal("1.5"), Decimal("1E+2")]),
    (float, Decimal, "proved", [1.5, 3]),
    (Money, Price, "proved", [{"amount": "0.25"}, {"amount": 100}]),
    (Money, Cheap, "refuted", [{"amount": 3}, {"amount": "99.99"}]),
    # texts
    (str, int, "refuted", ["3", "x"]),
    (Annotated[str, Field(pattern="^[0-9]$")], int, "coerced", ["3", "0"]),
    (int, str, "refuted", [3]),
    (Zip, Annotated[str, Field(min_length=5, max_length=5)], "proved", ["12345"]),
    (Zip, Short, "refuted", ["12345"]),
    (Short, Annotated[str, StringConstraints(strip_whitespace=True)], "unknown", ["a", " a "]),
    (bytes, str, "proved", [b"abc", "é".encode()]),
    (Color, Literal["r", "g", "b"], "proved", [Color.RED, "g"]),
    (Literal["r", "x"], Color, "refuted", ["r", "x"]),
    (Path, str, "proved", [Path("a/b")]),
    (Path, Path, "proved", [Path("a/b")]),
    (Base64Bytes, Base64Bytes, "proved", [b"YQ=="]),
    # moments, keys, addresses
    (datetime, str, "proved", [NOW]),
    (datetime, Annotated[str, Field(max_length=32)], "proved", [NOW, NOW.replace(tzinfo=None)]),
    (datetime, Annotated[str, Field(max_length=20)], "refuted", [NOW]),
    (date, Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")], "proved", [NEW_YEAR]),
    (date, datetime, "coerced", [NEW_YEAR]),
    (datetime, AwareDatetime, "refuted", [NOW, NOW.replace(tzinfo=None)]),
    (AwareDatetime, datetime, "proved", [NOW]),
    (Annotated[date, Field(ge=MIDSUMMER)], Annotated[date, Field(gt=NEW_YEAR)], "proved",
     [MIDSUMMER]),
    (Annotated[date, Field(gt=NEW_YEAR)], Annotated[date, Field(ge=MIDSUMMER)], "refuted",
     [MIDSUMMER, date(2024, 1, 2)]),
    (Annotated[timedelta, Field(lt=timedelta(days=1))],
     Annotated[timedelta, Field(le=timedelta(days=2))], "proved", [timedelta(hours=3)]),
    (Annotated[time, Field(ge=time(9))], time, "proved", [time(9, 30)]),
    (PastDate, PastDate, "unknown", [NEW_YEAR]),
    (uuid.UUID, Annotated[str, Field(min_length=36, max_length=36)], "proved", [KEY]),
    (HttpUrl, AnyUrl, "proved", ["http://a.co"]),
    (AnyUrl, HttpUrl, "refuted", ["http://a.co", "ftp://a.co"]),
    # lists, sets, tuples, dicts
    (list[int], set[int], "coerced", [[1, 1], []]),
    (set[int], list[int], "proved", [{1, 2}]),
    (frozenset[Decimal], set[Decimal], "proved", [{Decimal(1), Decimal("2.0")}]),
    (tuple[int, ...], list[float], "proved", [(1, 2), ()]),
    (list[int], tuple[int, int], "refuted", [[1, 2], [1]]),
    (Pair, tuple[int, str], "proved", [(1, "a")]),
    (tuple[int, str], Pair, "proved", [(1, "a")]),
    (dict[int, str], dict[str, str], "proved", [{1: "a"}]),
    (dict[str, str], dict[int, str], "refuted", [{"1": "a"}, {"x": "a"}]),
    (dict[uuid.UUID, int], dict[Annotated[str, Field(max_length=36)], int], "proved", [{KEY: 1}]),
    (dict[Color, int], dict[Literal["r", "g"], float], "proved", [{Color.RED: 1}]),
    (Numbers, list[int], "proved", [[1, 2]]),
    # models and the like
    (Node, FloatNode, "proved", [{"v": 1, "next": {"v": 2}}]),
    (Node, SmallNode, "refuted", [{"v": 1, "next": {"v": 9}}]),
    (Box[int], Box[float], "proved", [{"item": 1}]),
    (Box[str], Box[Color], "refuted", [{"item": "x"}]),
    (Partial, Whole, "refuted", [{"a": 1, "b": "b"}, {"a": 1}]),
    (Whole, Partial, "proved", [{"a": 1, "b": "b"}]),
    (Slotted, Partial, "proved", [{"a": 1}]),
    (Shape, Told, "unknown", [{"kind": "disc", "radius": 1.0}]),
    (Told, Shape, "proved", [{"kind": "disc", "radius": 1.0}]),
    (Json[int], str, "proved", [{"j": "1"}, "1"]),
    (Json[int], Json[int], "proved", ["1"]),
    # names, extra keys, defaults, heirs
    (Renamed, ReadsB, "proved", [{"a": 1}, Renamed(a=1)]),
    (Renamed, Choosy, "proved", [{"a": 1}]),
    (Loose, Shut, "refuted", [{"a": 1}, {"a": 1, "more": 1}]),
    (Parent, Shut, "proved", [{"a": 1}, Child(a=1)]),
    (TypedExtras, dict[str, int], "proved", [{"a": 1, "b": 2}]),
    (TypedExtras, dict[str, str], "refuted", [{"a": 1}]),
    (Holds, HoldsShut, "proved", [Holds(one=Child(a=1)), {"one": {"a": 1}}]),
    (BadDefault, Parent, "proved", [{"a": 1}]),
    (CheckedDefault, Parent, "proved", [{"a": 1}]),
    (dict[str, int], CheckedDefault, "refuted", [{"a": 1}, {}]),
    (Parent, BadDefault, "proved", [{"a": 1}]),
]  # fmt: skip


def _passed(producer: Contract, consumer: Contract, value: Any) -> bool | None:
    """Say whether what becomes of a value is accepted; None where the producer refuses it."""
    try:
        raw = producer.check_output(value)
    except ContractBroken:
        return None
    try:
        consumer.check_json(raw)
    except ContractBroken:
        return False
    return True


@pytest.mark.parametrize("producer,consumer,answer,values", TABLE)
def test_each_answer_is_borne_out_by_the_values_that_pass(
    producer: Any, consumer: Any, answer: str, values: list[Any]
) -> None:
    verdict = compare(producer, consumer)
    assert verdict.answer == answer, verdict
    gives, takes = compile_contract(producer), compile_contract(consumer)
    passed = {_passed(gives, takes, value) for value in values} - {None}
    assert passed, "none of the values is emitted"
    if answer in {"proved", "coerced"}:
        assert passed == {True}
    raw = json.dumps(verdict.witness).encode()
    if answer in {"refuted", "coerced"}:
        assert fuzz_models.is_emitted(gives, verdict.witness)
        assert _accepts(takes, raw) == (answer == "coerced")
    if answer == "coerced":
        assert not _reads_as_it_is(takes, raw)


def _reads_as_it_is(contract: Contract, raw: bytes) -> bool:
    """Say whether pydantic takes a value without converting it."""
    try:
        found = contract.adapter.validate_json(raw, strict=True)
    except ValueError:
        return False
    return contract.adapter.dump_json(found) == raw.replace(b" ", b"")


def _accepts(contract: Contract, raw: bytes) -> bool:
    try:
        contract.check_json(raw)
    except ContractBroken:
        return False
    return True


def with_info(value: int, info: ValidationInfo) -> int:
    assert value < info.data.get("a", 100)
    return value


class Low(BaseModel):
    a: int
    x: Annotated[int, AfterValidator(with_info)]


class LowInOther(BaseModel):
    a: Annotated[int, Field(gt=-(10**9))] = 0
    b: int = 0
    x: Annotated[int, AfterValidator(with_info)]


class Lower10(BaseModel):
    model_config = ConfigDict(str_to_lower=True, str_max_length=10)
    x: str


class Lower5(BaseModel):
    model_config = ConfigDict(str_to_lower=True, str_max_length=5)
    x: str


class TwoOfOneName(BaseModel):  # type: ignore[no-redef]
    a: int = Field(validation_alias="y")
    b: Annotated[int, Field(ge=0)] = Field(validation_alias="y")


class WritesY(BaseModel):
    y: int


def sentinel(value: Any, handler: Any) -> Any:
    return value if value == -1 else handler(value)


def at_most(most: int) -> Any:
    return AfterValidator(lambda value: value if value <= most else 1 / 0)


class Methods:
    def __init__(self, most: int) -> None:
        self.most = most

    def check(self, value: int) -> int:
        assert value <= self.most
        return value


BELOW, ABOVE = Methods(3), Methods(5)


@pytest.mark.parametrize(
    "producer,consumer",
    [
        (Lower10, Lower5),
        (Low, LowInOther),
        (WritesY, TwoOfOneName),
        (Annotated[int, Field(ge=0), WrapValidator(sentinel)], Annotated[int, Field(ge=0)]),
        (Annotated[int, at_most(5)], Annotated[int, at_most(3)]),
        (Annotated[int, AfterValidator(ABOVE.check)], Annotated[int, AfterValidator(BELOW.check)]),
        (
            Annotated[int, AfterValidator(partial(max, 1))],
            Annotated[int, AfterValidator(partial(max, 2))],
        ),
        (dict[str, int], CheckedDefault),
    ],
)
def test_what_only_looks_alike_is_not_proved(producer: Any, consumer: Any) -> None:
    assert compare(producer, consumer).answer in {"refuted", "unknown"}


@pytest.mark.parametrize(
    "made",
    [
        lambda: Low,
        lambda: TypeAdapter(Low),
        lambda: TypeAdapter(list[Lower5]),
        lambda: TypeAdapter(Annotated[int, at_most(3)]),
        lambda: TypeAdapter(Annotated[int, AfterValidator(BELOW.check)]),
        lambda: TypeAdapter(Annotated[str, BeforeValidator(str.strip)]),
        lambda: Schema({"one": Lax, "n": int}),
        lambda: Schema({"one": list[Money], "when": datetime}),
        lambda: Schema.from_pydantic(Money),
        lambda: Schema.from_json_schema({"type": "object", "patternProperties": {"^a": {}}}),
        lambda: Told,
        lambda: TypeAdapter(dict[Path, Base64Bytes]),
    ],
)
def test_a_contract_takes_all_that_the_same_one_lets_through(made: Any) -> None:
    assert compare(made(), made()).answer == "proved"


def test_a_date_that_was_past_when_it_was_written_may_not_be_when_it_is_read() -> None:
    verdict = compare(PastDate, PastDate)
    assert (verdict.answer, "before or after now" in str(verdict.reason)) == ("unknown", True)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**40))
def test_what_is_told_of_random_contracts_holds_of_their_values(seed: int) -> None:
    count = fuzz_models.run(range(seed, seed + 1), values=60)
    assert count.faults == []


DOCUMENTS: list[Any] = [
    {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"],
     "$defs": {"n": {"type": "integer", "minimum": 0}}},
    {"type": "object", "patternProperties": {"^x_": {"type": "string"}},
     "additionalProperties": False},
    {"if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["a"]},
     "type": "object"},
    {"$defs": {"tree": {"type": "object", "properties": {"kids": {"type": "array",
     "items": {"$ref": "#/$defs/tree"}}}, "required": ["kids"]}}, "$ref": "#/$defs/tree"},
    {"oneOf": [{"type": "string", "maxLength": 3}, {"type": "integer", "multipleOf": 3}]},
    {"type": "array", "contains": {"const": 1}, "maxContains": 2, "items": {"type": "integer"}},
    {"type": "object", "dependentRequired": {"a": ["b"]}, "propertyNames": {"maxLength": 1}},
    {"not": {"type": "string"}},
    {"type": "string", "format": "date"},
    {"enum": ["a", 1, None]},
]  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_one_contract_however_it_is_given(document: Any) -> None:
    schema = Schema.from_json_schema(document)
    assert compare(schema, document).answer == "proved"
    verdict = compare(document, schema)
    if verdict.answer != "proved":  # a document alone says that 1.0 is an integer
        assert "integer" in repr(document)
        assert re.search(r"\d\.0\b", repr(verdict.witness))
    assert compare(schema, Schema.from_json_schema(document)).answer == "proved"
    assert compare(schema, {"type": "boolean"}).answer == "refuted"


@pytest.mark.parametrize("model", [Money, Node, Choosy, TypedExtras, Lower5, Box[int], Low])
def test_a_schema_from_a_model_is_the_model(model: Any) -> None:
    schema = Schema.from_pydantic(model)
    assert compare(schema, model).answer == "proved"
    assert compare(model, schema).answer == "proved"
