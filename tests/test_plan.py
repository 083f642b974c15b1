from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos.exceptions import ConfigError, PlanError
from kairos.failure import FailurePolicy
from kairos.plan import TaskGraph
from kairos.plan_faults import GraphError
from kairos.step import Step, StepConfig, StepContext, step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Edges = list[tuple[int, int]]


def act(ctx: StepContext) -> Any:
    return ctx.step_id


def plan(*steps: Step | Callable[..., Any]) -> TaskGraph:
    return TaskGraph("plan", steps)


def numbered(count: int, edges: Edges) -> TaskGraph:
    needs: dict[int, list[str]] = {}
    for a, b in edges:
        needs.setdefault(b, []).append(f"s{a}")
    return plan(*(Step(f"s{i}", act, depends_on=needs.get(i)) for i in range(count)))


def oracle(count: int, edges: Edges) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(f"s{i}" for i in range(count))
    graph.add_edges_from((f"s{a}", f"s{b}") for a, b in edges)
    return graph


def names(steps: Sequence[Step]) -> list[str]:
    return [each.name for each in steps]


@st.composite
def digraphs(draw: st.DrawFn) -> tuple[int, Edges]:
    count = draw(st.integers(1, 12))
    node = st.integers(0, count - 1)
    pairs = st.tuples(node, node).filter(lambda pair: pair[0] != pair[1])
    return count, draw(st.lists(pairs, unique=True, max_size=24))


@st.composite
def dags(draw: st.DrawFn) -> tuple[int, Edges]:
    """Draw a graph without a cycle, its nodes declared in any order."""
    count, edges = draw(digraphs())
    place = draw(st.permutations(range(count)))
    return count, list({(place[min(pair)], place[max(pair)]) for pair in edges})


# --- dependencies


def test_declared_names_parameters_and_foreach_all_are_dependencies() -> None:
    @step(depends_on=["setup"], foreach="docs")
    def score(docs: list[str], model: str, item: str) -> str:
        return item

    graph = plan(Step("setup", act), Step("docs", act), Step("model", act), score)

    assert graph.outline["score"] == ("setup", "docs", "model")
    assert names(graph.get_dependencies("score")) == ["setup", "docs", "model"]
    assert names(graph.get_dependents("docs")) == ["score"]
    assert graph.dependencies == ((), (), (), (0, 1, 2))
    assert graph.dependents == ((3,), (3,), (3,), ())


def test_what_no_step_bears_is_an_expected_input_needed_or_not() -> None:
    @step
    def first(query: str, limit: int = 10) -> str:
        return query * limit

    @step
    def second(first: str, limit: int) -> str:
        return first * limit

    graph = plan(first, second, Step("each", act, foreach="urls"))

    assert graph.expected_inputs == {"query": True, "limit": True, "urls": True}


def test_a_key_that_a_step_writes_is_no_expected_input() -> None:
    @step(write_keys=["total", "parts"])
    def total() -> int:
        return 1

    assert plan(total, Step("each", act, foreach="parts")).expected_inputs == {}


def test_a_default_makes_an_expected_input_optional() -> None:
    @step
    def only(limit: int = 10) -> int:
        return limit

    assert plan(only).expected_inputs == {"limit": False}


def test_terminal_steps_are_those_on_which_nothing_depends() -> None:
    graph = numbered(5, [(0, 1), (0, 2), (3, 2)])

    assert graph.terminal == ("s1", "s2", "s4")


# --- order


@given(dags())
def test_the_order_is_the_first_of_all_topological_orders(drawn: tuple[int, Edges]) -> None:
    graph, expected = numbered(*drawn), oracle(*drawn)

    assert names(graph.execution_order()) == list(
        nx.lexicographical_topological_sort(expected, key=graph.index.__getitem__)
    )
    assert list(graph.outline) == names(graph.topological_sort())
    assert graph.validate() == []


@given(dags())
def test_the_dag_is_the_plan(drawn: tuple[int, Edges]) -> None:
    graph, expected = numbered(*drawn), oracle(*drawn)

    assert nx.utils.graphs_equal(graph.dag, expected) or (
        set(graph.dag.edges) == set(expected.edges) and list(graph.dag) == names(graph.steps)
    )
    assert nx.is_frozen(graph.dag)
    assert all(graph.dag.nodes[name]["step"] is graph.get_step(name) for name in graph.dag)


def test_a_plan_that_is_only_run_imports_no_networkx() -> None:
    code = (
        "import sys; from kairos.plan import TaskGraph; from kairos.step import Step\n"
        "def act(ctx): return 1\n"
        "g = TaskGraph('p', [Step('b', act, depends_on=['a']), Step('a', act)])\n"
        "g.check(); g.order, g.outline, g.terminal, g.to_mermaid()\n"
        "sys.exit('networkx' in sys.modules)"
    )
    here = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=here, check=False).returncode == 0


# --- faults


