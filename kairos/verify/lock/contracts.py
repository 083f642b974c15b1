"""A contract as a lock holds it: documents that say the same in every process.

The proof's own documents name a validator by its place in memory and a model by its number.  Here
a validator goes by its fingerprint and a model by its name; titles and other annotations are left
out, and what must stay secret is a digest that can be compared and not read.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, NotRequired
from urllib.parse import unquote

from typing_extensions import TypedDict

from kairos.contracts.json_keywords import ASSERTIONS, mapped
from kairos.contracts.readable import drop_unreadable
from kairos.exceptions import KairosError
from kairos.security import scrub_credentials
from kairos.verify.lock.fingerprints import fingerprint
from kairos.verify.proof.core_schemas import Side, Translator
from kairos.verify.proof.limits import UnsupportedError
from kairos.verify.proof.reading import OPAQUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kairos.contracts.contract import Contract
    from kairos.redaction.redactor import Redactor

__all__ = ["UNTOLD", "LockedContract", "locked_contract", "text_of"]

UNTOLD = "#?"
"""What stands for the fingerprint of a predicate that cannot be recognised again."""

_KEPT = ASSERTIONS | {OPAQUE, "$id", "$defs", "definitions", "$anchor", "$dynamicAnchor"}
_NOW = "before or after now"  # what a bound that moves is called by the translation
_EMBEDDED = "kairos:contract"
_KINDS: dict[type, str] = {str: "string", int: "integer", float: "number"}


class LockedContract(TypedDict):
    """One contract as JSON Schema documents.

    accepts: what it takes as it is.
    emits:   what it may let through; absent where that is the same.
    takes:   what it may take by conversion besides; absent where that is the same.
    """

    accepts: Any
    emits: NotRequired[Any]
    takes: NotRequired[Any]


def text_of(value: Any) -> str:
    """Return plain data as a text that equal data has too."""
    return json.dumps(value, sort_keys=True)


def locked_contract(contract: Contract, redactor: Redactor, *, key: str = "") -> LockedContract:
    """Return a contract as a lock holds it; never raises for what is wrong inside it.

    `redactor` says which names hold secrets; `key` is the name that the value itself goes by.
    """
    secret = bool(key) and redactor.is_sensitive(key)

    def said(walk: type[_Durable], side: Side) -> Any:
        return _document(contract, walk, side, redactor, secret=secret)

    found = LockedContract(accepts=said(_Durable, "accepts"))
    emits = said(_Durable, "keeps" if contract.keeps else "emits")
    takes = said(_Loose, "keeps")
    if emits != found["accepts"]:
        found["emits"] = emits
    if takes != found["accepts"]:
        found["takes"] = takes
    return found


class _Durable(Translator):
    """The proof's own translation, with predicates that go by what they are."""

    def __init__(self, side: Side, definitions: Mapping[str, Any]) -> None:
        super().__init__(side)
        self._definitions_by_ref = definitions

    def named(self, what: str, parts: list[Any]) -> str:
        """Return a name that the same predicate has in every process."""
        # what no other part is the same as carries its side, so that no two sides are found equal
        if _NOW in what:
            return f"{what}#{self.side}"
        used = _used([parts], self._definitions_by_ref)
        known = fingerprint([parts, used])
        return f"{what}{UNTOLD} {self.side}" if known is None else f"{what}#{known}"


