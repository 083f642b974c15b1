"""One attempt at a piece of work, from its scope to its bytes.

A `Recipe` is what is known of a step before the run, a `Work` is one attempt at it (or at one
element of its foreach), and `perform` turns a work into an `Outcome`: it never raises.  The order
within an attempt: `when` → input contract → action → SKIP → output contract → semantic validators.

Nothing here touches the store: a work carries the JSON that the step may read, and its outcome
carries what the step wrote.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic_core import ValidationError as PydanticError

from kairos.budget import Ledger, Spend
from kairos.context import Fence, StepContext
from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.contracts.encoding import decode, encode
from kairos.contracts.field_errors import one_error, path_of
from kairos.enums import FailureType
from kairos.events import Fault
from kairos.exceptions import ConfigError, ExecutionError, KairosError, StateError
from kairos.security import sanitize_exception
from kairos.signature import Signature, read_signature
from kairos.source import defined_at
from kairos.state import Inputs, MissingKeyError, Refusal, ScopedStateProxy
from kairos.step import SKIP, Step

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

Phase: TypeAlias = Literal["input", "action", "output"]
Tell: TypeAlias = Callable[["Work", Literal["input", "output"], "tuple[Fault, ...] | None"], None]
_SHORT = 8
_PLAIN = frozenset((dict, str, list, int, float, bool, type(None)))


class Failure(NamedTuple):
    """Why an attempt failed: the exception for the router, sanitised words for everybody else."""

    type: FailureType
    exception: BaseException
    error: str
    message: str
    faults: tuple[Fault, ...] = ()
    output: bytes | None = None


class Outcome:
    """What an attempt brought: an output, a skip, or a failure."""

    __slots__ = ("failure", "ms", "output", "refusals", "skipped", "spent", "work", "writes")

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
        self.spent: Spend | None = None
        self.ms = 0.0


class Recipe:
    """A step, and all that an attempt at it needs to know beforehand.

    The same for every run.  `check` says whether contracts are checked at all.  `beside` says that
    it must not run on the driver's thread, `on_loop` that it runs on an event loop, and
    `stuck_when_given_up` that giving it up leaves a thread stuck in it.
    """

    __slots__ = (
        "action",
        "beside",
        "check",
        "fans_out",
        "guarded",
        "input",
        "isolated",
        "item_contract",
        "name",
        "on_loop",
        "output",
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
        item = signature.item
        self.item_contract = None if item is None else contracts.parameters.get(item)
        self.validators = step.validators if check else ()
        self.when = None if step.when is None else _Predicate(step.when, step)
        self.guarded = self.when is not None or self.input is not None
        self.read_keys = None if step.read_keys is None else _looked_up(step.read_keys)
        self.write_keys = _looked_up(step.write_keys)
        self.isolated = config.isolation == "process"
        self.on_loop = signature.is_async and not self.isolated
        self.stuck_when_given_up = not self.on_loop and not self.isolated
        slow_check = bool(self.validators) and config.validation_timeout is not None
        self.beside = self.on_loop or self.isolated or slow_check or config.timeout is not None


def _looked_up(keys: tuple[str, ...]) -> Collection[str]:
    """Return keys that are looked up fast: a short tuple is, and the collector never walks it."""
    return keys if len(keys) <= _SHORT else frozenset(keys)


class Surroundings(NamedTuple):
    """What all attempts of a run share: ids, the account, the clock, and who listens.

    `tell`, where someone listens, hears of each contract check; `isolate` performs a work in a
    worker process.
    """

    run_id: str
    ledger: Ledger | None
    monotonic: Callable[[], float]
    tell: Tell | None = None
    isolate: Callable[[Work], Outcome] | None = None


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
        )


def perform(work: Work) -> Outcome:
    """Make one attempt.  Never raises; whatever the action does becomes the outcome."""
    recipe = work.recipe
    monotonic = work.surroundings.monotonic
    work.started = begun = monotonic()
    context: StepContext | None = None
    try:
        context = work.context()
        if recipe.guarded and not _may_start(work, context):
            outcome = Outcome(work, skipped="when")
        elif recipe.isolated and work.surroundings.isolate is not None:
            return _timed(_isolated(work, context, work.surroundings.isolate), begun)
        else:
            if recipe.typed:
                args, kwargs = _arguments(work, context)
                value = recipe.action(*args, **kwargs)
            else:
                value = recipe.action(context)
            outcome = _finish(work, value)
    except BaseException as error:  # noqa: BLE001 - a step may do anything at all
        outcome = Outcome(work, failure=failure_of(error))
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
    try:
        context = work.context()
        if recipe.guarded and not _may_start(work, context):
            outcome = Outcome(work, skipped="when")
        else:
            args, kwargs = _arguments(work, context) if recipe.typed else ([context], {})
            value = recipe.action(*args, **kwargs)
            # not so where a decorator has awaited it already
            outcome = _finish(work, await value if inspect.isawaitable(value) else value)
    except BaseException as error:  # noqa: BLE001 - a step may do anything at all
        outcome = Outcome(work, failure=failure_of(error))
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
    outcome.spent = getattr(context, "spent", None)


def _timed(outcome: Outcome, begun: float) -> Outcome:
    outcome.ms = (outcome.work.surroundings.monotonic() - begun) * 1000.0
    return outcome


def failure_of(error: BaseException) -> Failure:
    """Put an exception into words that may be stored and shown.  Never raises."""
    try:
        return _failure(error)
    except BaseException:  # noqa: BLE001 - an exception's own code may do anything at all
        name, message = sanitize_exception(error)
        stand_in = ExecutionError(message)  # nobody else has to ask the other one what it is
        return Failure(FailureType.EXECUTION, stand_in, name, message)


def _failure(error: BaseException) -> Failure:
    name, message = sanitize_exception(error)
    if isinstance(error, PydanticError):  # its own words quote the value
        details = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{path_of(f['loc'])}: {f['type']}" for f in details[:5])
        message = sanitize_exception(KairosError(told))[1]
    if isinstance(error, KairosError):
        said = (error.message, _told("expected", error.expected), _told("found", error.found))
        words = "; ".join(part for part in (*said, _told("fix", error.fix)) if part)
        message = sanitize_exception(KairosError(words))[1]
    if isinstance(error, ContractBroken):
        faults = tuple(Fault(e.field, e.expected, e.actual, e.message) for e in error.errors)
        return Failure(FailureType.VALIDATION, error, name, message, faults, error.raw)
    return Failure(FailureType.EXECUTION, error, name, message)


def _told(label: str, text: str | None) -> str:
    return f"{label}: {text}" if text else ""


def _may_start(work: Work, context: StepContext) -> bool:
    """Ask `when`, then check the input contract."""
    recipe = work.recipe
    # a foreach is asked once for the whole step, before it fans out
    if recipe.when is not None and work.item_index is None and not recipe.when(work, context):
        return False
    if recipe.input is not None and work.item_index is None:
        body = b",".join(encode(k, key=k) + b":" + raw for k, raw in work.inputs.items())
        _checked(work, "input", lambda contract: contract.check_json(b"{" + body + b"}"))
    return True


def _checked(
    work: Work, phase: Literal["input", "output"], check: Callable[[Contract], Any]
) -> Any:
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


def _arguments(work: Work, context: StepContext) -> tuple[list[Any], dict[str, Any]]:
    """Parse what a typed action's parameters name into the types they are annotated with."""
    signature = work.recipe.signature
    parameters = work.recipe.step.contracts.parameters
    kwargs: dict[str, Any] = {}
    for name in signature.reads:
        raw = work.inputs.get(name)
        if raw is not None:
            kwargs[name] = _parsed(name, raw, parameters.get(name))
        elif name in signature.required:
            raise MissingKeyError(name, work.inputs)
    if signature.item is not None and work.item is not None:
        kwargs[signature.item] = _parsed("item", work.item, parameters.get(signature.item))
    if signature.context is not None:
        kwargs[signature.context] = context
    return signature.bind(kwargs) if signature.positional else ([], kwargs)


