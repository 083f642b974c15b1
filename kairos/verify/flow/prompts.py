"""Placeholders of prompts: each names a key that the step may read, and a path that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.contract import Contract
from kairos.contracts.placeholders import Placeholder
from kairos.enums import ForeachPolicy, Severity
from kairos.exceptions import did_you_mean
from kairos.verify.edges.skips import returns_skip
from kairos.verify.findings import Finding, found_in
from kairos.verify.flow.keys import listed
from kairos.verify.flow.paths import lead
from kairos.verify.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kairos.step import Step
    from kairos.verify.flow.paths import Led
    from kairos.verify.scene import Scene

__all__ = ["PROMPT_PASSES"]

_MOST_FIELDS = 12


def _unfilled(scene: Scene) -> Iterator[Finding]:
    """Find placeholders that name nothing, or nothing that their step may read."""
    known: Names | None = None
    for step in scene.graph.steps:
        if step.prompt is None:
            continue
        told: set[str] = set()
        for each in step.prompt.placeholders:
            if each.name in told or (each.name == "item" and step.config.foreach is not None):
                continue
            told.add(each.name)
            is_known = each.name in scene.writers or each.name in (scene.inputs or ())
            if step.read_keys is not None and each.name not in step.read_keys:
                yield _unreadable(step, each)
            elif not is_known:
                known = known or Names((*scene.writers, *sorted(scene.inputs or ())))
                yield from _unknown(scene, step, each, known)


def _unreadable(step: Step, placeholder: Placeholder) -> Finding:
    return found_in(
        step,
        "KRS217",
        f"has {placeholder} {_place(placeholder)}, which it may not read",
        expected=", ".join(step.read_keys or ()) or "no key at all",
        found=f"'{placeholder.name}'",
        fix=did_you_mean(placeholder.name, step.read_keys or ())
        or f"add '{placeholder.name}' to its read_keys",
    )


def _unknown(scene: Scene, step: Step, placeholder: Placeholder, known: Names) -> Iterator[Finding]:
    name = placeholder.name
    loop = name == "item"
    near = known.near(name)
    if scene.inputs is None and near is None and not loop:
        return  # it is taken to be an input
    if loop:
        fix = "add foreach='<a step or an input>'"
    elif scene.inputs is None:
        fix = f"write {{{near}}}, or declare the inputs: Workflow(inputs=['{name}'])"
    else:
        fix = known.suggestion(name) or f"add '{name}' to the workflow's inputs"
    yield found_in(
        step,
        "KRS217",
        f"has {placeholder} {_place(placeholder)}, and nothing produces '{name}'",
        severity=None if scene.inputs is not None else Severity.WARNING,
        expected="the name of a step, a key that one writes, or a declared input",
        found="no foreach whose element it could be" if loop else f"'{name}'",
        fix=fix,
    )


class _Source(NamedTuple):
    """What a key holds: who produces it, by what contract, and how a path into it begins.

    The value is a list of what the contract describes where it comes of a foreach (`many`), whose
    elements may be None (`partial`); it may be None itself where its producer is skipped, by its
    `when=` or by itself.
    """

    producer: str
    contract: Contract
    prefix: tuple[str | None, ...] = ()
    many: bool = False
    partial: bool = False
    skips: bool = False


def _unheld(scene: Scene) -> Iterator[Finding]:
    """Find paths that the contract of a key's producer does not have."""
    documents: dict[tuple[int, bool, bool, bool], Any] = {}
    for step in scene.graph.steps:
        if step.prompt is None:
            continue
        told: set[tuple[Any, ...]] = set()
        for each in step.prompt.placeholders:
            source = _source_of(scene, step, each) if each.path else None
            if source is None or (each.name, each.path) in told:
                continue
            told.add((each.name, each.path))
            kind = (id(source.contract), source.many, source.partial, source.skips)
            if kind not in documents:
                documents[kind] = _document(source)
            yield from _checked(step, each, source, documents[kind])