@given(digraphs())
def test_a_cycle_is_reported_exactly_where_there_is_one(drawn: tuple[int, Edges]) -> None:
    graph, expected = numbered(*drawn), oracle(*drawn)
    knots = [knot for knot in nx.strongly_connected_components(expected) if len(knot) > 1]

    faults = graph.validate()

    assert len(faults) == len(knots)
    for fault in faults:
        path = fault.message.partition(": ")[2].split(" → ")
        assert path[0] == path[-1] == fault.step_id
        assert all(expected.has_edge(a, b) for a, b in pairwise(path))
        assert len(set(path)) == len(path) - 1


def test_a_cycle_is_shown_as_a_path_with_the_place_of_each_step() -> None:
    a = Step("a", act, depends_on=["b"])
    b = Step("b", act, depends_on=["a"])

    (fault,) = plan(a, b).validate()

    assert "a → b → a" in fault.message
    assert fault.where is a.place
    assert fault.found == f"a ({a.place}) → b ({b.place}) → a ({a.place})"
    with pytest.raises(PlanError, match="a → b → a"):
        _ = plan(a, b).order


def test_a_long_cycle_is_shown_cut_short() -> None:
    count = 5_000
    ring = [(i, (i + 1) % count) for i in range(count)]

    (fault,) = numbered(count, ring).validate()

    assert "s8 → s9 → … 4989 more … → s4999 → s0" in fault.message
    assert len(str(fault)) < 1_500


def test_a_second_step_of_a_name_is_a_fault_that_points_at_both() -> None:
    first = Step("a", act)
    second = Step("a", act)

    (fault,) = plan(first, second).validate()

    assert fault.step_id == "a"
    assert fault.where is second.place
    assert str(first.place) in (fault.found or "")


@pytest.mark.parametrize("name, fix", [("fetsh", "did you mean 'fetch'?"), ("zzz", "add the step")])
def test_a_missing_dependency_is_named_and_the_nearest_step_offered(name: str, fix: str) -> None:
    (fault,) = plan(Step("fetch", act), Step("score", act, depends_on=[name])).validate()

    assert fault.step_id == "score"
    assert f"'{name}'" in fault.message
    assert fix in (fault.fix or "")


@step
def loop(loop: str) -> str:
    return loop


@pytest.mark.parametrize(
    "selfish, words",
    [
        (Step("a", act, depends_on=["a"]), "depends on itself"),
        (Step("a", act, foreach="a"), "through its foreach"),
        (loop, "through one of its parameters"),
    ],
    ids=["declared", "foreach", "parameter"],
)
def test_a_step_that_depends_on_itself_is_a_fault(selfish: Any, words: str) -> None:
    graph = plan(selfish)

    (fault,) = graph.validate()

    assert words in fault.message
    with pytest.raises(PlanError, match="itself"):
        _ = graph.order


def test_check_raises_the_first_fault_and_notes_the_others() -> None:
    graph = plan(Step("a", act), Step("a", act), Step("b", act, depends_on=["x", "b"]))

    with pytest.raises(PlanError, match="two steps are named 'a'") as raised:
        graph.check()

    assert isinstance(raised.value, GraphError)
    assert [other.step_id for other in raised.value.others] == ["b", "b"]
    notes = "\n".join(raised.value.__notes__)
    assert "'x'" in notes
    assert "'b' depends on itself" in notes


def test_check_of_a_wholly_wrong_plan_stays_short() -> None:
    graph = plan(*(Step(f"s{i}", act, depends_on=[f"x{i}"]) for i in range(200)))

    with pytest.raises(PlanError) as raised:
        graph.check()

    assert len(raised.value.__notes__) == 21
    assert raised.value.__notes__[-1] == "and 179 more faults in plan 'plan'"


def test_an_empty_plan_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="no name"):
        TaskGraph("", [Step("a", act)])


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="made of steps"):
        plan(3)  # type: ignore[arg-type]


# --- neighbours and cascades


@pytest.mark.parametrize("ask", ["get_step", "get_dependencies", "get_dependents"])
def test_an_unknown_step_is_an_error_with_the_nearest_name(ask: str) -> None:
    with pytest.raises(PlanError, match="did you mean 'fetch'") as raised:
        getattr(plan(Step("fetch", act)), ask)("fecth")
    assert raised.value.step_id == "fecth"


@given(dags(), st.data())
def test_ready_and_cascading_steps_are_what_the_graph_says(
    drawn: tuple[int, Edges], data: st.DataObject
) -> None:
    graph, expected = numbered(*drawn), oracle(*drawn)
    some = st.sets(st.sampled_from(names(graph.steps)))
    completed, failed = data.draw(some), data.draw(some)

    ready = graph.get_ready_steps(completed, failed)
    skipped = graph.get_cascade_skip_steps(failed | {"no-such-step"}, completed)

    settled = completed | failed
    assert names(ready) == [
        name
        for name in graph.index
        if name not in settled and set(expected.predecessors(name)) <= completed
    ]
    below = {name for root in failed for name in nx.descendants(expected, root)}
    assert names(skipped) == [name for name in graph.index if name in below - settled]


# --- size


