"""What can be reached from a scoped step's context, by every way that leads on from an object.

A step in a thread shares its process with the run, so no wall can be complete: whoever walks up
the stack (`sys._getframe`), asks the collector for all objects, or for what refers to a given
one, finds the engine.  What holds, and is tested here, is that nothing that an action is handed
leads there: no attribute, slot, closure, bound method, default, partial or task of it, followed
to the end through all that the collector says it refers to.  Types, modules and the globals of
functions are not followed: they lead from any object to everything that is imported.

For a step with `isolation="process"` the wall is complete, frames and referrers included: see
`test_nothing_unreadable_can_be_found_in_the_worker` in tests/test_processes.py.
"""

from __future__ import annotations

import functools
import gc
import types
from typing import TYPE_CHECKING, Any

import pytest

from kairos import Step, StepContext, StepExecutor, TaskGraph, Workflow
from kairos.attempt import Recipe, Surroundings, Work
from kairos.context import Fence
from kairos.engine.core import Engine
from kairos.engine.crew import Crew
from kairos.engine.fanout import FanOut
from kairos.engine.record import Record
from kairos.machine import Machine
from kairos.state import ScopedStateProxy, StateStore
from kairos.testing import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OF_THE_RUN = (
    Crew,
    Engine,
    FanOut,
    Fence,
    Machine,
    Recipe,
    Record,
    Recorder,
    Step,
    StateStore,
    Surroundings,
    TaskGraph,
    Work,
    Workflow,
)
NOT_FOLLOWED = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType)
MARK = "unreadable-marker"


def leads_to(thing: object) -> Iterator[object]:
    """Yield what an object leads to: all its references, but for those to the whole program."""
    if isinstance(thing, types.FunctionType):
        yield from (thing.__closure__, thing.__defaults__, thing.__kwdefaults__, thing.__dict__)
        return
    if isinstance(thing, types.BuiltinFunctionType):  # a bound one holds what it is bound to
        yield thing.__self__
        return
    yield from gc.get_referents(thing)
    for name in dir(type(thing)):  # properties, which the collector does not see
        if isinstance(getattr(type(thing), name, None), property):
            try:
                yield getattr(thing, name)
            except Exception:  # noqa: BLE001, S112 - a property that refuses leads nowhere
                continue


def reachable(start: object) -> list[object]:
    """Return everything that can be reached from an object."""
    seen: dict[int, object] = {}
    todo = [start]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, NOT_FOLLOWED[:3]):
            continue
        seen[id(thing)] = thing
        todo += leads_to(thing)
    return list(seen.values())


def found_from(start: object) -> list[str]:
    """Return what can be reached from an object and should not be."""
    found = []
    for thing in reachable(start):
        if isinstance(thing, OF_THE_RUN):
            found.append(type(thing).__name__)
        elif (isinstance(thing, str) and MARK in thing) or (
            isinstance(thing, bytes) and MARK.encode() in thing
        ):
            found.append("what is unreadable")
    return found


def secret() -> str:
    """Return something that is written nowhere in this file as it is."""
    return f"{MARK[:4]}{MARK[4:]}-value"


def make_workflow(name: str, action: Callable[..., Any], **options: Any) -> Workflow:
    return Workflow(
        "w",
        [
            Step("fetch", lambda ctx: {"title": "readable"}),
            Step("hidden", lambda ctx: secret()),
            Step(name, action, depends_on=["fetch", "hidden"], **options),
        ],
        hooks=[Recorder()],
    )


WAYS: dict[str, dict[str, Any]] = {
    "inline": {},
    "on a thread": {"parallel": True},
    "within a time": {"timeout": 60},
    "of a foreach": {"foreach": "xs"},
    "of a parallel foreach": {"foreach": "xs", "parallel": True},
    "of its second attempt": {"retries": 1},
    "with a predicate": {"when": lambda ctx: True},
    "with a contract": {"output_contract": list[str], "input_contract": dict[str, Any]},
}
INPUTS = {"xs": [{"n": 1}, {"n": 2}], "api_key": secret()}
KEYS = ["fetch", "xs"]


def look(ctx: StepContext) -> list[str]:
    if ctx.attempt == 1 and ctx.step_id == "again":
        raise ValueError
    _ = dict(ctx.inputs), ctx.state.get("fetch"), ctx.item, ctx.retry_context, ctx.cancelled
    ctx.charge(llm_calls=1)
    return found_from(ctx)


