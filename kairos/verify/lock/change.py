"""One difference between a lock and the code: what it is, and whom it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from kairos.verify.proof.outcome import Answered, Fault

__all__ = ["Change", "Direction"]

Direction: TypeAlias = Literal["backward", "forward"]
"""Who may break: the new version, reading the old data; or the old readers, given the new."""


@dataclass(frozen=True)
class Change:
    """One change of one step, or of the workflow as a whole where `step` is None.

    breaks:   the direction in which it breaks somebody, or may; None where it breaks nobody.
    answer:   "refuted", it does, as `witness` shows where there is one; "coerced", only by
              converting does it not; "unknown", for the `reason` given; "proved", it does not.
    witness:  a value that the one side has stored and the other refuses.
    faults:   every field at fault: what is stored, and what is read.
    source:   the key whose value is read, where `step` is the reader.
    assuming: what a "proved" rests on besides the contracts.
    """

    step: str | None
    message: str
    breaks: Direction | None = None
    answer: Answered = "proved"
    witness: Any = None
    faults: tuple[Fault, ...] = ()
    reason: str | None = None
    assuming: str | None = None
    expected: str | None = None
    found: str | None = None
    source: str | None = None
    fix: str | None = None
