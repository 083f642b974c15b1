"""A session goes on: after each task, after a crash, and beside its forks."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kairos.agents import (
    AgentResult,
    Final,
    MemoryStore,
    SQLiteStore,
    ToolContext,
    ToolFinished,
    agent,
    event_from_plain,
    event_to_plain,
    tool,
)
from kairos.agents.events import (
    AgentEvent,
    Compacted,
    Decided,
    ModelAnswered,
    ModelFailed,
    SessionEnded,
    TaskEnded,
    TaskGiven,
)
from kairos.agents.sessions import Session
from kairos.exceptions import ConfigError, SessionConflictError, StoreError
from kairos.models import (
    Message,
    ModelError,
    Text,
    TextDelta,
    TokenUsage,
    ToolCall,
    ToolResult,
    as_messages,
)
from kairos.testing import CallTool, Reply, Say, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kairos.agents.agent import Agent
    from kairos.ports import SessionStore


@tool(effect="read")
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def send(session: Session, task: str) -> AgentResult:
    return session.send(task)


def send_async(session: Session, task: str) -> AgentResult:
    return asyncio.run(session.send_async(task))


def resume(session: Session) -> AgentResult:
    return session.resume()


def resume_async(session: Session) -> AgentResult:
    return asyncio.run(session.resume_async())


WAYS = pytest.mark.parametrize(
    "send, resume", [(send, resume), (send_async, resume_async)], ids=["sync", "async"]
)
Send = Callable[[Session, str], AgentResult]
Resume = Callable[[Session], AgentResult]


@pytest.fixture(name="store", params=["memory", "sqlite"])
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with SQLiteStore(tmp_path / "s.db", durable=False) as store:
        yield store


def paired(messages: Any) -> None:
    """Fail unless each call is followed by its result, and each result follows its call."""
    open_calls: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert [part.id for part in message.parts] == open_calls
            open_calls = []
        else:
            assert open_calls == []
            open_calls = [part.id for part in message.parts if isinstance(part, ToolCall)]
    assert open_calls == []


def kinds(session: Session) -> list[str]:
    return [type(each).__name__ for each in session.events]


@WAYS
def test_each_task_goes_on_from_what_was_said_before(
    store: SessionStore, send: Send, resume: Resume
) -> None:
    del resume
    model = ScriptedModel([CallTool("double", {"number": 2}), "four", "as I said: four", "bye"])
    made = agent(model, tools=[double])
    session = made.session("talk", store=store)
    assert send(session, "What is 2 + 2?").answer == "four"
    assert send(session, "Say it again.").answer == "as I said: four"
    assert [message.text for message in session.messages if message.role == "user"] == [
        "What is 2 + 2?",
        "Say it again.",
    ]
    again = made.session("talk", store=store)
    assert again.messages == session.messages
    assert again.events == session.events
    result = send(again, "Bye.")
    assert result.iterations == 1
    assert [len(request.messages) for request in model.requests] == [1, 3, 5, 7]
    assert session.usage.total_tokens == sum(
        each.usage.total_tokens for each in session.events if isinstance(each, ModelAnswered)
    )
    assert again.usage.input_tokens == (1 + 3 + 5 + 7) * 10
    paired(again.messages)


@WAYS
def test_a_result_tells_of_its_own_task_alone(send: Send, resume: Resume) -> None:
    del resume
    model = ScriptedModel(
        [CallTool("double", {"number": 2}), "four", CallTool("double", {"number": 3}), Reply()]
    )
    session = agent(model, tools=[double], max_iterations=1).session()
    assert [each.input for each in send(session, "a").actions] == ['{"number": 2}']
    second = send(session, "b")
    assert second.output == "four"
    assert second.actions == ()
    third = send(session, "c")
    assert [each.input for each in third.actions] == ['{"number": 3}']
    assert third.output == ""


def test_what_it_costs_is_the_sum_and_unknown_where_one_is() -> None:
    usage = TokenUsage(10, 5, 15, 0.25)
    priced = Reply((Say("a"),), usage=usage)
    session = agent(ScriptedModel([priced, priced, "unpriced"])).session()
    session.send("a")
    session.send("b")
    assert session.usage == TokenUsage(20, 10, 30, 0.5)
    assert session.cost == 0.5
    session.send("c")
    assert session.cost is None


# --- crashes


def crashed_at(plain: list[dict[str, Any]], length: int) -> SessionStore:
    """Return what is kept of a process that was killed after so many events."""
    store = MemoryStore()
    store.append("s", 0, plain[:length])
    return store


SCRIPT: list[Any] = [
    (CallTool("write", {"number": 1}, "w1"), CallTool("write", {"number": 2}, "w2")),
    "first",
    CallTool("write", {"number": 3}, "w3"),
    (CallTool("write", {"number": 4}, "w4"), CallTool("unheard_of", {}, "u")),
    "second",
]


def written_by(script: list[Any]) -> tuple[Agent, ScriptedModel, list[int]]:
    made: list[int] = []

    @tool
    def write(number: int) -> int:
        made.append(number)
        return number

    model = ScriptedModel(script)
    return agent(model, tools=[write]), model, made


def whole() -> tuple[Session, list[dict[str, Any]]]:
    made, _, _ = written_by(SCRIPT)
    store = MemoryStore()
    session = made.session("s", store=store)
    session.send("one")
    session.send("two")
    return session, store.read("s")


@WAYS
def test_a_session_killed_anywhere_resumes_and_pays_for_nothing_twice(
    send: Send, resume: Resume
) -> None:
    del send
    live, plain = whole()
    starts = [n for n, each in enumerate(plain) if each["type"] == "task_given"]
    for length in range(1, len(plain) + 1):
        kept = [event_from_plain(each) for each in plain[:length]]
        answers = sum(isinstance(each, ModelAnswered) for each in kept)
        made, model, written = written_by(SCRIPT[answers:])
        store = crashed_at(plain, length)
        session = made.session("s", store=store)
        paired(session.messages)
        assert session.unfinished is not isinstance(kept[-1], TaskEnded)
        if session.unfinished:
            second = length > starts[1]
            assert resume(session).answer == ("second" if second else "first")
            finished = [e.call for e in kept if isinstance(e, ToolFinished)]
            before = sum(call != "u" for call in finished)
            assert len(written) == (4 if second else 2) - before
            assert len(model.requests) == (5 if second else 2) - answers
            assert not session.unfinished
        expected = live.messages if length > starts[1] else live.messages[: len(session.messages)]
        assert session.messages == expected
        again = made.session("s", store=store)
        assert again.messages == session.messages
        assert again.usage == session.usage


@WAYS
def test_a_new_task_breaks_off_what_was_unfinished(send: Send, resume: Resume) -> None:
    del resume
    _, plain = whole()
    for length in range(1, len(plain) + 1):
        seen: list[Any] = []

        def answer(request: Any, seen: list[Any] = seen) -> Any:
            seen.append(list(request.messages))
            return "something else"

        made, _, written = written_by([answer])
        store = crashed_at(plain, length)
        session = made.session("s", store=store)
        assert send(session, "Something else.").answer == "something else"
        assert written == []
        paired(seen[0])
        paired(session.messages)
        assert session.messages[-2].text == "Something else."
        again = made.session("s", store=store)
        assert again.messages == session.messages
        assert not again.unfinished


CHILD = """
import sys, time
from kairos.agents import SQLiteStore, agent, tool
from kairos.testing import CallTool, ScriptedModel

