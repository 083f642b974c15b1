"""Credential shapes with invented bodies, put together while the tests run.

No literal here has the shape of a credential, so that scanners find none in this repository.
"""

from __future__ import annotations

import string
from base64 import b64encode

from hypothesis import strategies as st

_ALNUM = string.ascii_letters + string.digits
_URLSAFE = _ALNUM + "-_"
_HEX = string.digits + "abcdef"


def _shape(prefix: str, alphabet: str, length: int) -> st.SearchStrategy[str]:
    # The digit makes a body look drawn at random, as nearly every real one does.
    bodies = st.text(alphabet, min_size=length - 1, max_size=length - 1)
    return bodies.map(lambda body: f"{prefix}{body}7")


def _joined(separator: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(separator.join)


def _pem(kind: str) -> st.SearchStrategy[str]:
    line = st.text(_ALNUM + "+/", min_size=64, max_size=64)
    edge = "-" * 5
    return st.lists(line, min_size=1, max_size=4).map(
        lambda lines: "\n".join(
            [f"{edge}BEGIN {kind}PRIVATE KEY{edge}", *lines, f"{edge}END {kind}PRIVATE KEY{edge}"]
        )
    )


SHAPES: dict[str, st.SearchStrategy[str]] = {
    "anthropic": _shape("sk-" + "ant-api03-", _URLSAFE, 93),
    "openai": _shape("s" + "k-", _ALNUM, 48),
    "openai project": _shape("sk-" + "proj-", _URLSAFE, 64),
    "github classic": _shape("gh" + "p_", _ALNUM, 36),
    "github oauth": _shape("gh" + "o_", _ALNUM, 36),
    "github server": _shape("gh" + "s_", _ALNUM, 36),
    "github user": _shape("gh" + "u_", _ALNUM, 36),
    "github fine-grained": _shape("github_" + "pat_", _ALNUM + "_", 82),
    "gitlab": _shape("gl" + "pat-", _URLSAFE, 20),
    "google": _shape("AI" + "za", _URLSAFE, 35),
    "google oauth": _shape("ya" + "29.", _URLSAFE, 60),
    "aws id": _shape("AK" + "IA", string.ascii_uppercase + string.digits, 16),
    "aws session id": _shape("AS" + "IA", string.ascii_uppercase + string.digits, 16),
    "slack bot": _shape("xo" + "xb-", _ALNUM, 40),
    "slack user": _shape("xo" + "xp-", _ALNUM, 40),
    "slack webhook": _shape("https://hooks.slack" + ".com/services/", _ALNUM, 24),
    "stripe": _shape("sk_" + "live_", _ALNUM, 24),
    "stripe restricted": _shape("rk_" + "live_", _ALNUM, 24),
    "sendgrid": _joined(
        ".", st.just("S" + "G"), _shape("", _URLSAFE, 22), _shape("", _URLSAFE, 43)
    ),
    "twilio": _shape("S" + "K", _HEX, 32),
    "npm": _shape("np" + "m_", _ALNUM, 36),
    "pypi": _shape("py" + "pi-", _URLSAFE, 64),
    "hugging face": _shape("h" + "f_", _ALNUM, 34),
    "jwt": _joined(
        ".",
        _shape("ey" + "J", _URLSAFE, 20),
        _shape("ey" + "J", _URLSAFE, 30),
        _shape("", _URLSAFE, 43),
    ),
    "telegram": _joined(":A", _shape("1", string.digits, 9), _shape("A", _URLSAFE, 33)),
    "bearer header": _shape("Bear" + "er ", _URLSAFE, 24),
    "basic header": st.text(_ALNUM, min_size=4).map(
        lambda password: "Bas" + "ic " + b64encode(f"user:{password}".encode()).decode()
    ),
    "url": st.text(_ALNUM + "-_.~!$%", min_size=6).map(
        lambda password: "postgres" + f"://app:{password}7@db.internal:5432/main"
    ),
    "private key": _pem(""),
    "rsa private key": _pem("RSA "),
    "openssh private key": _pem("OPENSSH "),
}


def telling_part(secret: str) -> str:
    """The longest piece of the secret: what must be gone once it is masked."""
    body = secret.partition("://")[2] or secret
    if "\n" in body:
        return body.splitlines()[1]
    body = body.partition("@")[0]
    return max((part for part in body.replace("/", " ").split()), key=len)


WITH_SECRETS = st.sampled_from(sorted(SHAPES)).flatmap(SHAPES.__getitem__)
