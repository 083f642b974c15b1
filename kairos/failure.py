"""A failure in, a decision out: the one place that says whether to try again.

Stop and wait strategies are tenacity's, used as pure functions: `FailurePolicy(stop=..., wait=...)`
takes any of them and any composition of them.  tenacity's own loop is not used, since each pause
is an event and is waited for by the driver.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from kairos.config import is_finite
from kairos.enums import FailureAction, FailureType
from kairos.exceptions import (
    BudgetExceededError,
    ConfigError,
    ExecutionError,
    PolicyError,
    did_you_mean,
)
from kairos.security import sanitize_exception, sanitize_retry_context
from kairos.source import declared_here

if TYPE_CHECKING:
    from tenacity import RetryCallState  # noqa: TC004 - a dataclass keeps annotations as words

__all__ = [
    "KAIROS_DEFAULTS",
    "FailureEvent",
    "FailurePolicy",
    "FailureRouter",
    "RecoveryDecision",
    "ReplanRequest",
]


@dataclass(frozen=True, slots=True)
class FailureEvent:
    """A failed attempt, as the router and a custom handler see it.

    `elapsed` is the time in seconds since the step's first attempt began, `faults` the fields that
    broke a contract.
    """

    step_id: str
    failure_type: FailureType
    error: BaseException
    attempt_number: int
    timestamp: float = field(default_factory=time.time)
    item: int | None = None
    elapsed: float = 0.0
    faults: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryDecision:
    """What to do: `delay` is in seconds, `retry_context` what the next attempt may be told."""

    action: FailureAction
    reason: str
    retry_context: dict[str, Any] | None = None
    rollback_to: str | None = None
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class ReplanRequest:
    """What a workflow's replanner is told: which step failed, how, and what there is by now.

    `error` and `message` are sanitised; `plan` maps each step to the steps it waits for;
    `completed` names the keys that hold values; `replans` counts the replans of this step,
    this one included.
    """

    step_id: str
    error: str
    message: str
    faults: tuple[Any, ...]
    plan: Mapping[str, tuple[str, ...]]
    completed: tuple[str, ...]
    replans: int


CustomHandler: TypeAlias = Callable[[FailureEvent], FailureAction | str]
ExceptionTypes: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """What to do when a step's action raises, or its contract is broken.

    `max_retries=2` is up to three attempts.  The pause before the next attempt is
    `retry_delay · retry_backoff^(attempt-1)` seconds, at most `max_delay`, and with `jitter` times
    a random factor from 0.5 to 1.5 (within the cap); `wait`, a tenacity strategy, replaces the
    formula, and `stop` adds a condition to `max_retries`.  Only exceptions of `retry_on` are
    retried when it is given, and those of `give_up_on` never.  When retries or replans are used
    up, `fallback_action` rules.

    Raises PolicyError for a negative number, a fallback of RETRY, and an unknown action
    or keyword.
    """

    on_validation_fail: FailureAction = FailureAction.RETRY
    on_execution_fail: FailureAction = FailureAction.RETRY
    max_retries: int = 2
    max_replans: int = 2
    retry_with_feedback: bool = True
    retry_delay: float = 0.0
    retry_backoff: float = 1.0
    fallback_action: FailureAction = FailureAction.ABORT
    custom_handler: CustomHandler | None = field(default=None, compare=False)
    max_delay: float = 300.0
    jitter: bool = True
    retry_on: ExceptionTypes | None = None
    give_up_on: ExceptionTypes | None = None
    stop: Callable[[RetryCallState], bool] | None = field(default=None, compare=False)
    wait: Callable[[RetryCallState], float] | None = field(default=None, compare=False)

    if not TYPE_CHECKING:  # a checker knows the keywords from the fields

        def __new__(cls, *_: Any, **keywords: Any) -> Self:
            """Refuse an unknown keyword in our own words, before the fields are filled."""
            known = [each.name for each in fields(cls)]
            for name in keywords:
                if name not in known:
                    raise PolicyError(
                        f"FailurePolicy takes no keyword '{name}'",
                        where=declared_here(),
                        expected="one of " + ", ".join(known),
                        fix=did_you_mean(name, known),
                    )
            return object.__new__(cls)

    def __post_init__(self) -> None:
        for name in ("on_validation_fail", "on_execution_fail", "fallback_action"):
            object.__setattr__(self, name, _action(name, getattr(self, name)))
        for name in ("max_retries", "max_replans"):
            _check_number(name, getattr(self, name), whole=True)
        for name in ("retry_delay", "retry_backoff", "max_delay"):
            _check_number(name, getattr(self, name), whole=False)
        if self.fallback_action is FailureAction.RETRY:
            raise PolicyError(
                "fallback_action cannot be RETRY: it rules when the retries are used up",
                where=declared_here(),
                expected="SKIP, ABORT, REPLAN or CUSTOM",
            )
        for name in ("custom_handler", "stop", "wait"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise PolicyError(
                    f"{name} is not callable", where=declared_here(), found=type(given).__name__
                )
        for name in ("retry_on", "give_up_on"):
            _check_exceptions(name, getattr(self, name))

    def to_dict(self) -> dict[str, Any]:
        """Return the plain settings; callables and exception types are left out."""
        return {name: _plain(getattr(self, name)) for name in _PLAIN_FIELDS}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FailurePolicy:
        """Build a policy from plain settings; keys that are no setting are ignored."""
        if not isinstance(data, Mapping):
            raise ConfigError("a failure policy is read from a dict", found=type(data).__name__)
        return cls(**{name: data[name] for name in _PLAIN_FIELDS if name in data})

    def pause(self, state: RetryCallState, uniform: Callable[[float, float], float]) -> float:
        """Return how many seconds to wait before the next attempt."""
        if self.wait is not None:
            seconds = float(self.wait(state))
            if math.isnan(seconds):
                raise ValueError("a wait strategy gave no number")
        elif self.retry_delay == 0:
            return 0.0
        else:
            from tenacity import wait_exponential  # noqa: PLC0415 - only a failure pays for it

            seconds = wait_exponential(
                multiplier=self.retry_delay, exp_base=self.retry_backoff, max=self.max_delay
            )(state)
            if self.jitter:
                seconds *= uniform(0.5, 1.5)
        return min(max(seconds, 0.0), self.max_delay)


_UNWRITABLE = {"custom_handler", "retry_on", "give_up_on", "stop", "wait"}
_PLAIN_FIELDS = tuple(f.name for f in fields(FailurePolicy) if f.name not in _UNWRITABLE)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, FailureAction) else value


def _action(name: str, value: Any) -> FailureAction:
    try:
        return FailureAction(value)
    except ValueError:
        words = [a.value for a in FailureAction]
        raise PolicyError(
            f"{name} is no action",
            where=declared_here(),
            expected="one of " + ", ".join(words),
            found=repr(value) if isinstance(value, str) else type(value).__name__,
            fix=did_you_mean(value, words) if isinstance(value, str) else None,
        ) from None


def _check_number(name: str, value: Any, *, whole: bool) -> None:
    kinds = int if whole else (int, float)
    good = isinstance(value, kinds) and not isinstance(value, bool)
    if not good or value < 0 or not (whole or is_finite(value)):
        raise PolicyError(
            f"{name} must be {'a whole number' if whole else 'a number'} from 0 up",
            where=declared_here(),
            found=str(value) if good else type(value).__name__,
        )


def _check_exceptions(name: str, given: Any) -> None:
    kinds = given if isinstance(given, tuple) else () if given is None else (given,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise PolicyError(
                f"{name} takes exception classes",
                where=declared_here(),
                found=getattr(kind, "__name__", type(kind).__name__),
            )


KAIROS_DEFAULTS = FailurePolicy()
"""What rules where nothing else was said: two retries, then ABORT."""


class FailureRouter:
    """Decides what follows a failed attempt, by the most specific policy there is."""

    def __init__(
        self,
        workflow_policy: FailurePolicy | None = None,
        defaults: FailurePolicy | None = None,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._workflow_policy = workflow_policy
        self._defaults = defaults or KAIROS_DEFAULTS
        self._uniform = uniform

    def resolve_policy(self, step_policy: FailurePolicy | None = None) -> FailurePolicy:
        """Return the step's policy, else the workflow's, else the defaults: whole objects."""
        return step_policy or self._workflow_policy or self._defaults

    def handle(
        self,
        event: FailureEvent,
        step_policy: FailurePolicy | None = None,
        replan_count: int = 0,
    ) -> RecoveryDecision:
        """Decide.  Never raises: a custom handler or strategy that does leads to the fallback."""
        policy = self.resolve_policy(step_policy)
        try:
            return self._decide(event, policy, replan_count)
        except Exception as error:  # noqa: BLE001 - an exception's own code may do anything
            why = f"the failure could not be judged ({type(error).__name__})"
            return RecoveryDecision(FailureAction.ABORT, why)

    def _decide(
        self, event: FailureEvent, policy: FailurePolicy, replan_count: int
    ) -> RecoveryDecision:
        if _ends_the_run(event.error):
            return RecoveryDecision(FailureAction.ABORT, str(getattr(event.error, "message", "")))
        action = (
            policy.on_validation_fail
            if event.failure_type is FailureType.VALIDATION
            else policy.on_execution_fail
        )
        action, why = self._settle(action, policy, event)
        if action is FailureAction.RETRY:
            return self._retry(policy, event, replan_count, why)
        return self._final(action, policy, replan_count, why)

    def _settle(
        self, action: FailureAction, policy: FailurePolicy, event: FailureEvent
    ) -> tuple[FailureAction, str]:
        """Ask the custom handler where the policy says CUSTOM."""
        if action is not FailureAction.CUSTOM:
            return action, f"policy says {action} when {_when(event)}"
        if policy.custom_handler is None:
            return policy.fallback_action, "policy says custom and has no custom_handler"
        try:
            chosen = FailureAction(policy.custom_handler(event))
        except Exception as error:  # noqa: BLE001 - a user's handler may do anything
            return policy.fallback_action, f"custom_handler failed ({type(error).__name__})"
        if chosen is FailureAction.CUSTOM:
            return policy.fallback_action, "custom_handler answered custom"
        return chosen, f"custom_handler chose {chosen}"

    def _retry(
        self, policy: FailurePolicy, event: FailureEvent, replan_count: int, why: str
    ) -> RecoveryDecision:
        try:
            refusal = _not_retried(policy, event)
            if refusal:
                return self._fall_back(policy, event, replan_count, refusal)
            state = _call_state(event)
            if policy.stop is not None and policy.stop(state):
                return self._fall_back(policy, event, replan_count, "its stop strategy said so")
            delay = policy.pause(state, self._uniform)
            asked = _asked_to_wait(event.error)
            if asked > policy.max_delay:
                why = f"it asks to wait {asked:g} s, which is more than max_delay"
                return self._fall_back(policy, event, replan_count, why)
            delay = max(delay, asked)
        except Exception as error:  # noqa: BLE001 - a user's handler may do anything
            why = f"the retry strategy failed ({type(error).__name__})"
            return self._fall_back(policy, event, replan_count, why)
        context = None
        if policy.retry_with_feedback:
            context = sanitize_retry_context(
                None, event.error, event.attempt_number, event.failure_type, list(event.faults)
            )
        return RecoveryDecision(FailureAction.RETRY, why, context, delay=delay)

    def _fall_back(
        self, policy: FailurePolicy, event: FailureEvent, replan_count: int, why: str
    ) -> RecoveryDecision:
        action, chosen = self._settle(policy.fallback_action, policy, event)
        if action in (FailureAction.RETRY, FailureAction.CUSTOM):  # that would never end
            action = FailureAction.ABORT
        if policy.fallback_action is FailureAction.CUSTOM:
            why = f"{why}; {chosen}"
        return self._final(action, policy, replan_count, why)

    def _final(
        self, action: FailureAction, policy: FailurePolicy, replan_count: int, why: str
    ) -> RecoveryDecision:
        if action is FailureAction.REPLAN and replan_count >= policy.max_replans:
            fallback = policy.fallback_action
            if fallback in (FailureAction.REPLAN, FailureAction.CUSTOM):
                fallback = FailureAction.ABORT
            return RecoveryDecision(fallback, f"{replan_count} replans are used up")
        if action is FailureAction.CUSTOM:  # it was asked and did not choose
            action = FailureAction.ABORT
        return RecoveryDecision(action, why)


def _when(event: FailureEvent) -> str:
    return "a contract is broken" if event.failure_type is FailureType.VALIDATION else "it raises"


def _used_up(retries: int) -> str:
    return f"its {retries} retries are used up" if retries else "it has no retries"


def _not_retried(policy: FailurePolicy, event: FailureEvent) -> str:
    if event.attempt_number > policy.max_retries:
        return "its retry is used up" if policy.max_retries == 1 else _used_up(policy.max_retries)
    kind = type(event.error)  # not what an instance says that it is
    if issubclass(kind, BudgetExceededError):
        return "its budget is spent"
    if policy.give_up_on is not None and issubclass(kind, policy.give_up_on):
        return f"give_up_on names {sanitize_exception(event.error)[0]}"
    if policy.retry_on is not None and not issubclass(kind, policy.retry_on):
        return f"retry_on does not name {sanitize_exception(event.error)[0]}"
    # whoever names it in retry_on knows better than whoever raised it
    if policy.retry_on is None and _is_hopeless(event.error):
        return "it would fail in the same way again"
    return ""


def _ends_the_run(error: BaseException) -> bool:
    """Tell whether the run's own budget is spent; of a step's or an item's end a policy decides."""
    if not issubclass(type(error), BudgetExceededError):  # whatever it says that it is
        return False
    return getattr(error, "scope", "run") not in ("step", "item")


def _is_hopeless(error: BaseException) -> bool:
    if isinstance(error, ConfigError):  # a missing key, say: nobody mends it meanwhile
        return True
    return isinstance(error, ExecutionError) and getattr(error, "retryable", True) is False


def _asked_to_wait(error: BaseException) -> float:
    """Return how many seconds an error says that one should wait at least."""
    asked = getattr(error, "retry_after", None) if isinstance(error, ExecutionError) else None
    if isinstance(asked, bool) or not isinstance(asked, (int, float)):
        return 0.0
    return asked if asked >= 0 else 0.0  # NaN is not


def _call_state(event: FailureEvent) -> RetryCallState:
    """Dress the failure as what tenacity's strategies take."""
    import tenacity  # noqa: PLC0415 - only a failure pays for it

    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = event.attempt_number
    state.outcome = tenacity.Future(event.attempt_number)
    state.outcome.set_exception(event.error)
    # seconds_since_start is their difference
    state.start_time, state.outcome_timestamp = 0.0, event.elapsed
    return state
