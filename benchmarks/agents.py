"""What an agent's turn costs beside a bare loop that asks the same model and keeps the messages."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from figures import Row, Target, interleaved
from kairos.agents import agent, tool
from kairos.agents.conversation import Conversation
from kairos.agents.events import ModelAnswered, TaskGiven, ToolFinished
from kairos.agents.limits import Limits
from kairos.agents.loop import Ask, Call, Called, turns
from kairos.agents.plan import Plan
from kairos.models import Finished, ModelResponse, Request, ToolResult, as_messages
from kairos.models.parts import Message
from kairos.testing import CallTool, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Scale

__all__ = ["rows"]

_MICROSECONDS = 1e6
_LENGTHS = (100, 1_000, 10_000)
_REACH = 50.0
"""20,000 turns in a second."""


@tool(effect="read")
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def _model(length: int) -> ScriptedModel:
    return ScriptedModel([*(CallTool("double", {"number": n}) for n in range(length)), "done"])


def _answer(model: ScriptedModel, request: Request) -> ModelResponse:
    for event in model.stream(request):
        if isinstance(event, Finished):
            return event.response
    raise AssertionError


def _bare(model: ScriptedModel) -> None:
    messages = list(as_messages("go"))
    while True:
        answer = _answer(model, Request(messages))
        messages.append(answer.message)
        if not answer.tool_calls:
            return
        messages.append(
            Message("tool", tuple(ToolResult(c.id, c.name, "1") for c in answer.tool_calls))
        )


def _loop(model: ScriptedModel) -> None:
    plan = Plan(tools=(double.spec,), limits=Limits(iterations=None))
    loop = turns(Conversation(plan), [TaskGiven(as_messages("go"))])
    told: Any = None
    ended: Any = None
    while True:
        try:
            wanted = loop.send(told)
        except StopIteration as stop:
            ended = stop.value
            break
        if isinstance(wanted, Ask):
            answer = _answer(model, wanted.request)
            told = ModelAnswered(answer.message, answer.usage, answer.stop, answer.model)
        else:
            assert isinstance(wanted, Call)
            told = Called(tuple(ToolFinished(c.id, c.name, "1") for c in wanted.calls))
    assert ended.reason == "answered"


def _run(model: ScriptedModel) -> None:
    made = agent(model, tools=[double], max_iterations=None)
    assert made.run("go").answer == "done"


def _timed(work: Callable[[ScriptedModel], None], length: int) -> float:
    """Return microseconds of CPU a turn; making the script is not counted."""
    model = _model(length)
    begun = time.process_time()
    work(model)
    return (time.process_time() - begun) / length * _MICROSECONDS


def rows(scale: Scale) -> Iterator[Row]:
    """Measure turns: of the loop alone at three lengths, and with a tool that is really called."""
    for full in _LENGTHS:
        length = scale.size(full)
        sides = {"bare": partial(_timed, _bare, length), "loop": partial(_timed, _loop, length)}
        if full == _LENGTHS[1]:
            sides["run"] = partial(_timed, _run, length)
        found = interleaved(sides, scale.rounds(7))
        what, target = f"an agent's loop, {full:,} turns", Target(_REACH)
        yield Row(f"agent_{full}", what, "µs CPU a turn", found["loop"], found["bare"], target)
        if "run" in found:
            what = f"an agent and its tool, {full:,} turns"
            yield Row("agent_run", what, "µs CPU a turn", found["run"], found["bare"])
