"""What an outcome stands for: the event that records it, or why it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.attempt import Failure, Outcome, Work, failure_of
from kairos.events import Event, ItemCompleted, StepCompleted, StepSkipped
from kairos.exceptions import StepTimeoutError
from kairos.state import unauthorized

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["completion", "overreach", "timed_out"]


def overreach(writes: Mapping[str, bytes], allowed: Collection[str]) -> Failure | None:
    """Refuse what a step wrote by reaching around its view of the state."""
    beyond = next((key for key in writes if key not in allowed), None)
    return None if beyond is None else failure_of(unauthorized("write", beyond, allowed))


def timed_out(work: Work) -> StepTimeoutError:
    """Say that an attempt, or its validation, took too long."""
    config = work.recipe.step.config
    name = work.recipe.name
    if config.timeout is None:
        told = f"it was not validated within {config.validation_timeout:g} s"
    else:
        told = f"it did not finish within {config.timeout:g} s"
    return StepTimeoutError(told, step_id=name, attempt=work.attempt)


def completion(outcome: Outcome, name: str, now: float) -> Event:
    """Return the event of an attempt that did not fail."""
    work, output, ms = outcome.work, outcome.output or b"null", outcome.ms
    if work.item_index is not None:
        item, skipped = work.item_index, bool(outcome.skipped)
        return ItemCompleted(
            name, item, work.attempt, output, outcome.writes, skipped, now, ms, outcome.cached
        )
    if not outcome.skipped:
        return StepCompleted(name, work.attempt, output, outcome.writes, now, ms, outcome.cached)
    stores_none = True
    if outcome.skipped == "returned":
        reason = "its action returned SKIP"
        return StepSkipped(name, work.attempt, reason, "returned", stores_none, now, ms)
    return StepSkipped(name, work.attempt, "its `when` was false", "when", stores_none, now, ms)
