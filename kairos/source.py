"""Where something was declared, so that an error can point at it.

Taking a place must cost next to nothing, since every `Step(...)` does it: only the code
object and the instruction are kept, and the line and column are worked out when asked for.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

__all__ = ["Place", "declared_here", "defined_at"]


class Place:
    """A position in a source file: `file`, `line` and `column`, counted from 1."""

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
        """The column, counted from 1."""
        return self._position()[1]

    def _position(self) -> tuple[int, int]:
        if self._instruction < 0:
            return self._code.co_firstlineno, 1
        found = next(islice(self._code.co_positions(), self._instruction // 2, None), None)
        line, _, column, _ = found or (None, None, None, None)
        return line or self._code.co_firstlineno, (column or 0) + 1

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
