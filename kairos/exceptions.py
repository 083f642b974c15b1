"""Every error kairos raises, in one tree.

::

    KairosError
    ├── ConfigError          a declaration is wrong: a name, an option, a contract, an input
    ├── PlanError            the graph is wrong: a duplicate, a cycle, a missing dependency
    ├── PolicyError          a failure policy contradicts itself
    ├── SecurityError        something was refused for safety's sake
    ├── StateError           a value cannot be read, written or stored
    ├── StoreError           what is kept cannot be read or written
    │   └── SessionConflictError  somebody else goes on with the same session
    ├── ValidationError      a value breaks its contract
    └── ExecutionError       a step's action failed
        ├── StepTimeoutError     it did not finish in time
        ├── WorkerCrashError     its worker process died
        └── BudgetExceededError  the run has spent what it was given

An error says what is wrong (`message`), where it was declared (`where`), what was
expected and found, and what to do (`fix`).  It never carries a value that a step
handled: those may be secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

from kairos.source import Place

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BudgetExceededError",
    "ConfigError",
    "ExecutionError",
    "KairosError",
    "PlanError",
    "PolicyError",
    "SecurityError",
    "SessionConflictError",
    "StateError",
    "StepTimeoutError",
    "StoreError",
    "Told",
    "ValidationError",
    "WorkerCrashError",
    "did_you_mean",
]


class Told(TypedDict, total=False):
    """What every error may say besides its message; see the module."""

    where: Place | None
    expected: str | None
    found: str | None
    fix: str | None


class KairosError(Exception):
    """The root of the tree: catch this to catch everything kairos raises on purpose."""

    # what holds for a subclass that does not call this class's own __init__
    message: str = ""
    where: Place | None = None
    expected: str | None = None
    found: str | None = None
    fix: str | None = None

    def __init__(
        self,
        message: str = "",
        *,
        where: Place | None = None,
        expected: str | None = None,
        found: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = (
            message if isinstance(message, str) else "" if message is None else str(message)
        )
        self.where = where
        self.expected = expected
        self.found = found
        self.fix = fix

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.message}" if self.where else self.message]
        lines += [
            f"  {label}: {text}"
            for label, text in (
                ("expected", self.expected),
                ("found", self.found),
                ("fix", self.fix),
            )
            if text
        ]
        return "\n".join(lines)


class ConfigError(KairosError):
    """A declaration is wrong: a name, an option, a contract, an action, a run's inputs."""


class PolicyError(KairosError):
    """A failure policy contradicts itself."""


class SecurityError(KairosError):
    """Something was refused for safety's sake."""


class PlanError(KairosError):
    """The graph is wrong; `step_id` names the step at fault."""

    def __init__(
        self,
        message: str = "",
        *,
        step_id: str | None = None,
        **told: Unpack[Told],
    ) -> None:
        super().__init__(message, **told)
        self.step_id = step_id


class StateError(KairosError):
    """A value cannot be read, written or stored; `key` names the state key."""

    def __init__(
        self,
        message: str = "",
        *,
        key: str | None = None,
        **told: Unpack[Told],
    ) -> None:
        super().__init__(message, **told)
        self.key = key


class ValidationError(KairosError):
    """A value breaks its contract; `step_id` and `field` say whose and where."""

    def __init__(
        self,
        message: str = "",
        *,
        step_id: str | None = None,
        field: str | None = None,
        **told: Unpack[Told],
    ) -> None:
        super().__init__(message, **told)
        self.step_id = step_id
        self.field = field


class StoreError(KairosError):
    """What is kept cannot be read or written: a full disk, a lock, a file that is broken."""


class SessionConflictError(StoreError):
    """Somebody else goes on with the same session; what they wrote stays as it is."""


class ExecutionError(KairosError):
    """A step's action failed; `step_id` and `attempt` say which.

    Whoever raises it may know more than a policy can: `retryable=False` says that a further
    attempt would fail in the same way, `retry_after` how many seconds to wait at least.
    """

    def __init__(
        self,
        message: str = "",
        *,
        step_id: str | None = None,
        attempt: int | None = None,
        retryable: bool = True,
        retry_after: float | None = None,
        **told: Unpack[Told],
    ) -> None:
        super().__init__(message, **told)
        self.step_id = step_id
        self.attempt = attempt
        self.retryable = retryable
        self.retry_after = retry_after


class StepTimeoutError(ExecutionError):
    """An attempt did not finish within the step's `timeout`."""


class WorkerCrashError(ExecutionError):
    """The worker process of an isolated step died before it answered."""


class BudgetExceededError(ExecutionError):
    """The run has spent what it was given: calls, tokens, money or time.  Never retried.

    `budget` names what ran out; `scope` says of what: "run", "step" or "item".
    """

    scope: str = "run"
    budget: str = ""

    def __init__(
        self,
        message: str = "",
        *,
        budget: str = "",
        scope: str = "run",
        step_id: str | None = None,
        attempt: int | None = None,
        **told: Unpack[Told],
    ) -> None:
        super().__init__(message, step_id=step_id, attempt=attempt, retryable=False, **told)
        self.budget = budget
        self.scope = scope


def did_you_mean(name: str, options: Iterable[str]) -> str | None:
    """Return `did you mean 'x'?` for the option nearest to `name`, or None."""
    import difflib  # noqa: PLC0415 - only an error pays for it

    near = difflib.get_close_matches(name, list(options), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else None
