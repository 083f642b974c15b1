"""What an agent's answer is, as the model wrote it, and whether it is one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kairos.agents.faults import told_of
from kairos.contracts.contract import ContractBroken

if TYPE_CHECKING:
    from kairos.agents.plan import Plan
    from kairos.contracts.field_errors import FieldValidationError

__all__ = ["judged", "why_given_up"]


def judged(plan: Plan, text: str, attempt: int) -> tuple[bytes, str | None]:
    """Return the JSON of an answer, or what the model is told is wrong with its `attempt`-th."""
    contract = plan.answer
    errors: tuple[FieldValidationError, ...] = ()
    try:
        if contract is None:
            return text.encode(), None
        return contract.check_output(contract.check_json(_json(plan, text))), None
    except ContractBroken as broken:
        errors = broken.errors
    except (ValueError, RecursionError):
        pass
    known = (plan.schema or {}).get("properties", {})
    return b"", json.dumps(told_of(errors, known, attempt))


def _json(plan: Plan, text: str) -> bytes:
    """Return the JSON of an answer; a model may have put it into a fence."""
    if plan.schema is None:
        return json.dumps(text).encode()
    inner = text.strip()
    if inner.startswith("```") and inner.endswith("```"):
        inner = inner.removeprefix("```").removeprefix("json").removesuffix("```")
    if plan.wrapped:
        found = json.loads(inner)
        if isinstance(found, dict) and found.keys() == {"answer"}:
            return json.dumps(found["answer"]).encode()
    return inner.encode("utf-8", "replace")


def why_given_up(arguments: str) -> str:
    """Return why a model gives up; whoever gives up is not held to the form of it."""
    try:
        reason = json.loads(arguments)["reason"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return reason if isinstance(reason, str) else ""
