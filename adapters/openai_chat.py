"""OpenAI's chat completions: the language that most other servers speak, too."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from kairos.adapters.openai_errors import Broken
from kairos.adapters.vendor import Arguments, Decoder, Malformed
from kairos.exceptions import ConfigError
from kairos.models.errors import ErrorKind, kind_of_status
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
    from collections.abc import Iterator, Sequence

    from kairos.models.request import Request
    from kairos.models.stream import StreamEvent

__all__ = ["END", "ChatDecoder", "chat_arguments", "data_uri", "result_text"]

END = object()
"""Stands behind the last event of a stream that ended in good order."""

# --- what is asked


def chat_arguments(request: Request, model: str) -> Arguments:
    """Return the arguments of `client.chat.completions.create`."""
    messages = [one for message in request.messages for one in _messages(message)]
    if request.system:
        # every server knows this role, and OpenAI takes it for its own "developer"
        messages.insert(0, {"role": "system", "content": request.system})
    made: Arguments = {
        "model": model,
        "messages": messages,
        "max_completion_tokens": request.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.temperature is not None:
        made["temperature"] = request.temperature
    if request.seed is not None:
        made["seed"] = request.seed
    if request.stop:
        made["stop"] = list(request.stop)
    if request.tools:
        made["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": one.name,
                    "description": one.description,
                    "parameters": dict(one.parameters),
                },
            }
            for one in request.tools
        ]
    if request.forced:
        made["tool_choice"] = {"type": "function", "function": {"name": request.forced}}
    if request.output is not None:
        schema = {"name": request.output_name, "strict": True, "schema": dict(request.output)}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {**request.options, **made} if request.forced else {**made, **request.options}


def _messages(message: Message) -> Iterator[dict[str, Any]]:
    """Return a turn as this API has it: each result of a tool is a message of its own."""
    if message.role == "assistant":
        yield _assistant(message)
        return
    rest: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            yield {"role": "tool", "tool_call_id": part.id, "content": result_text(part)}
        elif not isinstance(part, Reasoning):
            rest.append(part)
    if not rest:
        return
    if all(isinstance(part, Text) for part in rest):
        # one text and no list of parts: not every server takes a list
        texts = [part.text for part in rest if isinstance(part, Text)]
        yield {"role": "user", "content": "\n\n".join(texts)}
    else:
        yield {"role": "user", "content": [_content(part) for part in rest]}


def _assistant(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": "assistant", "content": message.text}
    calls = []
    for part in message.parts:
        if isinstance(part, ToolCall):
            function = {"name": part.name, "arguments": part.arguments or "{}"}
            calls.append({"id": part.id, "type": "function", "function": function})
        elif isinstance(part, Image | Document):
            raise ConfigError(
                f"OpenAI takes no {type(part).__name__.lower()} in the model's own turn",
                fix="put it into a message of the user",
            )
    if calls:
        made["tool_calls"] = calls
    return made


def result_text(result: ToolResult) -> str:
    """Return what a tool answered; there is no field for a failure, so that the text says it."""
    return f"Error: {result.content}" if result.failed else result.content


def _content(part: Part) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(media_type, data, url):
            return {"type": "image_url", "image_url": {"url": url or data_uri(media_type, data)}}
        case Document(media_type, data, url, name):
            if url:
                raise ConfigError(
                    "chat completions take no document by its URL",
                    fix="Document.of(path) with its bytes, or api='responses'",
                )
            if media_type.startswith("text/"):
                return {"type": "text", "text": data.decode(errors="replace")}
            file = {"filename": name or "document", "file_data": data_uri(media_type, data)}
            return {"type": "file", "file": file}
        case _:
            raise ConfigError(f"the user's turn holds a {type(part).__name__}")


def data_uri(media_type: str, data: bytes) -> str:
    """Return bytes as a URI that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


# --- what comes back

_STOPS: dict[str, StopReason] = {
    "stop": "end",
    "length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "filtered",
}


