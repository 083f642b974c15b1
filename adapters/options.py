"""What may be said of a call, by name: what every provider has, and what one has of its own.

An option is never swallowed: it is sent, or refused by its name before any request is made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kairos.adapters.vendor import Option, Vendor
from kairos.exceptions import ConfigError, did_you_mean
from kairos.models.parts import Document, Image
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "COMMON",
    "Option",
    "check_types",
    "checked_model",
    "checked_options",
    "no_key_inline",
    "not_anothers",
]

_TEXT, _NUMBER, _WHOLE = (str,), (int, float), (int,)
_MANY = (list, tuple)

COMMON: Mapping[str, Option] = {
    "system": Option(_TEXT),
    "max_tokens": Option(_WHOLE),
    "temperature": Option(_NUMBER),
    "stop": Option((str, list, tuple)),
    "seed": Option(_WHOLE),
    "timeout": Option(_NUMBER),
    "messages": Option(_MANY),
    "images": Option(_MANY),
    "documents": Option(_MANY),
    "tools": Option(_MANY),
    "schema_fallback": Option(_TEXT),
}
"""What every provider is asked in the same words: they become fields of `Request`."""

_ATTACHED: Mapping[str, type[Image | Document]] = {"images": Image, "documents": Document}

_INLINE_KEYS = frozenset(
    {
        "api_key", "apikey", "key", "auth_token", "token", "access_token", "secret", "credentials",
        "bearer", "authorization", "password", "default_headers", "organization_key", "http_client",
    }
)  # fmt: skip
_PASSED_ON = ("extra_body", "extra_query")
_KEYS_WITHIN = frozenset({"api_key", "apikey", "auth_token", "access_token", "authorization"})
_LONGEST_WAIT = 1_000_000.0
_HOTTEST = 2.0  # for all providers; what a model takes beyond 1 is the model's to say
_FAMILIES = {"claude-": "anthropic", "gpt-": "openai", "gemini-": "gemini"}
"""Beginnings of names that no other provider gives to models of its own."""
_KEY_HEADERS = frozenset(
    {"authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie"}
)


def checked_options(vendor: Vendor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that are known, have a type that they can have, and are not refused.

    None is the provider's default, as if the option were not there.  Raises ConfigError otherwise,
    with the option's name and never its value.
    """
    no_key_inline(vendor, given)
    found = {}
    for name, value in given.items():
        if value is None:
            continue
        option = vendor.options.get(name) or COMMON.get(name)
        if option is None:
            known = sorted({*COMMON, *(n for n, o in vendor.options.items() if not o.refused)})
            raise ConfigError(
                f"{vendor.title} has no option '{name[:60]}'",
                where=declared_here(),
                expected="some of " + ", ".join(known),
                fix=did_you_mean(name, known),
            )
        if option.refused:
            raise ConfigError(
                f"{vendor.title} does not take '{name}'",
                where=declared_here(),
                found=option.refused,
                fix=f"leave {name}= out",
            )
        _check_type(vendor, name, value, option.types)
        kind = _ATTACHED.get(name)
        found[name] = value if kind is None else tuple(_attached(kind, one) for one in value)
    _check_values(vendor, found)
    return found


def no_key_inline(vendor: Vendor, given: Mapping[str, Any]) -> None:
    """Raise ConfigError for a key that stands in the program: it belongs into the environment."""
    named = next((name for name in given if name.lower() in _INLINE_KEYS), None)
    if named is None:
        named = next(_within(given), None)
    if named is not None:
        raise ConfigError(
            f"{vendor.title} takes no key in the program ('{named}')",
            where=declared_here(),
            expected=f"the key in the environment, as {' or '.join(vendor.keys)}",
            fix=f"set {vendor.keys[0]} in the environment and leave '{named}' out",
        )


def _within(given: Mapping[str, Any]) -> Iterator[str]:
    """Find keys in what is passed on as it is."""
    headers = given.get("extra_headers")
    if isinstance(headers, Mapping):
        yield from (str(name) for name in headers if str(name).lower() in _KEY_HEADERS)
    for option in _PASSED_ON:
        passed = given.get(option)
        if isinstance(passed, Mapping):
            keys = _KEYS_WITHIN | {"key"} if option == "extra_query" else _KEYS_WITHIN
            yield from (str(name) for name in passed if str(name).lower() in keys)


def checked_model(vendor: Vendor, model: Any) -> str:
    """Return the name of a model.  Raises ConfigError for what can be none: it may be in a path."""
    if not isinstance(model, str) or not model.strip():
        found = "an empty string" if isinstance(model, str) else type(model).__name__
        said = f"{vendor.title} has no model without a name"
    elif not model.isprintable() or set(model) & set(" ?#%") or ".." in model:
        found = "characters that no name has"
        said = f"{vendor.title} has no model of such a name"
    else:
        return model
    raise ConfigError(said, where=declared_here(), expected="model='...'", found=found)


