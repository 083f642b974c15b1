"""What a step finds under a key when it starts: from whom, of which contract, and what else."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kairos.contracts.contract import Contract
from kairos.enums import FailureAction, ForeachPolicy
from kairos.verify.edges.skips import returns_skip
from kairos.verify.reach import upstream

if TYPE_CHECKING:
    from kairos.failure import FailurePolicy
    from kairos.verify.scene import Scene

__all__ = ["Cause", "Handed", "Sources"]


class Cause(NamedTuple):
    """Why something else than an output arrives: in words, and what the producer could do."""

    told: str
    fix: str


class Handed(NamedTuple):
    """What stands under a key.

    key:        its name.
    producers:  the positions of the steps it comes from; empty for an input.
    contract:   what rules the value, or each element where it is a list of outputs (`is_list`),
                or all inputs of the workflow (`of_inputs`).
    over:       what a list of outputs has as many elements as.
    nulls:      why it may be None instead.
    holes:      why elements may be None.
    absent:     why there may be nothing at all.
    assuming:   what all of this rests on.
    gap:        why nothing is known of it; `is_boundary`, since it comes from outside.
    """

    key: str
    producers: tuple[int, ...] = ()
    contract: Contract | None = None
    is_list: bool = False
    over: Handed | None = None
    of_inputs: bool = False
    nulls: tuple[Cause, ...] = ()
    holes: tuple[Cause, ...] = ()
    absent: tuple[Cause, ...] = ()
    assuming: str = ""
    gap: str = ""
    is_boundary: bool = False


class Sources:
    """Knows of each step what it finds; looks at each step once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._steps = scene.graph.steps
        self._outputs: dict[int, Handed] = {}
        self._needs = [frozenset(each) for each in scene.graph.dependencies]

    def of(self, step: int, key: str) -> Handed | None:
        """Return what a step finds under a key; None where there never is anything."""
        reads = self._steps[step].read_keys
        if reads is None:
            position = self._scene.graph.index.get(key)
            # an input is shown as it was given, whatever was written over it
            return self._held(step, key) if position in self._needs[step] else self._input(key)
        return self._held(step, key) if key in reads else None

    def keys(self, step: int) -> tuple[str, ...]:
        """Return the keys that `ctx.inputs` of a step may show, as far as they are declared."""
        each = self._steps[step]
        if each.read_keys is not None:
            return each.read_keys
        needs = [self._steps[i].name for i in self._scene.graph.dependencies[step]]
        return tuple(dict.fromkeys((*needs, *sorted(self._scene.inputs or ()))))

    def shows_more(self, step: int) -> bool:
        """Say whether a step sees keys that nobody declares: inputs, of any name."""
        return self._steps[step].read_keys is None and self._scene.inputs is None

    def _held(self, step: int, key: str) -> Handed | None:
        writers = [i for i in self._scene.writers.get(key, ()) if i != step]
        if not writers:
            return self._input(key)
        names = [self._steps[i].name for i in writers]
        if len(writers) > 1:
            return Handed(key, tuple(writers), gap=f"'{key}' is written by {', '.join(names)}")
        (writer,) = writers
        if names[0] != key:
            told = f"'{key}' is written by {names[0]} through write_keys, under no contract"
            return Handed(key, (writer,), gap=told)
        if writer not in self._needs[step] and (step, writer) not in self._above:
            return Handed(key, (writer,), gap=f"{key} need not have run before")
        return self._output(writer)

    def _input(self, key: str) -> Handed | None:
        scene = self._scene
        if scene.inputs is not None and key not in scene.inputs:
            return None
        if scene.contract is not None:
            return Handed(key, contract=scene.contract, of_inputs=True)
        said = "has no contract" if scene.inputs is not None else "is not declared"
        return Handed(key, gap=f"the input '{key}' {said}", is_boundary=True)

    @cached_property
    def _above(self) -> set[tuple[int, int]]:
        """The pairs of a step and a writer of a key it reads, upstream of it but not next to it."""
        scene, asked = self._scene, set()
        if not scene.sound:
            return set()
        for i, step in enumerate(self._steps):
            for key in step.read_keys or ():
                asked |= {(i, j) for j in scene.writers.get(key, ()) if j not in self._needs[i]}
        return upstream(scene.graph, asked)

    def _output(self, position: int) -> Handed:
        found = self._outputs.get(position)
        if found is None:
            found = self._outputs[position] = self._told(position)
        return found

    def _over(self, position: int) -> Handed | None:
        """Return what the first foreach of a row of them runs over."""
        index, seen = self._scene.graph.index, {position}
        key = self._steps[position].config.foreach
        while key is not None:
            before = index.get(key)
            if before is None or self._steps[before].config.foreach is None:
                return self.of(position, key)
            if before in seen:
                break
            seen.add(before)
            position, key = before, self._steps[before].config.foreach
        return None

    def _told(self, position: int) -> Handed:
        step = self._steps[position]
        policy = self._scene.policy_of(step)
        skips = _may_skip(policy)
        name, contract = step.name, step.contracts.output
        gap = "" if contract is not None else f"{name} declares no contract"
        nulls, holes, absent = [], [], []
        if step.when is not None:
            told = f"{name} has a when=, and where it is false it delivers None"
            nulls.append(Cause(told, f"take the when= from {name}"))
        returned = Cause(
            f"{name} may return SKIP, which delivers None",
            f"return a value instead of SKIP in {name}",
        )
        other = Cause(
            f"the policy of {name} may skip it, which stores nothing",
            f"choose another action in the policy of {name}",
        )
        if step.config.foreach is None:
            nulls += [returned] if returns_skip(step) else []
            absent += [other] if skips else []
        else:
            holes += [returned] if returns_skip(step) else []
            if step.config.foreach_policy is ForeachPolicy.ALLOW_PARTIAL:
                told = f"{name} allows partial results, and an element that fails delivers None"
                holes.append(Cause(told, f"let {name} fail where an element fails"))
            if skips:
                told = f"the policy of {name} may skip elements, which deliver None"
                holes.append(Cause(told, other.fix))
                guarded = step.when is not None or step.contracts.input is not None
                absent += [other] if guarded else []
        assuming = ""
        if absent and self._scene.inputs is None:
            assuming = f"no input is given the name '{name}'"
        elif absent and name in (self._scene.inputs or ()):
            gap = gap or f"the input '{name}' stands where the step of its name is skipped"
        return Handed(
            name, (position,), contract, step.config.foreach is not None, self._over(position),
            nulls=tuple(nulls), holes=tuple(holes), absent=tuple(absent),
            assuming=assuming, gap=gap,
        )  # fmt: skip


def _may_skip(policy: FailurePolicy | None) -> bool:
    if policy is None:
        return False
    chosen = {policy.on_execution_fail, policy.on_validation_fail}
    chosen |= (
        {policy.fallback_action} if chosen - {FailureAction.SKIP, FailureAction.ABORT} else set()
    )
    asked = FailureAction.CUSTOM in chosen and policy.custom_handler is not None
    return FailureAction.SKIP in chosen or asked
