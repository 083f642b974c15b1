"""Observers hear everything, once and in order, whatever they and others do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from busy import HOW_BUSY, INPUTS, At, assert_gone, busy, fail, kairos_threads, statuses
from kairos import (
    ExecutorHooks,
    FailureAction,
    FailurePolicy,
    FailureRouter,
    StateStore,
    Step,
    StepExecutor,
    TaskGraph,
    Workflow,
)
from kairos.events import RunFinished
from kairos.testing import Recorder
from running import one

if TYPE_CHECKING:
    from kairos.events import Event


@pytest.mark.parametrize("number", range(HOW_BUSY))
def test_an_observer_that_fails_at_any_event_changes_nothing_but_the_warnings(number: int) -> None:
    before, after, plain = Recorder(), Recorder(), busy().run(INPUTS)
    result = busy(hooks=[before, At(number, fail), after]).run(INPUTS)
    assert statuses(result) == statuses(plain)
    assert before.events == after.events == result.events
    assert len(result.warnings) == len(plain.warnings) + 1
    assert "At failed at" in result.warnings[-1]
    assert isinstance(result.events[-1], RunFinished)


def test_an_observer_that_always_fails_is_told_of_once() -> None:
    class Broken:
        def observe(self, event: Event) -> None:
            fail()

    recorder = Recorder()
    result = busy(hooks=[Broken(), Broken(), recorder]).run(INPUTS)
    assert result.warnings == ["Broken failed at run_started: RuntimeError: an observer fails"] * 2
    assert recorder.events == result.events


@pytest.mark.parametrize("child", [None, 5, "raise"])
def test_an_observer_that_gives_no_child_for_a_run_is_told_itself(child: Any) -> None:
    class Ear(Recorder):
        def for_run(self, run_id: str, sensitive_keys: Any) -> Any:
            if child == "raise":
                fail()
            return child

    ear = Ear()
    result = Workflow("w", [Step("only", lambda ctx: 1)], hooks=[ear]).run()
    assert ear.events == result.events
    assert [w for w in result.warnings if "Ear failed at for_run" in w]


@pytest.mark.parametrize("warnings", [5, None, lambda: ["x"], [1, b"x"]])
def test_what_an_observer_calls_its_warnings_may_be_anything(warnings: Any) -> None:
    recorder = Recorder()
    recorder.warnings = warnings  # type: ignore[attr-defined]
    result = Workflow("w", [Step("only", lambda ctx: 1)], hooks=[recorder]).run()
    assert (result.status, result.warnings) == ("complete", [])


def test_the_warnings_of_an_observer_are_the_runs() -> None:
    recorder = Recorder()
    recorder.warnings = ["the disk is full"]  # type: ignore[attr-defined]
    result = Workflow("w", [Step("only", lambda ctx: 1)], hooks=[recorder]).run()
    assert result.warnings == ["the disk is full"]


def test_an_observer_that_leaves_the_program_stops_no_run() -> None:
    result = busy(hooks=[At(9, lambda: sys.exit(3))]).run(INPUTS)
    assert statuses(result) == statuses(busy().run(INPUTS))
    assert "SystemExit" in result.warnings[-1]


class Beyond(BaseException):
    """Something that nobody is meant to catch."""


def test_what_nobody_may_catch_goes_its_way_and_leaves_no_thread() -> None:
    def go() -> None:
        raise Beyond

    before = kairos_threads()
    with pytest.raises(Beyond):
        busy(hooks=[At(9, go)]).run(INPUTS)
    assert_gone(before)


# -- what is gathered -----------------------------------------------------------------------------


def test_a_large_output_that_is_gathered_is_warned_of_to_everyone() -> None:
    recorder = Recorder()
    graph = TaskGraph("g", [Step("only", lambda ctx: "x" * 20, foreach="xs")])
    state = StateStore(max_value_size=50)
    state.set("xs", [1, 2, 3])
    result = StepExecutor(state, hooks=[recorder]).run(graph)
    assert result.status == "complete"
    assert "over max_value_size" in result.warnings[0]
    assert recorder.events == result.events


@pytest.mark.parametrize(
    "fallback, after", [(FailureAction.ABORT, "skipped"), (FailureAction.SKIP, "completed")]
)
def test_an_output_that_is_gathered_and_does_not_fit_fails_as_its_policy_says(
    fallback: FailureAction, after: str
) -> None:
    recorder = Recorder()
    policy = FailurePolicy(fallback_action=fallback)
    graph = TaskGraph(
        "g",
        [
            Step("only", lambda ctx: "x" * 20, foreach="xs", failure_policy=policy),
            Step("below", lambda ctx: 1, depends_on=["only"]),
            Step("unrelated", lambda ctx: 1),
        ],
    )
    state = StateStore(max_total_size=50)
    state.set("xs", [1, 2, 3])
    router = FailureRouter()
    result = StepExecutor(state, hooks=[recorder], failure_router=router).run(graph)
    assert statuses(result) == {"only": "failed_final", "below": "skipped", "unrelated": after}
    assert "max_total_size" in (result.error or "")
    assert not state.has("only")
    assert len(one(result).attempts) == 3
    assert recorder.events == result.events


# -- the published hooks --------------------------------------------------------------------------

CALLS = [name for name in vars(ExecutorHooks) if name.startswith("on_")]


@pytest.mark.parametrize("call", CALLS)
def test_a_hook_that_fails_at_any_call_changes_nothing_but_the_warnings(call: str) -> None:
    plain = busy().run(INPUTS)

    def broken(*_: Any) -> None:
        fail()

    hooks = type("Broken", (ExecutorHooks,), {call: broken})()
    recorder = Recorder()
    result = busy(hooks=[hooks, recorder]).run(INPUTS)
    assert statuses(result) == statuses(plain)
    assert recorder.events == result.events
    heard = [w for w in result.warnings if w.startswith("Broken")]
    assert len(heard) == (0 if "validation" in call else 1)  # it has no contracts to check
