"""How a value becomes bytes, and bytes a value, where no contract says how.

JSON is the only format at rest, and it is taken strictly: what `decode` gives back equals what
`encode` was given, save that a tuple comes back as a list and a model or dataclass as its
fields.  pydantic alone would write a set as a list, NaN as null and the key 1 as "1"; here each
of these is an error that says where it sits and what to do.
"""

from __future__ import annotations

import marshal
from dataclasses import is_dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from kairos.exceptions import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "decode", "encode"]

MAX_DEPTH = 200
"""How deep lists and dicts may nest: the JSON parser follows no deeper."""

MAX_DIGITS = 4300
"""How many digits an integer may have: the JSON parser reads no more."""

_ATOMS: dict[object, bytes] = {None: b"null", True: b"true", False: b"false"}
_SHOWN_KEY = 40  # a longer key is cut in a path, so that a message stays a message


def encode(value: object, *, key: str) -> bytes:
    """Return `value` as canonical JSON; `key` names it in errors.

    Accepts str, int, finite float, bool, None, list, tuple (written as a list), dict with str
    keys, their subclasses, enums that are strings or numbers, and pydantic models and
    dataclasses, which say themselves how they are written.

    Raises StateError, with `.key`, for anything else, saying where it sits and its type.
    """
    try:
        raw = to_json(value, inf_nan_mode="null")
        # marshal takes exact built-ins only, so no object gets to answer for itself in the
        # comparison; the comparison then finds what JSON cannot say: sets, bytes, NaN, int keys.
        marshal.dumps(value)  # type: ignore[arg-type] # it refuses what it cannot take
        if from_json(raw) == value:
            return raw
    except Exception:  # noqa: BLE001, S110 - whatever it was, the walk below finds and names it
        pass
    return to_json(_Walk(key).plain(value), inf_nan_mode="constants")


def decode(raw: bytes) -> Any:
    """Return the value that `raw` says, made afresh on every call.

    Raises StateError when `raw` is not JSON.
    """
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        # the parser's message holds a position, never the text
        raise StateError(f"stored bytes are not JSON: {error}") from None


class _Spot(NamedTuple):
    """A position inside a value: the way down is rendered only when something is wrong."""

    parent: _Spot | None
    part: str | int
    box: int  # the id of the container it sits in, to tell a cycle from mere depth
    depth: int

    def __str__(self) -> str:
        parts: list[str] = []
        spot: _Spot | None = self
        while spot is not None and spot.parent is not None:
            parts.append(_step(spot.part))
            spot = spot.parent
        return "".join(reversed(parts))

    def first_cycle(self) -> _Spot | None:
        """Return the shallowest spot on the way here that lies twice in the same container."""
        way = [self]
        while way[-1].parent is not None:
            way.append(way[-1].parent)
        seen: set[int] = set()
        for spot in reversed(way[:-1]):
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
    return f"[{ascii(shown)}]"


