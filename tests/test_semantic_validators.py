"""What is asked of an output after its contract: when, how long, what an answer means, its cost."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import pytest

from kairos import (
    SKIP,
    CompositeValidator,
    ConfigError,
    ExecutorHooks,
    FailureAction,
    FailurePolicy,
    FailureType,
    LLMValidator,
    PolicyError,
    RunLogger,
    Schema,
    StateError,
    StateStore,
    Step,
    Workflow,
)
from kairos.contracts.field_errors import FieldValidationError, ValidationResult
from kairos.events import AttemptFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos import WorkflowResult

WRONG = FieldValidationError("name", "a name", "str", "that is no name")


class Answers:
    """A validator that answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def validate(self, data: object, schema: object = None) -> Any:
        """Answer, or raise."""
        del schema
        self.asked.append(data)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Semantic(Answers):
    """One that asks a model."""

    semantic = True


def run(validators: Any, output: Any = "x", **options: Any) -> WorkflowResult:
    options.setdefault("retries", 0)
    workflow = options.pop("workflow", {})
    step = Step("s", lambda ctx: output, validators=validators, **options)
    return Workflow("w", [step], **workflow).run()


def failure(result: WorkflowResult) -> AttemptFailed:
    return next(event for event in result.events if isinstance(event, AttemptFailed))


@pytest.mark.parametrize("answer", [ValidationResult(valid=True), True])
def test_what_passes_passes(answer: Any) -> None:
    assert run([Answers(answer)]).status == "complete"


