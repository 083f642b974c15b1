"""One field of a Schema: its type, and the rules that its value must keep besides."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema
from pydantic_core import ValidationError as PydanticError

from kairos.contracts.annotations import allows_none
from kairos.contracts.field_errors import ROOT, RULE
from kairos.contracts.rules import Rule, custom
from kairos.exceptions import ConfigError, did_you_mean
from kairos.source import declared_here

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

__all__ = ["FieldDefinition", "by_field", "has_default", "only_root", "rules_of", "with_rules"]


@dataclass(frozen=True)
class FieldDefinition:
    """One field of a Schema.

    `type` is the annotation as it was given, save that a dict of fields has become a Schema.  A
    field that is not `required` may be absent; where its type says so, it may be None.
    `notes` are what JSON Schema says of it without refusing anything: a title, a description.
    """

    name: str
    type: Any
    required: bool = True
    validators: tuple[Rule, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict, hash=False)


class _All:
    """The rules of one field as Annotated metadata: all are asked, so that all errors show."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules

    def enforce(self, value: Any) -> Any:
        broken = [rule for rule in self.rules if rule(value) is not True]
        if not broken:
            return value
        details = [
            InitErrorDetails(
                type=PydanticCustomError(RULE, "{expected}", {"expected": rule.expected}),
                input=value,
            )
            for rule in broken
        ]
        raise PydanticError.from_exception_data("rules", details, hide_input=True)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.enforce, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return reduce(lambda found, rule: rule.narrow(found), self.rules, handler(schema))


def with_rules(field: FieldDefinition) -> Any:
    """Return the field's annotation with its rules inside; None is not asked."""
    if not field.validators:
        return field.type
    if not allows_none(field.type):
        return Annotated[field.type, _All(field.validators)]
    inner = _without_none(field.type)
    if inner is None:
        return field.type
    checked: Any = Annotated[inner, _All(field.validators)]
    return checked | None


def _without_none(annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        first, *notes = typing.get_args(annotation)
        inner = _without_none(first)
        return (
            None if inner is None else reduce(lambda made, one: Annotated[made, one], notes, inner)
        )
    if origin is typing.Literal:
        values = tuple(value for value in typing.get_args(annotation) if value is not None)
        return typing.Literal[values] if values else None
    rest = [one for one in typing.get_args(annotation) if one is not type(None)]
    inside = [_without_none(one) if allows_none(one) else one for one in rest]
    return Union[tuple(inside)] if inside else None  # noqa: UP007 - the parts are values here


def has_default(annotation: Any) -> bool:
    """Say whether the annotation brings a default, so that the field may be absent."""
    if typing.get_origin(annotation) is not Annotated:
        return False
    return any(
        hasattr(note, "is_required") and not note.is_required() for note in annotation.__metadata__
    )


def by_field(validators: Any, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the validators by field; raise ConfigError for one of a field that is not there."""
    if validators is None:
        return {}
    if not isinstance(validators, Mapping):
        raise ConfigError(
            "validators go by field",
            where=declared_here(),
            expected="a dict from field names to validators",
            found=type(validators).__name__,
            fix='write validators={"name": [not_empty()]}',
        )
    for name in validators:
        if name not in fields:
            raise ConfigError(
                f"there is no field {name!r} to validate",
                where=declared_here(),
                expected=f"one of {', '.join(map(str, fields))}",
                fix=did_you_mean(str(name), map(str, fields))
                or "add the field, or drop the validator",
            )
    return validators


def only_root(validators: Any) -> Any:
    """Return the validators of a bare value, however they were given."""
    if not isinstance(validators, Mapping):
        return validators
    return by_field(validators, {ROOT: None}).get(ROOT)


def rules_of(given: Any, name: str) -> tuple[Rule, ...]:
    """Return what was given for one field as rules; raise ConfigError for what is none."""
    if given is None:
        return ()
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    if not several and not callable(given):
        raise ConfigError(
            f"the validator of field '{name}' cannot be called",
            where=declared_here(),
            expected="a validator such as not_empty(), a function, or a list of these",
            found=type(given).__name__,
        )
    each: Any = given if several else [given]
    return tuple(custom(one) for one in each)
