"""A step: an action, what it may read, and what it promises to return.

Two ways to write one, with one meaning::

    Step("score", score, depends_on=["fetch"], read_keys=["fetch"], output_contract=Score)

    @step(retries=3)
    def score(fetch: Doc) -> Score: ...

The second names what it reads by its parameters, so it can read nothing else, and a type checker
sees its contracts.
"""

from __future__ import annotations

import math
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, overload

from kairos.budget import Ledger, Spend
from kairos.contract import Contract, compile_contract
from kairos.enums import ForeachPolicy
from kairos.exceptions import ConfigError, did_you_mean
from kairos.failure import FailurePolicy
from kairos.results import AttemptRecord, ItemResult, StepResult
from kairos.signature import ABSENT, Signature, read_signature
from kairos.source import Place, declared_here, defined_at
from kairos.state import ScopedStateProxy, StateStore

__all__ = [
    "SKIP",
    "AttemptRecord",
    "Fence",
    "ItemResult",
    "Skip",
    "Step",
    "StepConfig",
    "StepContext",
    "StepResult",
    "as_step",
    "step",
]

F = TypeVar("F", bound=Callable[..., Any])
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


class Skip:
    """The type of SKIP, for annotations: `-> Score | Skip`."""

    __slots__ = ()
    _only: Skip | None = None

    def __new__(cls) -> Skip:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "SKIP"

    def __reduce__(self) -> str:
        return "SKIP"


SKIP = Skip()
"""Return it from an action to skip: nothing is checked, None is stored, dependents see None."""


@dataclass(frozen=True, slots=True)
class StepConfig:
    """How a step is run.

    `retries` further attempts with a pause of `retry_delay · retry_backoff^(attempt-1)` seconds
    (random within 0.5 to 1.5 times that, when `retry_jitter`); `timeout` seconds for one attempt;
    `foreach` the key whose elements the step runs over, `foreach_policy` whether one bad element
    fails it; `parallel` runs it beside other steps, and a foreach's elements beside one another,
    up to `max_concurrency` at a time; `validation_timeout` seconds for semantic validators;
    `isolation="process"` gives the action a worker process of its own.

    Raises ConfigError that names the field.
    """

    retries: int = 0
    timeout: float | None = None
    foreach: str | None = None
    foreach_policy: ForeachPolicy = ForeachPolicy.REQUIRE_ALL
    parallel: bool = False
    max_concurrency: int | None = None
    retry_delay: float = 0.0
    retry_backoff: float = 1.0
    retry_jitter: bool = True
    validation_timeout: float | None = 30.0
    isolation: Literal["none", "process"] = "none"

    def __post_init__(self) -> None:
        _check_count("retries", self.retries, least=0)
        if self.max_concurrency is not None:
            _check_count("max_concurrency", self.max_concurrency, least=1)
        for name in ("timeout", "validation_timeout"):
            if getattr(self, name) is not None:
                _check_seconds(name, getattr(self, name), above_zero=True)
        for name in ("retry_delay", "retry_backoff"):
            _check_seconds(name, getattr(self, name), above_zero=False)
        for name in ("parallel", "retry_jitter"):
            if not isinstance(getattr(self, name), bool):
                raise _bad_option(name, "True or False", getattr(self, name))
        if self.foreach is not None and (not isinstance(self.foreach, str) or not self.foreach):
            raise _bad_option("foreach", "the name of a step or an input", self.foreach)
        try:
            object.__setattr__(self, "foreach_policy", ForeachPolicy(self.foreach_policy))
        except ValueError:
            words = " or ".join(p.value for p in ForeachPolicy)
            raise _bad_option("foreach_policy", words, self.foreach_policy) from None
        if self.isolation not in ("none", "process"):
            raise _bad_option("isolation", "'none' or 'process'", self.isolation)


