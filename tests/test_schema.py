"""Schema: a contract as a dict of fields."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from kairos import validators as v
from kairos.contracts.contract import compile_contract
from kairos.exceptions import ConfigError
from kairos.schema import ContractPair, FieldDefinition, Schema, SchemaRegistry

ITEM = Schema({"id": int, "name": str}, validators={"name": v.not_empty()})
ORDER = Schema(
    {
        "name": str,
        "score": float | None,
        "tags": list[str],
        "items": list[ITEM],  # type: ignore[valid-type]
        "address": {"street": str, "class": str},
        "best": ITEM | None,
        "by_name": dict[str, ITEM],  # type: ignore[valid-type]
        "my-field": bool,
        "when": dt.datetime | None,
        "kind": Literal["a", "b"],
    },
    validators={
        "name": [v.not_empty(), v.length(max=3)],
        "score": v.range(min=0, max=1),
        "tags": v.length(min=1),
    },
)
GOOD: dict[str, Any] = {
    "name": "x",
    "score": 0.5,
    "tags": ["t"],
    "items": [{"id": 1, "name": "n", "extra": 5}],
    "address": {"street": "s", "class": "c"},
    "by_name": {"k": {"id": 1, "name": "q"}},
    "my-field": True,
    "kind": "a",
    "unknown": [1, None],
}


def errors(schema: Schema, value: object) -> list[tuple[str, str, str]]:
    result = schema.validate(value)
    assert result.valid is not bool(result.errors)
    return [(one.field, one.expected, one.actual) for one in result.errors]


def test_what_satisfies_a_schema_is_kept_as_it_is() -> None:
    assert errors(ORDER, GOOD) == []
    assert json.loads(ORDER.contract.check_output(GOOD)) == GOOD


def test_an_int_too_large_for_a_float_stays_exact_in_a_float_field() -> None:
    raw = Schema({"n": float}).contract.check_output({"n": 2**53 + 1})
    assert json.loads(raw) == {"n": 2**53 + 1}


@pytest.mark.parametrize(
    "change,expected",
    [
        ({"name": 5}, [("name", "str", "int")]),
        (
            {"name": "    "},
            [
                ("name", "something, not an empty value", "str"),
                ("name", "a length of at most 3", "str"),
            ],
        ),
        ({"score": 2.0}, [("score", "a number at least 0 and at most 1", "float")]),
        ({"score": math.nan}, [("score", "a finite number", "NaN or Infinity")]),
        ({"score": True}, [("score", "float", "bool")]),
        ({"score": "0.5"}, [("score", "float", "str")]),
        ({"tags": []}, [("tags", "a length of at least 1", "list")]),
        ({"tags": ["a", 1]}, [("tags[1]", "str", "int")]),
        ({"tags": "abc"}, [("tags", "list", "str")]),
        ({"items": [{"id": 1, "name": "n"}, {"id": True}]},
         [("items[1].id", "int", "bool"), ("items[1].name", "a value", "missing")]),
        ({"items": [{"id": 1.0, "name": ""}]},
         [("items[0].id", "int", "float"),
          ("items[0].name", "something, not an empty value", "str")]),
        ({"address": {"street": "s"}}, [("address.class", "a value", "missing")]),
        ({"best": {"id": "1", "name": "x"}}, [("best.id", "int", "str")]),
        ({"by_name": {"k": 5}}, [("by_name.k", "dict", "int")]),
        ({"my-field": 1}, [("my-field", "bool", "int")]),
        ({"when": "tomorrow"}, [("when", "datetime", "str")]),
        ({"kind": "c"}, [("kind", "'a' or 'b'", "str")]),
        ({"unknown": {1}}, [("unknown", "a JSON value", "set")]),
    ],
)  # fmt: skip
def test_every_error_is_found_and_told_by_path_and_type(
    change: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    assert errors(ORDER, {**GOOD, **change}) == expected


@pytest.mark.parametrize("value", [None, 5, "x", [], [GOOD], math.nan, object(), {1: 2}])
def test_validate_never_raises(value: object) -> None:
    assert not ORDER.validate(value)


@pytest.mark.parametrize("field", ["score", "best", "when"])
def test_an_optional_field_may_be_none_or_absent(field: str) -> None:
    assert errors(ORDER, {**GOOD, field: None}) == []
    assert errors(ORDER, {key: inner for key, inner in GOOD.items() if key != field}) == []
    assert field not in ORDER.required_fields


@pytest.mark.parametrize("value", [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "2026-01-01T00:00:00Z"])
def test_a_time_may_be_given_as_python_or_as_json_has_it(value: Any) -> None:
    raw = ORDER.contract.check_output({**GOOD, "when": value})
    assert json.loads(raw)["when"] == "2026-01-01T00:00:00Z"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize(
    "kind,good,bad",
    [
        (list[int], [[], [1]], [["1"], [True], [1.0], {}, None]),
        (float, [1, 1.5], [math.nan, math.inf, "1", True, None]),
        (int, [1, 0], [True, 1.0, "1"]),
        (bool, [True], [1, "true"]),
        (str, ["a"], [b"a", 1]),
        (Any, [1, None, {"a": []}], [{1}, object()]),
        (int | None, [None, 1], ["x"]),
        (dict[str, list[int]], [{"a": [1]}], [{"a": ["1"]}, {1: [1]}]),
        (Literal[1], [1], [True, 2]),
        (Literal[True], [True], [1]),
        (Level, [1, Level.HIGH], [True, 3, "1"]),
        (Annotated[str, Field(min_length=2)], ["ab"], ["a"]),
        (ITEM, [{"id": 1, "name": "x"}], [{"id": 1, "name": ""}]),
        (tuple[int, str], [(1, "a"), [1, "a"]], [(1,), ("a", 1)]),
        (list[Schema(int)], [[1]], [["1"], [True]]),  # type: ignore[misc]
        (None, [None], [0]),
    ],
)
def test_a_schema_may_stand_for_a_bare_value(kind: Any, good: list[Any], bad: list[Any]) -> None:
    schema = Schema(kind)
    assert [errors(schema, value) for value in good] == [[] for _ in good]
    assert all(errors(schema, value) for value in bad)
    assert schema.field_names == []


def test_a_schema_inside_another_type_keeps_its_strictness() -> None:
    assert not compile_contract(list[Schema(int)]).validate(["1"])  # type: ignore[misc]
    by_name: Any = dict[str, ITEM]  # type: ignore[valid-type]
    assert compile_contract(by_name | None).validate(None)
    assert not compile_contract(ITEM | int).validate({"id": 1})


class Model(BaseModel):
    positive: int = Field(gt=0)
    text: str = "x"

    @field_validator("text")
    @classmethod
    def no_bad(cls, value: str) -> str:
        if value == "bad":
            raise ValueError(value)
        return value


def test_a_model_keeps_all_it_says() -> None:
    schema = Schema.from_pydantic(Model)
    assert errors(schema, {"positive": 1}) == []
    assert errors(schema, {"positive": 0, "text": "bad"}) == [
        ("positive", "greater than 0", "int"),
        ("text", "what its validator accepts", "str"),
    ]
    assert schema.required_fields == ["positive"]
    assert schema.to_json_schema()["properties"]["positive"]["exclusiveMinimum"] == 0
    longer = schema.extend({"more": int}, validators={"more": v.range(max=3)})
    assert errors(longer, {"positive": 0, "more": 4}) == [
        ("positive", "greater than 0", "int"),
        ("more", "a number at most 3", "int"),
    ]


def test_a_model_is_a_field_as_well() -> None:
    schema = Schema({"model": Model})
    assert errors(schema, {"model": {"positive": -1}}) == [
        ("model.positive", "greater than 0", "int")
    ]
    assert errors(schema, {"model": Model.model_construct(positive=-1)}) != []
    assert errors(schema, {"model": Model(positive=1)}) == []


@pytest.mark.parametrize("model", [dict, int, 5, "Model", Model(positive=1), Schema({}), None])
def test_from_pydantic_takes_models_only(model: Any) -> None:
    with pytest.raises(ConfigError, match="from_pydantic takes a pydantic model"):
        Schema.from_pydantic(model)


class Plain:
    """No type that pydantic knows."""


@pytest.mark.parametrize(
    "fields",
    [
        {"a": 5}, {"a": "str"}, {"a": list["Model"]}, {"a": [int]}, {"a": object()}, {"a": Plain},
        {"a": lambda value: value}, {"a": {"b": 5}}, {1: int}, 5, "str", [int], print,
    ],
)  # fmt: skip
def test_what_is_no_type_is_refused_where_it_is_written(fields: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Schema(fields)
    assert caught.value.where is not None
    assert caught.value.where.file == __file__


@pytest.mark.parametrize(
    "validators,fix",
    [
        ({"nam": v.not_empty()}, "did you mean 'name'?"),
        ({"zzz": v.not_empty()}, "add the field"),
        ({"name": 5}, None),
        ({"name": ["x"]}, "pass a function"),
        ({"name": v.not_empty}, "call it: not_empty(...)"),
        ({"name": v.range}, "call it: range(...)"),
        ([v.not_empty()], "validators={"),
    ],
)
def test_a_validator_that_could_not_run_is_refused(validators: Any, fix: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        Schema({"name": str}, validators=validators)
    assert fix is None or fix in str(caught.value.fix)


def test_a_plain_function_validates_a_field() -> None:
    schema = Schema(
        {"a": int, "b": int | None},
        validators={"a": lambda n: n > 1 or f"{n} is too small", "b": [lambda n: 1 / n > 0]},
    )
    assert errors(schema, {"a": 2, "b": 1}) == []
    assert errors(schema, {"a": 2, "b": None}) == []
    found = schema.validate({"a": -77, "b": 0}).errors
    assert [one.field for one in found] == ["a", "b"]
    assert "-77" not in str(found)


def test_equality_is_of_structure() -> None:
    one = Schema({"a": int, "b": ITEM | None}, validators={"a": v.range(min=1)})
    same = Schema(
        {
            "b": Schema({"name": str, "id": int}, validators={"name": [v.not_empty()]}) | None,
            "a": int,
        },
        validators={"a": [v.range(min=1)]},
    )
    assert one == same
    assert hash(one) == hash(same)
    assert {one: 1}[same] == 1
    for other in (
        Schema({"a": int, "b": ITEM | None}),
        Schema({"a": int, "b": ITEM | None}, validators={"a": v.range(min=2)}),
        Schema({"a": int, "b": ITEM}, validators={"a": v.range(min=1)}),
        Schema(int),
        5,
    ):
        assert one != other


def test_extend_adds_and_replaces_and_leaves_the_first_as_it_was() -> None:
    base = Schema({"a": int, "b": str}, validators={"b": v.not_empty()})
    made = base.extend({"a": str, "c": bool}, validators={"b": v.length(max=2)})
    assert made.field_names == ["b", "a", "c"]
    assert errors(made, {"a": "x", "b": "", "c": True}) == [
        ("b", "something, not an empty value", "str")
    ]
    assert errors(made, {"a": "x", "b": "abc", "c": True}) == [
        ("b", "a length of at most 2", "str")
    ]
    assert base.field_definitions["a"] == FieldDefinition("a", int)
    with pytest.raises(ConfigError, match="no fields to extend"):
        Schema(int).extend({"a": int})


def test_a_validator_that_json_schema_can_say_is_in_the_export() -> None:
    schema = Schema(
        {"a": str, "n": int | None, "k": str, "t": list[int]},
        validators={
            "a": [v.pattern("x+"), v.length(min=1, max=5)],
            "n": v.range(min=0),
            "k": v.one_of(["p", "q"]),
            "t": v.not_empty(),
        },
    )
    assert schema.to_json_schema() == {
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "^(?:x+)$", "minLength": 1, "maxLength": 5},
            "n": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
            "k": {"type": "string", "enum": ["p", "q"]},
            "t": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        },
        "required": ["a", "k", "t"],
    }


FIELDS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        [str, int, float, bool, Any, int | None, str | int, Literal["a", "b"], Literal[True], list,
         dict, Annotated[int, Field(ge=0, lt=9)], Annotated[str, Field(pattern="^a", max_length=3)],
         dict[str, int], list[int | None]]
    ),
    lambda inner: st.one_of(
        inner.map(lambda kind: list[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: dict[str, kind]),  # type: ignore[valid-type]
        st.dictionaries(st.sampled_from(["f", "g", "my-field"]), inner, max_size=2).map(Schema),
        inner.map(lambda kind: Schema({"f": kind}, {"f": [v.not_empty(), v.length(max=2)]})),
    ),
    max_leaves=4,
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, 0, 1, -1, 7, 9, 1.0, 1.5, "", " ", "a", "ab", "abcd", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["f", "g", "my-field", "zz"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(FIELDS, VALUES)
def test_a_schema_and_its_json_schema_accept_the_same_values(kind: Any, value: Any) -> None:
    schema = Schema({"top": kind})
    again = Schema.from_json_schema(schema.to_json_schema())
    data = {"top": value}
    assert schema.validate(data).valid is again.validate(data).valid


def test_registry_keeps_contracts_by_step() -> None:
    registry = SchemaRegistry()
    registry.register("fetch", output_schema=ITEM)
    registry.register("score", Model, list[int])
    assert registry.get_output_contract("fetch") is ITEM
    assert registry.get_input_contract("fetch") is None
    assert registry.get_input_contract("unknown") is None
    assert registry.has_contract("score")
    assert not registry.has_contract("unknown")
    assert registry.all_contracts() == {
        "fetch": ContractPair(None, ITEM),
        "score": ContractPair(Model, list[int]),
    }
    exported = registry.export_json_schema()
    assert exported["score"]["output"] == {"type": "array", "items": {"type": "integer"}}
    assert set(exported["fetch"]) == {"output"}
    with pytest.raises(ConfigError, match="input contract of step 'bad'"):
        registry.register("bad", 5)


def test_a_schema_is_not_called() -> None:
    with pytest.raises(TypeError, match="validate"):
        ITEM()


def test_a_schema_that_holds_a_lax_model_writes_only_what_it_reads_back() -> None:
    from datetime import timedelta

    from pydantic import BaseModel

    from kairos.contracts.contract import ContractBroken, compile_contract

    class Lap(BaseModel):
        took: timedelta

    contract = compile_contract(Schema({"lap": Lap}))
    with pytest.raises(ContractBroken):
        contract.check_output({"lap": {"took": False}})  # pydantic takes it in Python, not in JSON
