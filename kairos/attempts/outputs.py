"""What becomes of what an action returned: its bytes, checked, or a refusal."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any, Literal

from kairos.attempts.words import failure_of
from kairos.attempts.work import Outcome, Recipe, Work
from kairos.context import StepContext
from kairos.contracts.asking import BOOK_CALL, ask
from kairos.contracts.contract import Contract, ContractBroken
from kairos.contracts.encoding import decode, encode
from kairos.exceptions import ConfigError, ExecutionError, StateError
from kairos.source import defined_at
from kairos.step import SKIP

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["checked", "finish", "recheck"]

_PLAIN = frozenset((dict, str, list, int, float, bool, type(None)))


def checked(work: Work, phase: Literal["input", "output"], check: Callable[[Contract], Any]) -> Any:
    """Check a contract; whoever listens hears of it.  Returns what the check returned."""
    contract = work.recipe.input if phase == "input" else work.recipe.output
    if contract is None:
        raise ConfigError("there is no contract to check")
    tell = work.surroundings.tell
    if tell is None:
        return check(contract)
    tell(work, phase, None)
    try:
        checked = check(contract)
    except ContractBroken as broken:
        tell(work, phase, failure_of(broken).faults)
        raise
    tell(work, phase, ())
    return checked


def finish(work: Work, value: Any, context: StepContext) -> Outcome:
    """Turn what an action returned into the bytes that everybody will read."""
    recipe = work.recipe
    if type(value) not in _PLAIN:
        if value is SKIP:
            return Outcome(work, b"null", "returned")
        _refuse_unfinished(recipe, value)
    if recipe.output is None:
        output = encode(value, key=recipe.name)
    else:
        try:
            if work.surroundings.tell is None:
                output = recipe.output.check_output(value)
            else:
                output = checked(work, "output", lambda contract: contract.check_output(value))
        except ContractBroken as broken:
            with contextlib.suppress(StateError):
                broken.raw = encode(value, key=recipe.name)
            raise
    if recipe.validators:
        _ask_validators(work, output, context)
    return Outcome(work, output)


def _refuse_unfinished(recipe: Recipe, value: Any) -> None:
    """Refuse a coroutine or a generator: work that was never done is no output."""
    if inspect.iscoroutine(value):
        value.close()
        kind, fix = "a coroutine that nobody awaited", "declare the action `async def`"
    elif inspect.isawaitable(value):
        kind, fix = "an awaitable that nobody awaited", "await it in an `async def` action"
    elif inspect.isgenerator(value) or inspect.isasyncgen(value):
        kind, fix = "a generator that nobody ran", "return a list of what it yields"
    elif isinstance(value, StepContext):
        kind = "its own context"
        fix = "annotate the parameter: one without an annotation is the context"
    else:
        return
    raise ExecutionError(
        f"step '{recipe.name}' returned {kind}",
        step_id=recipe.name,
        where=defined_at(recipe.action) or recipe.step.place,
        expected="a value that can be written as JSON",
        found=type(value).__name__,
        fix=fix,
    )


def _ask_validators(work: Work, output: bytes, context: StepContext) -> None:
    """Ask the semantic validators, one after the other; the calls they make are the attempt's."""
    limit = work.recipe.step.config.validation_timeout
    if limit is not None:
        work.fence.deadline = work.surroundings.monotonic() + limit
    booking = BOOK_CALL.set(context.increment_llm_calls)
    try:
        for validator in work.recipe.validators:
            result = ask(validator, decode(output), work.recipe.step.output_contract)
            if not result.valid:
                name = getattr(validator, "__name__", type(validator).__name__)
                raise _told(work, ContractBroken(tuple(result.errors), name))
    finally:
        BOOK_CALL.reset(booking)


def _told(work: Work, broken: ContractBroken) -> ContractBroken:
    tell = work.surroundings.tell
    if tell is not None:
        tell(work, "output", None)
        tell(work, "output", failure_of(broken).faults)
    return broken


def recheck(outcome: Outcome, context: StepContext) -> Outcome:
    """Check here what a worker process says it returned: contracts stay on this side."""
    recipe, output = outcome.work.recipe, outcome.output
    if output is None or outcome.skipped:
        return outcome
    try:
        if recipe.output is not None:
            contract = recipe.output
            outcome.output = checked(
                outcome.work,
                "output",
                lambda _: contract.check_output(contract.check_json(output)),
            )
        if recipe.validators:
            _ask_validators(outcome.work, outcome.output or output, context)
    except BaseException as error:  # noqa: BLE001 - a step may do anything at all
        outcome.output, outcome.failure = None, failure_of(error)
    return outcome