def _parsed(name: str, raw: bytes, contract: Contract | None) -> Any:
    if contract is None:
        return decode(raw)
    try:
        return contract.check_json(raw)
    except ContractBroken as broken:
        errors = tuple(one_error(_path(name, e.field), e.expected, e.actual) for e in broken.errors)
        raise ContractBroken(errors, contract.name) from None


def _path(name: str, field: str) -> str:
    """Put a field's path below the parameter it was found in."""
    if field == "<root>":
        return name
    return f"{name}{field}" if field.startswith("[") else f"{name}.{field}"


def _finish(work: Work, value: Any) -> Outcome:
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
                output = _checked(work, "output", lambda contract: contract.check_output(value))
        except ContractBroken as broken:
            with contextlib.suppress(StateError):
                broken.raw = encode(value, key=recipe.name)
            raise
    if recipe.validators:
        _ask_validators(work, output)
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


def _ask_validators(work: Work, output: bytes) -> None:
    limit = work.recipe.step.config.validation_timeout
    if limit is not None:
        work.fence.deadline = work.surroundings.monotonic() + limit
    for validator in work.recipe.validators:
        result = validator.validate(decode(output), work.recipe.step.output_contract)
        if not result.valid:
            raise ContractBroken(tuple(result.errors), type(validator).__name__)


