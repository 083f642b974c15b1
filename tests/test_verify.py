from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.enums import FailureAction, Severity
from kairos.exceptions import ConfigError, KairosError, PolicyError, SecurityError, StateError
from kairos.failure import FailurePolicy
from kairos.plan import TaskGraph
from kairos.source import declared_here
from kairos.step import Step, StepContext, step
from kairos.verify import CODES, Finding, finding_of, findings_of, render, verify_plan
from kairos.verify.names import Names
from kairos.verify.reach import upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

SKIPS = FailurePolicy(on_execution_fail=FailureAction.SKIP)
FALLS_BACK = FailurePolicy(fallback_action=FailureAction.SKIP)
ABORTS = FailurePolicy(
    on_execution_fail=FailureAction.ABORT,
    on_validation_fail=FailureAction.ABORT,
    fallback_action=FailureAction.SKIP,
)


def act(ctx: StepContext) -> Any:
    return repr(ctx)  # of a context that is passed on nobody can say what is read


def some(name: str, **options: Any) -> Step:
    """Return a step that reads nothing unless it says otherwise."""
    return Step(name, act, **{"read_keys": [], **options})


def verify(
    *steps: Step | Callable[..., Any], inputs: Collection[str] | None = None, **options: Any
) -> list[Finding]:
    found = verify_plan(TaskGraph("plan", steps), inputs=inputs, **options)
    return [finding for finding in found if finding.code != "KRS214"]  # see test_flow.py


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def test_a_sound_plan_has_no_findings() -> None:
    @step
    def score(fetch: str, model: str, limit: int = 3) -> str:
        return fetch + model * limit

    fetch = some("fetch", read_keys=["url"], output_contract=str)
    assert verify(fetch, score) == []
    assert verify(fetch, score, inputs=["url", "model"]) == [
        Finding(
            "KRS201",
            Severity.WARNING,
            "score",
            "reads 'limit' through its parameter 'limit', and nothing produces it",
            where=TaskGraph("p", [score]).steps[0].place,
            expected="the name of a step, a key that one writes, or a declared input",
            found="'limit'",
            fix="add 'limit' to the workflow's inputs",
        )
    ]


# --- the graph


@pytest.mark.parametrize(
    "steps, code",
    [
        ([some("a"), some("a")], "KRS001"),
        ([some("a", depends_on=["a"])], "KRS002"),
        ([some("a", depends_on=["b"])], "KRS003"),
        ([some("a", depends_on=["b"]), some("b", depends_on=["a"])], "KRS004"),
    ],
)
def test_a_fault_of_the_graph_is_a_finding(steps: list[Step], code: str) -> None:
    (finding,) = verify(*steps)

    assert finding.code == code
    assert finding.severity is Severity.ERROR
    assert finding.where is not None
    assert Path(finding.where.file).name == "test_verify.py"


def test_a_faulty_graph_still_has_its_other_findings() -> None:
    findings = verify(
        some("a", depends_on=["b"], read_keys=["typo", "b"]), some("b", depends_on=["a"]), inputs=[]
    )
    assert codes(findings) == ["KRS004", "KRS201"]


# --- keys that nothing produces


@step("reader")
def misspelt(fetsh: str) -> str:
    return fetsh


@pytest.mark.parametrize(
    "reader, through",
    [
        (some("reader", read_keys=["fetsh"]), "read_keys"),
        (some("reader", read_keys=["fetsh"], foreach="fetsh"), "foreach"),
        (misspelt, "its parameter 'fetsh'"),
    ],
    ids=["read_keys", "foreach", "parameter"],
)
def test_a_key_that_nothing_produces_is_an_error_where_inputs_are_declared(
    reader: Any, through: str
) -> None:
    (finding,) = verify(some("fetch"), reader, inputs=["query"])

    assert (finding.code, finding.severity) == ("KRS201", Severity.ERROR)
    assert (finding.step, finding.found) == ("reader", "'fetsh'")
    assert f"through {through}" in finding.message
    assert finding.fix == "did you mean 'fetch'?"


def test_the_nearest_name_may_be_an_input_or_a_written_key() -> None:
    writer = some("writer", write_keys=["summary"])
    reader = some("reader", read_keys=["sumary", "qeury"], depends_on=["writer"])

    findings = verify(writer, reader, inputs=["query"])

    assert [f.fix for f in findings] == ["did you mean 'summary'?", "did you mean 'query'?"]


