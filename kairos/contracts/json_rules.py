"""JSON Schema 2020-12 as a judge: whether a JSON value satisfies a document, and where not.

This is the meaning of every document that `Schema.from_json_schema` takes and that Python types
cannot say.  It is exact where the standard is, with three decisions: `format` is asserted, by
pydantic's own parsers; 1.0 is no integer, since a Schema converts nothing; and a float is a
multiple within pydantic's tolerance.  A document meant `to_the_letter` makes only the first.
Patterns run on pydantic's linear-time engine, so no document can make a value take for ever; a
schema that is asked twice about the same part of a value answers from memory, so nested `oneOf`
stays cheap.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pydantic_core import (
    InitErrorDetails,
    PydanticCustomError,
    core_schema,
)
from pydantic_core import ValidationError as PydanticError

from kairos.contracts.field_errors import RULE
from kairos.contracts.json_checks import (
    ENFORCED,
    TO_THE_LETTER,
    Meaning,
    matches,
    wrong_type,
)
from kairos.contracts.json_documents import Document
from kairos.contracts.json_evaluated import Seen, looked_at
from kairos.contracts.json_keywords import format_parser, is_free_format
from kairos.contracts.rules import same_json

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

__all__ = ["Fault", "JsonRules", "UnknownFormatError"]

_MOST_WORDS = 80  # about the alternatives of a union
_MOST_FAULTS = 100  # of one part: more help nobody


class UnknownFormatError(ValueError):
    """A value hangs on a `format` that nothing here can parse."""


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

    def __init__(self, document: Any, *, to_the_letter: bool = False) -> None:
        self.source = document if isinstance(document, Document) else Document(document)
        self._meaning = TO_THE_LETTER if to_the_letter else ENFORCED

    @property
    def document(self) -> Any:
        """The document itself."""
        return self.source.root

    def faults(self, value: Any) -> list[Fault]:
        """Return everything in the JSON `value` that breaks the document."""
        return list(_Judge(self.source, self._meaning).faults(self.source.root, value))

    def accepts(self, value: Any) -> bool:
        """Say whether the JSON `value` satisfies the document."""
        return not self.faults(value)

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


_Faults: TypeAlias = "tuple[Fault, ...]"
_Asking: TypeAlias = "Generator[tuple[Any, Any], _Faults, list[Fault]]"


class _Judge:
    """One judgement of one value, with what has been found out so far.

    What looks at a part is a generator: it yields a schema and a value that it needs judged, is
    sent their faults, and returns its own.  The loop in `faults` runs these, so that a deep value
    costs memory and not the interpreter's stack.
    """

    def __init__(self, source: Document, meaning: Meaning) -> None:
        self._source = source
        self._types, self._checks = meaning
        # schemas and values live as long as the judgement does, so their ids stay theirs
        self._known: dict[tuple[int, int], _Faults] = {}
        self._seen: dict[tuple[int, int], Seen] = {}

    def faults(self, schema: Any, value: Any) -> _Faults:
        """Return what is wrong with `value`, with places relative to it."""
        known = self._known
        top = (id(schema), id(value))
        tasks = [(top, self._look(schema, value))]
        answer: Any = None  # which starts a task
        while tasks:
            key, task = tasks[-1]
            try:
                asked = task.send(answer)  # pyright: ignore[reportArgumentType] - None starts it
            except StopIteration as done:
                tasks.pop()
                answer = known[key] = tuple(done.value[:_MOST_FAULTS])
                continue
            below = (id(asked[0]), id(asked[1]))
            answer = known.get(below)
            if answer is None:
                tasks.append((below, self._look(*asked)))
        return known[top]

    def _look(self, schema: Any, value: Any) -> _Asking:
        if isinstance(schema, bool):
            return [] if schema else [Fault((), "nothing", value)]
        wrong = wrong_type(schema, value, self._types)
        if wrong:
            return [Fault((), wrong, value)]
        known = self._checks
        answers = (known[word](bound, value) for word, bound in schema.items() if word in known)
        found = [Fault((), expected, value) for expected in answers if expected]
        if "format" in schema and not found:
            found = _format(schema["format"], value)
        if isinstance(value, list):
            found += yield from self._items(schema, value)
        elif isinstance(value, dict):
            found += yield from self._properties(schema, value)
        found += yield from self._combined(schema, value)
        found += yield from self._left_over(schema, value)
        return found

    def _left_over(self, schema: Any, value: Any) -> _Asking:
        """Find what no other keyword has looked at and the unevaluated ones refuse."""
        kind = "unevaluatedProperties" if isinstance(value, dict) else "unevaluatedItems"
        if kind not in schema or not isinstance(value, dict | list):
            return []
        rest = schema[kind]
        seen = yield from looked_at(schema, value, self._source.resolve, self._seen)
        found: list[Fault] = []
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if name not in seen:
                found += _below(name, (yield rest, inner))
        return found

    def _items(self, schema: Any, value: list[Any]) -> _Asking:
        found: list[Fault] = []
        first = schema.get("prefixItems", ())
        for index, item in enumerate(value):
            inner = first[index] if index < len(first) else schema.get("items", True)
            found += _below(index, (yield inner, item))
        if "contains" in schema:
            count = 0
            for item in value:
                count += not (yield schema["contains"], item)
            low, high = schema.get("minContains", 1), schema.get("maxContains")
            if count < low or (high is not None and count > high):
                most = "" if high is None else f" and at most {high}"
                words = f"at least {low}{most} of the items it must contain"
                found.append(Fault((), words, value))
        return found

    def _properties(self, schema: Any, value: dict[str, Any]) -> _Asking:
        named = schema.get("properties", {})
        patterns = schema.get("patternProperties", {})
        found = _absent(schema.get("required", ()), value)
        for name, inner in value.items():
            hits = [part for regex, part in patterns.items() if matches(regex, name)]
            if name in named:
                hits.append(named[name])
            rest = True if hits else schema.get("additionalProperties", True)
            if rest is False:
                found.append(Fault((name,), "no further keys", inner))
            else:
                for part in hits or [rest]:
                    found += _below(name, (yield part, inner))
            found += yield from self._demands(schema, name, value)
        return found

    def _demands(self, schema: Any, name: str, value: dict[str, Any]) -> _Asking:
        """Find what the presence of the key `name` demands and `value` does not give."""
        found: list[Fault] = []
        if "propertyNames" in schema and (yield schema["propertyNames"], name):
            found.append(Fault((), "keys as propertyNames wants them", value))
        found += _absent(schema.get("dependentRequired", {}).get(name, ()), value)
        if name in schema.get("dependentSchemas", {}):
            found += yield schema["dependentSchemas"][name], value
        return found

    def _combined(self, schema: Any, value: Any) -> _Asking:
        found: list[Fault] = []
        if "$ref" in schema:
            found += yield self._source.resolve(schema), value
        for part in schema.get("allOf", ()):
            found += yield part, value
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                found += yield from self._alternatives(schema[keyword], value, keyword)
        if "not" in schema and not (yield schema["not"], value):
            found.append(Fault((), "anything but what `not` describes", value))
        if "if" in schema:
            branch = "else" if (yield schema["if"], value) else "then"
            found += yield schema.get(branch, True), value
        return found

    def _alternatives(self, parts: list[Any], value: Any, keyword: str) -> _Asking:
        """Where no branch fits, report the one that comes nearest: it fails only further down."""
        found: list[_Faults] = []
        for part in parts:
            found.append((yield part, value))  # noqa: PERF401 - a comprehension cannot ask
        hits = found.count(())
        if hits == 1 or (hits and keyword == "anyOf"):
            return []
        if hits:
            return [Fault((), "exactly one of its alternatives", value)]
        deeper = [faults for faults in found if all(fault.loc for fault in faults)]
        if len(deeper) == 1:
            return list(deeper[0])
        words = " or ".join(dict.fromkeys(faults[0].expected for faults in found))
        short = len(words) <= _MOST_WORDS
        return [Fault((), words if short else f"one of {len(parts)} alternatives", value)]


def _absent(names: Iterable[str], value: dict[str, Any]) -> list[Fault]:
    return [Fault((name,), "a value", value, missing=True) for name in names if name not in value]


def _below(part: str | int, faults: _Faults) -> list[Fault]:
    return [fault._replace(loc=(part, *fault.loc)) for fault in faults]


def _format(name: str, value: Any) -> list[Fault]:
    """Ask last: only a value that nothing else refuses hangs on a format that nobody can tell."""
    if not isinstance(value, str) or is_free_format(name):
        return []
    parse = format_parser(name)
    if parse is None:
        raise UnknownFormatError(name)
    return [] if parse(value) else [Fault((), f"str as {name}", value)]
