"""JSON Schema documents: which keywords there are, what each must hold, where a $ref leads.

A document is checked as a whole before anything is asked of it, so that a keyword which could
not be honoured is refused when the contract is declared and never passed over.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pydantic_core import PydanticSerializationError, from_json, to_json

from kairos.contracts.rules import regex_engine
from kairos.exceptions import ConfigError, did_you_mean
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ANNOTATIONS", "Document", "format_parser", "mapped", "shown_again"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

ANNOTATIONS = frozenset(
    {
        "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
        "$comment", "$schema", "$id", "$defs", "contentEncoding", "contentMediaType",
        "contentSchema", "discriminator",
    }
)  # fmt: skip
"""Keywords that tell of a value and refuse none.

`discriminator` is OpenAPI's; pydantic writes it beside the `oneOf` that does the work."""

_SCHEMA = frozenset(
    {
        "items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else",
        "contentSchema",
    }
)  # fmt: skip
_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})
_COUNTS = frozenset(
    {
        "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
        "minContains", "maxContains",
    }
)  # fmt: skip
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_TYPES = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
_OTHERS = frozenset(
    {
        "type", "enum", "const", "multipleOf", "pattern", "format", "uniqueItems", "required",
        "dependentRequired", "$ref", "$anchor",
    }
)  # fmt: skip
_KNOWN = _SCHEMA | _SCHEMAS | _NAMED | _COUNTS | _BOUNDS | _OTHERS | ANNOTATIONS

# pydantic's own names for texts that any string may be
_FREE_FORMATS = frozenset({"binary", "password", "path", "file-path", "directory-path"})
_PARSED_FORMATS = {
    "date-time": "datetime.datetime",
    "date": "datetime.date",
    "time": "datetime.time",
    "duration": "datetime.timedelta",
    "uuid": "uuid.UUID",
    "uuid1": "pydantic.UUID1",
    "uuid3": "pydantic.UUID3",
    "uuid4": "pydantic.UUID4",
    "uuid5": "pydantic.UUID5",
    "uuid6": "pydantic.UUID6",
    "uuid7": "pydantic.UUID7",
    "uuid8": "pydantic.UUID8",
    "ipv4": "ipaddress.IPv4Address",
    "ipv6": "ipaddress.IPv6Address",
    "ipv4network": "ipaddress.IPv4Network",
    "ipv6network": "ipaddress.IPv6Network",
    "ipv4interface": "ipaddress.IPv4Interface",
    "ipv6interface": "ipaddress.IPv6Interface",
    "ipvanyaddress": "pydantic.IPvAnyAddress",
    "ipvanynetwork": "pydantic.IPvAnyNetwork",
    "ipvanyinterface": "pydantic.IPvAnyInterface",
    "uri": "pydantic.AnyUrl",
    "multi-host-uri": "pydantic.MultiHostUrl",
    "base64": "pydantic.Base64Bytes",
    "base64url": "pydantic.Base64UrlBytes",
    "json-string": "pydantic.Json",
    "email": "pydantic.EmailStr",
    "name-email": "pydantic.NameEmail",
}


