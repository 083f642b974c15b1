"""Keys that nothing produces, or nothing upstream, and steps that do not say what they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.enums import Severity
from kairos.verify.code import mistaken_context
from kairos.verify.findings import Finding, found_in
from kairos.verify.names import Names
from kairos.verify.reach import upstream
from kairos.verify.scene import PROMPT
from kairos.verify.usages import usage_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kairos.step import Step
    from kairos.verify.scene import Read, Scene

__all__ = ["KEY_PASSES", "listed"]

_SHOWN = 5


def _unknown_keys(scene: Scene) -> Iterator[Finding]:
    """Find keys that no step writes and no declared input bears."""
    known = Names((*scene.writers, *sorted(scene.inputs or ())))
    for read in scene.reads:
        if read.through == PROMPT:  # see flow.prompts
            continue
        if read.key in scene.writers or (scene.inputs is not None and read.key in scene.inputs):
            continue
        step = scene.graph.steps[read.step]
        if scene.inputs is None:
            near = known.near(read.key)
            if near is not None:
                yield found_in(
                    step,
                    "KRS202",
                    f"reads '{read.key}' through {read.through}; nothing produces it, so it is"
                    " taken to be an input",
                    expected=f"'{near}', perhaps",
                    fix=f"write '{near}', or declare the inputs: {_inputs(scene)}",
                )
            continue
        yield found_in(
            step,
            "KRS201",
            f"reads '{read.key}' through {read.through}, and nothing produces it",
            severity=None if read.required else Severity.WARNING,
            expected="the name of a step, a key that one writes, or a declared input",
            found=f"'{read.key}'",
            fix=known.suggestion(read.key) or f"add '{read.key}' to the workflow's inputs",
        )


def _inputs(scene: Scene) -> str:
    """Write down what is taken to be an input, unless it is too much for a line."""
    keys = list(dict.fromkeys(read.key for read in scene.reads if read.key not in scene.writers))
    return f"Workflow(inputs={keys if len(keys) <= _SHOWN else '[...]'})"


def _not_upstream(scene: Scene) -> Iterator[Finding]:
    """Find keys that are read where no step that writes them need have run."""
    if not scene.sound:
        return
    inputs = scene.inputs or frozenset()
    open_reads: list[tuple[Read, list[int]]] = []
    at, needs = -1, frozenset[int]()  # a step that gathers 10,000 outputs looks each of them up
    for read in scene.reads:
        writers = scene.writers.get(read.key, ())
        if not writers or read.key in inputs:
            continue
        others = [i for i in writers if i != read.step]
        if len(others) < len(writers) and scene.graph.steps[read.step].name != read.key:
            continue  # a step that reads what it wrote for an earlier element
        if at != read.step:
            at, needs = read.step, frozenset(scene.graph.dependencies[read.step])
        if needs.isdisjoint(others):
            open_reads.append((read, others))
    above = upstream(
        scene.graph,
        {pair for read, others in open_reads for i in others for pair in _both(read.step, i)},
    )
    for read, others in open_reads:
        if read.direct or not any((read.step, i) in above for i in others):
            yield _unreached(scene, read, others, above)


def _both(one: int, other: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return ((one, other), (other, one))


def _unreached(scene: Scene, read: Read, others: list[int], above: set[tuple[int, int]]) -> Finding:
    graph = scene.graph
    step = graph.steps[read.step]
    # a key that is no step's name can be an input that a later step writes again
    maybe_given = scene.inputs is None and read.key not in graph.index
    beside = [graph.steps[i].name for i in others if (i, read.step) not in above]
    if read.direct and any((read.step, i) in above for i in others):
        found = f"{listed(beside)}, which runs before, but is not among what it depends on"
        fix = f"add depends_on=['{beside[0]}']"
    elif not others:
        found, fix = "nothing: a step's own output is there when it has ended", "read another key"
    elif beside:
        found = f"{listed(beside)}, which need not have run before"
        fix = f"add depends_on=['{beside[0]}']"
    else:
        found = f"{listed([graph.steps[i].name for i in others])}, which runs after it"
        fix = "read a key that is produced before, or turn the order round"
    return found_in(
        step,
        "KRS203",
        f"reads '{read.key}' through {read.through}, and no step upstream produces it",
        severity=Severity.WARNING if maybe_given else None,
        expected=f"a step that {step.name} depends on",
        found=found,
        fix=f"{fix}, or declare it as an input" if maybe_given else fix,
    )


def _unscoped(scene: Scene) -> Iterator[Finding]:
    """Find steps that may read everything, since they do not say what they read."""
    for step in scene.graph.steps:
        if step.read_keys is None:
            yield found_in(
                step,
                "KRS204",
                "does not say what it reads, so it may read everything",
                severity=Severity.ERROR if scene.strict else None,
                expected="read_keys, or a typed function" + (" (strict)" if scene.strict else ""),
                fix=_scoped(step),
            )


def _scoped(step: Step) -> str:
    """Say what to declare: what the code asks for, where that can be told, or where to begin."""
    usage = usage_in(step)
    value = None if step.signature.typed else mistaken_context(step.action)
    if value is not None:
        return f"annotate '{value}', which is handed the context otherwise: {value}: list, say"
    if usage is None:
        begun = listed([f"'{name}'" for name in step.depends_on])
        return f"add read_keys=[{begun}] and the inputs it reads"
    asked = [*usage.needs, *usage.asks, *usage.looks]
    asked += [step.config.foreach] if step.config.foreach else []
    keys = [key for key in dict.fromkeys(asked) if key not in usage.sets]
    return f"add read_keys={keys}: its code asks for {'no more' if keys else 'nothing'}"


def _clashes(scene: Scene) -> Iterator[Finding]:
    """Find steps that bear the name of a declared input."""
    for step in scene.graph.steps:
        if scene.inputs is not None and step.name in scene.inputs:
            yield found_in(
                step,
                "KRS206",
                "has the name of an input, whose value its output replaces",
                expected="a name of its own",
                fix="rename the step or the input",
            )


def listed(names: Sequence[str], *, most: int = _SHOWN) -> str:
    """Return names in a row, the first few of many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


KEY_PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (
    _unknown_keys,
    _not_upstream,
    _unscoped,
    _clashes,
)
