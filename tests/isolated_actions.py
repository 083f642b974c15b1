"""Actions that tests/test_processes.py runs in processes of their own."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from kairos.exceptions import ExecutionError
from kairos.step import SKIP, Skip, StepContext

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS: list[str] = []


class Doc(BaseModel):
    """Takes a datetime, which JSON does not know."""

    title: str
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)


class Score(BaseModel):
    value: float
    of: Doc


class DemandingError(OSError):
    """Cannot be built from a message alone."""

    def __init__(self, path: str, code: int) -> None:
        super().__init__(f"{path}: {code}")


class OwnError(ExecutionError):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"own {one} {two}", fix="try again")


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, x: int) -> int:
        return x * self.factor

    def add(self, x: int) -> int:
        return x + self.factor

    @classmethod
    def twice(cls, x: int) -> int:
        return cls(2)(x)


twofold = Scale(2)


def report(ctx: StepContext, text: str) -> None:
    """Tell the test how far this is: it waits at the other end of a named pipe."""
    with open(ctx.inputs["fifo"], "w", encoding="utf-8") as fifo:  # noqa: PTH123 - a pipe
        fifo.write(text + "\n")


# -- what comes back ---------------------------------------------------------------------------


def standing(ctx: StepContext) -> dict[str, Any]:
    CALLS.append(ctx.step_id)
    return {
        "pid": os.getpid(),
        "calls": len(CALLS),
        "inputs": dict(ctx.inputs),
        "state": {key: ctx.state.get(key) for key in _keys(ctx)},
        "item": ctx.item,
        "retry": ctx.retry_context,
        "ids": [ctx.step_id, ctx.attempt, ctx.run_id, ctx.item_index, ctx.idempotency_key],
        "cancelled": ctx.cancelled,
    }


def _keys(ctx: StepContext) -> list[str]:
    keys = ctx.state.keys
    return keys() if callable(keys) else keys


def echo(ctx: StepContext) -> Any:
    return ctx.inputs["x"]


def large(ctx: StepContext) -> str:
    return "é" * int(ctx.inputs["x"])


def talk(ctx: StepContext) -> None:
    print("said aloud")  # noqa: T201 - what is printed is what is tested
    print("and complained", file=sys.stderr)  # noqa: T201 - as above
    print("to the end", end="")  # noqa: T201 - as above


def read_stdin(ctx: StepContext) -> str:
    return sys.stdin.read()


def scaled(x: int, factor: int) -> int:
    return x * factor


def typed(fetch: Doc, ctx: StepContext, bonus: float = 0.5) -> Score:
    return Score(value=len(fetch.title) + bonus + ctx.attempt, of=fetch)


def typed_item(item: Doc) -> str:
    return item.title


async def typed_async(fetch: Doc) -> Doc:
    return Doc(title=fetch.title.upper())


async def waits_for_nothing(ctx: StepContext) -> int:
    return len(ctx.inputs)


def makes_doc(ctx: StepContext) -> Doc:
    return Doc(title="made")


def makes_times(ctx: StepContext) -> Any:
    return {"a": datetime(2026, 1, 2, tzinfo=UTC)}


def makes_object(ctx: StepContext) -> Any:
    return twofold


def wrong_return(fetch: Doc) -> Score:
    return {"value": "high"}  # type: ignore[return-value]


def skips(x: int) -> int | Skip:
    return SKIP


def opens(ctx: StepContext) -> list[int]:
    found = []
    for number in range(256):
        with suppress(OSError):
            os.fstat(number)
            found.append(number)
    return found


def surroundings(ctx: StepContext) -> dict[str, Any]:
    return {"env": os.environ.get("KAIROS_TEST"), "cwd": os.getcwd(), "main": __name__}  # noqa: PTH109


# -- what goes wrong ---------------------------------------------------------------------------


def not_json(ctx: StepContext) -> Any:
    return {"a": [1, {2}]}


def raises(ctx: StepContext) -> Any:
    raise {
        "value": ValueError("bad \udcff\x00\u2028 value"),
        "demanding": DemandingError("a", 2),
        "own": OwnError(1, 2),
        "exit": SystemExit(4),
        "interrupt": KeyboardInterrupt(),
        "unknown": _unknown(),
        "unicode": UnicodeDecodeError("utf-8", b"a", 0, 1, "broken"),
        "secret": RuntimeError("api_key=sk-proj-abcdefghijklmnopqrstuvwxyz123456"),
        "group": ExceptionGroup("many", [ValueError("x")]),
    }[ctx.inputs["x"]]


def _unknown() -> Exception:
    """Return an exception of a class that only this process has."""
    if "only_here" not in sys.modules:
        sys.modules["only_here"] = type(sys)("only_here")
    made: type[Exception] = type("LocalError", (ConnectionResetError,), {"__module__": "only_here"})
    return made("reset")


def reads_too_much(ctx: StepContext) -> Any:
    with suppress(Exception):
        ctx.inputs["other"]
    with suppress(Exception):
        ctx.state.set("elsewhere", 1)
    ctx.state.set("mine", {"a": 1})
    return ctx.state.get("forbidden")


def writes_outside(ctx: StepContext) -> int:
    ctx.state._write_keys = None  # type: ignore[union-attr]
    ctx.state.set("elsewhere", 1)
    return 1


def dies(ctx: StepContext) -> Any:
    how = ctx.inputs["x"]
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "hang up":
        _line().shutdown(socket.SHUT_WR)
        threading.Event().wait()
    elif how == "leave a child":  # which holds the line open
        if os.fork() == 0:
            threading.Event().wait()
        os._exit(5)
    elif isinstance(how, int):
        os._exit(how)
    return "alive"


def says(ctx: StepContext) -> None:
    """Answer in the worker's place."""
    for part in ctx.inputs["x"]:
        _line().sendall(part.encode("latin-1"))


