"""What `verify` proves of a workflow, and what a run then does with the very values."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    computed_field,
    create_model,
)
from typing_extensions import TypedDict

from kairos import Schema, Step, Workflow, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos import StepContext
    from kairos.verify import Report
    from kairos.verify.edges.edge import Proof


class Extract(BaseModel):
    title: str | None = None
    n: int = 0


class Doc(BaseModel):
    title: str
    body: str
    n: int = Field(ge=0)


class Named(BaseModel):
    title: str | None


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str


class Kind(enum.StrEnum):
    CAT = "cat"
    DOG = "dog"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    bark: str


class Cow(BaseModel):
    kind: Literal["cow"]


class Tree(BaseModel):
    v: int
    kids: list[Tree] = []


class Positive(BaseModel):
    v: Annotated[int, Field(gt=0)]
    kids: list[Positive] = []


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    at: float


class Lax(BaseModel):
    at: str


class Square(BaseModel):
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


class Sided(BaseModel):
    side: int


class Point(NamedTuple):
    x: int
    y: str


class Row(TypedDict):
    name: str


@dataclasses.dataclass
class Item:
    name: str
    pieces: int = 1


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    rows: list[T]


Numbers = RootModel[list[int]]
Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
Animal = Annotated[Cat | Dog | Cow, Field(discriminator="kind")]


def even(value: int) -> int:
    assert value % 2 == 0
    return value


Even = Annotated[int, AfterValidator(even)]


def nothing(ctx: StepContext) -> None:
    return None


def producing(contract: Any, value: Any = None, **options: Any) -> Step:
    """Return a step 'made' of this contract, which emits a JSON value."""
    given: dict[str, Any] = {"read_keys": [], "output_contract": contract, **options}
    return Step("made", lambda ctx: value, **given)


def consuming(contract: Any, name: str = "made") -> Step:
    """Return a typed step that reads one key as this contract."""
    namespace: dict[str, Any] = {}
    exec(f"def used({name}): return 'passed'", namespace)  # noqa: S102 - a parameter of any name
    used = namespace["used"]
    used.__annotations__ = {name: contract}
    return Step("used", used)


def workflow(*steps: Step | Callable[..., Any], inputs: Any = (), **options: Any) -> Workflow:
    return Workflow("w", [*steps], inputs=inputs, **options)


def proofs(report: Report) -> dict[tuple[int, str], str]:
    return {
        (p.edge.step, p.edge.through): p.verdict.answer + (" if" if p.assuming else "")
        for p in report.proofs
    }


def only(report: Report) -> Proof:
    (proof,) = report.proofs
    return proof


# --- contracts of every kind, at every place

# a producer, what it emits, a consumer, the answer
PAIRS: list[tuple[Any, Any, Any, str]] = [
    (Extract, {"title": "a"}, Named, "proved"),
    (Extract, {}, Doc, "refuted"),
    (Doc, {"title": "", "body": "", "n": 1}, Extract, "proved"),
    (Square, {"side": 2}, Sided, "proved"),
    (Sided, {"side": 2}, Square, "proved"),
    (Numbers, [1, 2], list[int], "proved"),
    (list[int], [1, 2], Numbers, "proved"),
    (Numbers, [1], list[str], "refuted"),
    (Page[Row], {"rows": [{"name": "a"}]}, Page[dict[str, str]], "proved"),
    (Page[int], {"rows": [1]}, Page[Annotated[int, Field(ge=0)]], "refuted"),
    (Item, {"name": "a"}, Row, "proved"),
    (Row, {"name": "a"}, Item, "proved"),
    (Row, {"name": "a"}, Schema({"name": str, "age": int}), "refuted"),
    (Point, [1, "a"], tuple[int, str], "proved"),
    (tuple[int, int], [1, 2], Point, "refuted"),
    (Kind, "cat", Literal["cat", "dog", "cow"], "proved"),
    (Literal["cat", "cow"], "cow", Kind, "refuted"),
    (Annotated[int, Field(ge=3, le=5)], 4, Annotated[int, Field(ge=0)], "proved"),
    (int, 4, Annotated[int, Field(ge=0)], "refuted"),
    (TypeAdapter(list[int]), [1], list[float], "proved"),
    (Schema.from_pydantic(Closed), {"name": "a"}, Item, "proved"),
    (Schema({"name": str}), {"name": "a"}, Row, "proved"),
    (Schema({"name": str}), {"name": "a"}, Item, "proved if"),
    (Schema({"name": str | None}), {"name": None}, Row, "refuted"),
    (Schema.from_pydantic(Doc), {"title": "", "body": "", "n": 1}, Named, "proved"),
    (Schema.from_json_schema({"type": "object", "properties": {"n": {"type": "integer"}},
                              "required": ["n"]}), {"n": 1}, Schema({"n": int}), "proved"),
    (Schema.from_json_schema({"type": "object", "properties": {"n": {"type": "integer"}}}),
     {}, Schema({"n": int}), "refuted"),
    (Tree, {"v": 1, "kids": [{"v": 2}]}, Tree, "proved"),
    (Positive, {"v": 1, "kids": [{"v": 2}]}, Tree, "proved"),
    (Tree, {"v": 1, "kids": [{"v": 2}]}, Positive, "refuted"),
    (TypeAdapter(Pet), {"kind": "dog", "bark": "w"}, Animal, "proved"),
    (TypeAdapter(Animal), {"kind": "dog", "bark": "w"}, Pet, "refuted"),
    (Decimal, "1.5", float, "coerced"),
    (Strict, {"at": 1.0}, Lax, "refuted"),
    (datetime, "2024-01-01T00:00:00Z", str, "proved"),
    (str, "a", datetime, "refuted"),
    (Even, 2, Even, "proved"),
    (Even, 2, int, "proved"),
    (int | None, 3, int, "refuted"),
    (list[int], [1], set[int], "coerced"),
    (dict[str, int], {"a": 1}, dict[str, float], "proved"),
]  # fmt: skip


def passes(made: Workflow, inputs: dict[str, Any] | None = None) -> bool:
    """Run a workflow whose last step returns "passed" where nothing is refused."""
    return made.run(inputs).status is WorkflowStatus.COMPLETE


@pytest.mark.parametrize("producer, value, consumer, answer", PAIRS)
def test_a_parameter_is_proved_against_the_output_that_it_names(
    producer: Any, value: Any, consumer: Any, answer: str
) -> None:
    made = workflow(producing(producer, value), consuming(consumer))
    proof = only(made.verify())

    assert proof.verdict.answer + (" if" if proof.assuming else "") == answer
    assert passes(workflow(producing(producer, value), Step("end", nothing, read_keys=["made"])))
    if answer in {"proved", "proved if"}:
        assert passes(made)
    if answer == "refuted":
        assert not passes(workflow(producing(producer, proof.verdict.witness), consuming(consumer)))


@pytest.mark.parametrize("producer, value, consumer, answer", PAIRS)
def test_the_item_of_a_foreach_is_proved_against_the_elements_it_runs_over(
    producer: Any, value: Any, consumer: Any, answer: str
) -> None:
    def each(item: Any) -> str:
        return "passed"

    each.__annotations__["item"] = consumer
    many = Step("made", lambda ctx: ctx.item, foreach="rows", read_keys=["rows"],
                output_contract=producer)  # fmt: skip

    made = workflow(many, Step("used", each, foreach="made"), inputs=["rows"])
    report = made.verify()

    assert proofs(report)[1, "item"] == answer
    if answer in {"proved", "proved if"}:
        assert passes(made, {"rows": [value, value]})
    if answer == "refuted":
        witness = next(p for p in report.proofs if p.edge.step == 1).verdict.witness
        assert not passes(made, {"rows": witness})


@pytest.mark.parametrize("producer, value, consumer, answer", PAIRS)
def test_an_input_contract_is_proved_against_all_that_the_step_sees(
    producer: Any, value: Any, consumer: Any, answer: str
) -> None:
    seen = create_model("seen", made=(consumer, ...), other=(int, ...))

    def built(emitted: Any) -> Workflow:
        other = Step("other", lambda ctx: 1, read_keys=[], output_contract=int)
        used = Step("used", nothing, depends_on=["made", "other"], input_contract=seen)
        return workflow(producing(producer, emitted), other, used)

    report = built(value).verify()

    assert proofs(report)[2, "input_contract"] == answer
    if answer in {"proved", "proved if"}:
        assert passes(built(value))
    if answer == "refuted":
        assert not passes(built(only(report).verdict.witness["made"]))


@pytest.mark.parametrize("producer, value, consumer, answer", PAIRS)
def test_a_when_is_proved_against_what_it_asks(
    producer: Any, value: Any, consumer: Any, answer: str
) -> None:
    def ready(made: Any) -> bool:
        return True

    ready.__annotations__["made"] = consumer

    def built(emitted: Any) -> Workflow:
        used = Step("used", nothing, depends_on=["made"], read_keys=["made"], when=ready)
        return workflow(producing(producer, emitted), used)

    report = built(value).verify()

    assert proofs(report)[1, "when"] == answer
    if answer in {"proved", "proved if"}:
        assert passes(built(value))
    if answer == "refuted":
        assert not passes(built(only(report).verdict.witness))


@pytest.mark.parametrize("producer, value, consumer, answer", PAIRS)
def test_an_input_of_the_workflow_is_proved_against_whoever_reads_it(
    producer: Any, value: Any, consumer: Any, answer: str
) -> None:
    given = create_model("given", made=(_annotation(producer), ...), other=(int, ...))

    made = workflow(consuming(consumer), inputs=given)
    proof = only(made.verify())

    assert proof.verdict.answer + (" if" if proof.assuming else "") == answer
    if answer in {"proved", "proved if"}:
        assert passes(made, {"made": value, "other": 1})
    if answer == "refuted":
        assert not passes(made, proof.verdict.witness)


def _annotation(contract: Any) -> Any:
    return contract._type if isinstance(contract, TypeAdapter) else contract
