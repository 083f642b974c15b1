"""The flow of keys: each that is read is produced upstream or given, and none is raced for."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kairos.enums import FailureAction, Severity
from kairos.verify.findings import Finding, found_in
from kairos.verify.names import Names
from kairos.verify.reach import upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kairos.contracts.contract import Contract
    from kairos.failure import FailurePolicy
    from kairos.step import Step
    from kairos.verify.scene import Read, Scene

__all__ = ["FLOW_PASSES"]

_SHOWN = 5
_DEEPEST_REF = 20


def _unknown_keys(scene: Scene) -> Iterator[Finding]:
    """Find keys that no step writes and no declared input bears."""
    known = Names((*scene.writers, *sorted(scene.inputs or ())))
    for read in scene.reads:
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
                    fix=f"write '{near}', or declare the inputs: Workflow(inputs=['{read.key}'])",
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
        found = f"{_listed(beside)}, which runs before, but is not among what it depends on"
        fix = f"add depends_on=['{beside[0]}']"
    elif not others:
        found, fix = "nothing: a step's own output is there when it has ended", "read another key"
    elif beside:
        found = f"{_listed(beside)}, which need not have run before"
        fix = f"add depends_on=['{beside[0]}']"
    else:
        found = f"{_listed([graph.steps[i].name for i in others])}, which runs after it"
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
            keys = _listed([f"'{name}'" for name in step.depends_on])
            yield found_in(
                step,
                "KRS204",
                "does not say what it reads, so it may read everything",
                severity=Severity.ERROR if scene.strict else None,
                expected="read_keys, or a typed function" + (" (strict)" if scene.strict else ""),
                fix=f"add read_keys=[{keys}] and the inputs it reads",
            )


def _races(scene: Scene) -> Iterator[Finding]:
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
    for key, pairs in neighbours.items():
        loose = [pair for pair in pairs if (pair[1], pair[0]) not in above]
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
        f"{_listed(names)} may write '{key}', and nothing says which of them does so last",
        severity=None if racing else Severity.WARNING,
        expected="one writer for a key, or writers that depend on one another",
        found="steps that run at the same time" if racing else "an order by declaration alone",
        fix=f"give each a key of its own, or add depends_on=['{first.name}'] to {later.name}",
    )


def _at_once(one: Step, other: Step) -> bool:
    beside = one.config.parallel or other.config.parallel
    # whether two conditions exclude one another cannot be told, and mostly they do
    return beside and not (one.when is not None and other.when is not None)


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


def _no_lists(scene: Scene) -> Iterator[Finding]:
    """Find foreach over the output of a step whose contract allows no list."""
    verdicts: dict[int, bool] = {}
    for step in scene.graph.steps:
        position = scene.graph.index.get(step.config.foreach or "")
        if position is None:
            continue
        producer = scene.graph.steps[position]
        contract = producer.contracts.output
        if contract is None or producer.config.foreach is not None:  # a foreach returns a list
            continue
        if id(contract) not in verdicts:
            verdicts[id(contract)] = _may_be_a_list(contract)
        if not verdicts[id(contract)]:
            yield found_in(
                step,
                "KRS207",
                f"runs over '{producer.name}', whose contract allows no list",
                expected="a contract such as list[...]",
                found=contract.name,
                fix=f"have {producer.name} return a list, or run over another key",
            )


def _may_be_a_list(contract: Contract) -> bool:
    try:
        schema = contract.json_schema("serialization")
    except Exception:  # noqa: BLE001 - what has no schema, or cannot be built, may be anything
        return True
    return _allows_array(schema, schema, 0)


def _allows_array(schema: Any, root: dict[str, Any], depth: int) -> bool:
    """Tell whether a JSON Schema may allow an array: False is certain."""
    if not isinstance(schema, dict) or depth > _DEEPEST_REF:
        return True
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/$defs/"):
        return _allows_array(root.get("$defs", {}).get(ref[8:]), root, depth + 1)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return any(_allows_array(each, root, depth + 1) for each in schema[choice])
    if "const" in schema or "enum" in schema:
        return any(isinstance(v, list) for v in schema.get("enum", (schema.get("const"),)))
    kind = schema.get("type", "array")
    return "array" in ((kind,) if isinstance(kind, str) else kind)


def _may_be_missing(scene: Scene) -> Iterator[Finding]:
    """Find typed reads without a default of what a policy may leave out."""
    for read in scene.reads:
        step = scene.graph.steps[read.step]
        position = scene.graph.index.get(read.key)
        if not read.required or position is None or read.key in (scene.inputs or ()):
            continue
        if read.through in ("read_keys", "when="):  # `ctx.inputs.get` can do without
            continue
        producer = scene.graph.steps[position]
        # in a foreach the policy skips elements, never the list
        if producer.config.foreach is None and _skips(scene.policy_of(producer)):
            given = f"give the parameter '{read.key}' a default"
            yield found_in(
                step,
                "KRS208",
                f"needs '{read.key}' through {read.through}, and the policy of {producer.name}"
                " may skip it, which stores nothing",
                expected="a step that ends with an output",
                found=f"a policy with the action {FailureAction.SKIP}",
                fix=f"choose another action for {producer.name}"
                if read.through == "foreach"
                else f"{given}, or choose another action for {producer.name}",
            )


def _skips(policy: FailurePolicy | None) -> bool:
    if policy is None:
        return False
    on_failure = {policy.on_execution_fail, policy.on_validation_fail}
    falls_back = on_failure - {FailureAction.SKIP, FailureAction.ABORT}
    return FailureAction.SKIP in on_failure or (
        bool(falls_back) and policy.fallback_action is FailureAction.SKIP
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


FLOW_PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (
    _unknown_keys,
    _not_upstream,
    _unscoped,
    _races,
    _clashes,
    _no_lists,
    _may_be_missing,
)
