"""A docstring, read for a model: what a tool does, and what each of its parameters is.

The three common forms are known: Google's sections (`Args:`), NumPy's underlined ones
(`Parameters`), and Sphinx's fields (`:param x:`).  They are read here since all that is wanted of
them is which text belongs to which parameter; a parser of the whole language would be one more
package that every agent needs.  Nothing is refused: what is in none of these forms is description.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    _Entries: TypeAlias = Callable[[list[str]], Iterator[tuple[list[str], str]]]

__all__ = ["Docstring", "read_docstring"]

_MOST = 1024
"""How long a description may be: OpenAI refuses a request with a longer one."""

_PARAMETERS = frozenset(
    {
        "arg", "args", "arguments", "keyword args", "keyword arguments", "keyword parameters",
        "other parameters", "param", "parameters", "params",
    }
)  # fmt: skip
_TOLD = {
    "caution": "Caution", "hint": "Hint", "important": "Important", "note": "Note",
    "return": "Returns", "returns": "Returns", "tip": "Tip", "warning": "Warning",
    "yield": "Yields", "yields": "Yields",
}  # fmt: skip
_FOR_PEOPLE = frozenset(
    {
        "attributes", "deprecated", "example", "examples", "exceptions", "methods", "notes",
        "raises", "receives", "references", "see also", "todo", "warnings", "warns",
    }
)  # fmt: skip
_SECTIONS = _PARAMETERS | _FOR_PEOPLE | _TOLD.keys()
_FIELDS = frozenset(
    {
        "arg", "argument", "cvar", "except", "exception", "ivar", "key", "keyword", "meta", "param",
        "parameter", "raise", "raises", "return", "returns", "rtype", "type", "var", "vartype",
        "yield", "yields", "ytype",
    }
)  # fmt: skip
_NAMING = frozenset({"arg", "argument", "key", "keyword", "param", "parameter"})

# The quantifiers are possessive, so that no line takes longer than its length.
_FIELD = re.compile(r":([a-z]++)(?:[ \t]++([^:\n]++))?:(?:[ \t]++(.*+))?")
_ENTRY = re.compile(
    r"(?:[-*][ \t]++)?+`{0,2}+\*{0,2}+([^\W\d]\w*+)`{0,2}+[ \t]*+"
    r"(?:\(.*?\)[ \t]*+)?:(?:[ \t]++(.*+))?"
)
_NAMES = re.compile(r"\*{0,2}+[^\W\d]\w*+(?:[ \t]*+,[ \t]*+\*{0,2}+[^\W\d]\w*+)*+[ \t]*+(?::.*+)?")
_UNDERLINE = re.compile(r"-{3,}+[ \t]*+|={3,}+[ \t]*+")
_LISTED = re.compile(r"[-*+|>]|\d++[.)]")


class Docstring(NamedTuple):
    """What a tool does, in paragraphs, and what is said of its parameters, each in one line."""

    description: str = ""
    parameters: Mapping[str, str] = {}


def read_docstring(text: str | None) -> Docstring:
    """Read a docstring.

    The description is its prose and what it says of the result, as many whole paragraphs as fit
    into 1,024 characters; examples, notes for people and exceptions are left out.
    """
    lines = [line.rstrip() for line in inspect.cleandoc(text or "").splitlines()]
    reader = _Reader()
    at = 0
    while at < len(lines):
        at = reader.read(lines, at)
    return Docstring(_fitting(_paragraphs(reader.prose)), reader.parameters)


class _Reader:
    """What was read of a docstring so far."""

    def __init__(self) -> None:
        self.prose: list[str] = []
        self.parameters: dict[str, str] = {}

    def read(self, lines: list[str], at: int) -> int:
        """Read a section, a field, or one line of prose; returns where the next one begins."""
        line = lines[at]
        name = line.strip().rstrip(":").lower()
        after = lines[at + 1] if at + 1 < len(lines) else ""
        below = next((each for each in lines[at + 1 : at + 4] if each), "")
        if name in _SECTIONS and not line[:1].isspace():
            if _UNDERLINE.fullmatch(after):
                return self._underlined(lines, at + 2, name)
            if line.endswith(":") and below[:1].isspace():
                end = _end_of_block(lines, at + 1)
                self._take(name, lines[at + 1 : end], _indented_entries)
                return end
        field = _FIELD.fullmatch(line)
        if field is not None and field[1] in _FIELDS:
            end = _end_of_block(lines, at + 1)
            self._field(field[1], field[2] or "", [field[3] or "", *lines[at + 1 : end]])
            return end
        self.prose.append(line)
        return at + 1

    def _underlined(self, lines: list[str], begin: int, name: str) -> int:
        end = begin
        while end < len(lines) and not _is_header(lines, end):
            end += 1
        self._take(name, lines[begin:end], _hanging_entries)
        return end

    def _take(self, name: str, block: list[str], entries: _Entries) -> None:
        if name in _PARAMETERS:
            for names, text in entries(block):
                self._name(names, text)
        elif name in _TOLD and (told := _one_line(block)):
            self.prose += ["", f"{_TOLD[name]}: {told}", ""]

    def _field(self, kind: str, argument: str, block: list[str]) -> None:
        told = _one_line(block)
        if kind in _NAMING and argument.split():
            self._name([argument.rsplit(maxsplit=1)[-1]], told)  # its type may stand before it
        elif kind in ("return", "returns", "yield", "yields") and told:
            self.prose += ["", f"{_TOLD[kind]}: {told}", ""]

    def _name(self, names: Iterable[str], text: str) -> None:
        for name in names:
            if text:
                self.parameters.setdefault(name.strip().lstrip("*"), text)


def _is_header(lines: list[str], at: int) -> bool:
    line = lines[at]
    return (
        bool(line)
        and not line[0].isspace()
        and at + 1 < len(lines)
        and _UNDERLINE.fullmatch(lines[at + 1]) is not None
    )


def _end_of_block(lines: list[str], at: int) -> int:
    """Return where an indented block ends that begins at a line."""
    while at < len(lines) and (not lines[at] or lines[at][0].isspace()):
        at += 1
    return at


def _indented_entries(block: list[str]) -> Iterator[tuple[list[str], str]]:
    """Yield what Google's form says: `name (type): text`, with more of the text below it."""
    margin = min((_indent(line) for line in block if line), default=0)
    name, text = "", list[str]()
    for line in block:
        entry = _ENTRY.fullmatch(line[margin:]) if line and _indent(line) == margin else None
        if entry is None:
            text.append(line)
            continue
        if name:
            yield [name], _one_line(text)
        name, text = entry[1], [entry[2] or ""]
    if name:
        yield [name], _one_line(text)


def _hanging_entries(block: list[str]) -> Iterator[tuple[list[str], str]]:
    """Yield what NumPy's form says: `name, other : type`, with the text indented below it."""
    names, text = list[str](), list[str]()
    for line in block:
        if not line or line[0].isspace():
            text.append(line)
            continue
        if names:
            yield names, _one_line(text)
        text = []
        names = line.partition(":")[0].split(",") if _NAMES.fullmatch(line) else []
    if names:
        yield names, _one_line(text)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _one_line(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Yield paragraphs, each in one line, save those that are lists or code."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            formed = any(each[0].isspace() or _LISTED.match(each) for each in block)
            yield "\n".join(block) if formed else _one_line(block)
            block = []


def _fitting(paragraphs: Iterable[str]) -> str:
    found: list[str] = []
    room = _MOST
    for each in paragraphs:
        if len(each) > room:
            if not found:
                found.append(each[:_MOST].rpartition(" ")[0] or each[:_MOST])
            break
        found.append(each)
        room -= len(each) + len("\n\n")
    return "\n\n".join(found)
