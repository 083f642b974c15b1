"""What a call may cost at most is never less than what it costs; what nobody knows is unknown."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.budget import Spend
from kairos.exceptions import ConfigError
from kairos.models import Document, Image, Message, Text, TokenUsage, ToolCall, ToolResult
from kairos.models.estimate import estimate, spend_after, spend_before, tokens_of
from kairos.models.parts import Reasoning
from kairos.models.prices import PRICES, Price, Prices, context_window
from kairos.models.request import Request, ToolSpec

HELLO = (Message("user", (Text("hello"),)),)

# -- tokens ---------------------------------------------------------------------------------------

_NOISE = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(24))

# What the tokenizer that Anthropic once published counts: the widest of those that can be had.
COUNTED = [
    ("It was the best of times, it was the worst of times, it was the age of wisdom. " * 20, 421),
    (
        "Das Wohnungsbauförderungsgesetz und die Donaudampfschifffahrt sind sehr lange Wörter. "
        * 20,
        601,
    ),
    ("Все счастливые семьи похожи друг на друга. " * 20, 541),  # noqa: RUF001 - as it is written
    ("Όλοι οι άνθρωποι γεννιούνται ελεύθεροι. " * 20, 821),  # noqa: RUF001 - as it is written
    ("يولد جميع الناس أحرارا متساوين في الكرامة. " * 20, 760),
    ("सभी मनुष्यों को गौरव और अधिकारों के मामले में समानता प्राप्त है। " * 20, 1381),
    ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน " * 20, 1421),
    ("天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。" * 20, 600),  # noqa: RUF001 - as it is written
    ("吾輩は猫である。名前はまだ無い。" * 20, 380),
    ("모든 인간은 태어날 때부터 자유로우며 존엄하다. " * 20, 602),
    ("🦆🛶🧭🫖🪤👩\u200d🔬🏴\u200d☠️" * 20, 580),
    ("def add(self, other: Sum) -> None:\n    self.calls += other.calls\n\n" * 20, 439),
    ('{"id": 17, "name": "item 17", "price": 23.29, "tags": ["a", "b"]}' * 20, 560),
    ("https://example.org/a/b?x=1&y=%20#frag " * 20, 381),
    (base64.b64encode(_NOISE).decode(), 730),
    (_NOISE.hex(), 886),
    ("".join(chr(97 + b % 26) for b in _NOISE), 405),
    ("".join(chr(65 + b % 26) for b in _NOISE), 438),
    ("".join(str(b % 10) for b in _NOISE), 325),
    ("".join("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"[b % 31] for b in _NOISE), 525),
    ("\n".join(chr(97 + b % 26) for b in _NOISE), 1535),
    (
        "".join(chr(0x4E00 + a * 80 + b % 80) for a, b in pairwise(_NOISE)),
        1647,
    ),
    (
        "".join(chr(0xAC00 + a * 43 + b % 43) for a, b in pairwise(_NOISE)),
        1952,
    ),
]


@pytest.mark.parametrize("text, counted", COUNTED, ids=[text[:12] for text, _ in COUNTED])
def test_an_estimate_is_not_below_what_a_tokenizer_counts_nor_absurdly_above(
    text: str, counted: int
) -> None:
    assert counted <= tokens_of(text) <= counted * 4


@given(text=st.text(max_size=200), more=st.text(max_size=50))
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    assert tokens_of(text) <= tokens_of(text + more) <= tokens_of(text) + tokens_of(more)
    assert tokens_of(text) <= len(text.encode()) * 1.5 + 2


def test_half_a_character_is_counted_and_not_choked_on() -> None:
    assert tokens_of("\ud800") >= 1
    assert tokens_of("") == 0


@pytest.mark.parametrize(
    "part, least",
    [
        (Text("word " * 100), 100),
        (Reasoning("word " * 100, "c" * 400), 300),
        (ToolCall("1", "search", json.dumps({"query": "word " * 100})), 100),
        (ToolResult("1", "search", "word " * 100), 100),
        (Image("image/png", b"\x89PNG"), 4784),
        (Image("image/png", url="https://example.org/a.png"), 4784),
        (Document("text/plain", b"word " * 100), 100),
        (Document("application/pdf", b"/Type /Page /Type/Page /Type /Pages"), 2 * 3000),
        (Document("application/pdf", bytes(500_000)), 10 * 3000),
        (Document("application/pdf", url="https://example.org/a.pdf"), 10 * 3000),
    ],
)
def test_every_part_of_a_message_counts(part: Any, least: int) -> None:
    without = estimate(Request((Message("user", ()),))).input_tokens
    assert estimate(Request((Message("user", (part,)),))).input_tokens >= without + least


def test_instructions_tools_and_the_wanted_form_count() -> None:
    bare = estimate(Request(HELLO)).input_tokens
    tool = ToolSpec("search", "Search the web. " * 20, {"type": "object"})
    assert estimate(Request(HELLO, system="word " * 99)).input_tokens >= bare + 99
    assert estimate(Request(HELLO, tools=(tool,))).input_tokens >= bare + 530 + 80
    assert estimate(Request(HELLO, output={"type": "object"})).input_tokens >= bare + 530


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, 100),
        ({"max_completion_tokens": 900}, 900),
        ({"max_tokens": 50}, 100),
        ({"n": 3}, 300),
        ({"candidate_count": 2, "maxOutputTokens": 400}, 800),
        ({"n": True, "max_tokens": "many"}, 100),
        ({"extra_body": {"max_tokens": 64_000}}, 64_000),
        ({"extra_body": {"generationConfig": {"maxOutputTokens": 700}, "n": 2}}, 1_400),
        ({"extra_body": "none", "n": 2}, 200),
    ],
)
def test_output_is_as_much_as_is_let_be_said(options: dict[str, Any], expected: int) -> None:
    assert estimate(Request(HELLO, max_tokens=100, options=options)).output_tokens == expected


# -- prices ---------------------------------------------------------------------------------------

RATES = st.floats(0, 100)
BARE = st.builds(
    Price,
    RATES,
    RATES,
    cached=st.none() | RATES,
    cache_write=st.none() | RATES,
    reasoning=st.none() | RATES,
    request=st.floats(0, 1),
)
COUNTS = st.integers(0, 500_000)
USAGES = st.builds(
    lambda read, written, cached, stored, thought: TokenUsage(
        read,
        written,
        read + written,
        cached_tokens=min(cached, read),
        cache_write_tokens=min(stored, read - min(cached, read)),
        reasoning_tokens=min(thought, written),
    ),
    *[COUNTS] * 5,
)


@given(price=BARE, tier=BARE, usage=USAGES, more=st.integers(0, 1000))
def test_a_price_for_the_most_tokens_is_never_below_the_price_for_fewer(
    price: Price, tier: Price, usage: TokenUsage, more: int
) -> None:
    own = Prices({"m": Price(price.input, price.output, above={200_000: tier})})
    listed = own.price("openai", "m")
    assert listed is not None
    cheaper = usage.cache_write_tokens == 0 or (tier.cache_write or 0) <= tier.input
    if cheaper and (tier.cached or 0) <= tier.input:
        most = listed.most(usage.input_tokens + more, usage.output_tokens + more)
        assert listed.of(usage) <= most * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    "usage, expected",
    [
        (TokenUsage(1_000_000, 0), 3.0),
        (TokenUsage(0, 1_000_000), 15.0),
        (TokenUsage(1_000_000, 0, cached_tokens=1_000_000), 0.3),
        (TokenUsage(1_000_000, 0, cache_write_tokens=400_000), 0.6 * 3.0 + 0.4 * 3.75),
        (TokenUsage(0, 100, reasoning_tokens=100), 100 * 15e-6),
    ],
)
def test_each_kind_of_token_has_its_price(usage: TokenUsage, expected: float) -> None:
    price = Price(3.0, 15.0, cached=0.3, cache_write=3.75)
    assert price.of(usage) == pytest.approx(expected)
    assert Price(3.0, 15.0, per_million=False).of(TokenUsage(2, 1)) == 21.0


def test_ones_own_price_comes_first_and_may_be_one_providers() -> None:
    prices = Prices({"gpt-5": Price(1.0, 1.0), "gemini/gpt-5": Price(2.0, 2.0)})
    usage = TokenUsage(1_000_000, 0)
    assert prices.cost("openai", "gpt-5", usage) == 1.0
    assert prices.cost("gemini", "gpt-5", usage) == 2.0


@pytest.mark.parametrize(
    "provider, model, base_url",
    [
        ("openai", "nobody-knows-it", ""),
        ("nobody", "gpt-5", ""),
        ("openai", "gpt-5", "http://127.0.0.1:11434/v1"),
    ],
)
def test_a_price_that_nobody_knows_is_none_and_never_zero(
    provider: str, model: str, base_url: str
) -> None:
    usage = TokenUsage(10, 10)
    assert PRICES.cost(provider, model, usage, base_url=base_url) is None
    assert spend_before(Request(HELLO), provider, model, base_url=base_url).usd is None


def test_whoever_has_a_name_of_their_own_is_known_behind_a_gateway() -> None:
    usage = TokenUsage(1000, 1000)
    at_home = PRICES.cost("anthropic", "claude-sonnet-4-5", usage)
    assert at_home == PRICES.cost(
        "anthropic", "claude-sonnet-4-5", usage, base_url="https://gateway.example.org"
    )
    assert PRICES.cost("openai", "openai/gpt-5", usage, base_url="https://openrouter.ai/api/v1")


def test_one_may_do_without_the_list() -> None:
    assert Prices(listed=False).cost("openai", "gpt-5", TokenUsage(1, 1)) is None


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "3", None, True])
def test_what_is_no_price_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match="price of input"):
        Price(bad, 1.0)
    with pytest.raises(ConfigError, match="price list"):
        Prices({"m": bad})


def _listed() -> list[tuple[str, str, Any]]:
    from genai_prices.data_snapshot import get_snapshot

    found = []
    for provider in get_snapshot().providers:
        found += [(provider.id, model.id, model) for model in provider.models]
    return found


def test_we_read_the_list_as_it_is_meant() -> None:
    """Every model paid by the token costs what genai-prices says, on either side of its tiers."""
    from genai_prices import Usage, calc_price

    at, compared = datetime(2026, 6, 1, 12, tzinfo=UTC), 0
    for provider, model, _ in _listed()[::7]:
        price = PRICES.price(provider, model, at=at)
        if price is None:
            continue
        for read in (1000, 150_000, 400_000):
            usage = TokenUsage(read, 700, cached_tokens=read // 2)
            theirs = calc_price(
                Usage(input_tokens=read, output_tokens=700, cache_read_tokens=read // 2),
                model,
                provider_id=provider,
                genai_request_timestamp=at,
            )
            assert price.of(usage) - price.request == pytest.approx(float(theirs.total_price))
            compared += 1
    assert compared > 300


@settings(deadline=None)
@given(read=st.integers(0, 2_000_000), written=st.integers(0, 200_000), data=st.data())
def test_what_is_reserved_at_list_prices_covers_what_is_paid(
    read: int, written: int, data: st.DataObject
) -> None:
    model = data.draw(st.sampled_from(["claude-sonnet-4-5", "claude-opus-4-5"]))
    price = PRICES.price("anthropic", model)
    assert price is not None
    used = TokenUsage(data.draw(st.integers(0, read)), data.draw(st.integers(0, written)))
    assert price.of(used) <= price.most(read, written) + 1e-12


def test_writing_to_a_cache_is_reserved_where_it_is_asked_for() -> None:
    plain = spend_before(Request(HELLO), "anthropic", "claude-sonnet-4-5").usd
    caching = Request(HELLO, options={"cache_control": {"type": "ephemeral"}})
    assert (spend_before(caching, "anthropic", "claude-sonnet-4-5").usd or 0) > (plain or 0) > 0


@pytest.mark.parametrize(
    "options",
    [
        {"previous_response_id": "resp_1"},
        {"cached_content": "cachedContents/1"},
        {"prompt": {"id": "pmpt_1"}},
        {"web_search_options": {"search_context_size": "high"}},
        {"extra_body": {"previous_response_id": "resp_1"}},
    ],
)
def test_what_a_provider_adds_unseen_is_reserved_as_all_that_it_can_read(
    options: dict[str, Any],
) -> None:
    most = spend_before(Request(HELLO, options=options), "openai", "gpt-4.1")
    assert most.input_tokens == context_window("openai", "gpt-4.1")
    assert (most.usd or 0) > 1
    unknown = spend_before(
        Request(HELLO, options=options), "openai", "mine", prices=Prices({"mine": Price(1, 1)})
    )
    assert unknown.usd is None


def test_what_is_settled_is_what_the_provider_counted() -> None:
    assert spend_after(TokenUsage(3, 4, 7, 0.5)) == Spend(1, 3, 4, 0.5)
    assert spend_after(TokenUsage(3, 4, 7)) == Spend(1, 3, 4, None)


def test_without_the_package_prices_are_unknown_which_is_warned_of_once() -> None:
    program = """
import sys, warnings
sys.modules["genai_prices"] = sys.modules["genai_prices.data_snapshot"] = None
from kairos.models import TokenUsage
from kairos.models.prices import PRICES
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    costs = [PRICES.cost("openai", "gpt-5", TokenUsage(1, 1)) for _ in range(3)]
print(costs, len(told), told[0].message)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("[None, None, None] 1 ")
    assert "kairos-ai[prices]" in done.stdout


def test_the_list_is_not_loaded_before_it_is_asked() -> None:
    program = "import kairos.models.estimate, sys; print('genai_prices' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
