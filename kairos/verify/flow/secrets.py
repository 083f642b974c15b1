"""Secrets that reach a step which talks to a model or the network, without its being trusted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kairos.enums import Severity
from kairos.exceptions import did_you_mean
from kairos.verify.findings import Detail, Finding, found_in
from kairos.verify.flow.keys import listed
from kairos.verify.flow.labels import Labels
from kairos.verify.touching import seen_touches, validators_touch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.step import Step
    from kairos.verify.flow.labels import Came
    from kairos.verify.scene import Scene
    from kairos.verify.touching import Seen

__all__ = ["find_leaks"]

_LEAVES = ("model", "network")
_TO = {"model": "a model", "network": "the network"}
_MOST_WAYS = 50  # each is a search through the plan
_MOST_DETAILS = 20
_MOST_NAMES = 100


def find_leaks(scene: Scene) -> Iterator[Finding]:
    """Find secrets on their way out, and declassifications that concern nothing."""
    if not scene.sound:
        return
    steps = scene.graph.steps
    sinks = {i: seen for i, step in enumerate(steps) if (seen := _leaves(step)) is not None}
    judged = {i: seen for i, step in enumerate(steps) if (seen := _judged(step))}
    trusting = [i for i, step in enumerate(steps) if step.declassify]
    if not sinks and not judged and not trusting:
        return
    labels = Labels(scene)
    came: dict[str, dict[int, Came]] = {}
    for i, seen in sinks.items():
        if leaking := labels.reads[i] & ~labels.declassified[i]:
            yield _leak(labels, i, leaking, seen, came)
    for i, seen in judged.items():
        leaking = labels.written(i, steps[i].name)
        if leaking and not (i in sinks and labels.reads[i] & ~labels.declassified[i]):
            yield _leak(labels, i, leaking, seen, came, judged=True)
    for i in trusting:
        held = labels.reads[i] | labels.offered[i]
        for name in steps[i].declassify:
            if not labels.holds(held, name):
                yield _idle(steps[i], name, labels.told(held, most=_MOST_NAMES))


def _leaves(step: Step) -> tuple[Seen, ...] | None:
    """Return through what a step talks to a model or the network: () where it says so itself."""
    if any(each in step.touches for each in _LEAVES):
        return ()
    return tuple(each for each in seen_touches(step) if each.touches in _LEAVES) or None


def _judged(step: Step) -> tuple[Seen, ...]:
    """Return which of its validators hand a step's output to a model or the network."""
    if not step.validators:
        return ()
    return tuple(each for each in validators_touch(step) if each.touches in _LEAVES)


def _leak(
    labels: Labels,
    at: int,
    leaking: int,
    seen: tuple[Seen, ...],
    came: dict[str, dict[int, Came]],
    *,
    judged: bool = False,
) -> Finding:
    step = labels.scene.graph.steps[at]
    names = labels.told(leaking, most=_MOST_DETAILS)
    ways = []
    for name in names:
        if name not in came and len(came) < _MOST_WAYS:
            came[name] = labels.ways(name)
        way = labels.way(came[name], at) if name in came else []
        ways.append(way or [name, step.name])
    first = " → ".join(ways[0])
    quoted = ", ".join(f"'{name}'" for name in names[:5])
    if (more := leaking.bit_count() - 5) > 0:
        quoted += f" and {more} more"
    where = _TO["model" if "model" in step.touches or _is_model(seen) else "network"]
    found = found_in(
        step,
        "KRS220",
        f"may hand {'secrets' if names[1:] else 'a secret'} to {where}: {quoted}",
        severity=Severity.WARNING if seen and not judged else None,
        expected="no secret among what it may read, save those it is trusted with by name",
        found=f"{first}; it talks to {where} {seen[0].evidence}" if seen else first,
        fix=f"declassify={names[:5]} on {step.name}, if what it returns holds no secret"
        " or the model is trusted with it; or take the validator away"
        if judged
        else _mended(step, names, ways[0]),
    )
    details = tuple(
        Detail(name, " → ".join(way), f"declassify=['{name}'], or no way there")
        for name, way in zip(names, ways, strict=True)
    )
    return replace(found, source=ways[0][0], details=details if len(names) > 1 else ())


def _is_model(seen: tuple[Seen, ...]) -> bool:
    return any(each.touches == "model" for each in seen)


def _mended(step: Step, names: list[str], way: list[str]) -> str:
    it = "them" if names[1:] else "it"
    trusted = f"declassify={names[:5]} on {step.name}, if it is trusted with {it}"
    if step.read_keys is None:
        return f"say what it reads: read_keys=[...]; or {trusted}"
    if len(way) <= 2:  # noqa: PLR2004 - straight from where it begins
        return f"take '{way[0]}' out of what it reads; or {trusted}"
    return f"declassify={names[:1]} on {way[-2]}, if what it returns holds it no more; or {trusted}"


def _idle(step: Step, name: str, held: list[str]) -> Finding:
    return found_in(
        step,
        "KRS221",
        f"declassifies '{name}', which never reaches it",
        expected=listed(held) or "no label reaches it",
        found=f"'{name}'",
        fix=did_you_mean(name, held) or f"take '{name}' out of its declassify",
    )
