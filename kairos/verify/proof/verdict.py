"""The verdict on a producer and a consumer, from the proof and from asking both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from kairos.contracts.contract import Contract, ContractBroken, compile_contract
from kairos.exceptions import ConfigError
from kairos.verify.proof.composition import closed
from kairos.verify.proof.faults import Looker, pinned, values_at
from kairos.verify.proof.ground import Ground
from kairos.verify.proof.itself import reads_its_own
from kairos.verify.proof.limits import Budget, BudgetSpentError, UnsupportedError
from kairos.verify.proof.outcome import Verdict
from kairos.verify.proof.parties import are_same, consumer_of, producer_of
from kairos.verify.proof.trials import NO_HINT, trials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.verify.proof.faults import Way
    from kairos.verify.proof.outcome import Fault
    from kairos.verify.proof.parties import Party

__all__ = ["compare", "compare_contracts", "compare_parties", "under_assumption"]

_MOST_WITNESSES = 6
_MOST_TRIALS = 150
_RECURSION = "a contract that nests too deep"
_CLOSED = "the producer returns only its declared keys"


def compare(
    producer: Any, consumer: Any, *, budget: Budget | None = None, assume_closed: bool = False
) -> Verdict:
    """Say whether `consumer` accepts everything that `producer` may emit.

    Each is a contract of any kind: a Schema, a pydantic model, a dataclass, a TypedDict, an
    annotation, a TypeAdapter; or a bare JSON Schema, a dict, which is taken at its word: its
    world is open and nothing is converted.  A contract is taken as the engine enforces it: a
    model's defaults are emitted and its undeclared keys are not, a Schema keeps a value as it is.
    With `assume_closed` an open producer is taken to return no keys but the declared ones where
    only others speak against it; the verdict says so in `assuming`.

    Numbers are taken to fit a float.
    Raises ConfigError for what is no contract; whatever is wrong inside one is a reason for
    "unknown".
    """
    return compare_contracts(
        _party(producer), _party(consumer), budget=budget, assume_closed=assume_closed
    )


def _party(declared: Any) -> Contract | Mapping[str, Any] | bool:
    if isinstance(declared, Contract | Mapping | bool):
        return declared
    return compile_contract(declared)


def compare_contracts(
    producer: Contract | Mapping[str, Any] | bool,  # noqa: FBT001 - true and false are schemas
    consumer: Contract | Mapping[str, Any] | bool,  # noqa: FBT001 - as above
    *,
    budget: Budget | None = None,
    assume_closed: bool = False,
) -> Verdict:
    """Do the same for contracts that are compiled, or bare."""
    try:
        emits, accepts = producer_of(producer), consumer_of(consumer)
    except (UnsupportedError, ConfigError) as error:
        return Verdict("unknown", reason=getattr(error, "message", str(error)))
    if producer is consumer and _reads_the_other(producer, consumer):
        return Verdict("proved")
    ground = Ground(whole_floats=not (emits.bare and accepts.bare))
    verdict = compare_parties(emits, accepts, ground, budget or Budget())
    if verdict.answer != "proved" and _reads_the_other(producer, consumer):
        return Verdict("proved")
    if not assume_closed or verdict.answer == "proved":
        return verdict
    shut = closed(emits)
    if shut is emits:
        return verdict
    return under_assumption(compare_parties(shut, accepts, ground, budget or Budget()), _CLOSED)


def _reads_the_other(producer: Any, consumer: Any) -> bool:
    """Say whether two contracts are one, whose own output the engine has it read back."""
    return (
        isinstance(producer, Contract)
        and isinstance(consumer, Contract)
        and are_same(producer, consumer)
        and reads_its_own(producer)
    )


def under_assumption(verdict: Verdict, assuming: str) -> Verdict:
    """Return a verdict that rests on more than the contracts, where it is a proof."""
    return replace(verdict, assuming=assuming) if verdict.answer == "proved" else verdict


def compare_parties(producer: Party, consumer: Party, ground: Ground, budget: Budget) -> Verdict:
    """Say whether one party accepts everything that the other may emit.  Never raises."""
    try:
        return _Comparison(producer, consumer, ground, budget).verdict()
    except (UnsupportedError, BudgetSpentError) as error:
        reason = str(error)
    except ConfigError as error:
        reason = error.message
    except RecursionError:
        reason = _RECURSION
    ground.clear()
    return Verdict("unknown", reason=reason)


class _Comparison:
    """One comparison: the proof, then the candidates that it yields, put to both parties."""

    def __init__(self, producer: Party, consumer: Party, ground: Ground, budget: Budget) -> None:
        self._producer = producer
        self._consumer = consumer
        self._ground = ground
        self._meter = ground.begin(budget)
        self._table = ground.table
        self._emitted = ground.reader(producer)
        self._accepted = ground.reader(consumer)
        self._search = ground.search
        self._coerced: Any = None
        self._was_coerced = False

    def verdict(self) -> Verdict:
        """Return the verdict."""
        emitted, accepted = self._emitted.root(), self._accepted.root()
        answer = self._search.solve([emitted, -accepted])
        if answer.none:
            return Verdict("proved")
        first = answer.value if answer.found else NO_HINT
        faults = self._faults() if answer.found else ()
        found = self._candidates(first, emitted, accepted, faults) if answer.found else ()
        for at, candidate in enumerate(chain(found, self._trials(first))):
            if at and self._meter.is_late:  # the first one is there already
                break
            replayed = self._replay(candidate, emitted, accepted)
            if replayed is not None:
                return Verdict("refuted", replayed[0], faults or self._faults())
        if self._was_coerced:
            return Verdict("coerced", self._coerced, faults)
        return Verdict("unknown", reason=self._why())

    def _why(self) -> str:
        if self._meter.reasons:
            return "; ".join(self._meter.reasons)
        return "a value was found that the producer may emit, but the contracts do not bear it out"

    def _candidates(
        self, first: Any, emitted: int, accepted: int, faults: tuple[Fault, ...]
    ) -> Iterator[Any]:
        """Yield values that may be emitted and may be refused, each for another reason."""
        seen = [first]
        if self._producer.usual is not True:
            usual = self._ground.reader_of(self._producer.usual).root()
            answer = self._quietly([emitted, usual, -accepted])
            if answer is not None:
                seen.append(answer)
                yield answer
        yield first
        for fault in faults:
            if fault.lit is not None:
                answer = self._quietly([emitted, -accepted, -fault.lit])
                if answer is not None and answer not in seen:
                    seen.append(answer)
                    yield answer
        for fault in faults[:_MOST_WITNESSES]:
            if fault.at:
                yield from self._other_values(fault.at, [emitted, -accepted], seen)
        while len(seen) < _MOST_WITNESSES + len(faults):
            answer = self._quietly([emitted, -accepted, -self._table.choice(seen)])
            if answer is None:
                return
            seen.append(answer)
            yield answer

    def _other_values(self, at: Way, lits: list[int], seen: list[Any]) -> Iterator[Any]:
        """Yield values that differ where a fault is, since the first ones may be converted."""
        tried = [one for value in seen for one in values_at(at, value)]
        for _ in range(_MOST_WITNESSES):
            other = pinned(at, -self._table.choice(tried), self._table)
            answer = self._quietly([*lits, other])
            if answer is None:
                return
            tried += values_at(at, answer)
            yield answer

    def _trials(self, first: Any) -> Iterator[Any]:
        """Yield values at random: where the search leaves a pair open, its values are tried."""
        if self._producer.usual is not True:
            yield from trials(self._producer.usual, _MOST_TRIALS, first, self._words)
        yield from trials(self._producer.document, _MOST_TRIALS, first, self._words)

    def _words(self, schema: Any) -> list[str]:
        """Return some strings that a schema with a pattern allows."""
        found: list[str] = []
        lit = self._emitted.part({**schema, "type": "string"})
        while len(found) < _MOST_WITNESSES:
            word = self._quietly([lit, -self._table.choice(found)])
            if word is None:
                break
            found.append(word)
        return found

    def _quietly(self, lits: list[int]) -> Any:
        """Return a further candidate; that there is none to be found says nothing."""
        try:
            answer = self._search.solve(lits)
        except (BudgetSpentError, UnsupportedError):
            return None
        return answer.value if answer.found else None

    def _faults(self) -> tuple[Fault, ...]:
        try:
            return tuple(Looker(self._ground, self._emitted, self._accepted).faults())
        except (BudgetSpentError, UnsupportedError):
            return ()

    def _replay(self, value: Any, emitted: int, accepted: int) -> tuple[Any] | None:
        """Put a candidate through both contracts; return it where it proves them at odds."""
        evaluator = self._search.evaluator
        out = value
        if self._producer.pass_on is not None:
            try:
                out = self._producer.pass_on(value)
            except (ContractBroken, ValueError, OverflowError):
                self._meter.note("the producer's contract refuses the value that was found")
                return None
        elif evaluator.holds(emitted, value) is not True:
            return None
        if self._consumer.pass_on is None:
            return (out,) if evaluator.holds(accepted, out) is False else None
        try:
            self._consumer.pass_on(out)
        except ContractBroken:
            return (out,)
        except (ValueError, OverflowError):
            return None
        if evaluator.holds(accepted, out) is False:
            self._coerced = out if not self._was_coerced else self._coerced
            self._was_coerced = True
        return None
