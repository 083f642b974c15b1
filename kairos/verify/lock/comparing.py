"""What one version of a workflow has stored against what the other reads, on documents alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.contract import ContractBroken
from kairos.contracts.field_errors import ROOT, one_error
from kairos.contracts.json_keywords import mapped
from kairos.verify.lock.contracts import UNTOLD, LockedContract, text_of
from kairos.verify.proof.composition import (
    ANYTHING,
    Member,
    closed,
    list_of,
    nullable,
    object_of,
    under,
)
from kairos.verify.proof.ground import Ground
from kairos.verify.proof.limits import Budget, BudgetSpentError, Meter, UnsupportedError
from kairos.verify.proof.outcome import Verdict
from kairos.verify.proof.parties import Party, consumer_of, producer_of
from kairos.verify.proof.reading import OPAQUE, Reader
from kairos.verify.proof.search import Search
from kairos.verify.proof.terms import Table
from kairos.verify.proof.verdict import compare_parties

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.verify.lock.entry import Live, LockedReader, LockedStep, LockedWorkflow

__all__ = ["Comparer", "Stored", "compare_locked", "is_told"]

_BY_TYPE = "the types are at odds, as far as the validators of the lock's version let this through"
_CLOSED = "only declared keys are returned"


class Stored(NamedTuple):
    """What stands under a key: what it may be, and whether it is there at all.

    `party` is None where no contract says; `why` says so in words.
    """

    party: Party | None
    always: bool = True
    why: str = ""


def _without_opaque(schema: Any) -> Any:
    # which texts of JSON there are decides what they convert to: no type of theirs is at odds
    if not isinstance(schema, dict) or schema.get("format") == "json-string":
        return schema
    return mapped({key: part for key, part in schema.items() if key != OPAQUE}, _without_opaque)


def is_told(contract: LockedContract) -> bool:
    """Say whether all of a contract can be recognised again: else equal text proves nothing."""
    return UNTOLD not in json.dumps(contract)


def compare_locked(
    producer: LockedContract, consumer: LockedContract, *, budget: Budget | None = None
) -> Verdict:
    """Say whether one locked contract accepts everything that another lets through."""
    comparer = Comparer(budget)
    return comparer.verdict(comparer.emitted(producer), comparer.reader(consumer))


class Comparer:
    """Compares the contracts of two versions; each document is read once, and each pair."""

    def __init__(self, budget: Budget | None = None, live: Live | None = None) -> None:
        self._budget = budget or Budget()
        self._live = live or {}
        self._ground = Ground()
        self._parties: dict[tuple[str, str], Party] = {}
        self._verdicts: dict[tuple[str, str], Verdict] = {}

    def emitted(self, contract: LockedContract) -> Party:
        """Return what a contract lets through."""
        return self._made("emits", contract, self._emitted)

    def accepted(self, contract: LockedContract) -> Party:
        """Return what a contract takes as it is, as what somebody may hand to it."""
        return self._made("hands", contract, _handed)

    def reader(self, contract: LockedContract) -> Party:
        """Return a contract as one that reads."""
        return self._made("reads", contract, self._reading)

    def verdict(self, producer: Party, consumer: Party) -> Verdict:
        """Compare two parties; an open producer is taken to return its declared keys only."""
        pair = text_of(producer.document), text_of(consumer.document)
        held = self._verdicts.get(pair)
        if held is None:
            held = self._verdicts[pair] = self._compared(producer, consumer)
        return held

    def _compared(self, producer: Party, consumer: Party) -> Verdict:
        found = compare_parties(producer, consumer, self._ground, self._budget)
        shut = closed(producer)
        if found.answer == "proved":
            return found
        if shut is not producer:
            again = compare_parties(shut, consumer, self._ground, self._budget)
            if again.answer == "proved":
                return Verdict("proved", assuming=_CLOSED)
            found = found if again.answer == "unknown" else again
        return found if found.answer != "unknown" else self._by_structure(shut, consumer, found)

    def _by_structure(self, producer: Party, consumer: Party, found: Verdict) -> Verdict:
        """Look for a clash that no validator has a part in.

        A validator that is gone cannot be asked whether it let a value through.  Where the types
        alone are at odds it is taken to have let some through: a text is no number, whoever
        checked it.
        """
        document = _without_opaque(producer.document)
        if document == producer.document:
            return found
        usual = _without_opaque(producer.usual)
        judge = _Judge(document, *(() if usual is True else (usual,)))
        plain = producer._replace(document=document, usual=usual, pass_on=judge.pass_on)
        needed = consumer._replace(document=_without_opaque(consumer.document))
        again = compare_parties(plain, needed, self._ground, self._budget)
        return replace(again, reason=_BY_TYPE) if again.answer in {"refuted", "coerced"} else found

    def _made(
        self, role: str, contract: LockedContract, make: Callable[[LockedContract], Party]
    ) -> Party:
        at = role, text_of(contract)
        held = self._parties.get(at)
        if held is None:
            held = self._parties[at] = make(contract)
        return held

    def _emitted(self, contract: LockedContract) -> Party:
        document = contract.get("emits", contract["accepts"])
        live = self._live.get(text_of(contract))
        if live is not None:
            return producer_of(live)._replace(document=document)
        usual = contract["accepts"] if document != contract["accepts"] else True
        # what it may let through is a wide guess, what it takes as it is a safe one
        judge = _Judge(document, contract["accepts"])
        return Party(document, bare=False, pass_on=judge.pass_on, usual=usual, is_open=True)

    def _reading(self, contract: LockedContract) -> Party:
        live = self._live.get(text_of(contract))
        if live is not None:
            return consumer_of(live)._replace(document=contract["accepts"])
        judge = _Judge(contract.get("takes", contract["accepts"]))
        return Party(contract["accepts"], bare=False, pass_on=judge.pass_on)

    # what stands under a key

    def output(self, step: LockedStep, *, as_reader: bool = False) -> Party | None:
        """Return what a step stores, or whoever reads that by the step's own contract."""
        contract = step["output"]
        if contract is None:
            return None
        found = self.reader(contract) if as_reader else self.emitted(contract)
        if step["foreach"] is not None:
            found = list_of(nullable(found) if "hole" in step["may_be"] else found)
        return nullable(found) if "null" in step["may_be"] else found

    def stored(self, workflow: LockedWorkflow, key: str) -> Stored | None:
        """Return what a version has under a key; None where it has nothing of that name."""
        step = workflow["steps"].get(key)
        if step is None:
            return self._input(workflow, key)
        party = self.output(step)
        why = "" if party is not None else f"{key} had no contract for its output"
        return Stored(party, "absent" not in step["may_be"], why)

    def _input(self, workflow: LockedWorkflow, key: str) -> Stored | None:
        inputs = workflow["inputs"]
        contract = inputs["contract"]
        if contract is None:
            if key not in self._inputs_of(workflow):
                return None
            return Stored(None, key in inputs["needs"], f"the input '{key}' had no contract")
        emitted = self.emitted(contract).document
        part = _property(emitted, key)
        if part is None:
            return Stored(None, always=False, why=f"nothing was said of the input '{key}'")
        always = key in _plain(emitted).get("required", ())
        return Stored(Party(part, bare=False, pass_on=None), always)

    def _inputs_of(self, workflow: LockedWorkflow) -> set[str]:
        """Return the inputs that a version knows of: declared, needed, or read by some step."""
        inputs = workflow["inputs"]
        if inputs["names"] is not None:
            return {*inputs["names"]}
        read = (reader["key"] for s in workflow["steps"].values() for reader in s["asks"].values())
        return {*inputs["needs"], *read}

    def seen(self, workflow: LockedWorkflow, keys: list[str]) -> Stored:
        """Return the object of what a version has under these keys."""
        members, gaps = {}, []
        for key in keys:
            found = self.stored(workflow, key)
            if found is not None:
                members[key] = Member(found.party or ANYTHING, found.always)
                gaps += [found.why] if found.party is None else []
        return Stored(object_of(members, others=True), why="; ".join(gaps))

    def asks(self, reader: LockedReader, *, told: str, of_object: bool = False) -> Party:
        """Return what a step checks; of the whole object of inputs where it reads one of them."""
        found = self.reader(reader["contract"])
        if told == "item":
            found = list_of(found)
        return under(reader["key"], found) if of_object else found


