"""What Claude is asked in, and what it answers: messages, and blocks that go by their index."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from kairos.adapters.vendor import Arguments, Decoder, Malformed, arguments_of
from kairos.models.parts import (
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from kairos.models.reply import StopReason, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kairos.models.request import Request
    from kairos.models.stream import StreamEvent

__all__ = ["ClaudeDecoder", "claude_arguments"]

# --- what is asked


def claude_arguments(request: Request, model: str) -> Arguments:
    """Return the arguments of `client.messages.create`."""
    own = dict(request.options)
    made: Arguments = {
        "model": model,
        "max_tokens": request.max_tokens,
        "messages": [_message(one) for one in _joined(request.messages)],
        "stream": True,
    }
    if request.system:
        made["system"] = request.system
    if request.stop:
        made["stop_sequences"] = list(request.stop)
    config = dict(own.pop("output_config", {}))
    if "effort" in own:
        config["effort"] = own.pop("effort")
    if request.output is not None:
        config["format"] = {"type": "json_schema", "schema": dict(request.output)}
    if config:
        made["output_config"] = config
    if request.tools:
        made["tools"] = [
            {"name": one.name, "description": one.description, "input_schema": dict(one.parameters)}
            for one in request.tools
        ]
    if request.forced:
        made["tool_choice"] = {"type": "tool", "name": request.forced}
    # gone from the SDK's signature, still there on the wire for the models that have them
    sampling: dict[str, Any] = {name: own.pop(name) for name in ("top_p", "top_k") if name in own}
    if request.temperature is not None:
        sampling["temperature"] = request.temperature
    if sampling:
        own["extra_body"] = {**sampling, **own.get("extra_body", {})}
    return made | own


def _joined(messages: Iterable[Message]) -> list[Message]:
    """Let turns alternate: results of tools are the user's, and two in a row are one."""
    found: list[Message] = []
    for message in messages:
        role: Role = "assistant" if message.role == "assistant" else "user"
        if found and found[-1].role == role:
            found[-1] = Message(role, (*found[-1].parts, *message.parts))
        else:
            found.append(Message(role, message.parts))
    return found


def _message(message: Message) -> dict[str, Any]:
    blocks = [block for part in message.parts if (block := _block(part)) is not None]
    # results have to come first in the turn that answers calls
    blocks.sort(key=lambda block: block["type"] != "tool_result")
    return {"role": message.role, "content": blocks}


def _block(part: Part) -> dict[str, Any] | None:  # noqa: PLR0911 - one a kind of part
    match part:
        case Text(text):
            return {"type": "text", "text": text} if text.strip() else None
        case Reasoning(text, seal, provider):
            if provider != "anthropic" or not seal:
                return None  # it goes back to whom it came from, and nowhere else
            if not text:
                return {"type": "redacted_thinking", "data": seal}
            return {"type": "thinking", "thinking": text, "signature": seal}
        case Image(media_type, data, url):
            return {"type": "image", "source": _source(media_type, data, url)}
        case Document(media_type, data, url, name):
            if not url and media_type.startswith("text/"):
                words = data.decode(errors="replace")
                source = {"type": "text", "media_type": "text/plain", "data": words}
            else:
                source = _source(media_type, data, url)
            title = {"title": name} if name else {}
            return {"type": "document", "source": source, **title}
        case ToolCall(call_id, name, arguments):
            return {
                "type": "tool_use",
                "id": call_id,
                "name": name,
                "input": arguments_of(arguments),
            }
        case ToolResult(call_id, _, content, failed):
            failure = {"is_error": True} if failed else {}
            return {"type": "tool_result", "tool_use_id": call_id, "content": content, **failure}


def _source(media_type: str, data: bytes, url: str) -> dict[str, Any]:
    if url:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}


# --- what comes back

_STOPS: dict[str, StopReason] = {
    "end_turn": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tools",
    "refusal": "refused",
    "pause_turn": "end",
}


class ClaudeDecoder(Decoder):
    """Reads `message_start … message_stop`; blocks go by their index, which may interleave."""

    def __init__(self) -> None:
        super().__init__()
        self._tools: dict[int, int] = {}
        self._begun: set[int] = set()

    def feed(self, event: Any) -> Sequence[StreamEvent]:
        """Return what an event means."""
        match getattr(event, "type", None):
            case "content_block_delta":
                return self._delta(event)
            case "content_block_start":
                return self._start(event)
            case "message_start":
                message = event.message
                self.model = getattr(message, "model", "") or ""
                self.metadata["id"] = getattr(message, "id", None)
                return self.counted(_usage(getattr(message, "usage", None), self.usage))
            case "message_delta":
                stop = getattr(event.delta, "stop_reason", None)
                if stop is not None:
                    self.metadata["stop_reason"] = stop
                    self.stop = _STOPS.get(stop, "end")
                return self.counted(_usage(getattr(event, "usage", None), self.usage))
            case "message_stop":
                self.done = self.stop is not None
                return ()
            case None:
                raise Malformed("an event without a type")
            case _:
                return ()

    def _start(self, event: Any) -> Sequence[StreamEvent]:
        if event.index in self._begun:
            raise Malformed("a block that began twice")
        self._begun.add(event.index)
        block = event.content_block
        kind = getattr(block, "type", None)
        if kind == "tool_use":
            self._tools[event.index] = self.calls
            return self.tool_call(block.id, block.name)
        if kind == "redacted_thinking":
            self.break_()
            self.sealed(block.data)
        elif kind == "thinking":
            self.break_()
        elif kind == "text":
            return self.text(block.text or "")
        return ()

    def _delta(self, event: Any) -> Sequence[StreamEvent]:
        delta = event.delta
        match getattr(delta, "type", None):
            case "text_delta":
                return self.text(delta.text)
            case "input_json_delta":
                at = self._tools.get(event.index)
                return () if at is None else self.arguments(at, delta.partial_json)
            case "thinking_delta":
                return self.reasoning(delta.thinking)
            case "signature_delta":
                self.sealed(delta.signature)
            case "citations_delta":
                cited = self.metadata.setdefault("citations", [])
                cited.append(delta.citation.model_dump(exclude_none=True))
        return ()


def _usage(seen: Any, before: TokenUsage) -> TokenUsage:
    """Return what was consumed; a count that an event leaves out is that of the one before."""
    if seen is None:
        return before

    def count(name: str, known: int) -> int:
        value = getattr(seen, name, None)
        return value if isinstance(value, int) else known

    cached = count("cache_read_input_tokens", before.cached_tokens)
    written = count("cache_creation_input_tokens", before.cache_write_tokens)
    fresh = count(
        "input_tokens", before.input_tokens - before.cached_tokens - before.cache_write_tokens
    )
    output = count("output_tokens", before.output_tokens)
    details = getattr(seen, "output_tokens_details", None)
    thought = getattr(details, "thinking_tokens", None)
    total = fresh + cached + written
    return TokenUsage(
        input_tokens=total,
        output_tokens=output,
        total_tokens=total + output,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=thought if isinstance(thought, int) else before.reasoning_tokens,
    )
