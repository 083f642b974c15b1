"""What a failed attempt leads to, by the policy that is most specific."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kairos.config import DEFAULT_CONFIG
from kairos.enums import FailureAction
from kairos.events import AttemptFailed
from kairos.failure import FailureEvent, FailurePolicy, FailureRouter

if TYPE_CHECKING:
    from kairos.attempt import Failure
    from kairos.step import Step

__all__ = ["Judge"]

_PLAIN_ROUTER = FailureRouter()


class Judge:
    """Asks the router about failures, and remembers them.

    Without a router the steps' own `retries` rule, and a failed step fails alone.
    """

    def __init__(self, router: FailureRouter | None) -> None:
        self._router = router
        self._policies: dict[int, FailurePolicy] = {}
        self._last: dict[int, dict[int | None, AttemptFailed]] = {}
        self._first: dict[tuple[int, int | None], float] = {}
        self._replans: dict[int, int] = {}
        self._before: dict[int, int] = {}  # attempts that were made before a replan

    def decide(
        self,
        declared: Step,
        step: int,
        *,
        attempt: int,
        item: int | None,
        failure: Failure,
        at: float,
        ms: float,
        stopping: str,
    ) -> AttemptFailed:
        """Say what to do about a failed attempt, as the event that records it."""
        action, reason, delay, context = FailureAction.ABORT, stopping, 0.0, None
        if not stopping:
            began = self._first.get((step, item), at - ms / 1000.0)
            event = FailureEvent(
                declared.name,
                failure.type,
                failure.exception,
                attempt - (self._before.get(step, 0) if item is None else 0),
                at,
                item,
                max(at - began, 0.0),
                failure.faults,
            )
            router = self._router or _PLAIN_ROUTER
            decision = router.handle(event, self.policy(declared, step), self.replans(step))
            action, reason = decision.action, decision.reason
            delay, context = decision.delay, decision.retry_context
        return AttemptFailed(
            declared.name,
            attempt,
            item,
            failure.type,
            failure.error,
            failure.message,
            failure.faults,
            action,
            reason,
            delay,
            failure.output,
            at,
            ms,
            context,
        )

    def note(self, step: int, event: AttemptFailed) -> None:
        """Remember a failure."""
        failures = self._last.setdefault(step, {})
        failures.pop(event.item, None)  # so that the last in order is the last in time
        failures[event.item] = event
        self._first.setdefault((step, event.item), event.at - event.ms / 1000.0)
        if event.item is None and event.action is FailureAction.REPLAN:
            self.count_replan(step)

    def count_replan(self, step: int) -> None:
        """Remember that a step is being replanned."""
        self._replans[step] = self._replans.get(step, 0) + 1

    def start_over(self, step: int, attempts: int) -> None:
        """Count the attempts at a replanned step anew, under its new policy."""
        self._before[step] = attempts
        self._policies.pop(step, None)
        for item in self._last.pop(step, ()):
            self._first.pop((step, item), None)

    def last(self, step: int, item: int | None) -> AttemptFailed | None:
        """Return the last failure of a step, or of one of its elements."""
        return self._last.get(step, {}).get(item)

    def last_of_all(self, step: int) -> AttemptFailed | None:
        """Return the last failure of a step or of any of its elements."""
        failures = self._last.get(step)
        return None if not failures else next(reversed(failures.values()))

    def replans(self, step: int) -> int:
        """Return how often a step was replanned."""
        return self._replans.get(step, 0)

    def aborts(self, action: FailureAction) -> bool:
        """Tell whether a step that ends with this action ends the run."""
        return self._router is not None and action is FailureAction.ABORT

    def policy(self, declared: Step, step: int) -> FailurePolicy:
        """Return the most specific policy: the step's, its own retries, the workflow's, ours."""
        known = self._policies.get(step)
        if known is None:
            base = FailurePolicy() if self._router is None else self._router.resolve_policy(None)
            known = self._policies[step] = declared.failure_policy or _with_own(
                base, declared, plain=self._router is None
            )
        return known


_OWN = {
    "retries": "max_retries",
    "retry_delay": "retry_delay",
    "retry_backoff": "retry_backoff",
    "retry_jitter": "jitter",
}


def _with_own(base: FailurePolicy, declared: Step, *, plain: bool) -> FailurePolicy:
    """Put a step's own retry options, where it has any, over a policy."""
    config = declared.config
    own: dict[str, Any] = {
        policy_name: getattr(config, name)
        for name, policy_name in _OWN.items()
        if plain
        or name in declared.options
        or getattr(config, name) != getattr(DEFAULT_CONFIG, name)
    }
    return replace(base, **own) if own else base
