"""What an edge's proof is worth telling, as a finding: both sides, every bad field, a fix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.redaction.redactor import MASK, redactor_with
from kairos.source import defined_at
from kairos.verify.findings import CODES, Detail, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kairos.redaction.redactor import Redactor
    from kairos.source import Place
    from kairos.step import Step
    from kairos.verify.edges.proving import Known
    from kairos.verify.edges.sources import Handed
    from kairos.verify.edges.wiring import Wire
    from kairos.verify.proof.outcome import Fault
    from kairos.verify.scene import Scene

__all__ = ["assumption", "finding_about"]

_MOST_WITNESS = 100_000  # characters: a program reads it whole, and text is cut to what fits
_MOST_NAMES = 3
_MOST_NAME = 120
_INPUTS = "inputs"
_NO_KEYS = frozenset({"no such key", "no other keys"})


def finding_about(wire: Wire, known: Known, scene: Scene) -> Finding | None:
    """Return what is to be said of an edge; None where there is nothing."""
    answer = known.verdict.answer
    if answer == "proved":
        return _assumed(wire, known, scene) if known.closed else None
    if answer == "unknown":
        return None if known.is_boundary else _undecided(wire, known, scene)
    return _at_odds(wire, known, scene)


def assumption(wire: Wire, known: Known, scene: Scene) -> str | None:
    """Return what a "proved" rests on besides the contracts."""
    if known.verdict.answer != "proved":
        return None
    told = [_closed(wire, known, scene)] if known.closed else []
    told += [known.assuming] if known.assuming else []
    return " and ".join(told) or None


def _closed(wire: Wire, known: Known, scene: Scene) -> str:
    names = [
        scene.graph.steps[handed.producers[0]].name if handed.producers else "the workflow"
        for handed in wire.handed.values()
        if id(handed.contract) in known.closed
    ]
    if names == ["the workflow"]:
        return "the workflow is given only declared keys"
    verb = "returns only its" if len(names) == 1 else "return only their"
    return f"{_listed(list(dict.fromkeys(names)))} {verb} declared keys"


def _undecided(wire: Wire, known: Known, scene: Scene) -> Finding:
    return _finding(
        wire,
        "KRS104",
        f"{_looks_at(wire, scene)} is checked when it runs: {known.verdict.reason}",
        scene,
        expected=_name_of_consumer(wire, scene),
        found=_name_of_producer(wire, scene),
        fix=_fix_of_unknown(wire, known, scene),
    )


def _fix_of_unknown(wire: Wire, known: Known, scene: Scene) -> str | None:
    for handed in wire.handed.values():
        if handed.gap and handed.gap == known.verdict.reason and len(handed.producers) == 1:
            step = scene.graph.steps[handed.producers[0]]
            if step.contracts.output is None:
                return f"give {step.name} a return annotation or an output_contract"
    return None


def _assumed(wire: Wire, known: Known, scene: Scene) -> Finding:
    names = [
        handed.contract.name
        for handed in wire.handed.values()
        if handed.contract is not None and id(handed.contract) in known.closed
    ]
    return _finding(
        wire,
        "KRS105",
        f"{_looks_at(wire, scene)} is proved, assuming that {_closed(wire, known, scene)}",
        scene,
        expected=_name_of_consumer(wire, scene),
        found=_name_of_producer(wire, scene),
        fix=f"declare in {_listed(names)} the keys that are read, or return a model instead",
    )


def _at_odds(wire: Wire, known: Known, scene: Scene) -> Finding:
    refuted = known.verdict.answer == "refuted"
    redactor = redactor_with(scene.sensitive_keys)
    details = tuple(_details(wire, known, redactor, scene))
    source = _source(wire, scene) or _INPUTS
    if refuted:
        message = f"{_looks_at(wire, scene)} refuses what {source} may hand over"
    else:
        message = f"{_looks_at(wire, scene)} takes what {source} hands over only by converting it"
    if refuted and known.causes:
        message += ": " + "; ".join(dict.fromkeys(one.told for one in known.causes if one.told))
    return _finding(
        wire,
        "KRS102" if refuted else "KRS103",
        message,
        scene,
        expected=_name_of_consumer(wire, scene),
        found=_name_of_producer(wire, scene),
        fix=_fix(wire, known, details, scene),
        details=details,
        witness=_witness(wire, known, redactor),
    )


def _finding(
    wire: Wire,
    code: str,
    message: str,
    scene: Scene,
    *,
    expected: str | None,
    found: str | None,
    fix: str | None,
    details: tuple[Detail, ...] = (),
    witness: str | None = None,
) -> Finding:
    step = scene.graph.steps[wire.edge.step]
    return Finding(
        code,
        CODES[code].severity,
        step.name,
        message,
        _place(wire, step),
        expected,
        found,
        fix,
        source=_source(wire, scene),
        details=details,
        witness=witness,
    )


def _place(wire: Wire, step: Step) -> Place | None:
    if wire.edge.through == "when" and step.when is not None:
        return defined_at(step.when) or step.place
    if wire.edge.through in {"parameter", "view"} or (
        wire.edge.through == "item" and step.signature.item
    ):
        return defined_at(step.action) or step.place
    return step.place


def _source(wire: Wire, scene: Scene) -> str | None:
    """Return where the value comes from: a step, or an input by its name."""
    names = [scene.graph.steps[i].name for i in wire.edge.producers]
    if not names:
        return wire.edge.key or _listed([*wire.handed]) or None
    return _listed(names)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _looks_at(wire: Wire, scene: Scene) -> str:
    through, key = wire.edge.through, wire.edge.key
    if through in {"parameter", "view"}:
        return scene.graph.steps[wire.edge.step].signature.through(key)
    if through == "item":
        return f"its foreach over '{key}'"
    return "its input contract" if through == "input_contract" else f"its when= of '{key}'"


def _name_of_consumer(wire: Wire, scene: Scene) -> str:
    name = "anything" if wire.contract is None else wire.contract.name
    name = _masked(name, [wire.edge.key, *wire.handed], scene)
    return f"list[{name}]" if wire.edge.through == "item" else name


def _name_of_producer(wire: Wire, scene: Scene) -> str | None:
    if wire.edge.through == "input_contract":
        each = [f"{key}: {_named(handed, scene)}" for key, handed in wire.handed.items()]
        return _listed(each) or None
    (handed,) = wire.handed.values()
    return _named(handed, scene)


def _named(handed: Handed, scene: Scene) -> str:
    if handed.contract is None:
        return "no contract"
    name = _masked(handed.contract.name, [handed.key], scene)
    if handed.is_list:
        name = f"list[{name} | None]" if handed.holes else f"list[{name}]"
    return f"{name} | None" if handed.nulls else name


def _masked(name: str, keys: Iterable[str], scene: Scene) -> str:
    """Return the name of a contract, masked where it has values in it that may be secret."""
    redactor = redactor_with(scene.sensitive_keys)
    name = name if len(name) <= _MOST_NAME else f"{name[: _MOST_NAME - 1]}…"
    return MASK if "Literal[" in name and any(map(redactor.is_sensitive, keys)) else name


# --- the fields


def _details(wire: Wire, known: Known, redactor: Redactor, scene: Scene) -> Iterator[Detail]:
    for fault in known.verdict.faults:
        path = _path(wire, fault.path, scene)
        if _is_secret(path, redactor):
            yield Detail(path, MASK, MASK)
        else:
            yield Detail(path, fault.producer, _needed(fault))


def _needed(fault: Fault) -> str:
    needed = fault.consumer
    return needed if needed in _NO_KEYS or needed.startswith("required ") else f"needs {needed}"


def _path(wire: Wire, path: str, scene: Scene) -> str:
    """Return a field's path as its reader knows it: it begins with the parameter or the key."""
    inner = path.removeprefix("$")
    through, key = wire.edge.through, wire.edge.key
    handed = next(iter(wire.handed.values()), None)
    if through == "input_contract":
        return inner.removeprefix(".") or "inputs"
    if handed is not None and handed.of_inputs:
        inner = inner.removeprefix(f".{key}")
    if through == "item" and inner.startswith("[*]"):
        return f"item{inner.removeprefix('[*]')}"
    if through == "parameter":
        key = scene.graph.steps[wire.edge.step].signature.path(key)
    return f"{key}{inner}"


