"""JSON Schema 2020-12 as a judge: whether a JSON value satisfies a document, and where not.

This is the meaning of every document that `Schema.from_json_schema` takes and that Python types
cannot say.  It is exact where the standard is, with two decisions: `format` is asserted, by
pydantic's own parsers, and 1.0 is no integer, since a Schema converts nothing.  Patterns run on
pydantic's linear-time engine, so no document can make a value take for ever; a schema that is
asked twice about the same part of a value answers from memory, so nested `oneOf` stays cheap.
"""

from __future__ import annotations

import json
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import (
    InitErrorDetails,
    PydanticCustomError,
    SchemaValidator,
    core_schema,
    to_json,
)
from pydantic_core import ValidationError as PydanticError

from kairos.field_errors import RULE
from kairos.json_documents import Document, format_parser
from kairos.rules import regex_engine, same_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

__all__ = ["Fault", "JsonRules"]

_MOST_WORDS = 80  # about the alternatives of a union
_MOST_FAULTS = 100  # of one part: more help nobody


class Fault(NamedTuple):
    """One keyword that a value breaks: where, and what was expected there."""

    loc: tuple[str | int, ...]
    expected: str
    found: Any
    missing: bool = False


class JsonRules:
    """A document as Annotated metadata: `Annotated[Any, JsonRules(document)]`.

    Raises ConfigError, naming keyword and place, for what is no JSON Schema 2020-12 and for
    what cannot be honoured.
    """

    def __init__(self, document: Any) -> None:
        self.source = Document(document)

    @property
    def document(self) -> Any:
        """The document itself."""
        return self.source.root

    def faults(self, value: Any) -> list[Fault]:
        """Return everything in the JSON `value` that breaks the document."""
        return list(_Judge(self.source).faults(self.source.root, value))

    def accepts(self, value: Any) -> bool:
        """Say whether the JSON `value` satisfies the document."""
        return _Judge(self.source).accepts(self.source.root, value)

    def enforce(self, value: Any) -> Any:
        """Return `value` as it is; raise pydantic's own kind of error when it is refused."""
        faults = self.faults(value)
        if not faults:
            return value
        details = [
            InitErrorDetails(
                type="missing"
                if fault.missing
                else PydanticCustomError(RULE, "{expected}", {"expected": fault.expected}),
                loc=fault.loc,
                input=fault.found,
            )
            for fault in faults
        ]
        raise PydanticError.from_exception_data("JSON Schema", details, hide_input=True)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.enforce, handler(source))

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.source.embedded()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JsonRules):
            return NotImplemented
        return same_json(self.document, other.document)

    def __hash__(self) -> int:
        return hash(json.dumps(self.document, sort_keys=True, default=repr))

    def __repr__(self) -> str:
        return "JSON Schema"


class _Judge:
    """One judgement of one value, with what has been found out so far."""

    def __init__(self, source: Document) -> None:
        self._source = source
        self._known: dict[tuple[int, int], tuple[Fault, ...]] = {}

    def accepts(self, schema: Any, value: Any) -> bool:
        return not self.faults(schema, value)

    def faults(self, schema: Any, value: Any) -> tuple[Fault, ...]:
        """Return what is wrong with `value`, with places relative to it."""
        # both live as long as the judgement does, so their ids stay theirs
        key = (id(schema), id(value))
        if key not in self._known:
            self._known[key] = tuple(islice(self._look(schema, value), _MOST_FAULTS))
        return self._known[key]

    def _below(self, schema: Any, value: Any, part: str | int) -> Iterator[Fault]:
        for fault in self.faults(schema, value):
            yield fault._replace(loc=(part, *fault.loc))

    def _look(self, schema: Any, value: Any) -> Iterator[Fault]:
        if schema is True:
            return
        if schema is False:
            yield Fault((), "nothing", value)
            return
        wrong_type = _wrong_type(schema, value)
        if wrong_type:
            yield Fault((), wrong_type, value)
            return
        yield from self._plain(schema, value)
        if isinstance(value, list):
            yield from self._items(schema, value)
        elif isinstance(value, dict):
            yield from self._properties(schema, value)
        yield from self._combined(schema, value)

    def _plain(self, schema: Any, value: Any) -> Iterator[Fault]:
        for keyword, bound in schema.items():
            check = _CHECKS.get(keyword)
            if check is not None:
                expected = check(bound, value)
                if expected:
                    yield Fault((), expected, value)

    def _items(self, schema: Any, value: list[Any]) -> Iterator[Fault]:
        first = schema.get("prefixItems", ())
        for index, item in enumerate(value):
            inner = first[index] if index < len(first) else schema.get("items", True)
            yield from self._below(inner, item, index)
        if "contains" in schema:
            count = sum(self.accepts(schema["contains"], item) for item in value)
            low, high = schema.get("minContains", 1), schema.get("maxContains")
            if count < low or (high is not None and count > high):
                most = "" if high is None else f" and at most {high}"
                yield Fault((), f"at least {low}{most} of the items it must contain", value)

    def _properties(self, schema: Any, value: dict[str, Any]) -> Iterator[Fault]:
        named = schema.get("properties", {})
        patterns = schema.get("patternProperties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield Fault((name,), "a value", value, missing=True)
        for name, inner in value.items():
            hits = [part for regex, part in patterns.items() if _matches(regex, name)]
            if name in named:
                hits.append(named[name])
            if not hits and "additionalProperties" in schema:
                rest = schema["additionalProperties"]
                if rest is False:
                    yield Fault((name,), "no further keys", inner)
                    continue
                hits = [rest]
            for part in hits:
                yield from self._below(part, inner, name)
            yield from self._demands(schema, name, value)

    def _demands(self, schema: Any, name: str, value: dict[str, Any]) -> Iterator[Fault]:
        """Report what the presence of the key `name` demands and `value` does not give."""
        if not self.accepts(schema.get("propertyNames", True), name):
            yield Fault((), "keys as propertyNames wants them", value)
        for needed in schema.get("dependentRequired", {}).get(name, ()):
            if needed not in value:
                yield Fault((needed,), "a value", value, missing=True)
        yield from self.faults(schema.get("dependentSchemas", {}).get(name, True), value)

    def _combined(self, schema: Any, value: Any) -> Iterator[Fault]:
        if "$ref" in schema:
            yield from self.faults(self._source.resolve(schema), value)
        for part in schema.get("allOf", ()):
            yield from self.faults(part, value)
        if "anyOf" in schema and not any(self.accepts(part, value) for part in schema["anyOf"]):
            yield from self._no_branch(schema["anyOf"], value)
        if "oneOf" in schema:
            hits = sum(self.accepts(part, value) for part in schema["oneOf"])
            if not hits:
                yield from self._no_branch(schema["oneOf"], value)
            elif hits > 1:
                yield Fault((), "exactly one of its alternatives", value)
        if "not" in schema and self.accepts(schema["not"], value):
            yield Fault((), "anything but what `not` describes", value)
        if "if" in schema:
            branch = "then" if self.accepts(schema["if"], value) else "else"
            yield from self.faults(schema.get(branch, True), value)

    def _no_branch(self, parts: list[Any], value: Any) -> Iterator[Fault]:
        """Report the branch that comes nearest: the one that does not fail at the first look."""
        found = [self.faults(part, value) for part in parts]
        deeper = [faults for faults in found if all(fault.loc for fault in faults)]
        if len(deeper) == 1:
            yield from deeper[0]
            return
        words = " or ".join(dict.fromkeys(faults[0].expected for faults in found))
        short = len(words) <= _MOST_WORDS
        yield Fault((), words if short else f"one of {len(parts)} alternatives", value)


def _wrong_type(schema: Any, value: Any) -> str:
    wanted = schema.get("type")
    if wanted is None:
        return ""
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if any(_TYPES[kind](value) for kind in kinds):
        return ""
    return " or ".join(_NAMES[kind] for kind in kinds)


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_NAMES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "array": "list",
    "object": "dict",
}


