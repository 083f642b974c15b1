"""A check of what a step is handed is left out where it is proved to find nothing.

What an action is handed is the same with and without, to the last type and the last key; the
hooks tell which checks were made.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, PastDatetime, model_validator
from typing_extensions import TypedDict

from kairos import (
    SKIP,
    ExecutorHooks,
    FailureAction,
    FailurePolicy,
    ForeachPolicy,
    Schema,
    StateStore,
    Step,
    StepContext,
    StepExecutor,
    StructuralValidator,
    TaskGraph,
    Workflow,
)
from kairos.contracts.bare import reads_bare
from kairos.contracts.contract import compile_contract

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos import WorkflowResult


class Checks(ExecutorHooks):
    """Hears which contracts are checked."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def on_validation_start(self, step: Step, phase: str, attempt: int) -> None:
        """Hear that a contract is about to be checked."""
        self.heard.append((step.name, phase))

    @property
    def inputs(self) -> list[str]:
        """The steps whose input was checked."""
        return [name for name, phase in self.heard if phase == "input"]


def run(
    steps: list[Any], start: Any = None, /, **keywords: Any
) -> tuple[WorkflowResult, list[str]]:
    """Run a workflow, and return its result and the steps whose input was checked."""
    hooks = Checks()
    result = Workflow("w", steps, hooks=[hooks], **keywords).run(start)
    return result, hooks.inputs


class Seen(TypedDict):
    """What a reader of `doc` sees."""

    doc: dict[str, Any]


DOC = Schema({"name": str, "n": int})
WIDE = Schema({"name": str, "n": int, "more": list[str]})


def doc(ctx: StepContext) -> dict[str, Any]:
    del ctx
    return {"name": "a", "n": 1}


def passes(ctx: StepContext) -> str:
    del ctx
    return "passed"


def producer(contract: Any = DOC, **keywords: Any) -> Step:
    return Step("doc", doc, output_contract=contract, retries=0, **keywords)


def reader(contract: Any, **keywords: Any) -> Step:
    return Step("reader", passes, depends_on=["doc"], input_contract=contract, **keywords)


# -- an input contract ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "contract",
    [
        Schema({"doc": DOC}),
        Schema({"doc": Schema({"name": str})}),
        Schema({"doc": {"n": float}}),
        Schema({"doc": dict}),
        Seen,
        Schema({}),
    ],
    ids=["the same", "less of it", "wider", "any object", "a TypedDict", "nothing"],
)
def test_an_input_that_is_proved_is_not_checked(contract: Any) -> None:
    result, checked = run([producer(), reader(contract)])
    assert (result.status, result.output, checked) == ("complete", "passed", [])


def test_a_proved_input_is_checked_where_elide_is_off() -> None:
    result, checked = run([producer(), reader(Schema({"doc": DOC}))], elide=False)
    assert (result.status, checked) == ("complete", ["reader"])


@pytest.mark.parametrize(
    "declared, contract",
    [
        (None, Schema({"doc": DOC})),
        (Schema({"name": str, "n": float}), Schema({"doc": DOC})),
        (DOC, Schema({"doc": WIDE | None})),
        (DOC, Schema({"doc": DOC}, validators={"doc": bool})),
        (dict[str, str | int], Schema({"doc": DOC})),
    ],
    ids=["no contract", "wider", "refuted", "a validator", "another kind"],
)
def test_an_input_that_is_not_proved_is_checked(declared: Any, contract: Any) -> None:
    _, checked = run([producer(declared), reader(contract)])
    assert "reader" in checked


def test_a_check_that_finds_something_still_finds_it() -> None:
    result, _ = run([producer(dict), reader(Schema({"doc": WIDE}), retries=0)])
    assert result.status == "failed"
    assert "doc.more" in (result.error or "")


def test_an_output_is_checked_whatever_is_proved() -> None:
    hooks = Checks()
    Workflow("w", [producer(), reader(Schema({"doc": DOC}))], hooks=[hooks]).run()
    assert hooks.heard == [("doc", "output")]


