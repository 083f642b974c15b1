"""Tools: what a function says of itself, and what is refused where it is declared."""

from __future__ import annotations

import dataclasses
import datetime as dt  # noqa: TC003 - a tool's annotations are read while it runs
import enum
import sys
from collections.abc import AsyncIterator, Callable, Iterator  # noqa: TC003 - as above
from typing import Annotated, Any, Literal, Optional, TypeVar

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from kairos import Schema, Step, Workflow
from kairos.agents import Tool, ToolContext, agent, tool
from kairos.agents.slots import Slots
from kairos.agents.tools import as_tools
from kairos.exceptions import ConfigError
from kairos.models import ToolResult
from kairos.testing import CallTool, ScriptedModel


class Colour(enum.StrEnum):
    RED = "red"


class Place(BaseModel):
    city: str
    zip_code: Annotated[str, Field(pattern=r"^\d{5}$")] = "00000"


def visit(
    place: Place,
    when: dt.date,
    colour: Colour = Colour.RED,
    times: Annotated[int, Field(ge=1, description="How often.")] = 1,
    mode: Literal["slow", "fast"] = "slow",
    tags: list[str] | None = None,
) -> str:
    """Visit a place
    on a day.

    What follows is for people.

    Args:
        place: where
    """
    return f"{place.city} {when.isoformat()} {colour.value} {times} {mode} {tags}"


def test_the_schema_comes_from_the_annotations() -> None:
    spec = Tool(visit).spec
    assert spec.name == "visit"
    assert spec.description == "Visit a place on a day.\n\nWhat follows is for people."
    shown = spec.parameters
    assert shown["type"] == "object"
    assert shown["additionalProperties"] is False
    assert shown["required"] == ["place", "when"]
    properties = shown["properties"]
    assert list(properties) == ["place", "when", "colour", "times", "mode", "tags"]
    assert properties["times"] == {
        "type": "integer", "minimum": 1, "description": "How often.", "default": 1,
    }  # fmt: skip
    assert properties["mode"]["enum"] == ["slow", "fast"]
    assert properties["when"]["format"] == "date"


def call(function: Any, arguments: str, **options: Any) -> Any:
    made = function if isinstance(function, Tool) else Tool(function, **options)
    result = agent(ScriptedModel([CallTool(made.name, arguments), "ok"]), tools=[made]).run("go")
    return result.actions[0]


def test_arguments_arrive_as_what_they_are_annotated_with() -> None:
    done = call(visit, '{"place": {"city": "Rome"}, "when": "2026-01-02", "times": 2}')
    assert done.output == "Rome 2026-01-02 red 2 slow None"


@pytest.mark.parametrize(
    "arguments, field",
    [
        ('{"place": {"city": "x", "zip_code": "1"}, "when": "2026-01-02"}', "place.zip_code"),
        ('{"place": {"city": "x"}, "when": "soon"}', "when"),
        ('{"place": {"city": "x"}, "when": "2026-01-02", "times": 0}', "times"),
        ('{"place": {"city": "x"}, "when": "2026-01-02", "mode": "odd"}', "mode"),
        ('{"place": {}, "when": "2026-01-02"}', "place.city"),
    ],
)
def test_what_breaks_a_constraint_is_named_and_not_run(arguments: str, field: str) -> None:
    done = call(visit, arguments)
    assert done.outcome == "invalid"
    assert f'"failed_fields": ["{field}"]' in done.output


def test_a_field_may_stand_as_the_default() -> None:
    def near(radius: int = Field(5, ge=1, description="In km.")) -> int:
        return radius

    made = Tool(near)
    assert made.spec.parameters["properties"]["radius"]["default"] == 5
    assert call(made, "{}").output == "5"
    assert call(made, '{"radius": 0}').outcome == "invalid"


@pytest.mark.parametrize("arguments", ["", "  ", "{}"])
def test_a_tool_without_parameters_takes_empty_arguments(arguments: str) -> None:
    def now() -> str:
        return "now"

    assert call(now, arguments).output == "now"