def test_where_inputs_are_not_declared_only_a_near_miss_is_told() -> None:
    findings = verify(some("fetch"), some("reader", read_keys=["query", "Fetch", "fetches"]))

    assert [(f.code, f.severity) for f in findings] == [("KRS202", Severity.WARNING)]
    assert "'Fetch'" in findings[0].message
    declare = "declare the inputs: Workflow(inputs=['query', 'Fetch', 'fetches'])"
    assert findings[0].fix == f"write 'fetch', or {declare}"


@pytest.mark.parametrize(
    "name, near",
    [
        ("fetsh", "fetch"),
        ("fecth", "fetch"),
        ("fetc", "fetch"),
        ("fetchh", "fetch"),
        ("FETCH", "fetch"),
        ("top_news", "top-news"),
        ("fetch", None),
        ("ftch__", None),
        ("page2", None),
        ("x", None),
    ],
)
def test_one_slip_of_the_pen_is_near_and_a_series_is_not(name: str, near: str | None) -> None:
    assert Names(["fetch", "page1", "y", "top-news"]).near(name) == near


@given(st.text("abcé_-1", min_size=1, max_size=8), st.lists(st.text("abcé_-1", max_size=8)))
def test_the_search_for_a_near_name_takes_any_names(name: str, names: list[str]) -> None:
    near = Names(names).near(name)

    assert near is None or (near in names and near != name and abs(len(near) - len(name)) <= 1)


# --- keys that are not produced upstream


def test_a_key_of_a_step_that_need_not_have_run_is_an_error() -> None:
    (finding,) = verify(some("fetch"), some("reader", read_keys=["fetch"]), inputs=[])

    assert (finding.code, finding.severity) == ("KRS203", Severity.ERROR)
    assert finding.found == "fetch, which need not have run before"
    assert finding.fix == "add depends_on=['fetch']"


def test_a_key_of_a_step_that_runs_after_is_an_error_that_says_so() -> None:
    (finding,) = verify(
        some("reader", read_keys=["late"]), some("late", depends_on=["reader"]), inputs=[]
    )

    assert finding.code == "KRS203"
    assert finding.found == "late, which runs after it"


def test_a_step_that_reads_its_own_output_reads_nothing() -> None:
    (finding,) = verify(some("a", read_keys=["a"]), inputs=[])

    assert finding.code == "KRS203"
    assert "own output" in (finding.found or "")


def test_what_is_produced_anywhere_upstream_may_be_read() -> None:
    assert not verify(
        some("a", write_keys=["notes"]),
        some("b", depends_on=["a"]),
        some("c", depends_on=["b"], read_keys=["a", "notes"], foreach="notes"),
        inputs=[],
    )


def test_a_key_written_again_later_may_still_be_an_input() -> None:
    steps = some("a", read_keys=["total"]), some("b", depends_on=["a"], write_keys=["total"])

    assert verify(*steps, inputs=["total"]) == []
    (undeclared,) = verify(*steps)
    (refused,) = verify(*steps, inputs=[])
    assert (undeclared.code, undeclared.severity) == ("KRS203", Severity.WARNING)
    assert "declare it as an input" in (undeclared.fix or "")
    assert (refused.code, refused.severity) == ("KRS203", Severity.ERROR)


def test_a_step_may_read_the_key_that_its_own_elements_write() -> None:
    tally = some("tally", read_keys=["urls", "seen"], write_keys=["seen"], foreach="urls")

    assert verify(tally, inputs=["urls"]) == []


def test_when_of_an_unscoped_step_sees_only_what_the_step_depends_on() -> None:
    def ready(fetch: str) -> bool:
        return bool(fetch)

    chain = some("fetch", output_contract=str), some("middle", depends_on=["fetch"])
    far = Step("far", act, depends_on=["middle"], when=ready)
    near = Step("near", act, depends_on=["fetch"], when=ready)

    (finding,) = [f for f in verify(*chain, far, near) if f.code != "KRS204"]

    assert (finding.code, finding.step) == ("KRS203", "far")
    assert "not among what it depends on" in (finding.found or "")


@st.composite
def questions(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
    count = draw(st.integers(1, 10))
    node = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(node, node), max_size=20))
    edges = [(min(p), max(p)) for p in pairs if p[0] != p[1]]
    return count, edges, draw(st.lists(st.tuples(node, node), max_size=20))


