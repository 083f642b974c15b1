"""Running a plan over a state: the engine without the façade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kairos.budget import Budget, Ledger, Spend
from kairos.config import check_count
from kairos.contracts.encoding import encode
from kairos.defaults import local_backends, new_journal
from kairos.engine.driver import RunInterrupted, drive
from kairos.engine.hooks import ExecutorHooks, HookObserver
from kairos.engine.options import RunOptions
from kairos.exceptions import ConfigError
from kairos.failure import FailureRouter
from kairos.ports import Clock, Journal, Observer, SystemClock
from kairos.source import declared_here
from kairos.state import StateStore
from kairos.workflow_result import WorkflowResult

if TYPE_CHECKING:
    from kairos.plan import TaskGraph

__all__ = [
    "ExecutorHooks",
    "RunInterrupted",
    "StepExecutor",
    "WorkflowResult",
    "encoded_inputs",
    "listed",
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
        _refuse_others(state, failure_router, max_concurrency)
        self._state = state
        self._hooks = listed(hooks)
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
        """Count calls that were made outside of steps.

        Raises BudgetExceededError when there have been more than `max_llm_calls`, and ConfigError,
        with nothing counted, for what is no number of calls.
        """
        check_count("count", count, least=0)
        self._llm_calls += count
        Ledger(self._options.budget, Spend(self._llm_calls)).charge(Spend())

    def run(self, graph: TaskGraph) -> WorkflowResult:
        """Run a plan; what the state holds already are its inputs."""
        graph.check()
        observers = observers_of(self._hooks, graph)
        journal = new_journal() if self._journal is None else self._journal
        options = replace(
            self._options,
            workflow=graph.name,
            observers=observers,
            journal=journal,
            spent=Spend(self._llm_calls),
        )
        result = drive(graph, self._state, dict(self._state.values), options)
        self._llm_calls += result.llm_calls
        for observer in observers:
            if isinstance(observer, HookObserver):
                observer.complete(result)
        return result


def _refuse_others(state: Any, router: Any, max_concurrency: Any) -> None:
    """Refuse what an executor cannot be made with, before a run finds out."""
    for name, value, kind in (
        ("state", state, StateStore),
        ("failure_router", router, FailureRouter | None),
    ):
        if not isinstance(value, kind):
            raise ConfigError(
                f"{name} is not what it takes",
                where=declared_here(),
                expected="a StateStore" if kind is StateStore else "a FailureRouter",
                found=type(value).__name__,
            )
    if max_concurrency is not None and (type(max_concurrency) is not int or max_concurrency < 1):
        raise ConfigError(
            "max_concurrency is not what it takes",
            where=declared_here(),
            expected="a whole number from 1 up",
            found=type(max_concurrency).__name__,
        )


def listed(hooks: Sequence[Any] | None) -> list[Any]:
    """Return hooks as a list.  Raises ConfigError for one that stands alone."""
    if hooks is not None and not isinstance(hooks, Iterable):
        raise ConfigError(
            "hooks are given as a list",
            where=declared_here(),
            found=type(hooks).__name__,
            fix="write hooks=[...]",
        )
    return list(hooks or ())


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
        encode(name, key="the name of an input")  # a lone surrogate is in no log and no journal
        encoded[name] = encode(list(value) if isinstance(value, range) else value, key=name)
    return encoded
