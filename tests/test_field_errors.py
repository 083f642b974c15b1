"""pydantic's errors in kairos's words."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticCustomError, ValidationError
from pydantic_core.core_schema import ErrorType

from kairos.contracts.field_errors import (
    EXPECTED,
    RULE,
    FieldValidationError,
    field_errors,
    one_error,
    path_of,
)
from kairos.enums import Severity

KINDS = sorted(get_args(ErrorType))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_pydantic_knows_has_words(kind: str) -> None:
    assert kind in EXPECTED


def test_no_words_are_left_over_for_errors_that_are_gone() -> None:
    assert set(EXPECTED) - set(KINDS) == {RULE, "json_value"}


def error_of(kind: Any, value: Any, *loc: int | str) -> ValidationError:
    return ValidationError.from_exception_data("t", [{"type": kind, "loc": loc, "input": value}])


@pytest.mark.parametrize(
    "loc,path",
    [
        ((), "<root>"),
        (("a",), "a"),
        (("items", 1, "name"), "items[1].name"),
        ((0, "a"), "[0].a"),
        (("my-field", "with space"), "my-field['with space']"),
        (("x" * 100,), f"['{'x' * 40}']"),
    ],
)
def test_places_are_written_as_paths(loc: tuple[int | str, ...], path: str) -> None:
    assert path_of(loc) == path


def test_somebody_elses_error_is_told_without_its_text() -> None:
    own = PydanticCustomError("leak_hunter2", "the password hunter2 is weak")
    found = field_errors(error_of(own, "hunter2", "a"), {"a": "hunter2"})
    assert found == (one_error("a", "what its validator accepts", "str"),)


def test_somebody_elses_error_under_a_known_name_does_no_harm() -> None:
    own = PydanticCustomError("greater_than", "nonsense")
    assert field_errors(error_of(own, 1, "a"), {"a": 1})[0].expected == "what its validator accepts"


def test_bounds_are_told_since_they_are_the_contracts_own() -> None:
    details: Any = {"type": "less_than", "loc": ("a",), "input": 7, "ctx": {"lt": 5}}
    known = ValidationError.from_exception_data("t", [details])
    assert field_errors(known, {"a": 7}) == (
        FieldValidationError("a", "less than 5", "int", "a: expected less than 5, found int"),
    )


def test_names_of_union_members_are_no_part_of_a_path() -> None:
    class A(BaseModel):
        x: int

    class B(BaseModel):
        A: int  # a field that is called like the other member

    class Both(BaseModel):
        it: A | B

    with pytest.raises(ValidationError) as caught:
        Both.model_validate({"it": {"A": "q"}})
    fields = [error.field for error in field_errors(caught.value, {"it": {"A": "q"}})]
    assert "it.A" in fields
    assert not any("B" in field for field in fields)


def test_an_error_is_an_error_unless_said_otherwise() -> None:
    assert one_error("a", "b", "c").severity is Severity.ERROR
