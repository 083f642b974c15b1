"""Keys for which steps race: two that write one, or one that reads it while another writes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from kairos.enums import Severity
from kairos.verify.findings import Finding, found_in
from kairos.verify.flow.branches import exclude_one_another
from kairos.verify.flow.keys import listed
from kairos.verify.reach import upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kairos.step import Step
    from kairos.verify.scene import Read, Scene

__all__ = ["RACE_PASSES"]


def _write_races(scene: Scene) -> Iterator[Finding]:
    """Find keys with several writers that are not all in line.

    Writers are in line when each of them, in topological order, is upstream of the next.  Serial
    steps at least write in the order of their declaration; those that run beside others do not.
    """
    if not scene.sound:
        return
    shared = {key: writers for key, writers in scene.writers.items() if len(writers) > 1}
    if not shared:
        return
    rank = {i: nth for nth, i in enumerate(scene.graph.order)}
    neighbours = {
        key: list(pairwise(sorted(writers, key=rank.__getitem__)))
        for key, writers in shared.items()
    }
    asked = {(later, first) for pairs in neighbours.values() for first, later in pairs}
    above = upstream(scene.graph, asked)
    steps = scene.graph.steps
    for key, pairs in neighbours.items():
        loose = [
            (first, later)
            for first, later in pairs
            if (later, first) not in above
            and not exclude_one_another(scene, steps[first], steps[later])
        ]
        if loose:
            yield _race(scene, key, loose)


def _race(scene: Scene, key: str, loose: list[tuple[int, int]]) -> Finding:
    steps = scene.graph.steps
    pairs = [(steps[a], steps[b]) for a, b in loose]
    racing = [pair for pair in pairs if _at_once(*pair)]
    first, later = (racing or pairs)[0]
    names = list(dict.fromkeys(step.name for pair in pairs for step in pair))
    return found_in(
        later,
        "KRS205",
        f"{listed(names)} may write '{key}', and nothing says which of them does so last",
        severity=None if racing else Severity.WARNING,
        expected="one writer for a key, or writers that depend on one another",
        found="steps that run at the same time" if racing else "an order by declaration alone",
        fix=f"give each a key of its own, or add depends_on=['{first.name}'] to {later.name}",
    )


def _at_once(one: Step, other: Step) -> bool:
    beside = one.config.parallel or other.config.parallel
    # conditions that cannot be proved to exclude one another mostly do
    return beside and not (one.when is not None and other.when is not None)


def _read_races(scene: Scene) -> Iterator[Finding]:
    """Find reads of a key that has a value, and that another step may replace meanwhile.

    A key whose writers all stand beside its reader is not told here: it is not produced upstream.
    """
    if not scene.sound:
        return
    inputs = scene.inputs or frozenset()
    reads = [
        (read, others)
        for read in scene.reads
        if (others := [i for i in scene.writers.get(read.key, ()) if i != read.step])
        and (len(others) > 1 or read.key in inputs)
    ]
    pairs = {(a, b) for read, others in reads for i in others for a, b in _ways(read.step, i)}
    above = upstream(scene.graph, pairs)
    steps = scene.graph.steps
    for read, others in reads:
        given = read.key in inputs or any((read.step, i) in above for i in others)
        beside = [
            i
            for i in others
            if (read.step, i) not in above
            and (i, read.step) not in above
            and not exclude_one_another(scene, steps[read.step], steps[i])
        ]
        if given and beside:
            yield _read_race(scene, read, [steps[i] for i in beside])


def _ways(one: int, other: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return ((one, other), (other, one))


def _read_race(scene: Scene, read: Read, beside: list[Step]) -> Finding:
    step = scene.graph.steps[read.step]
    racing = [each for each in beside if _at_once(step, each)]
    writer = (racing or beside)[0]
    found = "an order by declaration alone"
    if racing:
        found = f"{listed([each.name for each in racing])}, which may run at the same time"
    elif step.when is not None and writer.when is not None:
        found = "two conditions, of which nothing says that they exclude one another"
    return found_in(
        step,
        "KRS215",
        f"reads '{read.key}' through {read.through}, and"
        f" {listed([each.name for each in beside])} may write it before or after",
        severity=None if racing else Severity.WARNING,
        expected="each writer of a key it reads upstream or downstream",
        found=found,
        fix=f"have {writer.name} write a key of its own, or add depends_on=['{writer.name}']"
        f" to {step.name}",
    )


RACE_PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (_write_races, _read_races)