def _is_secret(path: str, redactor: Redactor) -> bool:
    return any(redactor.is_sensitive(part.partition("[")[0]) for part in path.split("."))


def _witness(wire: Wire, known: Known, redactor: Redactor) -> str:
    value: Any = known.verdict.witness
    handed = next(iter(wire.handed.values()), None)
    if wire.edge.key and handed is not None and handed.of_inputs and isinstance(value, dict):
        value = value.get(wire.edge.key)
    if wire.edge.key and redactor.is_sensitive(wire.edge.key):
        return json.dumps(MASK)
    text = json.dumps(redactor.redact(value), ensure_ascii=False)
    return text if len(text) <= _MOST_WITNESS else f"{text[: _MOST_WITNESS - 1]}…"


# --- how to mend it


def _fix(wire: Wire, known: Known, details: tuple[Detail, ...], scene: Scene) -> str | None:
    step = scene.graph.steps[wire.edge.step]
    if known.causes and known.verdict.answer == "refuted":
        return _fix_of_causes(wire, known, step)
    if not details:
        return None
    first = next((each for each in details if each.found == "missing"), details[0])
    owner = _owner(wire, first.path)
    field = first.path.partition(".")[2]
    if not field or first.found == MASK:
        source, needed, given = _source(wire, scene), _name_of_consumer(wire, scene), first.found
        return f"have {source} return {needed}, or accept {given} in {step.name}"
    if first.found == "missing":
        names = [
            f"'{each.path.partition('.')[2]}'"
            for each in details
            if each.found == "missing" and _owner(wire, each.path) == owner
        ]
        what = "it" if len(names) == 1 else "them"
        return f"add {_listed(names)} to {owner}, or make {what} optional in {step.name}"
    return _fix_of_field(first, f"'{field}'", owner, step.name)


