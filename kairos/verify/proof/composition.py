"""Parties made of parties: a list of one, an object of several, one that may be None.

What a step is handed is seldom one contract's output alone, and what it looks at is seldom the
whole.  A composed party says both in one document, in which the definitions of its parts are kept
apart, and passes a value on through the contracts of its parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.contract import ContractBroken
from kairos.contracts.field_errors import ROOT, one_error
from kairos.contracts.json_keywords import mapped
from kairos.verify.proof.parties import Party

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ANYTHING",
    "NOTHING",
    "Member",
    "closed",
    "list_of",
    "nullable",
    "object_of",
    "part_of",
    "property_of",
    "shape_of",
    "under",
]

_DEFS = "#/$defs/"
_MOST_REFS = 8


def _as_it_is(value: Any) -> Any:
    return value


def _only_none(value: Any) -> Any:
    if value is not None:
        raise ContractBroken((one_error(ROOT, "null", type(value).__name__),), "None")
    return value


ANYTHING = Party(True, bare=False, pass_on=_as_it_is)
"""Whatever JSON can say."""

NOTHING = Party({"type": "null"}, bare=False, pass_on=_only_none)
"""What a skipped step leaves: None."""


class Member(NamedTuple):
    """A key of an object: what stands there, and whether it always does."""

    party: Party
    always: bool = True


def nullable(party: Party) -> Party:
    """Return a party that emits or accepts None besides."""
    pass_on = party.pass_on

    def either(value: Any) -> Any:
        return value if value is None or pass_on is None else pass_on(value)

    null = {"type": "null"}
    return Party(
        _made_of([party.document], lambda parts: {"anyOf": [null, *parts]}),
        bare=False,
        pass_on=None if pass_on is None else either,
        usual=True
        if party.usual is True
        else _made_of([party.usual], lambda parts: {"anyOf": [null, *parts]}),
        is_open=party.is_open,
    )


def list_of(party: Party, *, least: int = 0, most: int | None = None) -> Party:
    """Return a party of lists, of `least` to `most` elements."""
    pass_on = party.pass_on

    def each(value: Any) -> Any:
        if not isinstance(value, list):
            raise ContractBroken((one_error(ROOT, "a list", type(value).__name__),), "list")
        return value if pass_on is None else [pass_on(one) for one in value]

    sizes = {"minItems": least} if least else {}
    if most is not None:
        sizes["maxItems"] = most

    def made(parts: list[Any]) -> Any:
        return {"type": "array", "items": parts[0], **sizes}

    return Party(
        _made_of([party.document], made),
        bare=False,
        pass_on=each,
        usual=True if party.usual is True else _made_of([party.usual], made),
        is_open=party.is_open,
    )


def object_of(members: Mapping[str, Member], *, others: bool = False) -> Party:
    """Return a party of objects with these keys; `others`: there may be more, of any value."""
    names = list(members)
    parties = [member.party for member in members.values()]
    required = [name for name, member in members.items() if member.always]

    def made(parts: list[Any]) -> Any:
        found = {
            "type": "object",
            "properties": dict(zip(names, parts, strict=True)),
            "required": required,
        }
        return found if others else {**found, "additionalProperties": False}

    def each(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ContractBroken((one_error(ROOT, "an object", type(value).__name__),), "object")
        return {
            name: one
            if name not in members or (pass_on := members[name].party.pass_on) is None
            else pass_on(one)
            for name, one in value.items()
        }

    return Party(
        _made_of([party.document for party in parties], made),
        bare=False,
        pass_on=each,
        usual=_made_of([party.usual for party in parties], made),
        is_open=any(party.is_open for party in parties),
    )


def under(name: str, party: Party) -> Party:
    """Return a consumer that looks at one key of an object, where it is there, and no other."""
    pass_on = party.pass_on

    def look(value: Any) -> Any:
        if isinstance(value, dict) and name in value and pass_on is not None:
            pass_on(value[name])
        return value

    def made(parts: list[Any]) -> Any:
        return {"type": "object", "properties": {name: parts[0]}}

    return Party(_made_of([party.document], made), bare=False, pass_on=look)


def shape_of(document: Any, kind: str = "object") -> dict[str, Any]:
    """Return the part of a document that describes such a value, or an empty one."""
    found = document
    for _ in range(_MOST_REFS):
        if not isinstance(found, dict):
            break
        if found.get("type") == kind:
            return found
        parts = found.get("allOf", ())
        if isinstance(found.get("$ref"), str) and found["$ref"].startswith(_DEFS):
            name = found["$ref"].removeprefix(_DEFS).replace("~1", "/").replace("~0", "~")
            found = document.get("$defs", {}).get(name.replace("%25", "%"))
        elif len(parts) == 1 and isinstance(parts[0], dict) and "$id" not in parts[0]:
            found = parts[0]
        else:
            break
    return {}


def part_of(document: Any, key: str) -> Any:
    """Return what a document says of one key of an object."""
    shape = shape_of(document)
    part = shape.get("properties", {}).get(key, shape.get("additionalProperties", True))
    defs = document.get("$defs") if isinstance(document, dict) else None
    return {"$defs": defs, "allOf": [part]} if defs else part


def property_of(party: Party, key: str) -> Member:
    """Return one key of a party of objects; what becomes of a value only the whole can tell."""
    made = party._replace(document=part_of(party.document, key), pass_on=None, usual=True)
    return Member(made, always=key in shape_of(party.document).get("required", ()))


def closed(party: Party) -> Party:
    """Return a producer that emits no keys but the declared ones; itself where it is closed."""
    if not party.is_open:
        return party
    document = _closed(party.document)
    if document == party.document:
        return party
    return party._replace(document=document, is_open=False)


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = mapped(schema, _closed)
    if "properties" in found and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def _made_of(documents: list[Any], made: Any) -> Any:
    """Return a document of parts, whose definitions are gathered under names of their own."""
    defs: dict[str, Any] = {}
    parts = []
    for nth, document in enumerate(documents):
        if isinstance(document, dict) and "$defs" in document:
            prefix = f"{nth}-"
            named = {f"{prefix}{k}": _moved(part, prefix) for k, part in document["$defs"].items()}
            defs |= named
            rest = {key: part for key, part in document.items() if key != "$defs"}
            parts.append(_moved(rest, prefix))
        else:
            parts.append(document)
    found = made(parts)
    return {"$defs": defs, **found} if defs else found


def _moved(schema: Any, prefix: str) -> Any:
    """Return a schema whose references lead to definitions under names with a prefix."""
    if not isinstance(schema, dict) or "$id" in schema:  # a document of its own
        return schema
    found = mapped(schema, lambda part: _moved(part, prefix))
    ref = found.get("$ref")
    if isinstance(ref, str) and ref.startswith(_DEFS):
        found["$ref"] = f"{_DEFS}{prefix}{ref.removeprefix(_DEFS)}"
    return found
