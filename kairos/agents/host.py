"""What a session has of its agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kairos.agents.conversation import Conversation
from kairos.agents.engagement import Engagement, Said
from kairos.agents.events import TaskGiven

__all__ = ["Host"]


@dataclass(frozen=True, slots=True)
class Host:
    """How a task is made, worked on and told of."""

    given: Callable[[Any, Mapping[str, Any]], TaskGiven]
    conversation: Callable[[], Conversation]
    engaged: Callable[..., Engagement]
    tell: Callable[[Said], None]
    tell_async: Callable[[Said], Awaitable[None]]