def _isolated(work: Work, context: StepContext, isolate: Callable[[Work], Outcome]) -> Outcome:
    """Have an attempt made in a worker process; `context` is what `when` was asked with."""
    outcome = _recheck(isolate(work))
    outcome.refusals = (*work.refusals, *outcome.refusals)
    if context.spent is not None:
        spent = outcome.spent
        outcome.spent = context.spent if spent is None else context.spent.plus(spent)
    return outcome


def _recheck(outcome: Outcome) -> Outcome:
    """Check here what a worker process says it returned: contracts stay on this side."""
    recipe, output = outcome.work.recipe, outcome.output
    if output is None or outcome.skipped:
        return outcome
    try:
        if recipe.output is not None:
            contract = recipe.output
            outcome.output = _checked(
                outcome.work,
                "output",
                lambda _: contract.check_output(contract.check_json(output)),
            )
        if recipe.validators:
            _ask_validators(outcome.work, outcome.output or output)
    except BaseException as error:  # noqa: BLE001 - a step may do anything at all
        outcome.output, outcome.failure = None, failure_of(error)
    return outcome


class _Predicate:
    """A `when=`, written in either style of a step."""

    def __init__(self, function: Callable[..., Any], step: Step) -> None:
        self._function = function
        self._signature = read_signature(function, step.place)
        allowed = step.read_keys
        for name in self._signature.reads:
            if allowed is not None and name not in allowed:
                raise ConfigError(
                    f"when= of step '{step.name}' reads '{name}', which the step may not read",
                    where=defined_at(function) or step.place,
                    expected=", ".join(allowed) or "no key at all",
                )
        self._contracts = {
            name: compile_contract(note, where=step.place, label=f"when= of step '{step.name}'")
            for name, note in self._signature.annotations.items()
        }

    def __call__(self, work: Work, context: StepContext) -> bool:
        if not self._signature.typed:
            return self._verdict(self._function(context))
        values = {
            name: _parsed(name, work.inputs[name], self._contracts.get(name))
            for name in self._signature.reads
            if name in work.inputs
        }
        if self._signature.context is not None:
            values[self._signature.context] = context
        args, kwargs = self._signature.bind(values)
        return self._verdict(self._function(*args, **kwargs))

    @staticmethod
    def _verdict(value: Any) -> bool:
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise KairosError("a when= predicate is a plain function, not an async one")
        return bool(value)
