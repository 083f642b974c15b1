"""Placeholders: what a prompt names of the values that its step may read.

`{fetch}` is the value of a key, `{doc.title}` a field of it, `{pages[0].url}` an item's; `{item}`
is the element of a foreach; `{{` and `}}` are braces.  Whoever renders a prompt and whoever proves
it beforehand read it here, so that both see the same.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from kairos.exceptions import ConfigError

if TYPE_CHECKING:
    from kairos.source import Place

__all__ = ["Placeholder", "Template", "parse_template"]

Path: TypeAlias = "tuple[str | int, ...]"

_PIECE = re.compile(r"\{\{|\}\}|[{}]")
_NAME = re.compile(r"[\w-]+")
_PART = re.compile(r"\.([\w-]+)|\[(\d{1,9})\]")
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder: the key it reads, the path into its value, and where it stands.

    `path` holds a name for a field and a number for an item; `line` and `column` are those of its
    brace in the prompt, counted from 1.
    """

    name: str
    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        """Render it as it is written: `{pages[0].url}`."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return f"{{{self.name}{''.join(parts)}}}"


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt, read: texts, with their braces as they are meant, and placeholders, in order."""

    pieces: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """The placeholders in the order of the text."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Placeholder))

    @property
    def names(self) -> tuple[str, ...]:
        """The keys that are named, each once."""
        return tuple(dict.fromkeys(each.name for each in self.placeholders))


def parse_template(text: str, *, where: Place | None = None, label: str = "the prompt") -> Template:
    """Read a prompt.

    Raises ConfigError with the line and column of a brace that begins or ends nothing, and of a
    placeholder that is none; `label` says whose prompt it is and `where` where it was declared.
    """
    breaks = [-1, *(found.start() for found in re.finditer("\n", text))]
    pieces: list[str | Placeholder] = []
    plain: list[str] = []
    at = 0
    while found := _PIECE.search(text, at):
        plain.append(text[at : found.start()])
        at = found.end()
        brace = found[0]
        if brace in ("{{", "}}"):
            plain.append(brace[0])
            continue
        line = bisect_left(breaks, found.start())
        column = found.start() - breaks[line - 1]
        end = text.find("}", at)
        if brace == "}" or end < 0:
            raise ConfigError(
                f"{label} has a lone '{brace}' at line {line}, column {column}",
                where=where,
                expected="a placeholder such as {name}, or a brace written twice",
                fix=f"write '{brace * 2}' for a brace in the text",
            )
        inner = text[at:end]
        placeholder = _read(inner, line, column)
        if placeholder is None:
            raise _bad(inner, line, column, where, label)
        if any(plain):
            pieces.append("".join(plain))
        plain = []
        pieces.append(placeholder)
        at = end + 1
    plain.append(text[at:])
    if any(plain):
        pieces.append("".join(plain))
    return Template(tuple(pieces))


def _read(inner: str, line: int, column: int) -> Placeholder | None:
    name = _NAME.match(inner)
    if name is None:
        return None
    path: list[str | int] = []
    at = name.end()
    while part := _PART.match(inner, at):
        path.append(part[1] if part[1] is not None else int(part[2]))
        at = part.end()
    return Placeholder(name[0], tuple(path), line, column) if at == len(inner) else None


def _bad(inner: str, line: int, column: int, where: Place | None, label: str) -> ConfigError:
    shown = inner if len(inner) <= _SHOWN else inner[:_SHOWN] + "…"
    if not inner.strip():
        found, fix = "nothing between the braces", "name a key, or write '{{}}' for bare braces"
    elif "!" in inner or ":" in inner.partition("{")[0]:
        found = repr(f"{{{shown}}}")
        fix = "a value is put in as it is: leave '!' and ':' out, or write '{{' for a brace"
    else:
        found, fix = repr(f"{{{shown}}}"), "write '{{' and '}}' for braces in the text"
    return ConfigError(
        f"{label} has a placeholder that is none at line {line}, column {column}",
        where=where,
        expected="{name}, {name.field} or {name[0].field}",
        found=found,
        fix=fix,
    )
