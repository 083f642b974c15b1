"""Reservations: what is set aside is nobody else's, and comes back to the last digit."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kairos import Budget, ConfigError, Step, StepConfig, StepContext
from kairos.budget import Ledger, Reservation, Spend
from kairos.exceptions import BudgetExceededError, ExecutionError
from kairos.state import StateStore

CENT = 0.01


def ledger(**limits: float | None) -> Ledger:
    return Ledger(Budget(**{"llm_calls": None, **limits}))  # type: ignore[arg-type]


def chain(
    run: Budget | None = None, step: Budget | None = None, item: Budget | None = None
) -> tuple[Ledger, Ledger, Ledger]:
    """Return an item's account, its step's and its run's."""
    free = Budget(llm_calls=None)
    first = Ledger(run or free)
    second = Ledger(step or free, parent=first, scope="step", name="a")
    return Ledger(item or free, parent=second, scope="item", name="a"), second, first


# -- one account ----------------------------------------------------------------------------------


def test_what_is_reserved_counts_as_spent_until_it_is_settled() -> None:
    account = ledger(usd=1.0)
    first = account.reserve(Spend(1, 10, 10, 0.7))
    with pytest.raises(BudgetExceededError, match="reserved for calls that are being made"):
        account.reserve(Spend(1, 10, 10, 0.7), wait=0)
    first.settle(Spend(1, 5, 5, 0.2))
    assert (account.spent, account.reserved) == (Spend(1, 5, 5, 0.2), Spend())
    account.reserve(Spend(1, 10, 10, 0.8), wait=0)
    assert account.tripped is None


@pytest.mark.parametrize(
    "limits, estimate, told",
    [
        ({"llm_calls": 0}, Spend(1), "LLM call limit reached: 0"),
        ({"tokens": 100}, Spend(1, 60, 41), "token limit reached: 100"),
        ({"usd": 0.5}, Spend(1, 1, 1, 0.51), r"spending limit reached: 0\.5 USD"),
        ({"usd": 0.5}, Spend(1, 1, 1, None), "a price is not known"),
    ],
)
def test_what_never_fits_is_refused_at_once_with_nothing_booked(
    limits: dict[str, float], estimate: Spend, told: str
) -> None:
    account = ledger(**limits)
    with pytest.raises(BudgetExceededError, match=told) as caught:
        account.reserve(estimate)
    assert (account.spent, account.reserved, account.tripped) == (Spend(), Spend(), None)
    assert caught.value.scope == "run"
    assert caught.value.budget
    assert caught.value.retryable is False


def test_a_tenth_ten_times_is_one() -> None:
    account = ledger(usd=1.0)
    for _ in range(10):
        account.reserve(Spend(1, usd=0.1), wait=0).settle(Spend(1, usd=0.1))
    assert account.spent.usd == 1.0
    assert account.tripped is None


def test_an_unknown_price_passes_where_the_budget_allows_it_and_hides_the_sum() -> None:
    account = Ledger(Budget(usd=1.0, unknown_prices="allow"))
    account.reserve(Spend(1, usd=None)).settle(Spend(1, usd=None))
    assert account.spent.usd is None
    with pytest.raises(BudgetExceededError, match="spending limit"):
        account.reserve(Spend(1, usd=1.01))


def test_a_cost_that_stays_unknown_is_what_was_reserved_for_it() -> None:
    account = ledger(usd=1.0)
    account.reserve(Spend(1, usd=0.9)).settle(Spend(1, usd=None))
    assert account.spent.usd is None
    with pytest.raises(BudgetExceededError):
        account.reserve(Spend(1, usd=0.2), wait=0)


def test_what_is_said_of_unknown_prices_is_one_of_two_words() -> None:
    with pytest.raises(ConfigError, match="unknown_prices"):
        Budget(unknown_prices="free")  # type: ignore[arg-type]


def test_more_than_was_reserved_is_booked_in_full_and_ends_the_budget() -> None:
    account = ledger(usd=1.0)
    account.reserve(Spend(1, usd=0.4)).settle(Spend(1, usd=1.2))
    assert account.spent.usd == 1.2
    assert account.tripped == ("usd", "spending limit reached: 1.0 USD")
    with pytest.raises(BudgetExceededError):
        account.reserve(Spend(0, usd=0.0))


@pytest.mark.parametrize("first", ["settle", "release", "keep"])
@pytest.mark.parametrize("then", ["settle", "release", "keep"])
def test_the_first_word_on_a_reservation_is_the_last(first: str, then: str) -> None:
    account = ledger()
    reservation = account.reserve(Spend(1, 10, 20, 0.5))
    for word in (first, then):
        said = (Spend(1, 1, 2, 0.1),) if word == "settle" else ()
        getattr(reservation, word)(*said)
    expected = {"settle": Spend(1, 1, 2, 0.1), "release": Spend(), "keep": Spend(1, 10, 20, 0.5)}
    assert (account.spent, account.reserved) == (expected[first], Spend())


