"""One attempt at a piece of work, from its scope to its bytes.

A `Recipe` is what is known of a step before the run, a `Work` is one attempt at it (or at one
element of its foreach), and `perform` turns a work into an `Outcome`: it never raises.  The order
within an attempt: `when` → input contract → action → SKIP → output contract → semantic validators.

Nothing here touches the store: a work carries the JSON that the step may read, and its outcome
carries what the step wrote.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from kairos.attempts.outputs import checked, finish, recheck
from kairos.attempts.predicate import TypedInputs, parsed
from kairos.attempts.words import Failure, failure_of
from kairos.attempts.work import Outcome, Recipe, Surroundings, Work
from kairos.budget import AROUND
from kairos.contracts.encoding import encode
from kairos.state import MissingKeyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.context import StepContext

__all__ = [
    "Failure",
    "Outcome",
    "Recipe",
    "Surroundings",
    "Work",
    "failure_of",
    "gate",
    "perform",
    "perform_async",
]


def perform(work: Work) -> Outcome:
    """Make one attempt.  Never raises; whatever the action does becomes the outcome."""
    recipe = work.recipe
    monotonic = work.surroundings.monotonic
    work.started = begun = monotonic()
    context: StepContext | None = None
    outside = AROUND.set((work.surroundings.ledger, work.tab))
    try:
        if recipe.budgeted:
            _check_budget(work)
        context = work.context()
        if recipe.guarded and not _may_start(work, context):
            outcome = Outcome(work, skipped="when")
        elif recipe.identity is not None and (found := _found(work, context)) is not None:
            outcome = found
        elif recipe.isolated and work.surroundings.isolate is not None:
            return _timed(_isolated(work, context, work.surroundings.isolate), begun)
        else:
            if recipe.typed:
                args, kwargs = _arguments(work, context)
                value = recipe.action(*args, **kwargs)
            else:
                value = recipe.action(context)
            outcome = finish(work, value, context)
            if recipe.identity is not None:
                _keep(outcome, context)
    except BaseException as error:  # noqa: BLE001 - a step may do anything at all
        outcome = Outcome(work, failure=failure_of(error))
    finally:
        AROUND.reset(outside)
    if context is not None:
        _take_along(outcome, context)
    outcome.ms = (monotonic() - begun) * 1000.0
    return outcome


def gate(work: Work) -> Outcome | None:
    """Ask `when` and check the input contract of a foreach, once, before it fans out.

    Returns None where it may go on, otherwise the skip or the failure.
    """
    work.started = begun = work.surroundings.monotonic()
    context: StepContext | None = None
    try:
        if work.recipe.budgeted:
            _check_budget(work)
        context = work.context()
        if _may_start(work, context):
            return None
        outcome = Outcome(work, skipped="when")
    except BaseException as error:  # noqa: BLE001 - a step may do anything at all
        outcome = Outcome(work, failure=failure_of(error))
    return _close(outcome, context, begun)


async def perform_async(work: Work) -> Outcome:
    """Make one attempt at a step whose action is a coroutine function.  Never raises.

    Being cancelled is an outcome too: the driver asked for it, or the action did it to itself.
    """
    recipe = work.recipe
    work.started = begun = work.surroundings.monotonic()
    context: StepContext | None = None
    outside = AROUND.set((work.surroundings.ledger, work.tab))
    try:
        if recipe.budgeted:
            _check_budget(work)
        context = work.context()
        if recipe.guarded and not _may_start(work, context):
            outcome = Outcome(work, skipped="when")
        elif recipe.identity is not None and (found := _found(work, context)) is not None:
            outcome = found
        else:
            args, kwargs = _arguments(work, context) if recipe.typed else ([context], {})
            value = recipe.action(*args, **kwargs)
            # not so where a decorator has awaited it already
            outcome = finish(work, await value if inspect.isawaitable(value) else value, context)
            if recipe.identity is not None:
                _keep(outcome, context)
    except BaseException as error:  # noqa: BLE001 - a step may do anything at all
        outcome = Outcome(work, failure=failure_of(error))
    finally:
        AROUND.reset(outside)
    return _close(outcome, context, begun)


def _close(outcome: Outcome, context: StepContext | None, begun: float) -> Outcome:
    if context is not None:
        _take_along(outcome, context)
    return _timed(outcome, begun)


def _take_along(outcome: Outcome, context: StepContext) -> None:
    """Collect what the action left behind beside its output, whatever it did to its context."""
    work = outcome.work
    if work.writes:
        outcome.writes = dict(work.writes)
    outcome.refusals = work.refusals
    if getattr(context, "_said", None):
        outcome.warnings = context.warnings


def _timed(outcome: Outcome, begun: float) -> Outcome:
    outcome.ms = (outcome.work.surroundings.monotonic() - begun) * 1000.0
    return outcome


def _found(work: Work, context: StepContext) -> Outcome | None:
    memory = work.surroundings.memory
    return None if memory is None else memory.find(work, context)


def _keep(outcome: Outcome, context: StepContext) -> None:
    memory = outcome.work.surroundings.memory
    if memory is not None:
        memory.keep(outcome, context)


def _check_budget(work: Work) -> None:
    """Refuse an attempt at what has spent its budget already."""
    around = work.surroundings
    if around.ledger is not None:
        around.ledger.check(around.monotonic())


def _may_start(work: Work, context: StepContext) -> bool:
    """Ask `when`, then check the input contract."""
    recipe = work.recipe
    # a foreach is asked once for the whole step, before it fans out
    if (
        recipe.when is not None
        and work.item_index is None
        and not recipe.when(work.inputs, context)
    ):
        return False
    if recipe.input is not None and work.item_index is None:
        body = b",".join(encode(k, key=k) + b":" + raw for k, raw in work.inputs.items())
        checked(work, "input", lambda contract: contract.check_json(b"{" + body + b"}"))
    return True


def _arguments(work: Work, context: StepContext) -> tuple[list[Any], dict[str, Any]]:
    """Parse what a typed action's parameters name into the types they are annotated with."""
    signature = work.recipe.signature
    parameters = work.recipe.parameters
    kwargs: dict[str, Any] = {}
    for key, name in signature.parameters.items():
        raw = work.inputs.get(key)
        if raw is not None:
            told = key if name == key else signature.path(key)
            kwargs[name] = parsed(told, raw, parameters.get(key))
        elif key in signature.required:
            raise MissingKeyError(key, work.inputs)
    if signature.item_parameter is not None and work.item is not None:
        contract = parameters.get(signature.item or "")
        kwargs[signature.item_parameter] = parsed("item", work.item, contract)
    if signature.context is not None:
        kwargs[signature.context] = context
        if view := work.recipe.step.contracts.view:
            context.inputs = TypedInputs(context.inputs, view)
    return signature.bind(kwargs) if signature.positional else ([], kwargs)


def _isolated(work: Work, context: StepContext, isolate: Callable[[Work], Outcome]) -> Outcome:
    """Have an attempt made in a worker process; `context` is what `when` was asked with."""
    outcome = recheck(isolate(work), context)
    if work.recipe.identity is not None:
        _keep(outcome, context)
    outcome.refusals = (*work.refusals, *outcome.refusals)
    outcome.warnings = (*context.warnings, *outcome.warnings)
    return outcome
