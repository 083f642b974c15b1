"""What a typed step reads, and what its annotations promise."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

from kairos import (
    SKIP,
    ConfigError,
    Skip,
    StateError,
    Step,
    StepContext,
    StepStatus,
    Workflow,
    step,
)
from kairos.events import (
    AccessRefused,
    AttemptFailed,
)
from running import NO_RETRY, run_one


def test_the_published_quick_start_runs_as_printed() -> None:
    def greet(ctx: StepContext) -> str:
        name = ctx.inputs.get("name", "World")
        return f"Hello, {name}!"

    def shout(ctx: StepContext) -> str:
        greeting: str = ctx.inputs["greet"]
        return greeting.upper()

    workflow = Workflow(
        name="hello",
        steps=[
            Step(name="greet", action=greet),
            Step(name="shout", action=shout, depends_on=["greet"]),
        ],
    )
    assert workflow.run({"name": "Kairos"}).output == "HELLO, KAIROS!"
    assert workflow.run().output == "HELLO, WORLD!"


def test_several_terminal_steps_give_their_outputs_by_name() -> None:
    result = Workflow("two", [Step("a", lambda ctx: 1), Step("b", lambda ctx: 2)]).run()
    assert result.output == {"a": 1, "b": 2}


class Doc(BaseModel):
    title: str
    words: int = Field(ge=0)


@dataclass
class Score:
    value: float


def test_a_typed_step_reads_what_its_parameters_name_and_nothing_else() -> None:
    @step
    def fetch(query: str) -> Doc:
        return Doc(title=query, words=3)

    @step
    def score(fetch: Doc, ctx: StepContext) -> Score:
        assert isinstance(fetch, Doc)
        with pytest.raises(StateError, match="Unauthorized read"):
            ctx.inputs["query"]
        with pytest.raises(StateError, match="Unauthorized read"):
            ctx.state.get("query")
        return Score(fetch.words / 2)

    workflow = Workflow("typed", [fetch, score])
    result = workflow.run({"query": "kairos"})
    assert result.output == {"value": 1.5}
    assert workflow.graph.outline == {"fetch": (), "score": ("fetch",)}
    assert [(e.access, e.key) for e in result.events if isinstance(e, AccessRefused)] == [
        ("read", "query"),
        ("read", "query"),
    ]


def test_a_typed_step_stays_the_function_it_is() -> None:
    @step(retries=2)
    def double(x: int) -> int:
        return 2 * x

    assert double(4) == 8
    assert Workflow("w", [double]).run({"x": 5}).output == 10


def test_typed_steps_may_be_async_partial_or_objects() -> None:
    async def plus(x: int, y: int) -> int:
        return x + y

    class Times:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __call__(self, plus: int) -> int:
            return plus * self.factor

    steps = [Step("plus", functools.partial(plus, y=3)), Step("times", Times(10))]
    assert Workflow("w", steps).run({"x": 1}).output == 40


def test_a_default_makes_an_input_optional() -> None:
    @step
    def greet(name: str = "World") -> str:
        return f"Hello, {name}!"

    workflow = Workflow("w", [greet])
    assert workflow.run().output == "Hello, World!"
    assert workflow.run({"name": "you"}).output == "Hello, you!"


def test_a_missing_input_is_said_before_anything_starts() -> None:
    @step
    def greet(name: str) -> str:
        raise AssertionError("it must not start")

    with pytest.raises(ConfigError, match="needs an input 'name'"):
        Workflow("w", [greet]).run({"nam": "x"})


def test_a_typed_foreach_gets_each_item_parsed() -> None:
    @step
    def docs() -> list[Doc]:
        return [Doc(title="a", words=1), Doc(title="b", words=2)]

    @step(foreach="docs")
    def length(item: Doc, factor: int = 1) -> int:
        return item.words * factor

    assert Workflow("w", [docs, length]).run({"factor": 10}).output == [10, 20]


def test_a_value_that_breaks_a_parameters_type_fails_the_reader_as_a_validation() -> None:
    @step
    def fetch() -> dict[str, Any]:
        return {"title": "x", "words": -1}

    @step(failure_policy=NO_RETRY)
    def score(fetch: Doc) -> float:
        return 1.0

    result = Workflow("w", [fetch, score]).run()
    (failed,) = [e for e in result.events if isinstance(e, AttemptFailed)]
    assert failed.failure == "validation"
    assert [f.field for f in failed.faults] == ["fetch.words"]


def test_a_return_annotation_is_a_contract() -> None:
    @step(failure_policy=NO_RETRY)
    def fetch() -> Doc:
        return Doc.model_construct(title="x", words=-5)  # never validated by pydantic itself

    result = Workflow("w", [fetch]).run()
    assert result.status == "failed"
    assert "words" in (result.error or "")


@pytest.mark.parametrize("annotation", [None, "None"])
def test_a_step_annotated_to_return_none_returns_none(annotation: Any) -> None:
    def nothing() -> Any:
        return None

    nothing.__annotations__["return"] = annotation
    result = run_one(nothing)
    assert (result.status, result.output) == ("complete", None)


def test_what_a_partial_has_settled_is_no_input() -> None:
    def prompt(topic: str, style: str) -> str:
        return f"{topic}:{style}"

    workflow = Workflow("w", [Step("prompt", functools.partial(prompt, style="short"))])
    assert workflow.run({"topic": "a", "style": "long"}).output == "a:short"
    assert dict(workflow.graph.expected_inputs) == {"topic": True}


def test_what_a_partial_has_settled_needs_no_contract() -> None:
    class Client:
        name = "c"

    def ask(client: Client, topic: str) -> str:
        return client.name + topic

    steps = [
        Step("first", functools.partial(ask, Client())),
        Step("second", functools.partial(ask, client=Client())),
    ]
    assert Workflow("w", steps).run({"topic": "x"}).output == {"first": "cx", "second": "cx"}


def test_skip_is_the_only_one_of_its_kind() -> None:
    assert Skip() is SKIP
    assert run_one(lambda ctx: Skip()).step_results["only"].status is StepStatus.SKIPPED


def test_a_decorator_above_step_is_not_passed_over_in_silence() -> None:
    def noting(function: Any) -> Any:
        @functools.wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return noted

    class Holder:
        @step
        def method(self, x: int) -> int:
            return x

    @noting
    @step
    def inside(x: int) -> int:
        return x

    for each in (inside, Holder().method):
        with pytest.raises(ConfigError, match="put @step above"):
            Workflow("w", [each])


@pytest.mark.parametrize("action", [[].copy, len, functools.partial(print).__call__])
def test_what_cannot_carry_a_mark_is_refused_as_a_declaration(action: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be marked"):
        step("named")(action)


def test_a_lambda_is_asked_for_a_name() -> None:
    with pytest.raises(ConfigError, match="name it: Step"):
        Workflow("w", [lambda ctx: 1])
