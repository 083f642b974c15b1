"""A declared contract, compiled: what the engine holds values to, and the bytes they become.

A value is checked and written once, when its step commits; every reader parses those bytes with
a contract of its own.  So two things hold of what `check_output` returns: the bytes satisfy the
contract, whatever kind of object they were made from, and each reader who parses them with the
same contract gets an equal value.  A contract whose serialiser writes what its validator would
not read as the same value is therefore refused, value by value.

A `Schema` keeps a value as it is: its bytes are the value's own JSON, extra keys and all.  Every
other contract writes its canonical form: a model's fields under the names that it reads,
with defaults filled in and conversions done.
"""

from __future__ import annotations

import marshal
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import PydanticSerializationError, to_json
from pydantic_core import ValidationError as PydanticError

from kairos.contracts.annotations import doubt, is_schema, parts, shown
from kairos.contracts.encoding import encode, json_value
from kairos.contracts.field_errors import (
    ROOT,
    FieldValidationError,
    ValidationResult,
    field_errors,
    one_error,
    path_of,
)
from kairos.contracts.hardening import Hardened, UnreadableError, UnwritableError
from kairos.contracts.readable import drop_unreadable
from kairos.contracts.rules import pattern_fix
from kairos.contracts.unreadable import UnreadableContractError
from kairos.exceptions import ConfigError, StateError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import TypeAdapter

    from kairos.source import Place

__all__ = ["Contract", "ContractBroken", "compile_contract"]

_EXPECTED = (
    "a Schema, a pydantic model, a dataclass, a TypedDict, a TypeAdapter or a type annotation"
)

_TOLD = 5  # how many errors a message names; all of them are in `errors`


class ContractBroken(ValidationError):  # noqa: N818 - it reads as what happened
    """A value breaks its contract; `errors` says where, field by field, and holds no value."""

    def __init__(self, errors: tuple[FieldValidationError, ...], name: str) -> None:
        told = "; ".join(error.message for error in errors[:_TOLD])
        more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
        super().__init__(
            f"the value breaks its contract {name}: {told}{more}", field=errors[0].field
        )
        self.errors = errors
        self.raw: bytes | None = None  # the value as JSON, where whoever checked it keeps it


