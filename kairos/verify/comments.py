"""Comments that speak to kairos, and which declaration each belongs to; the source is never run."""

from __future__ import annotations

import io
import re
import tokenize
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Commented", "commented"]

_SUFFIXES = {".py", ".pyw", ""}
_LARGEST = 4 * 1024 * 1024  # bytes: what is larger was generated, and needs no comments
_ADDRESSED = re.compile(r"#\s*kairos\s*:(.*)", re.IGNORECASE | re.DOTALL)
_ADDRESSED_BYTES = re.compile(rb"#\s*kairos\s*:", re.IGNORECASE)
_HIDDEN = {tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
_DEFINES = {"def", "async", "class"}


@dataclass
class Commented:
    """A file with comments that are addressed to kairos.

    comments: by line, the column and what follows `# kairos:`.
    lines:    the same lines in order.
    astray:   those beside which nothing can have been declared: no call, no function.
    alone:    the lines that hold a comment, of whatever kind, and nothing else.
    heads:    where a function begins, with its decorators, and the last line of its head.
    """

    comments: dict[int, tuple[int, str]]
    lines: list[int] = field(default_factory=list)
    astray: list[int] = field(default_factory=list)
    alone: set[int] = field(default_factory=set)
    heads: dict[int, int] = field(default_factory=dict)

    def belonging(self, first: int, last: int) -> list[int]:
        """Return the lines of the comments that belong to a declaration on these lines.

        They stand on one of them, or alone above the first; a function's go to the end of its
        head.
        """
        last = max(last, self.heads.get(first, last))
        while first - 1 in self.alone:
            first -= 1
        lines = self.lines
        return lines[bisect_left(lines, first) : bisect_right(lines, last)]


def commented(file: str) -> Commented | None:
    """Read a Python file's comments; None where none speaks to kairos, or it cannot be read."""
    text = _text_of(file)
    if text is None:
        return None
    tokens = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            tokens.append(token)  # noqa: PERF402 - what stands before an error counts
    except (SyntaxError, tokenize.TokenError, ValueError, RecursionError):
        pass
    return _sorted_out(tokens)


def _text_of(file: str) -> str | None:
    path = Path(file)
    try:
        status = path.stat()
        if path.suffix not in _SUFFIXES or not S_ISREG(status.st_mode):
            return None
        if status.st_size > _LARGEST:
            return None
        raw = path.read_bytes()
        if not _ADDRESSED_BYTES.search(raw):
            return None
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        return io.TextIOWrapper(io.BytesIO(raw), encoding).read()
    except (OSError, ValueError, LookupError, SyntaxError, MemoryError):
        return None


def _sorted_out(tokens: Iterable[tokenize.TokenInfo]) -> Commented | None:
    source = Commented({})
    statement: list[tokenize.TokenInfo] = []
    near: list[int] = []  # comments above the statement, and within it
    decorated = last_code = 0
    for token in tokens:
        line, column = token.start
        if token.type == tokenize.COMMENT:
            if line > last_code:
                source.alone.add(line)
            if found := _ADDRESSED.search(token.string):
                source.comments[line] = (column + found.start() + 1, found[1])
                near.append(line)
        elif token.type in {tokenize.NEWLINE, tokenize.ENDMARKER}:
            source.astray += _astray(near, statement, source.alone)
            word = statement[0].string if statement else ""
            if word == "@":
                decorated = decorated or statement[0].start[0]
            elif word in _DEFINES:
                source.heads[decorated or statement[0].start[0]] = line
            if word != "@":
                decorated = 0
            statement, near = [], []
        elif token.type not in _HIDDEN:
            statement.append(token)
            last_code = token.end[0]
    source.lines = sorted(source.comments)
    return source if source.comments else None


def _astray(near: list[int], statement: list[tokenize.TokenInfo], alone: set[int]) -> Iterable[int]:
    if not near or not statement:
        return near
    first = statement[0].start[0]
    if statement[0].string not in {"@", *_DEFINES} and all(t.string != "(" for t in statement):
        return near
    while first - 1 in alone:
        first -= 1
    return [line for line in near if line < first]
