"""Running a plan over a state: the engine without the façade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kairos.budget import Budget
from kairos.contracts.encoding import encode
from kairos.defaults import local_backends, new_journal
from kairos.engine.driver import RunInterrupted, drive
from kairos.engine.hooks import ExecutorHooks, HookObserver
from kairos.engine.options import RunOptions
from kairos.exceptions import ConfigError
from kairos.ports import Clock, Journal, Observer, SystemClock
from kairos.source import declared_here
from kairos.workflow_result import WorkflowResult

if TYPE_CHECKING:
    from kairos.failure import FailureRouter
    from kairos.plan import TaskGraph
    from kairos.state import StateStore

__all__ = [
    "ExecutorHooks",
    "RunInterrupted",
    "StepExecutor",
    "WorkflowResult",
    "encoded_inputs",
    "observers_of",
]


class StepExecutor:
    """Runs a plan over a state that is given: the engine without the façade.

    Without a `validator` contracts are not checked; without a `failure_router` the steps' own
    `retries` rule and a failed step fails alone.
    """

    def __init__(
        self,
        state: StateStore,
        hooks: Sequence[ExecutorHooks | Observer] | None = None,
        max_llm_calls: int = 50,
        validator: Any = None,
        failure_router: FailureRouter | None = None,
        max_concurrency: int | None = None,
        *,
        clock: Clock | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._state = state
        self._hooks = list(hooks or ())
        self._journal = journal
        self._options = RunOptions(
            local_backends(),
            new_journal(),
            router=failure_router,
            check=validator is not None,
            budget=Budget(llm_calls=max_llm_calls),
            max_concurrency=max_concurrency,
            clock=clock or SystemClock(),
        )
        self._llm_calls = 0

    @property
    def llm_call_count(self) -> int:
        """How many calls to models the runs of this executor have counted."""
        return self._llm_calls

    def increment_llm_calls(self, count: int = 1) -> None:
        """Count calls that were made outside of steps."""
        self._llm_calls += count

    def run(self, graph: TaskGraph) -> WorkflowResult:
        """Run a plan; what the state holds already are its inputs."""
        graph.check()
        observers = observers_of(self._hooks, graph)
        journal = new_journal() if self._journal is None else self._journal
        options = replace(self._options, workflow=graph.name, observers=observers, journal=journal)
        result = drive(graph, self._state, dict(self._state.values), options)
        self._llm_calls += result.llm_calls
        for observer in observers:
            if isinstance(observer, HookObserver):
                observer.complete(result)
        return result


def observers_of(
    hooks: Sequence[Any], graph: TaskGraph, sensitive_keys: tuple[str, ...] = ()
) -> list[Observer]:
    """Turn what was given as hooks into observers, fresh for one run."""
    observers: list[Observer] = []
    for hook in hooks:
        if isinstance(hook, ExecutorHooks):
            observers.append(HookObserver(hook, graph, sensitive_keys))
        elif isinstance(hook, Observer):
            observers.append(hook)
        else:
            raise ConfigError(
                "a hook is neither an ExecutorHooks nor an observer",
                where=declared_here(),
                expected="a subclass of ExecutorHooks, or an object with observe(event)",
                found=type(hook).__name__,
            )
    return observers


def encoded_inputs(inputs: Mapping[str, Any] | None) -> dict[str, bytes]:
    """Write a run's inputs as JSON.

    Raises ConfigError where they are no mapping of names, StateError where a value is no JSON.
    """
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise ConfigError(
            "a run's inputs are a dict of names to values",
            where=declared_here(),
            found=type(inputs).__name__,
        )
    encoded = {}
    for name, value in inputs.items():
        if not isinstance(name, str) or not name:
            raise ConfigError(
                "an input has no name",
                where=declared_here(),
                expected="a string that is not empty",
                found=type(name).__name__ if not isinstance(name, str) else "an empty string",
            )
        encoded[name] = encode(list(value) if isinstance(value, range) else value, key=name)
    return encoded
