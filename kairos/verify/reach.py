"""Who is upstream of whom, for the pairs that somebody asks about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kairos.plan import TaskGraph

__all__ = ["upstream"]

# Bits of one sweep: wide enough that an ordinary plan takes one, and narrow enough that
# 100,000 steps hold 50 MB, not 1.2 GB.
_SWEEP = 4096


def upstream(
    graph: TaskGraph, pairs: Iterable[tuple[int, int]], *, sweep: int = _SWEEP
) -> set[tuple[int, int]]:
    """Return those `(step, other)` pairs of positions whose `other` lies upstream of `step`.

    Each step holds the set of those above it as the bits of one integer; only positions that
    are asked about have a bit, `sweep` of them at a time.  The graph must have an order.
    """
    asked: dict[int, list[int]] = {}
    for step, other in pairs:
        asked.setdefault(other, []).append(step)
    held: set[tuple[int, int]] = set()
    others = list(asked)
    for start in range(0, len(others), sweep):
        part = others[start : start + sweep]
        above = _sweep(graph, part)
        for nth, other in enumerate(part):
            held |= {(step, other) for step in asked[other] if above[step] >> nth & 1}
    return held


def _sweep(graph: TaskGraph, others: list[int]) -> list[int]:
    own = dict(zip(others, (1 << nth for nth in range(len(others))), strict=True))
    above = [0] * len(graph.steps)
    for i in graph.order:
        bits = 0
        for d in graph.dependencies[i]:
            bits |= above[d] | own.get(d, 0)
        above[i] = bits
    return above
