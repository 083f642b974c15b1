"""The proofs of a plan's edges: each pair of contracts is compared once, wherever it is met."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.exceptions import ConfigError
from kairos.verify.edges.sources import Cause, Handed
from kairos.verify.edges.wiring import is_itself
from kairos.verify.proof.completion import ABSENT, completed, no_such_value
from kairos.verify.proof.composition import (
    ANYTHING,
    NOTHING,
    Member,
    closed,
    list_of,
    nullable,
    object_of,
    part_of,
    property_of,
    shape_of,
    under,
)
from kairos.verify.proof.ground import Ground
from kairos.verify.proof.limits import Budget, UnsupportedError
from kairos.verify.proof.outcome import Verdict
from kairos.verify.proof.parties import consumer_of, producer_of
from kairos.verify.proof.verdict import compare_parties

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from kairos.contracts.contract import Contract
    from kairos.verify.edges.wiring import Wire
    from kairos.verify.proof.parties import Party

__all__ = ["Known", "Prover"]

_UNDECLARED = "the workflow's inputs are not declared"
_SAYS_NOTHING = "the contract {} says nothing of a value"
_SPENT = "the time for the whole workflow is spent"


class Known(NamedTuple):
    """What is known of an edge.

    `closed`: the identities of the contracts of which it is taken for granted, where it is proved,
    that nothing but the keys they declare is returned under them.  `assuming` is
    what it rests on besides.  `causes` say why something else than an output arrives, where it is
    that which is refused.  `is_boundary`: it cannot be told since it comes from outside.
    """

    verdict: Verdict
    closed: frozenset[int] = frozenset()
    assuming: str = ""
    causes: tuple[Cause, ...] = ()
    is_boundary: bool = False


_ANY = frozenset({0})
_WORST_FIRST = ("refuted", "unknown", "coerced", "proved")


class Prover:
    """Proves the edges of one workflow, and remembers what it has compared.

    `budget` is that of one comparison, `seconds` what all of them may take.
    """

    def __init__(self, budget: Budget, seconds: float, *, assume_closed: bool) -> None:
        self._budget = budget
        self._end = monotonic() + seconds
        self._assume_closed = assume_closed
        self._ground = Ground()
        self._known: dict[Hashable, Known] = {}
        self._consumers: dict[int, Party] = {}
        self._emitters: dict[int, tuple[Party, Party]] = {}
        self._held: list[Any] = []  # identities must not pass to others

    def prove(self, wire: Wire) -> Known:
        """Return what is known of an edge.  Never raises."""
        if wire.edge.through == "input_contract":
            return self._of_object(wire)
        (handed,) = wire.handed.values()
        asked = (_key_of(handed), id(wire.contract), wire.edge.through == "item")
        known = self._known.get(asked)
        if known is None:
            self._held += [handed.contract, wire.contract]
            known = self._known[asked] = self._guarded(wire, lambda: self._of_value(wire, handed))
        causes = [*handed.nulls, *handed.holes] if known.causes else []
        return known._replace(causes=tuple(causes), assuming=handed.assuming)

    def _guarded(self, wire: Wire, prove: Callable[[], Known]) -> Known:
        try:
            known = prove()
            return known._replace(closed=self._open_ones(wire)) if known.closed else known
        except (UnsupportedError, ConfigError) as error:
            return Known(Verdict("unknown", reason=getattr(error, "message", str(error))))
        except RecursionError:
            return Known(Verdict("unknown", reason="a contract that nests too deep"))
        except Exception as error:  # noqa: BLE001 - a type's own hooks may do anything
            told = f"{type(error).__name__} while a contract was read"
            return Known(Verdict("unknown", reason=told))

    def _open_ones(self, wire: Wire) -> frozenset[int]:
        contracts = [each.contract for each in wire.handed.values() if each.contract is not None]
        return frozenset(id(each) for each in contracts if self._both(each)[0].is_open)

    # --- one value

    def _of_value(self, wire: Wire, handed: Handed) -> Known:
        consumer = self._consumer(wire.contract)
        if wire.edge.through == "item":
            consumer = list_of(consumer)
        if handed.gap:
            known = self._compared(lambda _: ANYTHING, consumer)
            return known if known.verdict.answer == "proved" else _unknown(handed)
        if handed.of_inputs:
            return self._compared(
                lambda shut: self._producer(handed, shut), under(handed.key, consumer)
            )
        if is_itself(wire):
            return Known(Verdict("proved"))
        if self._producer(handed, False).document in (True, {}):
            name = "" if handed.contract is None else handed.contract.name
            # that it is a list is looked at anyhow, and no contract was asked for
            gap = handed._replace(gap=_SAYS_NOTHING.format(name), is_boundary=wire.contract is None)
            return self._of_value(wire, gap)
        plain = self._compared(lambda shut: self._producer(handed, shut), consumer)
        if plain.verdict.answer == "refuted":
            return plain
        others = []
        if handed.holes:
            others.append(
                self._compared(lambda shut: self._producer(handed, shut, holes=True), consumer)
            )
        if handed.nulls:
            others.append(self._compared(lambda _: NOTHING, consumer))
        causes = (*handed.nulls, *handed.holes)
        return _worst([plain, *(each._replace(causes=causes) for each in others)])

    def _consumer(self, contract: Contract | None) -> Party:
        if contract is None:
            return ANYTHING
        known = self._consumers.get(id(contract))
        if known is None:
            known = self._consumers[id(contract)] = consumer_of(contract)
        return known

    def _producer(self, handed: Handed, shut: bool, *, holes: bool = False) -> Party:  # noqa: FBT001 - a variant
        contract = handed.contract
        if contract is None:
            raise UnsupportedError(handed.gap)
        party, shut_party = self._both(contract)
        if shut:
            party = shut_party
        if handed.is_list:
            inner = nullable(party) if holes else party
            least, most = self._sizes(handed.over)
            party = list_of(inner, least=least, most=most)
        return party

    def _both(self, contract: Contract) -> tuple[Party, Party]:
        """Return what a contract emits, and what it does if it returns its declared keys only."""
        known = self._emitters.get(id(contract))
        if known is None:
            party = producer_of(contract)
            shut = closed(party)
            if shut is party:
                party = shut = party._replace(is_open=False)
            known = party, shut
            self._emitters[id(contract)] = known
        return known

    def _sizes(self, over: Handed | None) -> tuple[int, int | None]:
        """Return how many elements a foreach may find, as far as that is known."""
        if over is None or over.gap or over.contract is None:
            return 0, None
        document = self._producer(over, False).document
        if over.of_inputs:
            document = part_of(document, over.key)
        shape = shape_of(document, "array")
        return shape.get("minItems", 0), shape.get("maxItems")

    # --- the object of all that a step sees

    def _of_object(self, wire: Wire) -> Known:
        asked = (
            "object",
            tuple((key, _key_of(handed)) for key, handed in wire.handed.items()),
            id(wire.contract),
            wire.shows_more,
        )
        known = self._known.get(asked)
        if known is None:
            self._held += [wire.contract, *(each.contract for each in wire.handed.values())]
            known = self._known[asked] = self._guarded(wire, lambda: self._of_members(wire))
        assumed = [each.assuming for each in wire.handed.values() if each.assuming]
        causes = _causes(wire.handed, known.verdict) if known.causes else ()
        return known._replace(causes=causes, assuming=" and ".join(assumed))

    def _of_members(self, wire: Wire) -> Known:
        consumer = self._consumer(wire.contract)
        outside = _outside(wire, consumer.document)
        gaps = {key: handed for key, handed in wire.handed.items() if handed.gap}

        def seen(shut: bool, *, others: bool) -> Party:  # noqa: FBT001 - a variant
            members = {
                key: self._member(key, handed, shut, consumer.document, others=others)
                for key, handed in wire.handed.items()
            }
            members |= {key: Member(_stand_in(consumer.document, key)) for key in outside}
            return self._with_inputs(object_of(members), wire.handed)

        beyond = bool(gaps or outside or wire.shows_more)
        # first where that is all there is to it, which spares the closer look
        if beyond and not gaps and not outside and self._holds_for_all(wire, consumer):
            return Known(Verdict("proved"))
        known = self._compared(lambda shut: seen(shut, others=False), consumer)
        if known.verdict.answer == "refuted":
            return known
        if any(each.nulls or each.holes or each.absent for each in wire.handed.values()):
            more = self._compared(lambda shut: seen(shut, others=True), consumer)
            causes = tuple(
                cause for each in wire.handed.values() for cause in (*each.nulls, *each.absent)
            ) or (Cause("", ""),)
            known = _worst([known, more._replace(causes=causes)])
        if known.verdict.answer == "refuted" or not beyond:
            return known
        if (gaps or outside) and self._holds_for_all(wire, consumer):
            return known
        told = next((each for each in gaps.values() if not each.is_boundary), None)
        if told is not None:
            return _unknown(told)
        reason = next((each.gap for each in gaps.values()), _UNDECLARED)
        return Known(Verdict("unknown", reason=reason), is_boundary=True)

    def _holds_for_all(self, wire: Wire, consumer: Party) -> bool:
        """Say whether an edge holds whatever stands under the keys of which nothing is known."""
        anything = {
            key: Member(ANYTHING, always=False)
            if each.gap
            else self._member(key, each, False, consumer.document, others=True)
            for key, each in wire.handed.items()
        }
        party = object_of(anything, others=wire.shows_more)
        return self._asked(party, consumer).answer == "proved"

    def _member(
        self,
        key: str,
        handed: Handed,
        shut: bool,  # noqa: FBT001 - a variant
        accepted: Any,
        *,
        others: bool,
    ) -> Member:
        if handed.gap:
            return Member(_stand_in(accepted, key))
        party = self._producer(handed, shut, holes=others and bool(handed.holes))
        if handed.of_inputs:
            return property_of(party, key)
        if others and handed.nulls:
            party = nullable(party)
        return Member(party, always=not (others and handed.absent))

    def _with_inputs(self, party: Party, handed: Mapping[str, Handed]) -> Party:
        """Have the inputs of an example borne out by their contract, which knows the whole."""
        shared = [each for each in handed.values() if each.of_inputs]
        if not shared or party.pass_on is None:
            return party
        pass_on, inputs = party.pass_on, self._producer(shared[0], False)

        def bear_out(value: Any) -> Any:
            out = pass_on(value)
            some = {each.key: out.get(each.key, ABSENT) for each in shared}
            whole = completed(inputs, some, self._ground)
            emitted = inputs.pass_on(whole) if inputs.pass_on is not None else whole
            if any(emitted.get(key, ABSENT) != one for key, one in some.items()):
                raise no_such_value()
            return out

        return party._replace(pass_on=bear_out)

    # --- a comparison

    def _compared(self, producer: Callable[[bool], Party], consumer: Party) -> Known:
        """Compare with an open world first, and with a closed one where only that can hold."""
        emits = producer(False)
        verdict = self._asked(emits, consumer)
        if verdict.answer == "proved" or not (emits.is_open and self._assume_closed):
            return Known(verdict)
        return Known(self._asked(producer(True), consumer), closed=_ANY)

    def _asked(self, producer: Party, consumer: Party) -> Verdict:
        left = self._end - monotonic()
        if left <= 0:
            return Verdict("unknown", reason=_SPENT)
        budget = self._budget
        if left < budget.seconds:
            budget = replace(budget, seconds=left)
        return compare_parties(producer, consumer, self._ground, budget)


def _key_of(handed: Handed) -> Hashable:
    return (
        handed.key if handed.of_inputs or handed.gap else "",
        id(handed.contract),
        handed.is_list,
        id(handed.over and handed.over.contract),
        handed.over and handed.over.key,
        bool(handed.nulls),
        bool(handed.holes),
        bool(handed.absent),
        handed.gap,
    )


def _unknown(handed: Handed) -> Known:
    return Known(Verdict("unknown", reason=handed.gap), is_boundary=handed.is_boundary)


def _worst(known: list[Known]) -> Known:
    worst = min(known, key=lambda each: _WORST_FIRST.index(each.verdict.answer))
    return worst._replace(closed=frozenset().union(*(each.closed for each in known)))


def _causes(handed: Mapping[str, Handed], verdict: Verdict) -> tuple[Cause, ...]:
    """Return why the keys at fault may hold something else."""
    paths = [fault.path for fault in verdict.faults]
    found = [
        cause
        for key, each in handed.items()
        if any(path == f"$.{key}" or path.startswith((f"$.{key}.", f"$.{key}[")) for path in paths)
        for cause in (*each.nulls, *each.holes, *each.absent)
    ]
    return tuple(found) or tuple(
        cause for each in handed.values() for cause in (*each.nulls, *each.holes, *each.absent)
    )


def _stand_in(accepted: Any, key: str) -> Party:
    """Return a party for what nothing is known of: it emits what is accepted there."""
    return ANYTHING._replace(document=part_of(accepted, key), pass_on=None)


def _outside(wire: Wire, accepted: Any) -> list[str]:
    if not wire.shows_more:
        return []
    return [key for key in shape_of(accepted).get("properties", {}) if key not in wire.handed]
