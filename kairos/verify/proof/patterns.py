r"""Patterns in the dialect of pydantic's engine, Rust's `regex`, as regular languages.

A class of characters that is more than letters and ranges is not interpreted here: the engine
itself is asked, character range by character range, so that `\w`, `\p{Greek}` or nested classes
mean exactly what they will mean when a value is checked.  Word boundaries, anchors inside a
pattern and flags are not understood, and said so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kairos.contracts.rules import regex_engine
from kairos.exceptions import ConfigError
from kairos.verify.proof.limits import UnsupportedError
from kairos.verify.proof.regular import (
    ANYTHING,
    EMPTY_WORD,
    EVERY,
    Chars,
    Language,
    Space,
    invert,
    merge,
)

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

__all__ = ["language_of"]

_CHUNK = 1024
_DOT: Chars = invert(((10, 10),))
_PLAIN_ESCAPES = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "a": 7}
_MOST_DEPTH = 50
_MOST_REPEATS = 1000


def language_of(regex: str, space: Space) -> Language:
    """Return the strings in which the engine finds `regex`.

    Raises UnsupportedError, saying what of it, where that is more than is understood here.
    """
    try:
        regex_engine(regex)
    except ConfigError as error:
        raise UnsupportedError(f"the pattern {regex[:60]!r}: {error.found}") from None
    parser = _Parser(regex, space)
    found = parser.alternatives(0)
    if parser.rest():
        raise parser.unsupported("an unbalanced group")
    return _found_in(found, space)


class _Piece:
    """A parsed part: a language, and whether it is tied to the start or the end of the text."""

    __slots__ = ("end", "lang", "start")

    def __init__(self, lang: Language, *, start: bool = False, end: bool = False) -> None:
        self.lang = lang
        self.start = start
        self.end = end


def _found_in(pieces: list[_Piece], space: Space) -> Language:
    return space.union(
        space.join(
            EMPTY_WORD if one.start else ANYTHING,
            space.join(one.lang, EMPTY_WORD if one.end else ANYTHING),
        )
        for one in pieces
    )


class _Parser:
    def __init__(self, regex: str, space: Space) -> None:
        self._regex = regex
        self._space = space
        self._at = 0

    def rest(self) -> str:
        return self._regex[self._at :]

    def unsupported(self, what: str) -> UnsupportedError:
        return UnsupportedError(f"the pattern {self._regex[:60]!r} has {what}")

    def _take(self, text: str) -> bool:
        if self._regex.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def alternatives(self, depth: int) -> list[_Piece]:
        """Parse up to a `)` or the end; each alternative has anchors of its own."""
        if depth > _MOST_DEPTH:
            raise self.unsupported("too many groups in one another")
        found = self._sequence(depth)
        while self._take("|"):
            found += self._sequence(depth)
        return found

    def _sequence(self, depth: int) -> list[_Piece]:
        """Parse one alternative; one that is a group of alternatives counts as these."""
        parts: list[_Piece] = []
        while (rest := self.rest()) and rest[0] not in "|)":
            before = self._at
            several = self._repeated(self._item(depth))
            if not parts and self.rest()[:1] in {"", "|", ")"} and rest[0] == "(":
                return several
            parts.append(self._single(several))
            if self._at == before:
                raise self.unsupported(f"a {rest[0]!r} where none is understood")
        return [self._joined(parts)]

    def _single(self, pieces: list[_Piece]) -> _Piece:
        if len(pieces) == 1:
            return pieces[0]
        if any(one.start or one.end for one in pieces):
            raise self.unsupported("an anchor in one of several alternatives")
        return _Piece(self._space.union(one.lang for one in pieces))

    def _joined(self, parts: list[_Piece]) -> _Piece:
        """Put parts in a row; only the first may start the text, only the last may end it."""
        lang, start, end = EMPTY_WORD, False, False
        for index, part in enumerate(parts):
            ahead = all(one.lang is EMPTY_WORD for one in parts[:index])
            behind = all(one.lang is EMPTY_WORD for one in parts[index + 1 :])
            if (part.start and not ahead) or (part.end and not behind):
                raise self.unsupported("an anchor inside")
            start, end = start or part.start, end or part.end
        for part in reversed(parts):
            lang = self._space.join(part.lang, lang)
        return _Piece(lang, start=start, end=end)

    def _item(self, depth: int) -> list[_Piece]:
        if self._take("(?P<") or self._take("(?<"):
            self._at = self._regex.index(">", self._at) + 1
            return self._group(depth)
        if self._take("(?:"):
            return self._group(depth)
        if self._take("(?"):
            raise self.unsupported("flags")
        if self._take("("):
            return self._group(depth)
        if self._take("^") or self._take("\\A"):
            return [_Piece(EMPTY_WORD, start=True)]
        if self._take("$") or self._take("\\z"):
            return [_Piece(EMPTY_WORD, end=True)]
        return [_Piece(self._space.chars(self._character()))]

    def _group(self, depth: int) -> list[_Piece]:
        found = self.alternatives(depth + 1)
        if not self._take(")"):
            raise self.unsupported("an unbalanced group")
        return found

    def _repeated(self, pieces: list[_Piece]) -> list[_Piece]:
        while bounds := self._bounds():
            one = self._single(pieces)
            if one.start or one.end:
                raise self.unsupported("a repeated anchor")
            low, high = bounds
            if max(low, high or 0) > _MOST_REPEATS:
                raise self.unsupported("a very long repetition")
            pieces = [_Piece(self._space.repeat(one.lang, low, high))]
        return pieces

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                self._take("?")  # lazy or greedy: the same strings
                return bounds
        if not self._take("{"):
            return None
        inside, _, _ = self.rest().partition("}")
        self._at += len(inside) + 1
        self._take("?")
        low, comma, high = (part.strip() for part in inside.partition(","))
        return int(low or 0), (int(high) if high else None) if comma else int(low)

    def _character(self) -> Chars:
        char = self._regex[self._at]
        start = self._at
        if char == ".":
            self._at += 1
            return _DOT
        if char == "[":
            self._skip_class()
            text = self._regex[start : self._at]
            return _simple_class(text) or _asked(text)
        self._at += 1
        if char != "\\":
            return ((ord(char), ord(char)),)
        return self._escape()

    def _escape(self) -> Chars:
        start = self._at - 1
        char = self._regex[self._at]
        self._at += 1
        if char in "bB<>":
            raise self.unsupported("a word boundary")
        if char in _PLAIN_ESCAPES:
            point = _PLAIN_ESCAPES[char]
            return ((point, point),)
        if not char.isalnum():
            return ((ord(char), ord(char)),)
        if char in "xuUpP":
            if self._regex[self._at] == "{":
                self._at = self._regex.index("}", self._at) + 1
            else:
                self._at += {"x": 2, "u": 4, "U": 8}.get(char, 1)
        return _asked(self._regex[start : self._at])

    def _skip_class(self) -> None:
        """Go past a class in brackets, with the classes inside it."""
        depth = 0
        first = True
        while self._at < len(self._regex):
            char = self._regex[self._at]
            self._at += 1
            if char == "\\":
                self._at += 1
            elif char == "[":
                depth += 1
                self._take("^")
                first = True
                continue
            elif char == "]" and not first:
                depth -= 1
                if depth == 0:
                    return
            first = False
        raise self.unsupported("an unbalanced class")


def _simple_class(text: str) -> Chars | None:
    """Read a class of plain characters and ranges; None for anything more."""
    inside = text[1:-1]
    negated = inside.startswith("^")
    inside = inside.removeprefix("^")
    if not inside or any(char in inside for char in "[]\\&~") or "--" in inside:
        return None
    ranges, at = [], 0
    while at < len(inside):
        low = high = ord(inside[at])
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            high = ord(inside[at + 2])
            at += 2
        ranges.append((low, high))
        at += 1
    found = merge(ranges)
    return invert(found) if negated else found


@lru_cache(maxsize=256)
def _asked(char_class: str) -> Chars:
    """Return the characters that the engine takes for one of `char_class`."""
    try:
        inside = regex_engine(f"^{char_class}*$")
        outside = regex_engine(f"^[^{char_class}]*$")
    except ConfigError:
        raise UnsupportedError(f"the class of characters {char_class[:60]!r}") from None
    found: list[tuple[int, int]] = []
    for first, last in EVERY:
        for low in range(first, last + 1, _CHUNK):
            _search(inside, outside, (low, min(low + _CHUNK - 1, last)), found)
    return merge(found)


def _search(
    inside: SchemaValidator,
    outside: SchemaValidator,
    span: tuple[int, int],
    found: list[tuple[int, int]],
) -> None:
    text = "".join(map(chr, range(span[0], span[1] + 1)))
    if inside.isinstance_python(text):
        found.append(span)
    elif not outside.isinstance_python(text):
        middle = sum(span) // 2
        _search(inside, outside, (span[0], middle), found)
        _search(inside, outside, (middle + 1, span[1]), found)
