"""Many things side by side: wide plans, foreach, and steps in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from figures import Row, Target, interleaved
from kairos import Step, StepContext, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Scale

__all__ = ["rows"]

WORKERS = 32
NAP = 0.001
_ECHO = "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line)\n"


def _nothing(ctx: StepContext) -> int:
    del ctx
    return 1


def _count(ctx: StepContext) -> int:
    return len(ctx.inputs)


def _next(ctx: StepContext) -> int:
    number: int = ctx.item
    return number + 1


def _nap(ctx: StepContext) -> int:
    time.sleep(NAP)
    return _next(ctx)


def _wide(width: int) -> float:
    names = [f"w{place}" for place in range(width)]
    middle = [Step(name, _nothing, depends_on=["source"], parallel=True) for name in names]
    ends = [Step("source", _nothing), Step("sink", _count, depends_on=names)]
    workflow = Workflow("wide", [*ends, *middle])
    begun = time.perf_counter()
    result = workflow.run()
    taken = time.perf_counter() - begun
    assert result.output == width, result.error
    return taken / width * 1e6


def _submitted(width: int) -> float:
    begun = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(int, 1) for _ in range(width)]
        total = sum(future.result() for future in futures)
    taken = time.perf_counter() - begun
    assert total == width
    return taken / width * 1e6


def _each(
    items: int, action: Callable[[StepContext], int], now: Callable[[], float], **options: Any
) -> float:
    """Return how long a foreach takes, in seconds."""
    workflow = Workflow("each", [Step("each", action, foreach="numbers", **options)])
    begun = now()
    result = workflow.run({"numbers": list(range(items))})
    taken = now() - begun
    assert result.output == list(range(1, items + 1)), result.error
    kept = result.step_results["each"].items or []
    assert [len(each.attempts) for each in kept] == [1] * items
    return taken


def _bare_loop(items: int) -> float:
    begun = time.process_time()
    numbers = from_json(to_json(list(range(items))))
    done = [to_json(from_json(to_json(number)) + 1) for number in numbers]
    taken = time.process_time() - begun
    assert len(done) == items
    return taken


def _mapped(items: int) -> float:
    def nap(number: int) -> int:
        time.sleep(NAP)
        return number + 1

    begun = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        done = list(pool.map(nap, range(items)))
    taken = time.perf_counter() - begun
    assert len(done) == items
    return taken


def _isolated(items: int) -> float:
    return _each(items, _next, time.perf_counter, isolation="process") * 1e3


def _interpreter() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (time.perf_counter() - begun) * 1e3


def _echoed(items: int) -> float:
    """Return how long a line takes to a process and back, in microseconds."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-u", "-c", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as echo:
        assert echo.stdin is not None
        assert echo.stdout is not None
        begun = 0.0
        for number in range(items + 1):
            if number == 1:
                begun = time.perf_counter()  # it has started
            echo.stdin.write(b"1\n")
            echo.stdin.flush()
            assert echo.stdout.readline() == b"1\n"
        return (time.perf_counter() - begun) / items * 1e6


def _wide_rows(scale: Scale) -> Iterator[Row]:
    width = scale.size(10_000)
    found = interleaved(
        {"kairos": lambda: _wide(width), "floor": lambda: _submitted(width)}, scale.rounds(9)
    )
    what, unit = f"1 → {width:,} → 1", "µs a step"
    yield Row("wide", what, unit, found["kairos"], found["floor"], Target(1.5, "ratio"))


def _foreach_rows(scale: Scale) -> Iterator[Row]:
    many, some = scale.size(10_000), scale.size(2_000)
    found = interleaved(
        {
            "serial": lambda: _each(many, _next, time.process_time) / many * 1e6,
            "serial floor": lambda: _bare_loop(many) / many * 1e6,
            "parallel": lambda: _each(some, _nap, time.perf_counter, parallel=True) * 1e3,
            "parallel floor": lambda: _mapped(some) * 1e3,
        },
        scale.rounds(7),
    )
    what, unit = f"foreach over {many:,}, serial", "µs CPU an item"
    yield Row("foreach_serial", what, unit, found["serial"], found["serial floor"])
    yield Row(
        "foreach_parallel",
        f"foreach over {some:,}, {NAP * 1e3:g} ms naps, {WORKERS} workers",
        "ms",
        found["parallel"],
        found["parallel floor"],
        Target(0.95, "ratio"),
    )


def _isolation_rows(scale: Scale) -> Iterator[Row]:
    items = scale.size(1_000)
    found = interleaved(
        {
            "one": lambda: _isolated(1),
            "interpreter": _interpreter,
            "many": lambda: _isolated(items + 1),
            "echo": lambda: _echoed(items),
        },
        scale.rounds(3),
    )
    further = max(found["many"] - found["one"], 0.0) / items * 1e3
    yield Row("isolated_first", "isolated, first item", "ms", found["one"], found["interpreter"])
    yield Row("isolated_further", "isolated, a further item", "µs", further, found["echo"])


def rows(scale: Scale) -> Iterator[Row]:
    """Measure the wide plan, foreach both ways, and isolation."""
    yield from _wide_rows(scale)
    yield from _foreach_rows(scale)
    yield from _isolation_rows(scale)