def _line() -> socket.socket:
    """Find the line to the driver, as mischief would."""
    for number in range(3, 64):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                return socket.socket(fileno=os.dup(number))
    raise LookupError


def spins(ctx: StepContext) -> str:
    report(ctx, str(os.getpid()))
    while not ctx.cancelled:
        pass
    return "told"


def spins_forever(ctx: StepContext) -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:  # noqa: S607
        report(ctx, f"{os.getpid()} {child.pid}")
        while True:
            pass


def keeps_the_lock(ctx: StepContext) -> None:
    """Stay in C code that never lets another thread of this process run."""
    report(ctx, str(os.getpid()))
    re.match(r"(a+)+$", "a" * 60 + "b")


def calls_models(ctx: StepContext) -> int:
    made = 0
    for _ in range(ctx.inputs["x"]):
        ctx.increment_llm_calls()
        made += 1
    ctx.charge(input_tokens=3, usd=float("nan"))
    if ctx.inputs.get("die"):
        os._exit(1)
    return made


# -- what can be found -------------------------------------------------------------------------


def search(ctx: StepContext) -> dict[str, list[str]]:
    """Look for markers in everything that this process can reach."""
    halves = ctx.inputs["halves"]
    ctx.state.get("readable")
    return {half: _found("marker-" + half) for half in halves}


def _found(marker: str) -> list[str]:
    """Say where a value lies that holds the marker, which itself is not what is looked for."""
    return sorted({where for where, value in _everything() if _holds(value, marker)})


def _holds(value: Any, marker: str) -> bool:
    if isinstance(value, str):
        return marker in value and value != marker
    return isinstance(value, (bytes, bytearray)) and marker.encode() in value


def _everything() -> Iterator[tuple[str, Any]]:
    for name, value in os.environ.items():
        yield "environment", f"{name}={value}"
    for argument in (*sys.argv, *sys.orig_argv):
        yield "arguments", argument
    for frame in _frames():
        yield from _reached("frames", list(frame.f_locals.values()), depth=2)
    for module in list(sys.modules.values()):
        yield from _reached("modules", list(vars(module).values()), depth=1)
    objects = gc.get_objects()
    for thing in objects:
        if isinstance(thing, FunctionType):
            yield from _reached("closures", list(thing.__closure__ or ()), depth=2)
    yield from _reached("objects", objects, depth=99)


def _frames() -> Iterator[FrameType]:
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        while frame is not None:
            yield frame
            frame = frame.f_back


def _reached(where: str, things: list[Any], depth: int) -> Iterator[tuple[str, Any]]:
    """Give what can be reached: the collector knows no strings, only what refers to them."""
    seen = {id(thing) for thing in things}
    kept = [things]  # so that an id stays the id of what was seen
    while things and depth >= 0:
        yield from ((where, thing) for thing in things)
        new = []
        for thing in gc.get_referents(*things):
            if id(thing) not in seen:
                seen.add(id(thing))
                new.append(thing)
        kept.append(new)
        things, depth = new, depth - 1


@dataclass
class Box:
    """Something that JSON does not know, to be refused as an argument."""

    x: int


partial_of_partial = functools.partial(functools.partial(scaled, factor=2), factor=3)