def _handed(contract: LockedContract) -> Party:
    return Party(contract["accepts"], bare=False, pass_on=None, is_open=True)


class _Judge:
    """Stands for a contract whose code is not at hand: a value must satisfy all its documents."""

    def __init__(self, *documents: Any) -> None:
        self._documents = documents
        self._asked: list[tuple[int, Search]] | None = None

    def pass_on(self, value: Any) -> Any:
        """Return a value that satisfies them; raise ValueError where that cannot be told."""
        answers = [self._holds(lit, search, value) for lit, search in self._read()]
        if False in answers:
            raise ContractBroken((one_error(ROOT, "what it accepts", type(value).__name__),), "it")
        if None in answers or not answers:
            raise ValueError("a validator would have to say")
        return value

    def _read(self) -> list[tuple[int, Search]]:
        if self._asked is None:
            try:
                self._asked = [_searched(document) for document in self._documents]
            except (UnsupportedError, BudgetSpentError, RecursionError):
                self._asked = []
        return self._asked

    def _holds(self, lit: int, search: Search, value: Any) -> bool | None:
        try:
            return search.evaluator.holds(lit, value)
        except (UnsupportedError, RecursionError):
            return None


def _searched(document: Any) -> tuple[int, Search]:
    meter, table = Meter(Budget()), Table(whole_floats=True)
    return Reader(document, table, meter).root(), Search(table, meter)


def _plain(document: Any) -> Any:
    """Return what a document that only refers to one of its definitions refers to."""
    defs = document.get("$defs", {}) if isinstance(document, dict) else {}
    for _ in range(len(defs) + 1):
        if isinstance(document, dict) and document.keys() - {"$defs"} == {"$ref"}:
            document = defs.get(document["$ref"].removeprefix("#/$defs/"), True)
    return document if isinstance(document, dict) else {}


def _property(document: Any, name: str) -> Any:
    """Return the document of one property of a plain object; None where it is no such thing."""
    part = _plain(document).get("properties", {}).get(name)
    if not isinstance(part, dict):
        return part
    defs = document.get("$defs")
    return {**part, "$defs": defs} if defs and _refers(part) else part


def _refers(schema: Any) -> bool:
    found: list[bool] = []

    def look(part: Any) -> Any:
        found.append(_refers(part))
        return part

    if isinstance(schema, dict):
        mapped(schema, look)
        return "$ref" in schema or any(found)
    return False
