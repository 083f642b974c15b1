"""What is said to a language model and what comes back, in words that no provider owns.

`parts` has messages and what they are made of, `request` what is asked, `stream` what comes back
piece by piece, `reply` the whole of it, `errors` how it fails.  A provider's module maps these to
its own wire format and back; agents, steps and tests know nothing else.
"""

from __future__ import annotations

from kairos.models.errors import ModelError
from kairos.models.model import Model
from kairos.models.parts import (
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    as_messages,
)
from kairos.models.reply import ModelResponse, StopReason, TokenUsage
from kairos.models.request import Request, ToolSpec
from kairos.models.stream import (
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageSeen,
)

__all__ = [
    "Document",
    "Finished",
    "Image",
    "Message",
    "Model",
    "ModelError",
    "ModelResponse",
    "Part",
    "Reasoning",
    "ReasoningDelta",
    "Request",
    "StopReason",
    "StreamEvent",
    "Text",
    "TextDelta",
    "TokenUsage",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallStarted",
    "ToolResult",
    "ToolSpec",
    "UsageSeen",
    "as_messages",
]