class Document:
    """One checked document; `resolve` follows its references, `recursive` says if they circle."""

    def __init__(self, root: Any) -> None:
        self.root = _json_copy(root)
        # a part with an $id is a document of its own: references in it start there
        self._base: dict[int, Any] = {}
        self._anchors: dict[tuple[int, str], Any] = {}
        self._refs: list[tuple[dict[str, Any], str]] = []
        self._schemas: set[int] = set()  # the ids of the parts that are schemas
        try:
            self._check(self.root, "#", self.root)
        except RecursionError:
            raise _refused("the document", "#", "less depth", "too much of it") from None
        for node, pointer in self._refs:
            self._find(node, pointer)
        self._refuse_loops()

    @property
    def has_refs(self) -> bool:
        """Whether any part refers to another."""
        return bool(self._refs)

    def resolve(self, node: dict[str, Any]) -> Any:
        """Return the part of the document that the `$ref` of `node` names."""
        return self._find(node, "#")

    def embedded(self) -> dict[str, Any]:
        """Return the document as a part of another, its references hidden from pydantic.

        pydantic takes every `$ref` for one of its own; `Contract.json_schema` shows them again,
        relative to the `$id` that is given here.
        """
        if not isinstance(self.root, dict):
            return {"not": {}} if self.root is False else {}
        return {**_hidden(self.root), **self._identity()}

    def _identity(self) -> dict[str, Any]:
        if not self._refs or "$id" in self.root:
            return {}
        import hashlib  # noqa: PLC0415 - only a document that refers to itself needs a name

        digest = hashlib.sha256(to_json(self.root)).hexdigest()[:16]
        return {"$id": f"urn:kairos:schema:{digest}"}

    def _check(self, schema: Any, pointer: str, base: Any) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise _refused("a schema", pointer, "an object, true or false", type(schema).__name__)
        base = schema if "$id" in schema else base
        self._schemas.add(id(schema))
        for keyword, value in schema.items():
            here = f"{pointer}/{_escaped(keyword)}"
            if keyword not in _KNOWN:
                raise _refused(
                    f"the keyword {keyword!r}",
                    here,
                    "a keyword of JSON Schema 2020-12 that kairos honours",
                    "one that would be ignored",
                    did_you_mean(keyword, _KNOWN) or "leave it out, or say it another way",
                )
            if keyword == "$ref":
                self._check_ref(schema, here, base)
            elif keyword == "$anchor":
                self._anchors[id(base), str(value)] = schema
            else:
                self._check_keyword(keyword, value, here, base)

    def _check_keyword(self, keyword: str, value: Any, here: str, base: Any) -> None:
        if keyword in _SCHEMA:
            self._check(value, here, base)
        elif keyword in _SCHEMAS:
            if not isinstance(value, list) or not value:
                raise _refused(
                    f"{keyword!r}", here, "a list of schemas, at least one", _kind(value)
                )
            for index, part in enumerate(value):
                self._check(part, f"{here}/{index}", base)
        elif keyword in _NAMED:
            if not isinstance(value, dict):
                raise _refused(f"{keyword!r}", here, "an object of schemas", _kind(value))
            for name, part in value.items():
                if keyword == "patternProperties":
                    _check_pattern(name, here)
                self._check(part, f"{here}/{_escaped(name)}", base)
        else:
            _check_plain(keyword, value, here)

    def _check_ref(self, node: dict[str, Any], here: str, base: Any) -> None:
        value = node["$ref"]
        if not isinstance(value, str) or not value.startswith("#"):
            raise _refused(
                "a $ref to another document",
                here,
                "a reference inside this document, such as #/$defs/name",
                _kind(value),
                "copy what it refers to into $defs",
            )
        self._base[id(node)] = base
        self._refs.append((node, here))

    def _find(self, node: dict[str, Any], pointer: str) -> Any:
        ref: str = node["$ref"]
        part = self._base[id(node)]
        way = unquote(ref[1:])
        if way and not way.startswith("/"):
            part, way = self._anchors.get((id(part), way)), ""
        for step in way.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(part, dict) and name in part:
                part = part[name]
            elif isinstance(part, list) and name.isdecimal() and int(name) < len(part):
                part = part[int(name)]
            else:
                part = None
        if not isinstance(part, bool) and id(part) not in self._schemas:
            raise _refused("a $ref that leads nowhere", pointer, "a schema that is there", ref)
        return part

    def _refuse_loops(self) -> None:
        """Refuse a schema that is defined as itself: asking it about a value would not end."""
        for node, pointer in self._refs:
            todo, seen = [self._find(node, pointer)], set()
            while todo:
                part = todo.pop()
                if not isinstance(part, dict) or id(part) in seen:
                    continue
                if part is node:
                    ref = node["$ref"]
                    raise _refused("a $ref that leads to itself", pointer, "an end", ref)
                seen.add(id(part))
                todo += self._same_value(part)

    def _same_value(self, part: dict[str, Any]) -> Iterator[Any]:
        """Yield the schemas that judge the same value as `part` does."""
        if "$ref" in part:
            yield self.resolve(part)
        for keyword in ("allOf", "anyOf", "oneOf"):
            yield from part.get(keyword, ())
        for keyword in ("not", "if", "then", "else"):
            if keyword in part:
                yield part[keyword]
        yield from part.get("dependentSchemas", {}).values()


