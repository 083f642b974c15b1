"""Validators: of one field, and of a whole value.

A field validator is called with a value and answers True, or says in a string what is wrong:
`range`, `length`, `pattern`, `one_of`, `not_empty` and `custom` make them (kairos.contracts.rules
tells more).  A whole-value validator has `validate(data, schema=None)` and returns a
ValidationResult.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from kairos.contracts.asking import ask, is_validator
from kairos.contracts.contract import compile_contract
from kairos.contracts.field_errors import FieldValidationError, ValidationResult
from kairos.contracts.llm_validator import LLMValidator
from kairos.contracts.rules import Rule, custom, length, not_empty, one_of, pattern, range_
from kairos.exceptions import ConfigError
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CompositeValidator",
    "LLMValidator",
    "Rule",
    "StructuralValidator",
    "ValidationResult",
    "Validator",
    "custom",
    "length",
    "not_empty",
    "one_of",
    "pattern",
    "range",
    "range_",
]

range = range_


@runtime_checkable
class Validator(Protocol):
    """Whatever judges a whole value."""

    def validate(self, data: object, schema: object = None) -> ValidationResult:
        """Return the verdict on `data`; never raises for what `data` holds."""
        ...


class StructuralValidator:
    """Judges a value by its contract: any that a step may declare."""

    def validate(self, data: object, schema: object = None) -> ValidationResult:
        """Return every error of `data` under `schema`; without a schema all is well.

        Raises ConfigError when `schema` is not a contract.
        """
        if schema is None:
            return ValidationResult(valid=True)
        return compile_contract(schema, where=declared_here(), label="schema").validate(data)


class CompositeValidator:
    """Several validators as one, in order; every error counts.

    One that asks a model (its `semantic` is true) is only asked about a value that has passed
    everything before it.
    """

    def __init__(self, validators: Iterable[Validator | Callable[[Any], Any]]) -> None:
        if isinstance(validators, str) or not isinstance(validators, Iterable):
            raise ConfigError(
                "a CompositeValidator holds a list of validators",
                where=declared_here(),
                found=type(validators).__name__,
                fix="write CompositeValidator([...])",
            )
        self.validators = list(validators)
        for one in self.validators:
            if not is_validator(one):
                raise ConfigError(
                    "a CompositeValidator holds validators",
                    where=declared_here(),
                    expected="objects with a method validate(data, schema=None), or functions",
                    found=getattr(one, "__name__", type(one).__name__),
                    fix="wrap field rules in a Schema and use StructuralValidator()",
                )

    def validate(self, data: object, schema: object = None) -> ValidationResult:
        """Return the errors and the metadata of all validators together."""
        errors: list[FieldValidationError] = []
        metadata: dict[str, Any] = {}
        passed = True
        for one in self.validators:
            if not passed and getattr(one, "semantic", False):
                continue
            result = ask(one, data, schema)
            passed = passed and result.valid
            errors += result.errors
            metadata |= result.metadata
        return ValidationResult(valid=passed, errors=errors, metadata=metadata)
