"""What a contract writes is of its declared types, and is read back as what it was."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, computed_field

from kairos.contracts.contract import ContractBroken, compile_contract


def as_text(value: int) -> Any:
    return str(value)


def same(value: Any) -> Any:
    return value


class Defaults(BaseModel):
    price: Decimal = 0  # type: ignore[assignment]
    count: Annotated[int, AfterValidator(same)] = 1.0  # type: ignore[assignment]


ODD: Any = {"price": 1, "count": 2.0}


class Area(BaseModel):
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> float:
        return self.side**2 if self.side < 9 else "large"  # type: ignore[return-value]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = Field(serialization_alias="s")


class TwoInOne(BaseModel):
    a: int = Field(serialization_alias="b")
    b: int


class Choice(BaseModel):
    a: Literal[True] = 1  # type: ignore[assignment]


class Texts(BaseModel):
    ids: Json[list[int]]
    rest: Json[Any]


@pytest.mark.parametrize(
    "declared,value,written",
    [
        (Defaults, {}, b'{"price":"0","count":1}'),
        (Defaults, Defaults.model_construct(**ODD), b'{"price":"1","count":2}'),
        (Area, {"side": 2}, b'{"side":2,"area":4.0}'),
        (Texts, {"ids": "[1]", "rest": '{"x":null}'}, b'{"ids":"[1]","rest":"{\\"x\\":null}"}'),
        (
            Texts,
            Texts.model_validate({"ids": "[1, 2]", "rest": "3"}),
            b'{"ids":"[1,2]","rest":"3"}',
        ),
        (Open, {"a": 1, "more": 2}, b'{"s":1,"more":2}'),
        (Choice, {"a": True}, b'{"a":true}'),
    ],
)
def test_a_value_is_written_as_its_declared_types_are(
    declared: Any, value: Any, written: bytes
) -> None:
    contract = compile_contract(declared)
    raw = contract.check_output(value)
    assert raw == written
    assert contract.check_output(contract.check_json(raw)) == raw


@pytest.mark.parametrize(
    "declared,value,field",
    [
        (Annotated[int, AfterValidator(as_text)], 3, "<root>"),
        (Area, {"side": 9}, "<root>"),
        (Open, {"a": 1, "s": "hidden"}, "s"),
        (Open, {"a": 1, "s": 2}, "a"),
        (TwoInOne, {"a": 1, "b": 2}, "a"),
        (Choice, {}, "<root>"),
    ],
)
def test_what_would_not_be_read_as_it_was_is_refused_by_name(
    declared: Any, value: Any, field: str
) -> None:
    with pytest.raises(ContractBroken) as caught:
        compile_contract(declared).check_output(value)
    assert caught.value.field == field
