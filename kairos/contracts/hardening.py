"""A pydantic schema made airtight: what it lets through is JSON that reads back the same.

Stock pydantic trusts an instance of a model without looking inside, writes NaN as null, writes
a set or an int key that stands in an `Any` as something else, and may write a field under a
name that it does not read.  Each is mended here, once, in the core schema (the public
description that pydantic compiles), before the validator and the serialiser are built.

Where a schema consists only of parts whose JSON is known to read back as the same value, its
bytes need no second look.  Everything else (functions, unions, custom serialisers) is read back
and compared each time.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any

from pydantic_core import (
    PydanticSerializationError,
    SchemaSerializer,
    SchemaValidator,
    from_json,
    to_json,
)
from pydantic_core import ValidationError as PydanticError

from kairos.contracts.mending import Mender

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import CoreConfig

    from kairos.contracts.readable import Node

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "Hardened", "UnreadableError", "UnwritableError"]

MAX_DEPTH = 200
"""How deep lists and dicts may nest: the JSON parser follows no deeper."""

MAX_DIGITS = 4300
"""How many digits an integer may have: the JSON parser reads no more."""

_LONG_NUMBER = b"0" * (MAX_DIGITS + 1)
_DIGITS_TO_ZERO = bytes(ord("0") if chr(byte).isdecimal() else 32 for byte in range(256))


class UnwritableError(Exception):
    """A value satisfies its schema and yet cannot be stored as JSON.

    `path` is where, as pydantic writes a location; the text says why.
    """

    def __init__(self, why: str, path: tuple[int | str, ...] = ()) -> None:
        super().__init__(why)
        self.why = why
        self.path = path


class UnreadableError(Exception):
    """What was written does not satisfy the schema that it was written by."""

    def __init__(self, raw: bytes, cause: PydanticError) -> None:
        super().__init__("the bytes do not satisfy the schema")
        self.raw = raw
        self.cause = cause


class Hardened:
    """A validator and a serialiser built from one mended schema."""

    def __init__(
        self,
        schema: Node,
        *,
        config: Mapping[str, Any] | None = None,
        json_value: Callable[[Any], Any],
    ) -> None:
        settings = {
            **(config or {}),
            "allow_inf_nan": False,
            "ser_json_inf_nan": "constants",
            "hide_input_in_errors": True,
        }
        mender = Mender(settings, json_value)
        mended = mender.mend(schema)
        self._exact = mender.exact
        self._deep = mender.deep
        self._confusing = mender.confusing
        # An instance is looked into by its field names, so one with aliases cannot be; there a
        # value made of built-ins alone is let through, and an instance is read back.
        self._looks_inside = mender.exact and not mender.aliased
        if self._looks_inside:
            mender = Mender({**settings, "revalidate_instances": "always"}, json_value)
            mended = mender.mend(schema)
        core: CoreConfig = mender.settings  # type: ignore[assignment]
        # prebuilt parts are the stock ones, which are what is mended here
        whole: Any = mended
        self.validator = SchemaValidator(whole, core, _use_prebuilt=False)
        self.serializer = SchemaSerializer(whole, core, _use_prebuilt=False)

    def write(self, value: object) -> bytes:
        """Return the JSON of `value`, which satisfies the schema and reads back the same.

        Raises pydantic's ValidationError or UnreadableError where it does not satisfy the schema,
        and UnwritableError or pydantic's serialisation error where it cannot be written.
        """
        checked = self.validator.validate_python(value)
        if self._looks_inside or (self._exact and _is_builtin(value)):
            raw = self._dumped(checked)
            self._parseable(raw)
            return raw
        return self._read_back(checked)

    @property
    def says_all(self) -> bool:
        """Whether a value that satisfies the schema is JSON that reads back the same."""
        return self._looks_inside

    def plain(self, value: object) -> bytes | None:
        """Return the JSON of a value of built-ins that satisfies the schema as it is, else None."""
        try:
            self.validator.validate_python(value)
            marshal.dumps(value)  # type: ignore[arg-type]  # it refuses what it cannot take
            raw = to_json(value, inf_nan_mode="constants")
            self._parseable(raw)
        except Exception:  # noqa: BLE001 - whatever it was, the long way names it
            return None
        return raw

    def _parseable(self, raw: bytes) -> None:
        """Raise UnwritableError for what the parser would not take: great depth, long numbers.

        Both are rare, so the bytes are only parsed where a cheap look finds them possible.
        """
        if (len(raw) > MAX_DIGITS and _LONG_NUMBER in raw.translate(_DIGITS_TO_ZERO)) or (
            self._deep and raw.count(b"[") + raw.count(b"{") > MAX_DEPTH
        ):
            _parse(raw)

    def _read_back(self, checked: Any) -> bytes:
        # An instance may hold anything; let the reading say what is wrong with it, by name.
        raw = self._typed(checked)
        try:
            again = self.validator.validate_json(raw)
        except PydanticError as error:
            raise UnreadableError(raw, error) from None
        _parse(raw)
        if self._confusing and self._shape(checked) != self._shape(again):
            raise UnwritableError("holds True for 1, or 1 for True, where a choice has one of them")
        if again != checked:
            # what a model does not write at all (private attributes) is no difference
            for by_alias in (True, False):  # an extra key may hide a field of either name
                before, after = self._fields(checked, by_alias), self._fields(again, by_alias)
                if before != after:
                    raise UnwritableError(
                        "is not the same when read back: its serializer and its validator disagree",
                        _first_difference(before, after),
                    )
        return raw

    def _dumped(self, checked: Any) -> bytes:
        return self.serializer.to_json(checked, by_alias=True, warnings=False)

    def _shape(self, value: Any) -> list[int]:
        """Return how often each sign stands in the JSON of a value: a set has no order."""
        raw = self.serializer.to_json(value, warnings=False, exclude_computed_fields=True)
        return [raw.count(word) for word in (b"true", b"false", b"1", b"0")]

    def _typed(self, checked: Any) -> bytes:
        """Return the JSON of a value that is of the declared types in every part.

        A default, an instance or what a validator returned need not be.  Written as it is, and
        converted whenever it is read, it would go unnoticed up to the first reader that is strict.
        """
        try:
            return self.serializer.to_json(checked, by_alias=True, warnings="error")
        except PydanticSerializationError:
            raw = self._dumped(checked)
        try:
            again = self.validator.validate_json(raw)
        except PydanticError:
            return raw  # whoever reads it says what is wrong with it
        try:
            return self.serializer.to_json(again, by_alias=True, warnings="error")
        except PydanticSerializationError:  # a flag, say, that is none of its members
            raw = self._dumped(again)
        try:
            self.validator.validate_json(raw, strict=True)
        except PydanticError as error:
            place = next((tuple(one["loc"]) for one in error.errors(include_input=False)), ())
            raise UnwritableError(
                "is not of its declared type: a validator returned another", place
            ) from None
        return raw

    def _fields(self, value: Any, by_alias: bool) -> Any:  # noqa: FBT001 - as pydantic has it
        return self.serializer.to_python(value, by_alias=by_alias, warnings=False)


def _parse(raw: bytes) -> None:
    try:
        from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        text = str(error)
        if "recursion" in text:
            why = f"nests deeper than {MAX_DEPTH} levels"
        elif "out of range" in text:
            why = f"holds an int of more than {MAX_DIGITS} digits"
        else:
            why = "holds NaN or Infinity, which JSON cannot say"
        raise UnwritableError(why) from None


def _is_builtin(value: object) -> bool:
    """Say whether `value` is made of exact built-ins alone, with no instance anywhere in it."""
    try:
        marshal.dumps(value)  # type: ignore[arg-type]  # it refuses what it cannot take
    except ValueError:
        return False
    return True


def _first_difference(before: Any, after: Any) -> tuple[int | str, ...]:
    """Return the way to the first part in which two dumps differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, inner in before.items():
            if key not in after or after[key] != inner:
                return (str(key), *_first_difference(inner, after.get(key)))
    if isinstance(before, list) and isinstance(after, list):
        for index, (one, other) in enumerate(zip(before, after, strict=False)):
            if one != other:
                return (index, *_first_difference(one, other))
    return ()
