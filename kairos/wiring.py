"""A workflow put together by references instead of names, so that a type checker sees the edges.

::

    wiring = Wiring("pricing")
    products = wiring.add(fetch, wiring.input("url", str))
    prices = wiring.foreach(price, products, parallel=True)
    wiring.add(sum_up, prices, name="total")
    workflow = wiring.workflow()

It means what `sum_up([price(each) for each in fetch(url)])` means, and mypy and pyright refuse what
they would refuse of that.  What is built are ordinary steps of an ordinary `Workflow`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pydantic import ConfigDict, Field, create_model

from kairos.config import DEFAULT_CONFIG, OPTIONS
from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.exceptions import ConfigError
from kairos.hints import own_name
from kairos.references import Add, Foreach, Ref
from kairos.signature import ABSENT, SOURCES, fillable
from kairos.source import declared_here, defined_at
from kairos.step import Step, declared_step
from kairos.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.source import Place

__all__ = ["Ref", "Wiring"]

T = TypeVar("T")


class Wiring:
    """Collects the steps and the inputs of one workflow, in the order in which they are added.

    Raises ConfigError for an empty name.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(
                "a wiring needs a name",
                where=declared_here(),
                expected="the name of the workflow",
                found="an empty string" if isinstance(name, str) else type(name).__name__,
            )
        self._name = name
        self._steps: dict[str, Step[Any, Any]] = {}
        self._inputs: dict[str, tuple[Any, Any]] = {}

    @overload
    def input(self, name: str, kind: type[T], *, default: T = ...) -> Ref[T]: ...
    @overload
    def input(self, name: str, kind: Any, *, default: Any = ...) -> Ref[Any]: ...
    def input(self, name: str, kind: Any, *, default: Any = ABSENT) -> Ref[Any]:
        """Declare an input of the workflow: its name, its type or contract, perhaps a default.

        The inputs together become the contract that a run's inputs are held to; it refuses others.
        A union (`str | None`) is no `type` to a type checker: annotate what is returned.

        Raises ConfigError for a name that is taken, or is none, and for a type that is no contract.
        """
        place = declared_here()
        if not isinstance(name, str) or not name:
            raise ConfigError(
                "an input needs a name",
                where=place,
                found="an empty string" if name == "" else type(name).__name__,
            )
        self._refuse_taken(name, place)
        contract = compile_contract(kind, where=place, label=f"input '{name}'")
        if default is not ABSENT:
            _check_default(name, contract, default, place)
        self._inputs[name] = (kind, default)
        return Ref(name, self)

    @property
    def add(self) -> Add:
        """Add a step: `add(function, *references, **options)` returns the reference of its output.

        Reference by reference fills the function's parameters in their order, whatever they are
        called; parameters left over keep their defaults, and a `ctx: StepContext` is the context.
        `when` is a predicate of the same references.  Options are the keywords of `Step`, and
        `name` and `after` (references to what comes first without being read).  A `Step` is taken
        as it is.

        Raises ConfigError for what the function cannot be called with, a name that is taken, and
        whatever `Step` refuses.
        """
        return self._add

    @property
    def foreach(self) -> Foreach:
        """Add a step that runs over a list: `foreach(function, over, *references, **options)`.

        Each element of `over` in turn (with `parallel=True` beside one another) fills the first
        parameter, the references the others; the output is the list of what is returned, in order.
        Under ALLOW_PARTIAL it holds None for an element that failed.  `when` is asked once, with
        the whole list in the place of the element.  Otherwise as `add`.
        """
        return self._foreach

    def workflow(self, **options: Any) -> Workflow:
        """Return the workflow; `options` are the keywords of `Workflow`.

        Raises ConfigError and PlanError as `Workflow` does.
        """
        if self._inputs:
            if "inputs" in options:
                raise ConfigError(
                    f"wiring '{self._name}' is given inputs= and declares inputs of its own",
                    where=declared_here(),
                    found=", ".join(self._inputs),
                    fix="declare all of them by input(), or none",
                )
            options["inputs"] = _contract_of(self._inputs)
        return Workflow(self._name, [*self._steps.values()], **options)

    def _add(self, action: Any, /, *references: Any, **options: Any) -> Ref[Any]:
        place = declared_here()
        if isinstance(action, Step):
            if references or options:
                raise ConfigError(
                    f"step '{action.name}' is taken as it is",
                    where=place,
                    found="references or options beside it",
                    fix="give its function and its options to add(), not the Step",
                )
            return self._kept(action, place)
        name = self._named(action, options, place)
        keys = self._keys(name, references, place)
        sources = _filled(action, f"step '{name}'", keys, place)
        return self._wired(action, name, sources, keys, options, place)

    def _foreach(self, action: Any, over: Any, /, *references: Any, **options: Any) -> Ref[Any]:
        place = declared_here()
        name = self._named(action, options, place)
        (key,) = self._keys(name, [over], place)
        keys = self._keys(name, references, place)
        sources = _filled(action, f"step '{name}'", [None, *keys], place)
        options["foreach"] = key
        return self._wired(action, name, sources, [key, *keys], options, place)

    def _wired(
        self,
        action: Any,
        name: str,
        sources: Mapping[str, str | None],
        keys: list[str],
        options: dict[str, Any],
        place: Place | None,
    ) -> Ref[Any]:
        after = self._keys(name, options.pop("after", ()), place, what="after=")
        when = options.pop("when", None)
        if when is not None:
            when = _Asked(when, _filled(when, f"when= of step '{name}'", keys, place))
        declared = _declared_options(action, options, place)
        step: Step[Any, Any] = Step(
            name,
            action,
            sources=sources,
            depends_on=[key for key in after if key in self._steps],
            when=when,
            **{**declared, **options},
        )
        return self._kept(step, place)

    def _kept(self, step: Step[Any, Any], place: Place | None) -> Ref[Any]:
        self._refuse_taken(step.name, place)
        self._steps[step.name] = step
        return Ref(step.name, self)

    def _refuse_taken(self, name: str, place: Place | None) -> None:
        if name not in self._steps and name not in self._inputs:
            return
        kind = "a step" if name in self._steps else "an input"
        raise ConfigError(
            f"wiring '{self._name}' has {kind} '{name}' already",
            where=place,
            fix="give this one another name: name='...'",
        )

    def _named(self, action: Any, options: dict[str, Any], place: Place | None) -> str:
        for option, instead in _NOT_TAKEN.items():
            if option in options:
                raise ConfigError(f"a wiring takes no {option}=", where=place, fix=instead)
        if not callable(action):
            raise ConfigError(
                "what is added is no function",
                where=place,
                expected="a function, then references to what fills its parameters",
                found=type(action).__name__,
            )
        declared = declared_step(action)
        name = options.pop("name", None)
        if name is None:
            name = own_name(action) if declared is None else declared.name
        if name == "<lambda>":
            raise ConfigError(
                "a lambda has no name to call its step by",
                where=place,
                fix="add name='...', or write a function",
            )
        return name  # type: ignore[no-any-return]  # Step refuses what is no name

    def _keys(
        self, name: str, references: Iterable[Any], place: Place | None, *, what: str = ""
    ) -> list[str]:
        """Return what references stand for, or refuse them."""
        keys: list[str] = []
        if isinstance(references, (Ref, str)) or not isinstance(references, Iterable):
            raise ConfigError(
                f"{what} of step '{name}' is no list of references",
                where=place,
                found=type(references).__name__,
                fix=f"write {what}[...]",
            )
        for reference in references:
            if not isinstance(reference, Ref):
                called = getattr(reference, "__name__", None) if callable(reference) else None
                raise ConfigError(
                    f"step '{name}' is given something that is no reference",
                    where=place,
                    expected="what input(), add() or foreach() returned"
                    + (what and f", in {what}"),
                    found=type(reference).__name__,
                    fix=f"add {called} first, and give what that returns" if called else None,
                )
            if reference.wiring is not self:
                raise ConfigError(
                    f"step '{name}' is given '{reference.name}' of another wiring",
                    where=place,
                    fix="give the reference that this wiring returned",
                )
            if reference.name in keys:
                raise ConfigError(
                    f"step '{name}' is given '{reference.name}' twice",
                    where=place,
                    fix="give it once, and use it twice in the function",
                )
            keys.append(reference.name)
        return keys


