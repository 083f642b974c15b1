"""What a comparison comes to: an answer, a witness, and the fields at fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["Answered", "Fault", "Verdict"]

Answered: TypeAlias = Literal["proved", "refuted", "coerced", "unknown"]


@dataclass(frozen=True)
class Fault:
    """One field: where it stands, what the producer says of it, and what the consumer needs.

    `lit` is a literal that is broken there, `at` the way to it: names, and None for an item.
    """

    path: str
    producer: str
    consumer: str
    lit: int | None = field(default=None, repr=False, compare=False)
    at: tuple[str | None, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Verdict:
    """Whether a consumer accepts everything that a producer may emit.

    answer:  "proved", it does; "refuted", `witness` is emitted and refused; "coerced", it takes
             `witness` only by converting it; "unknown", for the `reason` given.
    witness: a JSON value.
    faults:  every field found at fault, with what both sides say of it.
    assuming: what a "proved" rests on besides the contracts; None for nothing.
    """

    answer: Answered
    witness: Any = None
    faults: tuple[Fault, ...] = ()
    reason: str | None = None
    assuming: str | None = None