def _fix_of_field(fault: Detail, field: str, owner: str, reader: str) -> str:
    if fault.expected in _NO_KEYS:
        return f"drop {field} from {owner}, or let {reader} accept it"
    if not fault.expected.startswith("required "):
        needed = fault.expected.removeprefix("needs ")
        return f"make {field} {needed} in {owner}, or accept {fault.found} in {reader}"
    return f"make {field} required in {owner}, or optional in {reader}"


def _fix_of_causes(wire: Wire, known: Known, step: Step) -> str:
    other = next((one.fix for one in known.causes if one.fix), "")
    what = "the key" if wire.edge.through == "input_contract" else f"'{wire.edge.key}'"
    if any(handed.absent for handed in wire.handed.values()):
        told = f"make {what} optional"
    elif any(handed.nulls for handed in wire.handed.values()):
        told = f"let {what} be None"
    else:
        told = f"let the elements of {what} be None"
    return f"{told} in {step.name}" + (f", or {other}" if other else "")


def _owner(wire: Wire, path: str) -> str:
    """Return the name of the contract that a field at fault belongs to."""
    key = wire.edge.key or path.partition(".")[0].partition("[")[0]
    handed = wire.handed.get(key) or next(iter(wire.handed.values()), None)
    if handed is None or handed.contract is None:
        return key
    name = handed.contract.name
    return name.removeprefix("list[").removesuffix("]") if name.startswith("list[") else name
