"""The accounts of a run: its own, and those of steps and items that have a budget of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kairos.attempt import failure_of
from kairos.budget import AROUND, Ledger
from kairos.engine.outcomes import timed_out
from kairos.events import Spent
from kairos.exceptions import BudgetExceededError

if TYPE_CHECKING:
    from kairos.attempt import Outcome, Recipe, Surroundings, Work
    from kairos.budget import Budget, Spend
    from kairos.exceptions import ExecutionError

__all__ = ["around_item", "around_step", "late", "of_run", "settle_up", "spent_event"]


def of_run(limits: Budget, spent: Spend | None) -> Ledger:
    """Return the account of a run; one that a step makes is within the step's."""
    around, tab = AROUND.get()
    if around is None or not around.takes_in:
        return Ledger(limits, spent)
    return Ledger(limits, spent, parent=around, tab=tab)


def around_step(recipe: Recipe, run: Surroundings) -> Surroundings:
    """Return what surrounds all attempts at a step: with an account of its own where it has one."""
    budget = recipe.step.config.budget
    if budget is None:
        return run
    own = Ledger(budget, parent=run.ledger, scope="step", name=recipe.name)
    own.start(run.monotonic())
    return run._replace(ledger=own)


def around_item(recipe: Recipe, step: Surroundings) -> Surroundings:
    """Return what surrounds all attempts at one element of a foreach."""
    budget = recipe.step.config.item_budget
    if budget is None:
        return step
    return step._replace(ledger=Ledger(budget, parent=step.ledger, scope="item", name=recipe.name))


def late(work: Work, now: float) -> ExecutionError:
    """Say why an attempt that is still running has no time left."""
    if work.recipe.budgeted and work.surroundings.ledger is not None:
        try:
            work.surroundings.ledger.check(now)
        except BudgetExceededError as error:
            return error
    return timed_out(work)


def spent_event(work: Work, spent: Spend, now: float) -> Spent:
    """Return the event that tells what an attempt spent."""
    return Spent(work.recipe.name, work.attempt, work.item_index, *spent, now)


def settle_up(outcome: Outcome, run: Ledger) -> None:
    """Draw the line under an attempt.

    One that did nothing about the run's being out of budget ends the run.  Nothing was spent beyond
    the limit: an action that catches the refusal and does with less is welcome to.  One whose own
    step or item is overdrawn has failed, whatever its action did about it.
    """
    failure, work = outcome.failure, outcome.work
    if failure is not None:
        error = failure.exception
        if type(error) is BudgetExceededError and error.scope == "run" and error.budget:
            run.trip(error.budget, error.message)
    elif work.recipe.budgeted and work.surroundings.ledger is not None:
        overdrawn = work.surroundings.ledger.overdrawn()
        if overdrawn is not None:
            outcome.failure = failure_of(overdrawn)._replace(output=outcome.output)
