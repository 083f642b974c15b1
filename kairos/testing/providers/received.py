"""What a fake provider was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kairos.security import MASK
from kairos.testing.providers.dialect import Asked

__all__ = ["KEY_HEADERS", "Received", "masked"]

KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
_SCHEMED = ("authorization", "proxy-authorization")
_SECRET = (*KEY_HEADERS, *_SCHEMED, "cookie")


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came over the wire; keys are masked.

    `number` counts all requests from 1, `api` tells OpenAI's two apart.  `key_header` is the header
    that brought a key.  `asked` is the request in the words of no provider, where it was in order;
    `refused` is the status that it got where it was not.
    """

    number: int
    api: str
    provider: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = field(repr=False)
    model: str = ""
    stream: bool = False
    key_header: str | None = None
    asked: Asked | None = field(default=None, repr=False)
    refused: int | None = None

    @property
    def prompt(self) -> str:
        """What the user said last."""
        return self.asked.prompt if self.asked else ""


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers, their names in small letters, with keys masked: only a scheme is left."""
    return {
        name: f"{value.partition(' ')[0]} {MASK}"
        if name in _SCHEMED and " " in value
        else (MASK if name in _SECRET else value)
        for name, value in headers.items()
    }
