"""Where secrets get to in a large plan, beside what networkx takes for what lies below a step."""

from __future__ import annotations

import gc
import time
from functools import partial
from typing import TYPE_CHECKING

import networkx as nx

from figures import Row, Target, interleaved
from kairos import Step, StepContext, TaskGraph
from kairos.verify.flow.secrets import find_leaks
from kairos.verify.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Scale

__all__ = ["rows"]

_EVERY = 100  # of the steps talks to a model, and as many begin a label


def _passed_on(ctx: StepContext) -> str:
    return repr(ctx)


def _plan(nodes: int) -> TaskGraph:
    """Return a plan in which each step reads the last one and the one half way."""
    steps = []
    for place in range(nodes):
        needs = [f"s{other}" for other in sorted({place - 1, place // 2} - {-1, place})]
        steps.append(
            Step(
                f"s{place}",
                _passed_on,
                depends_on=needs,
                read_keys=needs,
                labels=[f"label{place}"] if place % _EVERY == 0 else (),
                touches=["model"] if place % _EVERY == _EVERY - 1 else (),
            )
        )
    return TaskGraph("plan", steps)


def _labelled(plan: TaskGraph) -> float:
    scene = Scene(plan)
    gc.collect()
    begun = time.process_time()
    found = list(find_leaks(scene))
    taken = time.process_time() - begun
    assert len(found) == len(plan.steps) // _EVERY
    return taken * 1e3


def _below(plan: TaskGraph) -> float:
    graph = plan.dag
    begun = time.process_time()
    found = sum(
        len(nx.descendants(graph, f"s{place}")) for place in range(0, len(plan.steps), _EVERY)
    )
    taken = time.process_time() - begun
    assert found or len(plan.steps) <= 1
    return taken * 1e3


def rows(scale: Scale) -> Iterator[Row]:
    """Measure a plan of 10,000 steps with 100 labels and 100 steps that talk to a model."""
    nodes = scale.size(10_000)
    plan = _plan(nodes)
    sides = {"kairos": partial(_labelled, plan), "floor": partial(_below, plan)}
    found = interleaved(sides, scale.rounds(5))
    what = f"labels through a plan of {nodes:,}"
    yield Row("labels", what, "ms CPU", found["kairos"], found["floor"], Target(3.0, "ratio"))
