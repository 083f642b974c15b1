"""What a step may be declared as, and what it is handed."""

from __future__ import annotations

import copy
import functools
import importlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kairos
from kairos import (
    SKIP,
    Budget,
    ConfigError,
    FailurePolicy,
    ForeachPolicy,
    Schema,
    StateStore,
    Step,
    StepConfig,
    StepContext,
    Workflow,
    step,
)
from kairos.budget import Ledger, Spend
from kairos.context import Fence
from kairos.exceptions import BudgetExceededError
from kairos.step import Skip, as_step


def action(ctx: StepContext) -> Any:
    return None


make_step: Any = Step  # for what no type checker would let pass

# -- names ----------------------------------------------------------------------------------------

NAMED = "abcXYZ019_-"


@given(name=st.text(NAMED, min_size=1, max_size=30))
def test_letters_digits_and_dashes_are_a_name(name: str) -> None:
    assert Step(name, action).name == name


@given(
    name=st.text(max_size=8).filter(lambda text: not text or set(text) - set(NAMED))
    | st.none()
    | st.integers()
    | st.binary()
)
def test_anything_else_is_no_name(name: Any) -> None:
    if (
        isinstance(name, str)
        and name.isascii()
        and name.replace("_", "a").replace("-", "a").isalnum()
    ):
        return
    with pytest.raises(ConfigError, match="name"):
        Step(name, action)


# -- options --------------------------------------------------------------------------------------


def test_the_defaults_are_the_published_ones() -> None:
    config = StepConfig()
    assert (config.retries, config.timeout, config.foreach) == (0, None, None)
    assert config.foreach_policy is ForeachPolicy.REQUIRE_ALL
    assert (config.parallel, config.max_concurrency) == (False, None)
    assert (config.retry_delay, config.retry_backoff, config.retry_jitter) == (0.0, 1.0, True)
    assert (config.validation_timeout, config.isolation) == (30.0, "none")
    made = Step("s", action)
    assert made.config == config
    assert (made.depends_on, made.read_keys, made.write_keys) == ((), None, ("s",))
    assert (made.input_contract, made.output_contract, made.failure_policy) == (None, None, None)


@pytest.mark.parametrize(
    "field, bad",
    [
        *[("retries", bad) for bad in (-1, 1.0, True, "1", None)],
        *[("max_concurrency", bad) for bad in (0, -1, 1.5, True, "2")],
        *[("timeout", bad) for bad in (0, -1, float("nan"), float("inf"), True, "1", 10**400)],
        *[("validation_timeout", bad) for bad in (0, -1, float("nan"), "1")],
        *[("retry_delay", bad) for bad in (-1, float("nan"), float("inf"), None, "1", 10**400)],
        *[("retry_backoff", bad) for bad in (-0.5, float("nan"), None)],
        *[("retry_jitter", bad) for bad in (1, None, "yes")],
        *[("parallel", bad) for bad in (1, None, "yes")],
        *[("foreach", bad) for bad in ("", 5, ["xs"])],
        *[("foreach_policy", bad) for bad in ("some", None, 5)],
        *[("isolation", bad) for bad in ("thread", None, True, 5)],
        pytest.param("retries", -(10**5000), id="a number that cannot be printed"),
    ],
)
@pytest.mark.parametrize("make", [StepConfig, functools.partial(Step, "s", action)])
def test_a_wrong_option_is_refused_by_its_name(make: Any, field: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=field) as caught:
        make(**{field: bad})
    assert "test_step.py:" in str(caught.value)


@pytest.mark.parametrize("policy", ["allow_partial", ForeachPolicy.ALLOW_PARTIAL])
def test_a_policy_may_be_named(policy: Any) -> None:
    assert Step("s", action, foreach_policy=policy).config.foreach_policy == "allow_partial"


