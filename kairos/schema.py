"""`Schema`: a contract written as a dict of fields, and what other forms become one.

    review = Schema(
        {"title": str, "score": float | None, "tags": list[str]},
        validators={"title": [not_empty()], "score": range(min=0, max=1)},
    )

A Schema is strict: it converts nothing, True is no int, NaN is no number.  Keys that it does not
name are allowed and kept.  A field whose type allows None may be absent as well.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema
from pydantic_core import ValidationError as PydanticError

from kairos.annotations import allows_none, doubt, shown
from kairos.contract import Contract, compile_contract
from kairos.exceptions import ConfigError, did_you_mean
from kairos.field_errors import ROOT, RULE, FieldValidationError, ValidationResult
from kairos.mending import strict
from kairos.schema_registry import ContractPair, SchemaRegistry
from kairos.source import declared_here
from kairos.validators import Rule, custom

if TYPE_CHECKING:
    from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler

__all__ = [
    "ContractPair",
    "FieldDefinition",
    "FieldValidationError",
    "Schema",
    "SchemaRegistry",
    "ValidationResult",
]

_SHOWN_FIELDS = 4  # a schema's short name lists no more


@dataclass(frozen=True)
class FieldDefinition:
    """One field of a Schema.

    `type` is the annotation as it was given, save that a dict of fields has become a Schema.  A
    field that is not `required` may be absent; where its type says so, it may be None.
    """

    name: str
    type: Any
    required: bool = True
    validators: tuple[Rule, ...] = ()


class Schema:
    """What a value must look like; `fields` names them, or is the type of a value without any.

    A field's type is any annotation pydantic understands, a Schema, or a dict of fields;
    `list[schema]`, `schema | None` and `dict[str, schema]` are types too.  `Schema(list[int])`
    and `Schema(float)` stand for a bare list or number.  `validators` maps field names to one
    validator or a list of them (for a bare type: just those); a plain function will do.

    Nothing is built before the first use.  Raises ConfigError for what is no type, for a forward
    reference, and for a validator of a field that does not exist.
    """

    __kairos_schema__ = True

    def __init__(self, fields: Any, validators: Any = None) -> None:
        self._model: type[BaseModel] | None = None
        self._notes: dict[str, Any] = {}
        self._extra: Any = True  # True: any key; False: none; else the type of their values
        self._fields: dict[str, FieldDefinition] = {}
        self._bare: Any = None
        self._rules: tuple[Rule, ...] = ()
        if isinstance(fields, Mapping):
            self._fields = _definitions(fields, _by_field(validators, fields))
        else:
            self._bare = _checked_type(fields, ROOT)
            self._rules = _rules(_only_root(validators), ROOT)

    # What it is made of

    @property
    def field_definitions(self) -> dict[str, FieldDefinition]:
        """The fields by name, in order; empty for a bare type."""
        return dict(self._fields)

    @property
    def field_names(self) -> list[str]:
        """The names of the fields, in order."""
        return list(self._fields)

    @property
    def required_fields(self) -> list[str]:
        """The names of the fields that must be present, in order."""
        return [name for name, field in self._fields.items() if field.required]

    @property
    def __name__(self) -> str:
        if self._model is not None:
            return self._model.__name__
        if self._bare is not None:
            return f"Schema({shown(self._bare)})"
        names = [*self._fields][:_SHOWN_FIELDS]
        return f"Schema({', '.join(names)}{', …' if len(self._fields) > len(names) else ''})"

    def extend(self, fields: Mapping[str, Any], validators: Any = None) -> Schema:
        """Return a new Schema with `fields` added; a name that is there already is replaced.

        What this schema says besides its fields (its model, its rule on extra keys) stays.
        Raises ConfigError for a bare type, which has no fields.
        """
        if self._model is not None:
            return self._extended_model(fields, validators)
        if self._bare is not None:
            raise ConfigError(
                f"{self.__name__} has no fields to extend",
                where=declared_here(),
                fix="write a new Schema",
            )
        kept = {name: one for name, one in self._fields.items() if name not in fields}
        by_field = _by_field(validators, {**self._fields, **fields})
        more = _definitions(fields, {n: v for n, v in by_field.items() if n in fields})
        for name in by_field.keys() & kept.keys():
            old = kept[name]
            added = old.validators + _rules(by_field[name], name)
            kept[name] = FieldDefinition(name, old.type, old.required, added)
        made = Schema({})
        made._fields = {**kept, **more}
        made._extra, made._notes = self._extra, dict(self._notes)
        return made

    # What it does

    @cached_property
    def contract(self) -> Contract:
        """The compiled form that the engine holds values to."""
        return compile_contract(self._model) if self._model else Contract(self)

    def validate(self, data: object) -> ValidationResult:
        """Return every error of `data`; never raises for what `data` holds."""
        return self.contract.validate(data)

    # Other forms of it

    def to_json_schema(self) -> dict[str, Any]:
        """Return what this schema accepts as JSON Schema 2020-12.

        Every constraint and every validator that JSON Schema can express is in it; a custom
        function is not.
        """
        return {**self.contract.json_schema("validation"), **self._notes}

    @classmethod
    def from_json_schema(cls, document: Mapping[str, Any]) -> Schema:
        """Return the Schema that a JSON Schema 2020-12 document describes.

        Raises ConfigError, naming the keyword and where it stands, for what is no JSON Schema
        and for what cannot be honoured: nothing in the document is passed over.
        """
        from kairos.jsonschema import read_json_schema  # noqa: PLC0415 - few contracts come so

        return read_json_schema(document, cls)

    @classmethod
    def from_pydantic(cls, model: type[BaseModel]) -> Schema:
        """Return a Schema that is `model` itself: constraints, validators, aliases and all.

        Raises ConfigError when `model` is not a pydantic model class.
        """
        from pydantic import BaseModel  # noqa: PLC0415 - whoever has a model has it imported

        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            is_instance = isinstance(model, BaseModel)
            raise ConfigError(
                "from_pydantic takes a pydantic model",
                where=declared_here(),
                expected="a class derived from pydantic.BaseModel",
                found=shown(model) if isinstance(model, type) else type(model).__name__,
                fix="give the class" if is_instance else "pass the type to Schema(...) instead",
            )
        made = cls({})
        made._model = model
        made._fields = {
            name: FieldDefinition(name, field.annotation, field.is_required())
            for name, field in model.model_fields.items()
        }
        return made

    def _extended_model(self, fields: Mapping[str, Any], validators: Any) -> Schema:
        from pydantic import create_model  # noqa: PLC0415 - whoever has a model has it imported

        added = Schema(fields, validators)
        base: Any = self._model
        parts: dict[str, Any] = {
            name: (_with_rules(one), ... if one.required else None)
            for name, one in added._fields.items()
        }
        return Schema.from_pydantic(create_model(base.__name__, __base__=base, **parts))

    # What pydantic and typing ask of it

    def __get_pydantic_core_schema__(
        self, _source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        if self._model is not None:
            return handler.generate_schema(self._model)
        if self._bare is not None:
            made: Any = handler.generate_schema(_with_rules(self._as_field()))
            return typing.cast("core_schema.CoreSchema", strict(made))
        fields = {
            name: core_schema.typed_dict_field(
                handler.generate_schema(_with_rules(field)), required=field.required
            )
            for name, field in self._fields.items()
        }
        typed = not isinstance(self._extra, bool)
        return core_schema.typed_dict_schema(
            fields,
            extra_behavior="forbid" if self._extra is False else "allow",
            extras_schema=handler.generate_schema(self._extra) if typed else None,
            config=core_schema.CoreConfig(strict=True, allow_inf_nan=False),
            metadata={"pydantic_js_functions": [self._describe]},
        )

    def _describe(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found: dict[str, Any] = handler(schema)
        if self._extra is True:
            found.pop("additionalProperties", None)  # open is what JSON Schema takes for granted
        return {**found, **self._notes}

    def _as_field(self) -> FieldDefinition:
        return FieldDefinition(ROOT, self._bare, validators=self._rules)

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007 - an instance has no | of its own

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007 - as above

    def __call__(self, *_: Any, **__: Any) -> typing.NoReturn:
        """Refuse to be called; `typing` takes only what looks callable for a type."""
        raise TypeError("a Schema is not called: use schema.validate(data)")

    def _same(self) -> tuple[Any, ...]:
        return (self._model, self._fields, self._bare, self._rules, self._extra, self._notes)

    def __eq__(self, other: object) -> bool:
        return self._same() == other._same() if isinstance(other, Schema) else NotImplemented

    def __hash__(self) -> int:
        # an annotation need not be hashable; its name is enough to tell most schemas apart
        names = frozenset((name, one.required) for name, one in self._fields.items())
        return hash((names, self._model, shown(self._bare)))

    def __repr__(self) -> str:
        return self.__name__


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


def _with_rules(field: FieldDefinition) -> Any:
    """Return the field's annotation with its rules inside; None is not asked."""
    if not field.validators:
        return field.type
    if not allows_none(field.type):
        return Annotated[field.type, _All(field.validators)]
    inner = _without_none(field.type)
    if inner is None:
        return field.type
    return Annotated[inner, _All(field.validators)] | None