@given(questions(), st.integers(1, 3))
def test_upstream_is_what_networkx_calls_ancestors(
    drawn: tuple[int, list[tuple[int, int]], list[tuple[int, int]]], sweep: int
) -> None:
    count, edges, asked = drawn
    graph = TaskGraph(
        "plan",
        [
            some(f"s{i}", depends_on=sorted({f"s{a}" for a, b in edges if b == i}))
            for i in range(count)
        ],
    )

    held = upstream(graph, asked, sweep=sweep)

    assert held == {
        (each, other) for each, other in asked if f"s{other}" in nx.ancestors(graph.dag, f"s{each}")
    }


# --- scope, races, clashes


@pytest.mark.parametrize("strict", [False, True])
def test_a_step_that_does_not_say_what_it_reads_weighs_more_when_strict(strict: bool) -> None:
    @step
    def typed(fetch: str) -> str:
        return fetch

    fetch = some("fetch", output_contract=str)
    (finding,) = verify(fetch, Step("open", act, depends_on=["fetch"]), typed, strict=strict)

    assert (finding.code, finding.step) == ("KRS204", "open")
    assert finding.severity is (Severity.ERROR if strict else Severity.WARNING)
    assert "read_keys=['fetch']" in (finding.fix or "")


@pytest.mark.parametrize(
    "action, foreach, fix",
    [
        (lambda ctx: ctx.inputs["a"] + ctx.inputs["b"], None, "add read_keys=['a', 'b']: "),
        (lambda ctx: ctx.item, "a", "add read_keys=['a']: "),
        (lambda ctx: 1, None, "add read_keys=[]: "),
        (lambda ctx: dict(ctx.inputs), None, "add read_keys=['a'] and the inputs it reads"),
        (lambda a: a[0], None, "annotate 'a', "),
        (lambda a: [each for each in a if each], None, "annotate 'a', "),
        (lambda a: a.title(), None, "annotate 'a', "),
    ],
)
def test_a_step_is_told_what_to_declare_as_its_code_shows(
    action: Any, foreach: str | None, fix: str
) -> None:
    open_ = Step("open", action, depends_on=["a"], foreach=foreach)
    told = [f.fix or "" for f in verify(some("a", output_contract=list[str]), open_, inputs=["b"])]
    assert [each[: len(fix)] for each in told] == [fix]


def conditional(ctx: StepContext) -> bool:
    return ctx.attempt == 1


@pytest.mark.parametrize(
    "options, severity",
    [
        ({"parallel": True}, Severity.ERROR),
        ({}, Severity.WARNING),
        ({"parallel": True, "when": conditional}, Severity.WARNING),
    ],
    ids=["at the same time", "one by one", "under conditions"],
)
def test_two_steps_that_may_write_one_key_in_any_order_race(
    options: dict[str, Any], severity: Severity
) -> None:
    (finding,) = verify(
        some("a", write_keys=["total"], **options), some("b", write_keys=["total"], **options)
    )

    assert (finding.code, finding.severity, finding.step) == ("KRS205", severity, "b")
    assert finding.message.startswith("a, b may write 'total'")


def test_writing_another_steps_output_is_a_race_too() -> None:
    (finding,) = verify(some("a"), some("b", write_keys=["b", "a"]))

    assert (finding.code, finding.step) == ("KRS205", "b")


def test_writers_in_line_do_not_race() -> None:
    assert not verify(
        some("a", write_keys=["total"], parallel=True),
        some("between", depends_on=["a"], parallel=True),
        some("b", write_keys=["total"], depends_on=["between"], parallel=True),
    )


def test_many_writers_of_one_key_are_one_finding() -> None:
    (finding,) = verify(*(some(f"s{i}", write_keys=["total"], parallel=True) for i in range(400)))

    assert finding.message.startswith("s0, s1, s2, s3, s4 and 395 more may write 'total'")


def test_a_step_named_like_an_input_is_a_warning() -> None:
    (finding,) = verify(some("query"), inputs=["query"])

    assert (finding.code, finding.severity) == ("KRS206", Severity.WARNING)


# --- foreach, and what a policy leaves out


