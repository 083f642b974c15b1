"""What an action is handed, and the fence that stands between it and the run."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from kairos.budget import PATIENCE, Budget, Ledger, Reservation, Spend
from kairos.config import check_count, check_seconds
from kairos.reserving import unwanted
from kairos.spending import Tab

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos.contracts.contract import Contract
    from kairos.state import ScopedStateProxy, StateStore

__all__ = ["Context", "Fence", "In_co", "Signal", "StepContext"]

In_co = TypeVar("In_co", bound=Mapping[str, Any], default=Mapping[str, Any], covariant=True)


class Signal:
    """What an attempt sees of its fence: one flag, from which nothing else can be reached."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False


class Fence:
    """Stands between one attempt and the run: says whether the attempt is still wanted.

    `deadline` is on the driver's monotonic clock.  `on_cancel` is called when the attempt is told
    to stop and `on_give_up` when it is waited for no longer, for work that can be reached from
    outside (a process, a task).
    """

    __slots__ = ("deadline", "given_up", "on_cancel", "on_give_up", "signal")

    def __init__(self) -> None:
        self.signal = Signal()
        self.given_up = False
        self.deadline: float | None = None
        self.on_cancel: Callable[[], Any] | None = None
        self.on_give_up: Callable[[], Any] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was told that it should stop."""
        return self.signal.cancelled

    def cancel(self) -> None:
        """Tell the attempt that it should stop."""
        self.signal.cancelled = True
        tell = self.on_cancel  # the attempt's own thread may take it away at any moment
        if tell is not None:
            tell()

    def give_up(self) -> None:
        """Stop waiting for the attempt: whatever it still brings will be dropped."""
        self.signal.cancelled = self.given_up = True
        stop = self.on_give_up
        if stop is not None:
            stop()


class StepContext(Generic[In_co]):
    """What an action is handed: its inputs, its view of the state, and where it stands.

    `inputs` maps the workflow's inputs and the outputs of the steps it depends on (or, where
    `read_keys` is declared, exactly those keys) to values of its own; `item` and `item_index` are
    the element of a foreach and its position; `retry_context` says in sanitised words why the
    previous attempt failed; `output_contract` is the contract of what the action is to return, for
    whoever has to be told of it beforehand, and None where it may return anything.

    `StepContext[In]`, for short `Context[In]`, is a context whose `inputs` are typed by the
    TypedDict `In`: an action that is annotated so reads the keys of `In`, and no others.
    """

    __slots__ = (
        "_ledger",
        "_said",
        "_signal",
        "_tab",
        "attempt",
        "inputs",
        "item",
        "item_index",
        "output_contract",
        "retry_context",
        "run_id",
        "state",
        "step_id",
    )

    def __init__(  # noqa: PLR0917 - the published order, and made for every attempt
        self,
        state: StateStore | ScopedStateProxy,
        inputs: Mapping[str, Any],
        item: Any = None,
        retry_context: dict[str, Any] | None = None,
        step_id: str = "",
        attempt: int = 1,
        run_id: str = "",
        item_index: int | None = None,
        signal: Signal | None = None,
        ledger: Ledger | None = None,
        output_contract: Contract | None = None,
        tab: Tab | None = None,
    ) -> None:
        self.state = state
        self.inputs: In_co = inputs  # type: ignore[assignment]  # what fills it keeps to In
        self.item = item
        self.retry_context = retry_context
        self.step_id = step_id
        self.attempt = attempt
        self.run_id = run_id
        self.item_index = item_index
        self.output_contract = output_contract
        self._said: dict[str, None] | None = None
        self._tab = Tab() if tab is None else tab
        self._signal = signal
        self._ledger = ledger

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop: the run was cancelled, or waits for it no longer."""
        return self._signal is not None and self._signal.cancelled

    @property
    def spent(self) -> Spend | None:
        """What this attempt has booked so far."""
        return self._tab.spent

    def warn(self, message: str) -> None:
        """Say something that the user should know, and that changes nothing.

        It is written down with the end of the attempt, once for the whole step however many
        attempts and items say it, and stands in the result's `warnings`.  What looks like a
        credential is masked, and what is longer than 500 characters is cut.
        """
        from kairos.security import scrub_credentials  # noqa: PLC0415 - few attempts have a say

        with _SAYING:
            self._said = self._said or {}
            if len(self._said) < _MOST_SAID:
                self._said[scrub_credentials(str(message))[:_LONGEST_SAID]] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this attempt has warned of so far."""
        return tuple(self._said or ())

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this work in this run, and for no other work.

        Hand it to a service that can recognise a request it has already carried out.
        """
        at = "" if self.item_index is None else f"/{self.item_index}"
        return f"{self.run_id}/{self.step_id}{at}"

    def increment_llm_calls(self, count: int = 1) -> None:
        """Count calls to a model.  Raises BudgetExceededError when the run has no more."""
        check_count("count", count, least=0)
        self.charge(llm_calls=count)

    def charge(
        self,
        *,
        llm_calls: int = 0,
        input_tokens: int = 0,
        output_tokens: int = 0,
        usd: float | None = 0.0,
    ) -> None:
        """Book spending to the run; `usd=None`, or NaN, says that the price is unknown.

        Raises BudgetExceededError when it is more than the workflow's budget has left, and
        ConfigError, with nothing booked, for what is no amount.
        """
        spend = _amount(llm_calls, input_tokens, output_tokens, usd)
        self._tab.note(spend)
        if self._ledger is not None:
            self._ledger.charge(spend)

    def reserve(
        self,
        *,
        llm_calls: int = 1,
        input_tokens: int = 0,
        output_tokens: int = 0,
        usd: float | None = 0.0,
        wait: float = PATIENCE,
    ) -> Reservation:
        """Set aside what a call may cost at most, before it is made; see `Ledger.reserve`.

        ::

            with ctx.reserve(input_tokens=900, output_tokens=4096, usd=0.07) as reserved:
                answer = ask()
                reserved.settle(Spend(1, answer.read, answer.written, answer.usd))

        Where it does not fit only because of what others have reserved, it waits up to `wait`
        seconds for them to settle, though never on an event loop: use `reserve_async` there.

        Raises BudgetExceededError, with nothing booked and no call to be made, where it does not
        fit, ExecutionError where the attempt was told to stop: nobody wants what it would pay for;
        and ConfigError for what is no amount.
        """
        spend = _amount(llm_calls, input_tokens, output_tokens, usd)
        signal, note = self._signal, self._tab.note
        given_up = None if signal is None else lambda: signal.cancelled
        account = self._account()
        made = account.reserve(spend, wait=wait, given_up=given_up, on_settled=note)
        self._tab.hold(made)
        return made

    async def reserve_async(
        self,
        *,
        llm_calls: int = 1,
        input_tokens: int = 0,
        output_tokens: int = 0,
        usd: float | None = 0.0,
        wait: float = PATIENCE,
    ) -> Reservation:
        """Do as `reserve`, without blocking the event loop while it waits."""
        spend = _amount(llm_calls, input_tokens, output_tokens, usd)
        account, note = self._account(), self._tab.note
        made = await account.reserve_async(spend, wait=wait, on_settled=note)
        self._tab.hold(made)
        return made

    def _account(self) -> Ledger:
        if self.cancelled:
            raise unwanted()
        if self._ledger is None:  # made by hand, in a test
            self._ledger = Ledger(Budget(llm_calls=None))
        return self._ledger


_MOST_SAID, _LONGEST_SAID = 20, 500
# One for all: it is held for a microsecond, and an attempt that says nothing pays nothing for it.
_SAYING = threading.Lock()


def _amount(calls: int, read: int, written: int, usd: float | None) -> Spend:
    check_count("llm_calls", calls, least=0)
    check_count("input_tokens", read, least=0)
    check_count("output_tokens", written, least=0)
    if isinstance(usd, float) and not math.isfinite(usd):
        usd = None  # no price that anyone could add up
    if usd is not None:
        check_seconds("usd", usd, above_zero=False)
    return Spend(calls, read, written, usd)


Context = StepContext
