"""OpenAI's chat completions, which many servers speak."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.models.request import ToolSpec
from kairos.testing.providers.dialect import (
    Asked,
    Dialect,
    Event,
    Problem,
    Said,
    joined_text,
)
from kairos.testing.providers.openai_checks import (
    check_chat,
    problem,
    request_headers,
    unknown_model,
)
from kairos.testing.replies import pieces, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.models.reply import TokenUsage
    from kairos.testing.faults import StreamError

__all__ = ["DIALECT"]

_STOPS = {
    "end": "stop",
    "tools": "tool_calls",
    "length": "length",
    "stop_sequence": "stop",
    "refused": "stop",
    "filtered": "content_filter",
}
_CREATED = 1_790_000_000


def _read(body: dict[str, Any]) -> Asked:
    messages = body["messages"]
    texts = [(one["role"], joined_text(one.get("content"))) for one in messages]
    wanted = body.get("response_format") or {}
    choice = body.get("tool_choice")
    forced = (choice.get("function") or {}).get("name", "") if isinstance(choice, dict) else None
    return Asked(
        model=body["model"],
        stream=bool(body.get("stream")),
        system="\n".join(text for role, text in texts if role in ("system", "developer")),
        prompt=next((text for role, text in reversed(texts) if role == "user" and text), ""),
        tools=tuple(
            ToolSpec(one["function"]["name"], one["function"].get("description", ""),
                     one["function"].get("parameters") or {"type": "object"})
            for one in body.get("tools") or ()
            if one.get("type") == "function"
        ),
        results=tuple(text for role, text in texts if role == "tool"),
        output=wanted["json_schema"].get("schema", {})
        if wanted.get("type") == "json_schema"
        else {} if wanted.get("type") == "json_object" else None,
        forced="" if choice == "required" else forced,
        barred=choice == "none",
        max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        usage_wanted=bool((body.get("stream_options") or {}).get("include_usage")),
        tokens=tokens_of([messages, body.get("tools")]),
    )  # fmt: skip


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _calls(said: Said) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id or f"call_{said.number:06d}{at:02d}",
            "type": "function",
            "function": {"name": one.name, "arguments": one.text},
        }
        for at, one in enumerate(said.calls)
    ]


def _whole(asked: Asked, said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": said.text or None,
        "refusal": said.refusal.text if said.refusal else None,
        "annotations": [],
    }
    if said.thoughts:  # not OpenAI itself, but the servers that speak its language
        message["reasoning_content"] = "".join(one.text for one in said.thoughts)
    if said.calls:
        message["tool_calls"] = _calls(said)
    stop = _STOPS.get(said.stop, said.stop)
    whole: dict[str, Any] = {
        **_frame(asked, said, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": stop}],
    }
    if said.usage:
        whole["usage"] = _usage(said.usage)
    return whole


def _frame(asked: Asked, said: Said, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-fake{said.number:016d}",
        "object": kind,
        "created": _CREATED,
        "model": asked.model,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _events(asked: Asked, said: Said) -> Iterator[Event]:
    frame = _frame(asked, said, "chat.completion.chunk")
    if asked.usage_wanted:
        frame["usage"] = None

    def chunk(delta: dict[str, Any], stop: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": stop}
        return _event({**frame, "choices": [choice]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for thought in said.thoughts:
        for piece in pieces(thought.text, said.delta):
            yield chunk({"reasoning_content": piece})
    for field, text in (
        ("content", said.text),
        ("refusal", said.refusal.text if said.refusal else ""),
    ):
        for piece in pieces(text, said.delta) if text else ():
            yield chunk({field: piece})
    for at, call in enumerate(_calls(said)):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield chunk({"tool_calls": [{"index": at, **call, "function": function}]})
        for piece in pieces(call["function"]["arguments"], said.delta):
            yield chunk({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    yield chunk({}, _STOPS.get(said.stop, said.stop))
    if asked.usage_wanted and said.usage:
        yield _event({**frame, "choices": [], "usage": _usage(said.usage)})
    yield Event("[DONE]")


def _event(data: dict[str, Any]) -> Event:
    return Event(json.dumps(data, ensure_ascii=False))


def _broken(_asked: Asked, said: Said, fault: StreamError, _at: int) -> Event:
    kind = fault.type or "server_error"
    return _event(problem(Problem(500, fault.message, kind), said.number))


DIALECT = Dialect(
    name="openai.chat",
    provider="openai",
    check=check_chat,
    read=_read,
    problem=problem,
    whole=_whole,
    events=_events,
    broken=_broken,
    unknown_model=unknown_model,
    headers=request_headers,
    overloaded=503,
    wrong_key=Problem(401),
    blocked=Problem(
        400,
        "The response was filtered due to the prompt triggering a content management policy.",
        "invalid_request_error",
        "content_filter",
        "prompt",
    ),
)
