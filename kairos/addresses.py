"""Which addresses something may be sent to: one rule for providers and for tool servers."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from kairos.exceptions import ConfigError, SecurityError
from kairos.source import declared_here

__all__ = ["LOCAL", "checked_url"]

_ALLOW = "KAIROS_ALLOW_LOCALHOST"
"""Set to 1 it says allow_localhost=True for all: whoever sets addresses there may say this too."""

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""The hosts that are this machine by their very name."""


def checked_url(url: str, said: str, *, allow_localhost: bool) -> str:
    """Return an address that a key may be sent to: https, or an exact local host where allowed.

    Raises ConfigError for what is no address, SecurityError for one that is not safe.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (ValueError, AttributeError, TypeError):
        parts, host = None, None
    if parts is None or not host or parts.scheme not in ("http", "https"):
        raise ConfigError(
            f"{said} is no address", where=declared_here(), expected="https://host/path"
        )
    if parts.username or parts.password:
        raise SecurityError(
            f"{said} carries credentials",
            where=declared_here(),
            fix="take them out: the key comes from the environment",
        )
    allow_localhost = allow_localhost or os.environ.get(_ALLOW, "") == "1"
    if parts.scheme == "http" and not (allow_localhost and host in LOCAL):
        local = host in LOCAL
        raise SecurityError(
            f"{said} is plain http: the key would travel in clear",
            where=declared_here(),
            expected="https, or with allow_localhost=True exactly " + ", ".join(sorted(LOCAL)),
            found=f"http to {'this machine' if local else 'another host'}",
            fix="allow_localhost=True" if local else "use https",
        )
    return url.rstrip("/")
