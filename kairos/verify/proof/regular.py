"""Regular languages as terms with derivatives, closed under complement and intersection.

A term's derivative by a character is what may follow it (Brzozowski 1964; Owens, Reppy and Turon
2009 partition the alphabet so that one character stands for many).  Walking the derivatives
breadth first tells whether a language is empty, and otherwise finds a shortest word of it.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from kairos.verify.proof.characters import EVERY, Chars, both, invert, merge
from kairos.verify.proof.limits import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kairos.verify.proof.limits import Meter
    from kairos.verify.proof.positions import Positions

__all__ = [
    "ANYTHING",
    "EMPTY_WORD",
    "NOTHING",
    "Language",
    "Space",
    "shortest_word",
]

_MOST_CLASSES = 2_000
_MANY = 16  # parts that cost a step of the budget
# which character of a class a word should be shown with
_NICE: tuple[Chars, ...] = tuple(
    ((ord(a), ord(b)),) for a, b in ("az", "09", "AZ", "--", "__", "..", " ~")
)


def _shown(chars: Chars) -> int:
    for nice in _NICE:
        shared = both(chars, nice)
        if shared:
            return shared[0][0]
    return chars[0][0]


class Language:
    """One interned term; `nullable` says whether the empty word is in it."""

    __slots__ = ("args", "classes", "nullable", "number", "op", "steps")

    def __init__(self, op: str, args: tuple[Any, ...], number: int, *, nullable: bool) -> None:
        self.op = op
        self.args = args
        self.number = number
        self.nullable = nullable
        self.steps: dict[int, Language] = {}
        self.classes: tuple[Chars, ...] | None = None


NOTHING: Final = Language("nothing", (), 0, nullable=False)
EMPTY_WORD: Final = Language("empty", (), 1, nullable=True)
_ANY_CHAR: Final = Language("chars", (EVERY,), 2, nullable=False)
ANYTHING: Final = Language("star", (_ANY_CHAR,), 3, nullable=True)


class Space:
    """The interned terms of one proof, and the operations on them."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.patterns: dict[str, Language] = {}  # what each pattern that was read means
        self._known: dict[tuple[Any, ...], Language] = {
            ("chars", EVERY): _ANY_CHAR,
            ("star", _ANY_CHAR.number): ANYTHING,
        }

    def _make(self, op: str, args: tuple[Any, ...], *, nullable: bool) -> Language:
        key = (op, *(arg.number if isinstance(arg, Language) else arg for arg in args))
        found = self._known.get(key)
        if found is None:
            self._meter.spend()
            found = Language(op, args, len(self._known) + 10, nullable=nullable)
            self._known[key] = found
        return found

    def chars(self, chars: Chars) -> Language:
        """Return the words of one character out of these."""
        return self._make("chars", (chars,), nullable=False) if chars else NOTHING

    def word(self, text: str) -> Language:
        """Return the language of this one word."""
        found = EMPTY_WORD
        for char in reversed(text):
            found = self.join(self.chars(((ord(char), ord(char)),)), found)
        return found

    def join(self, first: Language, second: Language) -> Language:
        """Return the words of `first` followed by words of `second`."""
        if NOTHING in (first, second):
            return NOTHING
        if first is EMPTY_WORD:
            return second
        if second is EMPTY_WORD:
            return first
        if first.op == "join":
            return self.join(first.args[0], self.join(first.args[1], second))
        return self._make("join", (first, second), nullable=first.nullable and second.nullable)

    def star(self, inner: Language) -> Language:
        """Return any number of words of `inner`, one after another."""
        if inner is NOTHING or inner is EMPTY_WORD:
            return EMPTY_WORD
        return inner if inner.op == "star" else self._make("star", (inner,), nullable=True)

    def repeat(self, inner: Language, low: int, high: int | None) -> Language:
        """Return `low` to `high` words of `inner`, one after another."""
        if high is None and low == 0:
            return self.star(inner)
        if high == 0 or inner is EMPTY_WORD:
            return EMPTY_WORD
        if inner is NOTHING:
            return EMPTY_WORD if low == 0 else NOTHING
        if (low, high) == (1, 1):
            return inner
        if inner.nullable:  # then fewer will do as well, and the derivative below stays right
            low = 0
            if high is None:
                return self.star(inner)
        return self._make("repeat", (inner, low, high), nullable=low == 0)

    def neg(self, inner: Language) -> Language:
        """Return every word that is not in `inner`."""
        if inner is NOTHING:
            return ANYTHING
        if inner is ANYTHING:
            return NOTHING
        if inner.op == "not":
            found: Language = inner.args[0]
            return found
        return self._make("not", (inner,), nullable=not inner.nullable)

    def union(self, parts: Iterable[Language]) -> Language:
        """Return the words that are in one of these."""
        one: Language
        flat: dict[int, Language] = {}
        for part in parts:
            for one in part.args if part.op == "union" else (part,):
                if one is ANYTHING:
                    return ANYTHING
                if one is not NOTHING:
                    flat[one.number] = one
        plain = [one for one in flat.values() if one.op == "chars"]
        if len(plain) > 1:
            for one in plain:
                del flat[one.number]
            whole = self.chars(merge(pair for one in plain for pair in one.args[0]))
            flat[whole.number] = whole
        return self._several("union", flat, NOTHING)

    def meet(self, parts: Iterable[Language]) -> Language:
        """Return the words that are in all of these."""
        one: Language
        flat: dict[int, Language] = {}
        for part in parts:
            for one in part.args if part.op == "meet" else (part,):
                if one is NOTHING:
                    return NOTHING
                if one is not ANYTHING:
                    flat[one.number] = one
        if any(one.op == "not" and one.args[0].number in flat for one in flat.values()):
            return NOTHING
        return self._several("meet", flat, ANYTHING)

    def _several(self, op: str, flat: dict[int, Language], none: Language) -> Language:
        self._meter.spend(len(flat) // _MANY)
        parts = tuple(flat[number] for number in sorted(flat))
        if len(parts) <= 1:
            return parts[0] if parts else none
        nullable = (any if op == "union" else all)(part.nullable for part in parts)
        return self._make(op, parts, nullable=nullable)

    def walked(self, pattern: Positions) -> Language:
        """Return the words in which a pattern with anchors inside it is found."""
        return self._from(pattern, *pattern.begin())

    def _from(self, pattern: Positions, places: frozenset[int], before: str) -> Language:
        self._meter.spend(len(places) // _MANY)
        if pattern.is_found(places, before):
            return ANYTHING
        nullable = pattern.is_found(places, before, "end")
        return self._make("walk", (pattern, places, before), nullable=nullable)

    def after(self, lang: Language, char: int) -> Language:
        """Return what may follow `char`: the derivative of `lang` by it."""
        found = lang.steps.get(char)
        if found is None:
            found = lang.steps[char] = self._derive(lang, char)
        return found

    def _derive(self, lang: Language, char: int) -> Language:  # noqa: PLR0911 - one an operator
        args = lang.args
        match lang.op:
            case "chars":
                inside = any(low <= char <= high for low, high in args[0])
                return EMPTY_WORD if inside else NOTHING
            case "star":
                return self.join(self.after(args[0], char), lang)
            case "join":
                found = self.join(self.after(args[0], char), args[1])
                if args[0].nullable:
                    found = self.union((found, self.after(args[1], char)))
                return found
            case "union":
                return self.union(self.after(part, char) for part in args)
            case "meet":
                return self.meet(self.after(part, char) for part in args)
            case "not":
                return self.neg(self.after(args[0], char))
            case "repeat":
                inner, low, high = args
                rest = self.repeat(inner, max(low - 1, 0), None if high is None else high - 1)
                return self.join(self.after(inner, char), rest)
            case "walk":
                pattern, places, before = args
                then = pattern.step(places, before, char)
                return ANYTHING if then is None else self._from(pattern, *then)
        return NOTHING

    def classes(self, lang: Language) -> tuple[Chars, ...]:
        """Return a partition of the alphabet: all characters of a class have one derivative."""
        if lang.classes is None:
            lang.classes = self._classes(lang)
        return lang.classes

    def _classes(self, lang: Language) -> tuple[Chars, ...]:
        match lang.op:
            case "nothing" | "empty":
                return (EVERY,)
            case "chars":
                return tuple(part for part in (lang.args[0], invert(lang.args[0])) if part)
            case "walk":
                apart = dict.fromkeys(lang.args[0].told_apart(lang.args[1]))
                sides = (tuple(part for part in (one, invert(one)) if part) for one in apart)
                return reduce(self._refine, sides, (EVERY,))
            case "join" if not lang.args[0].nullable:
                return self.classes(lang.args[0])
            case "join" | "union" | "meet":
                return reduce(self._refine, map(self.classes, lang.args))
        return self.classes(lang.args[0])

    def _refine(self, one: tuple[Chars, ...], other: tuple[Chars, ...]) -> tuple[Chars, ...]:
        found = [shared for a in one for b in other if (shared := both(a, b))]
        self._meter.spend(1 + len(found) // 8)
        if len(found) > _MOST_CLASSES:
            raise UnsupportedError("a pattern with too many kinds of characters")
        return tuple(found)


def shortest_word(space: Space, lang: Language, low: int, high: int | None) -> str | None:
    """Return a shortest word of `low` to `high` characters, or None where there is none.

    Raises BudgetSpentError or UnsupportedError where that could not be found out.
    """
    if low == 0 and lang.nullable:
        return ""
    seen = {(lang.number, 0)}
    # each state with the one it was reached from, so that words need not be kept
    ways: list[tuple[Language, int, int, int]] = [(lang, 0, -1, 0)]
    for at, (now, length, _, _) in enumerate(ways):
        if length == high:
            continue
        for chars in space.classes(now):
            char = _shown(chars)
            then = space.after(now, char)
            state = (then.number, min(length + 1, low))
            if then is NOTHING or state in seen:
                continue
            seen.add(state)
            space._meter.spend()  # noqa: SLF001 - the walk is a part of this room
            ways.append((then, length + 1, at, char))
            if then.nullable and length + 1 >= low:
                return _spelled(ways)
    return None


def _spelled(ways: list[tuple[Language, int, int, int]]) -> str:
    chars = []
    at = len(ways) - 1
    while at > 0:
        _, _, at_before, char = ways[at]
        chars.append(chr(char))
        at = at_before
    return "".join(reversed(chars))
