"""Asking a replanner for new steps, and holding them to what all steps are held to."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from kairos.engine.options import Replanned, Replanner
from kairos.enums import Severity
from kairos.exceptions import ExecutionError, PlanError
from kairos.failure import ReplanRequest
from kairos.step import as_step

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from kairos.machine import Machine
    from kairos.plan import TaskGraph

__all__ = ["ask", "request_for", "verified"]


def request_for(
    machine: Machine, graph: TaskGraph, step: int, completed: Collection[str]
) -> ReplanRequest | None:
    """Say what is asked: None where no failure asks for a replan."""
    failed = machine.last_failure(step)
    if failed is None:
        return None
    return ReplanRequest(
        graph.steps[step].name,
        failed.error,
        failed.message,
        failed.faults,
        graph.outline,
        tuple(completed),
        machine.replans(step),
    )


def ask(
    replanner: Replanner, request: ReplanRequest, step: int, deliver: Callable[[Any], None]
) -> None:
    """Ask (on a worker's thread: a replanner may take its time) and deliver the answer."""
    try:
        deliver(Replanned(step, _listed(replanner(request)), None))
    except BaseException as error:  # noqa: BLE001 - a replanner may do anything at all
        deliver(Replanned(step, None, error))


def _listed(answer: Any) -> list[Any]:
    if inspect.iscoroutine(answer):
        answer.close()
        raise ExecutionError("a replanner is a plain function, not an async one")
    return list(answer)


def verified(
    graph: TaskGraph, mail: Replanned, inputs: Collection[str]
) -> tuple[TaskGraph, list[str]]:
    """Return the plan with the new steps in it, and their names.

    Raises what the replanner raised, and PlanError or ConfigError for steps that do not hold: they
    are checked as `kairos validate` would check them.
    """
    from kairos.verify import verify_plan  # noqa: PLC0415 - only a replan pays for it

    if mail.error is not None:
        if isinstance(mail.error, Exception):
            raise mail.error
        raise ExecutionError(f"it raised {type(mail.error).__name__}") from None
    name = graph.steps[mail.step].name
    steps = [as_step(each) for each in mail.steps or ()]
    spliced = graph.splice(name, steps)
    names = [each.name for each in steps]
    for finding in verify_plan(spliced, inputs=tuple(inputs)):
        if finding.severity is Severity.ERROR and finding.step in names:
            raise PlanError(f"{finding.code} {finding.message}", step_id=finding.step)
    return spliced, names