def test_the_inputs_of_a_workflow_are_checked_once() -> None:
    class Given(TypedDict):
        n: int

    step = Step("reader", passes, input_contract=Schema({"n": int}), read_keys=["n"])
    result, checked = run([step], {"n": 3}, inputs=Given)
    assert (result.status, checked) == ("complete", [])
    assert run([step], {"n": 3}, inputs=["n"])[1] == ["reader"]


def test_an_input_in_the_place_of_a_step_is_checked() -> None:
    free = Step("reader", passes, read_keys=["doc"], input_contract=Schema({"doc": DOC}))
    result, checked = run([free, producer()], {"doc": {"name": 1}}, max_concurrency=1)
    assert (result.status, set(checked)) == ("failed", {"reader"})


class Found(BaseModel):
    """What a producer returns."""

    name: Annotated[str, Field(min_length=1)]
    at: datetime | None = None


class Seeing(BaseModel):
    """What its reader sees."""

    doc: Found


class SeeingTyped(TypedDict):
    """The same."""

    doc: Found


@pytest.mark.parametrize("contract", [Seeing, SeeingTyped])
def test_a_contract_of_the_producers_own_contracts_needs_no_proof(contract: Any) -> None:
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
from test_elision import *
result, checked = run([producer(Found), reader({contract.__name__})])
print(result.status.value, checked, "kairos.verify" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("complete [] False\n", "")


class Wary(BaseModel):
    """Looks at more than the types of its fields."""

    doc: Found

    @model_validator(mode="after")
    def _refuse(self) -> Wary:
        raise ValueError("never")


class Posted(BaseModel):
    """The same, in another way."""

    doc: Found

    def model_post_init(self, context: Any) -> None:
        """Refuse whatever comes."""
        raise ValueError("never")


class Closed(BaseModel, extra="forbid"):
    """The same, of another key."""

    doc: Found


@pytest.mark.parametrize("contract", [Wary, Posted, Closed])
def test_a_contract_that_asks_for_more_is_asked(contract: Any) -> None:
    more = Step("more", passes)
    last = Step("reader", passes, depends_on=["doc", "more"], input_contract=contract, retries=0)
    result, checked = run([producer(Found), more, last])
    assert (result.status, checked) == ("failed", ["reader"])


# -- values that no contract let through in this run ---------------------------------------------


def writes_doc(ctx: StepContext) -> None:
    ctx.state.set("doc", {"name": 7})


def test_what_another_step_has_written_is_checked() -> None:
    vandal = Step("vandal", writes_doc, depends_on=["doc"], write_keys=["vandal", "doc"])
    last = Step(
        "reader",
        passes,
        depends_on=["doc", "vandal"],
        input_contract=Schema({"doc": DOC}),
        retries=0,
    )
    result, _ = run([producer(), vandal, last])
    assert result.status == "failed"
    assert "doc.name" in (result.error or "")


def test_what_an_element_of_a_foreach_has_written_is_checked() -> None:
    vandal = Step(
        "vandal",
        lambda ctx: ctx.state.set("doc", {"name": ctx.item}),
        depends_on=["doc"],
        foreach="doc_numbers",
        write_keys=["vandal", "doc"],
    )
    last = Step("reader", passes, depends_on=["doc", "vandal"], input_contract=Schema({"doc": DOC}))
    result, checked = run([producer(), vandal, last], {"doc_numbers": [1, 2]})
    assert (result.status, "reader" in checked) == ("failed", True)


def test_a_skip_that_nobody_could_see_coming_is_checked() -> None:
    held = [SKIP]
    first = Step("doc", lambda ctx: held.pop(), output_contract=DOC)
    result, checked = run([first, reader(Schema({"doc": DOC}), retries=0)])
    assert (result.status, checked) == ("failed", ["reader"])


def test_a_typed_reader_of_a_skipped_step_has_its_none_checked() -> None:
    held = [SKIP]

    def last(doc: dict[str, Any]) -> str:
        return str(doc)

    first = Step("doc", lambda ctx: held.pop(), output_contract=dict[str, Any])
    result, _ = run([first, Step("last", last, retries=0)])
    assert result.status == "failed"
    assert "doc" in (result.error or "")


def test_a_list_with_a_hole_is_checked() -> None:
    def each(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    def total(each: list[int]) -> int:
        return sum(each)

    steps = [
        Step("each", each, foreach="n", foreach_policy=ForeachPolicy.ALLOW_PARTIAL, retries=0),
        Step("total", total, retries=0),
    ]
    result, _ = run(steps, {"n": [1, 2, 3]})
    assert result.status == "failed"
    assert result.step_results["total"].status == "failed_final"


def test_after_a_replan_everything_is_checked() -> None:
    def breaks(ctx: StepContext) -> None:
        raise ValueError("no")

    replan = FailurePolicy(on_execution_fail=FailureAction.REPLAN)
    middle = Step("middle", breaks, depends_on=["doc"], failure_policy=replan)
    last = Step(
        "reader",
        passes,
        depends_on=["doc", "middle"],
        read_keys=["doc"],
        input_contract=Schema({"doc": DOC}),
    )

    def replanner(request: Any) -> list[Step]:
        del request
        return [Step("middle", writes_doc, depends_on=["doc"], write_keys=["middle", "doc"])]

    result, checked = run([producer(), middle, last], replanner=replanner)
    assert (result.status, set(checked)) == ("failed", {"reader"})


def test_an_executor_checks_every_input() -> None:
    graph = TaskGraph("g", [producer(), reader(Schema({"doc": DOC}))])
    hooks = Checks()
    done = StepExecutor(StateStore(), [hooks], validator=StructuralValidator()).run(graph)
    assert (done.status, hooks.inputs) == ("complete", ["reader"])


def test_an_attempt_that_is_made_again_sees_what_was_proved() -> None:
    tries = iter([ValueError("once"), None])

    def action(ctx: StepContext) -> str:
        if (error := next(tries)) is not None:
            raise error
        return "passed"

    last = Step("reader", action, depends_on=["doc"], input_contract=Schema({"doc": DOC}))
    result, checked = run([producer(), last])
    assert (result.status, checked) == ("complete", [])


# -- how it is worked out -------------------------------------------------------------------------


def test_runs_at_the_same_time_share_what_was_worked_out() -> None:
    hooks = Checks()
    workflow = Workflow("w", [producer(), reader(Schema({"doc": {"n": float}}))], hooks=[hooks])
    threads = [threading.Thread(target=workflow.run) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(hooks.heard), hooks.inputs) == (6, [])


def test_a_contract_that_cannot_be_built_is_told_by_the_check_itself() -> None:
    class Odd(BaseModel):
        part: Missing  # type: ignore[name-defined]  # noqa: F821 - it is missing

    result, _ = run([producer(), reader(Schema({"doc": Odd}), retries=0)])
    assert result.status == "failed"
    assert "Missing" in (result.error or "")


def test_a_comparison_that_raises_costs_the_check_and_not_the_run() -> None:
    armed: list[bool] = []

    class Grumpy:
        def __eq__(self, other: object) -> bool:
            if armed and self is not other:
                raise RuntimeError("do not compare me")
            return self is other

        def __hash__(self) -> int:
            return 1

        def __call__(self, value: Any) -> Any:
            return value

    def contract() -> Schema:
        return Schema({"name": Annotated[str, AfterValidator(Grumpy())], "n": int})

    steps = [producer(contract()), reader(Schema({"doc": contract()}))]
    Workflow("w", steps, elide=False).run()  # what pydantic compares it has compared by now
    armed.append(True)
    result, checked = run(steps)
    assert (result.status, checked) == ("complete", ["reader"])


def test_a_predicate_sees_what_its_step_sees() -> None:
    seen: list[Any] = []

    def asked(doc: dict[str, Any]) -> bool:
        seen.append(doc)
        return bool(doc["n"] > 0)

    for elide in (True, False):
        last = Step("last", passes, depends_on=["doc"], when=asked)
        assert run([producer(), last], elide=elide)[0].output == "passed"
    assert seen[0] == seen[1] == {"name": "a", "n": 1}


# -- which values are what their JSON says --------------------------------------------------------


class Plain(TypedDict):
    n: int
    x: float


class Turned(TypedDict):
    x: float
    n: int


class Part(TypedDict):
    n: int


class Loose(TypedDict, total=False):
    n: int
    s: str
    x: float


class Filled(TypedDict):
    n: Annotated[int, Field(default=3)]


class Named(TypedDict):
    n: Annotated[int, Field(alias="m")]


class Model(BaseModel):
    n: int


@dataclass
class Point:
    n: int


STRIPPED = Annotated[str, Field(min_length=1), AfterValidator(str.strip)]


@pytest.mark.parametrize(
    "wrote, reads, bare",
    [
        (int, int, True),
        (str, Annotated[str, Field(min_length=1)], True),
        (bool, bool, True),
        (bool, int, False),
        (float, float, True),
        (int, float, False),
        (Schema(float), float, False),
        (Annotated[float, Field(multiple_of=1)], int, False),
        (int | float, int | float, True),
        (Schema(int | float), int | float, True),
        (float | str, float | str, False),
        (list[int], list[int], True),
        (list[int] | None, list[int] | None, True),
        (set[int], list[int], False),
        (list[int], set[int], False),
        (list[int], tuple[int, ...], False),
        (Model, dict, True),
        (Model, dict[str, Any], True),
        (Model, Model, False),
        (Point, Point, False),
        (Model, Part, False),
        (Plain, Plain, True),
        (Plain, Turned, False),
        (Plain, Part, False),
        (Plain, Loose, True),
        (Plain, dict[str, Any], True),
        (Schema({"n": int, "x": float}), Plain, False),
        (Filled, Filled, False),
        (Named, Named, False),
        (list[Plain], list[Plain], True),
        (dict[str, Plain], dict[str, Plain], True),
        (dict[int, str], dict[int, str], False),
        (str, STRIPPED, False),
        (str, date, False),
        (datetime, datetime, False),
        (datetime, str, True),
        (Literal["a", "b"], Literal["a"], True),
        (Literal[1, 2], Literal[1], True),
        (float, Literal[1], False),
        (PastDatetime, str, True),
        (str, Any, True),
    ],
)
def test_bare_json_is_read_where_it_is_what_the_contract_would_read(
    wrote: Any, reads: Any, bare: bool
) -> None:
    assert reads_bare(compile_contract(wrote), compile_contract(reads)) is bare


def counting() -> tuple[Any, list[object]]:
    """Return a type of numbers that counts how often one is checked."""
    calls: list[object] = []

    def count(value: int) -> int:
        calls.append(value)
        return value

    return Annotated[int, AfterValidator(count)], calls


def test_a_contract_with_a_function_of_its_own_reads_every_value() -> None:
    kind, calls = counting()

    def number() -> Any:
        return 3

    def last(number: Any) -> Any:
        return number

    last.__annotations__["number"] = kind
    assert run([Step("number", number, output_contract=kind), Step("last", last)])[0].output == 3
    before = len(calls)
    assert before > 1


def test_an_input_contract_with_the_producers_own_function_does_not_call_it() -> None:
    kind, calls = counting()
    held = Schema({"n": kind})
    counts = []
    for elide in (True, False):
        calls.clear()
        first = Step("doc", lambda ctx: {"n": 1}, output_contract=held)
        result, _ = run([first, reader(Schema({"doc": held}))], elide=elide)
        assert result.status == "complete"
        counts.append(len(calls))
    assert counts[0] + 1 == counts[1]


# -- with and without: the same -------------------------------------------------------------------

SCALARS: list[Any] = [
    int,
    float,
    str,
    bool,
    type(None),
    int | float,
    float | str,
    Literal["a", 1],
    Any,
]
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, 1.5, -2.0, 1e22]),
    st.sampled_from(["", "a", "1", " b "]),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(st.tuples(st.sampled_from("nxsz"), inner), max_size=3).map(dict),
    ),
    max_leaves=6,
)


