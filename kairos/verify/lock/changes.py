"""What changed between two versions of a workflow, and whom each change breaks.

Two things may break, as a schema registry has it.  *Backward*: the new version reads what the old
one has stored, so that a run in flight goes on, and what the old one's callers pass.  *Forward*:
who still reads by the old contracts, outside or in a run that is taken back to the old version,
reads what the new version stores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kairos.verify.lock.change import Change, Direction
from kairos.verify.lock.comparing import Comparer, Stored, is_told
from kairos.verify.lock.structure import reshaped, structural
from kairos.verify.proof.outcome import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.lock.contracts import LockedContract
    from kairos.verify.lock.entry import Live, LockedStep, LockedWorkflow
    from kairos.verify.proof.limits import Budget
    from kairos.verify.proof.parties import Party

__all__ = ["changes"]

_PROVED = Verdict("proved")


def changes(
    old: LockedWorkflow,
    new: LockedWorkflow,
    *,
    live: Live | None = None,
    budget: Budget | None = None,
) -> list[Change]:
    """Return every change from `old` to `new`; nothing where both say the same.

    Pure: what is compared are the documents of both, and neither's code is needed.  `live` are
    contracts whose code is at hand, as `lock_of` notes them: what no document says of them, such
    as what a validator makes of a value, is asked of the contract itself.  `budget` bounds each
    comparison; one that is spent makes the answer "unknown".
    """
    return [*structural(old, new), *_Contracts(old, new, Comparer(budget, live)).changes()]


class _Contracts:
    """The contracts of two versions, each against those who read under it in the other."""

    def __init__(self, old: LockedWorkflow, new: LockedWorkflow, comparer: Comparer) -> None:
        self._old = old
        self._new = new
        self._comparer = comparer

    def changes(self) -> Iterator[Change]:
        """Yield what changed in the inputs, then step by step."""
        yield from self._inputs()
        for name, new in self._new["steps"].items():
            old = self._old["steps"].get(name)
            if old is not None:
                yield from self._output(name, old, new)
            yield from self._asked(name, old, new)

    # --- inputs: whoever passed them by the lock passes them still

    def _inputs(self) -> Iterator[Change]:
        old, new = self._old["inputs"], self._new["inputs"]
        yield from self._required()
        before, after = old["contract"], new["contract"]
        if before == after:
            yield from _untold(None, "the contract of the inputs", before)
        elif after is None:
            yield Change(None, "the inputs have no contract any more: anything is taken")
        elif before is None:
            reason = "the lock has no contract for the inputs"
            yield Change(
                None,
                "the inputs have a contract now: what a caller passes may be refused",
                "backward",
                "unknown",
                reason=reason,
            )
        else:
            reader = self._comparer.reader(after)
            handed = self._comparer.verdict(self._comparer.accepted(before), reader)
            kept = self._comparer.verdict(self._comparer.emitted(before), reader)
            worse = handed if _weight(handed) >= _weight(kept) else kept
            yield _told(None, worse, "backward", "the inputs changed", "callers pass by the lock")

    def _required(self) -> Iterator[Change]:
        old, new = self._old["inputs"], self._new["inputs"]
        for name in new["needs"]:
            found = self._comparer.stored(self._old, name)
            taken = name in self._old["steps"] or (found is not None and found.always)
            if name not in old["needs"] and not taken:
                yield Change(
                    None,
                    f"the input '{name}' became required: a run that was given none cannot go on",
                    "backward",
                    "refuted",
                    witness={},
                    expected=f"inputs without '{name}'",
                    found=f"'{name}' is required",
                    fix=f"give the parameter '{name}' a default",
                )
        if old["contract"] is None and new["contract"] is None and new["names"] is not None:
            for name in sorted({*(old["names"] or ())} - {*new["names"]}):
                yield Change(
                    None,
                    f"the input '{name}' is gone: a call that passes it is refused",
                    "backward",
                    "refuted",
                    expected=", ".join(old["names"] or ()),
                    found=", ".join(new["names"]) or "no inputs",
                    fix=f"go on declaring '{name}' until nobody passes it",
                )

    # --- outputs: each is a subject of its own, read by its own contract and by steps

    def _output(self, name: str, old: LockedStep, new: LockedStep) -> Iterator[Change]:
        same = old["output"] == new["output"] and old["may_be"] == new["may_be"]
        if same and not reshaped(old, new):
            yield from _untold(name, "the contract of its output", new["output"])
            return
        if reshaped(old, new):
            return  # told as a change of shape
        had, has = self._comparer.output(old), self._comparer.output(new)
        if had is None or has is None:
            yield _contract_came_or_went(name, came=had is None)
            return
        back = self._read_by_the_new(had, new)
        forth, readers = self._read_by_the_old(name, has, old)
        if "absent" in new["may_be"] and "absent" not in old["may_be"] and forth.answer == "proved":
            forth, readers = _ABSENT, ["readers outside"]
        grade = _grade(back, forth)
        yield from _both(name, back, forth, readers, grade)

    def _read_by_the_new(self, had: Party, new: LockedStep) -> Verdict:
        reader = self._comparer.output(new, as_reader=True)
        return _PROVED if reader is None else self._comparer.verdict(had, reader)

    def _read_by_the_old(self, name: str, has: Party, old: LockedStep) -> tuple[Verdict, list[str]]:
        """Return the worst that an old reader of a key makes of what is stored there now."""
        outside = self._comparer.output(old, as_reader=True)
        worst = _PROVED if outside is None else self._comparer.verdict(has, outside)
        readers = ["readers outside"]
        for step, each in self._old["steps"].items():
            for told, reader in each["asks"].items():
                if reader["key"] != name:
                    continue
                verdict = self._comparer.verdict(has, self._comparer.asks(reader, told=told))
                if _weight(verdict) > _weight(worst):
                    worst, readers = verdict, []
                if _weight(verdict) == _weight(worst) > 0:
                    readers.append(step)
        return worst, readers

    # --- what steps ask of what they are handed

    def _asked(self, name: str, old: LockedStep | None, new: LockedStep) -> Iterator[Change]:
        before = {} if old is None else old["asks"]
        for told, reader in new["asks"].items():
            if before.get(told) == reader and old is not None and _sees(old) == _sees(new):
                yield from _untold(name, f"its {told}", reader["contract"])
                continue
            whole = reader["key"] == ""
            found = (
                self._comparer.seen(self._old, self._seen_by(new))
                if whole
                else self._comparer.stored(self._old, reader["key"])
            )
            if found is None or (before.get(told) == reader and not whole):
                continue
            what = f"its {told} {'changed' if told in before else 'is new'}"
            change = self._one_asked(name, what, found, self._comparer.asks(reader, told=told))
            if old is not None or change.breaks is not None:
                yield replace(change, source=reader["key"] or None)
            if reader["required"] and not found.always and not whole:
                was = before.get(told)
                if was is not None and not was["required"]:
                    yield Change(
                        name,
                        f"its {told} became required: a run in flight may have stored nothing",
                        "backward",
                        "refuted",
                        fix="give it a default",
                    )

    def _one_asked(self, name: str, what: str, found: Stored, reader: Party) -> Change:
        verdict = _PROVED if found.party is None else self._comparer.verdict(found.party, reader)
        if found.why and (found.party is None or verdict.answer != "proved"):
            verdict = Verdict("unknown", reason=found.why)
        return _told(name, verdict, "backward", what, _IN_FLIGHT)

    def _seen_by(self, step: LockedStep) -> list[str]:
        if step["reads"] is not None:
            return step["reads"]
        inputs = self._old["inputs"]["names"] or []
        return sorted({*step["after"], *inputs})


_ABSENT = Verdict("refuted", reason="a policy may skip it, which stores nothing")


def _sees(step: LockedStep) -> tuple[list[str] | None, list[str]]:
    return step["reads"], step["after"]


def _weight(verdict: Verdict) -> int:
    return ("proved", "unknown", "coerced", "refuted").index(verdict.answer)


def _grade(back: Verdict, forth: Verdict) -> str:
    """Return how compatible a change is, in the words of the registries; "" if it is not known."""
    if "unknown" in {back.answer, forth.answer}:
        return ""
    if back.answer == forth.answer == "proved":
        return "fully"
    if back.answer == "proved":
        return "backward"
    return "forward" if forth.answer == "proved" else "not"


def _both(
    name: str, back: Verdict, forth: Verdict, readers: list[str], grade: str
) -> Iterator[Change]:
    told = f"its output changed ({grade} compatible)" if grade else "its output changed"
    if grade == "fully":
        assuming = back.assuming or forth.assuming
        yield Change(name, f"{told}: old and new read one another", assuming=assuming)
        return
    if back.answer != "proved":
        yield _told(name, back, "backward", told, _IN_FLIGHT)
    if forth.answer != "proved":
        yield _told(name, forth, "forward", told, "", _joined(readers))


def _joined(readers: list[str]) -> str:
    names = list(dict.fromkeys(readers))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _contract_came_or_went(name: str, *, came: bool) -> Change:
    if came:
        return Change(
            name,
            "its output has a contract now: whether what is stored satisfies it is not known",
            "backward",
            "unknown",
            reason="the lock has no contract for it",
        )
    return Change(
        name,
        "its output has no contract any more: what its readers find is not known",
        "forward",
        "unknown",
        reason="nothing says what it returns",
        fix=f"declare what {name} returns",
    )


def _untold(name: str | None, what: str, contract: LockedContract | None) -> Iterator[Change]:
    """Yield a note on a contract whose text is the same, and whose meaning need not be."""
    if contract is not None and not is_told(contract):
        yield Change(
            name,
            f"{what} holds a part that cannot be recognised in another process",
            "backward",
            "unknown",
            reason="whether it is the same as when the lock was written cannot be told",
        )


_IN_FLIGHT = "a run in flight has stored"


def _told(
    name: str | None, verdict: Verdict, direction: Direction, what: str, data: str, who: str = ""
) -> Change:
    """Return a verdict as a change."""
    data = f"what {data}" if direction == "backward" else "what it returns now"
    one = f"{what}: {_SAID[verdict.answer].format(who=who or 'the new version', data=data)}"
    if verdict.answer == "proved":
        return Change(name, one, assuming=verdict.assuming)
    return Change(
        name,
        one,
        direction,
        verdict.answer,
        witness=verdict.witness,
        faults=verdict.faults,
        reason=verdict.reason,
        fix=_FIX[direction],
    )


_SAID = {
    "proved": "all of {data} is taken",
    "refuted": "{who} cannot read {data}",
    "coerced": "{who} can read {data} only by converting it",
    "unknown": "whether {who} can read {data} is not to be told",
}
_FIX = {
    "backward": "let it take the old as well, or let the runs in flight end before this goes out",
    "forward": "return what the old readers take, or have them read the new before this goes out",
}