def _without_none(annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        first, *notes = typing.get_args(annotation)
        inner = _without_none(first)
        return (
            None if inner is None else reduce(lambda made, one: Annotated[made, one], notes, inner)
        )
    if origin is typing.Literal:
        return typing.Literal[tuple(x for x in typing.get_args(annotation) if x is not None)]
    rest = [one for one in typing.get_args(annotation) if one is not type(None)]
    inside = [_without_none(one) if allows_none(one) else one for one in rest]
    return reduce(or_, inside) if len(inside) == 1 else Union[tuple(inside)] if inside else None


def _definitions(
    fields: Mapping[str, Any], validators: Mapping[str, Any]
) -> dict[str, FieldDefinition]:
    made = {}
    for name, annotation in fields.items():
        if not isinstance(name, str):
            raise ConfigError(
                "a field's name is a string",
                where=declared_here(),
                found=type(name).__name__,
                fix='write Schema({"name": str})',
            )
        kind = _checked_type(annotation, name)
        needed = not allows_none(kind) and not _has_default(kind)
        made[name] = FieldDefinition(name, kind, needed, _rules(validators.get(name), name))
    return made


def _checked_type(annotation: Any, name: str) -> Any:
    if annotation is None and name == ROOT:
        annotation = type(None)
    if isinstance(annotation, Mapping):
        return Schema(annotation)
    against = doubt(annotation)
    if against is None:
        return annotation
    if not against.certain:
        # pydantic alone can tell, and says so with a ConfigError
        _ = Contract(annotation, where=declared_here(), label=f"field '{name}'").adapter
        return annotation
    raise ConfigError(
        f"the type of field '{name}' is no type" if name != ROOT else "this is no type",
        where=declared_here(),
        expected="a type such as str or list[str], a Schema, or a dict of fields",
        found=against.found,
        fix=against.fix,
    )


def _has_default(annotation: Any) -> bool:
    if typing.get_origin(annotation) is not Annotated:
        return False
    return any(
        hasattr(note, "is_required") and not note.is_required() for note in annotation.__metadata__
    )


def _by_field(validators: Any, fields: Mapping[str, Any]) -> Mapping[str, Any]:
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


def _only_root(validators: Any) -> Any:
    if not isinstance(validators, Mapping):
        return validators
    return _by_field(validators, {ROOT: None}).get(ROOT)


def _rules(given: Any, name: str) -> tuple[Rule, ...]:
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
    return tuple(custom(one) for one in (given if several else [given]))
