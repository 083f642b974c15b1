"""One contract inside another: proved, refuted with a value, coerced, or unknown with a reason."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import json
import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    RootModel,
    TypeAdapter,
    computed_field,
    create_model,
    field_serializer,
)
from typing_extensions import TypedDict

import fuzz_contracts
from kairos.contracts.contract import ContractBroken, compile_contract
from kairos.schema import Schema
from kairos.validators import not_empty, range_
from kairos.verify import Budget, compare


def even(value: int) -> int:
    assert value % 2 == 0
    return value


class Draft(BaseModel):
    name: str
    score: float | None = None
    tags: list[str] = []


class Finished(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    score: float | None
    tags: list[str]


class Scored(BaseModel):
    name: str
    score: float


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Kitten(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=7)]


class Dog(BaseModel):
    kind: Literal["dog"]
    bark: str


class Cow(BaseModel):
    kind: Literal["cow"] = "cow"
    milk: float


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
YoungPet = Annotated[Kitten | Dog, Field(discriminator="kind")]
Animal = Annotated[Cat | Dog | Cow, Field(discriminator="kind")]


class Tree(BaseModel):
    v: int
    kids: list[Tree] = []


class FloatTree(BaseModel):
    v: float
    kids: list[FloatTree]


class PositiveTree(BaseModel):
    v: Annotated[int, Field(gt=0)]
    kids: list[PositiveTree] = []


class Color(enum.StrEnum):
    RED = "r"
    GREEN = "g"


class Square(BaseModel):
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> float:
        return 1.0 * self.side


class HasArea(BaseModel):
    area: float


class Aliased(BaseModel):
    x: int = Field(alias="X")


class Named(BaseModel):
    X: int


class Hidden(BaseModel):
    x: int

    @field_serializer("x")
    def as_text(self, value: int) -> Any:
        return value


@dataclasses.dataclass
class Point:
    a: int
    b: str = "x"


class PointDict(TypedDict):
    a: int
    b: str


class PointTuple(NamedTuple):
    a: int
    b: str


Numbers = RootModel[list[int]]
Code = Annotated[str, Field(pattern="^[A-Z]{3}$")]


@pytest.mark.parametrize(
    "producer,consumer,answer",
    [
        (Draft, Finished, "proved"),
        (Draft, Scored, "refuted"),
        (Pet, Animal, "proved"),
        (Animal, Pet, "refuted"),
        (Pet, YoungPet, "refuted"),
        (list[Pet], list[Animal], "proved"),
        (Tree, FloatTree, "proved"),
        (Tree, PositiveTree, "refuted"),
        (int, float, "proved"),
        (int, str, "refuted"),
        (float, int, "refuted"),
        (str, int, "refuted"),
        (bool, int, "coerced"),
        (Decimal, float, "coerced"),
        (Decimal, Decimal, "proved"),
        (Color, Literal["r", "g", "b"], "proved"),
        (Literal["r", "x"], Color, "refuted"),
        (datetime, str, "proved"),
        (str, datetime, "refuted"),
        (date, datetime, "coerced"),
        (timedelta, timedelta, "proved"),
        (uuid.UUID, Annotated[str, Field(max_length=36)], "proved"),
        (ipaddress.IPv4Address, ipaddress.IPv4Address, "proved"),
        (AnyUrl, AnyUrl, "proved"),
        (HttpUrl, HttpUrl, "proved"),
        (AnyUrl, HttpUrl, "refuted"),
        (int, Annotated[int, AfterValidator(even)], "refuted"),
        (Annotated[int, Field(multiple_of=4)], Annotated[int, AfterValidator(even)], "unknown"),
        (Annotated[int, AfterValidator(even)], Annotated[int, AfterValidator(even)], "proved"),
        (str, Annotated[str, BeforeValidator(str.strip)], "unknown"),
        (dict[str, int], dict[int, int], "refuted"),
        (dict[int, int], dict[str, float], "proved"),
        (tuple[int, int], list[int], "proved"),
        (list[int], tuple[int, int], "refuted"),
        (set[int], list[int], "proved"),
        (list[int], set[int], "coerced"),
        (Any, Draft, "refuted"),
        (Draft, Any, "proved"),
        (PointDict, dict[str, int | str], "proved"),
        (Point, PointDict, "proved"),
        (PointTuple, tuple[int, str], "proved"),
        (Numbers, list[float], "proved"),
        (TypeAdapter(list[int]), list[int], "proved"),
        (Code, Annotated[str, Field(pattern="^[A-Z]+$", max_length=3)], "proved"),
        (Code, Annotated[str, Field(pattern="^[A-M]+$")], "refuted"),
        (Aliased, Named, "proved"),
        (Square, HasArea, "proved"),
        (Hidden, Hidden, "proved"),
        (Hidden, Named, "refuted"),
        (None, int, "refuted"),
        (None, int | None, "proved"),
        (Schema({"a": int, "b": str | None}), Schema({"a": float}), "proved"),
        (Schema({"a": int, "b": str | None}), PointDict, "refuted"),
        (Schema({"a": int}), Schema({"a": int, "b": int | None}), "refuted"),
        (
            Schema({"s": float}, validators={"s": range_(min=0, max=1)}),
            Schema({"s": float}, validators={"s": range_(min=0)}),
            "proved",
        ),
        (Schema({"t": str}), Schema({"t": str}, validators={"t": not_empty()}), "refuted"),
        (Schema.from_pydantic(Draft), Finished, "proved"),
        (Schema({"t": datetime}), Schema({"t": datetime}), "proved"),
        ({"type": "integer", "minimum": 0}, Annotated[int, Field(ge=0)], "coerced"),  # 1.0
        (Annotated[int, Field(ge=0)], {"type": "integer", "minimum": 0}, "proved"),
        ({"type": "object"}, Draft, "refuted"),
    ],
)
def test_a_producer_is_held_to_what_its_consumer_needs(
    producer: Any, consumer: Any, answer: str
) -> None:
    verdict = compare(producer, consumer)
    assert verdict.answer == answer, verdict
    assert (verdict.reason is not None) == (answer == "unknown")


@pytest.mark.parametrize(
    "producer,consumer,is_inside",
    [
        ({"type": "number", "multipleOf": 1}, {"type": "integer"}, True),
        ({"type": "integer", "minimum": 1, "exclusiveMaximum": 2}, {"const": 1}, True),
        ({"multipleOf": 6, "type": "integer"}, {"multipleOf": 4}, False),
        ({"const": 100}, {"maxLength": 2}, True),
        ({"oneOf": [{"type": "null"}, {"type": "null"}, {"const": 1}]}, {"const": 1}, True),
        ({"pattern": "^a+$"}, {"pattern": "a"}, True),
        ({"type": "string", "pattern": r"^\d$"}, {"pattern": "^[0-9]$"}, False),
        ({"type": "string"}, {"format": "date-time"}, False),
        ({"type": "array", "uniqueItems": True}, {"maxItems": 2}, False),
        (
            {"type": "array", "uniqueItems": True, "items": {"enum": [1, 2]}},
            {"maxItems": 2},
            True,
        ),
        (
            {"type": "array", "contains": {"const": 1}, "minContains": 2},
            {"minItems": 2},
            True,
        ),
        (
            {"type": "array", "items": {"const": 1}, "contains": {"const": 1}, "maxContains": 2},
            {"maxItems": 2},
            True,
        ),
        (
            {"type": "object", "additionalProperties": False, "properties": {"a": {}, "b": False}},
            {"maxProperties": 1},
            True,
        ),
        (
            {
                "type": "object",
                "patternProperties": {"^a": {"type": "integer"}},
                "additionalProperties": False,
                "maxProperties": 1,
                "minProperties": 1,
            },
            {"propertyNames": {"pattern": "a"}, "additionalProperties": {"type": "number"}},
            True,
        ),
        (
            {"properties": {"a": {"type": "integer"}}, "unevaluatedProperties": False},
            {"additionalProperties": {"type": "integer"}},
            True,
        ),
        (
            {
                "anyOf": [{"properties": {"a": True}, "required": ["a"]}, True],
                "unevaluatedProperties": False,
                "type": "object",
            },
            {"maxProperties": 0},
            False,
        ),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}], "unevaluatedItems": False},
            {"maxItems": 1},
            True,
        ),
        (
            {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "integer"}},
            {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]},
            True,
        ),
        (
            {"dependentRequired": {"a": ["b"]}, "required": ["a"], "type": "object"},
            {"required": ["b"]},
            True,
        ),
    ],
)
def test_a_bare_schema_is_taken_at_its_word(producer: Any, consumer: Any, is_inside: bool) -> None:
    assert compare(producer, consumer).answer == ("proved" if is_inside else "refuted")


@pytest.mark.parametrize(
    "schema,why",
    [
        ({"$ref": "#/$defs/gone"}, "leads nowhere"),
        ({"$ref": "https://example.com/x.json"}, "another document"),
        ({"tpye": "string"}, "'tpye'"),
        ({"minimum": "1"}, "'minimum'"),
        ({"pattern": "(?=x)"}, "pattern"),
        ({"$ref": "#"}, "leads to itself"),
        ({"enum": [[n] for n in range(2_000)]}, "2000 values"),
        ({"allOf": [{"pattern": f"^(a|b)*a(a|b){{{n}}}$"} for n in range(30)]}, "budget"),
        ({"type": "string", "pattern": r"\b{start-half}x"}, "the anchor"),
    ],
)
def test_what_cannot_be_decided_says_why(schema: Any, why: str) -> None:
    verdict = compare(schema, {"type": "integer", "$comment": "x"})
    if verdict.answer == "unknown":
        assert why in str(verdict.reason)
    else:
        assert verdict.answer == "refuted"
    verdict = compare({"type": "string"}, schema)
    assert verdict.answer in {"unknown", "refuted"}


def test_a_document_of_great_depth_is_refused_and_no_crash() -> None:
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"items": deep}
    verdict = compare(deep, {"type": "array"})
    assert (verdict.answer, verdict.reason is not None) == ("unknown", True)


def test_an_exponential_union_ends_within_its_budget() -> None:
    wide = {"allOf": [{"anyOf": [{"multipleOf": n}, {"minimum": n}]} for n in range(2, 60)]}
    verdict = compare(wide, {"not": wide}, budget=Budget(nodes=3_000, seconds=1))
    assert verdict.answer in {"unknown", "refuted"}


def test_a_union_of_a_hundred_variants_is_compared_by_its_tag() -> None:
    made: Any = create_model

    def union(count: int) -> Any:
        variants = [
            made(f"V{n}", kind=(Literal.__getitem__(f"k{n}"), ...), x=(int, ...), y=(str, "y"))
            for n in range(count)
        ]
        return Annotated[eval_union(variants), Field(discriminator="kind")]

    def eval_union(variants: list[Any]) -> Any:
        found = variants[0]
        for one in variants[1:]:
            found = found | one
        return found

    small, large = union(99), union(100)
    assert compare(small, large).answer == "proved"
    assert compare(large, small).answer == "refuted"


def test_every_field_at_fault_is_named_with_both_sides() -> None:
    class Given(BaseModel):
        title: str
        score: float | None
        pages: int

    class Needed(BaseModel):
        title: Annotated[str, Field(min_length=1)]
        score: float
        pages: Annotated[int, Field(le=500)]
        author: str

    faults = {
        fault.path: (fault.producer, fault.consumer) for fault in compare(Given, Needed).faults
    }
    assert faults == {
        "$.title": ("str", "str length ≥ 1"),
        "$.score": ("float | None", "float"),
        "$.pages": ("int", "int ≤ 500"),
        "$.author": ("missing", "required str"),
    }


def test_a_witness_is_emitted_by_the_producer_and_refused_by_the_consumer() -> None:
    witness = compare(Draft, Scored).witness
    raw = json.dumps(witness).encode()
    assert compile_contract(Draft).check_json(raw)
    with pytest.raises(ContractBroken):
        compile_contract(Scored).check_json(raw)


@pytest.mark.parametrize("recursive", [False, True])
def test_random_schemas_are_judged_as_brute_force_judges_them(recursive: bool) -> None:
    count = fuzz_contracts.run(300, 20260, recursive=recursive, tried=120)
    assert count.faults == []
    assert count.answers["unknown"] <= 3


_SCALARS: list[Any] = [
    int,
    float,
    str,
    bool,
    type(None),
    Literal["a", "b"],
    Annotated[int, Field(ge=0)],
    Annotated[int, Field(gt=2, le=9)],
    Annotated[str, Field(min_length=1)],
    Annotated[str, Field(pattern="^[ab]+$", max_length=3)],
    Annotated[float, Field(ge=0, lt=1)],
]
_KINDS = st.recursive(
    st.sampled_from(_SCALARS),
    lambda inner: st.one_of(
        inner.map(lambda one: list[one]),  # type: ignore[valid-type]
        inner.map(lambda one: one | None if one is not type(None) else one),
        inner.map(lambda one: dict[str, one]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda two: tuple[two]),  # type: ignore[valid-type]
    ),
    max_leaves=3,
)


def model(fields: dict[str, Any], extra: Any) -> Any:
    make: Any = create_model
    return make("M", __config__=ConfigDict(extra=extra), **{n: (t, ...) for n, t in fields.items()})


_MODELS = st.builds(
    model,
    st.dictionaries(st.sampled_from("abc"), _KINDS, min_size=1, max_size=3),
    st.sampled_from(["ignore", "forbid", "allow"]),
)


@settings(max_examples=120, deadline=None)
@given(producer=_MODELS, consumer=_MODELS, data=st.data())
def test_what_is_proved_of_models_holds_of_their_values(
    producer: Any, consumer: Any, data: st.DataObject
) -> None:
    verdict = compare(producer, consumer)
    gives, takes = compile_contract(producer), compile_contract(consumer)
    assert verdict.answer != "unknown"
    if verdict.answer == "proved":
        for _ in range(5):
            fields = {n: st.from_type(f.annotation) for n, f in producer.model_fields.items()}
            value = data.draw(st.fixed_dictionaries(fields))
            if gives.validate(value).valid:  # hypothesis knows of nan, and not of every bound
                takes.check_json(gives.check_output(value))
    else:
        raw = json.dumps(verdict.witness).encode()
        gives.check_json(raw)
        if verdict.answer == "refuted":
            with pytest.raises(ContractBroken):
                takes.check_json(raw)


def is_emitted(producer: Any, witness: Any) -> bool:
    """Say whether a contract lets a value through as it is."""
    return bool(json.loads(compile_contract(producer).check_output(witness)) == witness)


@pytest.mark.parametrize(
    "producer, consumer, answer, witness",
    [
        (float, {"type": "integer"}, "refuted", 0.5),
        (list[float], {"items": {"type": "integer"}}, "refuted", [0.5]),
        (float, {"type": ["integer", "string"]}, "refuted", 0.5),
        (float, {"type": ["integer", "number"]}, "proved", None),
        (Annotated[float, Field(ge=1, le=1)], {"type": "integer"}, "proved", None),
        (float, {"not": {"type": "integer"}}, "refuted", 0.0),
        (int, {"type": "integer"}, "proved", None),
        (Literal[1], {"const": 1.0}, "proved", None),
        ({"const": 1.0}, {"type": "integer"}, "proved", None),
        ({"type": "integer"}, float, "proved", None),
        ({"type": "integer"}, list[int], "refuted", 0),
        ({"type": "integer"}, Schema.from_json_schema({"type": "integer"}), "refuted", 0.0),
        (Schema.from_json_schema({"type": "integer"}), {"type": "integer"}, "proved", None),
        (Schema.from_json_schema({"type": "number"}), {"type": "integer"}, "refuted", 0.5),
        ({"type": "integer"}, int, "coerced", 0.0),
        ({"type": "number", "multipleOf": 0.1}, Annotated[float, Field(multiple_of=0.1)],
         "proved", None),
    ],
)  # fmt: skip
def test_a_bare_schema_means_by_an_integer_what_the_standard_does(
    producer: Any, consumer: Any, answer: str, witness: Any
) -> None:
    verdict = compare(producer, consumer)
    assert verdict.answer == answer
    assert repr(verdict.witness) == repr(witness)


@pytest.mark.parametrize("step", [1, 0.1, 3])
def test_a_float_that_is_a_multiple_within_a_tolerance_is_none_to_the_standard(step: float) -> None:
    near = Annotated[float, Field(multiple_of=step)]
    verdict = compare(near, {"type": "number", "multipleOf": step})
    assert verdict.answer == "refuted"
    assert is_emitted(near, verdict.witness)
    assert Fraction(repr(verdict.witness)) % Fraction(repr(step))


def test_a_fault_says_on_which_side_a_whole_float_is_an_integer() -> None:
    (fault,) = compare({"type": "integer"}, Schema.from_json_schema({"type": "integer"})).faults
    assert (fault.producer, fault.consumer) == ("int, of which 1.0 is one", "int")


@pytest.mark.parametrize(
    "producer, consumer",
    [
        (int, datetime),
        (int, timedelta),
        (Annotated[float, Field(lt=1)], Annotated[Decimal, Field(max_digits=5)]),
        (list[Annotated[int, Field(ge=0)]], list[datetime]),
    ],
)
def test_a_conversion_that_fails_far_out_is_no_conversion(producer: Any, consumer: Any) -> None:
    verdict = compare(producer, consumer)
    assert verdict.answer == "refuted"
    assert is_emitted(producer, verdict.witness)
    with pytest.raises(ContractBroken):
        compile_contract(consumer).check_json(json.dumps(verdict.witness).encode())
