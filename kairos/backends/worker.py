"""The worker's side of an isolated step: one action, called again and again until it is killed.

A worker is a fresh interpreter.  It is sent the address of one action and then, for each attempt,
the JSON that this attempt may read; it answers with what `kairos.attempt` made of it.  It never
holds anything else of the run.
"""

from __future__ import annotations

import functools
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple, NoReturn

from kairos.attempt import (
    Outcome,
    Recipe,
    Surroundings,
    Work,
    failure_of,
    perform,
    perform_async,
)
from kairos.backends.address import Name, load
from kairos.backends.answers import write_outcome
from kairos.backends.wire import pack, receive
from kairos.budget import PATIENCE, Ledger, Reservation, Spend
from kairos.contracts.contract import ContractBroken, compile_contract
from kairos.contracts.encoding import encode
from kairos.contracts.field_errors import ROOT, FieldValidationError
from kairos.exceptions import BudgetExceededError, ExecutionError, StateError
from kairos.reserving import Desk
from kairos.schema import Schema
from kairos.security import sanitize_exception
from kairos.step import Fence, Step

__all__ = ["main"]


def main(talk: int, life: int) -> NoReturn:
    """Serve the driver at the other end of `talk` until it kills this process or dies."""
    for descriptor in (talk, life):
        os.set_inheritable(descriptor, False)  # what the action starts is not to hold them open
    _die_with_the_driver(life)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # what was printed is seen even when the worker is killed
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    line = _Line(socket.socket(fileno=talk))
    recipe: Recipe | None = None
    while True:
        order = line.orders.get()
        if recipe is None:
            recipe = _learn(line, order)
        if recipe is not None:
            try:
                line.take(order)
                line.answer(order, _attempt(recipe, order, line))
            except OSError:  # the action has closed the line, or the driver is gone
                os._exit(1)