@tool
def write(number: int) -> int:
    print(f"wrote {number}", flush=True)
    return number

def answer(request):
    said = sum(m.role == "assistant" for m in request.messages)
    print(f"asked {said}", flush=True)
    return CallTool("write", {"number": said}) if said % 3 else "done"

made = agent(ScriptedModel(answer), tools=[write], max_repeated_texts=None)
session = made.session("s", store=SQLiteStore(sys.argv[1], durable=False))
if session.unfinished:
    session.resume()
while True:
    session.send("go")
"""


def test_a_process_killed_again_and_again_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    import random

    chance = random.Random(11)  # noqa: S311 - when to kill
    path = tmp_path / "s.db"
    kept: list[dict[str, Any]] = []
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(chance.randrange(3, 90)):
            assert child.stdout.readline()
        child.kill()
        child.wait()
        child.stdout.close()
        with SQLiteStore(path) as store:
            now = store.read("s")
        assert now[: len(kept)] == kept
        kept = now
    store = SQLiteStore(path)
    session = agent(ScriptedModel(["end"]), tools=[_write]).session("s", store=store)
    paired(session.messages)
    answers = [e for e in session.events if isinstance(e, ModelAnswered)]
    # each answer is the one that was due, so that none was lost and none paid for twice
    for number, event in enumerate(answers):
        calls = [json.loads(p.arguments) for p in event.message.parts if isinstance(p, ToolCall)]
        assert calls == ([{"number": number}] if number % 3 else [])
    finished = [e.content for e in session.events if isinstance(e, ToolFinished)]
    assert len(set(finished)) == len(finished)
    assert session.send("the end").answer == "end"
    store.close()


@tool(name="write")
def _write(number: int) -> int:
    return number


# --- cancelled, failed, closed


@WAYS
def test_a_task_that_the_model_failed_is_resumed_where_it_was(
    store: SessionStore, send: Send, resume: Resume
) -> None:
    model = ScriptedModel(
        [CallTool("double", {"number": 2}), ModelError("forbidden", "", provider="x"), "four"]
    )
    session = agent(model, tools=[double]).session("s", store=store)
    assert send(session, "2 + 2?").stop_reason == "model_failed"
    assert session.unfinished
    result = resume(session)
    assert result.answer == "four"
    assert [each.output for each in result.actions] == ["4"]
    assert len(model.requests) == 3
    with pytest.raises(ConfigError, match="no unfinished task"):
        resume(session)


def test_closing_a_stream_leaves_the_task_unfinished(store: SessionStore) -> None:
    model = ScriptedModel([CallTool("double", {"number": 2}), "four", "other"], delta=1)
    session = agent(model, tools=[double]).session("s", store=store)
    stream = session.stream("2 + 2?")
    for each in stream:
        if isinstance(each, TextDelta):
            break
    stream.close()
    assert session.unfinished
    paired(session.messages)
    assert session.send("Something else.").answer == "other"
    assert [m.text for m in session.messages if m.role == "user"] == ["2 + 2?", "Something else."]


def test_a_stream_gives_out_the_same_as_an_agents_and_its_end_last() -> None:
    script = [CallTool("double", {"number": 2}), "four"]
    session = agent(ScriptedModel(script, delta=2), tools=[double]).session()
    said = list(session.stream("2 + 2?"))
    alone = list(agent(ScriptedModel(script, delta=2), tools=[double]).stream("2 + 2?"))
    assert [type(each) for each in said] == [type(each) for each in alone]
    assert isinstance(said[-1], Final)

    async def collected() -> list[Any]:
        made = agent(ScriptedModel(script, delta=2), tools=[double]).session()
        return [each async for each in made.stream_async("2 + 2?")]

    assert [type(each) for each in asyncio.run(collected())] == [type(each) for each in alone]


def test_who_stops_at_the_end_of_a_stream_can_send_at_once() -> None:
    session = agent(ScriptedModel(["a", "b"])).session()
    stream = session.stream("a")
    for each in stream:
        if isinstance(each, Final):
            break
    assert session.send("b").answer == "b"
    stream.close()
    assert len(session.messages) == 4


def test_cancelling_a_send_keeps_what_is_finished(store: SessionStore) -> None:
    @tool
    async def slow() -> str:
        await asyncio.Event().wait()
        return "never"

    calls = (CallTool("double", {"number": 2}), CallTool("slow", {}))
    model = ScriptedModel([calls, "done"])
    session = agent(model, tools=[double, slow]).session("s", store=store)

    async def cancelled() -> None:
        finished = asyncio.Event()

        def record(event: AgentEvent) -> None:
            if isinstance(event, ToolFinished):
                finished.set()

        sending = asyncio.ensure_future(session.send_async("go", record=record))
        await finished.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(cancelled())
    assert kinds(session) == ["TaskGiven", "ModelAnswered", "ToolFinished"]
    assert session.send("Never mind.").answer == "done"
    told = [p for m in session.messages for p in m.parts if isinstance(p, ToolResult)]
    assert [(each.content, each.failed) for each in told] == [
        ("4", False),
        ("not finished: the agent was stopped", True),
    ]
    paired(session.messages)


def test_a_closed_session_is_gone_on_with_where_it_is_opened_again(store: SessionStore) -> None:
    made = agent(ScriptedModel(["a", "b"]))
    with made.session("s", store=store) as session:
        session.send("a")
    with pytest.raises(ConfigError, match="closed"):
        session.send("b")
    assert not session.ended
    assert made.session("s", store=store).send("b").answer == "b"


def test_an_ended_session_is_read_and_not_gone_on_with(store: SessionStore) -> None:
    made = agent(ScriptedModel(["a", "b"]))
    session = made.session("s", store=store)
    session.send("a")
    session.end()
    session.end()
    for each in (session, made.session("s", store=store)):
        assert each.ended
        assert len(each.messages) == 2
        with pytest.raises(ConfigError, match="has ended"):
            each.send("b")
        with pytest.raises(ConfigError, match="has ended"):
            asyncio.run(each.send_async("b"))
    assert kinds(session) == ["TaskGiven", "ModelAnswered", "TaskEnded", "SessionEnded"]
    assert session.fork().send("b").answer == "b"


# --- beside each other


@WAYS
def test_forks_share_the_past_and_nothing_else(
    store: SessionStore, send: Send, resume: Resume
) -> None:
    del resume
    model = ScriptedModel(lambda request: f"answer to {request.messages[-1].text}")
    made = agent(model)
    session = made.session("trunk", store=store)
    send(session, "one")
    left, right = session.fork("left"), session.fork()
    send(left, "two left")
    send(session, "two")
    further = left.fork("further")
    send(further, "three")
    send(right, "two right")

    def said(each: Session) -> list[str]:
        return [message.text for message in each.messages if message.role == "user"]

    for each in (session, left, right, further):
        assert said(made.session(each.id, store=store)) == said(each)
    assert said(session) == ["one", "two"]
    assert said(left) == ["one", "two left"]
    assert said(right) == ["one", "two right"]
    assert said(further) == ["one", "two left", "three"]
    store.delete("trunk")
    store.delete("left")
    assert said(made.session("further", store=store)) == ["one", "two left", "three"]
    with pytest.raises(SessionConflictError, match="already"):
        right.fork("further")


def test_two_sends_at_once_are_an_error_and_no_scrambled_history() -> None:
    began, go_on = threading.Event(), threading.Event()

    @tool
    def wait() -> str:
        began.set()
        go_on.wait(10)
        return "waited"

    session = agent(ScriptedModel([CallTool("wait", {}), "done"]), tools=[wait]).session()
    results: list[AgentResult] = []
    first = threading.Thread(target=lambda: results.append(session.send("go")))
    first.start()
    assert began.wait(10)
    for do in (lambda: session.send("me too"), session.end, session.fork):
        with pytest.raises(SessionConflictError, match="at work"):
            do()
    go_on.set()
    first.join()
    assert results[0].answer == "done"
    assert kinds(session).count("TaskGiven") == 1


def test_whoever_comes_second_to_a_stored_session_pays_for_nothing(store: SessionStore) -> None:
    model = ScriptedModel(lambda _: "answer")
    made = agent(model)
    one, other = made.session("s", store=store), made.session("s", store=store)
    assert one.messages == other.messages == ()
    one.send("first")
    with pytest.raises(SessionConflictError) as told:
        other.send("second")
    assert told.value.fix is not None
    assert "agent.session" in told.value.fix
    assert len(model.requests) == 1
    assert other.send("second").answer == "answer"  # it has read what the first one wrote
    assert len(other.messages) == 4
    with pytest.raises(SessionConflictError):
        one.send("third")


def test_a_task_taken_over_by_another_ends_with_an_error_where_it_began(
    store: SessionStore,
) -> None:
    made: list[Agent] = []

    @tool
    def take_over() -> str:
        return made[0].session("s", store=store).send("mine").output

    script = [CallTool("take_over", {}), "mine", "never asked"]
    made.append(agent(ScriptedModel(script), tools=[take_over]))
    session = made[0].session("s", store=store)
    with pytest.raises(SessionConflictError):
        session.send("go")
    again = made[0].session("s", store=store)
    assert [m.text for m in again.messages if m.role == "user"] == ["go", "mine"]
    paired(again.messages)


# --- what fails


class Full(MemoryStore):
    """A store with room for so many events."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def append(self, session: str, at: int, events: Any, /) -> None:
        if at >= self.room:
            raise StoreError("the disk is full")
        super().append(session, at, events)