@pytest.mark.parametrize(
    "answer, told",
    [
        (ValidationResult(valid=False, errors=[WRONG]), "that is no name"),
        (ValidationResult(valid=False), "what Answers accepts"),
        (ValidationResult(valid=False, errors=["too short"]), "too short"),  # type: ignore[list-item]
        ("too short", "too short"),
        (False, "what Answers accepts"),
        (None, "found NoneType"),
        (3, "found int"),
        (ValueError("the value itself"), "ValueError from Answers"),
        (ValidationResult(valid=math.nan), "found ValidationResult"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_pass_breaks_the_contract(answer: Any, told: str) -> None:
    failed = failure(run([Answers(answer)]))
    assert (failed.failure, told in failed.message) == (FailureType.VALIDATION, True)
    assert "the value itself" not in failed.message


def test_a_coroutine_is_no_verdict() -> None:
    async def later(value: Any) -> bool:
        return bool(value)

    assert "found coroutine" in failure(run([later])).message


@pytest.mark.parametrize(
    "function, status",
    [(lambda value: value == "x", "complete"), (lambda value: f"not {len(value)}", "failed")],
)
def test_a_plain_function_of_the_value_will_do(function: Callable[[Any], Any], status: str) -> None:
    assert run([function]).status == status


@pytest.mark.parametrize("validator", [3, "range", LLMValidator, Answers, object(), None])
def test_what_cannot_be_asked_is_refused_at_the_declaration(validator: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Step("s", lambda ctx: None, validators=[validator])
    assert caught.value.where is not None
    assert "function of the value" in (caught.value.expected or "")


def test_nothing_is_asked_of_what_breaks_its_contract() -> None:
    validator = Answers(answer=True)
    result = run([validator], output=3, output_contract=str)
    assert (result.status, validator.asked) == ("failed", [])


def test_nothing_is_asked_of_a_skip() -> None:
    validator = Answers(answer=False)
    assert (run([validator], output=SKIP).status, validator.asked) == ("complete", [])


def test_each_validator_has_a_copy_of_its_own() -> None:
    def spoils(value: Any) -> bool:
        value.clear()
        return True

    result = run([spoils, lambda value: value == [1]], output=[1])
    assert (result.status, result.output) == ("complete", [1])


def test_a_validator_that_is_told_no_is_the_last_one_asked() -> None:
    first, second = Answers("no"), Semantic(answer=True)
    assert (run([first, second]).status, second.asked) == ("failed", [])


def test_what_a_validator_refuses_is_for_the_policy_of_broken_contracts() -> None:
    policy = FailurePolicy(on_validation_fail=FailureAction.SKIP)
    result = run([Answers("no")], failure_policy=policy)
    assert result.step_results["s"].status == "skipped"


def test_a_hook_hears_that_a_validator_refused() -> None:
    class Heard(ExecutorHooks):
        def __init__(self) -> None:
            self.said: list[str] = []

        def on_validation_fail(self, step: Step, phase: str, result: Any, attempt: int) -> None:
            self.said += [step.name, phase, result.errors[0].message]

    hooks = Heard()
    run([Answers(ValidationResult(valid=False, errors=[WRONG]))], workflow={"hooks": [hooks]})
    assert hooks.said == ["s", "output", "that is no name"]


def test_a_validator_that_hangs_is_given_up() -> None:
    released = threading.Event()
    try:
        result = run([lambda value: released.wait(30)], validation_timeout=0.05)
        assert "not validated within 0.05 s" in (result.error or "")
    finally:
        released.set()


# -- what a model says ----------------------------------------------------------------------------


def model(reply: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda prompt: reply(prompt.partition("<<data ")[2].partition(">>")[0])


def scored(score: Any) -> Callable[[str], Any]:
    return model(lambda nonce: {"nonce": nonce, "score": score, "reason": ""})


def raises(_prompt: str) -> Any:
    raise RuntimeError("the key is sk-123")


@pytest.mark.parametrize(
    "llm",
    [
        scored(math.nan),
        scored(math.inf),
        scored(-1),
        scored("1"),
        scored(True),
        model(lambda nonce: f'{{"nonce": "{nonce}", "score": NaN, "reason": ""}}'),
        model(lambda nonce: object()),
        model(lambda nonce: None),
        lambda prompt: "1.0",
        raises,
    ],
)
def test_what_is_no_verdict_of_a_model_does_not_pass(llm: Callable[[str], Any]) -> None:
    failed = failure(run([LLMValidator("It is polite.", llm)]))
    assert failed.failure is FailureType.VALIDATION
    assert "sk-123" not in failed.message


def test_a_model_that_hangs_is_waited_for_as_long_as_was_said() -> None:
    released = threading.Event()
    try:
        validator = LLMValidator("It is polite.", lambda prompt: released.wait(30), timeout=0.05)
        assert "none within 0.05 s" in failure(run([validator])).message
    finally:
        released.set()


def test_a_call_of_a_validator_is_counted() -> None:
    judge = LLMValidator("It is polite.", scored(1))
    both = CompositeValidator(
        [Answers(answer=True), judge, LLMValidator("It is short.", scored(1))]
    )
    assert run([judge]).llm_calls == 1
    assert run([judge, both]).llm_calls == 3
    assert run([CompositeValidator([Answers("no"), judge])]).llm_calls == 0
    assert run([LLMValidator("It is polite.", scored(0))], retries=2).llm_calls == 3


@pytest.mark.parametrize("together", [False, True])
def test_a_call_that_the_budget_does_not_allow_is_not_made(together: bool) -> None:
    asked: list[str] = []
    judge = LLMValidator("It is polite.", asked.append)
    validators = [CompositeValidator([judge])] if together else [judge]
    result = run(validators, workflow={"max_llm_calls": 0})
    assert (result.status, asked) == ("failed", [])
    assert "LLM call limit" in (result.error or "")


# -- what is refused where it is given ------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, error, told",
    [
        (lambda: RunLogger(sinks=3), ConfigError, "log sink"),  # type: ignore[arg-type]
        (lambda: StateStore().merge(3), StateError, "merge"),  # type: ignore[arg-type]
        (lambda: StateStore().restore(3), StateError, "snapshot"),  # type: ignore[arg-type]
        (lambda: CompositeValidator(3), ConfigError, "list"),  # type: ignore[arg-type]
        (lambda: CompositeValidator([3]), ConfigError, "validators"),  # type: ignore[list-item]
        (lambda: Schema({"a": int}).extend(3), ConfigError, "dict"),  # type: ignore[arg-type]
        (lambda: FailurePolicy(max_retry=3), PolicyError, "max_retry"),  # type: ignore[call-arg]
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_in_words(
    wrong: Callable[[], Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        wrong()


def test_a_policy_says_which_keyword_was_meant() -> None:
    with pytest.raises(PolicyError) as caught:
        FailurePolicy(max_retry=3)  # type: ignore[call-arg]
    assert caught.value.fix == "did you mean 'max_retries'?"
