"""What nobody wants: outputs that no step reads, and steps that never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.verify.code import returns_nothing
from kairos.verify.findings import Finding, found_in
from kairos.verify.flow.branches import constant_condition
from kairos.verify.reach import upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kairos.verify.scene import Scene

__all__ = ["UNUSED_PASSES"]

_MOST_LOWEST = 16  # beyond that nothing is said: one step below all of them is rare


def _unread(scene: Scene) -> Iterator[Finding]:
    """Find outputs and written keys that no step reads; those of the last steps are the result."""
    graph = scene.graph
    if not scene.sound:
        return
    wanted = {read.key for read in scene.reads}
    unread: list[tuple[int, list[str]]] = []
    for i, step in enumerate(graph.steps):
        if not graph.dependents[i]:
            continue
        keys = [key for key in step.write_keys if key != step.name and key not in wanted]
        is_there_for_a_key = not wanted.isdisjoint(step.write_keys)
        if step.name not in wanted and not (is_there_for_a_key or returns_nothing(step)):
            keys.insert(0, step.name)
        if keys:
            unread.append((i, keys))
    seen = _seen_unnamed(scene, [i for i, _ in unread])
    for i, keys in unread:
        step = graph.steps[i]
        if i in seen:
            continue
        for key in keys:
            own = key == step.name
            yield found_in(
                step,
                "KRS214",
                "has an output that no step reads" if own else f"writes '{key}' for nobody",
                expected="a step that reads it, or no step after this one: then it is the result",
                found=f"{_after(scene, i)} after it, reading other keys",
                fix="have a step read it, or return None where only the order counts"
                if own
                else f"take '{key}' out of write_keys, or have a step read it",
            )


def _seen_unnamed(scene: Scene, steps: list[int]) -> set[int]:
    """Return those steps whose output a step that may read everything can see.

    It can unless it has run before.  So only a step below all of those, or the very last of them,
    is not seen; and it is below all where it is below those that have none of them below.
    """
    lowest = _lowest(
        scene, {i for i, step in enumerate(scene.graph.steps) if step.read_keys is None}
    )
    if not lowest or len(lowest) > _MOST_LOWEST:
        return set(steps) if lowest else set()
    alone = lowest[0] if len(lowest) == 1 else None
    above = upstream(scene.graph, {(i, last) for i in steps for last in lowest})
    return {i for i in steps if i != alone and any((i, last) not in above for last in lowest)}


def _lowest(scene: Scene, chosen: set[int]) -> list[int]:
    """Return those of the chosen steps that have none of the others below them."""
    graph = scene.graph
    leads = [False] * len(graph.steps)
    for i in reversed(graph.order):
        leads[i] = any(leads[d] or d in chosen for d in graph.dependents[i])
    return [i for i in sorted(chosen) if not leads[i]]


def _after(scene: Scene, i: int) -> str:
    count = len(scene.graph.dependents[i])
    return "one step" if count == 1 else f"{count} steps"


def _never(scene: Scene) -> Iterator[Finding]:
    """Find steps whose `when=` gives a literal False."""
    for step in scene.graph.steps:
        if constant_condition(step) is False:
            yield found_in(
                step,
                "KRS222",
                "can never run: its when= is always false",
                expected="a condition on what the step may read",
                found="a function that returns a literal",
                fix="take the step out, or ask for something in its when=",
            )


UNUSED_PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (_unread, _never)
