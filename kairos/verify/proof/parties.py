"""The two parties of a comparison: what each says, and a way to ask it about a value."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.contract import Contract, ContractBroken
from kairos.contracts.field_errors import ROOT, one_error
from kairos.exceptions import KairosError
from kairos.verify.proof.core_schemas import asks_code, translated
from kairos.verify.proof.documents import checked_document
from kairos.verify.proof.identity import identity
from kairos.verify.proof.limits import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kairos.verify.proof.core_schemas import Side

__all__ = ["Party", "are_same", "consumer_of", "producer_of"]


class Party(NamedTuple):
    """One side: its JSON Schema, and what it makes of a JSON value.

    `pass_on` returns what becomes of a value: emitted by a producer, accepted by a consumer.  It
    raises ContractBroken for one it refuses, and is None where only the proof's own judgement
    can tell.  `usual` is a schema for values that need no conversion, to find examples with.
    `is_open`: it may emit keys that it does not declare.
    """

    document: Any
    bare: bool
    pass_on: Callable[[Any], Any] | None
    usual: Any = True
    is_open: bool = False


def producer_of(declared: Contract | Mapping[str, Any] | bool) -> Party:  # noqa: FBT001 - a schema
    """Return what is emitted.  Raises UnsupportedError where that cannot be said."""
    if not isinstance(declared, Contract):
        return _bare(declared)

    def emit(value: Any) -> Any:
        checked = declared.check_json(json.dumps(value).encode())
        if declared.keeps:
            declared.check_output(value)
            return value
        try:
            return json.loads(declared.check_output(checked))
        except ContractBroken:  # what it reads a text into, it need not take for a text again
            return json.loads(declared.check_output(value))

    if not declared.keeps:
        told = _said(declared, "emits")
        usual = _said(declared, "accepts") if asks_code(declared.adapter.core_schema) else True
        return Party(told, bare=False, pass_on=emit, usual=usual, is_open=True)
    usual = _said(declared, "accepts")
    return Party(_said(declared, "keeps"), bare=False, pass_on=emit, usual=usual, is_open=True)


def are_same(one: Contract, other: Contract) -> bool:
    """Say whether two contracts are made of the same parts, and so one contract built twice."""
    if one is other:
        return True
    if one.keeps != other.keeps:
        return False
    both = [[dict(each.adapter.core_schema), dict(each.settings)] for each in (one, other)]
    return identity(both[0]) == identity(both[1])


def consumer_of(declared: Contract | Mapping[str, Any] | bool) -> Party:  # noqa: FBT001 - a schema
    """Return what is accepted.  Raises UnsupportedError where that cannot be said."""
    if not isinstance(declared, Contract):
        return _bare(declared)

    def accept(value: Any) -> Any:
        declared.check_json(json.dumps(value).encode())
        return value

    return Party(_said(declared, "accepts"), bare=False, pass_on=accept)


def _bare(document: Any) -> Party:
    rules = checked_document(document)

    def judge(value: Any) -> Any:
        if not rules.accepts(value):
            refused = one_error(ROOT, "what the schema accepts", type(value).__name__)
            raise ContractBroken((refused,), "JSON Schema")
        return value

    return Party(rules.document, bare=True, pass_on=judge, is_open=True)


def _said(contract: Contract, side: Side) -> Any:
    try:
        return translated(dict(contract.adapter.core_schema), contract.settings, side)
    except KairosError as error:
        raise UnsupportedError(error.message) from None
    except RecursionError:
        raise UnsupportedError("a contract that nests too deep") from None
