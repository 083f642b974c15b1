"""Chains of steps that do nothing but read the step before: what the engine itself costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from figures import Row, Target, interleaved
from kairos import RunLogger, Step, StepContext, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Scale
    from kairos import LogEvent

__all__ = ["NullSink", "chain", "rows", "typed_function"]

_STEP = Target(10.0)
_GROWTH = Target(1.1, "ratio")


class NullSink:
    """A sink that keeps nothing, so that what is left is what logging costs by itself."""

    def emit(self, event: LogEvent) -> None:
        """Drop the event."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _first(ctx: StepContext) -> int:
    del ctx
    return 1


def _after(before: str) -> Callable[[StepContext], int]:
    def action(ctx: StepContext) -> int:
        number: int = ctx.inputs[before]
        return number + 1

    return action


def chain(length: int, *, scoped: bool = False) -> Workflow:
    """Make a workflow of `length` steps, each of which adds one to what the one before returned."""
    steps = [Step("s0", _first)]
    for place in range(1, length):
        before = f"s{place - 1}"
        steps.append(
            Step(
                f"s{place}",
                _after(before),
                depends_on=[before],
                read_keys=[before] if scoped else None,
            )
        )
    return Workflow("chain", steps)


def typed_function(name: str, source: str, **known: Any) -> Callable[..., Any]:
    """Make a function from its source: a typed step's parameter is its predecessor's own name."""
    names: dict[str, Any] = {"__name__": __name__, **known}
    exec(source, names)  # noqa: S102 - a thousand functions that differ in a parameter's name
    function: Callable[..., Any] = names[name]
    return function


def _typed_chain(length: int) -> Workflow:
    steps = [Step("s0", _first)]
    for place in range(1, length):
        name, before = f"s{place}", f"s{place - 1}"
        source = f"def {name}({before}: int) -> int:\n    return {before} + 1\n"
        steps.append(Step(name, typed_function(name, source)))
    return Workflow("typed", steps)


def _bare_loop(length: int) -> float:
    """Write and parse the same values with the same library, and nothing else."""
    begun = time.process_time()
    held = {"s0": to_json(1)}
    for place in range(1, length):
        held[f"s{place}"] = to_json(from_json(held[f"s{place - 1}"]) + 1)
    taken = time.process_time() - begun
    assert from_json(held[f"s{length - 1}"]) == length
    return taken / length * 1e6


def _timed(workflow: Workflow) -> float:
    length = len(workflow.steps)
    begun = time.process_time()
    result = workflow.run()
    taken = time.process_time() - begun
    assert result.output == length, result.error
    return taken / length * 1e6


def _again(length: int) -> Callable[[], float]:
    workflow = chain(length)

    def side() -> float:
        return _timed(workflow)

    return side


def _logged_chain(length: int) -> Workflow:
    workflow = chain(length)
    workflow.add_hook(RunLogger(NullSink()))
    return workflow


def rows(scale: Scale) -> Iterator[Row]:
    """Measure chains of 1,000 and 10,000 steps, and the other ways to write and watch one."""
    short, long = scale.size(1_000), scale.size(10_000)
    found = interleaved(
        {
            "short": lambda: _timed(chain(short)),
            "short floor": lambda: _bare_loop(short),
            "long": lambda: _timed(chain(long)),
            "long floor": lambda: _bare_loop(long),
            "scoped": lambda: _timed(chain(short, scoped=True)),
            "typed": lambda: _timed(_typed_chain(short)),
            "logged": lambda: _timed(_logged_chain(short)),
            "again": _again(short),
        },
        scale.rounds(9),
    )
    unit = "µs CPU a step"
    floor = found["short floor"]
    yield Row("chain_short", f"chain of {short:,}", unit, found["short"], floor, _STEP)
    yield Row("chain_long", f"chain of {long:,}", unit, found["long"], found["long floor"], _STEP)
    yield Row(
        "chain_growth",
        f"chain of {long:,} beside one of {short:,}",
        unit,
        found["long"],
        found["short"],
        _GROWTH,
    )
    yield Row("chain_again", f"chain of {short:,}, run again", unit, found["again"], floor)
    yield Row("chain_scoped", f"chain of {short:,}, read_keys", unit, found["scoped"], floor)
    yield Row("chain_typed", f"chain of {short:,}, typed steps", unit, found["typed"], floor)
    yield Row("chain_logged", f"chain of {short:,}, RunLogger", unit, found["logged"], floor)