def test_options_come_in_a_config_or_as_keywords_and_not_both() -> None:
    assert Step("s", action, config=StepConfig(retries=3)).config.retries == 3
    with pytest.raises(ConfigError, match="given config and also retries"):
        Step("s", action, config=StepConfig(), retries=1)
    with pytest.raises(ConfigError, match="no StepConfig"):
        Step("s", action, config={"retries": 1})  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "wrong, meant",
    [("retrys", "retries"), ("depend_on", "depends_on"), ("time_out", "timeout"), ("zzz", None)],
)
def test_an_unknown_keyword_is_refused_with_the_nearest_one(wrong: str, meant: str | None) -> None:
    with pytest.raises(ConfigError, match=f"takes no keyword '{wrong}'") as caught:
        make_step("s", action, **{wrong: 1})
    assert (caught.value.fix or "").startswith("did you mean") is (meant is not None)
    if meant:
        assert f"'{meant}'" in str(caught.value)


@pytest.mark.parametrize("field", ["depends_on", "read_keys", "write_keys"])
@pytest.mark.parametrize("bad", ["abc", [""], [5], 5, [None], [["a"]]])
def test_a_list_of_names_is_one(field: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        Step("s", action, **{field: bad})


def test_names_may_come_in_any_collection_and_are_kept_once() -> None:
    made = Step("s", action, depends_on=("b", "a", "b"), read_keys=iter(["a", "a"]))
    assert (made.depends_on, made.read_keys) == (("b", "a"), ("a",))


@pytest.mark.parametrize("validators", [5, "abc", lambda value: True])
def test_validators_come_in_a_list(validators: Any) -> None:
    with pytest.raises(ConfigError, match="validators"):
        Step("s", action, validators=validators)


@pytest.mark.parametrize("given", [{"failure_policy": "skip"}, {"when": 5}, {"when": "x"}])
def test_what_is_neither_a_policy_nor_a_predicate_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=next(iter(given))):
        Step("s", action, **given)


def test_one_step_may_be_part_of_several_workflows() -> None:
    shared = Step("s", lambda ctx: ctx.inputs["n"] + 1)
    first, second = Workflow("one", [shared]), Workflow("two", [shared])
    assert [first.run({"n": 1}).output, second.run({"n": 2}).output] == [2, 3]


# -- the decorator --------------------------------------------------------------------------------


def test_a_declared_function_stays_itself() -> None:
    @step
    def bare(ctx: StepContext) -> int:
        return 1

    @step("by-another-name", retries=2)
    def named(ctx: StepContext) -> int:
        return 2

    assert as_step(bare).name == "bare"
    assert (as_step(named).name, as_step(named).config.retries) == ("by-another-name", 2)
    assert (bare(None), named(None)) == (1, 2)  # type: ignore[arg-type]
    assert as_step(bare) is as_step(bare)


def test_a_bare_function_becomes_a_step_of_its_name() -> None:
    assert as_step(action).name == "action"
    assert as_step(functools.partial(functools.partial(action))).name == "action"


@pytest.mark.parametrize("given", [5, None, "fetch"])
def test_what_cannot_be_called_is_no_step(given: Any) -> None:
    with pytest.raises(ConfigError, match="made of steps"):
        as_step(given)


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="<lambda>"):
        as_step(lambda ctx: 1)


def test_the_module_and_the_decorator_share_their_name() -> None:
    module: Any = importlib.import_module("kairos.step")
    assert module.Step is Step
    assert kairos.step is module or callable(kairos.step)

    def declared(ctx: StepContext) -> int:
        return 1

    assert module(declared) is declared
    assert as_step(declared).name == "declared"


# -- SKIP -----------------------------------------------------------------------------------------


def test_skip_is_one_falsy_thing_however_it_is_copied() -> None:
    assert not SKIP
    assert repr(SKIP) == "SKIP"
    assert copy.copy(SKIP) is SKIP
    assert copy.deepcopy([SKIP])[0] is SKIP
    assert Skip() is SKIP


def test_skip_is_no_value() -> None:
    result = Workflow("w", [Step("s", lambda ctx: [SKIP])], failure_policy=FailurePolicy()).run()
    assert "Skip" in (result.error or "")


# -- the context ----------------------------------------------------------------------------------