class _Walk:
    """Turn a value into exact built-ins, or say what in it is not JSON, and where."""

    def __init__(self, key: str) -> None:
        self.key = key

    def plain(self, value: object) -> object:
        """Return `value` rebuilt from exact built-ins."""
        out: list[Any] = [None]
        todo: list[tuple[Any, Any, str | int, _Spot]] = [
            (value, out, 0, _Spot(None, "", 0, 0)),
        ]
        while todo:
            item, target, slot, spot = todo.pop()
            atom, known = self._atom(item, spot)
            if not known and _speaks(item):
                item = self._dumped(item, spot)  # noqa: PLW2901 - from here on, what it says
                atom, known = self._atom(item, spot)
            if known:
                target[slot] = atom
                continue
            box, inner = self._open(item, spot)
            target[slot] = box
            # reversed, so that the first fault in reading order is the one reported
            todo += reversed(
                [
                    (x, box, part, _Spot(spot, part, id(item), spot.depth + 1))
                    for part, x in inner
                ]
            )
        return out[0]

    def _atom(self, item: object, spot: _Spot) -> tuple[object, bool]:
        """Return the exact scalar that `item` is, and whether it is one."""
        if item is None or item is True or item is False:
            return item, True
        if isinstance(item, str):
            return self._text(str.__str__(item), spot), True
        if isinstance(item, int):
            return self._whole(int.__int__(item), spot), True
        if isinstance(item, float):
            number = float.__float__(item)
            if not isfinite(number):
                raise self._refused(
                    spot,
                    f"is {number}, which JSON cannot hold",
                    "return None, or leave the field out, where there is no number",
                )
            return number, True
        return None, False

    def _text(self, text: str, spot: _Spot) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self._refused(
                spot,
                "holds a lone surrogate, which UTF-8 cannot write",
                'decode the text it came from with errors="replace"',
            ) from None
        return text

    def _whole(self, number: int, spot: _Spot) -> int:
        # the cheap test first: 10**4300 takes 14285 bits, and raising to that power is slow
        if number.bit_length() > 14_284 and abs(number) >= 10**MAX_DIGITS:  # noqa: PLR2004
            raise self._refused(
                spot, f"is an int of more than {MAX_DIGITS} digits", "store it as a string"
            )
        return number

    def _open(self, item: object, spot: _Spot) -> tuple[Any, list[tuple[str | int, Any]]]:
        """Return an empty container for `item` and what belongs in it."""
        if not isinstance(item, dict | list | tuple):
            raise self._unknown(item, spot)
        if spot.depth >= MAX_DEPTH:
            raise self._too_deep(spot)
        if isinstance(item, dict):
            pairs = list(self._pairs(item, spot))
            return dict.fromkeys(part for part, _ in pairs), pairs
        # the class's own iterator: a subclass may not answer for what it really holds
        own = list.__iter__(item) if isinstance(item, list) else tuple.__iter__(item)
        items: list[tuple[str | int, Any]] = list(enumerate(own))
        return [None] * len(items), items

    def _pairs(self, item: dict[Any, Any], spot: _Spot) -> Iterator[tuple[str | int, Any]]:
        seen: set[str] = set()
        for name, inner in list(dict.items(item)):
            if not isinstance(name, str):
                raise self._refused(
                    spot,
                    f"is a dict with a key of type {_type_name(name)}; JSON keys are strings",
                    "use str keys, or declare an output_contract such as dict[int, str]",
                )
            text = self._text(str.__str__(name), spot)
            if text in seen:
                raise self._refused(
                    spot, "is a dict with two keys that read the same", "rename one of them"
                )
            seen.add(text)
            yield text, inner

    def _too_deep(self, spot: _Spot) -> StateError:
        cycle = spot.first_cycle()
        if cycle is not None:
            return self._refused(cycle, "contains itself", "return a tree, without cycles")
        return self._refused(
            None,
            f"nests deeper than {MAX_DEPTH} levels",
            "flatten it, or store the deep part as a string",
        )

    def _dumped(self, item: Any, spot: _Spot) -> object:
        try:
            raw = TypeAdapter(type(item)).dump_json(item, by_alias=True, warnings="error")
            return from_json(raw, allow_inf_nan=False)
        except Exception:  # noqa: BLE001 - its text may hold the value
            raise self._refused(
                spot,
                f"is {_type_name(item)}, which cannot be written as JSON",
                "declare an output_contract that says how to write it",
            ) from None

    def _unknown(self, item: object, spot: _Spot) -> StateError:
        kind = type(item)
        for owner in kind.__mro__:
            fix = _FIXES.get(f"{owner.__module__}.{owner.__qualname__}")
            if fix:
                break
        else:
            fix = (
                "return JSON values, or declare an output_contract or a return annotation"
                " that says how to write it"
            )
        return self._refused(spot, f"is {_type_name(item)}", fix)

    def _refused(self, spot: _Spot | None, what: str, fix: str) -> StateError:
        path = str(spot) if spot else ""
        return StateError(
            f"output of '{self.key}' is not JSON: {path or 'it'} {what}",
            key=self.key,
            expected="str, int, float, bool, None, a list or a dict of these",
            fix=fix,
        )


def _speaks(item: object) -> bool:
    """Say whether `item` is a model or a dataclass: an instance that says how it is written."""
    return hasattr(type(item), "__pydantic_serializer__") or (
        is_dataclass(item) and not isinstance(item, type)
    )


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
