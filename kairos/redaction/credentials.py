"""Credentials inside running text: known by their shape, or by the name in front of them.

Every expression runs in linear time on hostile text.  A run of characters is taken
possessively and begins only where no run is open, so that none is read twice; whatever
opens and never closes is masked to the end, so that no search for its end is repeated.
"""

from __future__ import annotations

import binascii
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MASK", "scrub"]

MASK = "[REDACTED]"

_SHORTEST_LABELLED = len("pwd=x")
_SHORTEST_SHAPE = len("sk-ant-") + 6

# Issuers' prefixes as their own documentation gives them.  The first column is searched for
# as plain text, which costs next to nothing; the expression is compiled and run only where
# that is found.  A look-behind stands after the literal so that the search for the literal
# stays the fast one.
_SHAPES: tuple[tuple[str, str], ...] = (
    (
        "-----BEGIN ",
        r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z0-9 ]{0,60}-----|\Z)",
    ),
    ("sk-", r"sk-(?<![A-Za-z]sk-)(?:ant|proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{6,}+"),
    ("sk-", r"sk-(?<![A-Za-z0-9]sk-)[A-Za-z0-9_-]{16,}+"),
    ("gh", r"gh[oprsu]_[A-Za-z0-9]{10,}+"),
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{10,}+"),
    (
        "gl",
        r"gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-[\w-]{10,}+(?:\.[\w-]++)*+",
    ),
    ("AIza", r"AIza[A-Za-z0-9_-]{30,}+"),
    ("ya29.", r"ya29\.[A-Za-z0-9_-]{16,}+"),
    ("GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{16,}+"),
    ("xox", r"xox[abeoprs]-(?:\d-)?[A-Za-z0-9-]{8,}+"),
    ("xapp-", r"xapp-\d-[A-Za-z0-9-]{8,}+"),
    ("hooks.slack.com/", r"(?<=hooks\.slack\.com/)[^\s\"'<>`]++"),
    ("/api/webhooks/", r"(?<=/api/webhooks/)[^\s\"'<>`]++"),
    ("k_live_", r"[rs]k_live_[A-Za-z0-9]{8,}+"),
    ("k_test_", r"[rs]k_test_[A-Za-z0-9]{8,}+"),
    ("whsec_", r"whsec_[A-Za-z0-9+/=]{16,}+"),
    ("SG.", r"SG\.(?<![A-Za-z0-9]SG\.)[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+"),
    ("npm_", r"npm_[A-Za-z0-9]{20,}+"),
    ("pypi-", r"pypi-[A-Za-z0-9_-]{32,}+"),
    ("hf_", r"hf_(?<![A-Za-z0-9]hf_)[A-Za-z0-9]{20,}+"),
    ("gsk_", r"gsk_[A-Za-z0-9]{20,}+"),
    ("xai-", r"xai-[A-Za-z0-9]{20,}+"),
    ("pplx-", r"pplx-[A-Za-z0-9]{20,}+"),
    ("hvs.", r"hvs\.[A-Za-z0-9_-]{20,}+"),
    ("shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("dop_v1_", r"dop_v1_[0-9a-f]{32,}+"),
    (":AA", r"(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{30,}+"),
    ("eyJ", r"eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+){0,4}+"),
    # Of a fixed length, so they need a boundary behind them: last, since a mask is one.
    ("AKIA", r"AKIA(?<![A-Za-z0-9]AKIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("ASIA", r"ASIA(?<![A-Za-z0-9]ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("SK", r"SK(?<![A-Za-z0-9]SK)[0-9a-fA-F]{32}(?![A-Za-z0-9])"),
)

_ISSUED = ("ant-", "proj-", "svcacct-", "admin-", "or-v1-")

# The user's half is masked too: some services take the token there.
_USERINFO = (
    r"(?<!ssh)://(?!@)(?:[^\s/?#@\"'<>`]*+@)++"
    r"|(?<=ssh)://[^\s/?#@:\"'<>`]*+:[^\s/?#@\"'<>`]*+@"  # `git@` alone is no secret
)
_SCHEME = r"(?i)\b(bearer|basic)([ \t]++)([A-Za-z0-9._~+/=-]{8,}+)"

# A name, then what parts it from its value: `key=`, `key: `, `"key": `, `\"key\": `,
# `d["key"] = `, `key := `, `key => `, or `--key ` on a command line.
_LABEL = r"""(?x)
    (?<![\w.-]) (?P<name> (?P<flag>--)?+ [\w.-]++ )
    (?: (?P<quote> \\*+ ["'`]? \]? ) [ \t]*+ (?P<sep> := | => | ==?+ | :(?!:) ) (?P<space>[ \t]*+)
      | (?(flag) [ \t]++ (?!-) | (?!) ) )
"""
_QUOTED = r"""\s*+[bBfFrRuU]{0,2}(\\*+)("{3}|'{3}|["'`])"""
_BODY = {quote: rf"(?s)(?:[^{quote}\\]++|\\.)*+" for quote in "\"'`"}
# A comma or a semicolon ends a value only where the next pair, or a blank, follows.
_PLAIN = r"""(?xi) (?: (?:bearer|basic|token|digest|negotiate|apikey) [ \t]++ (?=[^\s"'`,;&]) )?+
    (?: [^\s"'`,;&]++ | [,;] (?=[^\s"'`,;&{\[]) (?! [\w.-]{1,64} [ \t]? [=:] ) )*+"""
_REST_OF_LINE = r"""[^\r\n"'`]*+"""
_BRACKETS = r"[\[\](){}]"
_SAYS_NOTHING = frozenset({"none", "null", "nil", "true", "false", "undefined"})

_FILE_NAME = (
    r"\.(?:cfg|c|go|h|html|ini|java|js|json|lock|log|md|pyi?|rs|sh|sql|toml|ts|txt|ya?ml)\Z"
)
_PATH_LIMIT = 200
# Names that modules bear too, as in an entry point.
_MODULES = frozenset(
    {"auth", "cookies", "credentials", "jwt", "oauth", "secrets", "token", "tokens"}
)
_HEADERS = ("cookie", "authorization")  # their values hold blanks and commas
_SIGNATURES = ("sig", "signature")
_SECOND_WORDS = frozenset({"key", "keys", "id", "string", "phrase", "code"})
_NAME_LIMIT = 64


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    # On first use: compiling them all would cost more than the rest of `import kairos`.
    return re.compile(expression)


def scrub(text: str, is_sensitive: Callable[[str], bool]) -> str:
    """Return `text` with its credentials masked; `is_sensitive` judges the names of pairs."""
    if len(text) < _SHORTEST_LABELLED:
        return text
    if len(text) >= _SHORTEST_SHAPE:
        text = _mask_shapes(text)
    if ":" in text or "=" in text or "--" in text:
        text = _mask_labelled(text, is_sensitive)
    return text


def _mask_shapes(text: str) -> str:
    for needle, expression in _SHAPES:
        if needle in text:
            text = _compiled(expression).sub(_mask_shape, text)
    if "://" in text and "@" in text:
        text = _compiled(_USERINFO).sub(f"://{MASK}@", text)
    if " " in text or "\t" in text:
        folded = text.casefold()
        if "bearer" in folded or "basic" in folded:
            text = _compiled(_SCHEME).sub(_mask_scheme, text)
    return text


def _mask_shape(found: re.Match[str]) -> str:
    shape = found[0]
    if shape.startswith("eyJ") and not re.search(r"\.[A-Za-z0-9_-]", shape):
        return shape  # any base64 of JSON begins so; a token has a second part
    body = shape.removeprefix("sk-").removeprefix("pypi-")
    general = body != shape and not body.startswith(_ISSUED)
    if general and "-" in body and not _looks_random(body):
        return shape  # words joined by hyphens
    return MASK


def _mask_scheme(found: re.Match[str]) -> str:
    scheme, blank, token = found.groups()
    if scheme.casefold() == "basic":
        secret = _is_user_and_password(token)
    else:
        secret = _looks_random(token[1:]) or len(token) >= 20  # noqa: PLR2004 - no word is
    return f"{scheme}{blank}{MASK}" if secret else found[0]


def _looks_random(text: str) -> bool:
    return any(char.isdigit() or char.isupper() for char in text)


def _is_user_and_password(token: str) -> bool:
    try:
        return b":" in binascii.a2b_base64(token + "=" * (-len(token) % 4))
    except ValueError:
        return False


def _mask_labelled(text: str, is_sensitive: Callable[[str], bool]) -> str:
    label = _compiled(_LABEL)
    parts: list[str] = []
    done = at = 0
    while found := label.search(text, at):
        at = found.end()
        if not _names_a_secret(found, is_sensitive):
            continue
        start, end = _value_span(found)
        if start < end and text[start:end].casefold() not in _SAYS_NOTHING:
            parts += (text[done:start], MASK)
            done = at = end
    parts.append(text[done:])
    return "".join(parts)


def _names_a_secret(found: re.Match[str], is_sensitive: Callable[[str], bool]) -> bool:
    text, start = found.string, found.start()
    name = found["name"][-_NAME_LIMIT:]
    before = text[max(0, start - 1) : start]
    if found["sep"] == ":" and not found["quote"]:
        # `src/auth.py:12: error`, `package.auth:login`, `/run/secrets/token: denied`
        module = not found["space"] and "." in name and name.rpartition(".")[2] in _MODULES
        path = before == "/" and _is_path(text[max(0, start - _PATH_LIMIT) : start])
        if module or path or _compiled(_FILE_NAME).search(name):
            return False
    if is_sensitive(name):
        return True
    if before in {"?", "&"} and name.casefold().rpartition("-")[2] in _SIGNATURES:
        return True
    if before == " " and name.casefold() in _SECOND_WORDS:  # `API key: ...`
        first = re.search(r"[A-Za-z]{1,20}\Z", text[max(0, start - 21) : start - 1])
        return first is not None and is_sensitive(f"{first[0]}_{name}")
    return False


def _is_path(head: str) -> bool:
    return head.rsplit(maxsplit=1)[-1].lstrip("\"'(=[").startswith(("/", "~", "."))


def _value_span(found: re.Match[str]) -> tuple[int, int]:
    """Where the value after a label begins and ends, its quotes left out."""
    text, start = found.string, found.end()
    if opening := _compiled(_QUOTED).match(text, start):
        return opening.end(), _closing(text, opening)
    if found["sep"] == ":" and any(name in found["name"].casefold() for name in _HEADERS):
        return start, _end(_REST_OF_LINE, text, start)
    least = _balanced(text, start) if text[start : start + 1] in {"{", "[", "("} else start
    end = _end(_PLAIN, text, least)
    while end > least and text[end - 1] in ")]}\\":  # closes something opened before the name
        end -= 1
    return start, end


def _closing(text: str, opening: re.Match[str]) -> int:
    escape, quote = opening.groups()
    if not escape and len(quote) == 1:
        return _end(_BODY[quote], text, opening.end())
    end = text.find(escape + quote, opening.end())
    return len(text) if end < 0 else end


def _end(expression: str, text: str, start: int) -> int:
    found = _compiled(expression).match(text, start)
    return found.end() if found else start


def _balanced(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed: at the end, if it never is."""
    depth = 0
    for bracket in _compiled(_BRACKETS).finditer(text, start):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            return bracket.end()
    return len(text)
