"""A wiring means what composing its functions means, and refuses what that would refuse."""

from __future__ import annotations

import asyncio
import functools
import inspect
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import isolated_actions as actions
from kairos import (
    SKIP,
    ConfigError,
    Context,
    FailurePolicy,
    ForeachPolicy,
    From,
    Ref,
    Schema,
    Skip,
    Step,
    StepContext,
    StepStatus,
    ValidationError,
    Wiring,
    Workflow,
    step,
)
from running import NO_RETRY


class Product(BaseModel):
    sku: str
    cost: float


def fetch(url: str) -> list[Product]:
    return [Product(sku=f"{url}/{i}", cost=i) for i in range(3)]


def price(product: Product, rate: float = 2.0) -> float:
    return product.cost * rate


def sum_up(prices: list[float]) -> float:
    return sum(prices)


def double(number: int) -> int:
    return 2 * number


def pair(first: int, second: int = 3) -> int:
    return first + second


def wired() -> tuple[Wiring, Ref[str]]:
    wiring = Wiring("pricing")
    return wiring, wiring.input("url", str)


# -- what it means --------------------------------------------------------------------------------


def test_a_wiring_is_the_composition_of_its_functions() -> None:
    wiring, url = wired()
    products = wiring.add(fetch, url)
    prices = wiring.foreach(price, products, parallel=True)
    wiring.add(sum_up, prices, name="total", retries=2)
    workflow = wiring.workflow()
    assert workflow.run({"url": "u"}).output == sum_up([price(each) for each in fetch("u")]) == 6
    assert workflow.validate() == []
    assert {s.name: s.read_keys for s in workflow.steps} == {
        "fetch": ("url",),
        "price": ("fetch",),
        "total": ("price",),
    }


def test_what_is_built_is_the_workflow_of_the_same_steps() -> None:
    wiring, url = wired()
    wiring.add(sum_up, wiring.foreach(price, wiring.add(fetch, url)), name="total")
    by_hand = Workflow(
        "pricing",
        [
            Step("fetch", fetch),
            Step("price", price, foreach="fetch", sources={"product": None}),
            Step("total", sum_up, sources={"prices": "price"}),
        ],
        inputs=["url"],
    )
    built = wiring.workflow(strict=True)
    assert built.graph.outline == by_hand.graph.outline
    assert built.to_dict()["steps"] == by_hand.to_dict()["steps"]
    assert built.run({"url": "u"}).output == by_hand.run({"url": "u"}).output


@dataclass
class Node:
    """A node of a random graph: a function, and the positions of what it is called with."""

    function: Any
    references: list[int]
    over: int | None


def total_of(*values: Any) -> int:
    flat = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return int(sum(flat)) % 1_000_003


def functions(count: int, number: int, *, lists: bool) -> Any:
    """Return a function of so many parameters, which are called like other steps on purpose."""

    def made(values: tuple[Any, ...]) -> Any:
        result = total_of(*values) * 3 + number
        return [result, number, len(values)] if lists else result

    return [
        lambda: made(()),
        lambda n1: made((n1,)),
        lambda n2, n1: made((n2, n1)),
        lambda n3, n0, n1, n2=9: made((n3, n0, n1, n2)),
        lambda ctx, a, n5, n6, n0, n1=(), n2=5: made((a, n5, n6, n0, n1 or 0, n2)),
    ][count]


