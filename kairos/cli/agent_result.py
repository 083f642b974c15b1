"""How an agent's work ended: one line for a person, one document for a program."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.cli.output import count, span
from kairos.redaction.visible import visible
from kairos.security import redact_sensitive

if TYPE_CHECKING:
    from kairos.agents.result import AgentResult
    from kairos.models import TokenUsage

__all__ = ["Asked", "closing", "document", "interrupted", "stopped", "totals"]

_WHY = {
    "gave_up": "the model gave up",
    "iterations": "--max-iterations is reached",
    "tool_calls": "--max-tool-calls is reached",
    "total_tokens": "--max-total-tokens is reached",
    "usd": "--max-usd is reached",
    "unpriced": "--max-usd cannot be held, since nobody knows the model's price",
    "seconds": "--max-seconds is reached",
    "repeated_calls": "the same call brought the same result again and again",
    "repeated_text": "the model said the same again and again",
    "invalid_answer": "the answer breaks its contract",
    "refused": "the model refused",
    "filtered": "the answer was filtered",
    "cut_off": "the answer is longer than --max-tokens",
    "model_failed": "the model failed",
    "tool_failed": "a tool failed",
    "cancelled": "interrupted",
}


def stopped(result: AgentResult) -> str | None:
    """Say why there is no answer, with the model's error; None where there is one."""
    if result.answered:
        return None
    why = _WHY.get(result.stop_reason, result.stop_reason.replace("_", " "))
    return f"{why}: {visible(str(result.error.message))}" if result.error is not None else why


def closing(result: AgentResult, *, between: str) -> str:
    """Return how it ended, and what it took, on one line."""
    told = "answered" if result.answered else f"stopped ({result.stop_reason})"
    return between.join(
        (
            told,
            count(result.iterations, "iteration"),
            count(len(result.actions), "tool call"),
            _tokens(result.usage),
            _cost(result.cost),
            span(result.seconds * 1000),
        )
    )


def interrupted(iterations: int, calls: int, tokens: int, *, between: str) -> str:
    """Return the same of a task that was interrupted, as far as it was seen."""
    return between.join(
        (
            "stopped (interrupted)",
            count(iterations, "iteration"),
            count(calls, "tool call"),
            count(tokens, "token"),
        )
    )


def _tokens(usage: TokenUsage) -> str:
    total = usage.total_tokens or usage.input_tokens + usage.output_tokens
    about = "about " if getattr(usage, "estimated", False) else ""
    return about + count(total, "token")


def _cost(usd: float | None) -> str:
    return "cost unknown" if usd is None else f"${usd:.4f}"


def totals(tasks: int, usage: TokenUsage, usd: float | None, *, between: str) -> str:
    """Return what a session has taken, this time and before, on one line."""
    return between.join((count(tasks, "task"), f"in all {_tokens(usage)}", _cost(usd)))


class Asked(NamedTuple):
    """Whom it was asked, and in which session."""

    provider: str
    model: str
    session: str | None


def document(result: AgentResult, asked: Asked, code: int) -> dict[str, Any]:
    """Return all that came of it as plain data, secrets masked."""
    error = result.error
    return {
        "version": 1,
        "ok": result.answered,
        "exit": code,
        "error": None if error is None else {"kind": error.kind, "message": error.message},
        "stop_reason": result.stop_reason,
        "model": {"provider": asked.provider, "name": asked.model},
        "session": asked.session,
        "output": redact_sensitive(result.output),
        "answer": redact_sensitive(_plain(result.answer)),
        "iterations": result.iterations,
        "usage": dataclasses.asdict(result.usage),
        "cost_usd": result.cost,
        "seconds": result.seconds,
        "actions": [redact_sensitive(each._asdict()) for each in result.actions],
    }


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else value