@WAYS
@pytest.mark.parametrize("room", range(8))
def test_nothing_follows_from_what_could_not_be_kept(room: int, send: Send, resume: Resume) -> None:
    made, model, written = written_by(SCRIPT[:2])
    store = Full(room)
    session = made.session("s", store=store)
    if room < 6:
        with pytest.raises(StoreError, match="full"):
            send(session, "go")
        assert len(store.read("s")) == room
        assert len(model.requests) <= room
        assert len(written) == 2 * (room > 1)
    else:
        assert send(session, "go").answer == "first"
    store.room = 99
    if 0 < room < 6:
        paired(session.messages)
        assert session.unfinished
        # what was answered and not kept is not known any more: it has to be asked for again
        answered = sum(each["type"] == "model_answered" for each in store.read("s"))
        again, _, _ = written_by(SCRIPT[answered:])
        assert resume(again.session("s", store=store)).answer == "first"


def test_what_has_no_beginning_is_told(store: SessionStore) -> None:
    store.append("s", 0, [event_to_plain(TaskEnded("answered"))])
    with pytest.raises(StoreError, match="no beginning"):
        agent(ScriptedModel([])).session("s", store=store).send("go")


@pytest.mark.parametrize(
    "task",
    [
        [Message("user", (Text("x"),)), Message("assistant", (ToolCall("c", "double", "{}"),))],
        [Message("tool", (ToolResult("c", "double", "1"),))],
        [
            Message("assistant", (ToolCall("c", "double", "{}"),)),
            Message("user", (Text("x"),)),
            Message("tool", (ToolResult("c", "double", "1"),)),
        ],
    ],
)
def test_a_task_with_half_a_call_is_refused(task: Any) -> None:
    session = agent(ScriptedModel([]), tools=[double]).session()
    with pytest.raises(ConfigError, match="do not belong together"):
        session.send(task)
    assert session.events == ()


