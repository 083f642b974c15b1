"""Drives an agent's loop on the running event loop."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from kairos.agents.async_crew import AsyncCrew
from kairos.agents.engagement import Engagement, Final, Said, unfinished
from kairos.agents.loop import Ask, Called, Ended, Stopped
from kairos.agents.result import result_of
from kairos.exceptions import BudgetExceededError
from kairos.models import Finished, ModelError, ModelResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from kairos.agents.loop import Loop
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
                asked = isinstance(wanted, Ask)
                now = engagement.now
                told = Stopped("cancelled", now) if asked else Called((), (), "cancelled", now)
            elif isinstance(wanted, Ask):
                async with aclosing(_ask(engagement, wanted.request)) as asking:
                    async for said in asking:
                        if isinstance(said, _Told):
                            told = said.told
                        else:
                            yield said
            else:
                crew = AsyncCrew(engagement, wanted.calls, wanted.decided)
                async with aclosing(crew.call()) as calling:
                    async for each in calling:
                        yield each
                told = crew.called
                yield engagement.progress()
    finally:
        loop.close()
    error = engagement.error if isinstance(engagement.error, ModelError) else None
    yield Final(result_of(engagement.conversation, final, error))


class _Told:
    """What the loop is told; an async generator cannot return it."""

    def __init__(self, told: Any) -> None:
        self.told = told


async def _ask(engagement: Engagement, request: Request) -> AsyncGenerator[Said | _Told]:
    began = engagement.now
    response: ModelResponse | None = None
    try:
        with await engagement.reserved_async(request) as account:
            async with aclosing(_answer(engagement, request)) as answer:
                async for event in answer:
                    if isinstance(event, ModelResponse):
                        response = event
                    else:
                        yield event
            if response is None:
                yield _Told(Stopped("cancelled", engagement.now))
                return
            answered = engagement.answered(response, began)
            if account is not None:
                account.settle(answered.usage)
    except BudgetExceededError as error:
        yield _Told(engagement.stopped("budget", error))
    except ModelError as error:
        failed = engagement.failed(error, began)
        yield failed
        seconds = engagement.pause_before_retry(error)
        if seconds is None:
            engagement.conversation.failed(failed)
            yield _Told(engagement.stopped("model_failed", error))
            return
        await asyncio.sleep(engagement.clock.span(seconds, idle=True) or 0.0)
        yield _Told(failed._replace(at=engagement.now))
    else:
        yield answered
        yield _Told(answered)


async def _answer(engagement: Engagement, request: Request) -> AsyncGenerator[Any]:
    stream: Any = engagement.model.stream_async(request)
    try:
        async for event in stream:
            if isinstance(event, Finished):
                yield event.response
                return
            if engagement.cancelled:
                return
            if engagement.watched:
                engagement.shown = True
                yield event
    finally:
        if hasattr(stream, "aclose"):
            await stream.aclose()
    raise unfinished(engagement.model)
