"""How a step's outputs are kept, so that the same work is not done, nor paid for, twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from kairos.exceptions import ConfigError
from kairos.source import declared_here

__all__ = ["Cache", "cache_of"]


@dataclass(frozen=True, slots=True)
class Cache:
    """That a step's output is kept: `Step(cache=Cache(ttl=3600))`; `cache=True` is `Cache()`.

    It is found again while the step's action, its output contract and all it may read are the same.
    `version` is a word of yours that is part of that: change it where the action has come to mean
    something else and its code does not show it.  After `ttl` seconds it is not found any more;
    None is never.

    Raises ConfigError for a version that is no text and a ttl that is no number above 0.
    """

    version: str = ""
    ttl: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.version, str):
            raise _wrong("version", "a text", self.version)
        ttl: Any = self.ttl
        if ttl is None:
            return
        good = isinstance(ttl, int | float) and not isinstance(ttl, bool)
        if not good or not math.isfinite(ttl) or ttl <= 0:
            raise _wrong("ttl", "a number of seconds above 0, or None", ttl)


def cache_of(given: Any) -> Cache | None:
    """Return what `cache=` of a step says.  Raises ConfigError for what is none of it."""
    if given is None or given is False:
        return None
    if given is True:
        return Cache()
    if isinstance(given, Cache):
        return given
    raise _wrong("cache", "True, False or Cache(...)", given)


def _wrong(name: str, expected: str, given: Any) -> ConfigError:
    return ConfigError(
        f"{name} is not what it takes",
        where=declared_here(),
        expected=expected,
        found=repr(given) if type(given) in (int, float, bool) else type(given).__name__,
    )
