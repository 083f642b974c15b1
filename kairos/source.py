"""Where something was declared, so that an error can point at it.

Taking a place must cost next to nothing, since every `Step(...)` does it: only the code
object and the instruction are kept, and the line and column are worked out when asked for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any, TypeAlias

    Position: TypeAlias = tuple[int | None, int | None, int | None, int | None]

__all__ = ["Place", "declared_here", "defined_at", "place_at"]


class Place:
    """A position in a source file: `file`, `line` and `column`, counted from 1.

    `last_line` is where the expression ends that stands there.
    """

    __slots__ = ("_code", "_instruction")

    def __init__(self, code: CodeType, instruction: int = -1) -> None:
        self._code = code
        self._instruction = instruction

    @property
    def file(self) -> str:
        """The file's full path as the interpreter knows it."""
        return self._code.co_filename

    @property
    def line(self) -> int:
        """The line, counted from 1."""
        return self._position()[0]

    @property
    def column(self) -> int:
        """The column in characters, counted from 1."""
        line, column, _ = self._position()
        return column if column == 1 else _in_characters(self.file, line, column)

    @property
    def last_line(self) -> int:
        """The line in which the expression ends; of a function's place, the same as `line`."""
        return self._position()[2]

    def _position(self) -> tuple[int, int, int]:
        first = self._code.co_firstlineno
        if self._instruction < 0:
            return first, 1, first
        positions, at = _positions(self._code), self._instruction // 2
        line, last, column, _ = positions[at] if at < len(positions) else (None,) * 4
        line = line or first
        return line, (column or 0) + 1, last or line

    def __str__(self) -> str:
        """Render `file.py:12`, the file relative to the current directory if it lies below it."""
        path = Path(self.file)
        try:
            shown = path.relative_to(Path.cwd())
        except (ValueError, OSError):
            shown = Path(path.name)
        return f"{shown}:{self.line}"

    def __repr__(self) -> str:
        return f"Place({self})"


def _in_characters(file: str, line: int, column: int) -> int:
    """Return a column that counts characters for one that counts the bytes of UTF-8."""
    import linecache  # noqa: PLC0415 - only who asks for a column pays for it

    text = linecache.getline(file, line)
    if text.isascii():
        return column
    return len(text.encode("utf-8", "replace")[: column - 1].decode("utf-8", "replace")) + 1


class _Spot(Place):
    """A place that is known by its numbers, such as that of a comment."""

    __slots__ = ("_column", "_file", "_line")

    def __init__(self, file: str, line: int, column: int) -> None:
        self._file = file
        self._line = line
        self._column = column

    @property
    def file(self) -> str:
        return self._file

    @property
    def column(self) -> int:
        return self._column

    def _position(self) -> tuple[int, int, int]:
        return self._line, self._column, self._line


def place_at(file: str, line: int, column: int = 1) -> Place:
    """Return a place by its numbers, which count from 1."""
    return _Spot(file, line, column)


# A module that declares a thousand steps is asked for the places of all of them, one by one, and
# has one table of positions.
_latest: tuple[CodeType | None, tuple[Position, ...]] = (None, ())


def _positions(code: CodeType) -> tuple[Position, ...]:
    global _latest  # noqa: PLW0603 - assigned at once, so that a thread reads a pair that fits
    known, positions = _latest
    if known is not code:
        positions = tuple(code.co_positions())
        _latest = (code, positions)
    return positions


def declared_here() -> Place | None:
    """Return the place of the nearest caller outside kairos itself."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to see one's caller cheaply
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not (name == "kairos" or name.startswith("kairos.")):
            return Place(frame.f_code, frame.f_lasti)
        frame = frame.f_back  # type: ignore[assignment]  # f_back is None at the bottom
    return None


def defined_at(function: Callable[..., Any]) -> Place | None:
    """Return where a function was defined, or None for what has no source (built-ins)."""
    code = getattr(function, "__code__", None)
    return None if code is None else Place(code)
