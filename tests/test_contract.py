"""What a contract lets through satisfies it, whatever it was made from."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import sys
import typing
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretStr,
    TypeAdapter,
    computed_field,
    field_validator,
)
from typing_extensions import TypedDict

from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.exceptions import ConfigError, ValidationError
from kairos.schema import Schema
from kairos.source import declared_here


class Part(BaseModel):
    x: float = 1.0


class Whole(BaseModel):
    part: Part
    count: int = Field(default=0, ge=0)
    more: list[Part] = []


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    full: str = Field(alias="fullName")
    width: int = Field(default=1, validation_alias="wIn", serialization_alias="wOut")

    @computed_field(repr=False)
    def loud(self) -> str:
        return self.full.upper()


class Loud(BaseModel):
    text: str

    @computed_field(repr=False)
    def loud(self) -> str:
        return self.text.upper()


class Tree(BaseModel):
    kids: list[Tree] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    anything: Any = None
    _private: object = PrivateAttr(default_factory=object)


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    bones: int


class Careless(BaseModel):
    note: str = None  # type: ignore[assignment]


@dataclasses.dataclass
class Row:
    id: int
    day: dt.date = dt.date(2026, 1, 1)


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Movie(TypedDict):
    title: str
    part: NotRequired[Part]


class Size(enum.Enum):
    SMALL = "s"
    LARGE = 2


def unchecked(model: type[BaseModel], **values: Any) -> Any:
    return model.model_construct(**values)


def mutated() -> Whole:
    whole = Whole(part=Part())
    vars(whole.part)["x"] = "oops"
    return whole


def broken(declared: Any, value: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(ContractBroken) as caught:
        compile_contract(declared).check_output(value)
    return [(error.field, error.expected, error.actual) for error in caught.value.errors]


UserId = NewType("UserId", int)

ACCEPTED: list[tuple[str, Any, Any, bytes]] = [
    ("model from dict", Whole, {"part": {}, "count": 2}, b'{"part":{"x":1.0},"count":2,"more":[]}'),
    ("model itself", Whole, Whole(part=Part()), b'{"part":{"x":1.0},"count":0,"more":[]}'),
    ("model in dict", Whole, {"part": Part(x=2)}, b'{"part":{"x":2.0},"count":0,"more":[]}'),
    ("models in list", list[Part], [Part(), {"x": 3}], b'[{"x":1.0},{"x":3.0}]'),
    ("int keys", dict[int, Part], {1: {}, 2: Part()}, b'{"1":{"x":1.0},"2":{"x":1.0}}'),
    ("aliases", Aliased, {"fullName": "a", "wIn": 2}, b'{"fullName":"a","wOut":2}'),
    ("aliased instance", Aliased, Aliased(fullName="a", wIn=3), b'{"fullName":"a","wOut":3}'),
    ("computed field", Loud, {"text": "a"}, b'{"text":"a","loud":"A"}'),
    ("recursive", Tree, {"kids": [{"kids": []}]}, b'{"kids":[{"kids":[]}]}'),
    ("extra kept", Open, {"a": 1}, b'{"anything":null,"a":1}'),
    ("Any with a tuple", Open, {"anything": (1, 2)}, b'{"anything":[1,2]}'),
    ("Any with a model", Open, {"anything": Part()}, b'{"anything":{"x":1.0}}'),
    ("private attribute", Open, Open(), b'{"anything":null}'),
    ("tagged union", Annotated[Cat | Dog, Field(discriminator="kind")], Dog(bones=1),
     b'{"kind":"dog","bones":1}'),
    ("plain union", Cat | Dog, {"kind": "cat", "lives": 9}, b'{"kind":"cat","lives":9}'),
    ("root model", RootModel[list[int]], [1], b"[1]"),
    ("dataclass", Row, Row(1), b'{"id":1,"day":"2026-01-01"}'),
    ("dataclass from dict", Row, {"id": 1}, b'{"id":1,"day":"2026-01-01"}'),
    ("named tuple", Pair, Pair(1), b'[1,"r"]'),
    ("typed dict", Movie, {"title": "t"}, b'{"title":"t"}'),
    ("enum", Size, Size.LARGE, b"2"),
    ("enum by value", Size, "s", b'"s"'),
    ("literal", Literal["a", "b"], "a", b'"a"'),
    ("new type", UserId, 3, b"3"),
    ("optional", int | None, None, b"null"),
    ("None", None, None, b"null"),
    ("Any", Any, {"a": [1]}, b'{"a":[1]}'),
    ("object", object, [1], b"[1]"),
    ("bare dict", dict, {"a": 1}, b'{"a":1}'),
    ("bare list", list, [1, "a"], b'[1,"a"]'),
    ("set", set[int], {3}, b"[3]"),
    ("tuple", tuple[int, str], (1, "a"), b'[1,"a"]'),
    ("bytes", bytes, b"a", b'"a"'),
    ("decimal", Decimal, Decimal("1.50"), b'"1.50"'),
    ("datetime", dt.datetime, dt.datetime(2026, 1, 1, tzinfo=dt.UTC), b'"2026-01-01T00:00:00Z"'),
    ("uuid", UUID, UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
    ("json value", JsonValue, {"a": [None]}, b'{"a":[null]}'),
    ("adapter", TypeAdapter(list[int]), ["1"], b"[1]"),
    ("lax int", int, "7", b"7"),
    ("constrained", Annotated[int, Field(gt=0)], 1, b"1"),
    ("schema in list", list[Schema({"id": int})], [{"id": 1, "x": 2}], b'[{"id":1,"x":2}]'),  # type: ignore[misc]
]  # fmt: skip


@pytest.mark.parametrize(
    "declared,value,raw", [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_every_kind_of_contract_writes_what_it_reads(declared: Any, value: Any, raw: bytes) -> None:
    contract = compile_contract(declared)
    assert contract.check_output(value) == raw
    again = contract.check_json(raw)
    assert contract.check_output(again) == raw


REFUSED: list[tuple[str, Any, Any, list[tuple[str, str, str]]]] = [
    ("mutated instance", Whole, mutated(), [("part.x", "float", "str")]),
    ("unchecked instance", Whole, {"part": unchecked(Part, x="q")}, [("part.x", "float", "str")]),
    ("unchecked in list", list[Part], [unchecked(Part, x=[])], [("[0].x", "float", "list")]),
    ("unchecked aliased", Aliased, unchecked(Aliased, full=5), [("fullName", "str", "int")]),
    ("unchecked recursive", Tree, {"kids": [unchecked(Tree, kids=5)]},
     [("kids[0].kids", "list", "int")]),
    ("unchecked root", RootModel[list[int]], unchecked(RootModel[list[int]], root=["z"]),
     [("<root>", "int", "str")]),
    ("unchecked in typed dict", Movie, {"title": "t", "part": unchecked(Part, x="q")},
     [("part.x", "float", "str")]),
    ("dataclass", Row, Row("x"), [("id", "int", "str")]),  # type: ignore[arg-type]
    ("named tuple", Pair, Pair("x"), [("left", "int", "str")]),  # type: ignore[arg-type]
    ("missing and wrong", Whole, {"count": -1},
     [("part", "a value", "missing"), ("count", "at least 0", "int")]),
    ("extra", Aliased, {"fullName": "a", "zz": 1}, [("zz", "no further keys", "unexpected key")]),
    ("wrong tag", Annotated[Cat | Dog, Field(discriminator="kind")], {"kind": "cow"},
     [("<root>", "one of 'cat', 'dog' in 'kind'", "dict")]),
    ("union", int | str, 1.5, [("<root>", "int or str", "float")]),
    ("union inside", dict[str, list[int | str]], {"a": [1.5]}, [("a[0]", "int or str", "float")]),
    ("default", Careless, {}, [("note", "str", "NoneType")]),
    ("int key in dict", dict, {1: 2}, [("[1]", "str", "int")]),
    ("set in Any", Open, {"anything": [{1}]}, [("anything[0]", "a JSON value", "set")]),
    ("set in extra", Open, {"more": {"deep": {1}}}, [("more.deep", "a JSON value", "set")]),
    ("date in dict", dict[str, Any], {"a": dt.date(2026, 1, 1)}, [("a", "a JSON value", "date")]),
    ("not utf-8", bytes, b"\xff",
     [("<root>", "what its contract accepts", "bytes that its serializer cannot write")]),
    ("lone surrogate", str, "\ud800", [("<root>", "str that UTF-8 can write", "str")]),
    ("wrong root", Whole, [1], [("<root>", "Whole", "list")]),
]  # fmt: skip


@pytest.mark.parametrize(
    "declared,value,errors", [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_breaks_a_contract_is_told_field_by_field(
    declared: Any, value: Any, errors: list[tuple[str, str, str]]
) -> None:
    assert broken(declared, value) == errors


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, "nan", "Infinity"])
@pytest.mark.parametrize(
    "declared,wrap",
    [
        (float, lambda n: n),
        (Part, lambda n: {"x": n}),
        (list[float | None], lambda n: [n]),
        (Annotated[float, Field(allow_inf_nan=True)], lambda n: n),
        (RootModel[float], lambda n: n),
    ],
    ids=["bare", "model", "optional in list", "allowed by name", "root model"],
)
def test_no_contract_writes_a_number_that_json_cannot_say(
    declared: Any, wrap: Any, number: Any
) -> None:
    assert "a finite number" in str(broken(declared, wrap(number)))


@pytest.mark.parametrize("settings", ["null", "strings", "constants"])
def test_nan_is_refused_however_the_model_would_write_it(settings: Any) -> None:
    class Lax(BaseModel):
        model_config = ConfigDict(ser_json_inf_nan=settings)
        x: float | None = math.nan
        y: Any = None

    assert broken(Lax, {})
    assert broken(Lax, unchecked(Lax, x=math.inf))
    assert broken(Lax, {"x": 1, "y": [math.nan]})
    assert broken(dict[str, Lax], {"a": unchecked(Lax, x=1.0, y=math.nan)})


def test_a_value_that_would_not_read_back_the_same_is_refused() -> None:
    class Hidden(BaseModel):
        key: SecretStr

    class Dollars(BaseModel):
        price: Annotated[int, PlainSerializer(lambda value: f"${value}")]

    class Growing(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def grow(cls, value: str) -> str:
            return value + "!"

    amsterdam = dt.datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam"))
    assert broken(Hidden, {"key": "s"})[0][0] == "key"
    assert broken(Dollars, {"price": 1}) == [("price", "int", "str")]
    assert broken(Growing, {"name": "a"})[0][0] == "name"
    assert broken(dt.datetime, amsterdam)[0][1] == "JSON that reads back the same"


@pytest.mark.parametrize(
    "declared,value",
    [(int, 10**4300), (Any, 10**4300), (list[int], [1, -(10**4300)])],
    ids=["bare", "any", "list"],
)
def test_numbers_that_no_parser_reads_are_not_written(declared: Any, value: Any) -> None:
    assert broken(declared, value)
    assert compile_contract(int).check_output(10**4299) == b"1" + b"0" * 4299


@pytest.mark.parametrize("declared", [Tree, Any, JsonValue, dict])
def test_depth_that_no_parser_follows_is_not_written(declared: Any) -> None:
    deep: Any = {"kids": []}
    for _ in range(150):
        deep = {"kids": [deep]}
    assert broken(declared, deep)


def test_a_validator_that_fails_breaks_the_contract_and_nothing_else() -> None:
    class Clumsy(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def crash(cls, value: int) -> int:
            raise KeyError(value)

    assert broken(Clumsy, {"a": 1}) == [
        ("<root>", "what its contract accepts", "KeyError from a validator or serializer")
    ]
    with pytest.raises(ContractBroken):
        compile_contract(Clumsy).check_json(b'{"a":1}')


def test_errors_never_hold_the_value() -> None:
    class Account(BaseModel):
        password: Annotated[str, Field(pattern="^a$")]
        pin: Literal[1]

        @field_validator("password")
        @classmethod
        def strong(cls, value: str) -> str:
            raise ValueError(f"weak: {value}")

    for value in ({"password": "hunter2", "pin": "hunter2"}, {"password": "a", "pin": "hunter2"}):
        with pytest.raises(ContractBroken) as caught:
            compile_contract(Account).check_output(value)
        assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.errors}"
        assert caught.value.__cause__ is None


def test_check_json_says_what_is_wrong_with_the_bytes() -> None:
    contract = compile_contract(Whole)
    assert contract.check_json(b'{"part":{}}') == Whole(part=Part())
    with pytest.raises(ContractBroken) as caught:
        contract.check_json(b'{"part":{"x":"q"},"more":[{"x":null}]}')
    assert [error.field for error in caught.value.errors] == ["part.x", "more[0].x"]
    assert isinstance(caught.value, ValidationError)
    assert str(caught.value) == (
        "the value breaks its contract Whole: part.x: expected float, found str;"
        " more[0].x: expected float, found NoneType"
    )
    with pytest.raises(ContractBroken, match="<root>"):
        contract.check_json(b"{")


class Plain:
    """A class that pydantic knows nothing of."""


@pytest.mark.parametrize(
    "declared",
    [
        5, "str", b"x", 1.5, ..., [int], {"a": int}, {1}, (int,), object(), Plain, Plain(),
        Part(), Row(1), print, lambda value: value, Plain.__init__, math, list["Part"],
        dict[str, "Part"], int | Plain,
    ],
)  # fmt: skip
def test_what_is_no_contract_is_refused_at_once(declared: Any) -> None:
    where = declared_here()
    with pytest.raises(ConfigError, match="output_contract of step 's' is not a contract") as error:
        compile_contract(declared, where=where, label="output_contract of step 's'")
    assert error.value.where is where
    assert error.value.expected
    assert error.value.found
    assert error.value.fix


def test_a_dict_of_fields_is_told_to_become_a_schema() -> None:
    with pytest.raises(ConfigError) as caught:
        compile_contract({"name": str})
    assert "Schema({...})" in str(caught.value.fix)


def test_a_name_that_is_not_defined_is_a_clear_error_when_it_is_used() -> None:
    class Late(BaseModel):
        other: NotThere  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(ConfigError, match="Late") as caught:
        compile_contract(Late).check_output({})
    assert "NotThere" in str(caught.value.found)


@pytest.mark.parametrize(
    "declared,name",
    [
        (Part, "Part"),
        (list[Part], "list[Part]"),
        (dict[str, int | None], "dict[str, int | None]"),
        (Annotated[int, Field(gt=0)], "int"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Schema({"a": int, "b": str}), "Schema(a, b)"),
        (Schema(list[int]), "Schema(list[int])"),
        (TypeAdapter(list[int]), "list[int]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (None, "None"),
        (Any, "Any"),
    ],
)
def test_a_contract_has_a_short_name(declared: Any, name: str) -> None:
    assert compile_contract(declared).name == name


def test_one_declaration_is_compiled_once() -> None:
    assert compile_contract(Part) is compile_contract(Part)
    assert compile_contract(list[Part]) is compile_contract(list[Part])
    contract = compile_contract(int | str)
    assert compile_contract(contract) is contract
    assert compile_contract(str | int) is not contract  # equal to Python, not to pydantic


def test_json_schema_tells_what_is_read_and_what_is_written() -> None:
    contract = compile_contract(Aliased)
    assert set(contract.json_schema("validation")["properties"]) == {"fullName", "wIn"}
    assert set(contract.json_schema("serialization")["properties"]) == {"fullName", "wOut"}
    loud = compile_contract(Loud).json_schema("serialization")
    assert set(loud["properties"]) == {"text", "loud"}


def test_a_contract_reads_no_less_and_no_more_than_the_model_but_its_own_writing() -> None:
    contract = compile_contract(Aliased)
    assert contract.check_json(b'{"fullName":"a","wOut":5}') == Aliased(fullName="a", wIn=5)
    with pytest.raises(ContractBroken):
        contract.check_json(b'{"full":"a"}')


TYPES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        [int, float, str, bool, None, Any, Part, Whole, Aliased, Cat, Row, Movie, Size, Literal[1]]
    ),
    lambda inner: st.one_of(
        inner.map(lambda t: list[t]),  # type: ignore[valid-type]
        inner.map(lambda t: dict[str, t]),  # type: ignore[valid-type]
        inner.map(lambda t: t | None if t not in (None, Any) else list),
        inner.map(lambda t: Schema({"f": t, "g": int | None})),
        inner.map(lambda t: tuple[t, int]),  # type: ignore[valid-type]
    ),
    max_leaves=4,
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        [
            0, 1, True, -3, 1.5, math.nan, "a", "1", "cat", None, b"x", Part(), unchecked(Part),
            unchecked(Part, x="bad"), unchecked(Part, x=math.nan), mutated(), Whole(part=Part()),
            unchecked(Cat, lives="many"), Row(1), Size.LARGE, dt.date(2026, 1, 1), {1}, "\ud800",
            Aliased(fullName="a"), unchecked(Aliased, full=1), unchecked(Aliased, width=1),
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.tuples(inner, inner),
        st.dictionaries(
            st.sampled_from(["f", "g", "x", "part", "kind", "lives", "fullName", "id", "title"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)  # fmt: skip


@given(TYPES, VALUES)
def test_whatever_is_let_through_is_json_that_satisfies_the_contract(
    declared: Any, value: Any
) -> None:
    contract = compile_contract(declared)
    try:
        raw = contract.check_output(value)
    except ContractBroken:
        return
    plain = json.loads(raw, parse_constant=lambda name: pytest.fail(f"{name} was written"))
    contract.adapter.validate_json(raw, by_alias=True, by_name=True)  # stock pydantic agrees
    again = contract.check_json(raw)
    second = contract.check_output(again)
    assert contract.check_json(second) == again
    assert isinstance(contract, Contract)
    assert plain == json.loads(raw)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on the two are the same")
def test_a_typed_dict_that_tells_too_little_is_refused_with_the_one_to_use() -> None:
    class Told(typing.TypedDict):
        a: int

    with pytest.raises(ConfigError) as caught:
        compile_contract(Told)
    assert caught.value.fix == "write `from typing_extensions import TypedDict`"
