"""OpenAI, and every server that speaks its language: vLLM, Ollama, OpenRouter and more."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from kairos.adapters.core import Adapter
from kairos.adapters.openai_chat import END, ChatDecoder, chat_arguments
from kairos.adapters.openai_errors import told
from kairos.adapters.openai_responses import ResponsesDecoder, responses_arguments
from kairos.adapters.options import Option
from kairos.adapters.prompted import Prompted
from kairos.adapters.schemas import Dialect
from kairos.adapters.vendor import Arguments, Opened, Vendor
from kairos.adapters.wire import connecting
from kairos.exceptions import ConfigError
from kairos.models.request import DEFAULT_TIMEOUT
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kairos.models.request import Request

__all__ = ["CHAT", "DEFAULT_MODEL", "RESPONSES", "Api", "OpenAIAdapter", "openai_adapter"]

Api: TypeAlias = Literal["chat", "responses"]
DEFAULT_MODEL = "gpt-5.4-mini"
_LEAST_TOKENS = 16

# --- what is asked


def _direct_refs(schema: Any) -> Any:
    """Let a reference stand alone: strict schemas take no word beside it."""
    if isinstance(schema, list):
        return [_direct_refs(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _direct_refs(one) for name, one in schema.items()}
    if isinstance(made.get("$ref"), str) and len(made) > 1:
        return {"anyOf": [{"$ref": made.pop("$ref")}], **made}
    return made


_STRICT = Dialect(
    keywords=frozenset(
        {
            "type", "enum", "const", "anyOf", "$ref", "$defs", "description", "title",
            "properties", "required", "additionalProperties", "items", "format", "pattern",
            "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
            "multipleOf",
        }
    ),
    formats=frozenset(
        {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
    ),
    all_required=True,
    recursion=True,
    mend=_direct_refs,
)  # fmt: skip
_NO_SCHEMA = re.compile(r"gpt-3\.5|gpt-4(?![o.])|gpt-4o-2024-05-13|o1-mini|o1-preview|chatgpt-")
_THINKS = re.compile(r"(o\d|gpt-(?:[5-9]|\d\d))(?!.*chat)")
_MAY_NOT_THINK = re.compile(r"gpt-5\.[1-4](?!\d|.*(?:pro|codex))")
"""Reasoning models that take a temperature as long as they do not reason, as is their default."""


def _refuses(request: Request, model: str) -> None:
    if not _THINKS.match(model):
        return
    options = request.options
    effort = options.get("reasoning_effort") or options.get("reasoning", {}).get("effort", "none")
    sampled = effort == "none" and _MAY_NOT_THINK.match(model)
    refused = {
        "stop": request.stop,
        "temperature": None if sampled else request.temperature,
        "top_p": None if sampled else options.get("top_p"),
        "logprobs": None if sampled else options.get("logprobs"),
        "presence_penalty": options.get("presence_penalty"),
        "frequency_penalty": options.get("frequency_penalty"),
        "logit_bias": options.get("logit_bias"),
    }
    given = next(
        (name for name, value in refused.items() if value or type(value) in (int, float)), None
    )
    if given is not None:
        raise ConfigError(
            f"the model {model} takes no {given}",
            found="OpenAI does not have it for models that reason",
            fix=f"leave {given}= out",
        )


def _refuses_responses(request: Request, model: str) -> None:
    for name, given in (("stop", request.stop), ("seed", request.seed)):
        if given not in (None, ()):
            raise ConfigError(
                f"OpenAI's Responses take no {name}",
                fix=f"api='chat', or leave {name}= out",
            )
    if request.max_tokens < _LEAST_TOKENS:
        raise ConfigError(
            "'max_tokens' is too small for OpenAI's Responses", expected=f"{_LEAST_TOKENS} or more"
        )
    _refuses(request, model)


def _responses_arguments(request: Request, model: str) -> Arguments:
    return responses_arguments(request, model, thinks=_THINKS.match(model) is not None)


# --- the SDK


def _open_chat(client: Any, arguments: Arguments, timeout: float) -> Any:
    if not _is_openai(str(client.base_url)) and "max_completion_tokens" in arguments:
        # the name that all other servers know; some pass over the new one, and the bound with it
        arguments = dict(arguments)
        arguments["max_tokens"] = arguments.pop("max_completion_tokens")
    return _opened(client.chat.completions.create(**arguments, timeout=timeout))


def _open_responses(client: Any, arguments: Arguments, timeout: float) -> Any:
    return _opened(client.responses.create(**arguments, timeout=timeout))


def _opened(opening: Any) -> Any:
    if hasattr(opening, "__await__"):
        return _opened_async(opening)
    return Opened(_events(opening), opening.close)


async def _opened_async(opening: Any) -> Opened:
    opened = await opening
    return Opened(_events_async(opened), opened.close)


def _events(stream: Any) -> Iterator[Any]:
    came = False
    try:
        for event in stream:
            came = True
            yield event
    except Exception as error:  # noqa: BLE001 - passed on
        raise _cause_of(error) from None
    if came:
        yield END


async def _events_async(stream: Any) -> AsyncIterator[Any]:
    came = False
    try:
        async for event in stream:
            came = True
            yield event
    except Exception as error:  # noqa: BLE001 - passed on
        raise _cause_of(error) from None
    if came:
        yield END


def _cause_of(error: Exception) -> Exception:
    """Return what the SDK has wrapped: the core tells what breaks off from what never began."""
    cause = error.__cause__
    return cause if isinstance(cause, Exception) else error


_DICT, _NUMBER, _TEXT, _YES = (dict,), (int, float), (str,), (bool,)
_SHARED = {
    "top_p": Option(_NUMBER),
    "top_logprobs": Option((int,)),
    "metadata": Option(_DICT),
    "parallel_tool_calls": Option(_YES),
    "prompt_cache_key": Option(_TEXT),
    "prompt_cache_retention": Option(_TEXT),
    "prompt_cache_options": Option(_DICT),
    "reasoning_effort": Option(_TEXT),
    "verbosity": Option(_TEXT),
    "safety_identifier": Option(_TEXT),
    "service_tier": Option(_TEXT),
    "store": Option(_YES),
    "tool_choice": Option((str, dict)),
    "user": Option(_TEXT),
    "moderation": Option(_DICT),
    "extra_headers": Option(_DICT),
    "extra_query": Option(_DICT),
    "extra_body": Option(_DICT),
    "response_format": Option(refused="it follows from the contract of the step"),
    "max_completion_tokens": Option(refused="it is called max_tokens here, for every provider"),
    "n": Option(refused="a call has one answer"),
    "stream": Option(refused="it is always streamed; .stream() gives out the pieces"),
}

CHAT = Vendor(
    name="openai",
    title="OpenAI",
    module="openai",
    extra="openai",
    keys=("OPENAI_API_KEY",),
    addresses=("OPENAI_BASE_URL",),
    home="https://api.openai.com/v1",
    keyless="no-key",
    connect=connecting("OpenAI"),
    disconnect=lambda client: client.close(),
    arguments=chat_arguments,
    open=_open_chat,
    decoder=ChatDecoder,
    told=told,
    refuses=_refuses,
    native=lambda _request, model: _NO_SCHEMA.match(model) is None,
    options={
        **_SHARED,
        "frequency_penalty": Option(_NUMBER),
        "presence_penalty": Option(_NUMBER),
        "logit_bias": Option(_DICT),
        "logprobs": Option(_YES),
        "prediction": Option(_DICT),
        "web_search_options": Option(_DICT),
        "modalities": Option(refused="only text is read back"),
        "audio": Option(refused="only text is read back"),
    },
    schemas=_STRICT,
)

RESPONSES = replace(
    CHAT,
    arguments=_responses_arguments,
    open=_open_responses,
    decoder=ResponsesDecoder,
    refuses=_refuses_responses,
    options={
        **_SHARED,
        "reasoning": Option(_DICT),
        "max_tool_calls": Option((int,)),
        "truncation": Option(_TEXT),
        "include": Option((list,)),
        "prompt": Option(_DICT),
        "previous_response_id": Option(_TEXT),
        "text": Option(refused="the format follows from the contract; verbosity= is its own"),
        "instructions": Option(refused="it is called system here, for every provider"),
        "input": Option(refused="it is called messages here, for every provider"),
        "max_output_tokens": Option(refused="it is called max_tokens here, for every provider"),
        "background": Option(refused="an answer is waited for"),
        "conversation": Option(refused="what was said is sent along, as messages"),
    },
)


def _vendor_of(api: str | None, base_url: str | None) -> Vendor:
    """Return the API that is meant.

    Where OpenAI itself is asked it is Responses: its newest models call tools while they reason
    there and nowhere else.  Elsewhere it is chat, which every server speaks.
    """
    if api is None:
        given = base_url if isinstance(base_url, str) else ""
        address = given or os.environ.get("OPENAI_BASE_URL", "").strip() or RESPONSES.home
        api = "responses" if _is_openai(address) else "chat"
    if api not in ("chat", "responses"):
        raise ConfigError(
            "OpenAI has no such API",
            where=declared_here(),
            expected="api='chat' or api='responses'",
            found=repr(api)[:40],
        )
    return CHAT if api == "chat" else RESPONSES


def _is_openai(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host.endswith((".openai.com", ".azure.com"))


class OpenAIAdapter(Adapter):
    """A model of OpenAI, or of a server that speaks its language; see `Adapter`.

    `base_url` ends where the API's own paths begin: "http://localhost:11434/v1".  The key is
    OPENAI_API_KEY; a local server (`allow_localhost`) is reached without one, too.

    `api` is "chat" or "responses"; without it, Responses where OpenAI itself is asked, and chat
    where `base_url` or OPENAI_BASE_URL lead to another server.
    """

    default_model = DEFAULT_MODEL

    def __init__(
        self,
        *,
        model: str | None = None,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        allow_localhost: bool = False,
        api: Api | None = None,
        **options: Any,
    ) -> None:
        self.vendor = _vendor_of(api, base_url)
        super().__init__(
            model=model,
            base_url=base_url,
            timeout=timeout,
            allow_localhost=allow_localhost,
            **options,
        )


def openai_adapter(
    prompt_template: str,
    *,
    model: str = DEFAULT_MODEL,
    base_url: str | None = None,
    allow_localhost: bool = False,
    api: Api | None = None,
    **options: Any,
) -> Prompted:
    """Return a step action that asks OpenAI; `{name}` is a key that the step may read.

    The key comes from OPENAI_API_KEY.  Options are those of `OpenAIAdapter`: system, max_tokens,
    temperature, stop, seed, messages, images, documents, timeout (seconds) and more.

    Raises ConfigError for a prompt that cannot be read and an option that cannot be sent.
    """
    adapter = OpenAIAdapter(
        model=model, base_url=base_url, allow_localhost=allow_localhost, api=api, **options
    )
    return Prompted(prompt_template, adapter)
