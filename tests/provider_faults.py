"""What goes wrong at every provider in the same way, and one way to ask any of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kairos.models import Finished, ModelError
from kairos.testing import (
    Body,
    ContentType,
    Cut,
    Delay,
    Framing,
    Gzip,
    Insert,
    Interim,
    Stall,
    Status,
)

if TYPE_CHECKING:
    from kairos.adapters.core import Adapter

__all__ = ["HARMLESS", "HTML", "MODES", "REFUSED", "WORDS", "ask"]

WORDS = "one two three four five six seven eight nine ten"
MODES = ("call", "call_async", "stream", "stream_async")

HTML = "<html><body>502 Bad Gateway</body></html>"

# What is arranged, and what it is: the kind of the error, and its status.
REFUSED: list[tuple[str, Any, str, int | None]] = [
    *((f"status {code}", Status(code), kind, code) for code, kind in (
        (400, "bad_request"), (401, "unauthorized"), (402, "forbidden"), (403, "forbidden"),
        (404, "not_found"), (408, "timeout"), (409, "conflict"), (413, "too_large"),
        (422, "bad_request"), (429, "rate_limited"), (500, "server"), (502, "server"),
        (503, "overloaded"), (504, "timeout"), (529, "overloaded"), (418, "bad_request"),
    )),
    ("a redirect", Status(302, headers={"location": "http://127.0.0.1:9/"}), "bad_request", 302),
    ("an error page", Body(HTML, 502, "text/html"), "server", 502),
    ("no answer at all", Cut(), "connection", None),
    ("a connection that is closed", Cut(reset=False), "connection", None),
    ("HTML in place of a stream", Body(HTML, 200, "text/html"), "empty", None),
    ("an empty body", Body(""), "empty", None),
    ("an empty object", Body("{}"), "empty", None),
    ("null", Body("null"), "empty", None),
]  # fmt: skip
# What must not matter at all.
HARMLESS: list[tuple[str, Any]] = [
    ("split into bytes", Framing(delta=3, write=1)),
    ("other ends of line", Framing(crlf=True, comments=True)),
    ("compressed", Gzip()),
    ("an interim answer", Interim(103)),
    ("an event unheard of", Insert(3)),
    ("an event unheard of at first", Insert(0)),
    ("a slow start", Delay(0.05)),
    ("a pause", Stall(0.05, at=4)),
    ("a wrong type of content", ContentType("text/plain")),
]


def ask(model: Adapter, mode: str, prompt: str = "Hello", **options: Any) -> list[Any]:
    """Return the events of one call; an error is the last of them."""
    events: list[Any] = []

    async def run() -> None:
        if mode == "call_async":
            events.append(Finished(await model.call_async(prompt, **options)))
            return
        async for event in model.stream_async(model.request(prompt, **options)):
            events.append(event)  # noqa: PERF401 - what came before an error is kept

    try:
        if mode == "call":
            events.append(Finished(model.call(prompt, **options)))
        elif mode == "stream":
            events.extend(model.stream(model.request(prompt, **options)))
        else:
            asyncio.run(run())
    except ModelError as error:
        events.append(error)
    return events
