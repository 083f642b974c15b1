"""Schemas made to break a prover: each is decided or named in a reason, and none is a crash."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from kairos.verify import Budget, compare

STRING: dict[str, Any] = {"type": "string"}


def nested(keyword: str, depth: int) -> Any:
    found: Any = {}
    for _ in range(depth):
        if keyword == "properties":
            found = {keyword: {"a": found}}
        else:
            found = {keyword: [found]} if keyword.endswith("Of") else {keyword: found}
    return found


def shared(keyword: str, depth: int) -> Any:
    """Return a schema of few Python objects that is exponential when written out."""
    found: Any = STRING
    for _ in range(depth):
        found = {keyword: [found, found]}
    return found


def doubled(keyword: str, levels: int) -> dict[str, Any]:
    """Return definitions of which each refers to the next one twice."""
    defs: dict[str, Any] = {
        f"l{n}": {
            keyword: [{"$ref": f"#/$defs/l{n + 1}"}, {"$ref": f"#/$defs/l{n + 1}"}, {"minimum": n}]
        }
        for n in range(levels)
    }
    return {"$defs": {**defs, f"l{levels}": STRING}, "$ref": "#/$defs/l0"}


def inside_itself() -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object"}
    found["properties"] = {"a": found}
    return found


CIRCLE = {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}, STRING]}}
TWO_ENDS = {
    "$ref": "a",
    "$defs": {
        "a": {"$id": "a", "$dynamicAnchor": "x", "items": {"$dynamicRef": "#x"}},
        "b": {"$id": "b", "$dynamicAnchor": "x", "items": {"$ref": "a"}},
    },
}


@pytest.mark.parametrize(
    "schema,why",
    [
        ({"$ref": "#/$defs/gone"}, "leads nowhere"),
        ({"$ref": "https://example.com/x.json"}, "another document"),
        ({"$ref": "http://["}, "another document"),
        ({"$ref": "#"}, "leads to itself"),
        ({"$defs": CIRCLE, "$ref": "#/$defs/a"}, "leads to itself"),
        (TWO_ENDS, "one whose end depends on the way"),
        (inside_itself(), "inside itself"),
        *((shared(keyword, 40), "more than 1000000 parts") for keyword in ("anyOf", "oneOf")),
        *((nested(k, 10_000), "levels") for k in ("items", "not", "allOf", "properties")),
        ({"properties": {1: {}}}, "a key that is no text"),
        ({"const": float("nan")}, "not finite"),
        ({"maximum": float("inf")}, "not finite"),
        ({"const": "\ud800"}, "surrogate"),
        ({"minimum": 10**5_000}, "too many digits"),
        ({"enum": (1, 2)}, "a tuple"),
        ({"minLength": -1}, "'minLength'"),
        ({"minLength": 1.5}, "'minLength'"),
        ({"type": "strnig"}, "strnig"),
        ({"minimun": 3}, "did you mean 'minimum'?"),
        ({"properties": {"a": {"requierd": ["b"]}}}, "#/properties/a/requierd"),
        ({"dependencies": {"a": ["b"]}}, "dependentRequired"),
        ({"pattern": "(?=a)b"}, "look-around"),
        ({"pattern": "(a{1000}){1000}"}, "size limit"),
        ({"pattern": "(" * 5_000 + "a" + ")" * 5_000}, "nested parentheses"),
        ({"enum": [[n] for n in range(20_000)]}, "20000 values"),
    ],
)
def test_what_cannot_be_read_is_named_on_either_side(schema: Any, why: str) -> None:
    for verdict in (compare(schema, STRING), compare(STRING, schema)):
        assert (verdict.answer, why in str(verdict.reason)) == ("unknown", True), verdict


@pytest.mark.parametrize(
    "schema,answer",
    [
        (doubled("anyOf", 40), "refuted"),
        (doubled("oneOf", 40), "refuted"),
        (doubled("allOf", 40), "proved"),
        ({"enum": [f"w{n}" for n in range(100_000)]}, "proved"),
        ({"enum": [*range(100_000)]}, "refuted"),
        ({**STRING, "pattern": "(a|a)*b"}, "proved"),
        ({**STRING, "pattern": "^(a?){500}a{500}$"}, "proved"),
        ({**STRING, "minLength": 10**9}, "proved"),
        ({"type": "array", "minItems": 10**9}, "unknown"),
        ({"oneOf": [{"required": [f"k{n}"], "type": "object"} for n in range(100)]}, "refuted"),
        ({"multipleOf": 1e-300, "type": "number", "minimum": 0.5}, "refuted"),
    ],
)
def test_what_is_only_large_is_decided(schema: Any, answer: str) -> None:
    patient = Budget(seconds=60)
    assert compare(schema, STRING, budget=patient).answer == answer
    assert compare(schema, schema, budget=patient).answer == "proved"


@pytest.mark.parametrize(
    "producer,consumer",
    [
        (STRING, {"pattern": "a" * 100_000}),
        ({"properties": {f"p{n}": STRING for n in range(100_000)}}, STRING),
        ({"allOf": [{**STRING, "pattern": f"^(a|b)*a(a|b){{{n}}}$"} for n in range(30)]}, False),
        (
            {
                "type": "array",
                "items": {"enum": list(range(12))},
                "uniqueItems": True,
                "minItems": 10,
                "contains": {"minimum": 6},
                "maxContains": 3,
            },
            False,
        ),
        (
            {"allOf": [{"anyOf": [{"multipleOf": n}, {"minimum": n}]} for n in range(2, 60)]},
            {"allOf": [{"anyOf": [{"multipleOf": n}, {"maximum": n}]} for n in range(2, 60)]},
        ),
    ],
)
def test_a_search_without_an_end_stops_at_its_budget(producer: Any, consumer: Any) -> None:
    verdict = compare(producer, consumer, budget=Budget(nodes=3_000, seconds=60))
    assert verdict.answer in {"unknown", "refuted"}
    assert verdict.answer == "refuted" or "budget" in str(verdict.reason)


def test_values_of_schemas_that_share_their_parts_many_times_over_are_drawn_in_bounded_time() -> (
    None
):
    parts: dict[str, Any] = {
        f"p{n}": {"allOf": [{"$ref": f"#/$defs/p{n + 1}"}] * 40} for n in range(5)
    }
    parts["p5"] = {"type": "string", "format": "date-time"}
    asked = Annotated[str, AfterValidator(lambda value: value)]
    # taken together, that is 40 ** 5 of them
    verdict = compare({"$defs": parts, "$ref": "#/$defs/p0"}, asked)
    assert verdict.answer == "unknown"


def test_faults_in_parts_that_are_shared_many_times_over_are_told_in_bounded_time() -> None:
    def document(leaf: dict[str, Any]) -> dict[str, Any]:
        parts: dict[str, Any] = {
            f"p{n}": {
                "type": "object",
                "properties": {f"k{at}": {"$ref": f"#/$defs/p{n + 1}"} for at in range(30)},
            }
            for n in range(6)
        }
        return {"$defs": {**parts, "p6": leaf}, "$ref": "#/$defs/p0"}

    verdict = compare(document({"type": "string"}), document({"type": "integer"}))
    assert verdict.answer == "refuted"
    assert 0 < len(verdict.faults) <= 2_000  # of 30 ** 6


def test_a_schema_that_shares_its_parts_many_times_over_is_put_into_words_in_bounded_time() -> None:
    parts: dict[str, Any] = {
        f"p{n}": {"allOf": [{"$ref": f"#/$defs/p{n + 1}"}] * 400} for n in range(5)
    }
    parts["p5"] = {"type": "string"}
    verdict = compare({"$defs": parts, "$ref": "#/$defs/p0"}, {"type": "integer"})
    assert verdict.answer == "refuted"