@pytest.mark.parametrize("contract", [str, int, dict, dict[str, list[int]], int | None])
def test_a_foreach_over_what_is_plainly_no_list_is_an_error(contract: Any) -> None:
    (finding,) = verify(
        some("fetch", output_contract=contract), some("each", read_keys=["fetch"], foreach="fetch")
    )

    assert (finding.code, finding.step) == ("KRS207", "each")


@pytest.mark.parametrize(
    "contract", [None, list, list[str], set[int], tuple[int, str], Any, object]
)
def test_a_foreach_over_what_may_be_a_list_is_fine(contract: Any) -> None:
    assert not verify(
        some("fetch", output_contract=contract), some("each", read_keys=["fetch"], foreach="fetch")
    )


def test_the_output_of_a_foreach_is_a_list_whatever_its_contract() -> None:
    first = some("first", read_keys=["urls"], foreach="urls", output_contract=str)

    assert not verify(first, some("second", read_keys=["first"], foreach="first"))


@pytest.mark.parametrize("policy, expected", [(SKIPS, 1), (FALLS_BACK, 1), (ABORTS, 0), (None, 0)])
def test_a_parameter_needs_a_default_where_a_policy_may_leave_it_out(
    policy: FailurePolicy | None, expected: int
) -> None:
    @step
    def needs(fetch: str) -> str:
        return fetch

    @step
    def copes(fetch: str = "") -> str:
        return fetch

    skipped = some("fetch", failure_policy=policy, output_contract=str)
    own = verify(skipped, needs, copes)
    workflows = verify(some("fetch", output_contract=str), needs, copes, failure_policy=policy)

    for findings in (own, workflows):
        assert [(f.code, f.step) for f in findings] == [("KRS208", "needs")] * expected


def test_a_foreach_needs_the_list_that_a_policy_may_leave_out() -> None:
    each = some("each", read_keys=["fetch"], foreach="fetch")
    (finding,) = verify(some("fetch", failure_policy=SKIPS), each)

    assert (finding.code, finding.fix) == ("KRS208", "choose another action for fetch")


def test_a_policy_leaves_out_elements_of_a_foreach_never_its_list() -> None:
    first = some("first", read_keys=["urls"], foreach="urls", failure_policy=SKIPS)

    assert not verify(first, some("second", read_keys=["first"], foreach="first"))


# --- actions that cannot work


def yields(ctx: StepContext) -> Iterator[int]:
    yield ctx.attempt


async def yields_async(ctx: StepContext) -> Any:
    yield ctx.attempt


class Yields:
    def __call__(self, ctx: StepContext) -> Iterator[int]:
        yield ctx.attempt


@pytest.mark.parametrize(
    "action", [yields, yields_async, Yields(), functools.partial(yields), Yields().__call__]
)
def test_a_generator_is_no_action(action: Any) -> None:
    (finding,) = verify(Step("bad", action, read_keys=[]))

    assert finding.code == "KRS209"


def test_an_isolated_action_must_be_importable() -> None:
    def inner(ctx: StepContext) -> Any:
        return ctx.item

    bad: list[Any] = [inner, lambda ctx: ctx.item, functools.partial(inner)]
    findings = verify(
        *(Step(f"s{i}", each, isolation="process", read_keys=[]) for i, each in enumerate(bad)),
        Step("good", act, isolation="process", read_keys=[]),
        Step("here", inner, read_keys=[]),
    )

    assert [(f.code, f.step) for f in findings] == [("KRS210", f"s{i}") for i in range(3)]


async def later(ctx: StepContext) -> bool:
    return bool(ctx.item)


def pries(secret: str) -> bool:
    return bool(secret)


def unanswerable(*args: Any, key: str) -> bool:
    return bool(args or key)


def takes_its_context_for_a_value(page):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return page["length"] > 3


@pytest.mark.parametrize(
    "when", [later, yields, pries, unanswerable, takes_its_context_for_a_value]
)
def test_a_when_that_cannot_be_asked_is_an_error(when: Any) -> None:
    (finding,) = verify(some("a", when=when))

    assert (finding.code, finding.step) == ("KRS211", "a")


class Hostile:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise RuntimeError("sk-live-1234567890abcdef")


def test_a_contract_that_cannot_be_built_is_an_error_without_its_words() -> None:
    (finding,) = verify(some("a", output_contract=list[Hostile]))

    assert (finding.code, finding.step) == ("KRS213", "a")
    assert "sk-live" not in str(finding.to_dict())


