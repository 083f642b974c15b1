"""Drives an agent's loop on the running event loop."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from kairos.agents.async_crew import AsyncCrew
from kairos.agents.engagement import Engagement, Final, Said, unfinished
from kairos.agents.loop import Ask, Call, Called, Ended, Stopped
from kairos.agents.result import result_of
from kairos.exceptions import BudgetExceededError
from kairos.models import Finished, ModelError, ModelResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from kairos.agents.compaction import Cut
    from kairos.agents.events import Compacted
    from kairos.agents.loop import Compact, Loop
    from kairos.models import Request

__all__ = ["drive_async"]


async def drive_async(engagement: Engagement, loop: Loop) -> AsyncGenerator[Said]:
    """Do as `drive`, on the running event loop; cancelling its task cancels all that runs."""
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
                called, now = isinstance(wanted, Call), engagement.now
                told = Called((), (), "cancelled", now) if called else Stopped("cancelled", now)
            elif isinstance(wanted, Call):
                crew = AsyncCrew(engagement, wanted.calls, wanted.decided)
                async with aclosing(crew.call()) as calling:
                    async for each in calling:
                        yield each
                told = crew.called
                yield engagement.progress()
            else:
                asking = _ask if isinstance(wanted, Ask) else _shorten
                async with aclosing(asking(engagement, wanted)) as saying:
                    async for said in saying:
                        if isinstance(said, _Told):
                            told = said.told
                        else:
                            yield said
    finally:
        loop.close()
    error = engagement.error if isinstance(engagement.error, ModelError) else None
    yield Final(result_of(engagement.conversation, final, error))


class _Told:
    """What the loop is told; an async generator cannot return it."""

    def __init__(self, told: Any) -> None:
        self.told = told


async def _ask(engagement: Engagement, wanted: Any) -> AsyncGenerator[Said | _Told]:
    request, began = wanted.request, engagement.now
    response: ModelResponse | None = None
    try:
        with await engagement.reserved_async(request) as account:
            async with aclosing(_answer(engagement, request, watched=engagement.watched)) as answer:
                async for event in answer:
                    if isinstance(event, ModelResponse):
                        response = event
                    else:
                        yield event
            if response is None:
                yield _Told(Stopped("cancelled", engagement.now))
                return
            answered = engagement.answered(response, began)
            await engagement.keep_async(answered)
            if account is not None:
                account.settle(answered.usage)
    except BudgetExceededError as error:
        yield _Told(engagement.stopped("budget", error))
    except ModelError as error:
        async for said in _failed(engagement, error, began):
            yield said
    else:
        yield answered
        yield _Told(answered)


async def _failed(
    engagement: Engagement, error: ModelError, began: float, cut: Cut | None = None
) -> AsyncGenerator[Said | _Told]:
    """Take note of a failed call, and wait until the next one; or say that there is none.

    Where it was to summarise what is cut away and is not made again, it is cut away all the same.
    """
    shrinks = cut is None and engagement.conversation.can_shrink(error.kind)
    seconds = None if shrinks else engagement.pause_before_retry(error)
    if cut is not None and seconds is None and not engagement.left_to_the_engine(error):
        made = engagement.cut(cut, error)
        await engagement.keep_async(made)
        yield made
        yield _Told(made)
        return
    failed = engagement.failed(error, began)
    await engagement.keep_async(failed)
    yield failed
    if shrinks:
        yield _Told(failed)
    elif seconds is None:
        engagement.conversation.failed(failed)
        yield _Told(engagement.stopped("model_failed", error))
    else:
        await asyncio.sleep(engagement.clock.span(seconds, idle=True) or 0.0)
        yield _Told(failed._replace(at=engagement.now))


async def _shorten(engagement: Engagement, wanted: Any) -> AsyncGenerator[Said | _Told]:
    """Have the conversation cut, with a summary if one is wanted and can be had."""
    began, cut = engagement.now, wanted.cut
    try:
        made = await _made_short(engagement, wanted)
    except BudgetExceededError as error:
        made = engagement.cut(cut, error)
        await engagement.keep_async(made)
    except ModelError as error:
        async for said in _failed(engagement, error, began, cut):
            yield said
        return
    if made is not None:
        yield made
    yield _Told(made or Stopped("cancelled", engagement.now))


async def _made_short(engagement: Engagement, wanted: Compact) -> Compacted | None:
    began, request = engagement.now, wanted.request
    if request is None:
        made = engagement.cut(wanted.cut)
        await engagement.keep_async(made)
        return made
    with await engagement.reserved_async(request) as account:
        async with aclosing(_answer(engagement, request, watched=False)) as answer:
            async for event in answer:
                made = engagement.summarised(wanted.cut, event, began)
                await engagement.keep_async(made)
                if account is not None:
                    account.settle(event.usage)
                return made
    return None


async def _answer(
    engagement: Engagement, request: Request, *, watched: bool
) -> AsyncGenerator[Any]:
    stream: Any = engagement.model.stream_async(request)
    try:
        async for event in stream:
            if isinstance(event, Finished):
                yield event.response
                return
            if engagement.cancelled:
                return
            if watched:
                engagement.shown = True
                yield event
    finally:
        if hasattr(stream, "aclose"):
            await stream.aclose()
    raise unfinished(engagement.model)
