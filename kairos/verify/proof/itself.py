"""A contract as the consumer of its own output, which needs no proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kairos.contracts.contract import Contract

__all__ = ["reads_its_own"]


def reads_its_own(contract: Contract) -> bool:
    """Say whether a contract accepts all that it lets through, without a proof.

    The engine stores only what a contract itself reads back.  That says nothing of a part that
    accepts today what it refuses tomorrow.
    """
    return not _looks_at_now(contract.adapter.core_schema)


def _looks_at_now(schema: Any) -> bool:
    if isinstance(schema, dict):
        return "now_op" in schema or any(map(_looks_at_now, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_looks_at_now, schema))
