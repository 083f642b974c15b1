"""What can happen in a run, one frozen record each.

Events are the only writes: the state of a run is a fold over its events, so a result, a log, a
dashboard and a resume all read the same list.  Each record names its kind in `type` (the
discriminator on the wire) and its layout in `v` (raised when a layout changes).

They are named tuples rather than frozen dataclasses because two of them are made for every
step: a frozen dataclass of this size takes 1.0 µs to make, a named tuple 0.4.

Values appear as JSON bytes, exactly as the state holds them and therefore unredacted: whatever
shows an event to someone, or writes it down, redacts it first (`kairos.security`).
Times are seconds since the epoch, durations are milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from kairos.enums import FailureAction, FailureType, WorkflowStatus

__all__ = [
    "AccessRefused",
    "AttemptFailed",
    "BudgetExhausted",
    "CancelRequested",
    "Event",
    "FannedOut",
    "Fault",
    "ItemCompleted",
    "LateResult",
    "PlanSpliced",
    "RunFinished",
    "RunStarted",
    "Spent",
    "StepCompleted",
    "StepFailed",
    "StepSkipped",
    "StepStarted",
    "ValidationFinished",
    "ValidationStarted",
    "Warned",
]


class Fault(NamedTuple):
    """One field that broke a contract: its path, and types in words, never its value."""

    field: str
    expected: str
    actual: str
    message: str


class RunStarted(NamedTuple):
    """A run began.  `plan` maps each step to the steps it waits for, in topological order."""

    run_id: str
    workflow: str
    plan: Mapping[str, tuple[str, ...]]
    inputs: Mapping[str, bytes]
    at: float
    type: Literal["run_started"] = "run_started"
    v: int = 1


class StepStarted(NamedTuple):
    """An attempt at a step began.  Once for a whole foreach, whose items report their ends."""

    step: str
    attempt: int
    at: float
    type: Literal["step_started"] = "step_started"
    v: int = 1


class FannedOut(NamedTuple):
    """A foreach step found `items` elements to run over."""

    step: str
    items: int
    at: float
    type: Literal["fanned_out"] = "fanned_out"
    v: int = 1


class ValidationStarted(NamedTuple):
    """A contract is about to be checked.  Told to observers only: it changes no state."""

    step: str
    attempt: int
    item: int | None
    phase: Literal["input", "output"]
    at: float
    type: Literal["validation_started"] = "validation_started"
    v: int = 1


class ValidationFinished(NamedTuple):
    """A contract was checked; no faults means that it holds.  Told to observers only."""

    step: str
    attempt: int
    item: int | None
    phase: Literal["input", "output"]
    faults: tuple[Fault, ...]
    at: float
    type: Literal["validation_finished"] = "validation_finished"
    v: int = 1


class StepCompleted(NamedTuple):
    """A step's output was checked and stored, together with the other keys it wrote.

    `cached` says that it was found in the cache: its action did not run.
    """

    step: str
    attempt: int
    output: bytes
    writes: Mapping[str, bytes] | None
    at: float
    ms: float
    cached: bool = False
    type: Literal["step_completed"] = "step_completed"
    v: int = 1


class ItemCompleted(NamedTuple):
    """One element of a foreach is done; `skipped` when its action returned SKIP.

    `cached` says that its output was found in the cache.
    """

    step: str
    item: int
    attempt: int
    output: bytes
    writes: Mapping[str, bytes] | None
    skipped: bool
    at: float
    ms: float
    cached: bool = False
    type: Literal["item_completed"] = "item_completed"
    v: int = 1


class AttemptFailed(NamedTuple):
    """An attempt failed, and what was decided about it.

    `action` is the router's decision and `delay` the pause in seconds before the next attempt
    when it is RETRY; `retry_context` is the sanitised hint that the next attempt is given.
    `output` is what a failed output contract was checked against, where it could be written as
    JSON at all.
    """

    step: str
    attempt: int
    item: int | None
    failure: FailureType
    error: str
    message: str
    faults: tuple[Fault, ...]
    action: FailureAction
    reason: str
    delay: float
    output: bytes | None
    at: float
    ms: float
    retry_context: dict[str, Any] | None = None
    type: Literal["attempt_failed"] = "attempt_failed"
    v: int = 1


class StepFailed(NamedTuple):
    """A step failed for good; `abort` when nothing else may start after it."""

    step: str
    error: str
    message: str
    abort: bool
    at: float
    ms: float
    type: Literal["step_failed"] = "step_failed"
    v: int = 1


class StepSkipped(NamedTuple):
    """A step did not run to an output.

    `stores_none` tells a step that chose to skip (it returned SKIP, or its `when` was false: its
    dependents run and see None) from one that was skipped (by policy: its dependents run without
    the key; below a failure, or after an abort: they do not run).
    """

    step: str
    attempt: int
    reason: str
    cause: Literal["returned", "when", "policy", "upstream", "stopped"]
    stores_none: bool
    at: float
    ms: float
    type: Literal["step_skipped"] = "step_skipped"
    v: int = 1


class PlanSpliced(NamedTuple):
    """A replanner replaced `step`: `plan` holds the steps that are new or changed."""

    step: str
    plan: Mapping[str, tuple[str, ...]]
    at: float
    type: Literal["plan_spliced"] = "plan_spliced"
    v: int = 1


class AccessRefused(NamedTuple):
    """A step asked for a key that is not its to read or write."""

    step: str
    attempt: int
    item: int | None
    access: Literal["read", "write"]
    key: str
    at: float
    type: Literal["access_refused"] = "access_refused"
    v: int = 1


class LateResult(NamedTuple):
    """An attempt that had been given up came back; what it brought was dropped."""

    step: str
    attempt: int
    item: int | None
    at: float
    type: Literal["late_result"] = "late_result"
    v: int = 1


class Spent(NamedTuple):
    """What an attempt spent, successful or not.  `usd` is None where the price is unknown."""

    step: str
    attempt: int
    item: int | None
    llm_calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    at: float
    type: Literal["spent"] = "spent"
    v: int = 1


class BudgetExhausted(NamedTuple):
    """The run has spent all it was given of `budget`; nothing new starts."""

    budget: str
    message: str
    at: float
    type: Literal["budget_exhausted"] = "budget_exhausted"
    v: int = 1


class CancelRequested(NamedTuple):
    """Someone asked the run to stop; nothing new starts and what runs is told."""

    reason: str
    at: float
    type: Literal["cancel_requested"] = "cancel_requested"
    v: int = 1


class Warned(NamedTuple):
    """Something the user should know that changed nothing: a hook or a sink that failed, say."""

    message: str
    step: str | None
    at: float
    type: Literal["warned"] = "warned"
    v: int = 1


class RunFinished(NamedTuple):
    """A run ended.  `reason` is empty when it simply ran to its end."""

    status: WorkflowStatus
    reason: str
    at: float
    ms: float
    type: Literal["run_finished"] = "run_finished"
    v: int = 1


Event: TypeAlias = (
    RunStarted
    | StepStarted
    | FannedOut
    | ValidationStarted
    | ValidationFinished
    | StepCompleted
    | ItemCompleted
    | AttemptFailed
    | StepFailed
    | StepSkipped
    | PlanSpliced
    | AccessRefused
    | LateResult
    | Spent
    | BudgetExhausted
    | CancelRequested
    | Warned
    | RunFinished
)
