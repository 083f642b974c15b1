"""A contract's schema, fitted to what a provider takes: nothing is lost without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.adapters.claude import ClaudeAdapter
from kairos.adapters.schemas import WRAPPED, Dialect, fitted, rooted
from kairos.adapters.shape import Shape
from kairos.contracts.contract import compile_contract
from kairos.models import ModelError
from kairos.testing import CallTool, FakeProviders, Say

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAUDE = ClaudeAdapter.vendor.schemas
OBJECT = {"type": "object", "additionalProperties": False}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


@pytest.mark.parametrize(
    "schema, lost",
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, ["minimum at a", "maximum at a"]),
        ({"type": "string", "minLength": 1, "format": "email"}, ["minLength at a"]),
        ({"type": "string", "format": "phone"}, ["format at a"]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, []),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["minItems at a"]),
        ({"type": "array", "items": {"type": "number", "multipleOf": 2}}, ["multipleOf at a[]"]),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, ["oneOf at a"]),
        ({"enum": ["x", "y"]}, []),
        ({"type": "string", "default": "x", "title": "A"}, []),
    ],
)
def test_what_a_provider_does_not_take_is_told_in_the_description(
    schema: dict[str, Any], lost: list[str]
) -> None:
    made = fitted(an_object(a=schema), CLAUDE)

    assert list(made.lost) == lost
    assert made.impossible == ()
    inner = made.schema["properties"]["a"]
    for name in (one.partition(" ")[0] for one in lost if "[]" not in one and "oneOf" not in one):
        assert name not in inner
        assert name in inner["description"]


@pytest.mark.parametrize(
    "schema, why",
    [
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "additionalProperties"),
        ({"type": "object"}, "additionalProperties"),
        ({}, "a schema of anything"),
        (True, "a schema of anything"),
        (False, "false"),
        ({"$ref": "#/$defs/A"}, "$ref to itself"),
    ],
)
def test_what_cannot_be_expressed_is_named_with_its_place(schema: Any, why: str) -> None:
    whole = an_object(a=schema)
    whole["$defs"] = {"A": an_object(again={"$ref": "#/$defs/A"})}

    made = fitted(whole, CLAUDE)

    assert any(one.startswith(why) for one in made.impossible) or why in str(made.impossible)


def test_optional_properties_may_be_more_than_a_provider_takes() -> None:
    schema = {**an_object(a={"type": "string"}, b={"type": "string"}), "required": ["a"]}

    assert fitted(schema, CLAUDE).impossible == ()
    assert "required" in fitted(schema, Dialect(all_required=True)).impossible[0]


@given(
    st.recursive(
        st.sampled_from(
            [{"type": "string"}, {"type": "integer", "minimum": 0}, {"enum": [1]}, {}, True, False]
        ),
        lambda inner: st.one_of(
            st.builds(lambda a, b: an_object(a=a, b=b), inner, inner),
            st.builds(lambda a: {"type": "array", "items": a}, inner),
            st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
            st.builds(lambda a: {"type": "object", "additionalProperties": a}, inner),
        ),
        max_leaves=8,
    )
)
def test_a_fitted_schema_holds_nothing_that_the_dialect_lacks(schema: Any) -> None:
    root, _ = rooted(schema if isinstance(schema, dict) else {"anyOf": [schema]})

    def look(part: Any) -> None:
        if isinstance(part, dict):
            if part.get("type") == "object":
                assert part["additionalProperties"] is False
            assert not {"minimum", "oneOf"} & part.keys()
            for name, one in part.items():
                for inner in one.values() if name == "properties" else [one]:
                    look(inner)
        elif isinstance(part, list):
            for one in part:
                look(one)

    look(fitted(root, CLAUDE).schema)


@pytest.mark.parametrize("contract", [int, list[int], int | None, dict[str, int]])
def test_a_value_that_is_no_object_is_wrapped_and_unwrapped(contract: Any) -> None:
    shape = Shape(compile_contract(contract))

    assert shape.schema is not None
    assert shape.schema["type"] == "object"
    if contract is int:
        assert shape.value(f'{{"{WRAPPED}": 3}}') == 3
        assert shape.value("3") == 3
        assert shape.value('```json\n{"value": 3}\n```') == 3
        assert shape.value("three") == "three"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as one:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-only-for-tests")
        yield one


def adapter(fake: FakeProviders, **options: Any) -> ClaudeAdapter:
    return ClaudeAdapter(
        model="claude-sonnet-5-5", base_url=fake.url, allow_localhost=True, **options
    )


def test_what_was_lost_of_a_schema_stands_in_the_answer(fake: FakeProviders) -> None:
    schema = an_object(a={"type": "integer", "minimum": 1})

    response = adapter(fake).call("Hello", output=schema)

    assert response.metadata["warnings"] == ("Claude takes no minimum at a: it is told in words",)


def test_the_arguments_of_the_forced_tool_are_the_text_of_the_answer(
    fake: FakeProviders,
) -> None:
    fake.reply([Say("Let me see."), CallTool("answer", {"x": 1})])

    response = adapter(fake).call("Hello", output={"type": "object"})

    assert response.text == '{"x": 1}'
    assert response.stop == "end"
    assert response.tool_calls == ()
    assert "arguments of a tool" in response.metadata["warnings"][0]


def test_a_model_that_does_not_call_its_tool_has_failed(fake: FakeProviders) -> None:
    fake.reply("I would rather talk.")

    with pytest.raises(ModelError) as caught:
        adapter(fake).call("Hello", output={"type": "object"})

    assert caught.value.kind == "malformed"


def test_a_server_that_only_keeps_the_line_warm_is_left_in_time(fake: FakeProviders) -> None:
    from kairos.testing import Framing

    fake.reply(("word " * 4000, Framing(delta=1, write=1, comments=True)))

    with pytest.raises(ModelError) as caught:
        adapter(fake, timeout=0.5).call("Hello")

    assert caught.value.kind == "timeout"
