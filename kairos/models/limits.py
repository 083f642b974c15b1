"""How hard a provider may be pressed: one account for all steps and threads of a process.

Whoever is about to make a call passes a gate.  There it waits in turn for a free slot and for the
rates, and learns at once when the provider has been down::

    with gate.enter(tokens=900) as entry:
        entry.used(answer.usage.total_tokens)

What happens between entering and leaving is learnt from the exception that passes: after a 429
everybody waits as long as the provider asked, and after a row of failures nobody asks at all until
one probe has gone well.

No library is in this, though it was looked for: pyrate-limiter counts rates for threads and tasks
alike but knows no slots, cannot correct an entry by what was really used, and cannot be paused;
purgatory keeps a state of its own for threads and another for tasks; aiolimiter, aiobreaker and
the rest know tasks only.  Both worlds must share one account here, and one clock that tests move.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from kairos.exceptions import ConfigError
from kairos.models.circuit import Circuit, Window
from kairos.models.errors import ModelError
from kairos.ports import Clock, SystemClock
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Entry", "Gate", "ProviderLimits", "fingerprint", "gate_of"]

_FAILURES = frozenset({"server", "overloaded", "timeout", "connection"})
_ENDLESS = float("inf")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # after a 429 that does not say how long
_MOST_ASKED = 600.0  # seconds that one refusal may keep everybody waiting, whatever it says


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """How hard a provider may be pressed; None is no limit.

    `concurrency` calls at a time; `requests_per_minute` and `tokens_per_minute` in any sixty
    seconds, tokens by estimate first and then by what was used.  After `failures` calls in a row
    that the provider did not answer (server error, overloaded, timeout, connection) it is left
    alone for `cooldown` seconds, then asked once.

    Raises ConfigError that names the field.
    """

    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    failures: int | None = 10
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        for each in fields(self)[:4]:
            value: Any = getattr(self, each.name)
            if value is not None and (type(value) is not int or value < 1):
                raise _no_limit(each.name, "a whole number from 1 up, or None", value)
        if type(self.cooldown) not in (int, float) or not 0 < self.cooldown < _ENDLESS:
            raise _no_limit("cooldown", "a number of seconds above 0", self.cooldown)

    def strictest(self, other: ProviderLimits) -> ProviderLimits:
        """Return limits that keep to both."""
        both = {
            each.name: min(x for x in (getattr(self, each.name), getattr(other, each.name)) if x)
            for each in fields(self)[:4]
            if getattr(self, each.name) or getattr(other, each.name)
        }
        return replace(self, cooldown=max(self.cooldown, other.cooldown), **both)


def _no_limit(name: str, expected: str, value: object) -> ConfigError:
    found = repr(value) if isinstance(value, int | float) else type(value).__name__
    return ConfigError(
        f"{name} is no limit of a provider", where=declared_here(), expected=expected, found=found
    )


class Entry:
    """One call that has passed the gate: a context manager, plain or async."""

    __slots__ = ("_gate", "_stamp", "open", "probe", "round")

    def __init__(self, gate: Gate, stamp: list[float] | None, number: int, *, probe: bool) -> None:
        self._gate = gate
        self._stamp = stamp
        self.round = number
        self.probe = probe
        self.open = True

    def used(self, tokens: int) -> None:
        """Count what was really used, where tokens were estimated."""
        if self._stamp is not None:
            self._gate.correct(self._stamp, tokens)

    def leave(self, error: BaseException | None = None) -> None:
        """Give the slot back; `error` is how the call failed.  Only the first time counts."""
        self._gate.leave(self, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.leave(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.leave(error)


class _Waiter:
    __slots__ = ("entry", "tokens", "wake")

    def __init__(self, tokens: int, wake: Callable[[], Any]) -> None:
        self.tokens = tokens
        self.wake = wake
        self.entry: Entry | None = None


class Gate:
    """The way to one provider.  Thread-safe; threads and tasks wait in one queue, in order."""

    def __init__(
        self,
        provider: str,
        limits: ProviderLimits | None = None,
        *,
        model: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.provider = provider
        self.model = model
        self.limits = limits or ProviderLimits()
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self._busy = 0
        self._window = Window()
        self._circuit = Circuit()
        self._paused_until = 0.0
        self._pauses = 0  # in a row

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Whether calls pass; half-open lets one pass, to see."""
        with self._lock:
            return self._circuit.state(self._clock.monotonic())

    @property
    def busy(self) -> int:
        """How many calls have passed and not come back."""
        return self._busy

    def tighten(self, limits: ProviderLimits) -> None:
        """Keep to these limits as well."""
        with self._lock:
            self.limits = self.limits.strictest(limits)

    # -- waiting ---------------------------------------------------------------------------

    def enter(
        self,
        *,
        tokens: int = 0,
        patience: float = 120.0,
        given_up: Callable[[], bool] | None = None,
    ) -> Entry:
        """Wait for one's turn, blocking this thread, and return the entry.

        `tokens` is how many the call may take.  Raises ModelError of the kind "unavailable" while
        the provider is left alone, and "rate_limited" where it would take longer than `patience`
        seconds; both say after how long to come again.
        """
        event = threading.Event()
        waiter = _Waiter(tokens, event.set)
        until = self._clock.monotonic() + patience
        unsubscribe = self._clock.subscribe(event.set)
        try:
            while True:
                event.clear()
                due = self._try(waiter, until)
                if waiter.entry is not None:
                    return waiter.entry
                self._check_wanted(given_up)
                wait = self._clock.span(due, idle=False)
                limit = _LOOK if given_up is not None else None
                bounds = [bound for bound in (wait, limit) if bound is not None]
                event.wait(min(bounds) if bounds else None)
        except BaseException:
            self._forget(waiter)
            raise
        finally:
            unsubscribe()

    async def enter_async(self, *, tokens: int = 0, patience: float = 120.0) -> Entry:
        """Do as `enter`, without blocking the event loop; being cancelled gives the turn back."""
        import asyncio  # noqa: PLC0415 - whoever runs a coroutine has it already

        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the loop is closed: nobody waits there any more
                return

        waiter = _Waiter(tokens, wake)
        until = self._clock.monotonic() + patience
        unsubscribe = self._clock.subscribe(wake)
        try:
            while True:
                event.clear()
                due = self._try(waiter, until)
                if waiter.entry is not None:
                    return waiter.entry
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._clock.span(due, idle=False)):
                        await event.wait()
        except BaseException:
            self._forget(waiter)
            raise
        finally:
            unsubscribe()

    def _check_wanted(self, given_up: Callable[[], bool] | None) -> None:
        if given_up is not None and given_up():
            raise self._unserved("unavailable", "the call is not wanted any more")

    def _try(self, waiter: _Waiter, until: float) -> float:
        """Let a waiter pass if it is its turn; otherwise return in how many seconds to look again.

        Raises ModelError where waiting is of no use.
        """
        with self._lock:
            now = self._clock.monotonic()
            refusal = self._circuit.refusal(now)
            if refusal is not None:
                raise self._unserved("unavailable", *refusal)
            if waiter not in self._waiting:
                self._waiting.append(waiter)
            left = until - now
            if self._waiting[0] is not waiter:
                if left <= 0:
                    raise self._unserved("rate_limited", "its turn did not come in time", 1.0)
                return left
            due = self._due(waiter.tokens, now)
            if due <= now:
                self._waiting.popleft()
                waiter.entry = self._pass(waiter.tokens, now)
                self._wake_first()
                return 0.0
            if left <= 0 or (due != _ENDLESS and due > until):
                after = due - now if due != _ENDLESS else 1.0
                raise self._unserved("rate_limited", "its turn would not come in time", after)
            return min(due - now, left)

    def _due(self, tokens: int, now: float) -> float:
        """Return when the first in the queue may pass; infinity: when a slot is given back."""
        limits = self.limits
        if limits.concurrency is not None and self._busy >= limits.concurrency:
            return _ENDLESS
        if limits.requests_per_minute is None and limits.tokens_per_minute is None:
            return self._paused_until
        room = self._window.room_at(
            now, tokens, calls=limits.requests_per_minute, most=limits.tokens_per_minute
        )
        return max(room, self._paused_until)

    def _pass(self, tokens: int, now: float) -> Entry:
        limits, stamp = self.limits, None
        if limits.requests_per_minute is not None or limits.tokens_per_minute is not None:
            stamp = self._window.add(now, tokens)
        self._busy += 1
        return Entry(self, stamp, self._circuit.round, probe=self._circuit.enter())

    def _wake_first(self) -> None:
        if self._waiting:
            self._waiting[0].wake()

    def _forget(self, waiter: _Waiter) -> None:
        entry = waiter.entry
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                self._wake_first()
        if entry is not None:  # it had its turn, and was broken off before it could take it
            entry.leave(None)

    def _unserved(
        self,
        kind: Literal["unavailable", "rate_limited"],
        why: str,
        after: float | None = None,
    ) -> ModelError:
        return ModelError(
            kind,
            f"{self.provider} was not asked: {why}",
            provider=self.provider,
            model=self.model,
            retry_after=after,
        )

    # -- what becomes of calls -------------------------------------------------------------

    def correct(self, stamp: list[float], tokens: int) -> None:
        """Count what a call used in place of what was estimated."""
        with self._lock:
            self._window.correct(stamp, tokens)
            self._wake_first()

    def leave(self, entry: Entry, error: BaseException | None) -> None:
        """Take a slot back, and learn from how the call went."""
        with self._lock:
            if not entry.open:
                return
            entry.open = False
            self._busy -= 1
            now = self._clock.monotonic()
            kind = error.kind if isinstance(error, ModelError) else None
            if kind in ("rate_limited", "overloaded"):
                self._pause(error, now)
            elif error is None:
                self._pauses = 0
            if entry.round == self._circuit.round:
                self._judge(entry, kind, error, now)
            self._wake_first()

    def _pause(self, error: Any, now: float) -> None:
        """Have everybody wait after a refusal, not only who was refused."""
        asked = error.retry_after
        if asked is None and error.kind == "overloaded":
            return
        if asked is None:
            asked = min(_FIRST_PAUSE * 2.0**self._pauses, _LONGEST_PAUSE)
        self._pauses += 1
        self._paused_until = max(self._paused_until, now + min(asked, _MOST_ASKED))

    def _judge(
        self, entry: Entry, kind: str | None, error: BaseException | None, now: float
    ) -> None:
        circuit, probe = self._circuit, entry.probe
        if kind in _FAILURES:
            until = now + self.limits.cooldown
            if circuit.failed(probe=probe, most=self.limits.failures, until=until):
                for waiter in self._waiting:  # each finds out for itself
                    waiter.wake()
        elif error is None or kind is not None:
            circuit.answered(probe=probe)
        else:
            circuit.shown_nothing(probe=probe)


_LOOK = 0.1  # seconds between looks at whether a call is still wanted


# --- one for each provider

_gates: dict[tuple[str, str, str, str], Gate] = {}
_gates_lock = threading.Lock()


def gate_of(
    provider: str,
    *,
    model: str = "",
    base_url: str = "",
    key: str = "",
    limits: ProviderLimits | None = None,
) -> Gate:
    """Return this process's gate to a provider: the same for the same arguments.

    `key` is the fingerprint of a key, since each key has its own rates, and never a key.  Where it
    was asked for with other limits before, the strictest of both hold.
    """
    name = (provider, model, base_url, key)
    with _gates_lock:
        gate = _gates.get(name)
        if gate is None:
            gate = _gates[name] = Gate(provider, limits, model=model)
        elif limits is not None:
            gate.tighten(limits)
        return gate


def fingerprint(key: str) -> str:
    """Return what tells keys apart and does not lead back to one."""
    return hashlib.blake2b(key.encode(), digest_size=8, person=b"kairos.gate").hexdigest()
