"""What a result shows, and what it masks."""

from __future__ import annotations

from typing import Any

import pytest

from kairos import (
    ConfigError,
    StateError,
    Step,
    StepContext,
    Workflow,
    WorkflowResult,
)


def test_secrets_are_masked_wherever_a_result_shows_them_and_revealed_on_purpose() -> None:
    secret = "s3cr3t-" + "value"

    def login(ctx: StepContext) -> Any:
        return {"token": secret, "user": "ann", "author": "bob", "total_tokens": 5}

    result = Workflow("w", [Step("login", login)], sensitive_keys=["user"]).run({"api_key": secret})
    assert result.output == {
        "token": "[REDACTED]",
        "user": "[REDACTED]",
        "author": "bob",
        "total_tokens": 5,
    }
    assert secret not in str(result.to_dict())
    assert secret not in repr(result) + str(dict(result.final_state)) + str(
        dict(result.step_results)
    )
    assert result.reveal("login")["token"] == secret
    with pytest.raises(StateError):
        result.reveal("nothing")


def test_a_result_goes_to_a_dict_and_back() -> None:
    result = Workflow(
        "w",
        [Step("a", lambda ctx: 1), Step("only", lambda ctx: ctx.item, foreach="xs")],
    ).run({"xs": [1, 2]})
    data = result.to_dict()
    again = WorkflowResult.from_dict({**data, "extra": 1})
    assert again.to_dict() == data
    with pytest.raises(ConfigError, match="no WorkflowResult: status"):
        WorkflowResult.from_dict({**data, "status": "sideways"})


def test_results_are_in_topological_order_whatever_the_order_of_events() -> None:
    steps = [
        Step("c", lambda ctx: 3, depends_on=["b"]),
        Step("b", lambda ctx: 2, depends_on=["a"]),
        Step("a", lambda ctx: 1),
    ]
    assert list(Workflow("w", steps).run().step_results) == ["a", "b", "c"]


def test_an_input_named_like_a_step_is_warned_of_and_the_step_wins() -> None:
    workflow = Workflow(
        "w",
        [Step("a", lambda ctx: "step"), Step("b", lambda ctx: ctx.inputs["a"], depends_on=["a"])],
    )
    result = workflow.run({"a": "input"})
    assert result.output == "step"
    assert "has the name of a step" in result.warnings[0]
