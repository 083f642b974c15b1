"""A call of a model through an adapter, beside the bare SDK against the same local server."""

from __future__ import annotations

import os
import statistics
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from figures import Row, Target, interleaved
from kairos.testing import FakeProviders, Framing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Scale

__all__ = ["rows"]

_WORDS = "word " * 2_000
_ASKED: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 4096,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    "stream": True,
}


def rows(scale: Scale) -> Iterator[Row]:
    """Measure Claude: one short call, and each delta of a long answer."""
    if find_spec("anthropic") is None:
        print("adapters: left out, since anthropic is not installed", file=sys.stderr)
        return
    before = {name: os.environ.get(name) for name in ("ANTHROPIC_API_KEY", "NO_PROXY")}
    with FakeProviders() as fake:
        os.environ.update(ANTHROPIC_API_KEY="none", NO_PROXY="127.0.0.1")
        try:
            yield from _rows(scale, fake)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _median(call: Callable[[], float]) -> float:
    """Return what one of twenty calls takes; after a collection the first ones are slow."""
    return statistics.median(call() for _ in range(20))


def _rows(scale: Scale, fake: FakeProviders) -> Iterator[Row]:
    import anthropic  # noqa: PLC0415 - an extra

    from kairos.adapters.claude import ClaudeAdapter  # noqa: PLC0415 - as above

    bare = anthropic.Anthropic(api_key="none", base_url=fake.url, max_retries=0)
    model = ClaudeAdapter(model="claude-sonnet-5-5", base_url=fake.url, allow_localhost=True)

    def by_sdk() -> float:
        begun = time.perf_counter()
        said = [event for event in bare.messages.create(**_ASKED) if event.type]
        assert said[-1].type == "message_stop"
        return (time.perf_counter() - begun) * 1e6

    def by_adapter() -> float:
        begun = time.perf_counter()
        assert model.call("Hello").text
        return (time.perf_counter() - begun) * 1e6

    fake.answer(lambda _: "Hello")
    found = interleaved(
        {"sdk": lambda: _median(by_sdk), "adapter": lambda: _median(by_adapter)},
        scale.rounds(15),
    )
    bound = found["sdk"] * 0.05 + 200
    yield Row(
        "call",
        "one call of Claude, beside the bare SDK (within 5 % and 200 µs)",
        "µs",
        found["adapter"],
        found["sdk"],
        Target(round(bound), "excess"),
    )

    deltas = scale.size(10_000) // 5
    words = _WORDS[: deltas * 5]
    fake.clear()
    fake.answer(lambda _: (words, Framing(delta=5)))

    def stream_by_sdk() -> float:
        return by_sdk() / deltas

    def stream_by_adapter() -> float:
        begun = time.perf_counter()
        for _ in model.stream(model.request("Hello")):
            pass
        return (time.perf_counter() - begun) * 1e6 / deltas

    sides = {"sdk": stream_by_sdk, "adapter": stream_by_adapter}
    found = interleaved(sides, scale.rounds(9))
    yield Row(
        "call_delta",
        "one delta of a streamed answer, beside the bare SDK",
        "µs",
        found["adapter"],
        found["sdk"],
        Target(10, "excess"),
    )