class ChatDecoder(Decoder):
    """Reads chunks up to `[DONE]`.

    `finish_reason` says that the answer is whole; the chunk with the usage comes after it, so
    that the end of the stream is what ends it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tools: dict[int, tuple[int, str]] = {}
        self._refused = False

    def feed(self, event: Any) -> Sequence[StreamEvent]:
        """Return what a chunk means."""
        if event is END:
            self.done = self.stop is not None
            return ()
        try:
            choices = event.choices
        except AttributeError:
            raise Malformed("an event that is no object") from None
        usage = getattr(event, "usage", None)
        said: Sequence[StreamEvent] = ()
        if choices:
            said = self._choice(choices[0], event)
        if usage is not None:
            said = (*said, *self.counted(_usage(usage, self.usage)))
        return said

    def _choice(self, choice: Any, event: Any) -> Sequence[StreamEvent]:
        delta = getattr(choice, "delta", None)
        said: list[StreamEvent] = []
        if delta is not None:
            content = getattr(delta, "content", None)
            if content and isinstance(content, str):
                said += self.text(content)
            else:
                self._other(delta, said)
            if delta.tool_calls:
                for call in delta.tool_calls:
                    said += self._tool(call)
        if (logprobs := getattr(choice, "logprobs", None)) is not None and logprobs.content:
            told = self.metadata.setdefault("logprobs", [])
            told += [one.model_dump(exclude_none=True) for one in logprobs.content]
        if (reason := getattr(choice, "finish_reason", None)) is not None:
            self._finish(reason, event)
        return said

    def _other(self, delta: Any, said: list[StreamEvent]) -> None:
        # no field of OpenAI's own: two names for it among the servers that speak its language
        thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        if thought and isinstance(thought, str):
            said += self.reasoning(thought)
        if getattr(delta, "refusal", None):
            self._refused = True

    def _tool(self, call: Any) -> Sequence[StreamEvent]:
        """Go by the index, and by the id where a server numbers every call 0."""
        function = getattr(call, "function", None)
        name = getattr(function, "name", None) or ""
        at = call.index if isinstance(call.index, int) else len(self._tools)
        known = self._tools.get(at)
        said: tuple[StreamEvent, ...] = ()
        if known is None or (name and call.id and call.id != known[1]):
            if not name:
                return ()
            known = self._tools[at] = (self.calls, call.id or f"call_{self.calls}")
            said = self.tool_call(known[1], name)
        arguments = getattr(function, "arguments", None)
        return (*said, *self.arguments(known[0], arguments)) if arguments else said

    def _finish(self, reason: str, event: Any) -> None:
        if reason == "error":
            raise Broken(_kind_of(event))
        self.raw = event
        self.model = getattr(event, "model", None) or ""
        self.metadata["finish_reason"] = reason
        for name in ("id", "system_fingerprint", "service_tier"):
            if (value := getattr(event, name, None)) is not None:
                self.metadata[name] = value
        stop = _STOPS.get(reason, "end")
        if self._refused and stop == "end":
            stop = "refused"
        elif self.calls and stop == "end":
            stop = "tools"  # some servers say "stop" for this as well
        self.stop = stop


def _kind_of(event: Any) -> ErrorKind:
    error = getattr(event, "error", None)
    code = error.get("code") if isinstance(error, dict) else None
    return kind_of_status(code) if isinstance(code, int) else "server"


def _usage(seen: Any, before: TokenUsage) -> TokenUsage:
    """Return what was consumed; a count that is not there is that of before."""

    def count(of: Any, name: str, known: int) -> int:
        value = getattr(of, name, None)
        return value if isinstance(value, int) else known

    inputs = count(seen, "prompt_tokens", before.input_tokens)
    outputs = count(seen, "completion_tokens", before.output_tokens)
    read = getattr(seen, "prompt_tokens_details", None)
    written = getattr(seen, "completion_tokens_details", None)
    return TokenUsage(
        input_tokens=inputs,
        output_tokens=outputs,
        total_tokens=inputs + outputs,
        cached_tokens=count(read, "cached_tokens", before.cached_tokens),
        cache_write_tokens=count(read, "cache_write_tokens", before.cache_write_tokens),
        reasoning_tokens=count(written, "reasoning_tokens", before.reasoning_tokens),
    )