def test_what_nobody_settled_is_booked_as_it_was_reserved() -> None:
    account = ledger()
    with contextlib.suppress(ValueError), account.reserve(Spend(1, 3, 4, 0.5)):
        raise ValueError
    assert (account.spent, account.reserved) == (Spend(1, 3, 4, 0.5), Spend())


def test_an_account_that_has_tripped_reserves_nothing() -> None:
    account = ledger()
    account.trip("seconds", "too long")
    with pytest.raises(BudgetExceededError, match="too long"):
        account.reserve(Spend())


def test_a_charge_does_not_touch_what_others_have_reserved() -> None:
    account = ledger(usd=1.0)
    account.reserve(Spend(1, usd=0.8))
    with pytest.raises(BudgetExceededError):
        account.charge(Spend(1, usd=0.3))


# -- a chain of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", [0, 1, 2])
def test_the_chain_reserves_everywhere_or_nowhere(whose: int) -> None:
    budgets = [None, None, None]
    budgets[whose] = Budget(llm_calls=1)  # type: ignore[call-overload]
    accounts = chain(*reversed(budgets))
    with pytest.raises(BudgetExceededError) as caught:
        accounts[0].reserve(Spend(2))
    assert caught.value.scope == ("item", "step", "run")[whose]
    assert all(each.reserved == Spend() for each in accounts)
    accounts[0].reserve(Spend(1)).settle(Spend(1))
    assert all(each.spent == Spend(1) for each in accounts)


def test_whose_budget_it_is_is_told() -> None:
    item, step, _ = chain(step=Budget(tokens=5))
    with pytest.raises(BudgetExceededError, match=r"token limit reached: 5 \(step 'a'\)") as caught:
        item.reserve(Spend(1, 6))
    assert caught.value.fix == "raise the budget of tokens of step 'a'"
    with pytest.raises(BudgetExceededError):
        step.charge(Spend(1, 6))
    assert item.overdrawn() is not None


# -- waiting --------------------------------------------------------------------------------------


def held_by_another(account: Ledger, estimate: Spend) -> Reservation:
    with ThreadPoolExecutor(1) as other:
        return other.submit(account.reserve, estimate).result(20)


def test_a_caller_waits_for_what_others_have_reserved() -> None:
    account = ledger(usd=1.0)
    held = held_by_another(account, Spend(1, usd=0.9))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(account.reserve, Spend(1, usd=0.5))
        held.settle(Spend(1, usd=0.1))
        waiting.result(20).settle(Spend(1, usd=0.5))
    assert account.spent == Spend(2, usd=0.6)


def test_whoever_holds_a_reservation_does_not_wait_for_another() -> None:
    account = ledger(usd=1.0)
    with account.reserve(Spend(1, usd=0.9)), pytest.raises(BudgetExceededError):
        account.reserve(Spend(1, usd=0.9))


def test_a_wait_ends_with_the_budget() -> None:
    account = ledger(usd=1.0)
    held = held_by_another(account, Spend(1, usd=0.9))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(account.reserve, Spend(1, usd=0.5))
        held.settle(Spend(1, usd=3.0))
        with pytest.raises(BudgetExceededError, match="spending limit reached"):
            waiting.result(20)


def test_a_wait_ends_when_nobody_wants_what_it_is_for() -> None:
    account = ledger(usd=1.0)
    held_by_another(account, Spend(1, usd=0.9))
    with pytest.raises(ExecutionError, match="told to stop"):
        account.reserve(Spend(1, usd=0.5), given_up=lambda: True)
    assert account.reserved == Spend(1, usd=0.9)


def test_an_event_loop_is_not_blocked() -> None:
    async def two() -> None:
        account = ledger(usd=1.0)
        first = await account.reserve_async(Spend(1, usd=0.9))

        async def other() -> Reservation:
            with pytest.raises(BudgetExceededError):
                account.reserve(Spend(1, usd=0.9))
            return await account.reserve_async(Spend(1, usd=0.9))

        waiting = asyncio.ensure_future(other())
        await asyncio.sleep(0)
        first.release()
        (await waiting).release()
        assert account.reserved == Spend()

    asyncio.run(two())


def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    async def two() -> None:
        account = ledger(usd=1.0)
        first = await account.reserve_async(Spend(1, usd=0.9))
        waiting = asyncio.ensure_future(account.reserve_async(Spend(1, usd=0.9)))
        late = asyncio.ensure_future(account.reserve_async(Spend(1, usd=0.9)))
        await asyncio.sleep(0)
        first.release()  # `waiting` has its turn, and is not there to take it
        waiting.cancel()
        (await late).release()
        assert waiting.cancelled()
        assert account.reserved == Spend()

    asyncio.run(two())


