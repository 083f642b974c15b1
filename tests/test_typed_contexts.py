"""An action of a `Context[In]` declares what it reads, and reads it as `In` says."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - annotations are read
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NotRequired

import pytest
from pydantic import BaseModel
from typing_extensions import ReadOnly, TypedDict

import kairos
from kairos import ConfigError, Context, Schema, StateStore, Step, StepContext, Workflow
from kairos.signature import read_signature
from running import NO_RETRY

if TYPE_CHECKING:
    from decimal import Decimal


class Doc(BaseModel):
    title: str


class In(TypedDict):
    doc: Doc
    day: dt.date
    note: NotRequired[str]


class Loose(TypedDict, total=False):
    note: str
    limit: int


class Frozen(TypedDict):
    limit: ReadOnly[int]
    note: NotRequired[ReadOnly[str]]


class Unresolved(TypedDict):
    price: Decimal


def read(ctx: Context[In]) -> str:
    day, note = ctx.inputs["day"], ctx.inputs.get("note", "none")
    return f"{ctx.inputs['doc'].title} {day.year} {note}"


async def read_later(ctx: StepContext[In]) -> str:
    return read(ctx)


GIVEN = {"doc": {"title": "T"}, "day": "2026-02-01"}


@pytest.mark.parametrize("action", [read, read_later])
def test_inputs_arrive_as_the_type_says(action: Any) -> None:
    result = Workflow("typed", [Step("read", action)]).run(GIVEN)
    assert (result.error, result.output) == (None, "T 2026 none")
    assert Workflow("typed", [Step("read", action)]).run({**GIVEN, "note": "n"}).output == (
        "T 2026 n"
    )


def test_the_type_declares_what_is_read_and_what_is_returned() -> None:
    made = Step("read", read)
    assert made.read_keys == ("doc", "day", "note")
    assert made.signature.required == {"doc", "day"}
    assert (made.input_contract, made.output_contract) == (In, str)


def test_keys_that_steps_write_are_dependencies_and_optional_ones_no_inputs() -> None:
    workflow = Workflow("typed", [Step("doc", lambda ctx: {"title": "D"}, read_keys=[]), read])
    assert workflow.graph.outline == {"doc": (), "read": ("doc",)}
    assert workflow.graph.expected_inputs == {"day": True, "note": False}
    assert workflow.run({"day": "2026-02-01"}).output == "D 2026 none"
    with pytest.raises(ConfigError, match="needs an input 'day'"):
        workflow.run()


def test_the_type_is_the_input_contract() -> None:
    result = Workflow("typed", [read], failure_policy=NO_RETRY).run({**GIVEN, "doc": {"title": 5}})
    assert result.step_results["read"].attempts[0].error_type == "ContractBroken"
    assert "doc.title" in str(result.error)


def test_an_input_contract_of_its_own_comes_first_and_the_type_holds_on_reading() -> None:
    loose = Step("read", read, input_contract=Schema({"day": str}))
    workflow = Workflow("typed", [loose], failure_policy=NO_RETRY)
    assert workflow.run(GIVEN).output == "T 2026 none"
    result = workflow.run({"doc": 5, "day": "2026-02-01"})
    assert "doc: expected" in str(result.error)


def test_nothing_beside_the_type_can_be_read() -> None:
    def peek(ctx: Context[Loose]) -> list[str]:
        refused = "" if "secret" not in ctx.inputs else "seen"
        with pytest.raises(kairos.StateError, match="Unauthorized read"):
            ctx.inputs["secret"]  # type: ignore[typeddict-item]
        return [*ctx.inputs, refused]

    result = Workflow("typed", [peek]).run({"secret": 1, "limit": 3})
    assert result.output == ["limit", ""]
    assert result.step_results["peek"].attempts[0].status.value == "success"


def test_read_keys_may_say_more_but_not_less_than_the_type() -> None:
    assert Step("s", read, read_keys=["doc", "day", "note", "more"]).read_keys is not None
    with pytest.raises(ConfigError, match="step 's' needs 'day', which its read_keys do not allow"):
        Step("s", read, read_keys=["doc", "note"])


def test_each_reader_has_a_value_of_its_own() -> None:
    def vandal(ctx: Context[In]) -> str:
        ctx.inputs["doc"].title = "mine"
        return ctx.inputs["doc"].title

    def after(vandal: str, doc: Doc) -> list[str]:
        return [vandal, doc.title]

    assert Workflow("typed", [vandal, after]).run(GIVEN).output == ["mine", "T"]


def test_parameters_a_context_and_an_element_go_together() -> None:
    def each(item: int, factor: int, ctx: Context[Loose]) -> int:
        return item * factor + ctx.inputs.get("limit", 0)

    workflow = Workflow("typed", [Step("each", each, foreach="numbers")])
    assert workflow.steps[0].read_keys == ("factor", "note", "limit", "numbers")
    assert workflow.run({"numbers": [1, 2], "factor": 3, "limit": 1}).output == [4, 7]


def test_a_predicate_has_a_type_of_its_own() -> None:
    class Day(TypedDict):
        day: dt.date

    def is_late(ctx: Context[Day]) -> bool:
        return ctx.inputs["day"].year > 2025

    def as_text(ctx: StepContext) -> Any:
        return ctx.inputs["day"]

    made = Step("text", as_text, read_keys=["day"], when=is_late)
    workflow = Workflow("typed", [made])
    assert workflow.run({"day": "2026-02-01"}).output == "2026-02-01"
    assert workflow.run({"day": "2025-02-01"}).output is None


def test_a_typed_context_reaches_a_process_of_its_own() -> None:
    made = Step("read", read, isolation="process")
    assert Workflow("typed", [made]).run(GIVEN).output == "T 2026 none"


@pytest.mark.parametrize(
    "note",
    [
        StepContext,
        Context,
        Context[Any],
        Context[Mapping[str, Any]],
        Context[dict[str, Any]],
        Context | None,
        "StepContext",
        "Context",
        "kairos.Context",
        "Optional[StepContext]",
        "StepContext | None",
    ],
)
def test_a_context_without_a_type_declares_nothing(note: Any) -> None:
    def action(anything):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return anything.step_id

    action.__annotations__ = {"anything": note}
    made = Step("plain", action)
    assert (made.read_keys, made.input_contract) == (None, None)
    assert Workflow("plain", [made]).run().output == "plain"


@pytest.mark.parametrize(
    "note",
    [
        Context[In],
        StepContext[In],
        Context[In] | None,
        "Context[In]",
        "kairos.StepContext[In]",
        "Context[In] | None",
        "Alias",
    ],
)
def test_a_typed_context_is_known_however_it_is_written(note: Any) -> None:
    def action(anything):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return anything.inputs["day"].year

    action.__annotations__ = {"anything": note}
    assert read_signature(action).view is In
    assert Workflow("typed", [Step("year", action)]).run(GIVEN).output == 2026


Alias = Context[In]


def test_required_and_optional_keys_are_told_though_annotations_are_strings() -> None:
    def action(ctx: Context[Loose]) -> None:
        raise AssertionError(ctx)

    found = read_signature(action)
    assert (found.viewed, found.required) == ({"note": str, "limit": int}, frozenset())

    def other(ctx: Context[Frozen]) -> None:
        raise AssertionError(ctx)

    found = read_signature(other)
    assert found.viewed == {"limit": int, "note": str}
    assert found.required == {"limit"}
    assert read_signature(read).required == {"doc", "day"}


@pytest.mark.parametrize(
    "note, said",
    [
        (Context[int], "not typed by a TypedDict"),  # type: ignore[type-var]
        (Context[Doc], "not typed by a TypedDict"),  # type: ignore[type-var]
        ("Context[Nowhere]", "cannot be resolved"),
        (Context[Unresolved], "cannot be resolved"),
    ],
)
def test_what_is_no_type_of_a_context_is_refused(note: Any, said: str) -> None:
    def action(ctx):  # type: ignore[no-untyped-def]  # noqa: ANN202
        raise AssertionError(ctx)

    action.__annotations__ = {"ctx": note}
    with pytest.raises(ConfigError) as caught:
        Step("s", action)
    assert said in str(caught.value)
    assert "test_typed_contexts.py:" in str(caught.value)


def test_a_foreign_class_called_context_is_an_annotation_like_any_other() -> None:
    class Other:
        class Context(BaseModel):
            title: str

    def action(given: Other.Context) -> str:
        return given.title

    found = read_signature(action)
    assert (found.context, found.reads) == (None, ("given",))
    assert Workflow("other", [action]).run({"given": {"title": "T"}}).output == "T"


def test_a_lambda_that_binds_a_loops_variable_is_handed_the_context() -> None:
    steps = [Step(f"s{i}", lambda ctx, i=i: (i, ctx.step_id)) for i in range(2)]
    assert [each.read_keys for each in steps] == [None, None]
    state = Workflow("loop", steps).run({"i": 7}).final_state
    assert (state["s0"], state["s1"]) == ([0, "s0"], [1, "s1"])


def test_a_context_is_made_by_hand_for_a_test_of_its_action() -> None:
    ctx: Context[Loose] = StepContext(StateStore(), {"limit": 3})
    assert ctx.inputs["limit"] == 3
    assert Context[Loose](StateStore(), {"limit": 4}).inputs["limit"] == 4
