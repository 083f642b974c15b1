"""The driver's side of one worker process: starting it, talking to it, and ending it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from kairos.attempt import Outcome, Recipe, Work, failure_of
from kairos.backends.address import SCRIPT, Address, address_of, name_of
from kairos.backends.answers import read_outcome
from kairos.backends.wire import GarbledError, pack, receive
from kairos.budget import Budget, Ledger, Spend
from kairos.exceptions import BudgetExceededError, ExecutionError, WorkerCrashError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kairos.budget import Reservation

__all__ = ["WorkerProcess", "spend_of"]

# `-c`, since a module that is run goes by another name, and a file that is run puts its folder
# on the path.  The path is set before anything is looked for on it.
_BOOT = (
    "import sys; talk, life, *sys.path = sys.argv[1:]; del sys.argv[1:];"
    " from kairos.backends.worker import main; main(int(talk), int(life))"
)
_TICK = 500  # milliseconds between looks at whether a silent worker is still there
_GRACE = 1.0  # seconds that a worker which hung up is given to be dead as well


class WorkerProcess:
    """One worker process, and the line to it.

    One thread at a time has it make an attempt; others may meanwhile kill it, or tell it that the
    attempt is cancelled.  `usable` says whether it can make another, `taken` whether the last one
    had begun.

    Raises ConfigError where the action cannot be found from another process, and WorkerCrashError
    where no process can be started.
    """

    def __init__(self, recipe: Recipe, max_answer: int) -> None:
        self.step = recipe.step
        self.usable = True
        address = address_of(recipe.action, recipe.step)
        self._aliases = dict.fromkeys((address.name.module, SCRIPT), address.name.home)
        self._told: dict[str, Any] | None = _description(recipe, address)
        self._max_answer = max_answer
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._held: dict[int, tuple[int, bytes]] = {}
        self._counted = 0
        self._number = 0  # of the attempt being made; 0 while it waits
        self.taken = False  # the attempt that was sent last has begun
        self._killed = False
        self._cancel_told = False
        self._reserved: dict[int, Reservation] = {}
        try:
            self._process, self._line, self._life = _start()
        except OSError as error:
            raise WorkerCrashError(
                f"no worker process can be started for step '{recipe.name}'"
                f" ({error.strerror or type(error).__name__})",
                step_id=recipe.name,
            ) from None
        self._news = select.poll()
        self._news.register(self._line, select.POLLIN)

    def perform(self, work: Work) -> Outcome:
        """Have an attempt made.  What becomes of the process is an outcome, not an exception."""
        fence = work.fence
        self._cancel_told = fence.cancelled
        self.taken = False
        with self._lock:
            self._counted += 1
            self._number = number = self._counted
        # Both name the attempt: called late, they must not hit the next one.
        fence.on_cancel = partial(self._tell_cancelled, number)
        fence.on_give_up = partial(self._kill_attempt, number)
        try:
            if fence.given_up:  # before it could be told
                self._kill_attempt(number)
            self._order(work, number)
            outcome = self._hear(work, number)
        except GarbledError as error:
            outcome = self._crashed(work, str(error))
        except (OSError, EOFError):
            outcome = self._crashed(work, self._last_words())
        finally:
            fence.on_cancel = fence.on_give_up = None
            with self._lock:
                self._number = 0
        if self._killed:
            self.usable = False
        for reservation in self._reserved.values():
            reservation.keep()  # it was in use, for all that is known
        self._reserved.clear()
        return outcome

    def _order(self, work: Work, number: int) -> None:
        """Send an attempt, and of its values those that the worker does not hold from the last."""
        held, used = self._held, dict[int, tuple[int, bytes]]()
        new: dict[int, bytes] = {}

        def ship(raw: bytes) -> int:
            entry = used.get(id(raw)) or held.get(id(raw))
            if entry is None:
                self._counted += 1
                entry = self._counted, raw
                new[entry[0]] = raw
            used[id(raw)] = entry
            return entry[0]

        inputs = {key: ship(raw) for key, raw in _readable(work, work.inputs).items()}
        visible = {key: ship(raw) for key, raw in _readable(work, work.visible).items()}
        head = {
            "kind": "attempt",
            "number": number,
            "step": self._told,
            "attempt": work.attempt,
            "run_id": work.surroundings.run_id,
            "item_index": work.item_index,
            "item": [] if work.item is None else [ship(work.item)],
            "retry_context": work.retry_context,
            "inputs": inputs,
            "visible": visible,
            "new": list(new),
            "cancelled": self._cancel_told,
        }
        self._send(pack(head, list(new.values())))
        self._held, self._told = used, None

    def _send(self, message: bytes) -> None:
        with self._sending:
            self._line.sendall(message)

    def _hear(self, work: Work, number: int) -> Outcome:
        """Listen until the attempt is answered, and book what it spends meanwhile."""
        read = partial(self._read, work, number)
        while True:
            head, blobs = receive(read, self._max_answer)
            if head.get("kind") in ("charge", "reserve", "settle"):
                self._account(work, head)
            elif head.get("kind") == "taken" and head.get("number") == number:
                self.taken = True
            elif head.get("kind") == "answer" and head.get("number") == number:
                self.usable = head.get("usable") is True
                return read_outcome(work, head, blobs, self._aliases)
            else:
                raise GarbledError("answered what it was not asked")

    def _read(self, work: Work, number: int, count: int) -> bytes:
        buffer = bytearray()
        gone = False
        while len(buffer) < count:
            if work.fence.cancelled and not self._cancel_told:
                self._tell_cancelled(number)
            if not self._news.poll(0 if gone else _TICK):
                # It is dead, and what it started holds its end of the line open.
                if gone:
                    raise EOFError
                gone = not self.alive()
                continue
            part = self._line.recv(min(count - len(buffer), 1 << 20))
            if not part:
                raise EOFError
            buffer += part
        return bytes(buffer)

    def _account(self, work: Work, head: dict[str, Any]) -> None:
        """Do for the worker what it asks of the account, and tell it what came of it."""
        verdict: dict[str, Any] = {
            "kind": "verdict",
            "refused": None,
            "fix": None,
            "scope": "",
            "budget": "",
        }
        try:
            number = self._booked(work, head)
        except BudgetExceededError as error:
            told = {"refused": error.message, "fix": error.fix}
            verdict |= {**told, "scope": error.scope, "budget": error.budget}
        except ExecutionError as error:  # the attempt is not wanted any more
            verdict |= {"refused": error.message}
        else:
            verdict |= {"number": number}
        self._send(pack(verdict))

    def _booked(self, work: Work, head: dict[str, Any]) -> int:
        kind, told = head["kind"], head.get("spend")
        if kind == "settle":
            return self._settle(head.get("number"), told)
        spend = spend_of(told)
        ledger = work.surroundings.ledger or Ledger(Budget(llm_calls=None))
        if kind == "charge":
            work.tab.note(spend)
            ledger.charge(spend)
            return 0
        wait: Any = head.get("wait")
        if type(wait) not in (int, float):
            raise GarbledError("asked to wait for no time")
        fence = work.fence
        reservation = ledger.reserve(
            spend, wait=wait, given_up=lambda: fence.cancelled, on_settled=work.tab.note
        )
        work.tab.hold(reservation)
        self._counted += 1
        self._reserved[self._counted] = reservation
        return self._counted

    def _settle(self, number: Any, told: Any) -> int:
        reservation = self._reserved.pop(number, None) if type(number) is int else None
        if reservation is None:
            raise GarbledError("settled what it had not reserved")
        if told is None:
            reservation.release()
        else:
            reservation.settle(spend_of(told))
        return 0

    def _tell_cancelled(self, number: int) -> None:
        """Pass a cancellation on without ever blocking; where it cannot be sent, `_read` retries.

        Called from the thread that drives the run.
        """
        if not self._sending.acquire(blocking=False):
            return
        try:
            if self._number == number:
                message = pack({"kind": "cancel", "number": number})
                self._line.send(message, socket.MSG_DONTWAIT)
                self._cancel_told = True
        except OSError:  # its buffer is full, or it is dead
            pass
        finally:
            self._sending.release()

    def _kill_attempt(self, number: int) -> None:
        with self._lock:
            if self._number == number:
                self._kill()

    def _kill(self) -> None:
        """Kill the process and its group, unless it is gone: its number may be another's by now."""
        if self._process.returncode is None:
            self._killed = True
            _kill_group(self._process.pid)

    def alive(self) -> bool:
        """Tell whether the process runs; when it has just ended, end what it started as well."""
        with self._lock:
            if self._process.returncode is None and self._process.poll() is not None:
                _kill_group(self._process.pid)
            return self._process.returncode is None

    def kill(self) -> None:
        """Kill the process and reap it.  An attempt that is being made fails."""
        with self._lock:
            self._kill()
            with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: no use in waiting
                self._process.wait(timeout=10.0)

    def end(self) -> None:
        """Kill the process, reap it and close the line.  Not while an attempt is being made."""
        self.usable = False
        self.kill()
        with self._sending, suppress(OSError):
            self._line.close()
            self._life.close()

    def _last_words(self) -> str:
        """Say how the process ended, once its line is closed."""
        until = time.monotonic() + _GRACE
        while self.alive() and time.monotonic() < until:
            time.sleep(0.001)
        code = self._process.returncode
        if self._killed:
            return "was killed, since nobody waits for the attempt any more"
        if code is None:
            return "closed its line before it answered"
        if code >= 0:
            return f"exited with status {code} before it answered"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"

    def _crashed(self, work: Work, how: str) -> Outcome:
        self.usable = False
        name = work.recipe.name
        error = WorkerCrashError(
            f"the worker process of step '{name}' {how}", step_id=name, attempt=work.attempt
        )
        return Outcome(work, failure=failure_of(error))


