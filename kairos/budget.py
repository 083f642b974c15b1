"""What a run, a step or an item may spend, what it has spent, and what is set aside.

A call that costs money is reserved before it is made and settled when its price is known.  What is
reserved counts as spent meanwhile, so that calls made at the same time cannot each believe that
the last cent is theirs.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from kairos.exceptions import BudgetExceededError
from kairos.reserving import PATIENCE, Claim, Desk
from kairos.spending import Budget, Spend, Sum, Tab, picos

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AROUND", "PATIENCE", "Budget", "Ledger", "Reservation", "Scope", "Spend"]

Scope: TypeAlias = Literal["run", "step", "item"]


class _Account:
    """The account of a run, a step or an item: what it may spend, has spent, has set aside."""

    __slots__ = ("held", "limits", "most", "name", "scope", "spent", "tripped", "until")

    def __init__(self, limits: Budget, spent: Spend, scope: Scope, name: str) -> None:
        self.limits = limits
        self.most = None if limits.usd is None or math.isinf(limits.usd) else picos(limits.usd)
        self.spent = Sum(spent)
        self.held = Sum()
        self.scope: Scope = scope
        self.name = name
        self.tripped: tuple[str, str] | None = None
        self.until: float | None = None

    def over(self, *sums: Sum) -> tuple[str, str] | None:
        """Say which limit the sum of some amounts is over, if any."""
        limits, calls, read, written, money = self.limits, 0, 0, 0, 0
        for each in sums:
            calls += each.calls
            read += each.read
            written += each.written
            money += each.picos
        if limits.llm_calls is not None and calls > limits.llm_calls:
            return "llm_calls", self._told(f"LLM call limit reached: {limits.llm_calls}")
        if limits.tokens is not None and read + written > limits.tokens:
            return "tokens", self._told(f"token limit reached: {limits.tokens}")
        if limits.input_tokens is not None and read > limits.input_tokens:
            return "input_tokens", self._told(f"input token limit reached: {limits.input_tokens}")
        if limits.output_tokens is not None and written > limits.output_tokens:
            told = f"output token limit reached: {limits.output_tokens}"
            return "output_tokens", self._told(told)
        if self.most is not None and money > self.most:
            return "usd", self._told(f"spending limit reached: {limits.usd} USD")
        return None

    def unpriced(self, amount: Sum) -> tuple[str, str] | None:
        """Say that a price is not known, where that matters."""
        limits = self.limits
        if amount.unknown and limits.usd is not None and limits.unknown_prices == "refuse":
            told = f"a price is not known, and spending is limited: {limits.usd} USD"
            return "prices", self._told(told)
        return None

    def late(self, now: float) -> None:
        """Take note of the time: it may be over."""
        if self.until is not None and now >= self.until and self.tripped is None:
            told = f"wall-time budget of {self.limits.seconds:g} s is spent"
            self.tripped = "seconds", self._told(told)

    def error(self, budget: str, message: str) -> BudgetExceededError:
        """Put the end of a budget into an error."""
        fix = f"raise the budget of {budget} of {self._whose()}"
        if budget == "prices":
            fix = "give it: prices=Prices({...}); or let it pass: Budget(unknown_prices='allow')"
        elif self.scope == "run":
            fix = f"raise the workflow's budget of {budget}"
        return BudgetExceededError(message, budget=budget, scope=self.scope, fix=fix)

    def _told(self, message: str) -> str:
        return message if self.scope == "run" else f"{message} ({self._whose()})"

    def _whose(self) -> str:
        step = f"step '{self.name}'" if self.name else "the step"
        return {"run": "the run", "step": step, "item": f"an item of {step}"}[self.scope]


class Ledger:
    """The account of a run, a step or an item, shared by all its attempts and threads.

    With a `parent` it is one in a chain (item, step, run): what is booked is booked in all of it,
    and what is reserved is reserved in all of it or nowhere.  It holds numbers and nothing else, so
    that a step's context may hold it too.  `name` is that of the step.
    `tab` is that of the attempt that makes a whole run within the `parent`, and is told of it all.
    """

    __slots__ = ("_chain", "_desk", "_own", "_tabs", "_timed")

    takes_in = True
    """Whether a run that is made within it can be booked on it."""

    def __init__(
        self,
        limits: Budget | None = None,
        spent: Spend | None = None,
        *,
        parent: Ledger | None = None,
        scope: Scope = "run",
        name: str = "",
        tab: Tab | None = None,
    ) -> None:
        self._own = _Account(limits or Budget(), spent or Spend(), scope, name)
        above: tuple[_Account, ...] = () if parent is None else parent._chain  # noqa: SLF001
        self._chain: tuple[_Account, ...] = (self._own, *above)
        # a run within a run has a clock of its own
        timed = () if parent is None or scope == "run" else parent._timed  # noqa: SLF001
        self._timed: tuple[_Account, ...] = (self._own, *timed)
        tabs = () if parent is None else parent._tabs  # noqa: SLF001
        self._tabs: tuple[Tab, ...] = tabs if tab is None else (*tabs, tab)
        self._desk: Desk = Desk() if parent is None else parent._desk  # noqa: SLF001

    @property
    def spent(self) -> Spend:
        """The sum of everything booked so far."""
        return self._own.spent.spend()

    @property
    def reserved(self) -> Spend:
        """The sum of everything that is reserved and not yet settled."""
        return self._own.held.spend()

    @property
    def tripped(self) -> tuple[str, str] | None:
        """Which budget ran out, and the same in words; None while there is enough."""
        return self._own.tripped

    def charge(self, spend: Spend) -> None:
        """Book what is about to be spent.

        Raises BudgetExceededError when it is more than is left; from then on every charge does,
        and what the budget is of fails even when the action swallows the error.
        """
        amount = Sum(spend)
        with self._desk.lock:
            for each in self._chain:
                each.spent.add(amount)
                if each.tripped is None:
                    each.tripped = each.over(each.spent, each.held)
            stopped = _stopped(self._chain)
            if stopped is not None:
                self._desk.look()
        for tab in self._tabs:
            tab.note(spend)
        if stopped is not None:
            raise stopped

    def reserve(
        self,
        estimate: Spend,
        *,
        wait: float = PATIENCE,
        given_up: Callable[[], bool] | None = None,
        on_settled: Callable[[Spend], None] | None = None,
    ) -> Reservation:
        """Set aside what a call may cost at most, before it is made.

        Where it would fit if only what others have reserved were settled, it waits for that, in
        turn and up to `wait` seconds.  It never waits on an event loop, nor in a thread that holds
        a reservation itself: nobody might be left to settle.  `given_up` is asked ten times a
        second whether the wait is in vain; `on_settled` is told what was booked in the end.

        Raises BudgetExceededError where it does not fit, with nothing booked.
        """
        reservation = self._reservation(estimate, on_settled)
        self._desk.enter(reservation, wait, given_up)
        return self._held(reservation)

    async def reserve_async(
        self,
        estimate: Spend,
        *,
        wait: float = PATIENCE,
        on_settled: Callable[[Spend], None] | None = None,
    ) -> Reservation:
        """Do as `reserve`, without blocking the event loop; being cancelled gives all back."""
        reservation = self._reservation(estimate, on_settled)
        await self._desk.enter_async(reservation, wait)
        return self._held(reservation)

    def _reservation(
        self, estimate: Spend, on_settled: Callable[[Spend], None] | None
    ) -> Reservation:
        own = () if on_settled is None else (on_settled,)
        told = (*own, *(tab.note for tab in self._tabs))
        return Reservation(self._chain, self._desk, estimate, told)

    def _held(self, reservation: Reservation) -> Reservation:
        for tab in self._tabs:
            tab.hold(reservation)
        return reservation

    def trip(self, budget: str, message: str) -> None:
        """Declare a budget spent that is not counted here: wall time."""
        with self._desk.lock:
            self._own.tripped = self._own.tripped or (budget, message)
            self._desk.look()

    @property
    def until(self) -> float | None:
        """When its wall time ends; None where it has not begun, or is not limited."""
        return self._own.until

    def start(self, now: float) -> float | None:
        """Let its wall time begin, unless it has begun; return when it ends, if it does."""
        own = self._own
        if own.until is None and own.limits.seconds is not None:
            own.until = now + own.limits.seconds
        return min((each.until for each in self._timed if each.until is not None), default=None)

    def check(self, now: float) -> None:
        """Raise BudgetExceededError where it, or what it is part of, has run out."""
        with self._desk.lock:
            for each in self._timed:
                each.late(now)
            self._desk.look()
            stopped = _stopped(self._chain)
        if stopped is not None:
            raise stopped

    def overdrawn(self) -> BudgetExceededError | None:
        """Return the end of the budget of an item or a step, where it has come."""
        for each in self._chain:
            if each.scope != "run" and each.tripped is not None:
                return each.error(*each.tripped)
        return None


AROUND: ContextVar[tuple[Ledger | None, Tab | None]] = ContextVar(
    "kairos_around", default=(None, None)
)
"""The account and the tab of the attempt that is being made: a run that its action starts is booked
there.  Numbers and nothing else, since an open connection may keep a context for long."""


def _stopped(chain: tuple[_Account, ...]) -> BudgetExceededError | None:
    for each in reversed(chain):  # where the run is over, that is the reason
        if each.tripped is not None:
            return each.error(*each.tripped)
    return None


class Reservation(Claim):
    """Part of a budget that is set aside for one call.

    Settle it with what the call cost, or release it where no call was made; the first word counts
    and every further one is without effect.  Left as a context manager without either it is booked
    as it was reserved: a call of which nobody knows what it cost may have cost that much.
    """

    __slots__ = ("_amount", "_chain", "_desk", "_on_settled", "estimate", "open")

    def __init__(
        self,
        chain: tuple[_Account, ...],
        desk: Desk,
        estimate: Spend,
        on_settled: tuple[Callable[[Spend], None], ...] = (),
    ) -> None:
        super().__init__()
        self._chain = chain
        self._desk = desk
        self._amount = Sum(estimate)
        self._on_settled = on_settled
        self.estimate = estimate
        self.open = False

    def settle(self, actual: Spend) -> None:
        """Book what the call cost, and give back the rest.

        An unknown price is booked as what was reserved for it, and makes the sum unknown.  More
        than was reserved is booked in full; where that is more than there was, the budget has run
        out and everything after this is refused.  Never raises.
        """
        self._close(actual)

    def release(self) -> None:
        """Give all of it back: no call was made."""
        self._close(None)

    def keep(self) -> None:
        """Book all of it: what the call cost will not be known."""
        self.settle(self.estimate)

    def _close(self, actual: Spend | None) -> None:
        if self.close(actual) and actual is not None:
            for tell in self._on_settled:
                tell(actual)

    def close(self, actual: Spend | None) -> bool:
        """Settle it, or release it for None, and tell nobody; False where that was done before."""
        booked = None if actual is None else Sum(actual)
        if booked is not None and booked.unknown:
            booked.picos = self._amount.picos
        with self._desk.lock:
            if not self.open:
                return False
            self._end(booked)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.keep()

    # -- at the desk, with its lock held ---------------------------------------------------

    def verdict(self) -> BudgetExceededError | _Account | None:
        """Say what stands in the way: an account has enough, and has reserved it for others."""
        stopped = _stopped(self._chain)
        if stopped is not None:
            return stopped
        way: _Account | None = None
        amount = self._amount
        for each in self._chain:
            never = each.unpriced(amount) if amount.unknown else None
            if each.over(each.spent, each.held, amount) is not None:
                way = each
                never = never or each.over(each.spent, amount)
            if never is not None:
                return each.error(*never)
        return way

    def take(self) -> None:
        """Take what it asks for."""
        for each in self._chain:
            each.held.add(self._amount)
        self.open = True

    def give_back(self) -> None:
        """Give back what was taken for someone who is not there any more."""
        self._end(None)

    def concerns(self, way: object, /) -> bool:
        """Tell whether it would take from an account that others wait for."""
        return way in self._chain

    def crowded(self) -> BudgetExceededError:
        """Return the refusal of what does not fit beside what others have reserved."""
        for each in self._chain:
            over = each.over(each.spent, each.held, self._amount)
            if over is not None:
                told = f"{over[1]}, counting what is reserved for calls that are being made"
                return each.error(over[0], told)
        return self._chain[-1].error("", "others wait for the same budget")

    def _end(self, booked: Sum | None) -> None:
        self.open = False
        for each in self._chain:
            each.held.take(self._amount)
            if booked is not None:
                each.spent.add(booked)
                # what others hold may yet be given back: only what is spent is over for good
                each.tripped = each.tripped or each.over(each.spent)
        self._desk.left(self)
        self._desk.look()