def as_async(function: Any) -> Any:
    @functools.wraps(function)
    async def later(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return later


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Draw nodes that refer to earlier ones; every third or so makes a list."""
    nodes: list[Node] = []
    listy: list[int] = []
    for i in range(draw(st.integers(1, 8))):
        over = draw(st.sampled_from([None, *listy]))
        most = min(4 - (over is not None), i)
        references = draw(
            st.lists(st.integers(0, i - 1), unique=True, max_size=most) if i else st.just([])
        )
        lists = draw(st.booleans()) and over is None
        count = len(references) + (over is not None)
        function = functions(count, draw(st.integers(0, 99)), lists=lists)
        if draw(st.booleans()):
            function = as_async(function)
        if lists:
            listy.append(i)
        nodes.append(Node(function, references, over))
    return nodes


def called(function: Any, *args: Any) -> Any:
    given = [None, *args] if "ctx" in inspect.signature(function).parameters else [*args]
    value = function(*given)
    return asyncio.run(value) if inspect.iscoroutine(value) else value


@settings(max_examples=80, deadline=None)
@given(graphs(), st.booleans())
def test_a_random_graph_of_functions_gives_what_calling_them_gives(
    nodes: list[Node], on_a_loop: bool
) -> None:
    wiring: Any = Wiring("random")
    references: list[Any] = []
    values: list[Any] = []
    for i, node in enumerate(nodes):
        args = [references[j] for j in node.references]
        known = [values[j] for j in node.references]
        if node.over is None:
            references.append(wiring.add(node.function, *args, name=f"n{i}"))
            values.append(called(node.function, *known))
        else:
            reference = wiring.foreach(
                node.function, references[node.over], *args, name=f"n{i}", parallel=bool(i % 2)
            )
            references.append(reference)
            values.append([called(node.function, each, *known) for each in values[node.over]])
    workflow: Workflow = wiring.workflow(failure_policy=NO_RETRY)
    result = asyncio.run(workflow.run_async()) if on_a_loop else workflow.run()
    assert result.error is None
    assert [result.final_state[f"n{i}"] for i in range(len(nodes))] == values


def test_parameters_without_a_reference_keep_their_defaults_though_a_step_has_their_name() -> None:
    def second() -> int:
        return 100

    wiring = Wiring("defaults")
    wiring.add(second)
    wiring.add(pair, wiring.input("first", int), name="sum")
    assert wiring.workflow().run({"first": 1}).final_state["sum"] == 4


def test_the_context_comes_beside_the_references() -> None:
    def after(number: int, ctx: StepContext) -> str:
        return f"{ctx.step_id}{number}{[*ctx.inputs]}"

    def before(ctx: StepContext, number: int) -> str:
        return f"{ctx.step_id}{number}"

    def alone(ctx: StepContext) -> list[str]:
        return [*ctx.inputs]

    wiring: Any = Wiring("contexts")
    number = wiring.input("number", int)
    wiring.add(after, number)
    wiring.add(before, number)
    wiring.add(alone)
    state = wiring.workflow().run({"number": 1}).final_state
    assert state["after"] == "after1['number']"
    assert (state["before"], state["alone"]) == ("before1", [])


def test_partials_methods_and_callable_objects_are_wired_by_what_is_left_of_them() -> None:
    class Scale:
        def __call__(self, number: int) -> int:
            return 3 * number

        def more(self, number: int, by: int) -> int:
            return number + by

    wiring = Wiring("callables")
    number = wiring.input("number", int)
    tripled = wiring.add(Scale(), number)
    bound: Ref[int] = wiring.add(functools.partial(pair, second=10), tripled, name="partial")
    wiring.add(Scale().more, tripled, bound)
    result = wiring.workflow().run({"number": 1})
    assert [*result.final_state.values()] == [1, 3, 13, 16]


def test_an_element_and_its_whole_list_go_into_one_function() -> None:
    def share(part: float, prices: list[float]) -> float:
        return part / sum(prices)

    wiring = Wiring("shares")
    prices = wiring.input("prices", list[float])
    wiring.foreach(share, prices, prices)
    assert wiring.workflow().run({"prices": [1, 3]}).output == [0.25, 0.75]


def test_an_element_and_a_step_of_its_parameters_name_are_two_things() -> None:
    def number(start: int) -> int:
        return start * 10

    def minus(number: int, other: int) -> int:
        return number - other

    wiring = Wiring("names")
    start = wiring.input("start", int)
    numbers = wiring.input("numbers", list[int])
    wiring.foreach(minus, numbers, wiring.add(number, start))
    assert wiring.workflow().run({"start": 2, "numbers": [50, 60]}).output == [30, 40]


def test_a_parameter_called_item_is_filled_like_any_other() -> None:
    def shown(item: int, other: Annotated[int, From("nowhere")]) -> list[int]:
        return [item, other]

    wiring = Wiring("item")
    wiring.add(shown, wiring.input("one", int), wiring.input("two", int))
    assert wiring.workflow().run({"one": 1, "two": 2}).output == [1, 2]


@pytest.mark.parametrize(
    "made, note", [({"a"}, set[str]), (("a",), tuple[str, ...]), (["a"], list[str])]
)
def test_a_foreach_runs_over_sets_and_tuples_too(made: Any, note: Any) -> None:
    def tags() -> Any:
        return made

    tags.__annotations__["return"] = note
    wiring: Any = Wiring("many")
    wiring.foreach(lambda tag: tag * 2, wiring.add(tags), name="twice")
    assert wiring.workflow().run().output == ["aa"]


def test_an_element_that_failed_is_none_to_the_next() -> None:
    def inverse(number: int) -> float:
        return 1 / number

    def count(found: list[float | None]) -> int:
        return sum(each is not None for each in found)

    wiring = Wiring("partial")
    some = wiring.foreach(
        inverse, wiring.input("numbers", list[int]), foreach_policy=ForeachPolicy.ALLOW_PARTIAL
    )
    wiring.add(count, some)
    assert wiring.workflow(failure_policy=NO_RETRY).run({"numbers": [1, 0, 2]}).output == 2


@pytest.mark.parametrize("number, output", [(1, "none"), (20, "40")])
def test_when_is_asked_with_the_same_references(number: int, output: str) -> None:
    def text(doubled: int | None) -> str:
        return "none" if doubled is None else str(doubled)

    wiring = Wiring("when")
    given = wiring.input("given", int)
    doubled = wiring.add(double, given, when=lambda anything: anything > 10)
    wiring.add(text, doubled)
    assert wiring.workflow().run({"given": number}).output == output


def test_when_of_a_foreach_is_asked_once_with_the_whole_list() -> None:
    asked: list[list[int]] = []

    def is_long(numbers: list[int], least: int, ctx: StepContext) -> bool:
        asked.append(numbers)
        return len(numbers) > least and ctx.step_id == "pair"

    wiring = Wiring("when")
    numbers, least = wiring.input("numbers", list[int]), wiring.input("least", int)
    wiring.foreach(pair, numbers, least, when=is_long)
    workflow = wiring.workflow()
    assert workflow.run({"numbers": [1, 2], "least": 1}).output == [2, 3]
    assert workflow.run({"numbers": [1], "least": 1}).step_results["pair"].status is (
        StepStatus.SKIPPED
    )
    assert asked == [[1, 2], [1]]


def test_a_skip_is_none_to_what_refers_to_it() -> None:
    def maybe(number: int) -> str | Skip:
        return SKIP if number < 0 else "ok"

    def text(found: str | None) -> str:
        return found or "nothing"

    wiring = Wiring("skip")
    wiring.add(text, wiring.add(maybe, wiring.input("number", int)).or_none())
    assert wiring.workflow().run({"number": -1}).output == "nothing"


def test_after_orders_without_reading() -> None:
    wiring = Wiring("order")
    number = wiring.input("number", int)
    first = wiring.add(double, number)
    wiring.add(pair, number, after=[first, number])
    workflow = wiring.workflow()
    assert workflow.graph.outline == {"double": (), "pair": ("double",)}
    assert workflow.steps[1].read_keys == ("number",)


def test_a_step_is_taken_as_it_is() -> None:
    wiring = Wiring("steps")
    found: Ref[int] = wiring.add(Step("own", lambda ctx: 4, read_keys=[]))
    wiring.add(double, found)
    assert wiring.workflow().run().output == 8


def test_what_step_was_told_holds_in_a_wiring_and_add_overrules_it() -> None:
    @step("twice", retries=3, timeout=9, output_contract=int, labels=["a"], write_keys=["x"])
    def decorated(number: int) -> Any:
        return 2 * number

    wiring = Wiring("declared")
    number = wiring.input("number", int)
    wiring.add(decorated, number)
    wiring.add(decorated, number, name="again", retries=1)
    first, second = wiring.workflow().steps
    assert (first.name, first.config.retries, first.config.timeout) == ("twice", 3, 9)
    assert (second.config.retries, second.config.timeout) == (1, 9)
    assert (first.output_contract, first.labels, first.write_keys) == (int, ("a",), ("x",))


def test_a_wired_step_runs_in_a_process_of_its_own() -> None:
    wiring = Wiring("isolated")
    given, by = wiring.input("given number", int), wiring.input("by", int)
    wiring.add(actions.scaled, given, by, isolation="process")
    assert wiring.workflow().run({"given number": 6, "by": 7}).output == 42


def test_a_wired_foreach_runs_in_a_process_of_its_own() -> None:
    wiring = Wiring("isolated")
    numbers, by = wiring.input("numbers", list[int]), wiring.input("by", int)
    wiring.foreach(actions.scaled, numbers, by, isolation="process")
    assert wiring.workflow().run({"numbers": [1, 2], "by": 7}).output == [7, 14]


# -- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inputs, said",
    [
        ({}, "url"),
        ({"url": 5}, "url: needs str, found int"),
        ({"url": "u", "limt": 3}, "limt"),
        ({"url": "u", "max-items": "many"}, "max-items"),
    ],
)
def test_the_inputs_of_a_run_are_held_to_what_was_declared(inputs: Any, said: str) -> None:
    wiring, url = wired()
    wiring.input("max-items", int, default=3)
    wiring.add(fetch, url)
    with pytest.raises(ValidationError) as caught:
        wiring.workflow().run(inputs)
    assert said in str(caught.value)


def test_an_input_has_its_default_and_any_name_and_any_contract() -> None:
    def shown(limit: int, doc: dict[str, Any], product: Product | None) -> list[Any]:
        return [limit, doc["a"], product]

    wiring: Any = Wiring("inputs")
    limit = wiring.input("max items!", int, default=3)
    doc = wiring.input("model_config", Schema({"a": str}))
    product = wiring.input("_private", Product | None, default=None)
    wiring.add(shown, limit, doc, product)
    workflow = wiring.workflow()
    assert workflow.declared_inputs == {"max items!", "model_config", "_private"}
    assert workflow.run({"model_config": {"a": "b"}}).output == [3, "b", None]


def test_without_inputs_of_its_own_a_wiring_takes_those_of_the_workflow() -> None:
    wiring = Wiring("inputs")
    wiring.add(Step("read", lambda ctx: ctx.inputs["a"], read_keys=["a"]))
    assert wiring.workflow(inputs=["a"]).run({"a": 1}).output == 1


# -- what is refused ------------------------------------------------------------------------------


class Refused(NamedTuple):
    """How a wiring is used wrongly, and what is said."""

    use: Any
    said: tuple[str, ...]


REFUSED = [
    Refused(lambda w, url: w.add(fetch, w.add(fetch, url)), ("a step 'fetch' already", "name=")),
    Refused(lambda w, url: w.add(fetch, url, name="url"), ("an input 'url' already",)),
    Refused(lambda w, url: w.input("url", str), ("an input 'url' already",)),
    Refused(lambda w, url: w.add(fetch, wired()[1]), ("of another wiring",)),
    Refused(lambda w, url: w.add(pair, url, url), ("'url' twice", "use it twice")),
    Refused(lambda w, url: w.add(double, fetch), ("no reference", "add fetch first")),
    Refused(lambda w, url: w.add(fetch, "u"), ("no reference", "found: str")),
    Refused(lambda w, url: w.foreach(price, [1]), ("no reference", "found: list")),
    Refused(lambda w, url: w.add(fetch, url, after=["url"]), ("no reference", "after=")),
    Refused(lambda w, url: w.add(fetch, url, after=url), ("after= of step 'fetch'", "after=[...]")),
    Refused(lambda w, url: w.add(fetch, url, after="url"), ("no list of references",)),
    Refused(lambda w, url: w.add(fetch, url, name=""), ("bad step name",)),
    Refused(lambda w, url: w.add(fetch, url, name=5), ("a step's name is not one",)),
    Refused(lambda w, url: w.add(pair), ("takes 1 to 2", "is given 0", "nothing for 'first'")),
    Refused(lambda w, url: w.add(fetch, url, w.input("b", int)), ("takes 1 reference", "given 2")),
    Refused(lambda w, url: w.foreach(lambda: 1, url, name="n"), ("takes 0", "given 1")),
    Refused(lambda w, url: w.add(lambda a: a, url), ("a lambda has no name", "name='...'")),
    Refused(lambda w, url: w.add(fetch, url, name="a b"), ("bad step name",)),
    Refused(lambda w, url: w.add(fetch, url, retrys=1), ("no keyword", "'retries'")),
    Refused(lambda w, url: w.add(fetch, url, depends_on=["a"]), ("no depends_on=", "after=")),
    Refused(lambda w, url: w.add(fetch, url, sources={}), ("no sources=",)),
    Refused(lambda w, url: w.foreach(price, url, foreach="url"), ("no foreach=",)),
    Refused(lambda w, url: w.add(5), ("no function", "found: int")),
    Refused(lambda w, url: w.add(Step("s", fetch), url), ("taken as it is",)),
    Refused(lambda w, url: w.add(Step("s", fetch), retries=1), ("taken as it is",)),
    Refused(lambda w, url: w.add(lambda *a: 1, url, name="v"), ("takes *a",)),
    Refused(lambda w, url: w.add(lambda *, a: a, url, name="v"), ("by position", "'*'")),
    Refused(lambda w, url: w.add(dict, url), ("does not say what parameters",)),
    Refused(lambda w, url: w.add(fetch, url, when=5), ("when= of step 'fetch'", "not callable")),
    Refused(lambda w, url: w.add(fetch, url, when=lambda: True), ("when= of step 'fetch'",)),
    Refused(lambda w, url: w.input("", str), ("an input needs a name",)),
    Refused(lambda w, url: w.input("o", object()), ("input 'o' is not a contract",)),
    Refused(lambda w, url: w.input("n", int, default="x"), ("the default of input 'n'",)),
    Refused(lambda w, url: w.workflow(inputs=["a"]), ("declares inputs of its own", "found: url")),
    Refused(lambda w, url: w.workflow(), ("has no steps",)),
    Refused(lambda w, url: Wiring(" "), ("a wiring needs a name",)),
    Refused(lambda w, url: Wiring(None), ("a wiring needs a name", "NoneType")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda r: r.said[0])
def test_a_wrong_use_is_refused_at_its_own_line(refused: Refused) -> None:
    wiring: Any
    wiring, url = wired()
    with pytest.raises(ConfigError) as caught:
        refused.use(wiring, url)
    for part in refused.said:
        assert part in str(caught.value)
    assert "test_wiring.py:" in str(caught.value)


def test_a_step_that_was_declared_with_names_is_no_part_of_a_wiring() -> None:
    @step(when=lambda number: number > 1)
    def late(number: int) -> int:
        return number

    wiring = Wiring("names")
    with pytest.raises(ConfigError, match="declared with names of what it reads"):
        wiring.add(late, wiring.input("number", int))


# -- From and sources -----------------------------------------------------------------------------


def total(values: Annotated[list[float], From("price")], factor: float = 1.0) -> float:
    return factor * sum(values)


def test_a_parameter_reads_the_key_that_its_annotation_names() -> None:
    workflow = Workflow("from", [Step("price", lambda ctx: [1, 2], read_keys=[]), total])
    made = workflow.steps[1]
    assert made.read_keys == ("price", "factor")
    assert made.signature.required == {"price"}
    assert workflow.graph.outline["total"] == ("price",)
    assert workflow.run().output == 3
    assert workflow.run({"factor": 2}).output == 6
    assert total([1.0, 2.0]) == 3


def test_a_fault_in_a_renamed_parameter_names_the_parameter_and_the_key() -> None:
    workflow = Workflow(
        "from",
        [Step("price", lambda ctx: ["a"], read_keys=[]), total],
        failure_policy=NO_RETRY,
    )
    assert "values=price[0]: expected float, found str" in str(workflow.run().error)


def test_a_key_that_nobody_writes_is_asked_for_by_its_own_name() -> None:
    with pytest.raises(ConfigError, match="needs an input 'price'"):
        Workflow("from", [total]).run()


def test_sources_say_where_every_parameter_comes_from() -> None:
    made = Step("swap", lambda a, b: [a, b], sources={"a": "b", "b": "a"})
    assert Workflow("swap", [made]).run({"a": 1, "b": 2}).output == [2, 1]
    assert made.read_keys == ("b", "a")


def test_the_rest_of_an_annotation_stays_its_contract() -> None:
    from pydantic import Field

    def first(values: Annotated[list[int], From("numbers"), Field(min_length=2)]) -> int:
        return values[0]

    workflow = Workflow("from", [first], failure_policy=NO_RETRY)
    assert workflow.run({"numbers": [1, 2]}).output == 1
    assert "numbers" in str(workflow.run({"numbers": [1]}).error)


def test_a_predicate_reads_by_from_too() -> None:
    def is_long(found: Annotated[list[float], From("price")]) -> bool:
        return len(found) > 1

    made = Step("total", total, when=is_long)
    workflow = Workflow("from", [Step("price", lambda ctx: [1], read_keys=[]), made])
    assert workflow.run().step_results["total"].reason == "its `when` was false"


@pytest.mark.parametrize(
    "declare, said",
    [
        (lambda: From(""), "From() names no key"),
        (lambda: From(5), "From() names no key"),  # type: ignore[arg-type]
        (lambda: Step("s", pair, sources={"z": "a"}), "no parameter 'z'"),
        (lambda: Step("s", pair, sources={"frist": "a"}), "did you mean 'first'"),
        (lambda: Step("s", pair, sources={"first": ""}), "is no key"),
        (
            lambda: Step("s", pair, sources={"second": "a"}),
            "nothing is given for parameter 'first'",
        ),
        (lambda: Step("s", pair, sources={"first": "a", "second": "a"}), "both read 'a'"),
        (lambda: Step("s", pair, sources={"first": None}), "has no foreach"),
        (lambda: Step("s", pair, sources={"first": "a"}, read_keys=["first"]), "needs 'a'"),
        (lambda: Step("s", pair, sources=["a"]), "is no mapping"),  # type: ignore[call-overload]
        (
            lambda: Step("s", pair, foreach="a", sources={"first": None, "second": None}),
            "the element of a foreach twice",
        ),
    ],
)
def test_a_wrong_source_is_refused_where_it_is_declared(declare: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declare()
    assert said in str(caught.value)
    assert "test_wiring.py:" in str(caught.value)


def test_a_policy_and_a_context_style_function_go_through_a_wiring() -> None:
    def attempts(ctx: Context) -> int:
        if ctx.attempt < 2:
            raise RuntimeError
        return ctx.attempt

    wiring = Wiring("policy")
    wiring.add(attempts, failure_policy=FailurePolicy(max_retries=1))
    assert wiring.workflow().run().output == 2
