"""What Gemini is asked in, and what it answers: contents, parts and their signatures."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from kairos.adapters.vendor import Arguments, Decoder, Malformed, arguments_of
from kairos.exceptions import ConfigError
from kairos.models.parts import (
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from kairos.models.reply import StopReason, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kairos.models.errors import ErrorKind
    from kairos.models.request import Request
    from kairos.models.stream import StreamEvent

__all__ = ["END", "Failed", "GeminiDecoder", "gemini_arguments"]

# --- what is asked


def gemini_arguments(request: Request, model: str) -> Arguments:
    """Return the arguments of `client.models.generate_content_stream`."""
    config: dict[str, Any] = {
        "max_output_tokens": request.max_tokens,
        # one call is one request: what a tool answers, and whether to go on, is not the SDK's
        "automatic_function_calling": {"disable": True},
        "automatic_continuation": False,
    }
    if request.system:
        config["system_instruction"] = request.system
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.seed is not None:
        config["seed"] = request.seed
    if request.stop:
        config["stop_sequences"] = list(request.stop)
    if request.tools:
        told = [
            {
                "name": one.name,
                "description": one.description,
                "parameters_json_schema": dict(one.parameters),
            }
            for one in request.tools
        ]
        config["tools"] = [{"function_declarations": told}]
    if request.output is not None:
        config["response_mime_type"] = "application/json"
        config["response_json_schema"] = dict(request.output)
    config |= request.options
    if request.forced:
        calling = {"mode": "ANY", "allowed_function_names": [request.forced]}
        config["tool_config"] = {"function_calling_config": calling}
    return {"model": model, "contents": _contents(request.messages), "config": config}


def _contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    before = ""
    for message in messages:
        parts = _parts(message.parts)
        if not parts:
            continue
        if message.role == before == "tool":  # the results of one turn are one turn
            found[-1]["parts"] += parts
        else:
            role = "model" if message.role == "assistant" else "user"
            found.append({"role": role, "parts": parts})
        before = message.role
    return found


def _parts(parts: Sequence[Part]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Reasoning):
            _reason(part, made)
        elif not isinstance(part, Text) or part.text:
            made.append(_part(part))
    return made


def _reason(part: Reasoning, made: list[dict[str, Any]]) -> None:
    """Put a seal back where it was: on the text before it, on its own thought, or by itself."""
    if part.provider != "gemini" or not part.seal:
        return  # it goes back to whom it came from, and nowhere else
    seal = base64.b64decode(part.seal)
    if part.text:
        made.append({"text": part.text, "thought": True, "thought_signature": seal})
    elif made and "text" in made[-1] and "thought_signature" not in made[-1]:
        made[-1]["thought_signature"] = seal
    else:
        made.append({"text": "", "thought_signature": seal})


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"text": text}
        case Image(media_type, data, url) | Document(media_type, data, url):
            if url:
                return {"file_data": {"file_uri": url, "mime_type": media_type}}
            return {"inline_data": {"data": data, "mime_type": media_type}}
        case ToolCall(call_id, name, arguments, seal):
            call = {"id": call_id, "name": name, "args": arguments_of(arguments)}
            sealed = {"thought_signature": base64.b64decode(seal)} if seal else {}
            return {"function_call": call, **sealed}
        case ToolResult(call_id, name, content, failed):
            said = {"error" if failed else "output": content}
            return {"function_response": {"id": call_id, "name": name, "response": said}}
        case _:
            raise ConfigError(f"Gemini takes no {type(part).__name__}")


# --- what comes back

_STOPS: dict[str, StopReason] = {
    "STOP": "end",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "filtered",
    "RECITATION": "filtered",
    "LANGUAGE": "filtered",
    "BLOCKLIST": "filtered",
    "PROHIBITED_CONTENT": "filtered",
    "SPII": "filtered",
    "IMAGE_SAFETY": "filtered",
    "IMAGE_PROHIBITED_CONTENT": "filtered",
    "IMAGE_RECITATION": "filtered",
    "ESCALATION": "filtered",
    "MODEL_ARMOR": "filtered",
}
_FAILURES: dict[str, ErrorKind] = {
    "MALFORMED_FUNCTION_CALL": "malformed",
    "UNEXPECTED_TOOL_CALL": "malformed",
    "TOO_MANY_TOOL_CALLS": "malformed",
    "MALFORMED_RESPONSE": "malformed",
    "MISSING_THOUGHT_SIGNATURE": "bad_request",
    "PUP_LIMITED_DISABLED": "forbidden",
    "OTHER": "interrupted",
}
END = object()
"""Stands behind the last event of a stream that ended in good order."""


class Failed(Exception):  # noqa: N818 - it never reaches a user: `told` makes it a failure
    """The answer itself says that it failed."""

    def __init__(self, kind: ErrorKind) -> None:
        super().__init__(kind)
        self.kind: ErrorKind = kind


class GeminiDecoder(Decoder):
    """Reads chunks until they end; the one with `finishReason` need not be the last."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    def feed(self, event: Any) -> Sequence[StreamEvent]:
        """Return what a chunk means."""
        if event is END:
            self.done = self.stop is not None
            return ()
        said: list[StreamEvent] = []
        if not self.metadata:
            self._begin(event)
        if event.prompt_feedback is not None:
            self._blocked(event.prompt_feedback)
        if event.candidates:
            self._candidate(event.candidates[0], said)
            self.raw = event
        # every chunk counts anew: the first count tells what was read, the last one all
        counts = event.usage_metadata
        if counts is not None and (self.stop is not None or not self.usage.input_tokens):
            said += self.counted(_usage(counts, self.usage))
        return said

    def _begin(self, event: Any) -> None:
        self.model = event.model_version or ""
        for name in ("model_version", "response_id"):
            if value := getattr(event, name):
                self.metadata[name] = value

    def _blocked(self, feedback: Any) -> None:
        if feedback.block_reason is not None:
            self.metadata["block_reason"] = _name(feedback.block_reason)
            self.stop = "filtered"

    def _candidate(self, candidate: Any, said: list[StreamEvent]) -> None:
        for part in getattr(candidate.content, "parts", None) or ():
            self._part(part, said)
        if (found := candidate.grounding_metadata) is not None:
            self.metadata["grounding_metadata"] = found.model_dump(exclude_none=True, mode="json")
        if (cited := candidate.citation_metadata) is not None:
            self.metadata["citation_metadata"] = cited.model_dump(exclude_none=True, mode="json")
        if candidate.finish_reason is None:
            return
        reason = _name(candidate.finish_reason)
        self.metadata["finish_reason"] = reason
        if reason in _FAILURES:
            raise Failed(_FAILURES[reason])
        stop = _STOPS.get(reason, "end")
        self.stop = "tools" if self.calls and stop == "end" else stop

    def _part(self, part: Any, said: list[StreamEvent]) -> None:
        sealed = part.thought_signature
        seal = base64.b64encode(sealed).decode() if sealed else ""
        call = part.function_call
        if call is not None:
            known = call.id or f"{self.metadata.get('response_id', 'call')}-{self.calls}"
            if not call.name:
                raise Malformed("a tool call without a name")
            if known in self._known:
                raise Malformed("a tool call that came twice")
            self._known.add(known)
            said += self.tool_call(known, call.name, seal)
            said += self.arguments(self.calls - 1, json.dumps(call.args or {}, ensure_ascii=False))
            return
        if part.text:
            said += self.reasoning(part.text) if part.thought else self.text(part.text)
        if seal:
            if not (part.thought and part.text):
                self.break_()  # not the seal of a thought: that of the text before it, or its own
            self.sealed(seal)
            self.break_()


def _name(reason: Any) -> str:
    return str(getattr(reason, "value", reason)).upper()


def _usage(seen: Any, before: TokenUsage) -> TokenUsage:
    asked = (seen.prompt_token_count or 0) + (seen.tool_use_prompt_token_count or 0)
    inputs = asked or before.input_tokens
    thought = seen.thoughts_token_count or before.reasoning_tokens
    outputs = (seen.candidates_token_count or 0) + thought
    return TokenUsage(
        input_tokens=inputs,
        output_tokens=max(outputs, before.output_tokens),
        total_tokens=inputs + max(outputs, before.output_tokens),
        cached_tokens=seen.cached_content_token_count or before.cached_tokens,
        reasoning_tokens=thought,
    )