def test_those_who_wait_are_served_in_their_order() -> None:
    async def queue() -> None:
        account, served = ledger(usd=1.0), list[int]()
        first = await account.reserve_async(Spend(1, usd=1.0))

        async def call(number: int, usd: float) -> None:
            with await account.reserve_async(Spend(1, usd=usd)) as reserved:
                served.append(number)
                await asyncio.sleep(0)
                reserved.release()

        tasks = [
            asyncio.ensure_future(call(n, usd)) for n, usd in enumerate((1.0, 0.1, 0.9, 1.0, 0.2))
        ]
        await asyncio.sleep(0)
        first.release()
        await asyncio.gather(*tasks)
        assert served == [0, 1, 2, 3, 4]

    asyncio.run(queue())


# -- many at a time -------------------------------------------------------------------------------

CALLS, LIMIT, MOST, COST = 64, 1.00, 0.05, 0.03


def test_sixty_four_threads_spend_all_of_a_budget_and_not_a_cent_more() -> None:
    account, made = ledger(usd=LIMIT), list[float]()
    barrier, highest = threading.Barrier(CALLS), list[float]()

    def call() -> None:
        barrier.wait(20)
        with contextlib.suppress(BudgetExceededError), account.reserve(Spend(1, usd=MOST)) as held:
            highest.append((account.spent.usd or 0) + (account.reserved.usd or 0))
            made.append(COST)
            held.settle(Spend(1, usd=COST))

    threads = [threading.Thread(target=call) for _ in range(CALLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # one that may cost five cents is not made with four left, though it would have cost three
    assert len(made) == 32
    assert account.spent == Spend(32, usd=0.96)
    assert account.reserved == Spend()
    assert account.tripped is None
    assert max(highest) <= LIMIT + CENT  # two properties, read one after the other


def test_sixty_four_tasks_spend_all_of_a_budget_and_not_a_cent_more() -> None:
    async def all_of_them() -> Ledger:
        account = ledger(usd=LIMIT)

        async def call() -> None:
            with await account.reserve_async(Spend(1, usd=MOST)) as held:
                await asyncio.sleep(0)
                held.settle(Spend(1, usd=COST))

        await asyncio.gather(*(call() for _ in range(CALLS)), return_exceptions=True)
        return account

    account = asyncio.run(all_of_them())
    assert (account.spent, account.reserved) == (Spend(32, usd=0.96), Spend())


# -- any order ------------------------------------------------------------------------------------

CENTS = st.integers(0, 60)
AMOUNTS = st.builds(
    lambda calls, read, written, cents: Spend(calls, read, written, cents / 100),
    st.integers(0, 3),
    st.integers(0, 40),
    st.integers(0, 40),
    CENTS,
)
LIMITS = st.builds(
    lambda calls, tokens, cents: Budget(calls, tokens, None if cents is None else cents / 100),
    st.none() | st.integers(0, 12),
    st.none() | st.integers(0, 200),
    st.none() | st.integers(0, 200),
)


class Accounts(RuleBasedStateMachine):
    """Reservations in two items of one step, against sums that are kept beside them."""

    @initialize(run=LIMITS, step=LIMITS, items=st.tuples(LIMITS, LIMITS))
    def make(self, run: Budget, step: Budget, items: tuple[Budget, Budget]) -> None:
        self.limits: dict[str | int, Budget] = {"run": run, "step": step, 0: items[0], 1: items[1]}
        self.run_account = Ledger(run)
        self.step_account = Ledger(step, parent=self.run_account, scope="step", name="a")
        self.items = [Ledger(each, parent=self.step_account, scope="item") for each in items]
        self.open: list[tuple[int, Reservation, Spend]] = []
        self.booked: list[tuple[int, Spend]] = []
        self.honest = True

    @rule(item=st.integers(0, 1), amount=AMOUNTS)
    def reserve(self, item: int, amount: Spend) -> None:
        try:
            reservation = self.items[item].reserve(amount, wait=0)
        except BudgetExceededError:
            return
        self.open.append((item, reservation, amount))

    @rule(data=st.data(), part=st.floats(0, 1))
    def settle(self, data: st.DataObject, part: float) -> None:
        if not self.open:
            return
        item, reservation, amount = self.open.pop(
            data.draw(st.integers(0, len(self.open) - 1), label="which")
        )
        cents = int(round((amount.usd or 0) * 100) * part)
        actual = Spend(amount.llm_calls, int(amount.input_tokens * part), 0, cents / 100)
        reservation.settle(actual)
        reservation.settle(amount)
        reservation.release()
        self.booked.append((item, actual))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.open:
            which = data.draw(st.integers(0, len(self.open) - 1), label="which")
            _, reservation, amount = self.open.pop(which)
            reservation.release()
            reservation.settle(amount)

    @rule(data=st.data(), more=AMOUNTS)
    def settle_for_more(self, data: st.DataObject, more: Spend) -> None:
        if self.open:
            which = data.draw(st.integers(0, len(self.open) - 1), label="which")
            item, reservation, amount = self.open.pop(which)
            reservation.settle(amount.plus(more))
            self.booked.append((item, amount.plus(more)))
            self.honest = False

    @invariant()
    def nothing_is_lost_and_nothing_overshoots(self) -> None:
        if not hasattr(self, "items"):
            return
        accounts: dict[str | int, Ledger] = {"run": self.run_account, "step": self.step_account}
        accounts |= dict(enumerate(self.items))
        for name, account in accounts.items():
            spent = [s for item, s in self.booked if name in ("run", "step", item)]
            held = [s for item, _, s in self.open if name in ("run", "step", item)]
            for told, amounts in ((account.spent, spent), (account.reserved, held)):
                assert told[:3] == tuple(sum(each[n] or 0 for each in amounts) for n in range(3))
                assert round((told.usd or 0) * 100) == sum(
                    round((each.usd or 0) * 100) for each in amounts
                )
            if self.honest:
                self.keeps_within(self.limits[name], account)
                assert account.tripped is None

    def keeps_within(self, limits: Budget, account: Ledger) -> None:
        both = account.spent.plus(account.reserved)
        assert limits.llm_calls is None or both.llm_calls <= limits.llm_calls
        assert limits.tokens is None or both.input_tokens + both.output_tokens <= limits.tokens
        assert limits.usd is None or round((both.usd or 0) * 100) <= round(limits.usd * 100)


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# -- every interleaving of a few ------------------------------------------------------------------


def test_no_order_of_three_calls_overshoots_or_loses_anything() -> None:
    """Three calls of two moments each (reserve, settle), in each of their ninety orders."""
    orders = _orders([2, 2, 2])
    assert len(orders) == 90
    for order in orders:
        account, held, refused = ledger(llm_calls=2, usd=1.0), dict[int, Reservation](), 0
        for call in order:
            if call in held:
                held.pop(call).settle(Spend(1, usd=0.4))
            else:
                try:
                    held[call] = account.reserve(Spend(1, usd=0.6), wait=0)
                except BudgetExceededError:
                    refused += 1
                    held[call] = Ledger(Budget(llm_calls=None)).reserve(Spend())
            both = account.spent.plus(account.reserved)
            assert both.llm_calls <= 2
            assert (both.usd or 0) <= 1.0
        assert account.spent.llm_calls == 3 - refused
        assert account.reserved == Spend()


def _orders(moments: list[int]) -> list[tuple[int, ...]]:
    total = sum(moments)
    found = []
    for first in combinations(range(total), moments[0]):
        rest = [at for at in range(total) if at not in first]
        for second in combinations(rest, moments[1]):
            order = [0 if at in first else 1 if at in second else 2 for at in range(total)]
            found.append(tuple(order))
    return found


# -- in a step ------------------------------------------------------------------------------------


def test_a_context_reserves_and_tells_what_was_spent() -> None:
    account = ledger(usd=1.0)
    ctx = StepContext(StateStore(), {}, ledger=account)
    with ctx.reserve(input_tokens=10, output_tokens=10, usd=0.5) as reserved:
        assert ctx.spent is None
        reserved.settle(Spend(1, 8, 2, 0.25))
    assert ctx.spent == account.spent == Spend(1, 8, 2, 0.25)


def test_a_context_made_by_hand_reserves_as_well() -> None:
    ctx = StepContext(StateStore(), {})
    ctx.reserve(usd=5.0).settle(Spend(1, usd=4.0))
    assert ctx.spent == Spend(1, usd=4.0)


@pytest.mark.parametrize("bad", [{"llm_calls": -1}, {"usd": -0.5}, {"input_tokens": 1.5}])
def test_what_is_no_amount_cannot_be_reserved(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        StepContext(StateStore(), {}).reserve(**bad)  # type: ignore[arg-type]


def test_many_threads_of_one_attempt_lose_none_of_what_it_spent() -> None:
    ctx = StepContext(StateStore(), {})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ctx.reserve(usd=0.25).settle(Spend(1, usd=0.25)), range(400)))
    assert ctx.spent == Spend(400, usd=100.0)


def test_a_budget_of_items_needs_items() -> None:
    with pytest.raises(ConfigError, match="item_budget"):
        Step("a", lambda ctx: ctx, item_budget=Budget())
    with pytest.raises(ConfigError, match="budget is not what it takes"):
        StepConfig(budget=5)  # type: ignore[arg-type]
