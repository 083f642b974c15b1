"""What an agent's conversation is held to: all that the loop has to know beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from kairos.agents.compaction import Compaction
from kairos.agents.limits import Limits
from kairos.contracts.contract import Contract
from kairos.models import ToolSpec
from kairos.models.request import DEFAULT_MAX_TOKENS, DEFAULT_TIMEOUT

__all__ = ["FINAL", "GIVE_UP", "Mode", "Plan", "Via", "wrapped_schema"]

FINAL = "final_answer"
"""The tool through which an answer is given where the model has no structured output of its own."""

GIVE_UP = "give_up"
"""The tool by which a model that works on its own says that its goal cannot be reached."""

Via: TypeAlias = Literal["output", "tool"]
Mode: TypeAlias = Literal["task", "autonomous", "supervised"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a conversation; `tools` are what the model is shown.

    `answer` is the contract of the answer, None for plain text, and `via` how the model gives it.
    `schema` is what the model is held to, an object, which holds the answer itself under `answer`
    where it is `wrapped`; None where the answer is a text.  `most_calls` says how often a tool may
    be called in a task.  `autonomous` says that the model works until it calls the tool for the
    answer or the one for giving up, and that nothing it says ends its task.
    """

    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    limits: Limits = field(default_factory=Limits)
    answer: Contract | None = None
    schema: Mapping[str, Any] | None = None
    wrapped: bool = False
    via: Via = "output"
    answer_retries: int = 2
    most_calls: Mapping[str, int] = field(default_factory=dict)
    max_tokens: int = DEFAULT_MAX_TOKENS
    timeout: float = DEFAULT_TIMEOUT
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    autonomous: bool = False
    compaction: Compaction | None = None

    def answering(self, contract: Contract) -> Plan:
        """Return this plan with an answer under a contract."""
        schema = contract.json_schema("validation")
        if schema.get("type") == "string" and not self.autonomous:  # what a model says is a text
            return replace(self, answer=contract, schema=None, wrapped=False)
        fitted, wrapped = wrapped_schema(schema)
        return replace(self, answer=contract, schema=fitted, wrapped=wrapped)

    @property
    def by_tool(self) -> bool:
        """Whether the answer is the argument of a tool."""
        return self.schema is not None and (self.autonomous or self.via == "tool")

    @property
    def shown(self) -> tuple[ToolSpec, ...]:
        """All tools that the model is shown: its own, and those by which it ends its task."""
        if self.schema is None or not self.by_tool:
            return self.tools
        if self.autonomous:
            return (*self.tools, ToolSpec(FINAL, _REACHED, self.schema), _GIVE_UP)
        return (*self.tools, ToolSpec(FINAL, _ENDS, self.schema))

    @property
    def ending(self) -> tuple[str, ...]:
        """The names of the tools by which the model ends its task."""
        if not self.by_tool:
            return ()
        return (FINAL, GIVE_UP) if self.autonomous else (FINAL,)


def wrapped_schema(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Return a schema whose root is an object, and whether the answer had to be wrapped for it.

    Tools and most structured outputs take an object at the root, and an answer need not be one.
    """
    if schema.get("type") == "object":
        return schema, False
    found: dict[str, Any] = {
        "type": "object",
        "properties": {"answer": {k: one for k, one in schema.items() if k != "$defs"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    if "$defs" in schema:
        found["$defs"] = schema["$defs"]
    return found, True


_ENDS = "Give the final answer; this ends the task."
_REACHED = "Say that the goal is reached, and give the final answer; this ends the task."
_GIVE_UP = ToolSpec(
    GIVE_UP,
    "Say that the goal cannot be reached, and why; this ends the task.",
    {
        "type": "object",
        "properties": {"reason": {"type": "string", "description": "Why it cannot be reached."}},
        "required": ["reason"],
        "additionalProperties": False,
    },
)
