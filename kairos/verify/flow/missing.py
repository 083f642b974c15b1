"""Keys that are produced upstream, but not always."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from kairos.enums import FailureAction
from kairos.verify.findings import Finding, found_in
from kairos.verify.flow.branches import cover_all
from kairos.verify.flow.keys import listed
from kairos.verify.reach import upstream
from kairos.verify.usages import usage_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kairos.failure import FailurePolicy
    from kairos.step import Step
    from kairos.verify.scene import Read, Scene

__all__ = ["MISSING_PASSES", "policy_skips"]

_MOST_PAIRED = 50


def _may_be_left_out(scene: Scene) -> Iterator[Finding]:
    """Find reads without a default of what a policy may leave out."""
    for read in scene.reads:
        step = scene.graph.steps[read.step]
        position = scene.graph.index.get(read.key)
        if not read.required or position is None or read.key in (scene.inputs or ()):
            continue
        producer = scene.graph.steps[position]
        # in a foreach the policy skips elements, never the list
        if producer.config.foreach is not None or not policy_skips(scene.policy_of(producer)):
            continue
        if read.through == "when=" or (read.through == "read_keys" and not _insists(step, read)):
            continue  # `ctx.inputs.get` can do without
        mended = [f"choose another action for {producer.name}"]
        if read.through == "read_keys":
            mended.insert(0, f"ask for it with .get('{read.key}')")
        elif read.through.startswith("its parameter"):
            mended.insert(0, f"give {read.through} a default")
        yield found_in(
            step,
            "KRS208",
            f"needs '{read.key}' through {read.through}, and the policy of {producer.name}"
            " may skip it, which stores nothing",
            expected="a step that ends with an output",
            found=f"a policy with the action {FailureAction.SKIP}",
            fix=", or ".join(mended),
        )


def _insists(step: Step, read: Read) -> bool:
    """Say whether the code of a step is seen to ask for a key without a default."""
    usage = usage_in(step)
    return usage is not None and read.key in usage.needs


def _conditional(scene: Scene) -> Iterator[Finding]:
    """Find keys that each step upstream that writes them may leave unwritten.

    The output of a step is no such key: None is stored where its `when=` is false.
    """
    if not scene.sound:
        return
    graph, inputs = scene.graph, scene.inputs or frozenset()
    reads = [
        (read, writers)
        for read in scene.reads
        if read.required
        and read.key not in graph.index
        and read.key not in inputs
        and (writers := scene.writers.get(read.key))
        and read.step not in writers
        and all(_why_not(scene, graph.steps[i]) for i in writers)
    ]
    above = upstream(graph, {(read.step, i) for read, writers in reads for i in writers})
    for read, writers in reads:
        upon = [graph.steps[i] for i in writers if (read.step, i) in above]
        if upon and not _covered(scene, upon) and not _does_without(graph.steps[read.step], read):
            yield _left_out(scene, read, upon)


def _left_out(scene: Scene, read: Read, writers: list[Step]) -> Finding:
    reasons = [f"{each.name} {_why_not(scene, each)}" for each in writers]
    return found_in(
        scene.graph.steps[read.step],
        "KRS216",
        f"reads '{read.key}' through {read.through}, which may be left unwritten",
        expected="a step upstream that always writes it",
        found=listed(reasons),
        fix=f"have a step without a condition write '{read.key}' first, or read it with a default",
    )


def _why_not(scene: Scene, step: Step) -> str | None:
    """Say why a step may leave the keys that it writes besides its output unwritten."""
    if step.when is not None:
        return "writes it under its when= only"
    if step.config.foreach is not None:
        return f"writes it for the elements of '{step.config.foreach}', of which there may be none"
    if policy_skips(scene.policy_of(step)):
        return "may be skipped by its failure policy"
    return None


def _covered(scene: Scene, writers: list[Step]) -> bool:
    """Say whether two branches, of which one always holds, write the key."""
    sure = [
        each
        for each in writers[:_MOST_PAIRED]
        if each.when is not None
        and each.config.foreach is None
        and not policy_skips(scene.policy_of(each))
    ]
    return any(cover_all(scene, *pair) for pair in combinations(sure, 2))


def _does_without(step: Step, read: Read) -> bool:
    """Say whether the code of a step is seen to ask for a key with a default only."""
    if read.through != "read_keys":
        return False
    usage = usage_in(step)
    return usage is not None and read.key not in usage.needs


def policy_skips(policy: FailurePolicy | None) -> bool:
    """Say whether a policy may end a step without an output."""
    if policy is None:
        return False
    on_failure = {policy.on_execution_fail, policy.on_validation_fail}
    falls_back = on_failure - {FailureAction.SKIP, FailureAction.ABORT}
    return FailureAction.SKIP in on_failure or (
        bool(falls_back) and policy.fallback_action is FailureAction.SKIP
    )


MISSING_PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (_may_be_left_out, _conditional)
