"""A foreach in the machine: which of its elements are done, and what follows from that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.commands import StartItems
from kairos.enums import FailureAction, ForeachPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kairos.config import StepConfig
    from kairos.events import AttemptFailed, ItemCompleted

__all__ = ["Fan"]

_AGAIN = (FailureAction.RETRY, FailureAction.REPLAN)


class Fan:
    """Where the foreach of one step stands.

    `left` counts the elements that have not come to their end, `verdict` is the failure that
    closed it, `pausing` are the elements that wait for their retry.
    """

    __slots__ = (
        "_failed",
        "_following",
        "_outputs",
        "_parallel",
        "_partial",
        "_step",
        "_writes",
        "left",
        "pausing",
        "succeeded",
        "verdict",
    )

    def __init__(self, step: int, items: int, config: StepConfig) -> None:
        self._step = step
        self._parallel = config.parallel
        self._partial = config.foreach_policy is ForeachPolicy.ALLOW_PARTIAL
        self._outputs: list[bytes | None] = [None] * items
        self._writes: dict[int, Mapping[str, bytes]] = {}
        self._following = 0  # the next element of a serial foreach
        self._failed = 0
        self.left = items
        self.succeeded = 0
        self.pausing: set[int] = set()
        self.verdict: AttemptFailed | None = None

    @property
    def total(self) -> int:
        """How many elements it has."""
        return len(self._outputs)

    @property
    def open(self) -> bool:
        """Whether its end does not follow yet from what has happened."""
        return self.left > 0 or self.verdict is not None

    def begin(self) -> StartItems:
        """Return the command that starts it."""
        if self._parallel:
            return StartItems(self._step, range(self.total), 1)
        self._following = 1
        return StartItems(self._step, (0,), 1)

    def complete(self, event: ItemCompleted) -> None:
        """Take note of what an element brought."""
        self._outputs[event.item] = event.output
        if event.writes:
            self._writes[event.item] = event.writes
        self.succeeded += 1

    def bears(self, failed: AttemptFailed, *, stopping: bool) -> bool:
        """Count a failure that is final; tell whether the foreach goes on in spite of it."""
        if failed.action is FailureAction.SKIP:
            return True
        if not self._partial or failed.action is FailureAction.REPLAN or stopping:
            return False
        self._failed += 1
        return True

    def following(self) -> StartItems | None:
        """Return the command for the next element; a parallel foreach has offered all of them."""
        if self._parallel:
            return None
        self._following += 1
        return StartItems(self._step, (self._following - 1,), 1)

    def futile(self) -> str:
        """Say that all that could fail did, where nothing succeeded; otherwise nothing."""
        if self.succeeded or not self._failed:
            return ""
        if self._failed < self.total:
            return f"all {self._failed} failed elements of its foreach, and none succeeded"
        return f"all {self._failed} elements of its foreach failed"

    def gathered(self) -> tuple[bytes, dict[str, bytes] | None]:
        """Return the list of outputs, and what the elements wrote, in their order."""
        output = b"[" + b",".join(b"null" if o is None else o for o in self._outputs) + b"]"
        writes: dict[str, bytes] = {}
        for item in sorted(self._writes):
            writes.update(self._writes[item])
        return output, writes or None

    def recovered(self, last: Callable[[int], AttemptFailed | None]) -> list[StartItems]:
        """Return the commands for what had not come to its end; `last` tells an element's failure.

        No pause before a retry is waited for a second time.
        """
        self.pausing.clear()
        fresh: list[int] = []
        again: list[StartItems] = []
        for item, output in enumerate(self._outputs):
            failed = last(item)
            if output is not None or (failed is not None and failed.action not in _AGAIN):
                continue
            if failed is None:
                fresh.append(item)
            else:
                command = StartItems(self._step, (item,), failed.attempt + 1, failed.retry_context)
                again.append(command)
        if self._parallel:
            return [*again, *([StartItems(self._step, fresh, 1)] if fresh else ())]
        first = again[0] if again else StartItems(self._step, fresh[:1], 1)
        self._following = first.items[0] + 1
        return [first]
