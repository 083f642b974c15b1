"""A run that goes on by itself, and the handle by which it is awaited and stopped."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any

from kairos.engine.driver import RunControl
from kairos.exceptions import KairosError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from kairos.workflow_result import WorkflowResult

__all__ = ["Run"]


class Run:
    """A run on a thread of its own: `result()` or `await` it, or `cancel()` it."""

    def __init__(self, drive: Callable[[RunControl], WorkflowResult]) -> None:
        self._control = RunControl()
        self._result: WorkflowResult | None = None
        self._error: BaseException | None = None
        self._ended = threading.Event()
        context = contextvars.copy_context()  # what the caller's observers and loggers go by
        self._thread = threading.Thread(
            target=context.run, args=(self._drive, drive), name="kairos-run", daemon=True
        )
        self._thread.start()

    def _drive(self, drive: Callable[[RunControl], WorkflowResult]) -> None:
        try:
            self._result = drive(self._control)
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the result
            self._error = error
        finally:
            self._ended.set()

    def cancel(self, reason: str = "cancelled", *, now: bool = False) -> None:
        """Stop the run: nothing new starts, what runs is told (`ctx.cancelled`).

        What runs is waited for, five seconds at most; with `now` not at all.  What is done is kept:
        `result()` tells it.  A run that has ended is left as it is.
        """
        self._control.cancel(reason, now=now)

    def done(self) -> bool:
        """Tell whether the run has ended."""
        return self._ended.is_set()

    def result(self, timeout: float | None = None) -> WorkflowResult:
        """Wait for the end, `timeout` seconds at most, and return how the run ended.

        Raises TimeoutError when it has not ended by then.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError("the run has not ended yet")
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise KairosError("the run ended without a result")
        return self._result

    def __await__(self) -> Generator[Any, None, WorkflowResult]:
        import asyncio  # noqa: PLC0415 - whoever awaits has it already

        return asyncio.to_thread(self.result).__await__()
