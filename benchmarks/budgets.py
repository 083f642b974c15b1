"""What it costs to set aside the price of a call before it is made, beside merely booking it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from figures import Row, Target, interleaved
from kairos import Budget
from kairos.budget import Ledger, Spend
from kairos.models.estimate import spend_before
from kairos.models.limits import Gate, ProviderLimits
from kairos.models.parts import as_messages
from kairos.models.prices import Price, Prices
from kairos.models.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Scale

__all__ = ["rows"]

_CALLS = 20_000
_MOST, _COST = Spend(1, 900, 4096, 0.07), Spend(1, 612, 480, 0.02)
_REQUEST = Request(as_messages("What is the answer to it all, and why is it so short? " * 40))
_PRICES = Prices({"m": Price(3.0, 15.0)})


def _account() -> Ledger:
    """Return the account of an item: of its step, and of a run that can afford it."""
    rich = Budget(llm_calls=None, tokens=10**12, usd=1e9)
    step = Ledger(rich, parent=Ledger(rich), scope="step", name="ask")
    return Ledger(rich, parent=step, scope="item", name="ask")


def _each(calls: int, act: Callable[[], object]) -> float:
    """Return how many microseconds one of many calls took."""
    begun = time.perf_counter()
    for _ in range(calls):
        act()
    return (time.perf_counter() - begun) / calls * 1e6


def rows(scale: Scale) -> Iterator[Row]:
    """Measure a reservation, a gate with all of its limits, and an estimate of two pages."""
    calls, account = scale.size(_CALLS), _account()
    limits = ProviderLimits(concurrency=8, requests_per_minute=10**9, tokens_per_minute=10**12)

    def reserve() -> None:
        with account.reserve(_MOST) as reserved:
            reserved.settle(_COST)

    def enter(gate: Gate) -> None:
        with gate.enter(tokens=900) as entry:
            entry.leave()

    def through_a_gate() -> float:
        gate = Gate("openai", limits)
        return _each(calls, lambda: enter(gate))

    slots, said = threading.Semaphore(8), _REQUEST.messages[0].text

    def hold() -> None:
        with slots:
            pass

    found = interleaved(
        {
            "charge": lambda: _each(calls, lambda: account.charge(_COST)),
            "reserve": lambda: _each(calls, reserve),
            "slot": lambda: _each(calls, hold),
            "gate": through_a_gate,
            "split": lambda: _each(calls, said.split),
            "estimate": lambda: _each(
                calls, lambda: spend_before(_REQUEST, "openai", "m", prices=_PRICES)
            ),
        },
        scale.rounds(5),
    )
    for key, what, side, floor in (
        ("reserved", "call reserved and settled in 3 accounts; floor: booked", "reserve", "charge"),
        ("gate", "call through a gate with all limits; floor: a semaphore", "gate", "slot"),
        ("estimated", "2 kB estimated and priced; floor: split into words", "estimate", "split"),
    ):
        yield Row(key, what, "µs", found[side], found[floor], Target(50.0))