def test_a_task_may_bring_whole_turns_of_its_own() -> None:
    model = ScriptedModel([CallTool("double", {"number": 2}, "c"), "done"])
    session = agent(model, tools=[double]).session()
    session.send(
        [
            Message("user", (Text("x"),)),
            Message("assistant", (ToolCall("c", "double", "{}"),)),
            Message("tool", (ToolResult("c", "double", "1"),)),
            Message("user", (Text("again"),)),
        ]
    )
    paired(session.messages)
    ids = [p.id for m in session.messages for p in m.parts if isinstance(p, ToolCall)]
    assert len(set(ids)) == len(ids) == 2


def test_who_looks_on_while_another_sends_takes_nothing_from_it(store: SessionStore) -> None:
    model = ScriptedModel(lambda _: "answer")
    made = agent(model, max_repeated_texts=None)
    for number in range(3):
        session = made.session(f"s{number}", store=store)
        over = threading.Event()

        def look(session: Session = session, over: threading.Event = over) -> None:
            while not over.is_set():
                assert len(session.messages) <= 6
                assert session.usage.output_tokens >= 0

        lookers = [threading.Thread(target=look) for _ in range(3)]
        for each in lookers:
            each.start()
        for _ in range(3):
            session.send("go")
        over.set()
        for each in lookers:
            each.join()
        assert len(session.messages) == 6
        assert made.session(session.id, store=store).messages == session.messages