def test_the_published_context_can_be_made_by_hand() -> None:
    state = StateStore()
    state.set("a", 1)
    ctx = StepContext(state, {"a": 1})
    assert (ctx.item, ctx.retry_context, ctx.step_id, ctx.attempt) == (None, None, "", 1)
    assert (ctx.cancelled, ctx.item_index, ctx.run_id) == (False, None, "")
    assert ctx.state.get("a") == ctx.inputs["a"] == 1
    ctx.increment_llm_calls()
    ctx.increment_llm_calls(2)
    assert ctx.spent == Spend(3)


@pytest.mark.parametrize("count", [-1, 1.5, "1", None, True])
def test_a_count_of_calls_is_a_whole_number(count: Any) -> None:
    ctx = StepContext(StateStore(), {})
    with pytest.raises(ConfigError, match="count"):
        ctx.increment_llm_calls(count)
    assert ctx.spent is None


def test_a_charge_beyond_the_budget_is_booked_and_refused() -> None:
    ctx = StepContext(StateStore(), {}, ledger=Ledger(Budget(llm_calls=2)))
    ctx.increment_llm_calls(2)
    with pytest.raises(BudgetExceededError, match="LLM call limit reached: 2"):
        ctx.increment_llm_calls()
    assert ctx.spent == Spend(3)


def test_the_idempotency_key_tells_works_apart_and_attempts_not() -> None:
    def key(**where: Any) -> str:
        return StepContext(StateStore(), {}, run_id="r", **where).idempotency_key

    keys = [key(step_id="a"), key(step_id="b"), key(step_id="a", item_index=0)]
    assert len({*keys, key(step_id="a", item_index=1)}) == 4
    assert key(step_id="a", attempt=2) == key(step_id="a")


def test_a_context_sees_its_fence_and_nothing_more_of_it() -> None:
    fence = Fence()
    ctx = StepContext(StateStore(), {}, signal=fence.signal)
    assert not ctx.cancelled
    told: list[str] = []
    fence.on_cancel = lambda: told.append("cancel")
    fence.on_give_up = lambda: told.append("give up")
    fence.cancel()
    assert (ctx.cancelled, fence.cancelled, fence.given_up) == (True, True, False)
    fence.give_up()
    assert (fence.given_up, told) == (True, ["cancel", "give up"])


def test_the_context_of_a_run_says_where_it_stands() -> None:
    def where(ctx: StepContext) -> Any:
        return [ctx.step_id, ctx.attempt, ctx.item, ctx.item_index, ctx.run_id != "", ctx.cancelled]

    result = Workflow("w", [Step("s", where, foreach="xs")]).run({"xs": ["a", "b"]})
    assert result.output == [["s", 1, "a", 0, True, False], ["s", 1, "b", 1, True, False]]


# -- contracts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["input_contract", "output_contract"])
@pytest.mark.parametrize("bad", [5, {"x": int}, "int", [int], lambda value: True, object()])
def test_what_is_no_contract_is_refused_where_it_is_declared(field: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=field) as caught:
        Step("s", action, **{field: bad})
    assert "test_step.py:" in str(caught.value)


def test_a_declared_contract_comes_before_an_annotation() -> None:
    def typed(n: int) -> dict[str, Any]:
        return {"n": n}

    made = Step("s", typed, output_contract=Schema({"n": str}))
    assert "n" in (Workflow("w", [made]).run({"n": 1}).error or "")
    assert Workflow("w", [Step("s", typed)]).run({"n": 1}).output == {"n": 1}


def test_an_item_needs_a_foreach_and_a_scope_needs_its_foreach() -> None:
    def each(item: int) -> int:
        return item

    with pytest.raises(ConfigError, match="no foreach to take it from"):
        Step("s", each)
    with pytest.raises(ConfigError, match="read_keys do not allow"):
        Step("s", each, foreach="xs", read_keys=["other"])
    assert Step("s", each, foreach="xs").read_keys == ("xs",)


def test_a_step_can_be_shown() -> None:
    assert repr(Step("s", action)) == "Step('s')"
    json.dumps(Workflow("w", [Step("s", action)]).to_dict())
