"""What of a real call may be kept in a file, and the proof that no key is among it."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from kairos.security import MASK, scrub_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["clean_body", "clean_headers", "clean_url", "keys_in", "known_keys"]

# Everything else is dropped: a list of what is secret would never be complete.
_KEPT = frozenset(
    {
        "accept", "anthropic-beta", "anthropic-version", "content-type", "location", "retry-after",
        "retry-after-ms", "x-should-retry",
    }
)  # fmt: skip
_SECRET_QUERY = re.compile(r"(?i)key|token|secret|signature|password|auth")
_SECRET_FIELDS = frozenset({"request_id", "organization", "organization_id", "x_request_id"})
_IDS = re.compile(r"\b(?:req|org|proj|acct|wrkspc)[-_][A-Za-z0-9]{6,}\b")
_KEY_NAMES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_API_KEY",
    "OPENAI_ADMIN_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
)
_KEY_ENDINGS = ("_API_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_ACCESS_KEY")
_SHORTEST = 8
# Where a stream carries text in pieces, in which a key would not be seen.
_PIECES = frozenset(
    {
        "arguments", "content", "delta", "partial_json", "reasoning_content", "refusal", "text",
        "thinking",
    }
)  # fmt: skip


def clean_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few headers that a replay needs, their names in small letters."""
    return {name.lower(): value for name, value in headers.items() if name.lower() in _KEPT}


def clean_url(url: str) -> str:
    """Return an address without user, and without the values of what may be a key."""
    parts = urlsplit(url)
    query = [
        (name, MASK if _SECRET_QUERY.search(name) else value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path, urlencode(query), ""))


def clean_body(body: bytes | str | None) -> bytes | str | None:
    """Return a body whose strings hold no credential, request id or organisation.

    JSON and the data of a stream keep their structure; what is no text is kept as it is.
    """
    if body is None or not body:
        return body
    try:
        text = body if isinstance(body, str) else body.decode()
    except UnicodeDecodeError:
        return body
    cleaned = _clean_json(text)
    if cleaned is None:
        streamed = re.search(r"(?m)^data:", text) is not None
        cleaned = "".join(_clean_lines(text)) if streamed else _clean_text(text)
    return cleaned if isinstance(body, str) else cleaned.encode()


def _clean_lines(text: str) -> Iterator[str]:
    for line in (
        text.splitlines(keepends=True) if "\u2028" not in text else re.split(r"(?<=\n)", text)
    ):
        data = line.removeprefix("data:").strip()
        end = line[len(line.rstrip("\r\n")) :]
        cleaned = _clean_json(data) if line.startswith("data:") else None
        yield _clean_text(line) if cleaned is None else f"data: {cleaned}{end}"


def _clean_json(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    cleaned = _clean_value(value)
    return text if cleaned == value else json.dumps(cleaned, ensure_ascii=False)


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, list):
        return [_clean_value(one) for one in value]
    if isinstance(value, dict):
        return {
            name: MASK if name in _SECRET_FIELDS and isinstance(one, str) else _clean_value(one)
            for name, one in value.items()
        }
    return value


def _clean_text(text: str) -> str:
    return _IDS.sub(MASK, scrub_credentials(text))


def known_keys() -> dict[str, str]:
    """Return what the environment holds that must never be written, by its variable."""
    return {
        name: value
        for name, value in os.environ.items()
        if (name in _KEY_NAMES or name.endswith(_KEY_ENDINGS)) and len(value) >= _SHORTEST
    }


def keys_in(texts: Iterable[str | bytes], keys: Mapping[str, str]) -> list[str]:
    """Return the variables whose value is found in texts: plain, encoded, folded, or in pieces."""
    found = set()
    for text in texts:
        plain = text if isinstance(text, str) else text.decode(errors="replace")
        folded = re.sub(r"[\s\\]+", "", plain)
        joined = "".join(_pieces_of(plain))
        for name, key in keys.items():
            shapes = {key, quote(key, safe=""), json.dumps(key)[1:-1]}
            shapes |= {
                re.sub(r"[\s\\]+", "", key),
                base64.b64encode(key.encode()).decode().rstrip("="),
            }
            if any(shape in seen for shape in shapes for seen in (plain, folded, joined)):
                found.add(name)
    return sorted(found)


def _pieces_of(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if not line.startswith("data:"):
            continue
        try:
            value = json.loads(line.removeprefix("data:"))
        except ValueError:
            continue
        yield from _text_leaves(value)


def _text_leaves(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _text_leaves(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, str) and name in _PIECES:
                yield one
            else:
                yield from _text_leaves(one)
