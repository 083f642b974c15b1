"""Guards: what is allowed, rewritten, denied, asked; whatever goes wrong denies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kairos.agents import (
    AgentResult,
    Allow,
    Ask,
    Decided,
    Deny,
    Question,
    Rewrite,
    Tool,
    ToolRequest,
    agent,
)
from kairos.agents.agent import Agent
from kairos.exceptions import ConfigError
from kairos.testing import CallTool, ScriptedModel

CALLED: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    CALLED.clear()


def _read(path: str) -> str:
    CALLED.append(("read", path))
    return path


def _delete(path: str) -> str:
    CALLED.append(("delete", path))
    return path


READ, DELETE = Tool(_read, name="read", effect="read"), Tool(_delete, name="delete")
MAIL = Tool(_read, name="mail_send", effect="external")


def run_plain(made: Agent) -> AgentResult:
    return made.run("go")


def run_async(made: Agent) -> AgentResult:
    return asyncio.run(made.run_async("go"))


DRIVERS = pytest.mark.parametrize("run", [run_plain, run_async])
Run = Callable[[Agent], AgentResult]


def made(*calls: CallTool, **options: Any) -> Agent:
    given = calls or (CallTool("delete", {"path": "a"}),)
    return agent(ScriptedModel([given, "done"]), tools=[READ, DELETE, MAIL], **options)


def no_deleting(request: ToolRequest) -> Allow | Deny:
    return Deny("deleting is not allowed") if request.tool == "delete" else Allow()


@DRIVERS
def test_one_denial_denies_and_the_model_hears_why(run: Run) -> None:
    calls = CallTool("delete", {"path": "a"}), CallTool("read", {"path": "b"})
    result = run(made(*calls, guards=[no_deleting]))
    assert CALLED == [("read", "b")]
    denied = next(each for each in result.actions if each.tool == "delete")
    assert (denied.decision, denied.outcome) == ("deny", "denied")
    assert "deleting is not allowed" in denied.output


@DRIVERS
@pytest.mark.parametrize(
    "guard",
    [
        lambda request: 1 / 0,
        lambda request: None,
        lambda request: True,
        lambda request: "allow",
        lambda request: {"allow": True},
        lambda request: Allow,
        dict,
        lambda request: (_ for _ in ()).throw(SystemExit),
        lambda request: Rewrite({"path": 3}),
        lambda request: Rewrite({"other": "x"}),
        lambda request: Rewrite(None),  # type: ignore[arg-type]
        lambda request: Rewrite({"path": request.arguments["path"] + "x"}),
    ],
)
def test_a_guard_that_fails_or_answers_nonsense_denies(run: Run, guard: Any) -> None:
    result = run(made(guards=[guard]))
    assert CALLED == []
    assert result.actions[0].outcome == "denied"


@DRIVERS
def test_an_async_guard_is_awaited(run: Run) -> None:
    async def guard(request: ToolRequest) -> Deny:
        await asyncio.sleep(0)
        return Deny("no")

    run(made(guards=[guard]))
    assert CALLED == []


@DRIVERS
def test_rewritten_arguments_pass_the_whole_chain_again(run: Run) -> None:
    seen: list[str] = []

    def watch(request: ToolRequest) -> Allow | Deny:
        seen.append(request.arguments["path"])
        return Deny() if request.arguments["path"] == "/etc" else Allow()

    def move(request: ToolRequest) -> Rewrite:
        return Rewrite({"path": "/etc"})

    run(made(guards=[watch, move]))
    assert seen == ["a", "/etc"]
    assert CALLED == []


@DRIVERS
def test_a_rewrite_is_what_is_called_and_recorded(run: Run) -> None:
    result = run(made(guards=[lambda request: Rewrite({"path": "safe/a"})]))
    assert CALLED == [("delete", "safe/a")]
    assert result.actions[0].input == '{"path":"safe/a"}'


@DRIVERS
def test_a_guard_cannot_change_a_call_behind_the_others_backs(run: Run) -> None:
    def sly(request: ToolRequest) -> Allow:
        request.arguments["path"] = "/etc"  # type: ignore[index]
        return Allow()

    run(made(guards=[sly]))
    assert CALLED == [("delete", "a")]


def ask(request: ToolRequest) -> Ask:
    return Ask("really?")


@DRIVERS
@pytest.mark.parametrize(
    "approve, called",
    [
        (lambda question: True, True),
        (lambda question: Allow(), True),
        (lambda question: False, False),
        (lambda question: Deny("no"), False),
        (lambda question: None, False),
        (lambda question: "yes", False),
        (lambda question: 1, False),
        (lambda question: 1 / 0, False),
        (None, False),
    ],
)
def test_what_is_asked_needs_a_clear_yes(run: Run, approve: Any, called: bool) -> None:
    result = run(made(guards=[ask], approve=approve))
    assert bool(CALLED) is called
    decided = next(each for each in result.events if isinstance(each, Decided))
    assert decided.question == "really?"
    assert decided.verdict == ("allow" if called else "deny")


@DRIVERS
def test_a_question_is_bound_to_the_tool_and_its_arguments(run: Run) -> None:
    asked: list[Question] = []

    def approve(question: Question) -> bool:
        asked.append(question)
        question.arguments["path"] = "/etc"  # type: ignore[index]
        return True

    calls = [CallTool("delete", {"path": path}) for path in ("a", "b")]
    result = run(made(*calls, CallTool("delete", '{ "path" : "a"}'), guards=[ask], approve=approve))
    assert sorted(CALLED) == [("delete", "a"), ("delete", "a"), ("delete", "b")]
    hashes = [question.hash for question in asked]
    assert len(set(hashes)) == 2
    assert len(hashes[0]) == 64
    assert {e.hash for e in result.events if isinstance(e, Decided)} == set(hashes)


@DRIVERS
def test_an_async_approval_is_awaited(run: Run) -> None:
    async def approve(question: Question) -> bool:
        await asyncio.sleep(0)
        return True

    run(made(guards=[ask], approve=approve))
    assert CALLED == [("delete", "a")]


@DRIVERS
def test_a_question_that_nobody_answers_in_time_is_denied(run: Run) -> None:
    never = threading.Event()
    result = run(made(guards=[ask], approve=lambda question: never.wait(5), approval_timeout=0.05))
    never.set()
    assert CALLED == []
    assert "in time" in result.actions[0].output


@DRIVERS
def test_questions_are_asked_one_after_the_other_while_other_calls_run(run: Run) -> None:
    ran, inside, most = threading.Event(), 0, 0

    def free() -> str:
        ran.set()
        return "ran"

    def approve(question: Question) -> bool:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        assert ran.wait(10)
        inside -= 1
        return True

    def guard(request: ToolRequest) -> Ask | Allow:
        return Ask() if request.tool == "delete" else Allow()

    calls = (*(CallTool("delete", {"path": p}) for p in "abc"), CallTool("free", {}))
    model, tools = ScriptedModel([calls, "done"]), [DELETE, Tool(free)]
    run(agent(model, tools=tools, guards=[guard], approve=approve))
    assert most == 1
    assert len(CALLED) == 3


@DRIVERS
def test_read_only_lets_nothing_pass_but_what_reads(run: Run) -> None:
    calls = [CallTool(name, {"path": "a"}) for name in ("read", "delete", "mail_send")]
    run(made(*calls, read_only=True))
    assert CALLED == [("read", "a")]


@DRIVERS
@pytest.mark.parametrize(
    "globs, called",
    [(["read"], 1), (["re*"], 1), (["*"], 3), ([], 0), (["mail_*", "read"], 2)],
)
def test_an_allow_list_takes_globs(run: Run, globs: list[str], called: int) -> None:
    calls = [CallTool(name, {"path": "a"}) for name in ("read", "delete", "mail_send")]
    run(made(*calls, allow=globs))
    assert len(CALLED) == called


@DRIVERS
def test_a_dry_run_describes_what_it_would_do(run: Run) -> None:
    calls = [CallTool(name, {"path": "a"}) for name in ("read", "delete", "mail_send")]
    result = run(made(*calls, dry_run=True, guards=[ask]))
    assert CALLED == []  # asking to read, with nobody to approve it
    described = [each for each in result.actions if each.outcome == "described"]
    assert {each.tool for each in described} == {"delete", "mail_send"}
    assert '"dry_run": true' in described[0].output
    assert '"path": "a"' in described[0].output


@DRIVERS
@pytest.mark.parametrize(
    "before, called",
    [
        (lambda request: None, True),
        (lambda request: True, True),
        (lambda request: Allow(), True),
        (lambda request: False, False),
        (lambda request: Deny("no"), False),
        (lambda request: 1 / 0, False),
    ],
)
def test_before_tool_may_deny(run: Run, before: Any, called: bool) -> None:
    run(made(before_tool=before))
    assert bool(CALLED) is called


@DRIVERS
def test_after_tool_and_progress_are_told(run: Run) -> None:
    told: list[Any] = []
    progress: list[Any] = []
    run(made(after_tool=told.append, progress=progress.append))
    assert [each.content for each in told] == ["a"]
    assert type(progress[-1]).__name__ == "Final"


@DRIVERS
def test_guards_never_see_arguments_that_the_tool_refuses(run: Run) -> None:
    seen: list[Any] = []

    def watch(request: ToolRequest) -> None:
        seen.append(request)

    run(made(CallTool("delete", {"path": 3}), guards=[watch]))
    assert seen == []


@DRIVERS
def test_what_a_guard_judges_is_what_the_tool_gets(run: Run) -> None:
    seen: list[str] = []

    def watch(request: ToolRequest) -> Allow:
        seen.append(request.arguments["path"])
        return Allow()

    run(made(CallTool("delete", '{"path": "a", "path": "b"}'), guards=[watch]))
    assert [("delete", path) for path in seen] == CALLED


# --- a guard that gets stuck


class Hanging:
    """A guard that does not answer until the test is over."""

    def __init__(self, *, is_async: bool) -> None:
        self.gate = threading.Event()
        self.guard: Any = self._later if is_async else self._now

    def _now(self, request: ToolRequest) -> Allow:
        self.gate.wait(20)
        return Allow()

    async def _later(self, request: ToolRequest) -> Allow:
        await asyncio.sleep(20)
        return Allow()


@DRIVERS
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("option", ["guards", "before_tool"])
def test_a_guard_that_hangs_has_denied(run: Run, option: str, *, is_async: bool) -> None:
    hanging = Hanging(is_async=is_async)
    calls = (CallTool("delete", {"path": "a"}), CallTool("delete", {"path": "b"}))
    more: Any = {option: [hanging.guard] if option == "guards" else hanging.guard}
    result = run(agent(ScriptedModel([calls, "done"]), tools=[DELETE], guard_timeout=0.05, **more))
    hanging.gate.set()
    assert CALLED == []
    assert result.answer == "done"
    assert [each.decision for each in result.actions] == ["deny", "deny"]
    assert all("did not answer in time" in each.output for each in result.actions)


@DRIVERS
def test_guards_are_asked_one_at_a_time(run: Run) -> None:
    """One that counts need not be made for many threads."""
    inside, most = 0, 0

    def counting(request: ToolRequest) -> Allow:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.001)
        inside -= 1
        return Allow()

    calls = tuple(CallTool("read", {"path": str(n)}) for n in range(8))
    result = run(agent(ScriptedModel([calls, "done"]), tools=[READ], guards=[counting, counting]))
    assert [each.outcome for each in result.actions] == ["done"] * 8
    assert most == 1


@DRIVERS
@pytest.mark.parametrize("is_async", [False, True])
def test_a_guard_that_yields_has_not_answered(run: Run, *, is_async: bool) -> None:
    def yields(request: ToolRequest) -> Any:
        yield Allow()

    async def yields_later(request: ToolRequest) -> Any:
        yield Allow()

    guard: Any = yields_later if is_async else yields
    run(
        agent(
            ScriptedModel([CallTool("delete", {"path": "a"}), "done"]), tools=[DELETE],
            guards=[guard],
        )
    )  # fmt: skip
    assert CALLED == []


@pytest.mark.parametrize("wrong", [0, -1, None, "60", float("inf"), True])
def test_a_guard_has_some_time_to_answer(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="guard_timeout="):
        agent(ScriptedModel([]), tools=[READ], guard_timeout=wrong)
