"""The inputs that a workflow is known to take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kairos.workflow import Workflow

__all__ = ["expected_inputs", "named"]


def named(inputs: Mapping[str, bool | None]) -> str:
    """Render what `expected_inputs` gives: `topic, limit (optional)`."""
    return ", ".join(
        f"{name} (optional)" if needed is False else name for name, needed in inputs.items()
    )


def expected_inputs(workflow: Workflow) -> dict[str, bool | None]:
    """Return the inputs that a workflow is known to take, each with whether a run needs it.

    None means that nothing tells.  They are what it declares, what its typed steps and fan-outs
    read, and what its `read_keys` name that no step writes.
    """
    graph, declared = workflow.graph, workflow.declared_inputs
    inputs: dict[str, bool | None] = dict(sorted(graph.expected_inputs.items()))
    written = {key for step in graph.steps for key in (step.name, *(step.write_keys or ()))}
    for step in graph.steps:
        for key in step.read_keys or ():
            if key not in written:
                inputs.setdefault(key, None)
    for name in sorted(declared or ()):
        inputs.setdefault(name, None)
    return inputs
