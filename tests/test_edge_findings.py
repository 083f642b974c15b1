"""What `verify` tells of the edges of a workflow, and what else than an output may arrive."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, SecretStr
from typing_extensions import TypedDict

import kairos
from kairos import (
    SKIP,
    Context,
    FailureAction,
    FailurePolicy,
    Schema,
    Skip,
    Step,
    TaskGraph,
    Workflow,
    WorkflowStatus,
    step,
)
from kairos.enums import Severity
from kairos.exceptions import ConfigError
from kairos.verify import Budget, Scene, compare, examine, findings_of, prove, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from kairos import StepContext
    from kairos.verify import Finding, Report
    from kairos.verify.edges.edge import Proof

SKIPS = FailurePolicy(
    on_execution_fail=FailureAction.SKIP, on_validation_fail=FailureAction.SKIP, max_retries=0
)


class Meta(BaseModel):
    lang: str | None = None


class Extract(BaseModel):
    title: str | None = None
    n: int = 0
    meta: Meta = Meta()


class MetaNeeded(BaseModel):
    lang: str


class Doc(BaseModel):
    title: str
    body: str
    n: int = Field(ge=0)
    meta: MetaNeeded


def nothing(ctx: StepContext) -> Any:
    return None


def skipping(ctx: StepContext) -> Any:
    return SKIP if ctx.attempt else 1


def skipping_by_module(ctx: StepContext) -> Any:
    return kairos.SKIP


def skipping_inside(ctx: StepContext) -> Any:
    from kairos import SKIP as NO

    return NO


def of_an_enum(ctx: StepContext) -> Any:
    return 1 if FailureAction.SKIP else 2


@step
def extract() -> Extract:
    return Extract()


@step
def score(extract: Doc) -> int:
    return len(extract.body)


def making(name: str, contract: Any, action: Callable[..., Any] = nothing, **options: Any) -> Step:
    given: dict[str, Any] = {"read_keys": [], "output_contract": contract, **options}
    return Step(name, action, **given)


def verified(*steps: Step | Callable[..., Any], inputs: Any = (), **options: Any) -> Report:
    return Workflow("w", [*steps], inputs=inputs, **options).verify()


def told(report: Report) -> list[tuple[str, str | None]]:
    return [(each.code, each.step) for each in report.findings if each.code != "KRS214"]


def only(report: Report) -> Proof:
    (proof,) = report.proofs
    return proof


def finding(report: Report, code: str) -> Finding:
    (found,) = [each for each in report.findings if each.code == code]
    return found


# --- what a finding says


def test_a_refused_edge_names_both_steps_and_every_bad_field_in_python_s_words() -> None:
    found = finding(verified(extract, score), "KRS102")

    assert (found.severity, found.source, found.step) == (Severity.ERROR, "extract", "score")
    assert [tuple(each) for each in found.details] == [
        ("extract.title", "str | None", "needs str"),
        ("extract.body", "missing", "required str"),
        ("extract.n", "int", "needs int ≥ 0"),
        ("extract.meta.lang", "str | None", "needs str"),
    ]
    assert (found.found, found.expected) == ("Extract", "Doc")
    assert found.fix == "add 'body' to Extract, or make it optional in score"


def test_the_fix_of_several_missing_fields_names_them_all() -> None:
    class Wide(BaseModel):
        n: int
        author: str
        year: int

    @step
    def wide(extract: Wide) -> int:
        return extract.n

    found = finding(verified(extract, wide), "KRS102")

    assert found.fix == "add 'author', 'year' to Extract, or make them optional in wide"


def test_a_witness_is_json_that_the_one_emits_and_the_other_refuses() -> None:
    witness = json.loads(finding(verified(extract, score), "KRS102").witness or "")

    assert Extract.model_validate(witness).model_dump(mode="json") == witness
    with pytest.raises(ValueError, match="body"):
        Doc.model_validate(witness)


def test_a_finding_about_a_parameter_stands_at_the_function() -> None:
    where = finding(verified(extract, score), "KRS102").where

    assert where is not None
    assert where.line == score.__code__.co_firstlineno


def test_a_finding_about_an_input_contract_stands_at_the_step() -> None:
    used = Step("used", nothing, depends_on=["extract"], input_contract=Schema({"extract": Doc}))
    where = finding(verified(extract, used), "KRS102").where

    assert (where and where.line) == (used.place and used.place.line)


def test_an_input_contract_s_fields_begin_with_the_key() -> None:
    used = Step("used", nothing, depends_on=["extract"], input_contract=Schema({"extract": Doc}))
    found = finding(verified(extract, used), "KRS102")

    assert found.details[1].path == "extract.body"
    assert found.source == "extract"
    assert found.fix == "add 'body' to Extract, or make it optional in used"


def test_a_key_that_an_input_contract_needs_and_nobody_hands_over_is_missing() -> None:
    used = Step("used", nothing, read_keys=[], input_contract=Schema({"extract": int}))
    found = finding(verified(extract, used), "KRS102")

    assert [tuple(each) for each in found.details] == [("extract", "missing", "required int")]
    assert found.witness == "{}"


def test_the_fields_of_an_item_begin_with_the_item() -> None:
    @step(foreach="many")
    def each(item: Doc) -> int:
        return item.n

    found = finding(verified(making("many", list[Extract]), each), "KRS102")

    assert [each.path for each in found.details][:2] == ["item.title", "item.body"]
    assert found.fix == "add 'body' to Extract, or make it optional in each"


def test_a_parameter_that_reads_another_key_is_named_with_it() -> None:
    @step(sources={"doc": "extract"})
    def reads(doc: Doc) -> int:
        return doc.n

    found = finding(verified(extract, reads), "KRS102")

    assert found.details[0].path == "doc=extract.title"
    assert "its parameter 'doc'" in found.message


def test_a_long_witness_is_whole_for_programs_and_cut_in_text() -> None:
    long = making("made", Annotated[str, Field(min_length=1000)])

    @step
    def used(made: int) -> int:
        return made

    found = finding(verified(long, used), "KRS102")
    told = render([found], steps=2, ms=1, color=False)

    assert len(json.loads(found.witness or "")) == 1000
    assert any(len(line) <= 120 and line.endswith("…") for line in told.splitlines())


class Login(BaseModel):
    api_key: Literal["sk-live-1234567890"] = "sk-live-1234567890"
    user: str


class Account(BaseModel):
    api_key: int
    user: int


def test_what_a_sensitive_field_may_hold_is_never_shown() -> None:
    @step
    def used(login: Account) -> int:
        return login.user

    found = finding(verified(making("login", Login), used), "KRS102")

    assert "sk-live" not in repr(found)
    assert [each.path for each in found.details] == ["login.api_key", "login.user"]


def test_a_key_that_the_workflow_calls_sensitive_is_masked_too() -> None:
    @step
    def used(pin: Literal["1234"]) -> int:
        return len(pin)

    found = finding(
        verified(making("pin", Literal["0000"]), used, sensitive_keys=["pin"]), "KRS102"
    )

    assert "0000" not in repr(found)
    assert "1234" not in " ".join(map(str, (found.details, found.witness, found.message)))


def test_a_conversion_is_a_warning_that_says_what_is_converted() -> None:
    @step
    def bill(price: float) -> float:
        return price

    found = finding(verified(making("price", Decimal), bill), "KRS103")

    assert found.severity is Severity.WARNING
    assert tuple(found.details[0]) == ("price", "Decimal", "needs float")


def opaque(value: str) -> str:
    return value


@pytest.mark.parametrize(
    "steps, reason",
    [
        ([Step("made", nothing, read_keys=[])], "made declares no contract"),
        ([making("made", Any)], "the contract Any says nothing of a value"),
        ([Step("made", nothing, read_keys=[], output_contract=str),
          Step("other", nothing, read_keys=[], depends_on=["made"], write_keys=["made"])],
         "'made' is written by made, other"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said_with_its_reason(steps: list[Step], reason: str) -> None:
    @step
    def used(made: str) -> str:
        return made

    report = verified(*steps, used)

    assert only(report).verdict.reason == reason
    assert finding(report, "KRS104").severity is Severity.NOTE
    assert reason in finding(report, "KRS104").message
    assert not report.fails()
    assert report.fails(strict=True)


def test_a_pattern_that_no_engine_takes_is_named_once() -> None:
    @step
    def used(made: Annotated[str, Field(pattern="(?<=a)b")]) -> str:
        return made

    report = verified(making("made", str), used)

    assert told(report) == [("KRS101", "used")]
    assert "(?<=a)b" in (finding(report, "KRS101").found or "")
    assert only(report).verdict.answer == "unknown"


def test_a_json_schema_that_leads_nowhere_is_an_unreadable_contract() -> None:
    with pytest.raises(ConfigError) as refused:
        Schema.from_json_schema({"type": "array", "items": {"$ref": "#/$defs/none"}})

    assert [each.code for each in findings_of(refused.value)] == ["KRS101"]


def test_an_opaque_validator_is_named() -> None:
    @step
    def used(made: Annotated[str, AfterValidator(opaque)]) -> str:
        return made

    report = verified(making("made", Annotated[str, Field(max_length=3)]), used)

    assert "opaque" in finding(report, "KRS104").message


def test_what_is_written_through_write_keys_is_under_no_contract() -> None:
    @step
    def used(extra: str) -> str:
        return extra

    writer = making("writer", str, write_keys=["extra"])
    report = verified(writer, Step("waits", nothing, depends_on=["writer"], read_keys=[]), used)

    assert "under no contract" in (only(report).verdict.reason or "")


def test_what_need_not_have_run_before_is_not_known() -> None:
    used = Step("used", nothing, read_keys=["extract"], input_contract=Schema({"extract": Extract}))

    assert only(verified(extract, used)).verdict.reason == "extract need not have run before"


# --- None, and nothing at all


@pytest.mark.parametrize("action", [skipping, skipping_by_module, skipping_inside])
def test_an_action_that_names_skip_delivers_none(action: Callable[..., Any]) -> None:
    @step
    def used(made: int) -> int:
        return made

    found = finding(verified(making("made", int, action), used), "KRS102")

    assert "made may return SKIP, which delivers None" in found.message
    assert found.witness == "null"
    assert found.fix == "let 'made' be None in used, or return a value instead of SKIP in made"


def test_an_enum_s_own_skip_is_another() -> None:
    @step
    def used(made: int) -> int:
        return made

    assert only(verified(making("made", int, of_an_enum), used)).verdict.answer == "proved"


def test_an_annotation_with_skip_delivers_none() -> None:
    @step
    def made() -> int | Skip:
        return 1

    @step
    def used(made: int) -> int:
        return made

    @step
    def copes(made: int | None) -> int:
        return made or 0

    report = verified(made, used, copes)

    assert [proof.verdict.answer for proof in report.proofs] == ["refuted", "proved"]


def test_a_step_with_a_when_delivers_none() -> None:
    @step
    def used(made: int) -> int:
        return made

    found = finding(verified(making("made", int, when=lambda ctx: False), used), "KRS102")

    assert "made has a when=" in found.message


def test_a_bad_contract_is_told_before_the_none_that_may_come_besides() -> None:
    @step
    def used(made: str) -> str:
        return made

    found = finding(verified(making("made", int, when=lambda ctx: False), used), "KRS102")

    assert [tuple(each) for each in found.details] == [("made", "int", "needs str")]
    assert "when=" not in found.message


@pytest.mark.parametrize(
    "options, says",
    [
        ({"foreach_policy": "allow_partial"}, "allows partial results"),
        ({"failure_policy": SKIPS}, "may skip elements"),
        ({"action": skipping}, "may return SKIP"),
    ],
)
def test_an_element_that_brings_nothing_is_none_in_the_list(
    options: dict[str, Any], says: str
) -> None:
    @step
    def total(each: list[int]) -> int:
        return sum(each)

    @step
    def copes(each: list[int | None]) -> int:
        return len(each)

    given: dict[str, Any] = {"foreach": "rows", "read_keys": ["rows"], **options}
    each = making("each", int, **given)
    report = verified(each, total, copes, inputs=["rows"])
    found = finding(report, "KRS102")

    assert says in found.message
    assert found.step == "total"
    assert found.witness == "[null]"
    assert found.details[0].path == "each[*]"
    assert [proof.verdict.answer for proof in report.proofs] == ["refuted", "proved"]


def test_a_policy_that_skips_leaves_a_key_out_of_the_input_contract() -> None:
    def used(**fields: Any) -> Step:
        contract = Schema(fields)
        return Step("used", nothing, depends_on=["made"], input_contract=contract)

    made = making("made", int, failure_policy=SKIPS)
    found = finding(verified(made, used(made=int)), "KRS102")

    assert "the policy of made may skip it, which stores nothing" in found.message
    assert tuple(found.details[0]) == ("made", "int, may be missing", "required int")
    assert "make the key optional in used" in (found.fix or "")
    assert only(verified(made, used(made=int | None))).verdict.answer == "proved"


def test_a_parameter_that_may_be_left_out_is_checked_where_it_is_there() -> None:
    @step
    def used(made: int = 0) -> int:
        return made

    report = verified(making("made", int, failure_policy=SKIPS), used)

    assert only(report).verdict.answer == "proved"


def test_an_input_of_a_skipped_step_s_name_could_stand_in_its_place() -> None:
    @step
    def used(made: int = 0) -> int:
        return made

    made = making("made", int, failure_policy=SKIPS)

    proof = only(verified(made, used, inputs=None))
    assert proof.assuming == "no input is given the name 'made'"
    assert not proof.elides
    assert only(verified(made, used, inputs=["made"])).verdict.answer == "unknown"


# --- inputs


def test_inputs_without_a_contract_are_the_boundary() -> None:
    @step
    def used(url: str) -> str:
        return url

    for inputs in (None, ["url"]):
        report = verified(used, inputs=inputs)
        assert report.coverage.unknown == 1
        assert told(report) == []


def test_an_input_contract_is_proved_as_far_as_its_producers_go() -> None:
    contract = Schema({"extract": Extract, "url": str})
    used = Step("used", nothing, depends_on=["extract"], input_contract=contract)
    wrong = Step(
        "wrong", nothing, depends_on=["extract"], input_contract=Schema({"extract": int, "u": str})
    )
    report = verified(extract, used, wrong, inputs=None)

    by_step = {proof.edge.step: proof.verdict for proof in report.proofs}
    assert (by_step[1].answer, by_step[1].reason) == (
        "unknown",
        "the workflow's inputs are not declared",
    )
    assert by_step[2].answer == "refuted"
    assert [f.step for f in report.findings if f.code.startswith("KRS10")] == ["wrong"]


def test_inputs_are_told_together_with_what_their_contract_says() -> None:
    class Given(BaseModel):
        url: str
        depth: int | None = None

    fits = Step("fits", nothing, read_keys=["url"], input_contract=Schema({"url": str}))
    breaks = Step("breaks", nothing, read_keys=["depth"], input_contract=Schema({"depth": int}))

    @step
    def reads(depth: int) -> int:
        return depth

    report = verified(fits, breaks, reads, inputs=Given)

    assert [proof.verdict.answer for proof in report.proofs] == ["proved", "refuted", "refuted"]
    assert [proof.edge.producers for proof in report.proofs] == [(), (), ()]
    parameter = next(f for f in report.findings if f.step == "reads")
    assert (parameter.source, parameter.witness) == ("depth", "null")
    assert tuple(parameter.details[0]) == ("depth", "int | None", "needs int")


def test_a_context_s_keys_are_edges_of_their_own_and_told_once() -> None:
    class Seen(TypedDict):
        made: str

    def reads(ctx: Context[Seen]) -> int:
        return len(ctx.inputs["made"])

    report = verified(making("made", int), Step("reads", reads))

    assert [(p.edge.through, p.verdict.answer) for p in report.proofs] == [
        ("view", "refuted"),
        ("input_contract", "refuted"),
    ]
    assert told(report) == [("KRS102", "reads")]


# --- open and closed


def test_keys_that_nobody_declared_are_assumed_away_and_it_is_said() -> None:
    class Cited(BaseModel):
        title: str
        year: int | None = None

    @step
    def cite(fetch: Cited) -> str:
        return fetch.title

    graph = TaskGraph("w", [making("fetch", Schema({"title": str})), cite])
    report = examine(Scene(graph, frozenset()))
    proof = only(report)

    assert (proof.verdict.answer, proof.elides) == ("proved", False)
    assert proof.assuming == "fetch returns only its declared keys"
    assert report.coverage.assumed == 1
    assert finding(report, "KRS105").severity is Severity.NOTE
    strictly = examine(Scene(graph, frozenset(), assume_closed=False))
    assert only(strictly).verdict.answer == "refuted"


def test_a_pair_is_closed_only_if_asked() -> None:
    given = {"type": "object", "properties": {"a": {"type": "integer"}}}
    needed = {"properties": {"b": {"type": "string"}}}

    assert compare(given, needed).answer == "refuted"
    verdict = compare(given, needed, assume_closed=True)
    assert (verdict.answer, verdict.assuming) == (
        "proved",
        "the producer returns only its declared keys",
    )
    assert compare(given, {"properties": {"a": {"type": "string"}}}, assume_closed=True).answer == (
        "refuted"
    )


# --- what it costs


def test_each_edge_of_a_pair_has_its_finding() -> None:
    def reader(n: int) -> Step:
        def used(made: str) -> str:
            return made

        return Step(f"used{n}", used)

    report = verified(making("made", int), *map(reader, range(50)))

    assert told(report) == [("KRS102", f"used{n}") for n in range(50)]


def test_a_workflow_has_a_budget_besides_that_of_an_edge() -> None:
    @step
    def used(made: str) -> str:
        return made

    graph = TaskGraph("w", [making("made", int), used])

    (late,) = prove(Scene(graph, frozenset()), seconds=0)
    assert (late.verdict.answer, late.verdict.reason) == (
        "unknown",
        "the time for the whole workflow is spent",
    )
    (poor,) = prove(Scene(graph, frozenset()), budget=Budget(nodes=1))
    assert poor.verdict.answer == "unknown"
    assert "the budget of steps is spent" in (poor.verdict.reason or "")


def test_a_list_that_is_none_breaks_a_foreach() -> None:
    each = Step("each", nothing, foreach="many", read_keys=["many"])
    found = finding(verified(making("many", list[int] | None), each), "KRS102")

    assert (found.witness, found.source) == ("null", "many")


def test_what_is_no_list_at_all_is_told_once() -> None:
    each = Step("each", nothing, foreach="many", read_keys=["many"])
    report = verified(making("many", int), each)

    assert told(report) == [("KRS207", "each")]
    assert only(report).verdict.answer == "refuted"


def test_a_secret_string_is_written_as_a_mask_which_its_reader_takes() -> None:
    class Held(BaseModel):
        key: SecretStr

    @step
    def used(held: Held) -> int:
        return len(held.key)

    report = verified(making("held", Held), used)

    assert only(report).verdict.answer in {"proved", "unknown"}


def test_a_broken_graph_is_verified_all_the_same() -> None:
    @step
    def used(made: int, used: int = 0) -> int:
        return made + used

    graph = TaskGraph("w", [making("made", int), making("made", str), used])

    assert {p.verdict.answer for p in prove(Scene(graph, frozenset()))} == {"unknown"}


def test_a_refuted_edge_really_breaks_a_run() -> None:
    result = Workflow("w", [making("made", int, skipping), Step("used", _takes_int)]).run()

    assert result.status is WorkflowStatus.FAILED


def _takes_int(made: int) -> int:
    return made
