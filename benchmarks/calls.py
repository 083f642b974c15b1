"""A call of a model through an adapter, beside the bare SDK against the same local server.

The server is a process of its own and what is measured is the processor time of this one: on a
machine that others use as well the wall tells of them, and a server in this process would be
counted with its clients.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from figures import Row, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Scale

__all__ = ["rows"]

_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY")
_SERVER = """
import sys
from kairos.testing import FakeProviders, Framing
with FakeProviders() as fake:
    words, delta = "word " * int(sys.argv[1]), int(sys.argv[2])
    fake.answer(lambda _: (words or "Hello", Framing(delta=delta)))
    print(fake.url, flush=True)
    sys.stdin.read()
"""


class _Side(NamedTuple):
    """An API: what it is called in the table, its SDK's module, and how both sides ask it."""

    key: str
    title: str
    module: str
    bare: Callable[[str], Callable[[], Any]]
    adapted: Callable[[str], Any]


# --- the bare SDKs, as their own pages show them, without retries


def _claude_sdk(url: str) -> Callable[[], Any]:
    import anthropic  # noqa: PLC0415 - an extra

    client = anthropic.Anthropic(api_key="none", base_url=url, max_retries=0)
    said: Any = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    return lambda: [
        event.type
        for event in client.messages.create(
            model="claude-sonnet-5-5", max_tokens=4096, messages=said, stream=True
        )
    ]


def _chat_sdk(url: str) -> Callable[[], Any]:
    import openai  # noqa: PLC0415 - an extra

    client = openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
    return lambda: [
        event.choices
        for event in client.chat.completions.create(
            model="gpt-4.1",
            messages=[{"role": "user", "content": "Hello"}],
            max_completion_tokens=4096,
            stream=True,
            stream_options={"include_usage": True},
        )
    ]


def _responses_sdk(url: str) -> Callable[[], Any]:
    import openai  # noqa: PLC0415 - an extra

    client = openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
    said: Any = [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]
    return lambda: [
        event.type
        for event in client.responses.create(
            model="gpt-4.1", input=said, max_output_tokens=4096, store=False, stream=True
        )
    ]


def _gemini_sdk(url: str) -> Callable[[], Any]:
    from google import genai  # noqa: PLC0415 - an extra

    client = genai.Client(api_key="none", http_options={"base_url": url})
    config: Any = {"max_output_tokens": 4096, "automatic_function_calling": {"disable": True}}
    said: Any = [{"role": "user", "parts": [{"text": "Hello"}]}]
    return lambda: [
        event.candidates
        for event in client.models.generate_content_stream(
            model="gemini-3.8-flash", contents=said, config=config
        )
    ]


# --- the adapters


def _claude(url: str) -> Any:
    from kairos.adapters.claude import ClaudeAdapter  # noqa: PLC0415 - an extra

    return ClaudeAdapter(model="claude-sonnet-5-5", base_url=url, allow_localhost=True)


def _openai(url: str, api: Any) -> Any:
    from kairos.adapters.openai_adapter import OpenAIAdapter  # noqa: PLC0415 - an extra

    return OpenAIAdapter(model="gpt-4.1", base_url=f"{url}/v1", allow_localhost=True, api=api)


def _gemini(url: str) -> Any:
    from kairos.adapters.gemini import GeminiAdapter  # noqa: PLC0415 - an extra

    return GeminiAdapter(model="gemini-3.8-flash", base_url=url, allow_localhost=True)


_SIDES = (
    _Side("call", "Claude", "anthropic", _claude_sdk, _claude),
    _Side("call_chat", "OpenAI's chat", "openai", _chat_sdk, lambda url: _openai(url, "chat")),
    _Side(
        "call_responses",
        "OpenAI's Responses",
        "openai",
        _responses_sdk,
        lambda url: _openai(url, "responses"),
    ),
    _Side("call_gemini", "Gemini", "google.genai", _gemini_sdk, _gemini),
)


def rows(scale: Scale) -> Iterator[Row]:
    """Measure each API: one short call, and each delta of a long answer."""
    before = {name: os.environ.get(name) for name in (*_KEYS, "NO_PROXY")}
    os.environ.update(dict.fromkeys(_KEYS, "none"), NO_PROXY="127.0.0.1")
    deltas = scale.size(10_000) // 5
    try:
        with _serving(0, 7) as short, _serving(deltas, 5) as long:
            for side in _SIDES:
                if not _is_there(side.module):
                    print(f"{side.key}: left out without {side.module}", file=sys.stderr)
                    continue
                yield _call(side, short, scale)
                yield _delta(side, long, deltas, scale)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@contextlib.contextmanager
def _serving(words: int, delta: int) -> Iterator[str]:
    """Run a server that answers with so many words, and return its address."""
    command = [sys.executable, "-c", _SERVER, str(words), str(delta)]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def _paired(
    bare: Callable[[], Any], adapted: Callable[[], Any], pairs: int, parts: int
) -> tuple[float, float]:
    """Return what each part of a call takes by the SDK, and by the adapter, in microseconds.

    The calls take turns, and the second figure is the first with the median of their differences:
    two neighbours meet the same disturbances, which are larger than what is measured.
    """
    floors, excess = [], []
    for turn in range(-3, pairs):
        begun = time.process_time()
        assert bare()
        between = time.process_time()
        assert adapted()
        ended = time.process_time()
        if turn >= 0:
            floors.append((between - begun) * 1e6 / parts)
            excess.append((ended - between) * 1e6 / parts - floors[-1])
    floor = statistics.median(floors)
    return floor, floor + statistics.median(excess)


def _call(side: _Side, url: str, scale: Scale) -> Row:
    model = side.adapted(url)
    floor, found = _paired(
        side.bare(url), lambda: model.call("Hello").text, scale.rounds(400), parts=1
    )
    what = f"one call of {side.title}, beside the bare SDK (5 % and 200 µs)"
    return Row(side.key, what, "µs", found, floor, Target(round(floor * 0.05 + 200), "excess"))


def _delta(side: _Side, url: str, deltas: int, scale: Scale) -> Row:
    model = side.adapted(url)
    floor, found = _paired(
        side.bare(url),
        lambda: [type(event) for event in model.stream(model.request("Hello"))],
        scale.rounds(9),
        parts=deltas,
    )
    what = f"one delta of {side.title}, streamed, beside the bare SDK"
    return Row(f"{side.key}_delta", what, "µs", found, floor, Target(10, "excess"))
