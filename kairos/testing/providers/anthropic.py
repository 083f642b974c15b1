"""Anthropic's Messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kairos.models.request import ToolSpec
from kairos.testing.providers.anthropic_checks import check
from kairos.testing.providers.dialect import (
    Asked,
    Dialect,
    Event,
    Problem,
    Said,
    joined_text,
)
from kairos.testing.replies import CallTool, Think, pieces, text_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.models.reply import TokenUsage
    from kairos.testing.faults import StreamError

__all__ = ["DIALECT"]

_STOPS = {
    "end": "end_turn",
    "tools": "tool_use",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refused": "refusal",
    "filtered": "refusal",
}
_TYPES = {
    400: ("invalid_request_error", "Invalid request"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the resource."),
    404: ("not_found_error", "Not found"),
    408: ("timeout_error", "Request timed out."),
    409: ("conflict_error", "Conflict"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


def _problem(problem: Problem, number: int) -> dict[str, Any]:
    kind, message = _TYPES.get(problem.status, ("api_error", "Internal server error"))
    error = {"type": problem.type or kind, "message": problem.message or message}
    return {"type": "error", "error": error, "request_id": _request_id(number)}


def _request_id(number: int) -> str:
    return f"req_fake{number:016d}"


def _headers(number: int) -> dict[str, str]:
    return {
        "request-id": _request_id(number),
        "anthropic-organization-id": "00000000-0000-4000-8000-00000000fa4e",
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "3999",
    }


def _read(body: dict[str, Any]) -> Asked:
    messages = body["messages"]
    blocks = [
        block
        for message in messages
        if isinstance(message["content"], list)
        for block in message["content"]
    ]
    asked = [joined_text(one["content"]) for one in messages if one["role"] == "user"]
    choice = body.get("tool_choice") or {}
    output = (body.get("output_config") or {}).get("format") or {}
    return Asked(
        model=body["model"],
        stream=bool(body.get("stream")),
        system=joined_text(body.get("system")),
        prompt=next((text for text in reversed(asked) if text), ""),
        tools=tuple(
            ToolSpec(one["name"], one.get("description", ""), one["input_schema"])
            for one in body.get("tools") or ()
            if "input_schema" in one
        ),
        results=tuple(
            joined_text(block.get("content", ""))
            for block in blocks
            if block["type"] == "tool_result"
        ),
        output=output.get("schema"),
        forced={"tool": choice.get("name"), "any": ""}.get(choice.get("type", "")),
        barred=choice.get("type") == "none",
        max_tokens=body["max_tokens"],
        tokens=tokens_of([body.get("system"), messages, body.get("tools")]),
    )


# --- replies


def _usage(usage: TokenUsage, output: int) -> dict[str, Any]:
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    return {
        "input_tokens": usage.input_tokens - cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }


def _blocks(said: Said) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for at, one in enumerate(said.contents):
        if isinstance(one, Think) and one.hidden:
            blocks.append({"type": "redacted_thinking", "data": one.seal})
        elif isinstance(one, Think):
            blocks.append({"type": "thinking", "thinking": one.text, "signature": one.seal})
        elif isinstance(one, CallTool):
            key = one.id or f"toolu_{said.number:06d}{at:02d}"
            call = {"type": "tool_use", "id": key, "name": one.name, "input": one.text}
            blocks.append({**call, "caller": {"type": "direct"}})
        elif text := text_of(one):
            blocks.append({"type": "text", "text": text})
    return blocks


def _input(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}  # what is no JSON cannot be sent in a plain reply


def _details(said: Said) -> dict[str, Any] | None:
    if said.refusal is None and said.filtered is None:
        return None
    text = said.refusal.text if said.refusal else None
    return {"type": "refusal", "category": None, "explanation": text}


def _message(asked: Asked, said: Said, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": f"msg_fake{said.number:016d}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": blocks,
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
    }
    if said.usage:
        message["usage"] = _usage(said.usage, 1)
    return message


def _ending(said: Said) -> dict[str, Any]:
    stop = _STOPS.get(said.stop, said.stop)
    sequence = "\n\n" if stop == "stop_sequence" else None
    return {"stop_reason": stop, "stop_sequence": sequence, "stop_details": _details(said)}


def _whole(asked: Asked, said: Said) -> dict[str, Any]:
    blocks = [
        block | {"input": _input(block["input"])} if block["type"] == "tool_use" else block
        for block in _blocks(said)
    ]
    message = _message(asked, said, blocks) | _ending(said)
    if said.usage:
        message["usage"] = _usage(said.usage, said.usage.output_tokens)
    return message


def _events(asked: Asked, said: Said) -> Iterator[Event]:
    yield _event({"type": "message_start", "message": _message(asked, said, [])})
    for at, block in enumerate(_blocks(said)):
        begun, deltas = _opened(block, said.delta)
        yield _event({"type": "content_block_start", "index": at, "content_block": begun})
        if at == 0:
            yield _event({"type": "ping"})
        for delta in deltas:
            yield _event({"type": "content_block_delta", "index": at, "delta": delta})
        yield _event({"type": "content_block_stop", "index": at})
    last: dict[str, Any] = {"type": "message_delta", "delta": _ending(said)}
    if said.usage:
        whole = _usage(said.usage, said.usage.output_tokens)
        for key in ("cache_creation", "service_tier", "inference_geo"):
            del whole[key]
        if said.usage.reasoning_tokens:
            whole["output_tokens_details"] = {"thinking_tokens": said.usage.reasoning_tokens}
        last["usage"] = whole
    yield _event(last)
    yield _event({"type": "message_stop"})


def _opened(block: dict[str, Any], size: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": one} for one in pieces(block["text"], size)]
        return block | {"text": ""}, deltas
    if block["type"] == "thinking":
        deltas = [
            {"type": "thinking_delta", "thinking": one} for one in pieces(block["thinking"], size)
        ]
        seal = {"type": "signature_delta", "signature": block["signature"]}
        return block | {"thinking": "", "signature": ""}, [*deltas, seal]
    if block["type"] == "redacted_thinking":
        return block, []
    parts = ["", *pieces(block["input"], size)] if block["input"] != "{}" else [""]
    deltas = [{"type": "input_json_delta", "partial_json": one} for one in parts]
    return block | {"input": {}}, deltas


def _event(data: dict[str, Any]) -> Event:
    return Event(json.dumps(data, ensure_ascii=False), data["type"])


def _broken(_asked: Asked, said: Said, fault: StreamError, _at: int) -> Event:
    problem = Problem(529, fault.message, fault.type)
    return Event(json.dumps(_problem(problem, said.number)), "error")


def _unknown_model(model: str) -> Problem:
    return Problem(404, f"model: {model}")


DIALECT = Dialect(
    name="anthropic",
    provider="anthropic",
    check=check,
    read=_read,
    problem=_problem,
    whole=_whole,
    events=_events,
    broken=_broken,
    unknown_model=_unknown_model,
    headers=_headers,
    overloaded=529,
    wrong_key=Problem(401),
    blocked=Problem(400, "Output blocked by content filtering policy"),
)
