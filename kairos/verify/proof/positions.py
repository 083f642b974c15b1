r"""Patterns whose anchors stand anywhere: `\bkey\b`, `a(^b|c$)`, `(?m)^x`.

What an anchor asks depends on the characters at either side of it.  So such a pattern is walked
as a set of places in it, beside the kind of the last character; the kind of the next one is known
when it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.verify.proof.limits import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kairos.verify.proof.characters import Chars

__all__ = ["Positions"]

_MOST_PLACES = 2_000
_OF_WORDS = frozenset({"word", "no-word", "word-start", "word-end"})
_OF_LINES = frozenset({"line-start", "line-end"})
_NEWLINE = 10


class Positions:
    """The places of one parsed pattern; `words` are the characters that a word is made of."""

    def __init__(self, pattern: Any, words: Chars) -> None:
        self._edges: list[list[tuple[Chars, int]]] = []
        self._free: list[list[tuple[str, int]]] = []  # with the anchor to be asked, or ""
        self._anchors: set[str] = set()
        self._words = words
        self.first = self._place()
        self._last = self._build(pattern, self.first)
        self._of_words = not self._anchors.isdisjoint(_OF_WORDS)
        self._of_lines = not self._anchors.isdisjoint(_OF_LINES)

    def begin(self) -> tuple[frozenset[int], str]:
        """Return the places before the first character, and its kind."""
        return frozenset({self.first}), "start"

    def is_found(self, places: frozenset[int], before: str, after: str = "") -> bool:
        """Say whether the pattern is found here; without `after`, whatever may come next."""
        return self._last in self._reached(places, before, after)

    def step(
        self, places: frozenset[int], before: str, char: int
    ) -> tuple[frozenset[int], str] | None:
        """Return where one more character leads; None where the pattern is found before it."""
        kind = self._kind(char)
        here = self._reached(places, before, kind)
        if self._last in here:
            return None
        found = {
            to
            for place in here
            for chars, to in self._edges[place]
            if any(low <= char <= high for low, high in chars)
        }
        return frozenset({*found, self.first}), kind

    def told_apart(self, places: frozenset[int]) -> Iterator[Chars]:
        """Yield the sets of characters that lead to different places from here."""
        if self._of_words:
            yield self._words
        if self._of_lines:
            yield ((_NEWLINE, _NEWLINE),)
        for place in self._reached(places, "*", "*"):
            for chars, _ in self._edges[place]:
                yield chars

    def _kind(self, char: int) -> str:
        if self._of_words and any(low <= char <= high for low, high in self._words):
            return "word"
        return "newline" if self._of_lines and char == _NEWLINE else "other"

    def _reached(self, places: Iterable[int], before: str, after: str) -> set[int]:
        found, todo = set(places), list(places)
        while todo:
            for anchor, to in self._free[todo.pop()]:
                if to not in found and (not anchor or _stands(anchor, before, after)):
                    found.add(to)
                    todo.append(to)
        return found

    def _place(self) -> int:
        if len(self._edges) > _MOST_PLACES:
            raise UnsupportedError("a pattern too long for the anchors inside it")
        self._edges.append([])
        self._free.append([])
        return len(self._edges) - 1

    def _build(self, part: Any, start: int) -> int:
        """Add a part of the pattern from `start` on; return where it ends."""
        kind, *args = part
        if kind == "chars":
            end = self._place()
            self._edges[start].append((args[0], end))
        elif kind == "anchor":
            end = self._place()
            self._anchors.add(args[0])
            self._free[start].append((args[0], end))
        elif kind == "row":
            end = start
            for one in args[0]:
                end = self._build(one, end)
        elif kind == "either":
            end = self._place()
            for one in args[0]:
                self._free[self._branch(one, start)].append(("", end))
        else:
            end = self._repeated(start, *args)
        return end

    def _branch(self, part: Any, start: int) -> int:
        inside = self._place()
        self._free[start].append(("", inside))
        return self._build(part, inside)

    def _repeated(self, start: int, part: Any, low: int, high: int | None) -> int:
        for _ in range(low):
            start = self._branch(part, start)
        if high is None:
            around = self._place()
            self._free[start].append(("", around))
            self._free[self._branch(part, around)].append(("", around))
            start = around
        end = self._place()
        for _ in range(max((high or low) - low, 0)):
            self._free[start].append(("", end))
            start = self._branch(part, start)
        self._free[start].append(("", end))
        return end


def _stands(anchor: str, before: str, after: str) -> bool:  # noqa: PLR0911 - one answer an anchor
    """Say whether an anchor holds between characters of these kinds; "*" is any, "" unknown."""
    if "*" in (before, after):
        return True
    if anchor == "start":
        return before == "start"
    if anchor == "line-start":
        return before in {"start", "newline"}
    if not after:
        return False
    if anchor == "end":
        return after == "end"
    if anchor == "line-end":
        return after in {"end", "newline"}
    inside, ahead = before == "word", after == "word"
    if anchor == "word-start":
        return ahead and not inside
    if anchor == "word-end":
        return inside and not ahead
    return (inside != ahead) == (anchor == "word")
