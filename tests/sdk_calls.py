"""One way to call the three SDKs, plain and streaming, sync and async, and what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

APIS = ("anthropic", "openai.chat", "openai.responses", "gemini")
MODES = ("plain", "stream", "async", "async-stream")

__all__ = ["APIS", "MODES", "Seen", "call"]


@dataclass
class Seen:
    """What an SDK made of it: the pieces of text, why it stopped, and the objects themselves."""

    text: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    stop: Any = None
    usage: Any = None
    ended: bool = False
    raw: list[Any] = field(default_factory=list)
    error: BaseException | None = None


class _Ask(NamedTuple):
    url: str
    api: str
    streaming: bool
    given: dict[str, Any]
    retries: int
    timeout: float


def call(
    url: str,
    api: str,
    mode: str = "plain",
    *,
    prompt: str = "hi",
    retries: int = 0,
    timeout: float = 10.0,
    **options: Any,
) -> Seen:
    """Call an SDK; an error is kept in `error`, with what came before it."""
    seen = Seen()
    ask = _Ask(
        url, api, mode.endswith("stream"), _arguments(api, prompt, options), retries, timeout
    )
    try:
        if mode.startswith("async"):
            asyncio.run(_async(seen, ask))
        else:
            _sync(seen, ask)
    except Exception as error:  # noqa: BLE001 - which one it is, is what tests are about
        seen.error = error
    return seen


def _arguments(api: str, prompt: str, options: dict[str, Any]) -> dict[str, Any]:
    message = [{"role": "user", "content": prompt}]
    if api == "anthropic":
        return {"model": "claude", "max_tokens": 100, "messages": message, **options}
    if api == "openai.chat":
        return {"model": "gpt", "messages": message, **options}
    if api == "openai.responses":
        return {"model": "gpt", "input": prompt, **options}
    return {"model": "gemini", "contents": prompt, **options}


def _gemini_options(ask: _Ask) -> Any:
    return {"base_url": ask.url, "timeout": int(ask.timeout * 1000)}


def _sync(seen: Seen, ask: _Ask) -> None:
    if ask.api == "gemini":
        from google import genai

        with genai.Client(api_key="k", http_options=_gemini_options(ask)) as client:
            models: Any = client.models
            asking = models.generate_content_stream if ask.streaming else models.generate_content
            got = asking(**ask.given)
            for one in got if ask.streaming else [got]:
                _gemini(seen, one)
        return
    with _client(ask, asynchronous=False) as client:
        got = _create(client, ask.api)(**ask.given, **_streaming(ask))
        for one in got if ask.streaming else [got]:
            _take(seen, ask, one)


async def _async(seen: Seen, ask: _Ask) -> None:
    if ask.api == "gemini":
        from google import genai

        outer = genai.Client(api_key="k", http_options=_gemini_options(ask))
        async with outer.aio as client:
            models: Any = client.models
            if ask.streaming:
                async for one in await models.generate_content_stream(**ask.given):
                    _gemini(seen, one)
            else:
                _gemini(seen, await models.generate_content(**ask.given))
        outer.close()
        return
    async with _client(ask, asynchronous=True) as client:
        got = await _create(client, ask.api)(**ask.given, **_streaming(ask))
        if not ask.streaming:
            _take(seen, ask, got)
            return
        async for one in got:
            _take(seen, ask, one)


def _client(ask: _Ask, *, asynchronous: bool) -> Any:
    given: dict[str, Any] = {"api_key": "k", "max_retries": ask.retries, "timeout": ask.timeout}
    if ask.api == "anthropic":
        import anthropic

        kind: Any = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return kind(base_url=ask.url, **given)
    import openai

    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return kind(base_url=f"{ask.url}/v1", **given)


def _create(client: Any, api: str) -> Any:
    if api == "anthropic":
        return client.messages.create
    return client.chat.completions.create if api == "openai.chat" else client.responses.create


def _streaming(ask: _Ask) -> dict[str, Any]:
    if not ask.streaming:
        return {}
    more = {"stream_options": {"include_usage": True}} if ask.api == "openai.chat" else {}
    return {"stream": True, **more}


def _take(seen: Seen, ask: _Ask, one: Any) -> None:
    seen.raw.append(one)
    if isinstance(one, str):
        return
    {
        ("anthropic", False): _anthropic,
        ("anthropic", True): _anthropic_event,
        ("openai.chat", False): _chat,
        ("openai.chat", True): _chat_chunk,
        ("openai.responses", False): _responses,
        ("openai.responses", True): _responses_event,
    }[ask.api, ask.streaming](seen, one)


def _anthropic(seen: Seen, one: Any) -> None:
    for block in one.content or ():
        if block.type == "text":
            seen.text.append(block.text)
        elif block.type == "thinking":
            seen.thoughts.append(block.thinking)
        elif block.type == "tool_use":
            seen.calls.append((block.name, str(block.input)))
    seen.stop, seen.usage, seen.ended = one.stop_reason, one.usage, True


def _anthropic_event(seen: Seen, one: Any) -> None:
    if one.type == "content_block_delta":
        delta = one.delta
        if delta.type == "text_delta":
            seen.text.append(delta.text)
        elif delta.type == "thinking_delta":
            seen.thoughts.append(delta.thinking)
        elif delta.type == "input_json_delta":
            name, text = seen.calls[-1]
            seen.calls[-1] = (name, text + delta.partial_json)
    elif one.type == "content_block_start" and one.content_block.type == "tool_use":
        seen.calls.append((one.content_block.name, ""))
    elif one.type == "message_delta":
        seen.stop, seen.usage = one.delta.stop_reason, one.usage
    seen.ended = seen.ended or one.type == "message_stop"


def _chat(seen: Seen, one: Any) -> None:
    for choice in one.choices or ():
        seen.text.append(choice.message.content or choice.message.refusal or "")
        for tool in choice.message.tool_calls or ():
            seen.calls.append((tool.function.name, tool.function.arguments))
        seen.stop = choice.finish_reason
    seen.usage, seen.ended = one.usage, True


def _chat_chunk(seen: Seen, one: Any) -> None:
    for choice in one.choices or ():
        piece = choice.delta.content or choice.delta.refusal
        if piece:
            seen.text.append(piece)
        for tool in choice.delta.tool_calls or ():
            if tool.function.name:
                seen.calls.append((tool.function.name, ""))
            name, text = seen.calls[tool.index]
            seen.calls[tool.index] = (name, text + (tool.function.arguments or ""))
        seen.stop = choice.finish_reason or seen.stop
    seen.usage = one.usage or seen.usage
    seen.ended = seen.ended or seen.stop is not None


def _responses(seen: Seen, one: Any) -> None:
    for item in one.output or ():
        if item.type == "message":
            seen.text += [getattr(part, "text", None) or part.refusal for part in item.content]
        elif item.type == "reasoning":
            seen.thoughts += [part.text for part in item.summary]
        elif item.type == "function_call":
            seen.calls.append((item.name, item.arguments))
    seen.stop, seen.usage, seen.ended = one.status, one.usage, True


def _responses_event(seen: Seen, one: Any) -> None:
    if one.type in ("response.output_text.delta", "response.refusal.delta"):
        seen.text.append(one.delta)
    elif one.type == "response.reasoning_summary_text.delta":
        seen.thoughts.append(one.delta)
    elif one.type == "response.output_item.done" and one.item.type == "function_call":
        seen.calls.append((one.item.name, one.item.arguments))
    elif one.type in ("response.completed", "response.incomplete"):
        seen.stop, seen.usage, seen.ended = one.response.status, one.response.usage, True


def _gemini(seen: Seen, one: Any) -> None:
    seen.raw.append(one)
    for candidate in one.candidates or ():
        for part in (candidate.content.parts if candidate.content else None) or ():
            if part.function_call:
                seen.calls.append((part.function_call.name, str(part.function_call.args)))
            elif part.text:
                (seen.thoughts if part.thought else seen.text).append(part.text)
        seen.stop = candidate.finish_reason or seen.stop
    seen.usage = one.usage_metadata or seen.usage
    seen.ended = seen.ended or seen.stop is not None
