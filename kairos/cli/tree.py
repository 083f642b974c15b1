"""A plan drawn as a tree: where it forks it is indented, and where it joins it comes back.

A graph is no tree.  What follows from one step alone stands below it, on the same level while
nothing runs beside it; what joins several continues the level of the step they all come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["layout"]


class _Thread:
    """Steps one after another; `beside` holds, for each, the threads that fork off it."""

    def __init__(self, above: str | None) -> None:
        self.above = above
        self.steps: list[str] = []


def layout(plan: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return each step with the lines to draw before it, from top to bottom.

    `plan` maps each step to those it waits for, in topological order.  The work grows with the
    depth of the plan for each join: it is for plans that a screen can hold.
    """
    threads: dict[str, _Thread] = {}
    forks: dict[str | None, list[_Thread]] = {None: []}
    followers = _followers(plan)
    for step, after in plan.items():
        known = [each for each in after if each in threads]
        source = _source(known, threads)
        alone = source is not None and len(known) == 1 and len(followers[source]) == 1
        if source is not None and (alone or len(known) > 1):
            thread = threads[source]
        else:
            thread = _Thread(source)
            forks.setdefault(source, []).append(thread)
        thread.steps.append(step)
        threads[step] = thread
    return list(_drawn(forks[None], forks, ""))


def _followers(plan: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return what waits for each step and for nothing else."""
    followers: dict[str, list[str]] = {step: [] for step in plan}
    for step, after in plan.items():
        if len(after) == 1 and after[0] in followers:
            followers[after[0]].append(step)
    return followers


def _source(after: Sequence[str], threads: Mapping[str, _Thread]) -> str | None:
    """Return the nearest step from which all of `after` come, or None."""
    if len(after) <= 1:
        return after[0] if after else None
    common: list[str] | None = None
    for each in after:
        above = [*_above(each, threads)]
        common = above if common is None else [step for step in common if step in set(above)]
    return common[0] if common else None


def _above(step: str, threads: Mapping[str, _Thread]) -> Iterator[str]:
    at: str | None = step
    while at is not None:
        thread = threads[at]
        yield from reversed(thread.steps[: thread.steps.index(at) + 1])
        at = thread.above


def _drawn(
    threads: Sequence[_Thread], forks: Mapping[str | None, Sequence[_Thread]], before: str
) -> Iterator[tuple[str, str]]:
    """Draw threads side by side; a lone one keeps all its steps on this level."""
    rows: list[tuple[str, Sequence[_Thread], tuple[str, ...]]]
    if len(threads) == 1:
        rows = [(step, forks.get(step, ()), ()) for step in threads[0].steps]
    else:
        rows = [(t.steps[0], forks.get(t.steps[0], ()), tuple(t.steps[1:])) for t in threads]
    for number, (step, below, then) in enumerate(rows):
        last = number == len(rows) - 1
        yield before + ("└─ " if last else "├─ "), step
        deeper = before + ("   " if last else "│  ")
        if then:
            thread = _Thread(step)
            thread.steps = list(then)
            if below:
                yield from _drawn([*below, thread], forks, deeper)
            else:
                yield from _drawn([thread], forks, deeper)
        elif below:
            yield from _drawn(below, forks, deeper)
