"""Claude, by Anthropic's Messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.adapters.claude_parts import ClaudeDecoder, claude_arguments
from kairos.adapters.core import Adapter
from kairos.adapters.options import Option
from kairos.adapters.prompted import Prompted
from kairos.adapters.retry_after import retry_after_of
from kairos.adapters.schemas import Dialect
from kairos.adapters.too_long import says_too_long
from kairos.adapters.vendor import Arguments, Opened, Told, Vendor
from kairos.adapters.wire import connecting
from kairos.exceptions import ConfigError
from kairos.models.errors import ErrorKind, kind_of_status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from kairos.models.request import Request

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


# --- the SDK


def _open(client: Any, arguments: Arguments, timeout: float) -> Any:
    opened = client.messages.create(**arguments, timeout=timeout)
    if hasattr(opened, "__await__"):
        return _open_async(opened)
    return Opened(iter(opened), opened.close)


async def _open_async(opening: Any) -> Opened:
    opened = await opening
    return Opened(aiter(opened), opened.close)


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
    connect=connecting("Anthropic"),
    disconnect=lambda client: client.close(),
    arguments=claude_arguments,
    open=_open,
    decoder=ClaudeDecoder,
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