class _Loose(_Durable):
    """Covers what a lax reader may take by converting it."""

    def part(self, node: Any, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return what one core schema may take."""
        strict = node.get("strict", config.get("strict"))
        numbers = node.get("coerce_numbers_to_str", config.get("coerce_numbers_to_str"))
        if node["type"] in _SHAPED or (node["type"] == "str" and not numbers) or strict:
            return super().part(node, config)
        return _LAX.get(node["type"], {})


# whose values a lax reader takes for what they are: their parts are looked at one by one
_SHAPED = frozenset(
    {
        "any", "none", "literal", "list", "set", "frozenset", "tuple", "named-tuple", "dict",
        "nullable", "union", "tagged-union", "default", "custom-error", "model", "dataclass",
        "model-fields", "dataclass-args", "typed-dict", "function-after", "definitions",
        "definition-ref",
    }
)  # fmt: skip


# a pattern speaks of texts only
_NUMERIC: dict[str, Any] = {
    "type": ["boolean", "number", "string"],
    "pattern": r"\d|[iI][nN][fF]|[nN][aA][nN]",
}
_TEXT: dict[str, Any] = {"type": "string"}
_TEMPORAL: dict[str, Any] = {"type": ["number", "string"], "pattern": r"\d"}
# at least what pydantic reads a scalar from, in JSON; where it is not known, anything
_LAX: dict[str, dict[str, Any]] = {
    "int": _NUMERIC,
    "float": _NUMERIC,
    "decimal": _NUMERIC,
    "bool": {
        "type": ["boolean", "number", "string"],
        "pattern": r"^(?i:0|1|off|on|f|t|false|true|n|y|no|yes)$",
    },
    "datetime": _TEMPORAL,
    "date": _TEMPORAL,
    "time": _TEMPORAL,
    "timedelta": _TEMPORAL,
    "bytes": _TEXT,
    "url": _TEXT,
    "uuid": _TEXT,
    "json": _TEXT,
}


def _used(schema: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definitions that a part of a core schema refers to, and those that they do."""
    found: dict[str, Any] = {}
    waiting = [*_refs_in(schema)]
    while waiting:
        ref = waiting.pop()
        if ref in definitions and ref not in found:
            found[ref] = definitions[ref]
            waiting += _refs_in(definitions[ref])
    # a name has the address of its class in it; the order in which they are met has not
    return {str(nth): each for nth, each in enumerate(found.values())}


def _refs_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if schema.get("type") == "definition-ref":
            yield schema["schema_ref"]
        for key, part in schema.items():
            if key != "metadata":
                yield from _refs_in(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from _refs_in(part)


def _defined(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "definitions":
            yield from ((one["ref"], one) for one in schema["definitions"])
        for key, part in schema.items():
            if key != "metadata":
                yield from _defined(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from _defined(part)


def _document(
    contract: Contract, walk: type[_Durable], side: Side, redactor: Redactor, *, secret: bool
) -> Any:
    try:
        config = contract.settings
        schema = drop_unreadable(dict(contract.adapter.core_schema), config)
        found = walk(side, dict(_defined(schema))).document(schema, config)
        return _Settled(found, redactor).whole(secret=secret)
    except UnsupportedError as error:
        why = str(error)
    except KairosError as error:
        why = error.message
    except RecursionError:
        why = "a contract that nests too deep"
    return {OPAQUE: [f"{why}{UNTOLD} {side}"]}


class _Settled:
    """One document on its way into a lock."""

    def __init__(self, document: dict[str, Any], redactor: Redactor) -> None:
        self._document = document
        self._redactor = redactor
        self._raw: dict[str, Any] = document.get("$defs", {})
        self._names: dict[str, str] = {}
        self._secret: set[str] = set()
        self._waiting: list[str] = []
        self._numbers = count(1)

    def whole(self, *, secret: bool) -> dict[str, Any]:
        """Return the document with its definitions in the order in which they are met."""
        root = {key: part for key, part in self._document.items() if key != "$defs"}
        while True:
            known = len(self._secret)
            self._names, self._waiting, self._numbers, defs = {}, [], count(1), {}
            found = self._part(root, secret=secret)
            while self._waiting:
                raw = self._waiting.pop(0)
                defs[self._names[raw]] = self._part(self._raw[raw], secret=raw in self._secret)
            if len(self._secret) == known:  # else a definition turned out to hold a secret
                break
        return {**found, "$defs": defs} if defs else found

    def _part(self, schema: Any, *, secret: bool) -> Any:
        if not isinstance(schema, dict):
            return schema
        if "$id" in schema:  # a document of the user's own, whose references are relative to it
            inner = {key: part for key, part in schema.items() if key != "$id"}
            name = f"{_EMBEDDED}-{next(self._numbers)}"
            return {"$id": name, **_Embedded(inner, self._redactor).whole(secret=secret)}
        kept = {key: part for key, part in schema.items() if key in _KEPT}
        named = self._named(kept, secret=secret)
        found = mapped(kept, lambda part: self._part(part, secret=secret)) | named
        if "$ref" in found:
            found["$ref"] = self._pointer(found["$ref"], secret=secret)
        for keyword in ("enum", "required", "type"):
            if isinstance(found.get(keyword), list):
                found[keyword] = sorted(found[keyword], key=_order)
        return _plainer(_masked(found, secret=secret))

    def _named(self, schema: dict[str, Any], *, secret: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for keyword in ("properties", "dependentSchemas"):
            parts = schema.get(keyword)
            if isinstance(parts, dict):
                found[keyword] = {
                    name: self._part(part, secret=secret or self._redactor.is_sensitive(name))
                    for name, part in parts.items()
                }
        return found

    def _pointer(self, ref: str, *, secret: bool) -> str:
        raw = unquote(ref).removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
        if raw not in self._raw:
            return ref
        if secret:
            self._secret.add(raw)
        if raw not in self._names:
            short = re.sub(r":\d+.*", "", raw).rpartition(".")[2]
            short = re.sub(r"\W+", "_", short) or "part"
            taken = set(self._names.values())
            names = (short, *(f"{short}{n}" for n in range(2, len(taken) + 3)))
            self._names[raw] = next(name for name in names if name not in taken)
            self._waiting.append(raw)
        return f"#/$defs/{self._names[raw]}"


class _Embedded(_Settled):
    """A document inside another: its references stay as its author wrote them."""

    def whole(self, *, secret: bool) -> dict[str, Any]:
        """Return the document; what holds a secret somewhere is taken to hold it everywhere."""
        root = {key: part for key, part in self._document.items() if key != "$defs"}
        found = self._part(root, secret=secret)
        some = secret or bool(self._secret)
        defs = {name: self._part(part, secret=some) for name, part in self._raw.items()}
        return {**found, "$defs": defs} if defs else found

    def _pointer(self, ref: str, *, secret: bool) -> str:
        if secret:
            self._secret.add(ref)
        return ref


def _plainer(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the same schema in fewer words, as people review them."""
    found = dict(schema)
    if found.get("required") == []:
        del found["required"]
    kinds = found.get("type")
    if isinstance(kinds, list) and len(kinds) == 1:
        found["type"] = kinds[0]
    if "allOf" in found:
        parts = [part for part in found.pop("allOf") if part not in ({}, True)]
        if len(parts) == 1 and found.keys() <= {OPAQUE} and _may_stand_for_all(parts[0]):
            found |= parts[0]
        elif parts:
            found["allOf"] = parts
    return found


def _may_stand_for_all(part: Any) -> bool:
    return isinstance(part, dict) and part.keys().isdisjoint({OPAQUE, "$id", "$defs"})


def _masked(schema: dict[str, Any], *, secret: bool) -> dict[str, Any]:
    """Return a schema with predicates in the place of values that must not be read."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    hidden = [one for one in values if _hides(one, secret=secret)]
    if hidden:
        kept = [one for one in values if not _hides(one, secret=secret)]
        choices = [_hidden(one) for one in hidden] + ([{"enum": kept}] if kept else [])
        rest = {key: part for key, part in schema.items() if key not in {"enum", "const"}}
        schema = {**rest, "allOf": [*rest.get("allOf", ()), {"anyOf": choices}]}
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and scrub_credentials(pattern) != pattern:
        names = [*schema.get(OPAQUE, ()), f"a pattern that is not shown#{_digest(pattern)}"]
        schema = {key: part for key, part in schema.items() if key != "pattern"} | {OPAQUE: names}
    return schema


def _hides(value: Any, *, secret: bool) -> bool:
    if value is None or isinstance(value, bool):
        return False
    if secret:
        return True
    text = value if isinstance(value, str) else json.dumps(value)
    return scrub_credentials(text) != text


def _hidden(value: Any) -> dict[str, Any]:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # one number, however it is written
    kind = _KINDS.get(type(value))
    told = {} if kind is None else {"type": kind}
    return {**told, OPAQUE: [f"a value that is not shown#{_digest(json.dumps(value))}"]}


@lru_cache(maxsize=1024)
def _digest(text: str) -> str:
    # slow on purpose: a short secret must not be found by trying
    made = hashlib.scrypt(text.encode(), salt=b"kairos.lock", n=2**13, r=8, p=1, dklen=16)
    return made.hex()


def _order(value: Any) -> tuple[str, str]:
    return type(value).__name__, json.dumps(value, sort_keys=True)