def _check_count(name: str, value: Any, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _bad_option(name, f"a whole number from {least} up", value)


def _check_seconds(name: str, value: Any, *, above_zero: bool) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (above_zero and value == 0):
        raise _bad_option(name, f"a number {'above' if above_zero else 'from'} 0", value)


def _bad_option(name: str, expected: str, value: Any) -> ConfigError:
    found = repr(value) if isinstance(value, (int, float, str)) else type(value).__name__
    return ConfigError(
        f"{name} is not what it takes", where=declared_here(), expected=expected, found=found
    )


_OPTIONS = tuple(f.name for f in fields(StepConfig))
_DEFAULT_CONFIG = StepConfig()


class Fence:
    """Stands between one attempt and the run: says whether the attempt is still wanted.

    `deadline` is on the driver's monotonic clock.  `on_cancel` is called when the attempt is told
    to stop and `on_give_up` when it is waited for no longer, for work that can be reached from
    outside (a process, a task).
    """

    __slots__ = ("cancelled", "deadline", "given_up", "on_cancel", "on_give_up")

    def __init__(self) -> None:
        self.cancelled = False
        self.given_up = False
        self.deadline: float | None = None
        self.on_cancel: Callable[[], None] | None = None
        self.on_give_up: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Tell the attempt that it should stop."""
        self.cancelled = True
        tell = self.on_cancel  # the attempt's own thread may take it away at any moment
        if tell is not None:
            tell()

    def give_up(self) -> None:
        """Stop waiting for the attempt: whatever it still brings will be dropped."""
        self.cancelled = self.given_up = True
        stop = self.on_give_up
        if stop is not None:
            stop()


class StepContext:
    """What an action is handed: its inputs, its view of the state, and where it stands.

    `inputs` maps the workflow's inputs and the outputs of the steps it depends on (or, where
    `read_keys` is declared, exactly those keys) to values of its own; `item` and `item_index` are
    the element of a foreach and its position; `retry_context` says in sanitised words why the
    previous attempt failed.
    """

    __slots__ = (
        "_fence",
        "_ledger",
        "attempt",
        "inputs",
        "item",
        "item_index",
        "retry_context",
        "run_id",
        "spent",
        "state",
        "step_id",
    )

    def __init__(
        self,
        state: StateStore | ScopedStateProxy,
        inputs: Mapping[str, Any],
        item: Any = None,
        retry_context: dict[str, Any] | None = None,
        step_id: str = "",
        attempt: int = 1,
        run_id: str = "",
        item_index: int | None = None,
        fence: Fence | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.state = state
        self.inputs = inputs
        self.item = item
        self.retry_context = retry_context
        self.step_id = step_id
        self.attempt = attempt
        self.run_id = run_id
        self.item_index = item_index
        self.spent: Spend | None = None
        self._fence = fence
        self._ledger = ledger

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop: the run was cancelled, or waits for it no longer."""
        return self._fence is not None and self._fence.cancelled

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this work in this run, and for no other work.

        Hand it to a service that can recognise a request it has already carried out.
        """
        at = "" if self.item_index is None else f"/{self.item_index}"
        return f"{self.run_id}/{self.step_id}{at}"

    def increment_llm_calls(self, count: int = 1) -> None:
        """Count calls to a model.  Raises BudgetExceededError when the run has no more."""
        _check_count("count", count, least=0)
        self.charge(llm_calls=count)

    def charge(
        self,
        *,
        llm_calls: int = 0,
        input_tokens: int = 0,
        output_tokens: int = 0,
        usd: float | None = 0.0,
    ) -> None:
        """Book spending to the run; `usd=None` says that the price is unknown.

        Raises BudgetExceededError when it is more than the workflow's budget has left.
        """
        spend = Spend(llm_calls, input_tokens, output_tokens, usd)
        self.spent = spend if self.spent is None else self.spent.plus(spend)
        if self._ledger is not None:
            self._ledger.charge(spend)


class Step:
    """A named action with its contracts, its scope and its failure policy.

    `action` takes a `StepContext`, or is a typed function (see the module).  `depends_on` names
    steps that come first; `read_keys` what may be read (None: everything, [] nothing) and
    `write_keys` what may be written (default: the step's own name).  `when` is a predicate on what
    the step may read: where it is false the step is skipped and its dependents see None.
    `validators` are semantic checks that follow the output contract.  Further keywords are the
    fields of `StepConfig`.

    Raises ConfigError for a bad name, an action that is not callable, a contract that is none,
    an unknown keyword, and `config` together with keywords.
    """

    __slots__ = (
        "_contracts",
        "_signature",
        "action",
        "config",
        "depends_on",
        "failure_policy",
        "input_contract",
        "name",
        "options",
        "output_contract",
        "place",
        "read_keys",
        "validators",
        "when",
        "write_keys",
    )

    def __init__(
        self,
        name: str,
        action: Callable[..., Any],
        *,
        depends_on: Sequence[str] | None = None,
        config: StepConfig | None = None,
        input_contract: Any = None,
        output_contract: Any = None,
        read_keys: Iterable[str] | None = None,
        write_keys: Iterable[str] | None = None,
        failure_policy: FailurePolicy | None = None,
        when: Callable[..., Any] | None = None,
        validators: Sequence[Any] = (),
        **options: Any,
    ) -> None:
        self.place = place = declared_here()
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _bad_name(name, place)
        if not callable(action):
            raise ConfigError(
                f"the action of step '{name}' is not callable",
                where=place,
                expected="a function of a StepContext, or a typed function",
                found=type(action).__name__,
            )
        self.name = name
        self.action = action
        self.options: frozenset[str] = frozenset(options)
        self.config = _config(name, config, options, place)
        self.failure_policy = _policy(name, failure_policy, place)
        self.validators = tuple(validators)
        self.when = when
        if when is not None and not callable(when):
            raise ConfigError(f"when= of step '{name}' is not callable", where=place)
        self._signature = signature = read_signature(action, place)
        self.depends_on = _names(name, "depends_on", depends_on or (), place)
        self.write_keys = (
            (name,) if write_keys is None else _names(name, "write_keys", write_keys, place)
        )
        self.read_keys = _readable(self, read_keys)
        self.input_contract = input_contract
        self.output_contract = output_contract
        self._contracts = self._compile() if signature.typed or _declares(self) else _NO_CONTRACTS

    @property
    def signature(self) -> Signature:
        """How the action is called."""
        return self._signature

    @property
    def contracts(self) -> Contracts:
        """What the declared contracts and annotations compiled to."""
        return self._contracts

    def _compile(self) -> Contracts:
        signature = self._signature
        if self.output_contract is None and signature.returns is not ABSENT:
            self.output_contract = signature.returns
        return Contracts(
            input=self._contract(self.input_contract, "input_contract"),
            output=(
                self._contract(signature.returns, "the return annotation", none_is_a_type=True)
                if signature.typed and self.output_contract is signature.returns is None
                else self._contract(self.output_contract, "output_contract")
            ),
            parameters={
                name: contract
                for name, note in signature.annotations.items()
                if (contract := self._contract(note, f"parameter '{name}'", none_is_a_type=True))
            },
        )

    def _contract(self, declared: Any, role: str, *, none_is_a_type: bool = False) -> Contract | None:
        if declared is None and not none_is_a_type:
            return None
        place = defined_at(self.action) if role.startswith(("parameter", "the return")) else None
        return compile_contract(
            declared, where=place or self.place, label=f"{role} of step '{self.name}'"
        )

    def __repr__(self) -> str:
        return f"Step({self.name!r})"


@dataclass(frozen=True, slots=True)
class Contracts:
    """The compiled contracts of a step; `parameters` by the name of the parameter."""

    input: Contract | None
    output: Contract | None
    parameters: Mapping[str, Contract]


_NO_CONTRACTS = Contracts(None, None, {})


def _declares(step: Step) -> bool:
    return step.input_contract is not None or step.output_contract is not None


def _bad_name(name: object, place: Place | None) -> ConfigError:
    return ConfigError(
        "a step's name is not one" if not isinstance(name, str) else f"bad step name {name[:60]!r}",
        where=place,
        expected="letters, digits, '_' and '-'",
        found=type(name).__name__ if not isinstance(name, str) else "an empty string" if not name else None,
    )


def _config(
    name: str, config: StepConfig | None, options: dict[str, Any], place: Place | None
) -> StepConfig:
    if not options:
        if config is None:
            return _DEFAULT_CONFIG
        if not isinstance(config, StepConfig):
            raise ConfigError(
                f"config of step '{name}' is no StepConfig", where=place, found=type(config).__name__
            )
        return config
    for option in options:
        if option not in _OPTIONS:
            raise ConfigError(
                f"Step '{name}' takes no keyword '{option}'",
                where=place,
                expected="one of " + ", ".join((*_STEP_KEYWORDS, *_OPTIONS)),
                fix=did_you_mean(option, (*_STEP_KEYWORDS, *_OPTIONS)),
            )
    if config is not None:
        raise ConfigError(
            f"Step '{name}' is given config and also {', '.join(options)}",
            where=place,
            fix="put all of them into the StepConfig, or none",
        )
    return StepConfig(**options)


_STEP_KEYWORDS = (
    "depends_on",
    "config",
    "input_contract",
    "output_contract",
    "read_keys",
    "write_keys",
    "failure_policy",
    "when",
    "validators",
)


def _policy(name: str, policy: Any, place: Place | None) -> FailurePolicy | None:
    if policy is None or isinstance(policy, FailurePolicy):
        return policy
    raise ConfigError(
        f"failure_policy of step '{name}' is no FailurePolicy",
        where=place,
        found=type(policy).__name__,
    )


def _names(
    step: str, what: str, names: Iterable[str] | str, place: Place | None
) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigError(
            f"{what} of step '{step}' is a string, not a list of names",
            where=place,
            fix=f"write {what}=['{names}']",
        )
    try:
        kept = tuple(names)
    except TypeError:
        kept = (names,)
    for each in kept:
        if not isinstance(each, str) or not each:
            raise ConfigError(
                f"{what} of step '{step}' is not a list of names",
                where=place,
                found="an empty name" if each == "" else type(each).__name__,
            )
    return kept if len(kept) < 2 else tuple(dict.fromkeys(kept))  # noqa: PLR2004 - nothing repeats


def _readable(step: Step, declared: Iterable[str] | None) -> tuple[str, ...] | None:
    """Work out what a step may read: what it declares, or what its parameters name."""
    signature, foreach = step.signature, step.config.foreach
    if signature.item is not None and foreach is None:
        raise ConfigError(
            f"step '{step.name}' takes 'item' and has no foreach to take it from",
            where=step.place,
            fix="add foreach='<a step or an input>', or rename the parameter",
        )
    if declared is None:
        if not signature.typed:
            return None
        return (*signature.reads, foreach) if foreach else signature.reads
    keys = _names(step.name, "read_keys", declared, step.place)
    needed = (*signature.reads, *((foreach,) if foreach else ()))
    for key in needed:
        if key not in keys:
            raise ConfigError(
                f"step '{step.name}' needs '{key}', which its read_keys do not allow",
                where=step.place,
                expected=f"read_keys with '{key}'",
                found=", ".join(keys) or "no key at all",
            )
    return keys


_DECLARED = "__kairos_step__"


@overload
def step(action: F, /) -> F: ...
@overload
def step(name: str | None = None, /, **options: Any) -> Callable[[F], F]: ...
def step(action: Any = None, /, **options: Any) -> Any:
    """Declare a function as a step, under its own name or the one given.

    Takes the keywords of `Step` and returns the function itself: it can be called and tested as
    the plain function that it is, and type checkers see its own signature.  Put it into
    `Workflow(steps=[...])` as it stands.
    """
    if callable(action):
        return _declare(action, None, options)
    return lambda function: _declare(function, action, options)


def _declare(function: Any, name: str | None, options: dict[str, Any]) -> Any:
    declared = Step(name or _own_name(function), function, **options)
    if function_place := defined_at(function):
        declared.place = function_place
    setattr(function, _DECLARED, declared)
    return function


def as_step(given: Step | Callable[..., Any]) -> Step:
    """Return the step that a function was declared as; a bare function becomes one."""
    if isinstance(given, Step):
        return given
    declared = getattr(given, _DECLARED, None)
    if isinstance(declared, Step):
        return declared
    if not callable(given):
        raise ConfigError(
            "a workflow is made of steps",
            where=declared_here(),
            expected="Step(...) or a function",
            found=type(given).__name__,
        )
    return Step(_own_name(given), given)


def _own_name(function: Any) -> str:
    while not hasattr(function, "__name__") and hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


class _CallableModule(types.ModuleType):
    """This module, callable: `kairos.step` is a published module and also our decorator's name.

    Importing a submodule puts it under its name into the package, whatever stood there; so what
    `from kairos import step` finds has to be both.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return step(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