@pytest.mark.parametrize("bad", ["", "x" * 201, "a\nb", "\ud800", 3, b"s"])
def test_what_is_no_id_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match="no id"):
        agent(ScriptedModel([])).session(bad)


@pytest.mark.parametrize("store", ["sessions.db", 3, object(), MemoryStore])
def test_what_is_no_store_is_refused(store: Any) -> None:
    with pytest.raises(ConfigError, match="is no store"):
        agent(ScriptedModel([])).session("s", store=store)


class Slow(MemoryStore):
    """A store that waits for somebody with each event."""

    def __init__(self, wait: Callable[[], Any]) -> None:
        super().__init__()
        self._wait = wait

    def append(self, session: str, at: int, events: Any, /) -> None:
        self._wait()
        super().append(session, at, events)


class Other:
    """The same, as a store that nobody knows to be one in memory."""

    def __init__(self, wait: Callable[[], Any]) -> None:
        slow = Slow(wait)
        self.append, self.read, self.fork = slow.append, slow.read, slow.fork
        self.sessions, self.delete = slow.sessions, slow.delete


def test_a_slow_store_does_not_stand_in_the_loops_way() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def wait() -> None:
            moved = threading.Event()
            loop.call_soon_threadsafe(moved.set)  # which a loop that stands still would never do
            assert moved.wait(10)

        script = [(CallTool("double", {"number": 1}), CallTool("double", {"number": 2})), "done"]
        session = agent(ScriptedModel(script), tools=[double]).session(store=Other(wait))
        assert (await session.send_async("go")).answer == "done"
        assert len(session.events) == 6

    asyncio.run(main())


