"""Drives an agent's loop on the calling thread."""

from __future__ import annotations

import queue
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

from kairos.agents.crew import Crew
from kairos.agents.engagement import Engagement, Final, Said, unfinished
from kairos.agents.loop import Ask, Called, Ended, Stopped
from kairos.agents.result import result_of
from kairos.exceptions import BudgetExceededError
from kairos.models import Finished, ModelError

if TYPE_CHECKING:
    from collections.abc import Generator

    from kairos.agents.events import ModelAnswered, ModelFailed
    from kairos.agents.loop import Loop
    from kairos.models import ModelResponse, Request

__all__ = ["drive"]


def drive(engagement: Engagement, loop: Loop) -> Generator[Said]:
    """Work on a task to its end; gives out what happens, and `Final` last.

    Closing it cancels the answer that is being given and the tools that run.
    """
    crew = Crew(engagement)
    told: Any = None
    final = Ended("cancelled")
    try:
        while True:
            try:
                wanted = loop.send(told)
            except StopIteration as ended:
                final = ended.value
                break
            if engagement.cancelled:
                told = _stopped(engagement, wanted)
            elif isinstance(wanted, Ask):
                told = yield from _ask(engagement, wanted.request)
            else:
                told = yield from crew.call(wanted.calls, wanted.decided)
                yield engagement.progress()
    finally:
        loop.close()
        crew.close()
    error = engagement.error if isinstance(engagement.error, ModelError) else None
    yield Final(result_of(engagement.conversation, final, error))


def _stopped(engagement: Engagement, wanted: object) -> Stopped | Called:
    if isinstance(wanted, Ask):
        return Stopped("cancelled", engagement.now)
    return Called((), (), "cancelled", engagement.now)


def _ask(
    engagement: Engagement, request: Request
) -> Generator[Said, None, ModelAnswered | ModelFailed | Stopped]:
    """Have one answer given; told of a failure, the loop asks again or ends."""
    began = engagement.now
    try:
        with engagement.reserved(request) as account:
            response = yield from _answer(engagement, request)
            if response is None:
                return Stopped("cancelled", engagement.now)
            answered = engagement.answered(response, began)
            if account is not None:
                account.settle(answered.usage)
    except BudgetExceededError as error:
        return engagement.stopped("budget", error)
    except ModelError as error:
        failed = engagement.failed(error, began)
        yield failed
        seconds = engagement.pause_before_retry(error)
        if seconds is None:
            engagement.conversation.failed(failed)
            return engagement.stopped("model_failed", error)
        _pause(engagement, seconds)
        return failed._replace(at=engagement.now)
    yield answered
    return answered


def _answer(
    engagement: Engagement, request: Request
) -> Generator[Said, None, ModelResponse | None]:
    """Give out one answer as it comes; None says that the task was cancelled meanwhile."""
    watched, signalled = engagement.watched, engagement.signalled
    stream: Any = engagement.model.stream(request)
    with closing(stream) if hasattr(stream, "close") else nullcontext():
        for event in stream:
            if isinstance(event, Finished):
                return event.response
            if signalled and engagement.cancelled:
                return None
            if watched:
                engagement.shown = True
                yield event
    raise unfinished(engagement.model)


def _pause(engagement: Engagement, seconds: float) -> None:
    real = engagement.clock.span(seconds, idle=True)
    if real:
        try:
            queue.SimpleQueue[None]().get(timeout=real)
        except queue.Empty:
            return
