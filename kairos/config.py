"""How a step is run: its options, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from kairos.budget import Budget
from kairos.caching import Cache, cache_of
from kairos.enums import ForeachPolicy
from kairos.exceptions import ConfigError
from kairos.source import declared_here

__all__ = [
    "DEFAULT_CONFIG",
    "OPTIONS",
    "StepConfig",
    "check_count",
    "check_seconds",
    "is_finite",
]


@dataclass(frozen=True, slots=True)
class StepConfig:
    """How a step is run.

    `retries` further attempts with a pause of `retry_delay · retry_backoff^(attempt-1)` seconds
    (random within 0.5 to 1.5 times that, when `retry_jitter`); `timeout` seconds for one attempt;
    `foreach` the key whose elements the step runs over, `foreach_policy` whether one bad element
    fails it; `parallel` runs it beside other steps, and a foreach's elements beside one another,
    up to `max_concurrency` at a time; `validation_timeout` seconds for semantic validators;
    `isolation="process"` gives the action a worker process of its own.  `budget` limits what all
    attempts at the step may spend together, `item_budget` those at one element of its foreach.
    `cache=True`, or a `Cache`, keeps its outputs, and finds them again while the action, the output
    contract and all that it may read are the same.

    Raises ConfigError that names the field.
    """

    retries: int = 0
    timeout: float | None = None
    foreach: str | None = None
    foreach_policy: ForeachPolicy = ForeachPolicy.REQUIRE_ALL
    parallel: bool = False
    max_concurrency: int | None = None
    retry_delay: float = 0.0
    retry_backoff: float = 1.0
    retry_jitter: bool = True
    validation_timeout: float | None = 30.0
    isolation: Literal["none", "process"] = "none"
    budget: Budget | None = None
    item_budget: Budget | None = None
    cache: Cache | bool | None = None

    def __post_init__(self) -> None:
        self._check_budgets()
        object.__setattr__(self, "cache", cache_of(self.cache))
        check_count("retries", self.retries, least=0)
        if self.max_concurrency is not None:
            check_count("max_concurrency", self.max_concurrency, least=1)
        for name in ("timeout", "validation_timeout"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name), above_zero=True)
        for name in ("retry_delay", "retry_backoff"):
            check_seconds(name, getattr(self, name), above_zero=False)
        for name in ("parallel", "retry_jitter"):
            if not isinstance(getattr(self, name), bool):
                raise _bad_option(name, "True or False", getattr(self, name))
        if self.foreach is not None and (not isinstance(self.foreach, str) or not self.foreach):
            raise _bad_option("foreach", "the name of a step or an input", self.foreach)
        try:
            object.__setattr__(self, "foreach_policy", ForeachPolicy(self.foreach_policy))
        except ValueError:
            words = " or ".join(p.value for p in ForeachPolicy)
            raise _bad_option("foreach_policy", words, self.foreach_policy) from None
        if self.isolation not in ("none", "process"):
            raise _bad_option("isolation", "'none' or 'process'", self.isolation)

    def _check_budgets(self) -> None:
        for name in ("budget", "item_budget"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _budget(name, getattr(self, name)))
        if self.item_budget is not None and self.foreach is None:
            raise _bad_option("item_budget", "a step with foreach", self.item_budget)


def _budget(name: str, value: Any) -> Budget:
    if isinstance(value, Budget):
        return value
    if not isinstance(value, Mapping) or not value.keys() <= {f.name for f in fields(Budget)}:
        raise _bad_option(name, "a Budget", value)
    return Budget(**value)  # as plain data has it


def check_count(name: str, value: Any, *, least: int) -> None:
    """Raise ConfigError where a value is no whole number from `least` up."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _bad_option(name, f"a whole number from {least} up", value)


def check_seconds(name: str, value: Any, *, above_zero: bool) -> None:
    """Raise ConfigError where a value is no finite number from (or above) 0."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and is_finite(value)
    if not good or value < 0 or (above_zero and value == 0):
        raise _bad_option(name, f"a number {'above' if above_zero else 'from'} 0", value)


def is_finite(value: float) -> bool:
    """Tell whether a number fits into a float: an int may be larger than any."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _bad_option(name: str, expected: str, value: Any) -> ConfigError:
    found = type(value).__name__
    if isinstance(value, (float, str)) or (isinstance(value, int) and is_finite(value)):
        found = repr(value)
    return ConfigError(
        f"{name} is not what it takes", where=declared_here(), expected=expected, found=found
    )


OPTIONS = tuple(f.name for f in fields(StepConfig))
"""The names of a step's options."""

DEFAULT_CONFIG = StepConfig()
