"""One gate to a provider: slots, rates, pauses and a circuit that threads and tasks share."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.exceptions import ConfigError
from kairos.models.errors import ErrorKind, ModelError
from kairos.models.limits import Entry, Gate, ProviderLimits, fingerprint, gate_of
from kairos.testing import ManualClock


def gate(clock: ManualClock | None = None, **limits: Any) -> Gate:
    return Gate("openai", ProviderLimits(**limits), clock=clock or ManualClock())


def failure(kind: ErrorKind, retry_after: float | None = None) -> ModelError:
    return ModelError(kind, "it failed", provider="openai", retry_after=retry_after)


def state(way: Gate) -> str:
    return way.state


def refused(way: Gate, **how: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        way.enter(**how)
    return caught.value


# -- declared -------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["concurrency", "requests_per_minute", "tokens_per_minute"])
@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "5"])
def test_what_is_no_limit_is_refused(field: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        ProviderLimits(**{field: bad})


def test_a_cooldown_is_some_time() -> None:
    with pytest.raises(ConfigError, match="cooldown"):
        ProviderLimits(cooldown=0)


def test_a_process_has_one_gate_for_each_provider_address_and_key() -> None:
    first = gate_of("openai", base_url="http://one", limits=ProviderLimits(concurrency=8))
    again = gate_of(
        "openai", base_url="http://one", limits=ProviderLimits(concurrency=4, failures=3)
    )
    assert first is again
    assert first is not gate_of("openai", base_url="http://two")
    assert first is not gate_of("openai", base_url="http://one", key=fingerprint("k"))
    assert (first.limits.concurrency, first.limits.failures) == (4, 3)


def test_a_fingerprint_tells_keys_apart_and_is_none() -> None:
    assert fingerprint("sk-secret") == fingerprint("sk-secret") != fingerprint("sk-other")
    assert "secret" not in fingerprint("sk-secret")


# -- slots ----------------------------------------------------------------------------------------


def test_no_more_calls_at_a_time_than_allowed_in_threads_and_tasks_alike() -> None:
    way = gate(concurrency=3)
    lock, at_once, most = threading.Lock(), 0, 0

    def count(change: int) -> None:
        nonlocal at_once, most
        with lock:
            at_once += change
            most = max(most, at_once)

    def in_threads(_: int) -> None:
        with way.enter():
            count(1)
            count(-1)

    async def in_a_task() -> None:
        async with await way.enter_async():
            count(1)
            await asyncio.sleep(0)
            count(-1)

    async def in_tasks() -> None:
        await asyncio.gather(*(in_a_task() for _ in range(64)))

    with ThreadPoolExecutor(16) as pool:
        loops = [pool.submit(asyncio.run, in_tasks()) for _ in range(2)]
        list(pool.map(in_threads, range(64)))
        for loop in loops:
            loop.result(60)
    assert (most, at_once, way.busy) == (3, 0, 0)


def test_those_who_wait_pass_in_their_order() -> None:
    async def queue() -> list[int]:
        way, passed = gate(concurrency=1), list[int]()
        first = await way.enter_async()

        async def call(number: int) -> None:
            async with await way.enter_async():
                passed.append(number)

        tasks = [asyncio.ensure_future(call(n)) for n in range(8)]
        await asyncio.sleep(0)
        first.leave()
        await asyncio.gather(*tasks)
        return passed

    assert asyncio.run(queue()) == list(range(8))


def test_a_task_that_is_cancelled_gives_its_turn_back() -> None:
    async def queue() -> None:
        way = gate(concurrency=1)
        first = await way.enter_async()
        gone = asyncio.ensure_future(way.enter_async())
        late = asyncio.ensure_future(way.enter_async())
        await asyncio.sleep(0)
        gone.cancel()
        first.leave()
        (await late).leave()
        assert gone.cancelled()
        assert way.busy == 0

    asyncio.run(queue())


def test_leaving_twice_gives_one_slot_back() -> None:
    way = gate(concurrency=2)
    first, second = way.enter(), way.enter()
    first.leave()
    first.leave()
    assert way.busy == 1
    second.leave()


def test_a_caller_without_patience_is_told_when_to_come_again() -> None:
    way = gate(concurrency=1)
    way.enter()
    error = refused(way, patience=0)
    assert (error.kind, error.retryable) == ("rate_limited", True)
    assert error.retry_after


def test_a_wait_ends_when_the_call_is_not_wanted_any_more() -> None:
    way = gate(concurrency=1)
    way.enter()
    assert "not wanted" in str(refused(way, given_up=lambda: True))


# -- rates ----------------------------------------------------------------------------------------


def test_calls_beyond_the_rate_wait_for_the_minute_to_pass() -> None:
    clock = ManualClock()
    way = gate(clock, requests_per_minute=2)
    way.enter().leave()
    clock.advance(10)
    way.enter().leave()
    error = refused(way, patience=5)
    assert (error.kind, error.retry_after) == ("rate_limited", 50)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(way.enter, patience=60)
        clock.advance(50)
        waiting.result(20).leave()


@given(
    calls=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 60), st.integers(0, 60)), max_size=40)
)
def test_no_minute_holds_more_than_its_rates(calls: list[tuple[float, int, int]]) -> None:
    clock = ManualClock()
    way = gate(clock, requests_per_minute=4, tokens_per_minute=100)
    passed: list[tuple[float, int]] = []
    for pause, estimate, used in calls:
        clock.advance(pause)
        try:
            entry = way.enter(tokens=estimate, patience=0)
        except ModelError as error:
            clock.advance(error.retry_after or 0)
            continue
        entry.used(min(used, estimate))
        entry.leave()
        passed.append((clock.monotonic(), min(used, estimate)))
    for at, _ in passed:
        minute = [tokens for when, tokens in passed if at <= when < at + 59.999]
        assert len(minute) <= 4
        assert sum(minute) <= 100


def test_what_was_not_used_makes_room() -> None:
    way = gate(tokens_per_minute=100)
    entry = way.enter(tokens=90)
    assert refused(way, tokens=20, patience=0).retry_after == 60
    entry.used(10)
    way.enter(tokens=20, patience=0)


def test_a_call_larger_than_the_rate_passes_alone() -> None:
    clock = ManualClock()
    way = gate(clock, tokens_per_minute=100)
    way.enter(tokens=500).leave()
    refused(way, tokens=1, patience=0)
    clock.advance(60)
    way.enter(tokens=1, patience=0)


# -- pauses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked, wait", [(7.0, 7.0), (None, 1.0)])
def test_after_a_429_everybody_waits(asked: float | None, wait: float) -> None:
    clock = ManualClock()
    way = gate(clock)
    with pytest.raises(ModelError), way.enter():
        raise failure("rate_limited", asked)
    assert refused(way, patience=0).retry_after == wait
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(way.enter) for _ in range(4)]
        clock.advance(wait)
        for each in waiting:
            each.result(20).leave()


def test_refusals_in_a_row_pause_for_longer_each_time() -> None:
    clock, pauses = ManualClock(), list[float | None]()
    way = gate(clock)
    for _ in range(7):
        way.enter(patience=0).leave(failure("rate_limited"))
        pauses.append(refused(way, patience=0).retry_after)
        clock.advance(60)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    way.enter().leave()
    way.enter().leave(failure("rate_limited"))
    assert refused(way, patience=0).retry_after == 1


# -- the circuit ----------------------------------------------------------------------------------


def fail(way: Gate, times: int, kind: ErrorKind = "server") -> None:
    for _ in range(times):
        way.enter().leave(failure(kind))


@pytest.mark.parametrize("kind", ["server", "overloaded", "timeout", "connection"])
def test_after_a_row_of_failures_nobody_asks(kind: ErrorKind) -> None:
    clock = ManualClock()
    way = gate(clock, failures=3, cooldown=30)
    fail(way, 2, kind)
    assert state(way) == "closed"
    fail(way, 1, kind)
    assert state(way) == "open"
    clock.advance(10)
    error = refused(way)
    assert (error.kind, error.retry_after, error.retryable) == ("unavailable", 20, True)
    assert way.busy == 0


@pytest.mark.parametrize("kind", ["bad_request", "unauthorized", "refused", "rate_limited", None])
def test_an_answer_of_any_kind_ends_the_row(kind: ErrorKind | None) -> None:
    clock = ManualClock()
    way = gate(clock, failures=3)
    for _ in range(4):
        fail(way, 2)
        way.enter().leave(None if kind is None else failure(kind))
        clock.advance(60)
    assert state(way) == "closed"


def test_what_is_broken_off_shows_nothing() -> None:
    way = gate(failures=3)
    for _ in range(3):
        way.enter().leave(asyncio.CancelledError())
        fail(way, 1)
    assert state(way) == "open"


def test_one_probe_decides() -> None:
    clock = ManualClock()
    way = gate(clock, failures=1, cooldown=30)
    fail(way, 1)
    clock.advance(30)
    assert state(way) == "half-open"
    probe = way.enter()
    assert probe.probe
    assert refused(way).kind == "unavailable"
    probe.leave(failure("timeout"))
    assert state(way) == "open"
    clock.advance(30)
    way.enter().leave(KeyboardInterrupt())  # it has shown nothing
    way.enter().leave()
    assert state(way) == "closed"
    assert not way.enter().probe


def test_calls_from_before_it_opened_have_no_say() -> None:
    clock = ManualClock()
    way = gate(clock, failures=1, cooldown=30)
    old: list[Entry] = [way.enter() for _ in range(3)]
    old[0].leave(failure("server"))
    old[1].leave()
    assert state(way) == "open"
    clock.advance(30)
    way.enter().leave()
    old[2].leave(failure("server"))
    assert state(way) == "closed"


def test_those_who_wait_learn_at_once_that_it_opened() -> None:
    way = gate(concurrency=1, failures=1)
    first = way.enter()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(way.enter) for _ in range(4)]
        first.leave(failure("server"))
        assert {each.exception(20).kind for each in waiting} == {"unavailable"}  # type: ignore[union-attr]
    assert way.busy == 0


def test_it_can_be_left_out() -> None:
    way = gate(failures=None)
    fail(way, 50)
    assert state(way) == "closed"
