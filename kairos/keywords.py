"""What a step takes by keyword, for type checkers: `Step(...)` and `Wiring.add(...)` alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from kairos.budget import Budget
from kairos.caching import Cache
from kairos.config import StepConfig
from kairos.enums import ForeachPolicy
from kairos.failure import FailurePolicy

__all__ = ["StepKeywords", "StepOptions"]


class StepOptions(TypedDict, total=False):
    """What a step takes however it is declared."""

    config: StepConfig | None
    input_contract: Any
    output_contract: Any
    read_keys: Iterable[str] | None
    write_keys: Iterable[str] | None
    failure_policy: FailurePolicy | None
    validators: Sequence[Any]
    labels: Iterable[str]
    declassify: Iterable[str]
    touches: Iterable[str]
    retries: int
    timeout: float | None
    parallel: bool
    max_concurrency: int | None
    retry_delay: float
    retry_backoff: float
    retry_jitter: bool
    validation_timeout: float | None
    isolation: Literal["none", "process"]
    budget: Budget | None
    item_budget: Budget | None
    cache: Cache | bool | None


class StepKeywords(StepOptions, total=False):
    """What `Step` takes."""

    depends_on: Sequence[str] | None
    when: Callable[..., Any] | None
    sources: Mapping[str, str | None] | None
    foreach: str | None
    foreach_policy: ForeachPolicy | str