@st.composite
def typed_dicts(draw: Callable[[Any], Any], inner: Any) -> Any:
    names = draw(st.permutations("nxs"))[: draw(st.integers(1, 3))]
    fields = {name: draw(inner) for name in names}
    made: Any = TypedDict  # a checker wants to see the fields
    optional = {name: NotRequired[kind] for name, kind in fields.items() if draw(st.booleans())}
    return made("Drawn", {**fields, **optional})


@st.composite
def schemas(draw: Callable[[Any], Any], inner: Any) -> Any:
    names = draw(st.permutations("nxs"))[: draw(st.integers(1, 3))]
    return Schema({name: draw(inner) for name in names})


KINDS = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        inner.map(lambda kind: list[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: dict[str, kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: kind if kind in (type(None), Any) else kind | None),
        typed_dicts(inner),
        schemas(inner),
    ),
    max_leaves=4,
)


def exactly(value: Any) -> Any:
    """Return a value with the type of every part, and the order of its keys."""
    if isinstance(value, dict):
        return ("dict", [(key, exactly(inner)) for key, inner in value.items()])
    if isinstance(value, list):
        return ("list", [exactly(inner) for inner in value])
    return (type(value).__name__, repr(value))


def observed(
    value: Any, wrote: Any, reads: Any, seen_as: Any, *, items: bool, elide: bool
) -> tuple[Any, ...]:
    """Run a producer and its readers, and return all that can be told of it."""
    seen: list[Any] = []

    def typed(first: Any) -> Any:
        seen.append(exactly(first))
        return first

    def each(item: Any) -> Any:
        seen.append(exactly(item))
        return item

    typed.__annotations__["first"] = each.__annotations__["item"] = reads
    steps = [
        Step("first", lambda ctx: value, output_contract=wrote, retries=0),
        Step("typed", typed, retries=0),
        Step(
            "shown",
            lambda ctx: seen.append(exactly(dict(ctx.inputs))),
            depends_on=["first", "typed"],
            input_contract=seen_as,
            retries=0,
        ),
    ]
    if items:
        steps[1:] = [Step("each", each, foreach="first", retries=0)]
    result = Workflow("drawn", steps, elide=elide).run()
    told = {name: (one.status, exactly(one.output)) for name, one in result.step_results.items()}
    return result.status, result.error, told, seen


