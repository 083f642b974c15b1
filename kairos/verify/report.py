"""All that was found against a plan, and how much of it is proved."""

from __future__ import annotations

from dataclasses import dataclass, field

from kairos.enums import Severity
from kairos.verify.edges.edge import Coverage, Proof
from kairos.verify.findings import Finding

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """What `kairos validate` knows of one workflow.

    findings:   worst first, then in the order of declaration.
    proofs:     what is known of each edge.
    suppressed: findings that a comment in the source allows, each with the reason given there.
    steps, ms:  how many were looked at, and how long it took.
    """

    findings: tuple[Finding, ...] = ()
    proofs: tuple[Proof, ...] = ()
    suppressed: tuple[tuple[Finding, str], ...] = ()
    steps: int = 0
    ms: float = field(default=0.0, compare=False)

    @property
    def coverage(self) -> Coverage:
        """How many edges have which answer."""
        return Coverage.of(self.proofs)

    def fails(self, *, strict: bool = False) -> bool:
        """Say whether something speaks against the workflow: an error, or under `strict` anything.

        What could not be told, and what holds under an assumption only, counts under `strict`.
        """
        return any(strict or each.severity is Severity.ERROR for each in self.findings)
