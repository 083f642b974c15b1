"""What a step says that the user should know."""

from __future__ import annotations

from typing import Any

import pytest

from kairos import FailureAction, FailurePolicy, Step, StepContext, Workflow
from kairos.state import StateStore

SECRET = "sk-ant-api03-never-to-be-seen-anywhere-0123456789"


def doubtful(ctx: StepContext) -> int:
    ctx.warn(f"the source is old {SECRET}")
    if ctx.attempt < 2:
        raise OSError("again")
    return 1


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_it_is_told_once_however_many_attempts_and_items_say_it(isolation: Any) -> None:
    step = Step("read", doubtful, foreach="xs", isolation=isolation, retries=1)

    result = Workflow("w", [step]).run({"xs": [1, 2]})

    assert result.output == [1, 1]
    assert result.warnings == ["read: the source is old [REDACTED]"]
    assert SECRET not in repr(result.events)


def test_it_is_told_of_a_step_that_fails_too() -> None:
    policy = FailurePolicy(on_execution_fail=FailureAction.ABORT)

    result = Workflow("w", [Step("read", doubtful, failure_policy=policy)]).run()

    assert result.status.value == "failed"
    assert len(result.warnings) == 1


def test_two_steps_say_the_same_each_for_itself() -> None:
    result = Workflow("w", [Step(name, doubtful, retries=1) for name in ("a", "b")]).run()

    assert [each.partition(":")[0] for each in result.warnings] == ["a", "b"]


def test_it_cannot_fill_a_journal() -> None:
    context = StepContext(StateStore(), {})

    for number in range(1_000):
        context.warn(f"{number} " + "x" * 10_000)

    assert len(context.warnings) == 20
    assert max(map(len, context.warnings)) == 500