@pytest.mark.parametrize("at", range(1, 7))
def test_who_is_cancelled_while_an_event_is_kept_has_it_kept(at: int) -> None:
    async def main() -> None:
        began, go_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        count = 0

        def wait() -> None:
            nonlocal count
            count += 1
            if count == at:
                loop.call_soon_threadsafe(began.set)
                assert go_on.wait(10)

        store = Other(wait)
        script = [(CallTool("double", {"number": 1}), CallTool("double", {"number": 2})), "done"]
        made = agent(ScriptedModel([*script, "done"]), tools=[double])
        session = made.session("s", store=store)
        sending = asyncio.ensure_future(session.send_async("go"))
        await began.wait()
        sending.cancel()
        loop.call_soon(go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await sending
        kept = len(store.read("s"))
        assert kept >= at
        assert len(session.events) == kept
        paired(session.messages)
        assert made.session("s", store=store).messages == session.messages
        assert session.unfinished is (at < 6)
        if session.unfinished:
            assert (await session.resume_async()).answer == "done"
        paired(session.messages)
        assert made.session("s", store=store).messages == session.messages

    asyncio.run(main())


def test_nothing_to_do_is_told_before_anything_is_kept(store: SessionStore) -> None:
    session = agent(ScriptedModel([])).session("s", store=store)
    with pytest.raises(ConfigError, match="nothing to do"):
        session.send()
    assert store.sessions() == []


def test_events_of_another_kind_are_refused(store: SessionStore) -> None:
    store.append("s", 0, [{"type": "task_given", "version": 99}])
    with pytest.raises(ConfigError, match="another version"):
        agent(ScriptedModel([])).session("s", store=store).send("go")


def test_tools_see_the_sessions_inputs_and_a_key_that_stays() -> None:
    keys: list[tuple[str, str]] = []

    @tool
    def look(ctx: ToolContext) -> str:
        keys.append((ctx.inputs["who"], ctx.idempotency_key))
        return "seen"

    script: list[Any] = [CallTool("look", {}), "done"]
    store = MemoryStore()
    session = agent(ScriptedModel(script), tools=[look]).session(
        "s", store=store, inputs={"who": "me", "password": "hunter2"}
    )
    session.send("go", inputs={"who": "you"})
    assert keys[0][0] == "you"
    assert "hunter2" not in json.dumps(store.read("s")) + repr(session)
    again = MemoryStore()
    again.append("s", 0, store.read("s")[:2])
    agent(ScriptedModel(script[1:]), tools=[look]).session(
        "s", store=again, inputs={"who": "me"}
    ).resume()
    assert keys[1] == ("me", keys[0][1])


def test_record_is_told_after_the_store() -> None:
    store = MemoryStore()
    seen: list[int] = []
    session = agent(ScriptedModel(["a", "b"])).session("s", store=store)
    session.send("a", record=lambda _: seen.append(len(store.read("s"))))
    asyncio.run(session.send_async("b", record=lambda _: seen.append(len(store.read("s")))))
    assert seen == [1, 2, 3, 4, 5, 6]


def test_limits_are_those_of_a_task() -> None:
    script = [
        *([CallTool("double", {"number": 1})] * 2),
        *([CallTool("double", {"number": 1})] * 2),
    ]
    session = agent(
        ScriptedModel(script), tools=[double], max_iterations=2, max_repeated_calls=None
    ).session()
    for _ in range(2):
        result = session.send("go")
        assert (result.stop_reason, result.iterations) == ("iterations", 2)
    assert not session.unfinished


def test_an_answer_that_says_nothing_is_not_shown_to_the_model_again() -> None:
    model = ScriptedModel([Reply((Say(""),)), "here I am"])
    session = agent(model).session()
    assert session.send("hello?").output == ""
    assert session.send("hello??").answer == "here I am"
    assert [m.role for m in model.requests[1].messages] == ["user", "user"]


def test_a_send_costs_what_is_new_and_not_what_was_said() -> None:
    def calls_of(tasks: int) -> int:
        model = ScriptedModel(
            [each for _ in range(tasks) for each in (CallTool("double", {"number": 1}), "done")]
        )
        session = agent(model, tools=[double]).session()
        for _ in range(tasks - 1):
            session.send("go")
        counted = 0

        def count(frame: Any, event: str, arg: Any) -> None:
            nonlocal counted
            del frame, arg
            counted += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            session.send("go")
        finally:
            sys.setprofile(None)
        return counted

    short, long = calls_of(5), calls_of(400)
    assert long <= short * 1.1


# --- whatever happens


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "resume", "fork", "crash", "swap"]),
        st.lists(
            st.sampled_from(["call", "calls", "text", "empty", "fail", "refuse", "unknown"]),
            max_size=4,
        ),
        st.integers(0, 6),
        st.booleans(),
    ),
    max_size=8,
)


