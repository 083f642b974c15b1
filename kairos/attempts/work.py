"""What an attempt is made with, and what it brings.

A `Recipe` is what is known of a step before the run, a `Work` is one attempt at it (or at one
element of its foreach), an `Outcome` what came of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from kairos.attempts.predicate import Predicate
from kairos.budget import Ledger
from kairos.context import Fence, StepContext
from kairos.contracts.effects import on_a_loop
from kairos.contracts.encoding import decode
from kairos.spending import Tab
from kairos.state import Inputs, Refusal, ScopedStateProxy

if TYPE_CHECKING:
    from kairos.attempts.words import Failure
    from kairos.contracts.contract import Contract
    from kairos.events import Fault
    from kairos.signature import Signature
    from kairos.step import Step

__all__ = ["Identity", "Memory", "Outcome", "Recipe", "Surroundings", "Tell", "Work"]

Tell: TypeAlias = Callable[["Work", Literal["input", "output"], "tuple[Fault, ...] | None"], None]
_SHORT = 8


class Outcome:
    """What an attempt brought: an output, a skip, or a failure."""

    __slots__ = (
        "cached", "failure", "ms", "output", "refusals", "skipped", "warnings", "work", "writes"
    )  # fmt: skip

    def __init__(
        self,
        work: Work,
        output: bytes | None = None,
        skipped: Literal["", "returned", "when"] = "",
        failure: Failure | None = None,
    ) -> None:
        self.work = work
        self.output = output
        self.skipped = skipped
        self.failure = failure
        self.writes: dict[str, bytes] | None = None
        self.refusals: Sequence[Refusal] = ()
        self.warnings: Collection[str] = ()
        self.cached = False
        self.ms = 0.0


class Recipe:
    """A step, and all that an attempt at it needs to know beforehand.

    The same for every run.  `check` says whether contracts are checked at all.  `beside` says that
    it must not run on the driver's thread, `on_loop` that it runs on an event loop, and
    `stuck_when_given_up` that giving it up leaves a thread stuck in it.  `identity` tells a cached
    step from any other; None for a step that is not cached.
    """

    __slots__ = (
        "action",
        "beside",
        "budgeted",
        "check",
        "fans_out",
        "guarded",
        "identity",
        "input",
        "isolated",
        "item_contract",
        "name",
        "on_loop",
        "output",
        "parameters",
        "promised",
        "read_keys",
        "signature",
        "step",
        "stuck_when_given_up",
        "typed",
        "validators",
        "when",
        "write_keys",
    )

    def __init__(self, step: Step, *, check: bool = True) -> None:
        contracts, signature, config = step.contracts, step.signature, step.config
        self.step = step
        self.name = step.name
        self.action = step.action
        self.signature: Signature = signature
        self.typed = signature.typed
        self.check = check
        self.fans_out = config.foreach is not None
        self.input: Contract | None = contracts.input if check else None
        # an annotation parses and writes values, so it holds even where contracts are not checked
        self.output: Contract | None = contracts.output if check or signature.typed else None
        self.promised = contracts.output
        self.parameters: Mapping[str, Contract] = contracts.parameters
        item = signature.item
        self.item_contract = None if item is None else contracts.parameters.get(item)
        self.validators = step.validators if check else ()
        self.when = None if step.when is None else Predicate(step.when, step)
        self.guarded = self.when is not None or self.input is not None
        self.read_keys = None if step.read_keys is None else _looked_up(step.read_keys)
        self.write_keys = _looked_up(step.write_keys)
        self.isolated = config.isolation == "process"
        twin = None if self.isolated else on_a_loop(step.action)
        if twin is not None:
            self.action = twin
        self.on_loop = (signature.is_async or twin is not None) and not self.isolated
        self.stuck_when_given_up = not self.on_loop and not self.isolated
        slow_check = bool(self.validators) and config.validation_timeout is not None
        self.beside = self.on_loop or self.isolated or slow_check or config.timeout is not None
        self.identity: Identity | None = None
        self.budgeted = config.budget is not None or config.item_budget is not None
        for budget in (config.budget, config.item_budget):
            if budget is not None and budget.seconds is not None:
                self.beside = True  # so that it can be given up

    @property
    def checks_what_it_is_handed(self) -> bool:
        """Whether any contract of its own stands before its action."""
        asked = self.when is not None and bool(self.when.contracts)
        return asked or self.input is not None or bool(self.parameters)

    def without(self, checks: Collection[tuple[str, str]]) -> Recipe:
        """Return the same recipe without some checks of what the step is handed.

        Each is the key that it looks at, and what it goes through: "parameter", "item", "when", or
        "input_contract", whose key is empty.
        """
        lean = object.__new__(Recipe)
        for name in Recipe.__slots__:  # a third of what copy.copy takes
            setattr(lean, name, getattr(self, name))
        item = self.signature.item
        left_out = {key for key, through in checks if through == "parameter"}
        left_out |= {item for _, through in checks if through == "item" and item}
        lean.parameters = {k: one for k, one in self.parameters.items() if k not in left_out}
        if ("", "input_contract") in checks:
            lean.input = None
        if self.when is not None:
            lean.when = self.when.without({key for key, through in checks if through == "when"})
        lean.guarded = lean.when is not None or lean.input is not None
        return lean


def _looked_up(keys: tuple[str, ...]) -> Collection[str]:
    """Return keys that are looked up fast: a short tuple is, and the collector never walks it."""
    return keys if len(keys) <= _SHORT else frozenset(keys)


class Identity(Protocol):
    """What a cached step is; see `kairos.engine.identity`."""

    def now(self) -> str | None:
        """Return a digest of it as it is now; None where nothing tells."""
        ...


class Memory(Protocol):
    """What cached steps brought before; see `kairos.attempts.memory`."""

    def find(self, work: Work, context: StepContext) -> Outcome | None:
        """Return what the same work brought before; None if nothing did."""
        ...

    def keep(self, outcome: Outcome, context: StepContext) -> None:
        """Keep what an attempt brought, if it is to be kept."""
        ...


class Surroundings(NamedTuple):
    """What all attempts of a run share: ids, the account, the clock, and who listens.

    `tell`, where someone listens, hears of each contract check; `isolate` performs a work in a
    worker process; `memory` has what cached steps brought before.
    """

    run_id: str
    ledger: Ledger | None
    monotonic: Callable[[], float]
    tell: Tell | None = None
    isolate: Callable[[Work], Outcome] | None = None
    memory: Memory | None = None


class Work:
    """One attempt: which, what it may read, and the fence it stands behind.

    `inputs` and `visible` are what `ctx.inputs` and `ctx.state` show, as JSON.
    """

    __slots__ = (
        "attempt",
        "fence",
        "inputs",
        "item",
        "item_index",
        "recipe",
        "refusals",
        "retry_context",
        "started",
        "surroundings",
        "tab",
        "visible",
        "writes",
    )

    def __init__(  # noqa: PLR0917 - made for every attempt: keywords cost a tenth of it
        self,
        recipe: Recipe,
        attempt: int,
        inputs: Mapping[str, bytes],
        visible: Mapping[str, bytes],
        surroundings: Surroundings,
        item_index: int | None = None,
        item: bytes | None = None,
        retry_context: dict[str, Any] | None = None,
    ) -> None:
        self.recipe = recipe
        self.attempt = attempt
        self.inputs = inputs
        self.visible = visible
        self.surroundings = surroundings
        self.item_index = item_index
        self.item = item
        self.retry_context = retry_context
        self.fence = Fence()
        self.tab = Tab()
        self.started = 0.0
        self.writes: dict[str, bytes] = {}
        self.refusals: list[Refusal] = []

    def context(self) -> StepContext:
        """Build what the action is handed: from what it may read, and from nothing else."""
        recipe, around = self.recipe, self.surroundings
        reads, told = recipe.read_keys, self.retry_context
        return StepContext(
            ScopedStateProxy(self.visible, reads, recipe.write_keys, self.refusals, self.writes),
            Inputs(self.inputs, reads, self.refusals),
            None if self.item is None or recipe.item_contract is not None else decode(self.item),
            None if told is None else copy.deepcopy(told),  # the journal holds the original
            recipe.name,
            self.attempt,
            around.run_id,
            self.item_index,
            self.fence.signal,
            around.ledger,
            recipe.promised,
            self.tab,
        )
