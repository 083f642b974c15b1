"""Values drawn at random from a producer's schema: what is left where a proof does not decide.

A validator, a serialiser, a format of a text can only be asked, not read.  So a pair that the
search leaves open is put to the test: values are drawn from what the producer may emit, those at
the bounds of its types first among them, for both contracts to judge.  The same pair is always
given the same values.
"""

from __future__ import annotations

import json
from math import inf, nextafter
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from kairos.verify.proof.formats import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["NO_HINT", "trials"]

_MOST_DEPTH = 12
_MOST_PARTS = 20_000  # of all the values together
_MOST_KEPT = 8
_FEW = 4
_LONGEST = 10_000
_FAR = 1e9
_SEED = 20260
NO_HINT: Any = object()
"""No value to be near to."""
_SCALARS: tuple[Any, ...] = (0, 1, "a", None, True, 1.5, "", [], {}, "1", -1, [1], {"a": 1})
_WORDS = ("", "a", "b", "ab", "A", "1", "abc", "zero", " a ", "x" * 12, "0.5", "é", "null", "a b")
_NAMES = ("a", "b", "key", "1", "2")
_OFTEN = 0.75
_SELDOM = 0.2


class _NothingError(Exception):
    """There is no value to be drawn."""


def trials(
    document: Any, count: int, hint: Any, words: Callable[[Any], list[str]]
) -> Iterator[Any]:
    """Yield up to `count` values that a schema may allow, each once.

    hint: a value that is worth to be near to.
    words: what finds some strings for a schema with a pattern.
    """
    drawer, seen = _Drawer(document, words), set()
    for _ in range(count):
        if drawer.is_tired:
            return
        try:
            value = drawer.draw(document, hint, 0)
        except (_NothingError, RecursionError):
            continue
        mark = repr(value)
        if mark not in seen:
            seen.add(mark)
            yield value


