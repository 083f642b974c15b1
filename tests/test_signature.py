"""How every kind of callable is read, and called as it was read."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Optional
from unittest.mock import AsyncMock, MagicMock

import pytest
from pydantic import BaseModel

import kairos
from kairos import ConfigError, Skip, Step, StepContext, Workflow, step
from kairos.signature import ABSENT, read_signature
from running import NO_RETRY, run_one

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal


class Doc(BaseModel):
    title: str


FETCH = {"fetch": {"title": "T"}}


def plain(fetch: Doc) -> str:
    return fetch.title


async def async_(fetch: Doc) -> str:
    return fetch.title


def by_position(fetch: Doc, /) -> str:
    return fetch.title


def by_name(*, fetch: Doc) -> str:
    return fetch.title


def two(first: str, fetch: Doc) -> str:
    return first + fetch.title


def of_context(ctx: StepContext) -> str:
    title: str = ctx.inputs["fetch"]["title"]
    return title


class Many:
    def method(self, fetch: Doc) -> str:
        return fetch.title

    async def async_method(self, fetch: Doc) -> str:
        return fetch.title

    def of_context(self, ctx: StepContext) -> str:
        return of_context(ctx)

    @staticmethod
    def static(fetch: Doc) -> str:
        return fetch.title

    @classmethod
    def of_class(cls, fetch: Doc) -> str:
        return fetch.title


class Called:
    def __call__(self, fetch: Doc) -> str:
        return fetch.title


class CalledAsync:
    async def __call__(self, fetch: Doc) -> str:
        return fetch.title


class CalledWithContext:
    def __call__(self, ctx: StepContext) -> str:
        return of_context(ctx)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def made_async(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    "action, output",
    [
        (plain, "T"),
        (async_, "T"),
        (by_position, "T"),
        (by_name, "T"),
        (of_context, "T"),
        (Many().method, "T"),
        (Many().async_method, "T"),
        (Many().of_context, "T"),
        (Many.static, "T"),
        (Many.__dict__["static"], "T"),
        (Many.of_class, "T"),
        (Many().of_class, "T"),
        (Called(), "T"),
        (CalledAsync(), "T"),
        (CalledWithContext(), "T"),
        (functools.partial(two, "1"), "1T"),
        (functools.partial(two, first="1"), "1T"),
        (functools.partial(functools.partial(two), "1"), "1T"),
        (functools.partial(functools.partial(two, first="1"), first="2"), "2T"),
        (functools.partial(Many().method), "T"),
        (functools.partial(Called()), "T"),
        (functools.partial(CalledAsync()), "T"),
        (functools.partial(async_), "T"),
        (functools.partial(of_context), "T"),
        (decorated(plain), "T"),
        (decorated(async_), "T"),
        (decorated(of_context), "T"),
        (decorated(decorated(plain)), "T"),
        (decorated(Many().method), "T"),
        (decorated(functools.partial(two, "1")), "1T"),
        (decorated(functools.partial(two, first="1")), "1T"),
        (functools.partial(decorated(two), "1"), "1T"),
        (made_async(plain), "T"),
        (made_async(of_context), "T"),
        (made_async(functools.partial(two, "1")), "1T"),
        (awaited(async_), "T"),
        (awaited(decorated(async_)), "T"),
        (lambda fetch, times=2: fetch["title"] * times, "TT"),
        (lambda anything: anything.inputs["fetch"]["title"], "T"),
        (lambda *, ctx: ctx.step_id, "only"),
        (lambda: "nothing", "nothing"),
        (lambda *args: len(args), 1),
        (lambda *args, **options: len(args), 1),
        (MagicMock(return_value=5), 5),
        (AsyncMock(return_value=6), 6),
        (print, None),
    ],
)
def test_every_kind_of_callable_is_called_as_it_asks(action: Any, output: Any) -> None:
    result = run_one(action, FETCH)
    assert (result.error, result.output) == (None, output)


# -- what a function says -------------------------------------------------------------------------


def test_what_a_typed_function_says_of_itself() -> None:
    def score(fetch: Doc, limit: int = 3, *, ctx: StepContext) -> list[str]:
        raise AssertionError

    found = read_signature(score)
    assert (found.typed, found.is_async) == (True, False)
    assert (found.reads, found.required) == (("fetch", "limit"), frozenset(("fetch",)))
    assert found.annotations == {"fetch": Doc, "limit": int}
    assert (found.returns, found.context, found.item) == (list[str], "ctx", None)


def test_an_item_is_the_element_of_a_foreach() -> None:
    def each(item: Doc, factor: int) -> int:
        raise AssertionError

    found = read_signature(each)
    assert (found.item, found.reads) == ("item", ("factor",))
    assert found.annotations == {"item": Doc, "factor": int}


@pytest.mark.parametrize(
    "note",
    [
        StepContext,
        "StepContext",
        "kairos.StepContext",
        "StepContext | None",
        "Optional[StepContext]",
        "typing.Optional[kairos.StepContext]",
        StepContext | None,
        Optional[StepContext],  # noqa: UP045 - as some write it
    ],
)
def test_a_context_is_known_by_its_annotation_whatever_its_name(note: Any) -> None:
    def action(fetch: Any, somehow: Any = None) -> str:
        return f"{somehow.step_id}-{fetch['title']}"

    action.__annotations__["somehow"] = note
    action.__globals__["typing"] = __import__("typing")
    action.__globals__["kairos"] = kairos
    assert read_signature(action).context == "somehow"
    assert run_one(action, FETCH).output == "only-T"


def test_a_lone_parameter_annotated_otherwise_is_no_context() -> None:
    def of_ctx(ctx: int) -> int:
        return ctx + 1

    assert read_signature(of_ctx).reads == ("ctx",)
    assert run_one(of_ctx, {"ctx": 4}).output == 5


@pytest.mark.parametrize("given", [{}, {"a": 5}, {"b": 6}, {"a": 5, "b": 6}])
def test_defaults_that_go_by_position_stay_in_their_place(given: dict[str, int]) -> None:
    def action(a: int = 1, b: int = 2, /, c: int = 3) -> list[int]:
        return [a, b, c]

    assert run_one(action, given).output == [given.get("a", 1), given.get("b", 2), 3]


def test_a_context_and_an_item_may_go_by_position() -> None:
    def action(item: int, ctx: StepContext, factor: int = 10, /) -> int:
        assert ctx.item_index is not None
        return item * factor + ctx.item_index

    assert run_one(action, {"xs": [1, 2]}, foreach="xs").output == [10, 21]


def test_what_returns_nothing_annotated_has_no_contract() -> None:
    def action(fetch):  # type: ignore[no-untyped-def]  # what is under test  # noqa: ANN202
        return fetch

    assert read_signature(action).returns is ABSENT


# -- annotations ----------------------------------------------------------------------------------


def test_annotations_of_local_classes_are_found_though_they_are_strings() -> None:
    class Local(BaseModel):
        n: int

    @dataclass
    class Out:
        doubled: int

    @step
    def double(local: Local) -> Out:
        return Out(local.n * 2)

    assert Workflow("w", [double]).run({"local": {"n": 4}}).output == {"doubled": 8}


def test_an_annotation_that_is_not_there_at_run_time_is_named() -> None:
    def price(amount: Decimal) -> int:
        raise AssertionError

    with pytest.raises(ConfigError, match=r"annotation of price\(\) cannot be resolved") as caught:
        Step("price", price)
    assert "test_signature.py:" in str(caught.value)
    assert "TYPE_CHECKING" in str(caught.value)


def test_an_annotation_that_breaks_is_a_wrong_declaration() -> None:
    def price(amount: Any) -> int:
        raise AssertionError

    price.__annotations__["amount"] = "1 / 0"
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        Step("price", price)


def test_metadata_of_annotations_is_kept() -> None:
    from annotated_types import Ge

    def action(n: Annotated[int, Ge(3)]) -> int:
        return n

    assert run_one(action, {"n": 3}).output == 3
    assert run_one(action, {"n": 2}).status == "failed"


def test_skip_in_a_return_annotation_is_no_output() -> None:
    def maybe(n: int) -> int | Skip:
        return n or kairos.SKIP

    assert read_signature(maybe).returns is int
    assert run_one(maybe, {"n": 1}).output == 1
    assert run_one(maybe, {"n": 0}).status == "complete"


# -- classes --------------------------------------------------------------------------------------


@dataclass
class Score:
    value: int


class Pair(NamedTuple):
    first: int
    second: int = 2


class Report(BaseModel):
    title: str


class Summary(dict[str, Any]):
    def __init__(self, fetch: Doc, times: int = 1) -> None:
        super().__init__(title=fetch.title * times)


@pytest.mark.parametrize(
    "action, inputs, output",
    [
        (Score, {"value": 3}, {"value": 3}),
        (Pair, {"first": 1}, [1, 2]),
        (Report, {"title": "T"}, {"title": "T"}),
        (Summary, FETCH, {"title": "T"}),
        (Summary, {**FETCH, "times": 2}, {"title": "TT"}),
    ],
)
def test_a_class_reads_what_it_is_made_from(action: Any, inputs: Any, output: Any) -> None:
    result = run_one(action, inputs)
    assert (result.error, result.output) == (None, output)


# -- what cannot be an action as it stands --------------------------------------------------------


@pytest.mark.parametrize(
    "action",
    [lambda fetch, *more: 1, lambda fetch, other, **more: 1],
)
def test_a_parameter_that_names_nothing_is_refused(action: Any) -> None:
    with pytest.raises(ConfigError, match="names nothing it reads"):
        Step("only", action)


def generator(fetch: Doc) -> Any:
    yield fetch


async def async_generator(fetch: Doc) -> Any:
    yield fetch


@pytest.mark.parametrize(
    "action, says",
    [
        (generator, "a generator that nobody ran"),
        (async_generator, "a generator that nobody ran"),
        (lambda ctx: async_(Doc(title="T")), "a coroutine that nobody awaited"),
        (lambda ctx: ctx, "its own context"),
        (len, "has no len()"),
    ],
)
def test_an_action_by_mistake_is_told_what_it_is(action: Any, says: str) -> None:
    assert says in (run_one(action, FETCH).error or "")


# -- predicates -----------------------------------------------------------------------------------


def is_titled(wanted: str, fetch: Doc) -> bool:
    return fetch.title == wanted


@pytest.mark.parametrize("title", ["T", "other"])
@pytest.mark.parametrize(
    "when",
    [
        lambda ctx: ctx.inputs["fetch"]["title"] == "T",
        lambda fetch, wanted="T": fetch["title"] == wanted,
        functools.partial(is_titled, "T"),
    ],
)
def test_a_predicate_is_read_as_an_action_is(when: Any, title: str) -> None:
    result = run_one(lambda ctx: "ran", {"fetch": {"title": title}}, when=when)
    assert result.output == ("ran" if title == "T" else None)


def test_a_typed_predicate_is_given_values_of_its_types() -> None:
    def long_enough(fetch: Doc, least: int = 1, /, *, ctx: StepContext) -> bool:
        return len(fetch.title) >= least and ctx.step_id == "only"

    assert run_one(lambda ctx: "ran", {**FETCH, "least": 1}, when=long_enough).output == "ran"
    assert run_one(lambda ctx: "ran", {**FETCH, "least": 2}, when=long_enough).output is None
    result = run_one(lambda ctx: "ran", {"fetch": {"name": "T"}}, when=long_enough)
    assert "fetch.title" in (result.error or "")


def test_a_predicate_may_not_read_more_than_its_step() -> None:
    action = Step("only", lambda ctx: 1, read_keys=["a"], when=lambda a, b: True)
    with pytest.raises(ConfigError, match="reads 'b', which the step may not read"):
        Workflow("w", [action])


async def wants_awaiting(fetch: Any) -> bool:
    return False


@pytest.mark.parametrize("when", [wants_awaiting, lambda fetch: 1 / 0, lambda nothing, more: True])
def test_a_predicate_that_fails_is_a_failed_attempt(when: Any) -> None:
    result = run_one(lambda ctx: "ran", FETCH, when=when, failure_policy=NO_RETRY)
    assert result.step_results["only"].status == "failed_final"