# --- findings


def test_errors_come_first_and_each_kind_in_declaration_order() -> None:
    findings = verify(
        Step("open", act), some("b", read_keys=["x"]), some("c", read_keys=["y"]), inputs=[]
    )

    assert [(f.code, f.step) for f in findings] == [
        ("KRS201", "b"),
        ("KRS201", "c"),
        ("KRS204", "open"),
    ]


@pytest.mark.parametrize(
    "error, code",
    [
        (ConfigError("m"), "KRS010"),
        (PolicyError("m"), "KRS011"),
        (SecurityError("m"), "KRS012"),
        (StateError("m", key="k"), "KRS019"),
        (KairosError("m"), "KRS019"),
    ],
)
def test_any_error_of_kairos_is_a_finding(error: KairosError, code: str) -> None:
    finding = finding_of(error)

    assert (finding.code, finding.severity, finding.message) == (code, Severity.ERROR, "m")


def test_the_error_of_a_refused_plan_gives_all_its_findings() -> None:
    graph = TaskGraph("plan", [some("a"), some("a"), some("b", depends_on=["x"])])

    with pytest.raises(KairosError) as raised:
        graph.check()

    assert codes(findings_of(raised.value)) == ["KRS001", "KRS003"]
    assert codes(findings_of(ConfigError("m"))) == ["KRS010"]


def test_a_finding_is_plain_data() -> None:
    place = declared_here()
    finding = Finding("KRS201", Severity.ERROR, "a", "m", place, "e", "f", "x")
    nowhere = Finding("KRS019", Severity.ERROR, None, "m")

    data = json.loads(json.dumps(finding.to_dict()))

    assert place is not None
    assert data == {
        "code": "KRS201",
        "severity": "error",
        "step": "a",
        "message": "m",
        "file": __file__,
        "line": place.line,
        "column": place.column,
        "expected": "e",
        "found": "f",
        "fix": "x",
        "source": None,
        "details": [],
        "witness": None,
    }
    assert nowhere.to_dict()["line"] is None


def test_every_code_has_its_page_in_the_documentation_and_its_line_in_the_index() -> None:
    docs = Path(__file__).resolve().parents[1] / "docs"
    titles = {code: f"# {code} · {meaning.title}" for code, meaning in CODES.items()}
    pages = {page.stem: page.read_text("utf-8") for page in docs.glob("findings/KRS*.md")}
    index = (docs / "findings.md").read_text("utf-8")

    assert {code: page.partition("\n")[0] for code, page in pages.items()} == titles
    assert re.findall(r"^- \[(KRS\d+)\]\(findings/\1\.md\) (.+)$", index, re.MULTILINE) == [
        (code, meaning.title) for code, meaning in CODES.items()
    ]


# --- the report


def test_a_report_shows_place_code_and_step_then_both_sides_and_a_fix() -> None:
    place = declared_here()
    assert place is not None
    found = Finding("KRS203", Severity.ERROR, "score", "reads 'doc'", place, "a", "b", "mend it")
    warned = Finding("KRS204", Severity.WARNING, "open", "reads everything")

    text = render([found, warned], steps=9, ms=38.4, color=False)

    assert text == (
        f"{place}:{place.column}  KRS203  score\n"
        "  reads 'doc'\n"
        "  expected  a\n"
        "  found     b\n"
        "  fix: mend it\n"
        "KRS204  open  warning\n"
        "  reads everything\n"
        "1 error · 1 warning · 9 steps · 38 ms\n"
    )


def test_a_report_of_nothing_is_one_line() -> None:
    assert render([], steps=1, ms=0.2, color=False) == "no findings · 1 step · 0 ms\n"


def test_colour_changes_no_word() -> None:
    findings = verify(Step("open", act), some("b", read_keys=["x"]), inputs=[])
    plain, painted = (render(findings, steps=2, ms=1, color=c) for c in (False, True))

    assert painted != plain
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain


@given(st.text())
def test_a_report_shows_nothing_that_could_move_the_cursor_or_hide(text: str) -> None:
    finding = Finding("KRS201", Severity.ERROR, text, text, None, text, text, text)

    shown = render([finding], steps=1, ms=1, color=False)

    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown.count("\n") <= 6
