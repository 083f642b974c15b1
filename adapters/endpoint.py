"""Where a provider is reached, and with which key: both from the environment, both checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kairos.exceptions import ConfigError, SecurityError
from kairos.source import declared_here

if TYPE_CHECKING:
    from kairos.adapters.vendor import Vendor

__all__ = ["checked_url", "key_of", "url_of"]

_ALLOW = "KAIROS_ALLOW_LOCALHOST"
"""Set to 1 it says allow_localhost=True for all: whoever sets addresses there may say this too."""

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def key_of(vendor: Vendor, url: str = "") -> str:
    """Return the provider's key for an address.

    Raises ConfigError where the environment has none; a server on this machine may need none.
    """
    for name in vendor.keys:
        key = os.environ.get(name, "").strip()
        if key:
            if not key.isascii() or not key.isprintable():
                raise ConfigError(
                    f"{name} holds what can be no key",
                    expected="printable ASCII letters",
                    fix=f"set {name} anew",
                )
            return key
    if vendor.keyless and urlsplit(url).hostname in _LOCAL:
        return vendor.keyless
    raise ConfigError(
        f"there is no key for {vendor.title}",
        where=declared_here(),
        expected=f"the environment variable {' or '.join(vendor.keys)}",
        fix=f"set {vendor.keys[0]} in the environment",
    )


def url_of(vendor: Vendor, base_url: str | None, *, allow_localhost: bool) -> str:
    """Return the address that is meant: the one given, of the environment, or the provider's own.

    Raises as `checked_url`.
    """
    if base_url is not None:
        return checked_url(base_url, "base_url", allow_localhost=allow_localhost)
    for name in vendor.addresses:
        if address := os.environ.get(name, "").strip():
            return checked_url(address, name, allow_localhost=allow_localhost)
    return vendor.home


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
    if parts.scheme == "http" and not (allow_localhost and host in _LOCAL):
        local = host in _LOCAL
        raise SecurityError(
            f"{said} is plain http: the key would travel in clear",
            where=declared_here(),
            expected="https, or with allow_localhost=True exactly " + ", ".join(sorted(_LOCAL)),
            found=f"http to {'this machine' if local else 'another host'}",
            fix="allow_localhost=True" if local else "use https",
        )
    return url.rstrip("/")
