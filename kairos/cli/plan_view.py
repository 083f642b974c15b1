"""A workflow's plan in words, before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.cli.expected import expected_inputs, named
from kairos.cli.output import count
from kairos.cli.tree import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.plan import TaskGraph
    from kairos.step import Step
    from kairos.workflow import Workflow

__all__ = ["plan_document", "plan_lines", "step_lines"]

_LARGE = 500  # steps from which a tree would be no help


def plan_lines(workflow: Workflow) -> Iterator[str]:
    """Draw the plan as a tree; a very large one as a list in the order it may run."""
    graph = workflow.graph
    inputs = named(expected_inputs(workflow))
    yield f"{workflow.name}  {count(len(graph.steps), 'step')}" + (
        f"  inputs: {inputs}" if inputs else ""
    )
    flat = len(graph.steps) > _LARGE
    drawn = [("", name) for name in graph.outline] if flat else layout(graph.outline)
    column = max(len(before) + len(name) for before, name in drawn)
    for before, name in drawn:
        label = (before + name).ljust(column)
        yield f"{label}  {_traits(graph.get_step(name), graph)}".rstrip()


def _traits(step: Step, graph: TaskGraph) -> str:
    config = step.config
    after = [each.name for each in graph.get_dependencies(step.name)]
    traits = [f"after {', '.join(after)}"] if len(after) > 1 or len(graph.steps) > _LARGE else []
    traits += [f"foreach {config.foreach}"] if config.foreach else []
    traits += ["parallel"] if config.parallel else []
    traits += ["when"] if step.when is not None else []
    traits += [f"isolation {config.isolation}"] if config.isolation != "none" else []
    traits += [f"timeout {config.timeout:g} s"] if config.timeout is not None else []
    return " · ".join(traits)


def step_lines(step: Step, graph: TaskGraph) -> Iterator[str]:
    """Say all that is declared of a step."""
    after = ", ".join(each.name for each in graph.get_dependencies(step.name))
    before = ", ".join(each.name for each in graph.get_dependents(step.name))
    reads = "anything" if step.read_keys is None else ", ".join(step.read_keys) or "nothing"
    yield step.name
    for label, told in (
        ("declared at", "" if step.place is None else str(step.place)),
        ("after", after),
        ("before", before),
        ("reads", reads),
        ("writes", ", ".join(step.write_keys or ())),
        ("takes", _contract(step.input_contract)),
        ("returns", _contract(step.output_contract)),
        ("options", _traits(step, graph)),
        ("on failure", _policy(step)),
    ):
        if told:
            yield f"  {label:<11}  {told}"


def _contract(contract: Any) -> str:
    return "" if contract is None else str(getattr(contract, "__name__", contract))


def _policy(step: Step) -> str:
    policy = step.failure_policy
    if policy is None:
        return f"{count(step.config.retries, 'retry')}" if step.config.retries else ""
    return (
        f"{policy.on_execution_fail} (broken contract: {policy.on_validation_fail}),"
        f" at most {policy.max_retries} retries, then {policy.fallback_action}"
    )


def plan_document(workflow: Workflow, step: str | None) -> dict[str, Any]:
    """Return the workflow as plain data, or one step of it."""
    document = workflow.to_dict()
    if step is None:
        return {**document, "inputs": expected_inputs(workflow)}
    found: dict[str, Any] = next(each for each in document["steps"] if each["name"] == step)
    return found