class Contract:
    """One contract, built when it is first used; make it with `compile_contract`."""

    def __init__(
        self,
        declared: object,
        *,
        annotation: object = None,
        config: Mapping[str, Any] | None = None,
        where: Place | None = None,
        label: str = "",
    ) -> None:
        self.declared = declared
        self._annotation = declared if annotation is None else annotation
        self._config = config
        self._where = where
        self._label = label
        self._keeps = _holds_schema(declared)
        self._no_extras_yet = True

    @cached_property
    def name(self) -> str:
        """A short name for messages, such as `Score`, `list[Doc]` or `Schema(name, score)`."""
        if _is_adapter(self.declared):
            return shown(getattr(self.declared, "_type", "TypeAdapter"))
        return shown(self.declared)

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """The stock pydantic adapter that this contract starts from.

        Raises ConfigError when pydantic cannot build it.
        """
        from pydantic import ConfigDict, PydanticUserError, TypeAdapter  # noqa: PLC0415
        from pydantic.errors import (  # noqa: PLC0415 - built on first use
            PydanticSchemaGenerationError,
            PydanticUndefinedAnnotation,
        )
        from pydantic_core import SchemaError  # noqa: PLC0415

        try:
            if isinstance(self.declared, TypeAdapter):
                made = self.declared
            else:
                config = ConfigDict(**self._config) if self._config else None  # type: ignore[typeddict-item]
                made = TypeAdapter(self._annotation, config=config)  # type: ignore[arg-type]
            if not made.pydantic_complete:
                made.rebuild(raise_errors=True, _parent_namespace_depth=0)
        except PydanticUndefinedAnnotation as error:
            raise self._not_buildable(
                f"the name {error.name!r}, which is not defined where the contract is used",
                "define the class before the workflow, at the top level of its module",
            ) from None
        except SchemaError as error:
            found, fix = _misread(str(error))
            raise self._not_buildable(found, fix, UnreadableContractError) from None
        except (PydanticSchemaGenerationError, PydanticUserError, TypeError) as error:
            raise self._not_buildable(
                str(error).partition("\n")[0], "use types that pydantic understands"
            ) from None
        return made

    @property
    def keeps(self) -> bool:
        """Whether a value is kept as it is, extra keys and all, and not written anew."""
        return self._keeps

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What the adapter was configured with, under the names that pydantic_core has for it."""
        return self._config or _core_config(getattr(self.adapter, "_config", None))

    @cached_property
    def _hard(self) -> Hardened:
        schema = dict(self.adapter.core_schema)
        return Hardened(schema, config=self.settings, json_value=json_value)

    @cached_property
    def _closed(self) -> Hardened | None:
        """The same contract without room for extra keys, where it speaks of plain values only.

        A value that satisfies it is known through and through, so that its JSON needs no second
        look; any other value takes the long way.
        """
        if not self._hard.says_all or not _speaks_json(self.adapter.core_schema):
            return None
        closed = _without_extras(dict(self.adapter.core_schema))
        return Hardened(closed, config=self._config or {}, json_value=json_value)

    def check_output(self, value: object) -> bytes:
        """Return the canonical JSON of `value`, which satisfies this contract.

        Raises ContractBroken, with every error found, when it does not.
        """
        try:
            return self._as_it_is(value) if self._keeps else self._hard.write(value)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - validators are other people's code
            raise ContractBroken(self._errors(error, value), self.name) from None

    def check_json(self, raw: bytes) -> Any:
        """Return what `raw` says, as this contract's own Python value, made afresh.

        Raises ContractBroken, with every error found, when it does not satisfy the contract.
        """
        try:
            return self._hard.validator.validate_json(raw)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - validators are other people's code
            raise ContractBroken(self._errors(error, _parsed(raw)), self.name) from None

    def validate(self, value: object) -> ValidationResult:
        """Return every error of `value` under this contract; never raises for what it holds."""
        try:
            self.check_output(value)
        except ContractBroken as broken:
            return ValidationResult(valid=False, errors=list(broken.errors))
        return ValidationResult(valid=True)

    def json_schema(self, mode: Literal["validation", "serialization"]) -> dict[str, Any]:
        """Return this contract as JSON Schema 2020-12: what it accepts, or what it writes."""
        from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415 - built on first use

        from kairos.contracts.json_documents import shown_again  # noqa: PLC0415 - as above

        schema: Any = drop_unreadable(dict(self.adapter.core_schema), self._config or {})
        found: dict[str, Any] = shown_again(GenerateJsonSchema().generate(schema, mode=mode))
        return found

    def __repr__(self) -> str:
        return f"Contract({self.name})"

    def _as_it_is(self, value: object) -> bytes:
        closed = self._closed if self._no_extras_yet else None
        if closed is not None and (known := closed.plain(value)) is not None:
            return known
        raw = self._as_it_is_at_length(value)
        self._no_extras_yet = False  # it holds, yet not closed: more like it will come
        return raw

    def _as_it_is_at_length(self, value: object) -> bytes:
        validator = self._hard.validator
        try:
            raw = to_json(value, inf_nan_mode="null")
            # as in `encode`: no instance may answer for itself in the comparison
            marshal.dumps(value)  # type: ignore[arg-type]
            if validator.validate_json(raw) == value:
                return raw
        except Exception:  # noqa: BLE001, S110 - the slower way finds it and names it
            pass
        try:
            raw = encode(value, key="")
        except StateError:  # a datetime, a set: what the fields' own types know how to write
            return self._hard.write(value)
        validator.validate_json(raw)
        return raw

    def _errors(self, error: Exception, value: object) -> tuple[FieldValidationError, ...]:
        if isinstance(error, PydanticError):
            return field_errors(error, value)
        if isinstance(error, UnreadableError):
            return field_errors(error.cause, _parsed(error.raw))
        if isinstance(error, UnwritableError):
            return (one_error(path_of(error.path), "JSON that reads back the same", error.why),)
        if isinstance(error, PydanticSerializationError):
            found = f"{type(value).__name__} that its serializer cannot write"
            try:
                checked = self._hard.validator.validate_python(value)
                json_value(self._hard.serializer.to_python(checked, mode="json", warnings=False))
            except PydanticError as inner:
                return field_errors(inner, value)
            except Exception:  # noqa: BLE001, S110 - then there is no more to tell
                pass
        else:
            found = f"{type(error).__name__} from a validator or serializer"
        return (one_error(ROOT, "what its contract accepts", found),)

    def _not_buildable(
        self, found: str, fix: str, kind: type[ConfigError] = ConfigError
    ) -> ConfigError:
        return kind(
            f"{self._label or self.name} is not a contract",
            where=self._where,
            expected=_EXPECTED,
            found=found,
            fix=fix,
        )


def compile_contract(declared: object, *, where: Place | None = None, label: str = "") -> Contract:
    """Return the contract that `declared` stands for; the same one for the same declaration.

    `label` says in errors whose contract it is, `where` where it was declared.  What is
    obviously a contract is built when it is first used; a class that pydantic may not
    understand is built at once.

    Raises ConfigError for what is not a contract.
    """
    if isinstance(declared, Contract):
        return declared
    if is_schema(declared):
        made: Contract = declared.contract  # type: ignore[attr-defined]
        return made
    if _is_adapter(declared):
        return Contract(declared, where=where, label=label)
    against = doubt(declared)
    if against is not None and against.certain:
        raise ConfigError(
            f"{label or 'this'} is not a contract",
            where=where,
            expected=_EXPECTED,
            found=against.found,
            fix=against.fix,
        )
    try:
        # equal unions may differ in their order, which pydantic minds
        contract = _compiled(declared, str(declared))
    except TypeError:  # not hashable: some Annotated metadata
        contract = Contract(declared)
    contract._where, contract._label = contract._where or where, contract._label or label  # noqa: SLF001
    if against is not None:
        _ = contract.adapter
    return contract


@lru_cache(maxsize=4096)
def _compiled(declared: object, _written: str) -> Contract:
    return Contract(declared)


def _holds_schema(declared: object) -> bool:
    return is_schema(declared) or any(map(_holds_schema, parts(declared)))


def _is_adapter(declared: object) -> bool:
    # by name, so that pydantic is not imported for a question
    return any(
        owner.__name__ == "TypeAdapter" and owner.__module__.startswith("pydantic.")
        for owner in type(declared).__mro__
    )


def _core_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an adapter's settings under the names that pydantic_core knows them by."""
    from pydantic_core import CoreConfig  # noqa: PLC0415 - only an adapter with settings

    known = CoreConfig.__annotations__
    found = {name: inner for name, inner in (config or {}).items() if name in known}
    if config and "extra" in config:
        found["extra_fields_behavior"] = config["extra"]
    return found


