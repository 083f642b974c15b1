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
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

from pydantic_core import core_schema

from kairos.contracts.annotations import allows_none, doubt, shown
from kairos.contracts.contract import Contract, compile_contract
from kairos.contracts.field_errors import ROOT, FieldValidationError, ValidationResult
from kairos.contracts.fields import (
    FieldDefinition,
    by_field,
    has_default,
    only_root,
    rules_of,
    with_rules,
)
from kairos.contracts.mending import strict
from kairos.contracts.registry import ContractPair, SchemaRegistry
from kairos.exceptions import ConfigError
from kairos.source import declared_here

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
        self._rules: tuple[Any, ...] = ()
        if isinstance(fields, Mapping):
            self._fields = _definitions(fields, by_field(validators, fields))
        else:
            self._bare = _checked_type(fields, ROOT)
            self._rules = rules_of(only_root(validators), ROOT)

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

    @property
    def bare_types(self) -> dict[str, Any] | None:
        """The types of the fields, where nothing else is asked of a value; otherwise None."""
        more = self._model is not None or self._bare is not None or self._extra is not True
        if more or any(field.validators for field in self._fields.values()):
            return None
        return {name: field.type for name, field in self._fields.items()}

    def extend(self, fields: Mapping[str, Any], validators: Any = None) -> Schema:
        """Return a new Schema with `fields` added; a name that is there already is replaced.

        What this schema says besides its fields (its model, its rule on extra keys) stays.
        Raises ConfigError for a bare type, which has no fields.
        """
        if not isinstance(fields, Mapping):
            raise ConfigError(
                "extend takes a dict of fields",
                where=declared_here(),
                found=type(fields).__name__,
                fix='write schema.extend({"name": str})',
            )
        if self._model is not None:
            return self._extended_model(fields, validators)
        if self._bare is not None:
            raise ConfigError(
                f"{self.__name__} has no fields to extend",
                where=declared_here(),
                fix="write a new Schema",
            )
        kept = {name: one for name, one in self._fields.items() if name not in fields}
        asked = by_field(validators, {**self._fields, **fields})
        more = _definitions(fields, {n: v for n, v in asked.items() if n in fields})
        for name in asked.keys() & kept.keys():
            old = kept[name]
            added = old.validators + rules_of(asked[name], name)
            kept[name] = replace(old, validators=added)
        return Schema.of({**kept, **more}.values(), extra=self._extra, notes=self._notes)

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
        return self.contract.json_schema("validation")

    @classmethod
    def of(
        cls,
        fields: Iterable[FieldDefinition],
        *,
        extra: Any = True,
        notes: Mapping[str, Any] | None = None,
    ) -> Schema:
        """Return a Schema of ready fields.

        `extra` is the type of the values of other keys; True allows any, False forbids such
        keys.  `notes` are keywords of JSON Schema that refuse nothing, such as a title.
        """
        made = cls({})
        made._fields = {one.name: one for one in fields}
        made._extra, made._notes = extra, dict(notes or {})
        return made

    @classmethod
    def from_json_schema(cls, document: Mapping[str, Any]) -> Schema:
        """Return the Schema that a JSON Schema 2020-12 document describes.

        Raises ConfigError, naming the keyword and where it stands, for what is no JSON Schema
        and for what cannot be honoured: nothing in the document is passed over.
        """
        from kairos.contracts.json_schema import read_json_schema  # noqa: PLC0415 - few contracts come so

        made: Schema = read_json_schema(document, cls)
        return made

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
            name: (with_rules(one), ... if one.required else None)
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
            return _strictly(self._as_field(), handler)
        fields = {
            name: core_schema.typed_dict_field(_strictly(field, handler), required=field.required)
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
        for name, part in found.get("properties", {}).items():
            if part.get("title") == name.replace("_", " ").title():
                del part["title"]  # pydantic's own, made from the name
            part.update(self._fields[name].notes)
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


def _strictly(field: FieldDefinition, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    made: Any = handler.generate_schema(with_rules(field))
    return typing.cast("core_schema.CoreSchema", strict(made))


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
        needed = not allows_none(kind) and not has_default(kind)
        made[name] = FieldDefinition(name, kind, needed, rules_of(validators.get(name), name))
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