def _check_plain(keyword: str, value: Any, here: str) -> None:  # noqa: C901 - one case a keyword
    wrong = ""
    if keyword in _COUNTS:
        wrong = "" if _is_whole(value) and value >= 0 else "a whole number from 0 up"
    elif keyword in _BOUNDS:
        wrong = "" if _is_number(value) else "a number"
    elif keyword == "multipleOf":
        wrong = "" if _is_number(value) and value > 0 else "a number above 0"
    elif keyword == "type":
        kinds = value if isinstance(value, list) else [value]
        right = kinds and all(isinstance(kind, str) and kind in _TYPES for kind in kinds)
        wrong = "" if right else f"one or several of {', '.join(sorted(_TYPES))}"
    elif keyword == "enum":
        wrong = "" if isinstance(value, list) and value else "a list of values, at least one"
    elif keyword == "required":
        wrong = "" if _is_names(value) else "a list of names"
    elif keyword == "dependentRequired":
        right = isinstance(value, dict) and all(map(_is_names, value.values()))
        wrong = "" if right else "an object of lists of names"
    elif keyword == "uniqueItems":
        wrong = "" if isinstance(value, bool) else "true or false"
    elif keyword == "pattern":
        _check_pattern(value, here)
    elif keyword == "format":
        _check_format(value, here)
    elif keyword == "$schema":
        wrong = "" if str(value).rstrip("#") == _DIALECT else _DIALECT
    if wrong:
        raise _refused(f"{keyword!r}", here, wrong, _kind(value))


def _check_pattern(value: Any, here: str) -> None:
    if not isinstance(value, str):
        raise _refused("a pattern", here, "a string", _kind(value))
    try:
        regex_engine(value)
    except ConfigError as error:
        found = error.found or "one it does not know"
        raise _refused("a pattern", here, str(error.expected), found, error.fix) from None


def _check_format(value: Any, here: str) -> None:
    try:
        known = isinstance(value, str) and (
            value == "regex" or value in _FREE_FORMATS or format_parser(value) is not None
        )
    except ImportError as error:
        raise _refused(f"the format {value!r}", here, "its parser", str(error)) from None
    if not known:
        raise _refused(
            f"the format {value!r}",
            here,
            "a format that pydantic can parse",
            "one that would be ignored",
            did_you_mean(str(value), _PARSED_FORMATS) or "leave it out, or use a pattern",
        )


@lru_cache(maxsize=64)
def format_parser(name: str) -> Callable[[str], bool] | None:
    """Return what tells whether a text has the format; None where there is nothing to tell."""
    if name == "regex":
        return _is_regex
    path = _PARSED_FORMATS.get(name)
    if path is None:
        return None
    from importlib import import_module  # noqa: PLC0415 - only a document with a format

    from pydantic import TypeAdapter  # noqa: PLC0415 - as above

    module, _, kind = path.rpartition(".")
    adapter = TypeAdapter[Any](getattr(import_module(module), kind))

    def parses(text: str) -> bool:
        try:
            adapter.validate_json(to_json(text), strict=True)
        except (ValueError, PydanticSerializationError):
            return False
        return True

    return parses


def _is_regex(text: str) -> bool:
    try:
        regex_engine(text)
    except ConfigError:
        return False
    return True


def mapped(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a copy of `schema` with `change` made to each schema directly inside it."""
    out = dict(schema)
    for keyword, value in schema.items():
        if keyword in _SCHEMA:
            out[keyword] = change(value)
        elif keyword in _SCHEMAS:
            out[keyword] = [change(part) for part in value]
        elif keyword in _NAMED:
            out[keyword] = {name: change(part) for name, part in value.items()}
    return out


def _json_copy(root: Any) -> Any:
    try:
        copy = from_json(to_json(root, inf_nan_mode="constants"), allow_inf_nan=False)
    except (ValueError, PydanticSerializationError):
        copy = None
    if copy is None or copy != root:
        raise _refused("the document", "#", "JSON: an object of keywords", type(root).__name__)
    return copy


def _hidden(part: Any) -> Any:
    if isinstance(part, dict):
        return {_HIDE.get(name, name): _hidden(inner) for name, inner in part.items()}
    return [_hidden(inner) for inner in part] if isinstance(part, list) else part


def shown_again(part: Any) -> Any:
    """Return a JSON Schema with the references that `Document.embedded` hid."""
    if isinstance(part, dict):
        return {_SHOW.get(name, name): shown_again(inner) for name, inner in part.items()}
    return [shown_again(inner) for inner in part] if isinstance(part, list) else part


_HIDE = {"$ref": "$kairos-ref", "$defs": "$kairos-defs"}
_SHOW = {hidden: name for name, hidden in _HIDE.items()}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and isfinite(value))


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _kind(value: Any) -> str:
    return repr(value)[:60] if isinstance(value, str | int | float) else type(value).__name__


def _refused(
    what: str, pointer: str, expected: str, found: str, fix: str | None = None
) -> ConfigError:
    return ConfigError(
        f"JSON Schema: {what} at {pointer} cannot be honoured",
        where=declared_here(),
        expected=expected,
        found=found,
        fix=fix,
    )