def _misread(said: str) -> tuple[str, str]:
    """Return what pydantic's core found wrong in a type, and how to mend it."""
    first, *rest = said.splitlines()
    if "regex parse error" in said and rest:
        why = rest[-1].removeprefix("error: ")
        fix = pattern_fix(why) or "write a pattern that Rust's regex crate reads, as pydantic does"
        return f"the pattern {rest[1].strip()}: {why}", fix
    return first, "use types that pydantic understands"


def _parsed(raw: bytes) -> object:
    from pydantic_core import from_json  # noqa: PLC0415 - only an error pays for it

    try:
        return from_json(raw)
    except ValueError:
        return None


_JSON_TYPES = frozenset(
    ("typed-dict", "typed-dict-field", "str", "int", "float", "bool", "none", "list", "nullable")
)


def _speaks_json(schema: Any) -> bool:
    """Tell whether Python's values and JSON's are judged alike: lax models and dates are not."""
    if isinstance(schema, dict):
        kind = schema.get("type")
        if isinstance(kind, str) and kind not in _JSON_TYPES:
            return False
        return all(_speaks_json(p) for k, p in schema.items() if k not in ("metadata", "config"))
    return all(map(_speaks_json, schema)) if isinstance(schema, list) else True


def _without_extras(schema: Any) -> Any:
    """Return a core schema whose typed dicts forbid what they do not name."""
    if isinstance(schema, dict):
        closed = {key: _without_extras(part) for key, part in schema.items()}
        if closed.get("type") == "typed-dict":
            closed["extra_behavior"] = "forbid"
        return closed
    if isinstance(schema, list):
        return [_without_extras(part) for part in schema]
    return schema
