"""Strings: lengths, patterns, formats and exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kairos.verify.proof.answers import NONE, UNKNOWN, Answer, found
from kairos.verify.proof.formats import is_empty, near, samples, within
from kairos.verify.proof.limits import UnsupportedError
from kairos.verify.proof.patterns import language_of
from kairos.verify.proof.regular import shortest_word
from kairos.verify.proof.spellings import lies_among, surely_has

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.proof.answers import Solver

__all__ = ["solve_string"]

_LONGEST = 10_000
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class _Asked(NamedTuple):
    low: int
    high: int | None
    patterns: tuple[str, ...]
    no_patterns: tuple[str, ...]
    formats: frozenset[str]
    no_formats: frozenset[str]
    excluded: frozenset[str]


def solve_string(solver: Solver, atoms: frozenset[int]) -> Answer:  # noqa: PLR0911 - flat
    """Look for a string that satisfies the atoms."""
    asked = _asked(solver, atoms)
    if asked.high is not None and asked.low > asked.high:
        return NONE
    for kept in asked.formats:
        if is_empty(kept) or any(within(kept, one) for one in asked.no_formats):
            return NONE
    if asked.low > _LONGEST:
        solver.meter.note(f"a minimum length of {asked.low}")
        return UNKNOWN
    try:
        word = _word(solver, asked)
    except UnsupportedError as error:
        solver.meter.note(str(error))
        return _first_right(solver, atoms, asked, None)
    if word is None:
        return NONE
    if asked.formats or asked.no_formats:
        names = ", ".join(sorted(asked.formats | asked.no_formats))
        solver.meter.note(f"the format {names}, whose texts are known to its parser only")
        return _first_right(solver, atoms, asked, word)
    return found(word)


def _asked(solver: Solver, atoms: frozenset[int]) -> _Asked:
    low, high = 0, None
    texts: dict[tuple[str, bool], list[str]] = {}
    excluded: set[str] = set()
    for lit in atoms:
        op, arg = solver.table[lit]
        if op == "longer" and lit > 0:
            low = max(low, arg)
        elif op == "longer":
            high = arg - 1 if high is None else min(high, arg - 1)
        elif op == "enum" and lit < 0:
            excluded |= {text for kind, text in arg if kind == "string"}
        elif op in {"pattern", "format"}:
            texts.setdefault((op, lit > 0), []).append(arg)
    return _Asked(
        low,
        high,
        tuple(texts.get(("pattern", True), ())),
        tuple(texts.get(("pattern", False), ())),
        frozenset(texts.get(("format", True), ())),
        frozenset(texts.get(("format", False), ())),
        frozenset(excluded),
    )


def _word(solver: Solver, asked: _Asked) -> str | None:
    """Return a string of the right length that matches what it must.

    Of formats it has only what patterns can say; None is a proof nevertheless.
    """
    patterns = [*asked.patterns, *filter(None, map(lies_among, sorted(asked.formats)))]
    no_patterns = [*asked.no_patterns, *filter(None, map(surely_has, sorted(asked.no_formats)))]
    if not patterns and not no_patterns:
        return next(iter(_plain_words(asked)), None)
    space = solver.space
    lang = space.meet(
        [
            *(language_of(regex, space) for regex in patterns),
            *(space.neg(language_of(regex, space)) for regex in no_patterns),
        ]
    )
    while True:
        word = shortest_word(space, lang, asked.low, asked.high)
        if word is None or word not in asked.excluded:
            return word
        lang = space.meet([lang, space.neg(space.word(word))])


def _plain_words(asked: _Asked) -> Iterator[str]:
    if asked.low == 0 and "" not in asked.excluded:
        yield ""
    if asked.high == 0:
        return
    length = max(asked.low, 1)
    for number in range(len(asked.excluded) + 1):
        text, rest = "", number
        while rest or not text:
            rest, digit = divmod(rest, len(_LETTERS))
            text = _LETTERS[digit] + text
        text = text.rjust(length, _LETTERS[0])
        if asked.high is not None and len(text) > asked.high:
            break
        if text not in asked.excluded:
            yield text
            return
    # a short length with more exceptions than it has words in these letters
    for code in range(0x100, 0x100 + len(asked.excluded) + 1):
        text = chr(code) * length
        if text not in asked.excluded:
            yield text
            return


def _first_right(solver: Solver, atoms: frozenset[int], asked: _Asked, word: str | None) -> Answer:
    """Try samples of the formats and whatever else may do; there may be more than these."""
    tried = [text for name in sorted(asked.formats) for text in samples(name)]
    # where a text breaks a format, it is at a bound
    tried += [text for name in sorted(asked.no_formats) for text in near(name)]
    if word is not None:
        tried.append(word)
    for text in (*tried, "", "a", "0", "abc", "A1", "-", "2024-01-02"):
        if solver.evaluator.satisfies(atoms, text):
            return found(text)
    return UNKNOWN
