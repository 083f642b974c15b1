"""A declared contract, compiled: what the engine holds values to, and the bytes they become.

A value is checked and written once, when its step commits; every reader parses those bytes with
the same contract.  So what must hold is: the bytes satisfy the contract, and each reader of them
gets the same value.
"""

from __future__ import annotations

import types
import typing
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import PydanticSerializationError, from_json
from pydantic_core import ValidationError as PydanticError

from kairos.exceptions import ConfigError, ValidationError
from kairos.field_errors import ROOT, FieldValidationError, field_errors

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from kairos.source import Place

__all__ = ["Contract", "ContractBroken", "compile_contract"]


class ContractBroken(ValidationError):  # noqa: N818 - it reads as what happened
    """A value breaks its contract; `errors` says where, field by field."""

    def __init__(self, errors: tuple[FieldValidationError, ...], name: str) -> None:
        fields = ", ".join(dict.fromkeys(error.field for error in errors))
        super().__init__(f"value breaks its contract {name}: {fields}", field=errors[0].field)
        self.errors = errors


class Contract:
    """One contract, built when it is first used."""

    def __init__(self, declared: object) -> None:
        self.declared = declared

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """The pydantic adapter behind this contract."""
        from pydantic import TypeAdapter  # noqa: PLC0415 - built on first use

        if isinstance(self.declared, TypeAdapter):
            return self.declared
        return TypeAdapter(self.declared)

    @property
    def name(self) -> str:
        """A short name for messages, such as `Score` or `list[Doc]`."""
        if isinstance(self.declared, type) and not isinstance(self.declared, types.GenericAlias):
            return self.declared.__name__
        return str(self.declared)

    def check_output(self, value: object) -> bytes:
        """Return the canonical JSON of `value`, which satisfies this contract.

        Raises ContractBroken when it does not.
        """
        adapter = self.adapter
        try:
            checked = adapter.validator.validate_python(value)
            raw = adapter.serializer.to_json(checked, by_alias=True, warnings="error")
            adapter.validator.validate_json(raw)
            from_json(raw, allow_inf_nan=False)
        except PydanticError as error:
            raise ContractBroken(field_errors(error), self.name) from None
        except (PydanticSerializationError, ValueError):
            raise ContractBroken(
                (FieldValidationError(ROOT, "JSON", "unwritable", "cannot be written as JSON"),),
                self.name,
            ) from None
        return raw

    def check_json(self, raw: bytes) -> Any:
        """Return what `raw` says, as this contract's own Python value.

        Raises ContractBroken when it does not satisfy the contract.
        """
        try:
            return self.adapter.validator.validate_json(raw)
        except PydanticError as error:
            raise ContractBroken(field_errors(error), self.name) from None

    def json_schema(self, mode: Literal["validation", "serialization"]) -> dict[str, Any]:
        """Return this contract as JSON Schema 2020-12."""
        return self.adapter.json_schema(mode=mode)

    def __repr__(self) -> str:
        return f"Contract({self.name})"


def compile_contract(
    declared: object, *, where: Place | None = None, label: str = ""
) -> Contract:
    """Return the contract that `declared` stands for; `label` says whose it is, for errors.

    Raises ConfigError for what is not a contract.
    """
    if isinstance(declared, Contract):
        return declared
    if isinstance(declared, int | float | str | bytes | dict | list | tuple | set) or (
        callable(declared)
        and not isinstance(declared, type | types.GenericAlias)
        and typing.get_origin(declared) is None
        and not isinstance(declared, typing.NewType)
    ):
        raise ConfigError(
            f"{label or 'this'} is not a contract",
            where=where,
            expected="a Schema, a pydantic model, a dataclass, a TypedDict or an annotation",
            found=type(declared).__name__,
            fix="write Schema({...}) around a dict of fields",
        )
    try:
        return _compiled(declared)
    except TypeError:  # not hashable
        return Contract(declared)


@lru_cache(maxsize=4096)
def _compiled(declared: object) -> Contract:
    return Contract(declared)