def _die_with_the_driver(life: int) -> None:
    """Have the kernel end this process, and what it started, when the driver is gone.

    Nothing is ever written to `life`, so the only news it can bring is that its other end was
    closed.  A thread that waits for the same news (see `_Line`) is not enough: while an action
    is in C code that keeps the interpreter's lock, no other thread runs.
    """
    import fcntl  # noqa: PLC0415 - not on every system; there the thread has to do
    import select  # noqa: PLC0415 - as fcntl

    if hasattr(os, "O_ASYNC") and hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        flags = fcntl.fcntl(life, fcntl.F_GETFL)
        fcntl.fcntl(life, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(life, select.POLLIN)
    if poll.poll(0):  # it died before it could be asked to tell
        _die()


def _die() -> NoReturn:
    """End this process and all of its group: what the action started must not be left over."""
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


class _Order(NamedTuple):
    """What the driver wants done: one attempt, and the fence it stands behind."""

    head: dict[str, Any]
    values: Mapping[int, bytes]
    fence: Fence


class _Line:
    """The line to the driver.  One thread listens, since a cancellation comes at any time."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk
        self._sending = threading.Lock()
        self._charging = threading.Lock()
        self._verdicts: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._values: dict[int, bytes] = {}
        self._latest: _Order | None = None
        self.orders: SimpleQueue[_Order] = SimpleQueue()
        threading.Thread(target=self._listen, name="kairos-driver", daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                self._heard(*receive(self._read))
        except BaseException:  # noqa: BLE001 - whatever it is, nobody hears this worker any more
            _die()

    def _heard(self, head: dict[str, Any], blobs: list[bytes]) -> None:
        kind = head["kind"]
        if kind == "attempt":
            self._values.update(zip(head["new"], blobs, strict=True))
            used = (*head["inputs"].values(), *head["visible"].values(), *head["item"])
            self._values = {number: self._values[number] for number in used}
            self._latest = _Order(head, self._values, Fence())
            if head["cancelled"]:
                self._latest.fence.cancel()
            self.orders.put(self._latest)
        elif kind == "verdict":
            self._verdicts.put(head)
        elif kind == "cancel" and self._latest and self._latest.head["number"] == head["number"]:
            self._latest.fence.cancel()

    def _read(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            part = self._talk.recv(min(count, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _send(self, head: dict[str, Any], blobs: list[bytes]) -> None:
        message = pack(head, blobs)
        with self._sending:
            self._talk.sendall(message)

    def take(self, order: _Order) -> None:
        """Tell the driver that the attempt begins: from here on it may have had an effect."""
        self._send({"kind": "taken", "number": order.head["number"]}, [])

    def answer(self, order: _Order, outcome: Outcome, *, usable: bool = True) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # closed or replaced by the action
                stream.flush()
        head, blobs = write_outcome(outcome)
        number = order.head["number"]
        self._send({"kind": "answer", "number": number, "usable": usable, **head}, blobs)

    def ask(self, kind: str, spend: Spend | None, **more: Any) -> dict[str, Any]:
        """Ask the driver, which holds the account, for something; return its verdict.

        Raises BudgetExceededError where it refuses.
        """
        told = None
        if spend is not None:
            usd = spend.usd if spend.usd is None or math.isfinite(spend.usd) else None
            told = [*spend[:3], usd]
        with self._charging:
            self._send({"kind": kind, "spend": told, **more}, [])
            verdict = self._verdicts.get()
        if verdict["refused"] is None:
            return verdict
        raise BudgetExceededError(
            verdict["refused"],
            fix=verdict["fix"],
            budget=verdict["budget"],
            scope=verdict["scope"],
        )


class _Account(Ledger):
    """The run's account, which the driver keeps: every charge is asked for there.

    A charge is booked before it is spent, so it is counted even when this process is killed, and
    attempts in several workers cannot overdraw the account together.
    """

    __slots__ = ("_line",)

    takes_in = False  # its chain is the driver's

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def charge(self, spend: Spend) -> None:
        self._line.ask("charge", spend)

    def reserve(
        self,
        estimate: Spend,
        *,
        wait: float = PATIENCE,
        given_up: Callable[[], bool] | None = None,
        on_settled: Callable[[Spend], None] | None = None,
    ) -> Reservation:
        del given_up  # the driver knows
        verdict = self._line.ask("reserve", estimate, wait=wait)
        return _Reserved(self._line, verdict["number"], estimate, on_settled)

    async def reserve_async(
        self,
        estimate: Spend,
        *,
        wait: float = PATIENCE,
        on_settled: Callable[[Spend], None] | None = None,
    ) -> Reservation:
        import asyncio  # noqa: PLC0415 - a tenth of the time a worker takes to start

        return await asyncio.to_thread(self.reserve, estimate, wait=wait, on_settled=on_settled)


class _Reserved(Reservation):
    """A reservation that the driver keeps; what is not settled when this process ends is booked."""

    __slots__ = ("_line", "_number")

    def __init__(
        self,
        line: _Line,
        number: int,
        estimate: Spend,
        on_settled: Callable[[Spend], None] | None,
    ) -> None:
        super().__init__((), Desk(), estimate, () if on_settled is None else (on_settled,))
        self._line = line
        self._number = number
        self.open = True

    def close(self, actual: Spend | None) -> bool:
        was_open, self.open = self.open, False
        if was_open:
            self._line.ask("settle", actual, number=self._number)
        return was_open


class _Declared:
    """Writes what an action returns for a contract that is checked on the driver's side only.

    The contract could not be named to this process (`list[Score]`, say), so a value is written as
    its own type says, which is what the contract is then held against.
    """

    name = "its contract"

    def __init__(self, step: str) -> None:
        self._step = step

    def check_output(self, value: object) -> bytes:
        from pydantic import TypeAdapter  # noqa: PLC0415 - few actions need it

        try:
            return encode(value, key=self._step)
        except StateError as refused:
            try:
                raw = TypeAdapter(Any).dump_json(value, by_alias=True, warnings="error")
            except Exception:  # noqa: BLE001 - a foreign type may do anything; what is said is ours
                found = FieldValidationError(ROOT, "JSON", type(value).__name__, refused.message)
                raise ContractBroken((found,), self.name) from None
            return raw


def _learn(line: _Line, order: _Order) -> Recipe | None:
    """Import the action and build its recipe; where that fails the attempt has failed."""
    told = order.head["step"]
    try:
        return _recipe(told)
    except BaseException as error:  # noqa: BLE001 - a module may do anything when it is imported
        kind, message = sanitize_exception(error)
        failure = failure_of(
            ExecutionError(
                f"the action of step '{told['name']}' cannot be imported in its own process"
                f" ({kind}: {message})",
                step_id=told["name"],
            )
        )
        nothing = Surroundings("", None, time.perf_counter)
        work = Work(_BLANK, order.head["attempt"], {}, {}, nothing)
        line.answer(order, Outcome(work, failure=failure), usable=False)
        return None


_BLANK = Recipe(Step("unknown", lambda _: None))


def _recipe(told: dict[str, Any]) -> Recipe:
    action = load(Name(*told["action"]))
    if told["args"] or told["kwargs"]:
        action = functools.partial(action, *told["args"], **told["kwargs"])
    output = told["output"]
    step = Step(
        told["name"],
        action,
        output_contract=load(Name(*output)) if isinstance(output, list) else None,
        read_keys=told["read_keys"],
        write_keys=told["write_keys"],
        foreach=told["foreach"],
        sources=told["sources"],
    )
    recipe = Recipe(step)
    recipe.action = action  # here it has a thread to itself
    recipe.input, recipe.guarded = None, False  # checked before it was sent
    if output == "declared":
        recipe.output = _Declared(told["name"])  # type: ignore[assignment]  # it only writes
    if told["schema"] is not None:  # what is made of the reply is checked on the driver's side
        recipe.promised = compile_contract(Schema.from_json_schema(told["schema"]))
    return recipe


def _attempt(recipe: Recipe, order: _Order, line: _Line) -> Outcome:
    head, values = order.head, order.values
    item = head["item"]
    work = Work(
        recipe,
        head["attempt"],
        {key: values[number] for key, number in head["inputs"].items()},
        {key: values[number] for key, number in head["visible"].items()},
        Surroundings(head["run_id"], _Account(line), time.perf_counter),
        item_index=head["item_index"],
        item=values[item[0]] if item else None,
        retry_context=head["retry_context"],
    )
    work.fence = order.fence
    if not recipe.signature.is_async:
        return perform(work)
    import asyncio  # noqa: PLC0415 - a tenth of the time a worker takes to start

    try:
        return asyncio.run(perform_async(work))
    except BaseException as error:  # noqa: BLE001 - tasks that the action left behind
        return Outcome(work, failure=failure_of(error))
