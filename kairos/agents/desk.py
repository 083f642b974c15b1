"""What an agent works with: its tools, and the rules under which they are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from kairos.agents.authority import Approve, Before, Guard
from kairos.agents.events import ToolFinished
from kairos.agents.tools import Tool

__all__ = ["Desk", "ErrorHandler", "ErrorStrategy", "Progress", "ToolContext", "ToolFailure"]

ErrorStrategy: TypeAlias = Literal["tell", "retry", "skip", "abort", "ask"]


class ToolFailure(NamedTuple):
    """What a handler of failing tools is told: which one, in sanitised words, how often by now."""

    tool: str
    error: str
    message: str
    attempt: int


ErrorHandler: TypeAlias = Callable[[ToolFailure], ErrorStrategy | Awaitable[ErrorStrategy]]


class ToolContext:
    """What a tool is handed of the step it works for: what that may read, and nothing else.

    `inputs` and `item` are the step's own.  `call_id` is the same when a run is taken up again
    after a crash, and so is `idempotency_key`: hand it to a service that recognises a request it
    has carried out already.
    """

    __slots__ = ("_cancelled", "_read", "_tell", "call_id", "idempotency_key", "inputs", "item")

    def __init__(
        self,
        inputs: Mapping[str, Any],
        item: Any,
        call_id: str,
        idempotency_key: str,
        *,
        read: Callable[[str, Any], Any] | None,
        cancelled: Callable[[], bool],
        tell: Callable[[Any], None],
    ) -> None:
        self.inputs = inputs
        self.item = item
        self.call_id = call_id
        self.idempotency_key = idempotency_key
        self._read = read
        self._cancelled = cancelled
        self._tell = tell

    @property
    def cancelled(self) -> bool:
        """Whether the call should stop: nobody waits for it any longer."""
        return self._cancelled()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value of the state.  Raises StateError for a key that the step may not read."""
        return default if self._read is None else self._read(key, default)

    def progress(self, value: Any) -> None:
        """Tell whoever watches how far it is; the model does not hear of it."""
        self._tell(value)


class Progress(NamedTuple):
    """How far an agent is, after each turn."""

    iterations: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Desk:
    """The tools by name, and the rules.

    `approve` is asked what a guard wants asked, and answers within `approval_timeout` seconds:
    True or False, `Allow()` or `Deny()`.  `guard_timeout` is how long a guard may take, and
    `before`, in seconds; then it has denied.
    """

    tools: Mapping[str, Tool] = field(default_factory=dict)
    guards: tuple[Guard, ...] = ()
    approve: Approve | None = None
    approval_timeout: float = 300.0
    dry_run: bool = False
    on_error: ErrorStrategy | ErrorHandler = "tell"
    retries: int = 1
    before: Before | None = None
    after: Callable[[ToolFinished], object] | None = None
    guard_timeout: float = 60.0
