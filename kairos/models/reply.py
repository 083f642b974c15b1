"""What a model answered, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from kairos.models.parts import Message, Part, ToolCall

__all__ = ["ModelResponse", "StopReason", "TokenUsage"]

StopReason: TypeAlias = Literal["end", "tools", "length", "stop_sequence", "refused", "filtered"]
"""Why a model stopped: it was done, it asks for tools, or it ran into something."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What one call consumed, as the provider counted it.

    `input_tokens` holds those read from and written to a cache, `output_tokens` those of
    reasoning.  `estimated_cost_usd` is None when the price is not known: unknown is never free.
    `estimated` says that a count is ours and not the provider's, which had none to tell.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    estimated_cost_usd: float | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class ModelResponse:
    """One whole answer: its `text`, who gave it, what it cost, how many milliseconds it took.

    `parts` is all of it in order: text, reasoning, tool calls.  `raw` is the SDK's own object.  It
    stays out of the repr and of comparisons, since it may hold the prompt, headers or a key.
    `metadata` is for what providers do not have in common.
    """

    text: str
    model: str
    usage: TokenUsage
    latency_ms: float
    raw: Any = field(default=None, repr=False, compare=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    stop: StopReason = "end"

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model asks for, in its order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def message(self) -> Message:
        """The answer as a message of the conversation."""
        return Message("assistant", self.parts)
