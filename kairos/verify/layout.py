"""Words laid out for a terminal: escaped, measured, wrapped, and in columns."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    Paint: TypeAlias = Callable[[str, str], str]

__all__ = ["clipped", "padded", "painted", "plain", "shown", "table", "width_of", "wrapped"]

_WIDEST_CELL = 40  # a longer one pushes its own row aside, never all the others


def plain(text: str, _style: str) -> str:
    """Return text as it is."""
    return text


def painted(text: str, style: str) -> str:
    """Return text in an ANSI style."""
    return f"\x1b[{style}m{text}\x1b[0m"


def shown(text: str) -> str:
    """Return text on one line; what is not printable could move the cursor, or hide words."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def width_of(text: str) -> int:
    """Return how many columns a terminal needs for text: wide characters take two, marks none."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of, text))


def _width_of(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def padded(text: str, width: int) -> str:
    """Return text with spaces up to a width."""
    return text + " " * (width - width_of(text))


def clipped(text: str, width: int | None) -> str:
    """Return as much of a line as fits, with `…` where something is left out."""
    if width is None or width_of(text) <= width:
        return text
    used = 0
    for at, char in enumerate(text):
        used += _width_of(char)
        if used >= width:
            return f"{text[:at]}…"
    return text


def wrapped(text: str, width: int | None, indent: str = "") -> str:
    """Return text in lines that fit, broken at spaces only; those after the first are indented.

    A word that is wider than a line stays whole, so that it can be copied.
    """
    if width is None or width_of(text) <= width:
        return text
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        room = width - (len(indent) if lines else 0)
        if line.strip() and width_of(longer) > room:
            lines.append(line)
            line = word
        else:
            line = longer
    return f"\n{indent}".join([*lines, line])


def table(rows: Iterable[Sequence[str]], width: int | None, indent: str = "  ") -> list[str]:
    """Return rows as lines with their columns aligned.

    A row that does not fit the width has its cells one below the other.
    """
    cells = [[*map(shown, row)] for row in rows]
    widths = [
        max([width_of(cell) for cell in column if width_of(cell) <= _WIDEST_CELL], default=0)
        for column in zip(*cells, strict=True)
    ]
    lines: list[str] = []
    for row in cells:
        first, *sides = (padded(cell, w) for cell, w in zip(row, widths, strict=True))
        line = f"{indent}{first}  {'   '.join(sides)}".rstrip()
        if width is None or width_of(line) <= width:
            lines.append(line)
            continue
        deeper = indent * 2
        lines.append(indent + row[0])
        lines += [deeper + wrapped(cell, width - len(deeper), deeper) for cell in row[1:]]
    return lines
