"""The seam between kairos and a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kairos.models.request import Request
    from kairos.models.stream import StreamEvent

__all__ = ["Model"]


class Model(Protocol):
    """A language model.  `kairos.testing.ScriptedModel` is the official fake.

    A stream ends with `Finished` or raises ModelError; closing it early ends the call.  A model
    never retries: that is its caller's to decide.  One that has a price list of its own also has
    `price(request)`, which returns a `Price`, or None where nobody knows it.  One that is made with
    options has `request(prompt, **options)`, which returns the request that a call makes of these
    and its own, and `checked(request)`, which returns in words what it will be asked in another
    way; both raise ConfigError for what it cannot be asked.
    """

    @property
    def provider(self) -> str:
        """Whose it is: `anthropic`, `openai`, `gemini`."""
        ...

    @property
    def name(self) -> str:
        """Which model it is, as the provider names it."""
        ...

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Ask, and give out the answer as it comes."""
        ...

    def stream_async(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Do as `stream`, on the running event loop."""
        ...