@pytest.mark.parametrize("shape", ["reversed chain", "star", "reversed star"])
def test_a_hundred_thousand_steps_in_any_order_are_a_plan(shape: str) -> None:
    count = 100_000
    if "chain" in shape:
        edges = [(i + 1, i) for i in range(count - 1)]
    elif shape == "star":
        edges = [(0, i) for i in range(1, count)]
    else:
        edges = [(i, 0) for i in range(1, count)]
    graph = numbered(count, edges)

    graph.check()

    assert sorted(graph.order) == list(range(count))
    assert graph.order[0] == {"reversed chain": count - 1, "star": 0, "reversed star": 1}[shape]
    assert len(graph.get_cascade_skip_steps({f"s{graph.order[0]}"}, set())) in (count - 1, 1)


# --- splicing


def test_a_spliced_plan_keeps_every_position_and_adds_at_the_end() -> None:
    graph = plan(Step("end", act, depends_on=["work"]), Step("work", act), Step("other", act))
    renewed = Step("work", act, depends_on=["prepare"])

    spliced = graph.splice("work", [Step("prepare", act), renewed])

    assert names(spliced.steps) == ["end", "work", "other", "prepare"]
    assert spliced.get_step("work") is renewed
    assert names(spliced.execution_order()) == ["other", "prepare", "work", "end"]
    assert names(graph.steps) == ["end", "work", "other"]


def test_a_splice_may_take_a_function() -> None:
    @step
    def work(seed: int) -> int:
        return seed

    assert plan(Step("work", act)).splice("work", [work]).expected_inputs == {"seed": True}


@pytest.mark.parametrize(
    "at, new, words",
    [
        ("work", [Step("other", act)], "do not include 'work'"),
        ("work", [], "no step at all"),
        ("work", [Step("work", act), Step("end", act)], "two steps are named 'end'"),
        ("work", [Step("work", act), Step("x", act), Step("x", act)], "two steps are named 'x'"),
        ("work", [Step("work", act), Step("work", act)], "two steps are named 'work'"),
        ("work", [Step("work", act, depends_on=["end"])], "work → end → work"),
        ("work", [Step("work", act, depends_on=["nowhere"])], "no step of this plan"),
        ("wrok", [Step("wrok", act)], "did you mean 'work'"),
    ],
)
def test_a_splice_that_would_break_the_plan_is_refused(
    at: str, new: list[Step], words: str
) -> None:
    graph = plan(Step("work", act), Step("end", act, depends_on=["work"]))

    with pytest.raises(PlanError) as raised:
        graph.splice(at, new)

    assert words in str(raised.value)


# --- other forms


def test_a_plan_comes_back_from_its_json() -> None:
    @step(foreach="fetch", retries=2, timeout=1.5)
    def score(fetch: list[str], item: str, ghost: int = 0) -> int:
        return len(item) + ghost

    graph = TaskGraph(
        "plan",
        [
            score,
            Step(
                "fetch",
                act,
                config=StepConfig(foreach_policy="allow_partial"),  # type: ignore[arg-type]
                read_keys=[],
                write_keys=["fetch", "extra"],
                failure_policy=FailurePolicy(max_retries=7),
            ),
        ],
        {"owner": "me"},
    )

    data = json.loads(json.dumps(graph.to_dict()))
    back = TaskGraph.from_dict({**data, "added later": 1})

    assert back.to_dict() == data
    assert back.outline == graph.outline
    assert back.metadata == {"owner": "me"}
    assert back.get_step("fetch").failure_policy == FailurePolicy(max_retries=7)
    assert back.get_step("score").config == graph.get_step("score").config


def test_a_faulty_plan_comes_back_with_its_faults() -> None:
    graph = plan(Step("a", act, depends_on=["a", "missing"]), Step("a", act))

    back = TaskGraph.from_dict(graph.to_dict())

    assert [fault.message for fault in back.validate()] == [
        fault.message for fault in graph.validate()
    ]


def test_an_action_read_from_plain_data_says_that_it_is_none() -> None:
    graph = TaskGraph.from_dict({"name": "p", "steps": [{"name": "a"}]})

    with pytest.raises(PlanError, match="has no action"):
        graph.get_step("a").action(None)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"name": "p"},
        {"name": 1, "steps": []},
        {"name": "p", "steps": "a"},
        {"name": "p", "steps": ["a"]},
        {"name": "p", "steps": [{}]},
        {"name": "p", "steps": [{"name": "a", "depends_on": "b"}]},
        {"name": "p", "steps": [{"name": "a", "depends_on": [1]}]},
        {"name": "p", "steps": [{"name": "a", "config": []}]},
        {"name": "p", "steps": [{"name": "a", "config": {"retries": -1}}]},
        {"name": "p", "steps": [], "metadata": 3},
    ],
)
def test_data_that_is_no_plan_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError):
        TaskGraph.from_dict(data)


def test_a_plan_is_drawn_as_mermaid() -> None:
    graph = plan(
        Step("fetch", act),
        Step("each", act, foreach="fetch"),
        Step("maybe", act, depends_on=["fetch"], when=bool),
    )

    assert graph.to_mermaid() == (
        "flowchart TD\n"
        '    n0["fetch"]\n'
        '    n1[["each"]]\n'
        '    n2{{"maybe"}}\n'
        "    n0 --> n1\n"
        "    n0 --> n2\n"
    )