def _matches(regex: str, text: str) -> bool:
    return regex_engine(regex).isinstance_python(text)


def _multiple_of(step: Any, value: Any) -> str:
    kind = "int" if isinstance(step, int) and isinstance(value, int) else "float"
    engine = SchemaValidator({"type": kind, "multiple_of": step})
    return "" if engine.isinstance_python(value) else f"a multiple of {step}"


def _unique(wanted: bool, value: list[Any]) -> str:  # noqa: FBT001 - a check takes bound and value
    if not wanted or len({_canonical(item) for item in value}) == len(value):
        return ""
    return "items that all differ"


def _canonical(value: Any) -> bytes:
    """Return the same bytes for what is the same as JSON: 1 and 1.0, or keys in another order."""
    return to_json(_settled(value))


def _settled(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_settled(item) for item in value]
    if isinstance(value, dict):
        return {name: _settled(value[name]) for name in sorted(value)}
    return value


def _format(name: str, text: str) -> str:
    parse = format_parser(name)
    return "" if parse is None or parse(text) else f"str as {name}"


def _on(kind: str, broken: Callable[[Any, Any], bool], words: str) -> Callable[[Any, Any], str]:
    """Make a check for values of one type: what `broken` says breaks it."""
    is_kind = _TYPES[kind]

    def check(bound: Any, value: Any) -> str:
        return words.format(bound) if is_kind(value) and broken(bound, value) else ""

    return check


def _asked(kind: str, answer: Callable[[Any, Any], str]) -> Callable[[Any, Any], str]:
    """Make a check for values of one type from a function that words its own answer."""
    is_kind = _TYPES[kind]
    return lambda bound, value: answer(bound, value) if is_kind(value) else ""


def _one_of(choices: list[Any]) -> str:
    words = ", ".join(json.dumps(choice) for choice in choices)
    return words if len(words) <= 200 else f"one of {len(choices)} values"  # noqa: PLR2004


_CHECKS: dict[str, Callable[[Any, Any], str]] = {
    "minimum": _on("number", lambda bound, value: value < bound, "at least {}"),
    "maximum": _on("number", lambda bound, value: value > bound, "at most {}"),
    "exclusiveMinimum": _on("number", lambda bound, value: value <= bound, "greater than {}"),
    "exclusiveMaximum": _on("number", lambda bound, value: value >= bound, "less than {}"),
    "multipleOf": _asked("number", _multiple_of),
    "minLength": _on("string", lambda n, value: len(value) < n, "at least {} characters"),
    "maxLength": _on("string", lambda n, value: len(value) > n, "at most {} characters"),
    "pattern": _on("string", lambda regex, value: not _matches(regex, value), "a match of {}"),
    "format": _asked("string", _format),
    "minItems": _on("array", lambda n, value: len(value) < n, "at least {} items"),
    "maxItems": _on("array", lambda n, value: len(value) > n, "at most {} items"),
    "uniqueItems": _asked("array", _unique),
    "minProperties": _on("object", lambda n, value: len(value) < n, "at least {} keys"),
    "maxProperties": _on("object", lambda n, value: len(value) > n, "at most {} keys"),
    "const": lambda wanted, value: "" if same_json(wanted, value) else json.dumps(wanted)[:200],
    "enum": lambda choices, value: (
        "" if any(same_json(choice, value) for choice in choices) else _one_of(choices)
    ),
}
