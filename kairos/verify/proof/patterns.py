r"""Patterns in the dialect of pydantic's engine, Rust's `regex`, as regular languages.

A class of characters that is more than letters and ranges is not interpreted here: the engine
itself is asked, character range by character range, so that `\w`, `\p{Greek}`, nested classes or
a letter in either case mean exactly what they will mean when a value is checked.  What is not
understood, such as a pattern with comments, is said so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from kairos.contracts.rules import regex_engine
from kairos.exceptions import ConfigError
from kairos.verify.proof.characters import EVERY, Chars, invert, merge
from kairos.verify.proof.limits import UnsupportedError
from kairos.verify.proof.positions import Positions
from kairos.verify.proof.regular import ANYTHING, EMPTY_WORD, Language, Space

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

__all__ = ["language_of"]

_CHUNK = 1024
_PLAIN_ESCAPES = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "a": 7}
_MOST_DEPTH = 50
_MOST_REPEATS = 1000
_ANCHORS = (
    (r"\b{start-half}", None), (r"\b{end-half}", None), (r"\b{start}", "word-start"),
    (r"\b{end}", "word-end"), (r"\b", "word"), (r"\B", "no-word"), (r"\<", "word-start"),
    (r"\>", "word-end"), (r"\A", "start"), (r"\z", "end"),
)  # fmt: skip

_Node: TypeAlias = "tuple[Any, ...]"
"""A part of a pattern: ("chars", Chars), ("anchor", kind), ("row", parts), ("either", parts) or
("repeated", part, low, high)."""


def language_of(regex: str, space: Space) -> Language:
    """Return the strings in which the engine finds `regex`.

    Raises UnsupportedError, saying what of it, where that is more than is understood here.
    """
    known = space.patterns.get(regex)
    if known is None:
        known = space.patterns[regex] = _language_of(regex, space)
    return known


def _language_of(regex: str, space: Space) -> Language:
    try:
        regex_engine(regex)
    except ConfigError as error:
        raise UnsupportedError(f"the pattern {regex[:60]!r}: {error.found}") from None
    parser = _Parser(regex)
    pattern = parser.either(0, "")
    if parser.rest():
        raise parser.unsupported("an unbalanced group")
    found = _found_in(pattern, space)
    if found is None:
        found = space.walked(Positions(pattern, _asked(r"\w", "")))
    return found


def _found_in(pattern: _Node, space: Space) -> Language | None:
    """Return the texts with the pattern in them; None where anchors stand inside it."""
    found = []
    for row in _alternatives(pattern):
        parts = list(row)
        start = end = False
        while parts and parts[0] == ("anchor", "start"):
            start = True
            del parts[0]
        while parts and parts[-1] == ("anchor", "end"):
            end = True
            del parts[-1]
        lang = _plain(("row", tuple(parts)), space)
        if lang is None:
            return None
        lang = space.join(lang, EMPTY_WORD if end else ANYTHING)
        found.append(space.join(EMPTY_WORD if start else ANYTHING, lang))
    return space.union(found)


def _alternatives(pattern: _Node) -> list[tuple[_Node, ...]]:
    """Return the rows of which one must be found; a row that is a group of rows counts as these."""
    if pattern[0] == "either":
        return [row for part in pattern[1] for row in _alternatives(part)]
    if pattern[0] != "row":
        return [(pattern,)]
    return _alternatives(pattern[1][0]) if len(pattern[1]) == 1 else [pattern[1]]


def _plain(node: _Node, space: Space) -> Language | None:
    """Return the texts that a part without anchors is."""
    kind, *args = node
    if kind == "chars":
        return space.chars(args[0])
    if kind == "anchor":
        return None
    if kind == "repeated":
        inner = _plain(args[0], space)
        return None if inner is None else space.repeat(inner, args[1], args[2])
    parts = [_plain(part, space) for part in args[0]]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if kind == "either":
        return space.union(known)
    lang = EMPTY_WORD
    for part in reversed(known):
        lang = space.join(part, lang)
    return lang


class _Parser:
    """Reads a pattern; `flags` are those that hold at a place, out of `ims`."""

    def __init__(self, regex: str) -> None:
        self._regex = regex
        self._at = 0

    def rest(self) -> str:
        return self._regex[self._at : self._at + 1]

    def unsupported(self, what: str) -> UnsupportedError:
        return UnsupportedError(f"the pattern {self._regex[:60]!r} has {what}")

    def _take(self, text: str) -> bool:
        if self._regex.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def either(self, depth: int, flags: str) -> _Node:
        """Parse up to a `)` or the end."""
        if depth > _MOST_DEPTH:
            raise self.unsupported("too many groups in one another")
        rows = []
        parts: list[_Node] = []
        while (char := self.rest()) and char != ")":
            if self._take("|"):
                rows.append(("row", tuple(parts)))
                parts = []
            elif self._regex.startswith("(?", self._at) and (changed := self._flags()):
                more, is_group = changed
                now = _changed(flags, more)
                if is_group:
                    parts.append(self._repeated(self._group(depth, now)))
                else:
                    flags = now
            else:
                parts.append(self._repeated(self._item(depth, flags)))
        rows.append(("row", tuple(parts)))
        return rows[0] if len(rows) == 1 else ("either", tuple(rows))

    def _flags(self) -> tuple[str, bool] | None:
        """Take what stands before `)` or `:` in `(?i)` or `(?i:`; None for another group."""
        if self._regex.startswith(("(?P<", "(?<"), self._at):
            return None
        at = self._at + 2
        while self._regex[at] not in ":)":
            at += 1
        found = self._regex[self._at + 2 : at]
        if not set(found) <= set("ims-"):
            raise self.unsupported(f"the flags {found!r}")
        self._at = at + 1
        return found, self._regex[at] == ":"

    def _item(self, depth: int, flags: str) -> _Node:
        if self._take("(?P<") or self._take("(?<"):
            self._at = self._regex.index(">", self._at) + 1
            return self._group(depth, flags)
        if self._take("("):
            return self._group(depth, flags)
        if self._take("^"):
            return ("anchor", "line-start" if "m" in flags else "start")
        if self._take("$"):
            return ("anchor", "line-end" if "m" in flags else "end")
        for text, kind in _ANCHORS:
            if self._take(text):
                if kind is None:
                    raise self.unsupported(f"the anchor {text}")
                return ("anchor", kind)
        return ("chars", self._character(flags))

    def _group(self, depth: int, flags: str) -> _Node:
        found = self.either(depth + 1, flags)
        if not self._take(")"):
            raise self.unsupported("an unbalanced group")
        return found

    def _repeated(self, node: _Node) -> _Node:
        while bounds := self._bounds():
            low, high = bounds
            if max(low, high or 0) > _MOST_REPEATS:
                raise self.unsupported("a very long repetition")
            node = ("repeated", node, low, high)
        return node

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                self._take("?")  # lazy or greedy: the same strings
                return bounds
        if not self._take("{"):
            return None
        end = self._regex.index("}", self._at)
        inside = self._regex[self._at : end]
        self._at = end + 1
        self._take("?")
        low, comma, high = (part.strip() for part in inside.partition(","))
        return int(low or 0), (int(high) if high else None) if comma else int(low)

    def _character(self, flags: str) -> Chars:
        char = self._regex[self._at]
        start = self._at
        case = "i" if "i" in flags else ""
        if char == ".":
            self._at += 1
            return EVERY if "s" in flags else _NO_NEWLINE
        if char == "[":
            self._skip_class()
            text = self._regex[start : self._at]
            return (None if case else _simple_class(text)) or _asked(text, case)
        self._at += 1
        if char != "\\":
            return _letter(ord(char), case)
        return self._escape(case)

    def _escape(self, case: str) -> Chars:
        start = self._at - 1
        char = self._regex[self._at]
        self._at += 1
        if char in _PLAIN_ESCAPES:
            return _letter(_PLAIN_ESCAPES[char], case)
        if not char.isalnum():
            return _letter(ord(char), case)
        if char in "xuUpP":
            if self._regex[self._at] == "{":
                self._at = self._regex.index("}", self._at) + 1
            else:
                self._at += {"x": 2, "u": 4, "U": 8}.get(char, 1)
        return _asked(self._regex[start : self._at], case)

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


_NO_NEWLINE: Chars = invert(((10, 10),))


def _changed(flags: str, more: str) -> str:
    on, _, off = more.partition("-")
    return "".join(sorted(set(flags) - set(off) | set(on)))


def _letter(point: int, case: str) -> Chars:
    char = chr(point)
    if not case or (char.isascii() and not char.isalpha()):
        return ((point, point),)
    if char.isascii() and char not in "kKsS":  # to which Unicode folds a sign each
        return merge((ord(one), ord(one)) for one in (char.lower(), char.upper()))
    return _asked(rf"\x{{{point:x}}}", case)


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


@lru_cache(maxsize=512)
def _asked(char_class: str, case: str) -> Chars:
    """Return the characters that the engine takes for one of `char_class`."""
    try:
        inside = regex_engine(f"^(?{case}:{char_class})*$")
        outside = regex_engine(f"^(?{case}:[^{char_class}])*$")
    except ConfigError:
        raise UnsupportedError(f"the class of characters {char_class[:60]!r}") from None
    found: list[tuple[int, int]] = []
    for first, last in EVERY:
        for low in range(first, last + 1, _CHUNK):
            _search(inside, outside, (low, min(low + _CHUNK - 1, last)), found)
    return merge(found)


@lru_cache(maxsize=2048)
def _text_of(span: tuple[int, int]) -> str:
    return "".join(map(chr, range(span[0], span[1] + 1)))


def _search(
    inside: SchemaValidator,
    outside: SchemaValidator,
    span: tuple[int, int],
    found: list[tuple[int, int]],
) -> None:
    text = _text_of(span)
    if inside.isinstance_python(text):
        found.append(span)
    elif not outside.isinstance_python(text):
        middle = sum(span) // 2
        _search(inside, outside, (span[0], middle), found)
        _search(inside, outside, (middle + 1, span[1]), found)
