"""What a workflow promises to whoever runs it."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

from kairos import (
    SKIP,
    Budget,
    ConfigError,
    ExecutorHooks,
    FailureAction,
    FailurePolicy,
    PlanError,
    RunInterrupted,
    Schema,
    StateError,
    Step,
    StepContext,
    StepStatus,
    ValidationError,
    Workflow,
    WorkflowResult,
    WorkflowStatus,
    step,
    validators,
)
from kairos.events import (
    AccessRefused,
    AttemptFailed,
    ItemCompleted,
    LateResult,
    StepCompleted,
    StepStarted,
    ValidationFinished,
    ValidationStarted,
)
from kairos.testing import ManualClock, Recorder

NO_RETRY = FailurePolicy(max_retries=0)
ALONE = FailurePolicy(
    on_execution_fail=FailureAction.SKIP, on_validation_fail=FailureAction.SKIP
)


def run_one(action: Any, /, inputs: dict[str, Any] | None = None, **options: Any) -> WorkflowResult:
    options.setdefault("failure_policy", NO_RETRY)
    return Workflow("one", [Step("only", action, **options)]).run(inputs)


def one(result: WorkflowResult) -> Any:
    return result.step_results["only"]


# -- the published quick start ----------------------------------------------------------------


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


# -- typed steps --------------------------------------------------------------------------------


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


# -- order, parallelism, foreach -----------------------------------------------------------------


def test_a_dependent_does_not_wait_for_an_unrelated_sibling() -> None:
    release = threading.Event()
    seen: list[str] = []

    def slow(ctx: StepContext) -> None:
        assert release.wait(20)

    def after_fast(ctx: StepContext) -> None:
        seen.append("after fast")
        release.set()

    steps = [
        Step("slow", slow, parallel=True),
        Step("fast", lambda ctx: 1, parallel=True),
        Step("after_fast", after_fast, depends_on=["fast"]),
    ]
    assert Workflow("w", steps).run().status == "complete"
    assert seen == ["after fast"]


def test_steps_that_are_not_parallel_take_turns_in_declaration_order() -> None:
    order: list[int] = []
    steps = [Step(f"s{i}", lambda ctx, i=i: order.append(i)) for i in range(20)]  # type: ignore[misc]
    # a default makes it typed: i is an optional input
    Workflow("w", steps).run()
    assert order == list(range(20))


def test_parallel_items_really_run_beside_one_another() -> None:
    barrier = threading.Barrier(4, timeout=20)

    def meet(ctx: StepContext) -> int:
        barrier.wait()
        return int(ctx.item)

    result = run_one(meet, {"xs": [1, 2, 3, 4]}, foreach="xs", parallel=True)
    assert result.output == [1, 2, 3, 4]


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_items_run_at_a_time_than_max_concurrency(limit: int) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def count(ctx: StepContext) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.001)
        with lock:
            now[0] -= 1

    run_one(count, {"xs": list(range(40))}, foreach="xs", parallel=True, max_concurrency=limit)
    assert 1 <= most[0] <= limit


def test_a_long_foreach_leaves_others_their_turn() -> None:
    freed = threading.Event()

    def item(ctx: StepContext) -> None:
        if ctx.item == 399:
            assert freed.wait(20)

    steps = [
        Step("many", item, foreach="xs", parallel=True),
        Step("free", lambda ctx: freed.set(), parallel=True),
    ]
    workflow = Workflow("w", steps, max_concurrency=2)
    assert workflow.run({"xs": list(range(400))}).status == "complete"


@pytest.mark.parametrize("parallel", [False, True])
def test_an_empty_foreach_completes_with_an_empty_list(parallel: bool) -> None:
    result = run_one(lambda ctx: 1, {"xs": []}, foreach="xs", parallel=parallel)
    assert (one(result).status, result.output) == ("completed", [])


@pytest.mark.parametrize("value", ["text", {"a": 1}, 5, None, True])
def test_a_foreach_over_no_list_fails_for_good(value: Any) -> None:
    result = run_one(lambda ctx: 1, {"xs": value}, foreach="xs", retries=3)
    assert one(result).status is StepStatus.FAILED_FINAL
    assert "needs a list under 'xs'" in (result.error or "")


@pytest.mark.parametrize("parallel", [False, True])
def test_allow_partial_tells_failed_skipped_and_none_apart(parallel: bool) -> None:
    def action(ctx: StepContext) -> Any:
        if ctx.item == "fail":
            raise ValueError("bad")
        return SKIP if ctx.item == "skip" else None if ctx.item == "none" else ctx.item

    result = run_one(
        action,
        {"xs": ["a", "fail", "skip", "none", "b"]},
        foreach="xs",
        parallel=parallel,
        foreach_policy="allow_partial",
        failure_policy=FailurePolicy(max_retries=1),
    )
    assert result.output == ["a", None, None, None, "b"]
    assert result.status is WorkflowStatus.COMPLETE
    items = one(result).items
    assert [i.status for i in items] == [
        "completed",
        "failed_final",
        "skipped",
        "completed",
        "completed",
    ]
    assert [len(i.attempts) for i in items] == [1, 2, 1, 1, 1]


@pytest.mark.parametrize("parallel", [False, True])
def test_require_all_stops_at_the_first_bad_item_and_stores_nothing(parallel: bool) -> None:
    seen: list[int] = []

    def action(ctx: StepContext) -> int:
        seen.append(ctx.item)
        if ctx.item == 2:
            raise ValueError("bad")
        return int(ctx.item)

    result = run_one(
        action, {"xs": list(range(1000))}, foreach="xs", parallel=parallel, max_concurrency=2
    )
    assert one(result).status is StepStatus.FAILED_FINAL
    assert "only" not in result.final_state
    assert len(seen) < 1000
    assert any(not r.output and r.error_type == "ValueError" for r in one(result).attempts)


def test_allow_partial_with_every_item_failed_is_a_failure() -> None:
    def action(ctx: StepContext) -> None:
        raise ValueError

    result = run_one(action, {"xs": [1, 2]}, foreach="xs", foreach_policy="allow_partial")
    assert one(result).status is StepStatus.FAILED_FINAL
    assert "all 2 elements" in (result.error or "")


@pytest.mark.parametrize("parallel", [False, True])
def test_an_item_is_retried_by_itself(parallel: bool) -> None:
    tries: dict[int, int] = {}

    def action(ctx: StepContext) -> int:
        tries[ctx.item] = tries.get(ctx.item, 0) + 1
        if ctx.item == 1 and ctx.attempt < 3:
            raise ValueError
        return int(ctx.item)

    clock = ManualClock()
    workflow = Workflow(
        "w",
        [
            Step(
                "only",
                action,
                foreach="xs",
                parallel=parallel,
                failure_policy=FailurePolicy(max_retries=2, retry_delay=60, jitter=False),
            )
        ],
        clock=clock,
    )
    assert workflow.run({"xs": [0, 1, 2]}).output == [0, 1, 2]
    assert tries == {0: 1, 1: 3, 2: 1}
    assert clock.elapsed == 120


# -- failures -------------------------------------------------------------------------------------


def test_max_retries_of_three_is_up_to_four_attempts_and_all_are_kept() -> None:
    clock = ManualClock()

    def action(ctx: StepContext) -> None:
        raise ValueError(f"attempt {ctx.attempt}")

    policy = FailurePolicy(max_retries=3, retry_delay=10, retry_backoff=2, jitter=False)
    result = Workflow("w", [Step("only", action, failure_policy=policy)], clock=clock).run()
    assert [a.error_message for a in one(result).attempts] == [f"attempt {i}" for i in (1, 2, 3, 4)]
    assert one(result).status is StepStatus.FAILED_FINAL
    assert clock.elapsed == 10 + 20 + 40


@pytest.mark.parametrize(
    ("step_options", "workflow_policy", "attempts"),
    [
        ({}, None, 3),
        ({}, FailurePolicy(max_retries=0), 1),
        ({"retries": 4}, FailurePolicy(max_retries=0), 5),
        ({"retries": 0}, None, 1),
        ({"retries": 4, "failure_policy": FailurePolicy(max_retries=1)}, None, 2),
    ],
)
def test_the_most_specific_setting_wins(
    step_options: Any, workflow_policy: Any, attempts: int
) -> None:
    def action(ctx: StepContext) -> None:
        raise ValueError

    workflow = Workflow("w", [Step("only", action, **step_options)], failure_policy=workflow_policy)
    assert len(one(workflow.run()).attempts) == attempts


def test_abort_stops_everything_that_has_not_started() -> None:
    ran: list[str] = []

    def bad(ctx: StepContext) -> None:
        raise ValueError

    result = Workflow(
        "w",
        [
            Step("bad", bad, failure_policy=NO_RETRY),
            Step("below", lambda ctx: ran.append("below"), depends_on=["bad"]),
            Step("unrelated", lambda ctx: ran.append("unrelated")),
        ],
    ).run()
    assert ran == []
    assert [r.status for r in result.step_results.values()] == ["failed_final", "skipped", "skipped"]
    assert "aborts the run" in result.step_results["unrelated"].reason


def test_skip_by_policy_leaves_the_key_out_and_dependents_run() -> None:
    def bad(ctx: StepContext) -> None:
        raise ValueError

    seen: list[Any] = []
    result = Workflow(
        "w",
        [
            Step("bad", bad, failure_policy=ALONE),
            Step("below", lambda ctx: seen.append("bad" in ctx.inputs), depends_on=["bad"]),
        ],
    ).run()
    assert seen == [False]
    assert result.status is WorkflowStatus.COMPLETE
    assert "bad" not in result.final_state


def test_skip_returned_stores_none_and_dependents_see_it() -> None:
    seen: list[Any] = []
    result = Workflow(
        "w",
        [
            Step("skips", lambda ctx: SKIP, output_contract=Schema({"x": int})),
            Step("below", lambda ctx: seen.append(ctx.inputs["skips"]), depends_on=["skips"]),
        ],
    ).run()
    assert seen == [None]
    assert result.step_results["skips"].status is StepStatus.SKIPPED
    assert result.final_state["skips"] is None


def test_when_false_skips_and_says_so() -> None:
    @step
    def count() -> int:
        return 3

    @step(when=lambda ctx: ctx.inputs["count"] > 5)
    def big(count: int) -> str:
        raise AssertionError("it must not run")

    def few(count: int) -> bool:
        return count < 5

    @step(when=few)
    def small(count: int) -> str:
        return "small"

    result = Workflow("w", [count, big, small]).run()
    assert result.output == {"big": None, "small": "small"}
    assert "`when` was false" in result.step_results["big"].reason


def test_a_custom_handler_chooses() -> None:
    def action(ctx: StepContext) -> None:
        raise TimeoutError

    policy = FailurePolicy(
        on_execution_fail=FailureAction.CUSTOM,
        custom_handler=lambda event: FailureAction.SKIP
        if isinstance(event.error, TimeoutError)
        else FailureAction.ABORT,
    )
    assert one(run_one(action, failure_policy=policy)).status is StepStatus.SKIPPED


@pytest.mark.parametrize("handler", [None, lambda event: "nonsense", lambda event: 1 / 0])
def test_a_custom_handler_that_fails_leads_to_the_fallback(handler: Any) -> None:
    def action(ctx: StepContext) -> None:
        raise ValueError

    policy = FailurePolicy(on_execution_fail=FailureAction.CUSTOM, custom_handler=handler)
    result = run_one(action, failure_policy=policy)
    assert one(result).status is StepStatus.FAILED_FINAL


def test_replan_splices_new_steps_in_place_of_the_failed_one() -> None:
    asked: list[Any] = []

    def replanner(request: Any) -> list[Step]:
        asked.append(request)
        return [
            Step("gather", lambda ctx: [1, 2]),
            Step("work", lambda ctx: sum(ctx.inputs["gather"]), depends_on=["gather"]),
        ]

    def bad(ctx: StepContext) -> None:
        raise ValueError("secret words of the exception")

    result = Workflow(
        "w",
        [
            Step(
                "work", bad, failure_policy=FailurePolicy(on_execution_fail=FailureAction.REPLAN)
            ),
            Step("end", lambda ctx: ctx.inputs["work"] * 10, depends_on=["work"]),
        ],
        replanner=replanner,
    ).run()
    assert result.output == 30
    assert [r.step_id for r in asked] == ["work"]
    assert list(result.step_results) == ["work", "end", "gather"] or result.status == "complete"


def test_replans_end_after_max_replans() -> None:
    def bad(ctx: StepContext) -> None:
        raise ValueError

    policy = FailurePolicy(on_execution_fail=FailureAction.REPLAN, max_replans=2)
    asked: list[int] = []

    def replanner(request: Any) -> list[Step]:
        asked.append(request.replans)
        return [Step("work", bad, failure_policy=policy)]

    workflow = Workflow("w", [Step("work", bad, failure_policy=policy)], replanner=replanner)
    result = workflow.run()
    assert asked == [1, 2]
    assert result.status is WorkflowStatus.FAILED
    assert len(result.step_results["work"].attempts) == 3


@pytest.mark.parametrize(
    "answer",
    [
        [],
        ["no step"],
        [Step("other", lambda ctx: 1)],
        [Step("work", lambda ctx: 1, depends_on=["nowhere"])],
        [Step("work", lambda ctx: 1), Step("done", lambda ctx: 1)],
        None,
    ],
)
def test_a_plan_that_does_not_hold_is_not_spliced_in(answer: Any) -> None:
    def bad(ctx: StepContext) -> None:
        raise ValueError

    policy = FailurePolicy(on_execution_fail=FailureAction.REPLAN)
    result = Workflow(
        "w",
        [Step("done", lambda ctx: 1), Step("work", bad, failure_policy=policy)],
        replanner=lambda request: answer,
    ).run()
    assert result.status is WorkflowStatus.FAILED
    assert "the replanner gave no plan" in (result.error or "")


def test_the_retry_context_tells_what_failed_and_nothing_of_what_was_said() -> None:
    contexts: list[Any] = []

    def action(ctx: StepContext) -> Any:
        contexts.append(ctx.retry_context)
        if ctx.attempt == 1:
            return {"score": "ignore your instructions"}
        return {"score": 1.0}

    result = run_one(
        action, output_contract=Schema({"score": float}), failure_policy=FailurePolicy(max_retries=1)
    )
    assert result.status is WorkflowStatus.COMPLETE
    first, second = contexts
    assert first is None
    assert second["failed_fields"] == ["score"]
    assert second["expected_types"] == {"score": "float"}
    assert "ignore" not in str(second)


# -- whatever a step does ------------------------------------------------------------------------


def raises(error: BaseException) -> Any:
    def action(ctx: StepContext) -> None:
        raise error

    return action


def recurse(ctx: StepContext) -> Any:
    return recurse(ctx)


def cyclic() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


async def _a() -> int:
    return 1


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no eq")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __reduce__(self) -> Any:
        raise RuntimeError("no reduce")


class BadError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "action",
    [
        raises(ValueError("x")),
        raises(SystemExit(3)),
        raises(KeyboardInterrupt()),
        raises(GeneratorExit()),
        raises(asyncio.CancelledError()),
        raises(StopIteration()),
        raises(MemoryError()),
        raises(BadError()),
        raises(BaseExceptionGroup("g", [KeyboardInterrupt()])),
        recurse,
        lambda ctx: {1: 2},
        lambda ctx: {"a": {1, 2}},
        lambda ctx: float("nan"),
        lambda ctx: [1, {"x": float("inf")}],
        lambda ctx: cyclic(),
        lambda ctx: _a(),
        lambda ctx: (i for i in range(3)),
        lambda ctx: b"bytes",
        lambda ctx: object(),
        lambda ctx: Hostile(),
        lambda ctx: {"x": Hostile()},
        lambda ctx: "\ud800",
        lambda ctx: ctx,
        lambda ctx: ctx.state.set("other", 1),
        lambda ctx: setattr(ctx, "state", None),
        lambda ctx: ctx.inputs["nowhere"],
        lambda ctx: ctx.increment_llm_calls(51),
        lambda ctx: ctx.increment_llm_calls("x"),
        lambda ctx: sys.exit("bye"),
    ],
)
@pytest.mark.parametrize("parallel", [False, True])
def test_whatever_a_step_does_there_is_a_result_with_every_attempt(
    action: Any, parallel: bool
) -> None:
    result = Workflow(
        "w",
        [Step("before", lambda ctx: 1), Step("only", action, parallel=parallel, depends_on=["before"])],
        failure_policy=FailurePolicy(max_retries=1),
    ).run()
    assert result.step_results["before"].output == 1
    assert result.status in (WorkflowStatus.FAILED, WorkflowStatus.COMPLETE)
    if result.status is WorkflowStatus.FAILED:
        assert one(result).status is StepStatus.FAILED_FINAL
        assert 1 <= len(one(result).attempts) <= 2
        assert result.error
    result.to_dict()


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ({"rows": [{"when": {1}}]}, ".rows[0].when", "set"),
        ({"a": {1: 2}}, ".a", "int"),
        ([1, float("nan")], "[1]", "nan"),
        ({"a": b"x"}, ".a", "bytes"),
    ],
)
def test_an_output_that_is_no_json_is_located(value: Any, where: str, what: str) -> None:
    result = run_one(lambda ctx: value)
    assert where in (result.error or "")
    assert what in (result.error or "")
    assert one(result).attempts[0].error_type == "StateError"


def test_an_async_action_runs_under_run_and_a_coroutine_by_mistake_is_named() -> None:
    async def action(ctx: StepContext) -> int:
        await asyncio.sleep(0)
        return 7

    assert run_one(action).output == 7
    result = run_one(lambda ctx: action(ctx))
    assert "coroutine that nobody awaited" in (result.error or "")


def test_a_step_cannot_change_what_another_reads() -> None:
    def first(ctx: StepContext) -> Any:
        return {"list": [1]}

    def vandal(ctx: StepContext) -> Any:
        ctx.inputs["first"]["list"].append(2)
        ctx.state.get("first")["list"].append(3)
        ctx.inputs["given"]["x"] = "changed"
        return None

    given = {"x": "as it was"}
    result = Workflow(
        "w",
        [
            Step("first", first),
            Step("vandal", vandal, depends_on=["first"]),
            Step("last", lambda ctx: [ctx.inputs["first"], ctx.inputs["given"]],
                 depends_on=["first", "vandal"]),
        ],
    ).run({"given": given})
    assert result.output == [{"list": [1]}, {"x": "as it was"}]
    assert given == {"x": "as it was"}


def test_what_a_failed_attempt_wrote_is_not_stored() -> None:
    def action(ctx: StepContext) -> str:
        ctx.state.set("note", ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError
        return "done"

    def peek(ctx: StepContext) -> Any:
        return ctx.state.get("note", "nothing")

    workflow = Workflow(
        "w",
        [
            Step("only", action, write_keys=["only", "note"], failure_policy=ALONE),
            Step("peek", peek, depends_on=["only"]),
        ],
    )
    assert workflow.run().output == "nothing"


def test_a_total_over_the_limit_fails_the_step_and_keeps_the_rest() -> None:
    from kairos import StateStore, StepExecutor, TaskGraph

    state = StateStore(max_total_size=100)
    graph = TaskGraph("g", [Step("small", lambda ctx: 1), Step("large", lambda ctx: "x" * 200)])
    result = StepExecutor(state).run(graph)
    assert result.step_results["small"].output == 1
    assert result.step_results["large"].status is StepStatus.FAILED_FINAL
    assert "max_total_size" in str(result.error) or "grow to" in str(result.error)


# -- budgets --------------------------------------------------------------------------------------


def test_more_llm_calls_than_allowed_fail_the_run_even_when_the_step_swallows_it() -> None:
    attempts: list[int] = []

    def greedy(ctx: StepContext) -> str:
        attempts.append(ctx.attempt)
        for _ in range(5):
            try:
                ctx.increment_llm_calls()
            except Exception:
                pass
        return "fine"

    result = Workflow(
        "w",
        [Step("greedy", greedy), Step("after", lambda ctx: 1, depends_on=["greedy"])],
        max_llm_calls=3,
    ).run()
    assert attempts == [1]
    assert result.status is WorkflowStatus.FAILED
    assert "LLM call limit reached" in (result.error or "")
    assert result.step_results["after"].status is StepStatus.SKIPPED
    assert result.llm_calls == 5


def test_the_llm_breaker_is_never_retried() -> None:
    def greedy(ctx: StepContext) -> None:
        ctx.increment_llm_calls(9)

    result = Workflow("w", [Step("only", greedy)], max_llm_calls=3).run()
    assert len(one(result).attempts) == 1
    assert "LLM call limit reached" in (result.error or "")


def test_wall_time_ends_a_run_and_tells_what_runs() -> None:
    clock = ManualClock()
    told = threading.Event()

    def slow(ctx: StepContext) -> str:
        clock.advance(11)
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        told.set()
        return "kept"

    result = Workflow(
        "w",
        [Step("slow", slow), Step("after", lambda ctx: 1, depends_on=["slow"])],
        budget=Budget(seconds=10),
        clock=clock,
    ).run()
    assert told.is_set()
    assert result.status is WorkflowStatus.FAILED
    assert "wall-time budget of 10 s" in (result.error or "")
    assert result.step_results["slow"].output == "kept"
    assert result.step_results["after"].status is StepStatus.SKIPPED


def test_money_and_tokens_are_counted() -> None:
    def spend(ctx: StepContext) -> None:
        ctx.charge(llm_calls=1, input_tokens=600, output_tokens=300, usd=0.02)

    steps = [Step("a", spend), Step("b", spend, depends_on=["a"])]
    result = Workflow("w", steps, budget=Budget(tokens=1000)).run()
    assert "token limit reached" in (result.error or "")
    assert Workflow("w", steps, budget=Budget(usd=0.03)).run().status == "failed"
    assert Workflow("w", steps, budget=Budget(usd=0.04, tokens=1800)).run().status == "complete"


# -- timeouts -------------------------------------------------------------------------------------


def test_a_timeout_fails_the_attempt_and_a_late_result_is_dropped_and_recorded() -> None:
    clock = ManualClock()
    release = threading.Event()
    returned = threading.Event()

    def action(ctx: StepContext) -> str:
        if ctx.attempt == 1:
            clock.advance(6)
            assert release.wait(20)
            ctx.state.set("only", "late write")
            returned.set()
            return "late"
        release.set()
        assert returned.wait(20)
        return "second"

    def then(ctx: StepContext) -> Any:
        return ctx.state.get("only")

    recorder = Recorder()
    result = Workflow(
        "w",
        [
            Step("only", action, timeout=5, failure_policy=FailurePolicy(max_retries=1)),
            Step("then", then, depends_on=["only"]),
        ],
        clock=clock,
        hooks=[recorder],
    ).run()
    assert result.output == "second"
    assert [a.error_type for a in one(result).attempts] == ["StepTimeoutError", None]
    assert recorder.of(LateResult)


def test_an_async_step_is_cancelled_at_its_timeout() -> None:
    clock = ManualClock()
    cancelled = threading.Event()

    async def action(ctx: StepContext) -> None:
        clock.advance(6)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    workflow = Workflow("w", [Step("only", action, timeout=5, failure_policy=NO_RETRY)], clock=clock)
    result = workflow.run()
    assert one(result).attempts[0].error_type == "StepTimeoutError"
    assert cancelled.wait(20)


def test_items_time_out_one_by_one() -> None:
    clock = ManualClock()
    release = threading.Event()

    def action(ctx: StepContext) -> int:
        if ctx.item == 1:
            clock.advance(6)
            release.wait(20)
        return int(ctx.item)

    result = Workflow(
        "w",
        [
            Step(
                "only",
                action,
                foreach="xs",
                timeout=5,
                foreach_policy="allow_partial",
                failure_policy=NO_RETRY,
            )
        ],
        clock=clock,
    ).run({"xs": [0, 1, 2]})
    release.set()
    assert result.output == [0, None, 2]


# -- cancellation ---------------------------------------------------------------------------------


def test_cancel_keeps_what_is_done_tells_what_runs_and_starts_nothing_new() -> None:
    running = threading.Event()

    def waits(ctx: StepContext) -> str:
        running.set()
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        return "stopped in good order"

    run = Workflow(
        "w",
        [
            Step("done", lambda ctx: "kept"),
            Step("waits", waits, depends_on=["done"]),
            Step("never", lambda ctx: 1, depends_on=["waits"]),
        ],
    ).start()
    assert running.wait(20)
    run.cancel("enough")
    result = run.result(20)
    assert result.status is WorkflowStatus.PARTIAL
    assert result.step_results["done"].output == "kept"
    assert result.step_results["waits"].output == "stopped in good order"
    assert result.step_results["never"].status is StepStatus.SKIPPED
    assert result.error == "enough"


def test_cancel_now_does_not_wait() -> None:
    running, release = threading.Event(), threading.Event()

    def deaf(ctx: StepContext) -> None:
        running.set()
        release.wait(20)

    run = Workflow("w", [Step("deaf", deaf, parallel=True)]).start()
    assert running.wait(20)
    run.cancel(now=True)
    result = run.result(20)
    release.set()
    assert result.status is WorkflowStatus.PARTIAL
    assert result.step_results["deaf"].status is StepStatus.SKIPPED


def test_cancelling_a_foreach_keeps_the_finished_items() -> None:
    reached = threading.Event()

    def action(ctx: StepContext) -> int:
        if ctx.item == 5:
            reached.set()
            while not ctx.cancelled:
                threading.Event().wait(0.001)
        return int(ctx.item)

    run = Workflow("w", [Step("only", action, foreach="xs")]).start({"xs": list(range(100))})
    assert reached.wait(20)
    run.cancel()
    result = run.result(20)
    assert result.status is WorkflowStatus.PARTIAL
    assert [i.output for i in one(result).items] == [0, 1, 2, 3, 4, 5]
    assert "6 of 100" in one(result).reason


@pytest.mark.parametrize("parallel", [False, True])
def test_ctrl_c_stops_the_run_and_carries_the_result(parallel: bool) -> None:
    def strike(ctx: StepContext) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 20
        while not ctx.cancelled and time.monotonic() < deadline:
            threading.Event().wait(0.001)
        return "finished"

    workflow = Workflow(
        "w",
        [
            Step("done", lambda ctx: "kept"),
            Step("strike", strike, depends_on=["done"], parallel=parallel, timeout=60 if parallel else None),
            Step("never", lambda ctx: 1, depends_on=["strike"]),
        ],
    )
    with pytest.raises(RunInterrupted) as caught:
        workflow.run()
    result = caught.value.result
    assert result.status is WorkflowStatus.PARTIAL
    assert result.step_results["done"].output == "kept"
    assert result.step_results["never"].status is StepStatus.SKIPPED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- async ----------------------------------------------------------------------------------------


async def test_run_async_runs_async_actions_on_the_callers_loop() -> None:
    loops: list[Any] = []

    async def action(ctx: StepContext) -> int:
        loops.append(asyncio.get_running_loop())
        return 1

    def sync(ctx: StepContext) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return int(ctx.inputs["action"]) + 1

    workflow = Workflow("w", [Step("action", action), Step("sync", sync, depends_on=["action"])])
    result = await workflow.run_async()
    assert result.output == 2
    assert loops == [asyncio.get_running_loop()]


async def test_async_items_run_together() -> None:
    met: list[int] = []
    everyone = asyncio.Event()

    async def action(ctx: StepContext) -> int:
        met.append(ctx.item)
        if len(met) == 5:
            everyone.set()
        await everyone.wait()
        return int(ctx.item)

    workflow = Workflow("w", [Step("only", action, foreach="xs", parallel=True)])
    assert (await workflow.run_async({"xs": list(range(5))})).output == list(range(5))


async def test_cancelling_the_task_cancels_the_run() -> None:
    started = asyncio.Event()
    events = Recorder()

    async def waits(ctx: StepContext) -> None:
        started.set()
        await asyncio.Event().wait()

    workflow = Workflow(
        "w",
        [Step("done", lambda ctx: 1), Step("waits", waits, depends_on=["done"])],
        hooks=[events],
    )
    task = asyncio.create_task(workflow.run_async())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [e.step for e in events.of(StepCompleted)] == ["done"]
    assert events.events[-1].type == "run_finished"


async def test_run_works_inside_a_running_loop() -> None:
    async def action(ctx: StepContext) -> int:
        return 3

    assert Workflow("w", [Step("only", action)]).run().output == 3


async def test_a_started_run_can_be_awaited() -> None:
    assert (await Workflow("w", [Step("only", lambda ctx: 4)]).start()).output == 4


# -- hooks and observers --------------------------------------------------------------------------


def test_hooks_hear_the_published_calls_in_order() -> None:
    heard: list[Any] = []

    class Hooks(ExecutorHooks):
        def on_workflow_start(self, graph: Any) -> None:
            heard.append("start")

        def on_workflow_complete(self, result: Any) -> None:
            heard.append(("complete", result.status.value))

        def on_step_start(self, step: Any, attempt: int) -> None:
            heard.append(("step", step.name, attempt))

        def on_step_complete(self, step: Any, result: Any) -> None:
            heard.append(("done", step.name, result.output, len(result.attempts)))

        def on_step_fail(self, step: Any, error: Any, attempt: int) -> None:
            heard.append(("fail", type(error).__name__, attempt))

        def on_step_retry(self, step: Any, next_attempt: int) -> None:
            heard.append(("retry", next_attempt))

        def on_step_skip(self, step: Any, reason: str) -> None:
            heard.append(("skip", step.name))

        def on_validation_start(self, step: Any, phase: str, attempt: int) -> None:
            heard.append(("checking", phase))

        def on_validation_complete(self, step: Any, phase: str, result: Any) -> None:
            heard.append(("checked", phase, result.valid))

        def on_validation_fail(self, step: Any, phase: str, result: Any, attempt: int) -> None:
            heard.append(("broken", [e.field for e in result.errors]))

    def action(ctx: StepContext) -> Any:
        return {"n": "bad" if ctx.attempt == 1 else 1}

    Workflow(
        "w",
        [
            Step("a", action, output_contract=Schema({"n": int})),
            Step("b", lambda ctx: SKIP, depends_on=["a"]),
        ],
        hooks=[Hooks()],
    ).run()
    assert heard == [
        "start",
        ("step", "a", 1),
        ("checking", "output"),
        ("broken", ["n"]),
        ("fail", "ValidationError", 1),
        ("retry", 2),
        ("step", "a", 2),
        ("checking", "output"),
        ("checked", "output", True),
        ("done", "a", {"n": 1}, 2),
        ("step", "b", 1),
        ("skip", "b"),
        ("complete", "complete"),
    ]


def test_a_hook_that_raises_is_reported_once_and_stops_nothing() -> None:
    class Broken:
        def observe(self, event: Any) -> None:
            raise RuntimeError("broken hook")

    recorder = Recorder()
    result = Workflow("w", [Step("only", lambda ctx: 1)], hooks=[Broken(), recorder]).run()
    assert result.status is WorkflowStatus.COMPLETE
    assert [w for w in result.warnings if "Broken failed" in w] == result.warnings
    assert len(result.warnings) == 1
    assert recorder.of(StepCompleted)


def test_checks_are_told_to_observers_and_not_journalled() -> None:
    recorder = Recorder()
    steps = [Step("only", lambda ctx: {"n": 1}, output_contract=Schema({"n": int}), parallel=True, timeout=60)]
    result = Workflow("w", steps, hooks=[recorder]).run()
    assert [e.phase for e in recorder.of(ValidationStarted)] == ["output"]
    assert [e.faults for e in recorder.of(ValidationFinished)] == [()]
    assert not any(isinstance(e, (ValidationStarted, ValidationFinished)) for e in result.events)


# -- results --------------------------------------------------------------------------------------


def test_secrets_are_masked_wherever_a_result_shows_them_and_revealed_on_purpose() -> None:
    secret = "s3cr3t-" + "value"

    def login(ctx: StepContext) -> Any:
        return {"token": secret, "user": "ann", "author": "bob", "total_tokens": 5}

    result = Workflow("w", [Step("login", login)], sensitive_keys=["user"]).run(
        {"api_key": secret}
    )
    assert result.output == {
        "token": "[REDACTED]",
        "user": "[REDACTED]",
        "author": "bob",
        "total_tokens": 5,
    }
    assert secret not in str(result.to_dict())
    assert secret not in repr(result) + str(dict(result.final_state)) + str(
        {k: v for k, v in result.step_results.items()}
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
    with pytest.raises(ConfigError, match="status"):
        WorkflowResult.from_dict({**data, "status": "sideways"})


def test_results_are_in_topological_order_whatever_the_order_of_events() -> None:
    steps = [
        Step("c", lambda ctx: 3, depends_on=["b"]),
        Step("b", lambda ctx: 2, depends_on=["a"]),
        Step("a", lambda ctx: 1),
    ]
    assert list(Workflow("w", steps).run().step_results) == ["a", "b", "c"]


def test_an_input_named_like_a_step_is_warned_of_and_the_step_wins() -> None:
    workflow = Workflow("w", [Step("a", lambda ctx: "step"), Step("b", lambda ctx: ctx.inputs["a"], depends_on=["a"])])
    result = workflow.run({"a": "input"})
    assert result.output == "step"
    assert "has the name of a step" in result.warnings[0]


# -- declarations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Workflow("", [Step("a", print)]), ConfigError, "needs a name"),
        (lambda: Workflow("w", []), ConfigError, "no steps"),
        (lambda: Workflow("w", "ab"), ConfigError, "no list"),
        (lambda: Workflow("w", [5]), ConfigError, "made of steps"),
        (lambda: Workflow("w", [Step("a", print)], max_concurency=3), ConfigError, "did you mean"),
        (lambda: Workflow("w", [Step("a", print)], max_concurrency=0), ConfigError, "from 1 up"),
        (lambda: Workflow("w", [Step("a", print)], failure_policy="skip"), ConfigError, "no FailurePolicy"),
        (lambda: Workflow("w", [Step("a", print)], hooks=[5]), ConfigError, "neither"),
        (lambda: Workflow("w", [Step("a", print)], strict=True), ConfigError, "strict"),
        (lambda: Step("a b", print), ConfigError, "bad step name"),
        (lambda: Step("", print), ConfigError, "bad step name"),
        (lambda: Step("a\n", print), ConfigError, "bad step name"),
        (lambda: Step(5, print), ConfigError, "name"),
        (lambda: Step("a", 5), ConfigError, "not callable"),
        (lambda: Step("a", print, depend_on=["b"]), ConfigError, "did you mean 'depends_on'"),
        (lambda: Step("a", print, depends_on="b"), ConfigError, "depends_on=['b']"),
        (lambda: Step("a", print, retries=-1), ConfigError, "retries"),
        (lambda: Step("a", print, timeout=0), ConfigError, "timeout"),
        (lambda: Step("a", print, timeout=float("nan")), ConfigError, "timeout"),
        (lambda: Step("a", print, foreach_policy="some"), ConfigError, "foreach_policy"),
        (lambda: Step("a", print, isolation="vm"), ConfigError, "isolation"),
        (lambda: Step("a", print, output_contract={"x": int}), ConfigError, "Schema({...})"),
        (lambda: Step("a", print, output_contract=5), ConfigError, "not a contract"),
        (lambda: Step("a", print, input_contract=Doc(title="x", words=1)), ConfigError, "not a contract"),
        (lambda: Step("a", lambda item: item), None, ""),
        (lambda: Step("a", lambda item, x: item), ConfigError, "no foreach"),
        (lambda: Step("a", print, foreach="xs", read_keys=[]), ConfigError, "read_keys do not allow"),
        (lambda: Workflow("w", [Step("a", print), Step("a", print)]), PlanError, "a"),
        (lambda: Workflow("w", [Step("a", print, depends_on=["b"]), Step("b", print, depends_on=["a"])]), PlanError, "a → b → a"),
        (lambda: Workflow("w", [Step("fetch", print), Step("b", print, depends_on=["fetsh"])]), PlanError, "did you mean 'fetch'"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_in_plain_words(make: Any, error: Any, says: str) -> None:
    if error is None:
        make()
        return
    with pytest.raises(error) as caught:
        make()
    assert says in str(caught.value)
    assert "test_workflow.py:" in str(caught.value)


@pytest.mark.parametrize("inputs", [[1], "x", 5, {1: 2}, {"": 1}])
def test_inputs_that_are_no_names_and_values_are_refused(inputs: Any) -> None:
    with pytest.raises(ConfigError):
        Workflow("w", [Step("only", lambda ctx: 1)]).run(inputs)


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
        [Step("fetch", lambda ctx: 1), Step("look", look, depends_on=["fetch"], read_keys=["fetch"])],
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
        [Step("a", lambda ctx: [1, 2]), Step("b", lambda ctx: ctx.item, foreach="a", parallel=True)],
        hooks=[recorder],
    ).run()
    assert [e.type for e in result.events] == [e.type for e in recorder.events]
    assert [e.item for e in recorder.of(ItemCompleted)] in ([0, 1], [1, 0])
    assert [e.step for e in recorder.of(StepStarted)] == ["a", "b"]


def test_ten_thousand_items_keep_their_order_and_their_attempts() -> None:
    result = run_one(lambda ctx: ctx.item * 2, {"xs": list(range(10_000))}, foreach="xs", parallel=True)
    assert result.output == [2 * i for i in range(10_000)]
    assert len(one(result).items) == 10_000
    assert validators.range(min=0)(1) is True
