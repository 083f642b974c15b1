"""What can be wrong with a plan, in words: each function gives the PlanError for one fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.exceptions import PlanError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kairos.step import Step

__all__ = [
    "CycleError",
    "DuplicateStepError",
    "GraphError",
    "MissingDependencyError",
    "SelfDependencyError",
    "cycle",
    "duplicate",
    "missing",
    "selfish",
]

_SHOWN_IN_A_CYCLE = 12


class GraphError(PlanError):
    """A fault of a graph; `others` are the faults that came to light with it."""

    others: tuple[PlanError, ...] = ()


class DuplicateStepError(GraphError):
    """Two steps bear one name."""


class SelfDependencyError(GraphError):
    """A step waits for its own output."""


class MissingDependencyError(GraphError):
    """A step depends on a name that no step bears."""


class CycleError(GraphError):
    """Steps wait for one another."""


def duplicate(step: Step, first: Step) -> PlanError:
    """Say that `step` bears the name of `first`."""
    return DuplicateStepError(
        f"two steps are named '{step.name}'",
        step_id=step.name,
        where=step.place,
        found=f"the first at {first.place}" if first.place else None,
        fix="rename one of them",
    )


def selfish(step: Step) -> PlanError:
    """Say that `step` depends on itself, and through what."""
    if step.name in step.depends_on:
        how, fix = "", f"take '{step.name}' out of its depends_on"
    else:
        by = "its foreach" if step.config.foreach == step.name else "one of its parameters"
        how, fix = f" through {by}", "rename the step, or what it reads"
    return SelfDependencyError(
        f"step '{step.name}' depends on itself{how}", step_id=step.name, where=step.place, fix=fix
    )


def missing(step: Step, name: str, names: Iterable[str]) -> PlanError:
    """Say that `step` depends on what is no step; the nearest of `names` is offered."""
    return MissingDependencyError(
        f"step '{step.name}' depends on '{name}', which is no step of this plan",
        step_id=step.name,
        where=step.place,
        expected="the name of a step",
        found=f"'{name}'",
        fix=did_you_mean(name, names)
        or f"add the step '{name}', or take it out: an input needs no depends_on",
    )


def cycle(steps: Sequence[Step]) -> PlanError:
    """Say that `steps`, each before the next, wait for one another: `a → b → a`."""
    shown = [*steps, steps[0]]
    names, places = ([f(step) for step in shown] for f in (lambda s: s.name, _with_place))
    return CycleError(
        f"steps wait for one another: {_path(names)}",
        step_id=steps[0].name,
        where=steps[0].place,
        expected="a plan without a cycle",
        found=_path(places),
        fix=f"take '{steps[-1].name}' out of what '{steps[0].name}' depends on, or break the"
        " cycle elsewhere",
    )


def _with_place(step: Step) -> str:
    return f"{step.name} ({step.place})" if step.place else step.name


def _path(names: Sequence[str]) -> str:
    if len(names) > _SHOWN_IN_A_CYCLE:
        left_out = f"… {len(names) - _SHOWN_IN_A_CYCLE} more …"
        names = [*names[: _SHOWN_IN_A_CYCLE - 2], left_out, *names[-2:]]
    return " → ".join(names)