async def look_async(ctx: StepContext) -> list[str]:
    return look(ctx)


def everything(value: Any) -> list[str]:
    """Flatten the lists of a foreach."""
    return [w for each in value for w in (each if isinstance(each, list) else [each])]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("action", [look, look_async])
def test_no_store_and_nothing_unreadable_can_be_reached_from_a_context(
    action: Callable[..., Any], way: str
) -> None:
    name = "again" if "retries" in WAYS[way] else "look"
    result = make_workflow(name, action, read_keys=KEYS, **WAYS[way]).run(INPUTS)
    assert result.status == "complete", result.error
    assert everything(result.output) == []


async def test_nothing_can_be_reached_from_a_context_on_the_callers_loop() -> None:
    result = await make_workflow("look", look_async, read_keys=KEYS).run_async(INPUTS)
    assert (result.status, result.output) == ("complete", [])


def test_nothing_can_be_reached_from_what_a_typed_step_is_given() -> None:
    def typed(fetch: dict[str, str], xs: list[dict[str, int]], ctx: StepContext) -> list[str]:
        return [*found_from(fetch), *found_from(xs), *found_from(ctx)]

    result = make_workflow("typed", typed).run(INPUTS)
    assert (result.status, result.output) == ("complete", [])


def test_nothing_can_be_reached_while_a_cancellation_is_on_its_way() -> None:
    """An async attempt can be cancelled from outside: by a handle that it does not hold."""
    seen: list[list[str]] = []

    async def action(ctx: StepContext) -> None:
        seen.append(found_from(ctx))
        run.cancel()
        seen.append(found_from(ctx))

    import threading

    ready = threading.Event()

    def first(ctx: StepContext) -> None:
        ready.wait(20)

    workflow = Workflow(
        "w",
        [
            Step("first", first, read_keys=[]),
            Step("look", action, depends_on=["first"], read_keys=[]),
        ],
    )
    run = workflow.start()
    ready.set()
    run.result(20)
    assert seen == [[], []]


def test_the_view_of_a_store_that_was_given_from_outside_leads_to_no_store() -> None:
    state = StateStore()
    state.merge({"api_key": secret(), "fetch": 1})
    result = StepExecutor(state).run(TaskGraph("g", [Step("look", look, read_keys=["fetch"])]))
    assert (result.status, result.output) == ("complete", [])


def test_a_predicate_and_a_gate_are_handed_no_more_than_the_step() -> None:
    seen: list[list[str]] = []

    def when(ctx: StepContext) -> bool:
        seen.append(found_from(ctx))
        return True

    for foreach in (None, "xs"):
        workflow = make_workflow("look", lambda ctx: 1, read_keys=KEYS, when=when, foreach=foreach)
        assert workflow.run(INPUTS).status == "complete"
    assert seen == [[], []]


def test_what_is_left_of_a_context_after_its_attempt_leads_nowhere_either() -> None:
    kept: list[StepContext] = []
    workflow = make_workflow("keep", kept.append, read_keys=KEYS)
    workflow.run(INPUTS)
    assert found_from(kept) == []


# -- the walk itself ------------------------------------------------------------------------------


class Slotted:
    __slots__ = ("_deep",)

    def __init__(self, deep: object) -> None:
        self._deep = deep

    def method(self) -> object:
        return self._deep


class Computed:
    def __init__(self, store: StateStore) -> None:
        self._get: Callable[[], StateStore] = lambda: store

    @property
    def store(self) -> StateStore:
        return self._get()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda store: [store],
        lambda store: {"a": (store,)},
        Slotted,
        lambda store: Slotted(store).method,
        lambda store: lambda: store,
        lambda store: lambda given=store: given,
        lambda store: functools.partial(print, store),
        lambda store: store.get,
        lambda store: [store].append,
        lambda store: store.values,
        Computed,
        lambda store: store.scoped(["a"], []),
        lambda store: types.MappingProxyType({"a": store}),
        lambda store: (each for each in [store]),
    ],
)
def test_the_walk_finds_a_store_wherever_it_is_hidden(wrap: Any) -> None:
    store = StateStore()
    store.set("a", secret())
    assert found_from(wrap(store))


def test_a_view_made_for_a_step_holds_what_may_be_read_and_nothing_else() -> None:
    view = ScopedStateProxy({"a": b"1"}, frozenset(["a"]), frozenset(["out"]))
    assert found_from(view) == []
