"""What comes back from a model piece by piece.

A stream ends with `Finished` or with a ModelError: one that ends otherwise has failed, and says
so itself.  What was given out once is never given out again.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from kairos.models.reply import ModelResponse, TokenUsage

__all__ = [
    "Finished",
    "ReasoningDelta",
    "StreamEvent",
    "TextDelta",
    "ToolCallDelta",
    "ToolCallStarted",
    "UsageSeen",
]


class TextDelta(NamedTuple):
    """More of the answer's text."""

    text: str


class ReasoningDelta(NamedTuple):
    """More of what the model thinks."""

    text: str


class ToolCallStarted(NamedTuple):
    """A tool is asked for, the `call`-th of this answer from 0; its arguments follow under it."""

    call: int
    id: str
    name: str


class ToolCallDelta(NamedTuple):
    """More of the JSON text of a tool call's arguments."""

    call: int
    arguments: str


class UsageSeen(NamedTuple):
    """What was consumed so far; each replaces the one before."""

    usage: TokenUsage


class Finished(NamedTuple):
    """The stream is complete: the whole answer."""

    response: ModelResponse


StreamEvent: TypeAlias = (
    TextDelta | ReasoningDelta | ToolCallStarted | ToolCallDelta | UsageSeen | Finished
)
