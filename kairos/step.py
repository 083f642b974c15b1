"""A step: an action, what it may read, and what it promises to return.

Two ways to write one, with one meaning::

    Step("score", score, depends_on=["fetch"], read_keys=["fetch"], output_contract=Score)

    @step(retries=3)
    def score(fetch: Doc) -> Score: ...

The second names what it reads by its parameters, so it can read nothing else, and a type checker
sees its contracts.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload

import typing_extensions

from kairos.config import StepConfig
from kairos.context import Context, Fence, In_co, StepContext
from kairos.contracts.contract import Contract, compile_contract
from kairos.contracts.effects import checked_touches, prompt_of, shortfall_of, touches_of
from kairos.declaring import (
    bad_name,
    config_of,
    names_of,
    policy_of,
    sources_of,
    validators_of,
)
from kairos.exceptions import ConfigError
from kairos.hints import own_name
from kairos.results import AttemptRecord, ItemResult, StepResult
from kairos.signature import ABSENT, From, Signature, read_signature
from kairos.skip import SKIP, Skip
from kairos.source import declared_here, defined_at

if TYPE_CHECKING:
    from kairos.failure import FailurePolicy
    from kairos.keywords import StepKeywords

__all__ = [
    "SKIP",
    "AttemptRecord",
    "Context",
    "Contracts",
    "Fence",
    "From",
    "ItemResult",
    "Skip",
    "Step",
    "StepConfig",
    "StepContext",
    "StepResult",
    "as_step",
    "declared_step",
    "step",
]

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
Out_co = typing_extensions.TypeVar("Out_co", default=Any, covariant=True)
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


class Step(Generic[In_co, Out_co]):
    """A named action with its contracts, its scope and its failure policy.

    `action` takes a `StepContext`, or is a typed function (see the module).  `depends_on` names
    steps that come first; `read_keys` what may be read (None: everything, [] nothing) and
    `write_keys` what may be written (default: the step's own name).  `when` is a predicate on what
    the step may read: where it is false the step is skipped and its dependents see None.
    `validators` are semantic checks that follow the output contract.  `labels` are borne by its
    output and by all that is made of it; `declassify` names labels that it is trusted with, and
    that its output does not bear; `touches` says what it talks to outside the process ("model",
    "network", "files", "commands").  `sources` says, parameter by parameter, which key a typed
    function reads where that is not the parameter's own name (None: the element of the foreach);
    parameters that it leaves out keep their defaults.  Further keywords are the fields of
    `StepConfig`.

    To a type checker `Step[In, Out]` is what the context shows, for an action of a `Context[In]`,
    and what the action returns.

    Raises ConfigError for a bad name, an action that is not callable, a contract that is none,
    an unknown keyword, and `config` together with keywords.
    """

    __slots__ = (
        "_contracts",
        "_signature",
        "action",
        "config",
        "declassify",
        "depends_on",
        "failure_policy",
        "input_contract",
        "labels",
        "name",
        "options",
        "output_contract",
        "place",
        "prompt",
        "read_keys",
        "sources",
        "touches",
        "validators",
        "when",
        "write_keys",
    )

    # For type checkers: an action in either style, plain or async, says what In and Out are.
    @overload
    def __init__(
        self,
        name: str,
        action: Callable[[StepContext[In_co]], Coroutine[Any, Any, Out_co]],
        **keywords: Unpack[StepKeywords],
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        action: Callable[[StepContext[In_co]], Out_co],
        **keywords: Unpack[StepKeywords],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[Mapping[str, Any], R],
        name: str,
        action: Callable[..., Coroutine[Any, Any, R]],
        **keywords: Unpack[StepKeywords],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[Mapping[str, Any], R],
        name: str,
        action: Callable[..., R],
        **keywords: Unpack[StepKeywords],
    ) -> None: ...
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
        labels: Iterable[str] = (),
        declassify: Iterable[str] = (),
        touches: Iterable[str] = (),
        sources: Mapping[str, str | None] | None = None,
        **options: Any,
    ) -> None:
        self.place = place = declared_here()
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise bad_name(name, place)
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
        self.config = config_of(name, config, options, place)
        self.failure_policy = policy_of(name, failure_policy, place)
        self.validators = validators_of(name, validators, place)
        self.when = when
        if when is not None and not callable(when):
            raise ConfigError(f"when= of step '{name}' is not callable", where=place)
        self.sources = None if sources is None else sources_of(name, sources, place)
        self._signature = signature = read_signature(action, place, self.sources)
        self.depends_on = names_of(name, "depends_on", depends_on or (), place)
        self.write_keys = (
            (name,) if write_keys is None else names_of(name, "write_keys", write_keys, place)
        )
        self.labels = names_of(name, "labels", labels, place) if labels else ()
        self.declassify = names_of(name, "declassify", declassify, place) if declassify else ()
        self.prompt = prompt_of(action, name, place)
        said = touches_of(action, name, place)
        asked = checked_touches(touches, f"touches of step '{name}'", place) if touches else ()
        self.touches = tuple(dict.fromkeys((*said, *asked)))
        self.read_keys = _readable(self, read_keys)
        if self.config.cache and self.read_keys is None:
            raise ConfigError(
                f"step '{name}' is cached and does not say what it reads",
                where=place,
                expected="read_keys=[...], or a typed function: an output is found again by them",
            )
        self.input_contract = (
            signature.view
            if input_contract is None and signature.view is not ABSENT
            else input_contract
        )
        self.output_contract = output_contract
        declares = input_contract is not None or output_contract is not None
        self._contracts = self._compile() if signature.typed or declares else _NO_CONTRACTS
        shortfall_of(action, self._contracts.output)  # what it refuses is refused here

    @property
    def signature(self) -> Signature:
        """How the action is called."""
        return self._signature

    @property
    def contracts(self) -> Contracts:
        """What the declared contracts and annotations compiled to."""
        return self._contracts

    @property
    def prompted(self) -> tuple[str, ...]:
        """The keys that the placeholders of its prompt name; `item` of a foreach is none."""
        if self.prompt is None:
            return ()
        if self.config.foreach is None:
            return self.prompt.names
        return tuple(name for name in self.prompt.names if name != "item")

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
                if (
                    contract := self._contract(
                        note,
                        f"parameter '{signature.parameters.get(name, name)}'",
                        none_is_a_type=True,
                    )
                )
            },
            view={
                key: contract
                for key, note in signature.viewed.items()
                if (contract := self._contract(note, f"key '{key}' of the context"))
            },
        )

    def _contract(
        self, declared: Any, role: str, *, none_is_a_type: bool = False
    ) -> Contract | None:
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
    """The compiled contracts of a step.

    `parameters` go by the key that is read, that of the item of a foreach by its parameter.  `view`
    has those of the keys that a `Context[In]` shows.
    """

    input: Contract | None
    output: Contract | None
    parameters: Mapping[str, Contract]
    view: Mapping[str, Contract] = field(default_factory=dict)


_NO_CONTRACTS = Contracts(None, None, {})


def _readable(step: Step, declared: Iterable[str] | None) -> tuple[str, ...] | None:
    """Work out what a step may read: what it declares, or what its parameters name."""
    signature, foreach = step.signature, step.config.foreach
    if signature.item is not None and foreach is None:
        raise ConfigError(
            f"step '{step.name}' takes '{signature.item}' and has no foreach to take it from",
            where=step.place,
            fix="add foreach='<a step or an input>', or rename the parameter",
        )
    if declared is None:
        if not signature.typed and step.prompt is None:
            return None
        named = (*signature.reads, *step.prompted)
        return (*named, foreach) if foreach and foreach not in named else named
    keys = names_of(step.name, "read_keys", declared, step.place)
    needed = (*signature.reads, *((foreach,) if foreach else ()))
    for key in needed:
        if key not in keys:
            raise ConfigError(
                f"{_reader(step, key)} needs '{key}', which its read_keys do not allow",
                where=step.place,
                expected=f"read_keys with '{key}'",
                found=", ".join(keys) or "no key at all",
            )
    return keys


def _reader(step: Step, key: str) -> str:
    name = step.signature.parameters.get(key, key)
    return f"step '{step.name}'" + ("" if name == key else f", for its parameter '{name}',")


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
    declared = Step(name or own_name(function), function, **options)
    if function_place := defined_at(function):
        declared.place = function_place
    try:
        setattr(function, _DECLARED, declared)
    except (AttributeError, TypeError):  # a bound method, a built-in, an object with slots
        raise ConfigError(
            f"{own_name(function)} cannot be marked as a step",
            where=declared.place,
            expected="a function",
            found=type(function).__name__,
            fix=f"write Step('{declared.name}', ...) in the workflow's list of steps",
        ) from None
    return function


def declared_step(given: Any) -> Step[Any, Any] | None:
    """Return the step that a function was declared as, or None.

    Raises ConfigError where the declaration is that of a function inside this one.
    """
    declared = getattr(given, _DECLARED, None)
    if not isinstance(declared, Step):
        return None
    if declared.action is not given:  # functools.wraps copies the mark, a method inherits it
        raise ConfigError(
            f"step '{declared.name}' was declared of the function inside this one",
            where=declared.place,
            found=type(given).__name__,
            fix=f"put @step above the other decorators; for a method write"
            f" Step('{declared.name}', ...) of the bound one",
        )
    return declared


def as_step(given: Step | Callable[..., Any]) -> Step:
    """Return the step that a function was declared as; a bare function becomes one."""
    if isinstance(given, Step):
        return given
    if (declared := declared_step(given)) is not None:
        return declared
    if not callable(given):
        raise ConfigError(
            "a workflow is made of steps",
            where=declared_here(),
            expected="Step(...) or a function",
            found=type(given).__name__,
        )
    return Step(own_name(given), given)


class _CallableModule(types.ModuleType):
    """The module, callable: `kairos.step` is a published module and also our decorator's name.

    Importing a submodule puts it under its name into the package, whatever stood there; so what
    `from kairos import step` finds has to be both.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return step(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
