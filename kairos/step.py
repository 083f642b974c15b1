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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar, overload

from kairos.config import DEFAULT_CONFIG, OPTIONS, StepConfig
from kairos.context import Fence, StepContext
from kairos.contracts.contract import Contract, compile_contract
from kairos.contracts.effects import checked_touches, prompt_of, touches_of
from kairos.exceptions import ConfigError, did_you_mean
from kairos.failure import FailurePolicy
from kairos.results import AttemptRecord, ItemResult, StepResult
from kairos.signature import ABSENT, Signature, read_signature
from kairos.source import Place, declared_here, defined_at

__all__ = [
    "SKIP",
    "AttemptRecord",
    "Contracts",
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
    """The type of SKIP, for annotations: `-> Score | Skip`.  There is one instance."""

    __slots__ = ()

    def __new__(cls) -> Self:
        """Return SKIP: it is compared by identity, so there is no other."""
        held: Self | None = globals().get("SKIP")
        return object.__new__(cls) if held is None else held

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "SKIP"

    def __copy__(self) -> Skip:
        return self

    def __deepcopy__(self, memo: object) -> Skip:
        return self

    def __reduce__(self) -> str:
        return "SKIP"


SKIP = Skip()
"""Return it from an action to skip: nothing is checked, None is stored, dependents see None."""


class Step:
    """A named action with its contracts, its scope and its failure policy.

    `action` takes a `StepContext`, or is a typed function (see the module).  `depends_on` names
    steps that come first; `read_keys` what may be read (None: everything, [] nothing) and
    `write_keys` what may be written (default: the step's own name).  `when` is a predicate on what
    the step may read: where it is false the step is skipped and its dependents see None.
    `validators` are semantic checks that follow the output contract.  `labels` are borne by its
    output and by all that is made of it; `declassify` names labels that it is trusted with, and
    that its output does not bear; `touches` says what it talks to outside the process ("model",
    "network", "files", "commands").  Further keywords are the fields of `StepConfig`.

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
        "touches",
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
        labels: Iterable[str] = (),
        declassify: Iterable[str] = (),
        touches: Iterable[str] = (),
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
        self.validators = _validators(name, validators, place)
        self.when = when
        if when is not None and not callable(when):
            raise ConfigError(f"when= of step '{name}' is not callable", where=place)
        self._signature = signature = read_signature(action, place)
        self.depends_on = _names(name, "depends_on", depends_on or (), place)
        self.write_keys = (
            (name,) if write_keys is None else _names(name, "write_keys", write_keys, place)
        )
        self.labels = _names(name, "labels", labels, place) if labels else ()
        self.declassify = _names(name, "declassify", declassify, place) if declassify else ()
        self.prompt = prompt_of(action, name, place)
        said = touches_of(action, name, place)
        asked = checked_touches(touches, f"touches of step '{name}'", place) if touches else ()
        self.touches = tuple(dict.fromkeys((*said, *asked)))
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
                if (contract := self._contract(note, f"parameter '{name}'", none_is_a_type=True))
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
        found=type(name).__name__
        if not isinstance(name, str)
        else "an empty string"
        if not name
        else None,
        fix="name it: Step('name', lambda ctx: ...)" if name == "<lambda>" else None,
    )


def _config(
    name: str, config: StepConfig | None, options: dict[str, Any], place: Place | None
) -> StepConfig:
    if not options:
        if config is None:
            return DEFAULT_CONFIG
        if not isinstance(config, StepConfig):
            raise ConfigError(
                f"config of step '{name}' is no StepConfig",
                where=place,
                found=type(config).__name__,
            )
        return config
    for option in options:
        if option not in OPTIONS:
            raise ConfigError(
                f"Step '{name}' takes no keyword '{option}'",
                where=place,
                expected="one of " + ", ".join((*_STEP_KEYWORDS, *OPTIONS)),
                fix=did_you_mean(option, (*_STEP_KEYWORDS, *OPTIONS)),
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
    "labels",
    "declassify",
    "touches",
)


def _policy(name: str, policy: Any, place: Place | None) -> FailurePolicy | None:
    if policy is None or isinstance(policy, FailurePolicy):
        return policy
    raise ConfigError(
        f"failure_policy of step '{name}' is no FailurePolicy",
        where=place,
        found=type(policy).__name__,
    )


def _validators(name: str, validators: Any, place: Place | None) -> tuple[Any, ...]:
    if isinstance(validators, str) or not isinstance(validators, Iterable):
        raise ConfigError(
            f"validators of step '{name}' is not a list",
            where=place,
            expected="a list of objects with validate(data, schema)",
            found=type(validators).__name__,
        )
    return tuple(validators)


def _names(
    step: str, what: str, names: Iterable[str] | str, place: Place | None
) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigError(
            f"{what} of step '{step}' is a string, not a list of names",
            where=place,
            fix=f"write {what}=['{names}']",
        )
    kept: tuple[Any, ...] = tuple(names) if isinstance(names, Iterable) else (names,)
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
        if not signature.typed and step.prompt is None:
            return None
        named = (*signature.reads, *step.prompted)
        return (*named, foreach) if foreach else named
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
    try:
        setattr(function, _DECLARED, declared)
    except (AttributeError, TypeError):  # a bound method, a built-in, an object with slots
        raise ConfigError(
            f"{_own_name(function)} cannot be marked as a step",
            where=declared.place,
            expected="a function",
            found=type(function).__name__,
            fix=f"write Step('{declared.name}', ...) in the workflow's list of steps",
        ) from None
    return function


def as_step(given: Step | Callable[..., Any]) -> Step:
    """Return the step that a function was declared as; a bare function becomes one."""
    if isinstance(given, Step):
        return given
    declared = getattr(given, _DECLARED, None)
    if isinstance(declared, Step):
        if declared.action is not given:  # functools.wraps copies the mark, a method inherits it
            raise ConfigError(
                f"step '{declared.name}' was declared of the function inside this one",
                where=declared.place,
                found=type(given).__name__,
                fix=f"put @step above the other decorators; for a method write"
                f" Step('{declared.name}', ...) of the bound one",
            )
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
    """The module, callable: `kairos.step` is a published module and also our decorator's name.

    Importing a submodule puts it under its name into the package, whatever stood there; so what
    `from kairos import step` finds has to be both.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return step(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
