"""OpenAI's Responses: what its newest models want to be asked by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.adapters.openai_chat import END, data_uri, result_text
from kairos.adapters.openai_errors import Broken, kind_of_code
from kairos.adapters.vendor import Arguments, Decoder, Malformed
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
    from collections.abc import Iterator, Sequence

    from kairos.models.request import Request
    from kairos.models.stream import StreamEvent

__all__ = ["ResponsesDecoder", "responses_arguments"]

# --- what is asked


def responses_arguments(request: Request, model: str, *, thinks: bool) -> Arguments:
    """Return the arguments of `client.responses.create`.

    Nothing is kept at OpenAI unless `store` says so: what the model thought goes along with the
    conversation, sealed.
    """
    own = dict(request.options)
    made: Arguments = {
        "model": model,
        "input": [one for message in request.messages for one in _items(message)],
        "max_output_tokens": request.max_tokens,
        "store": False,
        "stream": True,
    }
    if thinks:  # other models refuse the very question
        made["include"] = ["reasoning.encrypted_content"]
    if request.system:
        made["instructions"] = request.system
    if request.temperature is not None:
        made["temperature"] = request.temperature
    if request.tools:
        made["tools"] = [
            {
                "type": "function",
                "name": one.name,
                "description": one.description,
                "parameters": dict(one.parameters),
                "strict": False,  # it would be True otherwise, and few schemas are
            }
            for one in request.tools
        ]
    if request.forced:
        own["tool_choice"] = {"type": "function", "name": request.forced}
    if "reasoning_effort" in own:
        effort = {"effort": own.pop("reasoning_effort")}
        own["reasoning"] = {**own.get("reasoning", {}), **effort}
    text: dict[str, Any] = {}
    if "verbosity" in own:
        text["verbosity"] = own.pop("verbosity")
    if request.output is not None:
        text["format"] = {
            "type": "json_schema",
            "name": request.output_name,
            "strict": True,
            "schema": dict(request.output),
        }
    if text:
        made["text"] = text
    return {**made, **own}


def _items(message: Message) -> Iterator[dict[str, Any]]:
    """Return a turn as items: what a model called, thought and was told are items of their own."""
    said: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case ToolResult(call_id):
                output = result_text(part)
                yield {"type": "function_call_output", "call_id": call_id, "output": output}
            case ToolCall(call_id, name, arguments):
                yield {
                    "type": "function_call",
                    "call_id": call_id,
                    "name": name,
                    "arguments": arguments or "{}",
                }
            case Reasoning(text, seal, provider):
                if seal and provider == "openai":  # to whom it came from, and nowhere else
                    summary = [{"type": "summary_text", "text": text}] if text else []
                    yield {"type": "reasoning", "summary": summary, "encrypted_content": seal}
            case Text(text) if message.role == "assistant":
                yield {"role": "assistant", "content": text}
            case _:
                said.append(_content(part, message.role))
    if said:
        yield {"role": "user", "content": said}


def _content(part: Part, role: str) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "input_text", "text": text}
        case Image(media_type, data, url) if role != "assistant":
            found = url or data_uri(media_type, data)
            return {"type": "input_image", "image_url": found, "detail": "auto"}
        case Document(media_type, data, url, name) if role != "assistant":
            if url:
                return {"type": "input_file", "file_url": url}
            if media_type.startswith("text/"):
                return {"type": "input_text", "text": data.decode(errors="replace")}
            file = {"filename": name or "document", "file_data": data_uri(media_type, data)}
            return {"type": "input_file", **file}
        case _:
            raise ConfigError(
                f"OpenAI takes no {type(part).__name__.lower()} in the model's own turn",
                fix="put it into a message of the user",
            )


# --- what comes back

_INCOMPLETE: dict[str, StopReason] = {"max_output_tokens": "length", "content_filter": "filtered"}


class ResponsesDecoder(Decoder):
    """Reads up to `response.completed` or `response.incomplete`.

    That last event has the whole answer once more, by which the pieces are checked: one that is
    lost, doubled or out of place is seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tools: dict[int, int] = {}
        self._refused = False

    def feed(self, event: Any) -> Sequence[StreamEvent]:  # noqa: C901, PLR0911 - a table
        """Return what an event means."""
        match getattr(event, "type", None):
            case "response.output_text.delta":
                return self.text(event.delta)
            case "response.function_call_arguments.delta":
                at = self._tools.get(event.output_index)
                return () if at is None else self.arguments(at, event.delta)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self.reasoning(event.delta)
            case "response.reasoning_summary_part.added":
                return self.reasoning("\n\n") if event.summary_index else ()
            case "response.output_item.added":
                return self._begun(event)
            case "response.output_item.done":
                self._ended(event.item)
            case "response.refusal.delta" | "response.refusal.done":
                self._refused = True
            case "response.output_text.annotation.added":
                cited = self.metadata.setdefault("citations", [])
                cited.append(event.annotation)
            case "response.completed" | "response.incomplete":
                return self._whole(event.response)
            case "response.failed":
                error = getattr(event.response, "error", None)
                raise Broken(kind_of_code(getattr(error, "code", None)))
            case "error":
                raise Broken(kind_of_code(getattr(event, "code", None)))
            case None if event is not END:
                raise Malformed("an event without a type")
        return ()

    def _begun(self, event: Any) -> Sequence[StreamEvent]:
        item = event.item
        self.break_()
        if item.type != "function_call":
            return ()
        self._tools[event.output_index] = self.calls
        return self.tool_call(item.call_id, item.name)

    def _ended(self, item: Any) -> None:
        # whole only now: what an item begins with may be the first part of its seal
        if item.type == "reasoning" and (seal := getattr(item, "encrypted_content", None)):
            self.sealed(seal)

    def _whole(self, response: Any) -> Sequence[StreamEvent]:
        self.raw = response
        self.model = getattr(response, "model", None) or ""
        for name in ("id", "status", "service_tier"):
            if (value := getattr(response, name, None)) is not None:
                self.metadata[name] = value
        self._compare(getattr(response, "output", None) or ())
        if response.status == "incomplete":
            reason = getattr(response.incomplete_details, "reason", None) or ""
            self.metadata["finish_reason"] = reason
            self.stop = _INCOMPLETE.get(reason, "length")
        else:
            self.stop = "refused" if self._refused else "tools" if self.calls else "end"
        self.done = True
        return self.counted(_usage(getattr(response, "usage", None)))

    def _compare(self, output: Sequence[Any]) -> None:
        """Hold what came in pieces against the whole; a server that leaves the whole out may."""
        texts: list[str] = []
        calls: list[str] = []
        for item in output:
            if item.type == "message":
                texts += [part.text for part in item.content if part.type == "output_text"]
            elif item.type == "function_call":
                calls.append(item.arguments or "{}")
        parts = self.parts()
        came = "".join(part.text for part in parts if isinstance(part, Text))
        called = [part.arguments for part in parts if isinstance(part, ToolCall)]
        if output and ("".join(texts) != came or calls != called):
            raise Malformed("its pieces are not the whole")


def _usage(seen: Any) -> TokenUsage:
    def count(of: Any, name: str) -> int:
        value = getattr(of, name, None)
        return value if isinstance(value, int) else 0

    inputs, outputs = count(seen, "input_tokens"), count(seen, "output_tokens")
    read = getattr(seen, "input_tokens_details", None)
    written = getattr(seen, "output_tokens_details", None)
    return TokenUsage(
        input_tokens=inputs,
        output_tokens=outputs,
        total_tokens=inputs + outputs,
        cached_tokens=count(read, "cached_tokens"),
        cache_write_tokens=count(read, "cache_write_tokens"),
        reasoning_tokens=count(written, "reasoning_tokens"),
    )