_NOT_TAKEN = {
    "depends_on": "write after=[...] with references",
    "sources": "give references, in the order of the parameters",
    "foreach": "use wiring.foreach(function, over, ...)",
}


class _Asked:
    """A predicate that is asked with references, and says so where its signature is read."""

    def __init__(self, predicate: Callable[..., Any], sources: Mapping[str, str | None]) -> None:
        self.__wrapped__ = predicate
        self.__name__ = own_name(predicate)
        setattr(self, SOURCES, sources)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


def _filled(
    action: Callable[..., Any], who: str, keys: list[Any], place: Place | None
) -> dict[str, str | None]:
    """Say which key each parameter reads, or that the function cannot be called so."""
    if not callable(action):
        raise ConfigError(f"{who} is not callable", where=place, found=type(action).__name__)
    parameters = fillable(action)
    by_position = [p for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    filled = by_position[: len(keys)]
    missing = [p for p in parameters if p not in filled and p.default is p.empty]
    if len(keys) > len(by_position) or missing:
        raise ConfigError(
            f"{own_name(action)}() takes {_counted(by_position)}, and {who} is given {len(keys)}",
            where=place,
            expected=", ".join(map(str, parameters)) or "no references at all",
            found=f"nothing for '{missing[0].name}'" if missing else None,
            fix="references go by position: remove the '*' before it"
            if missing and missing[0] not in by_position
            else f"see {at}"
            if (at := defined_at(action))
            else None,
        )
    return {p.name: key for p, key in zip(filled, keys, strict=True)}


def _counted(parameters: list[inspect.Parameter]) -> str:
    least = sum(p.default is p.empty for p in parameters)
    most = len(parameters)
    number = str(most) if least == most else f"{least} to {most}"
    return f"{number} reference{'' if number == '1' else 's'}"


def _declared_options(
    action: Any, options: Mapping[str, Any], place: Place | None
) -> dict[str, Any]:
    """Return what `@step` was given for a function, to be overridden by what `add` is given."""
    declared = declared_step(action)
    if declared is None:
        return {}
    signature = declared.signature
    if (
        declared.depends_on
        or declared.when
        or declared.sources
        or declared.config.foreach
        or {*(declared.read_keys or ())} - {*signature.reads, *declared.prompted}
    ):
        raise ConfigError(
            f"step '{declared.name}' was declared with names of what it reads",
            where=place,
            expected="no depends_on, read_keys, when, foreach or sources in its @step",
            fix="give references to add() instead",
        )
    kept: dict[str, Any] = {
        "failure_policy": declared.failure_policy,
        "validators": declared.validators,
        "labels": declared.labels,
        "declassify": declared.declassify,
        "touches": declared.touches,
    }
    if declared.input_contract is not None and declared.input_contract is not signature.view:
        kept["input_contract"] = declared.input_contract
    if declared.output_contract is not signature.returns:
        kept["output_contract"] = declared.output_contract
    if declared.write_keys != (declared.name,):
        kept["write_keys"] = declared.write_keys
    if "config" not in options:
        kept |= {
            option: value
            for option in OPTIONS
            if (value := getattr(declared.config, option)) != getattr(DEFAULT_CONFIG, option)
        }
    return kept


def _check_default(name: str, contract: Contract, default: Any, place: Place | None) -> None:
    try:
        contract.check_output(default)
    except ContractBroken as broken:
        raise ConfigError(
            f"the default of input '{name}' breaks its own contract",
            where=place,
            expected=broken.errors[0].expected,
            found=broken.errors[0].actual,
        ) from None


def _contract_of(inputs: Mapping[str, tuple[Any, Any]]) -> Any:
    """Make one contract of all inputs; their names need not be Python's."""
    fields: dict[str, Any] = {
        f"input_{i}": (
            kind,
            Field(alias=name) if default is ABSENT else Field(default, alias=name),
        )
        for i, (name, (kind, default)) in enumerate(inputs.items())
    }
    return create_model("Inputs", __config__=ConfigDict(extra="forbid"), **fields)