def not_anothers(vendor: Vendor, model: str) -> None:
    """Raise ConfigError for a model that this provider does not have at its own address."""
    owner = next((who for start, who in _FAMILIES.items() if model.startswith(start)), vendor.name)
    if owner != vendor.name:
        raise ConfigError(
            f"{vendor.title} has no model '{model[:60]}'",
            where=declared_here(),
            expected=f"a model of {vendor.title}",
            fix=f"use the adapter of {owner}, or base_url= for a server that has it",
        )


def check_types(vendor: Vendor, given: Mapping[str, tuple[Any, type[Any]]]) -> None:
    """Raise ConfigError for an option of an adapter that is not of its one type."""
    for name, (value, kind) in given.items():
        if not isinstance(value, kind):
            raise ConfigError(
                f"{vendor.title} takes no {type(value).__name__} as '{name}'",
                where=declared_here(),
                expected=kind.__name__,
                found=type(value).__name__,
            )


def _attached(kind: type[Image | Document], given: Any) -> Image | Document:
    if isinstance(given, kind):
        if not given.url and not (given.data and given.media_type):
            raise ConfigError(
                f"this {kind.__name__.lower()} is none",
                where=declared_here(),
                expected="bytes and their media type, or a URL",
                found="no bytes" if not given.data else "no media type",
            )
        return given
    if isinstance(given, str) and "://" in given and not given.startswith("https://"):
        raise ConfigError(
            f"this {kind.__name__.lower()} is not fetched",
            where=declared_here(),
            expected="an https URL, or a path",
            found=f"{given.partition(':')[0][:20]}://",
        )
    if isinstance(given, str | Path):
        try:
            found = kind.of(given)
        except OSError as error:
            raise ConfigError(
                f"this {kind.__name__.lower()} cannot be read",
                where=declared_here(),
                found=f"{Path(str(given)).name[:80]}: {error.strerror or type(error).__name__}",
            ) from None
        if kind is Image and not found.url and not found.media_type.startswith("image/"):
            raise ConfigError(
                "this image is none",
                where=declared_here(),
                expected="a picture, such as a .png",
                found=f"{Path(str(given)).name[:80]}: {found.media_type}",
                fix="documents=[...] takes other files",
            )
        return found
    raise ConfigError(
        f"this is no {kind.__name__.lower()}",
        where=declared_here(),
        expected=f"{kind.__name__}.of(...), a path, or an https URL",
        found=type(given).__name__,
    )


def _check_type(vendor: Vendor, name: str, value: Any, types: tuple[type, ...]) -> None:
    if not types:
        return
    right = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not right:
        raise ConfigError(
            f"{vendor.title} takes no {type(value).__name__} as '{name}'",
            where=declared_here(),
            expected=" or ".join(dict.fromkeys(kind.__name__ for kind in types)),
            found=type(value).__name__,
        )


def _check_values(vendor: Vendor, given: Mapping[str, Any]) -> None:
    if given.get("temperature", 0) > _HOTTEST:
        raise _out_of_range(vendor, "temperature", f"at most {_HOTTEST}")
    least = {"max_tokens": 1, "timeout": 0, "temperature": 0}
    for name, bound in least.items():
        value = given.get(name)
        wrong = value is not None and (not math.isfinite(value) or value < bound)
        if wrong or (name == "timeout" and value == 0):
            raise _out_of_range(
                vendor, name, f"a number {'above' if name == 'timeout' else 'from'} {bound}"
            )
    if given.get("timeout", 0) > _LONGEST_WAIT:
        raise _out_of_range(vendor, "timeout", f"at most {_LONGEST_WAIT:,.0f} seconds")
    _check_passed_on(vendor, given)
    stop = given.get("stop")
    if stop is not None and not _texts(stop):
        raise _out_of_range(vendor, "stop", "a text, or a list of texts, none of them empty")
    if given.get("schema_fallback", "warn") not in ("warn", "error"):
        raise _out_of_range(vendor, "schema_fallback", "'warn' or 'error'")


def _check_passed_on(vendor: Vendor, given: Mapping[str, Any]) -> None:
    for both in given.get("extra_headers", {}).items():
        if not all(isinstance(one, str) and one.isprintable() for one in both):
            raise _out_of_range(vendor, "extra_headers", "texts of one line each, by their names")
    for option in _PASSED_ON:
        if option in given:
            try:
                json.dumps(given[option])
            except (TypeError, ValueError, RecursionError):
                raise _out_of_range(vendor, option, "what can be written as JSON") from None


def _texts(given: str | Iterable[Any]) -> bool:
    texts = [given] if isinstance(given, str) else list(given)
    return all(isinstance(one, str) and one for one in texts)


def _out_of_range(vendor: Vendor, name: str, expected: str) -> ConfigError:
    return ConfigError(
        f"'{name}' of {vendor.title} is out of range", where=declared_here(), expected=expected
    )
