"""Drives an agent's loop on the calling thread."""

from __future__ import annotations

import queue
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

from kairos.agents.crew import Crew
from kairos.agents.engagement import Engagement, Final, Said, unfinished
from kairos.agents.loop import Ask, Call, Called, Compact, Ended, Stopped
from kairos.agents.result import result_of
from kairos.exceptions import BudgetExceededError
from kairos.models import Finished, ModelError

if TYPE_CHECKING:
    from collections.abc import Generator

    from kairos.agents.compaction import Cut
    from kairos.agents.events import Compacted, ModelAnswered, ModelFailed
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
            elif isinstance(wanted, Compact):
                told = yield from _shorten(engagement, wanted)
            else:
                told = yield from crew.call(wanted.calls, wanted.decided)
                yield engagement.progress()
    finally:
        loop.close()
        crew.close()
    error = engagement.error if isinstance(engagement.error, ModelError) else None
    yield Final(result_of(engagement.conversation, final, error))


def _stopped(engagement: Engagement, wanted: object) -> Stopped | Called:
    if isinstance(wanted, Call):
        return Called((), (), "cancelled", engagement.now)
    return Stopped("cancelled", engagement.now)


def _ask(
    engagement: Engagement, request: Request
) -> Generator[Said, None, ModelAnswered | ModelFailed | Compacted | Stopped]:
    """Have one answer given; told of a failure, the loop asks again or ends."""
    began = engagement.now
    try:
        with engagement.reserved(request) as account:
            response = yield from _answer(engagement, request, watched=engagement.watched)
            if response is None:
                return Stopped("cancelled", engagement.now)
            answered = engagement.answered(response, began)
            engagement.keep(answered)
            if account is not None:
                account.settle(answered.usage)
    except BudgetExceededError as error:
        return engagement.stopped("budget", error)
    except ModelError as error:
        return (yield from _failed(engagement, error, began))
    yield answered
    return answered


def _failed(
    engagement: Engagement, error: ModelError, began: float, cut: Cut | None = None
) -> Generator[Said, None, ModelFailed | Compacted | Stopped]:
    """Take note of a failed call, and wait until the next one; or say that there is none.

    Where it was to summarise what is cut away and is not made again, it is cut away all the same.
    """
    shrinks = cut is None and engagement.conversation.can_shrink(error.kind)
    seconds = None if shrinks else engagement.pause_before_retry(error)
    if cut is not None and seconds is None and not engagement.left_to_the_engine(error):
        made = engagement.cut(cut, error)
        engagement.keep(made)
        yield made
        return made
    failed = engagement.failed(error, began)
    engagement.keep(failed)
    yield failed
    if shrinks:
        return failed
    if seconds is None:
        engagement.conversation.failed(failed)
        return engagement.stopped("model_failed", error)
    _pause(engagement, seconds)
    return failed._replace(at=engagement.now)


def _shorten(
    engagement: Engagement, wanted: Compact
) -> Generator[Said, None, Compacted | ModelFailed | Stopped]:
    """Have the conversation cut, with a summary if one is wanted and can be had."""
    began, cut = engagement.now, wanted.cut
    try:
        made = yield from _made_short(engagement, wanted)
    except BudgetExceededError as error:
        made = engagement.cut(cut, error)
        engagement.keep(made)
    except ModelError as error:
        return (yield from _failed(engagement, error, began, cut))
    if made is None:
        return Stopped("cancelled", engagement.now)
    yield made
    return made


def _made_short(engagement: Engagement, wanted: Compact) -> Generator[Said, None, Compacted | None]:
    began, request = engagement.now, wanted.request
    if request is None:
        made = engagement.cut(wanted.cut)
        engagement.keep(made)
        return made
    with engagement.reserved(request) as account:
        response = yield from _answer(engagement, request, watched=False)
        if response is None:
            return None
        made = engagement.summarised(wanted.cut, response, began)
        engagement.keep(made)
        if account is not None:
            account.settle(response.usage)
        return made


def _answer(
    engagement: Engagement, request: Request, *, watched: bool
) -> Generator[Said, None, ModelResponse | None]:
    """Give out one answer as it comes; None says that the task was cancelled meanwhile."""
    signalled = engagement.signalled
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
