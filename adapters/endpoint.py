"""Where a provider is reached, and with which key: both from the environment, both checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kairos.addresses import LOCAL, checked_url
from kairos.exceptions import ConfigError
from kairos.source import declared_here

if TYPE_CHECKING:
    from kairos.adapters.vendor import Vendor

__all__ = ["key_of", "url_of"]


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
    if vendor.keyless and urlsplit(url).hostname in LOCAL:
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
        return _bare(base_url, "base_url", allow_localhost=allow_localhost)
    for name in vendor.addresses:
        if address := os.environ.get(name, "").strip():
            return _bare(address, name, allow_localhost=allow_localhost)
    return vendor.home


def _bare(url: str, said: str, *, allow_localhost: bool) -> str:
    checked = checked_url(url, said, allow_localhost=allow_localhost)
    if "?" in checked or "#" in checked:
        raise ConfigError(
            f"{said} ends in a query",
            where=declared_here(),
            expected="https://host/path, which the API's own paths are put behind",
            fix="extra_query={...}, and never a key",
        )
    return checked
