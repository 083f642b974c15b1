"""What a run came to, as records: to plain JSON and back, folded from any events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import (
    SKIP,
    AttemptRecord,
    AttemptStatus,
    ConfigError,
    FailureAction,
    FailurePolicy,
    Step,
    StepContext,
    StepResult,
    StepStatus,
    Workflow,
    WorkflowResult,
    WorkflowStatus,
)
from kairos.results import ItemResult
from running import NO_RETRY, one, run_one

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds it
MS = st.floats(0, 1e9)
ATTEMPTS = st.builds(
    AttemptRecord,
    attempt_number=st.integers(1, 10**6),
    status=st.sampled_from(AttemptStatus),
    output=JSON,
    error_type=st.none() | TEXT,
    error_message=st.none() | TEXT,
    duration_ms=MS,
    timestamp=MOMENTS,
)
ITEMS = st.builds(
    ItemResult,
    index=st.integers(0, 10**6),
    status=st.sampled_from(StepStatus),
    output=JSON,
    attempts=st.lists(ATTEMPTS, max_size=2),
    reason=TEXT,
)
STEPS = st.builds(
    StepResult,
    step_id=TEXT,
    status=st.sampled_from(StepStatus),
    output=JSON,
    attempts=st.lists(ATTEMPTS, max_size=3),
    duration_ms=MS,
    timestamp=MOMENTS,
    items=st.none() | st.lists(ITEMS, max_size=3),
    reason=TEXT,
)
EXTRA = st.dictionaries(st.just("extra"), JSON, max_size=1)


@given(record=ATTEMPTS | STEPS, extra=EXTRA)
def test_a_record_goes_to_json_and_back(record: Any, extra: dict[str, Any]) -> None:
    data = json.loads(json.dumps(record.to_dict()))
    assert type(record).from_dict({**data, **extra}) == record
    assert type(record).from_dict(data).to_dict() == data


@given(
    steps=st.lists(STEPS, max_size=3),
    state=st.dictionaries(TEXT, JSON, max_size=3),
    status=st.sampled_from(WorkflowStatus),
    warnings=st.lists(TEXT, max_size=2),
    error=st.none() | TEXT,
    calls=st.integers(0, 99),
    output=JSON,
    when=MOMENTS,
)
def test_a_result_of_the_published_form_goes_to_json_and_back(
    steps: list[StepResult], state: dict[str, Any], when: datetime, calls: int, **rest: Any
) -> None:
    status = rest.pop("status")
    by_name = {each.step_id: each for each in steps}
    result = WorkflowResult(status, by_name, state, 1.5, when, calls, **rest)
    data = json.loads(json.dumps(result.to_dict()))
    again = WorkflowResult.from_dict(data)
    assert again.to_dict() == data
    assert dict(again.step_results) == by_name
    assert (again.status, again.final_state, again.timestamp) == (status, state, when)


@pytest.mark.parametrize(
    "kind, data",
    [
        (AttemptRecord, {}),
        (AttemptRecord, {"attempt_number": 1}),
        (AttemptRecord, {"attempt_number": "one", "status": "success"}),
        (AttemptRecord, {"attempt_number": 1, "status": "sideways"}),
        (AttemptRecord, {"attempt_number": 1, "status": "success", "timestamp": "yesterday"}),
        (AttemptRecord, {"attempt_number": 1, "status": "success", "duration_ms": "long"}),
        (AttemptRecord, []),
        (AttemptRecord, None),
        (StepResult, {"step_id": "s"}),
        (StepResult, {"step_id": 5, "status": "completed"}),
        (StepResult, {"step_id": "s", "status": "completed", "attempts": [5]}),
        (StepResult, {"step_id": "s", "status": "completed", "items": [{"index": 0}]}),
        (StepResult, "s"),
        (WorkflowResult, {}),
        (WorkflowResult, {"status": "complete", "step_results": [], "final_state": {}}),
        (WorkflowResult, {"status": "complete", "step_results": {}, "final_state": 5}),
        (WorkflowResult, 5),
    ],
)
def test_what_is_no_record_is_refused_without_a_value(kind: Any, data: Any) -> None:
    with pytest.raises(ConfigError, match=r"this is no \w+"):
        kind.from_dict(data)


def test_an_error_about_a_record_holds_no_value() -> None:
    hidden = "a-value-that-may-be-secret"
    with pytest.raises(ConfigError) as caught:
        AttemptRecord.from_dict({"attempt_number": hidden, "status": hidden})
    assert hidden not in str(caught.value)


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        AttemptRecord(1, AttemptStatus.SUCCESS).output = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        StepResult("s", StepStatus.COMPLETED).output = 5  # type: ignore[misc]


# -- the fold -------------------------------------------------------------------------------------


def test_every_way_to_end_is_told_apart() -> None:
    def bad(ctx: StepContext) -> None:
        raise ValueError("no")

    alone = FailurePolicy(max_retries=1, fallback_action=FailureAction.SKIP)
    lost = FailurePolicy(max_retries=0, fallback_action=FailureAction.REPLAN, max_replans=1)
    result = Workflow(
        "w",
        [
            Step("done", lambda ctx: 1),
            Step("skips", lambda ctx: SKIP),
            Step("never", lambda ctx: 1, when=lambda ctx: False),
            Step("by-policy", bad, failure_policy=alone),
            Step("fails", bad, failure_policy=lost),
            Step("below", lambda ctx: 1, depends_on=["done", "fails"]),
            Step("stopped", lambda ctx: 1, depends_on=["below"]),
        ],
    ).run()
    steps = result.step_results
    assert {name: str(each.status) for name, each in steps.items()} == {
        "done": "completed",
        "skips": "skipped",
        "never": "skipped",
        "by-policy": "skipped",
        "fails": "failed_final",
        "below": "skipped",
        "stopped": "skipped",
    }
    assert [len(each.attempts) for each in steps.values()] == [1, 1, 0, 2, 1, 0, 0]
    assert "'fails' before it did not complete" in steps["below"].reason
    assert "no" in steps["by-policy"].reason
    assert all(each.timestamp.tzinfo is not None for each in steps.values())
    assert (len(steps), "done" in steps, "nowhere" in steps) == (7, True, False)
    assert steps["done"] is steps["done"]
    with pytest.raises(KeyError):
        steps["nowhere"]


def test_results_stay_in_topological_order_after_a_replan() -> None:
    def bad(ctx: StepContext) -> None:
        raise ValueError

    def replanner(request: Any) -> Sequence[Step]:
        return [
            Step("gather", lambda ctx: 1),
            Step("sort", lambda ctx: 2, depends_on=["gather"]),
            Step("work", lambda ctx: 3, depends_on=["sort"]),
        ]

    result = Workflow(
        "w",
        [
            Step("first", lambda ctx: 0),
            Step("work", bad, failure_policy=FailurePolicy(on_execution_fail=FailureAction.REPLAN)),
            Step("end", lambda ctx: ctx.inputs["work"], depends_on=["work", "first"]),
        ],
        replanner=replanner,
    ).run()
    assert result.status == "complete"
    order = list(result.step_results)
    assert sorted(order) == ["end", "first", "gather", "sort", "work"]
    for before, after in (("gather", "sort"), ("sort", "work"), ("work", "end"), ("first", "end")):
        assert order.index(before) < order.index(after)
    assert list(result.to_dict()["step_results"]) == order


@pytest.mark.parametrize("count", [10_000])
def test_ten_thousand_retries_are_all_kept(count: int) -> None:
    def action(ctx: StepContext) -> int:
        if ctx.attempt <= count:
            raise ValueError
        return ctx.attempt

    result = run_one(action, failure_policy=FailurePolicy(max_retries=count))
    assert result.output == count + 1
    attempts = one(result).attempts
    assert [each.attempt_number for each in attempts] == list(range(1, count + 2))
    assert [each.status for each in attempts[-2:]] == ["failure", "success"]


@pytest.mark.parametrize("parallel", [False, True])
def test_ten_thousand_elements_that_fail_are_all_told(parallel: bool) -> None:
    def action(ctx: StepContext) -> int:
        if ctx.item:
            raise ValueError(f"element {ctx.item}")
        return 0

    result = run_one(
        action,
        {"xs": list(range(10_000))},
        foreach="xs",
        foreach_policy="allow_partial",
        parallel=parallel,
        failure_policy=NO_RETRY,
    )
    assert (result.status, result.output) == ("complete", [0] + [None] * 9_999)
    items = one(result).items
    assert [each.status for each in items] == ["completed"] + ["failed_final"] * 9_999
    assert items[777].attempts[0].error_message == "element 777"
    assert len(one(result).attempts) == 10_000


def test_a_result_shows_no_secret_even_under_a_step_that_is_one() -> None:
    result = Workflow("w", [Step("api_token", lambda ctx: {"value": "abc"})]).run()
    assert result.output == "[REDACTED]"
    assert result.step_results["api_token"].output == "[REDACTED]"
    assert result.reveal("api_token") == {"value": "abc"}
