"""Building a plan and checking it, before anything runs; and what a finished run keeps."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING

import networkx as nx

from chains import chain
from figures import Row, Target, interleaved
from kairos import Step, StepContext, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Scale

__all__ = ["memory_rows", "rows"]

_TARGETS = {10_000: Target(60.0), 100_000: Target(1_000.0)}
_PARTS = {"dag": "with its networkx graph", "steps": "making its steps", "validate": "validate()"}
_KILOBYTE = 1024


def _nothing(ctx: StepContext) -> None:
    del ctx


def _edges(nodes: int) -> list[tuple[str, list[str]]]:
    """Return names with those they depend on: deep (each on the last) and crossed (and on half)."""
    return [
        (f"s{place}", [f"s{other}" for other in sorted({place - 1, place // 2} - {-1, place})])
        for place in range(nodes)
    ]


def _ordered(nodes: int, order: str) -> list[tuple[str, list[str]]]:
    declared = _edges(nodes)
    if order == "reversed":
        declared.reverse()
    elif order == "shuffled":
        random.Random(nodes).shuffle(declared)  # noqa: S311 - the same disorder every time
    return declared


def _made(declared: list[tuple[str, list[str]]]) -> list[Step]:
    return [Step(name, _nothing, depends_on=needs, read_keys=needs) for name, needs in declared]


def _steps_alone(declared: list[tuple[str, list[str]]]) -> float:
    begun = time.process_time()
    steps = _made(declared)
    taken = time.process_time() - begun
    assert len(steps) == len(declared)
    return taken * 1e3


def _plan(declared: list[tuple[str, list[str]]], *, dag: bool = False) -> float:
    steps = _made(declared)
    gc.collect()  # what making them has left to collect is not the plan's
    begun = time.process_time()
    workflow = Workflow("plan", steps)
    known = len(workflow.graph.dag) if dag else len(workflow.graph.order)
    taken = time.process_time() - begun
    assert known == len(steps)
    return taken * 1e3


def _networkx(declared: list[tuple[str, list[str]]]) -> float:
    begun = time.process_time()
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(name for name, _ in declared)
    graph.add_edges_from((need, name) for name, needs in declared for need in needs)
    sound = nx.is_directed_acyclic_graph(graph)
    taken = time.process_time() - begun
    assert sound
    assert len(graph) == len(declared)
    return taken * 1e3


def _validated(declared: list[tuple[str, list[str]]]) -> float:
    workflow = Workflow("plan", _made(declared))
    gc.collect()
    begun = time.process_time()
    findings = workflow.validate()
    taken = time.process_time() - begun
    assert not findings, findings[0]
    return taken * 1e3


def _plan_rows(full: int, scale: Scale, rounds: int, warm_up: int) -> Iterator[Row]:
    nodes = scale.size(full)
    for order in ("declared", "reversed", "shuffled"):
        given = _ordered(nodes, order)
        sides = {order: partial(_plan, given), "floor": partial(_networkx, given)}
        if order == "declared":
            sides["dag"] = partial(_plan, given, dag=True)
            sides["steps"] = partial(_steps_alone, given)
            if full == min(_TARGETS):
                sides["validate"] = partial(_validated, given)
        found = interleaved(sides, scale.rounds(rounds), warm_up=warm_up)
        floor = found.pop("floor")
        for part, figure in found.items():
            what = f"plan of {nodes:,}, {_PARTS.get(part, part)}"
            target = _TARGETS[full] if part == order else None
            yield Row(f"plan_{full}_{part}", what, "ms CPU", figure, floor, target)


def rows(scale: Scale) -> Iterator[Row]:
    """Measure plans of 10,000 and of 100,000 steps, in three orders of declaration."""
    yield from _plan_rows(10_000, scale, rounds=5, warm_up=1)
    # the smaller ones have warmed everything up
    yield from _plan_rows(100_000, scale, rounds=3, warm_up=0)


def memory_rows(scale: Scale) -> Iterator[Row]:
    """Measure what a run keeps for a step that is done: events, state, recipe."""
    length = scale.size(10_000)
    chain(2).run()  # what is made once for the whole process does not count
    workflow = chain(length)
    gc.collect()
    tracemalloc.start()
    try:
        result = workflow.run()
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] / length / _KILOBYTE
        assert result.reveal(f"s{length - 1}") == length
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        held = {f"s{place}": str(place).encode() for place in range(length)}
        floor = (tracemalloc.get_traced_memory()[0] - before) / length / _KILOBYTE
        assert len(held) == length
    finally:
        tracemalloc.stop()
    what = f"memory kept by a chain of {length:,}"
    yield Row("memory", what, "kB a step", kept, floor, Target(2.0))
