"""A finding: what is wrong, where, both sides, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.unreadable import UnreadableContractError
from kairos.enums import Severity
from kairos.exceptions import ConfigError, KairosError, PolicyError, SecurityError
from kairos.plan_faults import (
    CycleError,
    DuplicateStepError,
    GraphError,
    MissingDependencyError,
    SelfDependencyError,
)
from kairos.source import Place

if TYPE_CHECKING:
    from kairos.step import Step

__all__ = ["CODES", "Code", "Detail", "Finding", "finding_of", "findings_of", "found_in"]


class Code(NamedTuple):
    """What a code stands for, and how much it weighs unless its finding says otherwise."""

    severity: Severity
    title: str


_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE

# A code means one thing for ever: a check that goes takes its code with it.
CODES: dict[str, Code] = {
    # the graph, and what is refused before there is one
    "KRS001": Code(_ERROR, "two steps of one name"),
    "KRS002": Code(_ERROR, "a step that depends on itself"),
    "KRS003": Code(_ERROR, "a dependency that is no step"),
    "KRS004": Code(_ERROR, "steps that wait for one another"),
    "KRS010": Code(_ERROR, "a declaration that is refused"),
    "KRS011": Code(_ERROR, "a failure policy that contradicts itself"),
    "KRS012": Code(_ERROR, "something refused for safety's sake"),
    "KRS019": Code(_ERROR, "another error"),
    # KRS1xx: contracts against contracts, and against a lock
    "KRS101": Code(_ERROR, "a contract that cannot be read"),
    "KRS102": Code(_ERROR, "a step that refuses what it may be handed"),
    "KRS103": Code(_WARNING, "a value that passes only by conversion"),
    "KRS104": Code(_NOTE, "an edge that is checked when it runs"),
    "KRS105": Code(_NOTE, "an edge that holds if only declared keys are returned"),
    "KRS120": Code(_ERROR, "a lock that cannot be read"),
    "KRS121": Code(_ERROR, "a change that breaks who reads the new"),
    "KRS122": Code(_ERROR, "a change that breaks a run in flight"),
    "KRS123": Code(_NOTE, "a change that breaks nothing"),
    # the flow of keys, and actions that cannot work
    "KRS201": Code(_ERROR, "a key that nothing produces"),
    "KRS202": Code(_WARNING, "an input that looks like a slip of the pen"),
    "KRS203": Code(_ERROR, "a key that is not produced upstream"),
    "KRS204": Code(_WARNING, "a step that does not say what it reads"),
    "KRS205": Code(_ERROR, "steps that may write one key in any order"),
    "KRS206": Code(_WARNING, "a step named like an input"),
    "KRS207": Code(_ERROR, "a foreach over what is no list"),
    "KRS208": Code(_WARNING, "a key that may be left out"),
    "KRS209": Code(_ERROR, "a generator as an action"),
    "KRS210": Code(_ERROR, "an isolated action that cannot be imported"),
    "KRS211": Code(_ERROR, "a when= that cannot be asked"),
    "KRS213": Code(_ERROR, "a contract that cannot be built"),
    "KRS214": Code(_NOTE, "an output that nobody reads"),
    "KRS215": Code(_ERROR, "a key that is read while it may be written"),
    "KRS216": Code(_WARNING, "a key that only a conditional step writes"),
    "KRS217": Code(_ERROR, "a placeholder that nothing fills"),
    "KRS218": Code(_ERROR, "a placeholder that its producer's contract does not have"),
    "KRS219": Code(_WARNING, "a step that may read more than it uses"),
    "KRS220": Code(_ERROR, "a secret that reaches a model or the network"),
    "KRS221": Code(_WARNING, "a label that names nothing"),
    "KRS222": Code(_WARNING, "a step that can never run"),
    "KRS223": Code(_ERROR, "a key that the step may not read"),
    "KRS224": Code(_NOTE, "a contract that a model is told in words"),
    # what a comment in the source allows
    "KRS301": Code(_ERROR, "an allowance without its reason"),
    "KRS302": Code(_WARNING, "an allowance that allows nothing"),
}


class Detail(NamedTuple):
    """One field at fault: where it stands, what is handed over there, and what is needed."""

    path: str
    found: str
    expected: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: `code` is stable, `step` the step at fault where there is one.

    Of an edge, `source` names what it comes from (a step or an input), `details` every field at
    fault, and `witness` is a value, as JSON text, that the one side hands over and the other
    refuses: made up from the contracts, never taken from a run.
    """

    code: str
    severity: Severity
    step: str | None
    message: str
    where: Place | None = None
    expected: str | None = None
    found: str | None = None
    fix: str | None = None
    source: str | None = None
    details: tuple[Detail, ...] = ()
    witness: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; `line` and `column` count from 1."""
        where = self.where
        return {
            "code": self.code,
            "severity": self.severity.value,
            "step": self.step,
            "message": self.message,
            "file": where.file if where else None,
            "line": where.line if where else None,
            "column": where.column if where else None,
            "expected": self.expected,
            "found": self.found,
            "fix": self.fix,
            "source": self.source,
            "details": [each._asdict() for each in self.details],
            "witness": self.witness,
        }


def found_in(
    step: Step,
    code: str,
    message: str,
    *,
    severity: Severity | None = None,
    expected: str | None = None,
    found: str | None = None,
    fix: str | None = None,
) -> Finding:
    """Return a finding against a step, of its code's own weight unless another is given."""
    weight = severity or CODES[code].severity
    return Finding(code, weight, step.name, message, step.place, expected, found, fix)


# From the particular to the general: the first class that fits decides.
_CODE_OF: tuple[tuple[type[KairosError], str], ...] = (
    (DuplicateStepError, "KRS001"),
    (SelfDependencyError, "KRS002"),
    (MissingDependencyError, "KRS003"),
    (CycleError, "KRS004"),
    (UnreadableContractError, "KRS101"),
    (ConfigError, "KRS010"),
    (PolicyError, "KRS011"),
    (SecurityError, "KRS012"),
    (KairosError, "KRS019"),
)


def finding_of(error: KairosError, *, step: str | None = None, code: str = "") -> Finding:
    """Return the finding that an error amounts to: what it says, under the code of its class."""
    code = code or next(each for kind, each in _CODE_OF if isinstance(error, kind))
    return Finding(
        code,
        CODES[code].severity,
        step or getattr(error, "step_id", None),
        error.message,
        error.where,
        error.expected,
        error.found,
        error.fix,
    )


def findings_of(error: KairosError) -> list[Finding]:
    """Return the finding of an error, and of every fault that came to light with it."""
    others = error.others if isinstance(error, GraphError) else ()
    return [finding_of(each) for each in (error, *others)]