def _reply(word: str) -> Any:
    from kairos.testing import Refuse

    return {
        "call": CallTool("double", {"number": 1}),
        "calls": (CallTool("double", {"number": 1}, id="x"), CallTool("double", "{", id="x")),
        "text": "text",
        "empty": Reply((Say(""),)),
        "fail": ModelError("forbidden", "", provider="x"),
        "refuse": Refuse(),
        "unknown": CallTool("unheard_of", {}),
    }[word]


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_a_session_and_its_forks_are_what_their_events_say_whatever_happens(
    steps: list[Any],
) -> None:
    store = MemoryStore()
    replies: list[Any] = []

    def answer(request: Any) -> Any:
        paired(request.messages)
        return _reply(replies.pop(0)) if replies else "done"

    made = agent(ScriptedModel(answer), tools=[double], max_iterations=6)
    session, others = made.session("0", store=store), list[tuple[Session, list[Message]]]()
    for number, (what, script, lost, in_loop) in enumerate(steps, 1):
        replies[:] = script
        if what == "send":
            (send_async if in_loop else send)(session, f"task {number}")
        elif what == "resume" and session.unfinished:
            (resume_async if in_loop else resume)(session)
        elif what == "fork":
            others.append((session.fork(str(number)), list(session.messages)))
        elif what == "swap" and others:
            other, messages = others.pop(0)
            assert other.messages == messages
            others.append((session, list(session.messages)))
            session = other
        elif what == "crash":
            kept = store.read(session.id)
            store.append(f"{number}c", 0, kept[: max(len(kept) - lost, 0)])
            session = made.session(f"{number}c", store=store)
        paired(session.messages)
        again = made.session(session.id, store=store)
        assert again.messages == session.messages
        assert again.usage == session.usage
        assert again.unfinished == session.unfinished
    for other, messages in others:
        assert other.messages == messages
        assert made.session(other.id, store=store).messages == messages


def test_events_of_sessions_are_plain_json_and_back() -> None:
    session = agent(ScriptedModel(["a"])).session()
    session.send("a")
    session.end()
    events: list[AgentEvent] = list(session.events)
    assert isinstance(events[0], TaskGiven)
    for event in events:
        assert event_from_plain(json.loads(json.dumps(event_to_plain(event)))) == event


CHANGES = st.fixed_dictionaries(
    {
        "max_iterations": st.sampled_from([1, 2, 25]),
        "max_tool_calls": st.sampled_from([None, 1, 2]),
        "max_repeated_calls": st.sampled_from([None, 1]),
        "max_repeated_texts": st.sampled_from([None, 1]),
        "max_total_tokens": st.sampled_from([None, 1_500]),
        "output": st.sampled_from([None, int, dict[str, int]]),
        "answer_via": st.sampled_from(["output", "tool"]),
        "answer_retries": st.sampled_from([0, 1, 2]),
        "mode": st.sampled_from(["task", "autonomous"]),
    }
)


