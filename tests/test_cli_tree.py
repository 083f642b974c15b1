"""A plan drawn as a tree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kairos.cli.tree import layout

Plan = dict[str, tuple[str, ...]]


def drawn(plan: Plan) -> str:
    return "\n".join(before + name for before, name in layout(plan))


def test_a_chain_stays_on_one_level() -> None:
    assert drawn({"a": (), "b": ("a",), "c": ("b",)}) == "├─ a\n├─ b\n└─ c"


def test_a_fork_is_indented_and_a_join_comes_back() -> None:
    plan: Plan = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("d",)}
    assert drawn(plan) == "├─ a\n│  ├─ b\n│  └─ c\n├─ d\n└─ e"


def test_what_follows_one_of_several_stands_below_it() -> None:
    plan: Plan = {"a": (), "b": (), "a2": ("a",), "a3": ("a2",), "b2": ("b",)}
    assert drawn(plan) == "├─ a\n│  ├─ a2\n│  └─ a3\n└─ b\n   └─ b2"


def test_a_join_of_separate_beginnings_is_a_beginning_of_its_own() -> None:
    assert drawn({"a": (), "b": (), "c": ("a", "b")}) == "├─ a\n├─ b\n└─ c"


@given(st.data())
def test_every_step_is_drawn_once(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 25))
    plan: Plan = {}
    for number in range(count):
        above = st.lists(st.sampled_from([*plan]), unique=True, max_size=4) if plan else st.just([])
        plan[f"s{number}"] = tuple(data.draw(above))
    rows = layout(plan)
    assert sorted(name for _, name in rows) == sorted(plan)
    assert all(before.endswith(("├─ ", "└─ ")) for before, _ in rows)
