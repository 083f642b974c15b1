"""An account that never loses a charge and never forgets that it is overdrawn."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import Budget, ConfigError, Step, StepContext, Workflow
from kairos.budget import Ledger, Spend
from kairos.exceptions import BudgetExceededError
from running import one

COUNTS = st.integers(0, 50)
SPENDS = st.builds(
    Spend, COUNTS, COUNTS, COUNTS, st.none() | st.integers(0, 100).map(lambda cents: cents / 4)
)


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field, bad",
    [
        *[("llm_calls", bad) for bad in (-1, 1.5, True, "5", math.inf)],
        *[
            (f"{kind}tokens", bad)
            for kind in ("", "input_", "output_")
            for bad in (-1, 1.5, True, "5")
        ],
        *[("usd", bad) for bad in (-0.1, math.nan, True, "5")],
        *[("seconds", bad) for bad in (-0.1, math.nan, True, "5")],
    ],
)
def test_what_is_no_limit_is_refused(field: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=f"budget of {field}") as caught:
        Budget(**{field: bad})
    assert "test_budget.py:" in str(caught.value)


def test_the_published_limit_is_fifty_calls_and_nothing_else() -> None:
    assert Budget() == Budget(llm_calls=50, tokens=None, usd=None, seconds=None)


@pytest.mark.parametrize("limit", [0, 1, 50])
def test_all_of_a_budget_may_be_spent_and_not_one_more(limit: int) -> None:
    ledger = Ledger(Budget(llm_calls=limit))
    ledger.charge(Spend(limit))
    assert ledger.tripped is None
    with pytest.raises(BudgetExceededError, match=f"LLM call limit reached: {limit}"):
        ledger.charge(Spend(1))
    assert ledger.tripped == ("llm_calls", f"LLM call limit reached: {limit}")
    assert ledger.spent == Spend(limit + 1)


@pytest.mark.parametrize(
    "budget, spend, which",
    [
        (Budget(tokens=10), Spend(0, 6, 5), "tokens"),
        (Budget(input_tokens=10), Spend(0, 11, 0), "input_tokens"),
        (Budget(output_tokens=10), Spend(0, 99, 11), "output_tokens"),
        (Budget(usd=1.0), Spend(usd=1.01), "usd"),
        (Budget(llm_calls=None, tokens=0), Spend(10**9, 0, 1), "tokens"),
    ],
)
def test_each_limit_stops_what_it_limits(budget: Budget, spend: Spend, which: str) -> None:
    ledger = Ledger(budget)
    with pytest.raises(BudgetExceededError, match=f"budget of {which}"):
        ledger.charge(spend)
    assert ledger.tripped is not None
    assert ledger.tripped[0] == which


def test_no_limit_is_no_limit() -> None:
    ledger = Ledger(Budget(llm_calls=None))
    ledger.charge(Spend(10**12, 10**12, 10**12, 1e12))
    assert ledger.tripped is None


def test_an_overdrawn_account_stays_overdrawn() -> None:
    ledger = Ledger(Budget(llm_calls=1))
    for _ in range(3):
        with pytest.raises(BudgetExceededError):
            ledger.charge(Spend(2))
    with pytest.raises(BudgetExceededError):
        ledger.charge(Spend(0))
    assert ledger.spent == Spend(6)


def test_the_first_reason_is_kept() -> None:
    ledger = Ledger(Budget(llm_calls=1))
    ledger.trip("seconds", "too long")
    with pytest.raises(BudgetExceededError, match="too long"):
        ledger.charge(Spend(5))
    ledger.trip("seconds", "again")
    assert ledger.tripped == ("seconds", "too long")


# -- sums -----------------------------------------------------------------------------------------


@given(spends=st.lists(SPENDS, max_size=12))
def test_the_account_is_the_sum_of_what_was_charged(spends: list[Spend]) -> None:
    ledger = Ledger(Budget(llm_calls=None))
    for spend in spends:
        ledger.charge(spend)
    assert ledger.spent[:3] == tuple(sum(each[n] or 0 for each in spends) for n in range(3))
    prices = [each.usd for each in spends]
    assert ledger.spent.usd == (None if None in prices else sum(price or 0 for price in prices))


@given(first=SPENDS, second=SPENDS, third=SPENDS)
def test_sums_do_not_depend_on_their_order(first: Spend, second: Spend, third: Spend) -> None:
    assert first.plus(second) == second.plus(first)
    assert first.plus(second).plus(third) == first.plus(second.plus(third))
    assert first.plus(Spend()) == first


def test_an_unknown_price_hides_the_sum_and_not_the_limit() -> None:
    ledger = Ledger(Budget(usd=1.0))
    ledger.charge(Spend(usd=0.75))
    ledger.charge(Spend(usd=None))
    assert ledger.spent.usd is None
    with pytest.raises(BudgetExceededError, match=r"spending limit reached: 1\.0 USD"):
        ledger.charge(Spend(usd=0.5))


def test_many_threads_lose_no_charge_and_none_gets_past_the_limit() -> None:
    ledger, passed = Ledger(Budget(llm_calls=1000)), []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait(20)
        for _ in range(250):
            try:
                ledger.charge(Spend(1))
            except BudgetExceededError:
                continue
            passed.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(passed) == 1000
    assert ledger.spent == Spend(2000)


# -- in runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True])
def test_elements_share_one_account(parallel: bool) -> None:
    def action(ctx: StepContext) -> int:
        ctx.increment_llm_calls()
        return int(ctx.item)

    step = Step("only", action, foreach="xs", parallel=parallel, foreach_policy="allow_partial")
    result = Workflow("w", [step], max_llm_calls=5).run({"xs": list(range(40))})
    assert result.status == "failed"
    assert result.error == "LLM call limit reached: 5"
    done = [each for each in one(result).items if each.status == "completed"]
    assert len(done) == 5
    assert result.llm_calls >= 6


def test_each_run_has_its_own_account() -> None:
    def action(ctx: StepContext) -> None:
        ctx.increment_llm_calls(2)

    workflow = Workflow("w", [Step("only", action)], max_llm_calls=2)
    assert [workflow.run().status for _ in range(3)] == ["complete"] * 3


def test_what_a_failed_attempt_spent_is_spent() -> None:
    def action(ctx: StepContext) -> None:
        ctx.charge(llm_calls=1, input_tokens=10)
        if ctx.attempt == 1:
            raise ValueError

    result = Workflow("w", [Step("only", action)]).run()
    assert (result.status, result.llm_calls) == ("complete", 2)