@settings(max_examples=250, deadline=None)
@given(
    CHANGES,
    CHANGES,
    st.lists(
        st.lists(
            st.sampled_from(
                ["call", "calls", "text", "number", "empty", "refuse", "final", "wrong", "give_up"]
            ),
            max_size=4,
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_what_was_said_stays_though_the_agent_is_another_one_now(
    then: dict[str, Any], now: dict[str, Any], scripts: list[list[str]]
) -> None:
    replies: list[str] = []

    def answer(request: Any) -> Any:
        paired(request.messages)
        return _worded(replies.pop(0) if replies else "number")

    def made_of(options: dict[str, Any]) -> Agent:
        given = dict(options)
        if given["mode"] == "autonomous":
            given["answer_via"] = None
        return agent(ScriptedModel(answer), tools=[double], **given)

    store = MemoryStore()
    session = made_of(then).session("s", store=store)
    for number, script in enumerate(scripts):
        replies[:] = script
        session.send(f"task {number}")
    again = made_of(now).session("s", store=store)
    assert again.events == session.events
    assert again.usage == session.usage
    assert [m.role for m in again.messages] == [m.role for m in session.messages]
    assert [m for m in again.messages if m.role == "assistant"] == [
        m for m in session.messages if m.role == "assistant"
    ]
    finished = {e.call: e.content for e in session.events if isinstance(e, ToolFinished)}
    for each in (session, again):
        paired(each.messages)
        told = {
            p.id: p.content for m in each.messages for p in m.parts if isinstance(p, ToolResult)
        }
        assert finished.items() <= told.items()
    replies[:] = []
    again.send("one more")
    paired(again.messages)


def _worded(word: str) -> Any:
    return {
        "number": "3",
        "final": CallTool("final_answer", {"answer": 3}),
        "wrong": (CallTool("final_answer", {"answer": "three"}), CallTool("double", {"number": 2})),
        "give_up": CallTool("give_up", {"reason": "tired"}),
    }.get(word) or _reply(word)


CALL_IDS = st.sampled_from(["", "a", "b"])
ANY_EVENTS = st.lists(
    st.one_of(
        st.builds(lambda n: TaskGiven(as_messages(f"task {n}")), st.integers(0, 3)),
        st.builds(
            lambda ids, text, stop: ModelAnswered(
                Message(
                    "assistant",
                    (
                        *((Text(text),) if text else ()),
                        *(ToolCall(each, "double", '{"number": 1}') for each in ids),
                    ),
                ),
                TokenUsage(1, 1, 2),
                stop,
            ),
            st.lists(CALL_IDS, max_size=3),
            st.sampled_from(["", "text"]),
            st.sampled_from(["end", "end", "refused", "length"]),
        ),
        st.builds(lambda call: ToolFinished(call, "double", "2"), CALL_IDS),
        st.builds(lambda call: Decided(call, "double", "deny"), CALL_IDS),
        st.builds(lambda: ModelFailed("overloaded")),
        st.builds(
            lambda how, upto: Compacted(how, upto, 400, "text"),
            st.sampled_from(["thinned", "clipped", "summarised", "dropped", "?"]),
            st.integers(-2, 12),
        ),
        st.sampled_from([*map(TaskEnded, ("answered", "iterations", "cancelled", "?"))]),
        st.just(SessionEnded()),
    ),
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(ANY_EVENTS)
def test_whatever_stands_in_a_store_no_half_call_is_shown_to_a_model(
    events: list[AgentEvent],
) -> None:
    def answer(request: Any) -> Any:
        paired(request.messages)
        return "done"

    made = agent(ScriptedModel(answer), tools=[double])
    store = MemoryStore()
    store.append("s", 0, [event_to_plain(TaskGiven(as_messages("go")))])
    store.append("s", 1, [event_to_plain(each) for each in events])
    session = made.session("s", store=store)
    paired(session.messages)
    while session.ended:  # what a store has, may have ended more than once
        session = session.fork()
    if session.unfinished:
        session.fork().resume()
    session.send("one more")
    paired(session.messages)
    assert made.session(session.id, store=store).messages == session.messages
