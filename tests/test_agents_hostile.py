"""Agents whose tools, models and callbacks do what nobody should: each fails alone, and ends."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kairos.agents import (
    AgentResult,
    Allow,
    Ask,
    Deny,
    Question,
    Tool,
    ToolContext,
    ToolRequest,
    ToolStarted,
    agent,
    event_from_plain,
    event_to_plain,
)
from kairos.agents.agent import Agent
from kairos.testing import CallTool, ScriptedModel

if TYPE_CHECKING:
    from kairos.agents.events import AgentEvent


def run_plain(made: Agent) -> AgentResult:
    return made.run("go")


def run_async(made: Agent) -> AgentResult:
    return asyncio.run(made.run_async("go"))


DRIVERS = pytest.mark.parametrize("run", [run_plain, run_async])
Run = Callable[[Agent], AgentResult]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


@Tool
def fine(number: int = 0) -> int:
    return number


def calling(*calls: CallTool, tools: Any, **options: Any) -> Agent:
    return agent(ScriptedModel([calls, "ok"]), tools=[*tools, fine], **options)


def outcomes(result: AgentResult) -> dict[str, str]:
    return {each.tool: each.outcome for each in result.actions}


# --- what tools raise


class Mute(Exception):  # noqa: N818 - it is the worst kind
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Own(BaseException):
    pass


RAISED: dict[str, Callable[[], BaseException]] = {
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": lambda: StopIteration(3),
    "StopAsyncIteration": StopAsyncIteration,
    "SystemExit": lambda: SystemExit(1),
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "TimeoutError": TimeoutError,
    "group": lambda: ExceptionGroup("g", [ValueError("hunter2"), TypeError()]),
    "base group": lambda: BaseExceptionGroup("g", [KeyboardInterrupt(), ValueError("hunter2")]),
    "mute": Mute,
    "own": Own,
    "secret": lambda: OSError("password=hunter2"),
}


def raising(kind: str, made: Callable[[], BaseException]) -> Any:
    def sync() -> str:
        raise made()

    async def at_once() -> str:
        raise made()

    async def later() -> str:
        await asyncio.sleep(0)
        raise made()

    def generator() -> Iterator[str]:
        yield "a"
        raise made()

    async def async_generator() -> AsyncIterator[str]:
        yield "a"
        raise made()

    def closing() -> Iterator[str]:
        try:
            yield "a"
        finally:
            raise made()

    return {each.__name__: each for each in
            (sync, at_once, later, generator, async_generator, closing)}[kind]  # fmt: skip


@DRIVERS
@pytest.mark.parametrize("options", [{}, {"timeout": 30.0}])
@pytest.mark.parametrize("siblings", [0, 1])
@pytest.mark.parametrize(
    "kind", ["sync", "at_once", "later", "generator", "async_generator", "closing"]
)
@pytest.mark.parametrize("raised", RAISED)
def test_whatever_a_tool_raises_it_fails_alone(
    run: Run, raised: str, kind: str, siblings: int, options: dict[str, Any]
) -> None:
    bad = Tool(raising(kind, RAISED[raised]), name="bad", **options)
    calls = [CallTool("bad", {}), *[CallTool("fine", {"number": 1})] * siblings]
    result = run(calling(*calls, tools=[bad]))
    assert result.answer == "ok"
    assert outcomes(result) == {"bad": "failed"} | ({"fine": "done"} if siblings else {})
    assert "hunter2" not in json.dumps([event_to_plain(each) for each in result.events])


@pytest.mark.parametrize("kind", ["at_once", "later", "async_generator"])
def test_an_interrupt_of_a_tools_own_beside_the_program_fails_it(kind: str) -> None:
    bad = Tool(raising(kind, KeyboardInterrupt), name="bad")
    assert outcomes(run_plain(calling(CallTool("bad", {}), tools=[bad]))) == {"bad": "failed"}


@DRIVERS
def test_an_interrupt_where_the_program_is_ends_it(run: Run) -> None:
    kind = "sync" if run is run_plain else "later"
    with pytest.raises(KeyboardInterrupt):
        run(
            calling(CallTool("bad", {}), tools=[Tool(raising(kind, KeyboardInterrupt), name="bad")])
        )


# --- what tools return


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@DRIVERS
@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize(
    "value, outcome",
    [
        ("a\ud800b", "failed"),
        (["\udfff"], "failed"),
        (float("nan"), "failed"),
        ([float("inf")], "failed"),
        (nested(5000), "failed"),
        (itself(), "failed"),
        (b"\xff", "failed"),
        ({1: 2}, "failed"),
        (10**5000, "failed"),
        ("a\x00b", "done"),
        ("x" * 10_000_000, "done"),
    ],
    ids=[
        "surrogate", "surrogates", "NaN", "infinity", "deep", "itself", "bytes", "keys", "huge",
        "NUL", "10 MB",
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_a_failure_and_what_is_long_is_cut(
    run: Run, value: Any, outcome: str, annotated: bool
) -> None:
    def plain():  # type: ignore[no-untyped-def]  # noqa: ANN202 - that is what it is about
        return value

    def anything() -> Any:
        return value

    made = Tool(anything if annotated else plain, name="give")
    result = run(calling(CallTool("give", {}), tools=[made]))
    assert outcomes(result) == {"give": outcome}
    assert len(result.actions[0].output) < 110_000
    again = json.loads(json.dumps([event_to_plain(each) for each in result.events]))
    assert tuple(map(event_from_plain, again)) == result.events


def endless() -> Iterator[str]:
    while True:
        yield "x"


async def endless_async() -> AsyncIterator[str]:
    while True:
        yield "x"  # it never waits for anything


async def endless_waiting() -> AsyncIterator[str]:
    while True:
        await asyncio.sleep(0)
        yield "x"


def endless_badly() -> Iterator[str]:
    try:
        while True:
            yield "x"
    finally:
        raise ValueError("on closing")


async def endless_badly_async() -> AsyncIterator[str]:
    try:
        while True:
            await asyncio.sleep(0)
            yield "x"
    finally:
        raise ValueError("on closing")


ENDLESS = [endless, endless_async, endless_waiting, endless_badly, endless_badly_async]


@DRIVERS
@pytest.mark.parametrize("function", ENDLESS)
def test_a_stream_without_end_is_given_up_in_time(run: Run, function: Any) -> None:
    made = Tool(function, name="bad", timeout=0.1)
    result = run(calling(CallTool("bad", {}), CallTool("fine", {}), tools=[made]))
    assert outcomes(result) == {"bad": "timeout", "fine": "done"}
    assert result.answer == "ok"


@DRIVERS
@pytest.mark.parametrize("function", ENDLESS)
def test_a_stream_without_end_ends_with_its_task(run: Run, function: Any) -> None:
    made = Tool(function, name="bad")
    result = run(calling(CallTool("bad", {}), CallTool("fine", {}), tools=[made], max_seconds=0.1))
    assert result.stop_reason == "seconds"
    assert outcomes(result)["bad"] == "cancelled"


# --- what models ask for


def take(x: Any = None, n: int = 0, s: str = "") -> str:
    return f"{n} {s!a}"


@DRIVERS
@pytest.mark.parametrize(
    "options",
    [{}, {"guards": [lambda r: Allow()], "mode": "supervised", "approve": lambda q: True}],
    ids=["alone", "supervised"],
)
@pytest.mark.parametrize(
    "arguments, told",
    [
        ('{"x": ' + "[" * 5000 + "]" * 5000 + "}", None),
        ('{"x": ' + '{"a": ' * 5000 + "1" + "}" * 5001, None),
        ("[" * 500_000, None),
        ('{"n": ' + "9" * 5000 + "}", None),
        ('{"x": 1e400}', None),
        ('{"x": 1e999999999}', None),
        ('{"x": NaN}', None),
        ('{"x": -Infinity}', None),
        ('{"s": "\\ud800"}', None),
        ('{"\\ud800": 1}', None),
        ('{"s": "a\x00b"}', None),
        ('{"' + "k" * 500_000 + '": 1}', None),
        ("\ufeff{}", None),
        ("{} {}", None),
        ("null", None),
        ('{"n": 1, "n": 2}', "2 ''"),
        ('{"s": "a\\u0000b"}', "0 'a\\x00b'"),
        ("", "0 ''"),
    ],
)
def test_arguments_of_any_kind_are_refused_or_arrive(
    run: Run, arguments: str, told: str | None, options: dict[str, Any]
) -> None:
    result = run(calling(CallTool("take", arguments), tools=[take], **options))
    (action,) = result.actions
    assert action.outcome == ("invalid" if told is None else "done")
    assert action.output == told or (told is None and len(action.output) < 500)


@DRIVERS
@pytest.mark.parametrize("arguments", ["[" * 5000, '{"answer": ' + "[" * 5000 + "]" * 5000 + "}"])
@pytest.mark.parametrize("options", [{}, {"answer_via": "tool"}, {"mode": "autonomous"}])
def test_an_answer_of_any_depth_is_a_wrong_one(
    run: Run, arguments: str, options: dict[str, Any]
) -> None:
    said: Any = CallTool("final_answer", arguments) if options else arguments
    model = ScriptedModel([said] * 3)
    assert run(agent(model, output=list[int], **options)).stop_reason == "invalid_answer"


@DRIVERS
@pytest.mark.parametrize(
    "name", ["nothing", "", "n" * 500_000, "\ud800", "\x00", "fine\n", "FINE", "final_answer"]
)
def test_a_tool_that_there_is_not_is_told_of(run: Run, name: str) -> None:
    result = run(calling(CallTool(name, {}), CallTool("fine", {}), tools=[]))
    assert outcomes(result) == {name: "unknown", "fine": "done"}
    told = next(each.output for each in result.actions if each.tool == name)
    assert len(told) < 100


async def wait(number: int) -> int:
    await asyncio.sleep(0)
    return number


@DRIVERS
@pytest.mark.parametrize("function", [fine, Tool(wait)])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_thousand_calls_of_a_turn_are_made_and_told_in_order(
    run: Run, function: Tool, timeout: float | None
) -> None:
    made = Tool(function.function, name="many", timeout=timeout)
    calls = [CallTool("many", {"number": number}) for number in range(1000)]
    result = run(calling(*calls, tools=[made]))
    told = [part for m in result.messages if m.role == "tool" for part in m.parts]
    assert [part.content for part in told] == [str(n) for n in range(1000)]  # type: ignore[union-attr]


# --- many at once


def busy(number: int) -> Agent:
    calls = (CallTool("fine", {"number": number}), CallTool("wait", {"number": number}))
    return agent(ScriptedModel([calls, calls, "ok"]), tools=[fine, wait])


def test_two_hundred_agents_on_threads_leave_none_behind() -> None:
    results: list[AgentResult] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(busy(n).run("go"))) for n in range(200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [each.answer for each in results] == ["ok"] * 200
    assert all(len(each.actions) == 4 for each in results)


async def test_two_hundred_agents_on_a_loop_leave_no_task_behind() -> None:
    results = await asyncio.gather(*(busy(n).run_async("go") for n in range(200)))
    assert [each.answer for each in results] == ["ok"] * 200
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_two_hundred_streams_that_nobody_reads_on_leave_no_task_behind() -> None:
    for number in range(200):
        stream = busy(number).stream_async("go")
        for _ in range(number % 7):
            await anext(stream)
        await stream.aclose()
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_streams_that_nobody_reads_on_leave_no_thread_behind() -> None:
    for number in range(50):
        stream = busy(number).stream("go")
        for _ in range(number % 7):
            next(stream)
        stream.close()


# --- tools that do not stop


@DRIVERS
@pytest.mark.parametrize("how", [{"timeout": 0.1}, {}])
def test_an_async_tool_that_swallows_its_cancellation_does_not_hold_the_task(
    run: Run, how: dict[str, Any]
) -> None:
    released = threading.Event()

    async def stubborn() -> str:
        while not released.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                released_later.start()
        return "late"

    released_later = threading.Timer(0.3, released.set)
    options = {} if how else {"max_seconds": 0.1}
    result = run(calling(CallTool("stubborn", {}), tools=[Tool(stubborn, **how)], **options))
    assert result.stop_reason == ("answered" if how else "seconds")
    assert outcomes(result) == {"stubborn": "timeout" if how else "cancelled"}
    released_later.join()


@DRIVERS
def test_a_tool_on_a_thread_that_ignores_its_end_does_not_hold_the_task(run: Run) -> None:
    released = threading.Event()

    def stubborn() -> str:
        released.wait(30)
        return "late"

    made = calling(CallTool("stubborn", {}), tools=[stubborn], max_seconds=0.1)
    result = run(made)
    assert result.stop_reason == "seconds"
    assert outcomes(result) == {"stubborn": "cancelled"}
    released.set()


@DRIVERS
@pytest.mark.parametrize("strategy", ["tell", "retry"])
def test_a_tool_whose_time_is_up_is_told_so_and_its_next_attempt_is_not(
    run: Run, strategy: Any
) -> None:
    ended: list[int] = []

    def patient(ctx: ToolContext) -> str:
        if began:
            return "at once" if not ctx.cancelled else "told wrongly"
        began.append(1)
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        ended.append(1)
        return "late"

    began: list[int] = []
    made = Tool(patient, timeout=0.1)
    result = run(calling(CallTool("patient", {}), tools=[made], on_tool_error=strategy))
    assert result.answer == "ok"
    assert result.actions[0].outcome in ("timeout", "done")
    assert "wrongly" not in result.actions[0].output
    for thread in threading.enumerate():
        if thread.name.startswith("kairos-tool"):
            thread.join(10)
    assert ended


def test_an_async_tool_that_blocks_its_loop_does_not_hold_the_task() -> None:
    released = threading.Event()

    async def blocking() -> str:
        released.wait(30)
        return "late"

    result = calling(CallTool("blocking", {}), tools=[blocking], max_seconds=0.1).run("go")
    assert result.stop_reason == "seconds"
    assert outcomes(result) == {"blocking": "cancelled"}
    released.set()


@DRIVERS
def test_a_tool_that_is_stuck_keeps_nobody_out(run: Run) -> None:
    released = threading.Event()

    def stuck(number: int) -> str:
        released.wait(30)
        return "late"

    made = Tool(stuck, timeout=0.1, concurrency=1)
    calls = [CallTool("stuck", {"number": number}) for number in range(3)]
    for _ in range(2):
        result = run(calling(*calls, tools=[made]))
        assert [each.outcome for each in result.actions] == ["timeout"] * 3
    released.set()


@DRIVERS
def test_a_place_is_given_back_once_whatever_becomes_of_its_call(run: Run) -> None:
    async def wavering(number: int) -> int:
        if number % 3 == 0:
            raise OSError
        await asyncio.sleep(60 if number % 3 == 1 else 0)
        return number

    made = Tool(wavering, timeout=0.05, concurrency=2)
    calls = [CallTool("wavering", {"number": number}) for number in range(9)]
    for _ in range(3):
        result = run(calling(*calls, tools=[made]))
        assert len(result.actions) == 9
        assert {each.outcome for each in result.actions} <= {"done", "failed", "timeout"}
    for thread in threading.enumerate():
        if thread.name.startswith("kairos-tool"):
            thread.join(10)  # a place is held until its thread has ended
    taken = [made.slots.enter(lambda: None) for _ in range(3)]
    assert taken == [True, True, False]


def test_a_place_that_was_given_to_who_has_gone_is_given_on() -> None:
    held, going = threading.Event(), threading.Event()

    def narrow(number: int) -> int:
        held.set()
        going.wait(30)
        return number

    made = Tool(narrow, concurrency=1)
    calls = [CallTool("narrow", {"number": number}) for number in range(2)]
    stream = calling(*calls, tools=[made]).stream("go")
    for each in stream:
        if isinstance(each, ToolStarted):
            break
    assert held.wait(10)
    going.set()
    for thread in threading.enumerate():
        if thread.name.startswith("kairos-tool"):
            thread.join(10)  # its place has gone to the call that waits, which hears no more of it
    stream.close()
    assert made.slots.enter(lambda: None)


# --- callbacks


@DRIVERS
@pytest.mark.parametrize(
    "answer",
    [GeneratorExit, asyncio.CancelledError, SystemExit, Own, Mute, StopIteration, 1, "yes", [True],
     object(), Allow, Deny, ("allow",), AssertionError],
)  # fmt: skip
@pytest.mark.parametrize("asynchronous", [False, True])
def test_whatever_an_approval_does_but_say_yes_denies(
    run: Run, answer: Any, asynchronous: bool
) -> None:
    def approve(question: Question) -> Any:
        if isinstance(answer, type) and issubclass(answer, BaseException):
            raise answer
        return answer

    async def approve_async(question: Question) -> Any:
        return approve(question)

    asked = approve_async if asynchronous else approve
    result = run(calling(CallTool("fine", {}), tools=[], guards=[lambda r: Ask()], approve=asked))
    assert outcomes(result) == {"fine": "denied"}
    assert result.answer == "ok"


@DRIVERS
def test_an_approval_that_never_comes_back_is_a_no(run: Run) -> None:
    async def approve(question: Question) -> bool:
        await asyncio.Event().wait()
        return True

    made = calling(
        CallTool("fine", {}), tools=[], mode="supervised", approve=approve, approval_timeout=0.05
    )
    assert outcomes(run(made)) == {"fine": "denied"}


@DRIVERS
@pytest.mark.parametrize("raised", [GeneratorExit, asyncio.CancelledError, SystemExit, Own, Mute])
@pytest.mark.parametrize("option", ["guard", "before_tool"])
def test_whatever_a_guard_raises_denies(run: Run, raised: Any, option: str) -> None:
    def guard(request: ToolRequest) -> None:
        raise raised

    options: Any = {"guards": [guard]} if option == "guard" else {option: guard}
    assert outcomes(run(calling(CallTool("fine", {}), tools=[], **options))) == {"fine": "denied"}


@DRIVERS
@pytest.mark.parametrize("raised", [GeneratorExit, asyncio.CancelledError, SystemExit, Own, Mute])
@pytest.mark.parametrize("option", ["on_tool_error", "after_tool"])
def test_a_handler_that_raises_ends_the_task_with_its_reason(
    run: Run, raised: Any, option: str
) -> None:
    def handler(told: Any) -> None:
        raise raised

    def bad() -> str:
        raise OSError

    result = run(calling(CallTool("bad", {}), tools=[bad], **{option: handler}))
    assert result.stop_reason == "tool_failed"


@DRIVERS
def test_a_guard_that_changes_what_it_is_shown_changes_nothing(run: Run) -> None:
    def sly(request: ToolRequest) -> Allow:
        request.arguments["s"] = "/etc"  # type: ignore[index]
        request.arguments["x"].append(request)
        return Allow()

    given = CallTool("take", {"s": "a", "x": []})
    result = run(calling(given, tools=[take], guards=[sly, sly]))
    assert result.actions[0].output == "0 'a'"


@DRIVERS
def test_who_is_only_told_of_progress_ends_nothing(run: Run) -> None:
    def progress(said: Any) -> None:
        raise OSError("hunter2")

    with pytest.warns(RuntimeWarning, match="progress= of an agent raised OSError") as told:
        result = run(calling(CallTool("fine", {}), tools=[], progress=progress))
    assert result.answer == "ok"
    assert not any("hunter2" in str(each.message) for each in told)


@DRIVERS
def test_progress_may_be_async_and_is_waited_for(run: Run) -> None:
    told: list[str] = []

    async def progress(said: Any) -> None:
        await asyncio.sleep(0)
        told.append(type(said).__name__)
        if len(told) == 1:
            raise OSError

    with pytest.warns(RuntimeWarning, match="OSError"):
        run(calling(CallTool("fine", {}), tools=[], progress=progress))
    assert told == [
        "ModelAnswered", "ToolStarted", "ToolFinished", "Progress", "ModelAnswered", "Final",
    ]  # fmt: skip


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_session_tells_of_progress_too(asynchronous: bool) -> None:
    told: list[str] = []

    async def progress(said: Any) -> None:
        told.append(type(said).__name__)

    session = calling(CallTool("fine", {}), tools=[], progress=progress).session()
    if asynchronous:
        asyncio.run(session.send_async("go"))
    else:
        session.send("go")
    assert told[0] == "ModelAnswered"
    assert told[-1] == "Final"


@DRIVERS
@pytest.mark.parametrize("number", range(7))
def test_what_cannot_be_recorded_is_not_gone_on_from(run: Run, number: int) -> None:
    made: list[int] = []
    kept: list[AgentEvent] = []

    def write(path: str) -> str:
        made.append(1)
        return path

    def record(event: AgentEvent) -> None:
        if len(kept) == number:
            raise OSError(errno.ENOSPC, "the disk is full")
        kept.append(event)

    calls = (CallTool("write", {"path": "a"}), CallTool("write", {"path": "b"}))
    model = ScriptedModel([calls, "ok"])
    one = agent(model, tools=[write], guards=[lambda r: Allow()])
    with pytest.raises(OSError, match="full"):
        _recorded(one, record, plain=run is run_plain)
    assert len(kept) == number
    assert len(model.requests) == (0 if number < 1 else 2 if number > 5 else 1)
    assert len(made) <= max(0, number - 2)


def _recorded(one: Agent, record: Callable[[AgentEvent], None], *, plain: bool) -> AgentResult:
    if plain:
        return one.run("go", record=record)
    return asyncio.run(one.run_async("go", record=record))
