"""Changes that no contract tells of: steps that came and went, their order, scope and shape."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from kairos.verify.lock.change import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.lock.entry import LockedStep, LockedWorkflow

__all__ = ["reshaped", "structural"]

_NEAR = 0.75


def structural(old: LockedWorkflow, new: LockedWorkflow) -> Iterator[Change]:
    """Yield what changed about the steps besides their contracts."""
    names = _renamed(old, new)
    for name in old["steps"]:
        if name not in new["steps"]:
            yield _gone(name, names.get(name))
    for name, step in new["steps"].items():
        before = old["steps"].get(name)
        if before is not None:
            yield from _of_one(name, before, step)
        elif name not in names.values():
            yield Change(name, "is new", found="no such step in the lock")
    yield from _ends(old, new, names)


def reshaped(old: LockedStep, new: LockedStep) -> bool:
    """Say whether a step became a foreach, stopped being one, or runs over another key."""
    return old["foreach"] != new["foreach"]


def _gone(name: str, now: str | None) -> Change:
    if now is None:
        return Change(
            name,
            "is gone; a run in flight that has stored its output carries it along unread",
            expected="the step, as the lock has it",
            found="no such step",
        )
    return Change(
        name,
        f"is gone, and '{now}' is like it: a run in flight does that work again",
        expected=f"the step '{name}', as the lock has it",
        found=f"a new step '{now}'",
        fix=f"if it was only renamed, name it '{name}' until no run is in flight",
    )


def _renamed(old: LockedWorkflow, new: LockedWorkflow) -> dict[str, str]:
    """Return what each step that is gone may be called now."""
    came = [name for name in new["steps"] if name not in old["steps"]]
    found: dict[str, str] = {}
    for name, step in old["steps"].items():
        if name in new["steps"]:
            continue
        alike = [each for each in came if _does_the_same(step, new["steps"][each])]
        near = get_close_matches(name, alike, n=1, cutoff=0.0 if len(alike) == 1 else _NEAR)
        if near:
            found[name] = near[0]
            came.remove(near[0])
    return found


def _does_the_same(old: LockedStep, new: LockedStep) -> bool:
    if old["output"] is None and not old["asks"] and not old["after"]:
        return False  # nothing is known of it that another step could have too
    return all(old[key] == new[key] for key in ("foreach", "output", "may_be", "after", "reads"))


def _of_one(name: str, old: LockedStep, new: LockedStep) -> Iterator[Change]:
    if reshaped(old, new):
        yield from _new_shape(name, old["foreach"], new["foreach"], old, new)
    if old["after"] != new["after"]:
        yield Change(
            name,
            f"waits for {_listed(new['after'])} now",
            expected=_listed(old["after"]),
            found=_listed(new["after"]),
        )
    if old["reads"] != new["reads"]:
        yield _scope(name, old["reads"], new["reads"])
    if old["writes"] != new["writes"]:
        yield Change(
            name,
            f"may write {_listed(new['writes'])} now",
            expected=_listed(old["writes"]),
            found=_listed(new["writes"]),
        )


def _new_shape(
    name: str, was: str | None, now: str | None, old: LockedStep, new: LockedStep
) -> Iterator[Change]:
    told = (
        f"became a foreach over '{now}'"
        if was is None
        else f"is no foreach over '{was}' any more"
        if now is None
        else f"runs over '{now}' now, and ran over '{was}'"
    )
    before, after = _shape(was), _shape(now)
    yield Change(
        name,
        f"{told}: a run in flight has stored what is not read so",
        "backward",
        "refuted",
        expected=before,
        found=after,
        fix="give the new step another name, and let the runs in flight end first",
    )
    if (was is None) != (now is None) and (old["output"] or new["output"]) is not None:
        yield Change(
            name,
            f"{told}: who reads its output by the locked contract finds another shape",
            "forward",
            "refuted",
            expected=before,
            found=after,
            fix="give the new step another name",
        )


def _shape(key: str | None) -> str:
    return "one output" if key is None else f"a list, one output for each of '{key}'"


def _scope(name: str, old: list[str] | None, new: list[str] | None) -> Change:
    more = [] if old is None else ["anything"] if new is None else sorted({*new} - {*old})
    told = f"may read more now: {_listed(more)}" if more else "may read less now"
    return Change(name, told, expected=_scope_told(old), found=_scope_told(new))


def _scope_told(keys: list[str] | None) -> str:
    return "anything" if keys is None else _listed(keys)


def _ends(old: LockedWorkflow, new: LockedWorkflow, names: dict[str, str]) -> Iterator[Change]:
    """Find whether the workflow's own output comes from elsewhere: the last step, or several."""
    before, after = old["ends"], new["ends"]
    was = [names.get(name, name) for name in before] if len(before) == 1 else before
    if sorted(was) != sorted(after):
        yield Change(
            None,
            "its output comes from other steps: who reads the result finds another value",
            "forward",
            "refuted",
            expected=f"the output of {_listed(before)}",
            found=f"the output of {_listed(after)}",
            fix="have the same steps come last, or read step_results by name before this goes out",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "nothing"
