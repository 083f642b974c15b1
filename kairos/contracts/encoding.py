"""How a value becomes bytes, and bytes a value, where no contract says how.

JSON is the only format at rest, and it is taken strictly: what `decode` gives back equals what
`encode` was given, save that a tuple comes back as a list and a model or dataclass as its
fields.  pydantic alone would write a set as a list, NaN as null and the key 1 as "1"; here each
of these is an error that says where it sits and what to do.
"""

from __future__ import annotations

import marshal
from dataclasses import is_dataclass
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import (
    InitErrorDetails,
    PydanticCustomError,
    from_json,
    to_json,
)
from pydantic_core import ValidationError as PydanticError

from kairos.contracts.hardening import MAX_DEPTH, MAX_DIGITS, Hardened
from kairos.exceptions import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "decode", "encode", "json_value"]

_BITS_OF_MAX_DIGITS = 14_285  # of 10**4300
_SHOWN_KEY = 40  # a longer key is cut in a path, so that a message stays a message


def encode(value: object, *, key: str) -> bytes:
    """Return `value` as canonical JSON; `key` names it in errors.

    Accepts str, int, finite float, bool, None, list, tuple (written as a list), dict with str
    keys, their subclasses, enums that are strings or numbers, and pydantic models and
    dataclasses, which say themselves how they are written.

    Raises StateError, with `.key`, for anything else, saying where it sits and its type.
    """
    raw = _plain_json(value)
    if raw is not None:
        return raw
    try:
        return to_json(_plain(value), inf_nan_mode="constants")
    except _NotJsonError as error:
        raise StateError(
            f"'{key}' is not JSON: {str(error.spot) or 'it'} {error.what}",
            key=key,
            expected="str, int, float, bool, None, a list or a dict of these",
            fix=error.fix,
        ) from None


def decode(raw: bytes) -> Any:
    """Return the value that `raw` says, made afresh on every call.

    Raises StateError when `raw` is not JSON.
    """
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        # the parser's message holds a position, never the text
        raise StateError(f"stored bytes are not JSON: {error}") from None


def json_value(value: object) -> Any:
    """Return `value` as exact built-ins: what a part declared as `Any` may hold.

    Raises pydantic's ValidationError, with the place inside `value`, for what is not JSON.
    """
    if _plain_json(value) is not None:
        return value
    try:
        return _plain(value)
    except _NotJsonError as error:
        wrong: str | PydanticCustomError
        if isinstance(error.item, float):
            wrong = "finite_number"
        elif isinstance(error.item, str):
            wrong = "string_unicode"
        else:
            wrong = PydanticCustomError("json_value", "{what}", {"what": error.what})
        details = InitErrorDetails(type=wrong, loc=error.spot.loc, input=error.item)
        raise PydanticError.from_exception_data("JSON", [details], hide_input=True) from None


def _plain_json(value: object) -> bytes | None:
    """Return the JSON of what already is exact JSON, else None: the way of nearly every value."""
    try:
        raw = to_json(value, inf_nan_mode="null")
        # marshal takes exact built-ins only, so no object gets to answer for itself in the
        # comparison; the comparison then finds what JSON cannot say: sets, bytes, NaN, int keys
        marshal.dumps(value)  # type: ignore[arg-type]  # it refuses what it cannot take
        return raw if from_json(raw) == value else None
    except Exception:  # noqa: BLE001 - whatever it was, the walk finds it and names it
        return None


class _NotJsonError(Exception):
    def __init__(self, spot: _Spot, item: object, what: str, fix: str) -> None:
        super().__init__(what)
        self.spot, self.item, self.what, self.fix = spot, item, what, fix


class _Spot(NamedTuple):
    """A position inside a value: the way down is rendered only when something is wrong."""

    parent: _Spot | None
    part: str | int
    box: int  # the id of the container it sits in, to tell a cycle from mere depth
    depth: int

    @property
    def loc(self) -> tuple[str | int, ...]:
        """The way down, outermost first."""
        return tuple(spot.part for spot in reversed(self.way()[:-1]))

    def way(self) -> list[_Spot]:
        """Return this spot and all above it, ending at the value itself."""
        found: list[_Spot] = [self]
        while found[-1].parent is not None:
            found.append(found[-1].parent)
        return found

    def __str__(self) -> str:
        return "".join(map(_step, self.loc))

    def first_cycle(self) -> _Spot | None:
        """Return the shallowest spot on the way here that lies twice in the same container."""
        seen: set[int] = set()
        for spot in reversed(self.way()[:-1]):
            if spot.box in seen:
                return spot.parent
            seen.add(spot.box)
        return None


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if part.isidentifier() and len(part) <= _SHOWN_KEY:
        return f".{part}"
    shown = part if len(part) <= _SHOWN_KEY else f"{part[:_SHOWN_KEY]}…"
    return f"[{shown!a}]"


def _plain(value: object) -> Any:
    """Return `value` rebuilt from exact built-ins, or raise _NotJsonError."""
    out: list[Any] = [None]
    top = _Spot(None, "", 0, 0)
    todo: list[tuple[Any, Any, str | int, _Spot]] = [(value, out, 0, top)]
    while todo:
        item, target, slot, spot = todo.pop()
        known, atom = _atom(item, spot)
        if not known and _speaks(item):
            item = _dumped(item, spot)
            known, atom = _atom(item, spot)
        if known:
            target[slot] = atom
            continue
        box, inner = _open(item, spot)
        target[slot] = box
        below = spot.depth + 1
        # reversed, so that the first fault in reading order is the one reported
        todo += [(x, box, at, _Spot(spot, at, id(item), below)) for at, x in reversed(inner)]
    return out[0]


