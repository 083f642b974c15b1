"""The flow of keys: who reads what while it may change, what may be missing, what nobody wants."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from kairos.contracts.contract import compile_contract
from kairos.contracts.placeholders import Placeholder, parse_template
from kairos.enums import FailureAction, Severity
from kairos.exceptions import ConfigError
from kairos.failure import FailurePolicy
from kairos.plan import TaskGraph
from kairos.schema import Schema
from kairos.step import SKIP, Skip, Step, StepContext, step
from kairos.verify.code import usage_of
from kairos.verify.flow import FLOW_PASSES
from kairos.verify.flow.paths import lead
from kairos.verify.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from kairos.verify.findings import Finding


def act(ctx: StepContext) -> Any:
    return repr(ctx)  # of a context that is passed on nobody can say what is read


def some(name: str, **options: Any) -> Step:
    """Return a step that reads nothing unless it says otherwise."""
    return Step(name, act, **{"read_keys": [], **options})


def flow(
    *steps: Step | Callable[..., Any], inputs: Collection[str] | None = None, **options: Any
) -> list[Finding]:
    known = None if inputs is None else frozenset(inputs)
    scene = Scene(TaskGraph("plan", steps), known, **options)
    return [finding for each in FLOW_PASSES for finding in each(scene)]


def told(findings: list[Finding], *codes: str) -> list[tuple[str, str | None, Severity]]:
    return [(f.code, f.step, f.severity) for f in findings if f.code in codes]


ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


# --- reads that race


def racing(**options: Any) -> list[Step]:
    """Return a reader of a key that is written before it, and perhaps beside it."""
    return [
        some("first", write_keys=["total"]),
        some("again", write_keys=["total"], depends_on=["first"], **options),
        some("reader", read_keys=["total"], depends_on=["first"]),
    ]


def test_a_read_beside_another_writer_is_an_error() -> None:
    (finding,) = [f for f in flow(*racing(parallel=True)) if f.code == "KRS215"]

    assert (finding.step, finding.severity) == ("reader", ERROR)
    assert finding.found == "again, which may run at the same time"
    assert "add depends_on=['again'] to reader" in (finding.fix or "")
    assert finding.where is not None
    assert finding.where.file.endswith("test_flow.py")


def test_of_serial_steps_only_their_declaration_says_who_is_first() -> None:
    assert told(flow(*racing()), "KRS215") == [("KRS215", "reader", WARNING)]


def test_a_writer_downstream_is_no_race() -> None:
    *others, reader = racing(parallel=True)
    late = some("again", write_keys=["total"], depends_on=["reader"], parallel=True)
    assert told(flow(others[0], late, reader), "KRS215") == []


def test_an_input_that_a_step_beside_replaces_is_raced_for() -> None:
    steps = [some("write", write_keys=["topic"]), some("read", read_keys=["topic"], parallel=True)]
    assert told(flow(*steps, inputs=["topic"]), "KRS215") == [("KRS215", "read", ERROR)]


def is_long(ctx: StepContext) -> bool:
    return bool(ctx.inputs["kind"] == "long")


EXCLUSIVE: list[tuple[Any, Any]] = [
    (lambda kind: kind == "long", lambda kind: kind == "short"),
    (lambda kind: kind == "long", lambda kind: kind != "long"),
    (lambda kind: kind == "long", lambda kind: not kind == "long"),  # noqa: SIM201 - as written
    (lambda kind: kind, lambda kind: not kind),
    (lambda ctx: ctx.inputs["kind"], lambda context: not context.inputs["kind"]),
    (lambda ctx: ctx.inputs["kind"] == 1, lambda ctx: ctx.inputs["kind"] == 2),
    (lambda ctx: ctx.inputs.get("kind") == 1, lambda ctx: ctx.inputs.get("kind") != 1),
]
NOT_EXCLUSIVE: list[tuple[Any, Any]] = [
    (lambda kind: kind == "long", lambda kind: kind == "long"),
    (lambda kind: kind == 1, lambda kind: kind == True),  # noqa: E712 - equal constants
    (lambda kind: kind != "long", lambda kind: kind != "short"),
    (lambda kind: kind, lambda size: not size),
    (lambda kind: kind > 1, lambda kind: kind < 1),
    (lambda kind: kind.pop(), lambda kind: not kind.pop()),
    (is_long, lambda ctx: not is_long(ctx)),
]


def branches(pair: tuple[Any, Any], **options: Any) -> list[Step]:
    keys = ["kind", "size", "total"]
    return [
        some("first", write_keys=["total"]),
        Step("a", act, read_keys=keys, when=pair[0], parallel=True, depends_on=["first"]),
        Step(
            "b",
            act,
            read_keys=keys,
            when=pair[1],
            parallel=True,
            write_keys=["total"],
            depends_on=["first"],
            **options,
        ),
    ]


@pytest.mark.parametrize("pair", EXCLUSIVE)
def test_branches_that_exclude_one_another_do_not_race(pair: tuple[Any, Any]) -> None:
    assert told(flow(*branches(pair)), "KRS215", "KRS205") == []


@pytest.mark.parametrize("pair", NOT_EXCLUSIVE)
def test_branches_that_may_both_run_are_told_as_a_warning(pair: tuple[Any, Any]) -> None:
    assert told(flow(*branches(pair)), "KRS215") == [("KRS215", "a", WARNING)]


def test_branches_on_a_key_that_changes_in_between_exclude_nothing() -> None:
    steps = branches((lambda total: total == 1, lambda total: total == 2))
    assert told(flow(*steps), "KRS215") == [("KRS215", "a", WARNING)]


# --- keys that may be missing

SKIPS = FailurePolicy(on_execution_fail=FailureAction.SKIP)


def always(kind: Any) -> bool:
    return bool(kind)


@pytest.mark.parametrize(
    "options, found",
    [
        ({"when": always, "read_keys": ["kind"]}, "writes it under its when= only"),
        ({"failure_policy": SKIPS}, "may be skipped by its failure policy"),
        (
            {"foreach": "kinds", "read_keys": ["kinds"]},
            "writes it for the elements of 'kinds', of which there may be none",
        ),
    ],
)
def test_a_key_that_only_conditional_steps_write_is_a_warning(
    options: dict[str, Any], found: str
) -> None:
    writer = some("writer", write_keys=["note"], **options)
    reader = some("reader", read_keys=["note"], depends_on=["writer"])

    (finding,) = [f for f in flow(writer, reader) if f.code == "KRS216"]

    assert (finding.step, finding.severity) == ("reader", WARNING)
    assert finding.found == f"writer {found}"

    sure = some("sure", write_keys=["note"])
    both = some("reader", read_keys=["note"], depends_on=["writer", "sure"])
    assert told(flow(sure, writer, both), "KRS216") == []
    assert told(flow(writer, reader, inputs=["note", "kind", "kinds"]), "KRS216") == []


def test_a_read_with_a_default_can_do_without_the_key() -> None:
    writer = some("writer", write_keys=["note"], when=always, read_keys=["kind"])

    @step(depends_on=["writer"])
    def typed(note: str = "") -> str:
        return note

    soft = Step(
        "soft", lambda ctx: ctx.inputs.get("note"), read_keys=["note"], depends_on=["writer"]
    )
    hard = Step("hard", lambda ctx: ctx.inputs["note"], read_keys=["note"], depends_on=["writer"])
    assert told(flow(writer, typed, soft, hard), "KRS216") == [("KRS216", "hard", WARNING)]


def test_code_that_asks_for_a_skipped_output_without_a_default_is_told() -> None:
    writer = some("writer", failure_policy=SKIPS)

    def reading(action: Any) -> list[tuple[str, str | None, Severity]]:
        reader = Step("reader", action, read_keys=["writer"], depends_on=["writer"])
        return told(flow(writer, reader), "KRS208")

    assert reading(lambda ctx: ctx.inputs["writer"]) == [("KRS208", "reader", WARNING)]
    assert reading(lambda ctx: ctx.inputs.get("writer")) == []
    assert reading(act) == []


def test_two_branches_of_which_one_always_runs_leave_no_key_out() -> None:
    def both(one: Any, other: Any) -> list[Finding]:
        return flow(
            some("a", write_keys=["note"], read_keys=["kind"], when=one),
            some("b", write_keys=["note"], read_keys=["kind"], when=other),
            some("reader", read_keys=["note"], depends_on=["a", "b"]),
        )

    assert told(both(lambda kind: kind, lambda kind: not kind), "KRS216", "KRS205") == []
    assert told(both(lambda kind: kind == 1, lambda kind: kind != 1), "KRS216") == []
    assert told(both(lambda kind: kind == 1, lambda kind: kind == 2), "KRS216") == [
        ("KRS216", "reader", WARNING)
    ]


# --- what nobody wants


def test_an_output_that_no_step_reads_is_a_note_unless_it_is_the_result() -> None:
    first, last = some("first"), some("last", depends_on=["first"])

    (finding,) = flow(first, last)

    assert (finding.code, finding.step, finding.severity) == ("KRS214", "first", NOTE)
    assert flow(first, some("last", depends_on=["first"], read_keys=["first"])) == []


def test_a_written_key_that_no_step_reads_is_a_note() -> None:
    first = some("first", write_keys=["first", "extra"])
    last = some("last", depends_on=["first"], read_keys=["first"])

    (finding,) = flow(first, last)
    assert finding.message == "writes 'extra' for nobody"


def test_a_step_whose_key_is_read_is_there_for_that_key() -> None:
    first = some("first", write_keys=["extra"])
    assert flow(first, some("last", depends_on=["first"], read_keys=["extra"])) == []


def test_a_step_that_may_read_everything_may_read_that_too() -> None:
    open_one = Step("open", act, depends_on=["first"])
    before = Step("open", act)
    assert told(flow(some("first"), open_one), "KRS214") == []
    first = some("first", depends_on=["open"])
    found = told(flow(before, first, some("last", depends_on=["first"])), "KRS214")
    assert ("KRS214", "first", NOTE) in found


def test_a_step_that_returns_nothing_is_there_for_the_order() -> None:
    def clean(ctx: StepContext) -> None:
        ctx.charge(llm_calls=0)

    def typed(topic: str) -> None:
        clean(topic)  # type: ignore[arg-type]

    last = some("last", depends_on=["clean"])
    assert told(flow(Step("clean", clean, read_keys=[]), last), "KRS214") == []
    assert told(flow(Step("clean", typed), last), "KRS214") == []


@pytest.mark.parametrize(
    "when, never",
    [
        (lambda ctx: False, True),
        (lambda ctx: None, True),
        (lambda ctx: True, False),
        (lambda kind: kind and False, False),
        (always, False),
    ],
)
def test_a_when_that_is_a_literal_false_never_lets_its_step_run(when: Any, never: bool) -> None:
    found = told(flow(some("a", when=when, read_keys=["kind"])), "KRS222")
    assert found == ([("KRS222", "a", WARNING)] if never else [])


# --- what code asks for


def plainly(ctx: StepContext) -> Any:
    inputs = ctx.inputs
    if "looked" in ctx.inputs and ctx.state.has("had"):
        return inputs["aliased"]
    ctx.state.set("set", ctx.state.get("own"))
    return [ctx.inputs["needed"], ctx.inputs.get("asked"), ctx.state.get("kept", 1), ctx.item]


def test_the_keys_that_code_asks_for_are_read_from_it() -> None:
    usage = usage_of(plainly)
    assert usage is not None
    assert {*usage.needs} == {"aliased", "own", "needed"}
    assert {*usage.asks} == {"asked", "kept"}
    assert {*usage.looks} == {"looked", "had"}
    assert usage.sets == {"set"}
    assert usage.needs["needed"] == plainly.__code__.co_firstlineno + 5
    assert not usage.guarded


def in_a_comprehension(ctx: StepContext) -> Any:
    return [ctx.inputs["a"] for _ in range(3)] + [ctx.inputs["b"]]


def test_code_inside_code_is_read_too() -> None:
    usage = usage_of(in_a_comprehension)
    assert usage is not None
    assert usage.keys == {"a", "b"}
    assert not usage.guarded, "no try of the author's, though some interpreters make one of it"


async def awaiting(ctx: StepContext) -> Any:
    async with ctx.inputs["a"]:
        return await ctx.inputs["b"]


async def only_awaiting(ctx: StepContext) -> Any:
    return await ctx.inputs["a"]


def trying(ctx: StepContext) -> Any:
    try:
        return ctx.inputs["a"]
    finally:
        act(ctx.inputs["b"])


def holding(ctx: StepContext) -> Any:
    with ctx.inputs["a"]:
        return ctx.inputs["b"]


@pytest.mark.parametrize(
    "function, guarded",
    [(awaiting, True), (only_awaiting, False), (trying, True), (holding, True)],
)
def test_only_what_the_author_wrote_guards_a_read(function: Any, guarded: bool) -> None:
    usage = usage_of(function)
    assert usage is not None
    assert usage.guarded is guarded


def rebound(ctx: Any) -> Any:
    ctx = ctx.inputs["a"]
    return ctx["b"]


def renamed(ctx: StepContext) -> Any:
    other = ctx
    return other.inputs["a"]


def gone_through(ctx: StepContext) -> Any:
    return [value for _, value in ctx.inputs.items()]


def view_twice(ctx: StepContext) -> Any:
    view: Any = ctx.inputs
    view = ctx.state
    return view["a"]


DYNAMIC: list[Any] = [
    act,
    rebound,
    renamed,
    gone_through,
    view_twice,
    lambda ctx: ctx.inputs,
    lambda ctx: [*ctx.inputs],
    lambda ctx: ctx.inputs[ctx.item],
    lambda ctx: ctx.inputs["a" if ctx.item else "b"],
    # in a list, since two short ends are compiled as two: a key each, which can be followed
    lambda ctx: [("a" if ctx.item else "b") in ctx.inputs, ctx.item],
    lambda ctx: ctx.inputs.get(ctx.item),
    lambda ctx: ctx.state.keys,
    lambda ctx: getattr(ctx, "inputs"),  # noqa: B009 - what is tested
    lambda ctx: ctx._anything,
    lambda ctx: locals(),
    lambda ctx: f"{ctx.inputs}",
    lambda ctx: {**ctx.inputs},
    lambda ctx: lambda: ctx,
    lambda *args: args,
    len,
]


@pytest.mark.parametrize("function", DYNAMIC)
def test_nothing_is_said_of_code_that_cannot_be_followed(function: Any) -> None:
    assert usage_of(function) is None


def test_a_key_that_the_code_never_asks_for_is_a_warning() -> None:
    def score(ctx: StepContext) -> Any:
        return ctx.inputs["text"]

    (finding,) = flow(Step("score", score, read_keys=["text", "user"]))

    assert (finding.code, finding.severity) == ("KRS219", WARNING)
    assert finding.fix == "write read_keys=['text']"
    assert flow(Step("score", score, read_keys=["text"])) == []
    asks = Step("score", score, read_keys=["text", "user"], when=lambda user: user)
    assert flow(asks) == []
    shaped = Step("score", score, read_keys=["text", "user"], input_contract=Schema({"user": str}))
    assert flow(shaped) == []


def test_two_fixes_for_one_slip_agree() -> None:
    def score(ctx: StepContext) -> Any:
        return ctx.inputs["text"]

    refused, unused = flow(Step("score", score, read_keys=["txt2"]))
    assert (refused.code, unused.code) == ("KRS223", "KRS219")
    assert unused.fix == "write read_keys=['text']"


def test_a_key_that_the_step_may_not_read_is_an_error_where_the_code_asks_for_it() -> None:
    def score(ctx: StepContext) -> Any:
        return ctx.inputs["txt"]

    (error, _) = flow(Step("score", score, read_keys=["text"]))

    assert (error.code, error.severity, error.found) == ("KRS223", ERROR, "txt")
    assert error.fix == "did you mean 'text'?"
    assert f"line {score.__code__.co_firstlineno + 1}" in error.message


def test_an_error_that_may_be_caught_is_a_warning() -> None:
    def curious(ctx: StepContext) -> Any:
        try:
            return ctx.inputs["secret"]
        except KeyError:
            return None

    assert told(flow(Step("curious", curious, read_keys=[])), "KRS223") == [
        ("KRS223", "curious", WARNING)
    ]


def test_what_a_step_wrote_itself_it_may_read() -> None:
    def note(ctx: StepContext) -> Any:
        ctx.state.set("note", 1)
        return ctx.state.get("note") if ctx.state.has("other") else None

    assert flow(Step("note", note, read_keys=[], write_keys=["note"])) == []


# --- placeholders


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("", ()),
        ("no placeholder", ("no placeholder",)),
        ("{a}", (Placeholder("a", (), 1, 1),)),
        ("x {a.b[0].c}y", ("x ", Placeholder("a", ("b", 0, "c"), 1, 3), "y")),
        ("{{a}} }}{{", ("{a} }{",)),
        ("{{{a}}}", ("{", Placeholder("a", (), 1, 3), "}")),
        ("one\n {a-1}", ("one\n ", Placeholder("a-1", (), 2, 2))),
        ("{a}{b}", (Placeholder("a", (), 1, 1), Placeholder("b", (), 1, 4))),
    ],
)
def test_a_prompt_is_read_into_texts_and_placeholders(text: str, pieces: tuple[Any, ...]) -> None:
    template = parse_template(text)
    assert template.pieces == pieces
    assert template.names == tuple(dict.fromkeys(p.name for p in template.placeholders))


@pytest.mark.parametrize(
    "text, place",
    [
        ("{", "line 1, column 1"),
        ("a }", "line 1, column 3"),
        ("a\n{}", "line 2, column 1"),
        ('{"json": 1}', "line 1, column 1"),
        ("{a!r}", "line 1, column 1"),
        ("{a:>3}", "line 1, column 1"),
        ("{a.}", "line 1, column 1"),
        ("{a[x]}", "line 1, column 1"),
        ("{a b}", "line 1, column 1"),
        ("{ a }", "line 1, column 1"),
        ("ok {a} {a[-1]}", "line 1, column 8"),
    ],
)
def test_a_prompt_that_is_none_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError, match=place) as error:
        parse_template(text)
    assert error.value.fix is not None


@given(st.lists(st.one_of(st.text(), st.sampled_from(["{a}", "{b.c[0]}"]))))
def test_every_text_can_be_written_as_a_prompt(parts: list[str]) -> None:
    known = {"{a}", "{b.c[0]}"}
    text = "".join(
        part if part in known else part.replace("{", "{{").replace("}", "}}") for part in parts
    )
    pieces = parse_template(text).pieces
    assert "".join(map(str, pieces)) == "".join(parts)


@given(st.text(alphabet="{}a.[]0 \n", max_size=20))
def test_any_text_is_a_prompt_or_refused(text: str) -> None:
    try:
        template = parse_template(text)
    except ConfigError as error:
        assert "line" in error.message  # noqa: PT017 - either end will do
    else:
        lines = text.split("\n")
        for each in template.placeholders:
            assert lines[each.line - 1][each.column - 1 :].startswith(str(each))


class Author(BaseModel):
    name: str


class Doc(BaseModel):
    title: str
    summary: str | None
    author: Author | None = None
    authors: list[Author]
    pair: tuple[int, Author]
    counts: dict[str, int] = {}
    inner: Doc | None = None


class Inputs(BaseModel):
    topic: str
    docs: list[Doc]


def fetch(topic: str) -> Doc:
    raise NotImplementedError(topic)


def fetch_or_skip(topic: str) -> Doc | Skip:
    return SKIP if topic else fetch(topic)


def fetch_all(docs: list[Doc]) -> list[Doc]:
    return docs


def prompting(text: str, **options: Any) -> Step:
    def ask(ctx: StepContext) -> str:
        return repr(ctx)

    ask.__kairos_prompt__ = text  # type: ignore[attr-defined]
    return Step("ask", ask, **options)


def prompted(text: str, **options: Any) -> list[tuple[str, Severity]]:
    inputs = options.pop("inputs", ["topic", "docs"])
    steps = [
        Step("fetch", fetch),
        Step("many", fetch_all),
        Step("each", lambda item: item, foreach="many", output_contract=Doc),
        Step("maybe", fetch, when=lambda topic: topic),
        Step("skipping", fetch_or_skip),
        some("open", output_contract=Schema({"a": str})),
        some("bare"),
    ]
    contract = compile_contract(Inputs) if inputs else None
    found = flow(*steps, prompting(text, **options), inputs=inputs, contract=contract)
    return [(f.code, f.severity) for f in found if f.step == "ask"]


@pytest.mark.parametrize(
    "text",
    [
        "{topic} {fetch} {fetch.title} {{nothing}}",
        "{fetch.pair[1].name} {fetch.counts}",
        "{docs} {many} {bare.anything[3].goes}",
    ],
)
def test_a_prompt_whose_placeholders_are_there_has_no_findings(text: str) -> None:
    assert prompted(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "{fetch.titel}",
        "{fetch.title.x}",
        "{fetch.title[0]}",
        "{fetch[0]}",
        "{fetch.author.nam}",
        "{fetch.authors.name}",
        "{fetch.authors[0].nam}",
        "{fetch.pair[2]}",
        "{fetch.inner.inner.inner.titel}",
        "{many.title}",
        "{each.title}",
        "{each[0].titel}",
        "{docs[0].titel}",
        "{topic.x}",
        "{maybe.titel}",
    ],
)
def test_a_path_that_no_value_has_is_an_error(text: str) -> None:
    assert prompted(text) == [("KRS218", ERROR)]


@pytest.mark.parametrize(
    "text",
    [
        "{fetch.author.name}",
        "{fetch.authors[0].name}",
        "{fetch.counts.x}",
        "{many[0].title}",
        "{each[0]}",
        "{maybe.title}",
        "{skipping.title}",
        "{open.b}",
        "{fetch.inner.title}",
    ],
)
def test_a_path_that_only_some_values_have_is_a_warning(text: str) -> None:
    assert prompted(text) == [("KRS218", WARNING)]


def test_a_wrong_field_is_told_with_those_that_there_are() -> None:
    found = flow(Step("fetch", fetch), prompting("one\ntwo {fetch.titel}"), inputs=["topic"])
    (finding,) = [f for f in found if f.code == "KRS218"]
    assert "at line 2, column 5 of its prompt" in finding.message
    assert "title, summary, author" in (finding.expected or "")
    assert finding.fix == "did you mean 'title'?"


def test_the_item_of_a_foreach_has_a_path_of_its_own() -> None:
    assert prompted("{item.title}", foreach="many") == []
    assert prompted("{item.title}", foreach="docs") == []
    assert prompted("{item.titel}", foreach="many") == [("KRS218", ERROR)]
    assert prompted("{item.titel}", foreach="docs") == [("KRS218", ERROR)]
    assert prompted("{item}") == [("KRS217", ERROR)]


def test_a_placeholder_that_nothing_fills_is_an_error() -> None:
    assert prompted("{fetsh}") == [("KRS217", ERROR)]
    assert prompted("{fetsh}", inputs=None) == [("KRS217", WARNING)]
    assert prompted("{anything_else}", inputs=None) == []
    assert prompted("{fetch} {topic}", read_keys=["topic"]) == [("KRS217", ERROR)]


def test_what_a_prompt_names_is_what_its_step_reads_and_waits_for() -> None:
    asking = prompting("{fetch.title} {topic} {fetch}")
    graph = TaskGraph("plan", [asking, some("fetch")])

    assert asking.read_keys == ("fetch", "topic")
    assert graph.outline == {"fetch": (), "ask": ("fetch",)}
    assert dict(graph.expected_inputs) == {"topic": True}


def test_what_stands_on_an_action_has_to_be_what_it_should_be() -> None:
    def ask(ctx: StepContext) -> str:
        return repr(ctx)

    ask.__kairos_prompt__ = 5  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="prompt of step 'ask' is no text"):
        Step("ask", ask)
    with pytest.raises(ConfigError, match="prompt of step 'ask' has a lone"):
        prompting("{")


RECURSIVE = {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}
WIDE: dict[str, Any] = {"allOf": [{"anyOf": [{}] * 10}] * 10}


@pytest.mark.parametrize("document", [True, {}, None, RECURSIVE, WIDE, {"$ref": "elsewhere"}])
def test_of_a_schema_that_says_nothing_nothing_is_said(document: Any) -> None:
    assert lead(document, ("a", 0, "b")).answer == "unknown"


@pytest.mark.parametrize(
    "document, path, answer",
    [
        ({"type": "object", "properties": {"a": False}}, ("a",), "absent"),
        ({"const": {"a": 1}}, ("a",), "unknown"),
        ({"enum": ["x", 1]}, ("a",), "absent"),
        ({"type": ["object", "null"], "properties": {"a": {}}, "required": ["a"]}, ("a",), "maybe"),
        ({"type": "array", "maxItems": 2}, (2,), "absent"),
        ({"type": "array", "minItems": 3}, (2,), "there"),
        ({"type": "array", "prefixItems": [{}], "items": False}, (1,), "absent"),
        ({"type": "object", "patternProperties": {"x": {}}}, ("a",), "unknown"),
        (
            {"oneOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]}] * 2},
            ("a",),
            "there",
        ),
    ],
)
def test_a_path_is_followed_by_what_the_schema_says(
    document: Any, path: tuple[Any, ...], answer: str
) -> None:
    assert lead(document, path).answer == answer


# --- against every order in which a plan may run


class Drawn(NamedTuple):
    needs: tuple[int, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    parallel: bool


KEYS = ("x", "y")


@st.composite
def plans(draw: Any) -> list[Drawn]:
    return [
        Drawn(
            tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=2)))) if i else (),
            tuple(sorted(draw(st.sets(st.sampled_from(KEYS), max_size=2)))),
            tuple(sorted(draw(st.sets(st.sampled_from(KEYS), max_size=1)))),
            draw(st.booleans()),
        )
        for i in range(draw(st.integers(2, 5)))
    ]


def orders(plan: list[Drawn]) -> Iterator[tuple[int, ...]]:
    """Give every order that the dependencies allow."""
    for order in permutations(range(len(plan))):
        at = {step: nth for nth, step in enumerate(order)}
        if all(at[need] < at[i] for i, each in enumerate(plan) for need in each.needs):
            yield order


def last_writers(plan: list[Drawn], reader: int, key: str) -> set[int | None]:
    """Return who may have written a key last when a step reads it, over all orders."""
    found: set[int | None] = set()
    for order in orders(plan):
        before = [i for i in order[: order.index(reader)] if key in plan[i].writes]
        found.add(before[-1] if before else None)
    return found


@given(plans())
def test_races_are_what_every_order_of_a_plan_shows(plan: list[Drawn]) -> None:
    steps = [
        some(
            f"s{i}",
            read_keys=each.reads,
            write_keys=each.writes,
            parallel=each.parallel,
            depends_on=[f"s{need}" for need in each.needs],
        )
        for i, each in enumerate(plan)
    ]
    found = flow(*steps)
    raced = {key for key in KEYS if any(f"write '{key}'" in f.message for f in found)}
    for i, each in enumerate(plan):
        for key in each.reads:
            others = any(key in other.writes for other in plan)
            if key in each.writes or not others:
                continue  # it is told in another way, or taken to be an input
            here = [f.code for f in found if f.step == f"s{i}" and f"reads '{key}'" in f.message]
            writers = last_writers(plan, i, key)
            if None in writers:
                assert "KRS203" in here
                continue
            assert "KRS203" not in here
            if "KRS215" in here:
                assert len(writers) > 1
            elif key not in raced:
                assert len(writers) == 1
