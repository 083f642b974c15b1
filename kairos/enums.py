"""The words for states and choices.  Each is a string equal to its lower-case name."""

from __future__ import annotations

from enum import StrEnum, auto

__all__ = [
    "AttemptStatus",
    "FailureAction",
    "FailureType",
    "ForeachPolicy",
    "LogLevel",
    "LogVerbosity",
    "PlanStrategy",
    "Severity",
    "StepStatus",
    "ValidationLayer",
    "WorkflowStatus",
]


class WorkflowStatus(StrEnum):
    """How a run ended."""

    COMPLETE = auto()
    FAILED = auto()
    PARTIAL = auto()  # stopped before its end (cancelled), with nothing failed for good


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = auto()
    RUNNING = auto()
    VALIDATING = auto()
    COMPLETED = auto()
    FAILED = auto()
    RETRYING = auto()
    FAILED_FINAL = auto()
    ROUTING = auto()
    SKIPPED = auto()


class FailureAction(StrEnum):
    """What to do about a failed attempt."""

    RETRY = auto()
    REPLAN = auto()
    SKIP = auto()
    ABORT = auto()
    CUSTOM = auto()


class FailureType(StrEnum):
    """Which half of an attempt failed: the action, or a contract."""

    EXECUTION = auto()
    VALIDATION = auto()


class ForeachPolicy(StrEnum):
    """Whether one bad item fails the whole fan-out."""

    REQUIRE_ALL = auto()
    ALLOW_PARTIAL = auto()


class AttemptStatus(StrEnum):
    """How one attempt ended."""

    SUCCESS = auto()
    FAILURE = auto()


class Severity(StrEnum):
    """How much a finding weighs.  A note says what could not be told, and fails nothing."""

    ERROR = auto()
    WARNING = auto()
    NOTE = auto()


class LogVerbosity(StrEnum):
    """How much a run log holds."""

    MINIMAL = auto()
    NORMAL = auto()
    VERBOSE = auto()


class LogLevel(StrEnum):
    """How grave one log event is.

    The published examples also write `LogLevel.NORMAL` for a verbosity: those names are the
    members of `LogVerbosity`.
    """

    INFO = auto()
    WARN = auto()
    ERROR = auto()
    MINIMAL = auto()
    NORMAL = auto()
    VERBOSE = auto()


class ValidationLayer(StrEnum):
    """Which kind of check produced a finding."""

    STRUCTURAL = auto()
    SEMANTIC = auto()
    BOTH = auto()


class PlanStrategy(StrEnum):
    """Who wrote the plan."""

    MANUAL = auto()
    LLM_GENERATED = auto()
    HYBRID = auto()