class _Drawer:
    def __init__(self, root: Any, words: Callable[[Any], list[str]]) -> None:
        self._roots = [root]
        self._left = _MOST_PARTS
        self._rng = Random(_SEED)  # noqa: S311 - chance, not secrecy
        self._words = words
        self._of_kind: dict[str, Callable[[Mapping[str, Any], Any, int], Any]] = {
            "null": lambda *_: None,
            "boolean": lambda *_: self._rng.random() < 1 / 2,
            "integer": lambda schema, *_: self._number(schema, whole=True),
            "number": lambda schema, *_: self._number(schema, whole=False),
            "string": lambda schema, _hint, depth: self._text(schema, depth),
            "array": self._array,
            "object": self._object,
        }

    @property
    def is_tired(self) -> bool:
        """Whether it has drawn as much as it may."""
        return self._left < 0

    def draw(self, schema: Any, hint: Any, depth: int) -> Any:
        """Return a value; raise _NothingError where there is none to be found."""
        rng = self._rng
        self._left -= 1
        if schema is False or depth > _MOST_DEPTH or self._left < 0:
            raise _NothingError
        if hint is not NO_HINT and depth and rng.random() < _SELDOM:
            return hint
        plain = self._flat({} if schema is True else schema, depth)
        if "const" in plain:
            return plain["const"]
        if "enum" in plain:
            return rng.choice(plain["enum"])
        kinds = plain.get("type") or self._guessed(plain)
        if kinds is None:
            return rng.choice(_SCALARS)
        kind = kinds if isinstance(kinds, str) else rng.choice(kinds)
        return self._of_kind[kind](plain, hint, depth)

    def _guessed(self, schema: Mapping[str, Any]) -> str | None:
        if schema.keys() & {"properties", "required", "additionalProperties"}:
            return "object"
        if schema.keys() & {"items", "prefixItems", "contains"}:
            return "array"
        if schema.keys() & {"pattern", "format", "minLength", "maxLength"}:
            return "string"
        return "integer" if schema.keys() & {"minimum", "maximum", "multipleOf"} else None

    def _flat(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Return a schema with its parts taken together, one branch of each union chosen."""
        self._left -= 1
        if self._left < 0:
            raise _NothingError
        found: dict[str, Any] = {}
        if "$id" in schema and not any(schema is root for root in self._roots):
            self._roots.append(schema)  # a document in a document: what it refers to lies in it
        for part in self._parts(schema):
            if part is False or depth > _MOST_DEPTH:
                raise _NothingError
            if isinstance(part, dict):
                _merge(found, self._flat(part, depth + 1))
        _merge(found, schema)
        return found

    def _parts(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        yield from schema.get("allOf", ())
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                yield self._rng.choice(schema[keyword])
        if "$ref" in schema:
            yield self._target(schema["$ref"])

    def _target(self, ref: str) -> Any:
        steps = unquote(ref).removeprefix("#").split("/")[1:]
        names = [step.replace("~1", "/").replace("~0", "~") for step in steps]
        for root in self._roots:
            part = root
            try:
                for name in names:
                    part = part[int(name)] if isinstance(part, list) else part[name]
            except (KeyError, IndexError, ValueError, TypeError):
                continue
            return part
        raise _NothingError

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> float:
        low = max(schema.get(name, -inf) for name in ("minimum", "exclusiveMinimum"))
        high = min(schema.get(name, inf) for name in ("maximum", "exclusiveMaximum"))
        near = [b + d for b in (low, high) for d in (0, 1, -1, 0.5, -0.5) if abs(b) < _FAR]
        near += [0, 1, 2, 3, -1, 10, self._rng.randint(-50, 50)]
        near += [2**70, -(2**70), 2**53 + 1] if whole else [1e300, 0.5, 1.25, 0.123456789, 1e-7]
        step = schema.get("multipleOf")
        if step:
            near += [step * round(one / step) for one in near if abs(one) < _FAR]
            if not whole:  # within its tolerance is near enough
                near += [nextafter(one, inf) for one in near[-_FEW:] if one]
        fit = [one for one in near if low <= one <= high and (not whole or one == int(one))]
        if not fit:
            raise _NothingError
        number = self._rng.choice(fit)
        return int(number) if whole else number

    def _text(self, schema: Mapping[str, Any], depth: int) -> str:
        if "contentSchema" in schema and schema.get("format") == "json-string":
            return json.dumps(self.draw(schema["contentSchema"], NO_HINT, depth + 1))
        choices: list[str] = []
        if "pattern" in schema and "format" not in schema:
            choices = self._words(schema)
        elif "format" in schema:
            choices = [*samples(schema["format"])]
        choices = choices or [*_WORDS, "a" * min(schema.get("minLength", 0), _LONGEST)]
        low, high = schema.get("minLength", 0), schema.get("maxLength", len(_WORDS) * 100)
        fit = [one for one in choices if low <= len(one) <= high]
        if not fit:
            raise _NothingError
        return self._rng.choice(fit)

    def _array(self, schema: Mapping[str, Any], hint: Any, depth: int) -> list[Any]:
        first, rest = schema.get("prefixItems", ()), schema.get("items", True)
        least = max(schema.get("minItems", 0), 1 if "contains" in schema else 0)
        most = schema.get("maxItems", max(least, len(first)) + 2)
        if rest is False:
            most = min(most, len(first))
        if least > most:
            raise _NothingError
        hints = hint if isinstance(hint, list) else []
        found: list[Any] = []
        for at in range(min(self._rng.randint(least, most), least + _MOST_KEPT)):
            part = first[at] if at < len(first) else rest
            near = hints[at] if at < len(hints) else NO_HINT
            try:
                one = self.draw(part, near, depth + 1)
            except _NothingError:
                if at < max(least, len(first)):
                    raise
                break
            if not (schema.get("uniqueItems") and one in found):
                found.append(one)
        return found

    def _object(self, schema: Mapping[str, Any], hint: Any, depth: int) -> dict[str, Any]:
        named, required = schema.get("properties", {}), schema.get("required", ())
        hints = hint if isinstance(hint, dict) else {}
        rest = schema.get("additionalProperties", True)
        found: dict[str, Any] = {}
        for name in dict.fromkeys((*named, *required)):
            if name not in required and self._rng.random() > _OFTEN:
                continue
            try:
                part = named.get(name, rest)
                found[name] = self.draw(part, hints.get(name, NO_HINT), depth + 1)
            except _NothingError:
                if name in required:
                    raise
        if rest is False:
            return found
        often = _SELDOM if named else _OFTEN
        least = schema.get("minProperties", 0)
        while len(found) < least or self._rng.random() < often:
            often *= 1 / 2
            try:
                name = self.draw(schema.get("propertyNames", {"enum": _NAMES}), NO_HINT, depth + 1)
                found.setdefault(str(name), self.draw(rest, NO_HINT, depth + 1))
            except _NothingError:
                break
            least -= 1 / 2  # names that are drawn twice must not hold it up
        for name, near in hints.items():
            if name not in found and self._rng.random() < _SELDOM:
                found[name] = near
        return found


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add the keywords of a schema to those of another for the same value."""
    for keyword, value in more.items():
        if keyword == "required":
            into[keyword] = list(dict.fromkeys((*into.get(keyword, ()), *value)))
        elif keyword == "properties":
            known = into.get(keyword, {})
            both = {name: {"allOf": [known[name], value[name]]} for name in known.keys() & value}
            into[keyword] = {**known, **value, **both}
        elif keyword == "format" and keyword in into:
            into[keyword] = max(into[keyword], value, key=len)  # the one with the more demands
        elif keyword not in {"allOf", "anyOf", "oneOf", "$ref", "$defs", "$id"}:
            into[keyword] = value
