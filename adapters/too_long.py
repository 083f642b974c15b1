"""Whether a request was refused because the model's context window is too small for it.

Only OpenAI has a code for this.  The others say it in words, so that the words are looked at, and
go no further than that.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["says_too_long"]

_SHOWN = 400
"""Characters that are looked at: what comes later in a message may be the request itself."""

_WORDS = re.compile(
    r"prompt (?:is )?too long"  # Claude, and z.ai without its verb
    r"|exceed(?:s|ed)? (?:the )?context (?:limit|window|size|length)"  # Claude, OpenAI
    r"|input token count.{0,40}exceeds the maximum"  # Gemini
    r"|maximum (?:context|prompt|input|sequence) length"  # vLLM, OpenRouter, Mistral, xAI
    r"|exceeds the available context size"  # llama.cpp
    r"|(?:greater|longer) than the (?:context|maximum context|model's context) length"  # LM Studio
    r"|input tokens exceed the configured limit"  # Azure
    r"|context[_ ](?:length|window)[_ ]exceed(?:s|ed)"
    r"|input is too long for requested model"  # Bedrock behind a gateway
    r"|reduce the length of the messages",  # Groq
    re.IGNORECASE,
)


def says_too_long(message: Any) -> bool:
    """Tell whether a provider's message means that a shorter conversation would pass."""
    return isinstance(message, str) and _WORDS.search(message[:_SHOWN]) is not None
