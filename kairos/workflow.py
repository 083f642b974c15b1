"""The façade: declare a workflow, have it checked, run it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kairos.attempt import Recipe
from kairos.budget import Budget
from kairos.defaults import local_backends, new_cache, new_journal
from kairos.engine.driver import RunControl, drive
from kairos.engine.hooks import HookObserver
from kairos.engine.options import Replanner, RunOptions
from kairos.exceptions import ConfigError, did_you_mean
from kairos.executor import ExecutorHooks, encoded_inputs, listed, observers_of
from kairos.failure import FailurePolicy, FailureRouter
from kairos.plan import TaskGraph
from kairos.ports import Clock, Observer, SystemClock
from kairos.run import Run
from kairos.source import declared_here
from kairos.state import StateStore
from kairos.workflow_options import (
    budget_of,
    cache_of,
    expected_kind,
    held_to,
    inputs_of,
    kind_of,
    patterns_of,
    refuse_unknown,
    renamed,
    whole_number,
)

if TYPE_CHECKING:
    from kairos.contracts.contract import Contract
    from kairos.engine.options import Lean
    from kairos.ports import StepCache
    from kairos.schema import SchemaRegistry
    from kairos.step import Step
    from kairos.verify import Finding, Report, Scene
    from kairos.workflow_result import WorkflowResult

__all__ = ["Workflow"]


class Workflow:
    """A named set of contracted steps, resolved into a graph when it is made.

    `steps` are `Step`s and functions declared with `@step`.  `failure_policy` rules where a step
    has none of its own.  `hooks` are ExecutorHooks and observers (a RunLogger).  `inputs` declares
    what a run is given: a contract (a model, a Schema), which is then checked before anything
    starts, or the bare names.  `budget` limits a run (`max_llm_calls` is its published part);
    `max_concurrency` caps what runs at a time (default 32; no more than 32 of it on threads, while
    coroutines and calls of models may be more).  `sensitive_keys` adds patterns to what is masked.
    `strict` requires every step to say what it reads.  `replanner`
    answers the action REPLAN with new steps.  `elide` leaves out, at run time, the checks of what a
    step is handed where its producer's contract is proved to lie inside its own.  `cache` is where
    steps with `cache=` keep their outputs (default: in memory, as long as the workflow lives).
    `clock` is for tests.

    Raises ConfigError for an empty name or list, a wrong or unknown option, and PlanError for a
    fault of the graph.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Step | Callable[..., Any]],
        *,
        failure_policy: FailurePolicy | None = None,
        hooks: Sequence[ExecutorHooks | Observer] | None = None,
        max_llm_calls: int | None = None,
        sensitive_keys: Sequence[str] | None = None,
        strict: bool = False,
        metadata: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        inputs: Any = None,
        budget: Budget | None = None,
        replanner: Replanner | None = None,
        elide: bool = True,
        cache: StepCache | None = None,
        clock: Clock | None = None,
        **unknown: Any,
    ) -> None:
        self.place = place = declared_here()
        refuse_unknown(unknown, place)
        if not isinstance(name, str) or not name.strip():
            raise ConfigError("a workflow needs a name", where=place, found=kind_of(name))
        if isinstance(steps, (str, bytes)) or not isinstance(steps, Iterable):
            raise ConfigError(
                f"the steps of workflow '{name}' are no list",
                where=place,
                found=type(steps).__name__,
            )
        steps = list(steps)
        if not steps:
            raise ConfigError(f"workflow '{name}' has no steps", where=place)
        self._name = name
        self._policy: FailurePolicy | None = expected_kind(
            failure_policy, FailurePolicy, "failure_policy", place
        )
        self._max_concurrency = whole_number(max_concurrency, "max_concurrency", 1, place)
        self._budget = budget_of(
            expected_kind(budget, Budget, "budget", place),
            whole_number(max_llm_calls, "max_llm_calls", 0, place),
            place,
        )
        self._replanner = replanner
        if replanner is not None and not callable(replanner):
            raise ConfigError("replanner is not callable", where=place, found=kind_of(replanner))
        self._sensitive = patterns_of(sensitive_keys, place)
        self._strict = strict
        self._clock = clock
        if not isinstance(metadata, Mapping | None):
            raise ConfigError("metadata is no dict", where=place, found=type(metadata).__name__)
        self.metadata: dict[str, Any] = dict(metadata or {})
        self._hooks: list[ExecutorHooks | Observer] = listed(hooks)
        self._graph = TaskGraph(name, steps, self.metadata)
        self._graph.check()
        observers_of(self._hooks, self._graph)
        self._inputs, self._input_names = inputs_of(inputs, place)
        self._check_scopes()
        self._registry: SchemaRegistry | None = None
        self._recipes = [Recipe(step) for step in self._graph.steps]
        self._cache = self._cache_of(cache_of(cache, place))
        checks = elide and any(recipe.checks_what_it_is_handed for recipe in self._recipes)
        self._leans: Mapping[int, Lean] | None = None if checks else {}
        self._proving = threading.Lock()

    def _cache_of(self, given: StepCache | None) -> StepCache | None:
        cached = [recipe for recipe in self._recipes if recipe.step.config.cache]
        if not cached:
            return given
        from kairos.engine.identity import identify  # noqa: PLC0415 - few steps are cached

        cache = new_cache() if given is None else given
        identify(cached, cache, self._sensitive)
        return cache

    def _check_scopes(self) -> None:
        """Refuse what can be refused now: unscoped steps when strict, unreachable actions."""
        for step in self._graph.steps:
            if self._strict and step.read_keys is None:
                raise ConfigError(
                    f"step '{step.name}' does not say what it reads, and the workflow is strict",
                    where=step.place,
                    fix="declare read_keys=[...], or write the step as a typed function",
                )
            if step.config.isolation == "process":
                from kairos.backends.processes import address_of  # noqa: PLC0415 - few need it

                address_of(step.action, step)

    # -- what it is ------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self._name

    @property
    def steps(self) -> list[Step]:
        """The steps in the order they were declared; a copy."""
        return list(self._graph.steps)

    @property
    def graph(self) -> TaskGraph:
        """The resolved plan."""
        return self._graph

    @property
    def failure_policy(self) -> FailurePolicy | None:
        """The policy of steps that have none of their own."""
        return self._policy

    @property
    def max_concurrency(self) -> int | None:
        """How much may run at a time; None for the default."""
        return self._max_concurrency

    @property
    def budget(self) -> Budget:
        """What one run may spend."""
        return self._budget

    @property
    def sensitive_keys(self) -> tuple[str, ...]:
        """The patterns that are masked besides the known ones."""
        return self._sensitive

    @property
    def declared_inputs(self) -> frozenset[str] | None:
        """The names of the inputs a run is given; None where they were not declared."""
        return self._input_names

    @property
    def input_contract(self) -> Contract | None:
        """The contract of what a run is given; None where no contract was declared."""
        return self._inputs

    @property
    def registry(self) -> SchemaRegistry:
        """The contracts of all steps."""
        if self._registry is None:
            from kairos.schema import SchemaRegistry  # noqa: PLC0415 - a run does not need it

            self._registry = SchemaRegistry()
            for step in self._graph.steps:
                if step.input_contract is not None or step.output_contract is not None:
                    self._registry.register(step.name, step.input_contract, step.output_contract)
        return self._registry

    def add_hook(self, hook: ExecutorHooks | Observer) -> None:
        """Add a hook for the runs that follow."""
        observers_of([hook], self._graph)
        self._hooks.append(hook)

    def to_dict(self) -> dict[str, Any]:
        """Return the workflow as plain data: everything but its callables."""
        return {
            "name": self._name,
            "strict": self._strict,
            "max_concurrency": self._max_concurrency,
            "max_llm_calls": self._budget.llm_calls,
            "failure_policy": None if self._policy is None else self._policy.to_dict(),
            "metadata": dict(self.metadata),
            "steps": self._graph.to_dict()["steps"],
        }

    def validate(self) -> list[Finding]:
        """Return what can be said against the workflow without running it, worst first."""
        return [*self.verify().findings]

    def verify(self) -> Report:
        """Return what is known of the workflow without running it: findings, proofs, figures."""
        from kairos.verify import examine  # noqa: PLC0415 - a run does not need it

        return examine(self.scene)

    @property
    def scene(self) -> Scene:
        """What `kairos.verify` looks at: the plan, and what is declared around it."""
        from kairos.verify import Scene  # noqa: PLC0415 - a run does not need it

        return Scene(
            self._graph,
            self._input_names,
            strict=self._strict,
            failure_policy=self._policy,
            contract=self._inputs,
            sensitive_keys=self._sensitive,
        )

    # -- running it ------------------------------------------------------------------------

    def run(self, initial_inputs: Mapping[str, Any] | None = None) -> WorkflowResult:
        """Run the workflow on this thread, with a fresh state, and return how it ended.

        Whatever the steps do is told by the result.  Raises only for inputs that are wrong
        (ConfigError, StateError, ValidationError), before anything starts, and RunInterrupted,
        which carries the result, for Ctrl-C.
        """
        return self._drive(initial_inputs, None)

    async def run_async(self, initial_inputs: Mapping[str, Any] | None = None) -> WorkflowResult:
        """Run the workflow on the running event loop; otherwise as `run`.

        Async actions run on the loop and others on threads.  Cancelling the task cancels the run.
        """
        from kairos.engine.async_driver import drive_async  # noqa: PLC0415 - asyncio costs 30 ms

        inputs = self._checked_inputs(initial_inputs)
        options, observers = self._prepare(inputs)
        result = await drive_async(self._graph, StateStore(), inputs, options)
        _complete(observers, result)
        return result

    def start(self, initial_inputs: Mapping[str, Any] | None = None) -> Run:
        """Start the workflow on a thread of its own and return the handle of the run.

        Raises for wrong inputs as `run` does, before anything starts.
        """
        inputs = self._checked_inputs(initial_inputs)
        return Run(lambda control: self._drive_checked(inputs, control))

    def _drive(
        self, initial_inputs: Mapping[str, Any] | None, control: RunControl | None
    ) -> WorkflowResult:
        return self._drive_checked(self._checked_inputs(initial_inputs), control)

    def _drive_checked(
        self, inputs: dict[str, bytes], control: RunControl | None
    ) -> WorkflowResult:
        options, observers = self._prepare(inputs)
        result = drive(self._graph, StateStore(), inputs, options, control)
        _complete(observers, result)
        return result

    def _prepare(self, inputs: Mapping[str, bytes]) -> tuple[RunOptions, list[Observer]]:
        observers = observers_of(self._hooks, self._graph, self._sensitive)
        options = RunOptions(
            local_backends(),
            new_journal(),
            workflow=self._name,
            router=FailureRouter(self._policy),
            budget=self._budget,
            max_concurrency=self._max_concurrency,
            observers=observers,
            replanner=self._replanner,
            sensitive_keys=self._sensitive,
            clock=self._clock or SystemClock(),
            recipes=self._recipes,
            leans=self._lean_recipes(),
            cache=self._cache,
            warnings=[
                f"input '{name}' has the name of a step, whose output will take its place"
                for name in inputs
                if name in self._graph.index
            ],
        )
        return options, observers

    def _lean_recipes(self) -> Mapping[int, Lean]:
        """Return the recipes without needless checks: worked out once, when it first runs."""
        if self._leans is None:
            from kairos.engine.elision import leans  # noqa: PLC0415 - only checks pay for it

            with self._proving:
                if self._leans is None:
                    self._leans = leans(self._graph, self._recipes, lambda: self.scene)
        return self._leans

    def _checked_inputs(self, given: Mapping[str, Any] | None) -> dict[str, bytes]:
        """Hold a run's inputs to what the workflow declares and its typed steps need."""
        inputs = encoded_inputs(given)
        if self._inputs is not None:
            inputs = held_to(self._inputs, inputs, self._name, self.place)
        elif self._input_names is not None:
            for name in inputs:
                if name not in self._input_names:
                    raise ConfigError(
                        f"workflow '{self._name}' takes no input '{name}'",
                        where=self.place,
                        expected=", ".join(sorted(self._input_names)) or "no inputs",
                        fix=did_you_mean(name, self._input_names),
                    )
        for name, required in self._graph.expected_inputs.items():
            # a foreach without its list is no wrong call but a failed step, as published
            if required and name not in inputs and self._is_a_parameter(name):
                raise ConfigError(
                    f"workflow '{self._name}' needs an input '{name}'",
                    where=self.place,
                    found="the inputs " + ", ".join(inputs) if inputs else "no inputs",
                    fix=renamed(name, inputs) or f"pass it: run({{'{name}': ...}})",
                )
        return inputs

    def _is_a_parameter(self, name: str) -> bool:
        return any(name in step.signature.required for step in self._graph.steps)

    def __repr__(self) -> str:
        return f"Workflow({self._name!r}, {len(self._graph.steps)} steps)"


def _complete(observers: Iterable[Observer], result: WorkflowResult) -> None:
    for observer in observers:
        if isinstance(observer, HookObserver):
            observer.complete(result)
