"""JSON Schema documents as contracts: honoured to the letter, or refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.contracts.contract import compile_contract
from kairos.contracts.json_rules import JsonRules
from kairos.exceptions import ConfigError
from kairos.schema import FieldDefinition, Schema

TREE = {
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {
                "v": {"type": "integer"},
                "kids": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
            },
            "required": ["v"],
        }
    },
    "$ref": "#/$defs/Tree",
}


@pytest.mark.parametrize(
    "document,good,bad",
    [
        ({}, [1, None, {}], []),
        ({"type": "integer"}, [1], [True, 1.0, "1"]),
        ({"type": "number"}, [1, 1.5], [True, "1"]),
        ({"type": ["string", "null"]}, ["a", None], [1]),
        ({"minLength": 2}, ["ab", 5, None], ["a"]),
        ({"type": "string", "maxLength": 1, "pattern": "b"}, ["b"], ["ab", "a"]),
        ({"type": "string", "format": "date-time"}, ["2026-01-01T00:00:00Z"], ["x", 5]),
        ({"format": "uuid"}, ["00000000-0000-0000-0000-000000000001", 5], ["x"]),
        ({"format": "ipv4"}, ["127.0.0.1"], ["300.0.0.1"]),
        ({"format": "uri"}, ["http://a.b"], ["a b"]),
        ({"format": "regex"}, ["a+"], ["("]),
        ({"format": "password"}, ["anything"], []),
        ({"minimum": 1, "maximum": 3}, [1, 3, "x", True], [0, 4]),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, [2], [1, 3]),
        ({"multipleOf": 3}, [9, "x"], [10]),
        ({"type": "number", "multipleOf": 0.5}, [1.5], [1.4]),
        ({"type": "integer", "minimum": 0.5}, [1], [0]),
        ({"items": {"type": "integer"}}, [[1], [], "x"], [["a"]]),
        ({"prefixItems": [{"type": "integer"}], "items": False}, [[1], []], [[1, 2], ["a"]]),
        ({"minItems": 1, "maxItems": 2}, [[1]], [[], [1, 2, 3]]),
        ({"uniqueItems": True}, [[1, True], [[1], [True]]], [[1, 1.0], [{"a": 1}, {"a": 1.0}]]),
        ({"contains": {"const": 1}, "maxContains": 1}, [[1, 2]], [[2], [1, 1]]),
        ({"contains": {"const": 1}, "minContains": 0}, [[], [2]], []),
        ({"required": ["a"]}, [{"a": None}, 5], [{}]),
        ({"properties": {"a": False}}, [{}, {"b": 1}], [{"a": 1}]),
        ({"type": "object", "additionalProperties": False}, [{}], [{"a": 1}]),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
         [{"a": "x", "b": 1}], [{"b": "x"}]),
        ({"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
         [{"x1": 1}], [{"x1": "a"}, {"y": 1}]),
        ({"propertyNames": {"maxLength": 1}}, [{"a": 1}], [{"ab": 1}]),
        ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 1}]),
        ({"dependentRequired": {"a": ["b"]}}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, [{}], [{"a": 1}]),
        ({"enum": [1, "a", [True]]}, [1, 1.0, "a", [True]], [True, [1], None]),
        ({"const": {"a": [1]}}, [{"a": [1.0]}], [{"a": [True]}]),
        ({"const": False}, [False], [0, None]),
        ({"anyOf": [{"type": "integer"}, {"minLength": 2}]}, [1, "ab", None], ["a"]),
        ({"oneOf": [{"multipleOf": 3}, {"multipleOf": 5}]}, [3, 5], [15, 1]),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}], "not": {"const": 2}}, [1], [0, 2, 3]),
        ({"if": {"minimum": 5}, "then": {"maximum": 7}, "else": {"const": 1}}, [1, 6], [2, 8]),
        (TREE, [{"v": 1}, {"v": 1, "kids": [{"v": 2}]}], [{}, {"v": 1, "kids": [{"v": "x"}]}]),
        ({"$defs": {"n": {"$anchor": "here", "type": "integer"}}, "items": {"$ref": "#here"}},
         [[1]], [["a"]]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, [None], [1]),
        ({"$ref": "#/$defs/n", "minimum": 2, "$defs": {"n": {"type": "integer"}}}, [2], [1, "a"]),
        ({"$ref": "#/definitions/n", "definitions": {"n": {"type": "integer"}}}, [2], ["a"]),
        ({"x-more": {"type": "string"}, "unit": "kg", "type": "integer"}, [2], ["a"]),
        ({"$ref": "#/components/n", "components": {"n": {"type": "integer"}}}, [2], ["a"]),
        ({"$id": "http://x/a", "items": {"$ref": "b"},
          "$defs": {"b": {"$id": "b", "type": "integer"}}}, [[1]], [["a"]]),
        ({"$id": "http://x/a", "items": {"$ref": "/a#/$defs/b"}, "$defs": {"b": {"type": "null"}}},
         [[None]], [["a"]]),
        ({"$defs": {"b": {"$dynamicAnchor": "here", "type": "null"}},
          "items": {"$dynamicRef": "#here"}}, [[None]], [["a"]]),
        ({"properties": {"a": {}}, "unevaluatedProperties": False}, [{"a": 1}, 5], [{"b": 1}]),
        ({"allOf": [{"properties": {"a": {}}}], "anyOf": [{"required": ["b"],
          "properties": {"b": {}}}, True], "unevaluatedProperties": False},
         [{"a": 1}, {"b": 1}], [{"c": 1}]),
        ({"prefixItems": [{"const": 1}], "contains": {"const": 2}, "unevaluatedItems": False},
         [[1, 2, 2]], [[1, 2, 3]]),
        ({"maxLength": 2.0}, ["ab"], ["abc"]),
    ],
)  # fmt: skip
def test_a_document_accepts_what_it_says(document: Any, good: list[Any], bad: list[Any]) -> None:
    schema = Schema.from_json_schema(document)
    again = Schema.from_json_schema(schema.to_json_schema())
    for one in (schema, again):
        assert [one.validate(value).errors for value in good] == [[] for _ in good]
        assert all(one.validate(value).errors for value in bad)


@pytest.mark.parametrize(
    "document,pointer",
    [
        ({"type": "strin"}, "#/type"),
        ({"tpye": "string"}, "#/tpye"),
        ({"items": {"unevaluatedItem": False}}, "#/items/unevaluatedItem"),
        ({"max-length": 2}, "#/max-length"),
        ({"x-kairos-opaque": ["a"]}, "#/x-kairos-opaque"),
        ({"additionalItems": False}, "#/additionalItems"),
        ({"dependencies": {"a": ["b"]}}, "#/dependencies"),
        ({"$dynamicRef": "#a"}, "#/$dynamicRef"),
        ({"definitions": {"a": 5}}, "#/definitions/a"),
        ({"$id": "http://x/y#z"}, "#/$id"),
        ({"$defs": {"a": {"$id": "x"}, "b": {"$id": "x", "not": {}}}}, "#/$defs/b/$id"),
        ({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x", "not": {}}}}, "#/$defs/b/$anchor"),
        ({"properties": {"a/b": {"minLenght": 1}}}, "#/properties/a~1b/minLenght"),
        ({"items": [{}]}, "#/items"),
        ({"anyOf": []}, "#/anyOf"),
        ({"anyOf": [{}, {"allOf": {}}]}, "#/anyOf/1/allOf"),
        ({"properties": []}, "#/properties"),
        ({"format": "nonsense"}, "#/format"),
        ({"pattern": "(?=x)"}, "#/pattern"),
        ({"patternProperties": {"(": {}}}, "#/patternProperties"),
        ({"minLength": -1}, "#/minLength"),
        ({"minimum": True}, "#/minimum"),
        ({"multipleOf": 0}, "#/multipleOf"),
        ({"required": "a"}, "#/required"),
        ({"dependentRequired": {"a": "b"}}, "#/dependentRequired"),
        ({"enum": []}, "#/enum"),
        ({"uniqueItems": 1}, "#/uniqueItems"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "#/$schema"),
        ({"$ref": "http://elsewhere"}, "#/$ref"),
        ({"$ref": "#/$defs/gone"}, "#/$ref"),
        ({"$ref": "#gone"}, "#/$ref"),
        ({"$ref": "#/default", "default": {"type": "nonsense"}}, "#/$ref"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}}, "#/$defs/a/$ref"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "#/$defs/a/anyOf/0/$ref"),
        (5, "#"),
        ([], "#"),
        ("x", "#"),
        (None, "#"),
        ({"const": {1, 2}}, "#/const"),
        ({"const": [float("nan")]}, "#/const/0"),
        ({"enum": ["\ud800"]}, "#/enum/0"),
        ({"properties": {1: True}}, "#/properties/1"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_keyword_and_pointer(
    document: Any, pointer: str
) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        Schema.from_json_schema(document)
    assert f" at {pointer}: " in caught.value.message
    assert caught.value.where is not None


def test_a_near_miss_gets_a_hint() -> None:
    with pytest.raises(ConfigError) as caught:
        Schema.from_json_schema({"minLenght": 1})
    assert caught.value.fix == "did you mean 'minLength'?"


def test_what_types_can_say_becomes_fields() -> None:
    schema = Schema.from_json_schema(
        {
            "type": "object",
            "title": "Review",
            "properties": {
                "name": {"type": "string", "title": "The name", "default": "x"},
                "score": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "kind": {"enum": ["a", "b"]},
                "inner": {"type": "object", "properties": {"n": {"type": "integer"}}},
                "odd": {"not": {"type": "null"}},
            },
            "required": ["name", "odd"],
            "additionalProperties": False,
        }
    )
    fields = schema.field_definitions
    assert fields["name"] == FieldDefinition(
        "name", str, notes={"title": "The name", "default": "x"}
    )
    assert fields["score"] == FieldDefinition("score", float | None, required=False)
    assert fields["tags"].type == list[str]
    assert fields["kind"].type == Literal["a", "b"]
    assert fields["inner"].type == Schema.of([FieldDefinition("n", int, required=False)])
    assert schema.required_fields == ["name", "odd"]
    found = schema.validate({"name": "a", "odd": None, "x": 1}).errors
    assert [error.field for error in found] == ["odd", "x"]
    exported = schema.to_json_schema()
    assert exported["title"] == "Review"
    assert exported["additionalProperties"] is False
    assert exported["properties"]["name"] == {"type": "string", "title": "The name", "default": "x"}
    assert (
        not schema.extend({"more": int}).validate({"name": "a", "odd": 1, "more": 1, "x": 1}).valid
    )


def test_an_optional_property_may_be_absent_but_is_none_only_where_it_says_so() -> None:
    schema = Schema.from_json_schema({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert schema.validate({}).valid
    assert not schema.validate({"a": None}).valid


def test_a_document_that_refers_to_itself_can_stand_inside_another_contract() -> None:
    tree = Schema.from_json_schema(TREE)
    outer = Schema({"tree": tree, "more": list[tree]})  # type: ignore[valid-type]
    bad = {"tree": {"v": 1, "kids": [{"v": 2, "kids": [{}]}]}, "more": []}
    assert [e.field for e in outer.validate(bad).errors] == ["tree.kids[0].kids[0].v"]
    again = Schema.from_json_schema(outer.to_json_schema())
    assert not again.validate(bad).valid
    assert again.validate({"tree": {"v": 1}, "more": [{"v": 2, "kids": []}]}).valid
    assert compile_contract(Annotated[Any, JsonRules(TREE)]).validate({"v": 1}).valid


def test_nested_alternatives_do_not_multiply() -> None:
    node = {"$ref": "#/$defs/T"}
    both = {"type": "object", "properties": {"a": node, "b": node}}
    branches = [{"type": "integer"}, *({**both, "required": [name]} for name in "ab")]
    document = {"$defs": {"T": {"oneOf": branches}}, **node}
    schema = Schema.from_json_schema(document)
    value: Any = 1
    wrong: Any = "x"
    for _ in range(80):
        value, wrong = {"a": value}, {"a": wrong}
    assert schema.validate(value).valid
    assert not schema.validate(wrong).valid


def test_a_document_that_grows_when_written_out_is_kept_as_it_is() -> None:
    levels: dict[str, Any] = {
        f"l{n}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/l{n + 1}"}] * 2}
        for n in range(40)
    }
    schema = Schema.from_json_schema(
        {"$defs": {**levels, "l40": {"type": "integer"}}, "$ref": "#/$defs/l0"}
    )
    assert schema.validate([[[1]]]).errors != []
    assert schema.validate([]).valid


def test_deep_values_are_judged_as_far_as_they_can_be_stored() -> None:
    schema = Schema.from_json_schema(TREE)
    deep: Any = {"v": 1}
    for _ in range(95):
        deep = {"v": 1, "kids": [deep]}
    assert schema.validate(deep).valid
    for _ in range(1000):
        deep = {"v": 1, "kids": [deep]}
    assert not schema.validate(deep).valid


KEYWORDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "array", "object", "null"]),
        "minimum": st.integers(-1, 2),
        "maxLength": st.integers(0, 2),
        "minItems": st.integers(0, 2),
        "enum": st.lists(st.sampled_from([0, 1, True, "a", None, 1.5]), min_size=1, max_size=3),
        "required": st.just(["a"]),
        "title": st.just("T"),
    },
)
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    KEYWORDS | st.booleans(),
    lambda inner: st.one_of(
        st.builds(lambda one: {"type": "array", "items": one}, inner),
        st.builds(lambda one: {"type": "object", "properties": {"a": one}}, inner),
        st.builds(lambda one: {"type": "object", "additionalProperties": one}, inner),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
        st.builds(lambda one: {"$defs": {"d": one}, "items": {"$ref": "#/$defs/d"}}, inner),
    ),
    max_leaves=5,
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -2, 1.5, 1.0, "", "a", "abc"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(DOCUMENTS.filter(lambda document: "$defs" not in str(document)), VALUES)
def test_typed_or_judged_a_document_means_the_same(document: Any, value: Any) -> None:
    judged = JsonRules(document).accepts(value)
    assert Schema.from_json_schema(document).validate(value).valid is judged


@given(DOCUMENTS.filter(lambda document: str(document).count("$defs") <= 2), VALUES)
def test_a_document_survives_its_own_export(document: Any, value: Any) -> None:
    try:
        schema = Schema.from_json_schema(document)
    except ConfigError:
        return
    again = Schema.from_json_schema(schema.to_json_schema())
    assert again.validate(value).valid is schema.validate(value).valid
