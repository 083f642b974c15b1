"""What is refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from kairos import (
    ConfigError,
    FailurePolicy,
    PlanError,
    StateError,
    StateStore,
    Step,
    StepContext,
    StepExecutor,
    ValidationError,
    Workflow,
    validators,
)
from kairos.events import (
    ItemCompleted,
    StepStarted,
)
from kairos.testing import Recorder
from running import one, run_one


class Doc(BaseModel):
    title: str
    words: int = Field(ge=0)


WRONG: Any = 5  # what no argument takes
ONE = [Step("a", print)]
A_DOC = Doc(title="x", words=1)


def after(name: str, before: str) -> Step:
    return Step(name, print, depends_on=[before])


@pytest.mark.parametrize(
    "make, error, says",
    [
        (lambda: Workflow("", [Step("a", print)]), ConfigError, "needs a name"),
        (lambda: Workflow("w", []), ConfigError, "no steps"),
        (lambda: Workflow("w", WRONG), ConfigError, "no list"),
        (lambda: Workflow("w", [WRONG]), ConfigError, "made of steps"),
        (lambda: Workflow("w", ONE, hooks=WRONG), ConfigError, "as a list"),
        (lambda: Workflow("w", ONE, metadata=WRONG), ConfigError, "no dict"),
        (lambda: Workflow("w", ONE, sensitive_keys=WRONG), ConfigError, "list of patterns"),
        (lambda: Workflow("w", ONE, sensitive_keys="*key"), ConfigError, "list of patterns"),
        (lambda: StepExecutor(WRONG), ConfigError, "a StateStore"),
        (lambda: StepExecutor(StateStore(), WRONG), ConfigError, "as a list"),
        (lambda: StepExecutor(StateStore(), failure_router=WRONG), ConfigError, "a FailureRouter"),
        (lambda: StepExecutor(StateStore(), max_concurrency=0), ConfigError, "from 1 up"),
        (lambda: StateStore(sensitive_keys="*key"), ConfigError, "list of patterns"),
        (lambda: StateStore(sensitive_keys=WRONG), ConfigError, "list of patterns"),
        (lambda: Workflow("w", ONE, max_concurency=3), ConfigError, "did you mean"),
        (lambda: Workflow("w", ONE, max_concurrency=0), ConfigError, "from 1 up"),
        (lambda: Workflow("w", ONE, failure_policy=WRONG), ConfigError, "no FailurePolicy"),
        (lambda: Workflow("w", ONE, hooks=[WRONG]), ConfigError, "neither"),
        (lambda: Workflow("w", ONE, strict=True), ConfigError, "strict"),
        (lambda: Step("a b", print), ConfigError, "bad step name"),
        (lambda: Step("", print), ConfigError, "bad step name"),
        (lambda: Step("a\n", print), ConfigError, "bad step name"),
        (lambda: Step(WRONG, print), ConfigError, "name"),
        (lambda: Step("a", WRONG), ConfigError, "not callable"),
        (lambda: Step("a", print, depend_on=["b"]), ConfigError, "did you mean 'depends_on'"),  # type: ignore[call-overload]
        (lambda: Step("a", print, depends_on="b"), ConfigError, "depends_on=['b']"),
        (lambda: Step("a", print, retries=-1), ConfigError, "retries"),
        (lambda: Step("a", print, timeout=0), ConfigError, "timeout"),
        (lambda: Step("a", print, timeout=float("nan")), ConfigError, "timeout"),
        (lambda: Step("a", print, foreach_policy="some"), ConfigError, "foreach_policy"),
        (lambda: Step("a", print, isolation="vm"), ConfigError, "isolation"),  # type: ignore[call-overload]
        (lambda: Step("a", print, output_contract={"x": int}), ConfigError, "Schema({...})"),
        (lambda: Step("a", print, output_contract=5), ConfigError, "not a contract"),
        (lambda: Step("a", print, input_contract=A_DOC), ConfigError, "not a contract"),
        (lambda: Step("a", lambda item: item), ConfigError, "no foreach"),
        (lambda: Step("a", lambda item, x: item), ConfigError, "no foreach"),
        (lambda: Step("a", print, foreach="x", read_keys=[]), ConfigError, "do not allow"),
        (lambda: Workflow("w", [*ONE, *ONE]), PlanError, "a"),
        (lambda: Workflow("w", [after("a", "b"), after("b", "a")]), PlanError, "a → b → a"),
        (lambda: Workflow("w", [after("fetch", "a"), after("b", "fetsh")]), PlanError, "'fetch'"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_in_plain_words(make: Any, error: Any, says: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert says in str(caught.value)
    assert "test_declarations.py:" in str(caught.value)


@pytest.mark.parametrize("inputs", [[1], "x", 5, {1: 2}, {"": 1}])
def test_inputs_that_are_no_names_and_values_are_refused(inputs: Any) -> None:
    with pytest.raises(ConfigError):
        Workflow("w", [Step("only", lambda ctx: 1)]).run(inputs)


def test_an_input_whose_name_cannot_be_written_is_refused() -> None:
    with pytest.raises(StateError, match="lone surrogate"):
        Workflow("w", ONE).run({"a\ud800": 1})


def test_an_input_that_is_no_json_is_refused_by_name() -> None:
    with pytest.raises(StateError, match="when"):
        Workflow("w", [Step("only", lambda ctx: 1)]).run({"when": object()})


def test_declared_inputs_are_checked_before_anything_starts() -> None:
    class Query(BaseModel):
        text: str
        limit: int = Field(default=10, le=100)

    def read(ctx: StepContext) -> Any:
        return dict(ctx.inputs)

    workflow = Workflow("w", [Step("only", read)], inputs=Query)
    assert workflow.run({"text": "x"}).output == {"text": "x", "limit": 10}
    with pytest.raises(ValidationError, match="limit"):
        workflow.run({"text": "x", "limit": 1000})
    with pytest.raises(ConfigError, match="did you mean 'text'"):
        Workflow("w", [Step("only", read)], inputs=["text"]).run({"txt": 1})


def test_write_keys_default_to_the_steps_own_name() -> None:
    def action(ctx: StepContext) -> None:
        ctx.state.set("elsewhere", 1)

    result = run_one(action)
    assert "Unauthorized write" in (result.error or "")


def test_read_keys_alone_say_what_may_be_read() -> None:
    seen: dict[str, Any] = {}

    def look(ctx: StepContext) -> None:
        seen["inputs"] = dict(ctx.inputs)
        seen["keys"] = ctx.state.keys
        seen["has"] = ctx.state.has("api_key")

    Workflow(
        "w",
        [
            Step("fetch", lambda ctx: 1),
            Step("look", look, depends_on=["fetch"], read_keys=["fetch"]),
        ],
    ).run({"api_key": "x"})
    assert seen == {"inputs": {"fetch": 1}, "keys": ["fetch"], "has": False}


def test_validators_follow_the_contract() -> None:
    class Short:
        def validate(self, data: Any, schema: Any = None) -> Any:
            from kairos import ValidationResult

            return ValidationResult(len(data) < 3, [] if len(data) < 3 else [_error()])

    def _error() -> Any:
        from kairos import FieldValidationError

        return FieldValidationError("<root>", "a short text", "str", "too long")

    assert run_one(lambda ctx: "ok", validators=[Short()]).status == "complete"
    result = run_one(lambda ctx: "too long", validators=[Short()], output_contract=str)
    assert result.status == "failed"
    assert one(result).attempts[0].error_type == "ContractBroken"


def test_the_idempotency_key_is_one_for_all_attempts_at_an_item() -> None:
    keys: set[str] = set()

    def action(ctx: StepContext) -> None:
        keys.add(ctx.idempotency_key)
        if ctx.attempt < 3:
            raise ValueError

    run_one(action, {"xs": [1, 2]}, foreach="xs", failure_policy=FailurePolicy(max_retries=2))
    assert len(keys) == 2


def test_events_tell_everything_once() -> None:
    recorder = Recorder()
    result = Workflow(
        "w",
        [
            Step("a", lambda ctx: [1, 2]),
            Step("b", lambda ctx: ctx.item, foreach="a", parallel=True),
        ],
        hooks=[recorder],
    ).run()
    assert [e.type for e in result.events] == [e.type for e in recorder.events]
    assert [e.item for e in recorder.of(ItemCompleted)] in ([0, 1], [1, 0])
    assert [e.step for e in recorder.of(StepStarted)] == ["a", "b"]


def test_ten_thousand_items_keep_their_order_and_their_attempts() -> None:
    result = run_one(
        lambda ctx: ctx.item * 2, {"xs": list(range(10_000))}, foreach="xs", parallel=True
    )
    assert result.output == [2 * i for i in range(10_000)]
    assert len(one(result).items) == 10_000
    assert validators.range(min=0)(1) is True