def _start() -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket]:
    """Start a worker; return it, the line to it, and what tells it that this process lives."""
    line, talk = socket.socketpair()
    life, sign = socket.socketpair()
    try:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter, and our own words
            [
                sys.executable,
                # what this interpreter was told (-W, -X, -I ...) holds for its workers too
                *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]  # noqa: SLF001
                "-c",
                _BOOT,
                str(talk.fileno()),
                str(sign.fileno()),
                *(entry for entry in sys.path if isinstance(entry, str)),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=(talk.fileno(), sign.fileno()),
            start_new_session=True,  # Ctrl-C is for the driver; and one kill reaches all it starts
        )
    except BaseException:
        line.close()
        life.close()
        raise
    finally:
        talk.close()
        sign.close()
    return process, line, life


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a dead group
        os.killpg(leader, signal.SIGKILL)


def _description(recipe: Recipe, address: Address) -> dict[str, Any]:
    """Say what a worker needs to know of a step; contracts it cannot be named stay here."""
    step = recipe.step
    output: Any = None
    if recipe.output is not None and step.output_contract is not recipe.signature.returns:
        output = name_of(step.output_contract, step) or "declared"
        # a script is imported anew for its own actions only, not to find a contract in it
        if output != "declared" and output.home == "__main__" != address.name.home:
            output = "declared"
    return {
        "name": recipe.name,
        "action": address.name,
        "args": address.args,
        "kwargs": address.kwargs,
        "output": output,
        "schema": _schema(recipe) if output == "declared" else None,
        "read_keys": step.read_keys,
        "write_keys": step.write_keys,
        "foreach": step.config.foreach,
        "sources": step.sources,
    }


def _schema(recipe: Recipe) -> dict[str, Any] | None:
    """Return as JSON Schema what a step that asks a model has to return, where it can be said."""
    if recipe.promised is None or "model" not in recipe.step.touches:
        return None
    try:
        return recipe.promised.json_schema("validation")
    except Exception:  # noqa: BLE001 - other people's types; what it returns is checked all the same
        return None


def _readable(work: Work, values: Mapping[str, bytes]) -> Mapping[str, bytes]:
    allowed = work.recipe.read_keys
    if allowed is None:
        return values
    return {key: raw for key, raw in values.items() if key in allowed}


def spend_of(told: Any) -> Spend:
    """Return the amount that a worker asked to spend; raises GarbledError where it is none."""
    if not isinstance(told, list) or len(told) != len(Spend._fields):
        raise GarbledError("asked to spend what is no amount")
    *counts, usd = told
    if not all(type(count) is int and count >= 0 for count in counts):
        raise GarbledError("asked to spend what is no amount")
    if usd is not None and (type(usd) not in (int, float) or usd < 0):
        raise GarbledError("asked to spend what is no amount")
    calls, read, written = counts
    return Spend(calls, read, written, usd)
