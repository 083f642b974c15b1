"""How many tokens a call may take at most, guessed before it is made and without a tokenizer.

Every provider counts in its own way and keeps most of that to itself, so the guess leans to the
high side on purpose: it is what gets reserved, and what was too much comes back.  English, code
and most other writing come out at two to three times what they are; docs/failures.md has figures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.budget import Spend
from kairos.models.parts import Document, Image, Part, Reasoning, Text, ToolCall, ToolResult
from kairos.models.prices import PRICES, context_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.models.prices import Prices
    from kairos.models.reply import TokenUsage
    from kairos.models.request import Request

__all__ = ["Estimate", "estimate", "spend_after", "spend_before", "tokens_of"]

# Tokens per byte of UTF-8.  A word is fewer tokens than half its letters, but keys, hashes and what
# stands in base64 are not.  A token is a byte or more of what is not ASCII, in any tokenizer that
# falls back on bytes, and some take every digit for one.
_WEIGHTS = (
    (b"abcdefghijklmnopqrstuvwxyz", 0.6),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 0.8),
    (b" ", 0.5),
    (b"\t\n\r", 1.5),
)
_OTHER = 1.0

_PER_REQUEST = 32
_PER_MESSAGE = 16
_PER_TOOL = 32
_TOOLS_AT_ALL = 640  # what providers tell a model about using tools, themselves
_PER_IMAGE = 5_000  # the most that Claude and Gemini count for one that is not split further
_PER_PAGE = 5_000  # text and picture
_PAGE_BYTES = 50_000
_UNSEEN_PAGES = 40  # of a document that only the provider fetches
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


class Estimate(NamedTuple):
    """The most tokens that a call may take."""

    input_tokens: int
    output_tokens: int


def tokens_of(text: str) -> int:
    """Return how many tokens a text has at most, whichever common tokenizer counts."""
    rest, total = text.encode("utf-8", "surrogatepass"), 0.0
    for kind, weight in _WEIGHTS:
        if not rest:
            break
        left = rest.translate(None, kind)
        total += (len(rest) - len(left)) * weight
        rest = left
    return ceil(total + len(rest) * _OTHER) + 1 if text else 0


def estimate(request: Request) -> Estimate:
    """Return the most tokens that a request may take: what it says, and what it lets be said."""
    read = _PER_REQUEST + tokens_of(request.system)
    for message in request.messages:
        read += _PER_MESSAGE + sum(_of_part(part) for part in message.parts)
    if request.tools or request.output is not None:
        read += _TOOLS_AT_ALL
    for tool in request.tools:
        read += _PER_TOOL + tokens_of(tool.name) + tokens_of(tool.description)
        read += tokens_of(json.dumps(dict(tool.parameters), default=str))
    if request.output is not None:
        read += tokens_of(request.output_name)
        read += tokens_of(json.dumps(dict(request.output), default=str))
    return Estimate(read, _most_output(request))


def spend_before(
    request: Request, provider: str, model: str, *, prices: Prices = PRICES, **which: Any
) -> Spend:
    """Return what to reserve for a call; `usd` is None where nobody knows the price.

    What a provider adds by itself (what it has kept, what it looks up) is at most the model's
    context window.  Keywords beside `prices` are those of `Prices.price`.
    """
    read, written = estimate(request)
    price = prices.price(provider, model, **which)
    if _adds_unseen(request.options):
        window = context_window(provider, model, base_url=which.get("base_url", ""))
        read = max(read, window or 0)
        price = price if window else None
    caching = any("cache" in name for name in request.options)
    usd = None if price is None else price.most(read, written, caching=caching)
    return Spend(1, read, written, usd)


def spend_after(usage: TokenUsage) -> Spend:
    """Return what to settle for a call that was answered."""
    return Spend(1, usage.input_tokens, usage.output_tokens, usage.estimated_cost_usd)


def _of_part(part: Part) -> int:
    match part:
        case Text(text):
            return tokens_of(text)
        case Reasoning(text, seal):
            return tokens_of(text) + tokens_of(seal)
        case ToolCall(_, name, arguments, seal):
            return _PER_TOOL + tokens_of(name) + tokens_of(arguments) + tokens_of(seal)
        case ToolResult(_, name, content):
            return _PER_TOOL + tokens_of(name) + tokens_of(content)
        case Image():
            return _PER_IMAGE
        case Document():
            return _of_document(part)


def _of_document(part: Document) -> int:
    if part.media_type.startswith("text/"):
        return tokens_of(part.data.decode("utf-8", "replace"))
    if not part.data:
        return _UNSEEN_PAGES * _PER_PAGE
    # pages may be packed away where they cannot be counted, so the size has a say as well
    pages = max(len(_PAGE.findall(part.data)), len(part.data) // _PAGE_BYTES, 1)
    return pages * _PER_PAGE


_MOST = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")
_ANSWERS = ("n", "candidate_count", "candidateCount")
_BODIES = ("extra_body", "generationConfig", "generation_config")
_UNSEEN = (
    "cachedContent", "cached_content", "container", "conversation", "mcp_servers",
    "previous_response_id", "prompt", "web_search_options",
)  # fmt: skip
"""Options by which a provider reads more than it is sent."""


def _most_output(request: Request) -> int:
    """Return how much may be said: options of the provider's own may ask for more."""
    said = [*_said(request.options)]
    longest = max(request.max_tokens, *(_count(each.get(name)) for each in said for name in _MOST))
    return longest * max(1, *(_count(each.get(name)) for each in said for name in _ANSWERS))


def _adds_unseen(options: Mapping[str, Any]) -> bool:
    return any(each.get(name) for each in _said(options) for name in _UNSEEN)


def _said(options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield options, and the bodies among them that go out as they are."""
    yield options
    for name in _BODIES:
        body = options.get(name)
        if isinstance(body, Mapping):
            yield from _said(body)


def _count(value: Any) -> int:
    return value if type(value) is int else 0