@settings(max_examples=150, deadline=None)
@given(value=VALUES, wrote=KINDS, other=KINDS, same=st.booleans(), items=st.booleans())
def test_what_actions_see_is_the_same_with_and_without_elision(
    value: Any, wrote: Any, other: Any, same: bool, items: bool
) -> None:
    if items:
        value, wrote = [value, value], list[wrote]
        reads = wrote.__args__[0] if same else other
    else:
        reads = wrote if same else other
    shown = Schema({"first": reads})
    with_it = observed(value, wrote, reads, shown, items=items, elide=True)
    assert with_it == observed(value, wrote, reads, shown, items=items, elide=False)


def test_what_is_proved_under_an_assumption_only_is_checked_when_it_runs() -> None:
    """An undeclared key of an open producer may hold anything, whatever a proof assumes of it."""
    wide = Schema({"a": int})
    narrow = Schema({"make": Schema({"a": int, "note": str | None})})
    make = Step("make", lambda ctx: {"a": 1, "note": 3}, read_keys=[], output_contract=wide)
    read = Step(
        "read",
        lambda ctx: "handed over",
        depends_on=["make"],
        read_keys=["make"],
        input_contract=narrow,
        retries=0,
    )
    workflow = Workflow("w", [make, read], inputs=[])
    (proof,) = workflow.verify().proofs

    assert (proof.verdict.answer, proof.assuming is None, proof.elides) == ("proved", False, False)
    assert workflow.run().step_results["read"].status == "failed_final"
