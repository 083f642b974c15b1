"""Claude, by Anthropic's Messages."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from kairos.adapters.core import Adapter
from kairos.adapters.options import Option
from kairos.adapters.prompted import Prompted
from kairos.adapters.retry_after import retry_after_of
from kairos.adapters.schemas import Dialect
from kairos.adapters.too_long import says_too_long
from kairos.adapters.vendor import Arguments, Connection, Decoder, Malformed, Opened, Told, Vendor
from kairos.exceptions import ConfigError
from kairos.models.errors import ErrorKind, kind_of_status
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
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType

    from kairos.models.request import Request
    from kairos.models.stream import StreamEvent

__all__ = ["DEFAULT_MODEL", "VENDOR", "ClaudeAdapter", "claude"]

DEFAULT_MODEL = "claude-sonnet-5-5"

# --- what is asked

_FITTING = Dialect(
    keywords=frozenset(
        {
            "type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "description", "title",
            "properties", "required", "additionalProperties", "items", "format", "minItems",
        }
    ),
    values={"minItems": frozenset({0, 1})},
    formats=frozenset(
        {
            "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6",
            "uuid",
        }
    ),
)  # fmt: skip
_NO_SCHEMA = ("claude-2", "claude-3", "claude-instant", "claude-opus-4-0", "claude-sonnet-4-0",
              "claude-opus-4-2025", "claude-sonnet-4-2025", "claude-opus-4-1")  # fmt: skip
_SAMPLES = (*_NO_SCHEMA, "claude-opus-4-5", "claude-opus-4-6", "claude-sonnet-4-5",
            "claude-sonnet-4-6", "claude-haiku-4-5")  # fmt: skip
"""The last models that take a temperature: the API has dropped it for all that came after."""


def _refuses(request: Request, model: str) -> None:
    if request.seed is not None:
        raise ConfigError("Claude takes no seed", fix="leave seed= out")
    told = ("temperature", "top_p", "top_k")
    given = [name for name in told if _option(request, name) is not None]
    if given and model.startswith("claude") and not model.startswith(_SAMPLES):
        raise ConfigError(
            f"the model {model} takes no {given[0]}",
            found="the Messages API has dropped it for models of this age",
            fix=f"leave {given[0]}= out",
        )
    if request.forced and _option(request, "thinking"):
        raise ConfigError(
            "Claude cannot think and be forced to call a tool at once",
            found="a contract that its structured output does not take needs such a tool",
            fix="leave thinking= out",
        )


def _option(request: Request, name: str) -> Any:
    return request.temperature if name == "temperature" else request.options.get(name)


def _arguments(request: Request, model: str) -> Arguments:
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
            if provider != VENDOR.name or not seal:
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
            return {"type": "tool_use", "id": call_id, "name": name, "input": _input(arguments)}
        case ToolResult(call_id, _, content, failed):
            failure = {"is_error": True} if failed else {}
            return {"type": "tool_result", "tool_use_id": call_id, "content": content, **failure}


def _source(media_type: str, data: bytes, url: str) -> dict[str, Any]:
    if url:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}


def _input(arguments: str) -> dict[str, Any]:
    try:
        found = json.loads(arguments or "{}")
    except ValueError:
        return {}  # what was no JSON was refused then, and its result says so
    return found if isinstance(found, dict) else {}


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


class _Decoder(Decoder):
    """Reads `message_start … message_stop`; blocks go by their index, which may interleave."""

    def __init__(self) -> None:
        super().__init__()
        self._tools: dict[int, int] = {}

    def feed(self, event: Any) -> Sequence[StreamEvent]:
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


# --- the SDK


def _connect(sdk: ModuleType, to: Connection, is_async: bool) -> Any:  # noqa: FBT001 - as Vendor has it
    kind, http = (
        (sdk.AsyncAnthropic, sdk.DefaultAsyncHttpxClient)
        if is_async
        else (sdk.Anthropic, sdk.DefaultHttpxClient)
    )
    return kind(
        api_key=to.key,
        base_url=to.base_url,
        timeout=to.timeout,
        max_retries=0,
        http_client=http(follow_redirects=False, timeout=to.timeout),
    )


def _open(client: Any, arguments: Arguments, timeout: float) -> Any:
    opened = client.messages.create(**arguments, timeout=timeout)
    if hasattr(opened, "__await__"):
        return _open_async(opened)
    return Opened(iter(opened), opened.close, opened.response)


async def _open_async(opening: Any) -> Opened:
    opened = await opening
    return Opened(aiter(opened), opened.close, opened.response)


# What an error within a stream is called, which has no status of its own.
_OF_TYPE: Mapping[str, ErrorKind] = {
    "invalid_request_error": "bad_request",
    "authentication_error": "unauthorized",
    "billing_error": "forbidden",
    "permission_error": "forbidden",
    "not_found_error": "not_found",
    "conflict_error": "conflict",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limited",
    "timeout_error": "timeout",
    "api_error": "server",
    "overloaded_error": "overloaded",
}


def _told(sdk: ModuleType, error: Any) -> Told | None:
    if isinstance(error, sdk.APIStatusError):
        status = error.status_code
        within = status < 300  # noqa: PLR2004 - it came within a stream that had begun well
        kind = _OF_TYPE.get(error.type or "", "server") if within else kind_of_status(status)
        if kind == "bad_request":
            kind = _bad_request(error.api_message)
        wait = retry_after_of(error.response.headers)
        return Told(kind, None if within else status, wait)
    if isinstance(error, sdk.APITimeoutError):
        return Told("timeout")
    if isinstance(error, sdk.APIConnectionError):
        return Told("connection")
    if isinstance(error, sdk.APIResponseValidationError):
        return Told("malformed")
    if isinstance(error, sdk.AnthropicError):
        return Told("bad_request")
    return None


def _bad_request(message: Any) -> ErrorKind:
    """Return what a 400 is: there is no code for any of it."""
    if says_too_long(message):
        return "too_long"
    filtered = isinstance(message, str) and "content filtering policy" in message
    return "filtered" if filtered else "bad_request"


_DICT, _LIST = (dict,), (list, tuple)

VENDOR = Vendor(
    name="anthropic",
    title="Claude",
    module="anthropic",
    extra="anthropic",
    keys=("ANTHROPIC_API_KEY",),
    addresses=("ANTHROPIC_BASE_URL",),
    home="https://api.anthropic.com",
    connect=_connect,
    disconnect=lambda client: client.close(),
    arguments=_arguments,
    open=_open,
    decoder=_Decoder,
    told=_told,
    refuses=_refuses,
    native=lambda _request, model: not model.startswith(_NO_SCHEMA),
    options={
        "seed": Option(refused="the Messages API has no seed"),
        "top_p": Option((int, float)),
        "top_k": Option((int,)),
        "thinking": Option(_DICT),
        "effort": Option((str,)),
        "output_config": Option(_DICT),
        "tool_choice": Option(_DICT),
        "metadata": Option(_DICT),
        "service_tier": Option((str,)),
        "speed": Option((str,)),
        "cache_control": Option(_DICT),
        "container": Option((str, dict)),
        "inference_geo": Option((str,)),
        "workspace_id": Option((str,)),
        "extra_headers": Option(_DICT),
        "extra_query": Option(_DICT),
        "extra_body": Option(_DICT),
    },
    schemas=_FITTING,
)


class ClaudeAdapter(Adapter):
    """Claude by name of model; see `Adapter` for the options that all providers share."""

    vendor = VENDOR
    default_model = DEFAULT_MODEL


def claude(
    prompt_template: str,
    *,
    model: str = DEFAULT_MODEL,
    base_url: str | None = None,
    allow_localhost: bool = False,
    **options: Any,
) -> Prompted:
    """Return a step action that asks Claude; `{name}` is a key that the step may read.

    The key comes from ANTHROPIC_API_KEY.  Options are those of `ClaudeAdapter`: system,
    max_tokens, stop, messages, images, documents, timeout (seconds), thinking, effort and more.

    Raises ConfigError for a prompt that cannot be read and an option that cannot be sent.
    """
    adapter = ClaudeAdapter(
        model=model, base_url=base_url, allow_localhost=allow_localhost, **options
    )
    return Prompted(prompt_template, adapter)