def _source_of(scene: Scene, step: Step, placeholder: Placeholder) -> _Source | None:
    """Return where a placeholder's value comes from, where that is one contract alone."""
    key, inputs, foreach = placeholder.name, scene.inputs or frozenset(), step.config.foreach
    into: tuple[None, ...] = ()
    if key == "item" and foreach is not None:
        key, into = foreach, (None,)
    writers = scene.writers.get(key, [])
    if not writers and key in inputs and scene.contract is not None:
        return _Source(f"the input '{key}'", scene.contract, (key, *into))
    position = scene.graph.index.get(key)
    if position is None or writers != [position] or key in inputs:
        return None
    producer = scene.graph.steps[position]
    if producer.contracts.output is None:
        return None
    config = producer.config
    many = config.foreach is not None
    returned = returns_skip(producer)
    return _Source(
        key,
        producer.contracts.output,
        into,
        many=many,
        partial=many and (returned or config.foreach_policy is ForeachPolicy.ALLOW_PARTIAL),
        # a foreach over None fails beforehand
        skips=(producer.when is not None or (returned and not many)) and not into,
    )


def _document(source: _Source) -> Any:
    """Return as JSON Schema what a key holds, or None where that cannot be said."""
    from kairos.verify.proof.parties import producer_of  # noqa: PLC0415 - loads pydantic

    try:
        document = producer_of(source.contract).document
    except Exception:  # noqa: BLE001 - a contract that cannot be built or told has its own finding
        return None
    if not isinstance(document, dict):
        return None
    shared = {"$defs": document.get("$defs", {})}
    inner = {key: held for key, held in document.items() if key != "$defs"}
    none = {"type": "null"}
    if source.many:
        inner = {"type": "array", "items": {"anyOf": [inner, none]} if source.partial else inner}
    return {"anyOf": [inner, none], **shared} if source.skips else {**inner, **shared}


def _checked(
    step: Step, placeholder: Placeholder, source: _Source, document: Any
) -> Iterator[Finding]:
    if document is None:
        return
    led = lead(document, (*source.prefix, *placeholder.path))
    at = led.at - len(source.prefix)
    if led.answer == "absent" and at >= 0:
        yield _absent(step, placeholder, source, led, at)
    elif led.answer == "maybe":
        skips = f", where {source.producer} is skipped" if source.skips else ""
        yield found_in(
            step,
            "KRS218",
            f"has {placeholder} {_place(placeholder)}, which may be missing",
            severity=Severity.WARNING,
            expected="a path that every value has",
            found=f"{source.contract.name}: {led.reason}{skips}",
            fix=f"have {source.contract.name} require it, or put {{{placeholder.name}}} in whole",
        )


def _absent(step: Step, placeholder: Placeholder, source: _Source, led: Led, at: int) -> Finding:
    part = placeholder.path[at]
    before = Placeholder(placeholder.name, placeholder.path[:at], 1, 1)
    has = f"the fields {listed(led.fields, most=_MOST_FIELDS)}" if led.fields else led.reason
    near = did_you_mean(part, led.fields) if isinstance(part, str) else None
    whole = f"put {before} in" if at or led.fields else f"put {{{placeholder.name}}} in whole"
    return found_in(
        step,
        "KRS218",
        f"has {placeholder} {_place(placeholder)}, and {before} of {source.producer} has no"
        f" {f'item {part}' if isinstance(part, int) else repr(part)}",
        expected=f"{has}, by the contract {source.contract.name}",
        found=f"[{part}]" if isinstance(part, int) else f".{part}",
        fix=near or whole,
    )


def _place(placeholder: Placeholder) -> str:
    return f"at line {placeholder.line}, column {placeholder.column} of its prompt"


PROMPT_PASSES: tuple[Callable[[Scene], Iterable[Finding]], ...] = (_unfilled, _unheld)
