"""What a call of a step costs, reserved before it is made and settled after."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kairos.budget import Reservation, Spend
from kairos.exceptions import ConfigError, SecurityError
from kairos.models.errors import ModelError
from kairos.models.estimate import spend_after

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from kairos.context import StepContext
    from kairos.models.reply import TokenUsage

__all__ = ["MAY_HAVE_COST", "Account", "reserved", "reserved_async"]

MAY_HAVE_COST = frozenset({"timeout", "interrupted", "malformed", "empty", "refused", "filtered"})
"""Failures of a call that the provider may have worked on, whether or not it said so."""


class Account:
    """The reservation of one call, and what becomes of it."""

    def __init__(self, reservation: Reservation) -> None:
        self._reservation = reservation

    def settle(self, usage: TokenUsage) -> None:
        """Book what was consumed; where nobody counted it, it stays booked as it was reserved."""
        if usage.estimated:
            self._reservation.keep()
        else:
            self._reservation.settle(spend_after(usage))

    def failed(self, error: BaseException) -> None:
        """Book what a failed call has consumed, as far as that can be known.

        Where it was refused, it is a call that cost nothing.  Where it broke off, or was given up,
        and nothing tells, it stays booked as it was reserved.
        """
        if isinstance(error, ModelError):
            if error.kind == "unavailable" or (
                error.kind == "rate_limited" and error.status is None
            ):
                self._reservation.release()  # our own gate: nobody was asked
                return
            if error.usage is not None and error.usage.total_tokens:
                self._reservation.settle(spend_after(error.usage))
                return
            if error.kind not in MAY_HAVE_COST:
                self._reservation.settle(Spend(llm_calls=1))
                return
        elif isinstance(error, ConfigError | SecurityError):
            self._reservation.release()  # wrong here: there was no call
            return
        self._reservation.keep()


@contextmanager
def _open(reservation: Reservation) -> Iterator[Account]:
    account = Account(reservation)
    with reservation:
        try:
            yield account
        except BaseException as error:
            account.failed(error)
            raise


def reserved(ctx: StepContext, most: Spend) -> AbstractContextManager[Account]:
    """Set aside what a call may cost; raises BudgetExceededError where it does not fit."""
    return _open(ctx.reserve(**most._asdict()))


async def reserved_async(ctx: StepContext, most: Spend) -> AbstractContextManager[Account]:
    """Do as `reserved`, without blocking the event loop."""
    return _open(await ctx.reserve_async(**most._asdict()))
