"""What a lock holds of one workflow: what a run of it has stored, and who reads that how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypeAlias

from typing_extensions import TypedDict

from kairos.contracts.contract import compile_contract
from kairos.enums import FailureAction, ForeachPolicy
from kairos.exceptions import ConfigError
from kairos.redaction.redactor import redactor_with
from kairos.verify.edges.skips import returns_skip
from kairos.verify.lock.contracts import LockedContract, locked_contract, text_of
from kairos.verify.scene import Scene, signature_of_when

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.contracts.contract import Contract
    from kairos.failure import FailurePolicy
    from kairos.step import Step

__all__ = ["Live", "LockedInputs", "LockedReader", "LockedStep", "LockedWorkflow", "lock_of"]

Live: TypeAlias = "dict[str, Contract]"
"""Contracts by their locked form as text."""

Lack = Literal["absent", "hole", "null"]


class LockedReader(TypedDict):
    """A contract that a step holds what it reads to; `key` is empty for all that it sees."""

    key: str
    required: bool
    contract: LockedContract


class LockedStep(TypedDict):
    """One step.

    after:   the steps that it waits for.
    reads:   the keys that it may read; None for any.
    writes:  the keys that it may write.
    foreach: the key that it runs over.
    output:  the contract of what it stores, or of each element where it runs over something.
    may_be:  what may be stored instead: "null", a list with a "hole", or nothing ("absent").
    asks:    what it checks of what it is handed, by the words for it.
    """

    after: list[str]
    reads: list[str] | None
    writes: list[str]
    foreach: str | None
    output: LockedContract | None
    may_be: list[Lack]
    asks: dict[str, LockedReader]


class LockedInputs(TypedDict):
    """What a run is given: under a contract, by names only, or not declared at all."""

    contract: LockedContract | None
    names: list[str] | None
    needs: list[str]


class LockedWorkflow(TypedDict):
    """One workflow; `ends` are the steps whose outputs are its own.

    `module` is its file, seen from the lock's folder, where whoever wrote the lock knew it.
    """

    inputs: LockedInputs
    steps: dict[str, LockedStep]
    ends: list[str]
    module: NotRequired[str]


class _Declared(Protocol):
    @property
    def scene(self) -> Scene: ...


def lock_of(workflow: Scene | _Declared, *, live: Live | None = None) -> LockedWorkflow:
    """Return what a lock holds of a workflow: plain data, the same in every process.

    Runs nothing, and never raises for what is wrong in a contract: that part is then one that
    nothing can be proved of.  `live` is filled with the contracts themselves, for `changes`.
    """
    scene = workflow if isinstance(workflow, Scene) else workflow.scene
    redactor, graph = redactor_with(scene.sensitive_keys), scene.graph
    known: dict[tuple[int, bool], LockedContract] = {}

    def locked(contract: Contract | None, key: str = "") -> LockedContract | None:
        if contract is None:
            return None
        at = id(contract), bool(key) and redactor.is_sensitive(key)
        if at not in known:
            known[at] = locked_contract(contract, redactor, key=key)
            if live is not None:
                live[text_of(known[at])] = live[text_of(_read_only(known[at]))] = contract
        return known[at]

    return LockedWorkflow(
        inputs=LockedInputs(
            contract=locked(scene.contract),
            names=None if scene.inputs is None else sorted(scene.inputs),
            needs=sorted(name for name, needed in graph.expected_inputs.items() if needed),
        ),
        steps={
            step.name: LockedStep(
                after=sorted(graph.steps[i].name for i in graph.dependencies[position]),
                reads=None if step.read_keys is None else sorted(set(step.read_keys)),
                writes=sorted(set(step.write_keys)),
                foreach=step.config.foreach,
                output=locked(step.contracts.output, step.name),
                may_be=sorted(_lacks(step, scene.policy_of(step))),
                asks={
                    told: LockedReader(key=key, required=needed, contract=_read_only(found))
                    for told, key, needed, contract in _readers(step)
                    if (found := locked(contract, key)) is not None
                },
            )
            for position, step in enumerate(graph.steps)
        },
        ends=[step.name for i, step in enumerate(graph.steps) if not graph.dependents[i]],
    )


def _readers(step: Step) -> Iterator[tuple[str, str, bool, Contract | None]]:
    contracts, signature = step.contracts, step.signature
    if contracts.input is not None:
        yield "input_contract", "", True, contracts.input
    for name, contract in contracts.parameters.items():
        if name == signature.item:
            yield "item", step.config.foreach or "", True, contract
        else:
            yield f"parameter '{name}'", name, name in signature.required, contract
    asked = signature_of_when(step)
    if asked is not None:
        for name, note in asked.annotations.items():
            if name in asked.reads:
                told = f"parameter '{name}' of when="
                yield told, name, name in asked.required, _compiled(note)


def _read_only(contract: LockedContract) -> LockedContract:
    """Return a contract without what it lets through, which is stored nowhere."""
    found = LockedContract(accepts=contract["accepts"])
    if "takes" in contract:
        found["takes"] = contract["takes"]
    return found


def _compiled(note: Any) -> Contract | None:
    try:
        return compile_contract(note)
    except ConfigError:
        return None


def _lacks(step: Step, policy: FailurePolicy | None) -> Iterator[Lack]:
    """Yield what may be stored in an output's place."""
    skips = _may_skip(policy)
    if step.when is not None:
        yield "null"
    if step.config.foreach is None:
        if returns_skip(step) and step.when is None:
            yield "null"
        if skips:
            yield "absent"
    elif skips or returns_skip(step) or step.config.foreach_policy is ForeachPolicy.ALLOW_PARTIAL:
        yield "hole"


def _may_skip(policy: FailurePolicy | None) -> bool:
    if policy is None:
        return False
    chosen = {policy.on_execution_fail, policy.on_validation_fail}
    if chosen - {FailureAction.SKIP, FailureAction.ABORT}:
        chosen.add(policy.fallback_action)
    return FailureAction.SKIP in chosen
