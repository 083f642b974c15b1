"""An edge: one check that a run makes of what a step is handed, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from kairos.verify.proof.outcome import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["Coverage", "Edge", "Proof", "Through"]

Through: TypeAlias = Literal["parameter", "view", "item", "input_contract", "when"]


class Edge(NamedTuple):
    """A step (by position) has what it is handed checked, through a contract of its own.

    `through` says which: that of the parameter that reads `key`, of the `key` of its `Context[In]`,
    of the `item` of its foreach over `key`, its `input_contract` over all that it sees (`key` is
    empty), or of the parameter of its `when=` that reads `key`.  `producers` are the positions of
    the steps that the value may come from; empty for an input of the workflow.
    """

    step: int
    key: str
    through: Through
    producers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of an edge before a run.

    `assuming` says what a "proved" rests on besides the contracts, such as that a step returns no
    keys but the declared ones; None for nothing.
    """

    edge: Edge
    verdict: Verdict
    assuming: str | None = None

    @property
    def elides(self) -> bool:
        """Whether the check may be left out at run time: proved, and of the contracts alone.

        It speaks of outputs that a contract has let through in this run, and of inputs.  SKIP goes
        past all contracts and is looked for in an action's own code only: so what a step left that
        was skipped is to be checked all the same.
        """
        return self.verdict.answer == "proved" and self.assuming is None


class Coverage(NamedTuple):
    """How many edges there are, and how many of them have which answer.

    `assumed` are proved under an assumption; `unknown` are checked when they run.
    """

    edges: int = 0
    proved: int = 0
    assumed: int = 0
    coerced: int = 0
    refuted: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, proofs: Iterable[Proof]) -> Coverage:
        """Count proofs."""
        counts = dict.fromkeys(cls._fields, 0)
        for proof in proofs:
            answer = proof.verdict.answer
            assumed = answer == "proved" and proof.assuming is not None
            counts["assumed" if assumed else answer] += 1
            counts["edges"] += 1
        return cls(**counts)