def _atom(item: object, spot: _Spot) -> tuple[bool, object]:
    """Say whether `item` is a scalar, and return it as an exact built-in."""
    if item is None or item is True or item is False:
        return True, item
    if isinstance(item, str):
        return True, _text(item, spot)
    if isinstance(item, int):
        return True, _whole(int.__int__(item), spot)
    if isinstance(item, float):
        number = float.__float__(item)
        if not isfinite(number):
            fix = "return None, or leave the field out, where there is no number"
            raise _NotJsonError(spot, item, f"is {number}, which JSON cannot hold", fix)
        return True, number
    return False, None


def _text(item: str, spot: _Spot) -> str:
    text = str.__str__(item)  # the class's own: a subclass may not answer for what it holds
    try:
        text.encode()
    except UnicodeEncodeError:
        what = "holds a lone surrogate, which UTF-8 cannot write"
        fix = 'decode the text it came from with errors="replace"'
        raise _NotJsonError(spot, item, what, fix) from None
    return text


def _whole(number: int, spot: _Spot) -> int:
    # the cheap test first: 10**4300 takes 14285 bits, and to make it takes time
    if number.bit_length() >= _BITS_OF_MAX_DIGITS and abs(number) >= 10**MAX_DIGITS:
        what = f"is an int of more than {MAX_DIGITS} digits"
        raise _NotJsonError(spot, number, what, "store it as a string")
    return number


def _open(item: object, spot: _Spot) -> tuple[Any, list[tuple[str | int, Any]]]:
    """Return an empty container for `item`, and what belongs in it."""
    if not isinstance(item, dict | list | tuple):
        raise _NotJsonError(spot, item, f"is {_type_name(item)}", _fix(item))
    if spot.depth >= MAX_DEPTH:
        raise _too_deep(item, spot)
    if isinstance(item, dict):
        pairs = list(_pairs(item, spot))
        return dict.fromkeys(part for part, _ in pairs), pairs
    own = list.__iter__(item) if isinstance(item, list) else tuple.__iter__(item)
    items: list[tuple[str | int, Any]] = list(enumerate(own))
    return [None] * len(items), items


def _pairs(item: dict[Any, Any], spot: _Spot) -> Iterator[tuple[str | int, Any]]:
    seen: set[str] = set()
    for name, inner in list(dict.items(item)):
        if not isinstance(name, str):
            what = f"is a dict with a key of type {_type_name(name)}; JSON keys are strings"
            fix = "use str keys, or declare an output_contract such as dict[int, str]"
            raise _NotJsonError(spot, item, what, fix)
        text = _text(name, spot)
        if text in seen:
            what = "is a dict with two keys that read the same"
            raise _NotJsonError(spot, item, what, "rename one of them")
        seen.add(text)
        yield text, inner


def _too_deep(item: object, spot: _Spot) -> _NotJsonError:
    cycle = spot.first_cycle()
    if cycle is not None:
        return _NotJsonError(cycle, item, "contains itself", "return a tree, without cycles")
    what = f"nests deeper than {MAX_DEPTH} levels"
    fix = "flatten it, or store the deep part as a string"
    return _NotJsonError(spot.way()[-1], item, what, fix)


def _dumped(item: object, spot: _Spot) -> object:
    """Return what a model or a dataclass says of itself, once it satisfies itself."""
    try:
        kind: Any = type(item)
        return from_json(_of_type(kind).write(item))
    except Exception:  # noqa: BLE001 - its text may hold the value
        what = f"is {_type_name(item)}, which does not satisfy its own declaration as JSON"
        fix = "declare an output_contract: the error then names each field"
        raise _NotJsonError(spot, item, what, fix) from None


@lru_cache(maxsize=512)
def _of_type(kind: Any) -> Hardened:
    from pydantic import TypeAdapter  # noqa: PLC0415 - only a model pays for it

    return Hardened(dict(TypeAdapter(kind).core_schema), json_value=json_value)


def _speaks(item: object) -> bool:
    """Say whether `item` is a model or a dataclass: an instance that says how it is written."""
    return hasattr(type(item), "__pydantic_serializer__") or (
        is_dataclass(item) and not isinstance(item, type)
    )


def _fix(item: object) -> str:
    for owner in type(item).__mro__:
        fix = _FIXES.get(f"{owner.__module__}.{owner.__qualname__}")
        if fix:
            return fix
    return _DECLARE.format(instead="plain JSON values")


def _type_name(item: object) -> str:
    kind = type(item)
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


_DECLARE = (
    "declare an output_contract or a return annotation that says how to write it,"
    " or return {instead}"
)
_FIXES = {
    "builtins.set": _DECLARE.format(instead="a sorted list"),
    "builtins.frozenset": _DECLARE.format(instead="a sorted list"),
    "builtins.bytes": _DECLARE.format(instead="text (base64, for what is not text)"),
    "builtins.bytearray": _DECLARE.format(instead="text (base64, for what is not text)"),
    "builtins.memoryview": _DECLARE.format(instead="text (base64, for what is not text)"),
    "builtins.generator": "return list(...) of it",
    "builtins.range": "return list(...) of it",
    "builtins.async_generator": "collect it with `[x async for x in ...]` and return the list",
    "builtins.coroutine": "await it, or make the action `async def`",
    "datetime.date": _DECLARE.format(instead="value.isoformat()"),
    "datetime.time": _DECLARE.format(instead="value.isoformat()"),
    "datetime.timedelta": _DECLARE.format(instead="value.total_seconds()"),
    "decimal.Decimal": _DECLARE.format(instead="str(value)"),
    "uuid.UUID": _DECLARE.format(instead="str(value)"),
    "enum.Enum": "return its .value, or make it a StrEnum or an IntEnum",
    "builtins.function": "call it, and return what it gives",
    "builtins.method": "call it, and return what it gives",
}
