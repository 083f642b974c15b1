"""What is asked of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kairos.models.parts import Message

__all__ = ["DEFAULT_MAX_TOKENS", "DEFAULT_TIMEOUT", "Request", "ToolSpec"]

DEFAULT_MAX_TOKENS = 4096
"""Always sent, since one provider refuses to answer without it and a bill should have a bound."""

DEFAULT_TIMEOUT = 120.0


class ToolSpec(NamedTuple):
    """A tool as a model sees it; `parameters` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a model.

    `messages` never change once they are in a request; a long conversation lends a view of itself.
    `output` is the JSON Schema that the reply has to satisfy, under the name `output_name`; None
    for plain text.  `forced` names the one of `tools` that has to be called.  `timeout` is in
    seconds and covers the whole call.  `options` are the provider's own, handed through as they
    are.  None is the provider's default.
    """

    messages: Sequence[Message]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    output: Mapping[str, Any] | None = None
    output_name: str = "answer"
    forced: str = ""
    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    timeout: float = DEFAULT_TIMEOUT
    options: Mapping[str, Any] = field(default_factory=dict)
