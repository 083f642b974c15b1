"""OpenAI's Responses."""

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
    check_responses,
    problem,
    request_headers,
    unknown_model,
)
from kairos.testing.replies import CallTool, Refuse, Think, pieces, text_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kairos.models.reply import TokenUsage
    from kairos.testing.faults import StreamError

__all__ = ["DIALECT"]

_INCOMPLETE = {"length": "max_output_tokens", "filtered": "content_filter"}
_CREATED = 1_790_000_000


def _read(body: dict[str, Any]) -> Asked:
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    texts = [
        (one["role"], joined_text(one.get("content")))
        for one in items
        if one.get("type", "message") == "message"
    ]
    wanted = (body.get("text") or {}).get("format") or {}
    choice = body.get("tool_choice")
    system = [body.get("instructions") or ""]
    system += [text for role, text in texts if role in ("system", "developer")]
    return Asked(
        model=body["model"],
        stream=bool(body.get("stream")),
        system="\n".join(filter(None, system)),
        prompt=next((text for role, text in reversed(texts) if role == "user" and text), ""),
        tools=tuple(
            ToolSpec(one["name"], one.get("description") or "", one.get("parameters") or {})
            for one in body.get("tools") or ()
            if one.get("type") == "function"
        ),
        results=tuple(
            joined_text(one["output"]) for one in items if one.get("type") == "function_call_output"
        ),
        output=wanted.get("schema", {})
        if wanted.get("type") in ("json_schema", "json_object")
        else None,
        forced=choice.get("name", "")
        if isinstance(choice, dict)
        else "" if choice == "required" else None,
        barred=choice == "none",
        max_tokens=body.get("max_output_tokens"),
        tokens=tokens_of([items, body.get("instructions"), body.get("tools")]),
    )  # fmt: skip


def _usage(usage: TokenUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _output(said: Said) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for at, one in enumerate(said.contents):
        key = f"fake{said.number:06d}{at:02d}"
        if isinstance(one, Think):
            summary = (
                [{"type": "summary_text", "text": one.text}] if one.text and not one.hidden else []
            )
            items.append(
                {
                    "type": "reasoning",
                    "id": f"rs_{key}",
                    "summary": summary,
                    "encrypted_content": one.seal or None,
                    "status": "completed",
                }
            )
        elif isinstance(one, CallTool):
            call = one.id or f"call_{said.number:06d}{at:02d}"
            items.append(
                {
                    "type": "function_call",
                    "id": f"fc_{key}",
                    "call_id": call,
                    "name": one.name,
                    "arguments": one.text,
                    "status": "completed",
                }
            )
        elif isinstance(one, Refuse):
            items.append(_message(key, {"type": "refusal", "refusal": one.text}))
        elif text := text_of(one):
            part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
            items.append(_message(key, part))
    return items  # fmt: skip


def _message(key: str, part: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{key}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def _response(
    asked: Asked, said: Said, status: str, output: list[dict[str, Any]]
) -> dict[str, Any]:
    reason = _INCOMPLETE.get(said.stop)
    done = status in ("completed", "incomplete")
    return {
        "id": f"resp_fake{said.number:016d}",
        "object": "response",
        "created_at": _CREATED,
        "completed_at": _CREATED + 1 if status == "completed" else None,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if status == "incomplete" else None,
        "instructions": asked.system or None,
        "max_output_tokens": asked.max_tokens,
        "model": asked.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(said.usage) if done and said.usage else None,
        "user": None,
        "metadata": {},
    }


def _status(said: Said) -> str:
    return "incomplete" if said.stop in _INCOMPLETE else "completed"


def _whole(asked: Asked, said: Said) -> dict[str, Any]:
    return _response(asked, said, _status(said), _output(said))


def _events(asked: Asked, said: Said) -> Iterator[Event]:
    for at, data in enumerate(_numberless(asked, said)):
        whole = {"type": data["type"], "sequence_number": at, **data}
        yield Event(json.dumps(whole, ensure_ascii=False), data["type"])


def _numberless(asked: Asked, said: Said) -> Iterator[dict[str, Any]]:
    begun = _response(asked, said, "in_progress", [])
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    output = _output(said)
    for at, item in enumerate(output):
        place = {"item_id": item["id"], "output_index": at}
        yield {"type": "response.output_item.added", "output_index": at, "item": _empty(item)}
        yield from _item_events(item, place, said.delta)
        yield {"type": "response.output_item.done", "output_index": at, "item": item}
    status = _status(said)
    yield {"type": f"response.{status}", "response": _response(asked, said, status, output)}


def _empty(item: dict[str, Any]) -> dict[str, Any]:
    blank: dict[str, Any] = {"status": "in_progress"}
    kind = item["type"]
    if kind == "message":
        blank["content"] = []
    elif kind == "function_call":
        blank["arguments"] = ""
    else:
        blank["summary"] = []
        seal = item["encrypted_content"]
        blank["encrypted_content"] = seal and seal[: len(seal) // 2]  # whole only when it is done
    return {**item, **blank}


def _item_events(
    item: dict[str, Any], place: dict[str, Any], size: int
) -> Iterator[dict[str, Any]]:
    if item["type"] == "function_call":
        name = "response.function_call_arguments"
        for piece in pieces(item["arguments"], size):
            yield {"type": f"{name}.delta", **place, "delta": piece}
        yield {"type": f"{name}.done", **place, "arguments": item["arguments"]}
    elif item["type"] == "reasoning":
        for at, part in enumerate(item["summary"]):
            yield from _summary_events(part, {**place, "summary_index": at}, size)
    else:
        yield from _part_events(item["content"][0], {**place, "content_index": 0}, size)


def _summary_events(
    part: dict[str, Any], place: dict[str, Any], size: int
) -> Iterator[dict[str, Any]]:
    name = "response.reasoning_summary"
    yield {"type": f"{name}_part.added", **place, "part": {**part, "text": ""}}
    for piece in pieces(part["text"], size):
        yield {"type": f"{name}_text.delta", **place, "delta": piece}
    yield {"type": f"{name}_text.done", **place, "text": part["text"]}
    yield {"type": f"{name}_part.done", **place, "part": part}


def _part_events(
    part: dict[str, Any], place: dict[str, Any], size: int
) -> Iterator[dict[str, Any]]:
    refused = part["type"] == "refusal"
    field = "refusal" if refused else "text"
    name = "response.refusal" if refused else "response.output_text"
    more: dict[str, Any] = {} if refused else {"logprobs": []}
    yield {"type": "response.content_part.added", **place, "part": {**part, field: ""}}
    for piece in pieces(part[field], size):
        yield {"type": f"{name}.delta", **place, "delta": piece, **more}
    yield {"type": f"{name}.done", **place, field: part[field], **more}
    yield {"type": "response.content_part.done", **place, "part": part}


def _broken(asked: Asked, said: Said, fault: StreamError, at: int) -> Event:
    code = fault.type or "server_error"
    message = fault.message or "The server had an error processing your request."
    if code == "response.failed":  # the second way in which this API says it
        error = {"code": "server_error", "message": message}
        response = {**_response(asked, said, "failed", []), "error": error}
        data = {"type": code, "sequence_number": at, "response": response}
        return Event(json.dumps(data), code)
    data = {
        "type": "error",
        "code": code,
        "message": message,
        "param": None,
        "sequence_number": at,
    }
    return Event(json.dumps(data), "error")


DIALECT = Dialect(
    name="openai.responses",
    provider="openai",
    check=check_responses,
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
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
        "invalid_request_error",
        "invalid_prompt",
    ),
)
