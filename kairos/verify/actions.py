"""Steps that could never do their work: actions, predicates, validators, contracts."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from kairos.contracts.effects import shortfall_of
from kairos.contracts.unreadable import UnreadableContractError
from kairos.exceptions import KairosError
from kairos.signature import read_signature
from kairos.source import defined_at
from kairos.verify.code import mistaken_context
from kairos.verify.findings import Finding, finding_of, found_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kairos.step import Step
    from kairos.verify.scene import Scene

__all__ = ["ACTION_PASSES"]


def _generators(scene: Scene) -> Iterator[Finding]:
    """Find actions that are generators: calling one does none of its work."""
    for step in scene.graph.steps:
        if _is_generator(step.action):
            yield found_in(
                step,
                "KRS209",
                "has a generator as its action, which does nothing when it is called",
                expected="a function that returns its output",
                found=f"`yield` in {_called(step.action)}",
                fix="return a list of what it yields",
            )


def _unimportable(scene: Scene) -> Iterator[Finding]:
    """Find isolated actions that no other process can import."""
    for step in scene.graph.steps:
        if step.config.isolation != "process":
            continue
        name = _qualified(step.action)
        if "<" in name:
            yield found_in(
                step,
                "KRS210",
                "runs in a process of its own, where its action cannot be imported",
                expected="a function at the top of a module",
                found="a lambda" if name.endswith("<lambda>") else "a function inside another",
                fix="define it with `def` at the top of a module",
            )


def _unaskable(scene: Scene) -> Iterator[Finding]:
    """Find predicates that cannot be called, or whose answer is no answer."""
    for step in scene.graph.steps:
        if step.when is None:
            continue
        try:
            signature = read_signature(step.when, step.place)
        except KairosError as error:
            yield finding_of(error, step=step.name, code="KRS211")
            continue
        mistaken = None if signature.typed else mistaken_context(step.when)
        unreadable = [name for name in signature.reads if not _may_read(step, name)]
        if signature.is_async or _is_generator(step.when):
            yield found_in(
                step,
                "KRS211",
                "has a when= that does not answer when it is called",
                expected="a plain function that returns True or False",
                found="an async function" if signature.is_async else "a generator",
                fix="find the answer in a step of its own, and read that step's output here",
            )
        elif mistaken is not None:
            yield found_in(
                step,
                "KRS211",
                f"has a when= that takes its context '{mistaken}' for a value",
                expected="a function of one parameter without an annotation is handed the context",
                found=f"it uses '{mistaken}' as no context can be used",
                fix=_annotated(step.when, mistaken),
            )
        elif unreadable:
            yield found_in(
                step,
                "KRS211",
                f"has a when= that reads '{unreadable[0]}', which the step may not read",
                expected=", ".join(step.read_keys or ()) or "no key at all",
                found=", ".join(unreadable),
                fix=f"add '{unreadable[0]}' to what the step reads",
            )


def _unbuildable(scene: Scene) -> Iterator[Finding]:
    """Find contracts that pydantic cannot build, which would show in the run only."""
    seen: set[int] = set()
    for step in scene.graph.steps:
        contracts = step.contracts
        for contract in (contracts.input, contracts.output, *contracts.parameters.values()):
            if contract is None or id(contract) in seen:
                continue
            seen.add(id(contract))
            try:
                _ = contract.adapter
            except KairosError as error:
                unread = isinstance(error, UnreadableContractError)
                yield finding_of(error, step=step.name, code="KRS101" if unread else "KRS213")
            except Exception as error:  # noqa: BLE001 - a type's own hooks may do anything
                yield found_in(
                    step,
                    "KRS213",
                    f"has a contract that cannot be built: {contract.name}",
                    expected="a type that pydantic can build a schema for",
                    found=type(error).__name__,
                    fix="build it alone first: TypeAdapter(...) shows the whole error",
                )


def _annotated(function: Any, name: str) -> str:
    if getattr(function, "__name__", "") == "<lambda>":
        return f"ask the context: lambda ctx: ... ctx.inputs['{name}'] ..."
    return f"annotate it, as in {name}: dict, or ask a context: ctx.inputs['{name}']"


def _may_read(step: Step, name: str) -> bool:
    return step.read_keys is None or name in step.read_keys


def _is_generator(function: Any) -> bool:
    if not inspect.isroutine(function) and not isinstance(function, functools.partial | type):
        function = getattr(function, "__call__", function)  # noqa: B004 - the method itself
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _qualified(action: Any) -> str:
    while isinstance(action, functools.partial):
        action = action.func
    return str(getattr(action, "__qualname__", ""))


def _called(action: Any) -> str:
    name = getattr(action, "__name__", type(action).__name__)
    place = defined_at(action)
    return f"{name}() at {place}" if place else f"{name}()"


def _in_words(scene: Scene) -> Iterator[Finding]:
    """Find contracts of which a model's provider takes a part only."""
    for step in scene.graph.steps:
        try:
            said = shortfall_of(step.action, step.contracts.output)
        except Exception:  # noqa: BLE001, S112 - of someone else's action; Step has asked it already
            continue
        for each in said:
            yield found_in(
                step,
                "KRS224",
                "has a contract that its model is not held to in full",
                expected="a schema that the provider's structured output takes",
                found=each,
                fix="none is needed where a second try is cheap: the contract is checked here",
            )


ACTION_PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (
    _generators,
    _unimportable,
    _unaskable,
    _unbuildable,
    _in_words,
)
