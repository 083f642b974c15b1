"""What the passes look at: a plan, its declared inputs, and who reads and writes which key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kairos.contracts.contract import Contract
from kairos.exceptions import KairosError, PlanError
from kairos.failure import FailurePolicy
from kairos.plan import TaskGraph
from kairos.signature import Signature, read_signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.step import Step

__all__ = ["PROMPT", "Read", "Scene", "signature_of_when"]

PROMPT = "its prompt"
"""Through what a key is read that a placeholder names."""


class Read(NamedTuple):
    """A step (by position) reads a key: through what, and whether it can do without.

    `direct`: only what the step itself depends on can be seen this way.
    """

    step: int
    key: str
    through: str
    required: bool
    direct: bool = False


@dataclass(frozen=True)
class Scene:
    """A plan under inspection; `inputs` is None when the workflow does not declare them.

    `contract` is that of the inputs, where they have one; `sensitive_keys` are the patterns of the
    workflow for names that hold secrets, besides the known ones.  `assume_closed` lets an edge hold
    where only keys that a step returns without having declared them could break it.
    """

    graph: TaskGraph
    inputs: frozenset[str] | None = None
    strict: bool = False
    failure_policy: FailurePolicy | None = None
    contract: Contract | None = None
    sensitive_keys: tuple[str, ...] = ()
    assume_closed: bool = True

    @cached_property
    def sound(self) -> bool:
        """Whether names are unique and there is an order: else nothing is upstream of anything."""
        try:
            return len(self.graph.order) == len(self.graph.index)
        except PlanError:
            return False

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """Every read that the steps declare, in declaration order."""
        return tuple(read for i, step in enumerate(self.graph.steps) for read in _reads_of(i, step))

    @cached_property
    def writers(self) -> dict[str, list[int]]:
        """The positions of the steps that may write each key, in declaration order."""
        writers: dict[str, list[int]] = {}
        for i, step in enumerate(self.graph.steps):
            name = step.name
            writers.setdefault(name, []).append(i)  # an output is stored whatever write_keys say
            for key in step.write_keys:
                if key != name:
                    writers.setdefault(key, []).append(i)
        return writers

    def policy_of(self, step: Step) -> FailurePolicy | None:
        """Return the policy that rules a step, where one is declared."""
        return step.failure_policy or self.failure_policy


def _reads_of(i: int, step: Step) -> Iterator[Read]:
    named = {step.config.foreach}
    for read in _needed(i, step):
        if read.key not in named or read.through == "foreach":
            named.add(read.key)
            yield read
    if step.read_keys is not None:
        for key in step.read_keys:
            if key not in named:
                named.add(key)
                yield Read(i, key, "read_keys", required=True)
    elif step.when is not None and (asked := signature_of_when(step)):
        for name in asked.reads:
            if name not in named:
                yield Read(i, name, "when=", required=name in asked.required, direct=True)


def _needed(i: int, step: Step) -> Iterator[Read]:
    """Give the reads that an action cannot do without, or has a parameter for."""
    signature, foreach = step.signature, step.config.foreach
    if foreach is not None:
        yield Read(i, foreach, "foreach", required=True)
    for name in signature.reads:
        yield Read(i, name, signature.through(name), required=name in signature.required)
    for name in step.prompted:
        yield Read(i, name, PROMPT, required=True)


def signature_of_when(step: Step) -> Signature | None:
    """Return how `when=` is called, or None where it has none or its signature is refused."""
    if step.when is None:
        return None
    try:
        return read_signature(step.when, step.place)
    except KairosError:
        return None
