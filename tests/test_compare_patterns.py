"""Patterns as languages: what they hold is what pydantic's engine finds them in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.contracts.rules import regex_engine
from kairos.exceptions import ConfigError
from kairos.verify.proof.formats import has_format, near
from kairos.verify.proof.limits import Budget, Meter, UnsupportedError
from kairos.verify.proof.patterns import language_of
from kairos.verify.proof.regular import Language, Space, shortest_word
from kairos.verify.proof.spellings import lies_among, surely_has

FORMATS = ["date", "date-time", "time", "duration", "uuid", "ipv4", "ipv6", "uri", "json-string"]
PIECES = st.sampled_from(
    [
        "a", "b", "_", "-", " ", "K", "s", ".", "[ab]", "[^a]", r"\w", r"\d", r"\s", r"\b", r"\B",
        r"\<", r"\>", "^", "$", r"\A", r"\z", "(?i)", "(?m)", "(?s)", "é", r"\x{2028}",
    ]
)  # fmt: skip
REGEXES = st.recursive(
    PIECES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.builds("({}|{})".format, inner, inner),
        st.builds("(?{}:{})".format, st.sampled_from(["", "i", "m", "s", "-i"]), inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}"])),
    ),
    max_leaves=6,
)
TEXTS = st.text("ab_ \n1-Kk\u212asS\u017fé", max_size=5)


def space() -> Space:
    return Space(Meter(Budget(nodes=1_000_000, seconds=60)))


def holds(found: Space, lang: Language, text: str) -> bool:
    for char in text:
        lang = found.after(lang, ord(char))
    return lang.nullable


@settings(max_examples=300, deadline=None)
@given(regex=REGEXES, texts=st.lists(TEXTS, min_size=5, max_size=5))
def test_a_pattern_means_what_the_engine_finds(regex: str, texts: list[str]) -> None:
    try:
        engine = regex_engine(regex)
    except ConfigError:
        return
    found = space()
    lang = language_of(regex, found)
    for text in texts:
        assert holds(found, lang, text) is engine.isinstance_python(text)
    inside = shortest_word(found, lang, 0, None)
    outside = shortest_word(found, found.neg(lang), 0, None)
    assert inside is None or engine.isinstance_python(inside)
    assert outside is None or not engine.isinstance_python(outside)


@pytest.mark.parametrize("regex", [r"\b{start-half}a", "(?x) a # b", "(?U)a+", "(?-u)a", "a{1001}"])
def test_what_is_not_understood_of_a_pattern_is_said(regex: str) -> None:
    with pytest.raises(UnsupportedError, match="the pattern"):
        language_of(regex, space())


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_text_of_a_format_lies_within_its_pattern(name: str, data: Any) -> None:
    text = data.draw(st.sampled_from(near(name)))
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.text("01 T:-+.xé\n", max_size=2)) + text[at:]
    around = regex_engine(str(lies_among(name)))
    for one in (text, changed):
        assert not has_format(name, one) or around.isinstance_python(one)


@pytest.mark.parametrize("name", [name for name in FORMATS if surely_has(name)])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_match_of_a_format_s_inner_pattern_has_the_format(name: str, data: Any) -> None:
    inner = str(surely_has(name))
    text = data.draw(st.from_regex(inner.replace("$", r"\Z")))
    assert has_format(name, text)
