"""Every interleaving of threads that reserve and settle, as far as two preemptions go.

Not collected by itself: it takes minutes, and frontrun, which is in no extra::

    pip install frontrun pytest && frontrun pytest tests/explore_budgets.py

A lock that is not one is found within a few interleavings, which says that the rest looks closely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kairos.budget import Budget, Ledger, Spend
from kairos.exceptions import BudgetExceededError

if TYPE_CHECKING:
    from collections.abc import Callable

frontrun: Any = pytest.importorskip("frontrun")


class Accounts:
    """A step's account and its run's, and what the calls cost that were made."""

    def __init__(self) -> None:
        self.run = Ledger(Budget(llm_calls=None, usd=1.0))
        self.step = Ledger(Budget(llm_calls=None), parent=self.run, scope="step")
        self.made: list[float] = []

    def balance(self) -> bool:
        """Tell whether nothing is lost and nothing is beyond the limit."""
        spent = self.run.spent
        return (
            spent == self.step.spent == Spend(len(self.made), usd=round(sum(self.made), 9))
            and self.run.reserved == Spend()
            and (spent.usd or 0) <= 1.0
        )


class Unlocked(Accounts):
    """The same without the lock."""

    def __init__(self) -> None:
        super().__init__()
        self.run._desk.lock = _NoLock()  # type: ignore[assignment]


class _NoLock:
    def __enter__(self) -> None:
        return

    def __exit__(self, *raised: object) -> None:
        return


def call(cost: float, wait: float) -> Callable[[Accounts], None]:
    """Return what one thread does."""

    def work(accounts: Accounts) -> None:
        try:
            reservation = accounts.step.reserve(Spend(1, usd=0.6), wait=wait)
        except BudgetExceededError:
            return
        accounts.made.append(cost)
        reservation.settle(Spend(1, usd=cost))
        reservation.release()

    return work


def explored(setup: type[Accounts], *calls: Callable[[Accounts], None], **how: Any) -> Any:
    """Explore, and return what was found."""
    return frontrun.explore(
        setup, [*calls], setup.balance, trace_packages=["kairos.*"], total_timeout=100, **how
    )


def test_no_interleaving_of_calls_that_do_not_wait_loses_or_overshoots() -> None:
    assert explored(Accounts, call(0.5, 0), call(0.5, 0), call(0.5, 0)).property_holds


def test_no_interleaving_of_calls_that_wait_loses_overshoots_or_locks_up() -> None:
    assert explored(Accounts, call(0.4, 5), call(0.4, 5), clock="virtual").property_holds


def test_without_the_lock_it_would_be_found() -> None:
    assert not explored(Unlocked, call(0.5, 0), call(0.5, 0)).property_holds