@pytest.mark.parametrize("name", ["schema", "copy", "model_config", "json", "self_", "_private"])
def test_parameters_may_have_any_name(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def odd({name}: int) -> int:\n    return {name}", scope)  # noqa: S102 - a name as data
    assert call(scope["odd"], f'{{"{name}": 3}}').output == "3"


@pytest.mark.parametrize(
    "value, told",
    [("text", "text"), (3, "3"), (None, "null"), ([1, "a"], '[1,"a"]'), ({"a": 1}, '{"a":1}')],
)
def test_results_are_json_and_texts_are_themselves(value: Any, told: str) -> None:
    assert call(lambda: value, "{}", name="give").output == told


def test_a_result_that_is_no_json_is_an_error() -> None:
    assert call(object, "{}", name="give").outcome == "failed"


def test_a_long_result_is_cut() -> None:
    done = call(Tool(lambda: "x" * 50, name="long", max_chars=10), "{}")
    assert done.output == "x" * 10 + "\n[cut: 40 more]"


def test_methods_partials_and_callable_objects_are_tools() -> None:
    import functools

    class Archive:
        def find(self, word: str) -> str:
            """Find a word."""
            return word

        def __call__(self, word: str) -> str:
            return word

    def add(a: int, b: int) -> int:
        return a + b

    assert call(Archive().find, '{"word": "x"}').output == "x"
    assert call(Archive(), '{"word": "x"}').output == "x"
    assert call(functools.partial(add, 1), '{"b": 2}').output == "3"
    assert call(functools.partial(add, b=1), '{"a": 2}').output == "3"
    assert call(functools.partial(add, b=1), '{"a": 2, "b": 3}').outcome == "invalid"


def test_the_context_is_no_argument() -> None:
    def plain(ctx, number: int) -> int:  # type: ignore[no-untyped-def]
        return number

    def annotated(number: int, around: ToolContext) -> int:
        return number

    for each in (plain, annotated):
        assert list(Tool(each).spec.parameters["properties"]) == ["number"]
        assert call(each, '{"number": 2}').output == "2"


def test_a_decorated_function_can_be_called_as_before() -> None:
    @tool(effect="read", timeout=5)
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == 8
    assert double.effect == "read"
    assert tool(double.function).effect == "write"


class Shop:
    def sell(self, thing: str) -> None: ...


def a_callable(when: Callable[[], int]) -> None: ...
def no_annotation(number) -> None: ...  # type: ignore[no-untyped-def]
def many(*numbers: int) -> None: ...
def named(**numbers: int) -> None: ...
def by_position(number: int, /) -> None: ...
def silent():  # type: ignore[no-untyped-def]  # noqa: ANN201 - that is what is wrong
    yield 1


def vague() -> Iterator:  # type: ignore[type-arg]
    yield 1


async def async_vague():  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
    yield 1


def wrong() -> list[int]:  # type: ignore[misc]
    yield 1


def odd(number: threading) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - on purpose


@pytest.mark.parametrize(
    "function",
    [
        no_annotation,
        many,
        named,
        by_position,
        silent,
        vague,
        async_vague,
        wrong,
        odd,
        Shop.sell,
        a_callable,
        Tool(visit),
    ],
)
def test_what_cannot_be_a_tool_is_refused_where_it_is_declared(function: Any) -> None:
    with pytest.raises(ConfigError) as told:
        Tool(function)
    assert "test_agents_tools.py" in str(told.value)
    assert told.value.fix


@pytest.mark.parametrize(
    "options",
    [
        {"name": "with blank"},
        {"name": "1st"},
        {"name": "x" * 65},
        {"name": "ünder"},
        {"name": ""},
        {"name": 3},
        {"effect": "destroy"},
        {"timeout": 0},
        {"timeout": True},
        {"max_calls": -1},
        {"max_calls": 1.5},
        {"concurrency": 0},
        {"touches": ["moon"]},
        {"touches": "files"},
    ],
)
def test_an_option_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Tool(visit, **options)


@pytest.mark.parametrize(
    "tools",
    [
        [visit, visit],
        [visit, Tool(call, name="visit", parameters=Tool(visit).signature.arguments)],
        [Tool(visit, name="final_answer")],
        ["visit"],
        "visit",
        [lambda: 1],
        [Workflow("bare", [Step("a", lambda ctx: 1)])],
    ],
)
def test_a_list_of_tools_is_checked(tools: Any) -> None:
    with pytest.raises(ConfigError):
        as_tools(tools)


def test_two_of_one_name_are_told_with_both_places() -> None:
    with pytest.raises(ConfigError, match=r"first at .*test_agents_tools.py:\d+"):
        as_tools([visit, visit])


def test_a_tool_may_be_given_contracts_in_place_of_annotations() -> None:
    def anything(**given: Any) -> Any:
        return given

    made = Tool(
        anything,
        description="d",
        parameters=Schema({"a": int}).contract,
        result=Schema({"a": int}).contract,
    )
    assert call(made, '{"a": 1}').output == '{"a":1}'
    assert call(made, '{"a": "x"}').outcome == "invalid"


def test_calls_of_a_tool_can_be_counted() -> None:
    made = Tool(visit, max_calls=1)
    arguments = '{"place": {"city": "x"}, "when": "2026-01-02"}'
    calls = (CallTool("visit", arguments), CallTool("visit", arguments))
    result = agent(ScriptedModel([calls, "ok"]), tools=[made]).run("go")
    told = [
        p.content
        for m in result.messages
        if m.role == "tool"
        for p in m.parts
        if isinstance(p, ToolResult)
    ]
    assert "may not be called again" in told[1]
    assert len(result.actions) == 1


async def test_partial_results_of_an_async_generator_are_held_to_what_it_yields() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield "two"  # type: ignore[misc]

    made = agent(ScriptedModel([CallTool("numbers", {}), "ok"]), tools=[numbers])
    assert (await made.run_async("go")).actions[0].outcome == "failed"


def test_places_are_given_in_the_order_of_asking() -> None:
    slots, woken = Slots(1), []
    assert slots.enter(lambda: None)
    wakes = [lambda n=n: woken.append(n) for n in range(3)]
    assert not any(slots.enter(wake) for wake in wakes)
    assert slots.withdraw(wakes[1])
    assert not slots.withdraw(wakes[1])
    for _ in range(3):
        slots.leave()
    assert woken == [0, 2]
    assert slots.enter(lambda: None)


def test_what_a_contract_cannot_read_is_refused() -> None:
    class Opaque:
        pass

    def strange(thing: Opaque) -> None: ...

    with pytest.raises(ConfigError):
        Tool(strange)


def test_defaults_that_are_no_json_stay_pythons() -> None:
    unset = object()

    def lazy(number: int = unset) -> bool:  # type: ignore[assignment]
        return number is unset

    made = Tool(lazy)
    assert "default" not in made.spec.parameters["properties"]["number"]
    assert call(made, "{}").output == "true"


def test_a_tool_cannot_change_what_a_retry_is_given() -> None:
    seen: list[list[int]] = []

    def sort(numbers: list[int]) -> int:
        seen.append(list(numbers))
        numbers.clear()
        raise OSError

    model = ScriptedModel([CallTool("sort", {"numbers": [1]}), "ok"])
    agent(model, tools=[sort], on_tool_error="retry").run("go")
    assert seen == [[1], [1]]


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_an_async_tool_that_would_end_the_program_fails_and_nobody_waits_for_ever(
    stop: type[BaseException],
) -> None:
    @tool(effect="read")
    async def leave(where: str) -> str:
        """Leave."""
        raise stop(where)

    model = ScriptedModel([CallTool("leave", {"where": "here"}), "done"])
    result = agent(model, tools=[leave]).run("go")

    assert result.answer == "done"
    assert [each.outcome for each in result.actions] == ["failed"]


class Size(enum.IntEnum):
    SMALL = 1


def test_a_default_is_shown_as_json_and_stays_what_it_was() -> None:
    def take(sizes: list[int] = [], word: str = Colour.RED) -> list[int]:  # noqa: B006 - on purpose
        sizes.append(1)
        return sizes

    made = Tool(take)
    assert call(made, "{}").output == "[1]"
    shown = made.spec.parameters["properties"]
    assert shown["sizes"]["default"] == []
    assert type(shown["word"]["default"]) is str


def test_what_is_made_afresh_for_each_call_is() -> None:
    def take(sizes: list[int] = Field(default_factory=list)) -> list[int]:  # noqa: B008 - a declaration
        sizes.append(1)
        return sizes

    made = Tool(take)
    assert [call(made, "{}").output for _ in range(2)] == ["[1]", "[1]"]


@dataclasses.dataclass
class Box:
    sizes: list[Size] = dataclasses.field(default_factory=list)


Word = TypeVar("Word", bound=str)
Tree = TypeAliasType("Tree", "dict[str, Tree] | int")


def test_arguments_of_every_kind_arrive() -> None:
    def take(
        box: Box,
        word: Word,
        tree: Tree,
        way: Literal["in", 2] | None = None,
        later: Later | None = None,
        *,
        pair: tuple[int, str] = (1, "a"),
        some: Optional[Size] = None,  # noqa: UP045 - the old way of saying it
    ) -> str:
        return f"{box.sizes[0]!r} {word} {tree} {way} {later and later.at} {pair} {some!r}"

    given = (
        '{"box": {"sizes": [1]}, "word": "w", "tree": {"a": {"b": 1}}, "way": 2,'
        ' "later": {"at": 3}, "pair": [2, "b"], "some": 1}'
    )
    expected = "<Size.SMALL: 1> w {'a': {'b': 1}} 2 3 (2, 'b') <Size.SMALL: 1>"
    assert call(take, given).output == expected
    assert call(take, given.replace('"word": "w"', '"word": 1')).outcome == "invalid"


class Later(BaseModel):
    at: int


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this syntax is newer")
def test_type_parameters_are_read() -> None:
    scope: dict[str, Any] = {}
    text = "def first[T: int](many: list[T]) -> T:\n    return many[0]"
    exec(text, scope)  # noqa: S102 - older interpreters cannot read it
    assert call(scope["first"], '{"many": [3]}').output == "3"
    assert call(scope["first"], '{"many": ["x"]}').outcome == "invalid"


def test_a_model_that_is_known_only_inside_a_function_is_found_there() -> None:
    class Local(BaseModel):
        at: int

    def take(it: Local) -> int:
        return it.at

    assert call(take, '{"it": {"at": 3}}').output == "3"
